//! Why a text is no IP address, in the words of Go's `netip`.

/// What is wrong with a text that is no address.
pub(super) fn explain(text: &str) -> String {
    let found = text.find(['.', ':', '%']).map(|at| text.as_bytes()[at]);
    let why = match found {
        Some(b'.') => four(text),
        Some(b':') => six(text),
        Some(_) => Some(("missing IPv6 address", "")),
        None => None,
    };
    match why {
        Some((why, "")) => format!("ParseAddr({text:?}): {why}"),
        Some((why, at)) => format!("ParseAddr({text:?}): {why} (at {at:?})"),
        None => format!("ParseAddr({text:?}): unable to parse IP"),
    }
}

/// A fault and where it is.
type Fault<'t> = Option<(&'static str, &'t str)>;

fn four(text: &str) -> Fault<'_> {
    let bytes = text.as_bytes();
    let (mut value, mut digits, mut fields) = (0u32, 0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return Some(("IPv4 field has octet with leading zero", ""));
                }
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return Some(("IPv4 field has value >255", ""));
                }
            }
            b'.' => {
                if at == 0 || at == bytes.len() - 1 || bytes[at - 1] == b'.' {
                    return Some(("IPv4 field must have at least one digit", text.get(at..)?));
                }
                if fields == 3 {
                    return Some(("IPv4 address too long", ""));
                }
                (value, digits) = (0, 0);
                fields += 1;
            }
            _ => return Some(("unexpected character", text.get(at..)?)),
        }
    }
    (fields < 3).then_some(("IPv4 address too short", ""))
}

fn six(text: &str) -> Fault<'_> {
    let (mut rest, zone) = text
        .split_once('%')
        .map_or((text, None), |(rest, zone)| (rest, Some(zone)));
    if zone == Some("") {
        return Some(("zone must be a non-empty string", ""));
    }
    let mut gap = rest.starts_with("::");
    if gap {
        rest = &rest[2..];
    }
    let mut bytes = 0;
    while bytes < 16 && !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if digits == 0 {
            return Some((
                "each colon-separated field must have at least one digit",
                rest,
            ));
        }
        if digits > 4 {
            return Some(("each group must have 4 or less digits", rest));
        }
        let tail = &rest[digits..];
        if tail.starts_with('.') {
            if !gap && bytes != 12 {
                return Some((
                    "embedded IPv4 address must replace the final 2 fields of the address",
                    rest,
                ));
            }
            if bytes > 12 {
                return Some((
                    "too many hex fields to fit an embedded IPv4 at the end of the address",
                    rest,
                ));
            }
            return four(rest);
        }
        bytes += 2;
        rest = tail;
        if rest.is_empty() {
            break;
        }
        if !rest.starts_with(':') {
            return Some(("unexpected character, want colon", rest));
        }
        if rest.len() == 1 {
            return Some(("colon must be followed by more characters", rest));
        }
        rest = &rest[1..];
        if rest.starts_with(':') {
            if gap {
                return Some(("multiple :: in address", rest));
            }
            gap = true;
            rest = &rest[1..];
        }
    }
    if !rest.is_empty() {
        return Some(("trailing garbage after address", rest));
    }
    match (bytes < 16, gap) {
        (true, false) => Some(("address string too short", "")),
        (false, true) => Some(("the :: must expand to at least one field of zeros", "")),
        _ => None,
    }
}
