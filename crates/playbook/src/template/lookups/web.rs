//! What addresses of the web give.

use std::time::Duration;

use consort_jinja::{Error, Result, Value};

use super::Call;
use crate::template::context::{blocking, refused};

/// More than this is not read.
const LARGEST: usize = 1 << 30;

struct Request {
    address: String,
    headers: Vec<(String, String)>,
    user: Option<(String, Option<String>)>,
    agent: String,
    timeout: Duration,
    certificates: Option<Vec<u8>>,
    verify: bool,
    proxy: bool,
    redirects: bool,
}

pub(super) fn url(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    for name in ["use_gssapi", "unix_socket", "ciphers"] {
        if call
            .option(name)
            .is_some_and(|value| value.truth().unwrap_or(true))
        {
            return refused(format!(
                "the option {name} of the lookup url is not supported"
            ));
        }
    }
    // Options also come from variables.
    for (name, variable) in [
        ("force", "ansible_lookup_url_force"),
        ("timeout", "ansible_lookup_url_timeout"),
        ("http_agent", "ansible_lookup_url_agent"),
        ("force_basic_auth", "ansible_lookup_url_force_basic_auth"),
        ("follow_redirects", "ansible_lookup_url_follow_redirects"),
        ("ca_path", "ansible_lookup_url_ca_path"),
    ] {
        if call.option(name).is_none() && call.state.variables().get(variable).is_some() {
            let value = call.state.name(variable).defined()?;
            call.set(name, value);
        }
    }
    let split = call.flag("split_lines", true)?;
    let mut headers = Vec::new();
    if let Some(given) = call.option("headers") {
        for (name, value) in given.entries().unwrap_or_default() {
            headers.push((name.value().text()?.to_string(), value.text()?.to_string()));
        }
    }
    if call.flag("force", false)? {
        headers.push(("cache-control".to_owned(), "no-cache".to_owned()));
    }
    let user = match call.option("username") {
        None => None,
        Some(user) => Some((
            user.text()?.to_string(),
            call.option("password")
                .map(|password| password.text().map(|password| password.to_string()))
                .transpose()?,
        )),
    };
    let timeout = match call.option("timeout") {
        None => 10.0,
        Some(Value::Int(seconds)) => seconds as f64,
        Some(Value::Float(seconds)) => seconds,
        Some(other) => other.text()?.trim().parse().unwrap_or(10.0),
    };
    let certificates = match call.option("ca_path") {
        None => None,
        Some(path) => {
            let path = path.text()?;
            Some(
                std::fs::read(&*path)
                    .map_err(|error| Error::failed(crate::source::python_error(&error, &path)))?,
            )
        }
    };
    let redirects = !matches!(
        call.text("follow_redirects", "urllib2")?.as_str(),
        "none" | "no" | "False"
    );
    let mut found = Vec::new();
    for address in call.texts()? {
        let request = Request {
            address: address.to_string(),
            headers: headers.clone(),
            user: user.clone(),
            agent: call.text("http_agent", "ansible-httpget")?,
            timeout: Duration::try_from_secs_f64(timeout.max(0.001))
                .unwrap_or(Duration::from_secs(10)),
            certificates: certificates.clone(),
            verify: call.flag("validate_certs", true)?,
            proxy: call.flag("use_proxy", true)?,
            redirects,
        };
        let body = blocking(|| read(request))?;
        let text = String::from_utf8_lossy(&body);
        if split {
            found.extend(text.lines().map(Value::from));
        } else {
            found.push(Value::from(text.into_owned()));
        }
    }
    Ok(found)
}

/// Reads an address in a thread of its own, which may wait.
fn read(request: Request) -> Result<Vec<u8>> {
    let address = masked(&request.address);
    let done = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::failed(error.to_string()))?
            .block_on(exchange(&request))
    })
    .join();
    done.unwrap_or_else(|_| refused(format!("Failed lookup url for {address}")))
}

/// The address without a password in it.
fn masked(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{scheme}://{name}:********@{host}{}", &rest[end..]),
            None => address.to_owned(),
        },
        None => address.to_owned(),
    }
}

async fn exchange(request: &Request) -> Result<Vec<u8>> {
    let address = masked(&request.address);
    let failed = |error: reqwest::Error| {
        let mut reason = error.to_string();
        let mut inner: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(cause) = inner {
            reason = cause.to_string();
            inner = cause.source();
        }
        // As Python tells errors of the system.
        if let Some((what, code)) = reason
            .strip_suffix(')')
            .and_then(|reason| reason.rsplit_once(" (os error "))
        {
            reason = format!("[Errno {code}] {what}");
        }
        Error::caused(
            format!("Failed lookup url for {address}"),
            Error::failed(format!("<urlopen error {reason}>")),
        )
    };
    // The process's choice if it made one; reqwest has none of its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(&request.agent)
        .timeout(request.timeout)
        .redirect(if request.redirects {
            reqwest::redirect::Policy::limited(10)
        } else {
            reqwest::redirect::Policy::none()
        });
    if !request.proxy {
        builder = builder.no_proxy();
    }
    if !request.verify {
        builder = builder.danger_accept_invalid_certs(true);
    }
    if let Some(certificates) = &request.certificates {
        for certificate in reqwest::Certificate::from_pem_bundle(certificates).map_err(failed)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    let client = builder.build().map_err(failed)?;
    let mut asked = client.get(&request.address);
    for (name, value) in &request.headers {
        asked = asked.header(name, value);
    }
    if let Some((user, password)) = &request.user {
        asked = asked.basic_auth(user, password.as_deref());
    }
    let mut answer = asked.send().await.map_err(failed)?;
    let status = answer.status();
    if status.is_client_error() || status.is_server_error() {
        return Err(Error::caused(
            format!("Received HTTP error for {address}"),
            Error::failed(format!(
                "HTTP Error {}: {}",
                status.as_u16(),
                status.canonical_reason().unwrap_or("")
            )),
        ));
    }
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(failed)? {
        if body.len() + part.len() > LARGEST {
            return refused(format!("the answer of {address} is too large"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
