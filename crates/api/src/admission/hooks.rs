//! Admission webhooks: who is asked, what they are told, and what their answers mean.
//!
//! Follows the API reference of `admissionregistration.k8s.io/v1` and `admission.k8s.io/v1`, and the
//! wording of upstream's generic webhook plug-ins.

use super::chain::Notes;
use super::expressions::{Condition, Facts, Verdict, conditions_env};
use super::rules::Matcher;
use super::{Request, shown};
use crate::error::{Failure, Outcome, bad_request, fail, internal};
use crate::kind::Kind;
use crate::values::{at, int, items, set, text};
use crate::webhook::Endpoint;
use bytes::Bytes;
use consort_cel::Budget;
use consort_object::patch;
use consort_object::status::{Details, Status};
use consort_store::Store;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The versions of `AdmissionReview` that are spoken, newest first.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// One webhook of a configuration, ready to be called.
pub(super) struct Hook {
    /// The configuration it belongs to; calls go in the order of these names.
    configuration: String,
    /// The webhook's own name.
    pub(super) name: String,
    /// What is asked about.
    matcher: Matcher,
    conditions: Vec<Condition>,
    /// A webhook that cannot be asked is as if it had agreed.
    ignores_failure: bool,
    /// May be asked about what will not be stored.
    takes_dry_runs: bool,
    timeout: Duration,
    version: Option<&'static str>,
    /// Wants to see an object again that others changed after it.
    pub(super) reinvoked: bool,
    endpoint: Result<Endpoint, String>,
}

/// What a mutating webhook made of an object.
pub(super) enum Change {
    /// It was not asked, or agreed as it is.
    None,
    /// The object is another one now.
    Made,
}

impl Hook {
    /// The webhooks of a configuration, in their order.
    pub(super) fn list(configuration: &Value, store: &Store) -> Vec<Arc<Self>> {
        let name = crate::values::name(configuration);
        items(configuration, &["webhooks"])
            .iter()
            .filter_map(|webhook| match Self::new(name, webhook, store) {
                Ok(hook) => Some(Arc::new(hook)),
                Err(why) => {
                    // Validation let it in, so it can only come from an older server.
                    tracing::error!(configuration = name, why, "a webhook is not used");
                    None
                }
            })
            .collect()
    }

    fn new(configuration: &str, webhook: &Value, store: &Store) -> Result<Self, String> {
        let seconds = match int(webhook, &["timeoutSeconds"]) {
            0 => 10,
            seconds => seconds.clamp(1, 30).unsigned_abs(),
        };
        let known = items(webhook, &["admissionReviewVersions"]);
        let version = known
            .iter()
            .filter_map(Value::as_str)
            .find_map(|wanted| VERSIONS.iter().find(|version| **version == wanted))
            .copied();
        Ok(Self {
            configuration: configuration.to_owned(),
            name: text(webhook, &["name"]).to_owned(),
            matcher: Matcher::new(webhook, "rules")?,
            conditions: Condition::list(items(webhook, &["matchConditions"]), &conditions_env())?,
            ignores_failure: text(webhook, &["failurePolicy"]) == "Ignore",
            takes_dry_runs: matches!(text(webhook, &["sideEffects"]), "None" | "NoneOnDryRun"),
            timeout: Duration::from_secs(seconds),
            version,
            reinvoked: text(webhook, &["reinvocationPolicy"]) == "IfNeeded",
            endpoint: Endpoint::new(
                at(webhook, &["clientConfig"]).unwrap_or(&Value::Null),
                store,
            ),
        })
    }

    /// Is it about this request? If so, the review to send and the kind its object is shown as.
    async fn applies<'a>(
        &self,
        request: &Request<'a>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Outcome<Option<(&'a Kind, Review)>> {
        let Some(kind) = self.matcher.matches(request, object, old)? else {
            return Ok(None);
        };
        let facts = Facts::new(
            request,
            request.describe(kind),
            shown(request, kind, object).await?,
            shown(request, kind, old).await?,
        );
        if !self.conditions.is_empty() {
            let bindings = facts.bindings(None);
            // Upstream gives the conditions of one webhook a quarter of a policy's budget.
            let mut budget = Budget::new(2_500_000);
            match Condition::all(&self.conditions, &bindings, &mut budget) {
                Verdict::Holds => {}
                Verdict::Fails => return Ok(None),
                Verdict::Errors(_) if self.ignores_failure => return Ok(None),
                Verdict::Errors(why) => {
                    return fail(Status::forbidden(
                        &request.kind.group,
                        &request.kind.plural,
                        request.name,
                        why,
                    ));
                }
            }
        }
        Ok(Some((kind, Review::new(facts))))
    }

    /// Ask it to change an object.
    ///
    /// # Errors
    /// If it refuses, or cannot be asked and must be.
    pub(super) async fn mutate(
        &self,
        request: &Request<'_>,
        object: &mut Value,
        old: Option<&Value>,
        notes: &mut Notes,
    ) -> Outcome<Change> {
        let Some((kind, review)) = self.applies(request, Some(object), old).await? else {
            return Ok(Change::None);
        };
        self.takes(request)?;
        let sent = review.object.clone();
        let patched = match self.call(review).await {
            Ok(answer) => {
                notes.add(&self.name, &answer);
                self.verdict(&answer)?;
                self.patched(&answer, sent)
            }
            Err(why) => Err(why),
        };
        match patched {
            Ok(None) => Ok(Change::None),
            Ok(Some(value)) => {
                let before = object.clone();
                super::adopt(request, kind, object, value).await?;
                Ok(if *object == before {
                    Change::None
                } else {
                    Change::Made
                })
            }
            Err(why) => self.unanswered(&why).map(|()| Change::None),
        }
    }

    /// Ask it whether it agrees.
    ///
    /// # Errors
    /// If it refuses, or cannot be asked and must be.
    pub(super) async fn validate(
        &self,
        request: &Request<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Outcome<Option<Value>> {
        let Some((_, review)) = self.applies(request, object, old).await? else {
            return Ok(None);
        };
        self.takes(request)?;
        match self.call(review).await {
            Ok(answer) => {
                self.verdict(&answer)?;
                Ok(Some(answer))
            }
            Err(why) => self.unanswered(&why).map(|()| None),
        }
    }

    fn takes(&self, request: &Request<'_>) -> Outcome<()> {
        if request.dry_run && !self.takes_dry_runs {
            return Err(bad_request(format!(
                "admission webhook {:?} does not support dry run",
                self.name
            )));
        }
        Ok(())
    }

    /// No answer: the failure policy decides.
    fn unanswered(&self, why: &str) -> Outcome<()> {
        if self.ignores_failure {
            tracing::warn!(
                configuration = self.configuration,
                webhook = self.name,
                why,
                "a webhook gave no answer; its failure policy lets the request pass"
            );
            return Ok(());
        }
        Err(internal(format!(
            "failed calling webhook {:?}: {why}",
            self.name
        )))
    }

    /// Send a review; the answer is its `response`, checked for form.
    async fn call(&self, review: Review) -> Result<Value, String> {
        let endpoint = self
            .endpoint
            .as_ref()
            .map_err(|why| format!("could not get REST client: {why}"))?;
        let version = self.version.ok_or_else(|| {
            "could not get REST client: no known AdmissionReview version in admissionReviewVersions".to_owned()
        })?;
        let api_version = format!("admission.k8s.io/{version}");
        let (uid, body) = review
            .body(&api_version)
            .map_err(|error| error.to_string())?;
        let answer = endpoint
            .post(body, self.timeout)
            .await
            .map_err(|error| format!("failed to call webhook: {error}"))?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| {
            format!("failed to call webhook: couldn't decode the answer: {error}")
        })?;
        let wrong = |why: String| format!("received invalid webhook response: {why}");
        let told = (text(&answer, &["apiVersion"]), text(&answer, &["kind"]));
        if told != (api_version.as_str(), "AdmissionReview")
            && (version == "v1" || !told.0.is_empty())
        {
            return Err(wrong(format!(
                "expected webhook response of {api_version}, Kind=AdmissionReview, got {}, Kind={}",
                told.0, told.1
            )));
        }
        let response = at(&answer, &["response"])
            .filter(|response| response.is_object())
            .ok_or_else(|| wrong("webhook response was absent".to_owned()))?;
        if version == "v1" && text(response, &["uid"]) != uid {
            return Err(wrong(format!(
                "expected response.uid={uid:?}, got {:?}",
                text(response, &["uid"])
            )));
        }
        Ok(response.clone())
    }

    /// Did it agree?
    fn verdict(&self, response: &Value) -> Outcome<()> {
        if at(response, &["allowed"]).and_then(Value::as_bool) == Some(true) {
            return Ok(());
        }
        Err(self.denied(at(response, &["status"]).unwrap_or(&Value::Null)))
    }

    fn denied(&self, status: &Value) -> Failure {
        let by = format!("admission webhook {:?} denied the request", self.name);
        let (message, reason) = (text(status, &["message"]), text(status, &["reason"]));
        let text_of = if !message.is_empty() {
            format!("{by}: {message}")
        } else if !reason.is_empty() {
            format!("{by}: {reason}")
        } else {
            format!("{by} without explanation")
        };
        // A refusal is never told as a success.
        let code = u16::try_from(int(status, &["code"]))
            .unwrap_or(400)
            .max(400);
        let mut failure = Status::failure(code, reason, text_of);
        if let Some(details) = at(status, &["details"])
            && let Ok(details) = Details::deserialize(details)
        {
            failure = failure.with_details(details);
        }
        Box::new(failure)
    }

    /// The object as its patch makes it; none if there is no patch.
    fn patched(&self, response: &Value, mut object: Value) -> Result<Option<Value>, String> {
        let wrong = |why: String| format!("received invalid webhook response: {why}");
        let patch = consort_object::schema::bytes(at(response, &["patch"]).unwrap_or(&Value::Null))
            .map_err(|error| wrong(format!("patch: {error}")))?;
        if patch.is_empty() {
            return Ok(None);
        }
        let kind = text(response, &["patchType"]);
        if kind != "JSONPatch" && (self.version == Some("v1") || !kind.is_empty()) {
            return Err(wrong(format!("expected patchType JSONPatch, got {kind:?}")));
        }
        let changes: Value = serde_json::from_slice(&patch)
            .map_err(|error| wrong(format!("patch is no JSON: {error}")))?;
        if items(&json!({"p": changes}), &["p"]).is_empty() {
            return Ok(None);
        }
        patch::json(&mut object, &changes)
            .map_err(|error| format!("failed to apply patch: {error}"))?;
        Ok(Some(object))
    }
}

/// What a webhook is told.
struct Review {
    request: Value,
    object: Value,
    old: Value,
}

impl Review {
    fn new(facts: Facts<'_>) -> Self {
        let (request, object, old) = facts.into_parts();
        Self {
            request,
            object,
            old,
        }
    }

    /// Its uid and its body.
    fn body(self, api_version: &str) -> Result<(String, Bytes), serde_json::Error> {
        let uid = uuid::Uuid::new_v4().to_string();
        let mut request = json!({"uid": uid});
        if let (Value::Object(to), Value::Object(from)) = (&mut request, self.request) {
            to.extend(from);
        }
        set(&mut request, "object", self.object);
        set(&mut request, "oldObject", self.old);
        let review =
            json!({"kind": "AdmissionReview", "apiVersion": api_version, "request": request});
        Ok((uid, Bytes::from(serde_json::to_vec(&review)?)))
    }
}
