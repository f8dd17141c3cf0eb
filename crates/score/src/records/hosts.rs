//! What parts of playbooks remember of hosts, as objects: one or several for each host of a part.

use consort_plan::Call;
use consort_playbook::part::{HostRecord, Memory, Thing};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Error, FIELD_MANAGER, GROUP, Kind, Records, SCORE_LABEL, VERSION, code, doing};

/// The label that names the part.
const PART_LABEL: &str = "consort.dev/part";

/// So many things are in one object at most: it stays well below what an object may have.
const THINGS: usize = 1000;

/// A host of a part of a score, with what is remembered of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// The score.
    pub score: String,
    /// The part.
    pub part: String,
    /// What is remembered.
    pub record: HostRecord,
}

impl Records {
    /// What is remembered of hosts: of a score and a part, or of all.
    pub async fn hosts(&self, score: Option<&str>, part: Option<&str>) -> Result<Vec<Host>, Error> {
        let labels: Vec<String> = [(SCORE_LABEL, score), (PART_LABEL, part)]
            .into_iter()
            .filter_map(|(label, value)| Some(format!("{label}={}", value?)))
            .collect();
        let params = ListParams::default().labels(&labels.join(","));
        let found = match self.objects(Kind::HostRecord).list(&params).await {
            // The server has not heard of any yet.
            Err(error) if code(&error) == Some(404) => return Ok(Vec::new()),
            found => doing(|| "reading what is remembered of hosts".to_owned(), found)?,
        };
        let mut objects = found.items;
        objects.sort_by_key(|object| object.data["spec"]["number"].as_u64().unwrap_or_default());
        let mut hosts: Vec<Host> = Vec::new();
        for object in objects {
            let spec = &object.data["spec"];
            let text = |name: &str| spec[name].as_str().unwrap_or_default().to_owned();
            let (score, part, host) = (text("score"), text("part"), text("host"));
            let things: Vec<Thing> =
                serde_json::from_value(spec["things"].clone()).map_err(|error| {
                    Error::Unreadable {
                        what: format!("what is remembered of {host}"),
                        why: error.to_string(),
                    }
                })?;
            let known = hosts.iter_mut().find(|known| {
                known.score == score && known.part == part && known.record.host == host
            });
            match known {
                Some(known) => known.record.things.extend(things),
                None => hosts.push(Host {
                    score,
                    part,
                    record: HostRecord {
                        host,
                        things,
                        sources: text("sources"),
                        pending: spec["pending"]
                            .as_array()
                            .into_iter()
                            .flatten()
                            .filter_map(|name| name.as_str().map(str::to_owned))
                            .collect(),
                    },
                }),
            }
        }
        Ok(hosts)
    }

    /// Keeps what is remembered of a host of a part.
    pub async fn put_host(
        &self,
        score: &str,
        part: &str,
        record: &HostRecord,
    ) -> Result<(), Error> {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let empty: &[Thing] = &[];
        let chunks: Vec<&[Thing]> = if record.things.is_empty() {
            vec![empty]
        } else {
            record.things.chunks(THINGS).collect()
        };
        for (number, things) in chunks.iter().enumerate() {
            let name = name_of(score, part, &record.host, number);
            let object = json!({
                "apiVersion": format!("{GROUP}/{VERSION}"),
                "kind": Kind::HostRecord.name(),
                "metadata": {
                    "name": name,
                    "labels": {SCORE_LABEL: score, PART_LABEL: part},
                },
                "spec": {
                    "score": score,
                    "part": part,
                    "host": record.host,
                    "number": number,
                    "count": record.things.len(),
                    "things": things,
                    "sources": record.sources,
                    "pending": record.pending,
                },
            });
            let applied = self
                .objects(Kind::HostRecord)
                .patch(&name, &params, &Patch::Apply(&object))
                .await;
            doing(
                || format!("keeping what is remembered of {}", record.host),
                applied,
            )?;
        }
        self.drop_host_from(score, part, &record.host, chunks.len())
            .await
    }

    /// Forgets a host of a part.
    pub async fn forget_host(&self, score: &str, part: &str, host: &str) -> Result<(), Error> {
        self.drop_host_from(score, part, host, 0).await
    }

    /// Deletes the objects of a host from a number on.
    async fn drop_host_from(
        &self,
        score: &str,
        part: &str,
        host: &str,
        first: usize,
    ) -> Result<(), Error> {
        for number in first.. {
            let name = name_of(score, part, host, number);
            let deleted = self
                .objects(Kind::HostRecord)
                .delete(&name, &DeleteParams::default())
                .await;
            match deleted {
                Err(error) if code(&error) == Some(404) => break,
                deleted => {
                    doing(|| format!("forgetting {host}"), deleted)?;
                }
            }
        }
        Ok(())
    }
}

/// The name of an object: readable, and no other host's.
fn name_of(score: &str, part: &str, host: &str, number: usize) -> String {
    use std::fmt::Write as _;
    let plain: String = host
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(100)
        .collect();
    let mut name = format!("{score}.{part}.{}", plain.trim_matches('-'));
    if plain != host {
        name.push('-');
        for byte in &Sha256::digest(host.as_bytes())[..4] {
            let _ = write!(name, "{byte:02x}");
        }
    }
    if number > 0 {
        let _ = write!(name, ".{number}");
    }
    name
}

/// What the parts of one score remember.
#[derive(Clone, Debug)]
pub struct Hosts {
    records: Records,
    score: String,
}

impl Hosts {
    /// Of a score.
    pub fn new(records: Records, score: impl Into<String>) -> Self {
        Hosts {
            records,
            score: score.into(),
        }
    }
}

fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

impl Memory for Hosts {
    fn recall<'a>(&'a self, part: &'a str) -> Call<'a, Result<Vec<HostRecord>, String>> {
        Box::pin(async move {
            let hosts = self.records.hosts(Some(&self.score), Some(part)).await;
            let hosts = hosts.map_err(|error| told(&error))?;
            Ok(hosts.into_iter().map(|host| host.record).collect())
        })
    }

    fn keep<'a>(&'a self, part: &'a str, record: &'a HostRecord) -> Call<'a, Result<(), String>> {
        Box::pin(async move {
            let kept = self.records.put_host(&self.score, part, record).await;
            kept.map_err(|error| told(&error))
        })
    }

    fn forget<'a>(&'a self, part: &'a str, host: &'a str) -> Call<'a, Result<(), String>> {
        Box::pin(async move {
            let forgotten = self.records.forget_host(&self.score, part, host).await;
            forgotten.map_err(|error| told(&error))
        })
    }
}
