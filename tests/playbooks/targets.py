#!/usr/bin/env python3
"""Runs integration targets of ansible-core's own source archive against `consort play`.

    targets.py --program target/release/examples/play --source ansible_core-2.21.5 --root DEBIAN_ROOT [NAME ...]

The source archive is PyPI's `ansible-core` (`pip download --no-binary :all: ansible-core==2.21.5`). The root is a directory
with a Debian and ansible-core installed in it: the real program runs there (`--peer`), and Consort finds the Python
modules in it. Each target runs in a mount, process and network namespace of its own over a copy of the source; the root is
mounted under an overlay that is thrown away, so that nothing a target does stays. As ansible-test does it, a target with a
`runme.sh` runs that, any other is a role that a playbook for `testhost` runs.

Consort is called by the names `ansible-playbook`, `ansible`, `ansible-inventory` and `ansible-vault`; every other program of
Ansible is the real one. Without names all targets that ansible-test would run on Linux are tried. The result is a line for
each target, and all output in `--logs`.
"""

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import time

OURS = ["ansible-playbook", "ansible", "ansible-inventory", "ansible-vault"]
NOT_HERE = re.compile(
    r"windows|winrm|psrp|win_|powershell|cloud|network|ansible-test|ansible-galaxy|ansible-doc|ansible-config|ansible-console|"
    r"ansible-pull|module_utils_Ansible|incidental"
)

SCRIPT = r"""
set -e
mount -t tmpfs none "$WORK"
mkdir -p "$WORK/up" "$WORK/work" "$WORK/root"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$WORK/up,workdir=$WORK/work" "$WORK/root"
cd "$WORK/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs tmp -o mode=1777
mount -t sysfs sysfs sys 2>/dev/null || true
mkdir -p root/ansible/test tmp/out
cp "$SOURCE/run-target" root/ansible/
for part in integration support lib; do
  mkdir -p "$WORK/$part-up" "$WORK/$part-work" "root/ansible/test/$part"
  mount -t overlay overlay -o "lowerdir=$ARCHIVE/test/$part,upperdir=$WORK/$part-up,workdir=$WORK/$part-work" "root/ansible/test/$part"
done
[ -e usr/bin/python ] || ln -s python3 usr/bin/python
# What ansible-test puts on the way to programs and modules.
mkdir -p opt/injector root/ansible/lib
cp root/ansible/test/lib/ansible_test/_util/target/injector/virtualenv.sh opt/injector/
{ echo '#!/usr/bin/python3'; cat root/ansible/test/lib/ansible_test/_util/target/injector/python.py; } > opt/injector/python.py
chmod +x opt/injector/*
ln -sfn "$(chroot . python3 -c 'import ansible, os; print(os.path.dirname(ansible.__file__))')" root/ansible/lib/ansible
ln -sfn ../test/lib/ansible_test root/ansible/lib/ansible_test
if [ -n "$WHEELS" ]; then mkdir -p opt/wheels; mount --bind -o ro "$WHEELS" opt/wheels; fi
if [ -n "$PROGRAM" ]; then
  mkdir -p opt/consort
  cp "$PROGRAM" opt/consort/play
  [ -n "$HELPER" ] && cp "$HELPER" opt/consort/consort-play-helper
  for name in $NAMES; do ln -sf play "opt/consort/$name"; done
fi
ip link set lo up 2>/dev/null || true
# Machines are reached at this one, as ansible-test sees to it.
if [ -x usr/sbin/sshd ]; then
  mkdir -p -m 755 run/sshd
  chroot . ssh-keygen -A > /dev/null
  chroot . /usr/sbin/sshd -o PermitRootLogin=yes
fi
exec chroot . /bin/bash /root/ansible/run-target
"""


def words(path):
    try:
        lines = open(path).read().splitlines()
    except OSError:
        return []
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def plan(targets, name):
    """The commands that ansible-test would run for a target, as a shell script."""
    there = os.path.join(targets, name)
    aliases = words(os.path.join(there, "aliases"))
    lines = []
    for alias in aliases:
        found = re.match(r"setup/(?:always|once)/(.+)", alias)
        if found:
            lines += plan(targets, found[1])
    lines += ["rm -rf /tmp/out && mkdir -p /tmp/out"]
    if os.path.exists(os.path.join(there, "runme.sh")):
        lines += [
            f"cd /root/ansible/test/integration/targets/{name}",
            f"ANSIBLE_PLAYBOOK_DIR=$PWD ./runme.sh",
        ]
    else:
        play = {
            "hosts": "testhost",
            "gather_facts": "gather_facts/no" not in aliases,
            "vars": {"output_dir": "/tmp/out"},
            "roles": [name],
        }
        lines += [
            "cd /root/ansible/test/integration",
            f"cat > {name}-play.yml <<'END'\n{json.dumps([play], indent=4, sort_keys=True)}\nEND",
            "ANSIBLE_PLAYBOOK_DIR=$PWD ANSIBLE_ROLES_PATH=$PWD/targets "
            f"ansible-playbook {name}-play.yml -i inventory",
        ]
    return lines


def script(targets, name, ours, wheels):
    support = "/root/ansible/test/support/integration"
    path = "/opt/injector:" + ("/opt/consort:" if ours else "") + "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    env = {
        "PATH": path,
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "PAGER": "/bin/cat",
        "ANSIBLE_INVENTORY_PLUGIN_EXTS": ".yaml, .yml, .json, .winrm, .networking",
        "ANSIBLE_FORCE_COLOR": "false",
        "ANSIBLE_FORCE_HANDLERS": "true",
        "ANSIBLE_HOST_PATTERN_MISMATCH": "error",
        "ANSIBLE_INVENTORY": "/dev/null",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
        "ANSIBLE_HOST_KEY_CHECKING": "false",
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "ANSIBLE_CONFIG": "/root/ansible/ansible.cfg",
        "ANSIBLE_COLLECTIONS_PATH": f"{support}/collections",
        "ANSIBLE_LIBRARY": f"{support}/plugins/modules",
        "ANSIBLE_CALLBACKS_ENABLED": "junit",
        "ANSIBLE_PYTHON_MODULE_RLIMIT_NOFILE": "1024",
        "PYTHONPATH": "/root/ansible/lib",
        "ANSIBLE_DEVEL_WARNING": "false",
        "ANSIBLE_PYTHON_INTERPRETER": "/set/ansible_python_interpreter/in/inventory",
        "ANSIBLE_TEST_CI": "",
        "ANSIBLE_TEST_COVERAGE": "",
        "ANSIBLE_TEST_ANSIBLE_VERSION": "2.21.5",
        "ANSIBLE_TEST_PYTHON_VERSION": "3.13",
        "ANSIBLE_TEST_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_TEST_PREFER_VENV": "",
        "OUTPUT_DIR": "/tmp/out",
        "INVENTORY_PATH": "/root/ansible/test/integration/inventory",
        "JUNIT_OUTPUT_DIR": "/tmp/junit",
        "JUNIT_TASK_RELATIVE_PATH": "/root/ansible/test/integration",
        "JUNIT_REPLACE_OUT_OF_TREE_PATH": "out-of-tree:",
        "PIP_BREAK_SYSTEM_PACKAGES": "1",
    }
    if wheels:
        env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/opt/wheels"}
    for alias in words(os.path.join(targets, name, "aliases")):
        found = re.match(r"env/set/([^/]+)/(.*)", alias)
        if found:
            env[found[1]] = found[2]
    lines = ["set -e"]
    lines += [f"export {key}='{value}'" for key, value in env.items()]
    lines += [
        "unset LANG LC_CTYPE",
        "printf '' > /root/ansible/ansible.cfg",
        "printf '[testgroup]\\ntesthost ansible_connection=local ansible_pipelining=yes "
        "ansible_python_interpreter=/usr/bin/python3\\n' > /root/ansible/test/integration/inventory",
        "mkdir -p -m 700 /root/.ssh; [ -e /root/.ssh/id_rsa ] || { ssh-keygen -q -t rsa -N '' -f /root/.ssh/id_rsa; "
        "cp /root/.ssh/id_rsa.pub /root/.ssh/authorized_keys; }",
        "grep -q testhost /etc/hosts || echo '127.0.0.1 localhost testhost' >> /etc/hosts",
    ]
    return "\n".join(lines + plan(targets, name)) + "\n"


def run(options, name, ours):
    targets = os.path.join(options.source, "test/integration/targets")
    work = os.path.join(options.scratch, f"{name}-{'ours' if ours else 'peer'}")
    shutil.rmtree(work, ignore_errors=True)
    source, root = os.path.join(work, "source"), os.path.join(work, "mount")
    os.makedirs(root)
    os.makedirs(source)
    with open(os.path.join(source, "run-target"), "w") as file:
        file.write(script(targets, name, ours, bool(options.wheels)))
    env = {
        "PATH": os.environ["PATH"],
        "WORK": root,
        "LOWER": options.root,
        "SOURCE": source,
        "ARCHIVE": options.source,
        "PROGRAM": options.program if ours else "",
        "HELPER": options.helper if ours and options.helper else "",
        "NAMES": " ".join(OURS),
        "WHEELS": options.wheels or "",
    }
    begun = time.time()
    log = os.path.join(options.logs, f"{name}.{'ours' if ours else 'peer'}.log")
    namespaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc"]
    with open(log, "wb") as out:
        try:
            code = subprocess.run(
                [*namespaces, "bash", "-c", SCRIPT],
                env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=options.timeout,
            ).returncode
        except subprocess.TimeoutExpired:
            code = "timeout"
    shutil.rmtree(work, ignore_errors=True)
    return code, time.time() - begun, log


def last(log):
    """What most likely says why a target failed."""
    lines = [line.strip() for line in open(log, errors="replace").read().splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(fatal|failed|\[ERROR\]|ERROR|consort|error)", line)]
    return (telling or lines or [""])[-1][:200]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="the program under test: the example `play` of consort-playbook, or `consort`")
    parser.add_argument("--helper", help="`consort-play-helper`, if it is to stand beside it")
    parser.add_argument("--source", required=True, help="the unpacked source archive of ansible-core")
    parser.add_argument("--root", required=True, help="a Debian with ansible-core in it")
    parser.add_argument("--wheels", help="a directory of wheels for targets that install some with pip; there is no network")
    parser.add_argument("--peer", action="store_true", help="run the real ansible-core too")
    parser.add_argument("--scratch", default="/tmp/consort-targets")
    parser.add_argument("--logs", default="/tmp/consort-targets/logs")
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for path in ("program", "helper", "source", "root", "scratch", "logs", "wheels"):
        if getattr(options, path):
            setattr(options, path, os.path.abspath(getattr(options, path)))
    os.makedirs(options.logs, exist_ok=True)
    targets = os.path.join(options.source, "test/integration/targets")
    names = options.names or sorted(
        name for name in os.listdir(targets)
        if not NOT_HERE.search(name)
        and any(alias.startswith(("shippable/posix", "shippable/generic")) for alias in words(os.path.join(targets, name, "aliases")))
    )
    for name in names:
        if not os.path.isdir(os.path.join(targets, name)):
            parser.error(f"no target {name}")

    def one(name):
        return name, run(options, name, True) if options.program else None, run(options, name, False) if options.peer else None

    counts = {"ours": 0, "peer": 0}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, ours, peer in pool.map(one, names):
            parts = [f"{name:42}"]
            for who, outcome in (("ours", ours), ("peer", peer)):
                if outcome:
                    code, took, _ = outcome
                    counts[who] += code == 0
                    parts.append(f"{who} {'pass' if code == 0 else 'FAIL' if code != 'timeout' else 'TIME'} {took:6.1f}s")
            if ours and ours[0] != 0:
                parts.append(last(ours[2]))
            print("  ".join(parts), flush=True)
    print(", ".join(f"{who} {counts[who]} of {len(names)}" for who, on in (("ours", options.program), ("peer", options.peer)) if on))
    return 0


if __name__ == "__main__":
    sys.exit(main())
