//! Policies that are asked about every write to the API.
//!
//! They are kept in ConfigMaps, a policy each, that anyone with the right to write them can read and list:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata:
//!   name: labels
//!   namespace: consort-system
//!   labels: {consort.dev/policy: admission}
//!   annotations:                                  # all may be left out
//!     consort.dev/rego-version: v1                # or v0
//!     consort.dev/failure-policy: Fail            # or Ignore: what cannot be evaluated refuses nothing
//!     consort.dev/operations: CREATE,UPDATE       # and DELETE, CONNECT
//!     consort.dev/namespaces: shop,web            # else all but kube-system, kube-node-lease and consort-system
//! data:
//!   labels.rego: |
//!     package labels
//!     deny contains "no owner" if not input.request.object.metadata.labels.owner
//! ```
//!
//! The input is an `AdmissionReview`, with `review` and `parameters` beside it as Gatekeeper has them (the latter from the key
//! `parameters.json`). Packages that read `input.kind` or `input.metadata` and no review get the object itself. What counts
//! are `deny`, `violation` and `warn` (as in plans), and `main` of a package `system` as OPA's own webhook has it.
//!
//! Modules are compiled when they change, never when a request comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::documents::{Secrets, masked_at};
use crate::engine::{Document, Engine, Error, Options, RuleKind, Version};
use crate::rules::{Role, each, exceptions, is_helper, message, role};
use crate::sources::{PolicyPart, is_rego};
use crate::styles::{Reads, Style};

/// Why a ConfigMap with the label that stands for policies would be of no use, if it would.
pub fn fault(map: &Value) -> Option<String> {
    match Policy::of_config_map(map) {
        Err(why) => Some(why),
        Ok(policy) => compile(&policy).err().map(|error| error.to_string()),
    }
}

/// The namespace of the ConfigMaps.
pub const NAMESPACE: &str = "consort-system";
/// The label they have.
pub const LABEL: (&str, &str) = ("consort.dev/policy", "admission");

/// Whether an object is what a policy is kept in. No policy is held against those, neither when they are written nor in a
/// plan: one that asks something of all ConfigMaps could never come to hold.
pub(crate) fn holds_a_policy(object: &Value) -> bool {
    let (key, kept) = LABEL;
    let meta = &object["metadata"];
    object["kind"] == "ConfigMap" && meta["namespace"] == NAMESPACE && meta["labels"][key] == kept
}

const REGO_VERSION: &str = "consort.dev/rego-version";
const FAILURE_POLICY: &str = "consort.dev/failure-policy";
const OPERATIONS: &str = "consort.dev/operations";
const NAMESPACES: &str = "consort.dev/namespaces";
/// Where a policy that is too strict would stop the cluster itself.
const EXEMPT: [&str; 3] = ["kube-system", "kube-node-lease", NAMESPACE];
/// What is written so often, and so much by the cluster itself, that nobody means it.
const UNASKED: [(&str, &str); 3] = [
    ("", "events"),
    ("events.k8s.io", "events"),
    ("coordination.k8s.io", "leases"),
];
/// How long all policies together may take for one request.
const DEADLINE: Duration = Duration::from_secs(5);
/// Evaluations that take longer than this do not belong on a reactor.
const QUICK: Duration = Duration::from_millis(2);

/// A policy as it is written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its modules with their names.
    pub modules: Vec<(String, String)>,
    /// What they are written in.
    pub version: Version,
    /// What `data` is beside the rules.
    pub data: Value,
    /// `input.parameters`.
    pub parameters: Value,
    /// Whether what cannot be evaluated refuses nothing.
    pub ignores_failure: bool,
    /// The operations it is asked about.
    pub operations: BTreeSet<String>,
    /// The namespaces it is asked about; all but those of the cluster itself if none.
    pub namespaces: Option<BTreeSet<String>>,
}

impl Policy {
    /// The policy in a ConfigMap.
    ///
    /// # Errors
    /// What is wrong with its annotations or its data.
    pub fn of_config_map(map: &Value) -> Result<Self, String> {
        let metadata = &map["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        let annotation = |key: &str| metadata["annotations"][key].as_str().map(str::trim);
        let version = match annotation(REGO_VERSION) {
            None | Some("v1") => Version::V1,
            Some("v0") => Version::V0,
            Some(other) => {
                return Err(format!("{REGO_VERSION} is v0 or v1, not {other:?}"));
            }
        };
        let ignores_failure = match annotation(FAILURE_POLICY) {
            None | Some("Fail") => false,
            Some("Ignore") => true,
            Some(other) => {
                return Err(format!("{FAILURE_POLICY} is Fail or Ignore, not {other:?}"));
            }
        };
        let list = |text: &str| -> BTreeSet<String> {
            let words = text.split(',').map(str::trim);
            words
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let mut policy = Policy {
            name,
            modules: Vec::new(),
            version,
            data: json!({}),
            parameters: json!({}),
            ignores_failure,
            operations: BTreeSet::new(),
            namespaces: annotation(NAMESPACES)
                .map(list)
                .filter(|all| !all.is_empty()),
        };
        for (key, value) in map["data"].as_object().into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            let read = |text: &str| {
                serde_saphyr::from_str::<Value>(text).map_err(|error| format!("{key}: {error}"))
            };
            match key.as_str() {
                "data.json" | "data.yaml" => policy.data = read(text)?,
                "parameters.json" | "parameters.yaml" => policy.parameters = read(text)?,
                _ if is_rego(key) => {
                    policy.modules.push((key.clone(), text.to_owned()));
                }
                _ => {
                    return Err(format!(
                        "{key} is neither Rego (*.rego) nor data.json nor parameters.json"
                    ));
                }
            }
        }
        if policy.modules.is_empty() {
            return Err("there is no policy in it: no key ends in .rego".to_owned());
        }
        if !policy.data.is_object() {
            return Err("its data is no object".to_owned());
        }
        policy.operations = match annotation(OPERATIONS) {
            Some(operations) => {
                let operations = list(operations);
                let known = ["CREATE", "UPDATE", "DELETE", "CONNECT"];
                if let Some(other) = operations.iter().find(|it| !known.contains(&it.as_str())) {
                    return Err(format!(
                        "{OPERATIONS} are {}, not {other:?}",
                        known.join(", ")
                    ));
                }
                operations
            }
            // A policy that does not speak of deletions expects an object, of which there is none then.
            None => ["CREATE", "UPDATE"]
                .into_iter()
                .chain(["DELETE", "CONNECT"].into_iter().filter(|operation| {
                    let word = format!("\"{operation}\"");
                    policy.modules.iter().any(|(_, text)| text.contains(&word))
                }))
                .map(str::to_owned)
                .collect(),
        };
        Ok(policy)
    }

    /// The ConfigMap of the policies of a score's part, without its metadata's name and namespace: labels, annotations
    /// and data.
    pub fn config_map(
        part: &PolicyPart,
    ) -> (
        BTreeMap<String, String>,
        BTreeMap<String, String>,
        BTreeMap<String, String>,
    ) {
        let labels = BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())]);
        let version = match part.version {
            Version::V0 => "v0",
            Version::V1 => "v1",
        };
        let annotations = BTreeMap::from([(REGO_VERSION.to_owned(), version.to_owned())]);
        let mut data: BTreeMap<String, String> = part
            .modules
            .iter()
            .map(|(file, text)| (file.replace('/', "."), text.clone()))
            .collect();
        if part.data.as_object().is_some_and(|data| !data.is_empty()) {
            data.insert("data.json".to_owned(), part.data.to_string());
        }
        (labels, annotations, data)
    }
}

/// A policy, compiled.
struct Compiled {
    policy: Policy,
    /// The rules that are asked, by what they expect.
    rules: Vec<(Style, Vec<Asked>)>,
    /// Engines that nobody uses at the moment; each request takes one, and makes one more if there is none.
    idle: Mutex<Vec<Engine>>,
    origin: Result<Engine, Error>,
}

#[derive(Clone)]
struct Asked {
    role: Role,
    package: String,
    name: String,
    path: String,
}

impl Compiled {
    fn new(policy: Policy) -> Self {
        let compiled = compile(&policy);
        let (origin, rules) = match compiled {
            Ok((engine, rules)) => (Ok(engine), rules),
            Err(error) => (Err(error), Vec::new()),
        };
        Compiled {
            policy,
            rules,
            idle: Mutex::new(Vec::new()),
            origin,
        }
    }

    fn wants(&self, operation: &str, namespace: Option<&str>) -> bool {
        self.policy.operations.contains(operation)
            && match (&self.policy.namespaces, namespace) {
                (Some(named), Some(namespace)) => {
                    namespace != NAMESPACE && named.contains(namespace)
                }
                (Some(_), None) => false,
                (None, Some(namespace)) => !EXEMPT.contains(&namespace),
                (None, None) => true,
            }
    }

    /// What it says: what it denies, and what it warns of.
    fn ask(&self, input: &Input, secrets: &Secrets) -> Result<(Vec<String>, Vec<String>), Error> {
        let origin = self.origin.as_ref().map_err(Clone::clone)?;
        let idle = self.idle.lock().pop();
        let mut engine = idle.unwrap_or_else(|| origin.clone());
        let mut denied = Vec::new();
        let mut warned = Vec::new();
        let mut of_main = None;
        for (style, asked) in &self.rules {
            let document = match style {
                Style::Object => match &input.object {
                    Some(object) => object,
                    None => continue,
                },
                Style::Admission | Style::Gatekeeper | Style::Plan => &input.review,
            };
            let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
            let values = engine.rule_values(&paths, document)?;
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
            for (asked, value) in asked.iter().zip(values) {
                let list = match asked.role {
                    Role::Deny => &mut denied,
                    Role::Warn => &mut warned,
                    Role::Allow if asked.name == "main" => {
                        of_main = value.as_ref().and_then(refusal);
                        continue;
                    }
                    _ => continue,
                };
                if excepted.covers(&asked.package, &asked.name) {
                    continue;
                }
                for one in each(value) {
                    let text = secrets.scrub(message(&asked.path, &one));
                    if !list.contains(&text) {
                        list.push(text);
                    }
                }
            }
        }
        // `main` usually puts together what the others deny.
        if denied.is_empty() {
            denied.extend(of_main.map(|text| secrets.scrub(text)));
        }
        for print in engine.take_prints() {
            tracing::debug!(policy = self.policy.name, "{print}");
        }
        self.idle.lock().push(engine);
        Ok((denied, warned))
    }
}

/// Why a response of OPA's webhook refuses a request, if it does.
fn refusal(main: &Value) -> Option<String> {
    let response = main.get("response")?;
    if response.get("allowed").and_then(Value::as_bool) != Some(false) {
        return None;
    }
    let status = response.get("status");
    let text = |field: &str| status?.get(field)?.as_str().map(str::to_owned);
    Some(
        text("message")
            .or_else(|| text("reason"))
            .unwrap_or_else(|| "data.system.main does not allow it".to_owned()),
    )
}

/// The rules that are asked, by the style of their input.
type ByStyle = Vec<(Style, Vec<Asked>)>;

fn compile(policy: &Policy) -> Result<(Engine, ByStyle), Error> {
    let mut engine = Engine::new(Options {
        version: policy.version,
        deadline: Some(DEADLINE),
        ..Options::default()
    });
    for (file, text) in &policy.modules {
        engine.add(file, text)?;
    }
    engine.set_data(&Document::from(policy.data.clone()))?;
    engine.prepare()?;
    let reads = Reads::of(policy.modules.iter().map(|(_, text)| text.as_str()));
    let mut rules: BTreeMap<Style, BTreeMap<String, Asked>> = BTreeMap::new();
    for rule in engine.rules() {
        if rule.kind == RuleKind::Function {
            continue;
        }
        let role = match role(&rule.name) {
            Some(role @ (Role::Deny | Role::Warn | Role::Exception)) if !is_helper(role, rule) => {
                role
            }
            _ if rule.package == "system" && rule.name == "main" => Role::Allow,
            _ => continue,
        };
        let style = match reads.style(&rule.package) {
            Style::Object => Style::Object,
            // What reads a plan has nothing to say about a write; what reads nothing in particular gets the review.
            Style::Plan if reads.of_plan(&rule.package) => continue,
            _ => Style::Admission,
        };
        let path = rule.path();
        rules
            .entry(style)
            .or_default()
            .entry(path.clone())
            .or_insert(Asked {
                role,
                package: rule.package.clone(),
                name: rule.name.clone(),
                path,
            });
    }
    let rules = rules
        .into_iter()
        .map(|(style, rules)| (style, rules.into_values().collect()))
        .collect();
    Ok((engine, rules))
}

/// What policies are given of one request.
struct Input {
    review: Document,
    object: Option<Document>,
}

impl Input {
    fn of(request: Value, secrets: &mut Secrets) -> Self {
        let secret = request["kind"]["kind"] == "Secret" && request["kind"]["group"] == "";
        let hidden: &[&str] = if secret {
            &[
                "/data",
                "/stringData",
                "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
            ]
        } else {
            &[]
        };
        let mut fields = BTreeMap::new();
        let mut object = None;
        if let Value::Object(all) = request {
            for (name, value) in all {
                let value = if matches!(name.as_str(), "object" | "oldObject") {
                    masked_at(&value, hidden, secrets)
                } else {
                    Document::from(value)
                };
                if name == "object" && value.get("kind").is_some() {
                    object = Some(value.clone());
                }
                fields.insert(regorus::Value::from(name), value.value().clone());
            }
        }
        let request = regorus::Value::from(fields);
        let review = regorus::Value::from(BTreeMap::from([
            (
                regorus::Value::from("apiVersion"),
                regorus::Value::from("admission.k8s.io/v1"),
            ),
            (
                regorus::Value::from("kind"),
                regorus::Value::from("AdmissionReview"),
            ),
            (regorus::Value::from("request"), request.clone()),
            (regorus::Value::from("review"), request),
            (
                regorus::Value::from("parameters"),
                regorus::Value::new_object(),
            ),
        ]));
        Input {
            review: Document::of(review),
            object,
        }
    }

    /// The same with a policy's own parameters.
    fn with(&self, parameters: &Value) -> Option<Self> {
        if parameters
            .as_object()
            .is_some_and(serde_json::Map::is_empty)
        {
            return None;
        }
        let fields = self.review.value().as_object().ok()?;
        let mut fields: BTreeMap<regorus::Value, regorus::Value> = fields
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        fields.insert(
            regorus::Value::from("parameters"),
            Document::from(parameters.clone()).value().clone(),
        );
        Some(Input {
            review: Document::of(regorus::Value::from(fields)),
            object: self.object.clone(),
        })
    }
}

/// What policies say of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Why it is refused; none if it is not.
    pub denied: Option<String>,
    /// What the client is told besides.
    pub warnings: Vec<String>,
}

/// All policies in force.
#[derive(Default)]
pub struct Policies {
    all: Vec<Compiled>,
    /// How long the last evaluation took, in nanoseconds.
    last: AtomicU64,
}

impl Policies {
    /// Compiles policies. One that cannot be compiled stands all the same: what it is asked about is refused, or let
    /// pass, as its failure policy says.
    pub fn new(policies: Vec<Policy>) -> Self {
        Policies {
            all: policies.into_iter().map(Compiled::new).collect(),
            last: AtomicU64::new(0),
        }
    }

    /// What is wrong with those that could not be compiled, by name.
    pub fn faults(&self) -> Vec<(String, Error)> {
        let faults = self.all.iter().filter_map(|one| {
            let error = one.origin.as_ref().err()?;
            Some((one.policy.name.clone(), error.clone()))
        });
        faults.collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether any is asked about such a write.
    pub fn wants(
        &self,
        operation: &str,
        group: &str,
        resource: &str,
        subresource: &str,
        namespace: Option<&str>,
    ) -> bool {
        // As with webhooks for all resources: what is written to a part of an object has another form.
        (subresource.is_empty() || operation == "CONNECT")
            && !UNASKED.contains(&(group, resource))
            && self.all.iter().any(|one| one.wants(operation, namespace))
    }

    /// Whether the last request took so long that the next is better not answered on a reactor.
    pub fn is_slow(&self) -> bool {
        Duration::from_nanos(self.last.load(Ordering::Relaxed)) > QUICK
    }

    /// What they say of an `AdmissionRequest`. The data of a Secret is masked before any sees it.
    pub fn review(&self, request: Value) -> Answer {
        let begun = Instant::now();
        let operation = request["operation"].as_str().unwrap_or_default().to_owned();
        let namespace = request["namespace"].as_str().map(str::to_owned);
        let mut secrets = Secrets::default();
        let input = Input::of(request, &mut secrets);
        let mut answer = Answer::default();
        let mut refusals = Vec::new();
        for one in &self.all {
            if !one.wants(&operation, namespace.as_deref()) {
                continue;
            }
            let own = input.with(&one.policy.parameters);
            let name = &one.policy.name;
            match one.ask(own.as_ref().unwrap_or(&input), &secrets) {
                Ok((denied, warned)) => {
                    refusals.extend(
                        denied
                            .into_iter()
                            .map(|text| format!("policy {name:?}: {text}")),
                    );
                    answer.warnings.extend(
                        warned
                            .into_iter()
                            .map(|text| format!("policy {name:?}: {text}")),
                    );
                }
                Err(error) if one.policy.ignores_failure => {
                    tracing::warn!(policy = name, %error, "a policy cannot be evaluated; its failure policy lets the request pass");
                }
                Err(error) => {
                    let error = secrets.scrub(error.to_string());
                    refusals.push(format!("policy {name:?} cannot be evaluated: {error}"));
                }
            }
        }
        if !refusals.is_empty() {
            answer.denied = Some(refusals.join("; "));
        }
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last.store(took, Ordering::Relaxed);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(annotations: &Value, data: &Value) -> Value {
        json!({"metadata": {"name": "p", "annotations": annotations}, "data": data})
    }

    fn policies(maps: &[Value]) -> Policies {
        Policies::new(
            maps.iter()
                .map(|map| Policy::of_config_map(map).unwrap())
                .collect(),
        )
    }

    fn request(kind: &str, object: &Value) -> Value {
        json!({
            "kind": {"group": "", "version": "v1", "kind": kind}, "operation": "CREATE", "namespace": "shop", "name": "x",
            "userInfo": {"username": "ada"}, "object": object, "oldObject": null,
        })
    }

    #[test]
    fn policies_in_every_style_deny_and_warn() {
        let all = policies(&[
            map(
                &json!({"consort.dev/rego-version": "v0"}),
                &json!({"a.rego": "package kubernetes.admission\ndeny[msg] { input.request.kind.kind == \"Pod\"; not input.request.object.metadata.labels.owner; msg := \"no owner\" }"}),
            ),
            map(
                &json!({"consort.dev/rego-version": "v0"}),
                &json!({
                    "a.rego": "package k8srequired\nviolation[{\"msg\": msg}] { l := input.parameters.labels[_]; not input.review.object.metadata.labels[l]; msg := sprintf(\"needs %v\", [l]) }",
                    "parameters.json": "{\"labels\": [\"team\"]}",
                }),
            ),
            map(
                &json!({}),
                &json!({"a.rego": "package main\nwarn contains \"a bare pod\" if input.kind == \"Pod\"\ndeny contains \"x\" if input.kind == \"Node\""}),
            ),
            map(
                &json!({}),
                &json!({"a.rego": "package plans\ndeny contains \"plan\" if count(input.resource_changes) >= 0"}),
            ),
        ]);
        assert!(all.faults().is_empty());
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}});
        let answer = all.review(request("Pod", &pod));
        assert_eq!(
            answer.denied.as_deref(),
            Some("policy \"p\": no owner; policy \"p\": needs team")
        );
        assert_eq!(answer.warnings, ["policy \"p\": a bare pod"]);
        assert!(!all.wants("DELETE", "", "pods", "", Some("shop")));
        assert!(!all.wants("CREATE", "", "pods", "", Some("kube-system")));
        assert!(!all.wants("UPDATE", "", "pods", "status", Some("shop")));
        assert!(all.wants("CREATE", "", "pods", "", Some("shop")));
    }

    #[test]
    fn the_response_of_opas_own_webhook_counts() {
        let all = policies(&[map(
            &json!({"consort.dev/rego-version": "v0"}),
            &json!({"main.rego": "package system\nmain = {\"response\": response}\ndefault uid = \"\"\nresponse = {\"allowed\": false, \"status\": {\"message\": r}} { r = concat(\", \", deny); r != \"\" } else = {\"allowed\": true} { true }\ndeny_[m] { m := \"no\" }\ndeny = {m | m := \"from main\"; input.request.name == \"x\"}"}),
        )]);
        let answer = all.review(request("Pod", &json!({"kind": "Pod"})));
        assert_eq!(answer.denied.as_deref(), Some("policy \"p\": from main"));
    }

    #[test]
    fn what_cannot_be_evaluated_is_refused_unless_it_is_to_be_ignored() {
        let broken = json!({"a.rego": "package a\ndeny contains msg if {"});
        let fail = policies(&[map(&json!({}), &broken)]);
        assert_eq!(fail.faults().len(), 1);
        let said = fail.review(request("Pod", &json!({}))).denied.unwrap();
        assert!(said.contains("cannot be evaluated: a.rego:2"), "{said}");
        let ignore = policies(&[map(
            &json!({"consort.dev/failure-policy": "Ignore"}),
            &broken,
        )]);
        assert_eq!(ignore.review(request("Pod", &json!({}))), Answer::default());
    }

    #[test]
    fn no_secret_is_told() {
        let all = policies(&[map(
            &json!({}),
            &json!({"a.rego": "package a\ndeny contains json.marshal(input) if input.request.kind.kind == \"Secret\"\ndeny contains \"aHVudGVyMg==\""}),
        )]);
        let secret = json!({"kind": "Secret", "data": {"password": "aHVudGVyMg=="}, "metadata": {"annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"password\":\"aHVudGVyMg==\"}}"}}});
        let said = all.review(request("Secret", &secret)).denied.unwrap();
        assert!(
            said.contains("(sensitive value)") && !said.contains("aHVudGVyMg"),
            "{said}"
        );
    }
}
