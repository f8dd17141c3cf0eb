//! Which rules of which packages count, and what they say.
//!
//! As conftest, Gatekeeper and HCP Terraform have it, in packages of any name:
//!
//! | rule | |
//! |---|---|
//! | `deny`, `violation`, `deny_...`, `violation_...` | stops the plan |
//! | `warn`, `warn_...` | is told |
//! | `exception` | names of rules that do not count (`deny_x` by `x`) |
//! | `allow`, `authz` | where a package has none of the above: stops the plan unless it is true |
//! | `points` | points of a change by address, or of the plan |
//! | `worth` | what a resource is worth by address, in place of what `consort.worth` says |
//! | `approval` | an approval is needed whatever the points; what it gives is told |
//! | `auto_approve` | no approval is needed although the points are above the threshold |

use std::collections::{BTreeMap, BTreeSet, HashMap};

use consort_plan::{
    Action, Address, BlastRadius, Change, Location, Points, Problem, RulePoints, Verdict,
    VerdictKind,
};
use serde_json::{Value, json};

use crate::admission;
use crate::documents::{self, Secrets, Wants};
use crate::engine::{Document, Engine, Error, Options, Rule, RuleKind};
use crate::judge::{Names, Question, problem};
use crate::sources::PolicyPart;
use crate::styles::{Reads, Style};
use crate::worth::{self, thousandths};

/// What the rules of all policies say.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) verdicts: Vec<Verdict>,
    /// Engines of policies with a package [`worth::PACKAGE`].
    pub(crate) worth_engines: Vec<Engine>,
    worth: HashMap<Address, Worth>,
    points: HashMap<Address, RulePoints>,
    extra: Vec<RulePoints>,
    approval: Vec<String>,
    auto_approve: Vec<String>,
}

/// What a rule says that a resource is worth.
#[derive(Clone, Debug)]
pub(crate) struct Worth {
    /// Thousandths of a point.
    pub(crate) worth: u32,
    pub(crate) rule: String,
}

impl Said {
    pub(crate) fn worth_of(&self, address: &Address) -> Option<&Worth> {
        self.worth.get(address)
    }

    /// Puts in what a rule says the points of a change are.
    pub(crate) fn correct(&self, address: &Address, points: &mut Points) {
        if let Some(said) = self.points.get(address) {
            let otherwise = points.points;
            points.points = u32::try_from(said.points).unwrap_or(0);
            points.downstream = None;
            points.because = if said.because.is_empty() {
                format!("{} says so; {otherwise} otherwise", said.rule)
            } else {
                format!("{}: {}; {otherwise} otherwise", said.rule, said.because)
            };
        }
    }

    /// Whether a rule says the points of a resource.
    pub(crate) fn corrects(&self, address: &Address) -> bool {
        self.points.contains_key(address)
    }

    /// Adds what concerns the whole plan, and decides whether an approval is needed.
    pub(crate) fn settle(&self, blast: &mut BlastRadius) {
        let extra: i64 = self.extra.iter().map(|extra| i64::from(extra.points)).sum();
        blast.total = u32::try_from((i64::from(blast.total) + extra).max(0)).unwrap_or(u32::MAX);
        blast.by_rule.clone_from(&self.extra);
        let above = blast.total > blast.threshold;
        blast.needs_approval = !self.approval.is_empty() || (above && self.auto_approve.is_empty());
        blast.approval.clone_from(&self.approval);
        if above && self.approval.is_empty() {
            blast.approval.clone_from(&self.auto_approve);
        }
    }
}

/// What a rule is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Deny,
    Warn,
    Exception,
    Allow,
    /// `score` beside `allow`: told with it.
    Score,
    Points,
    Worth,
    Approval,
    AutoApprove,
}

pub(crate) fn role(name: &str) -> Option<Role> {
    let is = |word: &str| {
        name.strip_prefix(word).is_some_and(|rest| {
            rest.is_empty()
                || rest.strip_prefix('_').is_some_and(|rest| {
                    rest.split('_').all(|word| {
                        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric())
                    })
                })
        })
    };
    Some(match name {
        _ if is("deny") || is("violation") => Role::Deny,
        _ if is("warn") => Role::Warn,
        "exception" => Role::Exception,
        "allow" | "authz" => Role::Allow,
        "score" => Role::Score,
        "points" => Role::Points,
        "worth" => Role::Worth,
        "approval" => Role::Approval,
        "auto_approve" => Role::AutoApprove,
        _ => return None,
    })
}

/// A rule that is asked.
#[derive(Clone, Debug)]
struct Asked {
    role: Role,
    /// `data.shop.deny`.
    path: String,
    package: String,
    name: String,
    location: Option<Location>,
}

/// `deny_list := [...]` only begins like a rule that denies: those with a longer name give sets.
pub(crate) fn is_helper(role: Role, rule: &Rule) -> bool {
    matches!(role, Role::Deny | Role::Warn)
        && rule.name.contains('_')
        && matches!(rule.kind, RuleKind::Complete | RuleKind::Default)
}

/// Evaluates all policies.
pub(crate) fn ask(question: &Question<'_>) -> Result<Said, Vec<Problem>> {
    let mut said = Said::default();
    let mut problems = Vec::new();
    let reads: Vec<Reads> = question
        .policies
        .iter()
        .map(|part| Reads::of(part.modules.iter().map(|(_, text)| text.as_str())))
        .collect();
    let wants = Wants {
        graph: reads.iter().any(|reads| reads.graph),
        nested: reads.iter().any(|reads| reads.nested),
    };
    if question.policies.is_empty() {
        return Ok(said);
    }
    let names = Names::of(question.blueprint);
    let mut secrets = Secrets::default();
    let plan = documents::plan(question.blueprint, question.documents, wants, &mut secrets);
    let objects = objects(question, &mut secrets);
    for (part, reads) in question.policies.iter().zip(&reads) {
        let mut asking = Asking {
            part,
            reads,
            plan: &plan,
            objects: &objects,
            names: &names,
            secrets: &secrets,
            author: &question.blueprint.author,
            said: &mut said,
        };
        if let Err(error) = asking.part() {
            problems.push(problem(&error, &part.name));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    said.verdicts.sort_by_key(|verdict| verdict.kind);
    Ok(said)
}

/// Each object of Kubernetes that is made or changed.
fn objects<'a>(question: &Question<'a>, secrets: &mut Secrets) -> Vec<(&'a Change, Document)> {
    let mut objects = Vec::new();
    let changes = &question.blueprint.changes;
    for part in &question.blueprint.parts {
        if part.layer != "manifests" {
            continue;
        }
        let from = (part.first as usize).min(changes.len());
        let to = (from + part.count as usize).min(changes.len());
        for change in &changes[from..to] {
            if let Some(after) = change.after.as_ref().filter(|_| change.action.changes())
                && !admission::holds_a_policy(&after.value)
            {
                objects.push((change, documents::object_of(after, secrets)));
            }
        }
    }
    objects
}

/// The modules and data of a part, ready to be asked.
pub(crate) fn engine(part: &PolicyPart) -> Result<Engine, Error> {
    let mut engine = Engine::new(Options {
        version: part.version,
        ..Options::default()
    });
    for (file, text) in &part.modules {
        engine.add(file, text)?;
    }
    if part.data.as_object().is_some_and(|data| !data.is_empty()) {
        engine.set_data(&Document::from(part.data.clone()))?;
    }
    engine.prepare()?;
    Ok(engine)
}

struct Asking<'a, 'q> {
    part: &'a PolicyPart,
    reads: &'a Reads,
    plan: &'a Document,
    objects: &'a [(&'q Change, Document)],
    names: &'a Names<'q>,
    secrets: &'a Secrets,
    author: &'a str,
    said: &'a mut Said,
}

impl Asking<'_, '_> {
    fn part(&mut self) -> Result<(), Error> {
        let mut engine = engine(self.part)?;
        if engine
            .rules()
            .iter()
            .any(|rule| rule.package == worth::PACKAGE)
        {
            self.said.worth_engines.push(engine.clone());
        }
        let mut styled: BTreeMap<Style, Vec<Asked>> = BTreeMap::new();
        for asked in asked(self.part, engine.rules()) {
            styled
                .entry(self.reads.style(&asked.package))
                .or_default()
                .push(asked);
        }
        for (style, asked) in styled {
            let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
            if style == Style::Plan {
                let values = engine.values(&paths, self.plan)?;
                self.take(&asked, values, None);
                continue;
            }
            for (change, object) in self.objects {
                let input = match style {
                    Style::Plan | Style::Object => object.clone(),
                    Style::Gatekeeper => gatekeeper(change, object, self.author),
                    Style::Admission => review(change, object, self.author),
                };
                let values = engine.values(&paths, &input)?;
                self.take(&asked, values, Some(&change.address));
            }
        }
        Ok(())
    }

    fn take(&mut self, asked: &[Asked], values: Vec<Option<Document>>, about: Option<&Address>) {
        let values: Vec<Option<Value>> = values
            .into_iter()
            .map(|value| value.map(|value| value.json()))
            .collect();
        let excepted = exceptions(
            asked
                .iter()
                .zip(&values)
                .map(|(asked, value)| (asked.role, asked.package.as_str(), value.as_ref())),
        );
        let scores: HashMap<String, Value> = asked
            .iter()
            .zip(&values)
            .filter(|(asked, _)| asked.role == Role::Score)
            .filter_map(|(asked, value)| Some((asked.package.clone(), value.clone()?)))
            .collect();
        for (asked, value) in asked.iter().zip(values) {
            match asked.role {
                Role::Exception | Role::Score => {}
                Role::Allow => {
                    let held = value.as_ref().is_some_and(allows);
                    if !held {
                        let mut text = format!("{} does not hold", asked.path);
                        if let Some(said @ Value::Object(_)) = &value {
                            text = format!("{text}: {}", message(&asked.path, said));
                        }
                        if let Some(score) = scores.get(&asked.package) {
                            text.push_str(&format!(" (score: {score})"));
                        }
                        self.verdict(asked, VerdictKind::Deny, &text.into(), about);
                    }
                }
                Role::Deny | Role::Warn => {
                    if excepted.covers(&asked.package, &asked.name) {
                        continue;
                    }
                    let kind = if asked.role == Role::Deny {
                        VerdictKind::Deny
                    } else {
                        VerdictKind::Warn
                    };
                    for one in each(value) {
                        self.verdict(asked, kind, &one, about);
                    }
                }
                Role::Points | Role::Worth => {
                    if let Some(value) = value {
                        self.numbers(asked, &value);
                    }
                }
                Role::Approval | Role::AutoApprove => {
                    for one in each(value) {
                        let message = self.message(asked, &one);
                        let list = if asked.role == Role::Approval {
                            &mut self.said.approval
                        } else {
                            &mut self.said.auto_approve
                        };
                        if !list.contains(&message) {
                            list.push(message);
                        }
                    }
                }
            }
        }
    }

    fn message(&self, asked: &Asked, said: &Value) -> String {
        self.secrets.scrub(message(&asked.path, said))
    }

    fn verdict(&mut self, asked: &Asked, kind: VerdictKind, said: &Value, about: Option<&Address>) {
        let message = self.message(asked, said);
        let named = ["address", "resource", "resource_address"]
            .iter()
            .find_map(|name| self.names.find(said.get(*name)?.as_str()?))
            .or_else(|| {
                // `aws_s3_bucket.logs: is public`
                message
                    .split(|c: char| {
                        c.is_whitespace() || matches!(c, '`' | '\'' | ',' | ';' | '(' | ')')
                    })
                    .map(|word| word.trim_end_matches(['.', ':']).trim_matches('"'))
                    .find_map(|word| self.names.find(word))
            });
        let address = about.or(named).cloned();
        let verdict = Verdict {
            kind,
            message,
            rule: asked.path.clone(),
            location: asked.location.clone(),
            address,
        };
        if !self.said.verdicts.contains(&verdict) {
            self.said.verdicts.push(verdict);
        }
    }

    /// Takes what a rule says in numbers: by address, as a list of objects that name one, or for the plan as a whole.
    fn numbers(&mut self, asked: &Asked, value: &Value) {
        match value {
            Value::Number(_) if asked.role == Role::Points => {
                let points = whole(value);
                if points != 0 {
                    self.said.extra.push(RulePoints {
                        rule: asked.path.clone(),
                        points,
                        because: String::new(),
                    });
                }
            }
            Value::Object(by_address) => {
                for (address, value) in by_address {
                    self.number(asked, address, value);
                }
            }
            Value::Array(list) => {
                for one in list {
                    match one.get("address").and_then(Value::as_str) {
                        Some(address) => self.number(asked, address, one),
                        None if asked.role == Role::Points => {
                            let points = one.get("points").map_or_else(|| whole(one), whole);
                            let because = self.because(one);
                            self.said.extra.push(RulePoints {
                                rule: asked.path.clone(),
                                points,
                                because,
                            });
                        }
                        None => self.unknown(asked, &one.to_string()),
                    }
                }
            }
            other => self.unknown(asked, &other.to_string()),
        }
    }

    fn because(&self, said: &Value) -> String {
        let said = ["because", "msg", "message"]
            .iter()
            .find_map(|name| said.get(*name)?.as_str());
        self.secrets.scrub(said.unwrap_or_default().to_owned())
    }

    fn number(&mut self, asked: &Asked, address: &str, value: &Value) {
        let Some(address) = self.names.find(address).cloned() else {
            return self.unknown(asked, address);
        };
        let field = if asked.role == Role::Points {
            "points"
        } else {
            "worth"
        };
        let number = value.get(field).unwrap_or(value);
        if !number.is_number() {
            return self.unknown(asked, &number.to_string());
        }
        let rule = asked.path.clone();
        if asked.role == Role::Points {
            let because = self.because(value);
            let said = RulePoints {
                rule,
                points: whole(number).max(0),
                because,
            };
            // Of two that name the same change the one that asks for more counts.
            let known = self
                .said
                .points
                .entry(address)
                .or_insert_with(|| said.clone());
            if said.points > known.points {
                *known = said;
            }
        } else {
            let worth = thousandths(number, 1_000, 100_000);
            let said = Worth { worth, rule };
            let known = self
                .said
                .worth
                .entry(address)
                .or_insert_with(|| said.clone());
            if said.worth > known.worth {
                *known = said;
            }
        }
    }

    /// What is said of something that is not in the plan, or in a form that is not understood, is not passed over.
    fn unknown(&mut self, asked: &Asked, what: &str) {
        let message = format!(
            "{} is of no effect: {what:?} is no resource of this plan with a number",
            asked.path
        );
        self.verdict(asked, VerdictKind::Warn, &Value::String(message), None);
    }
}

/// A number as whole points, rounded up.
fn whole(value: &Value) -> i32 {
    let number = value.as_f64().unwrap_or(0.0);
    if number.is_finite() {
        number.ceil().clamp(-1_000_000.0, 1_000_000.0) as i32
    } else {
        0
    }
}

/// Whether the value of a rule `allow` allows: true, or an object that says so.
fn allows(value: &Value) -> bool {
    match value {
        Value::Bool(allowed) => *allowed,
        Value::Object(fields) => ["allowed", "allow", "valid", "ok", "result"]
            .iter()
            .find_map(|name| fields.get(*name)?.as_bool())
            .unwrap_or(true),
        Value::Null => false,
        _ => true,
    }
}

/// The message of one thing that a rule says.
pub(crate) fn message(rule: &str, said: &Value) -> String {
    match said {
        Value::String(text) => text.clone(),
        Value::Bool(_) => format!("{rule} holds"),
        Value::Object(fields) => ["msg", "message"]
            .iter()
            .find_map(|name| fields.get(*name)?.as_str())
            .map_or_else(|| said.to_string(), str::to_owned),
        other => other.to_string(),
    }
}

/// By package, the rules that do not count.
#[derive(Debug, Default)]
pub(crate) struct Exceptions(HashMap<String, BTreeSet<String>>);

impl Exceptions {
    /// Whether a rule does not count: `deny_x` by `x`, `deny` by nothing.
    pub(crate) fn covers(&self, package: &str, rule: &str) -> bool {
        let suffix = rule.split_once('_').map_or("", |(_, suffix)| suffix);
        self.0
            .get(package)
            .is_some_and(|names| names.contains(suffix))
    }
}

/// What the rules `exception` among these say: sets of lists of names, as conftest has them.
pub(crate) fn exceptions<'a>(
    values: impl Iterator<Item = (Role, &'a str, Option<&'a Value>)>,
) -> Exceptions {
    let mut all = Exceptions::default();
    for (role, package, value) in values {
        let Some(Value::Array(names)) = value.filter(|_| role == Role::Exception) else {
            continue;
        };
        let names = names.iter().flat_map(|name| match name {
            Value::Array(names) => names.as_slice(),
            other => std::slice::from_ref(other),
        });
        all.0
            .entry(package.to_owned())
            .or_default()
            .extend(names.filter_map(|name| name.as_str().map(str::to_owned)));
    }
    all
}

/// The single things that a rule says: each element of a set, list or object, or the value itself.
pub(crate) fn each(value: Option<Value>) -> Vec<Value> {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(Value::Object(fields))
            if fields.contains_key("msg") || fields.contains_key("message") =>
        {
            vec![Value::Object(fields)]
        }
        // `deny[name] := message`
        Some(Value::Object(fields)) => fields
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(message) => Value::String(message),
                Value::Bool(_) => Value::String(name),
                other => other,
            })
            .collect(),
        Some(Value::String(text)) if text.is_empty() => Vec::new(),
        Some(value) => vec![value],
    }
}

/// The rules of a part that are asked: those of `policies.hcl`, or those that are named as above.
fn asked(part: &PolicyPart, rules: &[Rule]) -> Vec<Asked> {
    let location = |rule: &Rule| {
        Some(Location {
            file: rule.file.clone(),
            line: rule.line,
        })
    };
    let mut known: BTreeMap<String, Asked> = BTreeMap::new();
    for rule in rules {
        if rule.kind == RuleKind::Function || rule.package == worth::PACKAGE {
            continue;
        }
        let Some(role) = role(&rule.name) else {
            continue;
        };
        if is_helper(role, rule) {
            continue;
        }
        let path = rule.path();
        let asked = known.entry(path.clone()).or_insert_with(|| Asked {
            role,
            path,
            package: rule.package.clone(),
            name: rule.name.clone(),
            location: location(rule),
        });
        // Where it says what stops a plan, not where it says what it is otherwise.
        if rule.kind != RuleKind::Default
            && asked.location.as_ref().is_some_and(|at| {
                rules.iter().any(|other| {
                    other.kind == RuleKind::Default
                        && other.file == at.file
                        && other.line == at.line
                })
            })
        {
            asked.location = location(rule);
        }
    }
    let denying: BTreeSet<String> = known
        .values()
        .filter(|asked| asked.role == Role::Deny)
        .map(|asked| asked.package.clone())
        .collect();
    known.retain(|_, asked| asked.role != Role::Allow || !denying.contains(&asked.package));
    let allowing: BTreeSet<String> = known
        .values()
        .filter(|asked| asked.role == Role::Allow)
        .map(|asked| asked.package.clone())
        .collect();
    known.retain(|_, asked| asked.role != Role::Score || allowing.contains(&asked.package));
    if part.queries.is_empty() {
        return known.into_values().collect();
    }
    // Numbers and approvals are our own: `policies.hcl` cannot name them.
    let mut list: Vec<Asked> = known
        .into_values()
        .filter(|asked| {
            !matches!(
                asked.role,
                Role::Deny | Role::Warn | Role::Allow | Role::Score | Role::Exception
            )
        })
        .collect();
    for query in &part.queries {
        let package = query.rule.strip_prefix("data.").unwrap_or(&query.rule);
        let (package, name) = package.rsplit_once('.').unwrap_or(("", package));
        list.push(Asked {
            role: if query.mandatory {
                Role::Deny
            } else {
                Role::Warn
            },
            path: query.rule.clone(),
            package: package.to_owned(),
            name: name.to_owned(),
            location: Some(query.location.clone()),
        });
    }
    list
}

/// Group, version and kind of an object.
fn kind_of(object: &Document) -> Value {
    let text = |name: &str| {
        object
            .get(name)
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    let version = text("apiVersion");
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    json!({"group": group, "version": version, "kind": text("kind")})
}

/// What an AdmissionRequest says of a change, but for the objects.
fn request(change: &Change, object: &Document, author: &str) -> BTreeMap<String, Value> {
    let metadata = object.get("metadata");
    let text = |name: &str| {
        let value = metadata.as_ref().and_then(|metadata| metadata.get(name));
        value
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    let operation = match change.action {
        Action::Update => "UPDATE",
        _ => "CREATE",
    };
    BTreeMap::from([
        ("kind".to_owned(), kind_of(object)),
        ("name".to_owned(), text("name").into()),
        ("namespace".to_owned(), text("namespace").into()),
        ("operation".to_owned(), operation.into()),
        (
            "userInfo".to_owned(),
            json!({"username": author, "groups": []}),
        ),
        ("dryRun".to_owned(), true.into()),
    ])
}

fn with_object(fields: BTreeMap<String, Value>, object: &Document) -> regorus::Value {
    let mut all: BTreeMap<regorus::Value, regorus::Value> = fields
        .into_iter()
        .map(|(name, value)| {
            (
                regorus::Value::from(name),
                Document::from(value).value().clone(),
            )
        })
        .collect();
    all.insert(regorus::Value::from("object"), object.value().clone());
    regorus::Value::from(all)
}

fn gatekeeper(change: &Change, object: &Document, author: &str) -> Document {
    let review = with_object(request(change, object, author), object);
    Document::of(regorus::Value::from(BTreeMap::from([
        (regorus::Value::from("review"), review),
        (
            regorus::Value::from("parameters"),
            regorus::Value::new_object(),
        ),
    ])))
}

fn review(change: &Change, object: &Document, author: &str) -> Document {
    let request = with_object(request(change, object, author), object);
    Document::of(regorus::Value::from(BTreeMap::from([
        (
            regorus::Value::from("apiVersion"),
            regorus::Value::from("admission.k8s.io/v1"),
        ),
        (
            regorus::Value::from("kind"),
            regorus::Value::from("AdmissionReview"),
        ),
        (regorus::Value::from("request"), request),
    ])))
}
