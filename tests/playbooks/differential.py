#!/usr/bin/env python3
"""Runs the playbooks of `cases/` through the real `ansible-playbook` and through `consort play`, twice each, and tells what differs.

    differential.py --program target/debug/consort --root DEBIAN_ROOT [NAME ...]
    differential.py --program target/debug/consort --root DEBIAN_ROOT --record [NAME ...]

The root is a directory with a Debian and ansible-core 2.21 in it (README.md says how to get one). Each run has mount, process,
network and host name spaces of its own over an overlay of that root which is thrown away, with the case at /srv/case, so that
both see the same machine and nothing stays. What is compared after each of the two runs: everything printed, the exit statuses,
and every file, directory and link below /srv/case (content, mode, owner, group).

A case is a directory: `site.yml`, whatever else a user would have beside it, and if it says more than
`ansible-playbook -i inventory site.yml` a `case.json`:

    commands        what is run, a shell line each ("first": only in the first run)
    changes_again   why the second run changes something too; without it, a second run that does is a fault
    recorded        false: why the outcome is not kept beside the case for the tests (it needs the network, Python modules, ...)
    apart           what is known to differ in what is printed: pairs of a pattern and the reason
    environment     variables
    also            directories outside of the case to compare

`--record` writes what the real one printed and left to `recorded/` beside the case; a test of the `consort` binary holds Consort
against that where there is no peer.
"""

import argparse
import concurrent.futures
import difflib
import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys

PROGRAMS = ["ansible-playbook", "ansible", "ansible-inventory", "ansible-vault"]
HERE = os.path.dirname(os.path.abspath(__file__))
CASE = "/srv/case"

SCRIPT = r"""
set -e
mount -t tmpfs none "$WORK"
mkdir -p "$WORK/up" "$WORK/work" "$WORK/root"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$WORK/up,workdir=$WORK/work" "$WORK/root"
cd "$WORK/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs tmp -o mode=1777
mkdir -p srv/case srv/home opt/harness
cp -a "$CASES/$NAME/." srv/case/
rm -rf srv/case/recorded srv/case/case.json
chown -R 0:0 srv/case
chmod -R u=rwX,go=rX srv/case
find srv/case -type f -perm /111 -exec chmod 755 {} +
cp "$HARNESS" "$(dirname "$HARNESS")/unstable.json" opt/harness/
[ ! -e "$CASES/$NAME/case.json" ] || cp "$CASES/$NAME/case.json" opt/harness/
if [ -n "$PROGRAM" ]; then
  mkdir -p opt/consort
  cp "$PROGRAM" opt/consort/program
  [ -z "$HELPER" ] || cp "$HELPER" opt/consort/consort-play-helper
  for name in $NAMES; do ln -sf program "opt/consort/$name"; done
fi
ip link set lo up 2>/dev/null || true
hostname controller
exec chroot . /usr/bin/python3 /opt/harness/differential.py --inside "$PROGRAM"
"""

# What no two runs have in common: pairs of a pattern and what is written instead; the cargo test reads them too.
UNSTABLE = json.load(open(os.path.join(HERE, "unstable.json")))


def settled(text):
    for pattern, instead in UNSTABLE:
        text = re.sub(pattern, instead, text)
    # The real one keeps the hosts it lists in a set.
    return re.sub(r"(?<=:\n)(?:      \S+\n)+", lambda found: "".join(sorted(found[0].splitlines(True))), text)


def without(text, apart):
    """Without what is known to differ."""
    for pattern, _ in apart:
        text = re.sub(pattern, "", text, flags=re.M)
    return text


def tree(top):
    """A line for each thing below a directory, sorted by path."""
    lines = []
    for directory, names, files in os.walk(top):
        names.sort()
        for name in names + files:
            path = os.path.join(directory, name)
            about = os.lstat(path)
            what = ""
            if stat.S_ISLNK(about.st_mode):
                what = " -> " + os.readlink(path)
            elif stat.S_ISREG(about.st_mode):
                data = open(path, "rb").read()
                what = f" {len(data)} {hashlib.sha256(data).hexdigest()[:16]}"
            try:
                user = pwd.getpwuid(about.st_uid).pw_name
            except KeyError:
                user = str(about.st_uid)
            try:
                group = grp.getgrgid(about.st_gid).gr_name
            except KeyError:
                group = str(about.st_gid)
            lines.append(f"{os.path.relpath(path, top)}  {stat.filemode(about.st_mode)} {user}:{group}{what}")
    return sorted(map(settled, lines))


def described(path):
    case = {"commands": None, "first": [], "environment": {}, "also": [], "apart": [], "changes_again": None, "recorded": True}
    if os.path.exists(path):
        case.update(json.load(open(path)))
    if case["commands"] is None:
        case["commands"] = ["ansible-playbook -i inventory site.yml"]
    return case


def inside(program):
    """Runs a case twice, in its own machine; prints what came of it as JSON."""
    case = described("/opt/harness/case.json")
    env = {
        "PATH": ("/opt/consort:" if program else "") + "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/srv/home",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_FORKS": "1",
        "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
        "ANSIBLE_NOCOLOR": "1",
        **case["environment"],
    }
    os.umask(0o022)
    rounds = []
    for again in (False, True):
        told = []
        for command in ([] if again else case["first"]) + case["commands"]:
            done = subprocess.run(["bash", "-c", command], cwd=CASE, env=env, stdin=subprocess.DEVNULL, capture_output=True)
            told += [f"$ {command}", settled(done.stdout.decode(errors="replace")).rstrip("\n")]
            complaints = settled(done.stderr.decode(errors="replace")).rstrip("\n")
            told += ["", "standard error:", complaints] if complaints else []
            told += [f"status {done.returncode}", ""]
        files = tree(CASE)
        for place in case["also"]:
            files += [f"{place}: {line}" for line in tree(place)]
        rounds.append({"told": "\n".join(told), "files": "\n".join(files) + "\n"})
    json.dump(rounds, sys.stdout)


def run(options, name, ours):
    work = os.path.join(options.scratch, f"{name}-{'ours' if ours else 'peer'}")
    os.makedirs(work, exist_ok=True)
    env = {
        "PATH": os.environ["PATH"],
        "WORK": work,
        "LOWER": options.root,
        "CASES": options.cases,
        "NAME": name,
        "HARNESS": os.path.abspath(__file__),
        "PROGRAM": options.program if ours else "",
        "HELPER": options.helper if ours and options.helper else "",
        "NAMES": " ".join(PROGRAMS),
    }
    spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc"]
    try:
        done = subprocess.run(
            [*spaces, "bash", "-c", SCRIPT], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=options.timeout
        )
    except subprocess.TimeoutExpired:
        return f"nothing after {options.timeout} s"
    finally:
        shutil.rmtree(work, ignore_errors=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return f"the machine did not come up: {done.stdout.decode(errors='replace')}{done.stderr.decode(errors='replace')}"


def recorded(options, name):
    place = os.path.join(options.cases, name, "recorded")
    return [
        {part: open(os.path.join(place, f"{which}.{part}")).read() for part in ("told", "files")} for which in ("first", "second")
    ]


def record(options, name, outcome):
    place = os.path.join(options.cases, name, "recorded")
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    for which, part in zip(("first", "second"), outcome):
        for kind, text in part.items():
            with open(os.path.join(place, f"{which}.{kind}"), "w") as file:
                file.write(text)


def differences(peer, ours, apart):
    """What differs between the two, as text; nothing if they are equal."""
    if isinstance(peer, str) or isinstance(ours, str):
        return f"real: {peer if isinstance(peer, str) else 'ran'}\nConsort: {ours if isinstance(ours, str) else 'ran'}\n"
    found = ""
    for which, a, b in zip(("first", "second"), peer, ours):
        for part in ("told", "files"):
            if part == "told":
                a[part], b[part] = without(a[part], apart), without(b[part], apart)
            if a[part] != b[part]:
                lines = difflib.unified_diff(
                    a[part].splitlines(), b[part].splitlines(), f"real, {which} run, {part}", f"consort, {which} run, {part}", "", "", 2, ""
                )
                found += "\n".join(lines) + "\n"
    return found


def second_changes(outcome):
    return bool(re.search(r"changed=[1-9]", outcome[1]["told"])) or outcome[0]["files"] != outcome[1]["files"]


def one(options, name):
    case = described(os.path.join(options.cases, name, "case.json"))
    if options.peer:
        peer = run(options, name, False)
    elif case["recorded"] is True:
        peer = recorded(options, name)
    else:
        return "not recorded", ""
    if isinstance(peer, str):
        return "FAULT", peer
    if second_changes(peer) and not case["changes_again"]:
        return "FAULT", "the second run of the real one changes something, and the case does not say why\n" + peer[1]["told"]
    if options.record:
        if case["recorded"] is True:
            record(options, name, peer)
        if not options.program:
            return "recorded", ""
    ours = run(options, name, True)
    found = differences(peer, ours, case["apart"])
    return ("DIFFERS", found) if found else ("equal", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="the program under test: `consort`, or the example `play` of consort-playbook")
    parser.add_argument("--helper", help="`consort-play-helper`, if it is to stand beside it")
    parser.add_argument("--root", help="a Debian with ansible-core in it")
    parser.add_argument("--cases", default=os.path.join(HERE, "cases"))
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="hold Consort against what was recorded, without running the real one")
    parser.add_argument("--record", action="store_true", help="keep what the real one did beside the cases")
    parser.add_argument("--scratch", default="/tmp/consort-differential")
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--show", action="store_true", help="show the differences in full, not their first 60 lines")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for path in ("program", "helper", "root", "cases", "scratch"):
        if getattr(options, path):
            setattr(options, path, os.path.abspath(getattr(options, path)))
    names = options.names or sorted(os.listdir(options.cases))
    counts = {}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, (verdict, told) in zip(names, pool.map(lambda name: one(options, name), names)):
            counts[verdict] = counts.get(verdict, 0) + 1
            print(f"{name:32} {verdict}", flush=True)
            lines = told.splitlines()
            for line in lines if options.show else lines[:60]:
                print("    " + line)
            if not options.show and len(lines) > 60:
                print(f"    ... {len(lines) - 60} more lines")
    print(", ".join(f"{verdict}: {count}" for verdict, count in sorted(counts.items())) + f" of {len(names)}")
    return 0 if set(counts) <= {"equal", "recorded", "not recorded"} else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2])
    else:
        sys.exit(main())
