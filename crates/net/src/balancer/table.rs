//! The fixed part of the table: sets, chains and rules.
//!
//! A new connection to `vip . protocol . port` finds its class in `classes`. The class says how many
//! slots there are (and for how long a client is remembered); `dispatch` leads to the chain for that
//! class, which finds the service's id in `services`, draws a slot, and finds the backend under
//! `id . slot` in `backends`. So one
//! more backend is one more element, and everything else stays as it is. There is a chain for each
//! number of slots in use, which makes the choice exactly even.
//!
//! Node ports are services of the address 0.0.0.0 that are looked up for local destinations.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::nft::expr::{Address, Interface, Rule, r};
use crate::nft::types::{IPADDR, MARK, PORT, PROTO, VERDICT};
use crate::nft::{EVAL, Hook, Set, TIMEOUT, Transaction};

/// Changes whenever sets or keys change their meaning: a table of another version is replaced.
pub(super) const VERSION: &[u8] = b"consort 1";

/// What the rules have to know about the network around them.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Name of the table.
    pub(crate) table: String,
    /// How the names of pod interfaces begin.
    pub(crate) interfaces: String,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) pod_cidr: Ipv4Net,
    pub(crate) cluster_cidr: Ipv4Net,
    pub(crate) service_cidr: Ipv4Net,
    pub(crate) node_port_addresses: Vec<Ipv4Net>,
    pub(crate) masquerade: bool,
}

/// The sets, by their place in [`SETS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SetId {
    Services,
    Classes,
    Unserved,
    Backends,
    Members,
    Hairpin,
    HostPorts,
    Dispatch,
    NodeDispatch,
    Affinity,
}

/// How many clients are remembered at most; further ones are served without being remembered.
const AFFINE_CLIENTS: u32 = 1 << 18;

pub(super) const SETS: [(SetId, Set); 10] = [
    // vip . protocol . port -> id
    (
        SetId::Services,
        plain("services", &[IPADDR, PROTO, PORT], Some((&[MARK], 4))),
    ),
    // vip . protocol . port -> class, of services with backends. Not one map with the ids: `nft list`
    // cannot read rules that use a part of what a map gives.
    (
        SetId::Classes,
        plain("classes", &[IPADDR, PROTO, PORT], Some((&[MARK], 4))),
    ),
    // vip . protocol . port, of services without backends
    (
        SetId::Unserved,
        plain("unserved", &[IPADDR, PROTO, PORT], None),
    ),
    // id . slot -> address . port
    (
        SetId::Backends,
        plain("backends", &[MARK, MARK], Some((&[IPADDR, PORT], 8))),
    ),
    // id . address . port, of services with session affinity
    (
        SetId::Members,
        plain("members", &[MARK, IPADDR, PORT], None),
    ),
    // address . address, of every backend: connections a pod makes to itself
    (SetId::Hairpin, plain("hairpin", &[IPADDR, IPADDR], None)),
    // host address . protocol . port -> address . port
    (
        SetId::HostPorts,
        plain(
            "host-ports",
            &[IPADDR, PROTO, PORT],
            Some((&[IPADDR, PORT], 8)),
        ),
    ),
    // class -> chain
    (SetId::Dispatch, verdicts("dispatch")),
    (SetId::NodeDispatch, verdicts("node-dispatch")),
    // client . id -> address . port, written by the packets themselves
    (
        SetId::Affinity,
        Set {
            flags: TIMEOUT | EVAL,
            size: AFFINE_CLIENTS,
            ..plain("affinity", &[IPADDR, MARK], Some((&[IPADDR, PORT], 8)))
        },
    ),
];

const fn chain_types(parts: &[u32]) -> u32 {
    let mut sum = 0;
    let mut at = 0;
    while at < parts.len() {
        sum = (sum << 6) | parts[at];
        at += 1;
    }
    sum
}

const fn plain(name: &'static str, key: &[u32], data: Option<(&[u32], u32)>) -> Set {
    Set {
        name,
        key_type: chain_types(key),
        key_len: 4 * key.len() as u32,
        data: match data {
            Some((types, len)) => Some((chain_types(types), len)),
            None => None,
        },
        flags: 0,
        size: 0,
    }
}

const fn verdicts(name: &'static str) -> Set {
    Set {
        name,
        key_type: MARK,
        key_len: 4,
        data: Some((VERDICT, 0)),
        flags: 0,
        size: 0,
    }
}

pub(super) fn set_name(id: SetId) -> &'static str {
    SETS.iter()
        .find(|(candidate, _)| *candidate == id)
        .map_or("", |(_, set)| set.name)
}

/// How connections to a service are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Class {
    /// Number of slots, at most [`Class::MOST`].
    pub(super) slots: u32,
    /// Seconds for which a client stays with its backend; 0 for no affinity.
    pub(super) affinity: u32,
}

impl Class {
    /// Greatest number of backends of one service.
    pub(super) const MOST: usize = (1 << 15) - 1;

    /// As it stands in the map.
    pub(super) fn number(self) -> u32 {
        (self.affinity << 15) | self.slots
    }

    pub(super) fn from_number(number: u32) -> Self {
        Self {
            slots: number & 0x7fff,
            affinity: number >> 15,
        }
    }

    pub(super) fn chain(self, node: bool) -> String {
        let prefix = if node { "node-pick" } else { "pick" };
        if self.affinity == 0 {
            format!("{prefix}-{}", self.slots)
        } else {
            format!("{prefix}-{}-sticky-{}", self.slots, self.affinity)
        }
    }

    /// The rules of its chain.
    pub(super) fn rules(self, node: bool) -> Vec<Rule> {
        // r1..r3 the service, r5 client, r6 id, r7 slot or r7..r8 backend, r9..r10 new backend.
        let service = || {
            let rule = Rule::new();
            let rule = if node {
                rule.constant(Ipv4Addr::UNSPECIFIED, r(1))
            } else {
                rule.load(Address::Destination, r(1))
            };
            rule.load_service(r(2))
                .map_for_key("services", r(1), r(6), 4)
        };
        let draw = |rule: Rule| rule.random(self.slots, r(7));
        let plain = draw(service())
            .map("backends", r(6), r(9))
            .destination_nat(r(9), r(10));
        if self.affinity == 0 {
            return vec![plain];
        }
        let remembered = service()
            .load(Address::Source, r(5))
            .map_for_key("affinity", r(5), r(7), 8)
            .member("members", r(6))
            .remember("affinity", r(5), r(7), self.affinity)
            .destination_nat(r(7), r(8));
        // Renewing does not change what is remembered, so a backend that is gone is forgotten first.
        let chosen = draw(service().load(Address::Source, r(5)))
            .map_for_key("backends", r(6), r(9), 8)
            .forget("affinity", r(5), r(9))
            .remember("affinity", r(5), r(9), self.affinity)
            .destination_nat(r(9), r(10));
        vec![remembered, chosen, plain]
    }
}

const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

/// A chain with its hook and rules.
pub(super) struct Chain {
    pub(super) name: String,
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

/// The chains every table has, those that others lead to first.
pub(super) fn chains(around: &Surroundings) -> Vec<Chain> {
    let chain = |name: &str, hook: Option<(&'static str, u32, i32)>, rules: Vec<Rule>| Chain {
        name: name.to_owned(),
        hook: hook.map(|(kind, number, priority)| Hook {
            kind,
            number,
            priority,
        }),
        rules,
    };
    let pods = around.interfaces.as_str();
    let loopback: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    vec![
        chain(
            "refuse",
            None,
            vec![Rule::new().tcp().reset(), Rule::new().unreachable()],
        ),
        chain("balance", None, balance(around)),
        // Pod interfaces route 127.0.0.0/8 so that node ports work from the host's loopback. Nothing
        // that arrives may use that.
        chain(
            "guard",
            Some(("filter", PREROUTING, -300)),
            vec![
                Rule::new()
                    .interface(Interface::In, pods, true)
                    .within(Address::Destination, loopback, true)
                    .drop(),
                Rule::new()
                    .interface(Interface::In, pods, true)
                    .within(Address::Source, loopback, true)
                    .drop(),
            ],
        ),
        chain(
            "arriving",
            Some(("nat", PREROUTING, -100)),
            vec![Rule::new().jump("balance")],
        ),
        chain(
            "sent",
            Some(("nat", OUTPUT, -100)),
            vec![Rule::new().jump("balance")],
        ),
        chain("forwarded", Some(("filter", FORWARD, 0)), unserved(around)),
        chain("leaving", Some(("filter", OUTPUT, 0)), unserved(around)),
        chain(
            "delivered",
            Some(("filter", INPUT, 0)),
            vec![
                // What listens on the gateway's address is for pods and this host.
                Rule::new()
                    .unknown_connection()
                    .within(
                        Address::Destination,
                        Ipv4Net::new_assert(around.gateway, 32),
                        true,
                    )
                    .not_loopback(Interface::In)
                    .interface(Interface::In, pods, false)
                    .drop(),
                // Services without backends.
                Rule::new()
                    .constant(Ipv4Addr::UNSPECIFIED, r(1))
                    .load_service(r(2))
                    .member("unserved", r(1))
                    .goto("refuse"),
                Rule::new()
                    .load(Address::Destination, r(1))
                    .load_service(r(2))
                    .member("unserved", r(1))
                    .goto("refuse"),
            ],
        ),
        chain("source", Some(("nat", POSTROUTING, 100)), source(around)),
    ]
}

/// Finds the backend of a new connection.
fn balance(around: &Surroundings) -> Vec<Rule> {
    let node = |rule: Rule| {
        rule.constant(Ipv4Addr::UNSPECIFIED, r(1))
            .load_service(r(2))
            .map("classes", r(1), r(6))
            .dispatch("node-dispatch", r(6))
    };
    let mut rules = vec![
        Rule::new()
            .load(Address::Destination, r(1))
            .load_service(r(2))
            .map("classes", r(1), r(6))
            .dispatch("dispatch", r(6)),
    ];
    if around.node_port_addresses.is_empty() {
        rules.push(node(Rule::new().local_destination()));
    }
    for net in &around.node_port_addresses {
        rules.push(node(Rule::new().local_destination().within(
            Address::Destination,
            *net,
            true,
        )));
    }
    rules.push(
        Rule::new()
            .local_destination()
            .load(Address::Destination, r(1))
            .load_service(r(2))
            .map("host-ports", r(1), r(9))
            .destination_nat(r(9), r(10)),
    );
    rules.push(
        Rule::new()
            .local_destination()
            .constant(Ipv4Addr::UNSPECIFIED, r(1))
            .load_service(r(2))
            .map("host-ports", r(1), r(9))
            .destination_nat(r(9), r(10)),
    );
    rules
}

/// Refuses what is still addressed to a service after redirection.
fn unserved(around: &Surroundings) -> Vec<Rule> {
    vec![
        Rule::new()
            .within(Address::Destination, around.service_cidr, true)
            .goto("refuse"),
        Rule::new()
            .load(Address::Destination, r(1))
            .load_service(r(2))
            .member("unserved", r(1))
            .goto("refuse"),
    ]
}

/// Rewrites sources where answers would not find their way back.
fn source(around: &Surroundings) -> Vec<Rule> {
    let pods = around.interfaces.as_str();
    let mut rules = vec![
        // A pod that reached itself through its service must not see its own address as the client's.
        Rule::new()
            .interface(Interface::Out, pods, true)
            .load(Address::Source, r(1))
            .load(Address::Destination, r(2))
            .member("hairpin", r(1))
            .source_nat(around.gateway),
        // The host's loopback means something else inside the pod.
        Rule::new()
            .interface(Interface::Out, pods, true)
            .within(
                Address::Source,
                Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
                true,
            )
            .source_nat(around.gateway),
    ];
    if around.masquerade {
        rules.push(
            Rule::new()
                .within(Address::Source, around.pod_cidr, true)
                .within(Address::Destination, around.cluster_cidr, false)
                .not_loopback(Interface::Out)
                .interface(Interface::Out, pods, false)
                .masquerade(),
        );
    }
    // A client from outside whose backend is elsewhere: the answer has to come back through here.
    rules.push(
        Rule::new()
            .redirected()
            .within(Address::Source, around.cluster_cidr, false)
            .within(Address::Destination, around.pod_cidr, false)
            .not_loopback(Interface::Out)
            .masquerade(),
    );
    rules
}

/// Adds a chain with its rules, or gives an existing one exactly these rules.
pub(super) fn write_chain(transaction: &mut Transaction, chain: &Chain, exists: bool) {
    transaction.add_chain(&chain.name, chain.hook);
    if exists {
        transaction.flush_chain(&chain.name);
    }
    for rule in &chain.rules {
        transaction.add_rule(&chain.name, rule);
    }
}
