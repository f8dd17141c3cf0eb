//! What a Python source imports of `module_utils`, found without an interpreter.
//!
//! The source is cut into logical lines (strings, comments, brackets and continued lines are known); statements that begin
//! with `import` or `from` are read, wherever they stand.

/// A name that is imported: of a module, or of something in a module.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Import {
    /// Its parts: `ansible`, `module_utils`, `basic`, `AnsibleModule`.
    pub(super) name: Vec<String>,
    /// Whether it may be missing: it is not imported at the top of the source.
    pub(super) optional: bool,
}

/// What a source imports of `ansible.module_utils` and of collections' `module_utils`.
///
/// `name` is the full name of the module the source is of, `package` whether that is a package: relative imports begin there.
pub(super) fn imports(source: &str, name: &str, package: bool) -> Vec<Import> {
    let mut found = Vec::new();
    for statement in statements(source) {
        let words = &statement.words;
        match words.first().map(String::as_str) {
            Some("import") => plain(words, statement.inner, &mut found),
            Some("from") => of_module(words, statement.inner, name, package, &mut found),
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Packages of resources that a source asks to be brought with it: the two texts of each `EmbedManager.embed(...)`.
pub(super) fn embeds(source: &str, name: &str) -> Vec<(String, String)> {
    if !source.contains("module_utils.embed") && !source.contains("import embed") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(".embed(") {
        rest = &rest[at + ".embed(".len()..];
        let Some(end) = rest.find(')') else { break };
        let mut texts = rest[..end].split(',').filter_map(|text| {
            let text = text.trim();
            let quote = text
                .chars()
                .next()
                .filter(|quote| matches!(quote, '\'' | '"'))?;
            text.strip_prefix(quote)?.strip_suffix(quote)
        });
        if let (Some(package), Some(resource)) = (texts.next(), texts.next()) {
            let parent = name.rsplit_once('.').map_or("", |(parent, _)| parent);
            found.push((resolve(package, parent), resource.to_owned()));
        }
    }
    found
}

/// A relative name of a package made absolute.
fn resolve(package: &str, parent: &str) -> String {
    let dots = package.len() - package.trim_start_matches('.').len();
    if dots == 0 {
        return package.to_owned();
    }
    let parts: Vec<&str> = parent.split('.').collect();
    let kept = parts.len().saturating_sub(dots - 1);
    let mut name = parts[..kept].join(".");
    if package.len() > dots {
        name.push('.');
        name.push_str(&package[dots..]);
    }
    name
}

/// `import a.b, c as d`.
fn plain(words: &[String], inner: bool, found: &mut Vec<Import>) {
    for part in words[1..].split(|word| word == ",") {
        let Some(name) = part.first() else { continue };
        if name.starts_with("ansible.module_utils.") || name.starts_with("ansible_collections.") {
            found.push(Import {
                name: parts(name),
                optional: inner,
            });
        }
    }
}

/// `from a.b import c as d, e`.
fn of_module(words: &[String], inner: bool, own: &str, package: bool, found: &mut Vec<Import>) {
    let Some(import) = words.iter().position(|word| word == "import") else {
        return;
    };
    let module: String = words[1..import].concat();
    let level = module.len() - module.trim_start_matches('.').len();
    let mut base: Vec<String> = Vec::new();
    if level > 0 {
        let own = parts(own);
        let up = if package { level - 1 } else { level };
        base.extend_from_slice(&own[..own.len().saturating_sub(up)]);
    }
    base.extend(parts(&module[level..]));
    let joined = base.join(".");
    let core = joined.starts_with("ansible.module_utils");
    let collection = joined.starts_with("ansible_collections.")
        && (joined.ends_with("plugins.module_utils") || joined.contains(".plugins.module_utils."));
    if !core && !collection {
        return;
    }
    let names = words[import + 1..]
        .split(|word| word == ",")
        .filter_map(|part| part.iter().find(|word| *word != "(" && *word != ")"));
    for name in names {
        let mut full = base.clone();
        full.push(name.clone());
        found.push(Import {
            name: full,
            optional: inner,
        });
    }
}

fn parts(name: &str) -> Vec<String> {
    name.split('.')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A statement that may import something.
struct Statement {
    /// Its words, with brackets and commas as words of their own; dots belong to names.
    words: Vec<String>,
    /// Whether it stands inside something.
    inner: bool,
}

/// The statements of a source that begin with `import` or `from`.
fn statements(source: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut scanner = Scanner {
        bytes: source.as_bytes(),
        at: 0,
    };
    while let Some(statement) = scanner.statement() {
        if matches!(
            statement.words.first().map(String::as_str),
            Some("import" | "from")
        ) {
            found.push(statement);
        }
    }
    found
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The next statement; none at the end. Of statements that are no imports only the first word is kept.
    fn statement(&mut self) -> Option<Statement> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let line_start = self.at == 0 || self.bytes[self.at - 1] == b'\n';
        let mut statement = Statement {
            words: Vec::new(),
            inner: !line_start || matches!(self.peek(0), b' ' | b'\t'),
        };
        // after a semicolon at the top of the source
        if !line_start {
            let mut back = self.at;
            while back > 0 && self.bytes[back - 1] != b'\n' {
                back -= 1;
            }
            statement.inner = matches!(self.bytes[back], b' ' | b'\t');
        }
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'#' => {
                    while self.at < self.bytes.len() && self.peek(0) != b'\n' {
                        self.at += 1;
                    }
                }
                b'\n' => {
                    self.at += 1;
                    if depth == 0 {
                        return Some(statement);
                    }
                }
                b'\\' if matches!(self.peek(1), b'\n' | b'\r') => self.at += 2,
                b';' if depth == 0 => {
                    self.at += 1;
                    return Some(statement);
                }
                b':' if depth == 0 && !importing(&statement) => {
                    // what follows on the line of a compound statement is inside it
                    self.at += 1;
                    statement = Statement {
                        words: Vec::new(),
                        inner: true,
                    };
                }
                quote @ (b'\'' | b'"') => {
                    self.string(quote);
                    keep(&mut statement, "''".to_owned());
                }
                open @ (b'(' | b'[' | b'{') => {
                    depth += 1;
                    self.at += 1;
                    keep(&mut statement, char::from(open).to_string());
                }
                close @ (b')' | b']' | b'}') => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                    keep(&mut statement, char::from(close).to_string());
                }
                byte if byte.is_ascii_whitespace() => self.at += 1,
                byte if byte.is_ascii_alphanumeric()
                    || byte == b'_'
                    || byte == b'.'
                    || byte >= 0x80 =>
                {
                    let start = self.at;
                    while {
                        let byte = self.peek(0);
                        byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' || byte >= 0x80
                    } {
                        self.at += 1;
                    }
                    let word = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
                    keep(&mut statement, word);
                }
                other => {
                    self.at += 1;
                    keep(&mut statement, char::from(other).to_string());
                }
            }
        }
        Some(statement)
    }

    /// Passes over a string. Whether it is raw does not matter: a backslash keeps its quote in both.
    fn string(&mut self, quote: u8) {
        let triple = self.peek(1) == quote && self.peek(2) == quote;
        self.at += if triple { 3 } else { 1 };
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'\\' => self.at += 2,
                byte if byte == quote => {
                    if !triple {
                        self.at += 1;
                        return;
                    }
                    if self.peek(1) == quote && self.peek(2) == quote {
                        self.at += 3;
                        return;
                    }
                    self.at += 1;
                }
                // a string that was never closed: the line is the end of it
                b'\n' if !triple => return,
                _ => self.at += 1,
            }
        }
    }
}

fn importing(statement: &Statement) -> bool {
    matches!(
        statement.words.first().map(String::as_str),
        Some("import" | "from")
    )
}

fn keep(statement: &mut Statement, word: String) {
    if statement.words.is_empty() || importing(statement) {
        statement.words.push(word);
    }
}
