//! MessagePack's own forms, written as compactly as they go.

pub(super) fn integer(value: i64, out: &mut Vec<u8>) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
        -0x20..0 => out.push(value as i8 as u8),
        -0x80..-0x20 => out.extend_from_slice(&[0xd0, value as i8 as u8]),
        -0x8000..-0x80 => {
            out.push(0xd1);
            out.extend_from_slice(&(value as i16).to_be_bytes());
        }
        -0x8000_0000..-0x8000 => {
            out.push(0xd2);
            out.extend_from_slice(&(value as i32).to_be_bytes());
        }
        ..-0x8000_0000 => {
            out.push(0xd3);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

pub(super) fn float(value: f64, out: &mut Vec<u8>) {
    out.push(0xcb);
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    let length = text.len();
    if length < 32 {
        out.push(0xa0 | length as u8);
    } else {
        sized(length, Some(0xd9), 0xda, 0xdb, out);
    }
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    sized(bytes.len(), Some(0xc4), 0xc5, 0xc6, out);
    out.extend_from_slice(bytes);
}

pub(super) fn array(length: usize, out: &mut Vec<u8>) {
    if length < 16 {
        out.push(0x90 | length as u8);
    } else {
        sized(length, None, 0xdc, 0xdd, out);
    }
}

pub(super) fn map(length: usize, out: &mut Vec<u8>) {
    if length < 16 {
        out.push(0x80 | length as u8);
    } else {
        sized(length, None, 0xde, 0xdf, out);
    }
}

pub(super) fn extension(code: u8, length: usize, out: &mut Vec<u8>) {
    match length {
        1 => out.push(0xd4),
        2 => out.push(0xd5),
        4 => out.push(0xd6),
        8 => out.push(0xd7),
        16 => out.push(0xd8),
        _ => sized(length, Some(0xc7), 0xc8, 0xc9, out),
    }
    out.push(code);
}

fn sized(length: usize, one: Option<u8>, two: u8, four: u8, out: &mut Vec<u8>) {
    if let (Ok(length), Some(one)) = (u8::try_from(length), one) {
        out.extend_from_slice(&[one, length]);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(two);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(four);
        out.extend_from_slice(&(length as u32).to_be_bytes());
    }
}
