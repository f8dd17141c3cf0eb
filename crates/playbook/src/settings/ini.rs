//! Files of settings, as Python's `configparser` reads them.

use std::collections::HashMap;

/// The sections and keys of a file.
#[derive(Clone, Debug, Default)]
pub struct Ini(HashMap<String, HashMap<String, String>>);

impl Ini {
    /// Reads a file's text. Lines that begin with `#` or `;` are comments, and what stands behind ` ;`.
    ///
    /// # Errors
    /// A line is none of these, or something stands twice: `configparser`'s message.
    pub fn read(text: &str) -> Result<Ini, String> {
        let mut sections: HashMap<String, HashMap<String, String>> = HashMap::new();
        let mut section: Option<String> = None;
        // The key whose value may go on, and how far in it stands.
        let mut open: Option<(String, usize)> = None;
        let mut blank = 0;
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            let mut line = line;
            let trimmed = line.trim();
            if trimmed.starts_with(['#', ';']) {
                continue;
            }
            let mut from = 0;
            while let Some(at) = line[from..].find(';') {
                let at = from + at;
                if at == 0 || line[..at].ends_with(char::is_whitespace) {
                    line = &line[..at];
                    break;
                }
                from = at + 1;
            }
            let value = line.trim();
            if value.is_empty() {
                blank += 1;
                continue;
            }
            let indent = line.chars().take_while(|c| c.is_whitespace()).count();
            if let (Some((key, at)), Some(name)) = (&open, &section)
                && indent > *at
            {
                if let Some(old) = sections.get_mut(name).and_then(|s| s.get_mut(key)) {
                    for _ in 0..blank {
                        old.push('\n');
                    }
                    old.push('\n');
                    old.push_str(value);
                }
                blank = 0;
                continue;
            }
            blank = 0;
            if let Some(name) = value
                .strip_prefix('[')
                .and_then(|rest| rest.rfind(']').map(|end| &rest[..end]))
                .filter(|name| !name.is_empty())
            {
                if name != "DEFAULT" && sections.contains_key(name) {
                    return Err(format!(
                        "While reading from '<string>' [line {number:>2}]: section '{name}' already exists"
                    ));
                }
                sections.entry(name.to_owned()).or_default();
                section = Some(name.to_owned());
                open = None;
                continue;
            }
            let Some(name) = &section else {
                return Err(format!(
                    "File contains no section headers.\nfile: '<string>', line: {number}\n{:?}",
                    format!("{line}\n")
                ));
            };
            let Some(at) = value.find(['=', ':']) else {
                return Err(format!(
                    "Source contains parsing errors: '<string>'\n\t[line {number:>2}]: {:?}",
                    format!("{line}\n")
                ));
            };
            let key = value[..at].trim_end().to_lowercase();
            let entries = sections.entry(name.clone()).or_default();
            if entries
                .insert(key.clone(), value[at + 1..].trim().to_owned())
                .is_some()
            {
                return Err(format!(
                    "While reading from '<string>' [line {number:>2}]: option '{key}' in section '{name}' already exists"
                ));
            }
            open = Some((key, indent));
        }
        Ok(Ini(sections))
    }

    /// The value of a key; that of the section `DEFAULT` if the section has none.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        let entries = self.0.get(section)?;
        entries
            .get(key)
            .or_else(|| self.0.get("DEFAULT")?.get(key))
            .map(String::as_str)
    }

    /// All of a section.
    pub fn section(&self, name: &str) -> HashMap<String, String> {
        self.0.get(name).cloned().unwrap_or_default()
    }
}
