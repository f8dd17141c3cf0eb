//! Values for the root module's variables: where they come from, which wins, and that they fit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::{Range, Sources};
use consort_hcl::syntax::{BodySchema, Expr, parse, parse_expression, parse_json};
use consort_hcl::{Marks, Type, Value};

use super::convert::with_defaults;
use super::decode::place;
use super::load::join;
use super::module::Variable;

/// A `-var` or `-var-file` option; they count in their order.
#[derive(Clone, Debug)]
pub enum VariableOption {
    /// `-var name=value`
    Value(String),
    /// `-var-file path`
    File(String),
}

/// Where a value was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A `TF_VAR_..` environment variable.
    Environment,
    /// `terraform.tfvars` or `*.auto.tfvars`.
    AutoFile,
    /// A file named by `-var-file`.
    NamedFile,
    /// `-var`
    Option,
    /// Somebody was asked.
    Input,
    /// The variable's default.
    Default,
}

#[derive(Clone, Debug)]
enum Raw {
    /// Text, read as a string or as an expression according to the variable's type.
    Text(String),
    Expr(Expr),
}

/// A value that was given, not read yet: how depends on the variable.
#[derive(Clone, Debug)]
struct Given {
    raw: Raw,
    origin: Origin,
}

/// Values that were given, by the names of variables; the last one for a name wins.
#[derive(Clone, Debug, Default)]
pub struct GivenValues(BTreeMap<Arc<str>, Given>);

/// A variable's value as the configuration sees it, before marks.
#[derive(Clone, Debug)]
pub struct VariableValue {
    /// The value, of the variable's type.
    pub value: Value,
    /// The value as it was given, before it was converted; the default where nothing was given.
    pub given: Value,
    /// Where it was given.
    pub origin: Origin,
    /// Where it stands, when that is in a file.
    pub range: Option<Range>,
}

/// The values of all variables of the root module that are known.
pub type VariableValues = BTreeMap<Arc<str>, VariableValue>;

/// Asks somebody for the value of a required variable: its text, or nothing to leave it unset.
pub type Ask<'a> = dyn FnMut(&Variable) -> Option<String> + 'a;

/// A value, by what it was given, and where it stands.
pub(crate) type Placed = (Value, Origin, Option<Range>);

impl GivenValues {
    /// Gathers values in the order of precedence: the environment, `terraform.tfvars`, `terraform.tfvars.json`,
    /// `*.auto.tfvars` and `*.auto.tfvars.json` of a directory by name, then options as they come.
    pub fn collect(
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        options: &[VariableOption],
        sources: &mut Sources,
    ) -> (Self, Diagnostics) {
        let mut values = Self::default();
        let mut diagnostics = Diagnostics::new();
        for (name, value) in environment {
            if let Some(name) = name.strip_prefix("TF_VAR_") {
                values.0.insert(
                    name.into(),
                    Given {
                        raw: Raw::Text(value),
                        origin: Origin::Environment,
                    },
                );
            }
        }
        diagnostics.append(values.add_directory(directory, sources));
        for option in options {
            match option {
                VariableOption::Value(text) => values.add_option(text, &mut diagnostics),
                VariableOption::File(path) => {
                    diagnostics.append(values.add_file(
                        Path::new(path),
                        Origin::NamedFile,
                        sources,
                    ));
                }
            }
        }
        (values, diagnostics)
    }

    /// Adds the files that count without being named; tests have a directory of their own for them.
    pub fn add_directory(&mut self, directory: &Path, sources: &mut Sources) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        for name in ["terraform.tfvars", "terraform.tfvars.json"] {
            let path = join(directory, name);
            if path.exists() {
                diagnostics.append(self.add_file(&path, Origin::AutoFile, sources));
            }
        }
        let listed = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        let mut names: Vec<String> = std::fs::read_dir(listed)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".auto.tfvars") || name.ends_with(".auto.tfvars.json"))
            .collect();
        names.sort();
        for name in names {
            diagnostics.append(self.add_file(&join(directory, &name), Origin::AutoFile, sources));
        }
        diagnostics
    }

    fn add_option(&mut self, text: &str, diagnostics: &mut Diagnostics) {
        const SUMMARY: &str = "Invalid -var option";
        let Some((name, value)) = text.split_once('=') else {
            diagnostics.push(Diagnostic::error(
                SUMMARY,
                format!(
                    "The given -var option {text:?} is not correctly specified. Must be a variable name and value separated by an equals sign, like -var=\"key=value\"."
                ),
            ));
            return;
        };
        if let Some(trimmed) = name.strip_suffix(' ') {
            diagnostics.push(Diagnostic::error(
                SUMMARY,
                format!(
                    "Variable name {name:?} is invalid due to trailing space. Did you mean -var=\"{trimmed}={}\"?",
                    value.strip_prefix(' ').unwrap_or(value)
                ),
            ));
            return;
        }
        self.0.insert(
            name.into(),
            Given {
                raw: Raw::Text(value.to_string()),
                origin: Origin::Option,
            },
        );
    }

    fn add_file(&mut self, path: &Path, origin: Origin, sources: &mut Sources) -> Diagnostics {
        const SUMMARY: &str = "Failed to read variables file";
        let name = path.to_string_lossy();
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) => {
                let detail = if error.kind() == std::io::ErrorKind::NotFound {
                    format!("Given variables file {name} does not exist.")
                } else {
                    format!("Error while reading {name}: {error}.")
                };
                return Diagnostic::error(SUMMARY, detail).into();
            }
        };
        let looks_like_json =
            !name.ends_with(".tfvars") && text.trim_ascii_start().starts_with(b"{");
        let (body, mut diagnostics) = if name.ends_with(".json") || looks_like_json {
            parse_json(sources, &*name, text)
        } else {
            parse(sources, &*name, text)
        };
        let (content, _, _) = body.partial_content(&BodySchema::new().block("variable", &["name"]));
        for block in &content.blocks {
            let variable = block.label(0);
            diagnostics.push(
                Diagnostic::error(
                    "Variable declaration in .tfvars file",
                    format!(
                        "A .tfvars file is used to assign values to variables that have already been declared in .tf files, not to declare new variables. To declare variable {variable:?}, place this block in one of your .tf files, such as variables.tf.\n\nTo set a value for this variable in {name}, use the definition syntax instead:\n    {variable} = <value>"
                    ),
                )
                .at(block.kind_range),
            );
        }
        if diagnostics.has_errors() {
            return diagnostics;
        }
        let (attributes, found) = body.just_attributes();
        diagnostics.append(found);
        for attribute in attributes.into_values() {
            self.0.insert(
                attribute.name,
                Given {
                    raw: Raw::Expr(attribute.expr),
                    origin,
                },
            );
        }
        diagnostics
    }

    /// Forgets all values but some.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, Origin) -> bool) {
        self.0.retain(|name, given| keep(name, given.origin));
    }

    /// Whether a value was given for a variable.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Sets a value as if it was entered.
    pub fn enter(&mut self, name: &str, text: String) {
        self.0.insert(
            name.into(),
            Given {
                raw: Raw::Text(text),
                origin: Origin::Input,
            },
        );
    }

    /// The names for which values were given.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    /// Takes over what `other` has, in place of what is there.
    pub fn overlay(&mut self, other: GivenValues) {
        self.0.extend(other.0);
    }

    /// The value given for a name as it was given, and where it stands. The text of options and of the
    /// environment is read as the declaration says; without one it is an expression.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(crate) fn value_of(
        &self,
        name: &str,
        declared: Option<&Variable>,
        sources: &mut Sources,
    ) -> Option<Result<Placed, Diagnostics>> {
        let given = self.0.get(name)?;
        Some(match (declared, &given.raw) {
            (Some(variable), _) => {
                read(variable, given, sources).map(|value| (value.value, value.origin, value.range))
            }
            (None, raw) => {
                let expr = match raw {
                    Raw::Expr(expr) => Ok(expr.clone()),
                    Raw::Text(text) => {
                        let (expr, diagnostics) =
                            parse_expression(sources, format!("<value for var.{name}>"), text);
                        if diagnostics.has_errors() {
                            Err(diagnostics)
                        } else {
                            Ok(expr)
                        }
                    }
                };
                expr.and_then(|expr| {
                    let (value, diagnostics) = expr.evaluate_constant();
                    if diagnostics.has_errors() {
                        return Err(diagnostics);
                    }
                    let range = matches!(raw, Raw::Expr(_)).then(|| expr.range());
                    Ok((value, given.origin, range))
                })
            }
        })
    }

    /// The final values of the variables of the root module: given ones read, converted and completed by defaults.
    /// `ask` is called for required variables without value; leave it out where nobody can be asked.
    ///
    /// Values for variables that do not exist are a warning in files, an error in options, and nothing in the environment.
    pub fn resolve(
        &self,
        variables: &BTreeMap<Arc<str>, Variable>,
        ask: Option<&mut Ask<'_>>,
        sources: &mut Sources,
    ) -> (VariableValues, Diagnostics) {
        let mut all = self.clone();
        if let Some(ask) = ask {
            for (name, variable) in variables.iter().filter(|(_, variable)| variable.required()) {
                if !all.contains(name)
                    && let Some(text) = ask(variable)
                {
                    all.enter(name, text);
                }
            }
        }
        let mut values = VariableValues::new();
        let mut diagnostics = Diagnostics::new();
        all.check_undeclared(variables, sources, &mut diagnostics);
        for (name, variable) in variables {
            let given = match all.0.get(name) {
                Some(given) => match read(variable, given, sources) {
                    Ok(given) => Some(given),
                    Err(found) => {
                        diagnostics.append(found);
                        if variable.required() {
                            diagnostics.push(not_set(variable));
                        }
                        continue;
                    }
                },
                None if variable.required() => {
                    diagnostics.push(not_set(variable));
                    continue;
                }
                None => None,
            };
            match finish(variable, given, sources) {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(diagnostic) => diagnostics.push(*diagnostic),
            }
        }
        (values, diagnostics)
    }

    fn check_undeclared(
        &self,
        variables: &BTreeMap<Arc<str>, Variable>,
        sources: &Sources,
        diagnostics: &mut Diagnostics,
    ) {
        const SUMMARY: &str = "Value for undeclared variable";
        let mut in_files = 0;
        for (name, given) in self
            .0
            .iter()
            .filter(|(name, _)| !variables.contains_key(*name))
        {
            match (&given.raw, given.origin) {
                (_, Origin::Environment) => {}
                (Raw::Expr(expr), _) => {
                    if expr.evaluate_constant().1.has_errors() {
                        continue;
                    }
                    in_files += 1;
                    if in_files <= 2 {
                        let file = sources.get(expr.range().source).map(|source| source.name().to_string()).unwrap_or_default();
                        diagnostics.push(Diagnostic::warning(
                            SUMMARY,
                            format!(
                                "The root module does not declare a variable named {:?} but a value was found in file {file:?}. If you meant to use this value, add a \"variable\" block to the configuration.\n\nTo silence these warnings, use TF_VAR_... environment variables to provide certain \"global\" settings to all configurations in your organization. To reduce the verbosity of these warnings, use the -compact-warnings option.",
                                &**name
                            ),
                        ));
                    }
                }
                (_, Origin::Option) => diagnostics.push(Diagnostic::error(
                    SUMMARY,
                    format!(
                        "A variable named {:?} was assigned on the command line, but the root module does not declare a variable of that name. To use this value, add a \"variable\" block to the configuration.",
                        &**name
                    ),
                )),
                _ => diagnostics.push(Diagnostic::error(
                    SUMMARY,
                    format!(
                        "A variable named {:?} was assigned a value, but the root module does not declare a variable of that name. To use this value, add a \"variable\" block to the configuration.",
                        &**name
                    ),
                )),
            }
        }
        if in_files > 2 {
            diagnostics.push(Diagnostic::warning(
                "Values for undeclared variables",
                format!("In addition to the other similar warnings shown, {} other variable(s) defined without being declared.", in_files - 2),
            ));
        }
    }
}

fn not_set(variable: &Variable) -> Diagnostic {
    Diagnostic::error(
        "No value for required variable",
        format!(
            "The root module input variable {:?} is not set, and has no default value. Use a -var or -var-file command line argument to provide a value for this variable.",
            &*variable.name
        ),
    )
    .at(variable.range)
}

/// Text stands for itself where a string, number or bool is wanted, and is an expression elsewhere.
fn is_literal(variable: &Variable) -> bool {
    variable.type_range.is_none() || variable.ty.is_primitive()
}

fn read(
    variable: &Variable,
    given: &Given,
    sources: &mut Sources,
) -> Result<VariableValue, Diagnostics> {
    let origin = given.origin;
    let expr = match &given.raw {
        Raw::Text(text) if is_literal(variable) => {
            return Ok(VariableValue {
                value: Value::string(text),
                given: Value::string(text),
                origin,
                range: None,
            });
        }
        Raw::Text(text) => {
            let name = format!("<value for var.{}>", variable.name);
            let (expr, diagnostics) = parse_expression(sources, name, text);
            if diagnostics.has_errors() {
                return Err(diagnostics);
            }
            expr
        }
        Raw::Expr(expr) => expr.clone(),
    };
    let (value, diagnostics) = expr.evaluate_constant();
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let range = matches!(given.raw, Raw::Expr(_)).then(|| expr.range());
    Ok(VariableValue {
        given: value.clone(),
        value,
        origin,
        range,
    })
}

/// Converts a value for a root variable, or takes the default.
fn finish(
    variable: &Variable,
    given: Option<VariableValue>,
    sources: &Sources,
) -> Result<VariableValue, Box<Diagnostic>> {
    let name = format!("var.{}", variable.name);
    let default = variable.default.clone();
    let Some(given) = given else {
        let value = default.unwrap_or_else(|| Value::null(Type::Dynamic));
        return Ok(VariableValue {
            given: value.clone(),
            value,
            origin: Origin::Default,
            range: Some(variable.range),
        });
    };
    let how = match given.origin {
        Origin::Option => Some(format!("set using -var=\"{}=...\"", variable.name)),
        Origin::Environment => Some(format!(
            "set using the TF_VAR_{} environment variable",
            variable.name
        )),
        Origin::Input => Some("set using an interactive prompt".to_string()),
        Origin::AutoFile | Origin::NamedFile | Origin::Default => None,
    };
    let value = with_defaults(&given.value, &variable.ty, &variable.defaults).map_err(|why| {
        let detail = match &how {
            Some(how) => format!("Unsuitable value for {name} {how}: {why}."),
            None => {
                let defined = || given.range.map(|range| place(sources, range)).unwrap_or_default();
                if variable.ephemeral {
                    format!("The given value is not suitable for {name}, which is ephemeral: {why}. Invalid value defined at {}.", defined())
                } else if variable.sensitive {
                    format!("The given value is not suitable for {name}, which is sensitive: {why}. Invalid value defined at {}.", defined())
                } else {
                    format!("The given value is not suitable for {name} declared at {}: {why}.", place(sources, variable.range))
                }
            }
        };
        let confidential = variable.ephemeral || variable.sensitive;
        let at = given.range.filter(|_| how.is_none() && !confidential).unwrap_or(variable.range);
        Box::new(Diagnostic::error("Invalid value for input variable", detail).at(at))
    })?;
    if value.is_null() && !variable.nullable {
        return match default {
            Some(value) => Ok(VariableValue { value, ..given }),
            None => {
                let (detail, at) = match &how {
                    Some(how) => (
                        format!(
                            "Unsuitable value for {name} {how}: required variable may not be set to null."
                        ),
                        variable.range,
                    ),
                    None => (
                        format!(
                            "The given value is not suitable for {name} defined at {}: required variable may not be set to null.",
                            place(sources, variable.range)
                        ),
                        given.range.unwrap_or(variable.range),
                    ),
                };
                Err(Box::new(
                    Diagnostic::error("Required variable not set", detail).at(at),
                ))
            }
        };
    }
    Ok(VariableValue { value, ..given })
}

/// A value for a variable that a test gives, of the variable's type.
///
/// # Errors
/// Where it does not fit.
pub(crate) fn admit(
    variable: &Variable,
    value: Value,
    origin: Origin,
    range: Option<Range>,
    sources: &Sources,
) -> Result<VariableValue, Box<Diagnostic>> {
    let given = VariableValue {
        given: value.clone(),
        value,
        origin,
        range,
    };
    finish(variable, Some(given), sources)
}

impl Variable {
    /// A value for the variable, as a caller of the module gives it: defaults of its type put in, converted, and the
    /// default taken for a null where the variable is not nullable. Nothing stands for an argument that is left out.
    ///
    /// # Errors
    /// With what does not fit, for a sentence; `None` when a value is required and there is none.
    pub fn accept(&self, given: Option<&Value>) -> Result<Value, Option<String>> {
        let Some(given) = given else {
            return self.default.clone().ok_or(None);
        };
        let value = with_defaults(given, &self.ty, &self.defaults)
            .map_err(|wrong| Some(wrong.to_string()))?;
        if value.is_null() && !self.nullable {
            return self.default.clone().ok_or(None);
        }
        Ok(value)
    }

    /// The marks every value of the variable has.
    pub fn marks(&self) -> Marks {
        let mut marks = Marks::NONE;
        if self.sensitive {
            marks |= Marks::SENSITIVE;
        }
        if self.ephemeral {
            marks |= Marks::EPHEMERAL;
        }
        marks
    }
}
