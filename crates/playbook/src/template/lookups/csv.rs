//! Tables of separated values.

use consort_jinja::{Error, Result, Value, integer, repr};

use super::{Call, read_number};
use crate::language::split_pairs;
use crate::template::context::refused;

pub(super) fn csvfile(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    if call.terms.is_empty() {
        return refused("Search key is required but was not found");
    }
    let mut found = Vec::new();
    for term in call.texts()? {
        let pairs = split_pairs(&term, false).map_err(|error| Error::failed(error.brief()))?;
        let Some(key) = pairs.get("_raw_params") else {
            return refused("Search key is required but was not found");
        };
        for (name, value) in pairs.read().iter() {
            match name.as_str() {
                Some("_raw_params") => {}
                Some(name @ ("col" | "keycol" | "default" | "delimiter" | "file" | "encoding")) => {
                    call.set(name, value.clone());
                }
                other => {
                    return refused(format!(
                        "{} is not a valid option",
                        repr::string(other.unwrap_or(""))
                    ));
                }
            }
        }
        let key = key.text()?;
        let mut delimiter = call.text("delimiter", "TAB")?;
        if delimiter == "TAB" {
            "\t".clone_into(&mut delimiter);
        }
        let mut sign = delimiter.chars();
        let (Some(sign), None) = (sign.next(), sign.next()) else {
            return refused("\"delimiter\" must be a 1-character string");
        };
        let place = |name: &str, otherwise: i64| -> Result<i64> {
            match call.option(name) {
                None => Ok(otherwise),
                Some(Value::Str(text)) => {
                    read_number(&text).ok_or_else(|| {
                        Error::failed(format!(
                            "Config {} for 'csvfile' lookup plugin from 'Direct' has an invalid value: Invalid value provided for 'int': {}",
                            repr::string(name),
                            repr::string(&text)
                        ))
                    })
                }
                Some(value) => integer(&value),
            }
        };
        let (column, key_column) = (place("col", 1)?, place("keycol", 0)?);
        let default = call.option("default");
        let file = call.text("file", "ansible.csv")?;
        let Some(path) = call.find_file_or_warn("files", &file)? else {
            return refused("expected str, bytes or os.PathLike object, not NoneType");
        };
        let text = call.read_as(&path, &call.text("encoding", "utf-8")?)?;
        let cell = |row: &[String], at: i64| -> Result<String> {
            let length = row.len() as i64;
            let at = if at < 0 { at + length } else { at };
            usize::try_from(at)
                .ok()
                .and_then(|at| row.get(at).cloned())
                .ok_or_else(|| Error::failed("list index out of range"))
        };
        let mut value = default;
        for row in rows(&text, sign) {
            if !row.is_empty() && cell(&row, key_column)? == *key {
                value = Some(Value::from(cell(&row, column)?));
                break;
            }
        }
        match value {
            None => {}
            Some(Value::List(items)) => found.extend(items.read().iter().cloned()),
            Some(value) => found.push(value),
        }
    }
    Ok(found)
}

/// The rows of a table as spreadsheets write it: cells may be in quotes, which are doubled within.
fn rows(text: &str, delimiter: char) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row: Vec<String> = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut begun = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted => {
                if chars.next_if_eq(&'"').is_some() {
                    cell.push('"');
                } else {
                    quoted = false;
                }
            }
            c if quoted => cell.push(c),
            '"' if cell.is_empty() => {
                quoted = true;
                begun = true;
            }
            c if c == delimiter => {
                row.push(std::mem::take(&mut cell));
                begun = true;
            }
            '\r' | '\n' => {
                if c == '\r' {
                    chars.next_if_eq(&'\n');
                }
                if begun || !cell.is_empty() {
                    row.push(std::mem::take(&mut cell));
                }
                rows.push(std::mem::take(&mut row));
                begun = false;
            }
            c => cell.push(c),
        }
    }
    if begun || !cell.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}
