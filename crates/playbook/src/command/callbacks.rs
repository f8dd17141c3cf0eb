//! Who is told of a run: the callbacks that settings name.

use std::path::PathBuf;

use super::session::Session;
use super::terminal::display;
use crate::output::Callback;
use crate::output::default::{Default, Options};
use crate::output::junit::{self, Junit};
use crate::output::log::{Json, Tree};
use crate::output::plain::{Minimal, Oneline};
use crate::output::shown::{Format, Shown};
use crate::output::timing::{ProfileTasks, Timer};
use crate::source::Located;

/// The callbacks of which one prints.
const PRINTING: &[&str] = &["default", "yaml", "minimal", "oneline", "json"];

/// The callbacks of a run: the one that prints, by its name, and those that are enabled beside it.
pub(super) fn of(
    session: &Session,
    name: &str,
    tree: Option<&str>,
    check: bool,
) -> Result<Vec<Box<dyn Callback>>, Located> {
    let settings = &session.settings;
    let screen = || display(settings, session.terminal.verbosity());
    let mut options = options(session)?;
    options.check = check;
    let main: Box<dyn Callback> = match leaf(name) {
        "default" => Box::new(Default::new(screen(), options)),
        "yaml" => {
            options.shown.format = Format::Yaml;
            Box::new(Default::new(screen(), options))
        }
        "minimal" => Box::new(Minimal::new(screen(), options.shown)),
        "oneline" => Box::new(Oneline::new(screen(), options.shown)),
        "json" => Box::new(Json::new(screen())),
        _ => {
            return Err(Located::new(format!(
                "Could not load '{name}' callback plugin."
            )));
        }
    };
    let mut all = vec![main];
    for name in &settings.callbacks_enabled {
        match beside(session, name)? {
            Some(callback) => all.push(callback),
            // Those that print are chosen by another setting.
            None if PRINTING.contains(&leaf(name)) => {}
            None => {
                screen().warning(&format!(
                    "Skipping callback plugin '{name}', unable to load"
                ));
            }
        }
    }
    if let Some(directory) = tree {
        let directory = crate::paths::unfrack(directory, &session.surroundings, None);
        all.push(Box::new(Tree::new(
            PathBuf::from(directory),
            shown(session)?,
            screen(),
        )));
    }
    Ok(all)
}

/// The name without its collection.
fn leaf(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A callback that is told beside the one that prints.
fn beside(session: &Session, name: &str) -> Result<Option<Box<dyn Callback>>, Located> {
    let screen = || display(&session.settings, session.terminal.verbosity());
    let raw = |variable: &str, section: &str, key: &str| {
        session
            .sources
            .raw(&[variable], &[(section, key)])
            .map(|(text, _)| text)
    };
    let environment = |name: &str| session.surroundings.variables.get(name).cloned();
    let says = |name: &str| environment(name).is_some_and(|text| text.to_lowercase() == "true");
    let home = |path: &str| PathBuf::from(crate::paths::unfrack(path, &session.surroundings, None));
    Ok(Some(match leaf(name) {
        "timer" => Box::new(Timer::new(screen())),
        "profile_tasks" => {
            let limit = raw(
                "PROFILE_TASKS_TASK_OUTPUT_LIMIT",
                "callback_profile_tasks",
                "task_output_limit",
            );
            let most = match limit.as_deref().map(str::trim) {
                None => 20,
                Some("all") => 0,
                Some(text) => text.parse().unwrap_or(20),
            };
            let order = raw(
                "PROFILE_TASKS_SORT_ORDER",
                "callback_profile_tasks",
                "sort_order",
            );
            let by_time = order.as_deref() != Some("none");
            Box::new(ProfileTasks::new(screen(), most, by_time))
        }
        "junit" => {
            let options = junit::Options {
                directory: home(
                    &environment("JUNIT_OUTPUT_DIR").unwrap_or_else(|| "~/.ansible.log".to_owned()),
                ),
                class_a_file: says("JUNIT_TASK_CLASS"),
                relative_to: environment("JUNIT_TASK_RELATIVE_PATH")
                    .filter(|path| !path.is_empty())
                    .map(PathBuf::from),
                fail_on_change: says("JUNIT_FAIL_ON_CHANGE"),
                fail_on_ignore: says("JUNIT_FAIL_ON_IGNORE"),
                without_setup: environment("JUNIT_INCLUDE_SETUP_TASKS_IN_REPORT")
                    .is_some_and(|text| text.to_lowercase() == "false"),
                without_arguments: environment("JUNIT_HIDE_TASK_ARGUMENTS")
                    .is_some_and(|text| text.to_lowercase() != "false"),
                prefix: environment("JUNIT_TEST_CASE_PREFIX").unwrap_or_default(),
                outside: environment("JUNIT_REPLACE_OUT_OF_TREE_PATH"),
            };
            Box::new(Junit::new(options, shown(session)?, screen()))
        }
        "tree" => {
            let directory = raw("ANSIBLE_CALLBACK_TREE_DIR", "callback_tree", "directory");
            let directory = home(directory.as_deref().unwrap_or("~/.ansible/tree"));
            Box::new(Tree::new(directory, shown(session)?, screen()))
        }
        _ => return Ok(None),
    }))
}

/// How results are written.
fn shown(session: &Session) -> Result<Shown, Located> {
    let raw = |variable: &str, key: &str| {
        session
            .sources
            .raw(&[variable], &[("defaults", key)])
            .map(|(text, _)| text)
    };
    let usual = Shown::default();
    Ok(Shown {
        format: match raw("ANSIBLE_CALLBACK_RESULT_FORMAT", "callback_result_format").as_deref() {
            None | Some("json") => Format::Json,
            Some("yaml") => Format::Yaml,
            Some(other) => {
                return Err(Located::new(format!(
                    "Config value for 'result_format' has an invalid value: {other} is not one of json, yaml"
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
        width: match raw(
            "ANSIBLE_CALLBACK_YAML_LINE_WIDTH",
            "callback_result_yaml_line_width",
        )
        .as_deref()
        {
            Some("no-break") => usize::MAX / 2,
            Some("terminal-width") => display(&session.settings, 0).columns,
            _ => usual.width,
        },
        context: usize::try_from(session.settings.diff_context).unwrap_or(usual.context),
        verbosity: session.terminal.verbosity(),
    })
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
        check: false,
        arguments: session.settings.display_args_to_stdout,
        shown: shown(session)?,
    })
}

/// Whether a text of a setting says yes.
pub(super) fn is_yes(text: &str) -> bool {
    matches!(
        text.trim().to_lowercase().as_str(),
        "y" | "yes" | "on" | "1" | "true" | "t" | "1.0"
    )
}
