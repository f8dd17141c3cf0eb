//! One walk a score at a time: a Lease that its holder renews.

use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Preconditions};
use tokio_util::sync::CancellationToken;

use super::seal::post;
use super::{Error, Records, SCORE_LABEL, code, doing};

/// How long a lock is good for without being renewed: so long a score is locked after a crash.
const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const EVERY: Duration = Duration::from_secs(5);
/// How often it is asked for while somebody else has it.
const ASK: Duration = Duration::from_millis(500);

/// Somebody else has the lock.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{holder} is carrying out an operation of {score}")]
pub struct Held {
    /// The score.
    pub score: String,
    /// Who.
    pub holder: String,
    /// Until when, unless it is renewed.
    pub until: Timestamp,
}

/// A lock that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error(transparent)]
    Held(Held),
    /// It could not be asked for.
    #[error(transparent)]
    Records(#[from] Error),
}

/// The right to change a score, for as long as [`Lock::during`] runs.
#[derive(Debug)]
pub struct Lock {
    records: Records,
    score: String,
    lease: Lease,
    pub(super) every: Duration,
}

impl Records {
    /// Takes the lock of a score in the name of `holder`, which tells people who it is and is no one else's. Waits up to
    /// `patience` for another to let go or to be gone.
    pub async fn lock(
        &self,
        score: &str,
        holder: &str,
        patience: Duration,
    ) -> Result<Lock, LockError> {
        let give_up = tokio::time::Instant::now() + patience;
        loop {
            match self.try_lock(score, holder).await {
                Err(LockError::Held(held)) if tokio::time::Instant::now() + ASK <= give_up => {
                    tracing::debug!(score, holder = held.holder, "waiting for the lock");
                    tokio::time::sleep(ASK).await;
                }
                tried => return tried,
            }
        }
    }

    async fn try_lock(&self, score: &str, holder: &str) -> Result<Lock, LockError> {
        let about = || format!("taking the lock of {score}");
        let leases = self.leases();
        let name = lease_name(score);
        let now = Timestamp::now();
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        };
        let found = doing(about, leases.get_opt(&name).await)?;
        let taken = match found {
            None => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(name.clone()),
                        labels: Some([(SCORE_LABEL.to_owned(), score.to_owned())].into()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(spec),
                };
                leases.create(&post(), &lease).await
            }
            Some(mut lease) => {
                if let Some(held) = held(score, &lease)
                    && held.holder != holder
                    && held.until > now
                {
                    return Err(LockError::Held(held));
                }
                lease.spec = Some(spec);
                leases.replace(&name, &post(), &lease).await
            }
        };
        match taken {
            // Another was faster.
            Err(error) if code(&error) == Some(409) => {
                let lease = doing(about, leases.get_opt(&name).await)?;
                Err(LockError::Held(
                    lease.and_then(|lease| held(score, &lease)).unwrap_or(Held {
                        score: score.to_owned(),
                        holder: "somebody else".to_owned(),
                        until: now,
                    }),
                ))
            }
            taken => Ok(Lock {
                lease: doing(about, taken)?,
                records: self.clone(),
                score: score.to_owned(),
                every: EVERY,
            }),
        }
    }

    /// Who holds the lock of a score, if anybody does.
    pub async fn locked(&self, score: &str) -> Result<Option<Held>, Error> {
        let about = || format!("looking at the lock of {score}");
        let lease = doing(about, self.leases().get_opt(&lease_name(score)).await)?;
        let held = lease.and_then(|lease| held(score, &lease));
        Ok(held.filter(|held| held.until > Timestamp::now()))
    }

    pub(super) fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

impl Lock {
    /// Does some work while the lock is kept, and lets go of it. If it is lost, or cannot be renewed before it runs
    /// out, `lost` is cancelled: the work must come to an end then.
    pub async fn during<T>(mut self, lost: &CancellationToken, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work.fuse());
        let mut good_until = tokio::time::Instant::now() + DURATION;
        let result = loop {
            tokio::select! {
                biased;
                result = &mut work => break result,
                () = tokio::time::sleep(self.every), if !lost.is_cancelled() => {}
            }
            let renewed = {
                let renew = self.renew();
                tokio::select! {
                    biased;
                    result = &mut work => break result,
                    renewed = renew => renewed,
                }
            };
            match renewed {
                Ok(lease) => {
                    self.lease = lease;
                    good_until = tokio::time::Instant::now() + DURATION;
                }
                Err(error) => {
                    let another = code(&error) == Some(409) || code(&error) == Some(404);
                    tracing::warn!(score = self.score, %error, "the lock was not renewed");
                    if another || tokio::time::Instant::now() + EVERY >= good_until {
                        lost.cancel();
                        break work.await;
                    }
                }
            }
        };
        if !lost.is_cancelled() {
            self.release().await;
        }
        result
    }

    async fn renew(&self) -> kube::Result<Lease> {
        let mut lease = self.lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let leases = self.records.leases();
        leases
            .replace(&lease_name(&self.score), &post(), &lease)
            .await
    }

    /// Lets go of it. That this fails is no harm: it runs out.
    pub async fn release(self) {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: None,
                uid: self.lease.metadata.uid.clone(),
            }),
            ..DeleteParams::default()
        };
        let name = lease_name(&self.score);
        if let Err(error) = self.records.leases().delete(&name, &params).await {
            tracing::debug!(score = self.score, %error, "the lock was not let go of");
        }
    }
}

fn lease_name(score: &str) -> String {
    format!("score-{score}")
}

fn held(score: &str, lease: &Lease) -> Option<Held> {
    let spec = lease.spec.as_ref()?;
    let renewed = spec.renew_time.as_ref()?.0;
    let seconds = i64::from(spec.lease_duration_seconds.unwrap_or_default().max(0));
    Some(Held {
        score: score.to_owned(),
        holder: spec
            .holder_identity
            .clone()
            .filter(|holder| !holder.is_empty())?,
        until: renewed
            .checked_add(jiff::SignedDuration::from_secs(seconds))
            .unwrap_or(renewed),
    })
}
