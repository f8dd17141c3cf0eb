#!/usr/bin/env python3
"""Runs native modules that change a system beside the real ones, and tells what differs.

    system_modules.py --program target/debug/examples/module --root DEBIAN_ROOT [--over DIR] [--only REGEX] [user cron ...]

The root is a directory with a Debian and ansible-core installed in it, `--over` one to be laid over it (with packages the
root lacks: `iptables`, `libuser`, `cron`). Each case of `modules/` runs twice from the start, in mount, process and network
namespaces of its own over a root that is thrown away: once with the real modules, once with the native ones. Results and
files must be equal after every step. Needs root; nothing stays.
"""

import argparse
import concurrent.futures
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "modules")

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
mkdir dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 none dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs tmp -o mode=1777
mkdir -p opt/beside
cp "$WORK"/given/* opt/beside/
ip link set lo up
chroot . env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin python3 /opt/beside/inside.py "$HOW"
cp opt/beside/told.json "$WORK/told.json"
"""

MASKS = [
    (r"crontab\w{8}", "crontab"),
    (r"# \((/tmp/\S+|-) installed on [^)]*\)", "# (installed)"),
    (r"SHA256:\S+", "SHA256:key"),
    (r"AAAA[A-Za-z0-9+/=]+", "key"),
    (r"crontab\.\w{6}", "crontab"),
]


def mask(value):
    if isinstance(value, str):
        for pattern, text in MASKS:
            value = re.sub(pattern, text, value)
        return value
    if isinstance(value, list):
        return [mask(item) for item in value]
    if isinstance(value, dict):
        return {mask(key): mask(item) for key, item in value.items()}
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
    elif one != other:
        yield path, one, other


def run(case, how, options):
    work = tempfile.mkdtemp(prefix="beside-")
    try:
        os.mkdir(os.path.join(work, "place"))
        given = os.path.join(work, "given")
        os.mkdir(given)
        with open(os.path.join(given, "case.json"), "w") as file:
            json.dump(case, file)
        shutil.copy(os.path.join(HERE, "inside.py"), given)
        if how == "native":
            shutil.copy(options.program, os.path.join(given, "module"))
        lower = ":".join(filter(None, [options.over, options.root]))
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net", "--uts", "bash", "-c", SCRIPT],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, env=dict(os.environ, WORK=work, LOWER=lower, HOW=how))
        try:
            with open(os.path.join(work, "told.json")) as file:
                return json.load(file)
        except OSError:
            print(f"{case['name']} ({how}) gave nothing:\n{done.stdout}{done.stderr}")
            return None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def cases(name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(HERE, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CASES


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--program", required=True)
    options.add_argument("--root", required=True)
    options.add_argument("--over", default="")
    options.add_argument("--only", default="")
    options.add_argument("names", nargs="*")
    options = options.parse_args()
    names = options.names or sorted(name[:-3] for name in os.listdir(HERE) if name.endswith(".py") and name != "inside.py")
    chosen = [case for name in names for case in cases(name) if re.search(options.only, case["name"])]
    wrong = steps = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [(case, [pool.submit(run, case, how, options) for how in ("real", "native")]) for case in chosen]
        for case, both in runs:
            told = [one.result() for one in both]
            found = None in told
            for place, (one, other) in enumerate(zip(*told) if not found else []):
                steps += 1
                for path, real, native in differences(mask(one), mask(other)):
                    print(f"{case['name']}, step {place} {json.dumps(case['steps'][place])[:200]}\n  {path}\n"
                          f"    real:   {real!r:.600}\n    native: {native!r:.600}")
                    found = True
            wrong += found
    print(f"{len(chosen)} cases, {steps} steps: {wrong} cases differ")
    sys.exit(wrong != 0)


main()
