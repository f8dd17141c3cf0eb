//! Texts with a meaning: quantities, times, schedules, names, patterns.

use consort_object::cron::Schedule;
use consort_object::quantity::{self, Quantity};
use consort_object::{IntOrString, names, structural, time};
use serde_json::json;

use super::Target;
use crate::seeds;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "quantity",
        run: quantities,
        seeds: seeds::quantities,
        choices: false,
    },
    Target {
        name: "cron",
        run: schedule,
        seeds: seeds::schedules,
        choices: false,
    },
    Target {
        name: "pattern",
        run: pattern,
        seeds: seeds::patterns,
        choices: false,
    },
    Target {
        name: "scalar",
        run: scalar,
        seeds: seeds::scalars,
        choices: false,
    },
];

fn quantities(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // In JSON a quantity may have blanks around it.
    let text = text.trim();
    let Ok(canonical) = quantity::canonical(text) else {
        assert!(text.parse::<Quantity>().is_err());
        return;
    };
    let again = quantity::canonical(&canonical)
        .unwrap_or_else(|error| panic!("{error} in {canonical:?}, the canonical form of {text:?}"));
    assert_eq!(again, canonical, "of {text:?}");
    let (Ok(one), Ok(two)) = (text.parse::<Quantity>(), canonical.parse::<Quantity>()) else {
        panic!("{text:?} has a canonical form and is no quantity");
    };
    assert_eq!(
        one.cmp(&two),
        std::cmp::Ordering::Equal,
        "{text:?} and {canonical:?}"
    );
    assert_eq!(one.signum() == 0, one.is_zero());
    let _ = (one.value(), one.milli_value());
    if let Some(sum) = one.checked_add(&two)
        && let Some(back) = sum.checked_sub(&two)
    {
        assert_eq!(
            back.cmp(&one),
            std::cmp::Ordering::Equal,
            "{text:?} + itself - itself"
        );
    }
    let _ = one.checked_mul(3);
    let _ = quantity::canonical(&one.to_string());
}

fn schedule(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = text.parse::<Schedule>();
}

/// A pattern and what it is to match, parted by the first line feed.
fn pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (text, subject) = text
        .split_once('\n')
        .unwrap_or((text, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"));
    let pattern = structural::Pattern::new(text);
    assert_eq!(pattern.text(), text);
    assert_eq!(
        pattern.is_match(subject).is_ok(),
        structural::compile(text).is_ok()
    );
}

fn scalar(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(at) = time::parse(text) {
        let written = time::format_micros(at);
        assert!(time::parse(&written).is_ok(), "{written} of {text:?}");
        assert!(time::parse(&time::format(at)).is_ok());
    }
    for check in [
        names::dns1123_label,
        names::dns1123_subdomain,
        names::dns1035_label,
        names::wildcard_dns1123_subdomain,
        names::label_key,
        names::qualified_name,
        names::label_value,
        names::path_segment,
        names::config_map_key,
        names::env_var_name,
        names::strict_env_var_name,
        names::c_identifier,
        names::port_name,
        names::percent,
        names::http_header_name,
        names::fully_qualified_domain_name,
    ] {
        let _ = check(text);
    }
    if let Some(value) = IntOrString::from_json(&json!(text)) {
        for total in [0, 1, 7, i32::MAX] {
            let _ = value.scaled(total, true);
            let _ = value.scaled(total, false);
        }
    }
    for format in [
        "date",
        "date-time",
        "duration",
        "byte",
        "uuid",
        "ipv4",
        "ipv6",
        "cidr",
        "uri",
        "email",
        "hostname",
        "mac",
        "creditcard",
        "isbn",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "bsonobjectid",
        "k8s-short-name",
        "k8s-long-name",
    ] {
        let props = json!({"type": "string", "format": format, "maxLength": 10});
        if let Ok(schema) = structural::Structural::parse(&props) {
            let _ = structural::validate::create(&json!(text), &schema, "");
        }
    }
}
