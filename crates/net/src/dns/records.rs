//! The cluster's names, in memory, and what they answer. Pure; no sockets here.
//!
//! Follows the Kubernetes DNS specification, version 1.1.0.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use parking_lot::RwLock;

use super::{Endpoint, Error, Port, ServiceRecord};
use crate::balancer::Protocol;

/// Version of the specification that is followed.
const VERSION: &str = "1.1.0";

/// Writes records. Cheap to clone. A change costs what the changed service costs.
#[derive(Debug, Clone)]
pub struct Records {
    zone: Arc<RwLock<Zone>>,
}

impl Records {
    pub(super) fn new(domain: &str, ttl: Duration) -> Result<Self, Error> {
        Ok(Self {
            zone: Arc::new(RwLock::new(Zone::new(domain, ttl)?)),
        })
    }

    /// Makes this the record of the service.
    pub fn set_service(&self, namespace: &str, name: &str, record: ServiceRecord) {
        self.zone.write().set(namespace, name, record);
    }

    /// Removes the service's record.
    pub fn remove_service(&self, namespace: &str, name: &str) {
        self.zone.write().remove(namespace, name);
    }

    /// Makes these all the services there are, by namespace and name.
    pub fn sync(&self, services: BTreeMap<(String, String), ServiceRecord>) {
        let mut zone = self.zone.write();
        for (namespace, name) in zone.names() {
            if !services.contains_key(&(namespace.clone(), name.clone())) {
                zone.remove(&namespace, &name);
            }
        }
        for ((namespace, name), record) in services {
            zone.set(&namespace, &name, record);
        }
    }

    /// What the cluster says about a name; `None` when it is not the cluster's to answer.
    pub(super) fn answer(&self, name: &Name, kind: RecordType) -> Option<Answer> {
        self.zone.read().answer(name, kind)
    }
}

/// What a question is answered with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// Records for the answer section and for the additional section.
    Found {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// A CNAME to a name that has to be looked up in turn.
    Alias { record: Record, target: Name },
    /// The name exists, records of this type do not; with the zone's SOA.
    NoData(Record),
    /// There is no such name; with the zone's SOA.
    NoName(Record),
}

#[derive(Debug)]
struct Zone {
    domain: Name,
    /// Number of labels of the domain.
    depth: usize,
    ttl: u32,
    services: HashMap<String, HashMap<String, ServiceRecord>>,
    /// The names an address stands for.
    reverse: HashMap<Ipv4Addr, Vec<Owner>>,
    /// Counts changes: the zone's serial number.
    serial: u32,
}

/// A name that an address stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    namespace: String,
    service: String,
    host: Option<String>,
}

/// The first label of an endpoint's name.
fn host_label(endpoint: &Endpoint) -> String {
    endpoint
        .hostname
        .clone()
        .unwrap_or_else(|| dashed(endpoint.ip))
}

fn dashed(ip: Ipv4Addr) -> String {
    ip.to_string().replace('.', "-")
}

fn undashed(label: &str) -> Option<Ipv4Addr> {
    if label.contains('.') {
        None
    } else {
        label.replace('-', ".").parse().ok()
    }
}

fn protocol_label(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "_tcp",
        Protocol::Udp => "_udp",
        Protocol::Sctp => "_sctp",
    }
}

impl Zone {
    fn new(domain: &str, ttl: Duration) -> Result<Self, Error> {
        let refuse = || Error::Domain(domain.to_owned());
        let mut name = Name::from_ascii(domain)
            .map_err(|_| refuse())?
            .to_lowercase();
        name.set_fqdn(true);
        if name.is_root() {
            return Err(refuse());
        }
        Ok(Self {
            depth: name.iter().count(),
            domain: name,
            ttl: ttl.as_secs() as u32,
            services: HashMap::new(),
            reverse: HashMap::new(),
            serial: 1,
        })
    }

    fn names(&self) -> Vec<(String, String)> {
        let names = |(namespace, services): (&String, &HashMap<String, _>)| {
            let namespace = namespace.clone();
            services
                .keys()
                .map(move |name| (namespace.clone(), name.clone()))
                .collect::<Vec<_>>()
        };
        self.services.iter().flat_map(names).collect()
    }

    fn set(&mut self, namespace: &str, name: &str, record: ServiceRecord) {
        if self
            .services
            .get(namespace)
            .and_then(|services| services.get(name))
            == Some(&record)
        {
            return;
        }
        self.remove(namespace, name);
        let owner = |host| Owner {
            namespace: namespace.to_owned(),
            service: name.to_owned(),
            host,
        };
        match &record {
            ServiceRecord::ClusterIp { ip, .. } => {
                self.reverse.entry(*ip).or_default().push(owner(None));
            }
            ServiceRecord::Headless { endpoints } => {
                for endpoint in endpoints {
                    let host = Some(host_label(endpoint));
                    self.reverse
                        .entry(endpoint.ip)
                        .or_default()
                        .push(owner(host));
                }
            }
            ServiceRecord::ExternalName(_) => {}
        }
        self.services
            .entry(namespace.to_owned())
            .or_default()
            .insert(name.to_owned(), record);
        self.serial = self.serial.wrapping_add(1);
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        let Some(services) = self.services.get_mut(namespace) else {
            return;
        };
        let Some(record) = services.remove(name) else {
            return;
        };
        if services.is_empty() {
            self.services.remove(namespace);
        }
        let ips: Vec<_> = match &record {
            ServiceRecord::ClusterIp { ip, .. } => vec![*ip],
            ServiceRecord::Headless { endpoints } => {
                endpoints.iter().map(|endpoint| endpoint.ip).collect()
            }
            ServiceRecord::ExternalName(_) => Vec::new(),
        };
        for ip in ips {
            if let Some(owners) = self.reverse.get_mut(&ip) {
                owners.retain(|owner| owner.namespace != namespace || owner.service != name);
                if owners.is_empty() {
                    self.reverse.remove(&ip);
                }
            }
        }
        self.serial = self.serial.wrapping_add(1);
    }

    fn answer(&self, name: &Name, kind: RecordType) -> Option<Answer> {
        if !self.domain.zone_of(name) {
            return self.pointer(name, kind);
        }
        let labels: Vec<String> = name
            .iter()
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect();
        let labels: Vec<&str> = labels[..labels.len() - self.depth]
            .iter()
            .map(String::as_str)
            .collect();
        Some(self.forward(name, &labels, kind))
    }

    /// Answers a name below the domain, given by its labels in front of it.
    fn forward(&self, name: &Name, labels: &[&str], kind: RecordType) -> Answer {
        let a = |ips: &mut dyn Iterator<Item = Ipv4Addr>| {
            if kind == RecordType::A || kind == RecordType::ANY {
                let answers: Vec<_> = ips.map(|ip| self.record(name, RData::A(A(ip)))).collect();
                self.found(answers, Vec::new())
            } else {
                self.no_data()
            }
        };
        match labels {
            [] if kind == RecordType::SOA || kind == RecordType::ANY => {
                self.found(vec![self.soa()], Vec::new())
            }
            ["dns-version"] if kind == RecordType::TXT || kind == RecordType::ANY => self.found(
                vec![self.record(name, RData::TXT(TXT::new(vec![VERSION.to_owned()])))],
                Vec::new(),
            ),
            [] | ["svc" | "pod" | "dns-version"] => self.no_data(),
            [namespace, "svc" | "pod"] if self.services.contains_key(*namespace) => self.no_data(),
            [pod, _, "pod"] => match undashed(pod) {
                Some(ip) => a(&mut std::iter::once(ip)),
                None => self.no_name(),
            },
            [rest @ .., service, namespace, "svc"] => {
                let Some(record) = self.services.get(*namespace).and_then(|s| s.get(*service))
                else {
                    return self.no_name();
                };
                match (rest, record) {
                    ([], ServiceRecord::ExternalName(target)) => self.alias(name, target),
                    ([], _) if kind == RecordType::SRV => {
                        self.service_records(name, service, namespace, record, None)
                    }
                    ([], ServiceRecord::ClusterIp { ip, .. }) => a(&mut std::iter::once(*ip)),
                    ([], ServiceRecord::Headless { endpoints }) => {
                        let mut ips: Vec<_> =
                            endpoints.iter().map(|endpoint| endpoint.ip).collect();
                        ips.sort_unstable();
                        ips.dedup();
                        a(&mut ips.into_iter())
                    }
                    ([host], ServiceRecord::Headless { endpoints }) if !host.starts_with('_') => {
                        let mut ips = endpoints
                            .iter()
                            .filter(|e| host_label(e).eq_ignore_ascii_case(host))
                            .map(|e| e.ip)
                            .peekable();
                        if ips.peek().is_none() {
                            self.no_name()
                        } else {
                            a(&mut ips)
                        }
                    }
                    ([protocol], _)
                        if ports(record).any(|p| protocol_label(p.protocol) == *protocol) =>
                    {
                        self.no_data()
                    }
                    ([port, protocol], _) if port.starts_with('_') => {
                        let wanted = Some((&port[1..], *protocol));
                        let known = ports(record).any(|p| matches(p, wanted));
                        match (known, kind) {
                            (false, _) => self.no_name(),
                            (true, RecordType::SRV | RecordType::ANY) => {
                                self.service_records(name, service, namespace, record, wanted)
                            }
                            (true, _) => self.no_data(),
                        }
                    }
                    _ => self.no_name(),
                }
            }
            _ => self.no_name(),
        }
    }

    /// SRV records of a service, with the addresses of their targets beside them.
    fn service_records(
        &self,
        name: &Name,
        service: &str,
        namespace: &str,
        record: &ServiceRecord,
        wanted: Option<(&str, &str)>,
    ) -> Answer {
        let mut targets: Vec<(Name, Ipv4Addr, Vec<u16>)> = Vec::new();
        let chosen = |ports: &[Port]| -> Vec<u16> {
            let fits = |p: &&Port| p.name.is_some() && (wanted.is_none() || matches(p, wanted));
            ports.iter().filter(fits).map(|p| p.port).collect()
        };
        match record {
            ServiceRecord::ClusterIp { ip, ports } => {
                targets.extend(
                    self.name_of(&[service, namespace, "svc"])
                        .map(|target| (target, *ip, chosen(ports))),
                );
            }
            ServiceRecord::Headless { endpoints } => {
                for endpoint in endpoints {
                    let host = host_label(endpoint);
                    let target = self.name_of(&[&host, service, namespace, "svc"]);
                    targets.extend(
                        target.map(|target| (target, endpoint.ip, chosen(&endpoint.ports))),
                    );
                }
            }
            ServiceRecord::ExternalName(_) => {}
        }
        targets.retain(|(_, _, ports)| !ports.is_empty());
        // Shares of the weight, as all targets are alike.
        let count: usize = targets.iter().map(|(_, _, ports)| ports.len()).sum();
        let weight = (100 / count.max(1)).max(1) as u16;
        let mut answers = Vec::with_capacity(count);
        let mut additionals = Vec::with_capacity(targets.len());
        for (target, ip, ports) in targets {
            for port in ports {
                answers
                    .push(self.record(name, RData::SRV(SRV::new(0, weight, port, target.clone()))));
            }
            additionals.push(self.record(&target, RData::A(A(ip))));
        }
        self.found(answers, additionals)
    }

    fn alias(&self, name: &Name, target: &str) -> Answer {
        let Ok(mut target) = Name::from_ascii(target) else {
            return self.no_data();
        };
        target.set_fqdn(true);
        Answer::Alias {
            record: self.record(name, RData::CNAME(CNAME(target.clone()))),
            target,
        }
    }

    /// Answers for addresses that services and their pods have.
    fn pointer(&self, name: &Name, kind: RecordType) -> Option<Answer> {
        let labels: Vec<String> = name
            .iter()
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect();
        let [d, c, b, a, "in-addr", "arpa"] =
            labels.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let ip: Ipv4Addr = format!("{a}.{b}.{c}.{d}").parse().ok()?;
        let owners = self.reverse.get(&ip)?;
        if kind != RecordType::PTR && kind != RecordType::ANY {
            return Some(self.no_data());
        }
        let target = |owner: &Owner| match &owner.host {
            Some(host) => self.name_of(&[host, &owner.service, &owner.namespace, "svc"]),
            None => self.name_of(&[&owner.service, &owner.namespace, "svc"]),
        };
        let targets = owners.iter().filter_map(target);
        Some(
            self.found(
                targets
                    .map(|target| self.record(name, RData::PTR(PTR(target))))
                    .collect(),
                Vec::new(),
            ),
        )
    }

    /// The full name of labels below the domain; `None` when it is too long for DNS.
    fn name_of(&self, labels: &[&str]) -> Option<Name> {
        let mut name = Name::new();
        for label in labels {
            name = name.append_label(label.as_bytes()).ok()?;
        }
        name.append_name(&self.domain).ok()
    }

    fn record(&self, name: &Name, data: RData) -> Record {
        Record::from_rdata(name.clone(), self.ttl, data)
    }

    fn found(&self, answers: Vec<Record>, additionals: Vec<Record>) -> Answer {
        if answers.is_empty() {
            self.no_data()
        } else {
            Answer::Found {
                answers,
                additionals,
            }
        }
    }

    fn no_data(&self) -> Answer {
        Answer::NoData(self.soa())
    }

    fn no_name(&self) -> Answer {
        Answer::NoName(self.soa())
    }

    /// The zone's SOA: its last number is for how long an absence may be remembered (RFC 2308).
    fn soa(&self) -> Record {
        let below = |label: &str| {
            self.name_of(&[label, "dns"])
                .unwrap_or_else(|| self.domain.clone())
        };
        let soa = SOA::new(
            below("ns"),
            below("hostmaster"),
            self.serial,
            7200,
            1800,
            86400,
            self.ttl,
        );
        self.record(&self.domain, RData::SOA(soa))
    }
}

fn ports(record: &ServiceRecord) -> Box<dyn Iterator<Item = &Port> + '_> {
    match record {
        ServiceRecord::ClusterIp { ports, .. } => Box::new(ports.iter()),
        ServiceRecord::Headless { endpoints } => {
            Box::new(endpoints.iter().flat_map(|endpoint| &endpoint.ports))
        }
        ServiceRecord::ExternalName(_) => Box::new(std::iter::empty()),
    }
}

/// Whether a port is the wanted one, given by its name and `_protocol`.
fn matches(port: &Port, wanted: Option<(&str, &str)>) -> bool {
    wanted.is_some_and(|(name, protocol)| {
        port.name
            .as_deref()
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
            && protocol_label(port.protocol) == protocol
    })
}
