#!/usr/bin/env python3
"""Reaches machines over a real sshd with `consort play` and with the real `ansible-playbook`, and tells what differs.

    ways.py --program target/debug/consort --root DEBIAN_ROOT [NAME ...]

Everything happens in name spaces of its own over an overlay of the root that is thrown away: a controller, and an sshd in a
network namespace beside it. Each case of `ways_cases.py` is run by both, from the same state, and what they print (without what changes
from run to run) and their exit statuses are compared. `--root` may be several directories joined by `:`, the uppermost first.
"""

import argparse
import difflib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

SCRIPT = r"""
set -e
mount -t tmpfs none "$WORK"
mkdir -p "$WORK/up" "$WORK/work" "$WORK/root"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$WORK/up,workdir=$WORK/work" "$WORK/root"
cd "$WORK/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs tmp -o mode=1777
mount -t tmpfs tmpfs run -o mode=755
mount -t sysfs sysfs sys
mkdir -p run/sshd opt/consort opt/harness srv/case target
cp "$HARNESS/ways.py" "$HARNESS/ways_cases.py" opt/harness/
cp "$PROGRAM" opt/consort/program
[ -z "$HELPER" ] || cp "$HELPER" opt/consort/consort-play-helper
ln -s program opt/consort/ansible-playbook
ln -s program opt/consort/ansible
for other in $OTHERS; do
  mkdir -p "srv/others/${other##*/}"
  mkdir -p "$WORK/o/${other##*/}/up" "$WORK/o/${other##*/}/work"
  mount -t overlay overlay -o "lowerdir=$other,upperdir=$WORK/o/${other##*/}/up,workdir=$WORK/o/${other##*/}/work" "srv/others/${other##*/}"
done
ip link set lo up
hostname controller
exec chroot . env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /usr/bin/python3 /opt/harness/ways.py --inside "$ONLY" $NAMES
"""

CASE = "/srv/case"
ADDRESS = "10.99.0.2"


def sh(command, check=True):
    return subprocess.run(["bash", "-c", command], check=check, capture_output=True, text=True).stdout


def until(holds, what, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not after {seconds} s")
        time.sleep(0.02)


def plain(text):
    """A text without what differs from run to run."""
    for pattern, by in [
        (r"ansible-tmp-[0-9.]+-[0-9a-z.-]+", "ansible-tmp-N"),
        (r"ansible-tmp-[0-9a-f]{32}", "ansible-tmp-N"),
        (r"key=[a-z0-9]{32}", "key=K"),
        (r"BECOME-SUCCESS-[a-z0-9]{32}", "BECOME-SUCCESS-K"),
        (r"port \d{5}", "port P"),
        (r'"(start|end|delta)": "[^"]*"', r'"\1": "T"'),
        (r"SHA256:\S+", "SHA256:X"),
    ]:
        text = re.sub(pattern, by, text)
    return text


def write(path, text, mode=0o644):
    path = os.path.join(CASE, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def logged_out():
    """Ends what logins keep for later ones: all programs here but those of this script."""
    for entry in os.listdir("/proc"):
        try:
            words = open(f"/proc/{entry}/cmdline", "rb").read()
        except (OSError, ValueError):
            continue
        if entry.isdigit() and (words.startswith(b"ssh: ") or words.startswith(b"ssh-agent")):
            os.kill(int(entry), signal.SIGKILL)
    sh("rm -rf /root/.ansible /root/.cache /home/*/.ansible /tmp/consort-* /var/tmp/consort-* /tmp/ansible*; rm -rf /target; mkdir -m 777 /target;"
       "for U in svc bob fishy; do install -d -m 700 -o $U -g $U /home/$U/.ansible /home/$U/.ansible/tmp; done")


def at_terminal(command, env, answers, seconds):
    """Runs a command at a terminal, where each text that is asked with is answered once."""
    child, master = pty.fork()
    if child == 0:
        os.chdir(CASE)
        os.execve(command[0], command, env)
    out, waiting, end = "", list(answers), time.monotonic() + seconds
    while True:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            out += "\ntoo slow"
            break
        ready, _, _ = select.select([master], [], [], 1)
        if not ready:
            continue
        try:
            chunk = os.read(master, 65536)
        except OSError:
            break
        if not chunk:
            break
        out += chunk.decode(errors="replace")
        if waiting and re.search(waiting[0][0], out):
            os.write(master, waiting.pop(0)[1].encode())
    _, status = os.waitpid(child, 0)
    os.close(master)
    return os.waitstatus_to_exitcode(status), out.replace("\r\n", "\n")


def run(program, case):
    logged_out()
    shutil.rmtree(CASE, ignore_errors=True)
    os.makedirs(CASE)
    if case.get("before"):
        sh(case["before"])
    for name, text in case.get("files", {}).items():
        write(name, text, 0o755 if text.startswith("#!") else 0o644)
    write("inventory", case["inventory"])
    write("site.yml", case["playbook"])
    if case.get("cfg"):
        write("ansible.cfg", case["cfg"])
    path = os.environ["PATH"]
    env = {"HOME": "/root", "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
           "PATH": f"/opt/consort:{path}" if program == "ours" else path, **case.get("env", {})}
    command = case.get("command", ["ansible-playbook", "-i", "inventory", "site.yml"]) + case.get("args", [])
    if program == "real":
        command = ["/usr/local/bin/" + command[0], *command[1:]]
    else:
        command = ["/opt/consort/" + command[0], *command[1:]]
    if case.get("shell"):
        command = ["bash", "-c", case["shell"], "case", *command]
    begun = time.monotonic()
    if case.get("answers"):
        status, out = at_terminal(command, env, case["answers"], case.get("seconds", 60))
        out += sh(case["after"], check=False) if case.get("after") else ""
        sh(case["undo"], check=False) if case.get("undo") else None
        return status, plain(out), time.monotonic() - begun
    process = subprocess.Popen(command, cwd=CASE, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace", start_new_session=True)
    try:
        out, _ = process.communicate(timeout=case.get("seconds", 90))
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        status = "too slow"
    if case.get("after"):
        out += "\n--- after\n" + sh(case["after"], check=False)
    if case.get("undo"):
        sh(case["undo"], check=False)
    return status, plain(out), time.monotonic() - begun


def inside(only, names):
    from ways_cases import CASES, SSHD, prepare

    sh("ssh-keygen -q -t ed25519 -N '' -f /root/key; mkdir -p -m 700 /root/.ssh; cp /root/key.pub /root/.ssh/authorized_keys; ssh-keygen -q -t ed25519 -N '' -f /root/hostkey")
    prepare(sh)
    beside = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    until(lambda: os.readlink(f"/proc/{beside.pid}/ns/net") != os.readlink("/proc/self/ns/net"), "a network namespace beside")
    sh(f"ip link add c0 type veth peer name t0 netns {beside.pid}; ip addr add 10.99.0.1/24 dev c0; ip link set c0 up;"
       f"nsenter -t {beside.pid} -n sh -c 'ip link set lo up; ip addr add {ADDRESS}/24 dev t0; ip addr add 10.99.0.3/24 dev t0; ip link set t0 up; ip addr add 10.98.0.1/32 dev lo'")
    with open("/etc/ssh/sshd_config_ways", "w") as file:
        file.write(SSHD)
    sshd = subprocess.Popen(["nsenter", "-t", str(beside.pid), "-n", "/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/sshd_config_ways"], stderr=open("/tmp/sshd.log", "w"))
    until(lambda: subprocess.run(["bash", "-c", f"exec 3<>/dev/tcp/{ADDRESS}/22"], capture_output=True).returncode == 0, "sshd listens")
    wrong = 0
    try:
        for name, case in CASES.items():
            if names and not any(re.fullmatch(wanted, name) for wanted in names):
                continue
            if case.get("needs") and not shutil.which(case["needs"]) and not os.path.exists(case["needs"]):
                print(f"{name:36} left out: there is no {case['needs']}", flush=True)
                continue
            said = {program: run(program, case) for program in (["ours"] if only == "ours" else ["real", "ours"])}
            if only == "ours":
                status, out, took = said["ours"]
                print(f"{name:36} {status} {took:.1f} s\n{out}", flush=True)
                continue
            (status, out, took), (status2, out2, took2) = said["real"], said["ours"]
            same = status == status2 and out == out2
            wrong += not same and not case.get("apart")
            verdict = "same" if same else f"apart: {case['apart']}" if case.get("apart") else "DIFFERS"
            print(f"{name:36} {verdict} ({status}; {took:.1f} s, {took2:.1f} s)", flush=True)
            if not same and (not case.get("apart") or only == "all"):
                print(f"    real {status}, ours {status2}")
                lines = difflib.unified_diff(out.splitlines(), out2.splitlines(), "real", "ours", lineterm="", n=2)
                print("\n".join("    " + line for line in list(lines)[:80]), flush=True)
    finally:
        sshd.kill()
        beside.kill()
    print("PASSES" if not wrong else f"WRONG: {wrong} cases differ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the program under test: `consort`, or the example `play` of consort-playbook")
    parser.add_argument("--helper", help="`consort-play-helper`, if it is to stand beside it")
    parser.add_argument("--root", required=True, help="a Debian with ansible-core and an sshd in it")
    parser.add_argument("--other", action="append", default=[], help="another root that is reached by a user of its name (busybox, bullseye)")
    parser.add_argument("--only", default="", help="`ours`: show what Consort says; `all`: show known differences too")
    parser.add_argument("--scratch", default="/tmp/consort-ways")
    parser.add_argument("names", nargs="*", help="cases, as regular expressions")
    options = parser.parse_args()
    os.makedirs(options.scratch, exist_ok=True)
    env = {
        "PATH": os.environ["PATH"], "WORK": os.path.abspath(options.scratch), "LOWER": ":".join(os.path.abspath(part) for part in options.root.split(":")),
        "HARNESS": os.path.dirname(os.path.abspath(__file__)), "PROGRAM": os.path.abspath(options.program),
        "HELPER": os.path.abspath(options.helper) if options.helper else "", "NAMES": " ".join(options.names), "ONLY": options.only or "-",
        "OTHERS": " ".join(os.path.abspath(other) for other in options.other),
    }
    spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc"]
    return subprocess.run([*spaces, "bash", "-c", "set -f\n" + SCRIPT], env=env, stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
