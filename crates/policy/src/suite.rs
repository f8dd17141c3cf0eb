//! Tests of policies: rules whose names begin with `test_`.
//!
//! As with OPA, a test passes if its rule is defined and not false; rules that begin with `todo_test_` are skipped. A rule
//! `test_x[name]` holds one test case for each name that its body comes to; each must be true.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::engine::{Document, Engine, Error, Event, Options, Rule, Trace};
use crate::load::Loaded;

/// What came of one test.
#[derive(Clone, Debug)]
pub struct Tested {
    /// The rule.
    pub rule: Rule,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub duration: Duration,
    /// The cases of a rule that holds several, and whether each passed.
    pub cases: Vec<(String, bool)>,
    /// What it printed, each with its place.
    pub prints: Vec<String>,
    /// Its statements, if they were asked for.
    pub trace: Trace,
}

/// What came of a test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is defined and not false.
    Passed,
    /// It is undefined or false.
    Failed,
    /// It is yet to be written.
    Skipped,
    /// It could not be evaluated.
    Broken(Error),
}

/// The tests of the modules, in their order: the first definition of each.
pub fn tests(engine: &Engine) -> Vec<Rule> {
    let mut seen = std::collections::BTreeSet::new();
    engine
        .rules()
        .iter()
        .filter(|rule| is_test(&rule.name))
        .filter(|rule| seen.insert(rule.path()))
        .cloned()
        .collect()
}

fn is_test(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.starts_with("test_") || last.starts_with("todo_test_")
}

/// Runs the tests for which `wanted` is true of the full name (`data.shop.test_deny`), and tells of each as it is done.
///
/// # Errors
/// What is wrong with the modules. What is wrong with a single test is its verdict.
pub fn run(
    loaded: &Loaded,
    options: &Options,
    wanted: &dyn Fn(&str) -> bool,
    done: &mut dyn FnMut(Tested),
) -> Result<Engine, Error> {
    let mut engine = loaded.engine(options.clone())?;
    engine.prepare()?;
    // Cases are counted by what the body comes to, which only a trace tells.
    let mut traced: Option<Engine> = None;
    for rule in tests(&engine) {
        let path = rule.path();
        if !wanted(&path) {
            continue;
        }
        let mut tested = Tested {
            rule,
            verdict: Verdict::Skipped,
            duration: Duration::ZERO,
            cases: Vec::new(),
            prints: Vec::new(),
            trace: Trace::default(),
        };
        if tested
            .rule
            .name
            .rsplit('.')
            .next()
            .is_some_and(|name| name.starts_with("todo_"))
        {
            done(tested);
            continue;
        }
        let dynamic = engine.case_variable(&tested.rule);
        let chosen = match &dynamic {
            Some(_) if !options.trace => match &mut traced {
                Some(engine) => engine,
                None => traced.insert(loaded.engine(Options {
                    trace: true,
                    ..options.clone()
                })?),
            },
            _ => &mut engine,
        };
        let start = Instant::now();
        let solutions = chosen.query(&path, None);
        tested.duration = start.elapsed();
        tested.prints = chosen.take_prints();
        tested.trace = chosen.take_trace();
        tested.verdict = match solutions {
            Err(error) => Verdict::Broken(error),
            Ok(solutions) => {
                let value = solutions
                    .into_iter()
                    .next()
                    .and_then(|mut solution| solution.expressions.pop())
                    .map(|(_, value)| value);
                match (&dynamic, value) {
                    (Some(variable), value) => {
                        tested.cases =
                            cases(variable.as_deref(), &path, value.as_ref(), &tested.trace);
                        let all = !tested.cases.is_empty()
                            && tested.cases.iter().all(|(_, passed)| *passed);
                        if all {
                            Verdict::Passed
                        } else {
                            Verdict::Failed
                        }
                    }
                    (None, Some(value)) if !value.is_false() => Verdict::Passed,
                    _ => Verdict::Failed,
                }
            }
        };
        if !options.trace {
            tested
                .trace
                .events
                .retain(|event| matches!(event, Event::Note(_)));
        }
        done(tested);
    }
    Ok(engine)
}

/// Each name that the body came to, and whether it is true in what the rule made.
fn cases(
    variable: Option<&str>,
    path: &str,
    made: Option<&Document>,
    trace: &Trace,
) -> Vec<(String, bool)> {
    let mut cases: BTreeMap<String, bool> = BTreeMap::new();
    for event in &trace.events {
        let Event::Statement { rule, held, .. } = event else {
            continue;
        };
        if rule != path {
            continue;
        }
        for (name, value) in held.iter().flatten() {
            if Some(name.as_str()) == variable
                && let Some(name) = value.as_str()
            {
                cases.entry(name.to_owned()).or_insert(false);
            }
        }
    }
    for (name, value) in made.and_then(Document::fields).unwrap_or_default() {
        cases.insert(name, value.is_true());
    }
    cases.into_iter().collect()
}
