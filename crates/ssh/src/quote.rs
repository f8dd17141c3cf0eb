//! Words as the other side's shell reads them.

use std::fmt::Write as _;

/// Words for a POSIX shell; those that need no quotes get none.
pub fn posix<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        let plain = !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-./:,@+%=".contains(&b))
            && !word.starts_with('=');
        if plain {
            line.push_str(word);
        } else {
            let _ = write!(line, "'{}'", word.replace('\'', r"'\''"));
        }
    }
    line
}

/// Words for a program on Windows that takes its command line apart as Microsoft's C runtime does.
pub fn windows<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        if !word.is_empty() && !word.contains([' ', '\t', '\n', '\u{b}', '"']) {
            line.push_str(word);
            continue;
        }
        line.push('"');
        let mut slashes = 0;
        for letter in word.chars() {
            match letter {
                '\\' => slashes += 1,
                '"' => {
                    // Backslashes before a quote count double, and the quote has one of its own.
                    line.push_str(&"\\".repeat(slashes * 2 + 1));
                    line.push('"');
                    slashes = 0;
                }
                _ => {
                    line.push_str(&"\\".repeat(slashes));
                    line.push(letter);
                    slashes = 0;
                }
            }
        }
        line.push_str(&"\\".repeat(slashes * 2));
        line.push('"');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_the_shell_would_take_them_apart() {
        assert_eq!(posix(["scp", "-vt", "/tmp/a b"]), "scp -vt '/tmp/a b'");
        assert_eq!(posix(["/tmp/terraform_1.sh"]), "/tmp/terraform_1.sh");
        assert_eq!(posix(["it's", "", "$x"]), r"'it'\''s' '' '$x'");
        assert_eq!(windows(["scp", r"C:\a b\"]), r#"scp "C:\a b\\""#);
        assert_eq!(windows([r#"a"b"#]), r#""a\"b""#);
    }
}
