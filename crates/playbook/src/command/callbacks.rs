//! Who is told of a run: the callbacks that settings name.

use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::{Dict, Origin, is_omit, repr};

use super::session::Session;
use super::terminal::display;
use crate::bridge::{Bridge, Events, Wanted};
use crate::output::Callback;
use crate::output::default::{Default, Options};
use crate::output::hints::Hints;
use crate::output::junit::{self, Junit};
use crate::output::log::{Json, JsonOptions, Tree};
use crate::output::plain::{Minimal, Oneline};
use crate::output::shown::{Format, Shown};
use crate::output::timing::{Order, Profile, ProfileTasks, Timer};
use crate::source::{Located, Removal};
use crate::template::Templar;

/// The callbacks of which one prints.
const PRINTING: &[&str] = &["default", "yaml", "minimal", "oneline", "json"];

/// Those that are told beside it.
const BESIDE: &[&str] = &["timer", "profile_tasks", "junit", "tree"];

/// Which callbacks are wanted.
pub(super) struct Chosen<'a> {
    /// The one that prints.
    pub(super) printing: &'a str,
    /// Where results are kept, a file each host.
    pub(super) tree: Option<&'a str>,
    /// Whether the whole run is in check mode.
    pub(super) check: bool,
    /// Whether others are told beside the one that prints.
    pub(super) additional: bool,
    /// The way to callbacks in Python.
    pub(super) bridge: Option<&'a Bridge>,
    /// The variables of the command line.
    pub(super) extra: &'a Dict,
    /// Renders them.
    pub(super) templar: &'a Templar,
}

/// What a variable of the command line says of an option; nothing if it is not there, or omitted.
fn said(chosen: &Chosen<'_>, name: &str) -> Result<Option<bool>, Located> {
    let Some(written) = chosen.extra.get(name) else {
        return Ok(None);
    };
    let value = chosen
        .templar
        .render(&written, chosen.extra)
        .map_err(|error| Located::from(&error))?;
    Ok((!is_omit(&value)).then(|| is_yes(&repr::text(&value))))
}

/// The callbacks of a run: the one that prints, by its name, and those that are enabled beside it.
pub(super) fn of(
    session: &Session,
    chosen: &Chosen<'_>,
) -> Result<Vec<Box<dyn Callback>>, Located> {
    let settings = &session.settings;
    let screen = || display(settings, session.terminal.verbosity());
    let mut options = options(session)?;
    options.check = chosen.check;
    if let Some(shown) = said(chosen, "ansible_display_skipped_hosts")? {
        options.skipped = shown;
    }
    let main: Option<Box<dyn Callback>> = match builtin(chosen.printing) {
        Some("default") => Some(Box::new(Default::new(screen(), options))),
        Some("yaml") => {
            options.shown.format = Format::Yaml;
            Some(Box::new(Default::new(screen(), options)))
        }
        Some("minimal") => Some(Box::new(Minimal::new(screen(), options.shown))),
        Some("oneline") => Some(Box::new(Oneline::new(screen(), options.shown))),
        Some("json") => {
            let indent = session
                .sources
                .raw(&["ANSIBLE_JSON_INDENT"], &[("defaults", "json_indent")])
                .and_then(|(text, _)| text.trim().parse::<i64>().ok())
                .unwrap_or(4);
            let json = JsonOptions {
                indent: usize::try_from(indent).unwrap_or(0),
                custom_stats: options.custom_stats,
            };
            Some(Box::new(Json::new(screen(), json)))
        }
        _ => None,
    };
    tell_passed_over(session, chosen);
    let foreign = foreign(session, chosen, main.is_none())?;
    let mut all: Vec<Box<dyn Callback>> = main.into_iter().collect();
    let missing = match foreign {
        Some((events, missing)) => {
            all.extend(events.map(|events| Box::new(events) as Box<dyn Callback>));
            missing
        }
        None => settings.callbacks_enabled.clone(),
    };
    for name in &settings.callbacks_enabled {
        match beside(session, name)? {
            Some(callback) => all.push(callback),
            // Those that print are chosen by another setting.
            None if builtin(name).is_some_and(|leaf| PRINTING.contains(&leaf)) => {}
            None if missing.contains(name) => {
                screen().warning(&format!(
                    "Skipping callback plugin '{name}', unable to load"
                ));
            }
            None => {}
        }
    }
    if let Some(directory) = chosen.tree {
        let directory = crate::paths::unfrack(directory, &session.surroundings, None);
        all.push(Box::new(Tree::new(
            PathBuf::from(directory),
            shown(session)?,
            screen(),
        )));
    }
    if session.terminal.hints() {
        all.push(Box::new(Hints::new(screen())));
    }
    Ok(all)
}

/// Tells of the callbacks of ansible-core that are not used, and of those that will go away.
fn tell_passed_over(session: &Session, chosen: &Chosen<'_>) {
    let terminal = &session.terminal;
    let name = builtin(chosen.printing);
    if name == Some("oneline") {
        let origin = session
            .sources
            .value("DEFAULT_STDOUT_CALLBACK")
            .and_then(Result::ok)
            .map_or_else(String::new, |(_, origin)| origin);
        let origin = if chosen.additional && origin != "default" {
            format!("<Config {origin}>")
        } else {
            "<unknown>".to_owned()
        };
        goes_away(session, "oneline", &origin, chosen.printing);
    }
    for other in ["default", "minimal", "oneline"] {
        if name != Some(other) {
            terminal.detail(
                2,
                &format!("Skipping callback '{other}', as we already have a stdout callback."),
            );
        }
    }
    for written in &session.settings.callbacks_enabled {
        if builtin(written) == Some("tree") {
            goes_away(session, "tree", "<unknown>", written);
        }
    }
}

fn goes_away(session: &Session, name: &str, origin: &str, written: &str) {
    // A place that is no file stands there with what was written.
    let origin = Origin {
        file: format!("{origin}\n\n{written}").into(),
        line: 0,
        column: 0,
    };
    let message = format!(
        "{name} has been deprecated. Use another callback plugin, or vendor and/or move the {name} callback to a collection."
    );
    let what = Located::new(message).at(&Arc::new(origin));
    session.terminal.deprecate(&what, &Removal::of_core("2.23"));
}

/// The callbacks that are written in Python, and the names of those that nobody knows.
type Foreign = (Option<Events>, Vec<String>);

/// The callbacks that are written in Python; none if nobody asks for any.
fn foreign(
    session: &Session,
    chosen: &Chosen<'_>,
    prints: bool,
) -> Result<Option<Foreign>, Located> {
    let settings = &session.settings;
    let unknown = || {
        Located::new(format!(
            "Could not load '{}' callback plugin.",
            chosen.printing
        ))
    };
    let Some(bridge) = chosen.bridge else {
        return if prints { Err(unknown()) } else { Ok(None) };
    };
    let known = |name: &String| {
        builtin(name).is_some_and(|leaf| PRINTING.contains(&leaf) || BESIDE.contains(&leaf))
    };
    let named = !settings.callbacks_enabled.iter().all(known);
    let lying = chosen.additional
        && (bridge.has_beside("callback_plugins")
            || settings
                .callback_plugin_path
                .iter()
                .any(|path| std::fs::read_dir(path).is_ok_and(|mut files| files.next().is_some())));
    if !prints && !named && !lying {
        return Ok(None);
    }
    let native: Vec<&str> = PRINTING.iter().chain(BESIDE).copied().collect();
    let wanted = Wanted {
        printing: prints.then_some(chosen.printing),
        enabled: &settings.callbacks_enabled,
        native: &native,
        additional: chosen.additional,
        extra: chosen.extra,
    };
    let screen = prints.then(|| display(settings, session.terminal.verbosity()));
    match Events::begin(bridge, &wanted, screen) {
        Ok((None, _)) if prints => Err(unknown()),
        Ok(begun) => Ok(Some(begun)),
        Err(error) if prints => Err(unknown().because(error.into())),
        Err(crate::bridge::Error::Absent(_)) => {
            Ok(Some((None, settings.callbacks_enabled.clone())))
        }
        Err(error) => Err(error.into()),
    }
}

/// The name of a callback that is no other collection's.
fn builtin(name: &str) -> Option<&str> {
    let leaf = leaf(name);
    let collection = name.strip_suffix(leaf).unwrap_or_default();
    matches!(
        collection,
        "" | "ansible.builtin." | "ansible.legacy." | "ansible.posix." | "community.general."
    )
    .then_some(leaf)
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
    Ok(Some(match builtin(name).unwrap_or_default() {
        "timer" => Box::new(Timer::new(screen())),
        "profile_tasks" => {
            let limit = raw(
                "PROFILE_TASKS_TASK_OUTPUT_LIMIT",
                "callback_profile_tasks",
                "task_output_limit",
            );
            let usual = Profile::default();
            let most = match limit.as_deref().map(str::trim) {
                None => usual.most,
                Some("all") => None,
                Some(text) => Some(text.parse().map_err(|_| {
                    Located::new(format!(
                        "Config value for 'output_limit' of the callback 'profile_tasks' is no number: {text}"
                    ))
                })?),
            };
            let order = raw(
                "PROFILE_TASKS_SORT_ORDER",
                "callback_profile_tasks",
                "sort_order",
            );
            let order = match order.as_deref() {
                Some("ascending") => Order::Ascending,
                Some("none") => Order::Done,
                _ => Order::Descending,
            };
            let section = "callback_profile_tasks";
            let options = Profile {
                most,
                order,
                summary_only: raw("PROFILE_TASKS_SUMMARY_ONLY", section, "summary_only")
                    .is_some_and(|text| is_yes(&text)),
                format: raw("PROFILE_TASKS_DATETIME_FORMAT", section, "datetime_format")
                    .unwrap_or(usual.format),
            };
            Box::new(ProfileTasks::new(screen(), options))
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
