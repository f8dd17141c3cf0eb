//! The paths of printed columns: JSONPath as `client-go` has it.
//!
//! `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`, `.spec.ports[*].port`,
//! `.metadata.annotations['a.b/c']`, `..name`, `.items[-1]`, `.items[0:2]`.

use serde_json::Value;

/// A step of a path.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>, i64),
    All,
    Deep,
    Union(Vec<Step>),
    Filter(Box<Operand>, Option<(Operator, Box<Operand>)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    /// Relative to the item (`@`).
    Path(Vec<Step>),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JsonPath(Vec<Step>);

/// Deeper paths and larger results are given up: no column needs them.
const MOST_STEPS: usize = 64;
const MOST_RESULTS: usize = 10_000;

impl JsonPath {
    /// Parse a path.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = text
            .strip_prefix('{')
            .and_then(|inside| inside.strip_suffix('}'))
            .unwrap_or(text);
        let text = text.strip_prefix('$').unwrap_or(text);
        let mut parser = Parser { rest: text };
        let steps = parser.steps(false)?;
        if !parser.rest.is_empty() {
            return Err(format!("unexpected {:?}", parser.rest));
        }
        Ok(Self(steps))
    }

    /// The values the path leads to.
    pub(super) fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        walk(&self.0, vec![value])
    }

    /// The first of them.
    pub(super) fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        // Most paths are fields only.
        let mut here = value;
        for step in &self.0 {
            match step {
                Step::Field(name) => here = here.get(name)?,
                _ => return self.find(value).into_iter().next(),
            }
        }
        Some(here)
    }
}

fn walk<'v>(steps: &[Step], from: Vec<&'v Value>) -> Vec<&'v Value> {
    let mut here = from;
    for step in steps {
        let mut next = Vec::new();
        for value in here {
            take(step, value, &mut next);
            if next.len() > MOST_RESULTS {
                next.truncate(MOST_RESULTS);
                break;
            }
        }
        here = next;
    }
    here
}

fn take<'v>(step: &Step, value: &'v Value, out: &mut Vec<&'v Value>) {
    match step {
        Step::Field(name) => out.extend(value.get(name.as_str())),
        Step::Index(index) => {
            if let Some(list) = value.as_array() {
                let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
                let place = if *index < 0 { index + length } else { *index };
                out.extend(usize::try_from(place).ok().and_then(|at| list.get(at)));
            }
        }
        Step::Slice(from, to, by) => {
            if let Some(list) = value.as_array() {
                let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
                let place = |bound: i64| {
                    let bound = if bound < 0 { bound + length } else { bound };
                    bound.clamp(0, length)
                };
                let mut at = place(from.unwrap_or(0));
                let end = place(to.unwrap_or(length));
                while at < end {
                    out.extend(usize::try_from(at).ok().and_then(|at| list.get(at)));
                    at += by;
                }
            }
        }
        Step::All => match value {
            Value::Array(list) => out.extend(list),
            Value::Object(map) => out.extend(map.values()),
            _ => {}
        },
        Step::Deep => deep(value, out),
        Step::Union(steps) => {
            for step in steps {
                take(step, value, out);
            }
        }
        Step::Filter(left, right) => {
            if let Some(list) = value.as_array() {
                out.extend(
                    list.iter()
                        .filter(|item| matches(left, right.as_ref(), item)),
                );
            }
        }
    }
}

fn deep<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    if out.len() > MOST_RESULTS {
        return;
    }
    out.push(value);
    match value {
        Value::Array(list) => list.iter().for_each(|item| deep(item, out)),
        Value::Object(map) => map.values().for_each(|member| deep(member, out)),
        _ => {}
    }
}

fn matches(left: &Operand, right: Option<&(Operator, Box<Operand>)>, item: &Value) -> bool {
    let found = |operand: &Operand| -> Vec<Value> {
        match operand {
            Operand::Literal(value) => vec![value.clone()],
            Operand::Path(steps) => walk(steps, vec![item]).into_iter().cloned().collect(),
        }
    };
    let lefts = found(left);
    let Some((operator, right)) = right else {
        return !lefts.is_empty();
    };
    let rights = found(right);
    let ([left], [right]) = (lefts.as_slice(), rights.as_slice()) else {
        return false;
    };
    let order = match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().and_then(|a| a.partial_cmp(&b.as_f64()?))
        }
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) => (a == b).then_some(std::cmp::Ordering::Equal),
    };
    match operator {
        Operator::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
        Operator::NotEqual => !order.is_some_and(std::cmp::Ordering::is_eq),
        Operator::Less => order.is_some_and(std::cmp::Ordering::is_lt),
        Operator::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
        Operator::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
        Operator::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Steps to the end of the text, or of the operand when inside a filter.
    fn steps(&mut self, inside: bool) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        while !self.rest.is_empty() {
            if steps.len() > MOST_STEPS {
                return Err("the path is too long".into());
            }
            if self.eat("..") {
                steps.push(Step::Deep);
                if !self.rest.starts_with('[') {
                    let step = self.name(inside)?;
                    steps.push(step);
                }
            } else if self.eat(".") {
                if self.rest.starts_with('[') || self.rest.is_empty() {
                    continue;
                }
                let step = self.name(inside)?;
                steps.push(step);
            } else if self.eat("[") {
                let step = self.bracket()?;
                steps.push(step);
            } else if inside || steps.is_empty() && self.rest.starts_with('}') {
                break;
            } else if steps.is_empty() {
                let step = self.name(inside)?;
                steps.push(step);
            } else {
                return Err(format!("unexpected {:?}", self.rest));
            }
        }
        Ok(steps)
    }

    fn name(&mut self, inside: bool) -> Result<Step, String> {
        if self.eat("*") {
            return Ok(Step::All);
        }
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    if let Some((_, c)) = chars.next() {
                        name.push(c);
                    }
                }
                '.' | '[' | ']' | '}' => {
                    end = at;
                    break;
                }
                ' ' | '=' | '!' | '<' | '>' | ')' | '&' | '|' if inside => {
                    end = at;
                    break;
                }
                c => name.push(c),
            }
        }
        self.rest = &self.rest[end..];
        if name.is_empty() {
            return Err("a field name is missing".into());
        }
        Ok(Step::Field(name))
    }

    fn bracket(&mut self) -> Result<Step, String> {
        self.space();
        if self.eat("?(") {
            let step = self.filter()?;
            self.space();
            if !self.eat(")") {
                return Err("unterminated filter".into());
            }
            self.space();
            return if self.eat("]") {
                Ok(step)
            } else {
                Err("unterminated array".into())
            };
        }
        let mut steps = Vec::new();
        loop {
            self.space();
            steps.push(self.entry()?);
            self.space();
            if self.eat("]") {
                break;
            }
            if !self.eat(",") || steps.len() > MOST_STEPS {
                return Err("unterminated array".into());
            }
        }
        Ok(if steps.len() == 1 {
            steps.remove(0)
        } else {
            Step::Union(steps)
        })
    }

    fn entry(&mut self) -> Result<Step, String> {
        if self.eat("*") {
            return Ok(Step::All);
        }
        if self.rest.starts_with(['\'', '"']) {
            return Ok(Step::Field(self.quoted()?));
        }
        let end = self.rest.find([']', ',']).ok_or("unterminated array")?;
        let text = self.rest[..end].trim();
        self.rest = &self.rest[end..];
        let number = |text: &str| -> Result<Option<i64>, String> {
            let text = text.trim();
            if text.is_empty() {
                return Ok(None);
            }
            text.parse::<i64>()
                .map(Some)
                .map_err(|_| format!("invalid array index {text}"))
        };
        let mut parts = text.split(':');
        let first = number(parts.next().unwrap_or_default())?;
        let Some(second) = parts.next() else {
            return first
                .map(Step::Index)
                .ok_or_else(|| format!("invalid array index {text}"));
        };
        let second = number(second)?;
        let by = number(parts.next().unwrap_or_default())?.unwrap_or(1);
        if by < 1 {
            return Err("step must be > 0".into());
        }
        Ok(Step::Slice(first, second, by))
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut chars = self.rest.char_indices();
        let Some((_, quote)) = chars.next() else {
            return Err("unterminated string".into());
        };
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = &self.rest[at + c.len_utf8()..];
                return Ok(text);
            }
            if c == '\\' {
                if let Some((_, c)) = chars.next() {
                    text.push(c);
                }
            } else {
                text.push(c);
            }
        }
        Err("unterminated quoted string".into())
    }

    fn filter(&mut self) -> Result<Step, String> {
        let left = self.operand()?;
        self.space();
        let operators = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        for (text, operator) in operators {
            if self.eat(text) {
                let right = self.operand()?;
                return Ok(Step::Filter(
                    Box::new(left),
                    Some((operator, Box::new(right))),
                ));
            }
        }
        Ok(Step::Filter(Box::new(left), None))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.space();
        if self.rest.starts_with(['\'', '"']) {
            return Ok(Operand::Literal(self.quoted()?.into()));
        }
        if self.eat("@") {
            return Ok(Operand::Path(self.steps(true)?));
        }
        let end = self
            .rest
            .find([' ', ')', '=', '!', '<', '>'])
            .unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        let literal = match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            number => {
                let parsed: Option<Value> = serde_json::from_str(number).ok();
                parsed
                    .filter(Value::is_number)
                    .ok_or_else(|| format!("unrecognized operand {text:?}"))?
            }
        };
        self.rest = &self.rest[end..];
        Ok(Operand::Literal(literal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_where_they_lead_in_kubectl() {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "x"}},
            "spec": {"replicas": 3, "ports": [{"port": 1}, {"port": 2}, {"port": 3}], "d.e": 5},
            "status": {"conditions": [
                {"type": "Synced", "status": "False"},
                {"type": "Ready", "status": "True", "count": 2},
            ]},
        });
        for (path, want) in [
            (".spec.replicas", json!([3])),
            ("{.spec.replicas}", json!([3])),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                json!(["True"]),
            ),
            (
                ".status.conditions[?(@.type == 'Ready')].status",
                json!(["True"]),
            ),
            (".status.conditions[?(@.count)].type", json!(["Ready"])),
            (".status.conditions[?(@.count>1)].type", json!(["Ready"])),
            (
                ".status.conditions[?(@.type!=\"Ready\")].type",
                json!(["Synced"]),
            ),
            (".spec.ports[*].port", json!([1, 2, 3])),
            (".spec.ports[-1].port", json!([3])),
            (".spec.ports[0:2].port", json!([1, 2])),
            (".spec.ports[0,2].port", json!([1, 3])),
            (".metadata.annotations['a.b/c']", json!(["x"])),
            (".metadata.annotations.a\\.b/c", json!(["x"])),
            (".spec.d\\.e", json!([5])),
            ("..port", json!([1, 2, 3])),
            (".spec.absent.more", json!([])),
        ] {
            let parsed = JsonPath::parse(path).unwrap_or_else(|why| panic!("{path}: {why}"));
            assert_eq!(json!(parsed.find(&object)), want, "{path}");
        }
        for path in [".a[", ".a[?(@.b==]", ".a['b", ".a[x]"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }
}
