//! The connections of a run: one for each way to a machine.

use std::collections::HashMap;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::agent::Agent;
use super::container::{self, Container};
use super::local::Local;
use super::reached::{Reached, Way};
use super::ssh::Ssh;
use super::{Connection, ConnectionSettings, Connections};

/// How many files an open connection takes at most: pipes to a program, while one that is started takes others.
const FILES: u64 = 8;

/// How many files everything else takes.
const OTHERS: u64 = 256;

/// The connections of a run.
#[derive(Default)]
pub struct Pool {
    open: Mutex<HashMap<ConnectionSettings, Arc<dyn Connection>>>,
    agent: Arc<Agent>,
}

impl Pool {
    /// One without connections.
    pub fn new() -> Self {
        Pool::default()
    }

    /// Ends all that is open.
    pub async fn close(&self) {
        let open: Vec<_> = self.open.lock().drain().map(|(_, open)| open).collect();
        let mut closing = JoinSet::new();
        for connection in open {
            closing.spawn(async move { connection.close().await });
        }
        while closing.join_next().await.is_some() {}
    }
}

/// Lets this process have as many files open as its connections need, where the system gives fewer at first and would give more.
fn make_room(connections: usize) {
    let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let wanted = OTHERS.saturating_add((connections as u64).saturating_mul(FILES));
    if wanted > now {
        let wanted = wanted.next_power_of_two().min(most);
        // what cannot be had is missed when a connection is opened, and told then
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, most);
    }
}

/// Whether there is a way of this name.
pub(crate) fn is_known(plugin: &str) -> bool {
    let name = plugin.strip_prefix("ansible.builtin.").unwrap_or(plugin);
    matches!(name, "local" | "ssh" | "smart" | "paramiko_ssh") || container::known(name)
}

impl Connections for Pool {
    fn connection(&self, settings: &ConnectionSettings) -> Result<Arc<dyn Connection>, String> {
        if let Some(connection) = self.open.lock().get(settings) {
            return Ok(Arc::clone(connection));
        }
        let name = settings
            .plugin
            .strip_prefix("ansible.builtin.")
            .unwrap_or(&settings.plugin);
        let connection: Arc<dyn Connection> = match name {
            "local" => Arc::new(Local::new(settings.clone())),
            "ssh" | "smart" | "paramiko_ssh" => Arc::new(Reached::new(
                settings.clone(),
                Way::Ssh(Box::new(Ssh::new(settings, Arc::clone(&self.agent))?)),
            )),
            name if container::known(name) => {
                let way = Way::Container(Container::new(settings)?);
                Arc::new(Reached::new(settings.clone(), way))
            }
            _ => {
                return Err(format!(
                    "the connection plugin '{}' was not found",
                    settings.plugin
                ));
            }
        };
        let mut open = self.open.lock();
        make_room(open.len() + 1);
        Ok(Arc::clone(
            open.entry(settings.clone()).or_insert(connection),
        ))
    }
}
