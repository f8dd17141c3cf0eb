//! What keeps programs in bounds: SELinux, AppArmor, FIPS mode, a changed root.

use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use super::{Facts, Gathering};

/// SELinux. As a Python module has it through its library, the library has to be there.
pub(super) fn selinux(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    if !has_library(gathering) {
        facts.insert(
            "selinux".to_owned(),
            json!({"status": "Missing selinux Python library"}),
        );
        facts.insert("selinux_python_present".to_owned(), json!(false));
        return facts;
    }
    facts.insert("selinux_python_present".to_owned(), json!(true));
    let told = if gathering.exists("/sys/fs/selinux/enforce") {
        let number = |name: &str| {
            gathering
                .content(&format!("/sys/fs/selinux/{name}"))
                .and_then(|text| text.parse::<i64>().ok())
        };
        let settings = gathering.lines("/etc/selinux/config");
        let setting = |name: &str| {
            settings
                .iter()
                .filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))
                .next_back()
                .map(str::trim)
        };
        let configured = match setting("SELINUX").map(str::to_lowercase).as_deref() {
            Some("enforcing") => "enforcing",
            Some("permissive") => "permissive",
            Some("disabled") => "disabled",
            _ => "unknown",
        };
        json!({
            "status": "enabled",
            "policyvers": number("policyvers").map_or_else(|| json!("unknown"), |version| json!(version)),
            "config_mode": configured,
            "mode": match number("enforce") {
                Some(1) => "enforcing",
                Some(0) => "permissive",
                _ => "unknown",
            },
            "type": setting("SELINUXTYPE").unwrap_or("targeted"),
        })
    } else {
        json!({"status": "disabled"})
    };
    facts.insert("selinux".to_owned(), told);
    facts
}

fn has_library(gathering: &Gathering<'_, '_>) -> bool {
    const NAME: &str = "libselinux.so.1";
    if ["/usr/lib64", "/usr/lib", "/lib64", "/lib"]
        .iter()
        .any(|directory| gathering.exists(&format!("{directory}/{NAME}")))
    {
        return true;
    }
    if let Some(cache) = gathering.bytes("/etc/ld.so.cache") {
        return cache
            .windows(NAME.len())
            .any(|window| window == NAME.as_bytes());
    }
    ["/usr/lib", "/lib"].iter().any(|directory| {
        gathering
            .names(directory)
            .unwrap_or_default()
            .iter()
            .filter(|name| name.contains("-linux-"))
            .any(|name| gathering.exists(&format!("{directory}/{name}/{NAME}")))
    })
}

pub(super) fn apparmor(gathering: &mut Gathering<'_, '_>) -> Facts {
    let status = if gathering.exists("/sys/kernel/security/apparmor") {
        "enabled"
    } else {
        "disabled"
    };
    Facts::from_iter([("apparmor".to_owned(), json!({"status": status}))])
}

pub(super) fn fips(gathering: &mut Gathering<'_, '_>) -> Facts {
    let on = gathering
        .content("/proc/sys/crypto/fips_enabled")
        .as_deref()
        == Some("1");
    Facts::from_iter([("fips".to_owned(), json!(on))])
}

/// Whether `/` is not that of the machine.
pub(super) fn chroot(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    if !gathering.live {
        return facts;
    }
    let told = gathering
        .context
        .variable("debian_chroot")
        .is_some_and(|name| !name.is_empty());
    let identity = |path: &str| {
        std::fs::metadata(path)
            .map(|meta| (meta.ino(), meta.dev()))
            .ok()
    };
    let own = identity("/");
    let changed = told
        || match (own, identity("/proc/1/root/.")) {
            (Some(own), Some(first)) => own != first,
            // Without a look at the first process: the root of a file system has a known number.
            (own, _) => {
                let kind = gathering
                    .program("stat")
                    .and_then(|stat| gathering.run(&[&stat, "-f", "--format=%T", "/"]))
                    .map(|done| done.out())
                    .unwrap_or_default();
                let usual = if kind.contains("btrfs") {
                    256
                } else if kind.contains("xfs") {
                    128
                } else {
                    2
                };
                own.map(|(inode, _)| inode) != Some(usual)
            }
        };
    facts.insert("is_chroot".to_owned(), json!(changed));
    facts
}
