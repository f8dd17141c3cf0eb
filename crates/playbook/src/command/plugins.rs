//! What plugins that are written in Python are told of the command line.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::running::Common;
use super::session::Session;
use crate::bridge::{Bridge, BridgeOptions};
use crate::vault::Vault;

/// The way to plugins in Python, for a run.
pub(super) fn bridge(
    session: &Session,
    common: &Common,
    directory: &Path,
    tags: &[String],
    skip_tags: &[String],
    vault: &Arc<Vault>,
) -> Bridge {
    let settings = &session.settings;
    let (connect, becoming, run) = (&common.connect, &common.becoming, &common.run);
    let arguments = json!({
        "verbosity": session.terminal.verbosity(),
        "check": common.check.check,
        "diff": common.check.diff || settings.diff_always,
        "forks": run.forks.unwrap_or(settings.forks),
        "connection": connect.connection.as_ref().unwrap_or(&settings.transport),
        "remote_user": connect.user.as_ref().or(settings.remote_user.as_ref()),
        "private_key_file": connect.private_key.as_ref().or(settings.private_key_file.as_ref()),
        "timeout": connect.timeout.map_or(settings.timeout, |seconds| i64::try_from(seconds).unwrap_or(i64::MAX)),
        "ssh_common_args": connect.ssh_common_args,
        "sftp_extra_args": connect.sftp_extra_args,
        "scp_extra_args": connect.scp_extra_args,
        "ssh_extra_args": connect.ssh_extra_args,
        "ask_pass": connect.ask_pass,
        "connection_password_file": connect.connection_password_file,
        "become": becoming.becomes || settings.becomes,
        "become_method": becoming.become_method.as_ref().unwrap_or(&settings.become_method),
        "become_user": becoming.become_user,
        "become_ask_pass": becoming.ask_become_pass,
        "become_password_file": becoming.become_password_file,
        "tags": tags,
        "skip_tags": skip_tags,
        "extra_vars": common.extra.extra_vars,
        "module_path": run.module_path,
        "inventory": session.inventory_sources(&common.inventory.inventory),
        "subset": common.inventory.limit,
        "listhosts": common.inventory.list_hosts,
        "flush_cache": common.inventory.flush_cache,
        "vault_ids": common.vault.vault_id,
        "ask_vault_pass": common.vault.ask_vault_password,
        "vault_password_files": common.vault.vault_password_file,
        "listtasks": false,
        "listtags": false,
        "syntax": false,
        "step": false,
        "start_at_task": null,
        "force_handlers": false,
        "args": [],
    });
    begin(directory, arguments, vault)
}

/// The way to plugins in Python, where an inventory is listed.
pub(super) fn bridge_of_listing(session: &Session, directory: &Path, vault: &Arc<Vault>) -> Bridge {
    let arguments = json!({
        "verbosity": session.terminal.verbosity(),
        "check": false,
        "diff": false,
        "tags": ["all"],
        "skip_tags": [],
        "args": [],
    });
    begin(directory, arguments, vault)
}

fn begin(directory: &Path, arguments: Json, vault: &Arc<Vault>) -> Bridge {
    let arguments = match arguments {
        Json::Object(arguments) => arguments,
        _ => Map::new(),
    };
    let bridge = Bridge::new(BridgeOptions {
        directory: directory.to_owned(),
        arguments,
        vault: Some(Arc::clone(vault)),
    });
    bridge.look_in(directory);
    bridge
}
