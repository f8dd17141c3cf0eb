//! Schemas of custom resources, and objects under them.

use arbitrary::{Result, Unstructured};
use consort_cel::{Bindings, Budget, Decl, Env, Type, Value as CelValue};
use consort_object::schema::shape::Shape;
use consort_object::structural::{Structural, check, default, embedded, lists, prune, validate};
use consort_object::{apply, patch};
use serde_json::Value;

use super::{Target, halves};
use crate::{generate, seeds};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "schema_text",
        run: text,
        seeds: seeds::schemas,
        choices: false,
    },
    Target {
        name: "schema_made",
        run: |bytes| {
            let _ = made(&mut Unstructured::new(bytes));
        },
        seeds: seeds::choices,
        choices: true,
    },
];

/// Two texts: a schema and an object.
fn text(bytes: &[u8]) {
    let Some((props, object)) = halves(bytes) else {
        return;
    };
    let (Ok(props), Ok(object)) = (
        serde_json::from_slice::<Value>(props),
        serde_json::from_slice::<Value>(object),
    ) else {
        return;
    };
    hold(&props, object.clone(), &object);
}

fn made(u: &mut Unstructured<'_>) -> Result<()> {
    let props = generate::props(u, 0)?;
    let object = generate::fitting(u, &props, 0)?;
    let old = generate::fitting(u, &props, 0)?;
    hold(&props, object, &old);
    Ok(())
}

/// A schema that is taken can be used, whatever the object.
fn hold(props: &Value, mut object: Value, old: &Value) {
    let faults = check::schema(props, "spec.versions[0].schema.openAPIV3Schema", true);
    if !faults.is_empty() {
        for fault in &faults {
            let _ = fault.to_string();
        }
        return;
    }
    let schema = Structural::parse(props).expect("a schema without faults is parsed");
    let _ = prune::unknown(&mut object, &schema, true);
    prune::nulls(&mut object, &schema);
    default::fill(&mut object, &schema);
    let again = prune::unknown(&mut object.clone(), &schema, true);
    assert!(
        again.is_empty(),
        "{again:?} after pruning {object} by {props}"
    );
    let mut twice = object.clone();
    default::fill(&mut twice, &schema);
    assert_eq!(twice, object, "defaults filled in twice by {props}");
    let _ = embedded::coerce(&mut object, &schema);
    let created = validate::create(&object, &schema, "");
    let _ = validate::update(&object, old, &schema, "");
    // Nothing that stands unchanged stands in the way of an update.
    if created.is_empty() {
        assert!(validate::update(&object, &object, &schema, "").is_empty());
    }
    let _ = lists::unique(&object, &schema);
    let shape = Shape::of_structural(&schema);
    if apply::validate(shape, &object, false).is_ok() && apply::validate(shape, old, false).is_ok()
    {
        let _ = apply::merge(shape, old, &object);
        let _ = apply::compare(shape, old, &object);
    }
    patch::merge(&mut twice, old);
    rules(props, &object);
}

/// The rule at the root runs, and costs no more than was foretold when the object keeps to its sizes.
fn rules(props: &Value, object: &Value) {
    let Some(decl) = Decl::from_schema(props, true) else {
        return;
    };
    let decl = decl.named("self");
    let env = Env::kubernetes()
        .with_decl("self", &decl)
        .with_decl("oldSelf", &decl);
    let rules = props
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    for rule in rules
        .into_iter()
        .flatten()
        .filter_map(|rule| rule["rule"].as_str())
    {
        let Ok(program) = env.compile(rule, Some(&Type::Bool)) else {
            continue;
        };
        let _ = program.estimate();
        let bindings = Bindings::new()
            .with("self", CelValue::typed(object, &decl))
            .with("oldSelf", CelValue::typed(object, &decl));
        let mut budget = Budget::per_object();
        let _ = program.evaluate(&bindings, &mut budget);
        assert!(budget.used() <= Budget::PER_OBJECT * 2);
    }
}
