//! A request with its redirects: who it is from, what it may follow, the cookies on the way.

use std::path::PathBuf;
use std::time::Duration;

use super::{Address, Request, Response, auth, masked, tls, unquoted, wire};
use crate::arguments::Arguments;
use crate::context::Context;
use crate::invocation::Failure;

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

/// How a request ends without what was wanted.
pub(super) enum Ended {
    /// A response that is an error: it, its status, and what is told.
    Error(Response, u16, String),
    /// No response: what is told.
    Lost(String),
}

pub(super) struct Cookie {
    pub(super) name: String,
    pub(super) value: String,
    domain: String,
    /// It is for hosts below the domain too.
    wide: bool,
    path: String,
    secure: bool,
}

/// A request with its redirects.
pub(super) struct Session<'a> {
    address: Address,
    redirects: Redirects,
    timeout: Duration,
    tls: std::sync::Arc<rustls::ClientConfig>,
    socket: Option<PathBuf>,
    proxies: Vec<(String, Address)>,
    no_proxy: Vec<String>,
    user: Option<(String, String)>,
    /// Whom user and password are for: a redirect may lead to somebody else, who does not get them.
    trusted: (String, u16),
    headers: Vec<(String, String)>,
    unredirected: Vec<String>,
    decompress: bool,
    pub(super) cookies: Vec<Cookie>,
    pub(super) status: u16,
    agent: &'a str,
}

impl<'a> Session<'a> {
    pub(super) fn new(
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
            trusted: (address.host(), address.port_or_usual()),
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

    pub(super) fn run(&mut self, request: &Request<'_>) -> Result<Response, Ended> {
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
                && self.trusted == (self.address.host(), self.address.port_or_usual())
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
