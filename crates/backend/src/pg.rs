//! State in a PostgreSQL table, locked with the database's advisory locks.
//!
//! Schema, table, sequence and index are those of Terraform's `pg` backend, and so are the locks: the row's
//! number while the workspace exists, and one number for all that are being made. An advisory lock ends with
//! the connection, so nothing is left to force when a process dies.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Connection, NoTls, Socket};

use crate::pg_options;
use crate::pg_tls::Connector;
use crate::{Backend, DEFAULT_WORKSPACE, Error, LockInfo, Settings, Snapshots, chain};

pub(super) struct Pg(Arc<Database>);

struct Database {
    config: Config,
    /// None for no TLS.
    tls: Option<Connector>,
    schema: String,
    skip_schema: bool,
    skip_table: bool,
    skip_index: bool,
    session: Mutex<Option<Session>>,
}

/// A connection, and the task that moves its bytes; it ends when the connection is dropped.
struct Session {
    client: Client,
    carrier: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

fn failed(error: &tokio_postgres::Error) -> Error {
    Error::Remote(format!("pq: {}", chain(error)))
}

/// A client, and the task that moves its bytes.
fn carried<T>(
    connected: Result<(Client, Connection<Socket, T>), tokio_postgres::Error>,
) -> Result<(Client, tokio::task::JoinHandle<()>), Error>
where
    T: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    let (client, connection) = connected.map_err(|error| failed(&error))?;
    let carrier = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the database's connection ended");
        }
    });
    Ok((client, carrier))
}

/// As PostgreSQL quotes names.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Pg {
    pub(super) fn new(settings: &Settings) -> Result<Pg, Error> {
        let text = settings.text("conn_str").unwrap_or_default();
        let (mut config, options) = pg_options::parse(text, |name| std::env::var(name).ok())?;
        let tls = Connector::new(&options)?;
        config.ssl_mode(match tls {
            Some(_) => SslMode::Require,
            None => SslMode::Disable,
        });
        if config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)))
            && config.get_hostaddrs().is_empty()
        {
            // A socket on this machine needs none, and servers offer none there.
            config.ssl_mode(SslMode::Disable);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(30));
        }
        Ok(Pg(Arc::new(Database {
            config,
            tls,
            schema: settings
                .text("schema_name")
                .unwrap_or("terraform_remote_state")
                .to_owned(),
            skip_schema: settings.flag("skip_schema_creation"),
            skip_table: settings.flag("skip_table_creation"),
            skip_index: settings.flag("skip_index_creation"),
            session: Mutex::new(None),
        })))
    }
}

impl Database {
    fn table(&self) -> String {
        format!("{}.\"states\"", quoted(&self.schema))
    }

    /// One connection for all, since locks belong to it. Made, with what the table needs, at first use.
    async fn session(&self) -> Result<tokio::sync::MappedMutexGuard<'_, Client>, Error> {
        let mut session = self.session.lock().await;
        if session.is_none() {
            let (client, carrier) = match &self.tls {
                None => carried(self.config.connect(NoTls).await),
                Some(tls) => carried(self.config.connect(tls.clone()).await),
            }?;
            let made = Session { client, carrier };
            self.prepare(&made.client).await?;
            *session = Some(made);
        }
        tokio::sync::MutexGuard::try_map(session, |session| {
            session.as_mut().map(|session| &mut session.client)
        })
        .map_err(|_| Error::Remote("pq: no connection".to_owned()))
    }

    async fn prepare(&self, client: &Client) -> Result<(), Error> {
        if !self.skip_schema {
            // Looked for first: who may not make schemas may still use one that is there.
            let found = client
                .query_opt(
                    "SELECT 1 FROM information_schema.schemata WHERE schema_name = $1",
                    &[&self.schema],
                )
                .await
                .map_err(|error| failed(&error))?;
            if found.is_none() {
                let made = format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(&self.schema));
                client
                    .batch_execute(&made)
                    .await
                    .map_err(|error| failed(&error))?;
            }
        }
        if !self.skip_table {
            // Advisory locks are numbers of the whole database: so is the sequence they come from.
            let made = format!(
                "CREATE SEQUENCE IF NOT EXISTS public.global_states_id_seq AS bigint;
                 CREATE TABLE IF NOT EXISTS {} (
                   id bigint NOT NULL DEFAULT nextval('public.global_states_id_seq') PRIMARY KEY,
                   name text UNIQUE,
                   data text
                 )",
                self.table()
            );
            client
                .batch_execute(&made)
                .await
                .map_err(|error| failed(&error))?;
        }
        if !self.skip_index {
            let made = format!(
                "CREATE UNIQUE INDEX IF NOT EXISTS states_by_name ON {} (name)",
                self.table()
            );
            client
                .batch_execute(&made)
                .await
                .map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

/// The lock of all workspaces that are being made.
const CREATION: i64 = -1;

async fn try_lock(client: &Client, number: i64) -> Result<bool, Error> {
    let row = client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&number])
        .await
        .map_err(|error| failed(&error))?;
    Ok(row.get(0))
}

async fn give_up(client: &Client, number: i64) -> Result<(), Error> {
    client
        .query_one("SELECT pg_advisory_unlock($1)", &[&number])
        .await
        .map(drop)
        .map_err(|error| failed(&error))
}

impl Backend for Pg {
    fn workspaces(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        async move {
            let client = self.0.session().await?;
            let query = format!(
                "SELECT name FROM {} WHERE name <> 'default' ORDER BY name",
                self.0.table()
            );
            let rows = client
                .query(&query, &[])
                .await
                .map_err(|error| failed(&error))?;
            let mut names = vec![DEFAULT_WORKSPACE.to_owned()];
            names.extend(rows.iter().map(|row| row.get::<_, String>(0)));
            Ok(names)
        }
        .boxed()
    }

    fn create<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn delete<'a>(&'a self, workspace: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if workspace == DEFAULT_WORKSPACE {
                return Err(Error::DefaultWorkspace);
            }
            let client = self.0.session().await?;
            let query = format!("DELETE FROM {} WHERE name = $1", self.0.table());
            client
                .execute(&query, &[&workspace])
                .await
                .map(drop)
                .map_err(|error| failed(&error))
        }
        .boxed()
    }

    fn snapshots(&self, workspace: &str) -> Result<Box<dyn Snapshots>, Error> {
        Ok(Box::new(PgSnapshots {
            database: Arc::clone(&self.0),
            workspace: workspace.to_owned(),
            held: Mutex::new(None),
        }))
    }
}

struct PgSnapshots {
    database: Arc<Database>,
    workspace: String,
    /// The lock's ID and the database's number for it.
    held: Mutex<Option<(String, i64)>>,
}

impl PgSnapshots {
    fn locked(&self, message: &str) -> Error {
        Error::Held {
            message: format!("{message}: {}", self.workspace),
            // The database knows which connection holds it, and nothing more.
            holder: None,
        }
    }
}

impl Snapshots for PgSnapshots {
    fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>> {
        async move {
            let client = self.database.session().await?;
            let query = format!("SELECT data FROM {} WHERE name = $1", self.database.table());
            let row = client
                .query_opt(&query, &[&self.workspace])
                .await
                .map_err(|error| failed(&error))?;
            Ok(row
                .and_then(|row| row.get::<_, Option<String>>(0))
                .filter(|text| !text.is_empty())
                .map(String::into_bytes))
        }
        .boxed()
    }

    fn write(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let text = String::from_utf8(bytes)
                .map_err(|_| Error::Remote("the state is not text".to_owned()))?;
            let client = self.database.session().await?;
            let query = format!(
                "INSERT INTO {} (name, data) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET data = $2",
                self.database.table()
            );
            client
                .execute(&query, &[&self.workspace, &text])
                .await
                .map(drop)
                .map_err(|error| failed(&error))
        }
        .boxed()
    }

    fn lock<'a>(&'a self, info: &'a LockInfo) -> BoxFuture<'a, Result<String, Error>> {
        async move {
            let mut held = self.held.lock().await;
            if held.is_some() {
                return Err(self.locked("Workspace is already locked"));
            }
            let client = self.database.session().await?;
            let query = format!("SELECT id FROM {} WHERE name = $1", self.database.table());
            let row = client
                .query_opt(&query, &[&self.workspace])
                .await
                .map_err(|error| failed(&error))?;
            let number = match row {
                None => {
                    if !try_lock(&client, CREATION).await? {
                        return Err(self.locked("Already locked for workspace creation"));
                    }
                    CREATION
                }
                Some(row) => {
                    let number: i64 = row.get(0);
                    if !try_lock(&client, number).await? {
                        return Err(self.locked("Workspace is already locked"));
                    }
                    // Nobody may be making workspaces meanwhile.
                    let quiet = try_lock(&client, CREATION).await?;
                    if !quiet {
                        give_up(&client, number).await?;
                        return Err(self.locked(
                            "Cannot lock workspace; already locked for workspace creation",
                        ));
                    }
                    give_up(&client, CREATION).await?;
                    number
                }
            };
            *held = Some((info.id.clone(), number));
            Ok(info.id.clone())
        }
        .boxed()
    }

    fn unlock<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let mut held = self.held.lock().await;
            let Some((own, number)) = held.clone() else {
                return Err(Error::NotLocked);
            };
            if own != id {
                return Err(Error::OtherLock {
                    asked: id.to_owned(),
                    held: own,
                });
            }
            let client = self.database.session().await?;
            give_up(&client, number).await?;
            *held = None;
            Ok(())
        }
        .boxed()
    }
}
