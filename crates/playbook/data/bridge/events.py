"""Callbacks: told what happens, in the order it does."""

import os
import types

import ansible.constants as C
from ansible._internal import _task
from ansible._internal._templating._engine import TemplateEngine
from ansible.executor.stats import AggregateStats
from ansible.executor.task_queue_manager import _resolve_callback_option_variables
from ansible.executor.task_result import CallbackTaskResult
from ansible.module_utils._internal import _messages
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.playbook.play import Play
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import callback_loader
from ansible.utils.display import Display

from consort_bridge import errors, prepare, tasks, values

_display = Display()
_callbacks = []
_tasks = {}
_hosts = {}
_play = None


def _add(callback, extra):
    callback._init_callback_methods()
    _resolve_callback_option_variables(callback, extra, TemplateEngine(loader=prepare.loader, variables=extra))
    _callbacks.append(callback)


def begin(request, message):
    """Loads callbacks: the one that prints, if it is one of these, and those beside it."""
    extra = values.decode(message["extra"], request)
    native = set(message["native"])
    name = message["stdout"]
    missing = []
    if name:
        callback = callback_loader.get(name)
        if not callback:
            return {"missing": [name], "loaded": 0}
        _add(callback, extra)
    known = {plugin.ansible_name: plugin for plugin in callback_loader.all(class_only=True)}
    for enabled in message["enabled"]:
        if enabled in native:
            continue
        plugin = callback_loader.get(enabled, class_only=True)
        if plugin:
            known.setdefault(plugin.ansible_name, plugin)
        else:
            missing.append(enabled)
    for plugin in known.values():
        if plugin.ansible_name.rpartition(".")[2] in native and plugin.ansible_name.startswith("ansible.builtin."):
            continue
        if _callbacks and name and plugin.ansible_name == _callbacks[0].ansible_name:
            continue
        if getattr(plugin, "CALLBACK_TYPE", "") == "stdout":
            continue
        wants = getattr(plugin, "CALLBACK_NEEDS_ENABLED", getattr(plugin, "CALLBACK_NEEDS_WHITELIST", False))
        redirected = getattr(plugin, "_redirected_names", [])
        called = redirected[0] if redirected else os.path.splitext(os.path.basename(plugin._original_path))[0]
        if not message["additional"] or (wants and called not in (C.CALLBACKS_ENABLED or ())):
            continue
        try:
            callback = plugin()
            if callback:
                _add(callback, extra)
            else:
                _display.warning("Skipping callback '%s', as it does not create a valid plugin instance." % called)
        except Exception as error:
            _display.error_as_warning(f"Failed to load callback plugin {called!r}.", exception=error)
    return {"missing": missing, "loaded": len(_callbacks)}


def _host(name):
    if name not in _hosts:
        from ansible.inventory.host import Host

        _hosts[name] = Host(name)
    return _hosts[name]


def _task_of(told, request):
    known = _tasks.get(told["uuid"])
    if known is None or told.get("fresh"):
        task = tasks.make_task(told, request)
        task.__dict__["_consort_play"] = _play
        if known is None:
            _tasks[told["uuid"]] = task
        return task
    return known


def _result(message, request):
    task = _task_of(dict(message["task"], fresh=True), request)
    result = values.decode(message["result"], request)
    shown = {}
    for key, value in result.items():
        if key == "_ansible_of_module":
            continue
        if key in ("warnings", "deprecations") and isinstance(value, list):
            value = [
                {name: part for name, part in item.items() if name != "_text"} if isinstance(item, dict) else item
                for item in value
            ]
            if key == "warnings":
                value = [item.get("msg", "") if isinstance(item, dict) else item for item in value]
        shown[key] = value
    if message.get("error"):
        shown["exception"] = _messages.ErrorSummary(event=_messages.Event(msg=message["error"].rstrip("\n")))
    with _task.TaskContext.create(task=task, task_vars={}, host_name=message["host"]):
        try:
            utr = _task.UnifiedTaskResult.from_action_result_dict(shown)
        except Exception:
            utr = _task.UnifiedTaskResult(is_module=False, result_data=shown)
        if message["status"] == "failed":
            utr.failed = True
        if message.get("no_log"):
            utr.no_log = True
        return CallbackTaskResult(_host(message["host"]), task, utr)


class _Playbook:
    def __init__(self, message):
        self._file_name = message["path"]
        self._basedir = os.path.dirname(message["path"]) or "."
        self._entries = []
        self._loader = prepare.loader

    def get_loader(self):
        return self._loader

    def get_plays(self):
        return list(self._entries)


class _Variables:
    """The variables of a play that callbacks ask for: who takes part in it."""

    def __init__(self, play, message):
        hosts = message["all"]
        self._known = dict(
            play.vars,
            ansible_play_name=play.get_name(),
            ansible_play_batch=message["batch"],
            ansible_play_hosts=message["batch"],
            ansible_play_hosts_all=hosts,
            play_hosts=message["batch"],
        )

    def get_vars(self, play=None, host=None, task=None, **_):
        known = dict(self._known)
        if host is not None:
            known["inventory_hostname"] = host.get_name()
        known["vars"] = dict(known)
        return known


class _Play(Play):
    """A play that was read elsewhere."""

    _consort = None

    def get_path(self):
        return self._consort["path"]

    def get_variable_manager(self):
        return self._variable_manager

    def get_tasks(self):
        return [[None] * self._consort["first"]]


def _begin_play(message, request):
    global _play
    play = _Play()
    play._consort = message
    play._loader = prepare.loader
    play.name = message["name"]
    hosts = values.decode(message["hosts"], request)
    play.hosts = hosts if isinstance(hosts, list) else [hosts]
    play.strategy = message["strategy"]
    play.check_mode = message["check"]
    play.vars = values.decode(message["vars"], request)
    play._uuid = message["uuid"]
    play._variable_manager = _Variables(play, message)
    _play = play
    context = PlayContext()
    context.check_mode = message["check"]
    for callback in _callbacks:
        if hasattr(callback, "set_play_context"):
            callback.set_play_context(context)
    return play


def _stats(message, request):
    stats = AggregateStats()
    for name, counts in message["hosts"].items():
        stats.processed[name] = 1
        for which, count in counts.items():
            if count:
                getattr(stats, which)[name] = count
    for which, custom in message["custom"].items():
        stats.custom[which] = values.decode(custom, request)
    return stats


def _prompt(name, prompt):
    return (
        name,
        boolean(prompt.get("private", True)),
        prompt.get("prompt", name),
        prompt.get("encrypt"),
        boolean(prompt.get("confirm", False)),
        prompt.get("salt_size"),
        prompt.get("salt"),
        prompt.get("default"),
        boolean(prompt.get("unsafe", False)),
    )


def event(request, message):
    """Something happened."""
    kind = message["event"]
    if kind == "playbook":
        _tell("v2_playbook_on_start", _Playbook(message))
    elif kind == "play":
        _tell("v2_playbook_on_play_start", _begin_play(message, request))
    elif kind == "prompt":
        _tell("v2_playbook_on_vars_prompt", *_prompt(message["name"], values.decode(message["prompt"], request)))
    elif kind == "no_hosts_matched":
        _tell("v2_playbook_on_no_hosts_matched")
    elif kind == "no_hosts_remaining":
        _tell("v2_playbook_on_no_hosts_remaining")
    elif kind == "task":
        task = _task_of(message["task"], request)
        if message["handler"]:
            _tell("v2_playbook_on_handler_task_start", task)
        else:
            _tell("v2_playbook_on_task_start", task, is_conditional=False)
    elif kind == "host_started":
        _tell("v2_runner_on_start", _host(message["host"]), _task_of(message["task"], request))
    elif kind in ("result", "item"):
        _tell_result(kind, message, _result(message, request))
    elif kind == "retry":
        _tell("v2_runner_retry", _result(message, request))
    elif kind == "async_poll":
        _tell("v2_runner_on_async_poll", _result(message, request))
    elif kind == "async_ended":
        ended = "failed" if message["status"] in ("failed", "unreachable") else "ok"
        _tell("v2_runner_on_async_" + ended, _result(message, request))
    elif kind == "included":
        included = types.SimpleNamespace(
            _filename=message["path"],
            _hosts=[_host(name) for name in message["hosts"]],
            _args={},
            _vars={"item": message["item"]} if message.get("item") is not None else {},
            _task=_task_of(message["task"], request),
            _is_role=False,
        )
        _tell("v2_playbook_on_include", included)
    elif kind == "notified":
        _tell("v2_playbook_on_notify", types.SimpleNamespace(get_name=lambda: message["handler"], name=message["handler"]), _host(message["host"]))
    elif kind == "stats":
        _tell("v2_playbook_on_stats", _stats(message, request))
    return None


def _tell_result(kind, message, result):
    status = message["status"]
    if kind == "item":
        if status in ("failed", "unreachable"):
            _tell("v2_runner_item_on_failed", result)
        elif status == "skipped":
            _tell("v2_runner_item_on_skipped", result)
        else:
            if message["diff"]:
                _tell("v2_on_file_diff", result)
            _tell("v2_runner_item_on_ok", result)
    elif status == "failed":
        _tell("v2_runner_on_failed", result, ignore_errors=message["ignored"])
    elif status == "unreachable":
        _tell("v2_runner_on_unreachable", result)
    elif status == "skipped":
        _tell("v2_runner_on_skipped", result)
    else:
        if message["diff"]:
            _tell("v2_on_file_diff", result)
        _tell("v2_runner_on_ok", result)


def _tell(method, *arguments, **named):
    task = next((argument for argument in arguments if isinstance(argument, tasks.BridgeTask)), None)
    result = next((argument for argument in arguments if isinstance(argument, CallbackTaskResult)), None)
    for callback in _callbacks:
        if callback.disabled:
            continue
        if task is not None and task.implicit and not callback.wants_implicit_tasks:
            continue
        if result is not None:
            callback._current_task_result = result
        for name in (method, "v2_on_any"):
            if name not in callback._implemented_callback_methods:
                continue
            try:
                getattr(callback, name)(*arguments, **named)
            except AssertionError:
                raise
            except Exception as error:
                _display.error_as_warning(
                    f"Callback dispatch {method!r} failed for plugin {callback._load_name!r}.", exception=error
                )
        callback._current_task_result = None
