//! What a play says, and the batches its hosts come in.

use std::sync::Arc;

use consort_jinja::Value;

use crate::executor::keyword::{Keywords, float, integer, listed};
use crate::executor::run::Run;
use crate::language::{ArgumentSpec, Directive, Play};
use crate::source::Located;
use crate::variables::TaskVariables;

/// What a play says, rendered without a host.
pub(super) struct Said {
    pub(super) name: String,
    pub(super) patterns: Vec<String>,
    pub(super) check: bool,
    pub(super) gather_facts: Option<bool>,
    pub(super) gather_subset: Option<Value>,
    pub(super) gather_timeout: Option<Value>,
    pub(super) fact_path: Option<Value>,
    pub(super) force_handlers: bool,
    pub(super) max_fail_percentage: Option<f64>,
    pub(super) serial: Vec<Value>,
    pub(super) strategy: String,
    pub(super) order: Option<String>,
    /// The name and options of the specification its variables are checked by.
    pub(super) argument_spec: Option<ArgumentSpec>,
}

impl Said {
    pub(super) fn of(run: &Run, play: &Play, seen: &TaskVariables) -> Result<Self, Located> {
        let keywords = Keywords {
            templar: &run.templar,
            variables: seen,
            task: None,
        };
        let written = |directive: Directive| play.scope.directives.get(directive);
        let value = |directive: Directive| keywords.value(directive.name(), written(directive));
        let text = |directive: Directive| keywords.text(directive.name(), written(directive));
        let patterns: Vec<String> = keywords
            .texts("hosts", written(Directive::Hosts))?
            .iter()
            .map(ToString::to_string)
            .collect();
        let Some(hosts) = written(Directive::Hosts).filter(|hosts| !matches!(hosts, Value::None))
        else {
            return Err(
                Located::new("The field 'hosts' is required but was not set.").at(&play.origin),
            );
        };
        if patterns.iter().any(|pattern| pattern.trim().is_empty()) {
            return Err(Located::new("Error processing keyword 'hosts'.")
                .about(hosts)
                .because(Located::new(
                    "Keyword 'hosts' is required, and cannot have empty values.",
                )));
        }
        let name = keywords
            .text("name", play.name.as_ref())?
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| match patterns.as_slice() {
                [] => "[]".to_owned(),
                patterns => patterns.join(","),
            });
        let prompted = seen.of_play_variables();
        Ok(Said {
            argument_spec: run.loader.keywords(play, &prompted)?.argument_spec,
            name,
            check: keywords
                .bool("check_mode", written(Directive::CheckMode))?
                .unwrap_or(run.options.check),
            gather_facts: keywords.bool("gather_facts", written(Directive::GatherFacts))?,
            gather_subset: value(Directive::GatherSubset)?,
            gather_timeout: value(Directive::GatherTimeout)?,
            fact_path: value(Directive::FactPath)?,
            force_handlers: keywords
                .bool("force_handlers", written(Directive::ForceHandlers))?
                .unwrap_or(run.options.force_handlers),
            max_fail_percentage: match value(Directive::MaxFailPercentage)? {
                None | Some(Value::None) => None,
                Some(given) => Some(percentage(&given).ok_or_else(|| {
                    Located::new(format!(
                        "The value {} could not be converted to 'percent'.",
                        consort_jinja::repr::repr(&given)
                    ))
                })?),
            },
            serial: listed(value(Directive::Serial)?),
            strategy: text(Directive::Strategy)?.unwrap_or_else(|| run.settings.strategy.clone()),
            order: text(Directive::Order)?,
            patterns,
        })
    }
}

fn percentage(value: &Value) -> Option<f64> {
    match value {
        Value::Str(text) => text.replace('%', "").trim().parse().ok(),
        value => float(value),
    }
}

/// The batches of the hosts of a play: sizes one after the other, the last again and again.
pub(super) fn batches(hosts: &[Arc<str>], serial: &[Value]) -> Result<Vec<Vec<Arc<str>>>, Located> {
    let mut batches = Vec::new();
    let mut rest = hosts;
    let mut at = 0;
    while !rest.is_empty() {
        let size = match serial.get(at.min(serial.len().saturating_sub(1))) {
            Some(size) => batch_size(size, hosts.len())?,
            None => 0,
        };
        if size == 0 || size >= rest.len() {
            batches.push(rest.to_vec());
            break;
        }
        let (batch, left) = rest.split_at(size);
        batches.push(batch.to_vec());
        rest = left;
        at += 1;
    }
    Ok(batches)
}

fn batch_size(size: &Value, count: usize) -> Result<usize, Located> {
    let wrong = || {
        Located::parser(format!(
            "Error processing keyword 'serial': The value {} is neither a number of hosts nor a percentage of them.",
            consort_jinja::repr::repr(size)
        ))
        .about(size)
    };
    if let Value::Str(text) = size
        && let Some(percent) = text.trim().strip_suffix('%')
    {
        let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
        return Ok(((percent / 100.0 * count as f64) as usize).max(1));
    }
    let size = integer(size).ok_or_else(wrong)?;
    Ok(usize::try_from(size).unwrap_or(0))
}
