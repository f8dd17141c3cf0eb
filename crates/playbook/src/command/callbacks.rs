//! Who is told of a run: the callbacks that settings name.

use super::session::Session;
use super::terminal::display;
use crate::output::Callback;
use crate::output::default::{Default, Format, Options};
use crate::source::Located;

/// The callbacks of a run; the first prints.
pub(super) fn of(session: &Session, name: &str) -> Result<Vec<Box<dyn Callback>>, Located> {
    let settings = &session.settings;
    let display = display(settings, session.terminal.verbosity());
    match name.rsplit('.').next().unwrap_or(name) {
        "default" | "minimal" => Ok(vec![Box::new(Default::new(display, options(session)?))]),
        _ => Err(Located::new(format!(
            "Could not load '{name}' callback plugin."
        ))),
    }
}

/// The options of the default callback.
fn options(session: &Session) -> Result<Options, Located> {
    let raw = |variable: &str, key: &str| {
        session
            .sources
            .raw(&[variable], &[("defaults", key)])
            .map(|(text, _)| text)
    };
    let flag = |variable: &str, key: &str, default: bool| {
        raw(variable, key).map_or(default, |text| is_yes(&text))
    };
    let settings = &session.settings;
    let usual = Options::default();
    Ok(Options {
        skipped: flag(
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS",
            "display_skipped_hosts",
            true,
        ),
        ok: flag("ANSIBLE_DISPLAY_OK_HOSTS", "display_ok_hosts", true),
        failed_to_error: flag(
            "ANSIBLE_DISPLAY_FAILED_STDERR",
            "display_failed_stderr",
            false,
        ),
        custom_stats: flag("ANSIBLE_SHOW_CUSTOM_STATS", "show_custom_stats", false),
        starts: flag("ANSIBLE_SHOW_PER_HOST_START", "show_per_host_start", false),
        check_marks: flag("ANSIBLE_CHECK_MODE_MARKERS", "check_mode_markers", false),
        path_on_failure: flag(
            "ANSIBLE_SHOW_TASK_PATH_ON_FAILURE",
            "show_task_path_on_failure",
            false,
        ),
        included: flag(
            "ANSIBLE_DISPLAY_INCLUDED_HOSTS",
            "display_included_hosts",
            true,
        ),
        arguments: settings.display_args_to_stdout,
        format: match raw("ANSIBLE_CALLBACK_RESULT_FORMAT", "callback_result_format").as_deref() {
            None | Some("json") => Format::Json,
            Some(other) => {
                return Err(Located::new(format!(
                    "results cannot be shown as {other:?} yet: only as json"
                )));
            }
        },
        pretty: raw("ANSIBLE_CALLBACK_FORMAT_PRETTY", "callback_format_pretty")
            .map(|text| is_yes(&text)),
        indentation: raw(
            "ANSIBLE_CALLBACK_RESULT_INDENTATION",
            "callback_result_indentation",
        )
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(usual.indentation),
        context: usize::try_from(settings.diff_context).unwrap_or(usual.context),
    })
}

/// Whether a text of a setting says yes.
pub(super) fn is_yes(text: &str) -> bool {
    matches!(
        text.trim().to_lowercase().as_str(),
        "y" | "yes" | "on" | "1" | "true" | "t" | "1.0"
    )
}
