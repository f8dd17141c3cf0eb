//! The part of a template that something is wrong with, and the variables it names.

/// Words of the language, which are no variables.
const WORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "elif",
    "else",
    "endif",
    "for",
    "endfor",
    "recursive",
    "set",
    "endset",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "omit",
    "block",
    "endblock",
    "macro",
    "endmacro",
    "call",
    "endcall",
    "filter",
    "endfilter",
    "include",
    "import",
    "from",
    "as",
    "with",
    "without",
    "context",
    "ignore",
    "missing",
    "extends",
    "do",
    "raw",
    "endraw",
    "endwith",
    "break",
    "continue",
    "loop",
    "namespace",
    "dict",
    "range",
    "lookup",
    "query",
    "q",
    "now",
    "undef",
    "lipsum",
    "cycler",
    "joiner",
    "varargs",
    "kwargs",
    "self",
    "super",
];

/// One step from a value to one in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// An attribute or a key.
    Name(String),
    /// An item of a list.
    Index(i64),
}

/// A variable and the way to a value in it, as an expression names them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Named {
    /// The variable.
    pub(super) root: String,
    /// The way from it.
    pub(super) steps: Vec<Step>,
}

impl Named {
    /// As it would be written, up to a number of steps.
    pub(super) fn text(&self, steps: usize) -> String {
        let mut text = self.root.clone();
        for step in &self.steps[..steps.min(self.steps.len())] {
            match step {
                Step::Name(name) if is_name(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                Step::Name(name) => {
                    text.push_str(&format!("[{}]", consort_jinja::repr::string(name)));
                }
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// The expressions and statements of a template, each with where it begins; the whole, if it is an expression itself.
pub(super) fn blocks(template: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = template[at..]
        .find("{{")
        .into_iter()
        .chain(template[at..].find("{%"))
        .min()
    {
        let begin = at + begin;
        let close = if template[begin..].starts_with("{{") {
            "}}"
        } else {
            "%}"
        };
        let end = template[begin + 2..]
            .find(close)
            .map_or(template.len(), |end| begin + 2 + end + 2);
        found.push((begin, &template[begin..end]));
        at = end;
    }
    if found.is_empty() {
        found.push((0, template));
    }
    found
}

/// The block that names a word; the only one, if there is no such word.
pub(super) fn naming<'t>(template: &'t str, word: Option<&str>) -> Option<(usize, &'t str)> {
    let blocks = blocks(template);
    let names = |text: &str, word: &str| {
        text.match_indices(word).any(|(at, _)| {
            let letter = |c: char| c.is_alphanumeric() || c == '_';
            !text[..at].ends_with(letter) && !text[at + word.len()..].starts_with(letter)
        })
    };
    match word {
        Some(word) => blocks.into_iter().find(|(_, text)| names(text, word)),
        None if blocks.len() == 1 => blocks.first().copied(),
        None => None,
    }
}

/// The variables an expression names, each once.
pub(super) fn variables(expression: &str) -> Vec<Named> {
    let chars: Vec<char> = expression.chars().collect();
    let mut found: Vec<Named> = Vec::new();
    let mut at = 0;
    let mut before = ' ';
    let mut word_before = String::new();
    while at < chars.len() {
        let c = chars[at];
        if c == '\'' || c == '"' {
            at = after_quoted(&chars, at);
            before = c;
            word_before.clear();
            continue;
        }
        if !(c.is_alphabetic() || c == '_') {
            if !c.is_whitespace() {
                before = c;
                word_before.clear();
            }
            at += 1;
            // A number has no names in it.
            while c.is_ascii_digit()
                && at < chars.len()
                && (chars[at].is_alphanumeric() || chars[at] == '_')
            {
                at += 1;
            }
            continue;
        }
        let (word, end) = word(&chars, at);
        at = end;
        let tested = word_before == "is" || (word_before == "not" && before == 't');
        let skips = before == '|' || before == '.' || tested || WORDS.contains(&word.as_str());
        if !skips {
            let mut named = Named {
                root: word.clone(),
                steps: Vec::new(),
            };
            at = steps(&chars, at, &mut named.steps);
            let next = chars[at..]
                .iter()
                .position(|c| !c.is_whitespace())
                .map(|skip| at + skip);
            let called = next.is_some_and(|next| chars[next] == '(');
            // The name of an argument: `join(separator=',')`.
            let argument = (before == '(' || before == ',')
                && next.is_some_and(|next| chars[next] == '=' && chars.get(next + 1) != Some(&'='));
            if called {
                named.steps.pop();
            }
            let function = called && named.steps.is_empty() && at == end;
            if !argument && !function && !found.contains(&named) {
                found.push(named);
            }
        }
        // `is not` asks the test that follows.
        before = if word_before == "is" && word == "not" {
            't'
        } else {
            'w'
        };
        word_before = word;
    }
    found
}

fn word(chars: &[char], at: usize) -> (String, usize) {
    let mut end = at;
    while end < chars.len() && (chars[end].is_alphanumeric() || chars[end] == '_') {
        end += 1;
    }
    (chars[at..end].iter().collect(), end)
}

fn after_quoted(chars: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != chars[at] {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

/// The steps that follow a name: `.a`, `['b']`, `[0]`.
fn steps(chars: &[char], mut at: usize, found: &mut Vec<Step>) -> usize {
    loop {
        match chars.get(at) {
            Some('.')
                if chars
                    .get(at + 1)
                    .is_some_and(|c| c.is_alphabetic() || *c == '_') =>
            {
                let (name, end) = word(chars, at + 1);
                found.push(Step::Name(name));
                at = end;
            }
            Some('[') => {
                let Some(end) = chars[at..]
                    .iter()
                    .position(|c| *c == ']')
                    .map(|end| at + end)
                else {
                    return at;
                };
                let inner: String = chars[at + 1..end].iter().collect();
                let inner = inner.trim();
                let quoted = inner
                    .strip_prefix('\'')
                    .and_then(|rest| rest.strip_suffix('\''))
                    .or_else(|| {
                        inner
                            .strip_prefix('"')
                            .and_then(|rest| rest.strip_suffix('"'))
                    });
                match (quoted, inner.parse::<i64>()) {
                    (Some(name), _) => found.push(Step::Name(name.to_owned())),
                    (None, Ok(index)) => found.push(Step::Index(index)),
                    (None, Err(_)) => return at,
                }
                at = end + 1;
            }
            _ => return at,
        }
    }
}
