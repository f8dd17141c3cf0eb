//! The types of variables that Kubernetes gives expressions, and the environments made of them.

use crate::{Env, ObjectType, Type};

fn object(name: &str, fields: &[(&str, Type)]) -> Type {
    Type::Object(ObjectType::new(
        name,
        fields
            .iter()
            .map(|(name, ty)| ((*name).to_owned(), ty.clone())),
    ))
}

fn texts() -> Type {
    Type::list(Type::String)
}

fn text_map() -> Type {
    Type::map(Type::String, Type::String)
}

fn extra() -> Type {
    Type::map(Type::String, texts())
}

impl Type {
    /// `request` of admission: an `AdmissionRequest` without its objects. Its value is untyped JSON of that form.
    pub fn admission_request() -> Type {
        let versioned = |name: &str, last: &str| {
            object(
                name,
                &[
                    ("group", Type::String),
                    ("version", Type::String),
                    (last, Type::String),
                ],
            )
        };
        let kind = versioned("kubernetes.GroupVersionKind", "kind");
        let resource = versioned("kubernetes.GroupVersionResource", "resource");
        object(
            "kubernetes.AdmissionRequest",
            &[
                ("kind", kind.clone()),
                ("resource", resource.clone()),
                ("subResource", Type::String),
                ("requestKind", kind),
                ("requestResource", resource),
                ("requestSubResource", Type::String),
                ("name", Type::String),
                ("namespace", Type::String),
                ("operation", Type::String),
                ("userInfo", Type::user_info()),
                ("dryRun", Type::Bool),
                ("options", Type::Dyn),
            ],
        )
    }

    /// Who asks: `request.userInfo` of admission, `user` of authentication.
    pub fn user_info() -> Type {
        object(
            "kubernetes.UserInfo",
            &[
                ("username", Type::String),
                ("uid", Type::String),
                ("groups", texts()),
                ("extra", extra()),
            ],
        )
    }

    /// `namespaceObject` of admission policies. Its value is untyped JSON of a namespace.
    pub fn namespace() -> Type {
        let condition = object(
            "kubernetes.NamespaceCondition",
            &[
                ("status", Type::String),
                ("type", Type::String),
                ("lastTransitionTime", Type::Timestamp),
                ("message", Type::String),
                ("reason", Type::String),
            ],
        );
        let metadata = object(
            "kubernetes.NamespaceMetadata",
            &[
                ("name", Type::String),
                ("generateName", Type::String),
                ("namespace", Type::String),
                ("labels", text_map()),
                ("annotations", text_map()),
                ("UID", Type::String),
                ("creationTimestamp", Type::Timestamp),
                ("deletionGracePeriodSeconds", Type::Int),
                ("deletionTimestamp", Type::Timestamp),
                ("generation", Type::Int),
                ("resourceVersion", Type::String),
                ("finalizers", texts()),
            ],
        );
        object(
            "kubernetes.Namespace",
            &[
                ("metadata", metadata),
                (
                    "spec",
                    object("kubernetes.NamespaceSpec", &[("finalizers", texts())]),
                ),
                (
                    "status",
                    object(
                        "kubernetes.NamespaceStatus",
                        &[
                            ("conditions", Type::list(condition)),
                            ("phase", Type::String),
                        ],
                    ),
                ),
            ],
        )
    }

    /// `request` of an authorization webhook's match conditions: the spec of a `SubjectAccessReview`.
    pub fn subject_access_review() -> Type {
        let requirement = object(
            "kubernetes.SelectorRequirement",
            &[
                ("key", Type::String),
                ("operator", Type::String),
                ("values", texts()),
            ],
        );
        let selector = |name: &str| {
            object(
                name,
                &[
                    ("rawSelector", Type::String),
                    ("requirements", Type::list(requirement.clone())),
                ],
            )
        };
        let resource = object(
            "kubernetes.ResourceAttributes",
            &[
                ("namespace", Type::String),
                ("verb", Type::String),
                ("group", Type::String),
                ("version", Type::String),
                ("resource", Type::String),
                ("subresource", Type::String),
                ("name", Type::String),
                (
                    "fieldSelector",
                    selector("kubernetes.FieldSelectorAttributes"),
                ),
                (
                    "labelSelector",
                    selector("kubernetes.LabelSelectorAttributes"),
                ),
            ],
        );
        let other = object(
            "kubernetes.NonResourceAttributes",
            &[("path", Type::String), ("verb", Type::String)],
        );
        object(
            "kubernetes.SubjectAccessReviewSpec",
            &[
                ("resourceAttributes", resource),
                ("nonResourceAttributes", other),
                ("user", Type::String),
                ("groups", texts()),
                ("extra", extra()),
                ("uid", Type::String),
            ],
        )
    }
}

impl Env {
    /// What admission gives expressions: `object`, `oldObject`, `request`, `namespaceObject`, `authorizer` and
    /// `authorizer.requestResource`, and `params` if there are such. `mutation`: with the types of mutating policies.
    pub fn admission(params: bool, mutation: bool) -> Env {
        let base = if mutation {
            Env::mutation()
        } else {
            Env::kubernetes()
        };
        let env = base
            .with("object", Type::Dyn)
            .with("oldObject", Type::Dyn)
            .with("namespaceObject", Type::namespace())
            .with("request", Type::admission_request())
            .with("authorizer", Type::AUTHORIZER)
            .with("authorizer.requestResource", Type::RESOURCE_CHECK);
        if params {
            env.with("params", Type::Dyn)
        } else {
            env
        }
    }
}
