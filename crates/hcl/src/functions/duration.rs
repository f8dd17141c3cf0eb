//! Durations as Go writes them: `1h30m`, `-1.5h`.

use crate::text::quote;

/// The nanoseconds that `text` stands for.
///
/// # Errors
/// Go's words for what is wrong.
pub fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let count = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let whole = count(rest);
        let (whole_digits, mut after) = rest.split_at(whole);
        let mut fraction = "";
        if let Some(dotted) = after.strip_prefix('.') {
            let length = count(dotted);
            (fraction, after) = dotted.split_at(length);
        }
        if whole_digits.is_empty() && fraction.is_empty() || whole > 19 {
            return Err(invalid());
        }
        let end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let nanoseconds: i128 = match unit {
            "" => return Err(format!("time: missing unit in duration {}", quote(text))),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            other => {
                let (unit, text) = (quote(other), quote(text));
                return Err(format!("time: unknown unit {unit} in duration {text}"));
            }
        };
        let whole: i128 = whole_digits.parse().unwrap_or(0);
        total += whole * nanoseconds;
        let fraction = &fraction[..fraction.len().min(18)];
        let part: i128 = fraction.parse().unwrap_or(0);
        total += part * nanoseconds / 10i128.pow(fraction.len() as u32);
        if total > i128::from(i64::MAX) + i128::from(negative) {
            return Err(invalid());
        }
        rest = next;
    }
    let signed = if negative { -total } else { total };
    i64::try_from(signed).map_err(|_| invalid())
}
