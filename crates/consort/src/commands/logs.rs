//! `consort logs`.

use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use super::pods;
use crate::cli::Logs;
use crate::connect::connect;
use crate::error::Result;
use crate::output;

/// Prints a container's output, as the server sends it.
pub(super) async fn run(args: Logs) -> Result<()> {
    let connection = connect(&args.target).await?;
    let pod = pods::find(&connection, &args.what).await?;
    let params = LogParams {
        container: pods::container(&pod, args.container),
        follow: args.follow,
        previous: args.previous,
        timestamps: args.timestamps,
        tail_lines: args.tail,
        since_seconds: args
            .since
            .map(|since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
        ..LogParams::default()
    };
    let api: Api<Pod> = Api::namespaced(connection.client, &connection.namespace);
    let name = pod.metadata.name.unwrap_or_default();
    let mut stream = Box::pin(api.log_stream(&name, &params).await?);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        output::print_bytes(&buffer[..read]);
    }
}
