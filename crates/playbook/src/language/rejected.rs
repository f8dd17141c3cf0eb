//! Modules that the controller's administrator took away: the file that `plugin_filters_cfg` names.

use std::collections::HashSet;
use std::path::Path;

use crate::settings::Settings;
use crate::source::{Located, Notice, Reader};

/// The file that is read where the settings name none.
const USUAL: &str = "/etc/ansible/plugin_filters.yml";

/// The names of modules and actions that are not to be had.
///
/// # Errors
/// `stat` is among them, without which little works.
pub(super) fn of(settings: &Settings, reader: &Reader) -> Result<HashSet<String>, Located> {
    let path = settings.plugin_filters_cfg.as_deref().unwrap_or(USUAL);
    let warn = |message: String| reader.notice(Notice::Warning(Located::new(message)));
    let none = || Ok(HashSet::new());
    if !Path::new(path).exists() {
        if settings.plugin_filters_cfg.is_some() {
            warn(format!(
                "The plugin filter file, {path} does not exist. Skipping."
            ));
        }
        return none();
    }
    let data = match reader.load(Path::new(path), false) {
        Ok((data, _)) => data,
        Err(error) => {
            warn(format!(
                "The plugin filter file, {path} was not parsable. Skipping: {}",
                error.brief()
            ));
            return none();
        }
    };
    let Some(version) = data.as_ref().and_then(|data| data.get("filter_version")) else {
        warn(format!(
            "The plugin filter file, {path} was invalid. Skipping."
        ));
        return none();
    };
    if super::python::shown(version).trim() != "1.0" {
        warn(format!(
            "The plugin filter file, {path} was a version not recognized by this version of Ansible. Skipping."
        ));
        return none();
    }
    let Some(names) = data
        .as_ref()
        .and_then(|data| data.get("module_rejectlist"))
        .and_then(|names| names.sequence())
    else {
        warn(format!(
            "Unable to parse the plugin filter file {path} as module_rejectlist is not a list. Skipping."
        ));
        return none();
    };
    let names: HashSet<String> = names.iter().map(super::python::shown).collect();
    if names.contains("stat") {
        return Err(Located::new(format!(
            "The stat module was specified in the module reject list file, {path}, but Ansible will not function without the \
             stat module.  Please remove stat from the reject list."
        )));
    }
    Ok(names)
}
