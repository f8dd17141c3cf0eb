"""The cases of `ways.py`: how a machine is reached, who is become there, and what goes wrong."""

# Users of the machine: name, login shell, what is in the home.
USERS = {
    "ann": "/bin/bash",      # may become anybody without a password
    "bob": "/bin/bash",      # may become anybody with a password
    "carl": "/bin/bash",     # may become nobody
    "noisy": "/bin/bash",    # says things when it logs in
    "fishy": "/usr/bin/fish",
    "csher": "/bin/tcsh",
    "zed": "/usr/bin/zsh",
    "dashing": "/bin/dash",
    "locked": "/usr/sbin/nologin",
    "nohome": "/bin/bash",   # its home cannot be written
    "svc": "/bin/sh",        # one that is become
    "busybox": "/bin/sh",    # sees another root
    "bullseye": "/bin/sh",
    "bookworm": "/bin/sh",
    "empty": "/bin/sh",
    "expired": "/bin/bash",
}

SSHD = """
Port 22
Port 2222
HostKey /root/hostkey
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication yes
MaxStartups 200
PerSourcePenalties no
MaxSessions 50
Subsystem sftp internal-sftp
AcceptEnv LANG LC_*
Match User busybox,bullseye,bookworm
  ChrootDirectory /srv/others/%u
  AuthorizedKeysFile /etc/ssh/ways_keys
Match LocalPort 2222
  ForceCommand sleep 20
"""


def prepare(sh):
    for name, shell in USERS.items():
        sh(f"useradd -m -s {shell} {name}; echo {name}:secret | chpasswd; mkdir -p -m 700 ~{name}/.ssh; cp /root/key.pub ~{name}/.ssh/authorized_keys; chown -R {name}: ~{name}")
    sh("cp /root/key.pub /etc/ssh/ways_keys; chmod 644 /etc/ssh/ways_keys")
    sh("echo root:rootsecret | chpasswd; echo '127.0.0.1 controller' >> /etc/hosts")
    sh("printf 'ann ALL=(ALL:ALL) NOPASSWD: ALL\\nnoisy ALL=(ALL:ALL) NOPASSWD: ALL\\nfishy ALL=(ALL:ALL) NOPASSWD: ALL\\ncsher ALL=(ALL:ALL) NOPASSWD: ALL\\nzed ALL=(ALL:ALL) NOPASSWD: ALL\\nnohome ALL=(ALL:ALL) NOPASSWD: ALL\\nbob ALL=(ALL:ALL) ALL\\n' > /etc/sudoers.d/ways; chmod 440 /etc/sudoers.d/ways")
    sh("printf 'permit nopass ann\\npermit bob\\n' > /etc/doas.conf; chmod 400 /etc/doas.conf", check=False)
    sh("printf 'echo hello from bashrc\\necho complaints >&2\\n' > ~noisy/.bashrc; cp ~noisy/.bashrc ~noisy/.profile; echo 'Welcome, all. {' > /etc/motd")
    sh("chown root: ~nohome; chmod 755 ~nohome; chmod -R go+rX ~nohome/.ssh")
    sh("ssh-keygen -q -t ed25519 -N 'a phrase' -f /root/locked_key; cat /root/locked_key.pub >> /root/.ssh/authorized_keys; ssh-keygen -q -t ed25519 -N '' -f /root/foreign")
    for other in ("busybox", "bullseye", "bookworm"):
        sh(f"[ -d /srv/others/{other} ] && {{ chown root: /srv/others/{other}; chmod 755 /srv/others/{other}; mkdir -p /srv/others/{other}/home/{other} /srv/others/{other}/dev /srv/others/{other}/proc /srv/others/{other}/tmp /srv/others/{other}/var/tmp /srv/others/{other}/etc; chmod 1777 /srv/others/{other}/tmp /srv/others/{other}/var/tmp; grep ^{other}: /etc/passwd > /tmp/line; cat /tmp/line >> /srv/others/{other}/etc/passwd; grep ^{other}: /etc/group >> /srv/others/{other}/etc/group; chown {other}: /srv/others/{other}/home/{other}; for D in null zero urandom random tty; do [ -e /srv/others/{other}/dev/$D ] || cp -a /dev/$D /srv/others/{other}/dev/ ; done; mount -t proc proc /srv/others/{other}/proc; }} || true", check=False)
        sh(f"grep -q '^root:' /srv/others/{other}/etc/passwd || printf 'root:x:0:0:root:/root:/bin/sh\\n' >> /srv/others/{other}/etc/passwd", check=False)


KNOWN = "ssh-keyscan -t ed25519 10.99.0.2 2>/dev/null > /root/.ssh/known_hosts"
FORGET = "rm -f /root/.ssh/known_hosts /root/.ssh/known_hosts.old /root/.ssh/config"
KEY = "ansible_ssh_private_key_file=/root/key"


def host(more="", user="root", key=KEY):
    return f"far ansible_host=10.99.0.2 ansible_user={user} {key} {more}\n"


PLAIN = """
- hosts: far
  gather_facts: false
  tasks:
    - ping:
    - command: id -un
      changed_when: false
      register: who
    - debug: {var: who.stdout}
    - copy: {content: "one\\n", dest: "/target/file"}
    - copy: {content: "one\\n", dest: "/target/file"}
    - raw: echo raw; echo complaint >&2; exit 3
      register: raw
      failed_when: raw.rc != 3
    - debug: {msg: "{{ raw.stdout_lines }} {{ raw.stderr_lines | select('match', 'complaint') | list }}"}
    - script: it.sh
      changed_when: false
      register: script
    - debug: {var: script.stdout_lines}
"""
SCRIPT = {"it.sh": "#!/bin/sh\necho it\nexit 0\n"}

PING = """
- hosts: far
  gather_facts: false
  tasks:
    - ping:
"""

WHO = """
- hosts: far
  gather_facts: false
  tasks:
    - ping:
    - command: id -un
      changed_when: false
      register: who
    - debug: {var: who.stdout}
"""


def becoming(**words):
    keywords = "".join(f"  {name}: {value}\n" for name, value in words.items())
    return f"""
- hosts: far
  gather_facts: false
  become: true
{keywords}  tasks:
    - command: id -un
      changed_when: false
      register: who
    - debug: {{var: who.stdout}}
    - copy: {{content: "one\\n", dest: "/target/file"}}
    - stat: {{path: /target/file}}
      register: file
    - debug: {{msg: "{{{{ file.stat.pw_name }}}} {{{{ file.stat.mode }}}}"}}
    - raw: id -un
      register: raw
      changed_when: false
    - debug: {{msg: "{{{{ raw.stdout_lines[-1] }}}}"}}
"""


CASES = {}
SAYS = "Consort says what the program that becomes another user said"


def case(name, inventory=None, playbook=PING, before=KNOWN, undo=FORGET, **rest):
    CASES[name] = {"inventory": inventory or host(), "playbook": playbook, "before": before, "undo": undo, **rest}


# Ways in.
case("key", playbook=PLAIN, files=SCRIPT)
case("key_user", host(user="ann"), PLAIN, files=SCRIPT)
case("wrong_key", host(key="ansible_ssh_private_key_file=/root/foreign"))
case("missing_key", host(key="ansible_ssh_private_key_file=/root/none"))
case("key_of_a_phrase_without_it", host(key="ansible_ssh_private_key_file=/root/locked_key"))
case("no_such_user", host(user="nobodyknows"))
case("login_not_allowed", host(user="locked"), apart="the command is another one")
case("unknown_host_key", before=FORGET)
case("unknown_host_key_not_checked", before=FORGET, env={"ANSIBLE_HOST_KEY_CHECKING": "false"})
case("unknown_host_key_not_checked_by_variable", host("ansible_host_key_checking=false"), before=FORGET)
case("unknown_host_key_accepted", host("ansible_ssh_common_args='-o StrictHostKeyChecking=accept-new'"), before=FORGET)
case("changed_host_key", before="echo \"10.99.0.2 $(cut -d' ' -f1,2 /root/foreign.pub)\" > /root/.ssh/known_hosts")
case("changed_host_key_not_checked", before="echo \"10.99.0.2 $(cut -d' ' -f1,2 /root/foreign.pub)\" > /root/.ssh/known_hosts", env={"ANSIBLE_HOST_KEY_CHECKING": "false"})
case("password", host("ansible_password=secret", user="bob", key=""), WHO)
case("password_not_right", host("ansible_password=wrong", user="bob", key=""))
case("password_of_an_unknown_host", host("ansible_password=secret", user="bob", key=""), before=FORGET)
case("password_by_sshpass", host("ansible_password=secret ansible_ssh_password_mechanism=sshpass", user="bob", key=""), WHO)
case("password_not_right_by_sshpass", host("ansible_password=wrong ansible_ssh_password_mechanism=sshpass", user="bob", key=""))
case("password_not_right_retried", host("ansible_password=wrong ansible_ssh_retries=2", user="bob", key=""))
case("password_disabled", host("ansible_password=secret ansible_ssh_password_mechanism=disable", user="bob", key=""))
case("password_of_odd_letters", host(user="bob", key=""), WHO + "  vars: {ansible_password: \"s'e\\\"c $x \\\\ ret\"}\n", before=KNOWN + "; printf '%s\\n' 'bob:s'\"'\"'e\"c $x \\ ret' | chpasswd", undo=FORGET + "; echo bob:secret | chpasswd")
case("no_password_no_key", host(user="bob", key=""))
case("port", host("ansible_port=22"))
case("port_closed", host("ansible_port=23"))
case("port_as_text", host(), "- hosts: far\n  gather_facts: false\n  vars: {ansible_port: \"{{ '22' }}\"}\n  tasks: [ping: ]\n")
case("address_without_machine", "far ansible_host=10.99.0.77 ansible_ssh_timeout=1\n", before="ip neigh flush dev c0", seconds=60)
case("name_unknown", "far ansible_host=no.such.name.invalid\n")
case("slow_login", host("ansible_timeout=2 ansible_port=2222"), before=KNOWN + "; ssh-keyscan -p 2222 -t ed25519 10.99.0.2 2>/dev/null >> /root/.ssh/known_hosts", apart="Ansible waits for modules without end; here nothing answers")
case("ssh_extra_args", host("ansible_ssh_extra_args='-o LogLevel=QUIET'"))
case("ssh_args_without_persistence", host("ansible_ssh_args='-o ControlMaster=no'"), WHO)
case("ssh_args_wrong", host("ansible_ssh_args='-o NoSuchOption=1'"))
case("ssh_args_unclosed", host("ansible_ssh_extra_args=\"'-o x\""))
case("ssh_executable_missing", host("ansible_ssh_executable=/no/ssh"))
case("ssh_executable_other", host("ansible_ssh_executable=/srv/case/myssh"), WHO, files={"myssh": "#!/bin/sh\necho called >> /tmp/called\nexec ssh \"$@\"\n"}, after="test -s /tmp/called && echo called; rm -f /tmp/called")
case("ssh_config_alias", "far\n", WHO, before=KNOWN + "; printf 'Host far\\n  HostName 10.99.0.2\\n  User ann\\n  IdentityFile /root/key\\n' > /root/.ssh/config")
case("ssh_config_match", "far\n", WHO, before=KNOWN + "; printf 'Match host far exec \"true\"\\n  HostName 10.99.0.2\\n  User bob\\n  IdentityFile /root/key\\n' > /root/.ssh/config")
case("ssh_config_of_an_argument", "far ansible_ssh_common_args='-F /srv/case/config'\n", WHO, files={"config": "Host far\n  HostName 10.99.0.2\n  User ann\n  IdentityFile /root/key\n"})
case("ssh_config_wrong", "far\n", before=KNOWN + "; printf 'Nonsense here\\n' > /root/.ssh/config")
case("proxy_jump", "far ansible_host=10.98.0.1 ansible_user=ann ansible_ssh_common_args='-J root@10.99.0.2 -o StrictHostKeyChecking=no'\n", WHO, before=KNOWN + "; printf 'IdentityFile /root/key\\n' > /root/.ssh/config")
case("proxy_command", f"far ansible_host=10.98.0.1 ansible_user=ann {KEY} ansible_ssh_common_args='-o ProxyCommand=\"ssh -i /root/key -W %h:%p root@10.99.0.2\" -o StrictHostKeyChecking=no'\n", WHO)
case("proxy_command_fails", f"far ansible_host=10.98.0.1 ansible_user=ann {KEY} ansible_ssh_common_args='-o ProxyCommand=false'\n")
case("agent", host(key="", user="ann"), WHO, shell="eval $(ssh-agent) > /dev/null; ssh-add -q /root/key; \"$@\"; R=$?; kill $SSH_AGENT_PID; exit $R")
case("private_key_of_a_variable", host(key="", user="ann"), WHO + "  vars: {ansible_ssh_private_key: \"{{ lookup('file', '/root/key') }}\\n\"}\n", env={"ANSIBLE_SSH_AGENT": "auto"})
case("private_key_of_a_variable_with_phrase", host(key=""), WHO + "  vars: {ansible_ssh_private_key: \"{{ lookup('file', '/root/locked_key') }}\\n\", ansible_ssh_private_key_passphrase: a phrase}\n", env={"ANSIBLE_SSH_AGENT": "auto"}, apart="Ansible needs bcrypt for it")
case("private_key_without_agent", host(key=""), WHO + "  vars: {ansible_ssh_private_key: \"{{ lookup('file', '/root/key') }}\\n\"}\n")
case("own_master", host(user="ann", key=""), WHO, before=KNOWN + "; printf 'Host *\\n  ControlMaster auto\\n  ControlPath /tmp/own-%%r@%%h\\n  ControlPersist 30\\n  IdentityFile /root/key\\n' > /root/.ssh/config", env={"ANSIBLE_SSH_ARGS": ""})
case("control_path", host("ansible_control_path_dir=/tmp/cpdir"), WHO, after="ls /tmp/cpdir | wc -l; rm -rf /tmp/cpdir")
case("control_path_not_writable", host("ansible_control_path_dir=/proc/none"))
case("control_path_too_long", host("ansible_control_path_dir=/tmp/" + "x" * 120))
case("user_of_the_command_line", "far ansible_host=10.99.0.2\n", WHO, args=["-u", "ann", "--private-key", "/root/key"])
case("user_of_the_play", "far ansible_host=10.99.0.2 ansible_ssh_private_key_file=/root/key\n", WHO.replace("  gather", "  remote_user: ann\n  gather"))
case("user_of_a_task", "far ansible_host=10.99.0.2 ansible_ssh_private_key_file=/root/key\n", WHO + "    - command: id -un\n      remote_user: bob\n      changed_when: false\n      register: who\n    - debug: {var: who.stdout}\n")
case("several_users", host() + "near ansible_connection=local\n", "- hosts: near\n  gather_facts: false\n  tasks:\n    - command: id -un\n      delegate_to: far\n      vars: {ansible_user: \"{{ item }}\"}\n      loop: [ann, bob, root]\n      changed_when: false\n    - ping:\n")
case("pipelining", host("ansible_pipelining=true", user="ann"), PLAIN, files=SCRIPT)
case("pipelining_and_become", host("ansible_pipelining=true", user="ann"), becoming())
case("unreachable_ignored", "far ansible_host=10.99.0.2 ansible_port=23\n", "- hosts: far\n  gather_facts: false\n  tasks:\n    - ping:\n      ignore_unreachable: true\n    - debug: {msg: on}\n    - ping:\n    - debug: {msg: not on}\n")
case("unreachable_in_a_block", "far ansible_host=10.99.0.2 ansible_port=23\n", "- hosts: far\n  gather_facts: false\n  tasks:\n    - block: [ping: ]\n      rescue: [debug: {msg: rescued}]\n      always: [debug: {msg: always}]\n")
case("unreachable_facts", "far ansible_host=10.99.0.2 ansible_port=23\n", "- hosts: far\n  tasks:\n    - ping:\n")
case("unreachable_among_others", host() + "gone ansible_host=10.99.0.2 ansible_port=23\n", "- hosts: all\n  gather_facts: false\n  tasks:\n    - ping:\n    - debug: {msg: on}\n")
case("unreachable_once", host(), "- hosts: far\n  gather_facts: false\n  tasks:\n    - ping:\n    - ping:\n      vars: {ansible_port: 23}\n      ignore_unreachable: true\n    - meta: clear_host_errors\n    - ping:\n")
case("reset_connection", host(user="ann"), WHO + "    - meta: reset_connection\n    - ping:\n")
case("reset_connection_after_a_group", host(user="carl"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - command: id -nG\n      register: before\n      changed_when: false\n    - command: usermod -aG games carl\n      delegate_to: localhost\n      vars: {ansible_connection: local}\n    - meta: reset_connection\n    - command: id -nG\n      register: after\n      changed_when: false\n    - debug: {msg: \"{{ before.stdout }} -> {{ after.stdout }}\"}\n", undo=FORGET + "; gpasswd -d carl games")
case("wait_for_connection", host(), "- hosts: far\n  gather_facts: false\n  tasks:\n    - wait_for_connection: {timeout: 20}\n    - ping:\n")
case("wait_for_connection_in_vain", host("ansible_port=23"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - wait_for_connection: {timeout: 2, sleep: 1, connect_timeout: 1}\n")
case("retries", host("ansible_port=23 ansible_ssh_retries=1"))
case("adhoc_ping", host(), command=["ansible", "-i", "inventory", "far", "-m", "ping"])
case("adhoc_unreachable", host("ansible_port=23"), command=["ansible", "-i", "inventory", "far", "-m", "ping"])
case("adhoc_raw", host(), command=["ansible", "-i", "inventory", "far", "-m", "raw", "-a", "echo one; exit 4"])
case("adhoc_command", host(user="ann"), command=["ansible", "-i", "inventory", "far", "-b", "-a", "id -un"])
case("ask_pass", host(user="bob", key=""), WHO, args=["--connection-password-file", "pass"], files={"pass": "secret\n"})
case("become_pass_file", host(user="bob"), becoming(), args=["--become-password-file", "pass"], files={"pass": "secret\n"})

case("asked_about_an_unknown_host", before=FORGET, answers=[("continue connecting", "yes\n")], env={"COLUMNS": "80"})
case("asked_about_an_unknown_host_and_said_no", before=FORGET, answers=[("continue connecting", "no\n")])
case("asked_for_the_phrase_of_a_key", host(key="ansible_ssh_private_key_file=/root/locked_key"), answers=[("phrase for key", "a phrase\n")])
case("asked_for_passwords", host(user="bob", key=""), becoming(), args=["-k", "-K"], answers=[("SSH password", "secret\n"), ("BECOME password", "\n")])
case("interrupted_at_the_terminal", host(), "- hosts: far\n  gather_facts: false\n  tasks:\n    - ping:\n    - command: sleep 47\n", answers=[("ok: .far.[\\s\\S]*TASK .command", "\x03")], after="sleep 1; pgrep -f 'sleep 4[7]' || echo none is left")
case("facts_refused", host("ansible_become_password=wrong", user="bob"), "- hosts: far\n  become: true\n  tasks:\n    - ping:\n")
case("user_removed_after_it_was_become", host(), "- hosts: far\n  gather_facts: false\n  tasks:\n    - user: {name: temp}\n    - command: id -un\n      become: true\n      become_user: temp\n      changed_when: false\n    - user: {name: temp, uid: 4321}\n    - command: id -u\n      become: true\n      become_user: temp\n      changed_when: false\n      register: who\n    - debug: {var: who.stdout}\n    - user: {name: temp, state: absent, remove: true}\n    - user: {name: temp}\n    - command: id -un\n      become: true\n      become_user: temp\n      changed_when: false\n    - shell: userdel -r temp 2>/dev/null\n", undo=FORGET + "; userdel -r temp")

# Who is become.
case("sudo", host(user="ann"), becoming())
case("sudo_to_another", host(user="ann"), becoming(become_user="svc"))
case("sudo_with_password", host("ansible_become_password=secret", user="bob"), becoming())
case("sudo_to_another_with_password", host("ansible_become_password=secret", user="bob"), becoming(become_user="svc"))
case("sudo_without_its_password", host(user="bob"), becoming())
case("sudo_wrong_password", host("ansible_become_password=wrong", user="bob"), becoming())
case("sudo_not_allowed", host(user="carl"), becoming())
case("sudo_not_allowed_with_password", host("ansible_become_password=secret", user="carl"), becoming(), apart=SAYS)
case("sudo_unknown_user", host(user="ann"), becoming(become_user="nobodyknows"), apart=SAYS)
case("sudo_missing", host("ansible_become_exe=/no/sudo", user="ann"), becoming(), apart=SAYS)
case("sudo_flags", host("ansible_become_flags='-H -S -n -E'", user="ann"), becoming())
case("sudo_wrong_flags", host("ansible_become_flags='--no-such-flag'", user="ann"), becoming(), apart=SAYS)
case("sudo_exe", host("ansible_become_exe='sudo -b'", user="ann"), becoming(), apart="a helper in the background has no input")
case("sudo_shell_wrapper", host("ansible_become_exe=/srv/case/mysudo", user="ann"), becoming(), files={"mysudo": "#!/bin/sh\nexec sudo \"$@\"\n"})
case("sudo_chdir", host("ansible_sudo_chdir=/usr", user="ann"), "- hosts: far\n  gather_facts: false\n  become: true\n  tasks:\n    - command: pwd\n      register: where\n      changed_when: false\n    - debug: {var: where.stdout}\n")
case("sudo_to_oneself", host(user="ann"), becoming(become_user="ann"))
case("root_becomes_root", host(), becoming())
case("root_becomes_another", host(), becoming(become_user="svc"))
case("login_user_not_told", "far ansible_host=10.99.0.2 ansible_ssh_private_key_file=/root/key\n", becoming())
case("carl_becomes_carl_who_may_nothing", host(user="carl"), becoming(become_user="carl"))
case("su_with_password", host("ansible_become_password=rootsecret", user="carl"), becoming(become_method="su"))
case("su_wrong_password", host("ansible_become_password=wrong", user="carl"), becoming(become_method="su"))
case("su_without_password", host(user="carl"), becoming(become_method="su"), seconds=60)
case("su_from_root", host(), becoming(become_method="su", become_user="svc"))
case("su_from_root_to_a_user_without_shell", host(), becoming(become_method="su", become_user="locked"), apart=SAYS)
case("su_with_shell_flag", host(), becoming(become_method="su", become_user="locked", become_flags="-s /bin/sh"))
case("su_login", host(), becoming(become_method="su", become_user="svc", become_flags="'-'"))
case("su_unknown_user", host(), becoming(become_method="su", become_user="nobodyknows"), apart=SAYS)
case("runas_is_of_windows", host(), becoming(become_method="runas"))
case("unknown_method", host(), becoming(become_method="nonsense"))
case("doas", host(user="ann"), becoming(become_method="community.general.doas"), needs="doas")
case("doas_with_password", host("ansible_become_password=secret", user="bob"), becoming(become_method="community.general.doas"), needs="doas")
case("doas_wrong_password", host("ansible_become_password=wrong", user="bob"), becoming(become_method="community.general.doas"), needs="doas", apart=SAYS)
case("doas_not_allowed", host(user="carl"), becoming(become_method="community.general.doas"), needs="doas", apart=SAYS)
case("runuser", host(), becoming(become_method="community.general.runuser", become_user="svc"), apart="Ansible has it in a collection")
case("become_in_tasks", host(user="ann"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - command: id -un\n      become: true\n      become_user: \"{{ item }}\"\n      loop: [root, svc, bob]\n      changed_when: false\n      register: who\n    - debug: {msg: \"{{ who.results | map(attribute='stdout') | list }}\"}\n    - command: id -un\n      changed_when: false\n")
case("become_ignored_errors", host(user="carl"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - command: id -un\n      become: true\n      ignore_errors: true\n    - command: id -un\n      changed_when: false\n")
case("python_module_as_another", host(user="ann"), "- hosts: far\n  gather_facts: false\n  become: true\n  become_user: svc\n  tasks:\n    - expect: {command: id -un, responses: {}}\n      ignore_errors: true\n    - own:\n", files={"library/own.py": "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\nimport getpass\nm = AnsibleModule({})\nm.exit_json(changed=False, who=getpass.getuser())\n"})
case("template_to_unprivileged", host(user="ann"), "- hosts: far\n  gather_facts: false\n  become: true\n  become_user: svc\n  tasks:\n    - template: {src: t.j2, dest: /target/t, mode: '0640'}\n    - unarchive: {src: a.tar, dest: /target}\n    - fetch: {src: /target/t, dest: got/}\n    - assemble: {src: parts, dest: /target/whole, remote_src: false}\n    - script: it.sh\n      changed_when: false\n", files={"t.j2": "hello {{ inventory_hostname }}\n", "parts/a": "a\n", "parts/b": "b\n", **SCRIPT}, shell="tar cf a.tar t.j2; exec \"$@\"", after="ls -ln /target | tail -n +2 | cut -c1-10; cat /srv/case/got/far/target/t")

# Odd machines.
case("noisy_login", host(user="noisy"), PLAIN, files=SCRIPT, apart="a greeting is no part of what a command says")
case("noisy_login_become", host(user="noisy"), becoming())
case("fish", host(user="fishy"), PLAIN, files=SCRIPT, needs="fish")
case("fish_become", host(user="fishy"), becoming(), needs="fish")
case("fish_to_another", host(user="fishy"), becoming(become_user="svc"), needs="fish")
case("csh", host(user="csher"), PLAIN, files=SCRIPT, needs="tcsh")
case("csh_become", host(user="csher"), becoming(become_user="svc"), needs="tcsh")
case("zsh", host(user="zed"), PLAIN, files=SCRIPT, needs="zsh")
case("dash", host(user="dashing"), PLAIN, files=SCRIPT)
case("become_fish", host(user="ann"), becoming(become_user="fishy"), needs="fish")
case("home_not_writable", host(user="nohome"), PLAIN, files=SCRIPT, apart="native modules need no directory there")
case("home_not_writable_become", host(user="nohome"), becoming(become_user="svc"))
case("remote_tmp", host("ansible_remote_tmp=/tmp/mine", user="ann"), PLAIN, files=SCRIPT, after="ls -d /tmp/mine; rm -rf /tmp/mine")
case("remote_tmp_not_writable", host("ansible_remote_tmp=/proc/none", user="ann"), WHO, apart="native modules need no directory there")
case("remote_tmp_of_a_variable", host("ansible_remote_tmp='$HOME/.mine'", user="ann"), WHO, after="ls -d /home/ann/.mine; rm -rf /home/ann/.mine")
case("tmp_noexec", host("ansible_remote_tmp=/srv/noexec", user="ann"), PLAIN, files={"it.sh": "#!/bin/sh\necho it\n"}, before=KNOWN + "; mkdir -p /srv/noexec; mount -t tmpfs -o noexec,mode=1777 t /srv/noexec", undo=FORGET + "; umount /srv/noexec")
case("disk_full", host("ansible_remote_tmp=/srv/full", user="ann"), WHO, before=KNOWN + "; mkdir -p /srv/full; mount -t tmpfs -o size=16k,mode=1777 t /srv/full; dd if=/dev/zero of=/srv/full/fill bs=1k count=64 2>/dev/null || true", undo=FORGET + "; umount /srv/full", apart="native modules need no directory there")
case("python_missing", host(user="ann"), "- hosts: far\n  gather_facts: false\n  vars: {ansible_python_interpreter: /no/python}\n  tasks:\n    - ping:\n", apart="native modules need no Python")
case("environment", host(user="ann"), "- hosts: far\n  gather_facts: false\n  environment: {ONE: 'a b', TWO: \"it's\"}\n  tasks:\n    - shell: echo $ONE $TWO\n      register: said\n      changed_when: false\n    - debug: {var: said.stdout}\n    - raw: echo $ONE $TWO\n      register: said\n      changed_when: false\n    - debug: {var: said.stdout_lines}\n    - shell: echo $ONE $TWO\n      become: true\n      register: said\n      changed_when: false\n    - debug: {var: said.stdout}\n")
case("umask", host(user="ann"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - shell: umask; pwd; echo $HOME $SHELL $USER $LOGNAME\n      register: said\n      changed_when: false\n    - debug: {var: said.stdout_lines}\n    - shell: umask; pwd; echo $HOME $USER $LOGNAME\n      become: true\n      become_user: svc\n      register: said\n      changed_when: false\n    - debug: {var: said.stdout_lines}\n    - shell: umask; pwd; echo $HOME $USER $LOGNAME\n      become: true\n      register: said\n      changed_when: false\n    - debug: {var: said.stdout_lines}\n")
case("task_timeout", host(user="ann"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - command: sleep 30\n      timeout: 2\n", seconds=60)
case("async", host(user="ann"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - command: echo done\n      async: 20\n      poll: 1\n      become: true\n      become_user: svc\n      changed_when: false\n")
case("shell_executable", host("ansible_shell_executable=/bin/bash", user="ann"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - shell: echo $0\n      changed_when: false\n      register: said\n    - debug: {var: said.stdout}\n    - raw: echo $BASH\n      changed_when: false\n      register: said\n    - debug: {var: said.stdout_lines}\n    - raw: echo $0\n      args: {executable: /bin/dash}\n      changed_when: false\n      register: said\n    - debug: {var: said.stdout_lines}\n")
case("exit_255", host(user="ann"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - raw: exit 255\n      ignore_errors: true\n    - command: sh -c 'exit 255'\n      ignore_errors: true\n", apart="the status 255 of a command is no lost machine")
case("big_output", host(user="ann"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - raw: head -c 3000000 /dev/zero | tr '\\\\0' x\n      register: big\n      changed_when: false\n    - debug: {msg: \"{{ big.stdout | length }}\"}\n")
case("binary_output", host(user="ann"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - raw: printf 'a\\\\377b\\\\r\\\\nc'\n      register: said\n      changed_when: false\n    - debug: {msg: \"{{ said.stdout | length }} {{ said.stdout_lines | length }}\"}\n")

# Other roots.
OTHER = """
- hosts: far
  gather_facts: false
  tasks:
    - raw: cat /etc/debian_version 2>/dev/null || echo none
      changed_when: false
    - ping:
    - copy: {content: "one\\n", dest: /home/%s/file}
    - command: cat /home/%s/file
      changed_when: false
    - file: {path: /home/%s/dir, state: directory, mode: '0750'}
    - stat: {path: /home/%s/file}
      register: file
    - debug: {var: file.stat.pw_name}
"""
for other in ("bullseye", "bookworm"):
    case(other, host(user=other), OTHER.replace("%s", other), undo=FORGET + f"; rm -rf /srv/others/{other}/home/{other}/* /srv/others/{other}/home/{other}/.ansible", needs=f"/srv/others/{other}/bin/sh")
    case(other + "_facts", host(user=other), "- hosts: far\n  tasks:\n    - debug: {msg: \"{{ ansible_facts.distribution_version }} {{ ansible_facts.user_id }} {{ ansible_facts.python.version.minor }}\"}\n    - own:\n", files={"library/own.py": "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\nimport sys\nm = AnsibleModule({})\nm.exit_json(changed=False, v=sys.version_info[1])\n"}, undo=FORGET + f"; rm -rf /srv/others/{other}/home/{other}/.ansible", needs=f"/srv/others/{other}/bin/sh")
case("busybox", host(user="busybox"), OTHER.replace("%s", "busybox"), undo=FORGET + "; rm -rf /srv/others/busybox/home/busybox/* /srv/others/busybox/home/busybox/.ansible", needs="/srv/others/busybox/bin/sh", apart="Ansible needs Python there")
case("busybox_python_module", host(user="busybox"), "- hosts: far\n  gather_facts: false\n  tasks:\n    - own:\n", files={"library/own.py": "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\nm = AnsibleModule({})\nm.exit_json(changed=False)\n"}, needs="/srv/others/busybox/bin/sh")
case("facts", host(user="ann"), "- hosts: far\n  tasks:\n    - debug: {msg: \"{{ ansible_facts.user_id }} {{ ansible_facts.env.HOME }} {{ ansible_facts.env.SSH_CONNECTION.split(' ')[2] }}\"}\n")

# Other connections.
DOCKER = "#!/bin/bash\nwhile [ $# -gt 0 ]; do case $1 in exec|-i|--privileged) shift;; -u|-w) shift 2;; *) break;; esac; done\nroot=/srv/others/$1; [ -d $root ] || { echo \"Error: No such container: $1\" >&2; exit 1; }\nshift; exec chroot $root \"$@\"\n"
case("chroot", "far ansible_connection=community.general.chroot ansible_host=/srv/others/bullseye\n", OTHER.replace("/home/%s", "/srv").replace("%s", "bullseye"), undo="rm -rf /srv/others/bullseye/srv/* /srv/others/bullseye/root/.ansible", needs="/srv/others/bullseye/bin/sh")
case("docker", "far ansible_connection=community.docker.docker ansible_host=busybox ansible_docker_docker_command=/srv/case/docker\n", OTHER.replace("/home/%s", "/home"), files={"docker": DOCKER}, undo="rm -rf /srv/others/busybox/home/file /srv/others/busybox/home/dir", needs="/srv/others/busybox/bin/sh", apart="Ansible has it in a collection")
case("docker_without_container", "far ansible_connection=community.docker.docker ansible_host=none ansible_docker_docker_command=/srv/case/docker\n", PING, files={"docker": DOCKER}, apart="Ansible has it in a collection")
for name, more in [("other_architecture", ""), ("other_architecture_become", "  become: true\n")]:
    case(name, host("ansible_become_password=secret", user="bob"), "- hosts: far\n  gather_facts: false\n" + more + "  tasks:\n    - ping:\n    - command: id -un\n      changed_when: false\n      register: who\n    - debug: {var: who.stdout}\n    - copy: {content: one, dest: /target/file}\n    - raw: id -un\n      changed_when: false\n      register: who\n    - debug: {msg: \"{{ who.stdout_lines[-1] }}\"}\n    - fetch: {src: /target/file, dest: got/}\n", before=KNOWN + "; mv /bin/uname /bin/uname.real; printf '#!/bin/sh\\n[ \"$1\" = -m ] && exec echo sparc64\\nexec /bin/uname.real \"$@\"\\n' > /bin/uname; chmod 755 /bin/uname", undo=FORGET + "; mv /bin/uname.real /bin/uname", seconds=200)
for method in ("su", "sudo"):
    case("other_architecture_" + method + "_wrong_password", host("ansible_become_password=wrong", user="bob"), becoming(become_method=method), before=CASES["other_architecture"]["before"], undo=CASES["other_architecture"]["undo"], seconds=200)
