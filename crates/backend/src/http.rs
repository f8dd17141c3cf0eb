//! State behind HTTP: `GET` for the newest snapshot, `POST` for a new one, `LOCK` and `UNLOCK` with what
//! the lock says of its holder.
//!
//! The protocol is that of Terraform's `http` backend: 404, 204 or an empty body mean no state yet; a
//! snapshot carries `Content-MD5` and, under a lock, its ID in the query; 423 and 409 answer a lock that is
//! held, with the holder as the body. Answers of 429 and 5xx, and failures to connect, are tried again.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use md5::{Digest as _, Md5};
use parking_lot::Mutex;
use reqwest::{Client, Method, StatusCode, Url};

use crate::{Backend, DEFAULT_WORKSPACE, Error, LockInfo, Settings, Snapshots, body, chain};

pub(super) struct Http(Arc<Place>);

struct Place {
    client: Client,
    state: Url,
    update: Method,
    lock: Option<(Url, Method)>,
    unlock: Option<(Url, Method)>,
    credentials: Option<(String, Option<String>)>,
    retries: u32,
    shortest: Duration,
    longest: Duration,
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Result<Http, Error> {
        let address = |name| -> Result<Option<Url>, Error> {
            let Some(text) = settings.text(name) else {
                return Ok(None);
            };
            let url = Url::parse(text)
                .map_err(|error| Error::Remote(format!("{name} {text:?}: {error}")))?;
            if matches!(url.scheme(), "http" | "https") {
                Ok(Some(url))
            } else {
                Err(Error::Remote(format!("{name} must be HTTP or HTTPS")))
            }
        };
        let method = |name| {
            let text = settings.text(name).unwrap_or_default();
            Method::from_bytes(text.as_bytes())
                .map_err(|_| Error::Remote(format!("{name} {text:?} is not an HTTP method")))
        };
        let state = address("address")?
            .ok_or_else(|| Error::Remote("address argument is required".to_owned()))?;
        Ok(Http(Arc::new(Place {
            client: client(settings)?,
            state,
            update: method("update_method")?,
            lock: match address("lock_address")? {
                Some(url) => Some((url, method("lock_method")?)),
                None => None,
            },
            unlock: match address("unlock_address")? {
                Some(url) => Some((url, method("unlock_method")?)),
                None => None,
            },
            credentials: settings.text("username").map(|name| {
                (
                    name.to_owned(),
                    settings.text("password").map(str::to_owned),
                )
            }),
            retries: settings.number("retry_max").unwrap_or(2) as u32,
            shortest: Duration::from_secs(settings.number("retry_wait_min").unwrap_or(1)),
            longest: Duration::from_secs(settings.number("retry_wait_max").unwrap_or(30)),
        })))
    }
}

fn client(settings: &Settings) -> Result<Client, Error> {
    let mut builder =
        crate::client().tls_danger_accept_invalid_certs(settings.flag("skip_cert_verification"));
    let unusable = |what: &str, error: &reqwest::Error| {
        Error::Remote(format!("{what} cannot be used: {}", chain(error)))
    };
    if let Some(pem) = settings.text("client_ca_certificate_pem") {
        let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|error| unusable("client_ca_certificate_pem", &error))?;
        builder = builder.tls_certs_only(certificates);
    }
    match (
        settings.text("client_certificate_pem"),
        settings.text("client_private_key_pem"),
    ) {
        (Some(certificate), Some(key)) => {
            let identity = reqwest::Identity::from_pem(format!("{certificate}\n{key}").as_bytes())
                .map_err(|error| unusable("client_certificate_pem", &error))?;
            builder = builder.identity(identity);
        }
        (None, None) => {}
        (Some(_), None) => {
            return Err(Error::Remote(
                "client_certificate_pem is set but client_private_key_pem is not".to_owned(),
            ));
        }
        (None, Some(_)) => {
            return Err(Error::Remote(
                "client_private_key_pem is set but client_certificate_pem is not".to_owned(),
            ));
        }
    }
    builder
        .build()
        .map_err(|error| unusable("the HTTP client", &error))
}

impl Place {
    async fn send(
        &self,
        method: &Method,
        url: &Url,
        data: Option<Vec<u8>>,
        what: &str,
    ) -> Result<reqwest::Response, Error> {
        let data = data.map(bytes::Bytes::from);
        let mut pause = self.shortest;
        let mut left = self.retries;
        loop {
            let mut request = self.client.request(method.clone(), url.clone());
            if let Some((name, password)) = &self.credentials {
                request = request.basic_auth(name, password.as_ref());
            }
            if let Some(data) = &data {
                request = request
                    .header("Content-Type", "application/json")
                    .header("Content-MD5", STANDARD.encode(Md5::digest(data)))
                    .body(data.clone());
            }
            let answer = request.send().await;
            let again = match &answer {
                Ok(response) => {
                    let status = response.status();
                    status == StatusCode::TOO_MANY_REQUESTS
                        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
                }
                // A connection that breaks may not break again; a certificate that is wrong stays wrong.
                Err(error) => {
                    (error.is_connect() || error.is_timeout() || error.is_request())
                        && !chain(error).contains("certificate")
                }
            };
            if !again || left == 0 {
                return answer.map_err(|error| {
                    Error::Remote(format!("Failed to {what}: {}", chain(&error)))
                });
            }
            left -= 1;
            let asked = answer.ok().and_then(|response| {
                let text = response.headers().get("Retry-After")?.to_str().ok()?;
                text.trim().parse().ok().map(Duration::from_secs)
            });
            tokio::time::sleep(asked.unwrap_or(pause).min(MOST_PATIENCE)).await;
            pause = (pause * 2).min(self.longest);
        }
    }
}

/// The longest wait that a server may ask for.
const MOST_PATIENCE: Duration = Duration::from_secs(300);

fn refused(status: StatusCode) -> Error {
    Error::Remote(match status {
        StatusCode::UNAUTHORIZED => "HTTP remote state endpoint requires auth".to_owned(),
        StatusCode::FORBIDDEN => "HTTP remote state endpoint invalid auth".to_owned(),
        StatusCode::INTERNAL_SERVER_ERROR => "HTTP remote state internal server error".to_owned(),
        status => format!("Unexpected HTTP response code {}", status.as_u16()),
    })
}

impl Backend for Http {
    fn workspaces(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        async { Err(Error::OneWorkspace) }.boxed()
    }

    fn create<'a>(&'a self, workspace: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move { only_default(workspace) }.boxed()
    }

    fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async { Err(Error::OneWorkspace) }.boxed()
    }

    fn snapshots(&self, workspace: &str) -> Result<Box<dyn Snapshots>, Error> {
        only_default(workspace)?;
        Ok(Box::new(HttpSnapshots {
            place: Arc::clone(&self.0),
            held: Mutex::new(None),
        }))
    }
}

fn only_default(workspace: &str) -> Result<(), Error> {
    if workspace == DEFAULT_WORKSPACE {
        Ok(())
    } else {
        Err(Error::OneWorkspace)
    }
}

struct HttpSnapshots {
    place: Arc<Place>,
    held: Mutex<Option<LockInfo>>,
}

impl Snapshots for HttpSnapshots {
    fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>> {
        async move {
            let response = self
                .place
                .send(&Method::GET, &self.place.state, None, "get state")
                .await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => return Ok(None),
                status => return Err(refused(status)),
            }
            let said = response
                .headers()
                .get("Content-MD5")
                .and_then(|value| STANDARD.decode(value.as_bytes()).ok());
            let bytes = body(response, "Failed to read remote state").await?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if said.is_some_and(|sum| sum != Md5::digest(&bytes).as_slice()) {
                return Err(Error::Remote(
                    "the state that came does not match its Content-MD5".to_owned(),
                ));
            }
            Ok(Some(bytes))
        }
        .boxed()
    }

    fn write(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let mut url = self.place.state.clone();
            if let Some(info) = &*self.held.lock() {
                url.query_pairs_mut().append_pair("ID", &info.id);
            }
            let response = self
                .place
                .send(&self.place.update, &url, Some(bytes), "upload state")
                .await?;
            match response.status() {
                StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(()),
                status => Err(Error::Remote(format!("HTTP error: {}", status.as_u16()))),
            }
        }
        .boxed()
    }

    fn lock<'a>(&'a self, info: &'a LockInfo) -> BoxFuture<'a, Result<String, Error>> {
        async move {
            let Some((url, method)) = &self.place.lock else {
                return Ok(String::new());
            };
            let response = self
                .place
                .send(method, url, Some(info.to_json()), "lock")
                .await?;
            match response.status() {
                StatusCode::OK => {
                    *self.held.lock() = Some(info.clone());
                    Ok(info.id.clone())
                }
                StatusCode::LOCKED | StatusCode::CONFLICT => {
                    let holder =
                        LockInfo::from_json(&body(response, "HTTP remote state lock").await?);
                    Err(Error::Held {
                        message: match &holder {
                            Some(holder) => {
                                format!("HTTP remote state already locked: ID={}", holder.id)
                            }
                            None => "HTTP remote state already locked, failed to unmarshal body"
                                .to_owned(),
                        },
                        holder: holder.map(Box::new),
                    })
                }
                status => Err(refused(status)),
            }
        }
        .boxed()
    }

    fn unlock<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let Some((url, method)) = &self.place.unlock else {
                return Ok(());
            };
            let info = self.held.lock().clone();
            if let Some(info) = &info
                && info.id != id
            {
                return Err(Error::OtherLock {
                    asked: id.to_owned(),
                    held: info.id.clone(),
                });
            }
            let info = LockInfo {
                id: id.to_owned(),
                ..info.unwrap_or_default()
            };
            let response = self
                .place
                .send(method, url, Some(info.to_json()), "unlock")
                .await?;
            if response.status() == StatusCode::OK {
                *self.held.lock() = None;
                Ok(())
            } else {
                Err(refused(response.status()))
            }
        }
        .boxed()
    }
}
