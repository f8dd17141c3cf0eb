//! The evaluation of Rego.
//!
//! An [`Engine`] holds modules and a data document; cloning one is cheap, so one that was prepared can serve many requests.
//! Documents go in once ([`Document`]) and are shared by every rule that reads them.
//!
//! ```
//! use consort_policy::{Document, Engine, Options};
//!
//! let mut engine = Engine::new(Options::default());
//! engine.add("deny.rego", "package shop\n\ndeny contains \"no\" if input.size > 3\n")?;
//! let input = Document::from(serde_json::json!({"size": 4}));
//! let denied = engine.rule("data.shop.deny", &input)?;
//! assert_eq!(denied.map(|value| value.json()), Some(serde_json::json!(["no"])));
//! # Ok::<(), consort_policy::Error>(())
//! ```

mod coverage;
mod document;
mod error;
mod guard;
mod rules;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use regorus::utils::limits::{ExecutionTimerConfig, PolicyLengthConfig};

pub use self::coverage::{Coverage, FileCoverage};
pub use self::document::Document;
pub use self::error::{Error, Kind};
pub use self::rules::{Rule, RuleKind};
pub use self::trace::{Event, Trace};
use crate::syntax;

/// Which Rego a module is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// What OPA understood before 1.0: no `if` and `contains` needed.
    V0,
    /// What OPA understands since 1.0.
    #[default]
    V1,
}

/// How an [`Engine`] evaluates.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What modules are written in that do not say so themselves.
    pub version: Version,
    /// Whether an error of a built-in function ends the evaluation; otherwise its result is undefined.
    pub strict: bool,
    /// Whether the lines that are evaluated are noted.
    pub coverage: bool,
    /// Whether the evaluation of each statement is noted (see [`Engine::take_trace`]). It costs much.
    pub trace: bool,
    /// How long one evaluation may take; without end if none.
    pub deadline: Option<Duration>,
}

/// One answer to a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// The value of each expression of the query.
    pub expressions: Vec<(String, Document)>,
    /// The values of its variables.
    pub bindings: IndexMap<String, Document>,
}

/// A module as it was given.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) version: Version,
    pub(crate) tree: syntax::Module,
    annotations: Vec<syntax::metadata::Annotation>,
}

/// Rego modules with their data, ready to be asked.
#[derive(Clone)]
pub struct Engine {
    options: Options,
    sources: Vec<Arc<Source>>,
    rules: Vec<Rule>,
    data: Document,
    /// The evaluator, once the modules are in it.
    inner: Option<regorus::Engine>,
    trace: trace::Sink,
    points: Arc<Vec<syntax::lower::Point>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("options", &self.options)
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without modules.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            sources: Vec::new(),
            rules: Vec::new(),
            data: Document::of(regorus::Value::new_object()),
            inner: None,
            trace: trace::Sink::default(),
            points: Arc::default(),
        }
    }

    /// Adds a module in the version of the [`Options`]; `file` names it in errors.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Error> {
        self.add_version(file, text, self.options.version)
    }

    /// Adds a module in a version of its own.
    pub fn add_version(&mut self, file: &str, text: &str, version: Version) -> Result<(), Error> {
        let tree = syntax::module(file, text, version)?;
        let annotations = syntax::metadata::annotations(file, &tree)?;
        self.rules.extend(rules::of(file, &tree));
        self.sources.push(Arc::new(Source {
            file: file.to_owned(),
            text: text.to_owned(),
            version,
            tree,
            annotations,
        }));
        self.inner = None;
        Ok(())
    }

    /// Replaces the data document: what `data` is beside the rules. It must be an object.
    pub fn set_data(&mut self, data: &Document) -> Result<(), Error> {
        if data.fields().is_none() {
            return Err(Error::new(
                Kind::Data,
                "the data document must be an object",
            ));
        }
        self.data = data.clone();
        self.inner = None;
        Ok(())
    }

    /// Checks the modules together, as far as that is possible without an input. Asking does it too.
    pub fn prepare(&mut self) -> Result<(), Error> {
        self.evaluator().map(drop)
    }

    fn evaluator(&mut self) -> Result<&mut regorus::Engine, Error> {
        let made = match self.inner.take() {
            Some(inner) => inner,
            None => {
                let mut points = Vec::new();
                let inner = self.build(&mut points)?;
                self.points = Arc::new(points);
                inner
            }
        };
        Ok(self.inner.insert(made))
    }

    fn build(&self, points: &mut Vec<syntax::lower::Point>) -> Result<regorus::Engine, Error> {
        crate::check::modules(&self.sources)?;
        let all: Vec<_> = self
            .sources
            .iter()
            .flat_map(|source| source.annotations.iter().cloned())
            .collect();
        let none = BTreeSet::new();
        let mut names: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
        for source in &self.sources {
            names
                .entry(syntax::metadata::package_path(&source.tree))
                .or_default()
                .extend(
                    source
                        .tree
                        .rules
                        .iter()
                        .filter_map(|rule| syntax::metadata::rule_path(rule).into_iter().next()),
                );
        }
        let rules_beside = |source: &Source| {
            let package = syntax::metadata::package_path(&source.tree);
            names.get(&package).unwrap_or(&none)
        };
        let trees: Vec<_> = self
            .sources
            .iter()
            .map(|source| (&source.tree, rules_beside(source)))
            .collect();
        let replaced = syntax::lower::Replaced::of(&trees);
        let mut constants = Vec::new();
        let mut modules = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            let around = syntax::lower::Surroundings {
                annotations: &all,
                own: &source.annotations,
                rules: rules_beside(source),
                replaced: &replaced,
                number,
            };
            let texts = syntax::lower::module(
                &source.file,
                &source.text,
                &source.tree,
                source.version,
                around,
                self.options.trace.then_some(&mut *points),
                &mut constants,
            );
            modules.extend(texts.into_iter().map(|text| (source, text)));
        }
        guard::guarded(|| {
            let mut inner = regorus::Engine::new();
            inner.set_policy_length_config(PolicyLengthConfig {
                max_col: NonZeroU32::MAX,
                max_file_bytes: NonZeroUsize::MAX,
                max_lines: NonZeroUsize::MAX,
            });
            inner.set_strict_builtin_errors(self.options.strict);
            crate::builtins::register(&mut inner, self.options.strict);
            self.trace.register(&mut inner);
            inner.set_gather_prints(true);
            inner.set_enable_coverage(self.options.coverage);
            if let Some(limit) = self.options.deadline {
                inner.set_execution_timer_config(ExecutionTimerConfig {
                    limit,
                    check_interval: NonZeroU32::MIN.saturating_add(255),
                });
            }
            let constant = move |operands: Vec<regorus::Value>| {
                let number = operands.first().and_then(|number| number.as_u64().ok());
                let value = number.and_then(|number| constants.get(usize::try_from(number).ok()?));
                Ok(value.cloned().unwrap_or(regorus::Value::Undefined))
            };
            let _ = inner.add_extension("internal.constant".to_owned(), 1, Box::new(constant));
            for (source, text) in modules {
                inner.set_rego_v0(source.version == Version::V0);
                inner
                    .add_policy(source.file.clone(), text)
                    .map_err(|error| Error::of(Kind::Parse, &error))?;
            }
            inner
                .add_data(self.data.value().clone())
                .map_err(|error| Error::of(Kind::Data, &error))?;
            inner.set_rego_v0(false);
            // What the evaluator finds wrong in the modules it finds when it is first asked.
            inner
                .eval_query("true".to_owned(), false)
                .map_err(|error| Error::of(Kind::Compile, &error))?;
            Ok(inner)
        })
    }

    /// The rules of all modules, in their order; one entry for each definition.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether a rule's head is written `test_x[name]`, and the variable there, if it is one.
    #[allow(clippy::option_option)]
    pub(crate) fn case_variable(&self, rule: &Rule) -> Option<Option<String>> {
        let source = self
            .sources
            .iter()
            .find(|source| source.file == rule.file)?;
        let found = source
            .tree
            .rules
            .iter()
            .find(|found| found.span.line == rule.line)?;
        let syntax::TermKind::Ref { path, .. } = &found.head.name.kind else {
            return None;
        };
        match path.first() {
            Some(syntax::Step::Bracket(term)) => Some(term.var().map(str::to_owned)),
            _ => None,
        }
    }

    /// The value of one rule (`data.shop.deny`), or none if it is undefined.
    pub fn rule(&mut self, path: &str, input: &Document) -> Result<Option<Document>, Error> {
        Ok(self.values(&[path], input)?.pop().flatten())
    }

    /// The values of several references (`data.shop.deny`, `data.shop`) under one input, in the same order: rules that several of them use
    /// are evaluated once.
    pub fn values(
        &mut self,
        paths: &[&str],
        input: &Document,
    ) -> Result<Vec<Option<Document>>, Error> {
        use std::fmt::Write as _;
        let mut query = String::from("[");
        for (at, path) in paths.iter().enumerate() {
            let _ = write!(
                query,
                "{}[v{at} | v{at} := {path}]",
                if at == 0 { "" } else { ", " }
            );
        }
        query.push(']');
        let solutions = self.query(&query, Some(input))?;
        let Some(value) = solutions
            .into_iter()
            .next()
            .and_then(|mut solution| solution.expressions.pop())
        else {
            return Ok(vec![None; paths.len()]);
        };
        let lists = value.1.items();
        Ok(lists
            .into_iter()
            .map(|list| list.items().into_iter().next())
            .collect())
    }

    /// The values of several rules that the modules have, each evaluated on its own and without a query to be read first:
    /// what is asked again and again is quickest so.
    ///
    /// # Errors
    /// Also if there is no such rule.
    pub fn rule_values(
        &mut self,
        paths: &[&str],
        input: &Document,
    ) -> Result<Vec<Option<Document>>, Error> {
        let inner = self.evaluator()?;
        guard::guarded(|| {
            inner.set_input(input.value().clone());
            let values = paths.iter().map(|path| {
                let value = inner
                    .eval_rule((*path).to_owned())
                    .map_err(|error| Error::of(Kind::Eval, &error))?;
                Ok((value != regorus::Value::Undefined).then(|| Document::of(value)))
            });
            values.collect()
        })
    }

    /// The answers to a query; none if it is undefined.
    pub fn query(&mut self, query: &str, input: Option<&Document>) -> Result<Vec<Solution>, Error> {
        let literals = syntax::query("query", query, Version::V1)?;
        let query = syntax::lower::query(query, &literals);
        let inner = self.evaluator()?;
        guard::guarded(|| {
            inner.set_input(input.map_or(regorus::Value::Undefined, |input| input.value().clone()));
            let results = inner
                .eval_query(query, false)
                .map_err(|error| Error::of(Kind::Eval, &error))?;
            Ok(results.result.into_iter().map(Solution::of).collect())
        })
    }

    /// What `print` said since the last call, each with its place.
    pub fn take_prints(&mut self) -> Vec<String> {
        self.inner
            .as_mut()
            .and_then(|inner| inner.take_prints().ok())
            .unwrap_or_default()
    }

    /// What was noted since the last call: what `trace` said, and with [`Options::trace`] each statement.
    pub fn take_trace(&mut self) -> Trace {
        self.trace.take(&self.points)
    }

    /// The lines evaluated since the modules were read, and those that were not; nothing unless [`Options::coverage`] is set.
    pub fn coverage(&self) -> Coverage {
        let report = self
            .inner
            .as_ref()
            .and_then(|inner| inner.get_coverage_report().ok());
        coverage::of(&self.sources, report)
    }
}

/// Whether a variable, or a statement that gives it its value, is not the asker's own.
fn made(text: &str) -> bool {
    text.starts_with(syntax::lower::OPERAND)
}

impl Solution {
    fn of(result: regorus::QueryResult) -> Self {
        let bindings = match result.bindings.as_object() {
            Ok(object) => object
                .iter_sorted()
                .filter(|(name, _)| !name.as_string().is_ok_and(|name| made(name)))
                .filter_map(|(name, value)| {
                    Some((
                        name.as_string().ok()?.to_string(),
                        Document::of(value.clone()),
                    ))
                })
                .collect(),
            Err(_) => IndexMap::new(),
        };
        let expressions = result
            .expressions
            .into_iter()
            .filter(|expression| !made(&expression.text))
            .map(|expression| (expression.text.to_string(), Document::of(expression.value)))
            .collect();
        Self {
            expressions,
            bindings,
        }
    }
}
