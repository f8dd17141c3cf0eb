//! Compiled expressions, kept: a filter in a loop compiles its pattern once.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use consort_jinja::{Error, Result};
use consort_modules::python_re::{Flags, Pattern};
use parking_lot::Mutex;

/// How many compiled patterns are kept.
const KEPT: usize = 512;

type Kept = HashMap<(String, bool, bool), Arc<Pattern>>;

static COMPILED: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// A pattern of Python, compiled.
pub(super) fn compile(pattern: &str, ignore_case: bool, multi_line: bool) -> Result<Arc<Pattern>> {
    let key = (pattern.to_owned(), ignore_case, multi_line);
    if let Some(known) = COMPILED.lock().get(&key) {
        return Ok(Arc::clone(known));
    }
    let flags = Flags {
        ignore_case,
        multi_line,
        ..Flags::default()
    };
    let compiled = Arc::new(Pattern::with(pattern, flags).map_err(refused)?);
    let mut kept = COMPILED.lock();
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(key, Arc::clone(&compiled));
    Ok(compiled)
}

/// What the expressions say as an error of a template.
pub(super) fn refused(error: consort_modules::python_re::Error) -> Error {
    Error::failed(error.0)
}
