//! What installs packages.

use serde_json::json;

use super::{Facts, Gathering};

/// Programs of package managers; the last that is there counts.
const PROGRAMS: [(&str, &str); 26] = [
    ("/usr/bin/rpm-ostree", "atomic_container"),
    ("/usr/bin/yum", "dnf"),
    ("/usr/bin/dnf-3", "dnf"),
    ("/usr/bin/dnf5", "dnf5"),
    ("/usr/bin/apt-get", "apt"),
    ("/usr/bin/zypper", "zypper"),
    ("/usr/sbin/urpmi", "urpmi"),
    ("/usr/bin/pacman", "pacman"),
    ("/bin/opkg", "opkg"),
    ("/usr/pkg/bin/pkgin", "pkgin"),
    ("/opt/local/bin/pkgin", "pkgin"),
    ("/opt/tools/bin/pkgin", "pkgin"),
    ("/opt/local/bin/port", "macports"),
    ("/usr/local/bin/brew", "homebrew"),
    ("/opt/homebrew/bin/brew", "homebrew"),
    ("/sbin/apk", "apk"),
    ("/usr/sbin/pkg", "pkgng"),
    ("/usr/sbin/swlist", "swdepot"),
    ("/usr/bin/emerge", "portage"),
    ("/usr/sbin/pkgadd", "svr4pkg"),
    ("/usr/bin/pkg", "pkg5"),
    ("/usr/bin/xbps-install", "xbps"),
    ("/usr/local/sbin/pkg", "pkgng"),
    ("/usr/bin/swupd", "swupd"),
    ("/usr/sbin/sorcery", "sorcery"),
    ("/usr/bin/installp", "installp"),
];

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let family = gathering.known_text("ansible_os_family");
    let mut found = PROGRAMS
        .iter()
        .rev()
        .filter(|(path, _)| family != "Altlinux" || *path != "/usr/bin/pkg")
        .find(|(path, _)| gathering.exists(path))
        .map_or("unknown", |(_, name)| name);
    match family {
        "RedHat" => found = of_red_hat(gathering),
        "Debian" => found = "apt",
        "Altlinux" if found == "apt" => found = "apt_rpm",
        _ => {}
    }
    if found == "apt"
        && gathering.exists("/usr/bin/rpm")
        && gathering
            .output(&["/usr/bin/rpm", "-q", "--whatprovides", "/usr/bin/apt-get"])
            .is_some()
    {
        found = "apt_rpm";
    }
    Facts::from_iter([("pkg_mgr".to_owned(), json!(found))])
}

fn of_red_hat(gathering: &Gathering<'_, '_>) -> &'static str {
    if gathering.exists("/run/ostree-booted") {
        return "atomic_container";
    }
    match ["/usr/bin/dnf", "/usr/bin/microdnf"]
        .iter()
        .find(|path| gathering.exists(path))
    {
        Some(path) if gathering.real(path) == "/usr/bin/dnf5" => "dnf5",
        Some(_) => "dnf",
        None => "unknown",
    }
}
