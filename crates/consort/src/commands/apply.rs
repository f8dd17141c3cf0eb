//! `consort apply`.

use crate::apply::{Applier, sort};
use crate::cli::Apply;
use crate::connect::connect;
use crate::error::Result;
use crate::manifests;
use crate::output;
use crate::resources::Resources;

/// Applies the files' objects, in an order in which what is referred to comes first.
pub(super) async fn run(args: Apply) -> Result<()> {
    let mut manifests = manifests::read(&args.files)?;
    sort(&mut manifests);
    let connection = connect(&args.target).await?;
    let resources = Resources::discover(&connection.client).await?;
    let applier = Applier {
        client: &connection.client,
        resources: &resources,
        namespace: &connection.namespace,
        dry_run: args.dry_run,
        force: args.force_conflicts,
    };
    let note = if args.dry_run { " (dry run)" } else { "" };
    for manifest in &manifests {
        let applied = applier.apply(manifest).await?;
        output::print(&format!(
            "{} {}{note}\n",
            applied.title(),
            applied.outcome.word()
        ));
    }
    Ok(())
}
