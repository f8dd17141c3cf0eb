"""`archive`, and `unarchive` with its source on the machine."""

import odd


def case(random):
    setup, names = odd.tree(random, 7)
    kinds = {"tar": "tar cf", "tar.gz": "tar czf", "tgz": "tar czf", "tar.bz2": "tar cjf", "tar.xz": "tar cJf", "tar.zst": "tar --zstd -cf", "zip": "zip -qry"}
    chosen = random.choice(sorted(kinds))
    what = "." if random.random() < 0.5 else "--exclude=x *" if "tar" in kinds[chosen] else "."
    setup += f"\nmkdir /tmp/w/in /tmp/w/out; {kinds[chosen]} /tmp/packed.{chosen} {what} 2>/dev/null; mv /tmp/packed.{chosen} in/\n"
    setup += "echo broken > in/broken.tar.gz; : > in/empty.zip; " + random.choice(["", "cp -a a out/ 2>/dev/null", "mkdir -p out/a", "touch out/extra"]) + "\ntrue\n"
    module = random.choices(["unarchive", "archive"], [3, 2])[0]

    def one():
        if module == "unarchive":
            told = {"src": f"/tmp/w/in/packed.{chosen}" if random.random() < 0.85 else random.choice(["/tmp/w/in/broken.tar.gz", "/tmp/w/in/empty.zip", "/tmp/w/nothing.tar", odd.path(random, names)]),
                    "dest": random.choice(["/tmp/w/out", "/tmp/w/out", "/tmp/w/out/", "/tmp/w/nodir", "out", odd.path(random, names)]), "remote_src": True}
            told.update(odd.owned(random, 0.2))
            told.update(odd.chosen(
                random, creates=(0.1, ["/tmp/w/out/a", "/nowhere"]), list_files=(0.3, [True, False]), exclude=(0.2, [["a"], ["*.txt", "b"], "a,b", ["nothing"]]),
                include=(0.15, [["a"], ["b", "c.txt"], ["nothing"]]), keep_newer=(0.15, [True, False]), extra_opts=(0.1, [["--strip-components=1"], ["-v"], ["--no-same-owner"], ["--nosuch"]])))
            return told
        told = {"path": random.choice(["/tmp/w/*", "/tmp/w/a", ["/tmp/w/a", "/tmp/w/b"], [odd.path(random, names) for _ in range(2)], odd.path(random, names), "/tmp/w/nothing", ["/tmp/w/nothing", "/tmp/w/a"], "/tmp/w/in"]),
                **odd.owned(random, 0.15),
                **odd.chosen(
                    random, dest=(0.85, ["/tmp/w/out/made.tgz", "/tmp/w/made.zip", "/tmp/w/out", "/tmp/w/nodir/x.gz", "made.tar"]), format=(0.6, ["gz", "bz2", "zip", "tar", "xz", "rar"]),
                    exclude_path=(0.2, [["/tmp/w/a"], ["/tmp/w/*.txt"]]), exclusion_patterns=(0.2, [["*.txt"], ["sub"], ["*"]]), force_archive=(0.3, [True, False]), remove=(0.15, [True, False]))}
        return told

    name = "community.general.archive" if module == "archive" else module
    return dict(setup=setup, steps=odd.steps(random, name, one, 3), loose=["size"])
