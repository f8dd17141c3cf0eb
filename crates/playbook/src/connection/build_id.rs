//! What a linker says a program is: the build ID in its ELF notes.
//!
//! It is a digest of what was linked, some hundred bytes into the file: a program is known by it without reading the whole.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The type of a program header that leads to notes (`PT_NOTE`).
const NOTES: u32 = 4;
/// The type of the note with the build ID (`NT_GNU_BUILD_ID`).
const BUILD_ID: u32 = 3;
/// Notes of a program are a few hundred bytes.
const MOST: u64 = 64 * 1024;

/// The build ID of a program of this kind of machine (64 bits, little endian); none if it has none.
pub(super) fn of(program: &Path) -> Option<Vec<u8>> {
    let file = File::open(program).ok()?;
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0).ok()?;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (at, size, count) = (
        number(&head, 32, 8)?,
        number(&head, 54, 2)?,
        number(&head, 56, 2)?,
    );
    for entry in 0..count {
        let mut header = [0; 56];
        let place = at.checked_add(entry.checked_mul(size)?)?;
        file.read_exact_at(&mut header, place).ok()?;
        if number(&header, 0, 4)? != u64::from(NOTES) {
            continue;
        }
        let length = number(&header, 32, 8)?.min(MOST);
        let mut notes = vec![0; usize::try_from(length).ok()?];
        file.read_exact_at(&mut notes, number(&header, 8, 8)?)
            .ok()?;
        if let Some(found) = among(&notes) {
            return Some(found.to_vec());
        }
    }
    None
}

/// The build ID among notes: each is the lengths of its name and content, its type, name and content, in words of four bytes.
fn among(mut notes: &[u8]) -> Option<&[u8]> {
    while notes.len() >= 12 {
        let (name, content, kind) = (
            usize::try_from(number(notes, 0, 4)?).ok()?,
            usize::try_from(number(notes, 4, 4)?).ok()?,
            number(notes, 8, 4)?,
        );
        let from = 12 + name.next_multiple_of(4);
        let found = notes.get(from..from.checked_add(content)?)?;
        if kind == u64::from(BUILD_ID) && notes.get(12..16) == Some(b"GNU\0") && content >= 8 {
            return Some(found);
        }
        notes = notes.get(from + content.next_multiple_of(4)..)?;
    }
    None
}

/// A number of some bytes at a place.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let found = bytes.get(at..at + length)?;
    Some(
        found
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for number in [name.len() as u32, content.len() as u32, kind] {
            note.extend(number.to_le_bytes());
        }
        for part in [name, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let mut notes = note(b"GNU\0", 1, &[0; 16]);
        notes.extend(note(b"Go\0", BUILD_ID, b"something else"));
        notes.extend(note(b"GNU\0", BUILD_ID, b"twenty bytes of text"));
        assert_eq!(among(&notes), Some(b"twenty bytes of text".as_slice()));
    }

    #[test]
    fn notes_that_are_cut_off_or_lie_about_their_lengths_have_none() {
        let whole = note(b"GNU\0", BUILD_ID, b"twenty bytes of text");
        for length in 0..whole.len() {
            assert_eq!(among(&whole[..length]), None, "{length}");
        }
        let mut lying = whole;
        lying[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(among(&lying), None);
    }

    #[test]
    fn what_is_no_program_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        std::fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
        assert_eq!(of(&script), None);
        assert_eq!(of(directory.path()), None);
        assert_eq!(of(&directory.path().join("missing")), None);
    }
}
