"""`sysctl`, `mount`, `authorized_key`, `known_hosts`, `group`, `user`, `cron`, `hostname` (files only), `getent`: everyday calls and wrong ones."""

import odd

KEYS = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgkBrAN0Y5DLm0zLVzkMzVYcT8JdGHkD1n0qNxzYxKQ ann@host",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgkBrAN0Y5DLm0zLVzkMzVYcT8JdGHkD1n0qNxzYxKR",
    'no-pty,command="/bin/ls \\"a, b\\"" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgkBrAN0Y5DLm0zLVzkMzVYcT8JdGHkD1n0qNxzYxKS two words',
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg= ec",
    "# a comment", "not a key", "", "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIJRKkSpjyQqdwAMqPkQkDBqnXOEc4SFxRwLeMMSqmDPLAAAABHNzaDo= sk",
]
OPTIONS = ["no-pty", 'from="10.0.0.1,10.0.0.2",no-pty', 'command="echo \\"hi\\""', 'environment="A=b c"', "", "bad option", 'permitopen="a:1",permitopen="b:2"']
HOSTKEYS = [
    "a.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgkBrAN0Y5DLm0zLVzkMzVYcT8JdGHkD1n0qNxzYxKQ",
    "b.example,10.0.0.2 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgkBrAN0Y5DLm0zLVzkMzVYcT8JdGHkD1n0qNxzYxKR",
    "[c.example]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgkBrAN0Y5DLm0zLVzkMzVYcT8JdGHkD1n0qNxzYxKS",
    "a.example ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=",
    "@cert-authority *.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgkBrAN0Y5DLm0zLVzkMzVYcT8JdGHkD1n0qNxzYxKT", "garbage", "a.example",
]


def sysctl(random):
    lines = ["net.a=1", "net.b = 2", "# net.c=3", "kernel.x=y z", ";off=1", "net.a=9", "", "no equals"]
    setup = "".join(f"echo {odd.shlex.quote(line)} >> s.conf\n" for line in random.sample(lines, random.randint(0, 6)))
    setup += random.choice(["", "printf 'last=1' >> s.conf\n", "ln -s s.conf l.conf\n", "mkdir d\n"])

    def one():
        return odd.chosen(
            random, name=(0.97, ["net.a", "net.b", "kernel.x", "new.one", "net.ipv4.ip_forward", " net.a ", "", "off", "net/a"]),
            value=(0.85, ["1", "2", 3, True, False, "y z", " y  z ", "", "yes", 1.5, "a=b"]), state=(0.35, ["present", "absent"]), ignoreerrors=(0.3, [True, False]),
            reload=(0.97, [False, False, False, "no"]), sysctl_file=(0.98, ["/tmp/w/s.conf", "/tmp/w/l.conf", "/tmp/w/none.conf", "/tmp/w/nodir/x", "/tmp/w/d"]), sysctl_set=(0.1, [False]))

    return "ansible.posix.sysctl", setup, one


def mount(random):
    lines = ["/dev/sda1 / ext4 defaults 0 1", "# comment", "", "tmpfs /tmp/w/m1 tmpfs size=1m 0 0", "UUID=1 /tmp/w/m\\0402 ext4 ro,noatime 0 2", "/dev/sdb1 none swap sw 0 0",
             "proc /proc proc", "broken", "srv:/x  /tmp/w/nfs\tnfs  rw,hard 0 0"]
    setup = "".join(f"echo {odd.shlex.quote(line)} >> fstab\n" for line in random.sample(lines, random.randint(0, 7)))
    setup += random.choice(["", "mkdir m1\n", "printf 'tmpfs /tmp/w/m3 tmpfs rw 0 0' >> fstab\n", "touch m1\n"])

    def one():
        return odd.chosen(
            random, path=(0.97, ["/tmp/w/m1", "/tmp/w/m 2", "/tmp/w/m3", "none", "/tmp/w/nfs", "/", "/tmp/w/m1/"]), src=(0.85, ["tmpfs", "/dev/sda1", "UUID=1", "LABEL=a b", "srv:/x", "/dev/sdb1", "a\\b"]),
            fstype=(0.85, ["tmpfs", "ext4", "swap", "nfs", "none"]), opts=(0.5, ["ro", "size=1m", "rw,noatime", "noauto", "a b", "defaults"]), dump=(0.2, ["0", "1", 0]), passno=(0.2, ["0", "2", 1]),
            state=(0.99, ["present", "present", "absent", "absent_from_fstab", "mounted", "unmounted", "remounted", "ephemeral"]), fstab=(0.97, ["/tmp/w/fstab"]), boot=(0.15, [True, False]),
            backup=(0.1, [True]), opts_no_log=(0.05, [True]))

    return "ansible.posix.mount", setup, one


def authorized_key(random):
    setup = "useradd -m -u 1500 ann 2>/dev/null; useradd -M -u 1501 -d /tmp/w/nohome bob 2>/dev/null\n"
    setup += "".join(f"echo {odd.shlex.quote(line)} >> keys\n" for line in random.sample(KEYS, random.randint(0, 5)))
    setup += random.choice(["", "mkdir -p ~ann/.ssh; cp keys ~ann/.ssh/authorized_keys 2>/dev/null\n", "ln -s keys link\n", "chmod 666 keys 2>/dev/null\n"]) + "true\n"

    def one():
        keys = random.sample(KEYS, random.randint(1, 3))
        return odd.chosen(
            random, user=(0.98, ["ann", "ann", "bob", "root", "nosuch"]), key=(0.97, ["\n".join(keys), keys[0], random.choice(KEYS)]), path=(0.7, ["/tmp/w/keys", "/tmp/w/keys", "/tmp/w/new/keys", "/tmp/w/link", "keys"]),
            manage_dir=(0.3, [True, False]), state=(0.35, ["present", "absent"]), key_options=(0.25, OPTIONS), exclusive=(0.2, [True, False]), comment=(0.2, ["mine", "a b", ""]), follow=(0.15, [True, False]),
            validate_certs=(0.05, [False]))

    return "ansible.posix.authorized_key", setup, one


def known_hosts(random):
    setup = "".join(f"echo {odd.shlex.quote(line)} >> known\n" for line in random.sample(HOSTKEYS, random.randint(0, 4))) + random.choice(["", "chmod 600 known 2>/dev/null; true\n", "printf '# last' >> known\n"])

    def one():
        return odd.chosen(
            random, name=(0.97, ["a.example", "b.example", "10.0.0.2", "[c.example]:2222", "c.example", "A.example", "d.example", "*.example"]), key=(0.8, HOSTKEYS + ["\n".join(HOSTKEYS[:2])]),
            path=(0.98, ["/tmp/w/known", "/tmp/w/known", "/tmp/w/new/known", "known"]), state=(0.4, ["present", "absent"]), hash_host=(0.1, [False]))

    return "known_hosts", setup, one


def cron(random):
    lines = ["#Ansible: a", "* * * * * echo a", "MAILTO=root", "# other", "0 1 * * * x", "#Ansible: b", "@daily echo b", "#Ansible: gone", "PATH=/bin"]
    chosen = [line for line in lines if random.random() < 0.5]
    setup = "".join(f"echo {odd.shlex.quote(line)} >> t\n" for line in chosen) + ("crontab t\n" if chosen else "") + random.choice(["", "cp t /etc/cron.d/mine 2>/dev/null || true\n"])

    def one():
        return odd.chosen(
            random, name=(0.97, ["a", "b", "new", "MAILTO", "PATH", "with 'quote", "gr\u00fcn", "%p"]), job=(0.85, ["echo a", "echo 'x' > /dev/null 2>&1", "a % b", "", "line\nline", "FOO=1 x"]),
            minute=(0.3, ["*/5", "0", 5, "1,2", "61", ""]), hour=(0.25, ["3", "*/2", 24]), day=(0.15, ["1", "*"]), month=(0.15, ["1-3", "jan"]), weekday=(0.2, ["0", "mon-fri", 7]),
            special_time=(0.2, ["reboot", "daily", "hourly", "never"]), state=(0.35, ["present", "absent"]), disabled=(0.15, [True, False]), env=(0.15, [True, False]), user=(0.35, ["root", "daemon", "nosuch"]),
            cron_file=(0.3, ["mine", "/tmp/w/cronfile", "new-one", "/tmp/w/nodir/x"]), insertafter=(0.05, ["MAILTO"]), insertbefore=(0.05, ["PATH"]), value=(0.1, ["1", "x y"]), backup=(0.1, [True]))

    return "cron", setup, one


def accounts(random):
    setup = random.choice(["", "groupadd -g 2000 dev 2>/dev/null; useradd -m -u 2001 -g dev joe 2>/dev/null\n", "useradd -r -s /bin/false svc 2>/dev/null; groupadd -r sys1\n", "useradd -m old; usermod -aG daemon,bin old; passwd -l old >/dev/null 2>&1\n"]) + "true\n"
    module = random.choice(["user", "user", "group"])

    def one():
        if module == "group":
            return odd.chosen(random, name=(0.98, ["dev", "sys1", "new", "root", "Bad Name", "gr\u00fcn", "a" * 40, "-x"]), gid=(0.4, [2000, 2500, "2600", 0, -1, "x", 99999999999]), state=(0.4, ["present", "absent"]),
                              system=(0.2, [True, False]), non_unique=(0.15, [True, False]), local=(0.1, [False]), force=(0.1, [True, False]), gid_min=(0.1, [3000]), gid_max=(0.1, [3005]))
        return odd.chosen(
            random, name=(0.98, ["joe", "svc", "old", "new", "Bad Name", "root", "x" * 40]), uid=(0.3, [2001, 2100, "2200", 0, -1]), group=(0.25, ["dev", "daemon", "nosuch", "2000"]),
            groups=(0.35, [["daemon"], "daemon,bin", [], "", ["nosuch"], "bin"]), append=(0.3, [True, False]), comment=(0.25, ["A B", "", "gr\u00fcn", "a:b"]), home=(0.25, ["/home/other", "/tmp/w/home", "/tmp/w/a/b/c"]),
            shell=(0.25, ["/bin/sh", "/bin/false", "/nosuch", ""]), create_home=(0.25, [True, False]), move_home=(0.15, [True, False]), password=(0.25, ["$6$ab$" + "c" * 86, "*", "!", "plain", "!!", "$6$x"]),
            state=(0.35, ["present", "absent"]), remove=(0.2, [True, False]), force=(0.1, [True, False]), system=(0.15, [True, False]), non_unique=(0.1, [True]), password_lock=(0.2, [True, False]),
            update_password=(0.15, ["always", "on_create"]), expires=(0.2, [1422403387, -1, 0, 4000000000.5]), skeleton=(0.1, ["/etc/skel", "/nosuch"]), umask=(0.1, ["077", "0027"]),
            password_expire_max=(0.1, [90, -1]), password_expire_min=(0.1, [1]), password_expire_warn=(0.1, [7]), password_expire_account_disable=(0.08, [30]), uid_min=(0.05, [5000]), uid_max=(0.05, [5005]))

    return module, setup, one


def case(random):
    made = random.choice([sysctl, mount, authorized_key, known_hosts, cron, accounts, accounts])(random)
    module, setup, one = made
    watched = ["/tmp/w", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/cron.d", "/var/spool/cron", "/home"]
    return dict(setup=setup, steps=odd.steps(random, module, one), watched=watched, loose=["backup_file"])
