//! What starts services.

use serde_json::json;

use super::{Facts, Gathering};
use crate::python;

/// Whether systemd is what starts services now.
pub(crate) fn is_systemd_managed(gathering: &Gathering<'_, '_>) -> bool {
    gathering.program("systemctl").is_some()
        && [
            "/run/systemd/system/",
            "/dev/.run/systemd/",
            "/dev/.systemd/",
        ]
        .iter()
        .any(|place| gathering.exists(place))
}

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let name = match first_process(gathering).as_deref() {
        None => by_files(gathering).to_owned(),
        Some("procd") => "openwrt_init".to_owned(),
        Some("runit-init") => "runit".to_owned(),
        Some("svscan") => "svc".to_owned(),
        Some("openrc-init") => "openrc".to_owned(),
        Some(name) => name.to_owned(),
    };
    Facts::from_iter([("service_mgr".to_owned(), json!(name))])
}

/// The name of the first process, if it tells anything.
fn first_process(gathering: &Gathering<'_, '_>) -> Option<String> {
    let name = gathering
        .content("/proc/1/comm")
        .or_else(|| {
            let said = gathering.output(&["ps", "-p", "1", "-o", "comm"])?;
            let last = said.trim_end().lines().next_back()?.to_owned();
            // An old ps that does not know its options tells of processes.
            let tells_processes = last
                .trim_start()
                .split_once(' ')
                .is_some_and(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
            (!last.trim().is_empty() && !tells_processes && last != "COMMAND").then_some(last)
        })
        .or_else(|| gathering.link("/sbin/init").ok())?;
    let name = python::basename(&name).trim().to_owned();
    (!name.is_empty() && name != "init" && !name.ends_with("sh")).then_some(name)
}

fn by_files(gathering: &Gathering<'_, '_>) -> &'static str {
    match gathering.known_text("ansible_distribution") {
        "OpenWrt" => return "openwrt_init",
        "SMGL" => return "simpleinit_msb",
        _ => {}
    }
    if is_systemd_managed(gathering) {
        "systemd"
    } else if gathering.program("initctl").is_some() && gathering.exists("/etc/init/") {
        "upstart"
    } else if gathering.exists("/sbin/openrc") {
        "openrc"
    } else if gathering.program("systemctl").is_some()
        && gathering.is_link("/sbin/init")
        && gathering
            .link("/sbin/init")
            .is_ok_and(|target| python::basename(&target) == "systemd")
    {
        "systemd"
    } else if gathering.exists("/etc/init.d/") {
        "sysvinit"
    } else if gathering.exists("/etc/dinit.d/") {
        "dinit"
    } else {
        "service"
    }
}

/// The version of systemd and what it can, where it starts services.
pub(super) fn systemd(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    if !is_systemd_managed(gathering) {
        return facts;
    }
    let said = gathering
        .program("systemctl")
        .and_then(|systemctl| gathering.output(&[&systemctl, "--version"]));
    if let Some(said) = said
        && let (Some(version), Some(features)) = (
            said.split(' ')
                .nth(1)
                .and_then(|word| word.parse::<i64>().ok()),
            said.split('\n').nth(1),
        )
    {
        facts.insert(
            "systemd".to_owned(),
            json!({"features": features, "version": version}),
        );
    }
    facts
}
