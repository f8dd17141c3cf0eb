//! Records who deletes and changes objects of scores, as Events that `consort why` and the score controller read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_api::{Deed as Seen, Verb, Witness};
use consort_object::Head;
use consort_score::deeds::{Deed, Done, PART, SCORE};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Deeds waiting to be recorded; further ones are not.
const WAITING: usize = 1024;
/// One who writes an object again and again is recorded this often.
const AGAIN: Duration = Duration::from_secs(5);
/// So many recent writers are remembered.
const REMEMBERED: usize = 1024;
/// How long a deed may take to be recorded.
const LIMIT: Duration = Duration::from_secs(5);

/// As whom the score controller acts: its own deeds are in the records of operations.
pub(super) const CONTROLLER: &str = "system:serviceaccount:consort-system:score-controller";
/// The field manager of what operations write.
const OWN_MANAGER: &str = "consort-score";

/// Is told of deeds.
pub(super) struct Book {
    sender: mpsc::Sender<Deed>,
    recent: Mutex<HashMap<(String, String), Instant>>,
}

/// Writes them down.
pub(super) struct Clerk {
    receiver: mpsc::Receiver<Deed>,
}

/// What is told of deeds, and what writes them down.
pub(super) fn book() -> (Arc<Book>, Clerk) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let book = Book {
        sender,
        recent: Mutex::default(),
    };
    (Arc::new(book), Clerk { receiver })
}

impl Book {
    /// Whether a writer was not recorded for this object just now.
    fn is_new(&self, uid: &str, user: &str) -> bool {
        let mut recent = self.recent.lock();
        let now = Instant::now();
        if recent.len() >= REMEMBERED {
            recent.retain(|_, at| now.duration_since(*at) < AGAIN);
            if recent.len() >= REMEMBERED {
                recent.clear();
            }
        }
        let last = recent.insert((uid.to_owned(), user.to_owned()), now);
        last.is_none_or(|last| now.duration_since(last) >= AGAIN)
    }
}

fn label<'a>(object: &'a Head, key: &str) -> Option<&'a str> {
    let at = object
        .labels
        .binary_search_by(|(name, _)| name.as_str().cmp(key))
        .ok()?;
    Some(object.labels[at].1.as_str())
}

impl Witness for Book {
    fn cares(&self, object: &Head) -> bool {
        // What is recorded of a score has its label as well, and no part's.
        label(object, SCORE).is_some() && label(object, PART).is_some()
    }

    fn saw(&self, seen: &Seen<'_>) {
        let (user, object) = (seen.user, seen.object);
        let Some(score) = label(object, SCORE) else {
            return;
        };
        // Events and records carry the label as well, and go with what they are about.
        if user.name == CONTROLLER || object.kind == "Event" {
            return;
        }
        if seen.verb == Verb::Changed {
            // What built-in reconcilers and agents write is theirs to write; fields say so themselves.
            let built_in = user.is_in("system:serviceaccounts:kube-system")
                || user.is_in("system:nodes")
                || user.name.starts_with("system:kube-");
            if built_in
                || seen.manager == Some(OWN_MANAGER)
                || !self.is_new(&object.uid, &user.name)
            {
                return;
            }
        }
        let deed = Deed {
            done: match seen.verb {
                Verb::Deleted => Done::Deleted,
                Verb::Changed => Done::Changed,
            },
            time: Timestamp::now(),
            user: user.name.clone(),
            client: seen.client.map(str::to_owned),
            manager: seen.manager.map(str::to_owned),
            api_version: object.api_version.clone(),
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
            score: score.to_owned(),
            part: label(object, PART).map(str::to_owned),
        };
        if self.sender.try_send(deed).is_err() {
            tracing::debug!("too many deeds at once: one was not recorded");
        }
    }
}

impl Clerk {
    /// Writes down until `shutdown` is cancelled.
    pub(super) async fn run(mut self, client: Client, shutdown: CancellationToken) {
        while let Some(Some(deed)) = shutdown.run_until_cancelled(self.receiver.recv()).await {
            let event = deed.to_event();
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
            let write = async {
                match events.create(&PostParams::default(), &event).await {
                    // The namespace itself is going, and takes what is in it along.
                    Err(kube::Error::Api(status)) if status.code == 403 || status.code == 404 => {
                        let mut event = event.clone();
                        event.metadata.namespace = Some("default".to_owned());
                        let fallback: Api<Event> = Api::namespaced(client.clone(), "default");
                        fallback.create(&PostParams::default(), &event).await
                    }
                    written => written,
                }
            };
            match tokio::time::timeout(LIMIT, write).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a deed was not recorded"),
                Err(_) => tracing::debug!("recording a deed took too long"),
            }
        }
    }
}
