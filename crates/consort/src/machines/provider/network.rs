//! `consort_network`.

use std::net::Ipv4Addr;

use consort_hcl::{Path, Type, Value};
use consort_infra::provider::schema::{Attribute, Block};
use consort_infra::provider::{Apply, Diagnostic, Diagnostics, Plan};
use consort_machine::{Machines, Network, NetworkSpec};
use serde_json::{Map, Value as Json, json};

use super::values::{
    changed, default_to, differences, flag, number, part, parts, replaced, text, text_map, with,
};
use super::{Outcome, Place, diagnostic};

pub(super) fn schema() -> Block {
    let text = || Attribute::new(Type::String);
    let flag = || Attribute::new(Type::Bool).optional().computed();
    Block::default()
        .attribute("id", text().computed().described("The name."))
        .attribute("name", text().required().described("Unique among the networks of this installation: a DNS label."))
        .attribute("cidr", text().required().described("Addresses of the network, such as 10.20.0.0/24."))
        .attribute("gateway", text().optional().computed().described("The host's address in it; by default the first."))
        .attribute(
            "domain",
            text().optional().computed().described("Machines are also known as NAME.DOMAIN; by default the network's name and .internal."),
        )
        .attribute("nat", flag().described("Whether machines reach the outside under the host's address. Default: true."))
        .attribute(
            "isolated",
            flag().described("Whether machines of this host's other networks are kept apart from those of this one. Default: true."),
        )
        .attribute("internal", flag().described("Whether nothing passes beyond the host. Default: false."))
        .attribute("mtu", Attribute::new(Type::Number).optional().computed().described("MTU in bytes; by default the host's."))
        .attribute("labels", Attribute::new(Type::map(Type::String)).optional().described("Kept with the network."))
        .attribute("bridge", text().computed().described("Name of the host's interface."))
        .attribute("active", Attribute::new(Type::Bool).computed().described("Whether the interface is there; not after a restart of the host."))
}

/// What `data "consort_network"` has.
pub(super) fn data_schema() -> Block {
    let mut block = schema();
    for (name, attribute) in &mut block.attributes {
        if &**name != "name" {
            attribute.required = false;
            attribute.optional = false;
            attribute.computed = true;
        }
    }
    block
}

fn wrong(attribute: &str, detail: String) -> Diagnostics {
    Diagnostic::error("Invalid network", detail)
        .at(Path::root().attribute(attribute))
        .into()
}

/// The specification that an object with known values stands for.
fn spec(object: &Value) -> Result<NetworkSpec, Diagnostics> {
    let name = text(object, "name").unwrap_or_default();
    let cidr = text(object, "cidr").unwrap_or_default();
    let parsed = cidr.parse().map_err(|_| {
        wrong(
            "cidr",
            format!("{cidr:?} is not a network such as 10.20.0.0/24."),
        )
    })?;
    let gateway = text(object, "gateway")
        .map(|gateway| {
            gateway
                .parse::<Ipv4Addr>()
                .map_err(|_| wrong("gateway", format!("{gateway:?} is not an IPv4 address.")))
        })
        .transpose()?;
    let mtu = match number(object, "mtu") {
        None => None,
        Some(mtu) if mtu.fract() == 0.0 && (0.0..=65535.0).contains(&mtu) => Some(mtu as u32),
        Some(mtu) => {
            return Err(wrong(
                "mtu",
                format!("{mtu} is not an MTU: expected 576 to 65535."),
            ));
        }
    };
    let usual = NetworkSpec::new(name, parsed);
    Ok(NetworkSpec {
        gateway,
        domain: text(object, "domain").unwrap_or_else(|| usual.domain.clone()),
        nat: flag(object, "nat").unwrap_or(usual.nat),
        isolated: flag(object, "isolated").unwrap_or(usual.isolated),
        internal: flag(object, "internal").unwrap_or(usual.internal),
        mtu,
        labels: text_map(object, "labels"),
        ..usual
    })
}

/// What was asked for in its plainest form.
fn asked(spec: &NetworkSpec) -> Map<String, Json> {
    let labels = if spec.labels.is_empty() {
        Json::Null
    } else {
        json!(spec.labels)
    };
    object(json!({
        "id": spec.name,
        "name": spec.name,
        "cidr": spec.cidr.to_string(),
        "gateway": spec.gateway().to_string(),
        "domain": spec.domain,
        "nat": spec.nat,
        "isolated": spec.isolated,
        "internal": spec.internal,
        "labels": labels,
    }))
}

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// What only the network itself can say.
fn found(network: &Network) -> Map<String, Json> {
    object(json!({
        "id": network.spec.name,
        "gateway": network.gateway.to_string(),
        "mtu": network.mtu,
        "bridge": network.link,
        "active": network.active,
    }))
}

/// The object as it is, said as it was said before where that still holds.
fn shown(prior: &Value, network: &Network) -> Value {
    let schema = schema();
    let before = spec(prior).map(|spec| asked(&spec)).unwrap_or_default();
    let mut changes = differences(&before, &asked(&network.spec));
    changes.extend(found(network));
    with(prior, &schema, &changes)
}

pub(super) fn validate(config: &Value) -> Diagnostics {
    if config.is_null() || !config.is_wholly_known() {
        return Diagnostics::new();
    }
    match spec(config) {
        Err(diagnostics) => diagnostics,
        Ok(spec) => match Machines::check_network(&spec) {
            Err(error) => diagnostic("Invalid network", &error),
            Ok(()) => Diagnostics::new(),
        },
    }
}

pub(super) fn plan(request: &Plan) -> (Value, Vec<Path>) {
    let (prior, config) = (&request.prior, &request.config);
    let mut values = parts(&request.proposed);
    let name = part(config, "name");
    values.insert("id".into(), name.clone());
    let domain = match name.as_str() {
        Some(name) => Value::string(format!("{name}.internal")),
        None => Value::unknown_not_null(Type::String),
    };
    default_to(&mut values, config, "domain", domain);
    for (name, usual) in [("nat", true), ("isolated", true), ("internal", false)] {
        default_to(&mut values, config, name, Value::bool(usual));
    }
    if prior.is_null() {
        for (name, ty) in [("gateway", Type::String), ("mtu", Type::Number)] {
            default_to(&mut values, config, name, Value::unknown_not_null(ty));
        }
        values.insert("bridge".into(), Value::unknown_not_null(Type::String));
        values.insert("active".into(), Value::TRUE);
        return (Value::object(values), Vec::new());
    }
    // One that went with the host is made again.
    values.insert("active".into(), Value::TRUE);
    let mut planned = Value::object(values);
    let mut replace = replaced(prior, &planned, &["name", "cidr", "mtu"]);
    let gateway = part(config, "gateway");
    if !gateway.is_null() && changed(prior, &planned, "gateway") {
        replace.push(Path::root().attribute("gateway"));
    } else if gateway.is_null() && changed(prior, &planned, "cidr") {
        let mut values = parts(&planned);
        values.insert("gateway".into(), Value::unknown_not_null(Type::String));
        planned = Value::object(values);
    }
    (planned, replace)
}

pub(super) async fn read(place: &Place, prior: &Value) -> Result<Value, Diagnostics> {
    let name = text(prior, "id")
        .or_else(|| text(prior, "name"))
        .unwrap_or_default();
    match place.machines.network(&name).await {
        Ok(Some(network)) => Ok(shown(prior, &network)),
        Ok(None) => Ok(Value::null(prior.ty().clone())),
        Err(error) => Err(diagnostic(&format!("Reading network \"{name}\""), &error)),
    }
}

pub(super) async fn apply(place: &Place, request: &Apply) -> Outcome {
    let (prior, planned) = (&request.prior, &request.planned);
    if planned.is_null() {
        let name = text(prior, "id").unwrap_or_default();
        return match place.machines.remove_network(&name).await {
            Ok(()) => (Some(planned.clone()), Diagnostics::new()),
            Err(error) => (
                Some(prior.clone()),
                diagnostic(&format!("Removing network \"{name}\""), &error),
            ),
        };
    }
    let spec = match spec(planned) {
        Ok(spec) => spec,
        Err(diagnostics) => return (Some(prior.clone()), diagnostics),
    };
    let name = spec.name.clone();
    let (doing, done) = if prior.is_null() {
        ("Creating", place.machines.create_network(spec).await)
    } else {
        // What the host chose is not asked for.
        let spec = NetworkSpec {
            mtu: number(&request.config, "mtu").and(spec.mtu),
            ..spec
        };
        ("Changing", place.machines.update_network(spec).await)
    };
    match done {
        Ok(network) => (Some(shown(planned, &network)), Diagnostics::new()),
        Err(error) => (
            Some(prior.clone()),
            diagnostic(&format!("{doing} network \"{name}\""), &error),
        ),
    }
}

pub(super) async fn look_up(place: &Place, config: &Value) -> Result<Value, Diagnostics> {
    let name = text(config, "name").unwrap_or_default();
    match place.machines.network(&name).await {
        Ok(Some(network)) => {
            let mut all = asked(&network.spec);
            all.extend(found(&network));
            Ok(with(config, &data_schema(), &all))
        }
        Ok(None) => Err(Diagnostic::error(
            "No such network",
            format!(
                "There is no network \"{name}\" in {}.",
                place.data_dir.display()
            ),
        )
        .at(Path::root().attribute("name"))
        .into()),
        Err(error) => Err(diagnostic(&format!("Reading network \"{name}\""), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_network_is_fits_its_schema() {
        let network = Network {
            spec: NetworkSpec::new("lan", "10.0.0.0/24".parse().unwrap()),
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            link: "csabcdefn0".to_owned(),
            active: true,
            mtu: Some(1500),
        };
        let schema = schema();
        let empty = schema.empty_value();
        let state = shown(&empty, &network);
        for name in schema.attributes.keys() {
            assert_eq!(part(&state, name).is_null(), &**name == "labels", "{name}");
        }
        assert!(shown(&state, &network).raw_equals(&state));
        assert_eq!(spec(&state).unwrap().gateway(), network.gateway);
    }
}
