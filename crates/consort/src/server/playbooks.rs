//! Playbooks that nodes carry out by themselves: the kind, how all nodes stand together, and this machine's own part.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use consort_api::Api;
use consort_api::identity::MASTERS;
use consort_api::identity::User;
use consort_pull::{Options, Overview, Puller};
use consort_reconcile::{Backoff, Hub};
use tokio_util::sync::CancellationToken;

use super::{Layer, failed};
use crate::error::{Result, chain};

/// Under which name the status of all nodes is written.
const CONTROLLER: &str = "system:consort:playbooks";
const AGAIN: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
/// Where programs are looked for, unless the environment says so.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What runs have of the environment of this process.
const KEPT: &[&str] = &[
    "PATH",
    "TZ",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "CONSORT_ANSIBLE_CORE",
];

/// Serves the kind and tells how all nodes stand together, until the layer ends. `nodes` may read nodes.
pub(super) fn start(layer: &mut Layer, api: &Api, nodes: &Hub) {
    let (api, nodes, shutdown) = (api.clone(), nodes.clone(), layer.token.clone());
    layer.tasks.spawn(async move {
        let client = api.client(User::new(CONTROLLER, [MASTERS]));
        let mut failures = 0;
        loop {
            let installed = shutdown
                .run_until_cancelled(consort_pull::install(&client))
                .await;
            match installed {
                None => return,
                Some(Ok(())) => break,
                Some(Err(error)) => {
                    tracing::error!(
                        error = chain(&error),
                        "installing the kind Playbook; trying again"
                    );
                }
            }
            let pause = AGAIN.delay(failures);
            failures += 1;
            shutdown
                .run_until_cancelled(tokio::time::sleep(pause))
                .await;
        }
        let hub = Hub::new(client, shutdown.child_token());
        Overview::new(&hub, &nodes).run(shutdown).await;
        hub.closed().await;
    });
}

/// Carries out the playbooks that are for this node, until the layer ends. `hub` speaks as the node.
pub(super) fn pull(layer: &mut Layer, hub: &Hub, node: &str, data_dir: &Path) -> Result<()> {
    let options = Options {
        node: node.to_owned(),
        data_dir: std::path::absolute(data_dir)?.join("playbooks"),
        program: std::env::current_exe()?,
        environment: environment(),
    };
    let shutdown: &CancellationToken = &layer.token;
    let puller = Puller::new(hub, options, shutdown)
        .map_err(|error| failed("starting pull mode", &error))?;
    layer.tasks.spawn(puller.run());
    Ok(())
}

/// The environment of a user who has logged in as root, whoever started this process.
fn environment() -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = [
        ("PATH", PATH),
        ("HOME", "/root"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    if let Ok(Some(user)) = nix::unistd::User::from_uid(nix::unistd::getuid()) {
        environment.insert("HOME".to_owned(), user.dir.to_string_lossy().into_owned());
        environment.insert("USER".to_owned(), user.name.clone());
        environment.insert("LOGNAME".to_owned(), user.name);
    }
    for name in KEPT {
        if let Ok(value) = std::env::var(name)
            && !value.is_empty()
        {
            environment.insert((*name).to_owned(), value);
        }
    }
    environment
}
