//! Comma-separated values by the rules of RFC 4180, as Go reads them.

/// A record and the line it ends on.
pub(super) type Record = (usize, Vec<String>);

/// The records. Empty lines are left out.
///
/// # Errors
/// The line, counted from one, and what is wrong on it.
pub(super) fn records(text: &str) -> Result<Vec<Record>, (usize, &'static str)> {
    const BARE: &str = "bare \" in non-quoted-field";
    const QUOTE: &str = "extraneous or missing \" in quoted-field";
    let mut records = Vec::new();
    let mut lines = text.split_inclusive('\n').enumerate();
    while let Some((number, line)) = lines.next() {
        let line = ended(line);
        if line == "\n" || line.is_empty() {
            continue;
        }
        let mut fields = Vec::new();
        let mut number = number + 1;
        let mut rest = line;
        'fields: loop {
            let Some(mut quoted) = rest.strip_prefix('"').map(str::to_owned) else {
                let end = rest.find(',');
                let field =
                    end.map_or(rest.strip_suffix('\n').unwrap_or(&rest), |end| &rest[..end]);
                if field.contains('"') {
                    return Err((number, BARE));
                }
                fields.push(field.to_owned());
                match end {
                    Some(end) => rest = rest[end + 1..].to_owned(),
                    None => break 'fields,
                }
                continue;
            };
            let mut field = String::new();
            loop {
                match quoted.find('"') {
                    Some(end) => {
                        field.push_str(&quoted[..end]);
                        let after = &quoted[end + 1..];
                        if let Some(after) = after.strip_prefix('"') {
                            field.push('"');
                            quoted = after.to_owned();
                        } else if let Some(after) = after.strip_prefix(',') {
                            fields.push(field);
                            after.clone_into(&mut rest);
                            continue 'fields;
                        } else if after.is_empty() || after == "\n" {
                            fields.push(field);
                            break 'fields;
                        } else {
                            return Err((number, QUOTE));
                        }
                    }
                    None => {
                        field.push_str(&quoted);
                        let Some((next, line)) = lines.next() else {
                            return Err((number, QUOTE));
                        };
                        number = next + 1;
                        quoted = ended(line);
                    }
                }
            }
        }
        records.push((number, fields));
    }
    Ok(records)
}

/// A line with its end as a line feed alone.
fn ended(line: &str) -> String {
    match line.strip_suffix("\r\n") {
        Some(line) => format!("{line}\n"),
        None => line.to_owned(),
    }
}
