//! What modules fetch from the web, as `ansible.module_utils.urls` fetches it: redirects, authentication, proxies, cookies,
//! and what is told of it all.

mod address;
mod auth;
mod tls;
mod wire;

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

pub(crate) use address::{Address, form_quoted, masked, unquoted};

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

/// How redirects are followed.
#[derive(Clone, Copy, PartialEq)]
enum Redirects {
    All,
    Safe,
    None,
    /// As Python does it by itself.
    Urllib,
}

const MOST_REDIRECTS: usize = 10;

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
            if let Some(mut reader) = response.body.take() {
                // What of it can be read is told.
                let _ = reader.read_to_end(&mut body);
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

/// How a request ends without what was wanted.
enum Ended {
    /// A response that is an error: it, its status, and what is told.
    Error(Response, u16, String),
    /// No response: what is told.
    Lost(String),
}

struct Cookie {
    name: String,
    value: String,
    domain: String,
    /// It is for hosts below the domain too.
    wide: bool,
    path: String,
    secure: bool,
}

/// A request with its redirects.
struct Session<'a> {
    address: Address,
    redirects: Redirects,
    timeout: Duration,
    tls: std::sync::Arc<rustls::ClientConfig>,
    socket: Option<PathBuf>,
    proxies: Vec<(String, Address)>,
    no_proxy: Vec<String>,
    user: Option<(String, String)>,
    headers: Vec<(String, String)>,
    unredirected: Vec<String>,
    decompress: bool,
    cookies: Vec<Cookie>,
    status: u16,
    agent: &'a str,
}

impl<'a> Session<'a> {
    fn new(
        context: &Context<'_>,
        arguments: &'a Arguments,
        request: &Request<'_>,
        address: Address,
    ) -> Result<Self, Failure> {
        let at = |name: &str| arguments.filled(name).map(|path| context.path(path));
        let (authorities, certificate, key) = (at("ca_path"), at("client_cert"), at("client_key"));
        let tls = tls::configuration(&tls::Trust {
            validate: arguments.given_flag("validate_certs") != Some(false),
            authorities: authorities.as_deref(),
            certificate: certificate.as_deref(),
            key: key.as_deref(),
        })
        .map_err(|reason| {
            Failure::new(format!("Connection failure: {reason}"))
                .with("url", masked(request.url))
                .with("status", -1)
        })?;
        let mut headers = request.headers.clone();
        let mut user = None;
        let from_address = address
            .credentials()
            .map(|(user, password)| (unquoted(user), unquoted(password.unwrap_or(""))));
        let given = arguments.filled("url_username").map(|user| {
            (
                user.to_owned(),
                arguments.text("url_password").unwrap_or("").to_owned(),
            )
        });
        if let Some((name, password)) = given.or(from_address) {
            if arguments.flag("force_basic_auth") {
                headers.push(("Authorization".to_owned(), auth::basic(&name, &password)));
            } else {
                user = Some((name, password));
            }
        } else if arguments.given_flag("use_netrc") != Some(false)
            && let Some((name, password)) = auth::netrc(context, &address.host())
        {
            headers.push(("Authorization".to_owned(), auth::basic(&name, &password)));
        }
        let mut proxies = Vec::new();
        let mut no_proxy = Vec::new();
        if arguments.given_flag("use_proxy") != Some(false)
            && arguments.filled("unix_socket").is_none()
        {
            for scheme in ["http", "https"] {
                let name = format!("{scheme}_proxy");
                let value = context
                    .variable(&name)
                    .or_else(|| context.variable(&name.to_uppercase()))
                    .filter(|value| !value.is_empty());
                if let Some(value) = value {
                    let value = if value.contains("://") {
                        value
                    } else {
                        format!("http://{value}")
                    };
                    proxies.push((scheme.to_owned(), Address::of(&value)));
                }
            }
            no_proxy = context
                .variable("no_proxy")
                .or_else(|| context.variable("NO_PROXY"))
                .unwrap_or_default()
                .split(',')
                .map(|host| host.trim().to_lowercase())
                .filter(|host| !host.is_empty())
                .collect();
        }
        Ok(Session {
            address: address.without_credentials(),
            redirects: match arguments.text("follow_redirects").unwrap_or("urllib2") {
                "all" | "yes" => Redirects::All,
                "safe" => Redirects::Safe,
                "none" | "no" => Redirects::None,
                _ => Redirects::Urllib,
            },
            timeout: Duration::from_secs(request.timeout.max(1)),
            tls,
            socket: at("unix_socket"),
            proxies,
            no_proxy,
            user,
            headers,
            unredirected: arguments
                .texts("unredirected_headers")
                .iter()
                .map(|name| name.to_lowercase())
                .collect(),
            decompress: arguments.given_flag("decompress") != Some(false),
            cookies: Vec::new(),
            status: 0,
            agent: arguments.filled("http_agent").unwrap_or("ansible-httpget"),
        })
    }

    fn proxy(&self) -> Option<Address> {
        let host = self.address.host();
        let direct = self.no_proxy.iter().any(|known| {
            known == "*"
                || host == *known
                || host.ends_with(&format!(".{}", known.trim_start_matches('.')))
        });
        if direct {
            return None;
        }
        self.proxies
            .iter()
            .find(|(scheme, _)| *scheme == self.address.scheme)
            .map(|(_, proxy)| proxy.clone())
    }

    fn run(&mut self, request: &Request<'_>) -> Result<Response, Ended> {
        let mut method = request.method.to_uppercase();
        let mut body = request.body.clone();
        let mut headers: Vec<(String, String)> =
            vec![("User-Agent".to_owned(), self.agent.to_owned())];
        if request.force {
            set(&mut headers, "Cache-Control", "no-cache");
        } else if let Some(time) = request.newer_than {
            let time = jiff::Timestamp::from_second(time).unwrap_or_default();
            set(
                &mut headers,
                "If-Modified-Since",
                &time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
            );
        }
        for (name, value) in std::mem::take(&mut self.headers) {
            set(&mut headers, &name, &value);
        }
        let mut seen: Vec<String> = vec![self.address.text()];
        let mut challenged = false;
        let mut authorization: Option<String> = None;
        let mut first = true;
        loop {
            let sent = self.sent(&headers, body.as_deref(), authorization.as_deref(), first);
            let proxy = self.proxy();
            let way = wire::Way {
                timeout: self.timeout,
                tls: &self.tls,
                socket: self.socket.clone(),
                proxy,
            };
            let received =
                wire::exchange(&self.address, &method, &sent, body.as_deref(), &way).map_err(
                    |lost| {
                        Ended::Lost(match lost {
                            wire::Lost::Unreachable(reason) => format!("Request failed: {reason}"),
                            wire::Lost::Broken(reason) => format!("Connection failure: {reason}"),
                            wire::Lost::NoHttp(reason) => format!(
                                "Connection failure: connection was closed before a valid response was received: {reason}"
                            ),
                        })
                    },
                )?;
            self.keep_cookies(&received.headers);
            let status = received.status;
            let response = Response {
                url: self.address.text(),
                headers: received.headers,
                body: Some(received.body),
                error_body: Vec::new(),
            };
            if (200..300).contains(&status) {
                self.status = status;
                // Without contents there is nothing to unpack.
                return Ok(if method == "HEAD" {
                    response
                } else {
                    self.opened(response)
                });
            }
            let reason = received.reason;
            let error = |response: Response| {
                Err(Ended::Error(
                    response,
                    status,
                    format!("HTTP Error {status}: {reason}"),
                ))
            };
            if status == 401
                && !challenged
                && let Some((user, password)) = &self.user
            {
                let challenges: Vec<&str> = response
                    .headers
                    .iter()
                    .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"))
                    .map(|(_, value)| value.as_str())
                    .collect();
                if let Some(answer) =
                    auth::answer(&challenges, &method, &self.address.target(), user, password)
                {
                    authorization = Some(answer);
                    challenged = true;
                    continue;
                }
            }
            let to = response
                .header("location")
                .or_else(|| response.header("uri"))
                .map(str::to_owned);
            let (Some(to), true) = (to, matches!(status, 301 | 302 | 303 | 307 | 308)) else {
                return error(response);
            };
            let next = self.address.join(&to.replace(' ', "%20"));
            if !matches!(next.scheme.as_str(), "http" | "https" | "ftp" | "") {
                return Err(Ended::Error(
                    response,
                    status,
                    format!(
                        "HTTP Error {status}: {reason} - Redirection to url '{}' is not allowed",
                        next.text()
                    ),
                ));
            }
            let Some((new_method, keeps_body)) = self.redirected(status, &method) else {
                return error(response);
            };
            let text = next.text();
            if seen.len() > MOST_REDIRECTS || seen.iter().filter(|url| **url == text).count() >= 4 {
                return Err(Ended::Error(
                    response,
                    status,
                    format!(
                        "HTTP Error {status}: The HTTP server returned a redirect error that would lead to an infinite loop.\nThe last 30x error message was:\n{reason}"
                    ),
                ));
            }
            seen.push(text);
            if !matches!(next.scheme.as_str(), "http" | "https") {
                return Err(Ended::Lost(format!(
                    "Request failed: <urlopen error unknown url type: {}>",
                    next.scheme
                )));
            }
            method = new_method;
            if !keeps_body {
                body = None;
                headers.retain(|(name, _)| {
                    !["content-length", "content-type", "transfer-encoding"]
                        .contains(&name.to_lowercase().as_str())
                });
            }
            self.address = next;
            authorization = None;
            challenged = false;
            first = false;
        }
    }

    /// The method of the request that follows a redirect, and whether it has the body; `None` if it is not followed.
    fn redirected(&self, status: u16, method: &str) -> Option<(String, bool)> {
        match self.redirects {
            Redirects::None => return None,
            Redirects::Urllib => {
                let follows = match status {
                    307 | 308 => matches!(method, "GET" | "HEAD"),
                    _ => matches!(method, "GET" | "HEAD" | "POST"),
                };
                let method = if method == "HEAD" { "HEAD" } else { "GET" };
                return follows.then(|| (method.to_owned(), false));
            }
            Redirects::Safe if !matches!(method, "GET" | "HEAD") => return None,
            Redirects::Safe | Redirects::All => {}
        }
        if matches!(status, 307 | 308) {
            return Some((method.to_owned(), true));
        }
        let becomes_get = (matches!(status, 302 | 303) && method != "HEAD")
            || (status == 301 && method == "POST");
        Some((if becomes_get { "GET" } else { method }.to_owned(), false))
    }

    /// The headers as they go out.
    fn sent(
        &self,
        headers: &[(String, String)],
        body: Option<&[u8]>,
        authorization: Option<&str>,
        first: bool,
    ) -> Vec<(String, String)> {
        let mut sent: Vec<(String, String)> = vec![
            ("Accept-Encoding".to_owned(), "identity".to_owned()),
            ("Host".to_owned(), self.address.host_and_port().to_owned()),
            ("Connection".to_owned(), "close".to_owned()),
        ];
        if let Some(body) = body {
            set(
                &mut sent,
                "Content-Type",
                "application/x-www-form-urlencoded",
            );
            set(&mut sent, "Content-Length", &body.len().to_string());
        }
        for (name, value) in headers {
            if first || !self.unredirected.contains(&name.to_lowercase()) {
                set(&mut sent, name, value);
            }
        }
        // One connection a request, whatever is asked for.
        set(&mut sent, "Connection", "close");
        if let Some(value) = authorization {
            set(&mut sent, "Authorization", value);
        }
        if self.address.scheme == "http"
            && let Some(value) = self.proxy().as_ref().and_then(auth::of_address)
        {
            set(&mut sent, "Proxy-Authorization", &value);
        }
        let host = self.address.host();
        let path = if self.address.path.is_empty() {
            "/"
        } else {
            &self.address.path
        };
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|cookie| {
                (host == cookie.domain
                    || (cookie.wide && host.ends_with(&format!(".{}", cookie.domain))))
                    && path.starts_with(&cookie.path)
                    && (!cookie.secure || self.address.scheme == "https")
            })
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        if !cookies.is_empty()
            && !sent
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("cookie"))
        {
            sent.push(("Cookie".to_owned(), cookies.join("; ")));
        }
        sent
    }

    fn keep_cookies(&mut self, headers: &[(String, String)]) {
        let host = self.address.host();
        for (_, value) in headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        {
            let mut parts = value.split(';');
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let upto = self.address.path.rfind('/').unwrap_or(0);
            let mut cookie = Cookie {
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
                domain: host.clone(),
                wide: false,
                path: match &self.address.path[..upto] {
                    "" => "/".to_owned(),
                    path => path.to_owned(),
                },
                secure: false,
            };
            let mut gone = false;
            let mut foreign = false;
            for part in parts {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                let value = value.trim();
                match name.trim().to_lowercase().as_str() {
                    "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
                    "secure" => cookie.secure = true,
                    "max-age" => gone |= value.parse::<i64>().is_ok_and(|age| age <= 0),
                    "expires" => gone |= is_past(value),
                    "domain" if !value.is_empty() => {
                        value
                            .trim_start_matches('.')
                            .to_lowercase()
                            .clone_into(&mut cookie.domain);
                        cookie.wide = true;
                        foreign = host != cookie.domain
                            && !host.ends_with(&format!(".{}", cookie.domain));
                    }
                    _ => {}
                }
            }
            if foreign {
                continue;
            }
            let place = self.cookies.iter().position(|known| {
                known.name == cookie.name
                    && known.domain == cookie.domain
                    && known.path == cookie.path
            });
            match (place, gone) {
                (Some(place), true) => {
                    self.cookies.remove(place);
                }
                (Some(place), false) => self.cookies[place] = cookie,
                (None, true) => {}
                (None, false) => self.cookies.push(cookie),
            }
        }
    }

    /// The response with its contents unpacked.
    fn opened(&self, mut response: Response) -> Response {
        let packed = response
            .header("content-encoding")
            .is_some_and(|encoding| encoding.eq_ignore_ascii_case("gzip"));
        if self.decompress
            && packed
            && let Some(body) = response.body.take()
        {
            response.body = Some(Box::new(flate2::read::MultiGzDecoder::new(body)));
        }
        response
    }
}

fn is_past(date: &str) -> bool {
    let text = date.replace('-', " ");
    jiff::fmt::rfc2822::parse(&text).is_ok_and(|time| time.timestamp() < jiff::Timestamp::now())
}

/// Sets a header, which has another value at most before.
fn set(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    match headers
        .iter_mut()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
    {
        Some((_, known)) => value.clone_into(known),
        None => headers.push((name.to_owned(), value.to_owned())),
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
