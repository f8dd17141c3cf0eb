//! Ingresses and their classes.

use crate::kind::{Kind, STATUS};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{at, field_mut, fill, items, set, text};
use consort_object::names;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `Ingress`.
pub(super) fn ingress() -> Kind {
    let mut kind = Kind::new("networking.k8s.io", "v1", "Ingress", "ingresses")
        .short(&["ing"])
        .sub(STATUS)
        .strategy(Ingress);
    kind.generation = true;
    kind
}

/// The kind `IngressClass`.
pub(super) fn ingress_class() -> Kind {
    let mut kind = Kind::new("networking.k8s.io", "v1", "IngressClass", "ingressclasses")
        .cluster()
        .strategy(IngressClass);
    kind.generation = true;
    kind
}

struct Ingress;

impl Strategy for Ingress {
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"loadBalancer": {}}));
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::ingress(object, true, here, errors);
    }

    fn validate_update(&self, new: &Value, _old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::ingress(new, false, here, errors);
    }

    fn validate_status(&self, new: &Value, _old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::load_balancer(&new["status"], &here.field("status"), errors);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let note = "kubernetes.io/ingress.class";
        if at(object, &["metadata", "annotations", note]).is_none() {
            return Vec::new();
        }
        vec![format!(
            "annotation {note:?} is deprecated, please use 'spec.ingressClassName' instead"
        )]
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Class", "string", "The class that says who serves it."),
            column(
                "Hosts",
                "string",
                "Hosts that incoming requests are matched against before the ingress rule",
            ),
            column(
                "Address",
                "string",
                "Address is a list containing ingress points for the load-balancer",
            ),
            column("Ports", "string", "Ports of TLS configurations that open"),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let secure = !items(spec, &["tls"]).is_empty();
        let addresses: Vec<&str> = items(object, &["status", "loadBalancer", "ingress"])
            .iter()
            .map(|ingress| print::or(text(ingress, &["ip"]), text(ingress, &["hostname"])))
            .filter(|address| !address.is_empty())
            .collect();
        vec![
            print::name(object),
            print::or(text(spec, &["ingressClassName"]), "<none>").into(),
            hosts(spec).into(),
            addresses.join(",").into(),
            if secure { "80, 443" } else { "80" }.into(),
            print::age(object, now),
        ]
    }
}

/// The first three hosts, and how many more there are; `*` where a rule names none.
fn hosts(spec: &Value) -> String {
    let all: Vec<&str> = items(spec, &["rules"])
        .iter()
        .map(|rule| text(rule, &["host"]))
        .filter(|host| !host.is_empty())
        .collect();
    match all.len() {
        0 => "*".into(),
        1..=3 => all.join(","),
        more => format!("{} + {} more...", all[..3].join(","), more - 3),
    }
}

struct IngressClass;

impl Strategy for IngressClass {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = field_mut(object, "spec")
            && let Some(parameters) = field_mut(spec, "parameters")
        {
            fill(parameters, "scope", "Cluster");
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let here = here.field("spec");
        let spec = &object["spec"];
        let controller = text(spec, &["controller"]);
        let place = here.field("controller");
        if controller.len() > 250 {
            errors.too_long(&place, 250);
        }
        errors.named(&place, controller, validation::domain_path);
        if let Some(parameters) = at(spec, &["parameters"]) {
            class_parameters(parameters, &here.field("parameters"), errors);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        errors.immutable(
            &here.field("spec").field("controller"),
            at(new, &["spec", "controller"]),
            at(old, &["spec", "controller"]),
        );
        self.validate(new, here, errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column(
                "Controller",
                "string",
                "Controller that is responsible for handling this class",
            ),
            column(
                "Parameters",
                "string",
                "A reference to a resource with additional parameters",
            ),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let parameters = match at(spec, &["parameters"]) {
            None => "<none>".to_owned(),
            Some(reference) => {
                let (kind, group, name) = (
                    text(reference, &["kind"]),
                    text(reference, &["apiGroup"]),
                    text(reference, &["name"]),
                );
                if group.is_empty() {
                    format!("{kind}/{name}")
                } else {
                    format!("{kind}.{group}/{name}")
                }
            }
        };
        vec![
            print::name(object),
            text(spec, &["controller"]).into(),
            parameters.into(),
            print::age(object, now),
        ]
    }
}

fn class_parameters(parameters: &Value, here: &Path<'_>, errors: &mut Errors) {
    errors.optional(
        &here.field("apiGroup"),
        text(parameters, &["apiGroup"]),
        names::dns1123_subdomain,
    );
    for field in ["kind", "name"] {
        errors.named(
            &here.field(field),
            text(parameters, &[field]),
            names::path_segment,
        );
    }
    let scope = text(parameters, &["scope"]);
    let namespace = at(parameters, &["namespace"]).and_then(Value::as_str);
    let place = here.field("namespace");
    match scope {
        "" => errors.required(&here.field("scope"), ""),
        "Cluster" => {
            if namespace.is_some() {
                errors.forbidden(&place, "`parameters.scope` is set to 'Cluster'");
            }
        }
        "Namespace" => match namespace {
            None | Some("") => {
                errors.required(&place, "`parameters.scope` is set to 'Namespace'");
            }
            Some(namespace) => errors.check(&place, namespace, names::dns1123_label(namespace)),
        },
        other => errors.not_supported(&here.field("scope"), other, &["Cluster", "Namespace"]),
    }
}
