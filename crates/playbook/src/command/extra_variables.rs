//! Variables of the command line: `-e`.

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Origin, Str, Value};
use indexmap::IndexMap;

use crate::language::split_pairs;
use crate::paths::{Surroundings, unfrack};
use crate::source::{Located, Reader};

/// Reads each: `@FILE`, YAML or JSON that begins with a bracket, or `name=value`. Later ones count.
pub(super) fn read(
    written: &[String],
    reader: &Reader,
    merge: bool,
    surroundings: &Surroundings,
) -> Result<Dict, Located> {
    let mut variables = Dict::default();
    for text in written.iter().filter(|text| !text.is_empty()) {
        let origin = Arc::new(Origin {
            file: "<CLI option '-e'>".into(),
            line: 0,
            column: 0,
        });
        let node = match text.chars().next() {
            Some('@') => {
                let path = unfrack(&text[1..], surroundings, None);
                reader.file(Path::new(&path))?.map(|node| node.value())
            }
            Some('/' | '.') => {
                return Err(Located::new(format!(
                    "Please prepend extra_vars filename '{text}' with '@'"
                ))
                .exiting(5));
            }
            Some('[' | '{') => reader
                .parse(text, "<CLI option '-e'>", true)?
                .map(|node| node.value()),
            _ => Some(Value::Dict(split_pairs(
                &Str::template(text.as_str()).written_at(origin),
                false,
            )?)),
        };
        let Some(Value::Dict(read)) = node else {
            return Err(Located::new(format!(
                "Invalid extra vars data supplied. '{text}' could not be made into a dictionary"
            ))
            .exiting(5));
        };
        variables = if merge {
            crate::inventory::merged(&variables, &read)
        } else {
            let mut entries: IndexMap<Key, Value> = variables.read().clone();
            entries.extend(read.read().clone());
            Dict::new(entries)
        };
    }
    Ok(variables)
}
