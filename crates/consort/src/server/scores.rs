//! The score controller and its webhooks in the server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consort_api::identity::MASTERS;
use consort_api::identity::User;
use consort_api::{Api, Receiver, Reply};
use consort_reconcile::{Backoff, Hub};
use consort_score::follow::{Follower, Hooks, Options, Runner};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::Layer;
use super::witness::CONTROLLER;
use crate::error::{Failure, Kind, Result};
use crate::scores::Workplace;

/// How many scores are synced or healed at once. A walk mostly waits.
const WORKERS: usize = 16;
const AGAIN: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));

/// Follows the scores of this server until the layer ends.
pub(super) fn start(layer: &mut Layer, api: &Api, data_dir: &Path) -> Result<()> {
    let data_dir = std::path::absolute(data_dir)?;
    let (api, shutdown) = (api.clone(), layer.token.clone());
    layer.tasks.spawn(async move {
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            match run(&api, &data_dir, &shutdown).await {
                Ok(()) => {}
                Err(failure) => tracing::error!(?failure, "scores are not followed; trying again"),
            }
            let pause = AGAIN.delay(failures);
            failures += 1;
            shutdown
                .run_until_cancelled(tokio::time::sleep(pause))
                .await;
        }
    });
    Ok(())
}

async fn run(api: &Api, data_dir: &Path, shutdown: &CancellationToken) -> Result<()> {
    let client = api.client(User::new(CONTROLLER, [MASTERS]));
    let hub = Hub::new(client.clone(), shutdown.child_token());
    let begun = async {
        let place = Workplace::on(client.clone(), Some(data_dir.to_owned()), None).await?;
        place
            .records
            .install()
            .await
            .map_err(|error| told(&error))?;
        let dir = data_dir.join("scores");
        let runner = Runner::new(
            client.clone(),
            place.environment,
            place.author,
            dir.join("unpacked"),
        )?;
        let options = Options {
            repositories: dir.join("git"),
            workers: WORKERS,
        };
        Follower::new(hub.clone(), Arc::new(runner), &options).map_err(|error| told(&error))
    };
    let Some(begun) = shutdown.run_until_cancelled(begun).await else {
        return Ok(());
    };
    let follower = begun?;
    api.set_receiver(Arc::new(Webhooks(follower.hooks())));
    follower.run(shutdown.clone()).await;
    hub.closed().await;
    Ok(())
}

fn told(error: &dyn std::error::Error) -> Failure {
    Failure::new(Kind::Failed, crate::error::chain(error))
}

/// Hands webhooks to scores.
struct Webhooks(Hooks);

impl Receiver for Webhooks {
    fn receive(&self, head: Parts, body: Bytes) -> BoxFuture<'static, Reply> {
        let hooks = self.0.clone();
        async move {
            let (status, text) = hooks.receive(&head, &body).await;
            Reply { status, text }
        }
        .boxed()
    }
}
