//! The distribution: found by the files each of them has.

use serde_json::{Value, json};

use super::distro::{Distro, capitalized};
use super::platform::Uname;
use super::{Facts, Gathering};

mod families;
mod files;

use files::{File, Found};

/// The characters that do not count around what a file says.
const QUOTES: [char; 3] = ['\'', '"', '\\'];

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let system = Uname::of(gathering);
    let distro = Distro::of(gathering);
    let mut facts = Facts::from_iter([
        ("distribution".to_owned(), json!(system.system)),
        ("distribution_release".to_owned(), json!(system.release)),
        ("distribution_version".to_owned(), json!(system.version)),
    ]);
    if system.system == "Linux" {
        facts.extend(guess(&distro));
        read_files(gathering, &distro, &mut facts);
    }
    let name = facts
        .get("distribution")
        .and_then(Value::as_str)
        .unwrap_or("");
    let family = families::of(name).unwrap_or(name).to_owned();
    facts.insert("os_family".to_owned(), json!(family));
    facts
}

/// The name Ansible has for a distribution before it looks at its files.
fn guessed_name(distro: &Distro) -> String {
    match capitalized(&distro.id()).as_str() {
        "Amzn" => "Amazon".to_owned(),
        "Rhel" => "Redhat".to_owned(),
        "" => "OtherLinux".to_owned(),
        name => name.to_owned(),
    }
}

/// What the distribution calls itself, in Ansible's words, and its version.
pub(crate) fn name_and_version(gathering: &Gathering<'_, '_>) -> (String, String) {
    let distro = Distro::of(gathering);
    (guessed_name(&distro), guessed_version(&distro))
}

fn guessed_version(distro: &Distro) -> String {
    match distro.id().as_str() {
        "centos" => {
            let best = distro.version(true);
            best.split('.').take(2).collect::<Vec<_>>().join(".")
        }
        "debian" => distro.version(true),
        _ => distro.version(false),
    }
}

fn guess(distro: &Distro) -> Facts {
    let version = guessed_version(distro);
    let filled = |text: &str| {
        if text.is_empty() {
            "NA".to_owned()
        } else {
            text.to_owned()
        }
    };
    let version = filled(&version);
    let major = filled(version.split('.').next().unwrap_or(""));
    Facts::from_iter([
        ("distribution".to_owned(), json!(guessed_name(distro))),
        ("distribution_version".to_owned(), json!(version)),
        (
            "distribution_release".to_owned(),
            json!(distro.codename().unwrap_or_else(|| "NA".to_owned())),
        ),
        ("distribution_major_version".to_owned(), json!(major)),
    ])
}

/// Where a distribution may be recognized by: the path, its name, and whether the file says it by being there.
const PLACES: [(&str, &str, bool); 23] = [
    ("/etc/altlinux-release", "Altlinux", false),
    ("/etc/oracle-release", "OracleLinux", false),
    ("/etc/slackware-version", "Slackware", false),
    ("/etc/centos-release", "CentOS", false),
    ("/etc/redhat-release", "RedHat", false),
    ("/etc/vmware-release", "VMwareESX", true),
    ("/etc/openwrt_release", "OpenWrt", false),
    ("/etc/os-release", "Amazon", false),
    ("/etc/system-release", "Amazon", false),
    ("/etc/alpine-release", "Alpine", false),
    ("/etc/arch-release", "Archlinux", true),
    ("/etc/os-release", "Archlinux", false),
    ("/etc/os-release", "SUSE", false),
    ("/etc/SuSE-release", "SUSE", false),
    ("/etc/gentoo-release", "Gentoo", false),
    ("/etc/os-release", "Debian", false),
    ("/etc/lsb-release", "Debian", false),
    ("/etc/lsb-release", "Mandriva", false),
    ("/etc/sourcemage-release", "SMGL", false),
    ("/usr/lib/os-release", "ClearLinux", false),
    ("/etc/coreos/update.conf", "Coreos", false),
    ("/etc/os-release", "Flatcar", false),
    ("/etc/os-release", "NA", false),
];

fn read_files(gathering: &Gathering<'_, '_>, distro: &Distro, facts: &mut Facts) {
    for (path, name, by_itself) in PLACES {
        let there = if by_itself {
            gathering.is_file(path)
        } else {
            gathering.is_filled_file(path)
        };
        if !there {
            continue;
        }
        let found = if by_itself {
            Some(Found::default())
        } else {
            let content = gathering.content(path).unwrap_or_default();
            let text = content.trim_matches(QUOTES);
            read_file(gathering, distro, facts, &File { path, name, text })
        };
        let Some(found) = found else {
            continue;
        };
        facts.insert("distribution".to_owned(), json!(name));
        facts.insert("distribution_file_path".to_owned(), json!(path));
        facts.insert("distribution_file_variety".to_owned(), json!(name));
        if !by_itself {
            facts.insert("distribution_file_parsed".to_owned(), json!(true));
        }
        facts.extend(found);
        return;
    }
}

/// What a file tells of its distribution; `None` if it is not of it.
fn read_file(
    gathering: &Gathering<'_, '_>,
    distro: &Distro,
    facts: &Facts,
    file: &File<'_>,
) -> Option<Found> {
    let searched = match file.name {
        "OracleLinux" => Some("Oracle Linux"),
        "RedHat" => Some("Red Hat"),
        "Altlinux" => Some("ALT"),
        "SMGL" => Some("Source Mage GNU/Linux"),
        _ => None,
    };
    if let Some(searched) = searched {
        let mut found = Found::default();
        if file.text.contains(searched) {
            found.insert("distribution".to_owned(), json!(file.name));
            found.insert(
                "distribution_file_search_string".to_owned(),
                json!(searched),
            );
        } else {
            let first = file.text.split_whitespace().next()?;
            found.insert("distribution".to_owned(), json!(first));
        }
        return Some(found);
    }
    match file.name {
        "Archlinux" => file
            .text
            .contains("Arch Linux")
            .then(|| Found::from_iter([("distribution".to_owned(), json!(file.name))])),
        "Slackware" => files::slackware(file),
        "Amazon" => files::amazon(file),
        "OpenWrt" => files::openwrt(file),
        "Alpine" => Some(Found::from_iter([
            ("distribution".to_owned(), json!("Alpine")),
            ("distribution_version".to_owned(), json!(file.text)),
        ])),
        "SUSE" => files::suse(file, gathering, facts),
        "Debian" => files::debian(file, gathering),
        "Mandriva" => files::mandriva(file),
        "ClearLinux" => files::clear(file),
        "CentOS" => files::centos(file),
        "Coreos" => (guessed_name(distro).eq_ignore_ascii_case("coreos") && !file.text.is_empty())
            .then(|| {
                let mut found = Found::default();
                if let Some(group) = file.text.strip_prefix("GROUP=") {
                    let group = group.lines().next().unwrap_or("").trim_matches('"');
                    found.insert("distribution_release".to_owned(), json!(group));
                }
                found
            }),
        "Flatcar" => (guessed_name(distro).eq_ignore_ascii_case("flatcar")
            && !file.text.is_empty())
        .then(|| files::flatcar(file)),
        "NA" => Some(files::any(file, facts)),
        _ => None,
    }
}
