//! Between a `consort_machine` object and the specification of a machine.

use std::net::Ipv4Addr;
use std::path::{Path as FilePath, PathBuf};

use consort_hcl::{Path, Value};
use consort_infra::provider::{Diagnostic, Diagnostics};
use consort_machine::{
    Accel, Base, FileSpec, Machine, MachineSpec, MountSpec, PortSpec, Protocol, Restart, VmSpec,
};
use serde_json::{Map, Value as Json, json};

use super::Place;
use super::values::{elements, flag, number, text, text_map, texts};

/// Mode of files that say none.
const MODE: &str = "0644";

fn wrong(attribute: &str, detail: String) -> Diagnostics {
    Diagnostic::error("Invalid machine", detail)
        .at(Path::root().attribute(attribute))
        .into()
}

/// Relative paths are those of the directory the command works in, as everywhere in a configuration.
fn path(object: &Value, name: &str) -> Result<Option<PathBuf>, Diagnostics> {
    text(object, name)
        .map(|path| {
            std::path::absolute(&path).map_err(|error| wrong(name, format!("{path:?}: {error}.")))
        })
        .transpose()
}

fn whole(object: &Value, name: &str, at: &str, most: f64) -> Result<Option<u64>, Diagnostics> {
    match number(object, name) {
        None => Ok(None),
        Some(value) if value.fract() == 0.0 && (0.0..=most).contains(&value) => {
            Ok(Some(value as u64))
        }
        Some(value) => Err(wrong(
            at,
            format!("{name} {value}: expected a whole number from 0 to {most}."),
        )),
    }
}

fn port(object: &Value, name: &str) -> Result<u16, Diagnostics> {
    let value = whole(object, name, "port", 65535.0)?;
    Ok(value
        .and_then(|value| u16::try_from(value).ok())
        .unwrap_or_default())
}

fn base(object: &Value) -> Result<Base, Diagnostics> {
    let image = text(object, "image");
    let root = path(object, "root")?;
    let vm = elements(object, "vm").and_then(|all| all.first().cloned());
    match (image, root, vm) {
        (Some(image), None, None) => Ok(Base::Image(image)),
        (None, Some(root), None) => Ok(Base::Root(root)),
        (None, None, Some(vm)) => Ok(Base::Vm(VmSpec {
            kernel: path(&vm, "kernel")?,
            initrd: path(&vm, "initrd")?,
            cmdline: text(&vm, "cmdline").unwrap_or_default(),
            disk: path(&vm, "disk")?,
            accel: match text(&vm, "accel").as_deref() {
                None | Some("auto") => Accel::Auto,
                Some("kvm") => Accel::Kvm,
                Some("tcg") => Accel::Tcg,
                Some(other) => {
                    return Err(wrong("vm", format!("accel {other:?}: expected \"auto\", \"kvm\" or \"tcg\".")));
                }
            },
        })),
        _ => Err(Diagnostic::error(
            "Invalid machine",
            "A machine is made from exactly one of: image (an OCI image), root (a directory) and vm (a virtual machine).",
        )
        .into()),
    }
}

fn mounts(object: &Value) -> Result<Vec<MountSpec>, Diagnostics> {
    elements(object, "mount")
        .unwrap_or_default()
        .iter()
        .map(|mount| {
            Ok(MountSpec {
                source: path(mount, "source")?,
                target: text(mount, "target").unwrap_or_default().into(),
                read_only: flag(mount, "read_only").unwrap_or_default(),
            })
        })
        .collect()
}

fn address(text: &str, attribute: &str) -> Result<Ipv4Addr, Diagnostics> {
    text.parse()
        .map_err(|_| wrong(attribute, format!("{text:?} is not an IPv4 address.")))
}

fn ports(object: &Value) -> Result<Vec<PortSpec>, Diagnostics> {
    elements(object, "port")
        .unwrap_or_default()
        .iter()
        .map(|one| {
            let protocol = match text(one, "protocol").as_deref() {
                None | Some("tcp") => Protocol::Tcp,
                Some("udp") => Protocol::Udp,
                Some("sctp") => Protocol::Sctp,
                Some(other) => {
                    return Err(wrong(
                        "port",
                        format!("protocol {other:?}: expected \"tcp\", \"udp\" or \"sctp\"."),
                    ));
                }
            };
            let host_address = text(one, "host_address");
            Ok(PortSpec {
                protocol,
                host_address: host_address
                    .map(|text| address(&text, "port"))
                    .transpose()?,
                host_port: port(one, "host_port")?,
                port: port(one, "port")?,
            })
        })
        .collect()
}

fn files(object: &Value) -> Result<Vec<FileSpec>, Diagnostics> {
    elements(object, "file")
        .unwrap_or_default()
        .iter()
        .map(|file| {
            let mode = text(file, "mode").unwrap_or_else(|| MODE.to_owned());
            Ok(FileSpec {
                path: text(file, "path").unwrap_or_default().into(),
                content: text(file, "content").unwrap_or_default().into_bytes(),
                mode: u32::from_str_radix(&mode, 8).map_err(|_| {
                    wrong(
                        "file",
                        format!("mode {mode:?}: expected octal digits such as \"0644\"."),
                    )
                })?,
            })
        })
        .collect()
}

/// The specification that an object with known values stands for.
pub(super) fn spec(object: &Value) -> Result<MachineSpec, Diagnostics> {
    let name = text(object, "name").unwrap_or_default();
    let network = text(object, "network").unwrap_or_default();
    let usual = MachineSpec::new(name, base(object)?, network);
    let cpu_milli = match number(object, "cpus") {
        None => None,
        Some(cpus) if (0.0..=100_000.0).contains(&cpus) => Some((cpus * 1000.0).round() as u64),
        Some(cpus) => return Err(wrong("cpus", format!("{cpus} CPUs cannot be given."))),
    };
    let restart = match text(object, "restart").as_deref() {
        None | Some("always") => Restart::Always,
        Some("on-failure") => Restart::OnFailure,
        Some("no") => Restart::No,
        Some(other) => {
            return Err(wrong(
                "restart",
                format!("{other:?}: expected \"always\", \"on-failure\" or \"no\"."),
            ));
        }
    };
    let routes = texts(object, "routes")
        .unwrap_or_default()
        .iter()
        .map(|route| {
            route.parse().map_err(|_| {
                wrong(
                    "routes",
                    format!("{route:?} is not a network such as 10.30.0.0/24."),
                )
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(MachineSpec {
        address: text(object, "address")
            .map(|text| address(&text, "address"))
            .transpose()?,
        mac: text(object, "mac"),
        hostname: text(object, "hostname"),
        command: texts(object, "command"),
        env: text_map(object, "environment"),
        working_dir: text(object, "working_dir").map(PathBuf::from),
        user: text(object, "user"),
        cpu_milli,
        memory_mib: whole(object, "memory", "memory", 1e9)?,
        mounts: mounts(object)?,
        ports: ports(object)?,
        routes,
        files: files(object)?,
        ssh_keys: texts(object, "ssh_keys").unwrap_or_default(),
        user_data: text(object, "user_data"),
        privileged: flag(object, "privileged").unwrap_or_default(),
        restart,
        running: flag(object, "running").unwrap_or(true),
        labels: text_map(object, "labels"),
        ..usual
    })
}

fn map(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

fn shown_path(path: Option<&FilePath>) -> Json {
    path.map_or(Json::Null, |path| path.display().to_string().into())
}

/// What is empty in a specification is not set in an object.
fn unless_empty<T: serde::Serialize>(all: &T, empty: bool) -> Json {
    if empty { Json::Null } else { json!(all) }
}

fn milli(milli: u64) -> Json {
    if milli.is_multiple_of(1000) {
        json!(milli / 1000)
    } else {
        json!(milli as f64 / 1000.0)
    }
}

/// What was asked for in its plainest form.
pub(super) fn asked(spec: &MachineSpec) -> Map<String, Json> {
    let (mut image, mut root, mut vm) = (Json::Null, Json::Null, Vec::new());
    match &spec.base {
        Base::Image(name) => image = name.clone().into(),
        Base::Root(path) => root = shown_path(Some(path)),
        Base::Vm(one) => vm.push(json!({
            "kernel": shown_path(one.kernel.as_deref()),
            "initrd": shown_path(one.initrd.as_deref()),
            "cmdline": unless_empty(&one.cmdline, one.cmdline.is_empty()),
            "disk": shown_path(one.disk.as_deref()),
            "accel": match one.accel { Accel::Auto => Json::Null, Accel::Kvm => "kvm".into(), Accel::Tcg => "tcg".into() },
        })),
    }
    let mounts: Vec<Json> = spec
        .mounts
        .iter()
        .map(|mount| {
            json!({
                "source": shown_path(mount.source.as_deref()),
                "target": shown_path(Some(&mount.target)),
                "read_only": mount.read_only,
            })
        })
        .collect();
    let ports: Vec<Json> = spec
        .ports
        .iter()
        .map(|port| {
            json!({
                "host_port": port.host_port,
                "port": port.port,
                "protocol": port.protocol.to_string().to_lowercase(),
                "host_address": port.host_address.map(|address| address.to_string()),
            })
        })
        .collect();
    let files: Vec<Json> = spec
        .files
        .iter()
        .map(|file| {
            json!({
                "path": shown_path(Some(&file.path)),
                "content": String::from_utf8_lossy(&file.content),
                "mode": format!("{:04o}", file.mode),
            })
        })
        .collect();
    let routes: Vec<String> = spec.routes.iter().map(ToString::to_string).collect();
    map(json!({
        "id": spec.name,
        "name": spec.name,
        "image": image,
        "root": root,
        "vm": vm,
        "network": spec.network,
        "hostname": spec.hostname(),
        "command": spec.command,
        "environment": unless_empty(&spec.env, spec.env.is_empty()),
        "working_dir": shown_path(spec.working_dir.as_deref()),
        "user": spec.user,
        "cpus": spec.cpu_milli.map(milli),
        "memory": spec.memory_mib,
        "mount": mounts,
        "port": ports,
        "routes": unless_empty(&routes, routes.is_empty()),
        "file": files,
        "ssh_keys": unless_empty(&spec.ssh_keys, spec.ssh_keys.is_empty()),
        "user_data": spec.user_data,
        "privileged": unless_empty(&spec.privileged, !spec.privileged),
        "restart": match spec.restart { Restart::No => "no", Restart::OnFailure => "on-failure", Restart::Always => "always" },
        "labels": unless_empty(&spec.labels, spec.labels.is_empty()),
    }))
}

/// How a command is run in the machine: words to which those of the command are added.
pub(super) fn exec(place: &Place, name: &str) -> Vec<String> {
    let mut words = vec![
        "consort".to_owned(),
        "machine".to_owned(),
        "exec".to_owned(),
    ];
    if place.named {
        words.push(format!("--data-dir={}", place.data_dir.display()));
    }
    words.extend([name.to_owned(), "--".to_owned()]);
    words
}

/// What only the machine itself can say.
pub(super) fn found(place: &Place, machine: &Machine) -> Map<String, Json> {
    let name = &machine.spec.name;
    map(json!({
        "id": name,
        "address": machine.address.to_string(),
        "mac": machine.mac,
        "image_digest": machine.digest,
        "running": machine.state.is_running(),
        "state": machine.state.to_string(),
        "exec": exec(place, name),
    }))
}
