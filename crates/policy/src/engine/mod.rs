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

mod document;
mod error;
mod guard;
mod rules;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use indexmap::IndexMap;
use regorus::utils::limits::{ExecutionTimerConfig, PolicyLengthConfig};

pub use self::document::Document;
pub use self::error::{Error, Kind};
pub use self::rules::{Rule, RuleKind};

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

/// Rego modules with their data, ready to be asked.
#[derive(Clone)]
pub struct Engine {
    options: Options,
    inner: regorus::Engine,
    rules: Vec<Rule>,
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
        let mut inner = regorus::Engine::new();
        inner.set_policy_length_config(PolicyLengthConfig {
            max_col: NonZeroU32::MAX,
            max_file_bytes: NonZeroUsize::MAX,
            max_lines: NonZeroUsize::MAX,
        });
        inner.set_strict_builtin_errors(options.strict);
        inner.set_gather_prints(true);
        inner.set_enable_coverage(options.coverage);
        if let Some(limit) = options.deadline {
            inner.set_execution_timer_config(ExecutionTimerConfig {
                limit,
                check_interval: NonZeroU32::MIN.saturating_add(255),
            });
        }
        Self {
            options,
            inner,
            rules: Vec::new(),
        }
    }

    /// Adds a module in the version of the [`Options`]; `file` names it in errors.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Error> {
        self.add_version(file, text, self.options.version)
    }

    /// Adds a module in a version of its own.
    pub fn add_version(&mut self, file: &str, text: &str, version: Version) -> Result<(), Error> {
        let inner = &mut self.inner;
        guard::guarded(|| {
            inner.set_rego_v0(version == Version::V0);
            inner
                .add_policy(file.to_owned(), text.to_owned())
                .map_err(|error| Error::of(Kind::Parse, &error))
        })?;
        if let Some(module) = self.inner.get_modules().last() {
            self.rules.extend(rules::of(file, module));
        }
        Ok(())
    }

    /// Replaces the data document: what `data` is beside the rules. It must be an object.
    pub fn set_data(&mut self, data: &Document) -> Result<(), Error> {
        let inner = &mut self.inner;
        guard::guarded(|| {
            inner.clear_data();
            inner
                .add_data(data.value().clone())
                .map_err(|error| Error::of(Kind::Data, &error))
        })
    }

    /// Checks the modules together, as far as that is possible without an input. Asking does it too.
    pub fn prepare(&mut self) -> Result<(), Error> {
        let inner = &mut self.inner;
        guard::guarded(|| {
            inner
                .eval_query("true".to_owned(), false)
                .map(drop)
                .map_err(|error| Error::of(Kind::Compile, &error))
        })
    }

    /// The rules of all modules, in their order; one entry for each definition.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
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

    /// The answers to a query; none if it is undefined.
    pub fn query(&mut self, query: &str, input: Option<&Document>) -> Result<Vec<Solution>, Error> {
        let inner = &mut self.inner;
        guard::guarded(|| {
            inner.set_input(input.map_or(regorus::Value::Undefined, |input| input.value().clone()));
            let results = inner
                .eval_query(query.to_owned(), false)
                .map_err(|error| Error::of(Kind::Eval, &error))?;
            Ok(results.result.into_iter().map(Solution::of).collect())
        })
    }

    /// What `print` said since the last call, each with its place.
    pub fn take_prints(&mut self) -> Vec<String> {
        self.inner.take_prints().unwrap_or_default()
    }
}

impl Solution {
    fn of(result: regorus::QueryResult) -> Self {
        let bindings = match result.bindings.as_object() {
            Ok(object) => object
                .iter_sorted()
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
            .map(|expression| (expression.text.to_string(), Document::of(expression.value)))
            .collect();
        Self {
            expressions,
            bindings,
        }
    }
}
