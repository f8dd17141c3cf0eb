#!/usr/bin/env python3
"""Makes up tasks whose modules do half of their work on the controller (`copy`, `template`, `assemble`, `unarchive`, `script`, `fetch`,
`blockinfile`, `shell` and others), runs them in one play beside the real `ansible-playbook`, and tells what differs in results and on disk.

    generated_plays.py --program target/debug/examples/play --helper target/debug/consort-play-helper --root DEBIAN_ROOT [--seed N] [--count N]

Each task has a directory of odd files of its own. Both programs run in namespaces over a root that is thrown away. Needs root.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "generated"))
import odd  # noqa: E402

SCRIPT = r"""
set -e
mount -t tmpfs none "$WORK/place"
cd "$WORK/place"
mkdir up work root
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=up,workdir=work" root
cd root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs tmp -o mode=1777
mkdir -p opt/consort
if [ -n "$PROGRAM" ]; then
  cp "$PROGRAM" opt/consort/program
  cp "$HELPER" opt/consort/consort-play-helper
  ln -s program opt/consort/ansible-playbook
fi
cp -r "$WORK/given" srv/case
ip link set lo up
hostname controller
chroot . env -i PATH=/opt/consort:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 ANSIBLE_LOCALHOST_WARNING=false \
  ANSIBLE_STDOUT_CALLBACK=ansible.posix.json $ENVIRONMENT sh -c 'cd /srv/case; umask 022; sh setup.sh; ansible-playbook $FLAGS site.yml > /srv/told.json 2> /srv/errors; echo $? > /srv/status' 
cp srv/told.json srv/errors srv/status "$WORK/" 
python3 "$LISTER" --list "$WORK/place/root" > "$WORK/listing"
"""

JINJA = [
    "plain {{ name }}\n", "{% for x in items %}{{ x }}\n{% endfor %}end", "{{ nothing }}\n", "{% if yes %}\n  yes\n{% endif %}\n", "{{ items | join(',') }}\r\nsecond\r\n", "gr\u00fcn {{ name | upper }}",
    "{{ ansible_managed }}\n", "<% name %> [[ name ]]\n", "{# note #}\n{{ template_path | basename }}\n", "{% raw %}{{ x }}{% endraw %}\n\n\n", "", "{{ broken", "{% include 'part.j2' %}!\n", "{{ lookup('file', 'part.j2') }}",
    "#jinja2: trim_blocks: False\n{% if yes %}\nx\n{% endif %}\n", "#jinja2:lstrip_blocks:True, variable_start_string:'[[', variable_end_string:']]'\n  {% if yes %}\n[[ name ]]\n  {% endif %}\n", "{% set a = 1 %}{{ a + items | length }}\n",
    "{{ {'b': 1, 'a': [1, 'x']} | to_nice_yaml }}", "{{ {'b': 1, 'a': none} | to_nice_json }}", "tab\t{{ name }}  \n  {{- name }}\n", "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(name) }}\n",
]


def make(count, seed):
    """The files of a case: the play, and a script that makes what it meets."""
    given, lines, tasks = {}, ["mkdir -p /tmp/w"], []
    for number in range(count):
        rng = random.Random(f"play {seed} {number}")
        top = f"/tmp/w/{number}"
        setup, names = odd.tree(rng, 4)
        # What waits for a writer waits in both.
        setup = setup.replace("mkfifo", "touch")
        lines.append(f"mkdir -p {top} && cd {top} && (\n{setup}\ntrue\n) 2>/dev/null")
        at = lambda: odd.path(rng, names, 0.35, 0.0).replace("/tmp/w/", top + "/")
        source = f"files/{number}"
        module = rng.choices(["copy", "template", "assemble", "unarchive", "script", "fetch", "shell", "raw", "file_content", "include_vars", "slurp", "lineinfile", "set_fact"],
                             [8, 8, 2, 3, 4, 4, 3, 2, 5, 2, 1, 2, 1])[0]
        told = {}
        if module == "copy":
            kind = rng.choice(["file", "file", "directory", "missing", "link"])
            if kind == "directory":
                for name in rng.sample(["one", "sub/two", "sub/deep/three", ".hidden", "gr\u00fcn"], rng.randint(1, 4)):
                    given[f"{source}/{name}"] = rng.choice(odd.TEXTS)
                told["src"] = str(number) + rng.choice(["", "/"])
            elif kind == "file":
                given[f"{source}.txt"] = rng.choice(odd.TEXTS)
                told["src"] = f"{number}.txt"
            else:
                told["src"] = "nosuch"
            told["dest"] = at()
            told.update(odd.owned(rng, 0.2))
            told.update(odd.chosen(rng, backup=(0.15, [True]), force=(0.2, [True, False]), follow=(0.15, [True, False]), directory_mode=(0.2, ["0700", "u=rwx,go="]), mode=(0.15, ["preserve", "0600"]),
                                   validate=(0.08, ["true %s", "false %s"]), local_follow=(0.1, [True, False]), decrypt=(0.05, [False]), checksum=(0.05, ["abc"])))
        elif module == "file_content":
            module = "copy"
            told = {"content": rng.choice(["text", "gr\u00fcn\n", "", {"a": 1, "b": [True, None]}, ["x", 1], 5, True, "{{ items }}", "{{ name }}\n", "%s\\n\r\n", None]), "dest": at(), **odd.owned(rng, 0.2),
                    **odd.chosen(rng, backup=(0.15, [True]), force=(0.2, [True, False]), follow=(0.15, [True, False]), validate=(0.08, ["true %s", "grep -q text %s"]))}
        elif module == "template":
            if rng.random() < 0.93:
                given[f"templates/{number}.j2"] = rng.choice(JINJA).encode()
            told = {"src": f"{number}.j2", "dest": at(), **odd.owned(rng, 0.2), **odd.chosen(
                rng, backup=(0.15, [True]), force=(0.15, [True, False]), follow=(0.15, [True, False]), newline_sequence=(0.15, ["\\r\\n", "\n", "\\r", "x"]), trim_blocks=(0.15, [True, False]), lstrip_blocks=(0.15, [True, False]),
                variable_start_string=(0.08, ["[["]), variable_end_string=(0.08, ["]]"]), block_start_string=(0.04, ["<%"]), block_end_string=(0.04, ["%>"]), output_encoding=(0.08, ["latin-1", "utf-16", "ascii", "nosuch"]),
                validate=(0.08, ["true %s", "false %s"]), comment_start_string=(0.03, ["##"]), mode=(0.05, ["preserve"]))}
        elif module == "assemble":
            for name in rng.sample(["01", "2.conf", ".h", "x", "sub/y"], 3):
                given[f"{source}/{name}"] = rng.choice(odd.TEXTS[:8])
            told = {"src": f"{number}", "dest": at(), "remote_src": rng.choice([False, False, "no"]), **odd.owned(rng, 0.2), **odd.chosen(
                rng, delimiter=(0.3, ["--", "# x\\n"]), regexp=(0.25, ["conf$", "^\\d", "("]), ignore_hidden=(0.3, [True]), backup=(0.1, [True]), validate=(0.1, ["true %s", "false %s"]))}
        elif module == "unarchive":
            name = rng.choice(["a.tar.gz", "a.zip", "a.tar", "nosuch.tgz"])
            told = {"src": name, "dest": rng.choice([top, at()]), **odd.owned(rng, 0.2), **odd.chosen(
                rng, creates=(0.15, [top + "/one", "/nosuch"]), list_files=(0.3, [True]), exclude=(0.2, [["one"], ["sub"]]), include=(0.15, [["one"]]), keep_newer=(0.1, [True]), copy=(0.08, [True]), decrypt=(0.05, [False]),
                extra_opts=(0.1, [["--strip-components=1"], ["--nosuch"]]))}
        elif module == "script":
            given[f"files/{number}.sh"] = rng.choice([b"#!/bin/sh\necho \"$#\" \"$@\"\n", b"#!/bin/sh\nexit 3\n", b"echo no interpreter\n", b"#!/nosuch\n", b"#!/usr/bin/env python3\nimport sys; print(sys.argv[1:])\n", b"#!/bin/sh\npwd\necho e >&2\n"])
            told = {"cmd": f"{number}.sh" + rng.choice(["", " a b", " 'a b' $HOME", " {{ name }}", " \"x"])}
            if rng.random() < 0.1:
                told["cmd"] = "nosuch.sh"
            told.update(odd.chosen(rng, chdir=(0.25, [top, "/nosuch", "~"]), creates=(0.2, [at(), "/etc/passwd"]), removes=(0.15, [at(), "/nosuch"]), executable=(0.15, ["/bin/sh", "python3", "/nosuch"])))
        elif module == "fetch":
            told = {"src": at(), "dest": rng.choice([f"/srv/fetched/{number}", f"/srv/fetched/{number}/", "got/{{ inventory_hostname }}/", "got"]), **odd.chosen(
                rng, flat=(0.4, [True, False]), fail_on_missing=(0.3, [True, False]), validate_checksum=(0.15, [True, False]))}
        elif module == "shell":
            told = {"cmd": rng.choice(["echo '{{ name }}'; echo x >&2", "cat *", "exit 4", "printf 'a\\nb'", "echo {{ items | join(' ') }} | wc -w", "echo \"a\\\\b\"", "for i in 1 2; do echo $i; done", "echo $A_THING"]),
                    **odd.chosen(rng, chdir=(0.5, [top, "/nosuch"]), creates=(0.15, [at()]), removes=(0.15, [at()]), stdin=(0.2, ["in"]), executable=(0.2, ["/bin/bash", "/nosuch"]))}
        elif module == "raw":
            told = rng.choice([f"ls {top} | head -2", "echo \"{{ name }}\"; exit 2", "printf 'x\\r\\ny'", "echo err >&2", "executable=/bin/bash echo $0 {{ items | length }}", ""])
        elif module == "include_vars":
            given[f"vars/{number}.yml"] = rng.choice([b"k: 1\n", b"- list\n", b"{bad", b"k: {{ name }}\n", b"", b"a: !unsafe '{{ x }}'\n"])
            told = rng.choice([{"file": f"{number}.yml"}, f"{number}.yml", {"file": "nosuch.yml"}, {"file": f"{number}.yml", "name": "under"}, {"dir": "vars", "files_matching": f"^{number}\\.", "name": "all_of"}, {"dir": "nosuch"},
                               {"dir": "vars", "extensions": ["json"]}, {"file": f"{number}.yml", "dir": "vars"}])
        elif module == "slurp":
            told = {"src": at()}
        elif module == "set_fact":
            told = rng.choice([{"x": "{{ items }}"}, {"y": "1", "cacheable": True}, {}, {"bad-name": 1}, "z='{{ name }} q'", {"n": "{{ nothing }}"}])
        else:
            told = {"path": at(), "line": "{{ name }}=\\1", **odd.chosen(rng, regexp=(0.5, ["^(one)", "x"]), backrefs=(0.3, [True]), create=(0.5, [True]), insertbefore=(0.2, ["BOF"]))}
        if isinstance(told, dict) and module not in ("include_vars", "set_fact"):
            told = odd.spoiled(rng, told, 0.05)
        for again in range(rng.choice([1, 1, 2])):
            task = {"name": f"{number}.{again}", module: told, "ignore_errors": True}
            if rng.random() < 0.2:
                task["check_mode"] = True
            if rng.random() < 0.4:
                task["diff"] = True
            if rng.random() < 0.06:
                task["no_log"] = True
            if rng.random() < 0.05:
                task["environment"] = {"A_THING": "of the task {{ name }}"}
            if rng.random() < 0.06:
                task["loop"] = rng.choice([[1, 2], ["a"], [], "{{ items }}"])
            if rng.random() < 0.05:
                task["become"], task["become_user"], task["become_method"] = True, "daemon", rng.choice(["su", "sudo"])
            tasks.append(task)
    lines.append("cd /srv/case; find . -exec touch -h -d @1600000000 {} +; mkdir -p files; cd files; mkdir t; echo 1 > t/one; mkdir t/sub; echo 2 > t/sub/two; ln -s one t/l; touch -h -d @1500000000 t/* t/sub/*; "
                 "for k in 'tar cf a.tar' 'tar czf a.tar.gz' 'zip -qry a.zip'; do (cd t; $k . >/dev/null; mv a.* ..); done; rm -r t")
    given["templates/part.j2"] = b"part of {{ name }}\n"
    given["site.yml"] = json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": {"name": "Joe", "items": ["a", "b c", 3], "yes": True}, "tasks": tasks}], indent=1).encode()
    given["setup.sh"] = "\n".join(lines).encode()
    return given, tasks


def listing(top):
    found = {}
    for base in ("tmp/w", "srv"):
        for directory, inner, names in os.walk(os.fsencode(os.path.join(top, base))):
            for name in inner + names:
                path = os.path.join(directory, name)
                known = os.lstat(path)
                told = [oct(known.st_mode), known.st_uid, known.st_gid]
                if os.path.islink(path):
                    told.append(os.fsdecode(os.readlink(path)))
                elif os.path.isfile(path):
                    with open(path, "rb") as file:
                        told.append(file.read(20000).decode("latin-1"))
                found[json.dumps(os.fsdecode(os.path.relpath(path, os.fsencode(top))))] = told
    return {path: told for path, told in found.items() if not re.match(r'"srv/(told.json|errors|status)"', path)}


MASKS = [
    (r"/root/\.ansible/tmp/[\w./-]+", "/TEMPORARY"), (r"(?<=ansible-tmp-)[\d.-]+", "X"), (r"\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~", ".BACKUP~"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+Z?", "TIME"), (r"\d:\d\d:\d\d\.\d{6}", "TOOK"), (r"(?<=\.ansible_tmp)\w+", "X"), (r"(?<=ansible\.)\w{8}\b", "X"), (r"/tmp/ansible-\w+|(?<=/tmp)[a-z0-9_]{8}\b", "/TMP"),
    (r"(?<=Valid booleans include: ).*", "..."),
]


def mask(value):
    if isinstance(value, str):
        for pattern, text in MASKS:
            value = re.sub(pattern, text, value)
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value - time.time()) < 7200:
        return "now"
    if isinstance(value, list):
        return [mask(item) for item in value]
    if isinstance(value, dict):
        return {mask(name): mask(item) for name, item in value.items()}
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
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other)):
            yield from differences(left, right, f"{path}[{place}]")
    elif type(one) is not type(other) or one != other:
        yield path, one, other


def run(given, options, ours):
    work = tempfile.mkdtemp(prefix="plays-")
    try:
        os.mkdir(os.path.join(work, "place"))
        for name, data in given.items():
            path = os.path.join(work, "given", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
            if name.endswith(".sh"):
                os.chmod(path, 0o755)
        env = dict(os.environ, WORK=work, LOWER=":".join(filter(None, [options.over, options.root])), PROGRAM=options.program if ours else "", HELPER=options.helper, LISTER=os.path.abspath(__file__),
                   FLAGS=options.flags, ENVIRONMENT=options.environment)
        subprocess.run(["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net", "--uts", "bash", "-c", SCRIPT], stdin=subprocess.DEVNULL, env=env, check=True)
        read = lambda name: open(os.path.join(work, name), encoding="utf-8", errors="surrogateescape").read()
        told = read("told.json")
        try:
            plays = json.loads(told[told.index("{"):])
            results = [(task["task"]["name"], task["hosts"].get("localhost")) for play in plays["plays"] for task in play["tasks"]]
        except (ValueError, KeyError):
            print("no JSON:", told[-2000:], read("errors")[-2000:])
            results = []
        return results, json.loads(read("listing")), read("status").strip(), read("errors")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program")
    parser.add_argument("--helper")
    parser.add_argument("--root")
    parser.add_argument("--over", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--flags", default="")
    parser.add_argument("--environment", default="")
    parser.add_argument("--wide", type=int, default=400)
    parser.add_argument("--list", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        json.dump(listing(options.list), sys.stdout)
        return 0
    given, tasks = make(options.count, options.seed)
    known = {task["name"]: task for task in tasks}
    ours, real = (run(given, options, who) for who in (True, False))
    wrong = 0
    if [name for name, _ in ours[0]] != [name for name, _ in real[0]] or ours[2] != real[2]:
        print(f"other tasks: {len(ours[0])} ours, {len(real[0])} real; status {ours[2]} ours, {real[2]} real\n{ours[3][-500:]}\n{real[3][-500:]}")
        wrong += 1
    theirs = dict(real[0])
    for name, result in ours[0]:
        found = list(differences(mask(theirs.get(name)), mask(result)))
        if found:
            wrong += 1
            print(f"{name} {json.dumps({key: value for key, value in known[name].items() if key not in ('name', 'ignore_errors')}, ensure_ascii=False)[:options.wide]}")
            for path, left, right in found[:10]:
                print(f"  {path}\n    real: {left!r:.{options.wide}}\n    ours: {right!r:.{options.wide}}")
    for path, left, right in differences(mask(real[1]), mask(ours[1])):
        wrong += 1
        print(f"disk {path}\n    real: {left!r:.{options.wide}}\n    ours: {right!r:.{options.wide}}")
    print(f"{len(ours[0])} tasks, {wrong} differences")
    return wrong != 0


sys.exit(main())
