//! HorizontalPodAutoscalers: stored as `autoscaling/v2`, shown as `v1` too.

mod convert;
mod validate;

use crate::defaults;
use crate::kind::{Kind, STATUS, View};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path};
use crate::values::{at, int, items, set, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind as it is stored.
pub(super) fn v2() -> Kind {
    kind("v2")
}

/// The kind of old: processor use is the only target it has fields for, all else is in annotations.
pub(super) fn v1() -> Kind {
    let mut kind = kind("v1");
    kind.view = Some(View {
        store: convert::to_v2,
        show: convert::to_v1,
        version: "v2",
        fields: &[],
    });
    kind
}

fn kind(version: &str) -> Kind {
    Kind::new(
        "autoscaling",
        version,
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    )
    .short(&["hpa"])
    .categories(&["all"])
    .sub(STATUS)
    .strategy(HorizontalPodAutoscaler)
}

struct HorizontalPodAutoscaler;

impl Strategy for HorizontalPodAutoscaler {
    fn default(&self, object: &mut Value) {
        defaults::autoscaler(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"desiredReplicas": 0}));
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validate::spec(&object["spec"], &here.field("spec"), errors);
    }

    fn validate_status(&self, new: &Value, _old: &Value, here: &Path<'_>, errors: &mut Errors) {
        for field in ["currentReplicas", "desiredReplicas"] {
            errors.not_negative(
                &here.field("status").field(field),
                at(new, &["status", field]),
            );
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Reference", "string", "What is scaled."),
            column("Targets", "string", "What is measured, of what is wanted."),
            column("MinPods", "string", "The fewest replicas."),
            column("MaxPods", "string", "The most replicas."),
            column("Replicas", "string", "The present number of replicas."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let target = |field: &str| text(spec, &["scaleTargetRef", field]);
        let least = match at(spec, &["minReplicas"]).and_then(Value::as_i64) {
            Some(number) => number.to_string(),
            None => "<unset>".into(),
        };
        vec![
            print::name(object),
            format!("{}/{}", target("kind"), target("name")).into(),
            targets(object).into(),
            least.into(),
            int(spec, &["maxReplicas"]).into(),
            int(object, &["status", "currentReplicas"]).into(),
            print::age(object, now),
        ]
    }
}

/// What is measured of what is wanted, for the first two metrics.
fn targets(object: &Value) -> String {
    let metrics = items(object, &["spec", "metrics"]);
    let measured = items(object, &["status", "currentMetrics"]);
    let mut all: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(index, metric)| one_target(metric, measured.get(index)))
        .collect();
    let more = all.len().saturating_sub(2);
    all.truncate(2);
    let shown = all.join(", ");
    match more {
        _ if shown.is_empty() => "<none>".into(),
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn one_target(metric: &Value, measured: Option<&Value>) -> String {
    let (field, named) = match text(metric, &["type"]) {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".into(),
    };
    let target = &metric[field]["target"];
    let now = measured.map_or(&Value::Null, |measured| &measured[field]["current"]);
    let amount = |value: &Value, which: &str| match at(value, &[which]) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => format!("{number}%"),
        _ => "<unknown>".into(),
    };
    let which = ["averageValue", "value", "averageUtilization"]
        .into_iter()
        .find(|which| at(target, &[which]).is_some());
    let Some(which) = which else {
        return "<unknown>/<auto>".into();
    };
    let pair = format!("{}/{}", amount(now, which), amount(target, which));
    if named {
        format!("{}: {pair}", text(metric, &[field, "name"]))
    } else if which == "averageValue" && field != "pods" {
        format!("{pair} (avg)")
    } else {
        pair
    }
}
