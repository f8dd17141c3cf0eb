//! The form of a vault: a first line that says what it is, and hexadecimal digits.

use super::Error;

const HEADER: &str = "$ANSIBLE_VAULT";

/// Whether something is a vault: plain ASCII that begins as vaults do.
pub fn is_encrypted(content: &[u8]) -> bool {
    content.starts_with(HEADER.as_bytes()) && content.is_ascii()
}

/// A vault apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// How it is encrypted: `AES256`.
    pub cipher: String,
    /// The name of its secret, which versions from 1.2 on have.
    pub id: Option<String>,
    /// The digits, in one.
    pub body: Vec<u8>,
}

impl Envelope {
    /// Takes a vault apart.
    ///
    /// # Errors
    /// It is none, or its first line is broken.
    pub fn read(vault: &[u8]) -> Result<Self, Error> {
        if !is_encrypted(vault) {
            return Err(Error::NotEncrypted);
        }
        let text = std::str::from_utf8(vault).map_err(|_| Error::NotEncrypted)?;
        let mut lines = text.lines();
        let mut head = lines.next().unwrap_or_default().trim().split(';');
        let (_, version, cipher) = (head.next(), head.next(), head.next());
        if version.is_none() {
            return Err(Error::Envelope);
        }
        Ok(Envelope {
            cipher: cipher.ok_or(Error::Envelope)?.trim().to_owned(),
            id: head.next().map(|id| id.trim().to_owned()),
            body: lines.collect::<String>().into_bytes(),
        })
    }

    /// The text of the vault.
    pub fn write(&self) -> String {
        let named = self
            .id
            .as_deref()
            .filter(|id| !id.is_empty() && *id != super::DEFAULT_ID);
        let mut out = match named {
            Some(id) => format!("{HEADER};1.2;{};{id}\n", self.cipher),
            None => format!("{HEADER};1.1;{}\n", self.cipher),
        };
        out.reserve(self.body.len() + self.body.len() / 80 + 1);
        for line in self.body.chunks(80) {
            out.push_str(&String::from_utf8_lossy(line));
            out.push('\n');
        }
        out
    }
}
