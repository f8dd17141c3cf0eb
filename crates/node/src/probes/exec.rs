//! Probing and hooks by a command inside the container.

use std::time::Duration;

use consort_runtime::{Container, ExecSpec, Output};
use tokio::io::AsyncReadExt;

use super::Answer;

/// Most bytes of output that go into an event.
const OUTPUT_MAX: u64 = 10 * 1024;

pub(super) async fn ask(container: &Container, command: &[String], timeout: Duration) -> Answer {
    match tokio::time::timeout(timeout, run(container, command)).await {
        Ok(Ok((0, _))) => Answer::Success,
        Ok(Ok((_, output))) => Answer::Failure(output),
        Ok(Err(message)) => Answer::Error(message),
        Err(_) => Answer::Failure(format!(
            "command timed out: {:?} timed out after {}s",
            command.join(" "),
            timeout.as_secs()
        )),
    }
}

/// Runs a command in a container; gives its exit code and the beginning of its output.
///
/// Dropping the future kills the command.
///
/// # Errors
/// When the command could not be run at all.
pub(crate) async fn run(
    container: &Container,
    command: &[String],
) -> Result<(i32, String), String> {
    let spec = ExecSpec {
        args: command.to_vec(),
        ..ExecSpec::default()
    };
    let mut exec = container
        .exec(spec)
        .await
        .map_err(|error| error.to_string())?;
    let (stdout, stderr) = (exec.stdout.take(), exec.stderr.take());
    // A command that leaves a child behind keeps the pipes open: its own end is what counts.
    let output = futures::future::join(read(stdout), read(stderr));
    tokio::pin!(output);
    let mut collected = None;
    let code = loop {
        tokio::select! {
            code = exec.wait() => break code.map_err(|error| error.to_string())?,
            both = &mut output, if collected.is_none() => collected = Some(both),
        }
    };
    let (out, err) = match collected {
        Some(both) => both,
        None => tokio::time::timeout(Duration::from_millis(200), output)
            .await
            .unwrap_or_default(),
    };
    Ok((code, out + &err))
}

async fn read(stream: Option<Output>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut kept = Vec::new();
    // What cannot be read any more is simply not part of the message.
    let _ = (&mut stream).take(OUTPUT_MAX).read_to_end(&mut kept).await;
    let text = String::from_utf8_lossy(&kept).into_owned();
    // The rest is drained, or the command would block on a full pipe.
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    text
}
