"""Exceptions as the other side is told of them."""

from ansible._internal._datatag._tags import Origin
from ansible._internal._errors import _error_factory
from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.module_utils._internal import _event_utils

from consort_bridge import values, wire


def brief(error):
    """The message with those of all causes."""
    return _event_utils.format_event_brief_message(_error_factory.ControllerEventFactory.from_exception(error, False))


def told(error):
    """An exception as JSON: its chain, the outermost first."""
    chain = []
    event = _error_factory.ControllerEventFactory.from_exception(error, False)
    exception = error
    while event is not None:
        part = {"message": event.msg or type(error).__name__}
        if event.help_text:
            part["help"] = str(event.help_text)
        origin = origin_of(exception)
        if origin:
            part["origin"] = origin
        chain.append(part)
        if not event.chain or not event.chain.follow:
            break
        event = event.chain.event
        exception = exception.__cause__ if exception is not None else None
    found = {"message": brief(error) or type(error).__name__, "chain": chain, "class": type(error).__name__}
    if isinstance(error, wire.Refused):
        found.update(error.error)
    if isinstance(error, AnsibleUndefinedVariable):
        found["undefined"] = True
    return found


def origin_of(error):
    obj = getattr(error, "obj", None) if isinstance(error, AnsibleError) else None
    origin = Origin.get_tag(obj) if obj is not None else None
    return values.place(origin) if origin else None


def summaries(warnings):
    """Warnings and deprecations as JSON."""
    found = []
    for warning in warnings:
        event = warning.event
        one = {"message": _event_utils.format_event_brief_message(event)}
        if event.help_text:
            one["help"] = str(event.help_text)
        if event.formatted_source_context:
            one["context"] = str(event.formatted_source_context)
        if hasattr(warning, "version"):
            one["deprecated"] = True
            one["message"] = event.msg
            one["version"] = warning.version
            one["date"] = warning.date
            plugin = warning.deprecator
            name = getattr(plugin, "resolved_name", None)
            one["collection"] = ".".join(name.split(".")[:2]) if name else None
            if name and plugin.type:
                one["kind"], one["plugin"] = str(plugin.type), name
        found.append(one)
    return found


def summary(value):
    """What a result tells of an error or a warning, as text."""
    event = getattr(value, "event", None)
    return _event_utils.format_event_brief_message(event) if event is not None else str(value)


def deprecation(value):
    return _event_utils.deprecation_as_dict(value) if hasattr(value, "event") else str(value)
