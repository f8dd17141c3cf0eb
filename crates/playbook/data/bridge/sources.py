"""Inventory plugins, vars plugins and caches of facts."""

import collections

import ansible.constants as C
from ansible._internal._datatag._tags import Origin
from ansible.errors import AnsibleError
from ansible.inventory.data import InventoryData
from ansible.inventory.group import Group
from ansible.inventory.host import Host
from ansible.inventory.manager import _InventoryDataWrapper
from ansible.plugins.loader import cache_loader, inventory_loader, vars_loader
from ansible.utils.vars import combine_vars
from ansible.vars import plugins as vars_plugins_of

from consort_bridge import display, prepare, values

_caches = {}


def inventory(request, message):
    """Lets a plugin read a source: the hosts and groups it finds; none if it does not want to."""
    name, source = message["plugin"], message["source"]
    plugin = inventory_loader.get(name)
    if plugin is None:
        raise AnsibleError("inventory config '%s' specifies unknown plugin '%s'" % (source, name))
    warned = []
    with display.holding({}, warned):
        try:
            wanted = bool(plugin.verify_file(source))
        except Exception:
            wanted = False
        if not wanted:
            return None
        data = InventoryData()
        data.current_source = source
        for host in message["hosts"]:
            data.add_host(host["name"])
            for key, value in values.decode(host["vars"], request).items():
                data.set_variable(host["name"], key, value)
        for group in message["groups"]:
            data.add_group(group["name"])
        for group in message["groups"]:
            for child in (*group["hosts"], *group["children"]):
                data.add_child(group["name"], child)
        origin = Origin(description=f"<inventory plugin {name!r} with source {source!r}>")
        wrapper = _InventoryDataWrapper(data, target_plugin=plugin, origin=origin)
        plugin.parse(wrapper, prepare.loader, source, cache=message["cache"])
        try:
            plugin.update_cache_if_changed()
        except AttributeError:
            pass
    return {
        "hosts": [{"name": str(host.name), "vars": values.encode(dict(host.vars))} for host in data.hosts.values()],
        "groups": [
            {
                "name": str(group.name),
                "hosts": [str(host.name) for host in group.hosts],
                "children": [str(child.name) for child in group.child_groups],
                "vars": values.encode(dict(group.vars)),
                "priority": group.priority,
            }
            for group in data.groups.values()
        ],
        "warned": warned,
    }


def vars_plugins(request, message):
    """The vars plugins there are beside the one for files."""
    if vars_loader._paths is None or not vars_loader._plugin_instance_cache:
        vars_plugins_of._prime_vars_loader()
    found = []
    for name in list(vars_loader._plugin_instance_cache):
        plugin = vars_loader.get(name)
        if plugin is not None and plugin.ansible_name != "ansible.builtin.host_group_vars":
            found.append(name)
    return found


def variables(request, message):
    """What vars plugins say of a group or a host."""
    entity = Host(message["name"]) if message["kind"] == "host_vars" else Group(message["name"])
    data = {}
    warned = []
    with display.holding({}, warned):
        for name in vars_plugins(request, message):
            plugin = vars_loader.get(name)
            if plugin is None:
                continue
            for stage in ("inventory", "task"):
                if vars_plugins_of._plugin_should_run(plugin, stage):
                    data = combine_vars(data, plugin.get_vars(prepare.loader, message["path"], [entity]) or {})
    return {"value": values.encode(data), "warned": warned}


def cache(request, message):
    """Facts of a host in a cache: loaded, kept or forgotten."""
    name = message["plugin"]
    if name not in _caches:
        plugin = cache_loader.get(name)
        if plugin is None:
            raise AnsibleError("Unable to load the facts cache plugin (%s)." % name)
        _caches[name] = plugin
    plugin, what, host = _caches[name], message["what"], message["host"]
    if what == "load":
        try:
            if not plugin.contains(host):
                return None
            return {"value": values.encode(plugin.get(host))}
        except KeyError:
            return None
    if what == "store":
        plugin.set(host, values.decode(message["facts"], request))
    else:
        plugin.delete(host)
    return None


def configuration(request, message):
    """The setting of a plugin."""
    from ansible.plugins import loader as loaders

    kind = message["type"]
    if not kind:
        seen = collections.ChainMap(values.Variables(request), vars(C))
        value, origin = C.config.get_config_value_and_origin(message["name"], variables=seen)
        return {"value": values.encode(value), "origin": str(origin)}
    plugins = getattr(loaders, "%s_loader" % kind, None)
    plugin = plugins.get(message["plugin"], class_only=True) if plugins is not None else None
    if plugin is None:
        raise AnsibleError('Unable to load %s plugin "%s"' % (kind, message["plugin"]))
    value, origin = C.config.get_config_value_and_origin(
        message["name"], plugin_type=kind, plugin_name=plugin._load_name, variables=values.Variables(request)
    )
    return {"value": values.encode(value), "origin": str(origin)}
