//! Files of sections with `name = value`, as Python's `configparser.RawConfigParser` reads and writes them.

use indexmap::IndexMap;

/// The entries of a section.
type Section = IndexMap<String, String>;

/// The name of the section whose entries hold in all others.
const DEFAULT: &str = "DEFAULT";

/// What such a file holds, in its order. Comments are not kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    defaults: Section,
    sections: IndexMap<String, Section>,
}

impl Config {
    /// Reads a text; the file is only named in what is told of mistakes in it.
    pub(crate) fn parse(text: &str, file: &str) -> Result<Config, String> {
        Reader {
            config: Config::default(),
            file,
            section: None,
            option: None,
            indent: 0,
            mistakes: Vec::new(),
        }
        .read(text)
    }

    /// The names of its sections.
    pub(crate) fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// The entries of a section, those that hold in all among them, in the order of their names.
    pub(crate) fn sorted(&self, section: &str) -> Vec<(&str, &str)> {
        let mut all: IndexMap<&str, &str> = IndexMap::new();
        let own = self.sections.get(section);
        for (name, value) in self.defaults.iter().chain(own.into_iter().flatten()) {
            all.insert(name, value);
        }
        all.sort_keys();
        all.into_iter().collect()
    }

    /// Takes a section out.
    pub(crate) fn remove(&mut self, section: &str) {
        self.sections.shift_remove(section);
    }

    /// Adds a section at the end.
    pub(crate) fn add(&mut self, section: &str, entries: Section) {
        self.sections.insert(section.to_owned(), entries);
    }

    /// As it is written.
    pub(crate) fn write(&self) -> String {
        let mut text = String::new();
        let defaults = (!self.defaults.is_empty()).then_some((DEFAULT, &self.defaults));
        let own = self
            .sections
            .iter()
            .map(|(name, entries)| (name.as_str(), entries));
        for (name, entries) in defaults.into_iter().chain(own) {
            text.push_str(&format!("[{name}]\n"));
            for (key, value) in entries {
                text.push_str(&format!("{key} = {}\n", value.replace('\n', "\n\t")));
            }
            text.push('\n');
        }
        text
    }
}

struct Reader<'f> {
    config: Config,
    file: &'f str,
    section: Option<String>,
    option: Option<String>,
    indent: usize,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    fn read(mut self, text: &str) -> Result<Config, String> {
        let file = crate::python::repr(self.file);
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            let clean = line.trim();
            if clean.starts_with(['#', ';']) {
                continue;
            }
            if clean.is_empty() {
                // It may be one of a value of several lines.
                if let Some(value) = self.value() {
                    value.push('\n');
                }
                continue;
            }
            let indent = line.chars().take_while(|c| c.is_whitespace()).count();
            if indent > self.indent
                && let Some(value) = self.value()
            {
                value.push('\n');
                value.push_str(clean);
                continue;
            }
            self.indent = indent;
            let header = clean
                .strip_prefix('[')
                .and_then(|rest| rest.rfind(']').map(|end| &rest[..end]))
                .filter(|name| !name.is_empty());
            if let Some(name) = header {
                if name != DEFAULT && self.config.sections.contains_key(name) {
                    return Err(format!(
                        "While reading from {file} [line {number:2}]: section {} already exists",
                        crate::python::repr(name)
                    ));
                }
                if name != DEFAULT {
                    self.config.add(name, Section::new());
                }
                self.section = Some(name.to_owned());
                self.option = None;
                continue;
            }
            let Some(section) = self.section.clone() else {
                return Err(format!(
                    "File contains no section headers.\nfile: {file}, line: {number}\n{}",
                    crate::python::repr(&format!("{line}\n"))
                ));
            };
            let named = clean.find(['=', ':']).filter(|at| *at > 0);
            let Some(at) = named else {
                self.mistakes.push(format!(
                    "\n\t[line {number:2}]: {}",
                    crate::python::repr(&format!("{line}\n"))
                ));
                continue;
            };
            let name = clean[..at].trim_end().to_lowercase();
            let value = clean[at + 1..].trim().to_owned();
            let entries = if section == DEFAULT {
                &mut self.config.defaults
            } else {
                self.config.sections.entry(section.clone()).or_default()
            };
            if entries.insert(name.clone(), value).is_some() {
                return Err(format!(
                    "While reading from {file} [line {number:2}]: option {} in section {} already exists",
                    crate::python::repr(&name),
                    crate::python::repr(&section)
                ));
            }
            self.option = Some(name);
        }
        if !self.mistakes.is_empty() {
            return Err(format!(
                "Source contains parsing errors: {file}{}",
                self.mistakes.concat()
            ));
        }
        let own = self.config.sections.values_mut();
        for entries in own.chain([&mut self.config.defaults]) {
            for value in entries.values_mut() {
                value.truncate(value.trim_end().len());
            }
        }
        Ok(self.config)
    }

    /// The value that was read last and may go on.
    fn value(&mut self) -> Option<&mut String> {
        let option = self.option.as_ref()?;
        match self.section.as_deref()? {
            DEFAULT => self.config.defaults.get_mut(option),
            section => self.config.sections.get_mut(section)?.get_mut(option),
        }
    }
}
