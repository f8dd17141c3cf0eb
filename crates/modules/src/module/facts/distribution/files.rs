//! What the files of single distributions tell.

use serde_json::{Value, json};

use super::QUOTES;
use crate::module::facts::{Facts, Gathering};

/// A file a distribution may be recognized by.
pub(super) struct File<'a> {
    pub path: &'a str,
    /// The distribution it would be.
    pub name: &'a str,
    pub text: &'a str,
}

pub(super) type Found = Facts;

fn set(found: &mut Found, name: &str, value: &str) {
    found.insert(format!("distribution{name}"), json!(value));
}

/// What stands behind a word, up to the end of the line.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let rest = &text[text.find(word)? + word.len()..];
    rest.split('\n').next()
}

/// What stands behind a word that ends with a quote, up to the last quote of the line.
fn quoted<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.match_indices(word).find_map(|(at, _)| {
        let line = text[at + word.len()..].split('\n').next()?;
        Some(&line[..line.rfind('"')?])
    })
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

pub(super) fn slackware(file: &File<'_>) -> Option<Found> {
    if !file.text.contains("Slackware") {
        return None;
    }
    let mut found = Found::default();
    set(&mut found, "", file.name);
    // Letters or digits, a point, letters or digits, perhaps a plus.
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let version = file.text.match_indices('.').find_map(|(at, _)| {
        let start = file.text[..at]
            .char_indices()
            .rev()
            .take_while(|(_, c)| is_word(*c))
            .last()?
            .0;
        let rest = &file.text[at + 1..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let plus = usize::from(rest[end..].starts_with('+'));
        (end > 0).then(|| &file.text[start..at + 1 + end + plus])
    });
    if let Some(version) = version {
        set(&mut found, "_version", version);
    }
    Some(found)
}

pub(super) fn amazon(file: &File<'_>) -> Option<Found> {
    if !file.text.contains("Amazon") {
        return None;
    }
    let mut found = Found::default();
    set(&mut found, "", "Amazon");
    if file.path == "/etc/os-release" {
        if let Some(version) = quoted(file.text, "VERSION_ID=\"") {
            let (major, minor) = version.split_once('.').unwrap_or((version, "NA"));
            set(&mut found, "_version", version);
            set(&mut found, "_major_version", major);
            set(&mut found, "_minor_version", minor);
        }
    } else {
        let version = file
            .text
            .split_whitespace()
            .find(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
            .unwrap_or("NA");
        set(&mut found, "_version", version);
    }
    Some(found)
}

/// The version and the codename of files with `DISTRIB_RELEASE`.
fn distrib(file: &File<'_>) -> Found {
    let mut found = Found::default();
    set(&mut found, "", file.name);
    if let Some(version) = quoted(file.text, "DISTRIB_RELEASE=\"") {
        set(&mut found, "_version", version);
    }
    if let Some(release) = quoted(file.text, "DISTRIB_CODENAME=\"") {
        set(&mut found, "_release", release);
    }
    found
}

pub(super) fn openwrt(file: &File<'_>) -> Option<Found> {
    file.text.contains("OpenWrt").then(|| distrib(file))
}

pub(super) fn mandriva(file: &File<'_>) -> Option<Found> {
    file.text.contains("Mandriva").then(|| distrib(file))
}

/// The number of a line `VERSION_ID="15.6"` and what is behind its point.
fn version_id(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("VERSION_ID=")?;
    let rest = rest.strip_prefix('"').unwrap_or(rest);
    let digits = |text: &str| {
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let whole = digits(rest);
    if whole == 0 {
        return None;
    }
    let behind = rest[whole..].strip_prefix('.').unwrap_or(&rest[whole..]);
    let minor = &behind[..digits(behind)];
    let length = rest.len() - behind.len() + minor.len();
    Some((&rest[..length], minor))
}

pub(super) fn suse(file: &File<'_>, gathering: &Gathering<'_, '_>, facts: &Facts) -> Option<Found> {
    let lower = file.text.to_lowercase();
    if !lower.contains("suse") {
        return None;
    }
    let is_open = lower.contains("open");
    let is_enterprise = lower.contains("enterprise");
    let mut found = Found::default();
    if file.path == "/etc/os-release" {
        for line in file.text.lines() {
            if let Some(name) = line.strip_prefix("NAME=") {
                set(&mut found, "", name.trim_matches('"'));
            }
            let Some((version, minor)) = version_id(line) else {
                continue;
            };
            set(&mut found, "_version", version);
            set(&mut found, "_major_version", major(version));
            if is_open {
                set(&mut found, "_release", minor);
            } else if is_enterprise {
                set(
                    &mut found,
                    "_release",
                    if minor.is_empty() { "0" } else { minor },
                );
            }
        }
    } else if file.path == "/etc/SuSE-release" {
        let first = file.text.lines().next().unwrap_or("");
        let first = first.split_whitespace().next().unwrap_or("");
        if is_open {
            set(&mut found, "", first);
            for line in file.text.lines() {
                if let Some(name) = setting(line, "CODENAME") {
                    set(&mut found, "_release", name);
                }
            }
        } else if is_enterprise {
            set(
                &mut found,
                "",
                if file.text.contains("Server") {
                    "SLES"
                } else if file.text.contains("Desktop") {
                    "SLED"
                } else {
                    first
                },
            );
            let version = facts
                .get("distribution_version")
                .and_then(Value::as_str)
                .unwrap_or("");
            for line in file.text.lines() {
                if let Some(level) = after(line, "PATCHLEVEL = ") {
                    let level: String = level.chars().take_while(char::is_ascii_digit).collect();
                    if !level.is_empty() {
                        set(&mut found, "_release", &level);
                        set(&mut found, "_version", &format!("{version}.{level}"));
                    }
                }
            }
        }
    }
    let variant = file
        .text
        .lines()
        .find_map(|line| line.strip_prefix("VARIANT_ID="))
        .map(|id| {
            let id = id.strip_prefix('"').unwrap_or(id);
            id.split('"').next().unwrap_or(id)
        });
    let special = match variant {
        Some("server-sap" | "sles-sap") => Some("SLES_SAP"),
        Some("transactional") => Some("SL-Micro"),
        Some(_) => None,
        None => {
            const PRODUCT: &str = "/etc/products.d/baseproduct";
            let product = if gathering.is_link(PRODUCT) {
                gathering.real(PRODUCT)
            } else {
                String::new()
            };
            if product.ends_with("SLES_SAP.prod") {
                Some("SLES_SAP")
            } else if product.ends_with("SL-Micro.prod") {
                Some("SL-Micro")
            } else {
                None
            }
        }
    };
    if let Some(name) = special {
        set(&mut found, "", name);
    }
    Some(found)
}

/// The value of a line `NAME = value`.
fn setting<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = after(line, name)?;
    let value = rest.trim_start_matches(' ').strip_prefix('=')?;
    Some(value.trim()).filter(|value| !value.is_empty())
}

/// The name between parentheses of `PRETTY_NAME="Debian GNU/Linux 13 (trixie)"`.
fn name_in_parentheses(text: &str) -> Option<&str> {
    let rest = &text[text.find("PRETTY_NAME=")? + "PRETTY_NAME=".len()..];
    let before = &rest[..rest.find('(').unwrap_or(rest.len())];
    before.rmatch_indices(' ').find_map(|(at, _)| {
        if at == 0 {
            return None;
        }
        let name = &rest[at + 1..];
        let name = name.strip_prefix('(').unwrap_or(name);
        let end = name.find(')')?;
        (end > 0).then(|| &name[..end])
    })
}

/// The last word of `PRETTY_NAME="Devuan GNU/Linux 5 (daedalus)"`, with parentheses around it or not.
fn last_name(text: &str) -> Option<&str> {
    let rest = &text[text.find("PRETTY_NAME=")? + "PRETTY_NAME=".len()..];
    let rest = rest.strip_prefix('"').unwrap_or(rest);
    let before = &rest[..rest.find(['(', '"']).unwrap_or(rest.len())];
    before.rmatch_indices(' ').find_map(|(at, _)| {
        if at == 0 {
            return None;
        }
        let name = &rest[at + 1..];
        let name = name.strip_prefix('(').unwrap_or(name);
        let end = name.find([')', ' ', '"']).unwrap_or(name.len());
        (end > 0).then(|| &name[..end])
    })
}

/// The version of `VERSION_ID="…"` as the version and its first part as the major one.
fn set_version_id(found: &mut Found, text: &str) {
    if let Some(version) = quoted(text, "VERSION_ID=\"") {
        set(found, "_version", version);
        set(found, "_major_version", major(version));
    }
}

/// The codename of `VERSION_CODENAME=…`.
fn set_codename(found: &mut Found, text: &str) {
    const WORD: &str = "VERSION_CODENAME=";
    if let Some(at) = text.find(WORD) {
        let rest = &text[at + WORD.len()..];
        let rest = rest.strip_prefix('"').unwrap_or(rest);
        let name = rest.split('"').next().unwrap_or(rest);
        if !name.is_empty() {
            set(found, "_release", name);
        }
    }
}

pub(super) fn debian(file: &File<'_>, gathering: &Gathering<'_, '_>) -> Option<Found> {
    let text = file.text;
    let has = |names: &[&str]| names.iter().any(|name| text.contains(name));
    let mut found = Found::default();
    if has(&["Debian", "Raspbian"]) {
        set(&mut found, "", "Debian");
        if let Some(release) = name_in_parentheses(text) {
            set(&mut found, "_release", release);
        }
        for line in gathering.lines("/etc/debian_version") {
            if let Some(minor) = minor_in(&line) {
                set(&mut found, "_minor_version", minor);
            }
        }
    } else if has(&["Ubuntu"]) {
        set(&mut found, "", "Ubuntu");
    } else if has(&["SteamOS"]) {
        set(&mut found, "", "SteamOS");
    } else if has(&["Kali", "Parrot"]) {
        set(
            &mut found,
            "",
            if has(&["Kali"]) { "Kali" } else { "Parrot" },
        );
        if let Some(release) = after(text, "DISTRIB_RELEASE=") {
            set(&mut found, "_release", release);
        }
    } else if has(&["Devuan"]) {
        set(&mut found, "", "Devuan");
        if let Some(release) = last_name(text) {
            set(&mut found, "_release", release);
        }
        if let Some(version) = quoted(text, "VERSION_ID=\"") {
            set(&mut found, "_version", version);
            set(&mut found, "_major_version", version);
        }
    } else if has(&["Cumulus"]) {
        set(&mut found, "", "Cumulus Linux");
        if let Some(version) = after(text, "VERSION_ID=") {
            set(&mut found, "_version", version);
            set(&mut found, "_major_version", major(version));
        }
        if let Some(release) = quoted(text, "VERSION=\"") {
            set(&mut found, "_release", release);
        }
    } else if has(&["Mint"]) {
        set(&mut found, "", "Linux Mint");
        set_version_id(&mut found, text);
    } else if has(&["UOS", "Uos", "uos"]) {
        set(&mut found, "", "Uos");
        set_codename(&mut found, text);
        set_version_id(&mut found, text);
    } else if has(&["Deepin", "deepin"]) {
        set(&mut found, "", "Deepin");
        set_codename(&mut found, text);
        set_version_id(&mut found, text);
    } else if has(&["LMDE"]) {
        set(&mut found, "", "Linux Mint Debian Edition");
    } else {
        return None;
    }
    Some(found)
}

/// The digits behind the first point between digits.
fn minor_in(line: &str) -> Option<&str> {
    line.match_indices('.').find_map(|(at, _)| {
        let rest = &line[at + 1..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        (end > 0 && line[..at].ends_with(|c: char| c.is_ascii_digit())).then(|| &rest[..end])
    })
}

pub(super) fn clear(file: &File<'_>) -> Option<Found> {
    let name = quoted(file.text, "NAME=\"")?;
    if !name.contains("Clear Linux") {
        return None;
    }
    let mut found = Found::default();
    set(&mut found, "", name);
    if let Some(version) = after(file.text, "VERSION_ID=") {
        set(&mut found, "_major_version", version);
        set(&mut found, "_version", version);
    }
    if let Some(release) = after(file.text, "ID=") {
        set(&mut found, "_release", release);
    }
    Some(found)
}

pub(super) fn centos(file: &File<'_>) -> Option<Found> {
    let mut found = Found::default();
    if file.text.contains("CentOS Stream") {
        set(&mut found, "_release", "Stream");
    } else if file.text.contains("TencentOS Server") {
        set(&mut found, "", "TencentOS");
    } else {
        return None;
    }
    Some(found)
}

pub(super) fn flatcar(file: &File<'_>) -> Found {
    let mut found = Found::default();
    if let Some(version) = after(file.text, "VERSION=") {
        let version = version.trim_matches('"');
        set(&mut found, "_major_version", major(version));
        set(&mut found, "_version", version);
    }
    found
}

/// What any `os-release` tells.
pub(super) fn any(file: &File<'_>, facts: &Facts) -> Found {
    let mut found = Found::default();
    let unknown = facts.get("distribution_version").and_then(Value::as_str) == Some("NA");
    for line in file.text.lines() {
        if let Some(name) = line.strip_prefix("NAME=") {
            set(&mut found, "", name.trim_matches(QUOTES));
        }
        if let Some(version) = line.strip_prefix("VERSION=")
            && unknown
        {
            set(&mut found, "_version", version.trim_matches(QUOTES));
        }
    }
    found
}
