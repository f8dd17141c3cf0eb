//! What keywords there are: where each may stand, of what kind its value is, and how it is handed down.

use std::sync::Arc;

use consort_jinja::{Origin, Value, repr};

use crate::source::Located;

/// The directives of one play, role, block or task, as written.
#[derive(Clone, Debug, Default)]
pub struct Directives {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    directive: Directive,
    value: Value,
    origin: Option<Arc<Origin>>,
}

impl Directives {
    /// What was written for one.
    pub fn get(&self, directive: Directive) -> Option<&Value> {
        self.entry(directive).map(|entry| &entry.value)
    }

    /// Where what was written for one stands.
    pub fn origin(&self, directive: Directive) -> Option<&Arc<Origin>> {
        self.entry(directive)?.origin.as_ref()
    }

    fn entry(&self, directive: Directive) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.directive == directive)
    }

    /// Sets one.
    pub fn set(&mut self, directive: Directive, value: Value) {
        self.set_at(directive, value, None);
    }

    /// Sets one that was written somewhere.
    pub fn set_at(&mut self, directive: Directive, value: Value, origin: Option<&Arc<Origin>>) {
        let new = Entry {
            directive,
            value,
            origin: origin.cloned(),
        };
        match self
            .entries
            .iter_mut()
            .find(|entry| entry.directive == directive)
        {
            Some(entry) => *entry = new,
            None => self.entries.push(new),
        }
    }

    /// Takes one away.
    pub fn remove(&mut self, directive: Directive) -> Option<Value> {
        let at = self
            .entries
            .iter()
            .position(|entry| entry.directive == directive)?;
        Some(self.entries.remove(at).value)
    }

    /// All, in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = (Directive, &Value)> {
        self.entries
            .iter()
            .map(|entry| (entry.directive, &entry.value))
    }

    /// Those that are handed down to what stands within.
    #[must_use]
    pub(crate) fn handed_down(&self) -> Directives {
        Directives {
            entries: self
                .entries
                .iter()
                .filter(|entry| entry.directive.is_inherited())
                .cloned()
                .collect(),
        }
    }
}

/// Of what kind a directive's value is, once it is rendered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A truth value, or a text that is one.
    Bool,
    /// A number, with or without `%`.
    Percent,
    /// A list; what is none is a list of one.
    List,
    /// A list of texts.
    Texts,
    /// A list of texts and numbers.
    Tags,
    /// A mapping.
    Dict,
    /// Anything.
    Any,
}

/// What bears directives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bearer {
    /// A play.
    Play,
    /// The use of a role.
    Role,
    /// A block.
    Block,
    /// A task.
    Task,
    /// A handler.
    Handler,
    /// `import_playbook`.
    Playbook,
}

impl Bearer {
    /// The name of Ansible's class, as messages have it.
    pub fn class(self) -> &'static str {
        match self {
            Bearer::Play => "Play",
            Bearer::Role => "RoleInclude",
            Bearer::Block => "Block",
            Bearer::Task => "Task",
            Bearer::Handler => "Handler",
            Bearer::Playbook => "PlaybookInclude",
        }
    }
}

/// How a directive is handed down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handed {
    /// Not at all.
    No,
    /// The nearest counts.
    Nearest,
    /// All count; those further out come after.
    After,
    /// All count; those further out come before.
    Before,
}

const P: u8 = 1;
const R: u8 = 2;
const B: u8 = 4;
const T: u8 = 8;
const H: u8 = 16;
const I: u8 = 32;
const ALL: u8 = P | R | B | T | H | I;
const TASKS: u8 = T | H;

macro_rules! directives {
    ($($variant:ident $name:literal $kind:ident $handed:ident $bearers:expr;)*) => {
        /// A keyword of plays, roles, blocks and tasks that says how, and not what, is done.
        ///
        /// See "Playbook Keywords" in Ansible's documentation for what each means and where it may stand.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Directive {
            $(
                #[doc = concat!("`", $name, "`.")]
                $variant,
            )*
        }

        impl Directive {
            /// All.
            pub const ALL: &'static [Directive] = &[$(Directive::$variant,)*];

            /// The keyword.
            pub fn name(self) -> &'static str {
                match self {
                    $(Directive::$variant => $name,)*
                }
            }

            /// The directive of a keyword.
            pub fn of(name: &str) -> Option<Directive> {
                match name {
                    $($name => Some(Directive::$variant),)*
                    _ => None,
                }
            }

            /// Of what kind its value is.
            pub fn kind(self) -> Kind {
                match self {
                    $(Directive::$variant => Kind::$kind,)*
                }
            }

            pub(crate) fn handed(self) -> Handed {
                match self {
                    $(Directive::$variant => Handed::$handed,)*
                }
            }

            fn bearers(self) -> u8 {
                match self {
                    $(Directive::$variant => $bearers,)*
                }
            }
        }
    };
}

directives! {
    Name "name" Text No ALL;
    AnyErrorsFatal "any_errors_fatal" Bool Nearest ALL;
    Become "become" Bool Nearest ALL;
    BecomeExe "become_exe" Text Nearest ALL;
    BecomeFlags "become_flags" Text Nearest ALL;
    BecomeMethod "become_method" Text Nearest ALL;
    BecomeUser "become_user" Text Nearest ALL;
    CheckMode "check_mode" Bool Nearest ALL;
    Collections "collections" Texts Nearest P | R | B | T | H;
    Connection "connection" Text Nearest ALL;
    Debugger "debugger" Text Nearest ALL;
    Diff "diff" Bool Nearest ALL;
    Environment "environment" List Before ALL;
    IgnoreErrors "ignore_errors" Bool Nearest ALL;
    IgnoreUnreachable "ignore_unreachable" Bool Nearest ALL;
    ModuleDefaults "module_defaults" List Before ALL;
    NoLog "no_log" Bool Nearest ALL;
    Port "port" Int Nearest ALL;
    RemoteUser "remote_user" Text Nearest ALL;
    RunOnce "run_once" Bool Nearest ALL;
    Tags "tags" Tags After ALL;
    Throttle "throttle" Int Nearest ALL;
    Timeout "timeout" Int Nearest ALL;
    Vars "vars" Dict No ALL;
    FactPath "fact_path" Text No P;
    ForceHandlers "force_handlers" Bool No P;
    GatherFacts "gather_facts" Bool No P;
    GatherSubset "gather_subset" Texts No P;
    GatherTimeout "gather_timeout" Int No P;
    Hosts "hosts" Texts No P;
    MaxFailPercentage "max_fail_percentage" Percent No P;
    Order "order" Text No P;
    Serial "serial" List No P;
    Strategy "strategy" Text No P;
    ValidateArgspec "validate_argspec" Any No P;
    DelegateFacts "delegate_facts" Bool Nearest R | B | TASKS;
    DelegateTo "delegate_to" Text Nearest R | B | TASKS;
    When "when" List Before R | B | TASKS | I;
    Notify "notify" List Nearest B | TASKS;
    Async "async" Int No TASKS;
    BreakWhen "break_when" List No 0;
    ChangedWhen "changed_when" List No TASKS;
    Delay "delay" Float No TASKS;
    FailedWhen "failed_when" List No TASKS;
    Listen "listen" Texts No H;
    LoopControl "loop_control" Dict No TASKS;
    Poll "poll" Int No TASKS;
    Register "register" Any No TASKS;
    Retries "retries" Int No TASKS;
    Until "until" List No TASKS;
}

impl Directive {
    /// Whether something may bear it.
    pub fn stands_at(self, bearer: Bearer) -> bool {
        let bit = match bearer {
            Bearer::Play => P,
            Bearer::Role => R,
            Bearer::Block => B,
            Bearer::Task => T,
            Bearer::Handler => H,
            Bearer::Playbook => I,
        };
        self.bearers() & bit != 0
    }

    /// Whether it is handed down to what stands within.
    pub fn is_inherited(self) -> bool {
        self.handed() != Handed::No
    }

    /// Whether what is further out adds to it, and does not only stand in for it.
    pub fn extends(self) -> bool {
        matches!(self.handed(), Handed::After | Handed::Before)
    }
}

impl Directive {
    /// A rendered value as what it must be: `Keyword 'serial' ...` if it is none of that. `origin` is where it was
    /// written, for the error.
    ///
    /// # Errors
    /// It cannot be made that.
    pub fn convert(self, value: &Value, origin: Option<&Arc<Origin>>) -> Result<Value, Located> {
        let failed = || {
            let error = Located::new(format!(
                "The value {} could not be converted to '{}'.",
                repr::repr(value),
                self.kind().word()
            ));
            match origin {
                Some(origin) => error.at(origin),
                None => error.about(value),
            }
            .handling()
        };
        Ok(match self.kind() {
            Kind::Any => value.clone(),
            Kind::Text => match value {
                Value::Str(_) => value.clone(),
                value => Value::Str(value.text().map_err(|_| failed())?),
            },
            Kind::Bool => Value::Bool(truth(value).ok_or_else(failed)?),
            Kind::Int => match value {
                Value::Int(_) | Value::Big(_) => value.clone(),
                Value::Bool(value) => Value::Int(i64::from(*value)),
                _ => {
                    let number = number(value).ok_or_else(failed)?;
                    if number.fract() != 0.0 || !number.is_finite() {
                        return Err(failed());
                    }
                    Value::Int(number as i64)
                }
            },
            Kind::Float => Value::Float(number(value).ok_or_else(failed)?),
            Kind::Percent => match value {
                Value::Str(text) => {
                    Value::Float(text.replace('%', "").trim().parse().map_err(|_| failed())?)
                }
                value => Value::Float(number(value).ok_or_else(failed)?),
            },
            Kind::List | Kind::Texts | Kind::Tags => {
                let items = match value {
                    Value::None => Vec::new(),
                    Value::List(items) => items.read().clone(),
                    value => vec![value.clone()],
                };
                for item in &items {
                    let (fits, types) = match self.kind() {
                        Kind::Texts => (matches!(item, Value::Str(_)), "'str'"),
                        Kind::Tags => (
                            matches!(item, Value::Str(_) | Value::Int(_) | Value::Bool(_)),
                            "'str' or 'int'",
                        ),
                        _ => (true, ""),
                    };
                    let place = |error: Located| match (item, origin) {
                        (Value::Str(text), _) if text.origin().is_some() => error.about(item),
                        (_, Some(origin)) => error.at(origin),
                        (item, None) => error.about(item),
                    };
                    if !fits {
                        return Err(place(Located::parser(format!(
                            "Keyword '{}' items must be of type {types}, not '{}'.",
                            self.name(),
                            item.type_name()
                        ))));
                    }
                    if self == Directive::Hosts
                        && item.as_str().is_some_and(|text| text.trim().is_empty())
                    {
                        return Err(place(Located::parser(format!(
                            "Keyword '{}' is required, and cannot have empty values.",
                            self.name()
                        ))));
                    }
                }
                Value::list(items)
            }
            Kind::Dict => match value {
                Value::None => Value::Dict(consort_jinja::Dict::default()),
                Value::Dict(_) => value.clone(),
                value => {
                    return Err(Located::new(format!(
                        "{} is not a dictionary",
                        repr::repr(value)
                    )));
                }
            },
        })
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Text => "string",
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::Bool => "bool",
            Kind::Percent => "percent",
            Kind::List | Kind::Texts | Kind::Tags => "list",
            Kind::Dict => "dict",
            Kind::Any => "any",
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Float(value) => Some(*value),
        Value::Str(text) => text.trim().replace('_', "").parse().ok(),
        _ => None,
    }
}

/// The truth value that a value is, or is the text of; none if it is none.
pub(crate) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Int(1) => Some(true),
        Value::Int(0) => Some(false),
        Value::Float(value) if value.to_bits() == 1.0_f64.to_bits() => Some(true),
        Value::Float(value) if value.abs().to_bits() == 0 => Some(false),
        Value::Str(text) => match text.trim().to_lowercase().as_str() {
            "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
            "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
