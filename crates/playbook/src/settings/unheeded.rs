//! Settings that mean something to ansible-core and nothing here, told of when somebody sets them to anything else than
//! their default.

use super::{Settings, Sources};
use crate::source::{Located, Notice};

/// Their names in the documentation, and what holds here.
const UNHEEDED: &[(&str, &str)] = &[
    (
        "PLAYBOOK_VARS_ROOT",
        "group_vars and host_vars are looked for beside the inventory and the playbook",
    ),
    (
        "MODULE_STRICT_UTF8_RESPONSE",
        "what modules answer is text, with a replacement for what is none",
    ),
];

/// Tells of those that were set.
pub(crate) fn unheeded(sources: &Sources) -> Vec<Notice> {
    UNHEEDED
        .iter()
        .filter_map(|(name, instead)| {
            let entry = Settings::entries()
                .iter()
                .find(|entry| entry.name == *name)?;
            sources.raw(entry.environment, entry.keys)?;
            // What is no value of it is an error where the settings are read.
            let (value, _) = sources.value(name)?.ok()?;
            let written = consort_jinja::repr::text(&value);
            (Some(written.as_str()) != entry.default).then(|| {
                Notice::Warning(Located::new(format!(
                    "The setting {name} is {written}, which has no effect: {instead}."
                )))
            })
        })
        .collect()
}
