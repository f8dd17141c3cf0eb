"""`lineinfile`, `blockinfile`, `replace`: texts of all forms, expressions of all forms."""

import odd

TEXTS = odd.TEXTS + [
    b"127.0.0.1 localhost\n::1 ip6-localhost\n# comment\n\n192.168.0.1 host.example host\n",
    b"#Port 22\nPort 2222\nPermitRootLogin yes\n  PasswordAuthentication no\nMatch User x\n    PermitRootLogin no\n",
    b"key=1\nkey=2\nkey=3", b"one\none\none\n", b"a\nb\n\nc\n", b"# BEGIN ANSIBLE MANAGED BLOCK\none\n# BEGIN ANSIBLE MANAGED BLOCK\ntwo\n# END ANSIBLE MANAGED BLOCK\n",
    b"x\n# END ANSIBLE MANAGED BLOCK\ny\n# BEGIN ANSIBLE MANAGED BLOCK\n", b"first\n<!-- B -->\nin\n<!-- E -->\nlast",
    b"# BEGIN ANSIBLE MANAGED BLOCK\r\nold\r\n# END ANSIBLE MANAGED BLOCK\r\nafter\r\n",
]
LINES = ["one", "new line", "Port 22", "key=9", "", "  indented", "trailing ", "with\\backslash", "gr\u00fcn", "a\tb", "192.168.0.1 other", "one\ntwo", "$1 \\1", "x\n", "\\g<1>!", "k: 'v'",
         "\\1-\\2", "three\r", "#", "PermitRootLogin no"]
EXPRESSIONS = ["^one", "two$", "^#?Port", "(key)=(\\d)", "^(.*)$", "", "nothing", "(", "[", "^\\s*$", "o.e", "(?i)ONE", "^key=(?P<value>\\d+)$", "gr.n", "\\bhost\\b", "a|b",
               "^PermitRootLogin", "^$", "(a)?(o)", "\\t", "\\d{2,}", "^(?!#)", "(?<=k)ey", "x*", "$", "^", "one\\ntwo", "(?m)^two", "\\Z", "[[:alpha:]]", "\u00fc", "(?x) o n e"]
PLACES = ["EOF", "BOF", "^one", "two", "nothing", "(", "key=2", "", "^#", "(?i)PORT", "^$", ".*"]


def case(random):
    setup, names = "", []
    if random.random() < 0.3:
        setup, names = odd.tree(random, 4)
    lines = []
    for name in ["f", "g"][:random.randint(1, 2)]:
        lines += odd.a_file(random, name, random.choice(TEXTS))
        names.append(name)
    setup = "\n".join([setup, *lines])
    module = random.choices(["lineinfile", "blockinfile", "replace"], [6, 5, 4])[0]

    def one():
        told = {"path": "/tmp/w/f" if random.random() < 0.7 else odd.path(random, names)}
        if random.random() < 0.05:
            told[random.choice(["dest", "name", "destfile"])] = told.pop("path")
        if module == "lineinfile":
            told.update(odd.chosen(
                random, line=(0.88, LINES), regexp=(0.5, EXPRESSIONS), search_string=(0.15, ["one", "key=", "", "nothing", "("]), state=(0.35, ["present", "absent", "absent"]),
                insertafter=(0.25, PLACES), insertbefore=(0.2, PLACES), backrefs=(0.2, [True, False]), firstmatch=(0.25, [True, False]),
                create=(0.3, [True, False]), backup=(0.1, [True]), validate=(0.08, ["true %s", "false %s", "grep -q one %s", "nothing", "echo no >&2; exit 3 %s", "/nosuch %s"]),
                encoding=(0.04, ["utf-8", "latin-1", "utf-16", "ascii", "nosuch"])))
        elif module == "blockinfile":
            told.update(odd.chosen(
                random, block=(0.9, LINES + ["a\nb\nc", "a\nb\n\n", "\n\na", "a\r\nb\r\n"]), marker=(0.25, ["# {mark} X", "<!-- {mark} -->", "no mark", "{mark}", "# {mark} ANSIBLE MANAGED BLOCK", "; {mark}\n", "", "{mark} {mark}"]),
                marker_begin=(0.12, ["B", "<", "BEGIN", ""]), marker_end=(0.12, ["E", ">", "END", ""]), state=(0.25, ["present", "absent"]),
                insertafter=(0.25, PLACES), insertbefore=(0.2, PLACES), create=(0.3, [True, False]), backup=(0.1, [True]),
                append_newline=(0.15, [True, False]), prepend_newline=(0.15, [True, False]),
                validate=(0.08, ["true %s", "false %s", "grep -q one %s", "nothing"]), encoding=(0.04, ["utf-8", "latin-1", "utf-16", "nosuch"])))
            if random.random() < 0.05:
                told["content"] = told.pop("block", "x")
        else:
            told.update(odd.chosen(
                random, regexp=(0.97, EXPRESSIONS), replace=(0.8, LINES), after=(0.2, ["one", "^#", "nothing", "(", "Port.*", "a"]), before=(0.2, ["three", "two", "nothing", "[", "$", "key=3"]),
                backup=(0.1, [True]), validate=(0.06, ["true %s", "false %s", "nothing"]), encoding=(0.08, ["utf-8", "latin-1", "ascii", "utf-16", "nosuch"])))
        if random.random() < 0.35:
            told.update(odd.owned(random, 0.4))
        return told

    return dict(setup=setup, steps=odd.steps(random, module, one))
