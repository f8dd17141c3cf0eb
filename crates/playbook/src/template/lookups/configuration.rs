//! Settings.

use consort_jinja::{Error, Result, Str, Value, repr};

use super::Call;
use crate::template::context::refused;

pub(super) fn config(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let missing = call.choice("config", "on_missing", &["error", "skip", "warn"])?;
    let origin = call.flag("show_origin", false)?;
    match (call.option("plugin_type"), call.option("plugin_name")) {
        (None, None) => {}
        (Some(kind), Some(name)) => return of_plugin(call, &kind, &name, missing, origin),
        _ => {
            return refused(
                "Both plugin_type and plugin_name are required, cannot use one without the other.",
            );
        }
    }
    let shown = |value, from: String| {
        if origin {
            Value::list(vec![value, Value::from(from)])
        } else {
            value
        }
    };
    let mut found = Vec::new();
    for term in call.terms.clone() {
        let Value::Str(name) = &term else {
            return refused(format!(
                "Invalid setting identifier, {} is not a <class 'str'>, its a <class '{}'>.",
                repr::repr(&term),
                term.type_name()
            ));
        };
        let context = call.context();
        match context.options.sources.value(name) {
            Some(value) => {
                let (value, from) = value.map_err(|error| Error::failed(error.brief()))?;
                found.push(shown(value, from));
            }
            None => match of_core(call, name) {
                Some((value, from)) => found.push(shown(value, from)),
                None => {
                    let unknown =
                        format!("No config definition exists for {}.", repr::string(name));
                    match missing {
                        "skip" => {}
                        "warn" => call
                            .context()
                            .warn(format!("Skipping {}: {unknown}", &**name)),
                        _ => return refused(unknown),
                    }
                }
            },
        }
    }
    Ok(found)
}

/// A setting that only ansible-core knows, where that is installed.
fn of_core(call: &Call<'_, '_, '_, '_>, name: &Str) -> Option<(Value, String)> {
    // Its own are written so.
    if !name.starts_with('_') {
        return None;
    }
    let plugins = call.context().options.plugins.as_ref()?;
    let variables = call.state.variables();
    plugins.bridge()?.setting("", "", name, variables).ok()
}

/// Settings of a plugin, which ansible-core knows.
fn of_plugin(
    call: &mut Call<'_, '_, '_, '_>,
    kind: &Value,
    name: &Value,
    missing: &str,
    origin: bool,
) -> Result<Vec<Value>> {
    let bridge = call
        .context()
        .options
        .plugins
        .as_ref()
        .and_then(|plugins| plugins.bridge())
        .cloned();
    let Some(bridge) = bridge else {
        return refused(format!(
            "settings of plugins are not known here: {}",
            repr::repr(name)
        ));
    };
    let (kind, name) = (kind.text()?, name.text()?);
    let mut found = Vec::new();
    for term in call.terms.clone() {
        let variables = call.state.variables();
        match bridge.setting(&kind, &name, &term.text()?, variables) {
            Ok((value, from)) if origin => found.push(Value::list(vec![value, Value::from(from)])),
            Ok((value, _)) => found.push(value),
            Err(error) => match missing {
                "skip" => {}
                "warn" => {
                    let message = format!("Skipping {}: {error}", repr::text(&term));
                    call.context().warn(message);
                }
                _ => return refused(error.to_string()),
            },
        }
    }
    Ok(found)
}
