//! Encrypts and decrypts: `ansible-vault`.

mod files;
mod tool;

use std::io::IsTerminal as _;

use clap::{Args, Parser, Subcommand};

use super::options::{VaultOptions, Verbosity};
use super::session::Session;
use crate::source::Located;
use crate::vault;

use files::{read, real, write};
use tool::{Tool, asked};

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
