//! What `--version` and `-vv` say.

use super::session::Session;

/// The version of ansible-core whose behaviour this is.
pub use crate::settings::ANSIBLE_VERSION;

/// The text for a program of a name.
pub(super) fn text(program: &str, session: &Session) -> String {
    let settings = &session.settings;
    let file = session
        .sources
        .file
        .as_ref()
        .map_or_else(|| "None".to_owned(), |file| file.display().to_string());
    let modules = consort_jinja::repr::repr(&consort_jinja::Value::list(
        settings
            .module_path
            .iter()
            .map(|path| consort_jinja::Value::from(path.as_str()))
            .collect(),
    ));
    let executable = std::env::current_exe().map_or_else(
        |_| program.to_owned(),
        |path| path.to_string_lossy().into_owned(),
    );
    format!(
        "{program} [core {ANSIBLE_VERSION}] consort {}\n  config file = {file}\n  configured module search path = {modules}\n  \
         ansible collection location = {}\n  executable location = {executable}",
        env!("CARGO_PKG_VERSION"),
        settings.collections_paths.join(":"),
    )
}
