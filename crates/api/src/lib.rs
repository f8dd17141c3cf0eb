//! The Kubernetes-compatible API server as a tower service.
//!
//! A request is routed by its path, its caller told and its right checked; then the body is decoded to
//! a JSON value in canonical form, given the kind's defaults, admitted, checked, sealed and committed to
//! the store. Reads send the stored bytes as they are; watches send lines that all watchers of an object
//! share.
//!
//! A kind is a schema (in `consort-object`) and a small strategy: defaults, checks, columns. Each
//! is one file under `kinds`.
//!
//! [`Api::serve`] puts the server on a socket; [`Api::client`] hands out a `kube::Client` over the
//! same service without one:
//!
//! ```
//! use consort_api::{Api, Options, identity::{User, pki::Pki, tokens::Signer}};
//! use k8s_openapi::api::core::v1::Namespace;
//! use std::sync::Arc;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let store = consort_store::Store::open(consort_store::Options::new(dir.path().join("store")))?;
//! let pki = Pki::open(&dir.path().join("pki"), &["localhost".into()], &[])?;
//! let signer = Signer::new(pki.service_account_key(), "https://kubernetes.default.svc")?;
//! let api = Api::new(Options::new(store, Arc::new(signer))).await?;
//!
//! let namespaces: kube::Api<Namespace> = kube::Api::all(api.client(User::admin()));
//! assert!(namespaces.get("kube-system").await.is_ok());
//! # api.close().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
//! ```

mod addresses;
mod admission;
mod api;
mod aside;
pub mod audit;
mod body;
mod call;
mod certificates;
mod client;
mod custom;
mod defaults;
mod discovery;
mod documents;
mod encoding;
mod error;
mod form;
mod handlers;
mod hooks;
pub mod identity;
mod impersonate;
mod inflight;
mod kind;
mod kinds;
mod managed;
mod metrics;
mod negotiate;
mod plain;
mod print;
mod proxy;
mod pulse;
mod registry;
mod request;
mod respond;
mod schema;
mod server;
mod service;
mod startup;
mod strategy;
mod table;
mod tail;
mod validation;
mod values;
mod webhook;
mod witness;

pub use admission::{Asked, Review, Reviewer};
pub use api::{Api, Limits, Options, Probe, StartError};
pub use body::{Body, BodyError};
pub use client::ApiService;
pub use hooks::{PREFIX as HOOKS, Receiver, Reply};
pub use proxy::{ConnectError, NodeConnector};
pub use witness::{Deed, Verb, Witness};
