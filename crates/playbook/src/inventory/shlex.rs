//! Words of a line as Python's `shlex.split` finds them.

/// The words of a line; with `comments`, a `#` outside of quotes ends it.
///
/// # Errors
/// A quote is not closed, or nothing follows a backslash: the message of Python.
pub fn split(line: &str, comments: bool) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if comments => break,
            '\\' => {
                let next = characters.next().ok_or("No escaped character")?;
                word.get_or_insert_default().push(next);
            }
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or("No closing quotation")? {
                        '\'' => break,
                        inside => word.push(inside),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or("No closing quotation")? {
                        '"' => break,
                        '\\' => match characters.next().ok_or("No escaped character")? {
                            escaped @ ('"' | '\\') => word.push(escaped),
                            other => {
                                word.push('\\');
                                word.push(other);
                            }
                        },
                        inside => word.push(inside),
                    }
                }
            }
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    Ok(words)
}
