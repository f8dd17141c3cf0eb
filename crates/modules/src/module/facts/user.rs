//! Who gathers, and in what environment.

use serde_json::json;

use super::{Facts, Gathering};
use crate::names;

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    if !gathering.live {
        return facts;
    }
    let own = nix::unistd::getuid();
    let by_id = || names::user_of(own);
    let name = ["LOGNAME", "USER", "LNAME", "USERNAME"]
        .iter()
        .filter_map(|name| gathering.context.variable(name))
        .find(|name| !name.is_empty())
        .or_else(|| by_id().map(|user| user.name));
    let Some(name) = name else {
        return facts;
    };
    let user = names::user(&name).or_else(by_id);
    facts.insert("user_id".to_owned(), json!(name));
    let Some(user) = user else {
        return Facts::new();
    };
    facts.extend([
        ("user_uid".to_owned(), json!(user.uid.as_raw())),
        ("user_gid".to_owned(), json!(user.gid.as_raw())),
        ("user_gecos".to_owned(), json!(user.gecos.to_string_lossy())),
        ("user_dir".to_owned(), json!(user.dir)),
        ("user_shell".to_owned(), json!(user.shell)),
        ("real_user_id".to_owned(), json!(own.as_raw())),
        (
            "effective_user_id".to_owned(),
            json!(nix::unistd::geteuid().as_raw()),
        ),
        (
            "real_group_id".to_owned(),
            json!(nix::unistd::getgid().as_raw()),
        ),
        // That of Ansible is the real one as well.
        (
            "effective_group_id".to_owned(),
            json!(nix::unistd::getgid().as_raw()),
        ),
    ]);
    facts
}

pub(super) fn environment(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    if gathering.live {
        let mut variables: Facts = std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    json!(value.to_string_lossy()),
                )
            })
            .collect();
        for (name, value) in &gathering.context.settings.environment {
            variables.insert(name.clone(), json!(value));
        }
        // A shell that starts a module says where it is.
        variables.entry("PWD").or_insert_with(|| {
            let place = gathering.context.path(".");
            let place = place.canonicalize().unwrap_or(place);
            json!(place.to_string_lossy())
        });
        facts.insert("env".to_owned(), variables.into());
    }
    facts
}
