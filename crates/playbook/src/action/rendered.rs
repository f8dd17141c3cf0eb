//! `template`: a file of the controller, rendered, to the machine.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Dict, Loader, Origin, Str, Syntax, Value, Variables, Writing, repr};

use super::commands::reworded;
use super::copy::{copy, mode_of};
use super::given::{Given, set, without};
use super::machine::Source;
use super::{Action, Failure, Outcome};
use crate::connection::Call;
use crate::executor::Attempt;
use crate::source::{Reader, Timestamp};

/// `template`.
pub(super) struct Template;

impl Action for Template {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(template(attempt, arguments))
    }
}

/// Arguments that are for rendering alone.
const OWN: &[&str] = &[
    "newline_sequence",
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "trim_blocks",
    "lstrip_blocks",
    "output_encoding",
];

async fn template(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    let given = Given(&arguments);
    for name in ["src", "dest", "state", "newline_sequence"]
        .iter()
        .chain(&OWN[1..7])
    {
        if let Some(value @ (Value::List(_) | Value::Dict(_))) = given.get(name) {
            return Err(Failure::new(format!(
                "{name} is expected to be a string, but got <class '{}'> instead",
                value.type_name()
            )));
        }
    }
    if given.get("state").is_some() {
        return Err(Failure::new("'state' cannot be specified on a template"));
    }
    let (Some(src), Some(dest)) = (given.text("src"), given.text("dest")) else {
        return Err(Failure::new("src and dest are required"));
    };
    let newline = match given.text("newline_sequence").as_deref() {
        None | Some("\n" | "\\n") => "\n",
        Some("\r" | "\\r") => "\r",
        Some("\r\n" | "\\r\\n") => "\r\n",
        Some(_) => {
            return Err(Failure::new(
                "newline_sequence needs to be one of: \n, \r or \r\n",
            ));
        }
    };
    let path = attempt.find_file("templates", &src).map_err(reworded)?;
    let mode = match given.get("mode") {
        Some(mode) if mode.as_str() == Some("preserve") => mode_of(&path)?.into(),
        Some(mode) => mode,
        None => Value::None,
    };
    let rendered = render(attempt, &given, &path, &src, &dest, newline)?;
    let encoding = given
        .text("output_encoding")
        .filter(|encoding| !encoding.is_empty())
        .unwrap_or_else(|| "utf-8".to_owned());
    let source = Source {
        bytes: Some(encoded(&rendered, &encoding)?),
        path: path.clone(),
    };
    let inner = without(&arguments, OWN);
    set(&inner, "mode", mode);
    set(&inner, "src", path.to_string_lossy().into_owned());
    set(&inner, "dest", dest);
    set(&inner, "follow", given.flag("follow", false));
    copy(attempt, inner, Some(source)).await
}

fn render(
    attempt: &Attempt<'_>,
    given: &Given<'_>,
    path: &Path,
    src: &str,
    dest: &str,
    newline: &str,
) -> Result<String, Failure> {
    let reader = attempt.loader().reader();
    let (text, _) = reader.text(path)?;
    let text = Str::template(text).written_at(Arc::new(Origin {
        file: path.to_string_lossy().as_ref().into(),
        line: 0,
        column: 0,
    }));
    let usual = Syntax::default();
    let delimiter = |name: &str, usual: String| given.text(name).unwrap_or(usual);
    let syntax = Syntax {
        block_start: delimiter("block_start_string", usual.block_start),
        block_end: delimiter("block_end_string", usual.block_end),
        variable_start: delimiter("variable_start_string", usual.variable_start),
        variable_end: delimiter("variable_end_string", usual.variable_end),
        comment_start: delimiter("comment_start_string", usual.comment_start),
        comment_end: delimiter("comment_end_string", usual.comment_end),
        trim_blocks: given.flag("trim_blocks", true),
        lstrip_blocks: given.flag("lstrip_blocks", false),
        newline_sequence: newline.to_owned(),
        literal_backslashes: false,
        extensions: attempt.templar().options().extensions,
        ..Syntax::default()
    };
    let mut search: Vec<PathBuf> = Vec::new();
    let beside = path.parent().unwrap_or(path);
    let directories = attempt.search_path.iter().map(PathBuf::as_path).chain([
        attempt.directory,
        attempt.directory,
        beside,
    ]);
    for directory in directories {
        search.push(directory.join("templates"));
        search.push(directory.to_owned());
    }
    search.dedup();
    let writing = Writing {
        syntax: Some(Arc::new(syntax)),
        literal_backslashes: false,
        loader: Some(Arc::new(Beside {
            reader: reader.clone(),
            search,
        })),
    };
    let known = attempt.variables();
    let own = described(
        attempt,
        path,
        src,
        dest,
        known.get("ansible_managed").is_none(),
    )?;
    let variables = Over {
        own: &own,
        under: known,
    };
    let value = attempt.templar().render_file(&text, &writing, &variables)?;
    Ok(match value {
        Value::None => String::new(),
        value => repr::text(&value),
    })
}

/// What a template knows of itself.
fn described(
    attempt: &Attempt<'_>,
    path: &Path,
    src: &str,
    dest: &str,
    managed: bool,
) -> Result<Dict, Failure> {
    let full = path.to_string_lossy().into_owned();
    let meta = std::fs::metadata(path).map_err(|error| {
        Failure::error(consort_modules::python::os_error_at_text(&error, &full))
    })?;
    let owner = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(meta.uid()))
        .ok()
        .flatten()
        .map_or_else(|| Value::Int(meta.uid().into()), |user| user.name.into());
    let host = nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let changed = jiff::Timestamp::new(meta.mtime(), i32::try_from(meta.mtime_nsec()).unwrap_or(0))
        .map_or_else(
            |_| jiff::Zoned::now(),
            |at| at.to_zoned(jiff::tz::TimeZone::system()),
        );
    let moment = |at: &jiff::Zoned| -> Value {
        let text = at.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string();
        Timestamp::read(&text).map_or_else(|_| text.as_str().into(), Timestamp::into_value)
    };
    let mut entries: Vec<(&str, Value)> = vec![
        ("template_host", host.into()),
        ("template_path", src.into()),
        ("template_mtime", moment(&changed)),
        ("template_uid", owner),
        ("template_run_date", moment(&jiff::Zoned::now())),
        ("template_destpath", dest.into()),
        ("template_fullpath", full.into()),
    ];
    if managed {
        let written = crate::template::formatted(&attempt.settings().managed_str);
        let text = if written.contains('%') {
            changed.strftime(&written).to_string()
        } else {
            written
        };
        entries.push(("ansible_managed", Value::Str(Str::template(text))));
    }
    Ok(entries.into_iter().collect())
}

/// Variables of the template before those of the task.
struct Over<'a> {
    own: &'a Dict,
    under: &'a dyn Variables,
}

impl Variables for Over<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        self.own.get(name).or_else(|| self.under.get(name))
    }

    fn names(&self) -> Vec<Arc<str>> {
        let mut names = self.under.names();
        for name in Variables::names(self.own) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// Finds what a template includes.
struct Beside {
    reader: Reader,
    search: Vec<PathBuf>,
}

impl Loader for Beside {
    fn load(&self, name: &str) -> consort_jinja::Result<Option<Arc<str>>> {
        if name.split('/').any(|part| part == "..") {
            return Ok(None);
        }
        for directory in &self.search {
            let path = directory.join(name.trim_start_matches('/'));
            if path.is_file() {
                let (text, _) = self
                    .reader
                    .text(&path)
                    .map_err(|error| consort_jinja::Error::failed(error.brief()))?;
                return Ok(Some(text.into()));
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

/// A text in an encoding, by the name Python has for it.
fn encoded(text: &str, encoding: &str) -> Result<Vec<u8>, Failure> {
    let name = encoding.to_ascii_lowercase().replace(['_', ' '], "-");
    match name.as_str() {
        "utf-8" | "utf8" | "u8" => return Ok(text.as_bytes().to_vec()),
        "utf-8-sig" => return Ok([b"\xef\xbb\xbf", text.as_bytes()].concat()),
        "ascii" | "us-ascii" => {
            if text.is_ascii() {
                return Ok(text.as_bytes().to_vec());
            }
        }
        "latin-1" | "latin1" | "iso-8859-1" | "l1" => {
            let bytes: Option<Vec<u8>> = text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).ok())
                .collect();
            if let Some(bytes) = bytes {
                return Ok(bytes);
            }
        }
        "utf-16" | "utf-16-le" | "utf-16le" | "utf-16-be" | "utf-16be" => {
            let mut bytes = Vec::with_capacity(text.len() * 2 + 2);
            if name == "utf-16" {
                bytes.extend([0xff, 0xfe]);
            }
            for unit in text.encode_utf16() {
                bytes.extend(if name.ends_with("be") {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                });
            }
            return Ok(bytes);
        }
        other => {
            let Some(known) = encoding_rs::Encoding::for_label(other.as_bytes()) else {
                return Err(Failure::error(format!("unknown encoding: {encoding}")));
            };
            let (bytes, _, lost) = known.encode(text);
            if !lost {
                return Ok(bytes.into_owned());
            }
        }
    }
    Err(Failure::error(format!(
        "'{encoding}' codec can't encode characters of the rendered template"
    )))
}
