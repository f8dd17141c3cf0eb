//! Scores, as commands get at them: which server, who asks, what is planned, and how it is carried out.

mod draw;
mod offline;
pub(crate) mod recorded;
mod walk;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_infra::install::CliConfig;
use consort_infra::layer;
use consort_infra::provider::Provider;
use consort_plan::Problem;
use consort_score::records::Records;
use consort_score::{Environment, NAMESPACE};
use kube::Client;

use crate::cli::Target;
use crate::connect::connect;
use crate::error::{Failure, Kind, Result, chain};
use crate::machines::Consort;
use crate::server::running_pid;
use crate::settings::Configuration;

pub(crate) use draw::{
    Drawing, Drawn, draw, draw_known, draw_revision, of_blueprint, of_operation,
};
use offline::Offline;
pub(crate) use walk::{Asking, carry_out, confirm, finished, interrupted, permitted, refused};

/// A server with scores on it, and who asks.
pub(crate) struct Workplace {
    /// Speaks to the server.
    pub(crate) client: Client,
    /// The scores' memory.
    pub(crate) records: Records,
    /// Who the server says asks.
    pub(crate) author: String,
    /// What the parts of a score live in.
    pub(crate) environment: Environment,
    /// Whether the server runs on after this command: what is stored is found again.
    pub(crate) lasting: bool,
    offline: Option<Offline>,
}

impl Workplace {
    /// The server that the command line means, or, where none runs and none is named, one in this process that is gone
    /// with it: what a data directory holds, or nothing at all.
    pub(crate) async fn find(configuration: &Configuration, target: &Target) -> Result<Self> {
        let data_dir = std::path::absolute(configuration.data_dir(target.data_dir.as_ref()))
            .map_err(anyhow::Error::from)?;
        let named = target.server.is_some()
            || target.kubeconfig.is_some()
            || target.data_dir.is_none()
                && std::env::var_os("KUBECONFIG").is_some_and(|list| !list.is_empty());
        let namespace = target.namespace.clone();
        if named {
            let connection = connect(target).await?;
            return Self::on(connection.client, None, namespace).await;
        }
        if running_pid(&data_dir)?.is_some() {
            let connection = connect(&Target::of_data_dir(&data_dir)).await?;
            return Self::on(connection.client, Some(data_dir), namespace).await;
        }
        let offline = Offline::start(configuration, &data_dir).await?;
        let client = offline.client();
        let mut place = Self::on(client, Some(data_dir), namespace).await?;
        place.lasting = false;
        place.offline = Some(offline);
        Ok(place)
    }

    /// The same, where only a server that runs will do.
    pub(crate) async fn find_running(
        configuration: &Configuration,
        target: &Target,
    ) -> Result<Self> {
        let place = Self::find(configuration, target).await?;
        if place.lasting {
            return Ok(place);
        }
        place.close().await;
        let data_dir = configuration.data_dir(target.data_dir.as_ref());
        Err(Failure::new(
            Kind::Unreachable,
            format!("no server runs on {}", data_dir.display()),
        )
        .hint("start one with `consort up` or `consort server`, or name another with --kubeconfig, --data-dir or $KUBECONFIG"))
    }

    /// A server by a client to it; `data_dir` is its data directory, if that is on this machine.
    pub(crate) async fn on(
        client: Client,
        data_dir: Option<PathBuf>,
        namespace: Option<String>,
    ) -> Result<Self> {
        let namespace = namespace.unwrap_or_else(|| NAMESPACE.to_owned());
        let records = Records::new(client.clone(), namespace.clone());
        let author = records.whoami().await.map_err(|error| failure(&error))?;
        let place = match &data_dir {
            Some(dir) => dir.join("scores"),
            None => home()?,
        };
        let variables = environment();
        let cli_config = CliConfig::from_environment(&variables).map_err(|error| {
            Failure::new(
                Kind::Usage,
                format!("the settings of Terraform: {}", chain(&error)),
            )
        })?;
        let machines = data_dir.clone();
        let terraform = layer::Environment {
            built_in: Arc::new(move |source| {
                (&*source.kind == "consort")
                    .then(|| Arc::new(Consort::of(machines.clone())) as Arc<dyn Provider>)
            }),
            variables,
            cli_config: Arc::new(cli_config),
            data: place.join("providers"),
            schema_cache: Some(place.join("schemas")),
            client: Some(client.clone()),
            namespace,
            author: author.clone(),
        };
        let environment = Environment {
            client: Some(client.clone()),
            terraform: Arc::new(terraform),
            scratch: place.join("walks"),
            prune: None,
        };
        Ok(Workplace {
            client,
            records,
            author,
            environment,
            lasting: true,
            offline: None,
        })
    }

    /// The same server with the namespace that a score says.
    pub(crate) fn for_score(&mut self, namespace: &str) {
        if self.records.namespace() != namespace {
            self.records = Records::new(self.client.clone(), namespace);
            let mut terraform = (*self.environment.terraform).clone();
            namespace.clone_into(&mut terraform.namespace);
            self.environment.terraform = Arc::new(terraform);
        }
    }

    /// Ends what was started for this command alone.
    pub(crate) async fn close(self) {
        if let Some(offline) = self.offline {
            offline.stop().await;
        }
    }
}

/// The environment of this process.
fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Where walks against servers elsewhere leave what must outlive a crash (the XDG base directory specification).
fn home() -> Result<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| Path::new(&home).join(".local/state")));
    match state {
        Some(state) => Ok(state.join("consort")),
        None => Err(Failure::new(
            Kind::Usage,
            "neither XDG_STATE_HOME nor HOME names a directory for what has to outlive a crash",
        )),
    }
}

/// Problems of a score as a failure of a command.
pub(crate) fn problems(problems: &[Problem]) -> Failure {
    let text = consort_score::render::problems(problems, &crate::render::error_style());
    Failure::printed(Kind::Input, text)
}

/// Something that went wrong with the records.
pub(crate) fn failure(error: &(dyn std::error::Error + 'static)) -> Failure {
    let kind = match error
        .source()
        .and_then(|cause| cause.downcast_ref::<kube::Error>())
    {
        Some(kube::Error::HyperError(_) | kube::Error::Service(_)) => Kind::Unreachable,
        Some(kube::Error::Api(status)) if status.code == 401 => Kind::Unreachable,
        _ => Kind::Failed,
    };
    Failure::new(kind, chain(error))
}
