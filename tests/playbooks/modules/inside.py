"""Runs the steps of a case in the root it stands in: each by the real module (`real`) or by a native one (`native`).

A step is a shell script, or a module with its arguments and how it is run. What each gave, and how the watched files are
after it, goes to `told.json`.
"""

import json
import os
import re
import runpy
import stat
import subprocess
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
WATCHED = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/init", "/etc/cron.d",
           "/var/spool/cron", "/home", "/srv", "/tmp/fake", "/tmp/w", "/run/fake"] + [f"/etc/rc{level}.d" for level in "0123456S"]


def causes(event):
    told = []
    while event is not None:
        told.append(event.msg)
        event = event.chain.event if event.chain else None
    return told


def report_of(told):
    """A result as the native modules give theirs."""
    from ansible.module_utils._internal import _messages

    exception = told.pop("exception", None)
    if isinstance(exception, _messages.ErrorSummary) and (known := causes(exception.event)[1:]):
        told["_ansible_causes"] = known
    if "warnings" in told:
        told["warnings"] = [warning.event.msg for warning in told["warnings"]]
    if "deprecations" in told:
        told["deprecations"] = [{"msg": one.event.msg, "version": one.version} for one in told["deprecations"]]
    return told


def act(module, arguments, settings):
    """Runs the real module in this process; gives its result."""
    from ansible.module_utils import basic

    os.chdir("/root")
    os.umask(0o022)
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    whole = dict(arguments)
    whole.update(_ansible_check_mode=settings.get("check", False), _ansible_diff=settings.get("diff", False),
                 _ansible_remote_tmp="/tmp/rtmp", _ansible_module_name=module)
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": whole}).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    told = []
    basic.AnsibleModule._record_module_result = lambda self, result: told.append(result)
    try:
        name = "ansible.modules." + module
        runpy.run_module(name, init_globals={"_module_fqn": name, "_modlib_path": "x"}, run_name="__main__", alter_sys=True)
    except SystemExit:
        pass
    except BaseException as error:
        chain = []
        while error is not None:
            chain.append(str(error))
            error = error.__cause__
        told.append({"failed": True, "_ansible_causes": chain})
    return report_of(told[-1])


def real(module, arguments, settings):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            told = act(module, arguments, settings)
            data = json.dumps(told, default=lambda value: value.decode() if isinstance(value, bytes) else str(value)).encode()
            while data:
                data = data[os.write(writer, data):]
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        data = answer.read()
    os.waitpid(child, 0)
    return json.loads(data)


def native(module, arguments, settings):
    settings = dict(settings, directory="/root", remote_tmp="/tmp/rtmp", umask=0o022)
    asked = json.dumps({"module": module, "arguments": arguments, "settings": settings}).encode() + b"\n"
    done = subprocess.run([os.path.join(HERE, "module")], input=asked, capture_output=True)
    told = json.loads(done.stdout) if done.stdout else {"crash": done.stderr.decode()[-2000:]}
    for one in told.get("deprecations", []):
        one.pop("collection_name", None)
    return told


def files():
    found = {}

    def note(path):
        try:
            known = os.lstat(path)
        except OSError:
            return
        told = [oct(known.st_mode), known.st_uid, known.st_gid]
        if stat.S_ISLNK(known.st_mode):
            told.append(os.readlink(path))
        elif stat.S_ISREG(known.st_mode):
            with open(path, "rb") as file:
                text = file.read().decode("latin-1")
            told.append("a key" if re.search(r"id_\w+(\.pub)?$|/key", path) else text)
        found[path] = told

    for top in WATCHED:
        note(top)
        for directory, inner, names in os.walk(top):
            for name in inner + names:
                note(os.path.join(directory, name))
    return found


def main():
    with open(os.path.join(HERE, "case.json")) as file:
        case = json.load(file)
    os.environ.update(case.get("env", {}), HOME="/root", LC_ALL="C.UTF-8")
    os.makedirs("/tmp/rtmp", exist_ok=True)
    run = real if sys.argv[1] == "real" else native
    subprocess.run(["sh", "-c", case["setup"]], cwd="/root", check=True)
    told = []
    for step in case["steps"]:
        if isinstance(step, str):
            subprocess.run(["sh", "-c", step], cwd="/root")
            report = None
        else:
            report = run(step[0], step[1], step[2] if len(step) > 2 else {})
        told.append({"report": report, "files": files()})
    with open(os.path.join(HERE, "told.json"), "w") as file:
        json.dump(told, file)


main()
