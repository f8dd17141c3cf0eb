//! Encrypts and decrypts: `ansible-vault`.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, Parser, Subcommand};

use super::options::{VaultOptions, Verbosity};
use super::passwords::{self, Asked};
use super::session::Session;
use crate::paths::unfrack;
use crate::source::Located;
use crate::vault::{self, Secret, Vault};

/// Encrypts and decrypts files and texts.
#[derive(Parser, Debug)]
#[command(
    name = "ansible-vault",
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true
)]
pub(super) struct VaultArguments {
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(subcommand)]
    action: VaultAction,
}

/// What is done.
#[derive(Subcommand, Debug)]
enum VaultAction {
    /// Makes an encrypted file in an editor.
    Create {
        #[command(flatten)]
        common: Common,
        /// The secret to encrypt with, by its name.
        #[arg(long, value_name = "ID")]
        encrypt_vault_id: Option<String>,
        /// Open the editor without a terminal too.
        #[arg(long)]
        skip_tty_check: bool,
    },
    /// Decrypts files.
    Decrypt {
        #[command(flatten)]
        common: Common,
        /// Where to write; `-` is standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<String>,
    },
    /// Changes an encrypted file in an editor.
    Edit {
        #[command(flatten)]
        common: Common,
        /// The secret to encrypt with, by its name.
        #[arg(long, value_name = "ID")]
        encrypt_vault_id: Option<String>,
    },
    /// Shows encrypted files.
    View {
        #[command(flatten)]
        common: Common,
    },
    /// Encrypts files.
    Encrypt {
        #[command(flatten)]
        common: Common,
        /// Where to write; `-` is standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<String>,
        /// The secret to encrypt with, by its name.
        #[arg(long, value_name = "ID")]
        encrypt_vault_id: Option<String>,
    },
    /// Encrypts texts, to stand in YAML.
    #[command(name = "encrypt_string", alias = "encrypt-string")]
    EncryptString {
        #[command(flatten)]
        common: Common,
        /// Where to write; `-` is standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<String>,
        /// The secret to encrypt with, by its name.
        #[arg(long, value_name = "ID")]
        encrypt_vault_id: Option<String>,
        /// Ask for the text.
        #[arg(short = 'p', long)]
        prompt: bool,
        /// Show what is typed.
        #[arg(long)]
        show_input: bool,
        /// The name of the variable, once for each text.
        #[arg(short = 'n', long)]
        name: Vec<String>,
        /// The name of the variable for what is read from standard input.
        #[arg(long, value_name = "NAME")]
        stdin_name: Option<String>,
    },
    /// Encrypts files with another secret.
    Rekey {
        #[command(flatten)]
        common: Common,
        /// The secret to encrypt with, by its name.
        #[arg(long, value_name = "ID")]
        encrypt_vault_id: Option<String>,
        /// The file of the new password.
        #[arg(long, value_name = "FILE", conflicts_with = "new_vault_id")]
        new_vault_password_file: Option<String>,
        /// The new secret.
        #[arg(long, value_name = "ID")]
        new_vault_id: Option<String>,
    },
}

#[derive(Args, Debug)]
struct Common {
    #[command(flatten)]
    vault: VaultOptions,
    /// The files, or texts.
    #[arg(value_name = "FILE")]
    arguments: Vec<String>,
}

/// What was read from where, and the name of its variable.
struct Plain {
    text: Vec<u8>,
    from: &'static str,
    name: Option<String>,
}

fn usage(message: impl Into<String>) -> Located {
    Located::new(message).exiting(5)
}

impl VaultArguments {
    /// How much is told: what is said before and behind the action, whichever is more.
    pub(super) fn verbosity(&self) -> u8 {
        self.verbosity.verbose
    }
}

/// Carries it out; the exit status.
pub(super) fn run(arguments: &VaultArguments, session: &Session) -> Result<i32, Located> {
    match &arguments.action {
        VaultAction::Create {
            common,
            encrypt_vault_id,
            skip_tty_check,
        } => {
            check(common, None)?;
            let tool = Tool::encrypting(session, common, encrypt_vault_id.as_deref())?;
            let [file] = common.arguments.as_slice() else {
                return Err(usage(
                    "ansible-vault create can take only one filename argument",
                ));
            };
            if !std::io::stdout().is_terminal() && !skip_tty_check {
                return Err(usage("not a tty, editor cannot be opened"));
            }
            tool.create(file)?;
        }
        VaultAction::Decrypt { common, output } => {
            check(common, output.as_ref())?;
            let tool = Tool::opening(session, common)?;
            tool.says_reading(common, "ciphertext");
            for file in common.files() {
                let file = real(file);
                let content = read(&file)?;
                let plain = tool
                    .vault
                    .decrypt(&content)
                    .map_err(|error| failed("decrypt", &file, &error))?;
                let to = tool.output(output.as_deref(), &file);
                write(&plain.content, &to, false)?;
            }
            tool.says_done("Decryption");
        }
        VaultAction::Edit { common, .. } => {
            check(common, None)?;
            let tool = Tool::opening(session, common)?;
            for file in &common.arguments {
                tool.edit(file)?;
            }
        }
        VaultAction::View { common } => {
            check(common, None)?;
            let tool = Tool::opening(session, common)?;
            for file in &common.arguments {
                let plain = tool
                    .vault
                    .decrypt(&read(file)?)
                    .map_err(|error| failed("view", file, &error))?;
                tool.page(&String::from_utf8_lossy(&plain.content));
            }
        }
        VaultAction::Encrypt {
            common,
            output,
            encrypt_vault_id,
        } => {
            check(common, output.as_ref())?;
            let tool = Tool::encrypting(session, common, encrypt_vault_id.as_deref())?;
            tool.says_reading(common, "plaintext");
            for file in common.files() {
                let file = real(file);
                let sealed = tool.seal(&read(&file)?)?;
                write(
                    sealed.as_bytes(),
                    &tool.output(output.as_deref(), &file),
                    true,
                )?;
            }
            tool.says_done("Encryption");
        }
        VaultAction::EncryptString {
            common,
            output,
            encrypt_vault_id,
            prompt,
            show_input,
            name,
            stdin_name,
        } => {
            check(common, output.as_ref())?;
            let from_input = common.arguments.iter().any(|text| text == "-")
                || stdin_name.is_some()
                || (common.arguments.is_empty() && !prompt);
            if *prompt && from_input {
                return Err(usage(
                    "The --prompt option is not supported if also reading input from stdin",
                ));
            }
            let tool = Tool::encrypting(session, common, encrypt_vault_id.as_deref())?;
            let mut texts = Vec::new();
            if *prompt {
                texts.push(asked(*show_input)?);
            }
            if from_input {
                texts.push(tool.of_input(stdin_name.clone())?);
            }
            texts.extend(tool.of_arguments(common, name)?);
            let mut out = String::new();
            let several = texts.len() > 1;
            for (at, plain) in texts.iter().enumerate() {
                let sealed = tool.seal(&plain.text)?;
                if several {
                    let number = at + 1;
                    eprint!(
                        "{}",
                        match &plain.name {
                            Some(name) => format!(
                                "# The encrypted version of variable (\"{name}\", the string #{number} from {}).\n",
                                plain.from
                            ),
                            None => format!(
                                "# The encrypted version of the string #{number} from {}.)\n",
                                plain.from
                            ),
                        }
                    );
                }
                if let Some(name) = &plain.name {
                    out.push_str(name);
                    out.push_str(": ");
                }
                out.push_str("!vault |\n");
                for line in sealed.lines() {
                    out.push_str("          ");
                    out.push_str(line);
                    out.push('\n');
                }
            }
            let to = tool.output(output.as_deref(), "-");
            write(out.as_bytes(), &to, true)?;
            tool.says_done("Encryption");
        }
        VaultAction::Rekey {
            common,
            encrypt_vault_id,
            new_vault_password_file,
            new_vault_id,
        } => {
            check(common, None)?;
            let tool = Tool::opening(session, common)?;
            let new = tool.new_secret(
                common,
                encrypt_vault_id.as_deref(),
                new_vault_password_file.as_ref(),
                new_vault_id.as_ref(),
            )?;
            for file in &common.arguments {
                tool.rekey(file, &new)?;
            }
            session.terminal.aside("Rekey successful");
        }
    }
    Ok(0)
}

fn check(common: &Common, output: Option<&String>) -> Result<(), Located> {
    if let Some(id) = common.vault.vault_id.iter().find(|id| id.contains(';')) {
        return Err(usage(format!(
            "'{id}' is not a valid vault id. The character ';' is not allowed in vault ids"
        )));
    }
    if output.is_some() && common.arguments.len() > 1 {
        return Err(usage(
            "At most one input file may be used with the --output option",
        ));
    }
    Ok(())
}

impl Common {
    fn files(&self) -> Vec<&str> {
        if self.arguments.is_empty() {
            vec!["-"]
        } else {
            self.arguments.iter().map(String::as_str).collect()
        }
    }
}

struct Tool<'s> {
    session: &'s Session,
    vault: Vault,
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

    fn opening(session: &'s Session, common: &Common) -> Result<Self, Located> {
        let secrets = Self::secrets(session, common, Asked::Known)?;
        Ok(Tool {
            session,
            vault: Vault::new(secrets).matching_ids(session.settings.vault_id_match),
            secret: None,
        })
    }

    fn encrypting(
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

    fn new_secret(
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

    fn seal(&self, content: &[u8]) -> Result<String, Located> {
        let secret = self
            .secret
            .as_ref()
            .ok_or_else(|| Located::new(vault::Error::NoPassword.to_string()))?;
        self.seal_with(content, secret, Some(&secret.id))
    }

    fn seal_with(
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

    fn output(&self, output: Option<&str>, file: &str) -> String {
        match output {
            None | Some("-") => output.unwrap_or(file).to_owned(),
            Some(path) => unfrack(path, &self.session.surroundings, None),
        }
    }

    fn says_reading(&self, common: &Common, what: &str) {
        if common.arguments.is_empty() && std::io::stdin().is_terminal() {
            self.session
                .terminal
                .aside(&format!("Reading {what} input from stdin"));
        }
    }

    fn says_done(&self, what: &str) {
        if std::io::stdout().is_terminal() {
            self.session.terminal.aside(&format!("{what} successful"));
        }
    }

    fn of_input(&self, name: Option<String>) -> Result<Plain, Located> {
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

    fn of_arguments(&self, common: &Common, names: &[String]) -> Result<Vec<Plain>, Located> {
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

    fn create(&self, file: &str) -> Result<(), Located> {
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

    fn edit(&self, file: &str) -> Result<(), Located> {
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

    fn rekey(&self, file: &str, new: &Secret) -> Result<(), Located> {
        let file = real(file);
        let opened = self
            .vault
            .decrypt(&read(&file)?)
            .map_err(|error| failed("rekey", &file, &error))?;
        let sealed = self.seal_with(&opened.content, new, Some(&new.id))?;
        replace(Path::new(&file), sealed.as_bytes())
    }

    fn page(&self, text: &str) {
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

fn asked(shown: bool) -> Result<Plain, Located> {
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

fn failed(what: &str, file: &str, error: &vault::Error) -> Located {
    let place = if file == "-" {
        "<stdin>".to_owned()
    } else {
        std::path::absolute(file).map_or_else(
            |_| file.to_owned(),
            |path| path.to_string_lossy().into_owned(),
        )
    };
    let origin = std::sync::Arc::new(consort_jinja::Origin {
        file: place.into(),
        line: 0,
        column: 0,
    });
    Located::new(format!(
        "Failed to {what} {}.",
        consort_jinja::repr::string(file)
    ))
    .because(Located::new(error.to_string()).at(&origin))
}

/// The file behind links; `-` stays.
fn real(file: &str) -> String {
    if file == "-" {
        return file.to_owned();
    }
    let path = Path::new(file);
    path.canonicalize()
        .or_else(|_| std::path::absolute(path))
        .map_or_else(
            |_| file.to_owned(),
            |path| path.to_string_lossy().into_owned(),
        )
}

fn read(file: &str) -> Result<Vec<u8>, Located> {
    let result = if file == "-" {
        let mut content = Vec::new();
        std::io::stdin().read_to_end(&mut content).map(|_| content)
    } else {
        std::fs::read(file)
    };
    let absolute = std::path::absolute(file).unwrap_or_else(|_| PathBuf::from(file));
    let shown = if file == "-" {
        file.to_owned()
    } else {
        absolute.to_string_lossy().into_owned()
    };
    result.map_err(|error| {
        Located::new(format!(
            "Unable to read source file ({shown}): {}",
            crate::inventory::os_error(&error, &shown)
        ))
    })
}

/// Writes a result to a file, whole or not at all, or to standard output.
fn write(content: &[u8], to: &str, shreds: bool) -> Result<(), Located> {
    if to == "-" {
        return std::io::stdout()
            .write_all(content)
            .and_then(|()| std::io::stdout().flush())
            .map_err(|error| Located::new(format!("writing standard output: {error}")));
    }
    let path = Path::new(to);
    let beside = beside(path);
    create(&beside, content)?;
    if shreds && path.is_file() {
        shred(path);
    }
    std::fs::rename(&beside, path).map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        Located::new(format!("Unable to write to {to}: {error}"))
    })
}

/// Replaces a file, with the rights and owner it has.
fn replace(path: &Path, content: &[u8]) -> Result<(), Located> {
    let before = std::fs::metadata(path).ok();
    write(content, &path.to_string_lossy(), true)?;
    if let Some(before) = before {
        let kept = std::fs::set_permissions(
            path,
            std::fs::Permissions::from_mode(before.mode() & 0o7777),
        )
        .and_then(|()| std::os::unix::fs::chown(path, Some(before.uid()), Some(before.gid())));
        kept.map_err(|error| {
            Located::new(format!("keeping the rights of {}: {error}", path.display()))
        })?;
    }
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", uuid::Uuid::new_v4()));
    path.with_file_name(name)
}

/// Makes a file that only its owner may look into.
fn create(path: &Path, content: &[u8]) -> Result<(), Located> {
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
    made.map_err(|error| {
        let directory = path.parent().unwrap_or(Path::new("/"));
        if matches!(
            error.kind(),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotFound
        ) {
            Located::new(format!(
                "Destination '{}' not writable",
                directory.display()
            ))
        } else {
            Located::new(format!(
                "Problem creating temporary vault file: {}: {error}",
                path.display()
            ))
        }
    })
}

/// Overwrites a file before it is removed, as well as that can be done.
fn shred(path: &Path) {
    let Ok(metadata) = std::fs::metadata(path) else {
        return;
    };
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(path) {
        let mut left = metadata.len();
        let mut noise = [0_u8; 4096];
        while left > 0 {
            for chunk in noise.chunks_mut(16) {
                chunk.copy_from_slice(&rand::random::<[u8; 16]>()[..chunk.len()]);
            }
            let part = left.min(noise.len() as u64) as usize;
            if file.write_all(&noise[..part]).is_err() {
                break;
            }
            left -= part as u64;
        }
        let _ = file.sync_all();
    }
    let _ = std::fs::remove_file(path);
}
