"""Makes up cases and runs each by the real modules and by the native ones, in the root it stands in; tells them line by line."""

import bz2
import ctypes
import gzip
import hashlib
import importlib
import io
import json
import lzma
import os
import random
import runpy
import socket
import stat
import subprocess
import sys
import tarfile
import time
import traceback
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
BEGUN = time.time() - 60
LIBC = ctypes.CDLL(None, use_errno=True)
WATCHED = ["/tmp/w"]


def mount(source, target, kind=None, flags=0, data=None):
    given = [None if value is None else value.encode() for value in (source, target, kind)]
    if LIBC.mount(*given, flags, None if data is None else data.encode()):
        raise OSError(ctypes.get_errno(), f"mount {target}")


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

    os.chdir(settings.get("directory", "/tmp/w"))
    os.umask(settings.get("umask", 0o022))
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    whole = dict(arguments)
    whole.update(_ansible_check_mode=settings.get("check", False), _ansible_diff=settings.get("diff", False),
                 _ansible_remote_tmp="/tmp/rtmp", _ansible_module_name=module,
                 _ansible_inject_invocation=settings.get("inject_invocation", False))
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": whole}).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    told = []
    basic.AnsibleModule._record_module_result = lambda self, result: told.append(result)
    collection, _, short = module.rpartition(".")
    name = f"ansible_collections.{collection}.plugins.modules.{short}" if collection else "ansible.modules." + module
    try:
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


def plain(value):
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def in_a_child(work):
    """What `work` gives, done in a child process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            data = json.dumps(work(), default=plain).encode("utf-8", "surrogateescape")
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
    return json.loads(data) if data else None


class Native:
    """The program of the native modules, asked one by one."""

    def __init__(self):
        self.errors = open("/tmp/errors", "w+b")
        self.program = subprocess.Popen([os.path.join(HERE, "module")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)

    def __call__(self, module, arguments, settings):
        settings = dict({"directory": "/tmp/w", "umask": 0o022}, **settings, remote_tmp="/tmp/rtmp")
        module = module.rpartition(".")[2]
        asked = json.dumps({"module": module, "arguments": arguments, "settings": settings}).encode() + b"\n"
        self.program.stdin.write(asked)
        self.program.stdin.flush()
        line = self.program.stdout.readline()
        if not line:
            self.errors.seek(0)
            self.__init__()
            return {"crash": self.errors.read().decode("utf-8", "replace")[-2000:]}
        told = json.loads(line)
        for one in told.get("deprecations", []):
            one.pop("collection_name", None)
            one.pop("deprecator", None)
        return told


def inside(path, data):
    """What is in an archive, in order; their bytes are others each time."""
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return json.dumps(sorted([one.filename, one.external_attr, one.file_size, one.CRC] for one in archive.infolist()))
        if data[:2] == b"\x1f\x8b" or data[:3] == b"BZh" or data[:6] == b"\xfd7zXZ\0" or b"ustar" in data[257:263]:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                return json.dumps(sorted([one.name, one.mode, one.uid, one.gid, one.size, one.linkname, one.type.decode()] for one in archive))
    except (tarfile.TarError, OSError, EOFError):
        for opened in (gzip.decompress, bz2.decompress, lzma.decompress):
            try:
                return opened(data).decode("latin-1")
            except (OSError, EOFError, ValueError, lzma.LZMAError):
                pass
    return None


def files(watched):
    found = {}

    def note(path):
        try:
            known = os.lstat(path)
        except OSError:
            return
        when = "now" if known.st_mtime > BEGUN else int(known.st_mtime)
        told = [oct(known.st_mode), known.st_uid, known.st_gid, [when, known.st_nlink if not stat.S_ISDIR(known.st_mode) else 0]]
        if stat.S_ISLNK(known.st_mode):
            told.append(os.readlink(path))
        elif stat.S_ISREG(known.st_mode):
            with open(path, "rb") as file:
                text = file.read()
            told.append(inside(path, text) or (text.decode("latin-1") if len(text) < 20000 else f"{len(text)} {hashlib.sha1(text).hexdigest()}"))
        else:
            told.append("")
        try:
            told.append({name: os.getxattr(path, name, follow_symlinks=False).hex() for name in os.listxattr(path, follow_symlinks=False)})
        except OSError:
            told.append({})
        found[path] = told

    for top in watched:
        note(top)
        for directory, inner, names in os.walk(os.fsencode(top)):
            for name in inner + names:
                note(os.fsdecode(os.path.join(directory, name)))
    return {json.dumps(path)[1:-1] if "\udc80" <= max(path) <= "\udcff" else path: told for path, told in found.items()}


def whole_case(case, how):
    """A case from start to end in a root of its own."""
    os.unshare(os.CLONE_NEWNS | (os.CLONE_NEWNET if case.get("net") else 0))
    place = f"/places/{how}"
    for name in ("up", "work", "root"):
        os.makedirs(f"{place}/{name}")
    mount("overlay", f"{place}/root", "overlay", 0, f"lowerdir=/,upperdir={place}/up,workdir={place}/work")
    for name in ("proc", "dev"):
        mount("/" + name, f"{place}/root/{name}", None, 4096 | 16384)
    mount("tmpfs", f"{place}/root/tmp", "tmpfs", 0, "mode=1777")
    os.chroot(f"{place}/root")
    os.makedirs("/tmp/w")
    os.mkdir("/tmp/rtmp", 0o700)
    os.chdir("/tmp/w")
    os.umask(0o022)
    os.environ.update(case.get("env", {}))
    subprocess.run(["sh", "-c", case["setup"]], cwd="/tmp/w", check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    native = Native() if how == "native" else None
    told = []
    for step in case["steps"]:
        if isinstance(step, str):
            subprocess.run(["sh", "-c", step], cwd="/tmp/w", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            report = None
        else:
            settings = step[2] if len(step) > 2 else {}
            if native:
                report = native(step[0], step[1], settings)
            else:
                report = in_a_child(lambda: act(step[0], step[1], settings))
        loose = case.get("loose", [])
        if report is not None:
            report = {key: "*" if key in loose else value for key, value in report.items()}
            for key in ("files", "archived", "expanded_paths", "missing", "expanded_exclude_paths"):
                # Directories have no order.
                if isinstance(report.get(key), list):
                    report[key].sort(key=str)
        told.append([report, files(case.get("watched", WATCHED))])
    return told


def main():
    seed, count, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    sys.path[:0] = [HERE, "/usr/share/ansible/collections"]
    import ansible.module_utils.basic  # noqa: F401 (so that forks need not read it again)
    import ansible.module_utils.urls  # noqa: F401

    server = subprocess.Popen([sys.executable, "-B", os.path.join(HERE, "server.py")], stderr=subprocess.DEVNULL)
    until = time.time() + 20
    while time.time() < until:
        try:
            socket.create_connection(("127.0.0.1", 8099)).close()
            break
        except OSError:
            time.sleep(0.05)
    for name in names:
        generator = importlib.import_module(name)
        fixed = getattr(generator, "CASES", [])
        for number in range(len(fixed) + count):
            if number < len(fixed):
                case = dict(fixed[number])
                case.setdefault("name", f"{name} fixed {number}")
            else:
                case = generator.case(random.Random(f"{name} {seed} {number - len(fixed)}"))
                case["name"] = f"{name} {seed}.{number - len(fixed)}"
            told = {}
            for how in ("real", "native"):
                told[how] = in_a_child(lambda: whole_case(case, how))
                subprocess.run(f"chattr -R -i -a /places/{how} 2>/dev/null; rm -rf /places/{how}", shell=True, stderr=subprocess.DEVNULL)
            print(json.dumps(dict(case=case, **told)), flush=True)
    server.kill()


main()
