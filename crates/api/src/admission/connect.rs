//! Admission of connections to objects: `exec`, `attach`, `portforward`, `proxy`.

use super::{Operation, Request, mutate, validate};
use crate::call::Call;
use crate::error::Outcome;
use crate::kind::Kind;
use crate::values::set;
use serde_json::{Value, json};

/// Ask webhooks and policies whether a caller may connect.
///
/// # Errors
/// If one refuses.
pub(crate) async fn connect(
    call: &Call,
    kind: &Kind,
    subresource: &str,
    namespace: Option<&str>,
    name: &str,
    path: &str,
) -> Outcome<()> {
    let request = Request {
        inner: &call.inner,
        registry: &call.registry,
        user: &call.user,
        kind,
        subresource,
        operation: Operation::Connect,
        namespace,
        name,
        dry_run: false,
        manager: None,
        trail: call.trail.as_deref(),
    };
    let mut options = options(call, kind, subresource, path);
    mutate(&request, &mut options, None).await?;
    validate(&request, Some(&options), None).await?;
    Ok(())
}

/// The object that stands for what a connection is asked for.
fn options(call: &Call, kind: &Kind, subresource: &str, path: &str) -> Value {
    let name = match subresource {
        "exec" => "PodExecOptions",
        "attach" => "PodAttachOptions",
        "portforward" => "PodPortForwardOptions",
        _ => match kind.plural.as_str() {
            "services" => "ServiceProxyOptions",
            "nodes" => "NodeProxyOptions",
            _ => "PodProxyOptions",
        },
    };
    let mut object = json!({"kind": name, "apiVersion": "v1"});
    match subresource {
        "exec" | "attach" => {
            for flag in ["stdin", "stdout", "stderr", "tty"] {
                if call.query.flag(flag) {
                    set(&mut object, flag, true);
                }
            }
            if let Some(container) = call.query.text("container") {
                set(&mut object, "container", container);
            }
            if subresource == "exec" {
                let command: Vec<&str> = call.query.all("command").collect();
                set(&mut object, "command", json!(command));
            }
        }
        "portforward" => {
            let ports: Vec<i64> = call
                .query
                .all("ports")
                .flat_map(|ports| ports.split(','))
                .filter_map(|port| port.parse().ok())
                .collect();
            set(&mut object, "ports", json!(ports));
        }
        _ => set(&mut object, "path", path),
    }
    object
}
