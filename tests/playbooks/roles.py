#!/usr/bin/env python3
"""Runs well-known public roles with `consort play` on a throw-away Debian, twice, and asks the service they set up.

    roles.py --program target/debug/consort --root DEBIAN_ROOT --roles ROLES_DIR [--peer] [NAME ...]

ROLES_DIR holds a directory for each role, named as Galaxy names it, and `collections` (README.md says how to get them); nothing of
them is kept here. Each role gets mount, process, network and host name spaces of its own over an overlay of the root that is thrown
away; packages come through a proxy that this program is, and are kept from role to role. The kernel's settings cannot be written.

A role passes if its first run changes something and fails nothing, its second changes nothing, and its service answers; `ends`
says what else is right for it. With `--peer` the real one does the same on the same machine, and recaps and everything on disk
must be equal: a role that the real one cannot finish either passes if both stop at the same place. There is no systemd on the
machine, so services are started as the roles start them there: by the scripts in /etc/init.d.
"""

import argparse
import concurrent.futures
import ctypes
import hashlib
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

CACHE = "/tmp/consort-roles/packages"

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
    "geerlingguy.php": ({"php_default_version_debian": "8.4", "php_enable_webserver": False, "php_enable_php_fpm": True, "php_packages_extra": []}, "php -r 'echo 6*7;' | grep -qx 42"),
    "geerlingguy.apache": ({"apache_vhosts": [{"servername": "a.example", "documentroot": "/srv/www"}], "apache_remove_default_vhost": True, "apache_mods_enabled": ["rewrite", "ssl"]},
                           "mkdir -p /srv/www; echo served > /srv/www/index.html; python3 -c 'import urllib.request as u;print(u.urlopen(\"http://127.0.0.1/\").read())' | grep served"),
    "geerlingguy.java": ({"java_packages": ["default-jre-headless"], "java_home": "/usr/lib/jvm/default-java"}, "java -version && grep -q JAVA_HOME /etc/profile.d/*"),
    "geerlingguy.certbot": ({"certbot_auto_renew_user": "root"}, "certbot --version; crontab -l | grep certbot"),
    "geerlingguy.pip": ({"pip_install_packages": [{"name": "wheel", "extra_args": "--break-system-packages"}]}, "python3 -c 'import wheel'"),
    "geerlingguy.nfs": ({"nfs_exports": ["/srv *(rw,sync)"]}, "grep -q /srv /etc/exports"),
    "geerlingguy.postfix": ({}, "python3 -c 'import smtplib; s=smtplib.SMTP(\"127.0.0.1\",25); print(s.noop())'"),
    "geerlingguy.samba": ({}, "testparm -s >/dev/null"),
    "geerlingguy.varnish": ({"varnish_apt_use_packagecloud": False, "varnish_version": "7.7"}, "varnishd -V"),
    "geerlingguy.supervisor": ({"pip_install_packages": []}, "supervisord --version", {"environment": {"PIP_BREAK_SYSTEM_PACKAGES": "1"}}),
    "geerlingguy.munin": ({}, "test -s /etc/munin/munin.conf"),
    "geerlingguy.dotfiles": ({"dotfiles_repo": "/srv/dotfiles", "dotfiles_files": [".zshrc", ".vimrc"], "dotfiles_home": "/root"}, "test $(readlink /root/.vimrc) && cat /root/.zshrc",
                             {"pre_tasks": [{"ansible.builtin.shell": "git init -q -b master /srv/dotfiles && cd /srv/dotfiles && echo a > .zshrc && echo b > .vimrc && git add . && git -c user.name=a -c user.email=a@a commit -qm one",
                                             "args": {"creates": "/srv/dotfiles/.git"}}]}),
    "geerlingguy.ruby": ({"ruby_install_gems_user": "root", "ruby_install_bundler": False}, "ruby -e 'puts 42'"),
    "geerlingguy.docker": ({"docker_add_repo": False, "docker_packages": ["docker.io"], "docker_obsolete_packages": ["podman-docker"], "docker_install_compose_plugin": False, "docker_service_manage": False,
                            "docker_users": ["daemon"], "docker_daemon_options": {"storage-driver": "vfs", "log-opts": {"max-size": "10m"}}}, "docker --version; id daemon | grep docker; python3 -m json.tool /etc/docker/daemon.json"),
    "geerlingguy.firewall": ({"firewall_allowed_tcp_ports": ["22", "80"], "firewall_enable_ipv6": True, "firewall_additional_rules": ["iptables -A INPUT -p tcp --dport 4949 -s 10.0.0.0/8 -j ACCEPT"]},
                             "iptables -S | grep 4949"),
    "geerlingguy.mysql": ({}, "mysql -e 'select 6*7' | grep 42"),
    "geerlingguy.security": ({"security_autoupdate_enabled": True, "security_fail2ban_enabled": False, "security_ssh_port": 2222, "security_sudoers_passwordless": ["daemon"]}, "grep -q 'Port 2222' /etc/ssh/sshd_config; visudo -cf /etc/sudoers"),
    "geerlingguy.git": ({}, "git --version"),
    "robertdebock.fail2ban": ({}, "fail2ban-client -d >/dev/null"),
    "robertdebock.users": ({"users_groups": [{"name": "dev", "gid": 1500}], "users": [{"name": "ann", "group": "dev", "groups": "users", "shell": "/bin/sh", "sudo_options": "ALL=(ALL) NOPASSWD: ALL", "cron_allow": True,
                             "authorized_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgkBrAN0Y5DLm0zLVzkMzVYcT8JdGHkD1n0qNxzYxKQ ann"]}]}, "id ann && visudo -c && test -s ~ann/.ssh/authorized_keys",),
    "robertdebock.cron": ({}, "test -s /etc/crontab"),
    "robertdebock.squid": ({}, "squid -v >/dev/null"),
    "robertdebock.vsftpd": ({}, "test -s /etc/vsftpd.conf"),
    "robertdebock.bootstrap": ({}, "true"),
    "robertdebock.rsyslog": ({}, "rsyslogd -N1"),
    "robertdebock.logrotate": ({"logrotate_applications": [{"name": "app", "definitions": [{"logs": ["/var/log/app.log"], "options": ["weekly", "rotate 3"]}]}]}, "logrotate -d /etc/logrotate.conf"),
    "bertvv.bind": ({"bind_zones": [{"name": "example.org", "primaries": ["127.0.0.1"], "type": "primary", "name_servers": ["ns1"], "hosts": [{"name": "ns1", "ip": "10.0.0.1"}, {"name": "www", "ip": "10.0.0.2", "aliases": ["web"]}], "networks": ["10.0.0"]}]},
                    "named-checkconf && named-checkzone example.org /var/cache/bind/example.org"),
    "bertvv.dhcp": ({"dhcp_subnets": [{"ip": "10.1.0.0", "netmask": "255.255.255.0", "range_begin": "10.1.0.10", "range_end": "10.1.0.20"}]}, "dhcpd -t"),
    "bertvv.samba": ({"samba_users": [{"name": "joe", "password": "secret"}], "samba_shares": [{"name": "share", "comment": "all", "writable": "yes", "valid_users": "joe"}]}, "testparm -s 2>/dev/null | grep share; pdbedit -L | grep joe",
                     {"pre_tasks": [{"ansible.builtin.user": {"name": "joe"}}]}),
    "jdauphant.nginx": ({"nginx_sites": {"s": ["listen 8084", "server_name _", "root /srv/www"]}}, "nginx -t; mkdir -p /srv/www; echo served > /srv/www/index.html; python3 -c 'import urllib.request as u;print(u.urlopen(\"http://127.0.0.1:8084/\").read())'"),
    "willshersystems.sshd": ({"sshd": {"Port": [22, 2200], "PermitRootLogin": False}, "sshd_match": [{"Condition": "User x", "AllowTcpForwarding": False}]}, "sshd -t && sshd -T | grep -i 'port 2200'", {"become": False}),
    "ANXS.postgresql": ({"postgresql_version": 17, "postgresql_install_repository": False, "postgresql_apt_pin_priority": False, "postgresql_locale_parts": ["C", "UTF-8"], "postgresql_ctype_parts": ["C", "UTF-8"],
                         "postgresql_databases": [{"name": "foo", "owner": "baz"}], "postgresql_users": [{"name": "baz", "pass": "pass"}]}, "su postgres -c \"psql -At -c 'select 6 * 7'\" | grep -qx 42"),
    "jnv.unattended-upgrades": ({"unattended_mail": "root", "unattended_automatic_reboot": True}, "apt-config dump | grep Unattended-Upgrade"),
    "geerlingguy.htpasswd": ({"htpasswd_credentials": [{"path": "/etc/htpasswds/site", "name": "joe", "password": "secret", "owner": "root", "group": "www-data", "mode": "u+rw,g+r"}]}, "grep -q ^joe: /etc/htpasswds/site"),
    "oefenweb.apt": ({}, "apt-get check"),
    "geerlingguy.phpmyadmin": ({"mysql_root_password": "root", "php_default_version_debian": "8.4"}, "test -s /etc/phpmyadmin/config.inc.php"),
    "weareinteractive.sudo": ({"sudo_users": [{"name": "%admins"}, {"name": "joe", "nopasswd": True, "commands": "/bin/ls"}], "sudo_defaults": [{"defaults": "env_reset"}]}, "visudo -c"),
    "weareinteractive.users": ({"users": [{"username": "foo", "name": "Foo", "groups": ["users"], "home_create": True, "authorized_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgkBrAN0Y5DLm0zLVzkMzVYcT8JdGHkD1n0qNxzYxKQ foo"], "profile": "alias a=b\n", "append": True}], "users_group": "people", "users_remove": ["games"]}, "id foo"),
    "singleplatform-eng.users": ({"users": [{"username": "bo", "name": "Bo", "uid": 1700, "groups": ["users"], "home": "/home/bo", "ssh_key": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgkBrAN0Y5DLm0zLVzkMzVYcT8JdGHkD1n0qNxzYxKQ bo"]}],
                                  "groups_to_create": [{"name": "g1", "gid": 4001}], "users_deleted": [{"username": "games", "uid": 5, "name": "g"}]}, "id bo; ! id games"),
    "oefenweb.fail2ban": ({"fail2ban_services": [{"name": "sshd", "port": 22, "maxretry": 3}]}, "fail2ban-client -d >/dev/null"),
    "oefenweb.postfix": ({"postfix_aliases": [{"user": "root", "alias": "you@example.org"}], "postfix_hostname": "m.example", "postfix_mailname": "m.example"}, "postalias -q root /etc/aliases"),
    "nickjj.fail2ban": ({}, "test -s /etc/fail2ban/jail.local"),
    "Stouts.openvpn": ({}, "test -s /etc/openvpn/server.conf"),
    "linux-system-roles.ssh": ({"ssh": {"Compression": True, "Host": [{"Condition": "a b", "Hostname": "c", "User": "x"}]}}, "ssh -G a | grep -i 'hostname c'"),
    "devsec.hardening.ssh_hardening": ({"ssh_server_ports": ["22", "2201"]}, "sshd -t"),
    "devsec.hardening.nginx_hardening": ({}, "nginx -t", {"pre_tasks": [{"ansible.builtin.apt": {"name": "nginx"}}]}),
    "devsec.hardening.os_hardening": ({"os_auditd_enabled": False, "sysctl_overwrite": {}, "os_sysctl_enabled": False}, "grep UMASK /etc/login.defs"),
    "devsec.hardening.mysql_hardening": ({"mysql_root_password": "root"}, "test -s /etc/mysql/conf.d/hardening.cnf", {"roles": ["geerlingguy.mysql", "devsec.hardening.mysql_hardening"]}),
}

# What cannot run on such a machine is only installed.
IDLE = {"geerlingguy.docker", "geerlingguy.nfs", "geerlingguy.samba", "geerlingguy.varnish"}

SCRIPT = r"""
set -e
ip link set lo up
mount -t tmpfs none "$WORK"
mkdir -p "$WORK/up" "$WORK/work" "$WORK/root"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$WORK/up,workdir=$WORK/work" "$WORK/root"
cd "$WORK/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount --rbind /dev dev
mount -t tmpfs tmpfs tmp -o mode=1777
mount -t tmpfs tmpfs run -o mode=755
mkdir -p run/lock run/sshd opt/roles opt/consort
mount --bind "$ROLES" opt/roles
echo "nameserver 127.0.0.1" > etc/resolv.conf
printf '127.0.0.1 localhost machine\n' > etc/hosts
printf 'Acquire::http::Proxy "http://127.0.0.1:3142";\nAPT::Sandbox::User "root";\n' > etc/apt/apt.conf.d/99proxy
echo force-unsafe-io > etc/dpkg/dpkg.cfg.d/unsafe
cp "$PLAY" opt/site.yml
cp "$PLAY.check" opt/check
if [ -n "$PROGRAM" ]; then
  cp "$PROGRAM" opt/consort/program
  [ -z "$HELPER" ] || cp "$HELPER" opt/consort/consort-play-helper
  ln -s program opt/consort/ansible-playbook
fi
# Attributes of files are those of the file system below, which this one does not take.
rm -f usr/bin/chattr usr/bin/lsattr
# Whether packages may start what they bring.
printf '#!/bin/sh\nexit %s\n' "$STARTS" > usr/sbin/policy-rc.d
chmod +x usr/sbin/policy-rc.d
hostname machine
chroot . env -i HOME=/root USER=root LC_ALL=C.UTF-8 PATH=/opt/consort:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  DEBIAN_FRONTEND=noninteractive ANSIBLE_ROLES_PATH=/opt/roles ANSIBLE_COLLECTIONS_PATH=/opt/roles/collections:/usr/share/ansible/collections \
  ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_NOCOLOR=1 http_proxy=http://127.0.0.1:3142 https_proxy=http://127.0.0.1:3142 no_proxy=localhost,127.0.0.1 \
  bash -c '
cd /opt
apt-get update > /tmp/update 2>&1 || cat /tmp/update
ansible-playbook site.yml; echo "FIRST $?"
ansible-playbook site.yml; echo "SECOND $?"
unset http_proxy https_proxy
bash /opt/check; echo "ANSWER $?"
'
python3 "$LISTER" --list "$WORK/up" > "$LISTING"
"""

# What is another one on each machine, or what the real one keeps for itself.
APART = re.compile(
    r"(^|/)\.git/|^var/spool/cron/|^(opt|tmp|run|proc|dev|root$|root/\.ansible|root/\.cache|var/log|var/cache|var/lib/apt|var/lib/dpkg|var/backups|var/lib/ucf|var/lib/systemd|usr/lib/python3)(/|$)"
    r"|__pycache__|^etc/(ld\.so\.cache|.*-|resolv\.conf|ssl/(certs|private)/ssl-cert-snakeoil.*|ssh/ssh_host_.*|shadow|\.pwd\.lock|mailcap)$|\.\d{4}-\d\d-\d\d@|/\.ansible|^var/tmp/")


def listing(top):
    """Everything that a run wrote: kind, mode, owner, and for files what is in them."""
    found = {}
    for directory, inner, names in os.walk(top):
        for name in inner + names:
            path = os.path.join(directory, name)
            short = os.path.relpath(path, top)
            if APART.search(short):
                continue
            known = os.lstat(path)
            told = [oct(known.st_mode), known.st_uid, known.st_gid]
            if os.path.islink(path):
                told.append(os.readlink(path))
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    data = file.read()
                told.append(hashlib.sha1(data).hexdigest() if len(data) > 4000 else data.decode("latin-1"))
            found[short] = told
    return found


def proxy(listener, cache):
    """What apt and pip ask: packages are kept."""

    def tunnel(client, other):
        ends = {client: other, other: client}
        try:
            while True:
                for ready in select.select(list(ends), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    ends[ready].sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            other.close()

    def serve(client):
        try:
            stream = client.makefile("rb")
            while True:
                first = stream.readline().decode().split()
                if len(first) < 2:
                    return
                headers = []
                while (line := stream.readline()) not in (b"\r\n", b""):
                    headers.append(line.decode())
                if first[0] == "CONNECT":
                    host, port = first[1].rsplit(":", 1)
                    other = socket.create_connection((host, int(port)), 30)
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    return tunnel(client, other)
                kept = os.path.join(cache, re.sub(r"\W", "_", first[1])[-180:])
                status, data = 200, None
                if first[1].endswith(".deb") and os.path.exists(kept):
                    with open(kept, "rb") as file:
                        data = file.read()
                else:
                    try:
                        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(first[1], timeout=60) as answer:
                            data = answer.read()
                        if first[1].endswith(".deb"):
                            with open(f"{kept}.{threading.get_ident()}", "wb") as file:
                                file.write(data)
                            os.rename(f"{kept}.{threading.get_ident()}", kept)
                    except urllib.error.HTTPError as error:
                        status, data = error.code, b""
                    except OSError:
                        status, data = 502, b""
                client.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        except (OSError, ValueError):
            pass
        finally:
            client.close()

    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(client,), daemon=True).start()


def in_a_network(work):
    """Does some work in a network of its own, with a proxy in it that lives in ours."""
    told, ready, done = [], threading.Event(), threading.Event()

    def inside():
        if ctypes.CDLL(None).unshare(0x40000000):
            raise OSError("no network of its own")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        listener = socket.create_server(("127.0.0.1", 3142), backlog=64)
        told.append(listener)
        ready.set()
        try:
            told.append(work())
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            done.set()

    thread = threading.Thread(target=inside)
    thread.start()
    ready.wait()
    threading.Thread(target=proxy, args=(told[0], CACHE), daemon=True).start()
    thread.join()
    return told[1]


def run(options, name, ours):
    role = ROLES[name]
    variables, check = role[:2]
    work = os.path.join(options.scratch, f"{name}-{'ours' if ours else 'peer'}")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(os.path.join(work, "root"))
    play = os.path.join(work, "site.yml")
    entry = {"hosts": "localhost", "connection": "local", "vars": variables, "roles": [name.partition("@")[0]]}
    entry.update(role[2] if len(role) > 2 else {})
    with open(play, "w") as file:
        json.dump([entry], file)
    with open(play + ".check", "w") as file:
        file.write(check + "\n")
    lists = os.path.join(work, "listing")
    env = {
        "PATH": os.environ["PATH"],
        "WORK": os.path.join(work, "root"),
        "LOWER": ":".join(filter(None, [options.over, options.root])),
        "ROLES": options.roles,
        "PLAY": play,
        "PROGRAM": options.program if ours else "",
        "HELPER": options.helper if ours and options.helper else "",
        "LISTER": os.path.abspath(__file__),
        "LISTING": lists,
        "STARTS": "101" if name in IDLE else "0",
    }
    spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--uts", "--ipc"]
    begun = time.time()
    log = os.path.join(options.logs, f"{name}.{'ours' if ours else 'peer'}.log")
    with open(log, "wb") as out:
        try:
            in_a_network(lambda: subprocess.run([*spaces, "bash", "-c", SCRIPT], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=options.timeout))
        except subprocess.TimeoutExpired:
            out.write(b"\ntoo slow\n")
    try:
        with open(lists) as file:
            disk = json.load(file)
    except (OSError, ValueError):
        disk = {}
    shutil.rmtree(work, ignore_errors=True)
    text = open(log, errors="replace").read()
    recaps = [re.sub(r" +", " ", recap) for recap in re.findall(r"^localhost +: (ok=.*)$", text, re.M)]
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
    tasks = [re.sub(r"=> \(item=.*|=> \{.*|: FAILED! .*| \*+$", "", line) for line in text.splitlines() if re.match(r"TASK |ok:|changed:|skipping:|failed:|fatal:|RUNNING", line)]
    return faults, recaps, time.time() - begun, disk, tasks


def apart(ours, real):
    """What differs between two runs, in words."""
    for place, (one, other) in enumerate(zip(ours[4] + [""], real[4] + [""])):
        if one != other:
            before = next((line for line in reversed(ours[4][:place]) if line.startswith("TASK") or line.startswith("RUNNING")), "")
            yield f"tasks: {before} ours {one!r}, real {other!r}"
            break
    for path in sorted(set(ours[3]) | set(real[3])):
        one, other = ours[3].get(path), real[3].get(path)
        if one != other:
            yield f"{path}: ours {str(one)[:300]}, real {str(other)[:300]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="the program under test: `consort`, or the example `play` of consort-playbook")
    parser.add_argument("--helper", help="`consort-play-helper`, if it is to stand beside it")
    parser.add_argument("--root", help="a Debian with ansible-core in it")
    parser.add_argument("--over", default="", help="a directory to be laid over it")
    parser.add_argument("--roles", help="the directory of the roles")
    parser.add_argument("--peer", action="store_true", help="run the real ansible-core too, and compare")
    parser.add_argument("--scratch", default="/tmp/consort-roles")
    parser.add_argument("--logs", default="/tmp/consort-roles/logs")
    parser.add_argument("--timeout", type=float, default=1200)
    parser.add_argument("--list", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.list:
        json.dump(listing(options.list), sys.stdout)
        return 0
    for path in ("program", "helper", "root", "roles", "scratch", "logs"):
        if getattr(options, path):
            setattr(options, path, os.path.abspath(getattr(options, path)))
    os.makedirs(options.logs, exist_ok=True)
    os.makedirs(CACHE, exist_ok=True)
    failed = 0
    for name in options.names or ROLES:
        if name not in ROLES or not os.path.isdir(os.path.join(options.roles, name.partition("@")[0])) and name.count(".") < 2:
            print(f"{name:34} not there")
            continue
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            both = [pool.submit(run, options, name, ours) for ours, on in ((True, options.program), (False, options.peer)) if on]
            both = [one.result() for one in both]
        differs = list(apart(*both)) if len(both) == 2 else []
        wrong = bool(differs or both[0][1] != both[-1][1] or len(both) == 1 and both[0][0])
        failed += wrong
        for who, (faults, recaps, took, disk, _) in zip(("ours", "real") if options.program else ("real",), both):
            print(f"{name:34} {who}  {'; '.join(faults) or 'passes'}  ({took:.0f} s, {len(disk)} files)", flush=True)
            for which, recap in zip(("first", "second"), recaps):
                print(f"    {which:7}{recap}", flush=True)
        for line in differs[:25]:
            print(f"    differs: {line}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
