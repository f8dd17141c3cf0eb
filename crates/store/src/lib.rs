//! A revisioned, durable, watchable object store in one directory.
//!
//! There is one revision counter. A commit is a set of writes, each with an expectation; it happens
//! whole, as one revision, or not at all, and is acknowledged when it is durable. Every revision
//! that history keeps can be listed, paged and watched from.
//!
//! How data passes through it: [`Store::commit`] queues the writes; one thread takes all commits
//! that wait, checks them in order, appends them to the log as one checksummed frame and syncs it
//! once; then the index and the history show them, watchers wake and the callers get their answers.
//! Reads take a snapshot of the index, which holds the keys and where the values are; values come
//! from a bounded cache or the log. A second thread drops old history, writes the index to disk so
//! that opening does not read the whole log, and removes segments of the log that are no longer
//! needed.
//!
//! What is on disk: `lock`; `0000000001.log` and so on, the truth; `index`, which can be made again
//! from them. Opening cuts off what a crash left unfinished at the log's end, and refuses with the
//! place when anything before it is damaged.
//!
//! ```
//! use consort_object::Draft;
//! use consort_store::{Expect, Key, Options, Store, Write};
//! use serde_json::json;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let store = Store::open(Options::new(dir.path()))?;
//! let prefix = Key::prefix("", "configmaps", Some("shop"));
//! let mut watch = store.watch(&prefix, store.revision())?;
//!
//! let key = Key::new("", "configmaps", Some("shop"), "prices")?;
//! let value = json!({"metadata": {"name": "prices", "namespace": "shop"}});
//! let draft = Draft::from_value(&value, vec![])?;
//! let written = store.commit(vec![Write::Put { key, draft, expect: Expect::Absent }]).await?;
//!
//! let page = store.range(&prefix, None, None, None, |head| head.name().starts_with('p'))?;
//! assert_eq!(page.objects.len(), 1);
//! assert_eq!(watch.next().await?.upto, written.revision);
//! store.close().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
//! ```

mod backup;
mod cache;
mod checkpoint;
mod error;
mod format;
mod frame;
mod history;
mod keeper;
mod key;
mod lock;
mod log;
mod options;
mod queue;
mod record;
mod recovery;
mod scan;
mod seal;
mod segment;
mod store;
mod verify;
mod version;
mod watch;
mod write;
mod writer;

pub use backup::{Backup, check_backup, restore};
pub use error::Error;
pub use key::{Key, MAX_KEY};
pub use options::{Options, Retention};
pub use scan::Scan;
pub use seal::Transform;
pub use store::{Filter, Page, Store};
pub use verify::{Damage, Inspected, Report, Secret, inspect, verify};
pub use watch::{Batch, Change, Event, Watch};
pub use write::{Committed, Expect, Write};
