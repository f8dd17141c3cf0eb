//! Machines that are to run are kept running, by whoever is there to do it: the server.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::machines::{Machines, State};
use crate::records::{MachineRecord, Stage};
use crate::spec::Restart;

/// How often the machines are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The first wait after a machine that would not stay up, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// Who has run this long begins with the first wait again.
const STABLE: Duration = Duration::from_secs(600);

/// Whether a machine in this state is to be started.
pub(crate) fn wanted(record: &MachineRecord, state: &State) -> bool {
    if record.stage != Stage::Made || !record.spec.running {
        return false;
    }
    match (state, record.spec.restart) {
        (State::Making | State::Running { .. }, _)
        | (_, Restart::No)
        | (State::Ended { code: 0, .. }, Restart::OnFailure) => false,
        // What is stopped though nobody asked for it was stopped with its host.
        _ => true,
    }
}

/// When a machine was started last, and how long is waited before it is started again.
struct Attempt {
    at: Instant,
    wait: Duration,
}

impl Machines {
    /// Starts machines that are to run and do not, until `shutdown`. Waits longer each time for one that does not stay
    /// up.
    pub async fn keep(&self, shutdown: CancellationToken) {
        let mut attempts: HashMap<String, Attempt> = HashMap::new();
        loop {
            self.look(&mut attempts).await;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn look(&self, attempts: &mut HashMap<String, Attempt>) {
        let machines = match self.list().await {
            Ok(machines) => machines,
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "looking at the machines of this host"
                );
                return;
            }
        };
        attempts.retain(|name, _| machines.iter().any(|machine| machine.spec.name == *name));
        for machine in machines {
            let name = machine.spec.name;
            if machine.state.is_running() || !machine.spec.running {
                continue;
            }
            if attempts
                .get(&name)
                .is_some_and(|attempt| attempt.at.elapsed() < attempt.wait)
            {
                continue;
            }
            match self.revive(&name).await {
                Ok(false) => continue,
                Ok(true) => tracing::info!(machine = name, "started again"),
                Err(error) => {
                    tracing::warn!(
                        machine = name,
                        error = chain(&error),
                        "starting a machine again"
                    );
                }
            }
            let wait = match attempts.get(&name) {
                Some(last) if last.at.elapsed() < last.wait + STABLE => {
                    (last.wait * 2).min(BACKOFF.1)
                }
                _ => BACKOFF.0,
            };
            attempts.insert(
                name,
                Attempt {
                    at: Instant::now(),
                    wait,
                },
            );
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Base, MachineSpec};

    #[test]
    fn only_who_was_told_to_stop_stays_stopped() {
        let mut record = MachineRecord {
            spec: MachineSpec::new("a", Base::Image("x".to_owned()), "lan"),
            number: 0,
            address: std::net::Ipv4Addr::LOCALHOST,
            mac: String::new(),
            image: None,
            stage: Stage::Made,
            created: jiff::Timestamp::UNIX_EPOCH,
        };
        let ended = |code| State::Ended {
            code,
            message: String::new(),
        };
        assert!(wanted(&record, &State::Stopped) && wanted(&record, &ended(0)));
        assert!(!wanted(&record, &State::Running { pid: 1 }));
        record.spec.restart = Restart::OnFailure;
        assert!(
            wanted(&record, &State::Stopped)
                && wanted(&record, &ended(1))
                && !wanted(&record, &ended(0))
        );
        record.spec.restart = Restart::No;
        assert!(!wanted(&record, &ended(1)));
        record.spec.restart = Restart::Always;
        record.spec.running = false;
        assert!(!wanted(&record, &State::Stopped));
    }
}
