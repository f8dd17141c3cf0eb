# Runs modules on `ansible.module_utils` from zip archives: `serve PACKAGE` forks for each order that comes over the socket
# that is its standard input; `once ORDER` runs a single one, whose arguments are its standard input.
import os, sys


def apply(order):
    import json
    try:
        if order.get('directory'):
            os.chdir(order['directory'])
        else:
            os.getcwd()
    except OSError:
        try:
            os.chdir(os.path.expanduser('~'))
        except OSError:
            os.chdir('/')
    wanted = order.get('open_files')
    if wanted:
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        if wanted != soft:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            except ValueError:
                pass
    for name, value in order.get('environment') or ():
        os.environ[name] = value
        if name == 'TZ':
            import time
            time.tzset()


def run(order):
    package = order['package']
    apply(order)
    with os.fdopen(0, 'rb', closefd=False) as given:
        arguments = given.read()
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing != 0:
        os.dup2(nothing, 0)
        os.close(nothing)
    sys.argv = ['AnsiballZ_%s.py' % order['name'].rsplit('.', 1)[-1]]
    base = globals().get('BASE')
    if base and base != package:
        sys.path[:] = [package if entry == base else entry for entry in sys.path]
        for name, module in list(sys.modules.items()):
            if name.split('.', 1)[0] in ('ansible', 'ansible_collections') and getattr(module, '__path__', None):
                module.__path__ = [package + entry[len(base):] if entry.startswith(base) else entry for entry in module.__path__]
    elif not base:
        sys.path[:] = [package] + [entry for entry in sys.path if entry not in ('', '.')]
    from ansible.module_utils._internal._ansiballz import _loader
    _loader.run_module(json_params=arguments, profile='legacy', module_fqn=order['module'], modlib_path=package, extensions={})


def finish(work, order):
    code = 0
    try:
        work(order)
    except SystemExit as stop:
        if stop.code is None:
            code = 0
        elif isinstance(stop.code, int):
            code = stop.code & 255
        else:
            sys.stderr.write('%s\n' % (stop.code,))
            code = 1
    except BaseException:
        import traceback
        traceback.print_exc()
        code = 1
    try:
        import threading
        threading._shutdown()
    except BaseException:
        pass
    try:
        import atexit
        atexit._run_exitfuncs()
    except BaseException:
        code = code or 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            code = code or 1
    os._exit(code)


def serve(package):
    global BASE
    import array, json, select, signal, socket
    control = socket.socket(fileno=os.dup(0))
    os.set_inheritable(control.fileno(), False)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    BASE = package
    sys.path[:] = [package] + [entry for entry in sys.path if entry not in ('', '.')]
    import runpy
    import ansible.module_utils.basic
    import ansible.module_utils._internal._ansiballz._loader
    import ansible.module_utils._internal._json._profiles._module_legacy_c2m
    import ansible.module_utils._internal._json._profiles._module_legacy_m2c
    kept = keep_compiled()
    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    running = {}
    control.send(b'ready')

    def tell(**what):
        try:
            control.send(json.dumps(what).encode())
        except OSError:
            os._exit(0)

    while True:
        try:
            ready = select.select([control, wake], [], [])[0]
        except InterruptedError:
            continue
        if wake in ready:
            try:
                os.read(wake, 4096)
            except BlockingIOError:
                pass
            while True:
                try:
                    process, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    break
                if not process:
                    break
                number = running.pop(process, None)
                if number is not None:
                    tell(number=number, status=-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
        if control in ready:
            message, controls, _, _ = control.recvmsg(1 << 20, socket.CMSG_SPACE(3 * array.array('i').itemsize))
            if not message:
                os._exit(0)
            given = array.array('i')
            for level, kind, data in controls:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    given.frombytes(data[:len(data) - len(data) % given.itemsize])
            number, order = message.decode().split(' ', 1)
            number, order = int(number), json.loads(order)
            if kept is not None:
                compile_all(kept, order['package'])
            process = os.fork()
            if process == 0:
                try:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    os.setsid()
                    for place, end in enumerate(given):
                        os.dup2(end, place)
                    for end in list(given) + [wake, woken]:
                        if end > 2:
                            os.close(end)
                    control.close()
                except BaseException:
                    os._exit(1)
                finish(run, order)
            for end in given:
                os.close(end)
            running[process] = number
            tell(number=number, process=process)


def keep_compiled():
    # the loader of zip archives compiles what it loads each time anew: here it is done once for all that fork from this
    try:
        import zipimport
        kept = {}
        load = zipimport._get_module_code

        def get(self, name):
            found = kept.get((self.archive, name))
            return found if found is not None else load(self, name)

        zipimport._get_module_code = get
        return kept
    except BaseException:
        return None


SEEN = set()


def compile_all(kept, package):
    if package in SEEN:
        return
    SEEN.add(package)
    try:
        import zipimport
        for path in zipimport.zipimporter(package)._get_files():
            if not path.endswith('.py'):
                continue
            parts = path[:-3].replace(os.sep, '/').split('/')
            if parts[-1] == '__init__':
                parts.pop()
            name = '.'.join(parts)
            if not name or name in sys.modules:
                continue
            importer = zipimport.zipimporter(os.path.join(package, *parts[:-1]))
            kept[importer.archive, name] = zipimport._get_module_code(importer, name)
    except BaseException:
        pass


if sys.argv[1] == 'serve':
    serve(sys.argv[2])
else:
    import json
    finish(run, json.loads(sys.argv[2]))
