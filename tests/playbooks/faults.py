#!/usr/bin/env python3
"""Lets things go wrong in the middle of a run of `consort play` over a real sshd, and sees what is left and what the recap says.

    faults.py --program target/debug/consort --root DEBIAN_ROOT [NAME ...]

Everything happens in mount, process, network and host name spaces of its own over an overlay of the root (README.md says how to
get one) that is thrown away: a controller, and an sshd in a network namespace beside it, with a link between them that can be cut.
After each fault: no file on the target is half written, the recap says what happened, a second run completes, and one more changes
nothing.
"""

import argparse
import hashlib
import os
import re
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
cp "$HARNESS" opt/harness/faults.py
cp "$PROGRAM" opt/consort/program
[ -z "$HELPER" ] || cp "$HELPER" opt/consort/consort-play-helper
ln -s program opt/consort/ansible-playbook
ip link set lo up
hostname controller
exec chroot . env -i HOME=/root LC_ALL=C.UTF-8 ANSIBLE_NOCOLOR=1 ANSIBLE_HOST_KEY_CHECKING=false ANSIBLE_PYTHON_INTERPRETER=auto_silent \
  PATH=/opt/consort:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /usr/bin/python3 /opt/harness/faults.py --inside "$NAME"
"""

CASE = "/srv/case"
INVENTORY = """
near ansible_connection=local
far ansible_host=10.99.0.2 ansible_user=root ansible_ssh_private_key_file=/root/key ansible_ssh_common_args="-o ServerAliveInterval=1 -o ServerAliveCountMax=2 -o ConnectTimeout=5"
"""


class Wrong(Exception):
    """Something is not as it must be."""


def must(holds, what):
    if not holds:
        raise Wrong(what)


def until(holds, what, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Wrong(f"{what}: not after {seconds} s")
        time.sleep(0.02)


def sh(command):
    return subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout


def begin(playbook, *arguments):
    return subprocess.Popen(
        ["ansible-playbook", "-i", "inventory", playbook, *arguments], cwd=CASE, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )


def ended(process, seconds=120):
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        raise Wrong(f"the run did not end in {seconds} s:\n{out}") from None
    print(out)
    return process.returncode, out


def run(playbook, *arguments):
    return ended(begin(playbook, *arguments))


def counts(out, host):
    recap = re.search(rf"^{host} +: (.*)$", out, re.M)
    must(recap, f"no recap of {host} in\n{out}")
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", recap[1])}


def write(path, text):
    with open(os.path.join(CASE, path), "w") as file:
        file.write(text)


def digest(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def completes(playbook, *arguments):
    """A second run completes, and one more changes nothing."""
    status, out = run(playbook, *arguments)
    must(status == 0, f"the second run ends with {status}")
    status, out = run(playbook, *arguments)
    must(status == 0, f"the third run ends with {status}")
    for host in re.findall(r"^(\w+) +: ok=", out, re.M):
        must(counts(out, host)["changed"] == 0, "the third run changes something")


def big(size):
    with open(f"{CASE}/big", "wb") as file:
        block = os.urandom(1 << 20)
        for number in range(size):
            file.write(number.to_bytes(4, "big") + block)
    return digest(f"{CASE}/big")


def nothing_left(directory, *expected):
    left = sorted(set(os.listdir(directory)) - set(expected))
    must(not left, f"left in {directory}: {left}")


def host_lost():
    """The link to a host goes down in the middle of a task."""
    write("site.yml", """
- hosts: all
  gather_facts: false
  tasks:
    - copy: {content: "before\\n", dest: "/target/{{ inventory_hostname }}-before"}
    - shell: touch /target/begun; sleep {{ nap | default(20) }}
      args: {creates: "/target/{{ inventory_hostname }}-after"}
      when: inventory_hostname == 'far'
    - copy: {content: "after\\n", dest: "/target/{{ inventory_hostname }}-after"}
""")
    process = begin("site.yml")
    until(lambda: os.path.exists("/target/begun"), "the task begins")
    sh("ip link set c0 down")
    status, out = ended(process)
    must(status == 4, f"the run ends with {status}")
    must(counts(out, "far")["unreachable"] == 1 and counts(out, "far")["ok"] == 1, "the recap does not say that far was lost")
    must(counts(out, "near")["unreachable"] == 0 and counts(out, "near")["failed"] == 0 and counts(out, "near")["ok"] == 2, "the other host did not go on")
    must(not os.path.exists("/target/far-after"), "a task ran after the loss")
    sh("ip link set c0 up")
    completes("site.yml", "-e", "nap=0")
    must(open("/target/far-after").read() == "after\n", "the file is not what it should be")


def host_lost_in_copy():
    """The link to a host goes down while a file is sent."""
    want = big(120)
    open("/target/file", "w").write("old\n")
    write("site.yml", """
- hosts: far
  gather_facts: false
  tasks:
    - ping:
    - copy: {src: big, dest: /target/file}
""")
    # So slow that it is cut in the middle.
    sh("tc qdisc add dev c0 root tbf rate 100mbit burst 256kb latency 50ms 2> /dev/null || true")
    sent = lambda: int(open("/sys/class/net/c0/statistics/tx_bytes").read())
    process = begin("site.yml")
    until(lambda: sent() > 30_000_000 or process.poll() is not None, "30 MB are sent")
    sh("ip link set c0 down")
    status, out = ended(process)
    must(status == 4, f"the run ends with {status}")
    must(counts(out, "far")["unreachable"] == 1 and counts(out, "far")["ok"] == 1, "the recap does not say that far was lost")
    must(open("/target/file").read() == "old\n", "the file is half written")
    sh("ip link set c0 up; tc qdisc del dev c0 root 2> /dev/null || true")
    completes("site.yml")
    must(digest("/target/file") == want, "the file is not what it should be")
    nothing_left("/target", "file")


def hung_task():
    """A task hangs and has a timeout; a connection hangs because the machine stands still."""
    write("site.yml", """
- hosts: all
  gather_facts: false
  tasks:
    - ping:
    - command: sleep {{ nap | default(4321) }}
      timeout: 3
      changed_when: false
      when: inventory_hostname == 'far'
    - copy: {content: "after\\n", dest: "/target/{{ inventory_hostname }}-after"}
""")
    begun = time.monotonic()
    status, out = run("site.yml")
    must(time.monotonic() - begun < 60, "the timeout did not count")
    must(status == 2, f"the run ends with {status}")
    must("Timed out after 3 second(s)" in out or "Timeout" in out, "it is not said that the task timed out")
    must(counts(out, "far")["failed"] == 1 and counts(out, "near")["failed"] == 0 and counts(out, "near")["changed"] == 1, "the recap is wrong")
    until(lambda: not sh("pgrep -f 'sleep [4]321' || true").strip(), "what hung is ended on the target", 20)
    completes("site.yml", "-e", "nap=0")


def full_disk():
    """The target's disk is full."""
    want = big(8)
    os.makedirs("/target/small", exist_ok=True)
    sh("mount -t tmpfs -o size=2m tmpfs /target/small")
    open("/target/small/file", "w").write("old\n")
    open("/target/small/lines", "w").write("a=1\n" * 1000)
    write("template.j2", "{% for n in range(400000) %}line {{ n }}\n{% endfor %}")
    write("site.yml", """
- hosts: far
  gather_facts: false
  tasks:
    - copy: {src: big, dest: /target/small/file}
      register: copied
      ignore_errors: "{{ full | default(false) | bool }}"
    - template: {src: template.j2, dest: /target/small/lines}
      ignore_errors: "{{ full | default(false) | bool }}"
    - lineinfile: {path: /target/small/one, line: "{{ 'x' * 3000000 }}", create: true}
      ignore_errors: "{{ full | default(false) | bool }}"
""")
    status, out = run("site.yml", "-e", "full=true")
    must(counts(out, "far")["ignored"] == 3 and counts(out, "far")["changed"] == 0, "the recap does not say that the tasks failed")
    must("No space left" in out, "it is not said that the disk is full")
    must(open("/target/small/file").read() == "old\n", "the file is half written")
    must(open("/target/small/lines").read() == "a=1\n" * 1000, "the template is half written")
    nothing_left("/target/small", "file", "lines")
    sh("mount -o remount,size=64m /target/small")
    completes("site.yml")
    must(digest("/target/small/file") == want, "the file is not what it should be")
    nothing_left("/target/small", "file", "lines", "one")


def full_temporary_directory():
    """There is no room on the target for what Consort itself needs there."""
    os.makedirs("/target/tmp", exist_ok=True)
    sh("mount -t tmpfs -o size=64k tmpfs /target/tmp")
    write("site.yml", """
- hosts: far
  gather_facts: false
  vars: {ansible_remote_tmp: /target/tmp}
  tasks:
    - copy: {content: "{{ 'x' * 300000 }}", dest: /target/file}
""")
    status, out = run("site.yml")
    must(status in (2, 4), f"the run ends with {status}")
    recap = counts(out, "far")
    must(recap["failed"] + recap["unreachable"] == 1, "the recap does not say that the task failed")
    must("No space left" in out or "space" in out, "it is not said why")
    must(not os.path.exists("/target/file"), "a file was made")
    sh("mount -o remount,size=512m /target/tmp")
    completes("site.yml")


def controller_killed():
    """The controller is killed while it sends a file, and again while a task runs."""
    want = big(120)
    open("/target/file", "w").write("old\n")
    write("site.yml", """
- hosts: far
  gather_facts: false
  tasks:
    - copy: {content: "first\\n", dest: /target/first}
    - copy: {src: big, dest: /target/file}
    - shell: "touch /target/begun; sleep {{ nap | default(0) }}"
      changed_when: false
    - copy: {content: "last\\n", dest: /target/last}
""")
    sh("tc qdisc add dev c0 root tbf rate 200mbit burst 256kb latency 50ms 2> /dev/null || true")
    sent = lambda: int(open("/sys/class/net/c0/statistics/tx_bytes").read())
    already = sent()
    process = begin("site.yml", "-e", "nap=30")
    until(lambda: sent() - already > 40_000_000 or process.poll() is not None, "40 MB are sent")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    must(process.returncode == -signal.SIGKILL, "the run ended before it was killed")
    sh("tc qdisc del dev c0 root 2> /dev/null || true")
    must(open("/target/first").read() == "first\n", "what was done is not there")
    must(open("/target/file").read() == "old\n", "the file is half written")
    until(lambda: not sh("pgrep -f 'consort-play-[h]elper' || true").strip(), "the helper on the target ends", 30)
    must(open("/target/file").read() == "old\n", "the file is half written after all")
    nothing_left("/target", "file", "first")
    process = begin("site.yml", "-e", "nap=30")
    until(lambda: os.path.exists("/target/begun") or process.poll() is not None, "the task begins")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    must(digest("/target/file") == want, "the file is not what it should be")
    must(not os.path.exists("/target/last"), "a task ran after the kill")
    until(lambda: not sh("pgrep -f 'consort-play-[h]elper' || true").strip(), "the helper on the target ends", 60)
    completes("site.yml")
    must(digest("/target/file") == want, "the file is not what it should be")


def interrupted():
    """The user interrupts a run: it ends, and so does what it began."""
    write("site.yml", """
- hosts: all
  gather_facts: false
  tasks:
    - shell: touch /target/begun-{{ inventory_hostname }}; sleep {{ nap | default(5432) }}
      changed_when: false
    - copy: {content: "x\\n", dest: "/target/{{ inventory_hostname }}"}
""")
    process = begin("site.yml")
    until(lambda: all(os.path.exists(f"/target/begun-{host}") for host in ("near", "far")), "the tasks begin")
    os.kill(process.pid, signal.SIGINT)
    status, out = ended(process, 30)
    must(status not in (0, 2, 4), f"the run ends with {status}")
    until(lambda: not sh("pgrep -f 'sleep [5]432' || true").strip(), "what it began is ended", 20)
    must(not os.path.exists("/target/far"), "a task ran afterwards")
    completes("site.yml", "-e", "nap=0")


FAULTS = [host_lost, host_lost_in_copy, hung_task, full_disk, full_temporary_directory, controller_killed, interrupted]


def inside(name):
    fault = next(fault for fault in FAULTS if fault.__name__ == name)
    sh("ssh-keygen -q -t ed25519 -N '' -f /root/key; mkdir -p -m 700 /root/.ssh; cp /root/key.pub /root/.ssh/authorized_keys; ssh-keygen -q -t ed25519 -N '' -f /root/hostkey")
    beside = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    until(lambda: os.readlink(f"/proc/{beside.pid}/ns/net") != os.readlink("/proc/self/ns/net"), "a network namespace beside")
    sh(f"ip link add c0 type veth peer name t0 netns {beside.pid}; ip addr add 10.99.0.1/24 dev c0; ip link set c0 up;"
       f"nsenter -t {beside.pid} -n sh -c 'ip link set lo up; ip addr add 10.99.0.2/24 dev t0; ip link set t0 up'")
    sshd = subprocess.Popen(
        ["nsenter", "-t", str(beside.pid), "-n", "/usr/sbin/sshd", "-D", "-e", "-h", "/root/hostkey", "-o", "StrictModes=no", "-o", "UsePAM=no",
         "-o", "ClientAliveInterval=2", "-o", "ClientAliveCountMax=2"],
        stderr=open("/tmp/sshd.log", "w"),
    )
    until(lambda: subprocess.run(["bash", "-c", "exec 3<>/dev/tcp/10.99.0.2/22"], capture_output=True).returncode == 0, "sshd listens")
    os.makedirs(CASE, exist_ok=True)
    write("inventory", INVENTORY)
    try:
        fault()
        print("PASSES")
    except Wrong as wrong:
        print(open("/tmp/sshd.log").read())
        print(f"WRONG: {wrong}")
    finally:
        sshd.kill()
        beside.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the program under test: `consort`, or the example `play` of consort-playbook")
    parser.add_argument("--helper", help="`consort-play-helper`, if it is to stand beside it")
    parser.add_argument("--root", required=True, help="a Debian with ansible-core and an sshd in it")
    parser.add_argument("--scratch", default="/tmp/consort-faults")
    parser.add_argument("--logs", default="/tmp/consort-faults/logs")
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for path in ("program", "helper", "root", "scratch", "logs"):
        if getattr(options, path):
            setattr(options, path, os.path.abspath(getattr(options, path)))
    os.makedirs(options.logs, exist_ok=True)
    known = [fault.__name__ for fault in FAULTS]
    failed = 0
    for name in options.names or known:
        if name not in known:
            parser.error(f"no fault {name}; there are {', '.join(known)}")
        work = os.path.join(options.scratch, name)
        os.makedirs(work, exist_ok=True)
        env = {
            "PATH": os.environ["PATH"], "WORK": work, "LOWER": options.root, "HARNESS": os.path.abspath(__file__),
            "PROGRAM": options.program, "HELPER": options.helper or "", "NAME": name,
        }
        spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc"]
        log = os.path.join(options.logs, f"{name}.log")
        begun = time.time()
        with open(log, "wb") as out:
            try:
                subprocess.run([*spaces, "bash", "-c", SCRIPT], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=options.timeout)
            except subprocess.TimeoutExpired:
                out.write(b"\nWRONG: too slow\n")
        shutil.rmtree(work, ignore_errors=True)
        text = open(log, errors="replace").read()
        passes = text.rstrip().endswith("PASSES")
        failed += not passes
        why = re.search(r"^WRONG: .*", text, re.M)
        print(f"{name:26} {'passes' if passes else why[0] if why else text.splitlines()[-1:]}  ({time.time() - begun:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2])
    else:
        sys.exit(main())
