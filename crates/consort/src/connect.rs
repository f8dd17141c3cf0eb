//! Finds the server a command speaks to.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::cli::Target;
use crate::error::{Failure, Kind, Result};
use crate::settings::DEFAULT_DATA_DIR;

/// A client and the namespace that commands work in when none is named.
pub(crate) struct Connection {
    /// Speaks to the server.
    pub(crate) client: Client,
    /// From `--namespace`, the kubeconfig's context, or `default`.
    pub(crate) namespace: String,
}

/// Where a data directory keeps the administrator's kubeconfig.
pub(crate) fn admin_kubeconfig(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.kubeconfig")
}

/// Connects as the command line says: `--kubeconfig` or `--data-dir` first, then `$KUBECONFIG`,
/// then the default data directory. `--server` replaces the address found there.
pub(crate) async fn connect(target: &Target) -> Result<Connection> {
    let (path, found_by) = locate(target);
    let kubeconfig = Kubeconfig::read_from(&path).map_err(|error| {
        let why = match path.try_exists() {
            Ok(false) => "which does not exist".to_owned(),
            Err(error) => format!("which cannot be read: {error}"),
            Ok(true) => format!("which is not usable: {}", crate::error::chain(&error)),
        };
        let failure = Failure::new(
            Kind::Unreachable,
            format!("no server is known: {found_by} names {}, {why}", path.display()),
        );
        failure.hint(
            "start one with `consort server`, or name another with --kubeconfig, --data-dir or $KUBECONFIG",
        )
    })?;
    let options = KubeConfigOptions {
        context: target.context.clone(),
        ..KubeConfigOptions::default()
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| {
            Failure::new(
                Kind::Usage,
                format!("using {}: {}", path.display(), crate::error::chain(&error)),
            )
        })?;
    if let Some(server) = &target.server {
        config.cluster_url = server.parse().map_err(|error| {
            Failure::new(
                Kind::Usage,
                format!("--server {server:?} is not a URL: {error}"),
            )
        })?;
    }
    let namespace = target
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| {
        Failure::new(
            Kind::Usage,
            format!("using {}: {}", path.display(), crate::error::chain(&error)),
        )
    })?;
    Ok(Connection { client, namespace })
}

fn locate(target: &Target) -> (PathBuf, &'static str) {
    if let Some(path) = &target.kubeconfig {
        return (path.clone(), "--kubeconfig");
    }
    if let Some(dir) = &target.data_dir {
        return (admin_kubeconfig(dir), "--data-dir");
    }
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(path) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
    {
        return (path, "$KUBECONFIG");
    }
    (
        admin_kubeconfig(Path::new(DEFAULT_DATA_DIR)),
        "the default data directory",
    )
}
