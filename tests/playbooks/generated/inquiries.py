"""`stat`, `slurp`, `find`, `tempfile`."""

import odd


def case(random):
    setup, names = odd.tree(random, 8)
    which = random.choices(["stat", "slurp", "find"], [5, 2, 8])[0]

    def one():
        if which == "stat":
            return {"path": odd.path(random, names, 0.1), **odd.chosen(
                random, follow=(0.3, [True, False]), get_checksum=(0.2, [True, False]), get_mime=(0.3, [True, False]),
                get_attributes=(0.3, [True, False]), checksum_algorithm=(0.3, ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "crc"]),
                get_selinux_context=(0.1, [True, False]))}
        if which == "slurp":
            return {random.choice(["src", "path"]): odd.path(random, names)}
        return {random.choice(["paths", "path"]): random.choice(["/tmp/w", ["/tmp/w", "/nodir"], "/tmp/w," + odd.path(random, names), [odd.path(random, names)], "/tmp/w/"]),
                **odd.chosen(
                    random, patterns=(0.5, ["*", "*.txt", ["a", "b*"], "a,b", "^a", ".*", "[a-c]*", "with space", "*,", r"^.*\.txt$", ["^[a-c]", "g.*"], "("]),
                    excludes=(0.25, ["a", "*.txt", ["b", "c*"], ".*"]), use_regex=(0.25, [True, False]), hidden=(0.3, [True, False]),
                    recurse=(0.5, [True, False]), file_type=(0.5, ["file", "directory", "link", "any", "nothing"]), follow=(0.2, [True, False]),
                    contains=(0.3, ["one", "^t.*", "\\d", "gr.*", "^$", "(", "one\ntwo", "three$"]), read_whole_file=(0.15, [True, False]),
                    size=(0.25, ["1", "-10", "1k", "-1k", "0", "10b", "1m", "x", "-5", 3, "1.5k", "1t"]), age=(0.2, ["1d", "-1d", "2w", "-3600", "1y", "x", "10s", "1h"]),
                    age_stamp=(0.15, ["mtime", "atime", "ctime", "never"]), get_checksum=(0.2, [True, False]), checksum_algorithm=(0.1, ["md5", "sha256"]),
                    depth=(0.2, [0, 1, 2, "x"]), mode=(0.2, ["0644", "u+r", "a=r", 420, "755", "g-w", "u=rwx,g=rx,o=rx", "x"]),
                    exact_mode=(0.15, [True, False]), limit=(0.12, [1, 2, 0]), encoding=(0.05, ["utf-8", "latin-1", "nosuch"]))}

    return dict(setup=setup, steps=odd.steps(random, which, one, 3))
