//! OCI images: names, a store on disk, pulling, importing, and unpacking into directories that
//! an overlay mount can use.
//!
//! A name ([`Reference`]) is looked up in the store ([`Images`]); what is missing is pulled from a
//! registry or one of its mirrors, or comes out of an archive. Manifests, configurations and layers
//! lie as blobs in an OCI image layout, each checked against its digest while it is written.
//! [`Images::layers`] unpacks the layers, each once for all images that share it, and gives their
//! directories. Images that are made from the running program ([`Builtin`]) need no registry.
//!
//! ```no_run
//! use consort_image::{Images, Options, Reference};
//!
//! # async fn example() -> Result<(), consort_image::Error> {
//! let images = Images::open(Options::new("/var/lib/consort/images"))?;
//! let name: Reference = "nginx:1.27".parse()?;
//! let image = images.pull(&name, &[], &|progress| println!("{progress}")).await?;
//! let lower_dirs = images.layers(&image).await?;
//! # Ok(()) }
//! ```

mod blobs;
mod builtin;
mod collect;
mod config;
mod credential;
mod digest;
mod disk;
mod error;
mod images;
mod import;
mod layer;
mod layers;
mod locks;
mod manifest;
mod names;
mod options;
mod progress;
mod pull;
mod reference;
mod registry;
mod users;

pub use builtin::{Builtin, LayerBuilder};
pub use config::Config;
pub use credential::Credential;
pub use digest::{Digest, ParseError as DigestParseError};
pub use error::{Error, ErrorKind};
pub use images::{Hold, Image, Images, Layer, Removed};
pub use options::{HostOptions, Limits, Mirror, Options, Registries};
pub use progress::Progress;
pub use reference::{InvalidName, Reference};
pub use users::{Nobody, User, Users};
