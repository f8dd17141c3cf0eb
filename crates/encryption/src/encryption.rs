//! Which provider is whose.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use consort_store::{Key, Transform};

use crate::local::LocalKeys;
use crate::provider::{Identity, Provider};
use crate::{Error, config};

/// Resources and what seals them.
pub(crate) struct Rule {
    /// `plural`, `plural.group`, `*.group`, `*.`, `*.*`.
    pub(crate) resources: Vec<String>,
    /// The first one seals, all of them open.
    pub(crate) providers: Vec<Arc<dyn Provider>>,
}

impl Rule {
    fn covers(&self, key: &Key) -> bool {
        let group = match key.group() {
            "core" => "",
            group => group,
        };
        self.resources.iter().any(|name| {
            let (plural, of) = name.split_once('.').unwrap_or((name, ""));
            name == "*.*" || (of == group && (plural == "*" || plural == key.plural()))
        })
    }
}

/// Whether a provider can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The provider's name.
    pub name: String,
    /// Why it cannot.
    pub failure: Option<String>,
}

/// Seals and opens objects by their resource. Clones share everything.
#[derive(Clone)]
pub struct Encryption {
    rules: Arc<Vec<Rule>>,
    /// What a configuration does not name.
    rest: Arc<Identity>,
    local: Arc<ArcSwap<Vec<Arc<dyn Provider>>>>,
    /// The local keys seal; else they only open what they sealed once.
    local_seals: bool,
}

impl Encryption {
    /// Secrets sealed with this installation's own keys.
    #[allow(clippy::needless_pass_by_value)] // the keys end with their use
    pub fn local(keys: LocalKeys) -> Self {
        Self {
            rules: Arc::default(),
            rest: Arc::new(Identity),
            local: Arc::new(ArcSwap::from_pointee(shared(&keys))),
            local_seals: true,
        }
    }

    /// As an `EncryptionConfiguration` says. What the local keys have sealed can still be read.
    ///
    /// Has to be called where a tokio runtime is not needed: plug-ins are spoken to on a thread of
    /// their own.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the field, [`Error::Io`].
    #[allow(clippy::needless_pass_by_value)] // the keys end with their use
    pub fn configured(path: &Path, keys: LocalKeys) -> Result<Self, Error> {
        Ok(Self {
            rules: Arc::new(config::read(path)?),
            rest: Arc::new(Identity),
            local: Arc::new(ArcSwap::from_pointee(shared(&keys))),
            local_seals: false,
        })
    }

    /// Takes the keys as they are now: another one was put in front.
    pub fn reload(&self, keys: &LocalKeys) {
        self.local.store(Arc::new(shared(keys)));
    }

    /// Whether the local keys seal what is written.
    pub fn is_local(&self) -> bool {
        self.local_seals
    }

    /// Whether objects with such a key are encrypted when they are written.
    pub fn encrypts(&self, key: &Key) -> bool {
        self.with_writer(key, |writer| !writer.prefix().is_empty())
    }

    /// The health of each external provider.
    pub fn health(&self) -> Vec<Health> {
        let mut all: Vec<Health> = Vec::new();
        for provider in self.rules.iter().flat_map(|rule| &rule.providers) {
            let Some(name) = provider.external() else {
                continue;
            };
            if all.iter().all(|known| known.name != name) {
                all.push(Health {
                    name: name.to_owned(),
                    failure: provider.health().err(),
                });
            }
        }
        all
    }

    fn rule(&self, key: &Key) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.covers(key))
    }

    fn with_writer<T>(&self, key: &Key, then: impl FnOnce(&dyn Provider) -> T) -> T {
        if self.local_seals {
            if key.group() == "core" && key.plural() == "secrets" {
                return match self.local.load().first() {
                    Some(first) => then(&**first),
                    None => then(&*self.rest),
                };
            }
            return then(&*self.rest);
        }
        match self.rule(key).and_then(|rule| rule.providers.first()) {
            Some(first) => then(&**first),
            None => then(&*self.rest),
        }
    }

    /// The provider that sealed these bytes, by their prefix.
    fn sealer(&self, key: &Key, sealed: &[u8]) -> Option<Arc<dyn Provider>> {
        let of = |provider: &&Arc<dyn Provider>| {
            !provider.prefix().is_empty() && sealed.starts_with(provider.prefix().as_bytes())
        };
        let of_rule = self
            .rule(key)
            .and_then(|rule| rule.providers.iter().find(of).cloned());
        of_rule
            .or_else(|| self.local.load().iter().find(of).cloned())
            // A rule that no longer names the resource: another's provider may know the key.
            .or_else(|| {
                let mut all = self.rules.iter().flat_map(|rule| &rule.providers);
                all.find(of).cloned()
            })
    }
}

fn shared(keys: &LocalKeys) -> Vec<Arc<dyn Provider>> {
    keys.providers()
        .into_iter()
        .map(|key| Arc::new(key) as _)
        .collect()
}

/// The readable part of what was sealed: provider and key's name.
fn prefix(sealed: &[u8]) -> String {
    let parts = if sealed.starts_with(b"consort:") {
        4
    } else {
        5
    };
    let end = sealed
        .iter()
        .take(256)
        .enumerate()
        .filter(|(_, byte)| **byte == b':')
        .nth(parts - 1)
        .map_or(0, |(at, _)| at);
    let text = std::str::from_utf8(&sealed[..end]).unwrap_or_default();
    if text.is_empty() {
        "an unknown provider".to_owned()
    } else {
        text.to_owned()
    }
}

impl Transform for Encryption {
    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.with_writer(key, |writer| {
            if writer.prefix().is_empty() {
                return Ok(None);
            }
            let sealed = writer.seal(key, plain)?;
            Ok(Some([writer.prefix().as_bytes(), &sealed].concat()))
        })
    }

    fn open(&self, key: &Key, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let Some(provider) = self.sealer(key, sealed) else {
            return Err(format!("no key is known for {}", prefix(sealed)));
        };
        provider
            .open(key, &sealed[provider.prefix().len()..])
            .map_err(|why| format!("{}: {why}", prefix(sealed)))
    }

    fn stale(&self, key: &Key, sealed: Option<&[u8]>) -> bool {
        self.with_writer(key, |writer| match sealed {
            None => !writer.prefix().is_empty(),
            Some(_) if writer.prefix().is_empty() => true,
            Some(sealed) => match sealed.strip_prefix(writer.prefix().as_bytes()) {
                Some(body) => writer.stale(body),
                None => true,
            },
        })
    }

    fn describe(&self, _: &Key, sealed: &[u8]) -> String {
        prefix(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    #[test]
    fn wildcards_cover_groups_and_the_first_rule_wins() {
        let rule = |names: &[&str]| Rule {
            resources: names.iter().map(|&name| name.to_owned()).collect(),
            providers: Vec::new(),
        };
        let secret = key("/core/secrets/a/b");
        let deployment = key("/apps/deployments/a/b");
        for (names, of_secret, of_deployment) in [
            (&["secrets"][..], true, false),
            (&["deployments"], false, false),
            (&["deployments.apps"], false, true),
            (&["*."], true, false),
            (&["*.apps"], false, true),
            (&["*.*"], true, true),
        ] {
            let rule = rule(names);
            assert_eq!(
                (rule.covers(&secret), rule.covers(&deployment)),
                (of_secret, of_deployment),
                "{names:?}"
            );
        }
    }

    #[test]
    fn rotated_keys_open_what_older_ones_sealed_and_say_that_it_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = LocalKeys::open(&dir.path().join("k")).unwrap();
        let encryption = Encryption::local(keys.clone());
        let secret = key("/core/secrets/a/b");
        let first = encryption.seal(&secret, b"hush").unwrap().unwrap();
        assert!(!encryption.stale(&secret, Some(&first)));
        assert!(encryption.stale(&secret, None));
        keys.rotate().unwrap();
        encryption.reload(&keys);
        assert!(encryption.stale(&secret, Some(&first)));
        assert_eq!(encryption.open(&secret, &first).unwrap(), b"hush");
        let second = encryption.seal(&secret, b"hush").unwrap().unwrap();
        assert!(
            encryption
                .describe(&secret, &second)
                .starts_with("consort:enc:v1:k2-")
        );
        keys.forget().unwrap();
        encryption.reload(&keys);
        let error = encryption.open(&secret, &first).unwrap_err();
        assert!(error.starts_with("no key is known for consort:enc:v1:k1-"));
        let pod = key("/core/pods/a/b");
        assert_eq!(encryption.seal(&pod, b"x").unwrap(), None);
        assert!(!encryption.stale(&pod, None));
    }
}
