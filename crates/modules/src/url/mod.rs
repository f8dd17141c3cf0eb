//! What modules fetch from the web, as `ansible.module_utils.urls` fetches it: redirects, authentication, proxies, cookies,
//! and what is told of it all.

mod address;
mod auth;
mod session;
mod tls;
mod wire;

use std::io::Read;

use serde_json::{Map, Value, json};

pub(crate) use address::{Address, form_quoted, masked, unquoted};

use session::{Ended, Session};

use crate::arguments::{Arguments, Spec, boolean, path, text};
use crate::context::Context;
use crate::invocation::Failure;
use crate::python;

/// The arguments of all modules that fetch something (`url_argument_spec`).
pub(crate) fn common(spec: Spec) -> Spec {
    spec.with("url", text())
        .with("force", boolean().default(false))
        .with("http_agent", text().default("ansible-httpget"))
        .with("use_proxy", boolean().default(true))
        .with("validate_certs", boolean().default(true))
        .with("url_username", text())
        .with("url_password", text().no_log(true))
        .with("force_basic_auth", boolean().default(false))
        .with("client_cert", path())
        .with("client_key", path())
        .with("use_gssapi", boolean().default(false))
}

/// What is asked for, beside what the arguments say.
#[derive(Default)]
pub(crate) struct Request<'a> {
    pub(crate) url: &'a str,
    pub(crate) method: &'a str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    /// Nothing but what is newer than this, in seconds.
    pub(crate) newer_than: Option<i64>,
    pub(crate) force: bool,
    pub(crate) timeout: u64,
}

/// What came of it: the response, if there is one, and what is told (`info`).
pub(crate) struct Fetched {
    pub(crate) response: Option<Response>,
    pub(crate) info: Map<String, Value>,
}

impl Fetched {
    /// The status, -1 without a response, `None` for what has none (files).
    pub(crate) fn status(&self) -> Option<i64> {
        self.info.get("status").and_then(Value::as_i64)
    }

    pub(crate) fn message(&self) -> &str {
        self.info
            .get("msg")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// A response.
pub(crate) struct Response {
    pub(crate) headers: Vec<(String, String)>,
    /// The address it came from at last.
    pub(crate) url: String,
    /// What it holds; of a response that is an error it is `None`: that is under `body` of what is told.
    pub(crate) body: Option<Box<dyn Read>>,
    /// What it held, of an error.
    pub(crate) error_body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.as_str())
    }

    /// A parameter of a header: `charset` of `Content-Type`.
    pub(crate) fn parameter(&self, header: &str, wanted: &str) -> Option<String> {
        let value = self.header(header)?;
        let (_, parameters) = value.split_once(';')?;
        if let Some(encoded) = auth::parameter(parameters, &format!("{wanted}*")) {
            let plain = encoded.rsplit('\'').next().unwrap_or(&encoded).to_owned();
            return Some(unquoted(&plain));
        }
        auth::parameter(parameters, wanted)
    }
}

/// So many bytes of what a server says of an error are told.
const LARGEST_ERROR: u64 = 64 << 20;

/// Fetches something. An `Err` ends the module.
pub(crate) fn fetch(
    context: &mut Context<'_>,
    arguments: &Arguments,
    request: &Request<'_>,
) -> Result<Fetched, Failure> {
    let mut info = Map::new();
    info.insert("url".to_owned(), masked(request.url).into());
    info.insert("status".to_owned(), (-1).into());
    let address = Address::of(request.url);
    if address.scheme == "file" {
        return Ok(local_file(context, &address, info));
    }
    let whole = |reason: String| Failure {
        message: reason,
        more: Box::new(info.clone()),
        ..Failure::default()
    };
    if arguments.flag("use_gssapi") {
        return Err(Failure::new(
            "GSSAPI authentication (use_gssapi) is not built into native modules",
        ));
    }
    if arguments
        .list("ciphers")
        .is_some_and(|list| !list.is_empty())
    {
        return Err(whole(
            "choosing ciphers is not built into native modules".to_owned(),
        ));
    }
    if !matches!(address.scheme.as_str(), "http" | "https") {
        let scheme = match request.url.split_once(':') {
            _ if !address.scheme.is_empty() => address.scheme.as_str(),
            Some((scheme, _)) if !scheme.contains('/') => scheme,
            _ => "",
        };
        if scheme.is_empty() {
            return Err(whole(format!(
                "unknown url type: {}",
                python::repr(request.url)
            )));
        }
        info.insert(
            "msg".to_owned(),
            format!("Request failed: <urlopen error unknown url type: {scheme}>").into(),
        );
        return Ok(Fetched {
            response: None,
            info,
        });
    }
    if address.host().is_empty() {
        info.insert(
            "msg".to_owned(),
            "Request failed: <urlopen error no host given>".into(),
        );
        return Ok(Fetched {
            response: None,
            info,
        });
    }
    let mut session = Session::new(context, arguments, request, address)?;
    Ok(match session.run(request) {
        Ok(response) => {
            told_of(&mut info, &response.headers);
            let cookies: Vec<String> = session
                .cookies
                .iter()
                .map(|cookie| format!("{}={}", cookie.name, cookie.value))
                .collect();
            info.insert("cookies_string".to_owned(), cookies.join("; ").into());
            info.insert(
                "cookies".to_owned(),
                session
                    .cookies
                    .iter()
                    .map(|cookie| (cookie.name.clone(), Value::from(cookie.value.clone())))
                    .collect::<Map<_, _>>()
                    .into(),
            );
            let length = response.header("content-length").unwrap_or("unknown");
            info.insert("msg".to_owned(), format!("OK ({length} bytes)").into());
            info.insert("url".to_owned(), masked(&response.url).into());
            info.insert("status".to_owned(), session.status.into());
            Fetched {
                response: Some(response),
                info,
            }
        }
        Err(Ended::Error(mut response, status, message)) => {
            let mut body = Vec::new();
            if let Some(reader) = response.body.take() {
                // What of it can be read is told, if it is no more than anybody says of an error.
                let _ = reader.take(LARGEST_ERROR).read_to_end(&mut body);
            }
            for (name, value) in &response.headers {
                info.insert(name.to_lowercase(), value.as_str().into());
            }
            info.insert("msg".to_owned(), message.into());
            info.insert(
                "body".to_owned(),
                String::from_utf8_lossy(&body).into_owned().into(),
            );
            info.insert("status".to_owned(), status.into());
            response.error_body = body;
            Fetched {
                response: Some(response),
                info,
            }
        }
        Err(Ended::Lost(message)) => {
            info.insert("msg".to_owned(), message.into());
            Fetched {
                response: None,
                info,
            }
        }
    })
}

/// The headers as they are told: in small letters, those that come twice joined.
fn told_of(info: &mut Map<String, Value>, headers: &[(String, String)]) {
    let mut told: Vec<(String, String)> = Vec::new();
    for (name, value) in headers {
        let name = name.to_lowercase();
        match told.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                known.push_str(", ");
                known.push_str(value);
            }
            None => told.push((name, value.clone())),
        }
    }
    for (name, value) in told {
        info.insert(name, value.into());
    }
}

fn local_file(context: &Context<'_>, address: &Address, mut info: Map<String, Value>) -> Fetched {
    let shown = unquoted(&address.path);
    let path = context.path(&shown);
    let opened = std::fs::File::open(&path).and_then(|file| {
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(std::io::Error::from_raw_os_error(libc::EISDIR));
        }
        Ok((file, meta))
    });
    match opened {
        Err(error) => {
            info.insert(
                "msg".to_owned(),
                format!(
                    "Request failed: <urlopen error {}>",
                    python::os_error_at_text(&error, &shown)
                )
                .into(),
            );
            Fetched {
                response: None,
                info,
            }
        }
        Ok((file, meta)) => {
            use std::os::unix::fs::MetadataExt as _;
            let modified = jiff::Timestamp::from_second(meta.mtime()).unwrap_or_default();
            let headers = vec![
                ("Content-type".to_owned(), "text/plain".to_owned()),
                ("Content-length".to_owned(), meta.len().to_string()),
                (
                    "Last-modified".to_owned(),
                    modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
                ),
            ];
            told_of(&mut info, &headers);
            info.insert("cookies_string".to_owned(), "".into());
            info.insert("cookies".to_owned(), json!({}));
            info.insert(
                "msg".to_owned(),
                format!("OK ({} bytes)", meta.len()).into(),
            );
            info.insert("status".to_owned(), Value::Null);
            Fetched {
                response: Some(Response {
                    headers,
                    url: address.text(),
                    body: Some(Box::new(file)),
                    error_body: Vec::new(),
                }),
                info,
            }
        }
    }
}

/// Fetches a file into a temporary one, which goes with the context (`fetch_file`): its path.
pub(crate) fn fetch_file(
    context: &mut Context<'_>,
    arguments: &Arguments,
    url: &str,
) -> Result<String, Failure> {
    let directory = context.temporary_directory()?;
    let fetched = fetch(
        context,
        arguments,
        &Request {
            url,
            method: "GET",
            timeout: 10,
            ..Request::default()
        },
    )?;
    let failed =
        |reason: &str| Failure::new(format!("Failure downloading {}, {reason}", masked(url)));
    let message = fetched.message().to_owned();
    if fetched.status().is_some_and(|status| status >= 400) {
        return Err(failed(&message));
    }
    let Some(mut body) = fetched.response.and_then(|response| response.body) else {
        return Err(failed(&message));
    };
    let name = python::basename(&Address::of(url).path).to_owned();
    let file = directory.join(format!(
        "{}{name}",
        &uuid::Uuid::new_v4().simple().to_string()[..8]
    ));
    std::fs::File::create(&file)
        .and_then(|mut file| std::io::copy(&mut body, &mut file))
        .map_err(|error| failed(&error.to_string()))?;
    Ok(file.to_string_lossy().into_owned())
}
