"""`copy`, `assemble` and `tempfile` as modules on the machine: with what is already there."""

import odd


def case(random):
    setup, names = odd.tree(random, 6)
    module = random.choices(["copy", "assemble"], [4, 2])[0]
    setup += "\nmkdir /tmp/w/parts; printf one > parts/1; printf 'two\\n' > parts/02; printf three > parts/x.conf; printf hid > parts/.h; mkdir parts/d; echo src > /tmp/w/from\ntrue\n"

    def one():
        if module == "copy":
            told = {"src": random.choice(["/tmp/w/from", "/tmp/w/parts", "/tmp/w/parts/", odd.path(random, names), odd.path(random, names)]), "dest": odd.path(random, names, 0.35),
                    "remote_src": True, **odd.owned(random, 0.2),
                    **odd.chosen(random, backup=(0.15, [True]), force=(0.2, [True, False]), follow=(0.2, [True, False]), local_follow=(0.15, [True, False]),
                                 directory_mode=(0.2, odd.MODES + odd.BAD_MODES[:3]), validate=(0.08, ["true %s", "false %s", "nothing"]), checksum=(0.08, ["abc", "2e3b5e4f1a4d3fbb0eb1a6a5ee4ae03ab3e1e3c7"]),
                                 mode=(0.08, ["preserve"]))}
            if random.random() < 0.05:
                told["remote_src"] = False
            return told
        return {"src": random.choice(["/tmp/w/parts", "/tmp/w/parts/", "/tmp/w/nothing", "/tmp/w/from", odd.path(random, names)]), "dest": odd.path(random, names, 0.4),
                **odd.owned(random, 0.2),
                **odd.chosen(random, delimiter=(0.4, ["--", "\\n", "### \\n", "\\\\x", "\u00fc\\n", ""]), regexp=(0.3, ["^\\d", "conf$", "(", "nothing"]), ignore_hidden=(0.3, [True, False]),
                             backup=(0.15, [True]), validate=(0.08, ["true %s", "false %s", "nothing"]), remote_src=(0.9, [True, True, False]))}

    return dict(setup=setup, steps=odd.steps(random, module, one))
