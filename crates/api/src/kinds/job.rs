//! Jobs.

use crate::defaults;
use crate::kind::{Kind, STATUS};
use crate::print;
use crate::strategy::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{at, ensure, fill, flag, int, items, set, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `Job`.
pub(super) fn job() -> Kind {
    let mut kind = Kind::new("batch", "v1", "Job", "jobs")
        .categories(&["all"])
        .sub(STATUS)
        .strategy(Job);
    kind.generation = true;
    kind.orphans = true;
    kind
}

struct Job;

const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

impl Strategy for Job {
    fn default(&self, object: &mut Value) {
        defaults::job(object);
    }

    /// A job's pods are told from all others by the job's uid, unless its user says how.
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
        if flag(object, &["spec", "manualSelector"]) {
            return;
        }
        let uid = text(object, &["metadata", "uid"]).to_owned();
        let name = text(object, &["metadata", "name"]).to_owned();
        let spec = ensure(object, "spec");
        let labels = ensure(ensure(ensure(spec, "template"), "metadata"), "labels");
        for label in UID_LABELS {
            fill(labels, label, uid.as_str());
        }
        for label in NAME_LABELS {
            fill(labels, label, name.as_str());
        }
        let selector = ensure(ensure(spec, "selector"), "matchLabels");
        fill(selector, UID_LABELS[0], uid);
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::job(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::job_update(new, old, here, errors);
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        let done = int(object, &["status", "succeeded"]);
        vec![("status.successful".into(), done.to_string())]
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        validation::pod_warnings(&object["spec"]["template"]["spec"], "spec.template.spec")
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Status", "string", "Status of the job."),
            column(
                "Completions",
                "string",
                "How many pods have succeeded, of how many wanted.",
            ),
            column("Duration", "string", "Time required to complete the job."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (names, images) = print::containers(&object["spec"]["template"]["spec"]);
        vec![
            print::name(object),
            status(object).into(),
            completions(object).into(),
            took(object, now).into(),
            print::age(object, now),
            names,
            images,
            print::selector(&object["spec"]["selector"]).into(),
        ]
    }
}

fn status(job: &Value) -> &'static str {
    let holds = |kind: &str| {
        items(job, &["status", "conditions"])
            .iter()
            .any(|condition| {
                text(condition, &["type"]) == kind && text(condition, &["status"]) == "True"
            })
    };
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if at(job, &["metadata", "deletionTimestamp"]).is_some() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Value) -> String {
    let done = int(job, &["status", "succeeded"]);
    match at(job, &["spec", "completions"]).and_then(Value::as_i64) {
        Some(wanted) => format!("{done}/{wanted}"),
        None => match int(job, &["spec", "parallelism"]) {
            parallel if parallel > 1 => format!("{done}/1 of {parallel}"),
            _ => format!("{done}/1"),
        },
    }
}

fn took(job: &Value, now: Timestamp) -> String {
    let time = |field: &str| text(job, &["status", field]).parse::<Timestamp>().ok();
    match (time("startTime"), time("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => print::duration(end.unwrap_or(now).as_second() - start.as_second()),
    }
}
