//! `consort_machine`.

use consort_hcl::{Path, Type, Value};
use consort_infra::provider::schema::{Attribute, Block, Nesting};
use consort_infra::provider::{Apply, Diagnostic, Diagnostics, Plan};
use consort_machine::{Machine, MachineSpec, Machines};
use serde_json::Map;

use super::machine_spec::{asked, found, spec};
use super::values::{changed, default_to, differences, flag, part, parts, replaced, text, with};
use super::{Outcome, Place, diagnostic, join};
use crate::error::Failure;
use crate::server::join as cluster;

/// What cannot change without another machine.
const FIXED: &[&str] = &["name", "image", "root", "vm", "network", "user_data"];
/// What is chosen for a machine where the configuration does not say.
const CHOSEN: &[&str] = &["address", "mac"];

pub(super) fn schema() -> Block {
    let text = || Attribute::new(Type::String);
    let number = || Attribute::new(Type::Number).optional();
    let texts = || Attribute::new(Type::list(Type::String)).optional();
    let map = || Attribute::new(Type::map(Type::String)).optional();
    let flag = || Attribute::new(Type::Bool).optional();
    let mut block = Block::default()
        .attribute("id", text().computed().described("The name."))
        .attribute("name", text().required().described("Unique among the machines of this installation: a DNS label."))
        .attribute("image", text().optional().described("OCI image the machine is made from."))
        .attribute("image_digest", text().computed().described("Exactly which image it was made from."))
        .attribute(
            "root",
            text().optional().described(
                "Directory with a root file system. It stays as it is and must not change meanwhile: what the machine \
                 writes is kept apart, and several machines can share it.",
            ),
        )
        .attribute("network", text().required().described("Name of the network it is in."))
        .attribute("address", text().optional().computed().described("Its address there; by default a free one."))
        .attribute("mac", text().optional().computed().described("Its hardware address."))
        .attribute("hostname", text().optional().computed().described("Its host name; by default its name."))
        .attribute(
            "command",
            texts().described(
                "Program and arguments. By default the image's, or /sbin/init of a directory that has one; an empty list \
                 runs nothing: the machine is there for what is executed in it.",
            ),
        )
        .attribute("environment", map().described("Environment of the program."))
        .attribute("working_dir", text().optional().described("Working directory of the program."))
        .attribute("user", text().optional().described("Who the program runs as: user, uid, user:group or uid:gid."))
        .attribute("cpus", number().described("CPUs it may use, also parts of one."))
        .attribute("memory", number().described("Memory in MiB."))
        .attribute("routes", texts().described("Networks that the host reaches through the machine."))
        .attribute("ssh_keys", texts().described("Public keys that may log in as root."))
        .attribute(
            "user_data",
            text().optional().described("A script run at the first start, or what a virtual machine's cloud-init reads."),
        )
        .attribute("privileged", flag().described("Whether it has all capabilities and devices of the host."))
        .attribute(
            "join",
            flag().described(
                "Whether it joins the cluster of the running server as a node of its name. It then runs the node, is \
                 privileged, and has no command of its own; its root needs a C library that runs this program.",
            ),
        )
        .attribute(
            "restart",
            text().optional().computed().described(
                "When a running server starts it again after it ended or its host was started again: always, on-failure \
                 or no. Default: always.",
            ),
        )
        .attribute("running", flag().computed().described("Whether it is to run. Default: true."))
        .attribute("labels", map().described("Kept with the machine."))
        .attribute("state", text().computed().described("running, stopped, or ended with its exit code."))
        .attribute(
            "exec",
            Attribute::new(Type::list(Type::String))
                .computed()
                .described("Words of a command that runs what follows them in the machine."),
        );
    let mount = Block::default()
        .attribute(
            "source",
            text().optional().described(
                "File or directory of the host; without it a directory of the machine's own.",
            ),
        )
        .attribute(
            "target",
            text().required().described("Absolute path in the machine."),
        )
        .attribute("read_only", flag());
    let port = Block::default()
        .attribute(
            "host_port",
            Attribute::new(Type::Number)
                .required()
                .described("Port of the host."),
        )
        .attribute(
            "port",
            Attribute::new(Type::Number)
                .required()
                .described("Port of the machine."),
        )
        .attribute(
            "protocol",
            text()
                .optional()
                .described("tcp, udp or sctp. Default: tcp."),
        )
        .attribute(
            "host_address",
            text()
                .optional()
                .described("Only this address of the host."),
        );
    let file = Block::default()
        .attribute(
            "path",
            text().required().described("Absolute path in the machine."),
        )
        .attribute("content", text().required())
        .attribute(
            "mode",
            text().optional().described("Octal mode. Default: 0644."),
        );
    let vm = Block::default()
        .attribute(
            "kernel",
            text().optional().described("Kernel to boot directly."),
        )
        .attribute(
            "initrd",
            text().optional().described("Initial RAM disk for it."),
        )
        .attribute(
            "cmdline",
            text()
                .optional()
                .described("Words for its command line, after console=ttyS0."),
        )
        .attribute(
            "disk",
            text()
                .optional()
                .described("Disk image, raw or qcow2; the machine gets a copy."),
        )
        .attribute(
            "accel",
            text()
                .optional()
                .described("auto, kvm or tcg. Default: auto."),
        );
    for (name, nested) in [("mount", mount), ("port", port), ("file", file), ("vm", vm)] {
        block = block.nested(name, Nesting::List, nested);
    }
    if let Some(vm) = block.blocks.get_mut("vm") {
        vm.max_items = 1;
    }
    block
}

/// What `data "consort_machine"` has.
pub(super) fn data_schema() -> Block {
    let all = schema();
    let mut block = Block::default();
    for name in [
        "id",
        "name",
        "image",
        "image_digest",
        "root",
        "network",
        "address",
        "mac",
        "hostname",
        "cpus",
        "memory",
        "restart",
        "running",
        "labels",
        "state",
        "exec",
    ] {
        if let Some(attribute) = all.attributes.get(name) {
            let mut attribute = attribute.clone();
            attribute.required = name == "name";
            attribute.optional = false;
            attribute.computed = name != "name";
            block = block.attribute(name, attribute);
        }
    }
    block
}

/// The object as it is, said as it was said before where that still holds.
fn shown(place: &Place, prior: &Value, machine: &Machine) -> Value {
    let before = spec(prior).map_or_else(|_| Map::new(), |spec| asked(&spec));
    let mut changes = differences(&before, &asked(&join::plain(&machine.spec)));
    if join::has_joined(&machine.spec) != flag(prior, "join").unwrap_or_default() {
        changes.insert("join".to_owned(), join::has_joined(&machine.spec).into());
    }
    changes.extend(found(place, machine));
    with(prior, &schema(), &changes)
}

pub(super) fn validate(config: &Value) -> Diagnostics {
    if config.is_null() || !config.is_wholly_known() {
        return Diagnostics::new();
    }
    match spec(config) {
        Err(diagnostics) => diagnostics,
        Ok(spec) => match Machines::check(&spec) {
            Err(error) => diagnostic("Invalid machine", &error),
            Ok(()) => match join::conflict(&spec).filter(|_| flag(config, "join") == Some(true)) {
                Some((attribute, why)) => Diagnostic::error("Invalid machine", why)
                    .at(Path::root().attribute(attribute))
                    .into(),
                None => Diagnostics::new(),
            },
        },
    }
}

fn failed(summary: String, failure: &Failure) -> Diagnostics {
    Diagnostic::error(
        summary,
        format!("{failure:?}. A machine joins the cluster of a server that runs on the same data directory, with a node of its own."),
    )
    .at(Path::root().attribute("join"))
    .into()
}

/// Makes a machine that is a node, and waits until the cluster has it. On an error neither is there.
async fn join_cluster(place: &Place, spec: MachineSpec) -> Result<Machine, Diagnostics> {
    let name = spec.name.clone();
    let summary = || format!("Joining machine \"{name}\" to the cluster");
    // One that is there already is not to lose its place.
    if let Ok(Some(_)) = place.machines.get(&name).await {
        let error = consort_machine::Error::Exists {
            what: "machine",
            name: name.clone(),
        };
        return Err(diagnostic(&summary(), &error));
    }
    let member = cluster::join(&place.data_dir, &name).await;
    let member = member.map_err(|failure| failed(summary(), &failure))?;
    let made = async {
        let program = std::env::current_exe().map_err(|error| failed(summary(), &error.into()))?;
        let spec = join::joined(spec, &member, program)
            .map_err(|error| failed(summary(), &anyhow::Error::from(error).into()))?;
        let machine = place.machines.create(spec, &place.images).await;
        let machine = machine.map_err(|error| diagnostic(&summary(), &error))?;
        match cluster::ready(&place.data_dir, &name).await {
            Ok(()) => Ok(machine),
            Err(failure) => {
                let mut diagnostics = failed(summary(), &failure);
                if let Err(error) = place.machines.remove(&name).await {
                    diagnostics.append(diagnostic(&format!("Removing machine \"{name}\""), &error));
                }
                Err(diagnostics)
            }
        }
    };
    match made.await {
        Ok(machine) => Ok(machine),
        Err(mut diagnostics) => {
            if let Err(failure) = cluster::leave(&place.data_dir, &name).await {
                diagnostics.append(failed(
                    format!("Taking node \"{name}\" out of the cluster"),
                    &failure,
                ));
            }
            Err(diagnostics)
        }
    }
}

/// Removes a machine, and the node that it was.
async fn remove(place: &Place, name: &str, joined: bool) -> (bool, Diagnostics) {
    let summary = format!("Removing machine \"{name}\"");
    if let Err(error) = place.machines.remove(name).await {
        return (false, diagnostic(&summary, &error));
    }
    if joined && let Err(failure) = cluster::leave(&place.data_dir, name).await {
        // The machine is gone; whoever starts the server again can delete the node.
        let detail = format!(
            "Node \"{name}\" is still listed, because its server could not be told: {failure:?}."
        );
        return (
            true,
            Diagnostic::warning("Node not taken out of the cluster", detail).into(),
        );
    }
    (true, Diagnostics::new())
}

pub(super) fn plan(request: &Plan) -> (Value, Vec<Path>) {
    let (prior, config) = (&request.prior, &request.config);
    let mut values = parts(&request.proposed);
    let name = part(config, "name");
    values.insert("id".into(), name.clone());
    default_to(&mut values, config, "hostname", name);
    default_to(&mut values, config, "restart", Value::string("always"));
    default_to(&mut values, config, "running", Value::TRUE);
    let unknown = |ty: Type| Value::unknown_not_null(ty);
    if prior.is_null() {
        for name in CHOSEN {
            default_to(&mut values, config, name, unknown(Type::String));
        }
        let image = part(config, "image");
        let digest = if image.is_known() && image.is_null() {
            Value::null(Type::String)
        } else {
            Value::unknown(Type::String)
        };
        values.insert("image_digest".into(), digest);
        values.insert("state".into(), unknown(Type::String));
        values.insert("exec".into(), unknown(Type::list(Type::String)));
        return (Value::object(values), Vec::new());
    }
    let planned = Value::object(values);
    let mut replace = replaced(prior, &planned, FIXED);
    let joins = |object: &Value| flag(object, "join").unwrap_or_default();
    if joins(prior) != joins(&planned) {
        replace.push(Path::root().attribute("join"));
    }
    for name in CHOSEN {
        // In whatever letters it is written.
        let plain = |object: &Value| text(object, name).map(|text| text.to_lowercase());
        if !part(config, name).is_null() && plain(prior) != plain(&planned) {
            replace.push(Path::root().attribute(*name));
        }
    }
    if planned.raw_equals(prior) {
        return (planned, replace);
    }
    let mut values = parts(&planned);
    values.insert("state".into(), unknown(Type::String));
    (Value::object(values), replace)
}

pub(super) async fn read(place: &Place, prior: &Value) -> Result<Value, Diagnostics> {
    let name = text(prior, "id")
        .or_else(|| text(prior, "name"))
        .unwrap_or_default();
    match place.machines.get(&name).await {
        Ok(Some(machine)) => Ok(shown(place, prior, &machine)),
        Ok(None) => Ok(Value::null(prior.ty().clone())),
        Err(error) => Err(diagnostic(&format!("Reading machine \"{name}\""), &error)),
    }
}

pub(super) async fn apply(place: &Place, request: &Apply) -> Outcome {
    let (prior, planned) = (&request.prior, &request.planned);
    if planned.is_null() {
        let name = text(prior, "id").unwrap_or_default();
        let joined = flag(prior, "join") == Some(true);
        let (gone, diagnostics) = remove(place, &name, joined).await;
        let state = if gone { planned } else { prior };
        return (Some(state.clone()), diagnostics);
    }
    let spec = match spec(planned) {
        Ok(spec) => spec,
        Err(diagnostics) => return (Some(prior.clone()), diagnostics),
    };
    let name = spec.name.clone();
    let joins = flag(planned, "join") == Some(true);
    if joins && let Some((attribute, why)) = join::conflict(&spec) {
        let wrong = Diagnostic::error("Invalid machine", why).at(Path::root().attribute(attribute));
        return (Some(prior.clone()), wrong.into());
    }
    let (doing, done) = if prior.is_null() && joins {
        match join_cluster(place, spec).await {
            Ok(machine) => ("Creating", Ok(machine)),
            Err(diagnostics) => return (Some(prior.clone()), diagnostics),
        }
    } else if prior.is_null() {
        ("Creating", place.machines.create(spec, &place.images).await)
    } else {
        ("Changing", change(place, spec).await)
    };
    match done {
        Ok(machine) => {
            let mut state = shown(place, planned, &machine);
            // One whose work is done already was started all the same.
            if changed(planned, &state, "running") && flag(planned, "running") == Some(true) {
                let mut values = parts(&state);
                values.insert("running".into(), Value::TRUE);
                state = Value::object(values);
            }
            (Some(state), Diagnostics::new())
        }
        Err(error) => {
            let diagnostics = diagnostic(&format!("{doing} machine \"{name}\""), &error);
            if prior.is_null() {
                return (Some(prior.clone()), diagnostics);
            }
            // What it is now: it may have been stopped, and not started again.
            let state = read(place, prior).await.unwrap_or_else(|_| prior.clone());
            (Some(state), diagnostics)
        }
    }
}

async fn change(place: &Place, spec: MachineSpec) -> Result<Machine, consort_machine::Error> {
    let before = place.machines.get(&spec.name).await?;
    let spec = match before {
        Some(before) if join::has_joined(&before.spec) => join::carried(spec, &before.spec),
        _ => spec,
    };
    place.machines.update(spec).await
}

pub(super) async fn look_up(place: &Place, config: &Value) -> Result<Value, Diagnostics> {
    let name = text(config, "name").unwrap_or_default();
    match place.machines.get(&name).await {
        Ok(Some(machine)) => {
            let mut all = asked(&join::plain(&machine.spec));
            all.extend(found(place, &machine));
            Ok(with(config, &data_schema(), &all))
        }
        Ok(None) => Err(Diagnostic::error(
            "No such machine",
            format!(
                "There is no machine \"{name}\" in {}.",
                place.data_dir.display()
            ),
        )
        .at(Path::root().attribute("name"))
        .into()),
        Err(error) => Err(diagnostic(&format!("Reading machine \"{name}\""), &error)),
    }
}

#[cfg(test)]
mod tests {
    use consort_machine::{
        Accel, Base, FileSpec, MachineSpec, MountSpec, PortSpec, Protocol, Restart, State, VmSpec,
    };

    use super::*;
    use crate::machines::Store;

    fn place() -> Place {
        let dir = std::path::PathBuf::from("/var/lib/nowhere");
        Place {
            machines: crate::machines::open(&dir).unwrap(),
            images: Store::new(dir.clone(), consort_image::Registries::default()),
            data_dir: dir,
            named: true,
        }
    }

    fn full() -> MachineSpec {
        let mut spec = MachineSpec::new("web", Base::Root("/srv/root".into()), "lan");
        spec.hostname = Some("www".to_owned());
        spec.command = Some(vec!["serve".to_owned()]);
        spec.env = [("A".to_owned(), "b".to_owned())].into();
        spec.working_dir = Some("/srv".into());
        spec.user = Some("nobody".to_owned());
        spec.cpu_milli = Some(1500);
        spec.memory_mib = Some(64);
        spec.mounts = vec![MountSpec {
            source: None,
            target: "/data".into(),
            read_only: false,
        }];
        spec.ports = vec![PortSpec {
            protocol: Protocol::Udp,
            host_address: None,
            host_port: 53,
            port: 5353,
        }];
        spec.routes = vec!["10.9.0.0/16".parse().unwrap()];
        spec.files = vec![FileSpec {
            path: "/etc/x".into(),
            content: b"x".to_vec(),
            mode: 0o600,
        }];
        spec.ssh_keys = vec!["ssh-ed25519 AAAA".to_owned()];
        spec.user_data = Some("#!/bin/sh\n".to_owned());
        spec.privileged = true;
        spec.restart = Restart::OnFailure;
        spec.labels = [("a".to_owned(), "b".to_owned())].into();
        spec
    }

    fn of(spec: MachineSpec) -> Machine {
        Machine {
            address: std::net::Ipv4Addr::new(10, 0, 0, 2),
            mac: "02:63:0a:00:00:02".to_owned(),
            digest: None,
            state: State::Running { pid: 1 },
            created: jiff::Timestamp::UNIX_EPOCH,
            spec,
        }
    }

    #[test]
    fn what_a_machine_is_becomes_an_object_and_back_without_loss() {
        let schema = schema();
        let place = place();
        for spec_ in [
            full(),
            MachineSpec {
                base: Base::Image("a".to_owned()),
                ..full()
            },
            MachineSpec {
                base: Base::Vm(VmSpec {
                    kernel: Some("/k".into()),
                    accel: Accel::Tcg,
                    ..VmSpec::default()
                }),
                ..full()
            },
        ] {
            let state = shown(&place, &schema.empty_value(), &of(spec_.clone()));
            assert!(state.ty() == &schema.implied_type(), "{:?}", state.ty());
            let mut back = spec(&state).unwrap();
            // The machine's own address is said, though it was not asked for.
            back.address = None;
            back.mac = None;
            assert_eq!(back, spec_);
            assert!(shown(&place, &state, &of(spec_)).raw_equals(&state));
        }
    }

    #[test]
    fn a_stopped_machine_is_planned_to_run_and_another_root_is_another_machine() {
        let schema = schema();
        let place = place();
        let mut machine = of(full());
        machine.state = State::Stopped;
        let prior = shown(&place, &schema.empty_value(), &machine);
        let with = |name: &str, value: Value| {
            let mut values = parts(&prior);
            for computed in ["id", "address", "mac", "image_digest", "state", "exec"] {
                values.insert(
                    computed.into(),
                    Value::null(part(&prior, computed).ty().clone()),
                );
            }
            values.insert("running".into(), Value::null(Type::Bool));
            values.insert(name.into(), value);
            Value::object(values)
        };
        let plan = |config: Value| {
            plan(&Plan {
                type_name: "consort_machine".into(),
                proposed: consort_infra::provider::objects::proposed_new(&schema, &prior, &config),
                prior: prior.clone(),
                config,
                private: bytes::Bytes::new(),
                provider_meta: None,
                identity: None,
                deferral_allowed: false,
            })
        };
        let (planned, replace) = plan(with("memory", Value::number(64)));
        assert!(replace.is_empty());
        assert_eq!(flag(&planned, "running"), Some(true));
        assert!(!part(&planned, "state").is_known());
        assert_eq!(text(&planned, "address").as_deref(), Some("10.0.0.2"));
        let (_, replace) = plan(with("root", Value::string("/srv/other")));
        assert_eq!(replace.len(), 1);
        let (_, replace) = plan(with("address", Value::string("10.0.0.9")));
        assert_eq!(replace.len(), 1);
        let (_, replace) = plan(with("mac", Value::string("02:63:0A:00:00:02")));
        assert!(replace.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_at_its_attribute() {
        let schema = schema();
        let config = |name: &str, value: Value| {
            let mut values = parts(&schema.empty_value());
            values.insert("name".into(), Value::string("web"));
            values.insert("network".into(), Value::string("lan"));
            values.insert("image".into(), Value::string("a"));
            values.insert(name.into(), value);
            Value::object(values)
        };
        assert!(validate(&config("cpus", Value::number(1))).is_empty());
        for (name, value) in [
            ("name", Value::string("No")),
            ("mac", Value::string("x")),
            ("address", Value::string("x")),
            ("restart", Value::string("never")),
            ("memory", Value::number(1)),
            (
                "ssh_keys",
                Value::list(Type::String, vec![Value::string("x")]),
            ),
        ] {
            let found = validate(&config(name, value));
            let at = found.0[0].attribute.clone().map(|path| path.to_string());
            assert_eq!(at, Some(format!(".{name}")), "{found}");
        }
        let both = validate(&config("root", Value::string("/x")));
        assert!(both.to_string().contains("exactly one"), "{both}");
    }
}
