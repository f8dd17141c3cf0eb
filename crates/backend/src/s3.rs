//! State in an object store that speaks S3: one object a workspace; the lock is a second object that can be
//! made only once, or a row in a DynamoDB table.
//!
//! Names and forms are those of Terraform's `s3` backend: the default workspace at `key`, others at
//! `{workspace_key_prefix}/{workspace}/{key}`; the lock object at `{key}.tflock`; in the table the row
//! `{bucket}/{key}` for the lock and `{bucket}/{key}-md5` for the digest of the newest snapshot. Requests
//! are signed with AWS signature version 4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use md5::{Digest as _, Md5};
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{Backend, DEFAULT_WORKSPACE, Error, LockInfo, Settings, Snapshots, body, chain};

pub(super) struct S3(Arc<Store>);

struct Store {
    client: Client,
    bucket: String,
    key: String,
    prefix: String,
    region: String,
    /// Scheme and host, and the bucket where it is part of the path.
    objects: Url,
    table: Option<(String, Url)>,
    lock_object: bool,
    /// Whether uploads carry a checksum, which not every store that speaks S3 takes.
    checksums: bool,
    credentials: Credentials,
    encryption: Vec<(&'static str, String)>,
    retries: u64,
}

struct Credentials {
    id: String,
    secret: String,
    token: Option<String>,
}

impl S3 {
    pub(super) fn new(settings: &Settings) -> Result<S3, Error> {
        let text = |name: &str| settings.text(name).map(str::to_owned);
        let needed = |name: &str| {
            text(name).ok_or_else(|| Error::Remote(format!("the argument {name:?} is required")))
        };
        let (bucket, key, region) = (needed("bucket")?, needed("key")?, needed("region")?);
        if key.starts_with('/') || key.ends_with('/') {
            return Err(Error::Remote("key must not start or end with '/'".into()));
        }
        if !settings.flag("skip_region_validation") && !is_region(&region) {
            return Err(Error::Remote(format!("Invalid AWS Region: {region}")));
        }
        let endpoint = |service: &str, argument: &str| {
            settings
                .texts("endpoints")
                .find(|(name, _)| *name == service)
                .map(|(_, url)| url.to_owned())
                .or_else(|| text(argument))
        };
        let parse = |what: &str, url: &str| {
            Url::parse(url).map_err(|error| Error::Remote(format!("{what} {url:?}: {error}")))
        };
        let path_style = settings.flag("use_path_style") || settings.flag("force_path_style");
        let mut objects = match endpoint("s3", "endpoint") {
            Some(url) => parse("the endpoint", &url)?,
            None => parse(
                "the endpoint",
                &format!("https://s3.{region}.amazonaws.com"),
            )?,
        };
        if path_style || bucket.contains('.') || objects.host_str().is_none_or(is_address) {
            let path = format!("{}/{bucket}", objects.path().trim_end_matches('/'));
            objects.set_path(&path);
        } else {
            let host = format!("{bucket}.{}", objects.host_str().unwrap_or_default());
            objects
                .set_host(Some(&host))
                .map_err(|error| Error::Remote(format!("{bucket:?} in a host's name: {error}")))?;
        }
        let table = match text("dynamodb_table") {
            None => None,
            Some(table) => {
                let url = endpoint("dynamodb", "dynamodb_endpoint")
                    .unwrap_or_else(|| format!("https://dynamodb.{region}.amazonaws.com"));
                Some((table, parse("the DynamoDB endpoint", &url)?))
            }
        };
        let mut encryption = Vec::new();
        if settings.flag("encrypt") {
            match text("kms_key_id") {
                Some(id) => {
                    encryption.push(("x-amz-server-side-encryption", "aws:kms".to_owned()));
                    encryption.push(("x-amz-server-side-encryption-aws-kms-key-id", id));
                }
                None => encryption.push(("x-amz-server-side-encryption", "AES256".to_owned())),
            }
        }
        if let Some(acl) = text("acl") {
            encryption.push(("x-amz-acl", acl));
        }
        let mut client = crate::client().tls_danger_accept_invalid_certs(settings.flag("insecure"));
        if let Some(path) = text("custom_ca_bundle") {
            let pem = std::fs::read(&path).map_err(|source| Error::File {
                action: "reading",
                path: path.clone().into(),
                source,
            })?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| Error::Remote(format!("{path}: {}", chain(&error))))?;
            client = client.tls_certs_merge(certificates);
        }
        Ok(S3(Arc::new(Store {
            client: client
                .build()
                .map_err(|error| Error::Remote(chain(&error)))?,
            prefix: text("workspace_key_prefix").unwrap_or_else(|| "env:".to_owned()),
            lock_object: settings.flag("use_lockfile"),
            checksums: !settings.flag("skip_s3_checksum"),
            credentials: credentials(settings)?,
            retries: settings.number("max_retries").unwrap_or(5),
            bucket,
            key,
            region,
            objects,
            table,
            encryption,
        })))
    }
}

/// Whether this can be one of AWS's regions, such as `eu-central-1` or `us-gov-west-1`.
fn is_region(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let [area, middle @ .., number] = parts.as_slice() else {
        return false;
    };
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    (2..=5).contains(&area.len())
        && letters(area)
        && !middle.is_empty()
        && middle.iter().all(|part| letters(part))
        && number.len() <= 2
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

fn is_address(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok()
}

/// From the arguments or the environment, else from the profile in the shared credentials file.
fn credentials(settings: &Settings) -> Result<Credentials, Error> {
    if let (Some(id), Some(secret)) = (settings.text("access_key"), settings.text("secret_key")) {
        return Ok(Credentials {
            id: id.to_owned(),
            secret: secret.to_owned(),
            token: settings.text("token").map(str::to_owned),
        });
    }
    let profile = settings.text("profile").unwrap_or("default");
    let path = std::env::var_os("AWS_SHARED_CREDENTIALS_FILE")
        .map(std::path::PathBuf::from)
        .or_else(|| {
            std::env::var_os("HOME")
                .map(|home| std::path::PathBuf::from(home).join(".aws/credentials"))
        });
    let found = path
        .and_then(|path| std::fs::read_to_string(path).ok())
        .and_then(|text| in_profile(&text, profile));
    found.ok_or_else(|| {
        Error::Remote(
            "No valid credential sources found: set access_key and secret_key, AWS_ACCESS_KEY_ID \
             and AWS_SECRET_ACCESS_KEY, or a profile in the shared credentials file"
                .to_owned(),
        )
    })
}

fn in_profile(text: &str, profile: &str) -> Option<Credentials> {
    let mut inside = false;
    let mut values = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if inside && let Some((name, value)) = line.split_once('=') {
            values.insert(name.trim(), value.trim().to_owned());
        }
    }
    Some(Credentials {
        id: values.remove("aws_access_key_id")?,
        secret: values.remove("aws_secret_access_key")?,
        token: values.remove("aws_session_token"),
    })
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    /// What the server says went wrong, without the markup.
    fn error(&self, what: &str) -> Error {
        let text = String::from_utf8_lossy(&self.body);
        let part = |name: &str| {
            let begin = text.find(&format!("<{name}>"))? + name.len() + 2;
            let end = text[begin..].find("</")? + begin;
            Some(text[begin..end].to_owned())
        };
        let said = match (part("Code"), part("Message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code,
            _ => text.chars().take(300).collect(),
        };
        Error::Remote(format!("{what}: {} {said}", self.status.as_u16()))
    }
}

impl Store {
    fn object(&self, workspace: &str) -> String {
        if workspace == DEFAULT_WORKSPACE {
            self.key.clone()
        } else {
            format!("{}/{workspace}/{}", self.prefix, self.key)
        }
    }

    fn url(&self, key: &str) -> Url {
        let mut url = self.objects.clone();
        let path = format!(
            "{}/{}",
            self.objects.path().trim_end_matches('/'),
            encoded(key, true)
        );
        url.set_path(&path);
        url
    }

    async fn send(
        &self,
        service: &str,
        method: Method,
        url: Url,
        headers: Vec<(&'static str, String)>,
        data: Bytes,
    ) -> Result<Answer, Error> {
        let mut pause = Duration::from_millis(200);
        let mut left = self.retries;
        loop {
            let now = jiff::Timestamp::now();
            let signed = self.sign(service, &method, &url, &headers, &data, now);
            let mut request = self
                .client
                .request(method.clone(), url.clone())
                .body(data.clone());
            for (name, value) in headers.iter().chain(&signed) {
                request = request.header(*name, value);
            }
            let outcome = request.send().await;
            let again = match &outcome {
                Ok(response) => {
                    response.status().is_server_error()
                        || response.status() == StatusCode::TOO_MANY_REQUESTS
                }
                Err(error) => error.is_connect() || error.is_timeout(),
            };
            if again && left > 0 {
                left -= 1;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(20));
                continue;
            }
            let response =
                outcome.map_err(|error| Error::Remote(format!("{url}: {}", chain(&error))))?;
            let status = response.status();
            return Ok(Answer {
                status,
                body: body(response, "reading the object store's answer").await?,
            });
        }
    }

    /// The headers that AWS signature version 4 adds.
    fn sign(
        &self,
        service: &str,
        method: &Method,
        url: &Url,
        headers: &[(&'static str, String)],
        data: &[u8],
        now: jiff::Timestamp,
    ) -> Vec<(&'static str, String)> {
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = &time[..8];
        let digest = hex(&Sha256::digest(data));
        let mut added = vec![
            ("x-amz-date", time.clone()),
            ("x-amz-content-sha256", digest.clone()),
        ];
        if let Some(token) = &self.credentials.token {
            added.push(("x-amz-security-token", token.clone()));
        }
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let mut signed: BTreeMap<&str, &str> = headers
            .iter()
            .chain(&added)
            .map(|(name, value)| (*name, value.trim()))
            .collect();
        signed.insert("host", &host);
        let names = signed.keys().copied().collect::<Vec<_>>().join(";");
        let mut query: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| (encoded(&name, false), encoded(&value, false)))
            .collect();
        query.sort();
        let query = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&");
        let path = if url.path().is_empty() {
            "/"
        } else {
            url.path()
        };
        let mut request = format!("{method}\n{path}\n{query}\n");
        for (name, value) in &signed {
            let _ = writeln!(request, "{name}:{value}");
        }
        let _ = write!(request, "\n{names}\n{digest}");
        let scope = format!("{date}/{}/{service}/aws4_request", self.region);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            hex(&Sha256::digest(request.as_bytes()))
        );
        let mut key = hmac(
            format!("AWS4{}", self.credentials.secret).as_bytes(),
            date.as_bytes(),
        );
        for part in [self.region.as_str(), service, "aws4_request"] {
            key = hmac(key.as_ref(), part.as_bytes());
        }
        let signature = hex(hmac(key.as_ref(), to_sign.as_bytes()).as_ref());
        added.push((
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
                self.credentials.id
            ),
        ));
        added
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let answer = self
            .send("s3", Method::GET, self.url(key), Vec::new(), Bytes::new())
            .await?;
        match answer.status {
            StatusCode::OK if answer.body.is_empty() => Ok(None),
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND if !answer.body.windows(12).any(|w| w == b"NoSuchBucket") => {
                Ok(None)
            }
            _ => Err(answer.error("Failed to read remote state")),
        }
    }

    async fn put(&self, key: &str, data: Vec<u8>, only_new: bool) -> Result<Answer, Error> {
        let mut headers = self.encryption.clone();
        headers.push(("content-type", "application/json".to_owned()));
        if only_new {
            headers.push(("if-none-match", "*".to_owned()));
        }
        if self.checksums {
            let digest = STANDARD.encode(Sha256::digest(&data));
            headers.push(("x-amz-checksum-sha256", digest));
        }
        self.send("s3", Method::PUT, self.url(key), headers, data.into())
            .await
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        let answer = self
            .send(
                "s3",
                Method::DELETE,
                self.url(key),
                Vec::new(),
                Bytes::new(),
            )
            .await?;
        if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND {
            Ok(())
        } else {
            Err(answer.error(&format!("deleting {key}")))
        }
    }

    async fn row(&self, action: &str, request: Value) -> Result<Answer, Error> {
        let Some((_, url)) = &self.table else {
            return Err(Error::Remote("no DynamoDB table is set".to_owned()));
        };
        let headers = vec![
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("x-amz-target", format!("DynamoDB_20120810.{action}")),
        ];
        let data = Bytes::from(request.to_string());
        let mut url = url.clone();
        if url.path().is_empty() {
            url.set_path("/");
        }
        self.send("dynamodb", Method::POST, url, headers, data)
            .await
    }

    fn row_name(&self, object: &str) -> String {
        format!("{}/{object}", self.bucket)
    }

    /// One string of a row.
    async fn row_text(&self, row: &str, attribute: &str) -> Result<Option<String>, Error> {
        let Some((table, _)) = &self.table else {
            return Ok(None);
        };
        let request = json!({
            "TableName": table,
            "ConsistentRead": true,
            "Key": {"LockID": {"S": row}},
        });
        let answer = self.row("GetItem", request).await?;
        if !answer.status.is_success() {
            return Err(answer.error("reading the lock table"));
        }
        let found: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        Ok(found["Item"][attribute]["S"].as_str().map(str::to_owned))
    }

    async fn lock_row(&self, object: &str, info: &LockInfo) -> Result<(), Error> {
        let Some((table, _)) = &self.table else {
            return Ok(());
        };
        let row = self.row_name(object);
        let request = json!({
            "TableName": table,
            "ConditionExpression": "attribute_not_exists(LockID)",
            "Item": {
                "LockID": {"S": row},
                "Info": {"S": String::from_utf8_lossy(&info.to_json())},
            },
        });
        let answer = self.row("PutItem", request).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&answer.body);
        if !text.contains("ConditionalCheckFailed") {
            return Err(answer.error("taking the lock"));
        }
        let holder = self.row_text(&row, "Info").await?;
        Err(Error::Held {
            message: "ConditionalCheckFailedException: The conditional request failed".to_owned(),
            holder: holder
                .and_then(|text| LockInfo::from_json(text.as_bytes()))
                .map(Box::new),
        })
    }

    async fn lock_object(&self, object: &str, info: &LockInfo) -> Result<(), Error> {
        if !self.lock_object {
            return Ok(());
        }
        let key = format!("{object}.tflock");
        let answer = self.put(&key, info.to_json(), true).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        if !matches!(
            answer.status,
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT
        ) {
            return Err(answer.error("taking the lock"));
        }
        let holder = self.get(&key).await?;
        Err(Error::Held {
            message: format!("{} already exists", self.row_name(&key)),
            holder: holder
                .and_then(|bytes| LockInfo::from_json(&bytes))
                .map(Box::new),
        })
    }

    async fn unlock_row(&self, object: &str) -> Result<(), Error> {
        let Some((table, _)) = &self.table else {
            return Ok(());
        };
        let request = json!({
            "TableName": table,
            "Key": {"LockID": {"S": self.row_name(object)}},
        });
        let answer = self.row("DeleteItem", request).await?;
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(answer.error("giving up the lock"))
        }
    }

    /// Who holds the lock of an object.
    async fn holder(&self, object: &str) -> Result<Option<LockInfo>, Error> {
        let text = if self.table.is_some() {
            self.row_text(&self.row_name(object), "Info")
                .await?
                .map(String::into_bytes)
        } else {
            self.get(&format!("{object}.tflock")).await?
        };
        Ok(text.and_then(|bytes| LockInfo::from_json(&bytes)))
    }

    async fn put_digest(&self, object: &str, digest: Option<&[u8]>) -> Result<(), Error> {
        let Some((table, _)) = &self.table else {
            return Ok(());
        };
        let row = json!({"S": format!("{}-md5", self.row_name(object))});
        let answer = match digest {
            Some(digest) => {
                let item = json!({"LockID": row, "Digest": {"S": hex(digest)}});
                self.row("PutItem", json!({"TableName": table, "Item": item}))
                    .await?
            }
            None => {
                let key = json!({"LockID": row});
                self.row("DeleteItem", json!({"TableName": table, "Key": key}))
                    .await?
            }
        };
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(answer.error("failed to store state MD5"))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn hmac(key: &[u8], data: &[u8]) -> ring::hmac::Tag {
    ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key), data)
}

/// As AWS encodes paths and queries: everything but unreserved characters.
fn encoded(text: &str, path: bool) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            b'/' if path => out.push('/'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

impl Backend for S3 {
    fn workspaces(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        async move {
            let prefix = format!("{}/", self.0.prefix);
            let mut names = Vec::new();
            let mut more = String::new();
            loop {
                let mut url = self.0.objects.clone();
                if !url.path().ends_with('/') {
                    let path = format!("{}/", url.path());
                    url.set_path(&path);
                }
                let mut query = format!("list-type=2&prefix={}", encoded(&prefix, false));
                if !more.is_empty() {
                    query = format!("continuation-token={}&{query}", encoded(&more, false));
                }
                url.set_query(Some(&query));
                let answer = self
                    .0
                    .send("s3", Method::GET, url, Vec::new(), Bytes::new())
                    .await?;
                if !answer.status.is_success() {
                    return Err(answer.error("listing workspaces"));
                }
                let text = String::from_utf8_lossy(&answer.body);
                for key in elements(&text, "Key") {
                    let name = key
                        .strip_prefix(&prefix)
                        .and_then(|rest| rest.split_once('/'))
                        .filter(|(_, key)| *key == self.0.key)
                        .map(|(name, _)| name.to_owned());
                    names.extend(name);
                }
                match elements(&text, "NextContinuationToken").next() {
                    Some(token) => more = token,
                    None => break,
                }
            }
            names.sort();
            names.dedup();
            names.retain(|name| name != DEFAULT_WORKSPACE);
            names.insert(0, DEFAULT_WORKSPACE.to_owned());
            Ok(names)
        }
        .boxed()
    }

    fn create<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        // A workspace is there once it has state; the caller writes an empty one.
        async { Ok(()) }.boxed()
    }

    fn delete<'a>(&'a self, workspace: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if workspace == DEFAULT_WORKSPACE {
                return Err(Error::DefaultWorkspace);
            }
            let object = self.0.object(workspace);
            self.0.remove(&object).await?;
            self.0.put_digest(&object, None).await
        }
        .boxed()
    }

    fn snapshots(&self, workspace: &str) -> Result<Box<dyn Snapshots>, Error> {
        Ok(Box::new(S3Snapshots {
            object: self.0.object(workspace),
            store: Arc::clone(&self.0),
        }))
    }
}

/// The texts of all elements of that name in a small XML document without attributes.
fn elements<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = String> + 't {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let begin = rest.find(&open)? + open.len();
        let end = rest[begin..].find(&close)? + begin;
        let found = rest[begin..end]
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&amp;", "&");
        rest = &rest[end..];
        Some(found)
    })
}

struct S3Snapshots {
    store: Arc<Store>,
    object: String,
}

impl Snapshots for S3Snapshots {
    fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>> {
        async move {
            let row = format!("{}-md5", self.store.row_name(&self.object));
            let mut tries = 0;
            loop {
                let found = self.store.get(&self.object).await?;
                let expected = self.store.row_text(&row, "Digest").await?;
                let digest = found.as_ref().map(|bytes| hex(&Md5::digest(bytes)));
                match expected {
                    Some(expected) if digest.as_deref().unwrap_or_default() != expected => {
                        tries += 1;
                        if tries == 5 {
                            return Err(Error::Remote(format!(
                                "state data in S3 does not have the expected content: its digest \
                                 is {:?}, the table {row:?} says {expected:?}",
                                digest.unwrap_or_default()
                            )));
                        }
                        tokio::time::sleep(Duration::from_secs(2)).await;
                    }
                    _ => return Ok(found),
                }
            }
        }
        .boxed()
    }

    fn write(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let digest = Md5::digest(&bytes);
            let answer = self.store.put(&self.object, bytes, false).await?;
            if !answer.status.is_success() {
                return Err(answer.error("failed to upload state"));
            }
            self.store.put_digest(&self.object, Some(&digest)).await
        }
        .boxed()
    }

    fn lock<'a>(&'a self, info: &'a LockInfo) -> BoxFuture<'a, Result<String, Error>> {
        async move {
            if self.store.table.is_none() && !self.store.lock_object {
                return Ok(String::new());
            }
            let info = LockInfo {
                path: self.store.row_name(&self.object),
                ..info.clone()
            };
            self.store.lock_object(&self.object, &info).await?;
            if let Err(error) = self.store.lock_row(&self.object, &info).await {
                if self.store.lock_object {
                    self.store
                        .remove(&format!("{}.tflock", self.object))
                        .await?;
                }
                return Err(error);
            }
            Ok(info.id)
        }
        .boxed()
    }

    fn unlock<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if self.store.table.is_none() && !self.store.lock_object {
                return Ok(());
            }
            let holder = self.store.holder(&self.object).await?;
            let held = holder.ok_or(Error::NotLocked)?.id;
            if held != id {
                return Err(Error::OtherLock {
                    asked: id.to_owned(),
                    held,
                });
            }
            self.store.unlock_row(&self.object).await?;
            if self.store.lock_object {
                self.store
                    .remove(&format!("{}.tflock", self.object))
                    .await?;
            }
            Ok(())
        }
        .boxed()
    }
}
