//! Functions of text.

use unicode_segmentation::UnicodeSegmentation;

use super::Table;
use super::arguments::{Result, elements, integer, of_text, parameter, plain, text};
use crate::evaluate::{CallError, Function};
use crate::types::Type;
use crate::value::Value;

type Test = fn(&str, &str) -> bool;

pub(super) fn add(table: &mut Table) {
    table.add(
        "upper",
        of_text(["str"], |[s]| Ok(s.chars().map(upper).collect())),
    );
    table.add(
        "lower",
        of_text(["str"], |[s]| Ok(s.chars().map(lower).collect())),
    );
    table.add("title", of_text(["str"], |[s]| Ok(title(s))));
    table.add(
        "strrev",
        of_text(["str"], |[s]| Ok(s.graphemes(true).rev().collect())),
    );
    table.add(
        "chomp",
        of_text(["str"], |[s]| {
            Ok(s.trim_end_matches(['\r', '\n']).to_owned())
        }),
    );
    table.add("trimspace", of_text(["str"], |[s]| Ok(s.trim().to_owned())));
    table.add(
        "trim",
        of_text(["str", "cutset"], |[s, cut]| {
            Ok(s.trim_matches(|c| cut.contains(c)).to_owned())
        }),
    );
    table.add(
        "trimprefix",
        of_text(["str", "prefix"], |[s, prefix]| {
            Ok(s.strip_prefix(prefix).unwrap_or(s).to_owned())
        }),
    );
    table.add(
        "trimsuffix",
        of_text(["str", "suffix"], |[s, suffix]| {
            Ok(s.strip_suffix(suffix).unwrap_or(s).to_owned())
        }),
    );
    table.add("indent", indent());
    table.add("substr", substr());
    table.add("split", split());
    table.add("join", join());
    table.add("sort", sort());
    table.add("startswith", starts_with());
    let tests: [(&str, &str, Test); 2] = [
        ("endswith", "suffix", |s, suffix| s.ends_with(suffix)),
        ("strcontains", "substr", |s, part| s.contains(part)),
    ];
    for (name, second, test) in tests {
        let parameters = [("str", Type::String), (second, Type::String)];
        let call = move |args: &[Value]| Ok(Value::bool(test(text(args, 0), text(args, 1))));
        table.add(name, plain(Type::Bool, &parameters, call));
    }
}

/// One character for one, as Go maps case; those whose capital is several characters stay.
pub(super) fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn lower(c: char) -> char {
    let mut mapped = c.to_lowercase();
    // The only one with several is the dotted capital i, whose simple mapping is the plain letter.
    mapped.next().unwrap_or(c)
}

fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|c| {
            let starts = if before.is_ascii() {
                !(before.is_ascii_alphanumeric() || before == '_')
            } else {
                !before.is_alphanumeric() && before.is_whitespace()
            };
            before = c;
            if starts { upper(c) } else { c }
        })
        .collect()
}

fn indent() -> Function {
    let parameters = [("spaces", Type::Number), ("str", Type::String)];
    plain(Type::String, &parameters, |args| {
        let Ok(spaces) = usize::try_from(integer(args, 0)?) else {
            return Err(CallError::argument(0, "must not be negative"));
        };
        let (s, lines) = (text(args, 1), text(args, 1).matches('\n').count());
        if spaces.saturating_mul(lines) > 1 << 30 {
            return Err(CallError::argument(0, "the result would be too long"));
        }
        Ok(Value::string(
            s.replace('\n', &format!("\n{}", " ".repeat(spaces))),
        ))
    })
}

fn substr() -> Function {
    let parameters = [
        ("str", Type::String),
        ("offset", Type::Number),
        ("length", Type::Number),
    ];
    plain(Type::String, &parameters, |args| {
        let (s, mut offset, length) = (text(args, 0), integer(args, 1)?, integer(args, 2)?);
        if offset < 0 {
            offset = offset.saturating_add(s.graphemes(true).count() as i64);
        } else if length == 0 {
            return Ok(Value::string(""));
        }
        let skip = usize::try_from(offset).unwrap_or(0);
        let rest = s.graphemes(true).skip(skip);
        // A length of zero after a negative offset takes all, as in Terraform.
        Ok(Value::string(match usize::try_from(length) {
            Err(_) | Ok(0) => rest.collect::<String>(),
            Ok(length) => rest.take(length).collect(),
        }))
    })
}

fn split() -> Function {
    let parameters = [("separator", Type::String), ("str", Type::String)];
    plain(Type::list(Type::String), &parameters, |args| {
        let (separator, s) = (text(args, 0), text(args, 1));
        let parts: Vec<Value> = if separator.is_empty() {
            s.chars().map(|c| Value::string(c.to_string())).collect()
        } else {
            s.split(separator).map(Value::string).collect()
        };
        Ok(Value::list(Type::String, parts))
    })
}

fn join() -> Function {
    let separator = parameter("separator", Type::String);
    let lists = parameter("lists", Type::list(Type::String));
    Function::returning(Type::String, vec![separator], Some(lists), |args| {
        let (separator, lists) = (text(args, 0), &args[1..]);
        if lists.is_empty() {
            return Err(CallError::new("at least one list is required"));
        }
        if !lists.iter().all(Value::is_wholly_known) {
            return Ok(Value::unknown(Type::String));
        }
        let mut items = Vec::new();
        for (l, list) in lists.iter().enumerate() {
            for (i, item) in elements(list).iter().enumerate() {
                let Some(item) = item.as_str() else {
                    let of = if lists.len() > 1 {
                        format!(" of list {}", l + 1)
                    } else {
                        String::new()
                    };
                    let message =
                        format!("element {i}{of} is null; cannot concatenate null values");
                    return Err(CallError::argument(l + 1, message));
                };
                items.push(item);
            }
        }
        Ok(Value::string(items.join(separator)))
    })
    .never_null()
}

fn sort() -> Function {
    let list = parameter("list", Type::list(Type::String)).unknown();
    Function::returning(Type::list(Type::String), vec![list], None, |args| {
        let list = &args[0];
        if !list.is_wholly_known() {
            let (least, most) = list.length_range();
            return Ok(Value::unknown(Type::list(Type::String)).refined(|r| {
                let r = r.not_null().with_at_least(least);
                if most == usize::MAX {
                    r
                } else {
                    r.with_at_most(most)
                }
            }));
        }
        let mut items = elements(list).to_vec();
        if let Some(i) = items.iter().position(Value::is_null) {
            let message = format!("given list element {i} is null; a null string cannot be sorted");
            return Err(CallError::new(message));
        }
        items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        Ok(Value::list(Type::String, items))
    })
    .never_null()
}

fn starts_with() -> Function {
    let parameters = vec![
        parameter("str", Type::String).unknown(),
        parameter("prefix", Type::String),
    ];
    Function::returning(Type::Bool, parameters, None, |args| -> Result {
        let prefix = text(args, 1);
        let Some(refinement) = args[0].refinement() else {
            return Ok(Value::bool(text(args, 0).starts_with(prefix)));
        };
        let known = refinement.prefix();
        Ok(if known.starts_with(prefix) {
            Value::TRUE
        } else if known.len() >= prefix.len() {
            Value::FALSE
        } else {
            Value::unknown(Type::Bool)
        })
    })
    .never_null()
}
