//! Settling the names of definitions: the first to ask for a name in a group has it.

use super::definition::Names;
use crate::values::{at, items, text};
use serde_json::{Value, json};

/// The names in a field (`spec.names`, `status.acceptedNames`) of a definition.
pub(super) fn names(value: &Value, path: &[&str]) -> Names {
    at(value, path)
        .and_then(|names| serde_json::from_value(names.clone()).ok())
        .unwrap_or_default()
}

/// The names that others of the group have.
#[derive(Default)]
pub(super) struct Taken {
    resources: Vec<String>,
    kinds: Vec<String>,
}

impl Taken {
    /// Note the names of a definition.
    pub(super) fn add(&mut self, names: &Names) {
        for name in [&names.plural, &names.singular]
            .into_iter()
            .chain(&names.short_names)
        {
            self.resources.push(name.clone());
        }
        self.kinds.push(names.kind.clone());
        self.kinds.push(names.list_kind.clone());
    }
}

/// What came of asking for names.
pub(super) struct Settled {
    /// The names accepted.
    pub accepted: Names,
    /// Why not all of them: reason and message.
    pub conflict: Option<(&'static str, String)>,
}

fn fresh(wanted: &str, accepted: &str, taken: &[String]) -> Result<(), String> {
    if wanted == accepted || !taken.iter().any(|name| name == wanted) {
        return Ok(());
    }
    Err(format!("{wanted:?} is already in use"))
}

/// Settle names. Names once accepted stay until others are.
pub(super) fn settle(wanted: &Names, accepted: &Names, taken: &Taken) -> Settled {
    let mut settled = Settled {
        accepted: accepted.clone(),
        conflict: None,
    };
    let mut take =
        |want: &String, have: &String, taken: &[String], reason| match fresh(want, have, taken) {
            Ok(()) => want.clone(),
            Err(message) => {
                settled.conflict = Some((reason, message));
                have.clone()
            }
        };
    let resources = &taken.resources;
    let plural = take(
        &wanted.plural,
        &accepted.plural,
        resources,
        "PluralConflict",
    );
    let singular = take(
        &wanted.singular,
        &accepted.singular,
        resources,
        "SingularConflict",
    );
    let mut short = wanted.short_names.clone();
    if short != accepted.short_names {
        let wrong: Vec<String> = short
            .iter()
            .filter(|name| !accepted.short_names.contains(name))
            .filter_map(|name| fresh(name, "", resources).err())
            .collect();
        let message = match wrong.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            many => Some(format!("[{}]", many.join(", "))),
        };
        if let Some(message) = message {
            settled.conflict = Some(("ShortNamesConflict", message));
            short.clone_from(&accepted.short_names);
        }
    }
    let mut take = |want: &String, have: &String, reason| match fresh(want, have, &taken.kinds) {
        Ok(()) => want.clone(),
        Err(message) => {
            settled.conflict = Some((reason, message));
            have.clone()
        }
    };
    let kind = take(&wanted.kind, &accepted.kind, "KindConflict");
    let list_kind = take(&wanted.list_kind, &accepted.list_kind, "ListKindConflict");
    settled.accepted = Names {
        plural,
        singular,
        kind,
        list_kind,
        short_names: short,
        categories: wanted.categories.clone(),
    };
    settled
}

/// The JSON of accepted names.
pub(super) fn to_json(names: &Names) -> Value {
    let mut value = json!({"plural": names.plural, "kind": names.kind});
    for (field, text) in [
        ("singular", &names.singular),
        ("listKind", &names.list_kind),
    ] {
        if !text.is_empty() {
            value[field] = text.as_str().into();
        }
    }
    for (field, list) in [
        ("shortNames", &names.short_names),
        ("categories", &names.categories),
    ] {
        if !list.is_empty() {
            value[field] = json!(list);
        }
    }
    value
}

/// Set a condition; the time is that of the last change of its status.
pub(super) fn set_condition(
    definition: &mut Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
) {
    let before = items(definition, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == kind);
    let since = match before {
        Some(before) if text(before, &["status"]) == status => {
            text(before, &["lastTransitionTime"]).to_owned()
        }
        _ => consort_object::time::now(),
    };
    let condition = json!({
        "type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message,
    });
    let status = crate::values::ensure(definition, "status");
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    if let Some(list) = status["conditions"].as_array_mut() {
        match list
            .iter_mut()
            .find(|condition| text(condition, &["type"]) == kind)
        {
            Some(own) => *own = condition,
            None => list.push(condition),
        }
    }
}

/// Is a condition true?
pub(super) fn is_true(definition: &Value, kind: &str) -> bool {
    items(definition, &["status", "conditions"])
        .iter()
        .any(|condition| {
            text(condition, &["type"]) == kind && text(condition, &["status"]) == "True"
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(plural: &str, kind: &str, short: &[&str]) -> Names {
        Names {
            plural: plural.into(),
            singular: kind.to_lowercase(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            short_names: short.iter().map(|name| (*name).into()).collect(),
            categories: Vec::new(),
        }
    }

    #[test]
    fn the_first_to_ask_has_the_name_and_keeps_it() {
        let mut taken = Taken::default();
        taken.add(&of("as", "A", &["x"]));
        let new = of("bs", "B", &["x", "y"]);
        let settled = settle(&new, &Names::default(), &taken);
        let (reason, message) = settled.conflict.unwrap();
        assert_eq!(
            (reason, message.as_str()),
            ("ShortNamesConflict", "\"x\" is already in use")
        );
        assert_eq!(settled.accepted.plural, "bs");
        assert!(settled.accepted.short_names.is_empty());
        let settled = settle(&of("bs", "A", &[]), &of("bs", "B", &[]), &taken);
        assert_eq!(settled.conflict.unwrap().0, "ListKindConflict");
        assert_eq!(settled.accepted.kind, "B");
        assert!(settle(&new, &new, &taken).conflict.is_none());
    }
}
