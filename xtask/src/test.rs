//! Runs every test of the workspace.

use std::env;
use std::process::Command;

use anyhow::{Context as _, bail};

/// `cargo test --workspace`, to the end even if a part fails; `args` are added.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(args)
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("cargo test ended with {status}");
    }
    Ok(())
}
