//! Files that are templates.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Loader, Result, Str, Value, Variables, Writing};
use jiff::Timestamp as Instant;

use super::Call;
use crate::paths::dirname;
use crate::source::Timestamp;
use crate::template::context::refused;
use crate::template::time::{Moment, format};

pub(super) fn template(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let more = match call.option("template_vars") {
        None => Dict::default(),
        Some(Value::Dict(more)) => more,
        Some(other) => {
            return refused(format!(
                "Invalid value provided for 'dict': {}",
                consort_jinja::repr::repr(&other)
            ));
        }
    };
    let mut syntax = call.state.environment().syntax().clone();
    let plain = syntax.clone();
    for (name, place) in [
        ("variable_start_string", &mut syntax.variable_start),
        ("variable_end_string", &mut syntax.variable_end),
        ("comment_start_string", &mut syntax.comment_start),
        ("comment_end_string", &mut syntax.comment_end),
    ] {
        if let Some(sign) = call.option(name) {
            *place = sign.text()?.to_string();
        }
    }
    syntax.trim_blocks = call.flag("trim_blocks", true)?;
    let syntax = (syntax != plain).then(|| Arc::new(syntax));
    let mut found = Vec::new();
    for term in call.texts()? {
        let Some(path) = call.find_file_or_warn("templates", &term)? else {
            return refused(format!(
                "the template file {} could not be found for the lookup",
                &*term
            ));
        };
        let text = call.read(&path)?;
        let mut search = vec![PathBuf::from(dirname(&path))];
        let context = Arc::clone(call.context);
        if let Value::List(_) = call.state.name("ansible_search_path") {
            for path in context.search_path(call.state)? {
                search.push(path.join("templates"));
                search.push(path);
            }
        }
        let origin = Arc::new(consort_jinja::Origin {
            file: path.as_str().into(),
            line: 0,
            column: 0,
        });
        let own = template_variables(&term, &path, None, &context.options.managed);
        own.change(|own| {
            if call.state.variables().get("ansible_managed").is_some() {
                own.shift_remove(&Key::from("ansible_managed"));
            }
            for (key, value) in more.read().iter() {
                own.insert(key.clone(), value.clone());
            }
        });
        let layered = Layered {
            over: own,
            under: call.state.variables(),
        };
        let writing = Writing {
            syntax: syntax.clone(),
            literal_backslashes: false,
            loader: Some(Arc::new(Files { search })),
        };
        let source = Str::template(text).written_at(origin);
        let rendered = call.state.beside(&layered, |state| {
            state.render_file(&source, &writing, false)
        })?;
        found.push(rendered);
    }
    Ok(found)
}

/// Variables over others.
pub(in crate::template) struct Layered<'v> {
    pub(in crate::template) over: Dict,
    pub(in crate::template) under: &'v dyn Variables,
}

impl Variables for Layered<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        self.over.get(name).or_else(|| self.under.get(name))
    }

    fn names(&self) -> Vec<Arc<str>> {
        let mut names = self.under.names();
        for key in self.over.read().keys() {
            if let Some(name) = key.as_str()
                && !names.iter().any(|known| **known == *name)
            {
                names.push(name.into());
            }
        }
        names
    }
}

/// Templates in directories, the first that has one first.
pub(in crate::template) struct Files {
    pub(in crate::template) search: Vec<PathBuf>,
}

impl Loader for Files {
    fn load(&self, name: &str) -> Result<Option<Arc<str>>> {
        // A name that leaves the directories is none of theirs.
        if name.split('/').any(|part| part == "..") {
            return Ok(None);
        }
        let name = name.trim_start_matches('/');
        for directory in &self.search {
            let path = directory.join(name);
            if let Ok(content) = std::fs::read(&path) {
                return String::from_utf8(content)
                    .map(|text| Some(text.into()))
                    .map_err(|error| consort_jinja::Error::failed(error.to_string()));
            }
        }
        Ok(None)
    }

    fn searched(&self) -> Vec<String> {
        self.search
            .iter()
            .map(|directory| directory.to_string_lossy().into_owned())
            .collect()
    }
}

/// The variables that tell a template of itself: `template_path`, `template_mtime`, `ansible_managed`, ...
///
/// `path` is what was asked for, `full` where it is, `managed` the setting `DEFAULT_MANAGED_STR`.
pub fn template_variables(path: &str, full: &str, target: Option<&str>, managed: &str) -> Dict {
    let about = std::fs::metadata(full).ok();
    let now = Moment::now(false);
    let (seconds, nanos, user) = about.as_ref().map_or((0, 0, 0), |about| {
        (about.mtime(), about.mtime_nsec(), about.uid())
    });
    let changed = Instant::new(seconds, nanos as i32).map_or(now.at, |instant| {
        jiff::tz::TimeZone::system().to_datetime(instant)
    });
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(user))
        .ok()
        .flatten()
        .map_or_else(|| Value::Int(user.into()), |user| Value::from(user.name));
    let host = nix::unistd::gethostname()
        .map(|host| host.to_string_lossy().into_owned())
        .unwrap_or_default();
    let at = |at: jiff::civil::DateTime| {
        Timestamp {
            at,
            timed: true,
            offset: None,
        }
        .into_value()
    };
    let written = formatted(managed);
    let written = format(
        &Moment {
            at: changed,
            zone: None,
            second: seconds,
        },
        &written,
    );
    [
        ("template_host", Value::from(host)),
        ("template_path", Value::from(path)),
        ("template_mtime", at(changed)),
        ("template_uid", user),
        ("template_run_date", at(now.at)),
        ("template_destpath", target.map_or(Value::None, Value::from)),
        ("template_fullpath", Value::from(full)),
        ("ansible_managed", Value::Str(Str::template(written))),
    ]
    .into_iter()
    .collect()
}

/// The setting for `ansible_managed` with what stands in single braces put in; doubled braces are single ones.
pub(crate) fn formatted(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let fields = [
            ("{{", "{"),
            ("}}", "}"),
            ("{host}", "{{ template_host }}"),
            ("{uid}", "{{ template_uid }}"),
            ("{file}", "{{ template_path }}"),
        ];
        match fields.iter().find(|(field, _)| rest.starts_with(field)) {
            Some((field, value)) => {
                out.push_str(value);
                rest = &rest[field.len()..];
            }
            None => {
                out.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}
