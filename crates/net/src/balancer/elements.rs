//! The wanted elements of all sets, and what a change to them touches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::table::{SetId, Spread};
use crate::balancer::Protocol;

/// Where a client connects to. 0.0.0.0 stands for every address of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Door {
    pub(crate) ip: Ipv4Addr,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

impl Door {
    pub(super) fn is_node(self) -> bool {
        self.ip.is_unspecified()
    }

    pub(super) fn address(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip, self.port)
    }

    pub(super) fn key(self) -> Vec<u8> {
        let mut key = self.ip.octets().to_vec();
        key.extend([self.protocol.number(), 0, 0, 0]);
        key.extend(port(self.port));
        key
    }

    pub(super) fn from_key(key: &[u8]) -> Option<Self> {
        let key: &[u8; 12] = key.try_into().ok()?;
        Some(Self {
            ip: Ipv4Addr::new(key[0], key[1], key[2], key[3]),
            protocol: Protocol::from_number(key[4])?,
            port: u16::from_be_bytes([key[8], key[9]]),
        })
    }
}

fn port(port: u16) -> [u8; 4] {
    let port = port.to_be_bytes();
    [port[0], port[1], 0, 0]
}

pub(super) fn backend(address: SocketAddrV4) -> Vec<u8> {
    let mut bytes = address.ip().octets().to_vec();
    bytes.extend(port(address.port()));
    bytes
}

pub(super) fn backend_from(bytes: &[u8]) -> Option<SocketAddrV4> {
    let bytes: &[u8; 8] = bytes.try_into().ok()?;
    let ip = Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
    Some(SocketAddrV4::new(
        ip,
        u16::from_be_bytes([bytes[4], bytes[5]]),
    ))
}

/// The key of one slot of a door.
pub(super) fn slot(door: Door, slot: usize) -> Vec<u8> {
    let mut key = door.key();
    key.extend((slot as u32).to_ne_bytes());
    key
}

pub(super) fn slot_from(key: &[u8]) -> Option<(Door, usize)> {
    let slot = u32::from_ne_bytes(key.get(12..)?.try_into().ok()?);
    Some((Door::from_key(key.get(..12)?)?, slot as usize))
}

pub(super) type Bytes = Vec<u8>;

/// What should be in the kernel. Records what was there before since the last [`Elements::changes`].
#[derive(Debug, Default)]
pub(super) struct Elements {
    wanted: HashMap<SetId, HashMap<Bytes, Bytes>>,
    before: HashMap<(SetId, Bytes), Option<Bytes>>,
}

/// One element that has to change: its present and its wanted data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) set: SetId,
    pub(super) key: Bytes,
    pub(super) old: Option<Bytes>,
    pub(super) new: Option<Bytes>,
}

impl Elements {
    pub(super) fn put(&mut self, set: SetId, key: Bytes, data: Bytes) {
        let old = self
            .wanted
            .entry(set)
            .or_default()
            .insert(key.clone(), data);
        self.before.entry((set, key)).or_insert(old);
    }

    pub(super) fn delete(&mut self, set: SetId, key: Bytes) {
        let old = self.wanted.entry(set).or_default().remove(&key);
        self.before.entry((set, key)).or_insert(old);
    }

    pub(super) fn get(&self, set: SetId, key: &[u8]) -> Option<&Bytes> {
        self.wanted.get(&set)?.get(key)
    }

    pub(super) fn of(&self, set: SetId) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.wanted.get(&set).into_iter().flatten()
    }

    /// What changed since the last call, without what was changed back.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        let before = std::mem::take(&mut self.before);
        before
            .into_iter()
            .filter_map(|((set, key), old)| {
                let new = self.get(set, &key).cloned();
                (old != new).then_some(Change { set, key, old, new })
            })
            .collect()
    }

    /// What has to change in a set in which `present` was found.
    pub(super) fn difference(&self, set: SetId, present: Vec<(Bytes, Bytes)>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut missing: HashMap<&Bytes, &Bytes> = self.of(set).collect();
        for (key, data) in present {
            let new = missing.remove(&key).cloned();
            if new.as_ref() != Some(&data) {
                changes.push(Change {
                    set,
                    key,
                    old: Some(data),
                    new,
                });
            }
        }
        let added = missing.into_iter().map(|(key, data)| Change {
            set,
            key: key.clone(),
            old: None,
            new: Some(data.clone()),
        });
        changes.extend(added);
        changes
    }
}

/// The wanted chains beside the fixed ones, and what was there before since the last
/// [`Chains::changes`].
#[derive(Debug, Default)]
pub(super) struct Chains {
    wanted: HashMap<String, Spread>,
    before: HashMap<String, Option<Spread>>,
}

/// One chain that has to change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChainChange {
    pub(super) name: String,
    pub(super) old: Option<Spread>,
    pub(super) new: Option<Spread>,
}

impl Chains {
    pub(super) fn put(&mut self, name: String, spread: Spread) {
        if self.wanted.get(&name) != Some(&spread) {
            let old = self.wanted.insert(name.clone(), spread);
            self.before.entry(name).or_insert(old);
        }
    }

    pub(super) fn delete(&mut self, name: &str) {
        let old = self.wanted.remove(name);
        self.before.entry(name.to_owned()).or_insert(old);
    }

    #[cfg(test)]
    pub(super) fn get(&self, name: &str) -> Option<&Spread> {
        self.wanted.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Spread)> {
        self.wanted.iter()
    }

    pub(super) fn changes(&mut self) -> Vec<ChainChange> {
        let before = std::mem::take(&mut self.before);
        before
            .into_iter()
            .filter_map(|(name, old)| {
                let new = self.wanted.get(&name).cloned();
                (old != new).then_some(ChainChange { name, old, new })
            })
            .collect()
    }
}

/// Counts uses; says when the first came and the last went.
#[derive(Debug)]
pub(super) struct Uses<K>(HashMap<K, usize>);

impl<K> Default for Uses<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: std::hash::Hash + Eq> Uses<K> {
    /// Whether this was the first use.
    pub(super) fn add(&mut self, key: K) -> bool {
        let count = self.0.entry(key).or_default();
        *count += 1;
        *count == 1
    }

    /// Whether this was the last use.
    pub(super) fn remove(&mut self, key: K) -> bool {
        let Entry::Occupied(mut entry) = self.0.entry(key) else {
            return false;
        };
        *entry.get_mut() -= 1;
        let last = *entry.get() == 0;
        if last {
            entry.remove();
        }
        last
    }
}
