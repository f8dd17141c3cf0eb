//! `setup`: what is known of the machine.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::json;

use crate::arguments::{Kind, Spec, integer, list, path};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::module::facts::{Gathering, Wanted, gather};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module { name: "setup", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("gather_subset", list(Kind::Text).default(json!(["all"])))
        .with("gather_timeout", integer().default(10))
        .with("filter", list(Kind::Text).default(json!([])))
        .with("fact_path", path().default("/etc/ansible/facts.d"))
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let subset = arguments.texts("gather_subset");
    let filter = arguments.texts("filter");
    let wanted = Wanted {
        subset: if subset.is_empty() {
            vec!["all".to_owned()]
        } else {
            subset
        },
        // A pattern for everything, alone, is none.
        filter: if filter == ["*"] { Vec::new() } else { filter },
    };
    let mut gathering = Gathering::here(context);
    gathering.fact_path = gathering
        .context
        .path(arguments.required("fact_path"))
        .to_string_lossy()
        .into_owned();
    if let Some(Ok(seconds @ 1..)) = arguments.integer("gather_timeout").map(u64::try_from) {
        gathering.timeout = Duration::from_secs(seconds);
    }
    let facts = gather(&mut gathering, &wanted).map_err(Failure::new)?;
    Ok(Report::from_iter([(
        "ansible_facts".to_owned(),
        facts.into(),
    )]))
}
