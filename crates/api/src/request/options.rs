//! The options a query string carries, parsed once.

use super::query::Query;
use crate::error::{Failure, Outcome, bad_request, fail};
use consort_object::FieldError;
use consort_object::status::Status;
use serde_json::Value;
use std::time::Duration;

/// Why options could not be read; the text is what the client is told.
pub(super) type Invalid = String;

/// What to do about fields the kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so in `Warning` headers (the default).
    Warn,
    /// Refuse the request.
    Strict,
}

/// Options of create, update and patch.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    /// Do everything but store the result.
    pub dry_run: bool,
    /// What to do about unknown fields.
    pub field_validation: FieldValidation,
    /// Who writes.
    pub field_manager: Option<String>,
    /// Take what others own.
    pub force: Option<bool>,
}

/// The longest name of a field manager, in bytes.
const MAX_MANAGER: usize = 128;

impl WriteOptions {
    /// Read them from the query string; `kind` is what they are called, such as `PatchOptions`.
    pub(crate) fn of(query: &Query, kind: &str) -> Outcome<Self> {
        Self::parse(query).map_err(|error| invalid(kind, error))
    }

    #[allow(clippy::result_large_err)] // refused requests are rare
    fn parse(query: &Query) -> Result<Self, FieldError> {
        let field_validation = match query.text("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let supported = ["Ignore", "Strict", "Warn"];
                return Err(FieldError::not_supported(
                    "fieldValidation",
                    other,
                    &supported,
                ));
            }
        };
        let field_manager = query.text("fieldManager").map(str::to_owned);
        if let Some(manager) = &field_manager {
            if manager.len() > MAX_MANAGER {
                return Err(FieldError::too_long("fieldManager", MAX_MANAGER));
            }
            if manager.chars().any(char::is_control) {
                return Err(FieldError::invalid(
                    "fieldManager",
                    manager.as_str(),
                    "should only contain printable characters",
                ));
            }
        }
        if let Some(other) = query.all("dryRun").find(|value| *value != "All") {
            return Err(FieldError::not_supported("dryRun", other, &["All"]));
        }
        Ok(Self {
            dry_run: query.has("dryRun"),
            field_validation,
            field_manager,
            force: query.has("force").then(|| query.flag("force")),
        })
    }
}

/// The answer to options that make no sense.
pub(crate) fn invalid(kind: &str, error: FieldError) -> Failure {
    Box::new(Status::invalid("meta.k8s.io", kind, "", &[error]))
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, Invalid> {
    let mut dry = false;
    for value in values {
        match value {
            "All" => dry = true,
            other => {
                return Err(format!(
                    "dryRun: Unsupported value: {other:?}: supported values: \"All\""
                ));
            }
        }
    }
    Ok(dry)
}

/// How a list's `resourceVersion` is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    /// Exactly this revision.
    Exact,
    /// This one or any later one.
    NotOlderThan,
}

/// Options of list, watch and deletecollection.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListOptions {
    /// Label selector as written.
    pub label_selector: Option<String>,
    /// Field selector as written.
    pub field_selector: Option<String>,
    /// The client understands `BOOKMARK` events.
    pub bookmarks: bool,
    /// Start the watch with the present objects.
    pub initial_events: Option<bool>,
    /// The revision asked for; `Some(0)` means "any".
    pub revision: Option<u64>,
    /// How the revision is meant.
    pub version_match: Option<VersionMatch>,
    /// End the watch after this long.
    pub timeout: Option<Duration>,
    /// At most so many objects in one answer.
    pub limit: Option<usize>,
    /// Where the last page ended.
    pub page: Option<String>,
}

impl ListOptions {
    /// Read them from the query string, with upstream's rules for what goes with what.
    pub(crate) fn parse(query: &Query) -> Outcome<Self> {
        let watch = query.flag("watch");
        let revision = revision(query)?;
        let given = query.text("resourceVersionMatch");
        let version_match = match given {
            Some("Exact") => Some(VersionMatch::Exact),
            Some("NotOlderThan") => Some(VersionMatch::NotOlderThan),
            _ => None,
        };
        let initial_events = query
            .has("sendInitialEvents")
            .then(|| query.flag("sendInitialEvents"));
        let page = query.text("continue").map(str::to_owned);
        let errors = conflicts(&Chosen {
            watch,
            revision,
            given,
            initial_events,
            paged: page.is_some(),
        });
        if !errors.is_empty() {
            return fail(Status::invalid("meta.k8s.io", "ListOptions", "", &errors));
        }
        let number = |key: &str| -> Outcome<Option<u64>> {
            let Some(text) = query.text(key) else {
                return Ok(None);
            };
            let number = text.parse::<i64>().map_err(|_| {
                bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax"
                ))
            })?;
            Ok(u64::try_from(number).ok().filter(|number| *number > 0))
        };
        // A watch from anywhere begins with what is there, and says when that was all.
        let legacy = watch && given.is_none() && revision.is_none_or(|revision| revision == 0);
        Ok(Self {
            label_selector: query.text("labelSelector").map(str::to_owned),
            field_selector: query.text("fieldSelector").map(str::to_owned),
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: initial_events.or(legacy.then_some(true)),
            revision,
            version_match,
            timeout: number("timeoutSeconds")?.map(Duration::from_secs),
            limit: number("limit")?.map(|limit| limit as usize),
            page,
        })
    }
}

/// The revision a read asks for; 0 for any.
pub(crate) fn revision(query: &Query) -> Outcome<Option<u64>> {
    let Some(text) = query.text("resourceVersion") else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        let error = FieldError::invalid("resourceVersion", text, why);
        Box::new(Status::invalid("meta.k8s.io", "ListOptions", "", &[error]))
    })
}

/// The options that can contradict each other.
struct Chosen<'q> {
    watch: bool,
    revision: Option<u64>,
    given: Option<&'q str>,
    initial_events: Option<bool>,
    paged: bool,
}

fn conflicts(chosen: &Chosen<'_>) -> Vec<FieldError> {
    const MATCH: &str = "resourceVersionMatch";
    let mut errors = Vec::new();
    let mut forbidden = |why: &str| errors.push(FieldError::forbidden(MATCH, why));
    let Some(given) = chosen.given else {
        match (chosen.watch, chosen.initial_events) {
            (true, Some(_)) => {
                forbidden(
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                );
            }
            (false, Some(_)) => errors.push(no_initial_events()),
            _ => {}
        }
        return errors;
    };
    if chosen.watch {
        if chosen.initial_events.is_some() && given != "NotOlderThan" {
            forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if chosen.initial_events.is_none() {
            forbidden(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        if given != "NotOlderThan" {
            errors.push(FieldError::not_supported(MATCH, given, &["NotOlderThan"]));
        }
        if chosen.paged {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden(MATCH, why));
        }
        return errors;
    }
    if chosen.revision.is_none() {
        forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if chosen.paged {
        forbidden("resourceVersionMatch is forbidden when continue is provided");
    }
    if given == "Exact" && chosen.revision == Some(0) {
        forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if !matches!(given, "Exact" | "NotOlderThan") {
        let known = ["Exact", "NotOlderThan", ""];
        errors.push(FieldError::not_supported(MATCH, given, &known));
    }
    if chosen.initial_events.is_some() {
        errors.push(no_initial_events());
    }
    errors
}

fn no_initial_events() -> FieldError {
    FieldError::forbidden(
        "sendInitialEvents",
        "sendInitialEvents is forbidden for list",
    )
}

/// Options of delete, from the body and the query string.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    /// Seconds a pod gets to end; `None` means the object's own.
    pub grace: Option<i64>,
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation: Option<Propagation>,
    /// Only delete the object with this uid.
    pub uid: Option<String>,
    /// Only delete the object at this resource version.
    pub resource_version: Option<String>,
    /// Do everything but delete.
    pub dry_run: bool,
}

/// What becomes of the objects that a deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They are deleted after it.
    Background,
    /// They are deleted before it.
    Foreground,
    /// They stay.
    Orphan,
}

impl DeleteOptions {
    /// Read them from a `DeleteOptions` body (if there is one) or else from the query string.
    pub(crate) fn parse(query: &Query, body: Option<&Value>) -> Result<Self, Invalid> {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let mut options = Self::default();
        let mut orphan = None;
        let mut propagation = None;
        if let Some(body) = body.filter(|body| body.is_object()) {
            options.grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
            orphan = body.get("orphanDependents").and_then(Value::as_bool);
            propagation = text(body.get("propagationPolicy"));
            let preconditions = body.get("preconditions");
            options.uid = text(preconditions.and_then(|p| p.get("uid")));
            options.resource_version = text(preconditions.and_then(|p| p.get("resourceVersion")));
            let listed = body.get("dryRun").and_then(Value::as_array);
            options.dry_run = dry_run(listed.into_iter().flatten().filter_map(Value::as_str))?;
        }
        if let Some(grace) = query.text("gracePeriodSeconds") {
            options.grace = Some(grace.parse().map_err(|_| {
                format!("gracePeriodSeconds: Invalid value: {grace:?}: must be an integer")
            })?);
        }
        if query.has("orphanDependents") {
            orphan = Some(query.flag("orphanDependents"));
        }
        if let Some(policy) = query.text("propagationPolicy") {
            propagation = Some(policy.to_owned());
        }
        options.dry_run |= dry_run(query.all("dryRun"))?;
        if orphan.is_some() && propagation.is_some() {
            return Err(
                "propagationPolicy: Invalid value: orphanDependents and deletionPropagation cannot be both set".into(),
            );
        }
        options.propagation = match (propagation.as_deref(), orphan) {
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some(other), _) => {
                return Err(format!(
                    "propagationPolicy: Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\""
                ));
            }
            (None, None) => None,
        };
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn contradictory_list_options_are_refused() {
        for query in [
            "resourceVersionMatch=Exact",
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch=Nonsense&resourceVersion=1",
            "resourceVersion=abc",
            "sendInitialEvents=true",
            "sendInitialEvents=true&resourceVersion=1&resourceVersionMatch=Exact",
            "watch=1&sendInitialEvents=true",
            "watch=1&resourceVersionMatch=NotOlderThan",
            "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
            "resourceVersion=1&resourceVersionMatch=Exact&continue=x",
        ] {
            assert!(
                ListOptions::parse(&Query::parse(Some(query))).is_err(),
                "{query}"
            );
        }
    }

    #[test]
    fn a_watch_from_anywhere_begins_with_what_is_there() {
        let parse = |query| ListOptions::parse(&Query::parse(Some(query))).unwrap();
        for query in ["watch=1", "watch=true&resourceVersion=0"] {
            assert_eq!(parse(query).initial_events, Some(true), "{query}");
        }
        for query in ["watch=1&resourceVersion=5", "resourceVersion=0", ""] {
            assert_eq!(parse(query).initial_events, None, "{query}");
        }
        assert_eq!(parse("limit=-1").limit, None);
        assert!(ListOptions::parse(&Query::parse(Some("limit=x"))).is_err());
    }

    #[test]
    fn delete_options_come_from_body_and_query() {
        let body = json!({"propagationPolicy": "Foreground", "preconditions": {"uid": "u"}, "gracePeriodSeconds": 3});
        let options = DeleteOptions::parse(&Query::default(), Some(&body)).unwrap();
        assert_eq!(options.propagation, Some(Propagation::Foreground));
        assert_eq!(options.uid.as_deref(), Some("u"));
        assert_eq!(options.grace, Some(3));
        let query = Query::parse(Some("orphanDependents=true&dryRun=All"));
        let options = DeleteOptions::parse(&query, None).unwrap();
        assert_eq!(options.propagation, Some(Propagation::Orphan));
        assert!(options.dry_run);
        assert!(DeleteOptions::parse(&query, Some(&body)).is_err());
    }
}
