//! The client side of the OCI distribution specification: manifests and blobs, read only.
//!
//! A [`Host`] is one registry host with its TLS settings, kept for the life of the store. A
//! [`Session`] is one pull of one repository at one host: it holds the token, so that what one
//! pull may do is never done on behalf of another. Every body is bounded.

mod auth;
mod host;
mod session;

pub(crate) use host::Hosts;
pub(crate) use session::{Session, is_passing, pause};
