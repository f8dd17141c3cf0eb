//! Reads files of playbooks: encrypted ones too, and their encrypted values.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Origin, Str, Value};
use parking_lot::Mutex;

use super::{Encrypted, Located, Node, Notice, Notices, json, yaml};

/// Opens what is encrypted: the vault.
pub trait Secrets: Send + Sync {
    /// The text behind `$ANSIBLE_VAULT;...`.
    ///
    /// # Errors
    /// No secret that is known opens it, or it is damaged: a message in ansible-core's words.
    fn decrypt(&self, ciphertext: &str) -> Result<Vec<u8>, String>;
}

/// What becomes of a key that a mapping has twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Duplicates {
    /// The last counts, with a warning.
    #[default]
    Warn,
    /// The last counts.
    Ignore,
    /// It is an error.
    Error,
}

/// How files are read. Cloning shares what is behind it.
#[derive(Clone, Default)]
pub struct Reader {
    secrets: Option<Arc<dyn Secrets>>,
    notices: Option<Notices>,
    duplicates: Duplicates,
    keeps_encrypted: bool,
    redacts: bool,
    opened: Opened,
}

/// What was opened: by the place of the text, which is held so that the place stays its own, what was written.
type Opened = Arc<Mutex<HashMap<usize, (Arc<str>, Arc<str>)>>>;

impl Reader {
    /// Reads without secrets, and tells nobody of warnings.
    pub fn new() -> Self {
        Self::default()
    }

    /// With secrets.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Tells of warnings.
    #[must_use]
    pub fn telling(mut self, notices: Notices) -> Self {
        self.notices = Some(notices);
        self
    }

    /// With another rule for keys that stand twice.
    #[must_use]
    pub fn with_duplicates(mut self, duplicates: Duplicates) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// Leaves encrypted values as they are, as [`Encrypted`], although they could be opened.
    #[must_use]
    pub fn keeping_encrypted(mut self) -> Self {
        self.keeps_encrypted = true;
        self
    }

    pub(super) fn duplicates(&self) -> Duplicates {
        self.duplicates
    }

    pub(super) fn redacts(&self) -> bool {
        self.redacts
    }

    /// Tells something.
    pub fn notice(&self, notice: Notice) {
        if let Some(notices) = &self.notices {
            notices(notice);
        }
    }

    /// The secrets, if there are some.
    pub fn secrets(&self) -> Option<&Arc<dyn Secrets>> {
        self.secrets.as_ref()
    }

    /// What an encrypted value holds. One that cannot be opened becomes a value that fails when it is used.
    pub(crate) fn open(&self, encrypted: Encrypted) -> Value {
        if self.keeps_encrypted {
            return Value::Object(Arc::new(encrypted));
        }
        let opened = match &self.secrets {
            Some(secrets) => secrets.decrypt(&encrypted.ciphertext),
            None => Err("Attempting to decrypt but no vault secrets found.".to_owned()),
        };
        let opened = opened.and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| "Decrypted vault content is not UTF-8.".to_owned())
        });
        match opened {
            Ok(text) => {
                let text = if encrypted.trusted {
                    crate::blocking::heed(&text);
                    Str::template(text)
                } else {
                    Str::new(text)
                };
                self.opened.lock().insert(
                    text.shared().as_ptr() as usize,
                    (Arc::clone(text.shared()), Arc::clone(&encrypted.ciphertext)),
                );
                Value::Str(match encrypted.origin.clone() {
                    Some(origin) => text.written_at(origin),
                    None => text,
                })
            }
            // Whoever knows its secret can still open it.
            Err(message) => Value::Object(Arc::new(Encrypted {
                reason: Some(message),
                ..encrypted
            })),
        }
    }

    /// What was written where a text was encrypted that is open now, as long as nothing was made of it.
    pub(crate) fn ciphertext(&self, text: &Str) -> Option<Arc<str>> {
        let opened = self.opened.lock();
        let (_, ciphertext) = opened.get(&(text.shared().as_ptr() as usize))?;
        Some(Arc::clone(ciphertext))
    }

    /// The bytes of a file, decrypted if it is encrypted as a whole; and whether it was.
    ///
    /// # Errors
    /// It cannot be read, or not be decrypted.
    pub fn bytes(&self, path: &Path) -> Result<(Vec<u8>, bool), Located> {
        let shown = path.display();
        let bytes = std::fs::read(path).map_err(|error| {
            let reason = Located::new(python_error(&error, &path.to_string_lossy()));
            if error.kind() == std::io::ErrorKind::NotFound {
                Located::new(format!(
                    "Unable to retrieve file contents. Could not find or access '{shown}' on the Ansible Controller."
                ))
                .hint("If you are using a module and expect the file to exist on the remote, see the remote_src option.")
                .because(reason)
            } else {
                Located::parser(format!(
                    "An error occurred while trying to read the file '{shown}'."
                ))
                .because(reason)
            }
        })?;
        if !(bytes.starts_with(b"$ANSIBLE_VAULT") && bytes.is_ascii()) {
            return Ok((bytes, false));
        }
        let origin = Arc::new(Origin {
            file: path.to_string_lossy().as_ref().into(),
            line: 0,
            column: 0,
        });
        let failed = |message: String| Located::new(message).at(&origin);
        let text = String::from_utf8_lossy(&bytes);
        match &self.secrets {
            Some(secrets) => secrets
                .decrypt(&text)
                .map(|plain| (plain, true))
                .map_err(failed),
            None => Err(failed(
                "Attempting to decrypt but no vault secrets found.".to_owned(),
            )),
        }
    }

    /// The text of a file.
    ///
    /// # Errors
    /// It cannot be read, decrypted, or is not UTF-8.
    pub fn text(&self, path: &Path) -> Result<(String, bool), Located> {
        let (bytes, encrypted) = self.bytes(path)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok((text, encrypted)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let byte = error.as_bytes().get(at).copied().unwrap_or_default();
                Err(Located::parser("File contents must be utf-8 encoded.")
                    .at(&Arc::new(Origin {
                        file: path.to_string_lossy().as_ref().into(),
                        line: 0,
                        column: 0,
                    }))
                    .because(Located::new(format!(
                        "'utf-8' codec can't decode byte 0x{byte:02x} in position {at}: invalid start byte"
                    ))))
            }
        }
    }

    /// The document of a file whose texts may be templates: a playbook, tasks, variables. None if it holds none.
    ///
    /// # Errors
    /// It cannot be read, or is neither JSON nor YAML.
    pub fn file(&self, path: &Path) -> Result<Option<Node>, Located> {
        self.load(path, true).map(|(node, _)| node)
    }

    /// The same, trusted or not, with whether the file was encrypted.
    ///
    /// # Errors
    /// It cannot be read, or is neither JSON nor YAML.
    pub fn load(&self, path: &Path, trusted: bool) -> Result<(Option<Node>, bool), Located> {
        let (text, encrypted) = self.text(path)?;
        let name = path.to_string_lossy();
        let reader = if encrypted {
            let mut reader = self.clone();
            reader.redacts = true;
            Cow::Owned(reader)
        } else {
            Cow::Borrowed(self)
        };
        Ok((reader.parse(&text, &name, trusted)?, encrypted))
    }

    /// The document of a text that came from `name`.
    ///
    /// # Errors
    /// It is neither JSON nor YAML.
    pub fn parse(&self, text: &str, name: &str, trusted: bool) -> Result<Option<Node>, Located> {
        let file: Arc<str> = name.into();
        if let Some(node) = json::document(text, &file, self, trusted) {
            return Ok(Some(node));
        }
        yaml::document(text, &file, self, trusted)
    }
}

/// An error of the system as Python shows it: `[Errno 2] No such file or directory: 'x'`.
pub(crate) fn python_error(error: &std::io::Error, path: &str) -> String {
    match error.raw_os_error() {
        Some(code) => {
            let message = nix::errno::Errno::from_raw(code).desc();
            format!("[Errno {code}] {message}: '{path}'")
        }
        None => error.to_string(),
    }
}

/// The name of a file without its extension, and the extension with its dot, as Python's `splitext` has it.
pub fn splits_extension(name: &str) -> (&str, &str) {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let base = &name[start..];
    let lead = base.len() - base.trim_start_matches('.').len();
    match base[lead..].rfind('.') {
        Some(dot) => name.split_at(start + lead + dot),
        None => (name, ""),
    }
}
