#!/usr/bin/env python3
"""Runs well-known public roles with `consort play` on a throw-away Debian, twice, and asks the service they set up.

    roles.py --program target/debug/consort --root DEBIAN_ROOT --roles ROLES_DIR [--peer] [NAME ...]

ROLES_DIR holds a directory for each role, named as Galaxy names it (README.md says how to get them); nothing of them is kept here.
Each role gets mount, process and host name spaces of its own over an overlay of the root that is thrown away. The network is the
host's: roles install packages. So roles run one after the other, and ports they listen on must be free.

A role passes if its first run changes something and fails nothing, its second changes nothing, and its service answers.
There is no systemd on the machine, so services are started as the roles start them there: by the scripts in /etc/init.d.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time

# For each role: variables, and a shell script that ends well if what the role set up answers.
ROLES = {
    "geerlingguy.nginx": (
        {"nginx_vhosts": [{"listen": "8081", "server_name": "shown.example", "root": "/srv/www"}]},
        "mkdir -p /srv/www; echo served > /srv/www/index.html; exec 3<>/dev/tcp/127.0.0.1/8081;"
        "printf 'GET / HTTP/1.0\\r\\nHost: shown.example\\r\\n\\r\\n' >&3; grep -q '^served' <&3",
    ),
    "nginxinc.nginx": (
        {"nginx_install_from": "os_repository"},
        "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -1 <&3 | grep -q '200 OK'",
    ),
    "geerlingguy.redis": ({"redis_port": 6380}, "test $(redis-cli -p 6380 PING) = PONG"),
    "geerlingguy.memcached": (
        {"memcached_port": 11212},
        "exec 3<>/dev/tcp/127.0.0.1/11212; printf 'set k 0 0 5\\r\\nvalue\\r\\nget k\\r\\nquit\\r\\n' >&3; grep -q '^value' <&3",
    ),
    "geerlingguy.haproxy": (
        {"haproxy_frontend_port": 8082, "haproxy_backend_httpchk": "", "haproxy_backend_servers": [{"name": "app", "address": "127.0.0.1:8083"}]},
        "mkdir -p /srv/www; echo behind > /srv/www/index.html; cd /srv/www; python3 -m http.server --bind 127.0.0.1 8083 >/dev/null 2>&1 & "
        "for i in $(seq 50); do exec 3<>/dev/tcp/127.0.0.1/8082 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '^behind' <&3 && exit 0; sleep 0.2; done; exit 1",
    ),
    "geerlingguy.postgresql": (
        {
            "postgresql_daemon": "postgresql",
            "postgresql_service_enabled": False,
        },
        "su postgres -c \"psql -At -c 'select 6 * 7'\" | grep -qx 42",
    ),
    "geerlingguy.ntp": ({"ntp_enabled": True, "ntp_manage_config": True}, "chronyc -n tracking | grep -q '^Reference' || ntpq -pn | grep -q remote"),
}

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
mkdir -p run/lock run/sshd opt/roles opt/consort
cp /etc/resolv.conf etc/resolv.conf
cp -a "$ROLES/." opt/roles/
cp "$PLAY" opt/site.yml
if [ -n "$PROGRAM" ]; then
  cp "$PROGRAM" opt/consort/program
  [ -z "$HELPER" ] || cp "$HELPER" opt/consort/consort-play-helper
  ln -s program opt/consort/ansible-playbook
fi
# Packages may start what they bring.
printf '#!/bin/sh\nexit 0\n' > usr/sbin/policy-rc.d
chmod +x usr/sbin/policy-rc.d
hostname machine
exec chroot . env -i HOME=/root LC_ALL=C.UTF-8 PATH=/opt/consort:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  DEBIAN_FRONTEND=noninteractive ANSIBLE_ROLES_PATH=/opt/roles ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_NOCOLOR=1 \
  bash -c '
cd /opt
apt-get update > /tmp/update 2>&1 || cat /tmp/update
ansible-playbook site.yml; echo "FIRST $?"
ansible-playbook site.yml; echo "SECOND $?"
bash -c "$CHECK"; echo "ANSWER $?"
'
"""


def run(options, name, ours):
    variables, check = ROLES[name]
    work = os.path.join(options.scratch, f"{name}-{'ours' if ours else 'peer'}")
    os.makedirs(os.path.join(work, "root"), exist_ok=True)
    play = os.path.join(work, "site.yml")
    with open(play, "w") as file:
        json.dump([{"hosts": "localhost", "connection": "local", "vars": variables, "roles": [name]}], file)
    env = {
        "PATH": os.environ["PATH"],
        "WORK": os.path.join(work, "root"),
        "LOWER": options.root,
        "ROLES": options.roles,
        "PLAY": play,
        "PROGRAM": options.program if ours else "",
        "HELPER": options.helper if ours and options.helper else "",
    }
    script = SCRIPT.replace('"$CHECK"', '"$(cat /opt/check)"').replace("hostname machine", 'cp "$PLAY.check" opt/check; hostname machine')
    with open(play + ".check", "w") as file:
        file.write(check + "\n")
    spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--uts", "--ipc"]
    begun = time.time()
    log = os.path.join(options.logs, f"{name}.{'ours' if ours else 'peer'}.log")
    with open(log, "wb") as out:
        try:
            subprocess.run([*spaces, "bash", "-c", script], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=options.timeout)
        except subprocess.TimeoutExpired:
            out.write(b"\ntoo slow\n")
    shutil.rmtree(work, ignore_errors=True)
    text = open(log, errors="replace").read()
    recaps = re.findall(r"^localhost +: (ok=.*)$", text, re.M)
    status = dict(re.findall(r"^(FIRST|SECOND|ANSWER) (\d+)$", text, re.M))
    faults = []
    if status.get("FIRST") != "0" or len(recaps) < 1:
        faults.append("the first run failed")
    elif "changed=0" in recaps[0]:
        faults.append("the first run changed nothing")
    if status.get("SECOND") != "0" or len(recaps) < 2 or not re.search(r"changed=0\b", recaps[1]):
        faults.append("the second run changed something or failed")
    if status.get("ANSWER") != "0":
        faults.append("nothing answers")
    return faults, recaps, time.time() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="the program under test: `consort`, or the example `play` of consort-playbook")
    parser.add_argument("--helper", help="`consort-play-helper`, if it is to stand beside it")
    parser.add_argument("--root", required=True, help="a Debian with ansible-core in it")
    parser.add_argument("--roles", required=True, help="the directory of the roles")
    parser.add_argument("--peer", action="store_true", help="run the real ansible-core too")
    parser.add_argument("--scratch", default="/tmp/consort-roles")
    parser.add_argument("--logs", default="/tmp/consort-roles/logs")
    parser.add_argument("--timeout", type=float, default=1200)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for path in ("program", "helper", "root", "roles", "scratch", "logs"):
        if getattr(options, path):
            setattr(options, path, os.path.abspath(getattr(options, path)))
    os.makedirs(options.logs, exist_ok=True)
    failed = 0
    for name in options.names or ROLES:
        if name not in ROLES or not os.path.isdir(os.path.join(options.roles, name)):
            parser.error(f"no role {name}")
        for ours in [who for who, on in ((True, options.program), (False, options.peer)) if on]:
            faults, recaps, took = run(options, name, ours)
            failed += bool(faults)
            print(f"{name:26} {'ours' if ours else 'real'}  {'; '.join(faults) or 'passes'}  ({took:.0f} s)", flush=True)
            for which, recap in zip(("first", "second"), recaps):
                print(f"    {which:7}{recap}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
