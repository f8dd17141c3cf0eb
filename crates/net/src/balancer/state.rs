//! From services to elements: which slots change when a service does. Pure; no kernel here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use super::elements::{
    Bytes, Door, Elements, Uses, backend, backend_from, number, number_from, pair, pair_from,
};
use super::table::{Class, SetId};
use super::{Error, Frontend, Protocol, ServiceKey};
use crate::conntrack::Stale;

/// Longest affinity, as in the API.
const AFFINITY_SECONDS: u64 = 86_400;

/// All services and what they amount to in the kernel.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) elements: Elements,
    /// UDP flows that changes since the last commit made stale.
    pub(super) stale: Stale,
    fronts: HashMap<u32, Front>,
    services: HashMap<ServiceKey, HashMap<Door, u32>>,
    /// Who wants a door; the first one has it.
    claims: HashMap<Door, Vec<u32>>,
    classes: Uses<(bool, u32)>,
    hairpins: Uses<Ipv4Addr>,
    /// Found in the kernel after a restart and not claimed by a service yet.
    orphans: HashSet<u32>,
    next: u32,
}

/// One frontend with its slots.
#[derive(Debug)]
struct Front {
    affinity: u32,
    slots: Vec<SocketAddrV4>,
    places: HashMap<SocketAddrV4, usize>,
    doors: BTreeSet<Door>,
    protocol: Protocol,
}

impl Front {
    fn class(&self) -> u32 {
        if self.slots.is_empty() {
            return 0;
        }
        Class {
            slots: self.slots.len() as u32,
            affinity: self.affinity,
        }
        .number()
    }
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
        if frontend.backends.len() > Class::MOST {
            return refuse(format!(
                "{} backends are more than {}",
                frontend.backends.len(),
                Class::MOST
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
        self.fronts.is_empty()
    }

    /// Makes the service have exactly these frontends. They have passed [`check`].
    pub(super) fn set(&mut self, service: &ServiceKey, frontends: Vec<Frontend>) {
        let mut before = self.services.remove(service).unwrap_or_default();
        let mut after = HashMap::new();
        for frontend in frontends {
            let door = Door {
                ip: frontend.vip,
                protocol: frontend.protocol,
                port: frontend.port,
            };
            let id = before.remove(&door).or_else(|| self.adopt(door));
            after.insert(door, self.update(id, frontend));
        }
        for id in before.into_values() {
            self.discard(id);
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
        for id in std::mem::take(&mut self.orphans) {
            self.discard(id);
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
    /// are known again. Contradictions in it are dropped.
    pub(super) fn import(
        &mut self,
        services: &[(Bytes, Bytes)],
        classes: &[(Bytes, Bytes)],
        backends: &[(Bytes, Bytes)],
    ) {
        let classes: HashMap<&Bytes, u32> = classes
            .iter()
            .filter_map(|(key, class)| Some((key, number_from(class)?)))
            .collect();
        let mut slots: HashMap<u32, HashMap<u32, SocketAddrV4>> = HashMap::new();
        for (key, data) in backends {
            if let (Some((id, slot)), Some(address)) = (pair_from(key), backend_from(data)) {
                slots.entry(id).or_default().insert(slot, address);
            }
        }
        for (key, data) in services {
            let (Some(door), Some(id)) = (Door::from_key(key), number_from(data)) else {
                continue;
            };
            let class = classes.get(key).copied().unwrap_or_default();
            let front = self.fronts.entry(id).or_insert_with(|| Front {
                affinity: Class::from_number(class).affinity,
                slots: Vec::new(),
                places: HashMap::new(),
                doors: BTreeSet::new(),
                protocol: door.protocol,
            });
            if front.protocol == door.protocol {
                front.doors.insert(door);
            }
            self.orphans.insert(id);
        }
        self.next = self.fronts.keys().max().map_or(0, |id| id + 1);
        for id in self.orphans.clone() {
            let doors = self
                .fronts
                .get(&id)
                .map(|front| front.doors.clone())
                .unwrap_or_default();
            let mut found = slots.remove(&id).unwrap_or_default();
            let found: Vec<_> = (0..).map_while(|slot| found.remove(&slot)).collect();
            self.respread(id, &found);
            for door in doors {
                self.claim(door, id);
            }
        }
    }

    /// Adds or replaces the host port's way into a pod.
    pub(super) fn set_host_port(&mut self, door: Door, target: SocketAddrV4) {
        if door.protocol == Protocol::Udp {
            self.stale
                .frontends
                .insert(SocketAddrV4::new(door.ip, door.port));
        }
        self.use_hairpin(*target.ip());
        if let Some(old) = self
            .elements
            .get(SetId::HostPorts, &door.key())
            .and_then(|b| backend_from(b))
        {
            self.drop_hairpin(*old.ip());
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
            self.stale
                .frontends
                .insert(SocketAddrV4::new(door.ip, door.port));
            self.stale.backends.insert(old);
        }
        self.drop_hairpin(*old.ip());
        self.elements.delete(SetId::HostPorts, door.key());
    }

    /// An unclaimed frontend that already has this door.
    fn adopt(&mut self, door: Door) -> Option<u32> {
        let id = *self
            .claims
            .get(&door)?
            .iter()
            .find(|id| self.orphans.contains(id))?;
        self.orphans.remove(&id);
        Some(id)
    }

    fn update(&mut self, id: Option<u32>, frontend: Frontend) -> u32 {
        let affinity = frontend
            .affinity
            .map_or(0, |time| time.as_secs().max(1) as u32);
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
        doors.insert(door(frontend.vip, frontend.port));
        doors.extend(
            frontend
                .node_port
                .map(|port| door(Ipv4Addr::UNSPECIFIED, port)),
        );

        let id = id.unwrap_or_else(|| self.create(frontend.protocol));
        let gone: Vec<_> = self
            .fronts
            .get(&id)
            .map_or_else(Vec::new, |f| f.doors.difference(&doors).copied().collect());
        for door in gone {
            self.release(door, id);
        }
        self.affine(id, affinity);
        self.respread(id, &frontend.backends);
        let new: Vec<_> = self
            .fronts
            .get(&id)
            .map_or_else(Vec::new, |f| doors.difference(&f.doors).copied().collect());
        for door in new {
            self.claim(door, id);
        }
        self.publish(id);
        id
    }

    fn create(&mut self, protocol: Protocol) -> u32 {
        while self.fronts.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let front = Front {
            affinity: 0,
            slots: Vec::new(),
            places: HashMap::new(),
            doors: BTreeSet::new(),
            protocol,
        };
        self.fronts.insert(id, front);
        id
    }

    /// Takes a frontend out with everything it has.
    fn discard(&mut self, id: u32) {
        let doors = self
            .fronts
            .get(&id)
            .map(|front| front.doors.clone())
            .unwrap_or_default();
        // The doors close in the same transaction; clients of the old backends are forgotten too.
        self.mark_stale(id);
        for door in doors {
            self.release(door, id);
        }
        self.respread(id, &[]);
        self.affine(id, 0);
        self.fronts.remove(&id);
    }

    /// Switches affinity on, off or to another time.
    fn affine(&mut self, id: u32, affinity: u32) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let (before, after) = (front.affinity != 0, affinity != 0);
        front.affinity = affinity;
        for address in front.slots.clone() {
            match (before, after) {
                (false, true) => self
                    .elements
                    .put(SetId::Members, member(id, address), Vec::new()),
                (true, false) => self.elements.delete(SetId::Members, member(id, address)),
                _ => {}
            }
        }
    }

    /// Brings the slots to `backends`, touching only those that differ.
    fn respread(&mut self, id: u32, backends: &[SocketAddrV4]) {
        let Some(mut front) = self.fronts.remove(&id) else {
            return;
        };
        let wanted: HashSet<_> = backends.iter().copied().collect();
        let gone: Vec<_> = front
            .slots
            .iter()
            .copied()
            .filter(|address| !wanted.contains(address))
            .collect();
        if !gone.is_empty() && front.protocol == Protocol::Udp {
            self.stale.backends.extend(&gone);
            self.stale.frontends.extend(
                front
                    .doors
                    .iter()
                    .map(|door| SocketAddrV4::new(door.ip, door.port)),
            );
        }
        for address in gone {
            let Some(place) = front.places.remove(&address) else {
                continue;
            };
            front.slots.swap_remove(place);
            if let Some(moved) = front.slots.get(place).copied() {
                front.places.insert(moved, place);
                self.elements
                    .put(SetId::Backends, pair(id, place as u32), backend(moved));
            }
            self.elements
                .delete(SetId::Backends, pair(id, front.slots.len() as u32));
            if front.affinity != 0 {
                self.elements.delete(SetId::Members, member(id, address));
            }
            self.drop_hairpin(*address.ip());
        }
        for address in backends {
            let place = front.slots.len();
            if front.places.contains_key(address) {
                continue;
            }
            front.places.insert(*address, place);
            front.slots.push(*address);
            self.elements
                .put(SetId::Backends, pair(id, place as u32), backend(*address));
            if front.affinity != 0 {
                self.elements
                    .put(SetId::Members, member(id, *address), Vec::new());
            }
            self.use_hairpin(*address.ip());
        }
        self.fronts.insert(id, front);
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

    fn mark_stale(&mut self, id: u32) {
        let Some(front) = self
            .fronts
            .get(&id)
            .filter(|front| front.protocol == Protocol::Udp)
        else {
            return;
        };
        self.stale.backends.extend(&front.slots);
        self.stale.frontends.extend(
            front
                .doors
                .iter()
                .map(|door| SocketAddrV4::new(door.ip, door.port)),
        );
    }

    fn claim(&mut self, door: Door, id: u32) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        front.doors.insert(door);
        if door.protocol == Protocol::Udp {
            self.stale
                .frontends
                .insert(SocketAddrV4::new(door.ip, door.port));
        }
        let claims = self.claims.entry(door).or_default();
        if !claims.contains(&id) {
            claims.push(id);
        }
        // What was found after a restart gives way to a service that is known to be wanted.
        if claims.len() > 1 && self.orphans.contains(&claims[0]) && !self.orphans.contains(&id) {
            claims.retain(|other| *other != id);
            claims.insert(0, id);
        }
        if claims[0] != id {
            tracing::warn!(ip = %door.ip, port = door.port, protocol = %door.protocol, "address is claimed by two services");
        }
        self.open(door);
    }

    fn release(&mut self, door: Door, id: u32) {
        if let Some(front) = self.fronts.get_mut(&id) {
            front.doors.remove(&door);
        }
        if let Some(claims) = self.claims.get_mut(&door) {
            claims.retain(|other| *other != id);
            if claims.is_empty() {
                self.claims.remove(&door);
            }
        }
        self.open(door);
    }

    /// Brings the classes of all its doors up to date.
    fn publish(&mut self, id: u32) {
        let doors = self
            .fronts
            .get(&id)
            .map(|front| front.doors.clone())
            .unwrap_or_default();
        for door in doors {
            self.open(door);
        }
    }

    /// Writes the elements of a door: whose it is, and how that one spreads its connections.
    fn open(&mut self, door: Door) {
        let key = door.key();
        let before = self
            .elements
            .get(SetId::Classes, &key)
            .and_then(|class| number_from(class));
        let owner = self
            .claims
            .get(&door)
            .and_then(|claims| claims.first())
            .copied();
        let after = owner.and_then(|id| Some((id, self.fronts.get(&id)?.class())));
        if let Some((_, class)) = after.filter(|(_, class)| *class != 0) {
            self.use_class(door.is_node(), class);
        }
        if let Some(class) = before {
            self.drop_class(door.is_node(), class);
        }
        let Some((id, class)) = after else {
            for set in [SetId::Services, SetId::Classes, SetId::Unserved] {
                self.elements.delete(set, key.clone());
            }
            return;
        };
        self.elements.put(SetId::Services, key.clone(), number(id));
        if class == 0 {
            self.elements.delete(SetId::Classes, key.clone());
            self.elements.put(SetId::Unserved, key, Vec::new());
        } else {
            self.elements
                .put(SetId::Classes, key.clone(), number(class));
            self.elements.delete(SetId::Unserved, key);
        }
    }

    fn use_class(&mut self, node: bool, class: u32) {
        if self.classes.add((node, class)) {
            let chain = Class::from_number(class).chain(node).into_bytes();
            self.elements.put(dispatch(node), number(class), chain);
        }
    }

    fn drop_class(&mut self, node: bool, class: u32) {
        if self.classes.remove((node, class)) {
            self.elements.delete(dispatch(node), number(class));
        }
    }
}

fn dispatch(node: bool) -> SetId {
    if node {
        SetId::NodeDispatch
    } else {
        SetId::Dispatch
    }
}

fn member(id: u32, address: SocketAddrV4) -> Vec<u8> {
    [id.to_ne_bytes().to_vec(), backend(address)].concat()
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
        let id = number_from(state.elements.get(SetId::Services, &door.key())?)?;
        if state.elements.get(SetId::Unserved, &door.key()).is_some() {
            return Some(Vec::new());
        }
        let class = number_from(state.elements.get(SetId::Classes, &door.key())?)?;
        state
            .elements
            .get(dispatch(door.is_node()), &class.to_ne_bytes())?;
        let class = Class::from_number(class);
        let mut found: Vec<_> = (0..class.slots)
            .map(|slot| {
                backend_from(
                    state
                        .elements
                        .get(SetId::Backends, &pair(id, slot))
                        .unwrap(),
                )
                .unwrap()
            })
            .collect();
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
        let more: Vec<u16> = (0..1001).collect();
        state.set(&key("a/b"), vec![frontend(1, &more)]);
        // Its slot, its hairpin, the service's class, and the chains of the old and the new class.
        assert_eq!(state.elements.changes().len(), 5);
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
            &dump(SetId::Classes),
            &dump(SetId::Backends),
        );
        second.elements.changes();
        for (name, frontends) in services.iter().rev().cloned() {
            second.set(&name, frontends);
        }
        second.retain(&services.iter().map(|(name, _)| name.clone()).collect());
        assert_eq!(second.elements.changes(), Vec::new());
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
        }
    }
}
