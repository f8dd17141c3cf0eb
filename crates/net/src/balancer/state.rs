//! From services to elements: which slots change when a service does. Pure; no kernel here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use super::elements::{
    Bytes, Chains, Door, Elements, Uses, backend, backend_from, slot, slot_from,
};
use super::table::{SetId, Spread, even_chain, sticky_chain};
use super::{Error, Frontend, Protocol, ServiceKey};
use crate::conntrack::Stale;

/// Longest affinity, as in the API.
const AFFINITY_SECONDS: u64 = 86_400;
/// Greatest number of backends of one service.
const MOST: usize = 32_767;
/// The same with session affinity, which costs a client a step for each.
const MOST_STICKY: usize = 1_000;

/// All services and what they amount to in the kernel.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) elements: Elements,
    pub(super) chains: Chains,
    /// UDP flows that changes since the last commit made stale.
    pub(super) stale: Stale,
    services: HashMap<ServiceKey, BTreeSet<Door>>,
    /// By their cluster address and the service they are of.
    fronts: HashMap<Owner, Front>,
    /// Who wants a door; the first one has it.
    claims: HashMap<Door, Vec<Owner>>,
    /// What is behind each door in the kernel.
    open: HashMap<Door, Behind>,
    /// Doors found in the kernel after a restart and not claimed by a service yet.
    orphans: HashSet<Door>,
    chain_uses: Uses<String>,
    hairpins: Uses<Ipv4Addr>,
    /// Hairpins found after a restart: chains of that time may need them.
    found_hairpins: Vec<Ipv4Addr>,
}

/// A frontend, named by its service and its main door.
type Owner = (ServiceKey, Door);

/// One frontend with its slots.
#[derive(Debug, Default)]
struct Front {
    affinity: u32,
    slots: Vec<SocketAddrV4>,
    doors: BTreeSet<Door>,
}

/// What a door leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Behind {
    chain: Option<String>,
    slots: Vec<SocketAddrV4>,
    /// Slots are in the map; otherwise they are in the chain.
    even: bool,
}

/// Refuses what the kernel's table could not hold.
pub(super) fn check(service: &ServiceKey, frontends: &[Frontend]) -> Result<(), Error> {
    let refuse = |reason: String| {
        Err(Error::Frontend {
            service: service.0.clone(),
            reason,
        })
    };
    let mut seen = HashSet::new();
    for frontend in frontends {
        if frontend.vip.is_unspecified() {
            return refuse("0.0.0.0 is not a service address".into());
        }
        if frontend.port == 0 || frontend.backends.iter().any(|b| b.port() == 0) {
            return refuse("port 0 is not a port".into());
        }
        if !seen.insert((frontend.vip, frontend.protocol, frontend.port)) {
            return refuse(format!(
                "port {}/{} is there twice",
                frontend.port, frontend.protocol
            ));
        }
        let most = if frontend.affinity.is_some() {
            MOST_STICKY
        } else {
            MOST
        };
        if frontend.backends.len() > most {
            return refuse(format!(
                "{} backends are more than {most}",
                frontend.backends.len()
            ));
        }
        if frontend
            .affinity
            .is_some_and(|time| time.as_secs() > AFFINITY_SECONDS)
        {
            return refuse(format!(
                "session affinity is longer than {AFFINITY_SECONDS} s"
            ));
        }
    }
    Ok(())
}

impl State {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Makes the service have exactly these frontends. They have passed [`check`].
    pub(super) fn set(&mut self, service: &ServiceKey, frontends: Vec<Frontend>) {
        let mut before = self.services.remove(service).unwrap_or_default();
        let mut after = BTreeSet::new();
        for frontend in frontends {
            let main = Door {
                ip: frontend.vip,
                protocol: frontend.protocol,
                port: frontend.port,
            };
            before.remove(&main);
            after.insert(main);
            self.update(&(service.clone(), main), &frontend);
        }
        for main in before {
            self.discard(&(service.clone(), main));
        }
        if !after.is_empty() {
            self.services.insert(service.clone(), after);
        }
    }

    pub(super) fn remove(&mut self, service: &ServiceKey) {
        self.set(service, Vec::new());
    }

    /// Removes every service that `keep` does not know, those found after a restart included.
    pub(super) fn retain(&mut self, keep: &HashSet<ServiceKey>) {
        for door in std::mem::take(&mut self.orphans) {
            self.refresh(door);
        }
        for ip in std::mem::take(&mut self.found_hairpins) {
            self.drop_hairpin(ip);
        }
        let gone: Vec<_> = self
            .services
            .keys()
            .filter(|key| !keep.contains(key))
            .cloned()
            .collect();
        for service in gone {
            self.remove(&service);
        }
    }

    /// Takes over what an earlier run left in the kernel, so that it stays as it is until the services
    /// are known again. Slots behind a gap are dropped.
    pub(super) fn import(
        &mut self,
        services: &[(Bytes, Bytes)],
        unserved: &[(Bytes, Bytes)],
        backends: &[(Bytes, Bytes)],
        hairpins: &[(Bytes, Bytes)],
    ) {
        let hairpin = |(key, _): &(Bytes, Bytes)| <[u8; 4]>::try_from(key.get(..4)?).ok();
        for ip in hairpins.iter().filter_map(hairpin).map(Ipv4Addr::from) {
            self.use_hairpin(ip);
            self.found_hairpins.push(ip);
        }
        let mut slots: HashMap<Door, HashMap<usize, SocketAddrV4>> = HashMap::new();
        for (key, data) in backends {
            if let (Some((door, slot)), Some(address)) = (slot_from(key), backend_from(data)) {
                slots.entry(door).or_default().insert(slot, address);
            }
        }
        for (key, _) in unserved {
            if let Some(door) = Door::from_key(key) {
                self.orphans.insert(door);
                self.place(door, Some(Behind::default()));
            }
        }
        for (key, chain) in services {
            let Some(door) = Door::from_key(key) else {
                continue;
            };
            let found = slots.remove(&door).unwrap_or_default();
            let found: Vec<_> = (0..).map_while(|n| found.get(&n).copied()).collect();
            let chain = String::from_utf8_lossy(chain).into_owned();
            let even = chain == even_chain(found.len(), door.is_node());
            let spread = if even {
                Spread::Even {
                    slots: found.len(),
                    node: door.is_node(),
                }
            } else {
                Spread::Found
            };
            self.chains.put(chain.clone(), spread);
            self.orphans.insert(door);
            self.place(
                door,
                Some(Behind {
                    chain: Some(chain),
                    slots: found,
                    even,
                }),
            );
        }
    }

    /// Adds or replaces the host port's way into a pod.
    pub(super) fn set_host_port(&mut self, door: Door, target: SocketAddrV4) {
        self.use_hairpin(*target.ip());
        self.remove_host_port(door);
        if door.protocol == Protocol::Udp {
            self.stale.frontends.insert(door.address());
        }
        self.elements
            .put(SetId::HostPorts, door.key(), backend(target));
    }

    pub(super) fn remove_host_port(&mut self, door: Door) {
        let Some(old) = self
            .elements
            .get(SetId::HostPorts, &door.key())
            .and_then(|b| backend_from(b))
        else {
            return;
        };
        if door.protocol == Protocol::Udp {
            self.stale.frontends.insert(door.address());
            self.stale.backends.insert(old);
        }
        self.drop_hairpin(*old.ip());
        self.elements.delete(SetId::HostPorts, door.key());
    }

    fn update(&mut self, owner: &Owner, frontend: &Frontend) {
        let door = |ip, port| Door {
            ip,
            protocol: frontend.protocol,
            port,
        };
        let mut doors: BTreeSet<_> = frontend
            .external
            .iter()
            .map(|ip| door(*ip, frontend.port))
            .collect();
        doors.retain(|door| !door.is_node());
        doors.insert(owner.1);
        doors.extend(
            frontend
                .node_port
                .map(|port| door(Ipv4Addr::UNSPECIFIED, port)),
        );

        let mut front = self.fronts.remove(owner).unwrap_or_else(|| Front {
            // The order an earlier run left them in, so that nothing has to move.
            slots: self
                .open
                .get(&owner.1)
                .filter(|_| self.orphans.contains(&owner.1))
                .map(|behind| behind.slots.clone())
                .unwrap_or_default(),
            ..Front::default()
        });
        front.affinity = frontend
            .affinity
            .map_or(0, |time| time.as_secs().max(1) as u32);
        respread(&mut front.slots, &frontend.backends);
        let gone: Vec<_> = front.doors.difference(&doors).copied().collect();
        front.doors.clone_from(&doors);
        self.fronts.insert(owner.clone(), front);
        for door in gone {
            self.release(door, owner);
        }
        for door in doors {
            self.claim(door, owner);
        }
    }

    /// Takes a frontend out with everything it has.
    fn discard(&mut self, owner: &Owner) {
        let Some(front) = self.fronts.remove(owner) else {
            return;
        };
        for door in front.doors {
            self.release(door, owner);
        }
    }

    fn claim(&mut self, door: Door, owner: &Owner) {
        self.orphans.remove(&door);
        let claims = self.claims.entry(door).or_default();
        if !claims.contains(owner) {
            claims.push(owner.clone());
            if claims.len() > 1 {
                tracing::warn!(
                    ip = %door.ip, port = door.port, protocol = %door.protocol,
                    service = owner.0.0, holder = claims[0].0.0,
                    "address and port are taken by another service"
                );
            }
        }
        self.refresh(door);
    }

    fn release(&mut self, door: Door, owner: &Owner) {
        if let Some(claims) = self.claims.get_mut(&door) {
            claims.retain(|other| other != owner);
            if claims.is_empty() {
                self.claims.remove(&door);
            }
        }
        self.refresh(door);
    }

    /// Brings a door to what its first claim wants.
    fn refresh(&mut self, door: Door) {
        let owner = self.claims.get(&door).and_then(|claims| claims.first());
        let front = owner.and_then(|owner| Some((owner.1, self.fronts.get(owner)?)));
        let wanted = front.map(|(main, front)| {
            let slots = front.slots.clone();
            let (chain, spread) = if front.affinity == 0 {
                let node = door.is_node();
                let spread = Spread::Even {
                    slots: slots.len(),
                    node,
                };
                (even_chain(slots.len(), node), spread)
            } else {
                let (seconds, backends) = (front.affinity, slots.clone());
                (
                    sticky_chain(main),
                    Spread::Sticky {
                        service: main,
                        seconds,
                        backends,
                    },
                )
            };
            if slots.is_empty() {
                return (Behind::default(), None);
            }
            let even = front.affinity == 0;
            (
                Behind {
                    chain: Some(chain),
                    slots,
                    even,
                },
                Some(spread),
            )
        });
        let (behind, spread) = wanted.unzip();
        if let (Some(chain), Some(spread)) = (
            behind.as_ref().and_then(|b| b.chain.clone()),
            spread.flatten(),
        ) {
            self.chains.put(chain, spread);
        }
        self.place(door, behind);
    }

    /// Writes what differs between what is behind a door and what should be.
    fn place(&mut self, door: Door, wanted: Option<Behind>) {
        let old = match &wanted {
            Some(behind) => self.open.insert(door, behind.clone()),
            None => self.open.remove(&door),
        };
        if old == wanted {
            return;
        }
        self.mark_stale(door, old.as_ref(), wanted.as_ref());
        let key = door.key();
        match &wanted {
            Some(Behind {
                chain: Some(chain), ..
            }) => {
                self.chain_uses.add(chain.clone());
                self.elements.delete(SetId::Unserved, key.clone());
                self.elements
                    .put(SetId::Services, key, chain.clone().into_bytes());
            }
            Some(Behind { chain: None, .. }) => {
                self.elements.delete(SetId::Services, key.clone());
                self.elements.put(SetId::Unserved, key, Vec::new());
            }
            None => {
                self.elements.delete(SetId::Services, key.clone());
                self.elements.delete(SetId::Unserved, key);
            }
        }
        let (old, new) = (old.unwrap_or_default(), wanted.unwrap_or_default());
        for place in 0..old.slots.len().max(new.slots.len()) {
            let (before, after) = (old.slots.get(place), new.slots.get(place));
            if before != after {
                if let Some(address) = after {
                    self.use_hairpin(*address.ip());
                }
                if let Some(address) = before {
                    self.drop_hairpin(*address.ip());
                }
            }
            match (before.filter(|_| old.even), after.filter(|_| new.even)) {
                (before, Some(address)) if before != Some(address) => {
                    self.elements
                        .put(SetId::Backends, slot(door, place), backend(*address));
                }
                (Some(_), None) => self.elements.delete(SetId::Backends, slot(door, place)),
                _ => {}
            }
        }
        if let Some(chain) = old.chain
            && self.chain_uses.remove(chain.clone())
        {
            self.chains.delete(&chain);
        }
    }

    fn mark_stale(&mut self, door: Door, old: Option<&Behind>, new: Option<&Behind>) {
        if door.protocol != Protocol::Udp {
            return;
        }
        let now: HashSet<_> = new.iter().flat_map(|behind| &behind.slots).collect();
        let before = old.map(|behind| &behind.slots[..]).unwrap_or_default();
        let gone: Vec<_> = before
            .iter()
            .filter(|address| !now.contains(address))
            .collect();
        if !gone.is_empty() || before.is_empty() {
            self.stale.frontends.insert(door.address());
            self.stale.backends.extend(gone);
        }
    }

    fn use_hairpin(&mut self, ip: Ipv4Addr) {
        if self.hairpins.add(ip) {
            self.elements.put(
                SetId::Hairpin,
                [ip.octets(), ip.octets()].concat(),
                Vec::new(),
            );
        }
    }

    fn drop_hairpin(&mut self, ip: Ipv4Addr) {
        if self.hairpins.remove(ip) {
            self.elements
                .delete(SetId::Hairpin, [ip.octets(), ip.octets()].concat());
        }
    }
}

/// Brings slots to `backends` so that as few as possible change: the last one fills each gap, new
/// ones go to the end.
fn respread(slots: &mut Vec<SocketAddrV4>, backends: &[SocketAddrV4]) {
    let wanted: HashSet<_> = backends.iter().collect();
    let mut place = 0;
    while place < slots.len() {
        if wanted.contains(&slots[place]) {
            place += 1;
        } else {
            slots.swap_remove(place);
        }
    }
    let mut present: HashSet<_> = slots.iter().copied().collect();
    slots.extend(backends.iter().filter(|address| present.insert(**address)));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn frontend(vip: u8, backends: &[u16]) -> Frontend {
        Frontend {
            vip: Ipv4Addr::new(10, 96, 0, vip),
            external: Vec::new(),
            port: 80,
            protocol: Protocol::Tcp,
            node_port: None,
            affinity: None,
            backends: backends
                .iter()
                .map(|b| SocketAddrV4::new(Ipv4Addr::new(10, 244, (b >> 8) as u8, *b as u8), 8080))
                .collect(),
        }
    }

    fn key(name: &str) -> ServiceKey {
        ServiceKey(name.into())
    }

    /// The backends a client of this door can get, as the kernel's rules find them.
    fn reachable(state: &State, door: Door) -> Option<Vec<SocketAddrV4>> {
        if state.elements.get(SetId::Unserved, &door.key()).is_some() {
            return Some(Vec::new());
        }
        let chain = state.elements.get(SetId::Services, &door.key())?;
        let spread = state.chains.get(std::str::from_utf8(chain).unwrap())?;
        let mut found = match spread {
            Spread::Even { slots, .. } => (0..*slots)
                .map(|place| {
                    state
                        .elements
                        .get(SetId::Backends, &slot(door, place))
                        .unwrap()
                })
                .map(|data| backend_from(data).unwrap())
                .collect(),
            Spread::Sticky { backends, .. } => backends.clone(),
            Spread::Found => return None,
        };
        found.sort_unstable();
        Some(found)
    }

    fn door(vip: u8) -> Door {
        Door {
            ip: Ipv4Addr::new(10, 96, 0, vip),
            protocol: Protocol::Tcp,
            port: 80,
        }
    }

    #[test]
    fn one_more_backend_of_a_large_service_changes_a_handful_of_elements() {
        let mut state = State::default();
        let all: Vec<u16> = (0..1000).collect();
        state.set(&key("a/b"), vec![frontend(1, &all)]);
        state.elements.changes();
        state.chains.changes();
        let more: Vec<u16> = (0..1001).collect();
        state.set(&key("a/b"), vec![frontend(1, &more)]);
        // Its slot, its hairpin, and the service's chain; the chain of 1000 gives way to that of 1001.
        assert_eq!(state.elements.changes().len(), 3);
        assert_eq!(state.chains.changes().len(), 2);
    }

    #[test]
    fn setting_the_same_again_changes_nothing() {
        let mut state = State::default();
        state.set(&key("a/b"), vec![frontend(1, &[1, 2, 3])]);
        assert!(!state.elements.changes().is_empty());
        state.set(&key("a/b"), vec![frontend(1, &[3, 1, 2])]);
        assert_eq!(state.elements.changes(), Vec::new());
    }

    #[test]
    fn what_a_restart_finds_is_kept_when_the_same_services_come_back() {
        let mut first = State::default();
        let mut sticky = frontend(2, &[4, 5]);
        sticky.affinity = Some(Duration::from_secs(60));
        sticky.node_port = Some(30080);
        let services = vec![
            (key("a/b"), vec![frontend(1, &[1, 2, 3])]),
            (key("a/c"), vec![sticky]),
        ];
        for (name, frontends) in services.clone() {
            first.set(&name, frontends);
        }
        let dump = |set| {
            first
                .elements
                .of(set)
                .map(|(k, d)| (k.clone(), d.clone()))
                .collect::<Vec<_>>()
        };
        let mut second = State::default();
        second.import(
            &dump(SetId::Services),
            &dump(SetId::Unserved),
            &dump(SetId::Backends),
            &dump(SetId::Hairpin),
        );
        second.elements.changes();
        second.chains.changes();
        for (name, frontends) in services.iter().rev().cloned() {
            second.set(&name, frontends);
        }
        second.retain(&services.iter().map(|(name, _)| name.clone()).collect());
        assert_eq!(second.elements.changes(), Vec::new());
        // What the chain of a service with affinity does could not be known before.
        let changed = second.chains.changes();
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].old, Some(Spread::Found));
    }

    #[test]
    fn a_door_that_two_services_want_goes_to_the_second_when_the_first_leaves() {
        let mut state = State::default();
        state.set(&key("a/b"), vec![frontend(1, &[1])]);
        state.set(&key("a/c"), vec![frontend(1, &[2])]);
        assert_eq!(reachable(&state, door(1)), Some(frontend(1, &[1]).backends));
        state.remove(&key("a/b"));
        assert_eq!(reachable(&state, door(1)), Some(frontend(1, &[2]).backends));
        state.remove(&key("a/c"));
        assert_eq!(reachable(&state, door(1)), None);
    }

    proptest! {
        #[test]
        fn after_any_changes_every_service_has_exactly_its_backends_and_nothing_is_left_over(
            steps in proptest::collection::vec((0u8..5, proptest::collection::btree_set(0u16..12, 0..8), any::<bool>(), any::<bool>()), 1..40)
        ) {
            let mut state = State::default();
            let mut mirror: HashMap<(SetId, Bytes), Bytes> = HashMap::new();
            let mut wanted: HashMap<u8, Vec<SocketAddrV4>> = HashMap::new();
            for (vip, backends, sticky, node) in steps {
                let backends: Vec<u16> = backends.into_iter().collect();
                let mut front = frontend(vip, &backends);
                front.affinity = sticky.then_some(Duration::from_secs(10));
                front.node_port = node.then_some(30000 + u16::from(vip));
                wanted.insert(vip, front.backends.clone());
                state.set(&key(&vip.to_string()), vec![front]);
                for change in state.elements.changes() {
                    let key = (change.set, change.key);
                    prop_assert_eq!(mirror.get(&key).cloned(), change.old);
                    match change.new {
                        Some(data) => mirror.insert(key, data),
                        None => mirror.remove(&key),
                    };
                }
                for (vip, backends) in &wanted {
                    prop_assert_eq!(reachable(&state, door(*vip)), Some(backends.clone()));
                }
            }
            state.retain(&HashSet::new());
            for change in state.elements.changes() {
                if change.new.is_none() { mirror.remove(&(change.set, change.key)); }
            }
            prop_assert!(mirror.is_empty(), "{:?}", mirror);
            prop_assert_eq!(state.chains.iter().count(), 0);
        }
    }
}
