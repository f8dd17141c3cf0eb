//! Kinds that are answered and not kept: who am I, may I, what may I. The answers come from
//! [`crate::handlers`].

use crate::kind::Kind;

/// The kind `TokenReview`.
pub(super) fn token_review() -> Kind {
    Kind::new("authentication.k8s.io", "v1", "TokenReview", "tokenreviews")
        .cluster()
        .computed()
}

/// The kind `SelfSubjectReview`.
pub(super) fn self_subject_review() -> Kind {
    Kind::new(
        "authentication.k8s.io",
        "v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
    )
    .cluster()
    .computed()
}

fn authorization(kind: &str, plural: &str) -> Kind {
    Kind::new("authorization.k8s.io", "v1", kind, plural)
        .cluster()
        .computed()
}

/// The kind `LocalSubjectAccessReview`.
pub(super) fn local_subject_access_review() -> Kind {
    let mut kind = authorization("LocalSubjectAccessReview", "localsubjectaccessreviews");
    kind.namespaced = true;
    kind
}

/// The kind `SelfSubjectAccessReview`.
pub(super) fn self_subject_access_review() -> Kind {
    authorization("SelfSubjectAccessReview", "selfsubjectaccessreviews")
}

/// The kind `SelfSubjectRulesReview`.
pub(super) fn self_subject_rules_review() -> Kind {
    authorization("SelfSubjectRulesReview", "selfsubjectrulesreviews")
}

/// The kind `SubjectAccessReview`.
pub(super) fn subject_access_review() -> Kind {
    authorization("SubjectAccessReview", "subjectaccessreviews")
}
