//! The syntax of the command-line configuration: HCL in its first version, which allows what the second does not
//! (quoted argument names, objects without equals signs). Only what configurations have is read: no heredocs.

/// A value, or the content of a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    String(String),
    Number(f64),
    Bool(bool),
    List(Vec<Node>),
    Object(Vec<Item>),
}

/// `key "label" { .. }` or `key = value`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) keys: Vec<String>,
    pub(super) value: Node,
    /// Whether an equals sign stands between them.
    pub(super) assigned: bool,
    pub(super) line: usize,
}

impl Node {
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Item] {
        match self {
            Self::Object(items) => items,
            _ => &[],
        }
    }

    pub(super) fn strings(&self) -> Option<Vec<String>> {
        match self {
            Self::List(nodes) => nodes
                .iter()
                .map(|node| node.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        }
    }
}

/// How deep objects and lists may be nested.
const DEEPEST: usize = 32;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// Reads a configuration, in the native syntax or as JSON.
///
/// # Errors
/// With the line and what is wrong there.
pub(super) fn parse(text: &str) -> Result<Vec<Item>, String> {
    if text.trim_start().starts_with('{') {
        let json: serde_json::Value =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        return Ok(from_json(&json).items().to_vec());
    }
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let items = parser.items(false)?;
    Ok(items)
}

fn from_json(value: &serde_json::Value) -> Node {
    match value {
        serde_json::Value::Null => Node::String(String::new()),
        serde_json::Value::Bool(value) => Node::Bool(*value),
        serde_json::Value::Number(value) => Node::Number(value.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Node::String(text.clone()),
        serde_json::Value::Array(values) => Node::List(values.iter().map(from_json).collect()),
        serde_json::Value::Object(map) => Node::Object(
            map.iter()
                .flat_map(|(key, value)| {
                    let item = |value| Item {
                        keys: vec![key.clone()],
                        value: from_json(value),
                        assigned: false,
                        line: 0,
                    };
                    // Blocks may be repeated by an array of objects.
                    match value {
                        serde_json::Value::Array(values)
                            if values.iter().all(serde_json::Value::is_object)
                                && !values.is_empty() =>
                        {
                            values.iter().map(item).collect()
                        }
                        value => vec![item(value)],
                    }
                })
                .collect(),
        ),
    }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn line(&self) -> usize {
        self.text[..self.at].matches('\n').count() + 1
    }

    fn fail<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("line {}: {what}", self.line()))
    }

    fn space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            let skipped = if trimmed.starts_with('#') || trimmed.starts_with("//") {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map_or(trimmed.len(), |end| end + 2)
            } else {
                return;
            };
            self.at += skipped;
        }
    }

    fn eat(&mut self, token: char) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len_utf8();
        }
        found
    }

    fn items(&mut self, nested: bool) -> Result<Vec<Item>, String> {
        if self.depth > DEEPEST {
            return self.fail("nested too deep");
        }
        self.depth += 1;
        let mut items = Vec::new();
        loop {
            self.eat(',');
            self.space();
            if self.rest().is_empty() {
                if nested {
                    return self.fail("a closing brace is missing");
                }
                break;
            }
            if nested && self.eat('}') {
                break;
            }
            items.push(self.item()?);
        }
        self.depth -= 1;
        Ok(items)
    }

    fn item(&mut self) -> Result<Item, String> {
        let line = self.line();
        let mut keys = Vec::new();
        loop {
            self.space();
            if self.rest().starts_with('{') && !keys.is_empty() {
                self.at += 1;
                return Ok(Item {
                    keys,
                    value: Node::Object(self.items(true)?),
                    assigned: false,
                    line,
                });
            }
            if (self.rest().starts_with('=') || self.rest().starts_with(':')) && keys.len() == 1 {
                self.at += 1;
                return Ok(Item {
                    keys,
                    value: self.value()?,
                    assigned: true,
                    line,
                });
            }
            if self.rest().starts_with('"') {
                keys.push(self.string()?);
                continue;
            }
            let word = self.word();
            if word.is_empty() {
                return self.fail("a name, an equals sign or an opening brace is expected");
            }
            keys.push(word);
        }
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let end = rest
            .find(|character: char| !(character.is_alphanumeric() || "_-.".contains(character)))
            .unwrap_or(rest.len());
        let word = rest[..end].to_string();
        self.at += end;
        word
    }

    fn string(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let mut characters = self.text[self.at + 1..].char_indices();
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' => {
                    self.at += offset + 2;
                    return Ok(text);
                }
                '\n' => break,
                '\\' => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    _ => return self.fail("an unknown escape sequence"),
                },
                character => text.push(character),
            }
        }
        self.fail("a string is not closed")
    }

    fn value(&mut self) -> Result<Node, String> {
        if self.depth > DEEPEST {
            return self.fail("nested too deep");
        }
        self.space();
        match self.rest().chars().next() {
            Some('"') => self.string().map(Node::String),
            Some('{') => {
                self.at += 1;
                self.items(true).map(Node::Object)
            }
            Some('[') => {
                self.at += 1;
                self.depth += 1;
                let mut nodes = Vec::new();
                while !self.eat(']') {
                    nodes.push(self.value()?);
                    if !self.eat(',')
                        && !{
                            self.space();
                            self.rest().starts_with(']')
                        }
                    {
                        return self.fail("a comma or a closing bracket is expected");
                    }
                }
                self.depth -= 1;
                Ok(Node::List(nodes))
            }
            _ => match self.word().as_str() {
                "true" => Ok(Node::Bool(true)),
                "false" => Ok(Node::Bool(false)),
                word => match word.parse() {
                    Ok(number) => Ok(Node::Number(number)),
                    Err(_) => self.fail("a value is expected"),
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_labels_quoted_names_and_comments_are_read() {
        let items = parse(
            "# c\nplugin_cache_dir = \"$HOME/x\" // d\ncredentials \"a.b\" {\n  token = \"t\\\"\"\n}\n/* e\n*/ p {\n dev_overrides {\n \"h/n\" = \"/x\", \"h/m\" = \"/y\" }\n direct { include = [\"a/*\", \"b/*\",] } }",
        )
        .unwrap();
        assert_eq!(items.len(), 3);
        assert_eq!(items[1].keys, ["credentials", "a.b"]);
        assert_eq!(
            items[1].value.items()[0].value,
            Node::String("t\"".to_string())
        );
        let overrides = items[2].value.items()[0].value.items();
        assert_eq!((overrides[1].keys[0].as_str(), overrides.len()), ("h/m", 2));
        let direct = &items[2].value.items()[1].value.items()[0];
        assert_eq!(direct.value.strings().unwrap(), ["a/*", "b/*"]);
        assert_eq!(
            parse(r#"{"credentials": {"h": {"token": "t"}}}"#).unwrap()[0]
                .value
                .items()[0]
                .keys,
            ["h"]
        );
        for bad in [
            "a",
            "a {",
            "a = ",
            "a = [1 2]",
            "= 1",
            "a = \"x",
            &"a {".repeat(100),
            &format!("a = {}", "[".repeat(100)),
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
