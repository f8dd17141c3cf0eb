//! Label and field selectors.

use consort_object::{FieldSelector, LabelSelector};
use serde_json::Value;

use super::Target;
use crate::seeds;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "label_selector",
        run: labels,
        seeds: seeds::label_selectors,
        choices: false,
    },
    Target {
        name: "field_selector",
        run: fields,
        seeds: seeds::field_selectors,
        choices: false,
    },
];

fn labels(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<Value>(bytes)
        && let Ok(selector) = LabelSelector::from_json(&value)
    {
        same(&selector);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(selector) = LabelSelector::parse(text) {
        same(&selector);
    }
}

/// A selector's text is parsed to a selector that selects the same.
fn same(selector: &LabelSelector) {
    let text = selector.to_string();
    let again = LabelSelector::parse(&text)
        .unwrap_or_else(|error| panic!("{error} in the text of {selector:?}"));
    assert_eq!(again.to_string(), text);
    let labels: [&[(&str, &str)]; 5] = [
        &[],
        &[("a", "b")],
        &[("a", "")],
        &[("app", "web"), ("n", "5")],
        &[("a", "1"), ("b", "c"), ("x.y/z", "-7")],
    ];
    for labels in labels {
        let label = |key: &str| {
            labels
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| *value)
        };
        assert_eq!(
            selector.matches_labels(label),
            again.matches_labels(label),
            "{text} over {labels:?}"
        );
    }
}

fn fields(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(selector) = FieldSelector::parse(text) else {
        return;
    };
    let again = FieldSelector::parse(&selector.to_string())
        .unwrap_or_else(|error| panic!("{error} in the text of {selector:?}"));
    assert_eq!(again, selector);
    let _ = selector.exact("metadata.name");
}
