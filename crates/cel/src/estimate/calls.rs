//! What calls can cost, and how large their results can be.

use super::range::Range;
use super::{Arg, Coster, Entries, declared_size};
use crate::ast::{Expr, Id};
use crate::price::{LIST, OBJECT, PATTERN, TEXT};
use crate::types::Type;
use crate::value::Value;

type Bounds = (Range, Option<Range>);

impl<'e> Coster<'e> {
    /// The cost of one overload with its arguments, and the size of its result.
    pub(super) fn function(
        &mut self,
        id: Id,
        function: &str,
        overload: &str,
        target: Option<&Arg<'e>>,
        args: &[Arg<'e>],
        costs: &[Range],
    ) -> Bounds {
        let before = costs.iter().fold(Range::ZERO, |sum, cost| sum.plus(*cost));
        let extended = self.extended(overload, target, args);
        if let Some((cost, size)) =
            extended.or_else(|| self.kubernetes(function, overload, target, args))
        {
            return (cost.plus(before), size);
        }
        let of = |arg: &Arg<'_>| arg.size.unwrap_or(Range::UNKNOWN);
        let scanned = |range: Range| (range.scaled(TEXT).plus(before), None);
        match (overload, target, args) {
            ("string_format", Some(target), _) => scanned(of(target)),
            ("string_to_bytes", _, [arg]) => {
                let size = of(arg);
                let result = Range {
                    min: size.min,
                    max: size.max.wrapping_mul(4),
                };
                (size.scaled(TEXT).plus(before), Some(result))
            }
            ("bytes_to_string", _, [arg]) => {
                let size = of(arg);
                (
                    size.scaled(TEXT).plus(before),
                    Some(Range {
                        min: size.min / 4,
                        max: size.max,
                    }),
                )
            }
            ("strings_quote", _, [arg]) => {
                let size = of(arg);
                let result = Range {
                    min: size.min.wrapping_add(2),
                    max: size.max.wrapping_mul(2).wrapping_add(2),
                };
                (size.scaled(TEXT).plus(before), Some(result))
            }
            ("starts_with_string" | "ends_with_string", _, [arg]) => scanned(of(arg)),
            ("in_list", _, [_, list]) => (of(list).plus(before), None),
            ("matches_string", Some(target), [pattern]) => {
                let text = of(target).plus(Range::ONE).scaled(TEXT);
                (text.times(of(pattern).scaled(PATTERN)).plus(before), None)
            }
            ("contains_string", Some(target), [part]) => (
                of(target)
                    .scaled(TEXT)
                    .times(of(part).scaled(TEXT))
                    .plus(before),
                None,
            ),
            ("logical_or" | "logical_and", _, _) => {
                // The second side may not run.
                (
                    Range {
                        min: costs[0].min,
                        max: costs[0].plus(costs[1]).max,
                    },
                    None,
                )
            }
            ("conditional", _, [_, truthy, falsy]) => {
                let size = of(truthy).union(of(falsy));
                let entries =
                    Entries::union(self.entry_sizes(truthy.id), self.entry_sizes(falsy.id));
                if let Some(entries) = entries {
                    self.entries.insert(id, entries);
                }
                (costs[0].plus(costs[1].union(costs[2])), Some(size))
            }
            ("add_string" | "add_bytes" | "add_list", _, [left, right]) => {
                let size = of(left).plus(of(right));
                let entries = Entries::union(self.entry_sizes(left.id), self.entry_sizes(right.id));
                if let Some(entries) = entries {
                    self.entries.insert(id, entries);
                }
                let own = if overload == "add_list" {
                    Range::ONE
                } else {
                    size.scaled(TEXT)
                };
                (own.plus(before), Some(size))
            }
            ("equals" | "not_equals", _, [left, right]) => {
                (compared(of(left), of(right)).plus(before), None)
            }
            (_, _, [left, right])
                if ["less_", "greater_", "less_equals_", "greater_equals_"]
                    .iter()
                    .any(|comparison| {
                        matches!(overload.strip_prefix(comparison), Some("string" | "bytes"))
                    }) =>
            {
                (compared(of(left), of(right)).plus(before), None)
            }
            _ => (Range::ONE.plus(before), None),
        }
    }

    /// The size of an argument for the libraries' estimates.
    fn estimated(arg: &Arg<'_>) -> Range {
        arg.size
            .or_else(|| declared_size(arg.path))
            .unwrap_or(Range::UNKNOWN)
    }

    /// The constant an argument is, if it is a whole number; below zero it counts as none.
    fn number(&self, arg: &Arg<'_>) -> Option<u64> {
        match self.ast.expr(arg.id) {
            Expr::Literal(Value::Int(value)) => Some((*value).max(0) as u64),
            _ => None,
        }
    }

    /// cel-go's extensions with estimates of their own.
    fn extended(
        &self,
        overload: &str,
        target: Option<&Arg<'e>>,
        args: &[Arg<'e>],
    ) -> Option<Bounds> {
        let list = |factor: f64, size: Range| {
            (size.scaled(factor).plus(Range::fixed(1 + LIST)), Some(size))
        };
        let squared = |arg: &Arg<'_>, text: bool| {
            let size = Self::estimated(arg);
            list(if text { 2.0 + TEXT } else { 2.0 }, size.times(size))
        };
        let is_text = |prefix: &str| matches!(prefix, "list_string" | "list_bytes");
        Some(match (overload, target, args) {
            (
                "list_sets_contains_list"
                | "list_sets_intersects_list"
                | "list_sets_equivalent_list",
                _,
                [a, b],
            ) => {
                let factor = if overload == "list_sets_equivalent_list" {
                    2.0
                } else {
                    1.0
                };
                (
                    Self::estimated(a)
                        .times(Self::estimated(b))
                        .scaled(factor)
                        .plus(Range::ONE),
                    None,
                )
            }
            ("list_slice", Some(target), [start, end]) => {
                let end = self.number(end).unwrap_or(Self::estimated(target).max);
                list(
                    1.0,
                    Range::fixed(end.wrapping_sub(self.number(start).unwrap_or(0))),
                )
            }
            ("lists_range", None, [count]) => {
                list(1.0, Range::fixed(self.number(count).unwrap_or(u64::MAX)))
            }
            ("list_reverse" | "list_flatten", Some(target), []) => {
                list(1.0, Self::estimated(target))
            }
            ("list_flatten_int", Some(target), [depth]) => list(
                self.number(depth).unwrap_or(u64::MAX) as f64,
                Self::estimated(target),
            ),
            ("list_distinct", Some(target), []) => squared(target, false),
            (_, Some(target), []) if overload.ends_with("_sort") => {
                squared(target, is_text(overload.strip_suffix("_sort")?))
            }
            (_, Some(_), [keys]) if overload.ends_with("_sortByAssociatedKeys") => squared(
                keys,
                is_text(overload.strip_suffix("_sortByAssociatedKeys")?),
            ),
            _ => return None,
        })
    }

    /// Kubernetes' estimates.
    fn kubernetes(
        &self,
        function: &str,
        overload: &str,
        target: Option<&Arg<'e>>,
        args: &[Arg<'e>],
    ) -> Option<Bounds> {
        let scanned = |arg: &Arg<'_>| (Self::estimated(arg).scaled(TEXT), None);
        Some(match function {
            "check" => (Range::fixed(350_000), None),
            "serviceAccount"
            | "path"
            | "group"
            | "resource"
            | "subresource"
            | "namespace"
            | "name"
            | "allowed"
            | "reason"
            | "error"
            | "errored"
            | "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery" => (Range::ONE, None),
            "fieldSelector" | "labelSelector" => {
                let [selector] = args else { return None };
                let length = Self::estimated(selector);
                let requirements = length.scaled(0.5).scaled((LIST + OBJECT) as f64);
                (
                    Range::fixed(LIST)
                        .plus(length.scaled(TEXT))
                        .plus(requirements),
                    None,
                )
            }
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
                (self.traversed(target?, function == "includes"), None)
            }
            "url" | "jsonpatch.escapeKey" => {
                let [text] = args else { return None };
                let size = Self::estimated(text);
                (size.scaled(TEXT), Some(size))
            }
            "lowerAscii" | "upperAscii" | "substring" | "trim" => {
                let size = Self::estimated(target?);
                (size.scaled(TEXT), Some(size))
            }
            "replace" => {
                let [from, to, ..] = args else { return None };
                let size = Self::estimated(target?);
                let result = replaced(size, Self::estimated(from), Self::estimated(to));
                (size.scaled(2.0 * TEXT), Some(result))
            }
            "split" => {
                let size = Self::estimated(target?);
                let most = match args {
                    [_, limit] => match self.ast.expr(limit.id) {
                        Expr::Literal(Value::Int(limit)) => *limit as u64,
                        _ => size.max,
                    },
                    _ => size.max,
                };
                (size.scaled(2.0 * TEXT), Some(Range::up_to(most)))
            }
            "join" => {
                let list = target?;
                let count = Self::estimated(list);
                let mut size = self
                    .item_size(list)
                    .map_or(Range::ZERO, |item| count.times(item));
                if let Some(separator) = args.first() {
                    let separators = Range {
                        min: count.min.saturating_sub(1),
                        max: count.max.saturating_sub(1),
                    };
                    size = size.plus(Self::estimated(separator).times(separators));
                }
                (size.scaled(TEXT), Some(size))
            }
            "find" | "findAll" => {
                let [pattern, ..] = args else { return None };
                let size = Self::estimated(target?);
                let text = size.plus(Range::ONE).scaled(TEXT);
                (
                    text.times(Self::estimated(pattern).scaled(PATTERN)),
                    Some(Range::up_to(size.max)),
                )
            }
            "ip" if overload == "cidr_ip" => (Range::ONE, None),
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver"
            | "isSemver" => scanned(args.first()?),
            "ip.isCanonical" => (Self::estimated(args.first()?).scaled(2.0 * TEXT), None),
            "containsIP" | "containsCIDR" => {
                let other = args.first()?;
                let bytes = Range { min: 4, max: 16 };
                let mut cost = bytes.plus(bytes).scaled(TEXT);
                if function == "containsCIDR" {
                    cost = cost.plus(bytes.scaled(TEXT)).plus(Range::ONE);
                }
                if overload.ends_with("_string") {
                    cost = cost.plus(Self::estimated(other).scaled(TEXT));
                }
                (cost, None)
            }
            "validate" => {
                // The longest pattern of a name's format.
                (
                    Self::estimated(args.first()?)
                        .scaled(TEXT)
                        .scaled(128.0 * PATTERN),
                    None,
                )
            }
            "_==_" => {
                let [left, right] = args else { return None };
                (opaque_equality(left, right)?, None)
            }
            _ => return None,
        })
    }

    /// Going over the items of a list, comparing each; texts among them character by character.
    fn traversed(&self, target: &Arg<'e>, includes: bool) -> Range {
        let size = Self::estimated(target);
        match target.ty {
            Type::List(item) if matches!(**item, Type::String | Type::Bytes) => {
                let each = self
                    .item_size(target)
                    .unwrap_or(Range::UNKNOWN)
                    .scaled(TEXT);
                size.times(Range::ONE.plus(each))
            }
            Type::List(_) | Type::Map(_) | Type::Optional(_) => size,
            _ if includes => size,
            _ => size.scaled(TEXT),
        }
    }

    /// The size of a list's items, by its schema.
    fn item_size(&self, list: &Arg<'e>) -> Option<Range> {
        let Type::List(_) = list.ty else { return None };
        // Without a way through the schemas only the type is known, which says nothing of texts.
        let path = list.path.map(|_| self.to_values(list.path));
        Some(declared_size(path).unwrap_or(Range::UNKNOWN))
    }
}

/// Comparing two values goes as far as the shorter one.
fn compared(left: Range, right: Range) -> Range {
    let max = left.max.min(right.max);
    Range {
        min: u64::from(max > 0),
        max,
    }
    .scaled(TEXT)
}

/// The size of a text with parts replaced.
fn replaced(size: Range, from: Range, to: Range) -> Range {
    let (mut count, mut kept) = (Range::ZERO, Range::ZERO);
    let ratio = |a: u64, b: u64| (a as f64 / b as f64).ceil() as u64;
    if from.min == 0 {
        count.max = size.max.saturating_add(1);
        kept.max = size.max;
    } else if to.max <= from.min {
        kept.max = size.max;
    } else {
        count.max = ratio(size.max, from.min);
    }
    if from.max == 0 {
        count.min = size.min.saturating_add(1);
        kept.min = size.min;
    } else if from.max <= to.min {
        kept.min = size.min;
    } else {
        count.min = ratio(size.min, from.max);
    }
    count.times(to).plus(kept)
}

/// Comparing two values of a library's type.
fn opaque_equality(left: &Arg<'_>, right: &Arg<'_>) -> Option<Range> {
    let Type::Opaque(name) = left.ty else {
        return None;
    };
    if left.ty != right.ty {
        return None;
    }
    Some(match *name {
        "kubernetes.NamedFormat" => Range { min: 1, max: 64 }.scaled(TEXT),
        "kubernetes.URL" => {
            let max = right.size.map_or(1, |size| size.max);
            Range { min: 1, max }.scaled(TEXT)
        }
        _ => Range::ONE,
    })
}
