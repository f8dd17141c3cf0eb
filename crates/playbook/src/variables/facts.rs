//! Facts of hosts.

use consort_jinja::{Dict, Key};
use indexmap::IndexMap;

/// The facts of a host: as modules gave them, and as `ansible_facts` shows them.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// With their prefix: `ansible_distribution`.
    pub given: Dict,
    /// Without it: `distribution`.
    pub shown: Dict,
}

impl Facts {
    /// Adds facts, which take the place of those of the same names. Costs as much as is added.
    pub(super) fn add(&self, facts: &Dict) {
        let facts = facts.read().clone();
        self.shown.change(|shown| {
            for (key, value) in &facts {
                let name = match key.as_str() {
                    Some("ansible_local") | None => key.clone(),
                    Some(name) => name
                        .strip_prefix("ansible_")
                        .map_or_else(|| key.clone(), Key::from),
                };
                shown.insert(name, value.clone());
            }
        });
        self.given.change(|given| given.extend(facts));
    }
}

/// Whether a fact may be seen under its own name: those that would change how a host is reached may not.
pub(crate) fn may_be_variable(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "ansible_connection",
        "ansible_module_compression",
        "ansible_shell_type",
        "ansible_shell_executable",
        "ansible_ssh_host",
        "ansible_host",
        "ansible_ssh_user",
        "ansible_user",
        "ansible_ssh_pass",
        "ansible_password",
        "ansible_ssh_port",
        "ansible_port",
        "ansible_ssh_pipelining",
        "ansible_pipelining",
        "ansible_ssh_timeout",
        "ansible_timeout",
        "ansible_ssh_private_key_file",
        "ansible_private_key_file",
        "ansible_network_os",
        "ansible_connection_user",
        "ansible_become",
        "ansible_playbook_python",
        "ansible_facts",
    ];
    /// The plugins whose variables begin with their names.
    const CONNECTIONS: &[&str] = &[
        "ansible_local_",
        "ansible_paramiko_ssh_",
        "ansible_psrp_",
        "ansible_ssh_",
        "ansible_winrm_",
    ];
    if name.starts_with("ansible_ssh_host_key_") {
        return true;
    }
    if RESERVED.contains(&name)
        || name.starts_with("ansible_become_")
        || name.starts_with("_ansible_")
        || (name.starts_with("ansible_") && name.ends_with("_interpreter"))
    {
        return false;
    }
    !(CONNECTIONS.iter().any(|prefix| name.starts_with(prefix))
        && !name.ends_with("_bridge")
        && !name.ends_with("_gwbridge"))
}

/// A dict without entries.
pub(super) fn empty() -> Dict {
    Dict::new(IndexMap::new())
}
