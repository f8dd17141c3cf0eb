//! The node agent: turns the pods that are bound to one machine into containers, and tells the API
//! what becomes of them.
//!
//! An informer gives the pods of this node. Each pod has one worker that looks at what is known (its
//! object, its sandbox, its containers, its probes), lets a pure function decide what to do next,
//! starts the operations, and writes the status that follows from what is known. The [`Agent`] handle
//! gives those who look into pods (logs, exec, attach, port-forward) the way to their containers.
//!
//! ```no_run
//! # async fn example(
//! #     hub: consort_reconcile::Hub, runtime: consort_runtime::Runtime,
//! #     images: consort_image::Images, network: consort_net::Network,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use consort_node::{Node, OnShutdown, Options};
//! use tokio_util::sync::CancellationToken;
//!
//! let options = Options::new("node-1", "/var/lib/consort/node", hub, runtime, images, network);
//! let node = Node::new(options);
//! let agent = node.agent();
//! let shutdown = CancellationToken::new();
//! node.run(shutdown, OnShutdown::Leave).await?;
//! # Ok(()) }
//! ```

mod agent;
mod gc;
mod image_users;
mod images;
mod lease;
mod machine;
mod node;
mod options;
mod pod;
mod pods;
mod probes;
mod register;
pub mod services;
mod shared;
pub mod streaming;

pub use agent::{Agent, LookupError, PodView};
pub use image_users::ImageUsers;
pub use node::{Error, Node};
pub use options::{OnShutdown, Options};
