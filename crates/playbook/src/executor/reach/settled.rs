//! The keywords of a task that say how it is done.

use std::sync::Arc;
use std::time::Duration;

use consort_jinja::{Value, is_omit};

use crate::executor::attempt::Background;
use crate::executor::keyword::{Keywords, listed};
use crate::executor::work::{self, Work};
use crate::language::Directive;
use crate::source::Located;
use crate::variables::TaskVariables;

/// The keywords of a task that say how it is done, rendered.
pub(in crate::executor) struct Settled {
    pub(in crate::executor) check: bool,
    pub(in crate::executor) diff: bool,
    pub(in crate::executor) no_log: bool,
    pub(in crate::executor) environment: Vec<(String, String)>,
    pub(in crate::executor) timeout: Option<Duration>,
    pub(in crate::executor) background: Option<Background>,
    pub(in crate::executor) retries: Option<i64>,
    pub(in crate::executor) delay: f64,
    pub(in crate::executor) notify: Vec<Arc<str>>,
    pub(in crate::executor) delegated: bool,
    pub(in crate::executor) delegate_facts: bool,
}

impl Settled {
    /// Of a task.
    pub(in crate::executor) fn of(work: &Work, variables: &TaskVariables) -> Result<Self, Located> {
        let (run, plan) = (&work.run, &work.plan);
        let keywords = Keywords {
            templar: &run.templar,
            variables,
            task: Some(&plan.task),
        };
        let bool = |directive: Directive| keywords.bool(directive.name(), plan.keyword(directive));
        let int = |directive: Directive| keywords.int(directive.name(), plan.keyword(directive));
        for directive in [
            Directive::AnyErrorsFatal,
            Directive::Become,
            Directive::IgnoreErrors,
            Directive::IgnoreUnreachable,
            Directive::RunOnce,
        ] {
            bool(directive)?;
        }
        let limit = int(Directive::Timeout)?.unwrap_or(run.settings.task_timeout);
        if !(0..=100_000_000).contains(&limit) {
            return Err(Located::new(format!(
                "Timeout {limit} is invalid, it must be between 0 and 100000000."
            )));
        }
        Ok(Settled {
            check: bool(Directive::CheckMode)?.unwrap_or(run.options.check),
            diff: bool(Directive::Diff)?.unwrap_or(run.options.diff),
            no_log: bool(Directive::NoLog)?.unwrap_or(run.settings.no_log),
            environment: environment(work, variables)?,
            timeout: u64::try_from(limit)
                .ok()
                .filter(|limit| *limit > 0)
                .map(Duration::from_secs),
            background: work::background(
                int(Directive::Async)?.unwrap_or(0),
                int(Directive::Poll)?.unwrap_or(run.settings.poll_interval),
            ),
            retries: int(Directive::Retries)?,
            delay: keywords
                .float("delay", plan.keyword(Directive::Delay))?
                .unwrap_or(5.0),
            notify: keywords.texts("notify", plan.keyword(Directive::Notify))?,
            delegated: plan.keyword(Directive::DelegateTo).is_some(),
            delegate_facts: bool(Directive::DelegateFacts)?.unwrap_or(false),
        })
    }
}

pub(super) fn environment(
    work: &Work,
    variables: &TaskVariables,
) -> Result<Vec<(String, String)>, Located> {
    let templar = &work.run.templar;
    let mut found: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &Value| {
        let text = value
            .text()
            .map(|text| text.to_string())
            .unwrap_or_default();
        match found.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = text,
            None => found.push((name.to_owned(), text)),
        }
    };
    let gathers = matches!(
        work.plan.task.action.builtin(),
        Some("setup" | "gather_facts")
    );
    for item in listed(work.plan.keyword(Directive::Environment).cloned()) {
        let in_keyword = |error: &crate::template::Error| {
            Located::new("Error processing keyword 'environment'.")
                .about(&item)
                .because(Located::from(error))
        };
        let entries = match &item {
            Value::Dict(entries) => entries.clone(),
            other => match templar
                .render(other, variables)
                .map_err(|error| in_keyword(&error))?
            {
                Value::Dict(entries) => entries,
                value if is_omit(&value) => continue,
                _ => {
                    work.run.tell.warn(&format!(
                        "could not parse environment value, skipping: {}",
                        consort_jinja::repr::text(&Value::list(vec![item.clone()]))
                    ));
                    continue;
                }
            },
        };
        let entries: Vec<_> = entries
            .read()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for (key, value) in entries {
            let Ok(name) = key.value().text() else {
                continue;
            };
            match templar.render(&value, variables) {
                Ok(value) if is_omit(&value) => {}
                Ok(value) => set(&name, &value),
                Err(error) => {
                    let message = error.to_string();
                    let of_facts = gathers
                        && (message.contains("ansible_facts.env")
                            || message.contains("ansible_env"));
                    if !(error.undefined && of_facts) {
                        return Err(in_keyword(&error));
                    }
                }
            }
        }
    }
    Ok(found)
}
