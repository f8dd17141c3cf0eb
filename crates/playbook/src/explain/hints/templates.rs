//! What is wrong in templates and conditions.

use consort_jinja::Value;

use super::{Written, listed, meant};
use crate::explain::expression::Named;
use crate::explain::known;
use crate::explain::names::between;
use crate::explain::nearest::nearest;
use crate::explain::values::{self, Scene};
use crate::language::{BUILTIN_LOOKUPS, Task};

/// What could be done.
pub(super) fn of(
    message: &str,
    written: &Written<'_>,
    task: &Task,
    scene: &Scene<'_>,
) -> Vec<String> {
    let variables = written.variables;
    if let Some(host) = between(message, "hostvars['", "']") {
        return host_unknown(host, scene);
    }
    if let Some(name) = super::undefined(message) {
        return undefined(name, written, task, scene);
    }
    if message.contains("'NoneType' has no attribute") {
        return vec![
            "it holds nothing (null): ask `is not none` first, or give a `default(..., true)`"
                .to_owned(),
        ];
    }
    if let Some(rest) = message.split("has no attribute ").nth(1) {
        let name = rest.trim_end_matches('.').trim_matches('\'');
        return no_attribute(name, variables, scene);
    }
    for (kind, marks) in [
        ("filter", ["No filter named '", "filter plugin '"]),
        ("test", ["No test named '", "test plugin '"]),
        ("lookup", ["lookup plugin '", "lookup plugin '"]),
    ] {
        let missing = message.contains(marks[0]) && marks[0].starts_with("No ")
            || message.contains("failed to load")
            || message.contains("' was not found.");
        let name = marks.iter().find_map(|mark| between(message, mark, "'"));
        if let Some(name) = name.filter(|_| missing) {
            return plugin_unknown(kind, name, scene);
        }
    }
    let mut hints = of_types(message, variables, scene);
    hints.extend(of_syntax(message));
    hints
}

fn undefined(name: &str, written: &Written<'_>, task: &Task, scene: &Scene<'_>) -> Vec<String> {
    if name == "item" {
        return vec![match &task.looped {
            None => "'item' is known in loops only, and this task has none".to_owned(),
            Some(_) => {
                "the loop's variable has another name: see `loop_var` in `loop_control`".to_owned()
            }
        }];
    }
    let mut hints = Vec::new();
    let known = scene.names();
    let dashed = written.expression.find(&format!("{name}-"));
    if let Some(at) = dashed {
        let whole: String = written.expression[at..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
            .collect();
        hints.push(format!(
            "a '-' in an expression subtracts, names of variables have none: is '{whole}' to be '{}'?",
            whole.replace('-', "_")
        ));
        return hints;
    }
    if let Some(near) = nearest(name, known.iter().map(AsRef::as_ref)) {
        let named = Named {
            root: near.to_owned(),
            steps: Vec::new(),
        };
        let value = scene
            .shown(&named)
            .map_or_else(String::new, |(_, value)| format!(" It is {value}"));
        hints.push(format!("{}{value}", meant(near)));
    }
    if name.starts_with("ansible_") && facts_are_missing(scene) {
        hints.push(GATHER.to_owned());
    } else if hints.is_empty() {
        hints.push(format!(
            "give it a value (in `vars`, the inventory, or with -e {name}=...), or say what holds without one: {{{{ {name} | default(...) }}}}; \
             what a task registers is known after that task only"
        ));
    }
    hints
}

const GATHER: &str = "no facts were gathered: say `gather_facts: true` in the play, or run the module `setup` before";

fn facts_are_missing(scene: &Scene<'_>) -> bool {
    scene
        .raw("ansible_facts")
        .is_none_or(|facts| values::keys(&facts).is_none_or(|keys| keys.is_empty()))
}

fn host_unknown(host: &str, scene: &Scene<'_>) -> Vec<String> {
    let hosts: Vec<String> = scene
        .raw("groups")
        .and_then(|groups| match groups {
            Value::Dict(groups) => groups.get("all"),
            _ => None,
        })
        .and_then(|all| all.iterate().ok())
        .unwrap_or_default()
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let mut hints = vec![match nearest(host, hosts.iter().map(String::as_str)) {
        Some(near) => meant(near),
        None => "the inventory has no such host".to_owned(),
    }];
    if !hosts.is_empty() {
        hints.push(format!("the hosts are: {}", listed(&hosts)));
    }
    hints
}

fn no_attribute(name: &str, variables: &[Named], scene: &Scene<'_>) -> Vec<String> {
    for named in variables {
        let Some(at) = values::position(named, name) else {
            continue;
        };
        let Some(value) = scene.value(named, at) else {
            continue;
        };
        return lacking(&named.text(at), &value, name, scene);
    }
    // A filter may have gone into the items of a list: `map(attribute='nam')`.
    for named in variables {
        let Some(Value::List(items)) = scene.value(named, named.steps.len()) else {
            continue;
        };
        let item = items.read().first().cloned();
        if let Some(item) = item.filter(|item| values::keys(item).is_some()) {
            let of = format!("an item of '{}'", named.text(named.steps.len()));
            return lacking_in(&of, &item, name);
        }
    }
    Vec::new()
}

fn lacking(path: &str, value: &Value, name: &str, scene: &Scene<'_>) -> Vec<String> {
    let is = |key: &str| matches!(value, Value::Dict(of) if matches!(of.get(key), Some(Value::Bool(true))));
    let has = |key: &str| matches!(value, Value::Dict(of) if of.get(key).is_some());
    if path == "ansible_facts" && facts_are_missing(scene) {
        return vec![GATHER.to_owned()];
    }
    if is("skipped") && name != "results" {
        return vec![format!(
            "the task that registered '{path}' was skipped: ask `{path} is not skipped` first"
        )];
    }
    if has("results") && has("changed") && name != "results" {
        return vec![format!(
            "'{path}' was registered by a task with a loop: what came of each item is in {path}.results"
        )];
    }
    if name == "results" && has("changed") {
        return vec![format!(
            "the task that registered '{path}' has no loop: what came of it is in '{path}' itself"
        )];
    }
    lacking_in(&format!("'{path}'"), value, name)
}

fn lacking_in(of: &str, value: &Value, name: &str) -> Vec<String> {
    match value {
        Value::Dict(_) => {
            let keys = values::keys(value).unwrap_or_default();
            let mut hints = Vec::new();
            if let Some(near) = nearest(name, keys.iter().map(String::as_str)) {
                hints.push(meant(near));
            }
            hints.push(if keys.is_empty() {
                format!("{of} is empty")
            } else {
                format!("{of} has: {}", listed(&keys))
            });
            hints
        }
        Value::List(items) => {
            let count = items.read().len();
            vec![if name.parse::<i64>().is_ok() {
                format!("{of} has {count} items, the first of which is [0]")
            } else {
                format!(
                    "{of} is a list of {count} items: take one of them ([0]), or go through it with `loop` or `map(attribute='{name}')`"
                )
            }]
        }
        Value::Str(_) => vec![format!("{of} is a text, which has no parts with names")],
        _ => Vec::new(),
    }
}

fn plugin_unknown(kind: &str, name: &str, scene: &Scene<'_>) -> Vec<String> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    let environment = scene.templar.environment();
    let near = match kind {
        "filter" => nearest(leaf, environment.filter_names()).map(str::to_owned),
        "test" => nearest(leaf, environment.test_names()).map(str::to_owned),
        _ => nearest(leaf, BUILTIN_LOOKUPS.iter().copied()).map(str::to_owned),
    };
    if let Some(near) = near {
        return vec![meant(&near)];
    }
    match known::collection(leaf) {
        Some(collection) => vec![format!(
            "it is of the collection {collection}: install that (ansible-galaxy collection install {collection}) and call it {collection}.{leaf}"
        )],
        None => vec![format!(
            "ansible.builtin has no such {kind}: name it with its collection, and see that the collection is installed"
        )],
    }
}

fn of_types(message: &str, variables: &[Named], scene: &Scene<'_>) -> Vec<String> {
    let mut hints = Vec::new();
    if message.contains("unsupported operand type(s) for +")
        || message.contains("can only concatenate")
    {
        hints.push("`~` joins anything as text; `| int` makes a number of a text: {{ a ~ b }}, {{ a | int + b }}".to_owned());
    } else if message.contains("not supported between instances of") {
        hints.push(
            "a text and a number are compared: make both the same kind, with `| int` or `| string`"
                .to_owned(),
        );
    } else if message.contains("was derived from value of type '") {
        let kind = between(message, "was derived from value of type '", "'").unwrap_or_default();
        hints.push(match kind {
            "str" => "a condition must be true or false: ask `x | bool`, `x | length > 0` or `x is defined`",
            "int" | "float" => "a condition must be true or false: compare the number (`x != 0`), or ask `x is defined`",
            "NoneType" => "a condition must be true or false: ask `x is not none`",
            _ => "a condition must be true or false: ask `x | length > 0`, or `x is defined`",
        }.to_owned());
    } else if message.contains("is not callable") {
        hints.push("it is a variable, not a function: leave out the parentheses".to_owned());
    } else if message.contains("is not iterable") {
        hints.push("it wants a list, a dict or a text".to_owned());
    } else if message.contains("Recursive loop detected")
        || message.contains("maximum recursion depth")
    {
        hints.push(circle(variables, scene));
    } else if message.contains("value must resolve to a 'list'") {
        hints.push(
            match between(message, "'list', not '", "'") {
                Some("str") => {
                    "write a list (`loop: [a, b]`), or split the text: \"{{ text.split(',') }}\""
                }
                Some("int") => "to count, write \"{{ range(n) | list }}\"",
                Some("dict") => {
                    "write \"{{ the_dict | dict2items }}\", and use item.key and item.value"
                }
                _ => "write a list, or a template that gives one",
            }
            .to_owned(),
        );
    } else if message.contains("no vault secrets found") {
        hints.push(super::written::VAULT.to_owned());
    }
    hints
}

/// The variables that lead back to themselves.
fn circle(variables: &[Named], scene: &Scene<'_>) -> String {
    for start in variables {
        let mut way = vec![start.root.clone()];
        while way.len() < 20 {
            let Some(Value::Str(text)) = way.last().and_then(|name| scene.raw(name)) else {
                break;
            };
            let next = crate::explain::expression::blocks(&text)
                .into_iter()
                .flat_map(|(_, block)| crate::explain::expression::variables(block))
                .map(|named| named.root)
                .next();
            let Some(next) = next else { break };
            let again = way.contains(&next);
            way.push(next);
            if again {
                return format!(
                    "the values of these variables lead back to themselves: {}",
                    way.join(" -> ")
                );
            }
        }
    }
    "the value of a variable leads back to the variable itself".to_owned()
}

/// What is wrong with how something was written.
pub(super) fn of_syntax(message: &str) -> Vec<String> {
    if !message.contains("Syntax error in") {
        return Vec::new();
    }
    let hint = if message.contains("chunk after expression") {
        "write `==` to compare, and `and`, `or`, `not` for `&&`, `||`, `!`"
    } else if message.contains("unexpected '}'")
        || message.contains("expected token 'end of print statement'")
    {
        "an expression begins with {{ and ends with }}"
    } else if message.contains("unexpected end of template")
        || message.contains("Unexpected end of template")
    {
        "something that was opened is not closed: a parenthesis, a bracket, {{ with }}, or {% if %} with {% endif %}"
    } else if message.contains("unexpected 'end of print statement'") {
        "something is missing before the }}"
    } else if message.contains("unexpected char") {
        "a quote is not closed, or there is a sign that means nothing here"
    } else if message.contains("unknown tag") || message.contains("Encountered unknown tag") {
        "each {% if %}, {% for %}, {% block %} ends with an {% end... %} of its own kind"
    } else {
        return Vec::new();
    };
    vec![hint.to_owned()]
}
