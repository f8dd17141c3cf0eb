//! `postStart` and `preStop`: what a container asks to be done around its life.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::probes;

/// Runs a hook to its end. Dropping the future ends it.
///
/// # Errors
/// A message for the event.
pub(crate) async fn run(
    handler: &LifecycleHandler,
    spec: &Container,
    container: &consort_runtime::Container,
    pod_ip: &str,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        let command = action.command.as_deref().unwrap_or_default();
        let (code, output) = probes::run_command(container, command).await?;
        if code != 0 {
            return Err(format!(
                "command '{}' exited with {code}: {output}",
                command.join(" ")
            ));
        }
    } else if let Some(action) = &handler.http_get {
        let request = probes::request_of(action, spec, pod_ip)?;
        let status = probes::get(&request).await?;
        if status.is_client_error() || status.is_server_error() {
            return Err(format!(
                "HTTP hook answered with status {}",
                status.as_u16()
            ));
        }
    } else if let Some(action) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(
            u64::try_from(action.seconds).unwrap_or(0),
        ))
        .await;
    }
    // `tcpSocket` is accepted by the API and, as upstream, does nothing.
    Ok(())
}
