//! Providers from their registries (the provider registry protocol) and from network mirrors (the mirror protocol).

use std::collections::HashMap;

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::error::Error;
use super::hash::Hash;
use super::http::{Answer, Http, shown};
use super::platform::Platform;
use crate::address::ProviderSource;
use crate::version::Version;

/// The service id in discovery.
const SERVICE: &str = "providers.v1";

/// The plugin protocols this program speaks, by their major numbers.
const PROTOCOLS: [u64; 2] = [5, 6];

/// A package that can be downloaded, with all that says what it must be.
#[derive(Clone, Debug)]
pub(super) struct RemotePackage {
    pub(super) url: Url,
    /// Its digest by the registry.
    pub(super) digest: Option<String>,
    /// One of these it must have, by a mirror.
    pub(super) hashes: Vec<Hash>,
    pub(super) signed: Option<Signed>,
}

/// A signed list of digests.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) filename: String,
    pub(super) document: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) keys: Vec<String>,
}

#[derive(Deserialize)]
struct Versions {
    #[serde(default)]
    versions: Vec<OneVersion>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct OneVersion {
    version: String,
}

#[derive(Deserialize)]
struct Download {
    #[serde(default)]
    protocols: Vec<String>,
    os: String,
    arch: String,
    filename: String,
    #[serde(rename = "download_url")]
    url: String,
    shasum: String,
    shasums_url: String,
    shasums_signature_url: String,
    #[serde(default)]
    signing_keys: Keys,
}

#[derive(Deserialize, Default)]
struct Keys {
    #[serde(default)]
    gpg_public_keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    ascii_armor: String,
}

fn unauthorized(http: &Http, host: &str) -> Error {
    Error::Unauthorized(if http.has_token(host) {
        format!("host {host} rejected the given authentication credentials")
    } else {
        format!("host {host} requires authentication credentials")
    })
}

fn relative(answer: &Answer, what: &str, given: &str) -> Result<Url, Error> {
    answer
        .url
        .join(given)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| {
            Error::other(format!(
                "registry response includes invalid {what}: must use http or https scheme"
            ))
        })
}

async fn base(http: &Http, provider: &ProviderSource) -> Result<Url, Error> {
    http.service(&provider.host, SERVICE).await?.ok_or_else(|| {
        Error::other(format!(
            "host {} does not offer a Terraform provider registry",
            provider.host
        ))
    })
}

/// The versions a registry has of a provider, and what it wants to say about it.
pub(super) async fn versions(
    http: &Http,
    provider: &ProviderSource,
) -> Result<(Vec<Version>, Vec<String>), Error> {
    let base = base(http, provider).await?;
    let url = base
        .join(&format!(
            "{}/{}/versions",
            provider.namespace, provider.kind
        ))
        .map_err(|error| Error::other(error.to_string()))?;
    let answer = http.get(&url, Some(&provider.host)).await?;
    match answer.status {
        StatusCode::OK => {
            let listed: Versions = answer.json()?;
            let versions = listed
                .versions
                .iter()
                .filter_map(|one| one.version.parse().ok())
                .collect();
            Ok((versions, listed.warnings.unwrap_or_default()))
        }
        StatusCode::NOT_FOUND => Err(Error::NotFound(format!(
            "provider registry {} does not have a provider named {provider}",
            provider.host
        ))),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(unauthorized(http, &provider.host)),
        _ => Err(answer.unexpected()),
    }
}

/// The package of a version for a platform, with the signed list of digests.
pub(super) async fn package(
    http: &Http,
    provider: &ProviderSource,
    version: &Version,
    platform: &Platform,
) -> Result<RemotePackage, Error> {
    let base = base(http, provider).await?;
    let path = format!(
        "{}/{}/{version}/download/{}/{}",
        provider.namespace, provider.kind, platform.os, platform.arch
    );
    let url = base
        .join(&path)
        .map_err(|error| Error::other(error.to_string()))?;
    let answer = http.get(&url, Some(&provider.host)).await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => {
            return Err(Error::NotFound(format!(
                "provider {provider} {version} is not available for {platform}"
            )));
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(unauthorized(http, &provider.host));
        }
        _ => return Err(answer.unexpected()),
    }
    let download: Download = answer.json()?;
    if download.os != platform.os || download.arch != platform.arch {
        return Err(Error::Mismatch(format!(
            "registry response to request for {platform} archive has incorrect target {}_{}",
            download.os, download.arch
        )));
    }
    let spoken = |protocol: &String| {
        protocol
            .parse::<Version>()
            .is_ok_and(|version| PROTOCOLS.contains(&version.number(0)))
    };
    if !download.protocols.is_empty() && !download.protocols.iter().any(spoken) {
        return Err(Error::Mismatch(format!(
            "provider {provider} {version} speaks plugin protocol {}, and only 5 and 6 are supported",
            download.protocols.join(", ")
        )));
    }
    let url = relative(&answer, "download URL", &download.url)?;
    let document = file(
        http,
        &relative(&answer, "SHASUMS URL", &download.shasums_url)?,
    )
    .await?;
    let signature = file(
        http,
        &relative(
            &answer,
            "SHASUMS signature URL",
            &download.shasums_signature_url,
        )?,
    )
    .await?;
    Ok(RemotePackage {
        url,
        digest: Some(download.shasum.to_lowercase()),
        hashes: Vec::new(),
        signed: Some(Signed {
            filename: download.filename,
            document,
            signature,
            keys: download
                .signing_keys
                .gpg_public_keys
                .into_iter()
                .map(|key| key.ascii_armor)
                .collect(),
        }),
    })
}

async fn file(http: &Http, url: &Url) -> Result<Vec<u8>, Error> {
    let answer = http.get(url, None).await?;
    if answer.status != StatusCode::OK {
        return Err(Error::Status {
            url: shown(url),
            status: answer.status,
        });
    }
    Ok(answer.body)
}

#[derive(Deserialize)]
struct MirrorIndex {
    #[serde(default)]
    versions: HashMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct MirrorVersion {
    #[serde(default)]
    archives: HashMap<String, MirrorArchive>,
}

#[derive(Deserialize)]
struct MirrorArchive {
    url: String,
    #[serde(default)]
    hashes: Vec<String>,
}

fn mirror_url(mirror: &str, provider: &ProviderSource, file: &str) -> Result<Url, Error> {
    let base = if mirror.ends_with('/') {
        mirror.to_string()
    } else {
        format!("{mirror}/")
    };
    Url::parse(&base)
        .and_then(|base| {
            base.join(&format!(
                "{}/{}/{}/{file}",
                provider.host, provider.namespace, provider.kind
            ))
        })
        .map_err(|error| Error::other(format!("invalid network mirror URL {mirror}: {error}")))
}

/// Host and port of a URL, as credentials have them.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_string(), |port| format!("{host}:{port}"))
}

async fn mirror_get(http: &Http, url: &Url) -> Result<Answer, Error> {
    let host = host_of(url);
    let answer = http.get(url, Some(&host)).await?;
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(unauthorized(http, &host)),
        StatusCode::OK => {
            let kind = answer.header("content-type");
            if kind.split(';').next().map(str::trim) == Some("application/json") {
                Ok(answer)
            } else {
                Err(Error::Http {
                    url: shown(url),
                    reason: "response has invalid Content-Type: must be application/json"
                        .to_string(),
                })
            }
        }
        _ => Ok(answer),
    }
}

/// The versions a mirror has of a provider.
pub(super) async fn mirror_versions(
    http: &Http,
    mirror: &str,
    provider: &ProviderSource,
) -> Result<Vec<Version>, Error> {
    let answer = mirror_get(http, &mirror_url(mirror, provider, "index.json")?).await?;
    match answer.status {
        StatusCode::OK => {
            let index: MirrorIndex = answer.json()?;
            Ok(index
                .versions
                .keys()
                .filter_map(|version| version.parse().ok())
                .collect())
        }
        StatusCode::NOT_FOUND => Err(Error::NotFound(format!(
            "provider mirror {mirror} does not have {provider}"
        ))),
        _ => Err(answer.unexpected()),
    }
}

/// The package of a version for a platform in a mirror.
pub(super) async fn mirror_package(
    http: &Http,
    mirror: &str,
    provider: &ProviderSource,
    version: &Version,
    platform: &Platform,
) -> Result<RemotePackage, Error> {
    let answer = mirror_get(
        http,
        &mirror_url(mirror, provider, &format!("{version}.json"))?,
    )
    .await?;
    if answer.status != StatusCode::OK {
        return Err(answer.unexpected());
    }
    let listed: MirrorVersion = answer.json()?;
    let Some(archive) = listed.archives.get(&platform.to_string()) else {
        return Err(Error::NotFound(format!(
            "provider mirror {mirror} does not have a package of {provider} {version} for {platform}"
        )));
    };
    let invalid = |why: String| Error::Http {
        url: shown(&answer.url),
        reason: why,
    };
    let url = answer.url.join(&archive.url).map_err(|_| {
        invalid(format!(
            "provider mirror returned invalid URL {:?}",
            archive.url
        ))
    })?;
    let hashes = archive
        .hashes
        .iter()
        .map(|text| {
            Hash::parse(text).map_err(|why| {
                invalid(format!(
                    "provider mirror returned invalid provider hash {text:?}: {why}"
                ))
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(RemotePackage {
        url,
        digest: None,
        hashes,
        signed: None,
    })
}
