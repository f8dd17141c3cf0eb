//! The cluster a part's objects go to.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use consort_plan::{Feed, From, Planned};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use crate::server::Server;
use crate::spec::Target;

/// Whether the cluster can be reached.
pub(crate) enum Reach {
    /// It can.
    There(Server),
    /// It is made by the same plan.
    ToCome,
}

/// The name of the input that tells of the cluster, if one does.
pub(crate) fn input(target: Option<&Target>) -> Option<&str> {
    match &target?.kubeconfig {
        Feed::From(From { from }) => Some(from),
        Feed::Literal(_) => None,
    }
}

/// Finds it.
pub(crate) async fn reach(
    target: Option<&Target>,
    own: Option<&Client>,
    inputs: &BTreeMap<String, Planned>,
    directory: &Path,
) -> Result<Reach, String> {
    let Some(target) = target else {
        return match own {
            Some(client) => Ok(Reach::There(Server {
                client: client.clone(),
            })),
            None => Err("there is no server to ask".to_owned()),
        };
    };
    let text = match &target.kubeconfig {
        Feed::From(From { from }) => match inputs.get(from) {
            None => return Err(format!("{from} is given by no part")),
            Some(planned) if !planned.is_wholly_known() => return Ok(Reach::ToCome),
            Some(planned) => planned
                .value
                .as_str()
                .ok_or_else(|| format!("{from} is not the text of a kubeconfig"))?
                .to_owned(),
        },
        Feed::Literal(Value::String(text)) if text.contains('\n') => text.clone(),
        Feed::Literal(Value::String(path)) => {
            let relative = Path::new(path);
            let leaves = relative
                .components()
                .any(|step| !matches!(step, Component::Normal(_) | Component::CurDir));
            if leaves {
                return Err(format!("{path:?} is not a path within the score"));
            }
            tokio::fs::read_to_string(directory.join(relative))
                .await
                .map_err(|error| format!("{path} cannot be read: {error}"))?
        }
        Feed::Literal(_) => return Err("a kubeconfig is a text".to_owned()),
    };
    connect(&text, target.context.as_deref())
        .await
        .map(Reach::There)
}

/// A client of the cluster a kubeconfig tells of.
pub(crate) async fn connect(text: &str, context: Option<&str>) -> Result<Server, String> {
    let kubeconfig = Kubeconfig::from_yaml(text)
        .map_err(|error| format!("the kubeconfig cannot be read: {error}"))?;
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| format!("the kubeconfig cannot be used: {error}"))?;
    let client = Client::try_from(config)
        .map_err(|error| format!("the kubeconfig cannot be used: {error}"))?;
    Ok(Server { client })
}
