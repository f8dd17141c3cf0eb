//! The keywords of a play, rendered before it has hosts.

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Dict, Origin, Str, Value, is_omit};

use super::directives::Directive;
use super::variables::{Known, located};
use super::{Play, python};
use crate::source::{Located, splits_extension};

/// The keywords of a play that say how it is run, rendered.
#[derive(Clone, Debug)]
pub struct PlayKeywords {
    /// Its name; that of its hosts if it has none.
    pub name: String,
    /// The patterns of its hosts.
    pub hosts: Vec<String>,
    /// Whether facts are gathered, if it says.
    pub gather_facts: Option<bool>,
    /// Which.
    pub gather_subset: Option<Vec<String>>,
    /// For how many seconds.
    pub gather_timeout: Option<i64>,
    /// Where local facts are, as written.
    pub fact_path: Option<Value>,
    /// Whether handlers run although something failed, if it says.
    pub force_handlers: Option<bool>,
    /// How many of a hundred hosts may fail.
    pub max_fail_percentage: Option<f64>,
    /// The sizes of its batches: numbers or texts with `%`.
    pub serial: Vec<Value>,
    /// The strategy, if it says.
    pub strategy: Option<String>,
    /// The order of its hosts.
    pub order: Option<String>,
    /// The specification its variables are checked by.
    pub argument_spec: Option<ArgumentSpec>,
}

/// A specification of the variables of a play: from the file `PLAYBOOK.meta.yml` beside its playbook.
#[derive(Clone, Debug)]
pub struct ArgumentSpec {
    /// Its name.
    pub name: String,
    /// The options it has.
    pub options: Dict,
    /// The file.
    pub path: String,
}

/// What is wrong with the specification that a play of this name wants, if something is.
pub(crate) fn check_argument_spec(play: &Play, name: &str) -> Result<(), Located> {
    let prompted = Dict::default();
    let read = Reading {
        play,
        prompted: &prompted,
    };
    read.argument_spec(name).map(|_| ())
}

impl PlayKeywords {
    pub(crate) fn of(play: &Play, prompted: &Dict) -> Result<Self, Located> {
        // What is wrong with files of variables is found now.
        play.draft.check_files()?;
        let read = Reading { play, prompted };
        let hosts_written = play.scope.directives.get(Directive::Hosts).cloned();
        let name_written = match play.scope.directives.get(Directive::Name) {
            Some(name) if name.truth().unwrap_or(true) => Some(name.clone()),
            _ => match &hosts_written {
                Some(Value::List(items)) => {
                    let items = items.read();
                    let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                    let template = items.iter().any(Value::may_hold_templates);
                    let joined = texts.join(",");
                    Some(Value::Str(if template {
                        Str::template(joined)
                    } else {
                        Str::new(joined)
                    }))
                }
                other => other.clone(),
            },
        };
        let name = match name_written {
            Some(name) => match read.converted(Directive::Name, &name, None)? {
                Some(name) => consort_jinja::repr::text(&name),
                None => String::new(),
            },
            None => String::new(),
        };
        let Some(hosts_written) = hosts_written.filter(|hosts| !matches!(hosts, Value::None))
        else {
            return Err(
                Located::parser("The field 'hosts' is required but was not set.").at(&play.origin),
            );
        };
        let hosts = texts(read.converted(Directive::Hosts, &hosts_written, None)?);
        let boolean = |value: Option<Value>| match value {
            Some(Value::Bool(value)) => Some(value),
            _ => None,
        };
        let text = |value: Option<Value>| value.map(|value| consort_jinja::repr::text(&value));
        Ok(PlayKeywords {
            hosts,
            gather_facts: boolean(read.keyword(Directive::GatherFacts)?),
            gather_subset: read
                .keyword(Directive::GatherSubset)?
                .map(|value| texts(Some(value))),
            gather_timeout: read
                .keyword(Directive::GatherTimeout)?
                .and_then(|value| value.as_int()),
            fact_path: play.scope.directives.get(Directive::FactPath).cloned(),
            argument_spec: read.argument_spec(&name)?,
            force_handlers: boolean(read.keyword(Directive::ForceHandlers)?),
            max_fail_percentage: match read.keyword(Directive::MaxFailPercentage)? {
                Some(Value::Float(value)) => Some(value),
                _ => None,
            },
            serial: match read.keyword(Directive::Serial)? {
                Some(Value::List(items)) => items.read().clone(),
                _ => Vec::new(),
            },
            strategy: text(read.keyword(Directive::Strategy)?),
            order: text(read.keyword(Directive::Order)?),
            name,
        })
    }
}

/// What is known of a play before it has hosts.
pub(super) fn known<'p>(play: &'p Play, prompted: &'p Dict) -> Known<'p> {
    Known {
        own: Some(prompted),
        ..play.draft.known(None)
    }
}

impl Play {
    /// A value rendered with what is known before the play has hosts.
    ///
    /// # Errors
    /// Its template fails.
    pub(crate) fn rendered(
        &self,
        prompted: &Dict,
        value: &Value,
    ) -> Result<Value, crate::template::Error> {
        known(self, prompted).render(value)
    }
}

struct Reading<'p> {
    play: &'p Play,
    prompted: &'p Dict,
}

impl Reading<'_> {
    fn known(&self) -> Known<'_> {
        known(self.play, self.prompted)
    }

    fn keyword(&self, directive: Directive) -> Result<Option<Value>, Located> {
        match self.play.scope.directives.get(directive) {
            None | Some(Value::None) => Ok(None),
            Some(value) => self.converted(
                directive,
                value,
                self.play.scope.directives.origin(directive),
            ),
        }
    }

    fn converted(
        &self,
        directive: Directive,
        written: &Value,
        origin: Option<&Arc<Origin>>,
    ) -> Result<Option<Value>, Located> {
        let origin = origin.filter(|_| !matches!(written, Value::Bool(_)));
        let failed = |error: Located| {
            let own = Located::parser(format!("Error processing keyword '{}'.", directive.name()));
            match origin {
                Some(origin) => own.at(origin),
                None => own.about(written),
            }
            .because(error)
        };
        let value = self
            .known()
            .render(written)
            .map_err(|error| failed(located(&error)))?;
        if is_omit(&value) {
            return Ok(None);
        }
        if matches!(value, Value::None) {
            return Ok(None);
        }
        directive.convert(&value, origin).map(Some).map_err(failed)
    }

    /// The specification that `validate_argspec` names: true for that of the play's name.
    fn argument_spec(&self, name: &str) -> Result<Option<ArgumentSpec>, Located> {
        let Some(written) = self.play.scope.directives.get(Directive::ValidateArgspec) else {
            return Ok(None);
        };
        let failed = |error: Located| {
            Located::parser("Error processing keyword 'validate_argspec'.")
                .about(written)
                .because(error)
        };
        let value = match written {
            Value::Str(_) => self
                .known()
                .render(written)
                .map_err(|error| failed(located(&error)))?,
            other => other.clone(),
        };
        if is_omit(&value) || matches!(value, Value::None | Value::Bool(false)) {
            return Ok(None);
        }
        let wanted = match &value {
            Value::Str(text) if text.is_empty() => return Ok(None),
            Value::Str(text) => Some(text.to_string()),
            Value::Bool(_) => self
                .play
                .scope
                .directives
                .get(Directive::Name)
                .filter(|written| written.truth().unwrap_or(true) && !name.is_empty())
                .map(|_| name.to_owned()),
            _ => {
                return Err(failed(
                    Located::parser(format!(
                        "validate_argspec must be a boolean or string, not {}",
                        python::class(&crate::source::Node::of(value.clone(), &self.play.origin))
                    ))
                    .about(&value),
                ));
            }
        };
        let file = &self.play.origin.file;
        if file.is_empty() {
            return Ok(None);
        }
        let extensions = &self.play.draft.loader.settings.yaml_filename_extensions;
        let (stem, extension) = splits_extension(file);
        let stem = if extensions.iter().any(|known| known == extension) {
            stem
        } else {
            file
        };
        let candidates: Vec<String> = extensions
            .iter()
            .map(String::as_str)
            .chain([""])
            .map(|extension| format!("{stem}.meta{extension}"))
            .collect();
        let found = candidates.iter().find(|path| Path::new(path).is_file());
        let mut wrong = Vec::new();
        if wanted.is_none() {
            wrong.push("A play name is required when validate_argspec is True. Alternatively, set validate_argspec to the name of an argument spec.".to_owned());
        }
        if found.is_none() {
            wrong.push(format!(
                "A playbook meta file is required. Considered:\n  - {}",
                candidates.join("\n  - ")
            ));
        }
        let (Some(wanted), Some(found)) = (wanted, found) else {
            return Err(failed(
                Located::parser(wrong.join(" ")).at(&self.play.origin),
            ));
        };
        let metadata = self
            .play
            .draft
            .loader
            .reader
            .load(Path::new(found), false)
            .map_err(failed)?
            .0;
        let options = metadata
            .as_ref()
            .and_then(|metadata| metadata.get("argument_specs"))
            .and_then(|specs| specs.get(&wanted))
            .and_then(|spec| spec.get("options"))
            .filter(|options| options.mapping().is_some());
        match options {
            Some(options) => Ok(Some(ArgumentSpec {
                name: wanted,
                options: options.dict(),
                path: found.clone(),
            })),
            None => {
                let error = Located::parser(format!(
                    "No argument spec named '{wanted}' in {found}. Minimally expected:\nargument_specs:\n  {wanted}:\n    options: {{}}\n"
                ));
                Err(failed(match &metadata {
                    Some(metadata) => error.at(metadata.origin()),
                    None => error,
                }))
            }
        }
    }
}

fn texts(value: Option<Value>) -> Vec<String> {
    match value {
        Some(Value::List(items)) => items.read().iter().map(consort_jinja::repr::text).collect(),
        Some(value) => vec![consort_jinja::repr::text(&value)],
        None => Vec::new(),
    }
}
