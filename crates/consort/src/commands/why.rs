//! `consort why`: what led to anything being as it is.

use consort_score::records::Records;
use consort_score::{NAMESPACE, why};
use jiff::Timestamp;
use serde_json::json;

use crate::cli::Why;
use crate::connect::connect;
use crate::error::{Failure, Kind, Result};
use crate::output;
use crate::render::style;
use crate::scores::failure;

/// Explains an object, a resource of a score, an operation or a blueprint.
pub(super) async fn run(args: Why) -> Result<()> {
    let word = match args.what.as_slice() {
        [one] => one.clone(),
        // As `kubectl` takes them, too: KIND NAME.
        [kind, name] if !kind.contains('/') && !name.contains('/') => format!("{kind}/{name}"),
        _ => {
            return Err(Failure::new(
                Kind::Usage,
                "name one thing: pod/web, infra/aws_instance.web, an operation (shop-4) or a blueprint",
            ));
        }
    };
    let connection = connect(&args.target).await?;
    let records = Records::new(
        connection.client.clone(),
        args.records.as_deref().unwrap_or(NAMESPACE),
    );
    let cause = why::why(
        &records,
        &word,
        &connection.namespace,
        args.score.as_deref(),
    )
    .await
    .map_err(|error| match error {
        why::Error::Subject(what) => {
            Failure::new(Kind::Input, what).hint("see `consort history` for what scores have done")
        }
        why::Error::Discovery(error) => error.into(),
        why::Error::Records(error) => failure(&error),
    })?;
    let now = Timestamp::now();
    if args.json {
        let value = json!({"format": 1, "type": "why", "subject": word, "time": now, "cause": why::json(&cause)});
        output::print(&format!("{value}\n"));
    } else {
        output::print(&why::text(&cause, now, &style()));
    }
    Ok(())
}
