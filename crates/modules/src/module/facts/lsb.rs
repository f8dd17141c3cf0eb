//! What the Linux Standard Base calls the distribution.

use serde_json::{Map, json};

use super::{Facts, Gathering, distro};

/// What `lsb_release -a` tells, by its labels.
pub(super) fn release(gathering: &Gathering<'_, '_>) -> Vec<(String, String)> {
    let Some(program) = gathering.program("lsb_release") else {
        return Vec::new();
    };
    let is_of_debian = gathering.text(&program).is_some_and(|script| {
        script.contains("Mimic the output of Debian's Python-based lsb_release")
    });
    if is_of_debian && gathering.context.variable("LSB_OS_RELEASE").is_none() {
        return as_debian_does(gathering);
    }
    let said = gathering.output(&[&program, "-a"]).unwrap_or_default();
    said.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(label, value)| (label.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Debian's `lsb_release` is a shell script that shows what `os-release` has: that is read at once.
fn as_debian_does(gathering: &Gathering<'_, '_>) -> Vec<(String, String)> {
    let told = distro::os_release(gathering, "/etc/os-release")
        .or_else(|| distro::os_release(gathering, "/usr/lib/os-release"))
        .unwrap_or_default();
    let value = |name: &str| told.get(name).map_or("", String::as_str);
    let mut id = value("id").to_owned();
    if let Some(first) = id.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let name = value("name");
    if !name.is_empty() && name.to_lowercase() == id.to_lowercase() {
        name.clone_into(&mut id);
    }
    let shown = |text: &str| {
        if text.is_empty() {
            "n/a".to_owned()
        } else {
            text.to_owned()
        }
    };
    vec![
        ("Distributor ID".to_owned(), shown(&id)),
        ("Description".to_owned(), shown(value("pretty_name"))),
        ("Release".to_owned(), shown(value("version_id"))),
        ("Codename".to_owned(), shown(value("version_codename"))),
    ]
}

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut found: Map<_, _> = Map::new();
    let mut set = |name: &str, value: &str| {
        found.insert(
            name.to_owned(),
            json!(value.trim_matches(['\'', '"', '\\'])),
        );
    };
    let told = release(gathering);
    for (label, value) in &told {
        match label.as_str() {
            "LSB Version" | "Release" => set("release", value),
            "Distributor ID" => set("id", value),
            "Description" => set("description", value),
            "Codename" => set("codename", value),
            _ => {}
        }
    }
    if told.is_empty() {
        for line in gathering.lines("/etc/lsb-release") {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            for (key, fact) in [
                ("DISTRIB_ID", "id"),
                ("DISTRIB_RELEASE", "release"),
                ("DISTRIB_DESCRIPTION", "description"),
                ("DISTRIB_CODENAME", "codename"),
            ] {
                if name.contains(key) {
                    set(fact, value.trim());
                }
            }
        }
    }
    if let Some(release) = found.get("release").and_then(serde_json::Value::as_str) {
        let major = release.split('.').next().unwrap_or("").to_owned();
        found.insert("major_release".to_owned(), json!(major));
    }
    Facts::from_iter([("lsb".to_owned(), found.into())])
}
