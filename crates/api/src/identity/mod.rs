//! Who calls, and what it may do: certificates, tokens, authentication, RBAC.
//!
//! A request's [`User`] is decided by the [`Authenticator`]; the [`Authorizer`] then decides on its
//! [`Attributes`] by the roles and bindings it keeps, and refuses what no rule allows.

mod attributes;
mod authenticate;
mod authorize;
pub mod bootstrap;
pub mod bootstrap_tokens;
pub(crate) mod following;
mod legacy;
pub mod node;
pub mod oidc;
pub mod pki;
mod policy;
mod rule;
pub mod tokens;
mod user;
pub mod x509;

pub use attributes::{Attributes, Refusal};
pub use authenticate::{Anonymous, Authenticator, Identified, Objects, Peer, Refused};
pub use authorize::{Authorizer, Decision};
pub use rule::{Rule, describe, quoted, uncovered};
pub use user::{ANONYMOUS, AUTHENTICATED, MASTERS, UNAUTHENTICATED, User, service_account_name};
