//! What makes a machine a node, beside what its configuration asks for.

use std::path::{Path, PathBuf};

use consort_machine::{FileSpec, MachineSpec, MountSpec};

use crate::server::join::Membership;

/// Marks machines that have joined.
const JOINED: &str = "consort.dev/joined";
/// This program in the machine.
const PROGRAM: &str = "/usr/local/bin/consort";
/// What the machine is told.
const MEMBERSHIP: &str = "/etc/consort/node.json";
/// Where the node keeps its things: on a file system of the host's, as layers on layers cannot be mounted.
const STATE: &str = "/var/lib/consort";

/// Whether a machine has joined.
pub(super) fn has_joined(spec: &MachineSpec) -> bool {
    spec.labels.contains_key(JOINED)
}

/// What a configuration cannot say of a machine that joins, as joining says it.
pub(super) fn conflict(spec: &MachineSpec) -> Option<(&'static str, &'static str)> {
    if matches!(spec.base, consort_machine::Base::Vm(_)) {
        return Some((
            "join",
            "A virtual machine does not join by itself: run `consort node` in it.",
        ));
    }
    if spec.command.is_some() {
        return Some((
            "command",
            "A machine that joins runs the node; it has no command of its own.",
        ));
    }
    if spec.privileged {
        return Some(("privileged", "A machine that joins is privileged anyway."));
    }
    if !spec.routes.is_empty() {
        return Some((
            "routes",
            "A machine that joins has the route to its pods, and no other.",
        ));
    }
    None
}

/// The machine as a node.
pub(super) fn joined(
    mut spec: MachineSpec,
    member: &Membership,
    program: PathBuf,
) -> Result<MachineSpec, serde_json::Error> {
    spec.labels.insert(JOINED.to_owned(), "true".to_owned());
    spec.routes = vec![member.pod_cidr];
    spec.files.push(FileSpec {
        path: MEMBERSHIP.into(),
        content: serde_json::to_vec_pretty(member)?,
        mode: 0o600,
    });
    spec.mounts.push(MountSpec {
        source: Some(program),
        target: PROGRAM.into(),
        read_only: true,
    });
    Ok(with_node(spec))
}

fn with_node(mut spec: MachineSpec) -> MachineSpec {
    spec.privileged = true;
    spec.mounts.push(MountSpec {
        source: None,
        target: STATE.into(),
        read_only: false,
    });
    let words = [PROGRAM, "node", MEMBERSHIP, "--data-dir", STATE];
    spec.command = Some(words.map(str::to_owned).into());
    spec
}

/// A new specification of a machine that has joined, which stays the node it is.
pub(super) fn carried(mut spec: MachineSpec, before: &MachineSpec) -> MachineSpec {
    spec.labels.insert(JOINED.to_owned(), "true".to_owned());
    spec.routes.clone_from(&before.routes);
    let told = before
        .files
        .iter()
        .filter(|file| file.path == Path::new(MEMBERSHIP));
    spec.files.extend(told.cloned());
    let program = before
        .mounts
        .iter()
        .filter(|mount| mount.target == Path::new(PROGRAM));
    spec.mounts.extend(program.cloned());
    with_node(spec)
}

/// The machine without what joining added.
pub(super) fn plain(spec: &MachineSpec) -> MachineSpec {
    let mut spec = spec.clone();
    if spec.labels.remove(JOINED).is_some() {
        spec.routes.clear();
        spec.command = None;
        spec.privileged = false;
        spec.files.retain(|file| file.path != Path::new(MEMBERSHIP));
        let added = [Path::new(PROGRAM), Path::new(STATE)];
        spec.mounts
            .retain(|mount| !added.contains(&mount.target.as_path()));
    }
    spec
}
