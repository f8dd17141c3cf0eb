#!/usr/bin/env python3
"""Holds `consort play` beside the real `ansible-playbook` on whole repositories of playbooks, roles and inventories.

    repositories.py --program target/debug/examples/play --root DEBIAN_ROOT --repositories DIR [--kinds KIND,...] [NAME ...]

DIR holds the repositories, a directory each, as they were cloned; nothing has to be said about them. What is compared, by kind:

    list        every playbook: `--list-hosts --list-tasks --list-tags`, which reads all that is imported
    syntax      every playbook: `--syntax-check`
    roles       every file of tasks of every role, each imported by a play of its own, listed with its tags
    inventory   every file or directory that looks like an inventory: `ansible-inventory --list` and `--graph --vars`
    templates   every template, rendered with the defaults and variables of its role and the machine's facts
    check       every role, run in check mode against the machine
    run         every role, run for real, twice
    targets     every integration target of a collection that is a role, run for real

Of each command the exit status, everything printed and (of templates) what was written are compared. A repository is run in name
spaces of its own over the root and a copy of the repository that are thrown away, without a network. A repository that is a
collection (`galaxy.yml`) is put where collections are looked for. `--over DIR` is laid over the root (further collections, ...).

The real one's answers are kept below `--answers` and not asked for again. So that thousands of commands are bearable, its command
line is imported once for each working directory and forked for each command; `--whole` starts it anew each time.
"""

import argparse
import collections
import concurrent.futures
import difflib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
KINDS = ["list", "syntax", "roles", "inventory", "templates", "check", "run", "targets"]
PLAY = re.compile(rb"^(- |  )(\"?hosts\"?|(ansible\.builtin\.)?import_playbook|include):", re.M)
NO_PLAYS = {"tasks", "handlers", "vars", "defaults", "meta", "templates", "files", "group_vars", "host_vars", ".git", ".github", "node_modules"}
INVENTORIES = {"inventory", "inventories", "environments", "hosts"}

SCRIPT = r"""
set -e
mount -t tmpfs none "$WORK"
mkdir -p "$WORK/up" "$WORK/work" "$WORK/root" "$WORK/repository" "$WORK/scratch"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$WORK/up,workdir=$WORK/work" "$WORK/root"
cd "$WORK/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs tmp -o mode=1777
mkdir -p srv/home srv/out opt/harness ".$PLACE"
mount -t overlay overlay -o "lowerdir=$REPOSITORY,upperdir=$WORK/repository,workdir=$WORK/scratch" ".$PLACE"
cp "$HARNESS"/repositories.py "$HARNESS"/differential.py "$HARNESS"/unstable.json opt/harness/
printf '#!/bin/sh\nexit 0\n' > usr/sbin/policy-rc.d; chmod +x usr/sbin/policy-rc.d
if [ -n "$PROGRAM" ]; then
  mkdir -p opt/consort
  cp "$PROGRAM" opt/consort/program
  [ -z "$HELPER" ] || cp "$HELPER" opt/consort/consort-play-helper
  for name in ansible ansible-playbook ansible-inventory; do ln -sf program "opt/consort/$name"; done
fi
ip link set lo up 2>/dev/null || true
hostname controller
exec chroot . /usr/bin/python3 /opt/harness/repositories.py --inside "$PROGRAM"
"""

# What two runs of the same program do not have in common either, beyond what differential.py knows.
UNSTABLE = [
    (r"\d{4}-\d\d-\d\d - \d\d:\d\d:\d\d", "<time>"),
    (r"0x[0-9a-f]{8,16}", "0xADDRESS"),
    (r"\d+\.\d\d?s\b", "0s"),
]


def settled(text):
    import differential

    text = differential.settled(text)
    for pattern, instead in UNSTABLE:
        text = re.sub(pattern, instead, text)
    # The real one keeps these in a set.
    same = re.compile(r"(?:^\[WARNING\]: Found both group and host with same name: .*\n)+", re.M)
    return same.sub(lambda found: "".join(sorted(found[0].splitlines(True))), text)


# What there is in a repository


def contents(top):
    """All directories of a repository with the files in them, in order."""
    for directory, names, files in os.walk(top):
        names[:] = sorted(name for name in names if name != ".git")
        yield directory, names, sorted(files)


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def is_yaml(name):
    return name.endswith((".yml", ".yaml"))


def home(top, directory):
    """The nearest directory upwards with settings: where a user would start it."""
    here = directory
    while True:
        if os.path.exists(os.path.join(here, "ansible.cfg")):
            return here
        if here == top or len(here) <= len(top):
            return top
        here = os.path.dirname(here)


def playbooks(top):
    for directory, _, files in contents(top):
        if NO_PLAYS & set(os.path.relpath(directory, top).split(os.sep)):
            continue
        for name in files:
            if is_yaml(name) and PLAY.search(read(os.path.join(directory, name))):
                yield os.path.join(directory, name)


def roles(top):
    for directory, names, _ in contents(top):
        if "tasks" in names and (os.path.basename(os.path.dirname(directory)) in ("roles", "playbook-roles") or "meta" in names or "defaults" in names):
            yield directory


def inventories(top):
    for directory, names, files in contents(top):
        parts = set(os.path.relpath(directory, top).split(os.sep))
        if parts & (NO_PLAYS | {"roles", "plugins", "library", "docs"}):
            continue
        if "group_vars" in names and directory != top:
            yield directory
        for name in files:
            path = os.path.join(directory, name)
            stem, end = os.path.splitext(name)
            if os.access(path, os.X_OK) or end not in ("", ".ini", ".yml", ".yaml", ".sample", ".example", ".inventory"):
                continue
            if parts & INVENTORIES or re.match(r"(hosts|inventory|production|staging)", stem):
                if not PLAY.search(read(path)):
                    yield path


def targets(top):
    place = os.path.join(top, "tests", "integration", "targets")
    for directory, names, _ in contents(place) if os.path.isdir(place) else ():
        if os.path.dirname(directory) == place and "tasks" in names:
            yield directory


def variable_files(role):
    for part in ("defaults", "vars"):
        for name in ("main.yml", "main.yaml"):
            path = os.path.join(role, part, name)
            if os.path.isfile(path):
                yield path


def dumped(text):
    return json.dumps(text, ensure_ascii=False)


def jobs(top, place, kinds):
    """The commands for a repository: where each is run, what is run, what it wants written beforehand, what it writes."""
    name = os.path.basename(place)

    def at(path):
        return os.path.normpath(os.path.join(place, os.path.relpath(path, top)))

    def job(kind, what, cwd, argv, **more):
        return {"kind": kind, "what": what, "cwd": at(cwd), "argv": argv, "files": {}, "out": [], "env": {}, **more}

    for path in playbooks(top):
        cwd = home(top, os.path.dirname(path))
        relative = os.path.relpath(path, cwd)
        if "list" in kinds:
            yield job("list", relative, cwd, ["ansible-playbook", "--list-hosts", "--list-tasks", "--list-tags", relative])
        if "syntax" in kinds:
            yield job("syntax", relative, cwd, ["ansible-playbook", "--syntax-check", relative])
    if "inventory" in kinds:
        for path in dict.fromkeys(inventories(top)):
            cwd = home(top, os.path.dirname(path))
            relative = os.path.relpath(path, cwd)
            yield job("inventory", relative, cwd, ["ansible-inventory", "-i", relative, "--list"])
            yield job("inventory", relative + " (graph)", cwd, ["ansible-inventory", "-i", relative, "--graph", "--vars"])
    for target in targets(top) if "targets" in kinds else ():
        play = f"- hosts: localhost\n  roles: [{dumped(os.path.basename(target))}]\n"
        book = "/srv/out/play.yml"
        env = {"ANSIBLE_ROLES_PATH": os.path.dirname(at(target)), "OUTPUT_DIR": "/srv/out"}
        yield job("targets", os.path.basename(target), top, ["ansible-playbook", "-c", "local", book], files={book: play}, env=env)
    for role in roles(top):
        cwd = home(top, role)
        relative = os.path.relpath(role, top)
        env = {"ANSIBLE_ROLES_PATH": os.path.dirname(at(role))}
        called = at(role)
        if "roles" in kinds:
            for directory, _, files in contents(os.path.join(role, "tasks")):
                for file in files:
                    if is_yaml(file):
                        tasks = os.path.relpath(os.path.join(directory, file), os.path.join(role, "tasks"))
                        play = f"- hosts: localhost\n  tasks:\n    - import_role: {{name: {dumped(called)}, tasks_from: {dumped(tasks)}}}\n"
                        book = "/srv/out/play.yml"
                        yield job("roles", f"{relative}: {tasks}", cwd, ["ansible-playbook", "--list-tasks", "--list-tags", book], files={book: play}, env=env)
        if "templates" in kinds:
            found = [os.path.join(d, f) for d, _, files in contents(os.path.join(role, "templates")) for f in files]
            if found:
                play = "- hosts: localhost\n  vars_files: " + dumped([at(f) for f in variable_files(role)]) + "\n  tasks:\n"
                outs = []
                for number, path in enumerate(found):
                    outs.append(f"/srv/out/{number}")
                    play += f"    - name: {dumped(os.path.relpath(path, role))}\n      template: {{src: {dumped(at(path))}, dest: /srv/out/{number}}}\n      ignore_errors: true\n"
                book = "/srv/out/play.yml"
                yield job("templates", relative, cwd, ["ansible-playbook", "-c", "local", book], files={book: play}, out=outs, env=env)
        for kind in ("check", "run"):
            if kind in kinds and os.path.exists(os.path.join(role, "tasks")):
                play = f"- hosts: localhost\n  roles: [{dumped(called)}]\n"
                book = "/srv/out/play.yml"
                argv = ["ansible-playbook", "-c", "local", book, *(["--check", "--diff"] if kind == "check" else [])]
                yield job(kind, relative, cwd, argv, files={book: play}, env=env)
                if kind == "run":
                    yield job(kind, relative + " (again)", cwd, argv, files={book: play}, env=env)


def placed(top, name):
    """Where a repository is put: a collection goes where collections are looked for."""
    about = {}
    for line in read(os.path.join(top, "galaxy.yml")).decode(errors="replace").splitlines():
        found = re.match(r"(namespace|name):\s*[\"']?(\w+)", line)
        if found:
            about[found[1]] = found[2]
    if len(about) == 2:
        return f"/usr/share/ansible/collections/ansible_collections/{about['namespace']}/{about['name']}"
    return f"/srv/{name}"


# In the machine


def environment(job, program):
    return {
        "PATH": ("/opt/consort:" if program else "") + "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/srv/home",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_FORKS": "1",
        "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        **job["env"],
    }


def prepare(job):
    shutil.rmtree("/srv/out", ignore_errors=True)
    os.makedirs("/srv/out")
    for path, text in job["files"].items():
        with open(path, "w") as file:
            file.write(text)


def outcome(job, status, out, err, seconds):
    files = {}
    for path in job["out"]:
        try:
            with open(path, "rb") as file:
                files[path] = file.read().decode(errors="backslashreplace")
        except OSError:
            files[path] = None
    return {
        "status": status,
        "out": settled(out.decode(errors="replace")),
        "err": settled(err.decode(errors="replace")),
        "files": files,
        "seconds": seconds,
    }


def asked(job, program, timeout):
    """A command as a process of its own."""
    prepare(job)
    began = time.monotonic()
    try:
        done = subprocess.run(
            job["argv"], cwd=job["cwd"], env=environment(job, program), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return outcome(job, "hung", b"", b"", timeout)
    return outcome(job, done.returncode, done.stdout, done.stderr, time.monotonic() - began)


FORKS = r"""
import json, os, sys, time, signal, importlib
import ansible.cli.playbook, ansible.cli.inventory
import ansible.executor.playbook_executor
classes = {"ansible-playbook": ansible.cli.playbook.PlaybookCLI, "ansible-inventory": ansible.cli.inventory.InventoryCLI}
for line in sys.stdin:
    argv, timeout = json.loads(line)
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(os.open("/srv/told.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(os.open("/srv/told.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.argv = argv
        signal.alarm(int(timeout))
        status = 250
        try:
            classes[argv[0]].cli_executor(argv)
        except SystemExit as end:
            status = end.code or 0
        finally:
            sys.stdout.flush(); sys.stderr.flush()
            os._exit(status if isinstance(status, int) else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.__stdout__.write(json.dumps([status, time.monotonic() - began]) + "\n"); sys.__stdout__.flush()
"""


def inside(program):
    """Answers the jobs of standard input, a line each."""
    wanted = json.load(sys.stdin)
    running, where = None, None
    for number, job in wanted["jobs"]:
        if program or wanted["whole"]:
            answer = asked(job, program, wanted["timeout"])
        else:
            if where != (job["cwd"], job["env"]):
                if running:
                    running.stdin.close()
                    running.wait()
                where = (job["cwd"], job["env"])
                running = subprocess.Popen(
                    ["/usr/bin/python3", "-c", FORKS], cwd=job["cwd"], env=environment(job, program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open("/srv/told.first", "w"), text=True
                )
            prepare(job)
            try:
                running.stdin.write(json.dumps([job["argv"], wanted["timeout"]]) + "\n")
                running.stdin.flush()
                status, seconds = json.loads(running.stdout.readline())
                answer = outcome(job, status, read("/srv/told.out"), read("/srv/told.first") + read("/srv/told.err"), seconds)
            except (OSError, ValueError):
                # Settings that cannot be read end it before anything is asked.
                running.kill()
                running, where = None, None
                answer = asked(job, program, wanted["timeout"])
        print(json.dumps([number, answer]), flush=True)


# On the outside


def answers(options, name, top, place, work, ours):
    """Answers to jobs, numbered as they are."""
    scratch = os.path.join(options.scratch, f"{name}-{'ours' if ours else 'peer'}")
    os.makedirs(scratch, exist_ok=True)
    env = {
        "PATH": os.environ["PATH"],
        "WORK": scratch,
        "LOWER": ":".join([*([options.over] if options.over else []), options.root]),
        "REPOSITORY": top,
        "PLACE": place,
        "HARNESS": HERE,
        "PROGRAM": options.program if ours else "",
        "HELPER": options.helper if ours and options.helper else "",
    }
    spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc"]
    text = json.dumps({"jobs": work, "whole": options.whole, "timeout": options.timeout})
    done = subprocess.run([*spaces, "bash", "-c", SCRIPT], env=env, input=text, capture_output=True, text=True)
    shutil.rmtree(scratch, ignore_errors=True)
    found = {}
    for line in done.stdout.splitlines():
        number, answer = json.loads(line)
        found[number] = answer
    if len(found) < len(work):
        print(f"{name}: {len(work) - len(found)} commands without an answer: {done.stderr[-2000:]}", flush=True)
    return found


def told(answer):
    text = f"status {answer['status']}\n{answer['out']}"
    if answer["err"]:
        text += "\nstandard error:\n" + answer["err"]
    for path, written in answer["files"].items():
        text += f"\n{path}:\n{'(nothing)' if written is None else written}"
    return text


def one(options, name):
    """What came of a repository: for each kind how many commands, how many of them differ, and the seconds of both."""
    top = os.path.join(options.repositories, name)
    place = placed(top, name)
    work = list(enumerate(jobs(top, place, options.kinds)))
    if options.only:
        work = [(number, job) for number, job in work if re.search(options.only, job["what"])]
    if options.every > 1:
        work = work[:: options.every]
    # Kept by what is asked, so that a change of what is asked asks anew.
    keys = {number: hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:24] for number, job in work}
    kept = os.path.join(options.answers, name)
    os.makedirs(kept, exist_ok=True)
    peer = {}
    for number, _ in work:
        data = read(os.path.join(kept, keys[number]))
        if data:
            peer[number] = json.loads(data)
    missing = [(number, job) for number, job in work if number not in peer]
    if missing:
        for number, answer in answers(options, name, top, place, missing, False).items():
            peer[number] = answer
            with open(os.path.join(kept, keys[number]), "w") as file:
                json.dump(answer, file)
    ours = answers(options, name, top, place, work, True) if options.program else {}
    counts = {}
    place = os.path.join(options.logs, name)
    for file in os.listdir(place) if os.path.isdir(place) else ():
        if file.split("-")[0] in options.kinds:
            os.unlink(os.path.join(place, file))
    for number, job in work:
        if number not in peer or number not in ours:
            continue
        count = counts.setdefault(job["kind"], {"commands": 0, "differ": 0, "real": 0.0, "consort": 0.0})
        count["commands"] += 1
        count["real"] += peer[number]["seconds"]
        count["consort"] += ours[number]["seconds"]
        a, b = told(peer[number]), told(ours[number])
        if a != b:
            count["differ"] += 1
            os.makedirs(place, exist_ok=True)
            with open(os.path.join(place, f"{job['kind']}-{number}.diff"), "w") as file:
                file.write(f"{job['cwd']}$ {' '.join(job['argv'])}   ({job['what']})\n")
                file.write("\n".join(difflib.unified_diff(a.splitlines(), b.splitlines(), "real", "consort", "", "", 3, "")) + "\n")
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="the program under test: `consort`, or the example `play` of consort-playbook")
    parser.add_argument("--helper", help="`consort-play-helper`, if it is to stand beside it")
    parser.add_argument("--root", required=True, help="a Debian with ansible-core in it")
    parser.add_argument("--over", help="a directory that is laid over the root")
    parser.add_argument("--repositories", required=True, help="a directory of repositories")
    parser.add_argument("--kinds", default="list,roles,inventory,templates", type=lambda text: text.split(","))
    parser.add_argument("--only", help="only what this pattern finds in the path of the playbook, role or inventory")
    parser.add_argument("--every", type=int, default=1, help="only every nth command")
    parser.add_argument("--answers", default="/tmp/consort-repositories/answers")
    parser.add_argument("--logs", default="/tmp/consort-repositories/logs")
    parser.add_argument("--scratch", default="/tmp/consort-repositories/scratch")
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--whole", action="store_true", help="start the real one anew for each command")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for path in ("program", "helper", "root", "over", "repositories", "answers", "logs", "scratch"):
        if getattr(options, path):
            setattr(options, path, os.path.abspath(getattr(options, path)))
    if set(options.kinds) - set(KINDS):
        parser.error(f"kinds are {', '.join(KINDS)}")
    names = options.names or sorted(os.listdir(options.repositories))
    total = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, counts in zip(names, pool.map(lambda name: one(options, name), names)):
            for kind, count in counts.items():
                total.update({"commands": count["commands"], "differ": count["differ"]})
                print(
                    f"{name:34} {kind:10} {count['commands']:5} commands {count['differ']:5} differ"
                    f"   real {count['real']:7.1f} s   consort {count['consort']:7.1f} s",
                    flush=True,
                )
    print(f"{total['commands']} commands, {total['differ']} differ; the differences are in {options.logs}")
    return 1 if total["differ"] else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2])
    else:
        sys.exit(main())
