"""`command`, `shell`, `script`'s half, `getent`, `wait_for`, `tempfile`, `slurp`, `hostname`: programs and waiting."""

import odd

LINES = [
    "echo hi", "printf 'no end'", "false", "exit 3", "echo err >&2; exit 2", "cat a", "ls /nosuch", "nosuchprogram x", "echo $HOME", "echo '$HOME'", "echo \"a  b\"", "cat", "pwd", "printf '\\377\\n'",
    "echo a; echo b >&2", "true", "sh -c 'exit 200'", "echo gr\u00fcn", "printf 'a\\r\\nb\\n\\n\\n'", "env | grep ^LC_ALL", "echo ~", "echo *", "", "  ", "echo 'unbalanced", "kill -9 $$", "id -un", "/tmp/w/a", "umask",
    "printf '\\033[1mx\\n'", "seq 1 2000 | tail -1", "A=1 env", "echo \\$x", "echo {{ x }}", "echo a=b creates=nothing",
]


def command(random):
    setup, names = odd.tree(random, 3)

    def one():
        told = odd.chosen(
            random, _raw_params=(0.75, LINES), _uses_shell=(0.5, [True, False]), argv=(0.25, [["echo", "a b", "$HOME"], ["cat", "/tmp/w/a"], ["/nosuch"], [], ["echo", 1, True], "echo x", ["sh", "-c", "exit 4"]]),
            chdir=(0.2, ["/tmp/w", "/tmp", "/nosuch", "a", odd.path(random, names), "~"]), creates=(0.2, ["/tmp/w/*", "a", "/nosuch", odd.path(random, names), "/tmp/w/[ab]"]), removes=(0.2, ["/tmp/w/*", "a", "/nosuch"]),
            executable=(0.12, ["/bin/bash", "/bin/sh", "/nosuch"]), stdin=(0.2, ["given", "", "gr\u00fcn\n", 5]), stdin_add_newline=(0.15, [True, False]), strip_empty_ends=(0.15, [True, False]),
            expand_argument_vars=(0.15, [True, False]), warn=(0.02, [True]), cmd=(0.1, ["echo cmd"]))
        return told

    return "command", setup, one


def getent(random):
    def one():
        return odd.chosen(random, database=(0.97, ["passwd", "group", "hosts", "services", "protocols", "nosuch", "shadow", "networks"]), key=(0.6, ["root", "daemon", "nosuch", "localhost", "ssh", "tcp", "80/tcp", "0", ""]),
                          split=(0.2, [":", " ", ",", ""]), service=(0.1, ["files", "nosuch"]), fail_key=(0.3, [True, False]))

    return "getent", "true", one


def wait_for(random):
    setup, names = odd.tree(random, 3)

    def one():
        return {"timeout": random.choice([0, 1, 1, 1]), "sleep": 1, **odd.chosen(
            random, path=(0.6, [odd.path(random, names), "/tmp/w/a"]), search_regex=(0.4, ["one", "^t", "(o)(n)", "(?P<x>o.e)", "nothing", "(", "gr.n"]), state=(0.5, ["present", "absent", "started", "stopped", "drained"]),
            port=(0.25, [1, 65000, 99999, "x"]), host=(0.15, ["127.0.0.1", "localhost", "::1", "nosuch.invalid"]), msg=(0.2, ["waited in vain"]), delay=(0.05, [0, 1]), connect_timeout=(0.1, [1]),
            exclude_hosts=(0.05, [["127.0.0.1"]]), active_connection_states=(0.05, [["ESTABLISHED"], ["NO"]]))}

    return "wait_for", setup, one


def tempfile(random):
    def one():
        return odd.chosen(random, state=(0.7, ["file", "directory"]), path=(0.6, ["/tmp/w", "/nosuch", "/tmp/w/x"]), prefix=(0.4, ["pre.", "", "a b"]), suffix=(0.4, [".end", "", "\u00fc"]))

    return "tempfile", "mkdir x", one


def case(random):
    module, setup, one = random.choices([command, getent, wait_for, tempfile], [8, 2, 1, 1])[0](random)
    made = dict(setup=setup, steps=odd.steps(random, module, one, 3), env={"A_VARIABLE": "1"})
    if module == "tempfile":
        made.update(watched=["/tmp/w/x"], loose=["path"], steps=made["steps"][:1])
    return made
