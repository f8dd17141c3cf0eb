//! `plan -generate-config-out`: configuration for imports that have none.

use std::path::Path;

use consort_hcl::diagnostic::Diagnostic;
use consort_infra::engine::{Generated, PlanOptions, Silent, generate_config};
use consort_infra::generate_config::{HEADER, entry};
use consort_infra::state::State;
use tokio_util::sync::CancellationToken;

use super::Failed;
use crate::tf::place::error;
use crate::tf::session::Session;

/// What is said wherever configuration was generated.
pub(super) fn warning() -> Diagnostic {
    Diagnostic::warning(
        "Config generation is experimental",
        "Generating configuration during import is currently experimental, and the generated configuration format may \
         change in future versions.",
    )
}

/// Writes blocks for imports without one to a new file, and adds them to the configuration.
pub(super) async fn generate(
    session: &mut Session,
    options: &PlanOptions,
    state: &State,
    path: &str,
    cancel: &CancellationToken,
) -> Result<Vec<Generated>, Failed> {
    if Path::new(path).exists() {
        return Err(error(
            "Target generated file already exists",
            "Terraform can only write generated config into a new file. Either choose a different target location or \
             move all existing configuration out of the target file, delete it and try again.",
        )
        .into());
    }
    let (generated, found) = {
        let input = session.input(&Silent, cancel.clone());
        generate_config(&input, options, state).await
    };
    if found.has_errors() {
        return Err(found.into());
    }
    if generated.is_empty() {
        return Ok(generated);
    }
    let mut text = HEADER.to_owned();
    for one in &generated {
        text.push_str(&entry(&one.id, &one.block));
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|failed| {
            let why = if failed.kind() == std::io::ErrorKind::PermissionDenied {
                format!(
                    "Terraform did not have permission to create the generated file ({path}) in the target directory. \
                     Please modify permissions over the target directory, and try again."
                )
            } else {
                format!(
                    "Terraform could not create the generated file ({path}) in the target directory: open {path}: \
                     {}. Depending on the error message, this may be a bug in Terraform itself. If so, please report it!",
                    said(&failed)
                )
            };
            error("Failed to create target generated file", why)
        })?;
    // A saved plan keeps the files of the module: what stands elsewhere goes by a name among them.
    let target = Path::new(path);
    let among = target.extension().is_some_and(|kind| kind == "tf")
        && target
            .parent()
            .is_none_or(|parent| matches!(parent.to_str(), Some("" | ".")));
    let name = if among { path } else { "__generated__.tf" };
    session.tree = session
        .tree
        .with_resources(name, &text, &mut session.sources)?;
    Ok(generated)
}

/// In the words of the system.
fn said(failed: &std::io::Error) -> String {
    match failed.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => failed.to_string(),
    }
}
