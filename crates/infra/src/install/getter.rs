//! Fetching of module packages: by git, over HTTP as archives, and from directories.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::{StatusCode, Url};
use ring::digest;
use tokio::process::Command;

use super::archive::{Format, unpack};
use super::error::Error;
use super::hash::hex;
use super::http::{Http, shown};
use crate::config::ModuleSource;
use crate::config::source::split_forced;

/// How often one package may lead to another.
const MOST_HOPS: usize = 10;

/// Fetches a package into a directory that does not exist yet.
///
/// # Errors
/// When the way of fetching is not supported, or it fails; the text is meant to stand in a sentence.
pub(super) async fn fetch(http: &Http, package: &str, to: &Path) -> Result<(), Error> {
    let mut package = package.to_string();
    let mut inner = String::new();
    for _ in 0..MOST_HOPS {
        match step(http, &package, to).await? {
            None => return enter(to, &inner),
            Some(next) => {
                let next = resolve(&package, next);
                match ModuleSource::parse(&next).map_err(|error| Error::other(error.to_string()))? {
                    ModuleSource::Remote {
                        package: found,
                        subdir,
                    } => {
                        package = found;
                        if !subdir.is_empty() {
                            inner = if inner.is_empty() {
                                subdir
                            } else {
                                format!("{subdir}/{inner}")
                            };
                        }
                    }
                    other => {
                        return Err(Error::other(format!(
                            "the server refers to {other}, which is no package"
                        )));
                    }
                }
            }
        }
    }
    Err(Error::other(format!(
        "too many X-Terraform-Get redirections, the last to {package}"
    )))
}

/// What a server refers to, as a whole address.
fn resolve(package: &str, given: String) -> String {
    let relative = ["/", "./", "../"]
        .iter()
        .any(|prefix| given.starts_with(prefix));
    let resolved = Url::parse(split_forced(package).1)
        .ok()
        .filter(|_| relative)
        .and_then(|base| base.join(&given).ok());
    resolved.map_or(given, |url| url.to_string())
}

/// Makes a directory of the package the package.
fn enter(to: &Path, inner: &str) -> Result<(), Error> {
    if inner.is_empty() {
        return Ok(());
    }
    let from = to.join(inner);
    if !from.is_dir() {
        return Err(Error::other(format!("subdir {inner:?} not found")));
    }
    let beside = to.with_extension("entered");
    std::fs::rename(&from, &beside).map_err(Error::io("moving", &from))?;
    std::fs::remove_dir_all(to).map_err(Error::io("replacing", to))?;
    std::fs::rename(&beside, to).map_err(Error::io("moving", &beside))
}

/// Fetches a package, or says where a server refers to.
async fn step(http: &Http, package: &str, to: &Path) -> Result<Option<String>, Error> {
    let (forced, address) = split_forced(package);
    let mut url = Url::parse(address)
        .map_err(|error| Error::other(format!("invalid address {package}: {error}")))?;
    let method = forced.unwrap_or(url.scheme()).to_string();
    match method.as_str() {
        "git" => git(&mut url, to).await.map(|()| None),
        "http" | "https" => over_http(http, url, to).await,
        "file" => local(&url, to).map(|()| None),
        "s3" | "gcs" | "hg" => Err(Error::other(format!(
            "fetching modules by {method:?} is not supported; git, HTTP archives, registries and directories are"
        ))),
        other => Err(Error::other(format!(
            "download not supported for scheme '{other}'"
        ))),
    }
}

/// Takes an argument out of a URL's query.
fn take(url: &mut Url, name: &str) -> Option<String> {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let found = pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.clone());
    if found.is_some() {
        let rest: Vec<_> = pairs.into_iter().filter(|(key, _)| key != name).collect();
        if rest.is_empty() {
            url.set_query(None);
        } else {
            url.query_pairs_mut().clear().extend_pairs(rest);
        }
    }
    found.filter(|value| !value.is_empty())
}

async fn git(url: &mut Url, to: &Path) -> Result<(), Error> {
    let reference = take(url, "ref");
    let depth = take(url, "depth");
    let key = take(url, "sshkey");
    if depth
        .as_deref()
        .is_some_and(|depth| depth.parse::<u32>().is_err())
    {
        return Err(Error::other("the depth of a git clone must be a number"));
    }
    // A reference that looks like an option would be one.
    if reference
        .as_deref()
        .is_some_and(|reference| reference.starts_with('-'))
    {
        return Err(Error::other("a git reference must not start with a dash"));
    }
    let mut key_file = None;
    if let Some(key) = key {
        use base64::Engine as _;
        let key = base64::engine::general_purpose::STANDARD
            .decode(key)
            .map_err(|_| Error::other("the sshkey argument is not base64"))?;
        key_file = Some(KeyFile::write(to, &key)?);
    }
    let address = url.to_string();
    let is_commit = |reference: &str| {
        reference.len() >= 7 && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut arguments = vec!["clone".to_string()];
    if let Some(depth) = &depth {
        arguments.extend(["--depth".to_string(), depth.clone()]);
        // A shallow clone holds one branch or tag, which has to be named.
        if let Some(reference) = &reference {
            arguments.extend(["--branch".to_string(), reference.clone()]);
        }
    }
    arguments.extend([
        "--".to_string(),
        address.clone(),
        to.to_string_lossy().into_owned(),
    ]);
    let cloned = run_git(&arguments, None, key_file.as_ref()).await;
    if let Err(error) = cloned {
        let named = depth.is_some() && reference.as_deref().is_some_and(is_commit);
        return Err(if named {
            Error::other(format!(
                "{error} (note that setting 'depth' requires 'ref' to be a branch or tag name)"
            ))
        } else {
            error
        });
    }
    if let Some(reference) = reference.filter(|_| depth.is_none()) {
        run_git(
            &["checkout".to_string(), reference],
            Some(to),
            key_file.as_ref(),
        )
        .await?;
    }
    if to.join(".gitmodules").exists() {
        let mut arguments: Vec<String> = ["submodule", "update", "--init", "--recursive"]
            .map(str::to_string)
            .to_vec();
        if let Some(depth) = depth {
            arguments.extend(["--depth".to_string(), depth]);
        }
        run_git(&arguments, Some(to), key_file.as_ref()).await?;
    }
    Ok(())
}

/// A private key in a file that only its owner reads, gone afterwards.
struct KeyFile(PathBuf);

impl KeyFile {
    fn write(near: &Path, key: &[u8]) -> Result<Self, Error> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = near.with_extension(format!("key.{}", std::process::id()));
        let file = Self(path.clone());
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut opened| opened.write_all(key))
            .map_err(Error::io("writing", &path))?;
        Ok(file)
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn run_git(
    arguments: &[String],
    directory: Option<&Path>,
    key: Option<&KeyFile>,
) -> Result<(), Error> {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // Nobody is there to be asked for a password.
    command.env("GIT_TERMINAL_PROMPT", "0");
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    if let Some(key) = key {
        command.env(
            "GIT_SSH_COMMAND",
            format!("ssh -o StrictHostKeyChecking=no -i '{}'", key.0.display()),
        );
    }
    let output = command.output().await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            Error::other("git must be available and on the PATH")
        } else {
            Error::other(format!("running git: {error}"))
        }
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::other(format!(
        "error downloading by git {}: {}:\n{}",
        arguments[0],
        output.status,
        said.trim_end()
    )))
}

/// A copy of a directory; links are kept as they are.
fn local(url: &Url, to: &Path) -> Result<(), Error> {
    let from = url
        .to_file_path()
        .map_err(|()| Error::other(format!("invalid path {url}")))?;
    if !from.is_dir() {
        return Err(Error::other(format!(
            "error downloading '{url}': source path error: {} is no directory",
            from.display()
        )));
    }
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
    }
    std::os::unix::fs::symlink(&from, to).map_err(Error::io("linking", to))
}

async fn over_http(http: &Http, mut url: Url, to: &Path) -> Result<Option<String>, Error> {
    let checksum = take(&mut url, "checksum");
    let archive = take(&mut url, "archive");
    let format = match &archive {
        Some(argument) => Some(Format::of_argument(argument).ok_or_else(|| {
            Error::other(format!("archives of type {argument:?} are not supported"))
        })?),
        None => Format::of_name(url.path()),
    };
    let Some(format) = format else {
        let mut asked = url.clone();
        asked.query_pairs_mut().append_pair("terraform-get", "1");
        let answer = http.get(&asked, None).await?;
        if !answer.status.is_success() {
            return Err(Error::other(format!(
                "bad response code: {}",
                answer.status.as_u16()
            )));
        }
        let header = answer.header("x-terraform-get");
        if !header.is_empty() {
            return Ok(Some(header.to_string()));
        }
        return match meta_tag(&String::from_utf8_lossy(&answer.body)) {
            Some(found) => Ok(Some(found)),
            None => Err(Error::other(format!(
                "no source URL was returned by {}",
                shown(&url)
            ))),
        };
    };
    let parent = to.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
    let file = parent.join(format!(".package.{}", std::process::id()));
    let outcome = async {
        http.download(&url, None, &file)
            .await
            .map_err(|error| match error {
                Error::Status { status, .. } if status == StatusCode::NOT_FOUND => {
                    Error::other("bad response code: 404")
                }
                other => other,
            })?;
        if let Some(checksum) = checksum {
            check(http, &checksum, &url, &file).await?;
        }
        let (file, to) = (file.clone(), to.to_path_buf());
        tokio::task::spawn_blocking(move || unpack(&file, format, &to))
            .await
            .map_err(|error| Error::other(error.to_string()))?
    };
    let outcome = outcome.await;
    let _ = std::fs::remove_file(&file);
    outcome.map(|()| None)
}

/// `md5:..`, `sha1:..`, `sha256:..`, `sha512:..`, the digits alone, or `file:<url>` of a list of checksums.
async fn check(http: &Http, checksum: &str, url: &Url, file: &Path) -> Result<(), Error> {
    let mut wanted = checksum.to_string();
    if let Some(list) = checksum.strip_prefix("file:") {
        let list = url
            .join(list)
            .map_err(|error| Error::other(format!("invalid checksum file {list}: {error}")))?;
        let answer = http.get(&list, None).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.unexpected());
        }
        let name = url
            .path_segments()
            .and_then(|mut segments| segments.next_back())
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let mut lines = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let digest = words.next()?;
            let listed = words
                .next()
                .map(|name| name.trim_start_matches(['*', '.', '/']));
            (listed.is_none() || listed == Some(name)).then(|| digest.to_string())
        });
        wanted = lines
            .next()
            .ok_or_else(|| Error::Mismatch(format!("no checksum found in: {list}")))?;
    }
    let (kind, digits) = match wanted.split_once(':') {
        Some((kind, digits)) => (kind, digits),
        None => match wanted.len() {
            32 => ("md5", wanted.as_str()),
            40 => ("sha1", wanted.as_str()),
            64 => ("sha256", wanted.as_str()),
            128 => ("sha512", wanted.as_str()),
            _ => ("", wanted.as_str()),
        },
    };
    let algorithm = match kind {
        "md5" => None,
        "sha1" => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        "sha256" => Some(&digest::SHA256),
        "sha512" => Some(&digest::SHA512),
        _ => {
            return Err(Error::other(format!(
                "unsupported checksum {checksum:?}: md5, sha1, sha256 and sha512 are supported"
            )));
        }
    };
    let content = std::fs::read(file).map_err(Error::io("reading", file))?;
    let actual = match algorithm {
        Some(algorithm) => hex(digest::digest(algorithm, &content).as_ref()),
        None => hex(&<md5::Md5 as md5::Digest>::digest(&content)),
    };
    if actual.eq_ignore_ascii_case(digits) {
        return Ok(());
    }
    Err(Error::Mismatch(format!(
        "Checksums did not match for {}.\nExpected: {digits}\nGot: {actual}",
        shown(url)
    )))
}

/// The content of `<meta name="terraform-get" content="..">` in a page.
fn meta_tag(page: &str) -> Option<String> {
    page.split("<meta").skip(1).find_map(|tag| {
        let tag = tag.split('>').next()?;
        let attribute = |name: &str| {
            let at = tag.find(&format!("{name}="))? + name.len() + 1;
            let quote = tag[at..]
                .chars()
                .next()
                .filter(|quote| "\"'".contains(*quote))?;
            tag[at + 1..].split(quote).next().map(str::to_owned)
        };
        (attribute("name")? == "terraform-get").then(|| attribute("content"))?
    })
}

/// The directory below a package that a source names; a pattern such as `modules-*` must fit one directory.
pub(super) fn expand_subdir(package: &Path, subdir: &str) -> Result<PathBuf, Error> {
    let mut found = vec![package.to_path_buf()];
    for part in subdir
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        if part == ".." {
            return Err(Error::other(format!(
                "subdir {subdir:?} leads outside of the package"
            )));
        }
        found = if part.contains(['*', '?']) {
            let entries = found
                .iter()
                .flat_map(|directory| std::fs::read_dir(directory).into_iter().flatten());
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| {
                    path.file_name()
                        .and_then(|name| name.to_str())
                        .is_some_and(|name| fits(part.as_bytes(), name.as_bytes()))
                })
                .collect()
        } else {
            found
                .into_iter()
                .map(|directory| directory.join(part))
                .filter(|path| path.exists())
                .collect()
        };
    }
    match found.as_slice() {
        [] => Err(Error::other(format!("subdir {subdir:?} not found"))),
        [one] => Ok(one.clone()),
        _ => Err(Error::other(format!(
            "subdir {subdir:?} matches multiple paths"
        ))),
    }
}

/// Whether a name fits a pattern of `*` and `?`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    n = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}
