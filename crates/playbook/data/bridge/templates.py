"""Filters, tests and lookups."""

import collections
import collections.abc
import inspect

from ansible._internal._templating._engine import TemplateEngine, TemplateOptions
from ansible._internal._templating._jinja_common import JinjaCallContext, MarkerError
from ansible._internal._templating._jinja_plugins import _LookupContext, _wrap_plugin_output
from ansible._internal._templating import _jinja_bits
from ansible._internal._templating._lazy_containers import _AnsibleLazyTemplateMixin, lazify_container_args, lazify_container_kwargs
from ansible._internal._templating._utils import TemplateContext
from ansible.errors import AnsibleError
from ansible.module_utils.common.collections import is_sequence
from ansible.plugins.loader import filter_loader, lookup_loader, test_loader
from ansible.template import Templar
from jinja2.utils import _PassArg

from consort_bridge import display, errors, prepare, values

_LOADERS = {"filter": filter_loader, "test": test_loader}


def _jinja_plugin(kind, name):
    try:
        return _LOADERS[kind].get(name)
    except KeyError:
        return None


def find(request, message):
    """Whether there is a plugin, and what it takes."""
    kind, name = message["kind"], message["name"]
    try:
        if kind == "lookup":
            plugin = lookup_loader.get(name, class_only=True)
            if plugin is not None:
                import ansible.template as template

                engine = TemplateEngine(loader=prepare.loader, variables={})
                plugin = lookup_loader.get(name, loader=prepare.loader, templar=template.Templar._from_template_engine(engine))
        else:
            plugin = _jinja_plugin(kind, name)
    except Exception as error:
        try:
            raise AnsibleError("The %s plugin %r failed to load." % (kind, name)) from error
        except AnsibleError as failed:
            return {"failed": errors.brief(failed)}
    if plugin is None:
        return None
    return {
        "name": plugin.ansible_name,
        "undefined": bool(getattr(plugin, "accept_args_markers", False)),
        "lazy": bool(getattr(plugin, "accept_lazy_markers", False)),
    }


class _Context:
    """Within it a plugin finds the templar that it was called by."""

    def __init__(self, request):
        self.variables = values.Variables(request)
        self.engine = TemplateEngine(loader=prepare.loader, variables=self.variables)
        self.context = TemplateContext(template_value="", templar=self.engine, options=TemplateOptions.DEFAULT)

    def __enter__(self):
        self.context.__enter__()
        return self

    def __exit__(self, *error):
        return self.context.__exit__(*error)


def _arguments(request, message, plugin, within):
    value = values.decode(message["value"], request)
    positional = [value, *values.decode(message["positional"], request)]
    named = values.decode(message["named"], request)
    passes = _PassArg.from_obj(plugin.j2_function)
    positional = list(lazify_container_args(tuple(positional)))
    named = lazify_container_kwargs(named)
    if passes is not None:
        environment = within.engine.environment
        if passes is _PassArg.environment:
            positional.insert(0, environment)
        elif passes is _PassArg.context:
            positional.insert(0, environment.from_string("").new_context(dict(within.variables.items())))
        else:
            from jinja2.nodes import EvalContext

            positional.insert(0, EvalContext(environment))
    return positional, named


def _run(request, message, kind):
    plugin = _jinja_plugin(kind, message["name"])
    warned = []
    with _Context(request) as within, display.holding(within.variables, warned):
        positional, named = _arguments(request, message, plugin, within)
        try:
            with JinjaCallContext(accept_lazy_markers=plugin.accept_lazy_markers):
                result = plugin.j2_function(*positional, **named)
                if kind == "filter":
                    result = _wrap_plugin_output(result)
        except MarkerError as error:
            result = error.source
        if kind == "test" and not isinstance(result, bool):
            from ansible._internal._templating._jinja_common import Marker

            if not isinstance(result, Marker):
                from ansible.utils.display import Display

                Display().deprecated(
                    msg=f"The test plugin {plugin.ansible_name!r} returned a non-boolean result of type {type(result)!r}. "
                    "Test plugins must have a boolean result.",
                    version="2.23",
                )
                result = bool(result)
        encoded = values.encode(result)
    return {"value": encoded, "warned": warned}


def filter_(request, message):
    return _run(request, message, "filter")


def test(request, message):
    return _run(request, message, "test")


def lookup(request, message):
    """Runs a lookup: gives its items."""
    name = message["name"]
    warned = []
    with _Context(request) as within, display.holding(within.variables, warned):
        instance = lookup_loader.get(name, loader=prepare.loader, templar=Templar._from_template_engine(within.engine))
        terms = values.decode(message["terms"], request)
        named = values.decode(message["named"], request)
        from ansible._internal._templating._lazy_containers import lazify_container

        with JinjaCallContext(accept_lazy_markers=instance.accept_lazy_markers):
            try:
                with _LookupContext(invoked_as_with=message["as_with"]):
                    found = instance.run(
                        [lazify_container(term) for term in terms],
                        variables=within.variables,
                        **lazify_container_kwargs(named),
                    )
                if not is_sequence(found):
                    raise TypeError(f"returned {type(found)} instead of {list}")
                found = list(found)
            except MarkerError as error:
                found = error.source
        # what it found may hold what is undefined
        with JinjaCallContext(accept_lazy_markers=True):
            encoded = values.encode(found)
    return {"value": encoded, "warned": warned}


def attribute(request, message):
    """An attribute or item of a value that is kept here; none if it has no such."""
    value = values.decode(message["of"], request)
    name = values.decode(message["name"], request)
    if isinstance(name, str) and not name.startswith("_") and hasattr(value, name):
        found = getattr(value, name)
        return {"value": values.encode(found)}
    try:
        return {"value": values.encode(value[name])}
    except (TypeError, KeyError, IndexError, AttributeError):
        return None


def call(request, message):
    """Calls a value that is kept here."""
    function = values.decode(message["of"], request)
    result = function(*values.decode(message["positional"], request), **values.decode(message["named"], request))
    if inspect.isgenerator(result):
        result = list(result)
    return {"value": values.encode(result)}


class _Layer(collections.abc.Mapping):
    """Variables of the other side as templates see them: rendered where somebody looks."""

    def __init__(self, variables):
        self.variables = variables
        self.rendered = {}

    def __getitem__(self, key):
        if key not in self.rendered:
            self.rendered[key] = _AnsibleLazyTemplateMixin._try_create({key: self.variables[key]})
        return self.rendered[key][key]

    def __contains__(self, key):
        return key in self.variables

    def __iter__(self):
        return iter(self.variables)

    def __len__(self):
        return len(self.variables)


def _see_variables():
    ours = _jinja_bits._flatten_and_lazify_vars

    def flatten(mapping):
        if type(mapping) is values.Variables:
            yield _Layer(mapping)
        elif type(mapping) is _Layer:
            yield mapping
        elif type(mapping) is collections.ChainMap:
            for layer in mapping.maps:
                yield from flatten(layer)
        else:
            yield from ours(mapping)

    _jinja_bits._flatten_and_lazify_vars = flatten


_see_variables()
