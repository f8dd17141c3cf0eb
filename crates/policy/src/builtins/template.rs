//! Templates of text in the language of Go's `text/template`: fields, variables, `if`, `with`, `range`, and the comparing functions.

use regorus::Value;

use super::text::shown;
use super::{Failure, Function, Outcome, operand, string, text_at, wrong};

pub(super) const FUNCTIONS: &[Function] = &[("strings.render_template", 2, |operands| {
    let template = text_at(operands, 0)?;
    if !matches!(operand(operands, 1), Value::Object(_)) {
        return Err(wrong(operands, 1, "object"));
    }
    let mut pieces = split(template)?.into_iter().peekable();
    let nodes = parse(&mut pieces, 0)?.0;
    let mut out = String::new();
    let mut names = vec![("$".to_owned(), operand(operands, 1).clone())];
    let mut left = MAX_STEPS;
    render(
        &nodes,
        operand(operands, 1),
        &mut names,
        &mut out,
        &mut left,
    )?;
    Ok(string(out))
})];

/// How deep actions may nest.
const MAX_DEPTH: usize = 64;
/// How many actions one rendering may take.
const MAX_STEPS: usize = 1_000_000;

enum Piece {
    Text(String),
    Action(Vec<String>),
}

enum Node {
    Text(String),
    Show(Vec<String>),
    Set(String, Vec<String>),
    If {
        branches: Vec<(Vec<String>, Vec<Node>)>,
        otherwise: Vec<Node>,
        dot: bool,
    },
    Range {
        names: Vec<String>,
        over: Vec<String>,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// The text between actions, and the words of each action.
fn split(template: &str) -> Result<Vec<Piece>, Failure> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim = false;
    while let Some(at) = rest.find("{{") {
        let (text, after) = rest.split_at(at);
        let after = &after[2..];
        let end = after.find("}}").ok_or("unclosed action")?;
        let (mut action, following) = (&after[..end], &after[end + 2..]);
        let mut text = if trim { text.trim_start() } else { text };
        if let Some(inner) = action.strip_prefix("- ") {
            action = inner;
            text = text.trim_end();
        }
        trim = action.ends_with(" -");
        action = action.strip_suffix(" -").unwrap_or(action);
        pieces.push(Piece::Text(text.to_owned()));
        if !action.trim_start().starts_with("/*") {
            pieces.push(Piece::Action(words(action)?));
        }
        rest = following;
    }
    pieces.push(Piece::Text(
        if trim { rest.trim_start() } else { rest }.to_owned(),
    ));
    Ok(pieces)
}

fn words(action: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut chars = action.chars().peekable();
    while let Some(&char) = chars.peek() {
        match char {
            char if char.is_whitespace() => {
                chars.next();
            }
            '"' | '`' => {
                let mut word = String::from('"');
                chars.next();
                loop {
                    match chars.next().ok_or("unterminated quoted string")? {
                        end if end == char => break,
                        '\\' if char == '"' => {
                            match chars.next().ok_or("unterminated quoted string")? {
                                'n' => word.push('\n'),
                                't' => word.push('\t'),
                                other => word.push(other),
                            }
                        }
                        other => word.push(other),
                    }
                }
                words.push(word);
            }
            ',' | '(' | ')' | '|' => {
                words.push(char.to_string());
                chars.next();
            }
            _ => {
                let mut word = String::new();
                while let Some(&char) = chars.peek() {
                    if char.is_whitespace() || matches!(char, ',' | '(' | ')' | '|' | '"' | '`') {
                        break;
                    }
                    word.push(char);
                    chars.next();
                }
                words.push(word);
            }
        }
    }
    Ok(words)
}

type Pieces = std::iter::Peekable<std::vec::IntoIter<Piece>>;

/// Reads up to the action that closes the present one, which it gives too.
fn parse(pieces: &mut Pieces, depth: usize) -> Result<(Vec<Node>, Option<Vec<String>>), Failure> {
    if depth > MAX_DEPTH {
        return Err("actions are nested too deeply".into());
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let words = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(words) => words,
        };
        match words.first().map(String::as_str) {
            Some("end" | "else") => return Ok((nodes, Some(words))),
            Some(kind @ ("if" | "with")) => {
                let dot = kind == "with";
                let mut branches = Vec::new();
                let mut condition = words[1..].to_vec();
                let otherwise = loop {
                    let (body, closing) = parse(pieces, depth + 1)?;
                    branches.push((condition, body));
                    let closing = closing.ok_or("unexpected end of the template")?;
                    match closing
                        .iter()
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                        .as_slice()
                    {
                        ["end"] => break Vec::new(),
                        ["else"] => {
                            let (body, closing) = parse(pieces, depth + 1)?;
                            if closing.as_deref().is_none_or(|closing| closing != ["end"]) {
                                return Err("an else is not closed by an end".into());
                            }
                            break body;
                        }
                        ["else", "if" | "with", ..] => condition = closing[2..].to_vec(),
                        _ => return Err("an action is closed by neither end nor else".into()),
                    }
                };
                nodes.push(Node::If {
                    branches,
                    otherwise,
                    dot,
                });
            }
            Some("range") => {
                let (names, over) = match words.iter().position(|word| word == ":=") {
                    Some(at) => (
                        words[1..at]
                            .iter()
                            .filter(|word| *word != ",")
                            .cloned()
                            .collect(),
                        words[at + 1..].to_vec(),
                    ),
                    None => (Vec::new(), words[1..].to_vec()),
                };
                let (body, closing) = parse(pieces, depth + 1)?;
                let otherwise = match closing.as_deref() {
                    Some([end]) if end == "end" => Vec::new(),
                    Some([word]) if word == "else" => parse(pieces, depth + 1)?.0,
                    _ => return Err("a range is not closed by an end".into()),
                };
                nodes.push(Node::Range {
                    names,
                    over,
                    body,
                    otherwise,
                });
            }
            Some("define" | "template" | "block" | "break" | "continue") => {
                return Err(Failure::Other(format!(
                    "the action {} is not known",
                    words[0]
                )));
            }
            Some(name)
                if name.starts_with('$')
                    && words.get(1).is_some_and(|word| word == ":=" || word == "=") =>
            {
                nodes.push(Node::Set(name.to_owned(), words[2..].to_vec()));
            }
            Some(_) => nodes.push(Node::Show(words)),
            None => return Err("missing value for command".into()),
        }
    }
    if depth > 0 {
        return Err("unexpected end of the template".into());
    }
    Ok((nodes, None))
}

type Names = Vec<(String, Value)>;

fn render(
    nodes: &[Node],
    dot: &Value,
    names: &mut Names,
    out: &mut String,
    left: &mut usize,
) -> Result<(), Failure> {
    for node in nodes {
        *left = left.checked_sub(1).ok_or("the template renders too much")?;
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Show(words) => match value(words, dot, names)? {
                Value::Undefined => out.push_str("<undefined>"),
                value => out.push_str(&plain(&value)),
            },
            Node::Set(name, words) => {
                let value = value(words, dot, names)?;
                names.push((name.clone(), value));
            }
            Node::If {
                branches,
                otherwise,
                dot: moves,
            } => {
                let mut chosen = (otherwise, dot.clone());
                for (condition, body) in branches {
                    let value = value(condition, dot, names)?;
                    if truth(&value) {
                        chosen = (body, if *moves { value } else { dot.clone() });
                        break;
                    }
                }
                let known = names.len();
                render(chosen.0, &chosen.1, names, out, left)?;
                names.truncate(known);
            }
            Node::Range {
                names: given,
                over,
                body,
                otherwise,
            } => {
                let entries: Vec<(Value, Value)> = match value(over, dot, names)? {
                    Value::Array(items) => items
                        .iter()
                        .enumerate()
                        .map(|(at, item)| (Value::from(at as u64), item.clone()))
                        .collect(),
                    Value::Set(items) => items
                        .iter_sorted()
                        .enumerate()
                        .map(|(at, item)| (Value::from(at as u64), item.clone()))
                        .collect(),
                    Value::Object(fields) => fields
                        .iter_sorted()
                        .map(|(key, value)| (key.clone(), value.clone()))
                        .collect(),
                    Value::Undefined | Value::Null => Vec::new(),
                    other => {
                        return Err(Failure::Other(format!(
                            "range can't iterate over {}",
                            plain(&other)
                        )));
                    }
                };
                if entries.is_empty() {
                    render(otherwise, dot, names, out, left)?;
                }
                for (key, item) in entries {
                    let known = names.len();
                    match given.as_slice() {
                        [one] => names.push((one.clone(), item.clone())),
                        [first, second] => {
                            names.extend([(first.clone(), key), (second.clone(), item.clone())]);
                        }
                        _ => {}
                    }
                    render(body, &item, names, out, left)?;
                    names.truncate(known);
                }
            }
        }
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(plain).collect::<Vec<_>>().join(" ")
        ),
        Value::Object(fields) => {
            let fields = fields
                .iter_sorted()
                .map(|(key, value)| format!("{}:{}", plain(key), plain(value)));
            format!("map[{}]", fields.collect::<Vec<_>>().join(" "))
        }
        other => shown(other),
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Undefined | Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().next().is_some(),
        Value::Set(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// The value of one pipeline; each stage's value is the last operand of the next.
fn value(words: &[String], dot: &Value, names: &Names) -> Outcome {
    let mut last = None;
    for stage in words.split(|word| word == "|") {
        last = Some(command(stage, last, dot, names)?);
    }
    last.ok_or_else(|| "missing value for command".into())
}

fn command(words: &[String], piped: Option<Value>, dot: &Value, names: &Names) -> Outcome {
    let mut operands = Vec::new();
    let mut at = 1;
    while at < words.len() {
        if words[at] == "(" {
            let mut depth = 1;
            let from = at + 1;
            while depth > 0 {
                at += 1;
                match words.get(at).map(String::as_str) {
                    Some("(") => depth += 1,
                    Some(")") => depth -= 1,
                    Some(_) => {}
                    None => return Err("unclosed left paren".into()),
                }
            }
            operands.push(value(&words[from..at], dot, names)?);
        } else {
            operands.push(single(&words[at], dot, names)?);
        }
        at += 1;
    }
    operands.extend(piped);
    let Some(first) = words.first() else {
        return Err("missing value for command".into());
    };
    if first == "(" {
        let inner = words
            .strip_prefix(&["(".to_owned()])
            .and_then(|words| words.strip_suffix(&[")".to_owned()]))
            .ok_or("unclosed left paren")?;
        return value(inner, dot, names);
    }
    let two = || match operands.as_slice() {
        [left, right] => Ok((left, right)),
        _ => Err(Failure::Other(format!("wrong number of args for {first}"))),
    };
    Ok(match first.as_str() {
        "eq" => {
            let (left, rest) = operands
                .split_first()
                .ok_or("missing argument for comparison")?;
            Value::from(rest.iter().any(|right| right == left))
        }
        "ne" => Value::from(two()?.0 != two()?.1),
        "lt" => Value::from(two()?.0 < two()?.1),
        "le" => Value::from(two()?.0 <= two()?.1),
        "gt" => Value::from(two()?.0 > two()?.1),
        "ge" => Value::from(two()?.0 >= two()?.1),
        "not" => Value::from(!truth(
            operands.first().ok_or("wrong number of args for not")?,
        )),
        "and" => operands
            .iter()
            .find(|value| !truth(value))
            .or(operands.last())
            .cloned()
            .ok_or("wrong number of args for and")?,
        "or" => operands
            .iter()
            .find(|value| truth(value))
            .or(operands.last())
            .cloned()
            .ok_or("wrong number of args for or")?,
        "len" => match operands.first() {
            Some(Value::String(text)) => Value::from(text.len() as u64),
            Some(Value::Array(items)) => Value::from(items.len() as u64),
            Some(Value::Set(items)) => Value::from(items.len() as u64),
            Some(Value::Object(fields)) => Value::from(fields.len() as u64),
            _ => return Err("len of a value that has no length".into()),
        },
        "print" => string(operands.iter().map(plain).collect::<String>()),
        "println" => string(operands.iter().map(plain).collect::<Vec<_>>().join(" ") + "\n"),
        "index" => {
            let (from, keys) = operands.split_first().ok_or("missing argument for index")?;
            keys.iter()
                .fold(from.clone(), |value, key| value[key].clone())
        }
        _ if operands.is_empty() => single(first, dot, names)?,
        name => return Err(Failure::Other(format!("function \"{name}\" not defined"))),
    })
}

fn single(word: &str, dot: &Value, names: &Names) -> Outcome {
    let (from, path) = if let Some(text) = word.strip_prefix('"') {
        return Ok(string(text));
    } else if let Some(path) = word.strip_prefix('.') {
        (dot.clone(), path)
    } else if word.starts_with('$') {
        let (name, path) = word.split_once('.').unwrap_or((word, ""));
        let known = names.iter().rev().find(|(known, _)| known == name);
        (
            known
                .map(|(_, value)| value.clone())
                .ok_or_else(|| Failure::Other(format!("undefined variable \"{name}\"")))?,
            path,
        )
    } else {
        return match word {
            "true" => Ok(Value::from(true)),
            "false" => Ok(Value::from(false)),
            "nil" => Ok(Value::Null),
            word => Value::from_numeric_string(word)
                .map_err(|_| Failure::Other(format!("function \"{word}\" not defined"))),
        };
    };
    Ok(path
        .split('.')
        .filter(|key| !key.is_empty())
        .fold(from, |value, key| value[&string(key)].clone()))
}
