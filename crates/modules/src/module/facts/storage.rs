//! Logical volumes.

use serde_json::{Map, Value, json};

use super::Gathering;

const OPTIONS: [&str; 6] = [
    "--noheadings",
    "--nosuffix",
    "--units",
    "g",
    "--separator",
    ",",
];

/// The groups, volumes and disks of LVM; `N/A` without its programs or for who is not root.
pub(super) fn lvm(gathering: &mut Gathering<'_, '_>) -> Value {
    let unknown = json!("N/A");
    let Some(program) = gathering.program("vgs") else {
        return unknown;
    };
    if !gathering.live || !nix::unistd::getuid().is_root() {
        return unknown;
    }
    let mut groups = Map::new();
    for fields in rows(gathering, &program) {
        let [name, disks, volumes, .., size, free] = fields.as_slice() else {
            continue;
        };
        groups.insert(
            name.clone(),
            json!({"size_g": size, "free_g": free, "num_lvs": volumes, "num_pvs": disks, "lvs": {}}),
        );
    }
    let mut volumes = Map::new();
    if let Some(program) = gathering.program("lvs") {
        for fields in rows(gathering, &program) {
            let [name, group, _, size, ..] = fields.as_slice() else {
                continue;
            };
            volumes.insert(name.clone(), json!({"size_g": size, "vg": group}));
            match groups.get_mut(group) {
                Some(group) => group["lvs"][name] = json!({"size_g": size}),
                None => gathering.context.warn(
                    "An LVM volume group was created while gathering LVM facts, and is not included in ansible_facts['vgs'].",
                ),
            }
        }
    }
    let mut disks = Map::new();
    if let Some(program) = gathering.program("pvs") {
        for fields in rows(gathering, &program) {
            let [disk, group, _, _, size, free, ..] = fields.as_slice() else {
                continue;
            };
            disks.insert(
                mapped(gathering, disk),
                json!({"size_g": size, "free_g": free, "vg": group}),
            );
        }
    }
    json!({"lvs": volumes, "vgs": groups, "pvs": disks})
}

fn rows(gathering: &Gathering<'_, '_>, program: &str) -> Vec<Vec<String>> {
    let words: Vec<&str> = std::iter::once(program).chain(OPTIONS).collect();
    gathering
        .run(&words)
        .map(|done| {
            done.out()
                .lines()
                .map(|line| line.trim().split(',').map(str::to_owned).collect())
                .collect()
        })
        .unwrap_or_default()
}

/// The name of a mapped device: the kernel has it beside its number.
fn mapped(gathering: &Gathering<'_, '_>, device: &str) -> String {
    device
        .strip_prefix("/dev/dm-")
        .and_then(|number| gathering.content(&format!("/sys/block/dm-{number}/dm/name")))
        .map_or_else(|| device.to_owned(), |name| format!("/dev/mapper/{name}"))
}
