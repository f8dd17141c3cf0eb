//! What each node is related to, counted.

use std::collections::HashMap;

use consort_object::LabelSelector;

/// The kinds that are divided by node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
    Pod,
    ResourceClaim,
    Attachment,
    Slice,
}

/// An object of such a kind: kind, namespace (empty for none), name.
pub(super) type Target = (Kind, String, String);

/// A place in the cluster: namespace and name.
pub(super) type Place = (String, String);

#[derive(Default)]
pub(super) struct Relations {
    /// How many times a node's pods refer to an object.
    pub(super) related: HashMap<String, HashMap<Target, usize>>,
    /// What each source (pod, attachment, slice) added, to be taken back when it changes.
    pub(super) sources: HashMap<(Kind, Place), (String, Vec<Target>)>,
    /// The claim each volume is bound to.
    pub(super) volumes: HashMap<String, Place>,
    /// The secrets each volume refers to, and back.
    pub(super) volume_secrets: HashMap<String, Vec<Place>>,
    pub(super) secret_volumes: HashMap<Place, Vec<String>>,
    /// The labels of nodes.
    pub(super) labels: HashMap<String, HashMap<String, String>>,
    /// The nodes each playbook is for, and what it names; and the playbooks that name an object.
    pub(super) playbooks: HashMap<Place, (LabelSelector, Vec<Target>)>,
    pub(super) named: HashMap<Target, Vec<Place>>,
}

impl Relations {
    pub(super) fn take_back(&mut self, source: &(Kind, Place)) {
        let Some((node, targets)) = self.sources.remove(source) else {
            return;
        };
        let Some(related) = self.related.get_mut(&node) else {
            return;
        };
        for target in targets {
            if let Some(count) = related.get_mut(&target) {
                *count -= 1;
                if *count == 0 {
                    related.remove(&target);
                }
            }
        }
        if related.is_empty() {
            self.related.remove(&node);
        }
    }

    pub(super) fn relate(&mut self, source: (Kind, Place), node: &str, targets: Vec<Target>) {
        self.take_back(&source);
        if node.is_empty() {
            return;
        }
        let related = self.related.entry(node.to_owned()).or_default();
        for target in &targets {
            *related.entry(target.clone()).or_default() += 1;
        }
        self.sources.insert(source, (node.to_owned(), targets));
    }

    pub(super) fn has(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let target = (kind, namespace.to_owned(), name.to_owned());
        let related = self.related.get(node);
        if related.is_some_and(|related| related.contains_key(&target))
            || self.is_named(node, &target)
        {
            return true;
        }
        // A claim's volume may name secrets of its own.
        kind == Kind::Secret
            && self
                .secret_volumes
                .get(&(target.1, target.2))
                .is_some_and(|volumes| volumes.iter().any(|volume| self.has_volume(node, volume)))
    }

    pub(super) fn has_volume(&self, node: &str, volume: &str) -> bool {
        self.volumes.get(volume).is_some_and(|(namespace, name)| {
            self.related.get(node).is_some_and(|related| {
                related.contains_key(&(Kind::Claim, namespace.clone(), name.clone()))
            })
        })
    }

    /// Whether a playbook for the node names an object.
    pub(super) fn is_named(&self, node: &str, target: &Target) -> bool {
        let (Some(places), Some(labels)) = (self.named.get(target), self.labels.get(node)) else {
            return false;
        };
        let label = |key: &str| labels.get(key).map(String::as_str);
        places.iter().any(|place| {
            self.playbooks
                .get(place)
                .is_some_and(|(selector, _)| selector.matches_labels(label))
        })
    }

    pub(super) fn put_playbook(
        &mut self,
        place: &Place,
        selector: LabelSelector,
        targets: Vec<Target>,
    ) {
        self.drop_playbook(place);
        for target in &targets {
            self.named
                .entry(target.clone())
                .or_default()
                .push(place.clone());
        }
        self.playbooks.insert(place.clone(), (selector, targets));
    }

    pub(super) fn drop_playbook(&mut self, place: &Place) {
        let Some((_, targets)) = self.playbooks.remove(place) else {
            return;
        };
        for target in targets {
            if let Some(places) = self.named.get_mut(&target) {
                places.retain(|other| other != place);
                if places.is_empty() {
                    self.named.remove(&target);
                }
            }
        }
    }

    pub(super) fn drop_volume(&mut self, name: &str) {
        self.volumes.remove(name);
        for secret in self.volume_secrets.remove(name).unwrap_or_default() {
            if let Some(volumes) = self.secret_volumes.get_mut(&secret) {
                volumes.retain(|volume| volume != name);
                if volumes.is_empty() {
                    self.secret_volumes.remove(&secret);
                }
            }
        }
    }
}
