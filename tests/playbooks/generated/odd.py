"""What the makers of cases share: directories of odd files, and arguments as users give them, and as they should not."""

import shlex

TEXTS = [
    b"", b"\n", b"one", b"one\n", b"one\ntwo\nthree\n", b"one\r\ntwo\r\nthree\r\n", b"one\ntwo\nthree", b"\n\n\n", b"  one  \n\ttwo\n",
    "gr\u00fc\u00df\u00df \u65e5\u672c\n\U0001f600 end\n".encode(), b"\xff\xfe\x00bytes\xe4\n", b"a=1\nb = 2\n#c=3\na=4\n", b"x" * 3000 + b"\n",
    b"[one]\nkey = value\n[two]\nkey: value\n", b"\xef\xbb\xbfmarked\n", b"# BEGIN ANSIBLE MANAGED BLOCK\nin it\n# END ANSIBLE MANAGED BLOCK\nafter\n",
    b"a\x0cb\x1cc\x85d\n", b"one\rtwo\rthree\r", b"%s {} {{ x }} \\1 \\n $1\n", b"0\x00zero\n",
]
NAMES = ["a", "b", "c.txt", "with space", "gr\u00fcn", "q'uote", "-dash", ".hidden", "UP", "d\\x", "long" * 20, "semi;colon", "*star", "new\nline", "$HOME"]
MODES = ["0644", "644", 420, 384, "0600", "0755", "u=rw,g=r,o=r", "u+x", "a+X", "u=rwX,go=rX", "g-s", "+t", "o=u", "u=g,g=o", "01777", "4755", "u+s,g+s", "ug=rw,o-rwx",
         "a=", "=", "u=rwx,g=rx,o=", "go-w", "+x", "u=rw,u-w", 0, "0", "7777"]
BAD_MODES = ["999", "abc", "u+q", "rwxr-xr-x", -1, "0o644", "u=", "888888", 99999, "u+x,,g+x", " 0644", "0644 ", 1.5, True, [420], ""]
OWNERS = ["root", "daemon", "nobody", 0, 1, "2", "65534"]
BAD_OWNERS = ["nosuchuser", -1, "", "99999", 123456, "4294967296"]
GROUPS = ["root", "daemon", "nogroup", 0, 1, "2", "www-data"]
BAD_GROUPS = ["nosuchgroup", "", -5, "77777"]
JUNK = [None, "", "maybe", [], ["x"], {}, {"a": 1}, 1, -1, 1.5, True, False, "yes", "a,b", " ", "\u00fc", "0"]


def printf(text):
    return "printf '" + "".join(chr(byte) if 48 <= byte < 58 or 65 <= byte < 91 or 97 <= byte < 123 else f"\\{byte:03o}" for byte in text) + "'"


def a_file(random, path, text=None):
    """Commands that make a file of some kind."""
    quoted = shlex.quote(path)
    text = random.choice(TEXTS) if text is None else text
    lines = [f"{printf(text)} > ./{quoted}"] if not path.startswith("/") else [f"{printf(text)} > {quoted}"]
    if random.random() < 0.4:
        lines.append(f"chmod {random.choice(['600', '755', '444', '000', '4755', '2640', '666', '1644'])} ./{quoted}")
    if random.random() < 0.2:
        lines.append(f"chown {random.choice(['1:1', '65534:2', '12345:54321'])} ./{quoted}")
    if random.random() < 0.3:
        lines.append(f"touch -d @{random.choice([0, 1000000000, 1234567890])} ./{quoted}")
    if random.random() < 0.05:
        lines.append(f"setfattr -n user.note -v kept ./{quoted} 2>/dev/null || true")
    if random.random() < 0.04:
        lines.append(f"setfacl -m u:daemon:r ./{quoted} 2>/dev/null || true")
    return lines


def tree(random, most=6):
    """A directory of odd things: the script that makes it, and their names."""
    lines, names = [], []
    for name in random.sample(NAMES, random.randint(1, most)):
        path, quoted = name, "./" + shlex.quote(name)
        kind = random.choices(["file", "directory", "link", "dangling", "to_directory", "hard", "fifo", "nested", "loop", "immutable"],
                              [40, 12, 12, 6, 6, 6, 2, 12, 2, 3])[0]
        files = [known for known in names if known[1] == "file"]
        directories = [known for known in names if known[1] == "directory"]
        if kind in ("link", "hard") and not files or kind == "to_directory" and not directories:
            kind = "file"
        if kind == "file":
            lines += a_file(random, path)
            names.append((path, "file"))
        elif kind == "immutable":
            lines += a_file(random, path)
            lines.append(f"chattr +{random.choice('ia')} {quoted} 2>/dev/null || true")
            names.append((path, "file"))
        elif kind == "directory":
            lines.append(f"mkdir {quoted}")
            if random.random() < 0.3:
                lines.append(f"chmod {random.choice(['700', '1777', '2755', '500'])} {quoted}")
            names.append((path, "directory"))
        elif kind == "nested":
            inner = f"{path}/{random.choice(NAMES)}"
            lines.append(f"mkdir {quoted}")
            lines += a_file(random, inner)
            if random.random() < 0.5:
                lines.append(f"mkdir {quoted}/sub; echo deep > {quoted}/sub/deep; ln -s deep {quoted}/sub/link")
                names.append((path + "/sub/deep", "file"))
                names.append((path + "/sub/link", "link"))
            names.append((path, "directory"))
            names.append((inner, "file"))
        elif kind in ("link", "hard"):
            lines.append(f"ln {'-s' if kind == 'link' else ''} -- {shlex.quote(random.choice(files)[0]) if kind == 'link' else './' + shlex.quote(random.choice(files)[0])} {quoted}")
            names.append((path, "link" if kind == "link" else "file"))
        elif kind == "to_directory":
            lines.append(f"ln -s -- {shlex.quote(random.choice(directories)[0])} {quoted}")
            names.append((path, "link"))
        elif kind == "dangling":
            lines.append(f"ln -s {random.choice(['nowhere', '/tmp/w/not/there', '../w/away'])} {quoted}")
            names.append((path, "link"))
        elif kind == "fifo":
            lines.append(f"mkfifo {quoted}")
            names.append((path, "other"))
        else:
            lines.append(f"ln -s {shlex.quote(path)} {quoted}")
            names.append((path, "link"))
    # Whatever a command of the script could not do is the same for both.
    return "\n".join(line + " || true" for line in lines), [name for name, _ in names]


def path(random, names, fresh=0.2, relative=0.06):
    """A path among what is there, or what is not."""
    if random.random() < fresh:
        name = random.choice(["new", "new/inner", "new/inner/most", "f\u00fcr", "a/below a file", ".", "../w/up", "dir/", "~/home", "$HOME/x"])
    else:
        name = random.choice(names)
        if random.random() < 0.08:
            name += random.choice(["/", "/new", "/sub", "/.", "//x", "/.."])
    return name if random.random() < relative else "/tmp/w/" + name


def owned(random, often=0.25):
    """Arguments that all modules that make files take."""
    told = {}
    if random.random() < often * 1.6:
        told["mode"] = random.choice(MODES if random.random() < 0.92 else BAD_MODES)
    if random.random() < often:
        told["owner"] = random.choice(OWNERS if random.random() < 0.93 else BAD_OWNERS)
    if random.random() < often:
        told["group"] = random.choice(GROUPS if random.random() < 0.93 else BAD_GROUPS)
    if random.random() < 0.03:
        told["attributes"] = random.choice(["+i", "-i", "i", "=", "+A", "e", "", "+Q", "A"])
    if random.random() < 0.03:
        told["unsafe_writes"] = random.choice([True, False])
    if random.random() < 0.02:
        told[random.choice(["seuser", "serole", "setype", "selevel"])] = random.choice(["system_u", "_default", "s0"])
    return told


def chosen(random, **options):
    """Arguments: for each option how often it is given, and values."""
    return {name: random.choice(values) for name, (often, values) in options.items() if random.random() < often}


def spoiled(random, arguments, often=0.06):
    """Now and then one argument is not what it should be."""
    if random.random() < often:
        how = random.random()
        if how < 0.25:
            arguments["nosuchoption"] = random.choice(JUNK)
        elif how < 0.75 and arguments:
            arguments[random.choice(sorted(arguments))] = random.choice(JUNK)
        elif arguments:
            arguments.pop(random.choice(sorted(arguments)))
    return arguments


def settings(random):
    told = {}
    if random.random() < 0.3:
        told["check"] = True
    if random.random() < 0.5:
        told["diff"] = True
    if random.random() < 0.1:
        told["inject_invocation"] = True
    if random.random() < 0.05:
        told["umask"] = random.choice([0, 0o077, 0o027, 0o002])
    return told


def steps(random, module, one, most=4):
    """Some calls of a module; often the same again, to see that it changes nothing."""
    told = []
    for _ in range(random.randint(1, most)):
        arguments = spoiled(random, one())
        how = settings(random)
        told.append([module, arguments, how])
        if random.random() < 0.35:
            told.append([module, arguments, {key: value for key, value in how.items() if key != "check"}])
    return told
