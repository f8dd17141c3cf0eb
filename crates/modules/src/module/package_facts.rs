//! `package_facts`: the packages of the machine, by their names.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::apt::installed::Installed;
use crate::arguments::{Kind, Spec, list, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::locale;
use crate::process::{self, Command, Finished};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "package_facts",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("manager", list(Kind::Text).default(json!(["auto"])))
        .with(
            "strategy",
            text().default("first").choices(&["first", "all"]),
        )
        .supports_check_mode()
});

/// What lists packages: its name, and other names it is asked for by.
const MANAGERS: [(&str, &[&str]); 7] = [
    ("apk", &[]),
    ("apt", &[]),
    ("pacman", &[]),
    ("pkg", &["pkg5", "pkgng"]),
    ("pkg_info", &["openbsd_pkg"]),
    ("portage", &[]),
    ("rpm", &["dnf", "dnf5", "yum", "zypper"]),
];

/// Packages, each with its name.
type Packages = Vec<Map<String, Value>>;

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let asked = arguments.texts("manager");
    let mut names: Vec<&str> = MANAGERS.iter().map(|(name, _)| *name).collect();
    // The other names stand behind in the order of what they stand for: rpm's first.
    for of in ["rpm", "pkg", "pkg_info"] {
        names.extend(
            MANAGERS
                .iter()
                .filter(|(name, _)| *name == of)
                .flat_map(|(_, others)| *others),
        );
    }
    let mut managers: Vec<String> = asked.iter().map(|name| name.to_lowercase()).collect();
    if let Some(at) = managers.iter().position(|name| name == "auto") {
        managers.remove(at);
        managers.extend(names.iter().map(|name| (*name).to_owned()));
    }
    let unsupported: Vec<&str> = managers
        .iter()
        .map(String::as_str)
        .filter(|name| !names.contains(name))
        .collect();
    if !unsupported.is_empty() {
        return Err(Failure::new(if asked.iter().any(|name| name == "auto") {
            "Could not auto detect a usable package manager, check warnings for details.".to_owned()
        } else {
            format!(
                "Unsupported package managers requested: {}",
                unsupported.join(", ")
            )
        }));
    }
    let only_first = arguments.text("strategy") == Some("first");
    let mut packages: Map<String, Value> = Map::new();
    let mut seen: Vec<&str> = Vec::new();
    let mut found = 0;
    for name in &managers {
        if only_first && found > 0 {
            break;
        }
        let manager = MANAGERS
            .iter()
            .find(|(_, others)| others.contains(&name.as_str()))
            .map_or(name.as_str(), |(manager, _)| manager);
        if seen.contains(&manager) {
            continue;
        }
        seen.push(manager);
        let program = match program_of(context, manager) {
            Ok(program) => program,
            Err(failure) => {
                if asked.iter().any(|asked| asked == manager) {
                    context.warn(format!(
                        "Requested package manager {manager} was not usable by this module: {}",
                        failure.message
                    ));
                }
                continue;
            }
        };
        let listed = list_of(context, manager, &program).unwrap_or_else(|wrong| {
            context.warn(format!(
                "Failed to retrieve packages with {manager}: {wrong}"
            ));
            Packages::new()
        });
        if listed.is_empty() {
            context.warn(format!("Found \"{manager}\" but no associated packages"));
            continue;
        }
        found += 1;
        for mut package in listed {
            package.entry("source").or_insert_with(|| json!(manager));
            let name = package
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned();
            if let Value::Array(all) = packages.entry(name).or_insert_with(|| json!([])) {
                all.push(package.into());
            }
        }
    }
    if found == 0 {
        return Err(Failure::new(format!(
            "Could not detect a supported package manager from the following list: {}, or the required Python library is not installed. Check warnings for details.",
            python::repr_value(&json!(managers))
        )));
    }
    Ok(Report::from_iter([(
        "ansible_facts".to_owned(),
        json!({"packages": packages}),
    )]))
}

/// The program of a manager. For Debian's packages, dpkg's records have to be there as well.
fn program_of(context: &Context<'_>, manager: &str) -> Result<String, Failure> {
    match manager {
        "apt" => {
            let program = ["apt", "apt-get", "aptitude"]
                .iter()
                .find_map(|name| process::find(context, name, &[]));
            match program {
                Some(program) if context.path("/var/lib/dpkg/status").exists() => Ok(program),
                _ => process::required(context, "apt", &[]),
            }
        }
        "portage" => process::required(context, "qlist", &[]),
        name => process::required(context, name, &[]),
    }
}

fn run(context: &Context<'_>, words: &[&str]) -> Result<Finished, String> {
    let locale = locale::readable(context);
    Command::new(words.iter().copied())
        .literal()
        .variable("LC_ALL", locale)
        .try_run(context)
        .map_err(|error| python::os_error(&error))
}

/// What a program says that lists packages.
fn said(context: &Context<'_>, words: &[&str], silent: bool) -> Result<String, String> {
    let done = run(context, words)?;
    if !done.success() || (silent && !done.stderr.is_empty()) {
        return Err(format!(
            "Unable to list packages rc={} : {}",
            done.code,
            done.err()
        ));
    }
    Ok(done.out())
}

/// A package of fields.
fn package(fields: &[(&str, &str)]) -> Map<String, Value> {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect()
}

fn list_of(context: &Context<'_>, manager: &str, program: &str) -> Result<Packages, String> {
    match manager {
        "apt" => Ok(of_dpkg(context)),
        "rpm" => of_rpm(context, program),
        "pacman" => of_pacman(context, program),
        "apk" => of_apk(context, program),
        "portage" => of_portage(context, program),
        "pkg" => of_pkg(context, program),
        _ => of_pkg_info(context, program),
    }
}

fn of_dpkg(context: &Context<'_>) -> Packages {
    let installed = Installed::read(context);
    let all = installed.all();
    let mut packages = Packages::with_capacity(all.len());
    let mut named = Vec::with_capacity(all.len());
    for (name, fields) in &all {
        let architecture = fields.field("Architecture").unwrap_or("");
        let is_own = architecture == "all" || architecture == installed.architecture;
        let name = if is_own {
            (*name).to_owned()
        } else {
            format!("{name}:{architecture}")
        };
        packages.push(package(&[
            ("name", &name),
            ("version", fields.version().unwrap_or("")),
            ("arch", architecture),
            ("category", fields.field("Section").unwrap_or("")),
        ]));
        named.push(name);
    }
    let origins = origins(context, &named);
    for (package, name) in packages.iter_mut().zip(named) {
        let origin = origins.get(&name).map_or("", String::as_str);
        package.insert("origin".to_owned(), json!(origin));
    }
    packages
}

/// Where installed packages come from: what the repository that has the installed version calls itself. Only apt can tell,
/// and knows nothing without lists of repositories.
fn origins(context: &Context<'_>, names: &[String]) -> HashMap<String, String> {
    let has_lists = std::fs::read_dir(context.path("/var/lib/apt/lists")).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    });
    let Some(program) = process::find(context, "apt-cache", &[]).filter(|_| has_lists) else {
        return HashMap::new();
    };
    let sources = run(context, &[&program, "policy"])
        .unwrap_or_default()
        .out();
    let repositories = repositories(&sources);
    let mut origins = HashMap::new();
    for chunk in names.chunks(2000) {
        let words: Vec<&str> = [program.as_str(), "policy"]
            .into_iter()
            .chain(chunk.iter().map(String::as_str))
            .collect();
        let told = run(context, &words).unwrap_or_default().out();
        let mut name = "";
        let mut is_installed = false;
        for line in told.lines() {
            if !line.starts_with(' ') {
                name = line.trim_end_matches(':');
                is_installed = false;
            } else if line.starts_with(" *** ") {
                is_installed = true;
            } else if line.starts_with("     ") && !line.starts_with("        ") {
                is_installed = false;
            } else if is_installed && !origins.contains_key(name) {
                let origin = line
                    .trim()
                    .split_once(' ')
                    .and_then(|(_, place)| repositories.get(place));
                if let Some(origin) = origin {
                    origins.insert(name.to_owned(), origin.clone());
                }
            }
        }
    }
    origins
}

/// What repositories call themselves, by their places as `apt-cache policy` shows them.
fn repositories(told: &str) -> HashMap<&str, String> {
    let mut repositories = HashMap::new();
    let mut place = "";
    for line in told.lines() {
        let line = line.trim();
        if let Some(release) = line.strip_prefix("release ") {
            let origin = release
                .split(',')
                .find_map(|part| part.strip_prefix("o="))
                .unwrap_or("");
            if place != "/var/lib/dpkg/status" {
                repositories.insert(place, origin.to_owned());
            }
        } else if let Some((priority, rest)) = line.split_once(' ')
            && priority.parse::<i32>().is_ok()
        {
            place = rest;
        }
    }
    repositories
}

fn of_rpm(context: &Context<'_>, program: &str) -> Result<Packages, String> {
    let told = said(
        context,
        &[
            program,
            "-qa",
            "--qf",
            "%{NAME}|%{VERSION}|%{RELEASE}|%{EPOCH}|%{ARCH}\\n",
        ],
        false,
    )?;
    Ok(told
        .trim()
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line
                .split('|')
                .map(|field| if field == "(none)" { "None" } else { field })
                .collect();
            let [name, version, release, epoch, arch] = fields.as_slice() else {
                return None;
            };
            Some(package(&[
                ("name", name),
                ("version", version),
                ("release", release),
                ("epoch", epoch),
                ("arch", arch),
            ]))
        })
        .collect())
}

fn of_pacman(context: &Context<'_>, program: &str) -> Result<Packages, String> {
    let told = said(context, &[program, "-Qi"], true)?;
    let mut packages = Packages::new();
    for stanza in told
        .split("\n\n")
        .filter(|stanza| !stanza.trim().is_empty())
    {
        let mut fields: Vec<(&str, String)> = Vec::new();
        for line in stanza.lines() {
            let named = line
                .split_once(" : ")
                .map(|(name, value)| (name.trim_end(), value))
                .filter(|(name, _)| {
                    !name.is_empty()
                        && name
                            .chars()
                            .all(|c| c.is_alphanumeric() || c == '_' || c.is_whitespace())
                });
            match (named, fields.last_mut()) {
                (Some((name, value)), _) => fields.push((name, value.to_owned())),
                (None, Some((_, last))) => {
                    last.push_str("  ");
                    last.push_str(line.trim_start());
                }
                (None, None) => {}
            }
        }
        let value = |wanted: &str| {
            fields
                .iter()
                .find(|(name, _)| *name == wanted)
                .map_or("", |(_, value)| value.as_str())
        };
        let mut told = package(&[
            ("name", value("Name")),
            ("version", value("Version")),
            ("arch", value("Architecture")),
        ]);
        let provides = match value("Provides") {
            "None" => Value::Null,
            provides => provides
                .split("  ")
                .map(|name| json!(name.split('=').next()))
                .collect(),
        };
        told.insert("provides".to_owned(), provides);
        packages.push(told);
    }
    Ok(packages)
}

fn of_apk(context: &Context<'_>, program: &str) -> Result<Packages, String> {
    let told = said(
        context,
        &[
            program,
            "query",
            "--installed",
            "--fields",
            "name,version",
            "--format",
            "json",
            "*",
        ],
        false,
    )?;
    let listed: Vec<Value> = serde_json::from_str(&told).map_err(|error| error.to_string())?;
    listed
        .iter()
        .map(|entry| {
            let full = entry["version"].as_str().unwrap_or("");
            let (version, release) = full
                .rsplit_once('-')
                .ok_or("not enough values to unpack (expected 2, got 1)")?;
            Ok(package(&[
                ("name", entry["name"].as_str().unwrap_or("")),
                ("version", version),
                ("release", release),
            ]))
        })
        .collect()
}

/// The fields of a line by their names, as far as there are any.
fn zipped<'a>(names: &[&str], values: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    names
        .iter()
        .zip(values)
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect()
}

fn of_portage(context: &Context<'_>, program: &str) -> Result<Packages, String> {
    const NAMES: [&str; 7] = [
        "category",
        "name",
        "version",
        "ebuild_revision",
        "slots",
        "prefixes",
        "sufixes",
    ];
    let done = Command::shell(format!("{program} -Iv | xargs -n 1024 qatom"))
        .try_run(context)
        .map_err(|error| python::os_error(&error))?;
    if !done.success() {
        return Err(format!(
            "Unable to list packages rc={} : {}",
            done.code,
            done.err()
        ));
    }
    Ok(done
        .out()
        .lines()
        .map(|line| zipped(&NAMES, line.split_whitespace()))
        .collect())
}

fn of_pkg(context: &Context<'_>, program: &str) -> Result<Packages, String> {
    const NAMES: [&str; 9] = [
        "name",
        "version",
        "origin",
        "installed",
        "automatic",
        "arch",
        "category",
        "prefix",
        "vital",
    ];
    let told = said(
        context,
        &[program, "query", "%n\t%v\t%R\t%t\t%a\t%q\t%o\t%p\t%V"],
        true,
    )?;
    let mut packages = Packages::new();
    for line in told.lines() {
        let mut package = zipped(&NAMES, line.split('\t'));
        let text = |package: &Map<String, Value>, name: &str| {
            package.get(name).and_then(Value::as_str).map(str::to_owned)
        };
        if let Some(arch) =
            text(&package, "arch").and_then(|arch| arch.split(':').nth(2).map(str::to_owned))
        {
            package.insert("arch".to_owned(), json!(arch));
        }
        for name in ["automatic", "vital"] {
            if let Some(flag) = text(&package, name) {
                package.insert(name.to_owned(), json!(flag != "0"));
            }
        }
        if let Some(category) = text(&package, "category") {
            package.insert("category".to_owned(), json!(category.split('/').next()));
        }
        if let Some(version) = text(&package, "version") {
            let (version, epoch) = match version.split_once(',') {
                Some((version, epoch)) => (version, json!(epoch)),
                None => (version.as_str(), json!(0)),
            };
            let (version, revision) = version.split_once('_').unwrap_or((version, "0"));
            package.insert("version".to_owned(), json!(version));
            package.insert("port_epoch".to_owned(), epoch);
            package.insert("revision".to_owned(), json!(revision));
        }
        packages.push(package);
    }
    Ok(packages)
}

fn of_pkg_info(context: &Context<'_>, program: &str) -> Result<Packages, String> {
    let told = said(context, &[program, "-a"], true)?;
    Ok(told
        .lines()
        .filter_map(|line| {
            let first = line.split_whitespace().next()?;
            let (name, version) = first.rsplit_once('-').unwrap_or((line, ""));
            Some(package(&[("name", name), ("version", version)]))
        })
        .collect())
}
