//! Who a request comes from.

use std::collections::BTreeMap;

/// The group that may do anything; authorization is not consulted for it (upstream's superuser group).
pub const MASTERS: &str = "system:masters";
/// The group of every caller that proved who it is.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of callers that brought no credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of a caller that brought no credentials.
pub const ANONYMOUS: &str = "system:anonymous";

/// An authenticated (or anonymous) caller, in the form of `authentication.k8s.io/v1` `UserInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name that RBAC subjects of kind `User` refer to.
    pub name: String,
    /// A unique identifier; service accounts carry their object's uid.
    pub uid: String,
    /// The groups the caller is in, `system:authenticated` included.
    pub groups: Vec<String>,
    /// Further facts about the credential, e.g. the pod a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A caller of the given name and groups; `system:authenticated` is added.
    pub fn new<G: Into<String>>(
        name: impl Into<String>,
        groups: impl IntoIterator<Item = G>,
    ) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self {
            name: name.into(),
            groups,
            ..Self::default()
        }
    }

    /// The caller that brought no credentials.
    pub fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// An administrator, as the printed kubeconfig's certificate names it.
    pub fn admin() -> Self {
        Self::new("consort:admin", [MASTERS])
    }

    /// The caller a service account's token stands for.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let mut user = Self::new(
            service_account_name(namespace, name),
            [
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
            ],
        );
        uid.clone_into(&mut user.uid);
        user
    }

    /// The agent of the node `name`.
    pub fn node(name: &str) -> Self {
        Self::new(format!("system:node:{name}"), ["system:nodes"])
    }

    /// Whether the caller is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// The user name of a service account, as RBAC and tokens write it.
pub fn service_account_name(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}
