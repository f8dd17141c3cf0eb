//! The provisioners there are: `local-exec`, `remote-exec` and `file`.
//!
//! They say what Terraform's say, line by line, and fail with its words. `remote-exec` and `file` go over SSH
//! as a `connection` block describes it; WinRM is refused.

mod connection;
mod file;
mod lines;
mod local_exec;
mod remote_exec;

use std::sync::Arc;

use consort_hcl::{Diagnostics, Type, Value};

use crate::engine::{Provision, Provisioners};
use crate::provider::Call;
use crate::provider::schema::{Attribute, Block};

/// The provisioners of this program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Builtin;

fn optional(ty: Type) -> Attribute {
    Attribute::new(ty).optional()
}

impl Provisioners for Builtin {
    fn schema(&self, kind: &str) -> Option<Arc<Block>> {
        let strings = || Type::list(Type::String);
        let block = match kind {
            "local-exec" => Block::default()
                .attribute("command", Attribute::new(Type::String).required())
                .attribute("interpreter", optional(strings()))
                .attribute("working_dir", optional(Type::String))
                .attribute("environment", optional(Type::map(Type::String)))
                .attribute("quiet", optional(Type::Bool)),
            "remote-exec" => Block::default()
                .attribute("inline", optional(strings()))
                .attribute("script", optional(Type::String))
                .attribute("scripts", optional(strings())),
            "file" => Block::default()
                .attribute("source", optional(Type::String))
                .attribute("content", optional(Type::String))
                .attribute("destination", Attribute::new(Type::String).required()),
            _ => return None,
        };
        Some(Arc::new(block))
    }

    fn validate(&self, kind: &str, config: &Value) -> Diagnostics {
        let problems = match kind {
            "local-exec" => local_exec::check(config),
            "remote-exec" => remote_exec::check(config),
            "file" => file::check(config),
            _ => Vec::new(),
        };
        problems.into_iter().collect()
    }

    fn run<'a>(&'a self, provision: Provision<'a>) -> Call<'a, Result<(), String>> {
        Box::pin(async move {
            match provision.kind {
                "local-exec" => local_exec::run(&provision).await,
                "remote-exec" => remote_exec::run(&provision).await,
                "file" => file::run(&provision).await,
                kind => Err(format!("There is no provisioner {kind:?}.")),
            }
        })
    }
}

/// Where a path that an argument names leads.
fn placed(provision: &Provision<'_>, path: &str) -> std::path::PathBuf {
    match provision.directory {
        Some(directory) => directory.join(path),
        None => path.into(),
    }
}

/// An argument that is given.
fn given(config: &Value, name: &str) -> Option<Value> {
    let value = config.attribute(name).ok()?;
    (!value.is_null()).then_some(value)
}

/// An argument's text, where it is given and known.
fn text(config: &Value, name: &str) -> Option<String> {
    given(config, name)?.as_str().map(str::to_owned)
}

/// Whether an argument that must not be empty is; what is unknown may be anything.
fn is_empty(config: &Value, name: &str) -> bool {
    match config.attribute(name) {
        Ok(value) if !value.is_null() => value.as_str().is_some_and(str::is_empty),
        Ok(_) | Err(_) => true,
    }
}
