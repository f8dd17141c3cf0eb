//! What Kubernetes asks of constants in expressions: patterns, durations and timestamps must be ones, and lists and
//! maps written out must be of one type.

use crate::ast::{Ast, Expr, Id, for_each_child};
use crate::checker::Checked;
use crate::libraries::regex::compile;
use crate::source::Fault;
use crate::types::Type;
use crate::value::{Timestamp, Value, parse_duration, parse_timestamp};

/// Looks at all constants below `root`.
pub(crate) fn constants(ast: &Ast, root: Id, checked: &Checked) -> Result<(), Vec<Fault>> {
    let mut faults = Vec::new();
    visit(ast, root, checked, &mut faults);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

fn visit(ast: &Ast, id: Id, checked: &Checked, faults: &mut Vec<Fault>) {
    let expr = ast.expr(id);
    match expr {
        Expr::Call {
            function,
            target,
            args,
        } => {
            let fault = |id: Id, message: String| Fault {
                place: ast.place(id),
                message,
            };
            match (&**function, target, args.as_slice()) {
                ("duration", None, [arg])
                    if text(ast, *arg)
                        .is_some_and(|text| parse_duration(text, false).is_none()) =>
                {
                    faults.push(fault(*arg, "invalid duration argument".to_owned()));
                }
                ("timestamp", None, [arg]) => {
                    let wrong = match ast.expr(*arg) {
                        Expr::Literal(Value::String(text)) => parse_timestamp(text).is_err(),
                        Expr::Literal(Value::Int(seconds)) => {
                            Timestamp::from_seconds(*seconds).is_none()
                        }
                        _ => false,
                    };
                    if wrong {
                        faults.push(fault(*arg, "invalid timestamp argument".to_owned()));
                    }
                }
                ("matches", Some(_), [arg]) | ("matches", None, [_, arg])
                    if text(ast, *arg).is_some_and(|text| compile(text).is_err()) =>
                {
                    faults.push(fault(*arg, "invalid matches argument".to_owned()));
                }
                // The arguments of a format may be of any types.
                ("format", Some(target), [arg]) => {
                    visit(ast, *target, checked, faults);
                    for_each_child(ast.expr(*arg), &mut |child| {
                        visit(ast, child, checked, faults);
                    });
                    return;
                }
                _ => {}
            }
        }
        Expr::List { items, optional } => {
            homogeneous(
                ast,
                items.iter().copied().zip(optional.iter().copied()),
                checked,
                faults,
            );
        }
        Expr::Map(entries) => {
            homogeneous(
                ast,
                entries.iter().map(|entry| (entry.key, false)),
                checked,
                faults,
            );
            homogeneous(
                ast,
                entries.iter().map(|entry| (entry.value, entry.optional)),
                checked,
                faults,
            );
        }
        _ => {}
    }
    for_each_child(expr, &mut |child| visit(ast, child, checked, faults));
}

/// Parts (and whether each is optional) must be of one type, `dyn` being one of its own.
fn homogeneous(
    ast: &Ast,
    ids: impl Iterator<Item = (Id, bool)>,
    checked: &Checked,
    faults: &mut Vec<Fault>,
) {
    let mut first: Option<&Type> = None;
    for (id, optional) in ids {
        let ty = match &checked.types[id] {
            Type::Optional(inner) if optional => inner,
            other => other,
        };
        match first {
            None => first = Some(ty),
            Some(wanted) if wanted == ty => {}
            Some(wanted) => {
                let message = format!("expected type '{wanted}' but found '{ty}'");
                faults.push(Fault {
                    place: ast.place(id),
                    message,
                });
                return;
            }
        }
    }
}

fn text(ast: &Ast, id: Id) -> Option<&str> {
    match ast.expr(id) {
        Expr::Literal(Value::String(text)) => Some(text),
        _ => None,
    }
}
