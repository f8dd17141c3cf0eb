//! `yum_repository`: sources of packages in `/etc/yum.repos.d`.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::arguments::{Argument, Arguments, Kind, Spec, boolean, list, path, text};
use crate::atomic::{self, Keep};
use crate::attributes::{self, Wanted};
use crate::context::Context;
use crate::ini::{Entries, Ini, Reading};
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "yum_repository",
    act,
};

/// Arguments that are about the file, not about the repository.
const OF_THE_FILE: [&str; 12] = [
    "mode",
    "owner",
    "group",
    "seuser",
    "serole",
    "selevel",
    "setype",
    "attributes",
    "unsafe_writes",
    "state",
    "reposdir",
    "file",
];

/// Arguments dnf makes nothing of.
const WITHOUT_EFFECT: [&str; 9] = [
    "deltarpm_metadata_percentage",
    "gpgcakey",
    "http_caching",
    "keepalive",
    "metadata_expire_filter",
    "mirrorlist_expire",
    "protect",
    "ssl_check_cert_permissions",
    "ui_repoid_vars",
];

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    let texts = || list(Kind::Text);
    let options: [(&str, Argument); 49] = [
        ("bandwidth", text()),
        ("baseurl", texts()),
        ("cost", text()),
        ("countme", boolean()),
        ("deltarpm_metadata_percentage", text()),
        ("deltarpm_percentage", text()),
        ("description", text()),
        ("enabled", boolean()),
        ("enablegroups", boolean()),
        ("exclude", texts().aliases(&["excludepkgs"])),
        (
            "failovermethod",
            text().choices(&["roundrobin", "priority"]),
        ),
        ("file", text()),
        ("gpgcakey", text().no_log(false)),
        ("gpgcheck", boolean()),
        ("gpgkey", texts().no_log(false)),
        ("module_hotfixes", boolean()),
        ("http_caching", text().choices(&["all", "packages", "none"])),
        ("include", text()),
        ("includepkgs", texts()),
        (
            "ip_resolve",
            text().choices(&["4", "6", "IPv4", "IPv6", "whatever"]),
        ),
        ("keepalive", boolean()),
        ("metadata_expire", text()),
        (
            "metadata_expire_filter",
            text().choices(&[
                "never",
                "read-only:past",
                "read-only:present",
                "read-only:future",
            ]),
        ),
        ("metalink", text()),
        ("mirrorlist", text()),
        ("mirrorlist_expire", text()),
        ("name", text().required()),
        ("password", text().no_log(true)),
        ("priority", text()),
        ("protect", boolean()),
        ("proxy", text()),
        ("proxy_password", text().no_log(true)),
        ("proxy_username", text()),
        ("repo_gpgcheck", boolean()),
        ("reposdir", path().default("/etc/yum.repos.d")),
        ("retries", text()),
        ("s3_enabled", boolean()),
        ("skip_if_unavailable", boolean()),
        ("sslcacert", text().aliases(&["ca_cert"])),
        ("ssl_check_cert_permissions", boolean()),
        ("sslclientcert", text().aliases(&["client_cert"])),
        (
            "sslclientkey",
            text().aliases(&["client_key"]).no_log(false),
        ),
        ("sslverify", boolean().aliases(&["validate_certs"])),
        (
            "state",
            text().choices(&["present", "absent"]).default("present"),
        ),
        ("throttle", text()),
        ("timeout", text()),
        ("ui_repoid_vars", text()),
        ("username", text()),
        ("async", boolean()),
    ];
    options
        .into_iter()
        .fold(Spec::new(), |spec, (name, argument)| {
            spec.with(name, argument)
        })
        .file_common()
        .required_if_any("state", "present", &["baseurl", "mirrorlist", "metalink"])
        .required_if("state", "present", &["description"])
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let directory = arguments.required("reposdir");
    if !context.path(directory).is_dir() {
        return Err(Failure::new(format!(
            "Repo directory '{directory}' does not exist."
        )));
    }
    let name = arguments.required("name");
    let file = arguments.text("file").unwrap_or(name);
    let dest = python::join(directory, &format!("{file}.repo"));
    let path = context.path(&dest);
    let mut config = if path.is_file() {
        let bytes = std::fs::read(&path)
            .map_err(|error| Failure::unhandled(python::os_error_at(&error, &path)))?;
        let mut config = Ini::default();
        let reading = Reading {
            name: &dest,
            ..Reading::default()
        };
        config
            .read(&String::from_utf8_lossy(&bytes), &reading)
            .map_err(|wrong| Failure::unhandled(wrong.into_message()))?;
        config
    } else {
        Ini::default()
    };
    let before = shown(&config);
    config.sections.shift_remove(name);
    if arguments.required("state") == "present" {
        let entries = entries(context, &arguments);
        config.sections.insert(name.to_owned(), entries);
    }
    let after = shown(&config);
    let mut changed = before != after;
    if changed && !context.settings.check {
        save(context, &config, &dest)?;
    }
    if context.path(&dest).is_file() {
        changed = Wanted::of(context, &arguments, Some(&dest)).apply(context, changed, None)?;
    }
    Ok(Report::from_iter([
        ("changed".to_owned(), changed.into()),
        ("repo".to_owned(), json!(name)),
        ("state".to_owned(), json!(arguments.get("state"))),
        (
            "diff".to_owned(),
            json!({"before_header": dest, "before": before, "after_header": dest, "after": after}),
        ),
    ]))
}

/// What is written of a repository.
fn entries(context: &mut Context<'_>, arguments: &Arguments) -> Entries {
    let mut given: Vec<(&str, &Value)> = arguments
        .values()
        .iter()
        .filter(|(name, value)| {
            SPEC.options.contains_key(name.as_str())
                && !OF_THE_FILE.contains(&name.as_str())
                && name.as_str() != "name"
                && !value.is_null()
        })
        .map(|(name, value)| match name.as_str() {
            // Its identifier is the section's name.
            "description" => ("name", value),
            other => (other, value),
        })
        .collect();
    given.sort_unstable_by_key(|(name, _)| *name);
    let mut entries = Entries::new();
    for (name, value) in given {
        if name == "async" {
            context.deprecate(
                "'async' parameter is deprecated as it has been removed on systems supported by ansible-core",
                "2.22",
            );
        } else if WITHOUT_EFFECT.contains(&name) {
            context.deprecate(
                &format!(
                    "'{name}' parameter is deprecated as it has no effect with dnf as an underlying package manager."
                ),
                "2.22",
            );
        }
        let text = match value {
            Value::Bool(flag) => i32::from(*flag).to_string(),
            Value::Array(items) => items
                .iter()
                .map(python::str_value)
                .collect::<Vec<_>>()
                .join(if matches!(name, "baseurl" | "gpgkey") {
                    "\n"
                } else {
                    " "
                }),
            other => python::str_value(other).into_owned(),
        };
        entries.insert(name.to_owned(), Some(text.into()));
    }
    entries
}

/// What a file holds, in an order that can be compared.
fn shown(config: &Ini) -> String {
    let mut names: Vec<&String> = config.sections.keys().collect();
    names.sort_unstable();
    let mut text = String::new();
    for name in names {
        text.push_str(&format!("[{name}]\n"));
        let mut entries: Vec<_> = config
            .defaults_and(&config.sections[name])
            .map(|(key, value)| (key, value.as_deref().unwrap_or_default()))
            .collect();
        entries.sort_unstable();
        for (key, value) in entries {
            text.push_str(&format!("{key} = {value}\n"));
        }
        text.push('\n');
    }
    text
}

fn save(context: &mut Context<'_>, config: &Ini, dest: &str) -> Result<(), Failure> {
    let path = context.path(dest);
    if config.sections.is_empty() {
        return std::fs::remove_file(&path).map_err(|error| {
            Failure::new(format!("Cannot remove empty repo file {dest}."))
                .with("details", python::os_error_at_text(&error, dest))
        });
    }
    // What a link leads to is written, as if the file were opened.
    let path = attributes::real_path(context, dest);
    let keep = Keep {
        attributes: true,
        unsafe_writes: false,
    };
    atomic::write(context, &path, config.write().as_bytes(), keep).map_err(|failure| {
        let why = failure
            .causes
            .first()
            .cloned()
            .unwrap_or_else(|| failure.message.clone());
        Failure::new(format!("Problems handling file {}.", python::repr(dest)))
            .with("details", why.clone())
            .because(why)
    })
}
