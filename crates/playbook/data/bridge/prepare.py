"""Sets ansible-core up as its own programs do, and says which requests are understood."""

import argparse
import base64
import importlib
import os
import sys

import ansible.constants

# Settings that are wrong or will go away were told of already, and what is logged here goes to no file.
ansible.constants.config.DEPRECATED.clear()
ansible.constants.config.WARNINGS.clear()
ansible.constants.DEFAULT_LOG_PATH = None

from ansible import context
from ansible.module_utils.common.text.converters import to_text
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret, VaultSecretsContext
from ansible.plugins.loader import add_all_plugin_dirs, init_plugin_loader, module_loader
from ansible.release import __version__
from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.utils.display import Display


loader = DataLoader()
options = {}
_directories = set()


def told():
    """What is said once everything is ready."""
    return {"version": __version__, "python": sys.version.split()[0]}


def operations(peer, given):
    """Prepares, and gives what carries each request out."""
    options.update(given)
    arguments = dict(given.get("arguments") or {})
    display = Display()
    display.verbosity = arguments.get("verbosity", 0)
    # ours are told by whoever reads settings here, too
    import ansible.constants as C

    C.config.WARNINGS.clear()
    C.config.DEPRECATED.clear()
    context._init_global_context(argparse.Namespace(**arguments))
    init_plugin_loader(given.get("collections") or None)
    AnsibleCollectionConfig.playbook_paths = [given["directory"]] if given.get("adjacent") else []
    loader.set_basedir(given["directory"])
    secrets = [(name, VaultSecret(base64.b64decode(secret))) for name, secret in given.get("vault", ())]
    VaultSecretsContext.initialize(VaultSecretsContext(secrets))
    loader.set_vault_secrets(secrets)
    for path in arguments.get("module_path") or ():
        if path:
            module_loader.add_directory(path)
    for directory in given.get("directories", ()):
        look_in(directory)

    from consort_bridge import tasks, templates

    def later(module, name):
        # what is rarely wanted is imported when it is
        def run(request, message):
            return getattr(importlib.import_module("consort_bridge." + module), name)(request, message)

        return run

    return {
        "look_in": lambda request, message: look_in(message["directory"]),
        "find": templates.find,
        "filter": templates.filter_,
        "test": templates.test,
        "lookup": templates.lookup,
        "attribute": templates.attribute,
        "call": templates.call,
        "action": tasks.action,
        "traits": tasks.traits,
        "knows": tasks.knows,
        "strategy": tasks.strategy,
        "reset": tasks.reset,
        "callbacks": later("events", "begin"),
        "event": later("events", "event"),
        "inventory": later("sources", "inventory"),
        "vars_plugins": later("sources", "vars_plugins"),
        "vars": later("sources", "variables"),
        "cache": later("sources", "cache"),
        "config": later("sources", "configuration"),
    }


def look_in(directory):
    """Looks for plugins beside a playbook or in a role, too."""
    directory = to_text(directory)
    if directory in _directories or not os.path.isdir(directory):
        return
    _directories.add(directory)
    add_all_plugin_dirs(directory)
