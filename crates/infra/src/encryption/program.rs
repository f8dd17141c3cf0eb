//! Programs of the user's own that give keys, seal or open: OpenTofu's `external` protocol, version 1.
//!
//! The program is given JSON on its standard input, and answers with a line of JSON that says what it is, and
//! then JSON to the end.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::keys::{Keys, base64_bytes};

const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer that is read.
const LONGEST: u64 = 1 << 30;
/// How much of its complaints is shown.
const SHOWN: u64 = 16 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyAnswer {
    keys: Keys,
    #[serde(default)]
    meta: Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    #[serde(with = "base64_bytes")]
    payload: Vec<u8>,
}

/// Keys, and what has to be kept of them.
pub(super) async fn keys(
    command: &[String],
    metadata: Option<&[u8]>,
) -> Result<(Keys, Vec<u8>), String> {
    let input = match metadata {
        None => b"null".to_vec(),
        Some(metadata) => {
            let kept: Json = serde_json::from_slice(metadata).map_err(|error| error.to_string())?;
            if kept["external_data"].is_null() {
                b"null".to_vec()
            } else {
                metadata.to_vec()
            }
        }
    };
    let (body, said) = run(command, input, "OpenTofu-External-Key-Provider").await?;
    let answer: KeyAnswer = serde_json::from_slice(&body).map_err(|error| {
        format!("the external command returned an invalid JSON response ({error}){said}")
    })?;
    let external = answer.meta["external_data"].clone();
    let metadata = serde_json::to_vec(&json!({"external_data": external})).unwrap_or_default();
    Ok((answer.keys, metadata))
}

/// What a program makes of `data`.
pub(super) async fn transform(
    command: &[String],
    key: &[u8],
    data: Vec<u8>,
) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut input = json!({"payload": encode(&data)});
    if !key.is_empty() {
        input["key"] = encode(key).into();
    }
    let input = serde_json::to_vec(&input).unwrap_or_default();
    let (body, said) = run(command, input, "OpenTofu-External-Encryption-Method").await?;
    let answer: Payload = serde_json::from_slice(&body).map_err(|error| {
        format!("external encryption method returned an invalid JSON: {error}{said}")
    })?;
    Ok(answer.payload)
}

/// Runs a program, and gives what follows its first line, and its complaints for messages.
async fn run(command: &[String], input: Vec<u8>, magic: &str) -> Result<(Vec<u8>, String), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("the command option is required".to_owned());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("the external command {program:?} cannot be started: {error}"))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let talk = async {
        let write = async move {
            if let Some(mut stdin) = stdin {
                // A program that does not read what it is told may still answer.
                let _ = stdin.write_all(&input).await;
            }
        };
        let read = async move {
            let mut answer = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(LONGEST).read_to_end(&mut answer).await?;
            }
            Ok::<_, std::io::Error>(answer)
        };
        let complain = async move {
            let mut said = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = (&mut stderr).take(SHOWN).read_to_end(&mut said).await;
                let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
            }
            String::from_utf8_lossy(&said).into_owned()
        };
        let ((), answer, said) = tokio::join!(write, read, complain);
        (child.wait().await, answer, said)
    };
    let (status, answer, said) = tokio::time::timeout(TIMEOUT, talk)
        .await
        .map_err(|_| format!("the external command {program:?} did not end within a minute"))?;
    let said = if said.is_empty() {
        String::new()
    } else {
        format!("\n\nStderr:\n-------\n{said}")
    };
    let status = status.map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!(
            "the external command exited with a non-zero exit code ({status}){said}"
        ));
    }
    let answer = answer.map_err(|error| error.to_string())?;
    let end = answer
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| format!("the external command wrote no header{said}"))?;
    let header: Json = serde_json::from_slice(&answer[..end])
        .map_err(|error| format!("failed to unmarshal header from external command ({error})"))?;
    if header["magic"] != magic {
        return Err(format!(
            "invalid magic received from external command: {}",
            header["magic"].as_str().unwrap_or_default()
        ));
    }
    if header["version"] != 1 {
        return Err(format!(
            "invalid version number received from external command: {}",
            header["version"]
        ));
    }
    Ok((answer[end + 1..].to_vec(), said))
}
