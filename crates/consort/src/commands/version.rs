//! `consort version`.

use crate::cli::Version;
use crate::output;

/// The Kubernetes version whose API is served.
const KUBERNETES: &str = "1.37";

/// Prints which build this is.
pub(super) fn run(args: &Version) {
    let version = env!("CARGO_PKG_VERSION");
    if args.json {
        let value = serde_json::json!({
            "version": version,
            "kubernetes": KUBERNETES,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
        });
        output::print(&format!("{value:#}\n"));
    } else {
        output::print(&format!(
            "consort {version} (Kubernetes API {KUBERNETES})\n"
        ));
    }
}
