//! `uri`: a request to a service of the web, and what it answers.

use std::io::Read as _;
use std::sync::LazyLock;
use std::time::Instant;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::arguments::{
    Arguments, Kind, Spec, boolean, dict, integer, list, path, python_json, raw, text,
};
use crate::atomic::{self, Keep};
use crate::attributes::Wanted;
use crate::context::Context;
use crate::digest;
use crate::encoding::Encoding;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::registry::Module;
use crate::url::{self, Address, Request, Response, form_quoted, masked, unquoted};

pub(crate) const MODULE: Module = Module { name: "uri", act };

const REDIRECTS: [&str; 6] = ["all", "no", "none", "safe", "urllib2", "yes"];

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    url::common(Spec::new())
        .with("url", text().required())
        .with(
            "follow_redirects",
            text().default("safe").choices(&REDIRECTS),
        )
        .with("dest", path())
        .with("url_username", text().aliases(&["user"]))
        .with("url_password", text().aliases(&["password"]).no_log(true))
        .with("body", raw())
        .with(
            "body_format",
            text()
                .default("raw")
                .choices(&["form-urlencoded", "json", "raw", "form-multipart"]),
        )
        .with("src", path())
        .with("method", text().default("GET"))
        .with("return_content", boolean().default(false))
        .with("creates", path())
        .with("removes", path())
        .with("status_code", list(Kind::Integer).default(json!([200])))
        .with("timeout", integer().default(30))
        .with("headers", dict().default(json!({})))
        .with("unix_socket", path())
        .with("remote_src", boolean().default(false))
        .with("ca_path", path())
        .with("unredirected_headers", list(Kind::Text).default(json!([])))
        .with("decompress", boolean().default(true))
        .with("ciphers", list(Kind::Text))
        .with("use_netrc", boolean().default(true))
        .mutually_exclusive(&["body", "src"])
        .file_common()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let url = arguments.required("url");
    let method = arguments.required("method").to_uppercase();
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Failure::new(
            "Parameter 'method' needs to be a single word in uppercase, like GET or POST.",
        ));
    }
    let mut headers: Vec<(String, String)> = arguments
        .dict("headers")
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), python::str_value(value).into_owned()))
        .collect();
    let mut body = body_of(context, &arguments, &mut headers)?;
    for (name, word, there) in [
        ("creates", "exists", true),
        ("removes", "does not exist", false),
    ] {
        if let Some(path) = arguments.text(name)
            && context.path(path).exists() == there
        {
            return Ok(Report::from_iter([
                (
                    "stdout".to_owned(),
                    format!("skipped, since '{path}' {word}").into(),
                ),
                ("changed".to_owned(), false.into()),
            ]));
        }
    }
    if let Some(src) = arguments.filled("src") {
        let data = std::fs::read(context.path(src)).map_err(|_| {
            Failure::new(format!("Unable to open source file {src}")).with("elapsed", 0)
        })?;
        headers.push(("Content-Length".to_owned(), data.len().to_string()));
        body = Some(data);
    }
    let mut dest = arguments.text("dest").map(str::to_owned);
    let newer_than = dest
        .as_ref()
        .and_then(|dest| std::fs::metadata(context.path(dest)).ok())
        .filter(std::fs::Metadata::is_file)
        .map(|meta| crate::times::modified(&meta) as i64);
    if matches!(arguments.text("follow_redirects"), Some("yes" | "no")) {
        context.deprecate(
            "Using 'yes' or 'no' for 'follow_redirects' parameter is deprecated.",
            "2.22",
        );
    }
    let begin = Instant::now();
    let fetched = url::fetch(
        context,
        &arguments,
        &Request {
            url,
            method: &method,
            headers,
            body,
            newer_than,
            force: arguments.flag("force"),
            timeout: arguments
                .integer("timeout")
                .unwrap_or(30)
                .max(0)
                .unsigned_abs(),
        },
    )?;
    let elapsed = begin.elapsed().as_secs();
    let status = fetched.status().unwrap_or(200);
    let mut info = fetched.info;
    let mut response = fetched.response;
    if let (Some(response), Some(place)) = (&response, &mut dest)
        && context.path(&*place).is_dir()
    {
        let name = file_name(response).unwrap_or_else(|| "index.html".to_owned());
        *place = python::join(place, &name);
    }
    let wanted: Vec<i64> = arguments
        .list("status_code")
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    let kind = response.as_ref().map(ContentType::of);
    let maybe_json = kind.as_ref().is_some_and(ContentType::is_json);
    let return_content = arguments.flag("return_content");
    let mut content: Option<Vec<u8>> = None;
    if maybe_json || return_content || !wanted.contains(&status) {
        let mut bytes = Vec::new();
        match response.as_mut().map(|response| response.body.take()) {
            Some(Some(mut reader)) => {
                reader.read_to_end(&mut bytes).map_err(|error| {
                    Failure::new(format!(
                        "HTTP Error while fetching {}: {error}",
                        masked(url)
                    ))
                })?;
            }
            Some(None) => {
                info.remove("body");
                if let Some(response) = &response {
                    bytes.clone_from(&response.error_body);
                }
            }
            None => {
                info.remove("body");
            }
        }
        content = Some(bytes);
    }
    let mut told: Map<String, Value> = Map::new();
    told.insert(
        "redirected".to_owned(),
        (info.get("url").and_then(Value::as_str) != Some(&masked(url))).into(),
    );
    told.append(&mut info);
    told.insert("elapsed".to_owned(), elapsed.into());
    told.insert("status".to_owned(), status.into());
    told.insert("changed".to_owned(), false.into());
    if let (Some(response), Some(dest)) = (&mut response, &dest) {
        if wanted.contains(&status) && status != 304 {
            let data = match &content {
                Some(data) => data.clone(),
                None => {
                    let mut data = Vec::new();
                    if let Some(mut body) = response.body.take() {
                        body.read_to_end(&mut data).map_err(|error| {
                            Failure::new(format!(
                                "Failed to create temporary content file: {error}"
                            ))
                        })?;
                    }
                    data
                }
            };
            write(context, dest, &data, &told)?;
            let changed = Wanted::of(context, &arguments, Some(dest)).apply(context, true, None)?;
            told.insert("changed".to_owned(), changed.into());
        }
        told.insert("path".to_owned(), dest.as_str().into());
    }
    let mut report: Report = told
        .into_iter()
        .map(|(key, value)| (key.replace('-', "_").to_lowercase(), value))
        .collect();
    if let Some(location) = report.get("location").and_then(Value::as_str) {
        let joined = Address::of(&masked(url)).join(location).text();
        report.insert("location".to_owned(), joined.into());
    }
    let text = content.map(|bytes| {
        let charset = kind.as_ref().map_or("utf-8", |kind| kind.charset.as_str());
        decoded(&bytes, charset)
    });
    if let (true, Some(text)) = (maybe_json, &text)
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        report.insert("json".to_owned(), value);
    }
    if return_content {
        report.insert("content".to_owned(), text.map_or(Value::Null, Value::from));
    }
    if wanted.contains(&status) {
        return Ok(report);
    }
    let message = report
        .get("msg")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let wanted: Vec<String> = wanted.iter().map(i64::to_string).collect();
    Err(Failure {
        message: format!(
            "Status code was {status} and not [{}]: {message}",
            wanted.join(", ")
        ),
        more: Box::new(report),
        ..Failure::default()
    })
}

fn decoded(bytes: &[u8], charset: &str) -> String {
    Encoding::named(charset)
        .ok()
        .and_then(|encoding| encoding.decode(bytes).ok())
        .unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
}

/// What a response says it holds.
struct ContentType {
    main: String,
    sub: String,
    charset: String,
}

impl ContentType {
    fn of(response: &Response) -> Self {
        let value = response
            .header("content-type")
            .map_or("text/plain", |value| value.split(';').next().unwrap_or(""))
            .trim()
            .to_lowercase();
        let value = value.split(',').next().unwrap_or("");
        let (main, sub) = match value.split_once('/') {
            Some((main, sub)) if !main.is_empty() && !sub.contains('/') => (main, sub),
            _ => ("text", "plain"),
        };
        ContentType {
            main: main.to_owned(),
            sub: sub.to_owned(),
            charset: response
                .parameter("content-type", "charset")
                .and_then(|charset| charset.split(',').next().map(str::to_owned))
                .unwrap_or_else(|| "utf-8".to_owned()),
        }
    }

    fn is_json(&self) -> bool {
        let kind = self
            .sub
            .split_once('+')
            .map_or(self.sub.as_str(), |(_, suffix)| suffix);
        !self.main.is_empty() && matches!(kind, "json" | "javascript")
    }
}

/// The name a response gives its contents.
fn file_name(response: &Response) -> Option<String> {
    if let Some(name) = response.parameter("content-disposition", "filename") {
        return Some(python::basename(&name).to_owned());
    }
    let path = Address::of(&response.url).path;
    let name = unquoted(python::basename(path.trim_end_matches('/')));
    (!name.is_empty()).then_some(name)
}

/// Gives a file the contents, if it has others.
fn write(
    context: &mut Context<'_>,
    dest: &str,
    data: &[u8],
    told: &Map<String, Value>,
) -> Result<(), Failure> {
    let there = digest::of_file(&context.path(dest), dest, "sha1")?;
    if there.as_deref() == Some(digest::sha1(data).as_str()) {
        return Ok(());
    }
    let keep = Keep {
        attributes: true,
        unsafe_writes: false,
    };
    atomic::write(context, dest, data, keep).map_err(|failure| {
        let mut more = told.clone();
        let message = more
            .remove("msg")
            .and_then(|message| message.as_str().map(str::to_owned))
            .unwrap_or_default();
        Failure {
            message: format!("failed to copy to {dest}: {} {message}", failure.message)
                .trim_end()
                .to_owned(),
            more: Box::new(more),
            ..Failure::default()
        }
    })
}

/// The body that is sent, in its format.
fn body_of(
    context: &Context<'_>,
    arguments: &Arguments,
    headers: &mut Vec<(String, String)>,
) -> Result<Option<Vec<u8>>, Failure> {
    let body = arguments.get("body");
    let mut usual = |kind: &str| {
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(("Content-Type".to_owned(), kind.to_owned()));
        }
    };
    match arguments.required("body_format") {
        "json" => {
            usual("application/json");
            Ok(Some(match body {
                Value::String(text) => text.clone().into_bytes(),
                other => python_json(other).into_bytes(),
            }))
        }
        "form-urlencoded" => {
            usual("application/x-www-form-urlencoded");
            let pairs: Vec<(&Value, Vec<&Value>)>;
            let keys: Vec<Value>;
            match body {
                Value::String(text) => return Ok(Some(text.clone().into_bytes())),
                Value::Object(entries) => {
                    keys = entries.keys().map(|key| key.as_str().into()).collect();
                    pairs = keys
                        .iter()
                        .zip(entries.values())
                        .map(|(key, value)| (key, several(value)))
                        .collect();
                }
                Value::Array(items) => {
                    pairs = items
                        .iter()
                        .map(|item| match item.as_array().map(Vec::as_slice) {
                            Some([key, value]) => Ok((key, several(value))),
                            _ => Err(Failure::new(
                                "failed to parse body as form_urlencoded: not enough values to unpack (expected 2)",
                            )
                            .with("elapsed", 0)),
                        })
                        .collect::<Result<_, _>>()?;
                }
                Value::Null => return Ok(None),
                other => return Ok(Some(python::repr_value(other).into_bytes())),
            }
            let fields: Vec<String> = pairs
                .into_iter()
                .flat_map(|(key, values)| {
                    let key = form_quoted(&python::str_value(key));
                    values
                        .into_iter()
                        .filter(|value| !value.is_null())
                        .map(move |value| {
                            format!("{key}={}", form_quoted(&python::str_value(value)))
                        })
                        .collect::<Vec<_>>()
                })
                .collect();
            Ok(Some(fields.join("&").into_bytes()))
        }
        "form-multipart" => {
            let (kind, data) = multipart(context, body).map_err(|reason| {
                Failure::new(format!("failed to parse body as form-multipart: {reason}"))
            })?;
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            headers.push(("Content-Type".to_owned(), kind));
            Ok(Some(data))
        }
        _ => Ok(match body {
            Value::Null => None,
            Value::String(text) => Some(text.clone().into_bytes()),
            other => Some(python::repr_value(other).into_bytes()),
        }),
    }
}

fn several(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

/// A form in parts: its content type and its bytes.
fn multipart(context: &Context<'_>, body: &Value) -> Result<(String, Vec<u8>), String> {
    let Value::Object(fields) = body else {
        return Err(format!(
            "Mapping is required, cannot be type {}",
            python::type_name(body)
        ));
    };
    let boundary = format!("==============={}==", uuid::Uuid::new_v4().as_u128() >> 66);
    let mut names: Vec<&String> = fields.keys().collect();
    names.sort();
    let mut data = Vec::new();
    for name in names {
        let (kind, file, content, encoding) = match &fields[name] {
            Value::String(text) => ("text/plain".to_owned(), None, text.clone(), "base64"),
            Value::Object(entry) => {
                let of = |key: &str| {
                    entry
                        .get(key)
                        .filter(|value| !value.is_null())
                        .map(|value| python::str_value(value).into_owned())
                        .filter(|value| !value.is_empty())
                };
                let (file, content) = (of("filename"), of("content"));
                if file.is_none() && content.is_none() {
                    return Err("at least one of filename or content must be provided".to_owned());
                }
                let kind = of("mime_type")
                    .unwrap_or_else(|| guessed(file.as_deref().unwrap_or("")).to_owned());
                let encoding = match of("multipart_encoding").as_deref() {
                    None | Some("base64") => "base64",
                    Some("7or8bit") => "7or8bit",
                    Some(_) => {
                        return Err(
                            "multipart_encoding must be one of dict_keys(['base64', '7or8bit'])."
                                .to_owned(),
                        );
                    }
                };
                (kind, file, content.unwrap_or_default(), encoding)
            }
            other => {
                return Err(format!(
                    "value must be a string, or mapping, cannot be type {}",
                    python::type_name(other)
                ));
            }
        };
        data.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        let mut disposition = format!("form-data; name=\"{name}\"");
        if let Some(file) = &file {
            disposition.push_str(&format!("; filename=\"{}\"", python::basename(file)));
        }
        let (transfer, bytes) = match &file {
            Some(file) if content.is_empty() => {
                let bytes = std::fs::read(context.path(file))
                    .map_err(|error| python::os_error_at(&error, file))?;
                if encoding == "base64" {
                    (Some("base64"), in_lines(&bytes))
                } else if bytes.is_ascii() {
                    (Some("7bit"), bytes)
                } else {
                    (Some("8bit"), bytes)
                }
            }
            _ => (None, content.into_bytes()),
        };
        if let Some(transfer) = transfer {
            data.extend_from_slice(format!("Content-Transfer-Encoding: {transfer}\r\n").as_bytes());
        }
        data.extend_from_slice(
            format!("Content-Type: {kind}\r\nContent-Disposition: {disposition}\r\n\r\n")
                .as_bytes(),
        );
        data.extend_from_slice(&bytes);
        data.extend_from_slice(b"\r\n");
    }
    data.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((
        format!("multipart/form-data; boundary=\"{boundary}\""),
        data,
    ))
}

/// Base64 in lines as mail has them.
fn in_lines(bytes: &[u8]) -> Vec<u8> {
    let whole = base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut lines = Vec::with_capacity(whole.len() + whole.len() / 38);
    for line in whole.as_bytes().chunks(76) {
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

/// What a file holds, by the end of its name.
fn guessed(name: &str) -> &'static str {
    match name
        .rsplit_once('.')
        .map(|(_, end)| end.to_lowercase())
        .as_deref()
    {
        Some("txt" | "log" | "c" | "h" | "conf") => "text/plain",
        Some("html" | "htm") => "text/html",
        Some("css") => "text/css",
        Some("csv") => "text/csv",
        Some("xml") => "text/xml",
        Some("js") => "text/javascript",
        Some("py") => "text/x-python",
        Some("json") => "application/json",
        Some("pdf") => "application/pdf",
        Some("zip") => "application/zip",
        Some("tar") => "application/x-tar",
        Some("sh") => "application/x-sh",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
