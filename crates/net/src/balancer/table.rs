//! The fixed part of the table: sets, chains and rules.
//!
//! A new connection to `vip . protocol . port` finds its chain in `services`. There is one chain for
//! each number of backends in use: it draws a slot below that number and finds the backend under
//! `vip . protocol . port . slot` in `backends`. So one more backend is one more slot and one other
//! chain, everything else stays as it is, and the choice is exactly even. Services with session
//! affinity have a chain of their own, with rules for each backend.
//!
//! Node ports are services of the address 0.0.0.0 that are looked up for local destinations.
//!
//! No rule uses what a map gave as a part of a key: nft (up to 1.0.6 at least) fails an assertion when
//! it reads such a rule, and with it every `nft list ruleset` on the machine would.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

use super::elements::Door;
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

impl Surroundings {
    /// How the names of this instance's networks of machines begin (see [`crate::bridge`]).
    fn networks(&self) -> String {
        format!("{}n", self.interfaces.trim_end_matches('_'))
    }
}

/// The sets that are written here; packets write [`AFFINITY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SetId {
    Services,
    Unserved,
    Backends,
    Hairpin,
    HostPorts,
}

/// How many clients are remembered at most; further ones are served without being remembered.
const AFFINE_CLIENTS: u32 = 1 << 18;

pub(super) const SETS: [(SetId, Set); 5] = [
    // vip . protocol . port -> chain
    (
        SetId::Services,
        Set {
            data: Some((VERDICT, 0)),
            ..plain("services", &[IPADDR, PROTO, PORT], None)
        },
    ),
    // vip . protocol . port, of services without backends
    (
        SetId::Unserved,
        plain("unserved", &[IPADDR, PROTO, PORT], None),
    ),
    // vip . protocol . port . slot -> address . port
    (
        SetId::Backends,
        plain(
            "backends",
            &[IPADDR, PROTO, PORT, MARK],
            Some((&[IPADDR, PORT], 8)),
        ),
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
];

/// client . vip . port . backend address . backend port: who stays where.
pub(super) const AFFINITY: Set = Set {
    flags: TIMEOUT | EVAL,
    size: AFFINE_CLIENTS,
    ..plain("affinity", &[IPADDR, IPADDR, PORT, IPADDR, PORT], None)
};

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

pub(super) fn set_name(id: SetId) -> &'static str {
    SETS.iter()
        .find(|(candidate, _)| *candidate == id)
        .map_or("", |(_, set)| set.name)
}

/// How connections to a service are spread: what its chain does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spread {
    /// Evenly over this many slots. Shared by all services with that many.
    Even { slots: usize, node: bool },
    /// A client stays with its backend for this many seconds after its last new connection.
    Sticky {
        service: Door,
        seconds: u32,
        backends: Vec<SocketAddrV4>,
    },
    /// Left by an earlier run, and to be left alone until its service is known.
    Found,
}

impl Spread {
    pub(super) fn rules(&self) -> Vec<Rule> {
        match self {
            Self::Even { slots, node } => vec![even(*slots as u32, *node)],
            Self::Sticky {
                service,
                seconds,
                backends,
            } => sticky(*service, *seconds, backends),
            Self::Found => Vec::new(),
        }
    }
}

/// Name of the chain that spreads evenly.
pub(super) fn even_chain(slots: usize, node: bool) -> String {
    format!("{}pick-{slots}", if node { "node-" } else { "" })
}

/// Name of the chain of a service with session affinity.
pub(super) fn sticky_chain(service: Door) -> String {
    let protocol = service.protocol.to_string().to_lowercase();
    format!("sticky-{}-{protocol}-{}", service.ip, service.port)
}

fn even(slots: u32, node: bool) -> Rule {
    let rule = if node {
        Rule::new().constant(Ipv4Addr::UNSPECIFIED, r(1))
    } else {
        Rule::new().load(Address::Destination, r(1))
    };
    rule.load_service(r(2))
        .random(slots, r(4))
        .map("backends", r(1), r(9))
        .destination_nat(r(9), r(10))
}

/// First a rule for each backend that looks whether the client stays there; then one for each that
/// takes its share of new clients.
fn sticky(service: Door, seconds: u32, backends: &[SocketAddrV4]) -> Vec<Rule> {
    let key = |rule: Rule, backend: &SocketAddrV4| {
        rule.load(Address::Source, r(1))
            .constant(service.ip, r(2))
            .constant_port(service.port, r(3))
            .constant(*backend.ip(), r(4))
            .constant_port(backend.port(), r(5))
    };
    let stay = backends.iter().map(|backend| {
        key(Rule::new(), backend)
            .member(AFFINITY.name, r(1))
            .remember(AFFINITY.name, r(1), seconds)
            .destination_nat(r(4), r(5))
    });
    let total = backends.len();
    let fresh = backends.iter().enumerate().flat_map(|(place, backend)| {
        let share = Rule::new().one_in((total - place) as u32);
        [key(share, backend)
            .remember(AFFINITY.name, r(1), seconds)
            .destination_nat(r(4), r(5))]
    });
    // Remembering fails when the set is full; then clients are spread without it.
    let rest = backends.iter().enumerate().map(|(place, backend)| {
        key(Rule::new().one_in((total - place) as u32), backend).destination_nat(r(4), r(5))
    });
    stay.chain(fresh).chain(rest).collect()
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
                // What listens on the gateway's address is for this host, its pods and its machines.
                Rule::new()
                    .unknown_connection()
                    .within(
                        Address::Destination,
                        Ipv4Net::new_assert(around.gateway, 32),
                        true,
                    )
                    .not_loopback(Interface::In)
                    .interface(Interface::In, pods, false)
                    .interface(Interface::In, &around.networks(), false)
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
            .dispatch("services", r(1))
    };
    let mut rules = vec![
        Rule::new()
            .load(Address::Destination, r(1))
            .load_service(r(2))
            .dispatch("services", r(1)),
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
