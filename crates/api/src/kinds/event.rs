//! Events: one stored object, shown in two groups.

use crate::kind::{Kind, View};
use crate::print;
use crate::strategy::{Column, NAME, Strategy, column, wide};
use crate::validation::{Errors, Path};
use crate::values::{at, int, set, take, text};
use consort_object::names;
use jiff::Timestamp;
use serde_json::Value;

/// The kind `Event` of the core group, as it is stored.
pub(super) fn core() -> Kind {
    let mut kind = Kind::new("", "v1", "Event", "events")
        .short(&["ev"])
        .strategy(Event { strict: false });
    kind.create_on_update = true;
    kind
}

/// The kind `Event` of `events.k8s.io`.
pub(super) fn events() -> Kind {
    let mut kind = Kind::new("events.k8s.io", "v1", "Event", "events")
        .short(&["ev"])
        .strategy(Event { strict: true });
    kind.create_on_update = true;
    kind.storage = (String::new(), "events".into());
    kind.view = Some(View {
        store: |event| renamed(event, "v1", |(core, other)| (other, core)),
        show: |event| renamed(event, "events.k8s.io/v1", |pair| pair),
        version: "v1",
        fields: FIELDS,
    });
    kind
}

/// Core name, `events.k8s.io` name.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

const FIELDS: &[(&str, &str)] = &[
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.uid", "involvedObject.uid"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    (
        "regarding.resourceVersion",
        "involvedObject.resourceVersion",
    ),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
    ("reportingController", "reportingComponent"),
];

type Pair = (&'static str, &'static str);

fn renamed(mut event: Value, version: &str, direction: fn(Pair) -> Pair) -> Value {
    for pair in NAMES {
        let (from, to) = direction(*pair);
        if let Some(value) = take(&mut event, from) {
            set(&mut event, to, value);
        }
    }
    set(&mut event, "apiVersion", version);
    event
}

struct Event {
    /// As the newer group asks for: all that says who reports what is required.
    strict: bool,
}

/// The longest texts of the newer kind.
const LONGEST: usize = 128;
const LONGEST_NOTE: usize = 1024;

impl Event {
    /// What is required of an event that has a time of its own.
    fn timed(object: &Value, here: &Path<'_>, errors: &mut Errors) {
        errors.named(
            &here.field("reportingController"),
            text(object, &["reportingComponent"]),
            names::qualified_name,
        );
        for field in ["reportingInstance", "action", "reason"] {
            let value = text(object, &[field]);
            let place = here.field(field);
            if value.is_empty() {
                errors.required(&place, "");
            } else if value.len() > LONGEST {
                errors.invalid(&place, "", format!("can have at most {LONGEST} characters"));
            }
        }
        if text(object, &["message"]).len() > LONGEST_NOTE {
            errors.invalid(
                &here.field("message"),
                "",
                format!("can have at most {LONGEST_NOTE} characters"),
            );
        }
    }

    /// What the newer kind asks for besides.
    fn modern(object: &Value, here: &Path<'_>, errors: &mut Errors) {
        if text(object, &["eventTime"]).is_empty() {
            errors.required(&here.field("eventTime"), "");
        }
        let kind = text(object, &["type"]);
        if !["Normal", "Warning"].contains(&kind) {
            errors.invalid(
                &here.field("type"),
                "",
                format!("has invalid value: {kind}"),
            );
        }
        for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
            let set = at(object, &[field]).is_some_and(|value| {
                value != 0 && value.as_object().is_none_or(|map| !map.is_empty())
            });
            if set {
                errors.invalid(&here.field(field), "", "needs to be unset");
            }
        }
    }
}

const INVOLVED: [&str; 7] = [
    "kind",
    "namespace",
    "name",
    "uid",
    "apiVersion",
    "resourceVersion",
    "fieldPath",
];

impl Strategy for Event {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let involved = text(object, &["involvedObject", "namespace"]);
        let own = text(object, &["metadata", "namespace"]);
        let timed = !text(object, &["eventTime"]).is_empty();
        // Events about cluster-wide things live in `default`, or, for newer ones, in `kube-system` too.
        let agrees = if involved.is_empty() {
            own == "default" || (timed && own == "kube-system")
        } else {
            timed || involved == own
        };
        if !agrees {
            let place = here.field("involvedObject");
            errors.invalid(
                &place.field("namespace"),
                involved,
                "does not match event.namespace",
            );
        }
        if timed {
            Self::timed(object, here, errors);
        }
        if self.strict {
            Self::modern(object, here, errors);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        if !self.strict {
            self.validate(new, here, errors);
            return;
        }
        for field in [
            "involvedObject",
            "reason",
            "message",
            "type",
            "action",
            "related",
            "reportingComponent",
            "reportingInstance",
            "eventTime",
        ] {
            errors.immutable(&here.field(field), new.get(field), old.get(field));
        }
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = INVOLVED
            .iter()
            .map(|field| {
                let value = text(object, &["involvedObject", field]);
                (format!("involvedObject.{field}"), value.to_owned())
            })
            .collect();
        let component = text(object, &["reportingComponent"]);
        let source = print::or(text(object, &["source", "component"]), component);
        fields.push(("reason".into(), text(object, &["reason"]).into()));
        fields.push(("reportingComponent".into(), component.into()));
        fields.push(("source".into(), source.into()));
        fields.push(("type".into(), text(object, &["type"]).into()));
        fields
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            column(
                "Last Seen",
                "string",
                "Time when this event was last observed",
            ),
            column("Type", "string", "Normal or Warning."),
            column("Reason", "string", "Why the event was made, in one word."),
            column("Object", "string", "What the event is about."),
            wide("Subobject", "string", "The part of the object it is about."),
            wide("Source", "string", "Who reported the event."),
            column("Message", "string", "What happened, for people."),
            wide(
                "First Seen",
                "string",
                "Time when this event was first observed",
            ),
            wide("Count", "string", "How often it happened."),
            Column {
                priority: 1,
                ..NAME
            },
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        // Both forms of the kind are printed: look for either name.
        let get = |pair: Pair| at(object, &[pair.0]).or_else(|| at(object, &[pair.1]));
        let [involved, message, source, first, last, count, reporter] =
            std::array::from_fn(|index| get(NAMES[index]));
        let word =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let involved = involved.unwrap_or(&Value::Null);
        let event_time = text(object, &["eventTime"]);
        let seen_first = word(first);
        let seen_first = print::or(&seen_first, event_time);
        let series = text(object, &["series", "lastObservedTime"]);
        let seen_last = word(last);
        let seen_last = if series.is_empty() {
            print::or(&seen_last, seen_first)
        } else {
            series
        };
        let times = match int(object, &["series", "count"]) {
            0 => count.and_then(Value::as_i64).unwrap_or(1).max(1),
            times => times,
        };
        let source = source.unwrap_or(&Value::Null);
        let reporter = word(reporter);
        let component = print::or(text(source, &["component"]), &reporter);
        let host = print::or(
            text(source, &["host"]),
            text(object, &["reportingInstance"]),
        );
        let source = if host.is_empty() {
            component.to_owned()
        } else {
            format!("{component}, {host}")
        };
        let target = format!(
            "{}/{}",
            text(involved, &["kind"]).to_lowercase(),
            text(involved, &["name"])
        );
        vec![
            print::since(seen_last, now).into(),
            text(object, &["type"]).into(),
            text(object, &["reason"]).into(),
            target.into(),
            text(involved, &["fieldPath"]).into(),
            source.into(),
            word(message).trim().into(),
            print::since(seen_first, now).into(),
            times.to_string().into(),
            print::name(object),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_survives_the_way_to_the_store_and_back() {
        let view = events().view.unwrap();
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": "e"}, "regarding": {"kind": "Pod"}, "note": "hello",
            "reportingController": "c", "deprecatedCount": 2});
        let stored = (view.store)(event.clone());
        assert_eq!(stored["apiVersion"], "v1");
        assert_eq!(stored["involvedObject"]["kind"], "Pod");
        assert_eq!(stored["message"], "hello");
        assert_eq!(stored["count"], 2);
        assert_eq!((view.show)(stored), event);
    }
}
