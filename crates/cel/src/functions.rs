//! Functions: what they accept, written as declarations, and what carries them out.

use std::collections::HashMap;

use regex::Regex;

use crate::EvalError;
use crate::types::Type;
use crate::value::{Value, Work};

/// What a function may use besides its arguments.
pub(crate) struct Context<'c> {
    pub(crate) work: &'c mut Work,
    /// The pattern of a regex function, compiled beforehand when it is a constant.
    pub(crate) pattern: Option<&'c Regex>,
}

/// Carries a function out. The checker let only arguments through that fit a declaration, but values of type `dyn` may
/// be anything: what does not fit is [`EvalError::no_overload`].
pub(crate) type Run = for<'a> fn(&mut Context<'_>, &[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// One way to call a function.
#[derive(Clone, Debug)]
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    /// Whether the first argument is written before the name.
    pub(crate) member: bool,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
}

/// A function.
#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) overloads: Vec<Overload>,
    pub(crate) run: Run,
}

/// A set of functions.
///
/// Declarations are lines `overload_id: name(types) -> type`, or `overload_id: type::name(types) -> type` for functions
/// called on a value. Single capital letters are type parameters.
pub(crate) struct Library {
    pub(crate) declarations: &'static str,
    pub(crate) functions: &'static [(&'static str, Run)],
}

/// Functions by name.
pub(crate) type Functions = HashMap<&'static str, Function>;

/// Adds a library's functions. Overloads of a name that is there already are added to it, with the carrying out asked
/// in the order of the libraries.
pub(crate) fn add(functions: &mut Functions, library: &Library) {
    for line in library
        .declarations
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let Some((name, overload)) = parse(line) else {
            continue;
        };
        let Some((_, run)) = library
            .functions
            .iter()
            .find(|(function, _)| *function == name)
        else {
            continue;
        };
        let function = functions.entry(name).or_insert_with(|| Function {
            overloads: Vec::new(),
            run: *run,
        });
        function.overloads.push(overload);
        // The later library's code knows the earlier one's arguments too where they share a name.
        function.run = *run;
    }
}

fn parse(line: &'static str) -> Option<(&'static str, Overload)> {
    let (id, rest) = line.split_once(": ")?;
    let (call, result) = rest.rsplit_once(" -> ")?;
    let (receiver, call) = match call.split_once("::") {
        Some((receiver, call)) => (Some(receiver), call),
        None => (None, call),
    };
    let (name, args) = call.split_once('(')?;
    let mut types = Vec::new();
    types.extend(receiver.map(parse_type));
    types.extend(split(args.strip_suffix(')')?).into_iter().map(parse_type));
    Some((
        name,
        Overload {
            id,
            member: receiver.is_some(),
            args: types,
            result: parse_type(result),
        },
    ))
}

/// Splits at the commas outside parentheses.
fn split(text: &'static str) -> Vec<&'static str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}

fn parse_type(text: &'static str) -> Type {
    if let Some((outer, inner)) = text.split_once('(') {
        let mut inner = split(inner.strip_suffix(')').unwrap_or(inner))
            .into_iter()
            .map(parse_type);
        let first = inner.next().unwrap_or(Type::Dyn);
        return match outer {
            "list" => Type::list(first),
            "map" => Type::map(first, inner.next().unwrap_or(Type::Dyn)),
            "optional" => Type::optional(first),
            _ => Type::Type(Some(first.into())),
        };
    }
    match text {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "dyn" => Type::Dyn,
        "Quantity" => Type::Opaque("kubernetes.Quantity"),
        "URL" => Type::Opaque("kubernetes.URL"),
        "IP" => Type::Opaque("net.IP"),
        "CIDR" => Type::Opaque("net.CIDR"),
        "Semver" => Type::Opaque("kubernetes.Semver"),
        "Format" => Type::Opaque("kubernetes.NamedFormat"),
        "Authorizer" => Type::AUTHORIZER,
        "PathCheck" => Type::Opaque("kubernetes.authorization.PathCheck"),
        "GroupCheck" => Type::Opaque("kubernetes.authorization.GroupCheck"),
        "ResourceCheck" => Type::RESOURCE_CHECK,
        "Decision" => Type::Opaque("kubernetes.authorization.Decision"),
        parameter => Type::Param(parameter),
    }
}
