//! What resources are worth, as `rego/worth.rego` says it, or a package of the same name beside the policies.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::engine::{Document, Engine, Error, Kind, Options};
use crate::facets::{Facets, Wanted};
use crate::points::Passing;

/// The package that says what resources are worth.
pub(crate) const PACKAGE: &str = "consort.worth";
/// The one that comes with the program.
pub const DEFAULT_WORTH: &str = include_str!("../rego/worth.rego");
/// Where it stands, for its errors.
const FILE: &str = "consort/worth.rego";

/// What one class of resources is worth, and what is done to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    /// Thousandths of a point.
    pub(crate) worth: u32,
    /// The same of all members of the pool together.
    pub(crate) whole: u32,
    /// Thousandths.
    pub(crate) own: u32,
    /// Thousandths.
    pub(crate) down: u32,
    /// What it is: `database, production`.
    pub(crate) what: String,
    /// What is done to it: `replaced`.
    pub(crate) how: String,
}

/// Says what resources are worth.
pub(crate) struct Judge {
    /// The one beside the policies first, then that of the program.
    engines: Vec<Engine>,
    pub(crate) wanted: Wanted,
    pub(crate) passing: Passing,
}

impl Judge {
    /// With the engines of those policies that have a package of that name.
    pub(crate) fn new(own: Vec<Engine>) -> Result<Self, Error> {
        // The program's own rules split labels into words, and compare these with the words they want.
        let labels_by_word = own.is_empty();
        let mut engines = own;
        engines.push(shipped()?);
        let mut this = Judge {
            engines,
            wanted: Wanted {
                labels_by_word,
                ..Wanted::default()
            },
            passing: Passing {
                value: 0,
                order: 0,
                lifecycle: 0,
                provider: 0,
            },
        };
        let nothing = Document::from(json!({"resources": [], "score": []}));
        let paths =
            ["words", "labels", "fields", "passing"].map(|rule| format!("data.{PACKAGE}.{rule}"));
        let paths = paths.each_ref().map(String::as_str);
        let mut passing: HashMap<String, u32> = HashMap::new();
        for engine in &mut this.engines {
            let values = engine.values(&paths, &nothing)?;
            let texts = |at: usize| -> Vec<String> {
                let items = values.get(at).and_then(Option::as_ref).map(Document::items);
                items
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|item| item.as_str().map(str::to_owned))
                    .collect()
            };
            // Each looks for what it wants and leaves the rest alone.
            this.wanted.words.extend(texts(0));
            this.wanted.labels.extend(texts(1));
            this.wanted.fields.extend(texts(2));
            if let Some(Value::Object(shares)) =
                values.get(3).and_then(Option::as_ref).map(Document::json)
            {
                for (edge, share) in shares {
                    passing
                        .entry(edge)
                        .or_insert(thousandths(&share, 10, 1_000));
                }
            }
        }
        this.wanted.fields.sort();
        this.wanted.fields.dedup();
        let share = |edge: &str| passing.get(edge).copied().unwrap_or(1_000);
        this.passing = Passing {
            value: share("value"),
            order: share("order"),
            lifecycle: share("lifecycle"),
            provider: share("provider"),
        };
        Ok(this)
    }

    /// What each of some classes of resources is worth, in their order.
    ///
    /// # Errors
    /// If a rule cannot be evaluated, or none says anything about one of them.
    pub(crate) fn judge(
        &mut self,
        classes: &[Facets<'_>],
        score: &[&str],
    ) -> Result<Vec<Judged>, Error> {
        let mut judged: Vec<Option<Judged>> = vec![None; classes.len()];
        for engine in &mut self.engines {
            let open: Vec<usize> = (0..classes.len())
                .filter(|at| judged[*at].is_none())
                .collect();
            if open.is_empty() {
                break;
            }
            let resources: Vec<&Facets<'_>> = open.iter().map(|at| &classes[*at]).collect();
            let input = Document::new(&json!({"resources": resources, "score": score}))
                .map_err(|error| Error::new(Kind::Data, error.to_string()))?;
            let said = engine.rule(&format!("data.{PACKAGE}.judged"), &input)?;
            let Some(said) = said.map(|said| said.json()) else {
                continue;
            };
            for (at, place) in open.into_iter().enumerate() {
                if let Some(one) = said.get(at.to_string()).or_else(|| said.get(at)) {
                    judged[place] = Some(Judged::read(one));
                }
            }
        }
        judged
            .into_iter()
            .zip(classes)
            .map(|(judged, class)| {
                judged.ok_or_else(|| {
                    Error::new(
                        Kind::Eval,
                        format!(
                            "data.{PACKAGE}.judged says nothing about a resource of type {}",
                            class.kind
                        ),
                    )
                })
            })
            .collect()
    }
}

impl Judged {
    fn read(value: &Value) -> Self {
        let text = |field: &str| {
            value
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let number = |field: &str, unit: u32, most: u32| {
            value.get(field).map(|value| thousandths(value, unit, most))
        };
        let worth = number("worth", 1_000, 100_000).unwrap_or(0);
        Judged {
            worth,
            whole: number("whole", 1_000, 100_000).unwrap_or(worth).max(worth),
            own: number("own", 10, 10_000).unwrap_or(0),
            down: number("down", 10, 1_000).unwrap_or(0),
            what: text("what"),
            how: text("how"),
        }
    }
}

/// A number of Rego, times `unit`, as a whole number between none and `most`.
pub(crate) fn thousandths(value: &Value, unit: u32, most: u32) -> u32 {
    let number = value.as_f64().unwrap_or(0.0) * f64::from(unit);
    if number.is_finite() {
        number.round().clamp(0.0, f64::from(most)) as u32
    } else {
        0
    }
}

/// The engine with the program's own package, read once.
fn shipped() -> Result<Engine, Error> {
    static ENGINE: OnceLock<Result<Engine, Error>> = OnceLock::new();
    ENGINE
        .get_or_init(|| {
            let mut engine = Engine::new(Options::default());
            engine.add(FILE, DEFAULT_WORTH)?;
            engine.prepare()?;
            Ok(engine)
        })
        .clone()
}
