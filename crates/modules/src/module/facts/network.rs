//! The interfaces and their addresses.

use std::net::{IpAddr, Ipv4Addr};

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::netlink::{self, Address, Route};
use super::{Facts, Gathering};
use crate::python;

/// Where the way of a default is looked for.
const FAR_V4: &str = "8.8.8.8";
const FAR_V6: &str = "2404:6800:400a:800::1012";

/// The table of addresses that are this machine's own, and the kind of their ways.
const LOCAL_TABLE: u32 = 255;
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;

type Interfaces = IndexMap<String, Map<String, Value>>;

/// Where the kernel lists the interfaces.
const CLASS: &str = "/sys/class/net";

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    // Without the program Ansible asks, it tells nothing, and roles know that.
    if gathering.program("ip").is_none() {
        return Facts::new();
    }
    let mut found = Found {
        defaults: [default_of(gathering, FAR_V4), default_of(gathering, FAR_V6)],
        interfaces: Interfaces::new(),
        all: [Vec::new(), Vec::new()],
    };
    let addresses = if gathering.live {
        netlink::addresses().unwrap_or_default()
    } else {
        Vec::new()
    };
    let ethtool = gathering.program("ethtool");
    for device in gathering.names(CLASS).unwrap_or_default() {
        let path = format!("{CLASS}/{device}");
        if !gathering.is_directory(&path) {
            continue;
        }
        let mac = gathering
            .content(&format!("{path}/address"))
            .unwrap_or_default();
        let told = attributes(gathering, &path, &device, &mac);
        found.interfaces.insert(device.clone(), told);
        let number = interface_number(gathering, &device);
        let own = addresses
            .iter()
            .filter(|address| Some(address.interface) == number);
        for address in own.clone().filter(|address| !address.secondary) {
            found.add(&device, &mac, address, false);
        }
        for address in own.filter(|address| address.secondary) {
            found.add(&device, &mac, address, true);
        }
        if let Some(program) = &ethtool {
            let features = features(gathering, program, &device);
            found.of(&device).extend(features);
        }
    }
    found.into_facts(reachable(gathering))
}

fn interface_number(gathering: &Gathering<'_, '_>, device: &str) -> Option<u32> {
    if !gathering.live {
        return None;
    }
    nix::net::if_::if_nametoindex(device).ok()
}

struct Found {
    /// Of IPv4 and of IPv6.
    defaults: [Map<String, Value>; 2],
    interfaces: Interfaces,
    all: [Vec<String>; 2],
}

impl Found {
    fn of(&mut self, device: &str) -> &mut Map<String, Value> {
        self.interfaces.entry(device.to_owned()).or_default()
    }

    fn add(&mut self, device: &str, mac: &str, address: &Address, secondary: bool) {
        match address.local {
            IpAddr::V4(local) => self.add_v4(device, mac, address, local, secondary),
            IpAddr::V6(_) => self.add_v6(device, mac, address),
        }
    }

    fn add_v4(
        &mut self,
        device: &str,
        mac: &str,
        address: &Address,
        local: Ipv4Addr,
        secondary: bool,
    ) {
        // An address with another on the other side stands for itself alone.
        let prefix = if address.peer.is_some() {
            32
        } else {
            address.prefix
        };
        let mask = u32::MAX
            .checked_shl(32 - u32::from(prefix.min(32)))
            .unwrap_or(0);
        // The broadcast address is only seen where it follows the address.
        let broadcast = match address.broadcast {
            Some(broadcast) if address.peer.is_none() && !address.has_metric => {
                broadcast.to_string()
            }
            _ => String::new(),
        };
        let text = local.to_string();
        let netmask = Ipv4Addr::from(mask).to_string();
        let network = Ipv4Addr::from(u32::from(local) & mask).to_string();
        let told = json!({
            "address": text,
            "broadcast": broadcast,
            "netmask": netmask,
            "network": network,
            "prefix": prefix.to_string(),
        });
        let label = address.label.as_deref().unwrap_or(device);
        if label != device {
            self.interfaces.insert(label.to_owned(), Map::new());
        }
        let named = self.of(label);
        if !secondary && !named.contains_key("ipv4") {
            named.insert("ipv4".to_owned(), told.clone());
        } else {
            push(named, "ipv4_secondaries", told.clone());
        }
        if secondary && device != label {
            push(self.of(device), "ipv4_secondaries", told);
        }
        let (mtu, kind) = self.mtu_and_kind(device);
        let default = &mut self.defaults[0];
        if default.get("address").and_then(Value::as_str) == Some(&text) {
            for (key, value) in [
                ("broadcast", json!(broadcast)),
                ("netmask", json!(netmask)),
                ("network", json!(network)),
                ("prefix", json!(prefix.to_string())),
                ("macaddress", json!(mac)),
                ("mtu", mtu),
                ("type", kind),
                ("alias", json!(label)),
            ] {
                default.insert(key.to_owned(), value);
            }
        }
        if !text.starts_with("127.") {
            self.all[0].push(text);
        }
    }

    fn add_v6(&mut self, device: &str, mac: &str, address: &Address) {
        let text = address.local.to_string();
        let prefix = address.prefix.to_string();
        push(
            self.of(device),
            "ipv6",
            json!({"address": text, "prefix": prefix, "scope": address.scope}),
        );
        let (mtu, kind) = self.mtu_and_kind(device);
        let default = &mut self.defaults[1];
        if default.get("address").and_then(Value::as_str) == Some(&text) {
            for (key, value) in [
                ("prefix", json!(prefix)),
                ("scope", json!(address.scope)),
                ("macaddress", json!(mac)),
                ("mtu", mtu),
                ("type", kind),
            ] {
                default.insert(key.to_owned(), value);
            }
        }
        if text != "::1" {
            self.all[1].push(text);
        }
    }

    fn mtu_and_kind(&self, device: &str) -> (Value, Value) {
        let told = |key: &str| self.interfaces.get(device).and_then(|told| told.get(key));
        (
            told("mtu").cloned().unwrap_or_default(),
            told("type").cloned().unwrap_or_else(|| json!("unknown")),
        )
    }

    fn into_facts(self, reachable: Value) -> Facts {
        let mut facts = Facts::new();
        let interfaces: Vec<(String, Map<String, Value>)> = self
            .interfaces
            .into_iter()
            .map(|(name, told)| (name.replace(':', "_"), told))
            .collect();
        let names: Vec<&str> = interfaces.iter().map(|(name, _)| name.as_str()).collect();
        facts.insert("interfaces".to_owned(), json!(names));
        for (name, told) in interfaces {
            facts.insert(name, told.into());
        }
        let [v4, v6] = self.defaults;
        facts.insert("default_ipv4".to_owned(), v4.into());
        facts.insert("default_ipv6".to_owned(), v6.into());
        let [v4, v6] = self.all;
        facts.insert("all_ipv4_addresses".to_owned(), json!(v4));
        facts.insert("all_ipv6_addresses".to_owned(), json!(v6));
        facts.insert("locally_reachable_ips".to_owned(), reachable);
        facts
    }
}

fn push(told: &mut Map<String, Value>, key: &str, value: Value) {
    if let Value::Array(items) = told.entry(key).or_insert_with(|| json!([])) {
        items.push(value);
    }
}

/// The way to somewhere far: by which interface, from which address, over which gateway.
fn default_of(gathering: &Gathering<'_, '_>, far: &str) -> Map<String, Value> {
    let mut told = Map::new();
    let way = gathering
        .live
        .then(|| far.parse().ok())
        .flatten()
        .and_then(|far| netlink::route_to(far).ok().flatten())
        .filter(|way| way.kind == UNICAST);
    let Some(way) = way else {
        return told;
    };
    if let Some(gateway) = way.gateway {
        told.insert("gateway".to_owned(), json!(gateway.to_string()));
    }
    if let Some(name) = way.interface.and_then(interface_name) {
        told.insert("interface".to_owned(), json!(name));
    }
    if let Some(source) = way.source {
        told.insert("address".to_owned(), json!(source.to_string()));
    }
    told
}

fn interface_name(number: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(number).ok()?;
    Some(name.to_string_lossy().into_owned())
}

/// The networks and addresses that are this machine's own.
fn reachable(gathering: &Gathering<'_, '_>) -> Value {
    let of = |v6: bool| {
        let mut told: Vec<String> = Vec::new();
        let routes = if gathering.live {
            netlink::routes(v6).unwrap_or_default()
        } else {
            Vec::new()
        };
        for route in routes
            .iter()
            .filter(|route| route.table == LOCAL_TABLE && route.kind == LOCAL && !route.cloned)
        {
            let text = destination(route);
            if !told.contains(&text) {
                told.push(text);
            }
        }
        told
    };
    json!({"ipv4": of(false), "ipv6": of(true)})
}

fn destination(route: &Route) -> String {
    match route.destination {
        None => "default".to_owned(),
        Some(to) if route.prefix == if to.is_ipv6() { 128 } else { 32 } => to.to_string(),
        Some(to) => format!("{to}/{}", route.prefix),
    }
}

/// What the kernel's files tell of an interface.
fn attributes(
    gathering: &Gathering<'_, '_>,
    path: &str,
    device: &str,
    mac: &str,
) -> Map<String, Value> {
    let read = |file: &str| gathering.content(&format!("{path}/{file}"));
    let there = |file: &str| gathering.exists(&format!("{path}/{file}"));
    let mut told = Map::new();
    let mut set = |key: &str, value: Value| told.insert(key.to_owned(), value);
    set("device", json!(device));
    if !mac.is_empty() && mac != "00:00:00:00:00:00" {
        set("macaddress", json!(mac));
    }
    let number = |text: Option<String>| text.and_then(|text| text.parse::<i64>().ok());
    if let Some(mtu) = number(read("mtu")) {
        set("mtu", json!(mtu));
    }
    if there("operstate") {
        set(
            "active",
            json!(read("operstate").as_deref() != Some("down")),
        );
    }
    if there("device/driver/module") {
        let module = gathering.real(&format!("{path}/device/driver/module"));
        set("module", json!(python::basename(&module)));
    }
    if there("type") {
        let kind = match read("type").as_deref() {
            Some("1") => "ether",
            Some("32") => "infiniband",
            Some("512") => "ppp",
            Some("772") => "loopback",
            Some("65534") => "tunnel",
            _ => "unknown",
        };
        set("type", json!(kind));
    }
    if there("bridge") {
        set("type", json!("bridge"));
        let ports = gathering.names(&format!("{path}/brif")).unwrap_or_default();
        set("interfaces", json!(ports));
        if there("bridge/bridge_id") {
            set("id", json!(read("bridge/bridge_id").unwrap_or_default()));
        }
        if there("bridge/stp_state") {
            set(
                "stp",
                json!(read("bridge/stp_state").as_deref() == Some("1")),
            );
        }
    }
    if there("bonding") {
        set("type", json!("bonding"));
        let words = |file: &str| -> Vec<String> {
            read(&format!("bonding/{file}"))
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect()
        };
        set("slaves", json!(words("slaves")));
        for file in ["mode", "miimon", "lacp_rate"] {
            set(
                file,
                json!(words(file).into_iter().next().unwrap_or_default()),
            );
        }
        if let Some(primary) = read("bonding/primary") {
            set("primary", json!(primary));
            if there("bonding/all_slaves_active") {
                let all = read("bonding/all_slaves_active").as_deref() == Some("1");
                set("all_slaves_active", json!(all));
            }
        }
    }
    if there("bonding_slave") {
        let own = read("bonding_slave/perm_hwaddr").unwrap_or_default();
        set("perm_macaddress", json!(own));
    }
    if there("device")
        && let Ok(target) = gathering.link(&format!("{path}/device"))
    {
        set("pciid", json!(python::basename(&target)));
    }
    if let Some(speed) = number(read("speed")) {
        set("speed", json!(speed));
    }
    if let Some(flags) = read("flags") {
        let flags = u64::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
        set("promisc", json!(flags & 0x100 != 0));
    }
    told
}

/// What `ethtool` tells of an interface.
fn features(gathering: &Gathering<'_, '_>, program: &str, device: &str) -> Map<String, Value> {
    let mut told = Map::new();
    if let Some(said) = gathering.output(&[program, "-k", device]) {
        let features: Map<String, Value> = said
            .trim()
            .lines()
            .filter(|line| !line.ends_with(':'))
            .filter_map(|line| line.split_once(": "))
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.trim().replace('-', "_"), json!(value.trim())))
            .collect();
        told.insert("features".to_owned(), features.into());
    }
    if let Some(said) = gathering.output(&[program, "-T", device]) {
        let words = |prefix: &str| -> Vec<String> {
            said.match_indices(prefix)
                .map(|(at, _)| {
                    said[at + prefix.len()..]
                        .chars()
                        .take_while(|c| c.is_alphanumeric() || *c == '_')
                        .collect::<String>()
                        .to_lowercase()
                })
                .filter(|word| !word.is_empty())
                .collect()
        };
        told.insert("timestamping".to_owned(), json!(words("SOF_TIMESTAMPING_")));
        told.insert(
            "hw_timestamp_filters".to_owned(),
            json!(words("HWTSTAMP_FILTER_")),
        );
        if let Some(number) = words("PTP Hardware Clock: ")
            .first()
            .and_then(|word| word.parse::<i64>().ok())
        {
            told.insert("phc_index".to_owned(), json!(number));
        }
    }
    told
}
