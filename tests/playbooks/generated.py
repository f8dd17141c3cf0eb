#!/usr/bin/env python3
"""Makes up calls of native modules, runs each beside the real module, and tells what differs in results and on disk.

    generated.py --program target/debug/examples/module --root DEBIAN_ROOT [--over DIR] [--seed N] [--count N] [NAME ...]

A NAME is a file of `generated/`: its `case(random)` gives a shell script that makes a directory of odd files, and steps to take in
it. The same seed gives the same cases. Each case is run twice, by the real modules and by the native ones, from the same start, in
mount and network namespaces of its own over a root that is thrown away; differences that look the same are told once, with their
number. `--record FILE` writes those of the cases that agree to a file as `crates/modules/tests/modules/recorded.json` holds them.
Needs root; nothing stays.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "generated")

SCRIPT = r"""
set -e
mount -t tmpfs none "$WORK/place"
cd "$WORK/place"
mkdir up work root
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=up,workdir=work" root
cd root
mount -t proc proc proc
mount -t tmpfs none dev
for device in null zero urandom random full tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir -p dev/pts dev/shm opt/beside places
mount -t devpts -o newinstance,ptmxmode=0666 none dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs tmp -o mode=1777
mount -t tmpfs tmpfs places
cp -r "$WORK"/given/. opt/beside/
ip link set lo up
exec chroot . env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
  python3 -B -W ignore /opt/beside/inside.py "$SEED" "$COUNT" $NAMES
"""

MASKS = [
    (r"/tmp/rtmp/ansible-\w+-[\d.]+-[\w.]+", "/tmp/rtmp/TEMPORARY"),
    (r"/tmp/rtmp/[\w./-]+", "/tmp/rtmp/TEMPORARY"),
    (r"\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~", ".BACKUP~"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", "TIME"),
    (r"(?<=\.ansible_tmp)\w+", "TEMPORARY"),
    (r"(?<=ansible\.)\w{8}\b", "TEMPORARY"),
    (r"/\.\d+\.[\w.]+\.tmp", "/.TEMPORARY.tmp"),
    (r"# \(\S+ installed on [^)]*\)", "# (installed)"),
    (r"(?<=crontab)(\w{8}|\.\w{6})", ""),
    (r"(?<=/)\.ansible_(m_sysctl_\w+\.conf|tmp\w+)", ".ansible_TEMPORARY"),
    (r"(?<=/tmp)[a-z0-9_]{8}\b", "TEMPORARY"),
    (r"(?<=Valid booleans include: ).*", "..."),
]
# What is another one each time: only that it is there is compared.
LOOSE = {"atime", "ctime", "inode", "dev", "start", "end", "delta", "elapsed"}


def mask(value, key=None):
    if key in LOOSE and value is not None:
        return "*"
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value - time.time()) < 3600:
        return "now"
    if isinstance(value, str):
        for pattern, text in MASKS:
            value = re.sub(pattern, text, value)
        return value
    if isinstance(value, list):
        return [mask(item) for item in value]
    if isinstance(value, dict):
        return {mask(name): mask(item, name) for name, item in value.items()}
    return value


def differences(one, other, path=""):
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(set(one) | set(other)):
            if key not in one:
                yield f"{path}.{key}", "(nothing)", other[key]
            elif key not in other:
                yield f"{path}.{key}", one[key], "(nothing)"
            else:
                yield from differences(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other)):
            yield from differences(left, right, f"{path}[{place}]")
    elif type(one) is not type(other) or one != other:
        yield path, one, other


def kind_of(path, real, native, module):
    """What makes two differences look the same: no names, no numbers."""
    plain = lambda value: re.sub(r"/tmp/w/\S*|'[^']*'|\d+|\"[^\"]*\"", "_", json.dumps(value))[:70]
    return module + re.sub(r"\./tmp/w\S*|\[\d+\]", "./w", path) + plain(real) + plain(native)


def run(name, options):
    work = tempfile.mkdtemp(prefix="generated-")
    try:
        os.mkdir(os.path.join(work, "place"))
        given = os.path.join(work, "given")
        shutil.copytree(HERE, given)
        shutil.copy(options.program, os.path.join(given, "module"))
        lower = ":".join(filter(None, [options.over, options.root]))
        env = dict(os.environ, WORK=work, LOWER=lower, SEED=str(options.seed), COUNT=str(options.count), NAMES=name)
        spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net", "--uts", "bash", "-c", SCRIPT]
        with subprocess.Popen(spaces, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=env) as child:
            for line in child.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
                else:
                    print("inside: " + line, end="")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def settled(value, key=None, state=None):
    """A value as it is recorded: `*` where it is another each time."""
    if isinstance(value, dict):
        return {name.replace("/tmp/w", "@DIR@"): settled(item, name, value.get("state")) for name, item in value.items()}
    if isinstance(value, list):
        return [settled(item) for item in value]
    if mask(value, key) != value or key == "size" and state == "directory":
        return "*"
    return json.loads(json.dumps(value).replace("/tmp/w", "@DIR@"))


def recorded(case, told):
    """A case as the tests of the modules replay it."""
    steps, before = [], None
    for step, (report, files) in zip(case["steps"], told):
        if isinstance(step, str):
            return None
        short = {path[len("/tmp/w/"):]: [file[0]] + ([] if file[0].startswith("0o4") else file[4:5]) for path, file in files.items() if path.startswith("/tmp/w/")}
        steps.append(dict(module=step[0], arguments=json.loads(json.dumps(step[1]).replace("/tmp/w", "@DIR@")), settings=step[2] if len(step) > 2 else {},
                          report=settled(report), files=None if short == before else short))
        before = short
    return dict(name=case["name"], setup=case["setup"], steps=steps)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--program", required=True)
    options.add_argument("--root", required=True)
    options.add_argument("--over", default="")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--count", type=int, default=200)
    options.add_argument("--record")
    options.add_argument("--all", action="store_true", help="tell each difference, also those like another")
    options.add_argument("--wide", type=int, default=400, help="how much is told of a value")
    options.add_argument("names", nargs="*")
    options = options.parse_args()
    names = options.names or sorted(name[:-3] for name in os.listdir(HERE) if name.endswith(".py") and name not in ("inside.py", "odd.py", "server.py"))
    wrong_at_all, kept = 0, []
    for name in names:
        seen, cases, steps, wrong = {}, 0, 0, 0
        for line in run(name, options):
            case, real, native = line["case"], line["real"], line["native"]
            cases += 1
            differs = False
            if real is None or native is None:
                print(f"{case['name']}: nothing told: real {real is not None}, native {native is not None}: {line.get('error')}")
                wrong += 1
                continue
            for place, (one, other) in enumerate(zip(real, native)):
                steps += 1
                step = case["steps"][place]
                found = list(differences(mask(one), mask(other)))
                kinds = " ".join(kind_of(path, left, right, step if isinstance(step, str) else step[0]) for path, left, right in found)
                if found:
                    seen[kinds] = seen.get(kinds, 0) + 1
                if found and (seen[kinds] == 1 or options.all):
                    print(f"{case['name']} step {place} {json.dumps(step, ensure_ascii=False)[:options.wide]}")
                    for path, left, right in found[:12]:
                        print(f"  {path[-160:]}\n    real:   {left!r:.{options.wide}}\n    native: {right!r:.{options.wide}}")
                if found:
                    differs = True
                    break
            wrong += differs
            if not differs and options.record and (told := recorded(case, real)):
                kept.append(told)
        wrong_at_all += wrong
        print(f"{name}: {cases} cases, {steps} steps: {wrong} cases differ, in {len(seen)} ways: {sorted(seen.values(), reverse=True)[:20]}", flush=True)
    if options.record:
        with open(options.record, "w") as file:
            json.dump(kept, file, ensure_ascii=False, separators=(",", ":"))
    sys.exit(wrong_at_all != 0)


main()
