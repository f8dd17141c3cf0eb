"""`file`: every state upon everything that may be there."""

import odd


def case(random):
    setup, names = odd.tree(random)

    def one():
        told = {"path": odd.path(random, names)}
        if random.random() < 0.1:
            told[random.choice(["dest", "name"])] = told.pop("path")
        state = random.choices(["file", "directory", "absent", "touch", "link", "hard", None], [16, 22, 14, 16, 18, 12, 6])[0]
        if state:
            told["state"] = state
        if state in ("link", "hard") and random.random() < 0.93 or random.random() < 0.04:
            src = odd.path(random, names, relative=0.4)
            told["src"] = src if state != "hard" or random.random() < 0.5 else "/tmp/w/" + random.choice(names)
        if state == "hard" and told.get("src") in (told.get("path"), None):
            # A file that is to be a link to itself: the real one leaves a second name of it behind.
            told["src"] = "/tmp/w/nothing"
        told.update(odd.owned(random))
        told.update(odd.chosen(
            random, force=(0.25, [True, False, "yes"]), follow=(0.2, [True, False]), recurse=(0.15 if state == "directory" else 0.02, [True, False])))
        if random.random() < (0.4 if state == "touch" else 0.08):
            told["modification_time"] = random.choice(["preserve", "now", "202001010000.00", "200002291259.59", "", "never", 5])
        if random.random() < (0.4 if state == "touch" else 0.05):
            told["access_time"] = random.choice(["preserve", "now", "202001010000.00", "bad"])
        if random.random() < 0.06:
            told["modification_time_format"] = random.choice(["%Y", "%s", "%Y%m%d%H%M.%S", "%Q"])
        return told

    return dict(setup=setup, steps=odd.steps(random, "file", one))
