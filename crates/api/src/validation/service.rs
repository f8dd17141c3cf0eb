//! Checks of services.

use super::{Errors, Path, canonical_ip, labels, load_balancer, probe};
use crate::values::{at, int, items, members, text};
use consort_object::names;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const FAMILY_POLICIES: &[&str] = &["SingleStack", "PreferDualStack", "RequireDualStack"];
const TRAFFIC: &[&str] = &["Cluster", "Local"];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameNode", "PreferSameZone"];
const OLD_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const LONGEST_AFFINITY: i64 = 86400;

/// The port of the agents on nodes: a load balancer in front of it would let everybody in.
const AGENT_PORT: i64 = 10250;

/// Check a service.
pub(crate) fn service(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let whole = here;
    let here = here.field("spec");
    let spec = &object["spec"];
    let kind = text(spec, &["type"]);
    let headless = text(spec, &["clusterIP"]) == "None";
    if items(spec, &["ports"]).is_empty() && !headless && kind != "ExternalName" {
        errors.required(&here.field("ports"), "");
    }
    match kind {
        "LoadBalancer" => {
            let list = here.field("ports");
            for (index, port) in items(spec, &["ports"]).iter().enumerate() {
                if int(port, &["port"]) == AGENT_PORT {
                    errors.invalid(
                        &list.index(index),
                        AGENT_PORT,
                        format!(
                            "may not expose port {AGENT_PORT} externally since it is used by kubelet"
                        ),
                    );
                }
            }
            not_headless(headless, kind, &here, errors);
        }
        "NodePort" => not_headless(headless, kind, &here, errors),
        "ExternalName" => external_name(spec, &here, errors),
        _ => {}
    }
    ports(spec, kind, &here, errors);
    if let Some(selector) = at(spec, &["selector"]) {
        labels(selector, &here.field("selector"), errors);
    }
    affinity(spec, &here, errors);
    addresses(spec, kind, &here, errors);
    let list = here.field("externalIPs");
    for (index, ip) in items(spec, &["externalIPs"]).iter().enumerate() {
        errors.ordinary_ip(&list.index(index), ip.as_str().unwrap_or_default());
    }
    errors.one_of(&here.field("type"), kind, TYPES);
    balancer_only(object, kind, whole, errors);
    policies(spec, kind, &here, errors);
    if errors.is_empty() && kind != "ExternalName" {
        families(spec, &here, errors);
    }
}

/// Check that the network has the address families a service asks for: it has IPv4. Upstream does so when
/// it allocates addresses, after all other checks.
fn families(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let policy = text(spec, &["ipFamilyPolicy"]);
    let families = items(spec, &["ipFamilies"]);
    let addresses = items(spec, &["clusterIPs"]);
    let place = here.field("ipFamilyPolicy");
    if policy == "SingleStack" {
        for (list, what) in [(addresses, "clusterIPs"), (families, "ipFamilies")] {
            if list.len() > 1 {
                errors.invalid(
                    &place,
                    policy,
                    format!("must be RequireDualStack or PreferDualStack when multiple {what} are specified"),
                );
            }
        }
    }
    for (index, ip) in addresses.iter().enumerate().skip(families.len()) {
        if ip.as_str().is_some_and(|ip| ip.contains(':')) {
            errors.invalid(
                &here.field("clusterIPs").index(index),
                addresses.to_vec(),
                "IPv6 is not configured on this cluster",
            );
        }
    }
    let headless = text(spec, &["clusterIP"]) == "None";
    let free = headless && members(spec, &["selector"]).next().is_none();
    if free || !errors.is_empty() {
        return;
    }
    if policy == "RequireDualStack" {
        errors.invalid(
            &place,
            policy,
            "this cluster is not configured for dual-stack services",
        );
    }
    for (index, family) in families.iter().enumerate() {
        if family == "IPv6" {
            errors.invalid(
                &here.field("ipFamilies").index(index),
                "IPv6",
                "not configured on this cluster",
            );
        }
    }
}

fn not_headless(headless: bool, kind: &str, here: &Path<'_>, errors: &mut Errors) {
    if headless {
        errors.invalid(
            &here.field("clusterIPs").index(0),
            "None",
            format!("may not be set to 'None' for {kind} services"),
        );
    }
}

fn external_name(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let unset = "may not be set for ExternalName services";
    let given = !text(spec, &["clusterIP"]).is_empty() || !items(spec, &["clusterIPs"]).is_empty();
    if given {
        errors.forbidden(&here.field("clusterIPs"), unset);
    }
    if !items(spec, &["ipFamilies"]).is_empty() {
        errors.forbidden(&here.field("ipFamilies"), unset);
    }
    if at(spec, &["ipFamilyPolicy"]).is_some() {
        errors.forbidden(&here.field("ipFamilyPolicy"), unset);
    }
    let name = text(spec, &["externalName"]);
    errors.named(
        &here.field("externalName"),
        name.strip_suffix('.').unwrap_or(name),
        names::dns1123_subdomain,
    );
}

fn ports(spec: &Value, kind: &str, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("ports");
    let all = items(spec, &["ports"]);
    let mut seen_names = HashSet::new();
    for (index, port) in all.iter().enumerate() {
        let here = list.index(index);
        let name = text(port, &["name"]);
        if !name.is_empty() {
            errors.check(&here.field("name"), name, names::dns1123_label(name));
            if !seen_names.insert(name) {
                errors.duplicate(&here.field("name"), name);
            }
        } else if all.len() > 1 {
            errors.required(&here.field("name"), "");
        }
        errors.port(&here.field("port"), int(port, &["port"]));
        errors.one_of(
            &here.field("protocol"),
            text(port, &["protocol"]),
            PROTOCOLS,
        );
        if let Some(target) = at(port, &["targetPort"]) {
            probe::port(Some(target), &here.field("targetPort"), errors);
        }
        errors.optional(
            &here.field("appProtocol"),
            text(port, &["appProtocol"]),
            names::qualified_name,
        );
    }
    let mut seen_ports = HashSet::new();
    let mut seen_nodes = HashSet::new();
    for (index, port) in all.iter().enumerate() {
        let here = list.index(index);
        let (protocol, number) = (text(port, &["protocol"]), int(port, &["port"]));
        let node = int(port, &["nodePort"]);
        if node != 0 {
            if kind == "ClusterIP" || kind == "ExternalName" {
                errors.forbidden(
                    &here.field("nodePort"),
                    format!("may not be used when `type` is '{kind}'"),
                );
            } else if !seen_nodes.insert((protocol, node)) {
                errors.duplicate(&here.field("nodePort"), node);
            }
        }
        if !seen_ports.insert((protocol, number)) {
            errors.duplicate(&here, json!({"protocol": protocol, "port": number}));
        }
    }
}

fn affinity(spec: &Value, here: &Path<'_>, errors: &mut Errors) {
    let affinity = text(spec, &["sessionAffinity"]);
    errors.one_of(
        &here.field("sessionAffinity"),
        affinity,
        &["ClientIP", "None"],
    );
    let place = here.field("sessionAffinityConfig");
    let config = at(spec, &["sessionAffinityConfig"]);
    if affinity == "None" {
        if config.is_some() {
            errors.forbidden(&place, "must not be set when session affinity is None");
        }
        return;
    }
    if affinity != "ClientIP" {
        return;
    }
    let place = place.field("clientIP");
    let place = place.field("timeoutSeconds");
    match config.and_then(|config| at(config, &["clientIP", "timeoutSeconds"])) {
        None => errors.required(&place, "when session affinity type is ClientIP"),
        Some(seconds) => {
            let seconds = seconds.as_i64().unwrap_or_default();
            if !(1..=LONGEST_AFFINITY).contains(&seconds) {
                errors.invalid(
                    &place,
                    seconds,
                    format!("must be greater than 0 and less than {LONGEST_AFFINITY}"),
                );
            }
        }
    }
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Check the cluster addresses and their families.
fn addresses(spec: &Value, kind: &str, here: &Path<'_>, errors: &mut Errors) {
    if kind == "ExternalName" {
        return;
    }
    let list = here.field("ipFamilies");
    let mut seen = HashSet::new();
    let families = items(spec, &["ipFamilies"]);
    for (index, family) in families.iter().enumerate() {
        let family = family.as_str().unwrap_or_default();
        errors.supported(&list.index(index), family, FAMILIES);
        if !seen.insert(family) {
            errors.duplicate(&list.index(index), family);
        }
    }
    if families.len() > 2 {
        errors.invalid(&list, families.to_vec(), "may only hold up to 2 values");
    }
    let policy = text(spec, &["ipFamilyPolicy"]);
    if !policy.is_empty() {
        errors.supported(&here.field("ipFamilyPolicy"), policy, FAMILY_POLICIES);
    }
    let list = here.field("clusterIPs");
    let listed = items(spec, &["clusterIPs"]);
    let single = text(spec, &["clusterIP"]);
    if !single.is_empty() && listed.first().and_then(Value::as_str) != Some(single) {
        errors.invalid(&list, listed.to_vec(), "first value must match `clusterIP`");
    }
    if listed.len() > 2 {
        errors.invalid(&list, listed.to_vec(), "may only hold up to 2 values");
    }
    let mut ips = Vec::new();
    for (index, address) in listed.iter().enumerate() {
        let address = address.as_str().unwrap_or_default();
        let place = list.index(index);
        if address == "None" {
            if listed.len() > 1 {
                errors.invalid(
                    &list,
                    listed.to_vec(),
                    "'None' must be the first and only value",
                );
            }
            continue;
        }
        let Ok(ip) = address.parse::<IpAddr>() else {
            errors.invalid(
                &place,
                address,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
            continue;
        };
        if let Some(wanted) = families.get(index).and_then(Value::as_str)
            && wanted != family(ip)
        {
            errors.invalid(
                &place,
                address,
                format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`"),
            );
        }
        ips.push(ip);
    }
    if ips.len() == 2 && ips[0].is_ipv4() == ips[1].is_ipv4() {
        errors.invalid(
            &list,
            listed.to_vec(),
            "may specify no more than one IP for each IP family",
        );
    }
}

/// What only load balancers have.
fn balancer_only(object: &Value, kind: &str, whole: &Path<'_>, errors: &mut Errors) {
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    let here = whole.field("spec");
    let spec = &object["spec"];
    let balancer = kind == "LoadBalancer";
    let form = "must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24";
    let list = here.field("loadBalancerSourceRanges");
    let ranges = items(spec, &["loadBalancerSourceRanges"]);
    let old = at(object, &["metadata", "annotations", OLD_RANGES]).and_then(Value::as_str);
    if !ranges.is_empty() {
        if !balancer {
            errors.forbidden(&list, ONLY);
        }
        for (index, range) in ranges.iter().enumerate() {
            let range = range.as_str().unwrap_or_default().trim();
            if range.parse::<IpNet>().is_err() {
                errors.check(&list.index(index), range, super::cidr(range));
            }
        }
    } else if let Some(old) = old.filter(|old| !old.trim().is_empty()) {
        let place = whole.field("metadata");
        let place = place.field("annotations");
        let place = place.key(OLD_RANGES);
        if !balancer {
            errors.forbidden(&place, ONLY);
        }
        if old
            .split(',')
            .any(|range| range.trim().parse::<IpNet>().is_err())
        {
            errors.invalid(&place, old, form);
        }
    }
    let field = "allocateLoadBalancerNodePorts";
    match at(spec, &[field]) {
        Some(_) if !balancer => errors.forbidden(&here.field(field), ONLY),
        None if balancer => errors.required(&here.field(field), ""),
        _ => {}
    }
    if let Some(class) = at(spec, &["loadBalancerClass"]).and_then(Value::as_str) {
        if !balancer {
            errors.forbidden(&here.field("loadBalancerClass"), ONLY);
        }
        errors.check(
            &here.field("loadBalancerClass"),
            class,
            names::qualified_name(class),
        );
    }
}

fn policies(spec: &Value, kind: &str, here: &Path<'_>, errors: &mut Errors) {
    let external = text(spec, &["externalTrafficPolicy"]);
    let place = here.field("externalTrafficPolicy");
    let reachable = matches!(kind, "LoadBalancer" | "NodePort")
        || (kind == "ClusterIP" && !items(spec, &["externalIPs"]).is_empty());
    if external.is_empty() {
        if reachable {
            errors.required(&place, "is required for externally-accessible services");
        }
    } else if reachable {
        errors.supported(&place, external, TRAFFIC);
    } else {
        errors.invalid(
            &place,
            external,
            "may only be set for externally-accessible services",
        );
    }
    let health = int(spec, &["healthCheckNodePort"]);
    if health != 0 && !(kind == "LoadBalancer" && external == "Local") {
        errors.invalid(
            &here.field("healthCheckNodePort"),
            health,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        );
    }
    if health < 0 {
        errors.invalid(
            &here.field("healthCheckNodePort"),
            health,
            "must be a valid port number",
        );
    }
    let internal = text(spec, &["internalTrafficPolicy"]);
    let place = here.field("internalTrafficPolicy");
    if !internal.is_empty() {
        errors.supported(&place, internal, TRAFFIC);
    } else if matches!(kind, "ClusterIP" | "LoadBalancer" | "NodePort") {
        errors.required(&place, "");
    }
    if let Some(distribution) = at(spec, &["trafficDistribution"]).and_then(Value::as_str) {
        errors.supported(
            &here.field("trafficDistribution"),
            distribution,
            DISTRIBUTIONS,
        );
    }
}

/// Check a change of a service: its first address and family stay while it needs them.
pub(crate) fn service_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here_spec = here.field("spec");
    let kind = |object| text(object, &["spec", "type"]);
    let external = kind(new) == "ExternalName" || kind(old) == "ExternalName";
    for field in ["clusterIPs", "ipFamilies"] {
        let first = |object: &Value| {
            items(object, &["spec", field])
                .first()
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (after, before) = (first(new), first(old));
        if !external && !before.is_empty() && after != before {
            errors.invalid(
                &here_spec.field(field).index(0),
                new["spec"][field].clone(),
                "may not change once set",
            );
        }
    }
    let class = |object| at(object, &["spec", "loadBalancerClass"]);
    let stays = kind(new) == "LoadBalancer" && kind(old) == "LoadBalancer";
    if stays && class(new) != class(old) {
        errors.invalid(
            &here_spec.field("loadBalancerClass"),
            class(new).cloned().unwrap_or(Value::Null),
            "may not change once set",
        );
    }
    service(new, here, errors);
}

/// Check the status of a service.
pub(crate) fn service_status(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let place = here.field("status");
    let any = !items(object, &["status", "loadBalancer", "ingress"]).is_empty();
    if any && text(object, &["spec", "type"]) != "LoadBalancer" {
        let place = place.field("loadBalancer");
        errors.forbidden(
            &place.field("ingress"),
            "may only be used when `spec.type` is \"LoadBalancer\"",
        );
        return;
    }
    load_balancer(&object["status"], &place, errors);
}

/// What upstream warns of in a service that it takes all the same.
pub(crate) fn service_warnings(object: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let spec = &object["spec"];
    if members(object, &["metadata", "annotations"])
        .any(|(key, _)| key == "service.kubernetes.io/topology-aware-hints")
    {
        all.push("metadata.annotations[service.kubernetes.io/topology-aware-hints]: deprecated, please use the \"trafficDistribution\" field instead".into());
    }
    if !text(spec, &["loadBalancerIP"]).is_empty() {
        all.push("spec.loadBalancerIP is deprecated".into());
    }
    for (field, index, ip) in ["externalIPs", "clusterIPs"].iter().flat_map(|field| {
        items(spec, &[field])
            .iter()
            .enumerate()
            .map(move |(index, ip)| (*field, index, ip.as_str().unwrap_or_default()))
    }) {
        if ip.parse::<IpAddr>().is_ok() && canonical_ip(ip).is_err() {
            all.push(format!(
                "spec.{field}[{index}]: IPv6 address {ip:?} should be in RFC 5952 canonical format"
            ));
        }
    }
    all
}
