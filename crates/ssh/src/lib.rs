//! SSH to other machines: authentication, jump hosts and proxies, commands, and copies by `scp`.
//!
//! A [`Connection`] says where and as whom; [`Connection::connect`] makes a [`Session`] of it, which runs
//! commands ([`Session::exec`]) and copies files and directories to the other side ([`Session::upload`],
//! [`Session::upload_directory`]). Nothing is read from the user's own SSH configuration: who wants that
//! fills it in.
//!
//! ```
//! use consort_ssh::{Connection, Host, Login};
//!
//! let connection = Connection {
//!     host: Host {
//!         name: "192.0.2.7".into(),
//!         port: 22,
//!         login: Login { user: "root".into(), password: Some("secret".into()), ..Login::default() },
//!         key: None,
//!     },
//!     bastion: None,
//!     proxy: None,
//!     agent: None,
//! };
//! assert_eq!(connection.host.address(), "192.0.2.7:22");
//! ```

mod agent;
mod authenticate;
mod connect;
mod error;
mod keys;
mod proxy;
mod quote;
mod scp;
mod session;

pub use agent::Agent;
pub use authenticate::Login;
pub use connect::{Connection, Host};
pub use error::Error;
pub use keys::{HostKey, Identity};
pub use proxy::{Proxy, Scheme};
pub use quote::{posix, windows};
pub use scp::Source;
pub use session::{Exec, Exit, Output, Session, Terminal};
