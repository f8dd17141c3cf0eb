//! The connections of a run: one for each way to a machine.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::agent::Agent;
use super::container::{self, Container};
use super::local::Local;
use super::reached::{Reached, Way};
use super::ssh::Ssh;
use super::{Connection, ConnectionSettings, Connections};

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
        Ok(Arc::clone(
            self.open
                .lock()
                .entry(settings.clone())
                .or_insert(connection),
        ))
    }
}
