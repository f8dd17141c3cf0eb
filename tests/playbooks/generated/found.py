"""What made-up calls have shown to differ once: `generated.py --count 0 --record FILE found` gives what the tests of the modules hold."""

W = "/tmp/w/"


def one(name, setup, *steps):
    return dict(name=name, setup=setup, steps=list(steps))


CASES = [
    one("file through a file", "echo x > f",
        ["file", {"path": W + "f/below", "state": "absent"}], ["file", {"path": W + "f/below", "state": "touch"}], ["file", {"path": W + "f/below", "state": "directory"}, {"inject_invocation": True}],
        ["file", {"path": W + "f/below", "state": "link", "src": "x", "force": True}]),
    one("file with ids out of range", "echo x > f",
        ["file", {"path": W + "f", "group": -5}], ["file", {"path": W + "f", "group": "-5"}, {"check": True}], ["file", {"path": W + "f", "owner": "4294967296"}], ["file", {"path": W + "f", "owner": "4294967296"}, {"check": True}]),
    one("file told as it was settled", "ln -s x l; mkdir d",
        ["file", {"path": W + "d"}, {"inject_invocation": True}], ["file", {"path": W + "f", "state": "hard", "src": "nothing"}], ["file", {"path": W + "l", "recurse": True}, {"inject_invocation": True}]),
    one("lines of UTF-16", "printf 'ab' > plain; printf 'abc' > cut; printf '\\377\\376a\\0\\n\\0' > good",
        ["lineinfile", {"path": W + "plain", "line": "x", "encoding": "utf-16"}], ["replace", {"path": W + "cut", "regexp": "x", "encoding": "utf-16"}], ["lineinfile", {"path": W + "good", "line": "b", "encoding": "utf-16"}],
        ["lineinfile", {"path": W + "good", "regexp": "x", "encoding": "nosuch"}]),
    one("lines below new directories", "true",
        ["blockinfile", {"path": W + "a/b/f", "block": "x", "create": True}, {"umask": 0o077}], ["lineinfile", {"path": W + "c/d/f", "line": "x", "create": True}, {"umask": 0o027}]),
    one("copy of a directory into itself", "mkdir d; echo 1 > d/one; mkdir d/sub",
        ["copy", {"src": W + "d", "dest": W + "d", "remote_src": True}]),
    one("copy told as it was settled", "echo 1 > f; chmod 640 f; mkdir d",
        ["copy", {"src": W + "f", "dest": W + "g", "remote_src": True, "mode": "preserve"}, {"inject_invocation": True}], ["copy", {"src": W + "d", "dest": W + "g", "remote_src": True}]),
    one("assemble where it cannot be", "mkdir p; printf 1 > p/1; printf 2 > p/2",
        ["assemble", {"src": W + "p", "dest": W + "none/f"}], ["assemble", {"src": W + "p", "dest": W + "f", "delimiter": "\\x"}], ["assemble", {"src": W + "p", "dest": W + "f", "delimiter": "\\x2d"}]),
    one("find nowhere", "echo x > f",
        ["find", {"paths": ""}], ["find", {"paths": W, "encoding": "nosuch"}], ["find", {"paths": W + "none", "depth": "x"}, {"inject_invocation": True}],
        ["find", {"paths": W + "none", "use_regex": True}, {"inject_invocation": True}]),
    one("no command", "true", ["command", {"_raw_params": "  ", "removes": "/nosuch"}], ["command", {"_raw_params": "  "}]),
]
