//! Actions that take a file along for their module: `unarchive`, `uri`.

use consort_jinja::{Dict, Value};

use super::given::{Given, copied, says, set, take, without};
use super::machine::{Source, Temporary, exists, expand_user, stat};
use super::{Action, Failure, Outcome, Traits};
use crate::connection::Call;
use crate::executor::{Attempt, ModuleCall};
use crate::paths;

/// `unarchive`: an archive of the controller, unpacked on the machine.
pub(super) struct Unarchive;

impl Action for Unarchive {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move {
            let temporary = Temporary::of(attempt);
            let outcome = unarchive(attempt, &temporary, &arguments).await;
            temporary.remove().await;
            outcome
        })
    }
}

async fn unarchive(attempt: &Attempt<'_>, temporary: &Temporary<'_>, arguments: &Dict) -> Outcome {
    let inner = without(arguments, &["decrypt"]);
    let given = Given(arguments);
    let mut remote = given.flag("remote_src", false);
    if given.has("copy") {
        if given.has("remote_src") {
            return Err(Failure::new(
                "parameters are mutually exclusive: ('copy', 'remote_src')",
            ));
        }
        remote = !given.flag("copy", true);
        take(&inner, "copy");
        set(&inner, "remote_src", remote);
    }
    let (Some(source), Some(dest)) = (given.text("src"), given.text("dest")) else {
        return Err(Failure::new("src (or content) and dest are required"));
    };
    if let Some(creates) = given.text("creates").filter(|path| !path.is_empty()) {
        let creates = expand_user(attempt, &creates).await?;
        if exists(attempt, &creates).await? {
            return Err(Failure::skipped(format!("skipped, since {creates} exists")));
        }
    }
    let dest = expand_user(attempt, &dest).await?;
    let local = if remote {
        None
    } else if source.contains("://") {
        return Err(Failure::new(format!(
            "Unsupported option, an URI src ({}) is only supported when remote_src is True",
            masked(&source)
        )));
    } else {
        let path = attempt.find_file("files", &source)?;
        Some(Source::file(attempt, &path, given.flag("decrypt", true)).await?)
    };
    let there = stat(attempt, &dest, true, true).await?;
    if !says(&there, "exists") || !says(&there, "isdir") {
        return Err(Failure::new(format!(
            "dest '{dest}' must be an existing dir"
        )));
    }
    if let Some(local) = local {
        let path = temporary.put(local.content(), "source", 0o600).await?;
        set(&inner, "src", path);
    }
    attempt.module("ansible.legacy.unarchive", inner).await
}

/// An address without the password in it.
fn masked(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((who, host)) => match who.split_once(':') {
            Some((name, _)) => format!("{scheme}://{name}:********@{host}{path}"),
            None => address.to_owned(),
        },
        None => address.to_owned(),
    }
}

/// `uri`: a request, with a body that may be a file of the controller.
pub(super) struct Uri;

impl Action for Uri {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move {
            let temporary = Temporary::of(attempt);
            let outcome = uri(attempt, &temporary, &arguments).await;
            // What runs in the background needs its files.
            if attempt.background.is_none() {
                temporary.remove().await;
            }
            outcome
        })
    }

    fn traits(&self) -> Traits {
        Traits {
            background: true,
            check_mode: false,
            ..Traits::default()
        }
    }
}

async fn uri(attempt: &Attempt<'_>, temporary: &Temporary<'_>, arguments: &Dict) -> Outcome {
    let given = Given(arguments);
    let inner = copied(arguments);
    let put = async |name: &str| -> Result<String, Failure> {
        let path = attempt.find_file("files", name)?;
        let source = Source {
            path: path.clone(),
            bytes: None,
        };
        temporary
            .put(
                source.content(),
                paths::basename(&path.to_string_lossy()),
                0o600,
            )
            .await
    };
    if !given.flag("remote_src", false) {
        if let Some(src) = given.text("src").filter(|src| !src.is_empty()) {
            set(&inner, "src", put(&src).await?);
        } else if given.text("body_format").as_deref() == Some("form-multipart") {
            let body = match given.get("body") {
                Some(Value::Dict(body)) => body,
                other => {
                    return Err(Failure::new(format!(
                        "body must be mapping, cannot be type {}",
                        other.unwrap_or_default().type_name()
                    )));
                }
            };
            let fields = body.read().clone();
            let sent = copied(&body);
            for (key, value) in fields {
                let Value::Dict(field) = value else { continue };
                let filled = |name: &str| {
                    field
                        .get(name)
                        .filter(|value| value.truth().unwrap_or(false))
                };
                let (Some(name), None) = (filled("filename"), filled("content")) else {
                    continue;
                };
                let field = copied(&field);
                let path = put(&consort_jinja::repr::text(&name)).await?;
                set(&field, "filename", path);
                sent.change(|entries| entries.insert(key, field.into()));
            }
            set(&inner, "body", sent);
        }
    }
    let call = ModuleCall {
        background: attempt.background.is_some(),
        ..ModuleCall::default()
    };
    attempt.module_with("ansible.legacy.uri", inner, call).await
}
