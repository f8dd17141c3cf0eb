//! What encrypts and decrypts, and asks for what it needs.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::files::{create, read, real, replace, shred};
use super::{Common, failed, usage};
use crate::command::passwords::{self, Asked};
use crate::command::session::Session;
use crate::paths::unfrack;
use crate::source::Located;
use crate::vault::{self, Secret, Vault};
/// What was read from where, and the name of its variable.
pub(super) struct Plain {
    pub(super) text: Vec<u8>,
    pub(super) from: &'static str,
    pub(super) name: Option<String>,
}

pub(super) struct Tool<'s> {
    session: &'s Session,
    pub(super) vault: Vault,
    /// What is encrypted with.
    secret: Option<Secret>,
}

impl<'s> Tool<'s> {
    fn secrets(session: &Session, common: &Common, asked: Asked) -> Result<Vec<Secret>, Located> {
        let ids: Vec<String> = session
            .settings
            .vault_identity_list
            .iter()
            .chain(&common.vault.vault_id)
            .cloned()
            .collect();
        let secrets = passwords::secrets(
            &ids,
            &common.vault.vault_password_file,
            common.vault.ask_vault_password || session.settings.ask_vault_pass,
            asked,
            true,
            &session.settings,
            &session.surroundings,
            &session.terminal,
        )?;
        if secrets.is_empty() {
            return Err(usage("A vault password is required to use Ansible's Vault"));
        }
        Ok(secrets)
    }

    pub(super) fn opening(session: &'s Session, common: &Common) -> Result<Self, Located> {
        let secrets = Self::secrets(session, common, Asked::Known)?;
        Ok(Tool {
            session,
            vault: Vault::new(secrets).matching_ids(session.settings.vault_id_match),
            secret: None,
        })
    }

    pub(super) fn encrypting(
        session: &'s Session,
        common: &Common,
        id: Option<&str>,
    ) -> Result<Self, Located> {
        let id = id.or(session.settings.vault_encrypt_identity.as_deref());
        let secrets = Self::secrets(session, common, Asked::New)?;
        if secrets.len() > 1 && id.is_none() {
            let names: Vec<&str> = secrets.iter().map(|secret| secret.id.as_str()).collect();
            return Err(usage(format!(
                "The vault-ids {} are available to encrypt. Specify the vault-id to encrypt with --encrypt-vault-id",
                names.join(",")
            )));
        }
        let vault = Vault::new(secrets);
        let secret = vault
            .encrypting(id)
            .map_err(|error| Located::new(error.to_string()))?
            .clone();
        Ok(Tool {
            session,
            vault,
            secret: Some(secret),
        })
    }

    pub(super) fn new_secret(
        &self,
        common: &Common,
        id: Option<&str>,
        file: Option<&String>,
        new: Option<&String>,
    ) -> Result<Secret, Located> {
        let settings = &self.session.settings;
        let id = id.or(settings.vault_encrypt_identity.as_deref());
        let mut ids = Vec::new();
        if id.is_some() {
            ids.extend(settings.vault_identity_list.iter().cloned());
        }
        ids.extend(new.cloned());
        let files: Vec<String> = file.into_iter().cloned().collect();
        let secrets = passwords::secrets(
            &ids,
            &files,
            common.vault.ask_vault_password || settings.ask_vault_pass,
            Asked::New,
            true,
            settings,
            &self.session.surroundings,
            &self.session.terminal,
        )?;
        if secrets.is_empty() {
            return Err(usage(
                "A new vault password is required to use Ansible's Vault rekey",
            ));
        }
        Vault::new(secrets)
            .encrypting(id)
            .cloned()
            .map_err(|error| Located::new(error.to_string()))
    }

    pub(super) fn seal(&self, content: &[u8]) -> Result<String, Located> {
        let secret = self
            .secret
            .as_ref()
            .ok_or_else(|| Located::new(vault::Error::NoPassword.to_string()))?;
        self.seal_with(content, secret, Some(&secret.id))
    }

    pub(super) fn seal_with(
        &self,
        content: &[u8],
        secret: &Secret,
        id: Option<&str>,
    ) -> Result<String, Located> {
        let salt = self
            .session
            .settings
            .vault_encrypt_salt
            .as_deref()
            .filter(|salt| !salt.is_empty());
        vault::encrypt(content, &secret.password, id, salt.map(str::as_bytes))
            .map_err(|error| Located::new(error.to_string()))
    }

    pub(super) fn output(&self, output: Option<&str>, file: &str) -> String {
        match output {
            None | Some("-") => output.unwrap_or(file).to_owned(),
            Some(path) => unfrack(path, &self.session.surroundings, None),
        }
    }

    pub(super) fn says_reading(&self, common: &Common, what: &str) {
        if common.arguments.is_empty() && std::io::stdin().is_terminal() {
            self.session
                .terminal
                .aside(&format!("Reading {what} input from stdin"));
        }
    }

    pub(super) fn says_done(&self, what: &str) {
        if std::io::stdout().is_terminal() {
            self.session.terminal.aside(&format!("{what} successful"));
        }
    }

    pub(super) fn of_input(&self, name: Option<String>) -> Result<Plain, Located> {
        let terminal = std::io::stdout().is_terminal();
        if terminal {
            self.session.terminal.aside(
                "Reading plaintext input from stdin. (ctrl-d to end input, twice if your content does not already have a newline)",
            );
        }
        let mut text = Vec::new();
        std::io::stdin()
            .read_to_end(&mut text)
            .map_err(|error| Located::new(format!("reading standard input: {error}")))?;
        if text.is_empty() {
            return Err(usage("stdin was empty, not encrypting"));
        }
        if terminal && !text.ends_with(b"\n") {
            self.session.terminal.line("\n");
        }
        Ok(Plain {
            text,
            from: "stdin",
            name,
        })
    }

    pub(super) fn of_arguments(
        &self,
        common: &Common,
        names: &[String],
    ) -> Result<Vec<Plain>, Located> {
        let texts: Vec<&String> = common
            .arguments
            .iter()
            .filter(|text| *text != "-")
            .collect();
        if let Some(last) = names.last().filter(|_| texts.len() > names.len()) {
            let terminal = &self.session.terminal;
            terminal.aside("The number of --name options do not match the number of args.");
            terminal.aside(&format!(
                "The last named variable will be \"{last}\". The rest will not have names."
            ));
        }
        texts
            .into_iter()
            .enumerate()
            .map(|(at, text)| {
                if text.is_empty() {
                    return Err(usage(
                        "The plaintext provided from the command line args was empty, not encrypting",
                    ));
                }
                Ok(Plain {
                    text: text.clone().into_bytes(),
                    from: "the command line args",
                    name: names.get(at).cloned(),
                })
            })
            .collect()
    }

    pub(super) fn create(&self, file: &str) -> Result<(), Located> {
        let path = Path::new(file);
        if let Some(directory) = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty() && !directory.exists())
        {
            self.session.terminal.warn(&format!(
                "{} does not exist, creating...",
                directory.display()
            ));
            std::fs::create_dir_all(directory).map_err(|error| {
                Located::new(format!("making {}: {error}", directory.display()))
            })?;
        }
        if path.is_file() {
            return Err(Located::new(format!(
                "{file} exists, please use 'edit' instead"
            )));
        }
        let secret = self
            .secret
            .clone()
            .ok_or_else(|| Located::new(vault::Error::NoPassword.to_string()))?;
        let id = secret.id.clone();
        self.in_editor(path, None, &secret, Some(&id))
    }

    pub(super) fn edit(&self, file: &str) -> Result<(), Located> {
        let file = real(file);
        let opened = self
            .vault
            .decrypt(&read(&file)?)
            .map_err(|error| failed("edit", &file, &error))?;
        self.in_editor(
            Path::new(&file),
            Some(&opened.content),
            &opened.secret,
            Some(opened.id.as_deref().unwrap_or(vault::DEFAULT_ID)),
        )
    }

    fn in_editor(
        &self,
        file: &Path,
        content: Option<&[u8]>,
        secret: &Secret,
        id: Option<&str>,
    ) -> Result<(), Located> {
        let directory = PathBuf::from(&self.session.settings.local_tmp);
        std::fs::create_dir_all(&directory)
            .map_err(|error| Located::new(format!("making {}: {error}", directory.display())))?;
        let extension = file
            .extension()
            .map(|extension| format!(".{}", extension.to_string_lossy()))
            .unwrap_or_default();
        let draft = directory.join(format!("{}{extension}", uuid::Uuid::new_v4()));
        let result = self.draft(&draft, file, content, secret, id);
        shred(&draft);
        result
    }

    fn draft(
        &self,
        draft: &Path,
        file: &Path,
        content: Option<&[u8]>,
        secret: &Secret,
        id: Option<&str>,
    ) -> Result<(), Located> {
        create(draft, content.unwrap_or_default())?;
        let mut words = crate::inventory::split_words(&self.session.settings.editor, false)
            .map_err(|error| Located::new(format!("the editor's command: {error}")))?;
        words.push(draft.to_string_lossy().into_owned());
        let ran = Command::new(&words[0]).args(&words[1..]).status();
        let complaint = match ran {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!(
                "Command '{}' returned non-zero exit status {}.",
                consort_jinja::repr::repr(&consort_jinja::Value::list(
                    words
                        .iter()
                        .map(|word| consort_jinja::Value::from(word.as_str()))
                        .collect()
                )),
                status.code().unwrap_or(-1)
            )),
            Err(error) => Some(error.to_string()),
        };
        if let Some(complaint) = complaint {
            return Err(Located::new(format!(
                "Unable to execute the command \"{}\": {complaint}",
                words.join(" ")
            )));
        }
        let edited = read(&draft.to_string_lossy())?;
        if content == Some(edited.as_slice()) {
            return Ok(());
        }
        let sealed = self.seal_with(&edited, secret, id)?;
        replace(file, sealed.as_bytes())
    }

    pub(super) fn rekey(&self, file: &str, new: &Secret) -> Result<(), Located> {
        let file = real(file);
        let opened = self
            .vault
            .decrypt(&read(&file)?)
            .map_err(|error| failed("rekey", &file, &error))?;
        let sealed = self.seal_with(&opened.content, new, Some(&new.id))?;
        replace(Path::new(&file), sealed.as_bytes())
    }

    pub(super) fn page(&self, text: &str) {
        let settings = &self.session.settings;
        if std::io::stdout().is_terminal() && !settings.pager.is_empty() {
            let pager = Command::new("sh")
                .args(["-c", &settings.pager])
                .env("LESS", "FRSX")
                .stdin(std::process::Stdio::piped())
                .spawn();
            if let Ok(mut pager) = pager {
                if let Some(mut input) = pager.stdin.take() {
                    let _ = input.write_all(text.as_bytes());
                }
                if pager.wait().is_ok() {
                    return;
                }
            }
        }
        self.session.terminal.line(text);
    }
}

pub(super) fn asked(shown: bool) -> Result<Plain, Located> {
    let ask = |prompt: &str, hidden: bool| {
        if hidden {
            return vault::hidden(prompt);
        }
        let mut line = String::new();
        print!("{prompt}");
        std::io::stdout().flush()?;
        let read = std::io::stdin().read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    };
    let reading = |error: std::io::Error| Located::new(format!("asking for a text: {error}"));
    let name = ask("Variable name (enter for no name): ", false)
        .map_err(reading)?
        .filter(|name| !name.is_empty());
    let prompt = if shown {
        "String to encrypt:"
    } else {
        "String to encrypt (hidden): "
    };
    match ask(prompt, !shown).map_err(reading)? {
        Some(text) if !text.is_empty() => Ok(Plain {
            text: text.into_bytes(),
            from: "the interactive prompt",
            name,
        }),
        _ => Err(usage(
            "The plaintext provided from the prompt was empty, not encrypting",
        )),
    }
}
