"""Action plugins, and whole tasks over connections, methods of becoming and shells that are written in Python."""

import atexit
import base64
import os
import pickle
import threading
import types

from ansible._internal import _task
from ansible._internal._errors import _error_utils, _task_timeout
from ansible._internal._templating._engine import TemplateEngine
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.executor.task_executor import TaskExecutor
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins import loader as plugin_loaders
from ansible.plugins.action import ActionBase
from ansible.plugins.connection import ConnectionBase
from ansible.template import Templar

from consort_bridge import display, errors, prepare, values, wire

_LOADERS = {
    "action": plugin_loaders.action_loader,
    "become": plugin_loaders.become_loader,
    "callback": plugin_loaders.callback_loader,
    "cache": plugin_loaders.cache_loader,
    "connection": plugin_loaders.connection_loader,
    "inventory": plugin_loaders.inventory_loader,
    "shell": plugin_loaders.shell_loader,
    "strategy": plugin_loaders.strategy_loader,
    "vars": plugin_loaders.vars_loader,
}


def knows(request, message):
    """Whether there is a plugin of a kind."""
    return bool(_LOADERS[message["kind"]].has_plugin(message["name"], collection_list=message.get("collections")))


def strategy(request, message):
    """What a strategy is made of: the one of ansible-core that runs hosts for it."""
    plugin = plugin_loaders.strategy_loader.get_with_context(message["name"], class_only=True).object
    if plugin is None:
        return None
    owner = next(base for base in plugin.__mro__ if "run" in vars(base))
    package, _, leaf = owner.__module__.rpartition(".")
    return leaf if package == "ansible.plugins.strategy" else ""


def traits(request, message):
    """What an action plugin is like."""
    name = message["name"]
    module = plugin_loaders.module_loader.find_plugin_with_context(name)
    if module.resolved and module.action_plugin:
        name = module.action_plugin
    plugin = plugin_loaders.action_loader.get(name, class_only=True)
    if plugin is None:
        return None
    return {
        "bypasses_host_loop": bool(getattr(plugin, "BYPASS_HOST_LOOP", False)),
        "raw": bool(getattr(plugin, "supports_raw_params", False)),
    }


class Role:
    """What plugins look at of a role."""

    def __init__(self, told):
        self._role_name = told["name"]
        self._role_path = told["path"]
        self._role_collection = told.get("collection")
        self._uuid = told["path"]
        self._metadata = None
        self._role_params = {}

    def get_name(self, include_role_fqcn=True):
        if include_role_fqcn or not self._role_collection:
            return self._role_name
        return self._role_name.removeprefix(self._role_collection + ".")

    def get_role_path(self):
        return self._role_path

    def __str__(self):
        return self.get_name()


class Parent:
    """What tasks stand in: keywords are handed down elsewhere."""

    statically_loaded = True

    def __init__(self):
        self._play = types.SimpleNamespace(_action_groups={}, _group_actions={}, get_dep_chain=lambda: None)
        self._parent = None
        self._role = None

    def get_dep_chain(self):
        return None

    def get_vars(self):
        return {}

    def get_include_params(self):
        return {}

    def get_first_parent_include(self):
        return None

    def all_parents_static(self):
        return True

    def copy(self, exclude_parent=False, exclude_tasks=False):
        return self


class BridgeTask(Task):
    """A task whose keywords were settled elsewhere."""

    _consort = None

    def copy(self, exclude_parent=False, exclude_tasks=False):
        new = super().copy(exclude_parent=exclude_parent, exclude_tasks=exclude_tasks)
        new._consort, new._consort_ds = self._consort, self._consort_ds
        return new

    def get_search_path(self):
        return list(self._consort.get("search_path") or ())

    def get_path(self):
        return self._consort.get("path") or ""

    def get_ds(self):
        return self._consort_ds

    def get_dep_chain(self):
        return None

    def get_play(self):
        return (self._parent or Parent())._play

    def get_vars(self):
        return dict(self.vars or {})


def make_task(told, request=None):
    """A task of what is told of it."""
    task = BridgeTask(role=Role(told["role"]) if told.get("role") else None)
    task._parent = Parent()
    task._consort = told
    task._consort_ds = {}
    if told.get("origin"):
        task._consort_ds = values.origin(told["origin"]).tag(task._consort_ds)
    task._uuid = told.get("uuid") or task._uuid
    task._loader = prepare.loader
    task.action = told["action"]
    task._resolved_action = told.get("resolved") or told["action"]
    task.implicit = bool(told.get("implicit"))
    for name, value in (told.get("keywords") or {}).items():
        setattr(task, name, values.decode(value, request))
    return task


class Connection(ConnectionBase):
    """The way to the machine that is had elsewhere: commands, files and modules go there."""

    transport = "consort"
    has_pipelining = True

    def __init__(self, play_context, told, request):
        self._told = told
        self._request = request
        super().__init__(play_context)
        self.transport = told["plugin"]
        self._load_name = told["plugin"]
        self.ansible_name = told["plugin"] if "." in told["plugin"] else "ansible.builtin." + told["plugin"]
        self._connected = True
        self._remote_is_local = bool(told.get("remote_is_local"))
        self._consort_options = {}

    def _connect(self):
        return self

    def get_option(self, option, hostvars=None):
        options = self._told.get("options") or {}
        if option in options:
            return options[option]
        raise KeyError("Requested entry (plugin_type: connection plugin: %s setting: %s ) was not defined in configuration." % (self.transport, option))

    def get_options(self, hostvars=None):
        return dict(self._told.get("options") or {})

    def has_option(self, option):
        return option in (self._told.get("options") or {})

    def set_option(self, option, value):
        self._told.setdefault("options", {})[option] = value

    def is_pipelining_enabled(self, wrap_async=False):
        return not wrap_async

    def exec_command(self, cmd, in_data=None, sudoable=True):
        done = self._request.ask(
            "command",
            line=to_text(cmd),
            input=base64.b64encode(to_bytes(in_data or b"")).decode(),
            becomes=False,
        )
        return done["rc"], base64.b64decode(done["stdout"]), base64.b64decode(done["stderr"])

    def put_file(self, in_path, out_path):
        if not os.path.exists(in_path):
            from ansible.errors import AnsibleFileNotFound

            raise AnsibleFileNotFound("file or module does not exist: {0}".format(to_text(in_path)))
        self._request.ask("put", source=os.path.abspath(to_text(in_path)), path=to_text(out_path))

    def fetch_file(self, in_path, out_path):
        self._request.ask("fetch", path=to_text(in_path), to=os.path.abspath(to_text(out_path)))

    def reset(self):
        self._request.ask("reset")

    def close(self):
        pass


def _settle_actions():
    """Lets actions over our connections do there what others do with packed modules and temporary directories."""

    def replaced(name):
        theirs = getattr(ActionBase, name)

        def settle(ours):
            def method(self, *args, **kwargs):
                if type(self._connection) is Connection:
                    return ours(self, *args, **kwargs)
                return theirs(self, *args, **kwargs)

            method.__name__ = name
            method.__doc__ = theirs.__doc__
            setattr(ActionBase, name, method)

        return settle

    @replaced("_execute_module")
    def module(
        self,
        module_name=None,
        module_args=None,
        tmp=None,
        task_vars=None,
        persist_files=False,
        delete_remote_tmp=None,
        wrap_async=False,
        ignore_unknown_opts=False,
    ):
        task = self._task
        if task.check_mode and not self._supports_check_mode:
            raise AnsibleError("check mode is not supported for this operation")
        arguments = task.args if module_args is None else module_args
        environment = {}
        for part in task.environment or ():
            environment.update(self._templar.template(part) or {})
        result = self._connection._request.ask(
            "module",
            name=str(module_name or task.action),
            arguments=values.encode({key: value for key, value in arguments.items() if not str(key).startswith("_ansible_")}),
            check=bool(task.check_mode),
            diff=bool(task.diff),
            no_log=bool(task.no_log),
            environment={str(key): str(value) for key, value in environment.items()},
            background=bool(wrap_async or task.async_val),
            becomes=self._connection.become is not None,
            ignores_unknown=bool(ignore_unknown_opts),
        )
        if "failure" in result:
            raise _failure(result["failure"])
        return values.decode(result["result"], self._connection._request)

    @replaced("_low_level_execute_command")
    def command(
        self,
        cmd,
        sudoable=True,
        in_data=None,
        executable=None,
        encoding_errors="surrogate_then_replace",
        chdir=None,
        process_result=None,
    ):
        if chdir:
            cmd = self._connection._shell.append_command("cd %s" % chdir, cmd)
        if executable:
            self._connection._shell.executable = executable
        done = self._connection._request.ask(
            "command",
            line=to_text(cmd),
            input=base64.b64encode(to_bytes(in_data or b"")).decode(),
            becomes=bool(sudoable and self._connection.become),
            shell=executable,
        )
        rc, stdout, stderr = done["rc"], base64.b64decode(done["stdout"]), base64.b64decode(done["stderr"])
        if process_result is not None:
            rc, stdout, stderr = process_result(rc, stdout, stderr)
        out = self._strip_success_message(to_text(stdout, errors=encoding_errors))
        err = to_text(stderr, errors=encoding_errors)
        return dict(rc=rc, stdout=out, stdout_lines=out.splitlines(), stderr=err, stderr_lines=err.splitlines())

    @replaced("_make_tmp_path")
    def temporary(self, remote_user=None):
        path = self._connection._request.ask("temporary")
        path = path.rstrip("/") + "/"
        self._connection._shell.tmpdir = path
        return path

    @replaced("_remove_tmp_path")
    def remove(self, tmp_path, force=False):
        if tmp_path is None and self._connection._shell.tmpdir:
            tmp_path = self._connection._shell.tmpdir
        if tmp_path and (force or self._should_remove_tmp_path(tmp_path)):
            self._connection._request.ask("remove", path=tmp_path.rstrip("/"))
            if tmp_path == self._connection._shell.tmpdir:
                self._connection._shell.tmpdir = None

    @replaced("_fixup_perms2")
    def permissions(self, remote_paths, remote_user=None, execute=True):
        # files are written as who uses them
        if execute:
            result = self._remote_chmod(remote_paths, "u+x", sudoable=True)
            if result["rc"] != 0:
                raise AnsibleError(
                    "Failed to set execute bit on remote files (rc: {0}, err: {1})".format(result["rc"], result["stderr"])
                )
        return remote_paths


_settle_actions()


def _failure(told):
    if told["kind"] == "unreachable":
        return AnsibleConnectionFailure(told["message"])
    if told["kind"] == "message":
        return AnsibleActionFail(told["message"], result=told.get("result") or {})
    return AnsibleError(told["message"])


class _Inventory:
    """Adds to the inventory of the run."""

    def __init__(self, request):
        self._request = request

    def add_host(self, info):
        return self._request.ask(
            "add_host",
            name=str(info.host_name),
            variables=values.encode(dict(info.host_vars or {})),
            groups=[str(name) for name in info.parent_group_names or ()],
        )

    def add_group(self, host, info):
        return self._request.ask(
            "add_group", name=str(info.group_name), parents=[str(name) for name in info.parent_group_names or ()]
        )


class _Host:
    def __init__(self, name):
        self.name = name
        self.address = name
        self.vars = {}
        self.groups = []

    def get_name(self):
        return self.name

    def __str__(self):
        return self.name


class _Executor(TaskExecutor):
    """Has what the making of connections and handlers looks at."""

    def __init__(self, host, play_context):
        super().__init__(
            host, play_context, prepare.loader, plugin_loaders, types.SimpleNamespace(send_callback=lambda *_: None), None
        )


def _become(told):
    plugin = plugin_loaders.become_loader.get(told["method"])
    if plugin is None:
        return None
    keys = {"become_user": told["user"], "become_exe": told.get("exe"), "become_flags": told.get("flags")}
    try:
        plugin.set_options(direct={key: value for key, value in keys.items() if value is not None})
    except Exception:
        plugin.set_options()
    return plugin


def action(request, message):
    """Carries the action of a task out, once: gives its result, or why there is none."""
    told = message["task"]
    task = make_task(told, request)
    variables = values.Variables(request)
    warned = []
    answer = {}
    templar = TemplateEngine(loader=prepare.loader, variables=variables)
    context = _task.TaskContext.create(task=task, task_vars=variables, host_name=message["host"])
    context.__dict__["inventory_rpc_client"] = _Inventory(request)
    with context, display.holding(variables, warned):
        context.pending_changes = _task.PendingChanges()
        executor = connection = None
        try:
            handler, connection, executor = _handler(request, message, task, variables, templar)
            with _task_timeout.TaskTimeoutError.alarm_timeout(None):
                try:
                    result = handler.run(task_vars=variables)
                finally:
                    handler.cleanup()
            if not isinstance(result, dict):
                raise TypeError(f"Malformed result. Received {type(result)} instead of {dict}.")
            answer["result"] = _sent(result)
        except Exception as error:
            answer["failure"] = _why(error)
        layers = {}
        for layer, changes in context.pending_changes.register_host_variables.items():
            layers[layer.name] = values.encode(dict(changes))
        answer["layers"] = layers
        if executor is not None:
            name = getattr(connection, "ansible_name", None)
            answer["connection"] = name
    answer["warned"] = warned
    return answer


def _sent(result):
    """A result as JSON. What could not be handed from process to process is left out, as Ansible does it."""
    before = values.kept()
    encoded = values.encode(_plain(result))
    if values.kept() != before:
        try:
            pickle.dumps(result)
        except Exception as error:
            return {"failed": True, "msg": f"Task result omitted due to queue send failure: {error}"}
    return encoded


def _plain(result):
    """A result with warnings and errors as dicts."""
    found = {}
    for key, value in result.items():
        if key == "exception" and value is not None and not isinstance(value, str):
            value = errors.summary(value)
        elif key == "warnings" and isinstance(value, list):
            value = [item if isinstance(item, (str, dict)) else errors.summary(item) for item in value]
        elif key == "deprecations" and isinstance(value, list):
            value = [item if isinstance(item, (str, dict)) else errors.deprecation(item) for item in value]
        found[key] = value
    return found


def _why(error):
    """Why an action gave no result."""
    told = errors.told(error)
    part = error
    while part is not None:
        if isinstance(part, _error_utils.ContributesToTaskResult):
            given = part.as_task_result(_task.UnifiedTaskResult(is_module=False)).as_result_dict()
            given.pop("exception", None)
            told["result"] = values.encode(_plain(given))
            if given.get("skipped"):
                told["kind"] = "skipped"
            elif given.get("unreachable"):
                told["kind"] = "unreachable"
            else:
                told["kind"] = "contributed"
            return told
        part = part.__cause__
    told["kind"] = "unreachable" if isinstance(error, AnsibleConnectionFailure) else "error"
    return told


def _handler(request, message, task, variables, templar):
    way = message["way"]
    play_context = PlayContext(passwords=message.get("passwords") or {})
    if way is None:
        return _real(request, message, task, variables, templar, play_context)
    play_context.connection = way["plugin"]
    play_context.remote_addr = way["address"]
    play_context.remote_user = way.get("user")
    play_context.port = way.get("port")
    play_context.password = way.get("password") or ""
    play_context.executable = way["shell"]
    play_context.check_mode, play_context.diff = task.check_mode, task.diff
    connection = Connection(play_context, way, request)
    connection._shell.set_options(var_options={"ansible_remote_tmp": way["remote_tmp"]})
    if way.get("become"):
        told = way["become"]
        play_context.become, play_context.become_method = True, told["method"]
        play_context.become_user, play_context.become_pass = told["user"], told.get("password") or ""
        connection.set_become_plugin(_become(told))
    executor = _Executor(_Host(message["host"]), play_context)
    executor._connection = connection
    handler, _ = executor._get_action_handler_with_module_context(templar=templar)
    return handler, connection, None


# the connections that are written in Python, by host: of the task that was done last there
_open = {}
_open_lock = threading.Lock()


def _close(connection):
    try:
        connection.close()
    except Exception:
        pass


@atexit.register
def _close_all():
    for _, connection in list(_open.values()):
        _close(connection)


def _real(request, message, task, variables, templar, play_context):
    """As ansible-core does it, with a connection of its own."""
    host = _Host(message["host"])
    if task.delegate_to:
        # what is added to them is for this task alone
        delegated = variables.get("ansible_delegated_vars", {}).get(task.delegate_to, {})
        variables["ansible_delegated_vars"] = {task.delegate_to: dict(delegated.items())}
    play_context = play_context.set_task_and_variable_override(task=task, variables=variables, templar=templar)
    play_context.post_validate(templar=templar)
    if not play_context.remote_addr:
        play_context.remote_addr = host.address
    play_context.update_vars(variables)
    executor = _Executor(host, play_context)
    if task.delegate_to:
        seen = variables["ansible_delegated_vars"][task.delegate_to]
    else:
        seen = variables
    templar_there = templar.extend(variables=seen) if seen is not variables else templar
    if seen.get("ansible_connection") is not None:
        name = templar_there.template(seen["ansible_connection"])
    else:
        name = task.connection
    with _open_lock:
        of, known = _open.get(host.name, (None, None))
    if (
        known is not None
        and of == task._uuid
        and getattr(known, "connected", False)
        and known.matches_name([name])
        and play_context.remote_addr == known._play_context.remote_addr
    ):
        # the items of a loop, and attempts, share a connection
        known._play_context = play_context
        executor._connection = known
        executor._set_become_plugin(seen, templar_there, known)
    else:
        _close(known)
        executor._connection = executor._get_connection(seen, templar_there, name)
        with _open_lock:
            _open[host.name] = (task._uuid, executor._connection)
    executor._set_connection_options(seen, templar_there)
    executor._connection.update_vars(variables)
    executor._connection._play_context = executor._play_context.set_task_and_variable_override(
        task=task, variables=variables, templar=templar
    )
    if (
        "ansible_python_interpreter" not in seen
        and "ansible_network_os" in seen
        and getattr(executor._connection, "_remote_is_local", False)
    ):
        import sys

        seen["ansible_python_interpreter"] = sys.executable
    handler, _ = executor._get_action_handler_with_module_context(templar=templar)
    return handler, executor._connection, executor


def reset(request, message):
    """Resets a connection that is written in Python."""
    task = make_task(message["task"], request)
    variables = values.Variables(request)
    templar = TemplateEngine(loader=prepare.loader, variables=variables)
    with _task.TaskContext.create(task=task, task_vars=variables, host_name=message["host"]):
        _, connection, _ = _real(request, message, task, variables, templar, PlayContext())
        connection.reset()
    return None
