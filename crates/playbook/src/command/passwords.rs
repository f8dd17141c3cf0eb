//! Passwords: those of the vault, of logins, and of becoming another user.

use std::path::Path;
use std::process::Command;

use super::options::{BecomeOptions, ConnectOptions, VaultOptions};
use super::terminal::Terminal;
use crate::paths::{Surroundings, unfrack};
use crate::settings::Settings;
use crate::source::Located;
use crate::vault::{self, Place, Secret, SecretError, Vault};

/// Whether a password that is asked for is a new one, which is asked for twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is known.
    Known,
    /// It is new.
    New,
}

/// The secrets of the options and settings, in the order in which they are tried.
///
/// `prompts`: whether the user is asked where there are none at all.
#[allow(clippy::too_many_arguments)]
pub(super) fn secrets(
    ids: &[String],
    files: &[String],
    ask: bool,
    asked: Asked,
    prompts: bool,
    settings: &Settings,
    surroundings: &Surroundings,
    terminal: &Terminal,
) -> Result<Vec<Secret>, Located> {
    let mut places: Vec<Place> = Vec::new();
    for id in ids {
        places.push(match id.split_once('@') {
            Some((id, source)) => Place {
                id: id.to_owned(),
                source: source.to_owned(),
            },
            None => Place {
                id: String::new(),
                source: id.clone(),
            },
        });
    }
    for file in files.iter().chain(&settings.vault_password_file) {
        places.push(Place {
            id: settings.vault_identity.clone(),
            source: file.clone(),
        });
    }
    if ask || (places.is_empty() && prompts) {
        places.push(Place {
            id: settings.vault_identity.clone(),
            source: "prompt_ask_vault_pass".to_owned(),
        });
    }
    let mut known: Vec<Secret> = Vec::new();
    let mut failed = None;
    for place in places {
        let id = if place.id.is_empty() {
            settings.vault_identity.clone()
        } else {
            place.id.clone()
        };
        if place.asks() {
            let prompts = match (place.source.as_str(), asked) {
                ("prompt", Asked::Known) => vec![format!("Vault password ({id}): ")],
                ("prompt", Asked::New) => vec![
                    format!("New vault password ({id}): "),
                    format!("Confirm new vault password ({id}): "),
                ],
                (_, Asked::Known) => vec!["Vault password: ".to_owned()],
                (_, Asked::New) => vec![
                    "New Vault password: ".to_owned(),
                    "Confirm New Vault password: ".to_owned(),
                ],
            };
            known.push(vault::ask(&id, &prompts).map_err(|error| {
                terminal.warn(&format!("Error in vault password prompt ({id}): {error}"));
                Located::new(error.to_string())
            })?);
            continue;
        }
        terminal.detail(5, &format!("Reading vault password file: {}", place.source));
        let path = unfrack(&place.source, surroundings, None);
        let named = (!place.id.is_empty()).then_some(place.id.as_str());
        match vault::read(Path::new(&path), named, &Vault::new(known.clone())) {
            Ok(password) => known.push(Secret { id, password }),
            Err(error) => {
                let shown = named.unwrap_or("None");
                terminal.warn(&match &error {
                    SecretError::NotFound(_) | SecretError::Directory(_) => {
                        format!("Error getting vault password file ({shown}): {error}")
                    }
                    _ => format!("Error in vault password file loading ({shown}): {error}"),
                });
                failed = Some(error);
            }
        }
    }
    match failed {
        Some(error) if known.is_empty() => Err(secret_error(&error)),
        _ => Ok(known),
    }
}

fn secret_error(error: &SecretError) -> Located {
    let located = Located::new(error.to_string());
    match std::error::Error::source(error) {
        Some(cause) => located.because(Located::new(cause.to_string())),
        None => located,
    }
}

/// The vault of a command's options.
pub(super) fn vault(
    options: &VaultOptions,
    settings: &Settings,
    surroundings: &Surroundings,
    terminal: &Terminal,
) -> Result<Vault, Located> {
    let ids: Vec<String> = settings
        .vault_identity_list
        .iter()
        .chain(&options.vault_id)
        .cloned()
        .collect();
    let secrets = secrets(
        &ids,
        &options.vault_password_file,
        options.ask_vault_password || settings.ask_vault_pass,
        Asked::Known,
        false,
        settings,
        surroundings,
        terminal,
    )?;
    Ok(Vault::new(secrets).matching_ids(settings.vault_id_match))
}

/// Passwords of machines.
#[derive(Clone, Default)]
pub struct Passwords {
    /// To log in.
    pub login: Option<String>,
    /// To become another user.
    pub becoming: Option<String>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

/// Asks for the passwords of machines, or reads them from their files.
pub(super) fn machines(
    connect: &ConnectOptions,
    becoming: &BecomeOptions,
    settings: &Settings,
    surroundings: &Surroundings,
) -> Result<Passwords, Located> {
    let ask = |prompt: &str| {
        vault::hidden(prompt)
            .map_err(|error| Located::new(format!("asking for a password: {error}")))
    };
    let asks_login = connect.ask_pass || settings.ask_pass;
    let asks_becoming = becoming.ask_become_pass || settings.become_ask_pass;
    let method = if settings.agnostic_become_prompt {
        "BECOME".to_owned()
    } else {
        becoming
            .become_method
            .as_ref()
            .unwrap_or(&settings.become_method)
            .to_uppercase()
    };
    let mut passwords = Passwords::default();
    let login_file = connect
        .connection_password_file
        .as_ref()
        .or(settings.connection_password_file.as_ref());
    if asks_login {
        passwords.login = ask("SSH password: ")?;
        if passwords.login.is_none() {
            return Ok(passwords);
        }
    } else if let Some(file) = login_file {
        passwords.login = Some(of_file(file, surroundings)?);
    }
    let becoming_file = becoming
        .become_password_file
        .as_ref()
        .or(settings.become_password_file.as_ref());
    if asks_becoming {
        let hint = if asks_login {
            "[defaults to SSH password]"
        } else {
            ""
        };
        let password = ask(&format!("{method} password{hint}: "))?;
        passwords.becoming = if asks_login && password.as_deref() == Some("") {
            passwords.login.clone()
        } else {
            password
        };
    } else if let Some(file) = becoming_file {
        passwords.becoming = Some(of_file(file, surroundings)?);
    }
    Ok(passwords)
}

fn of_file(file: &str, surroundings: &Surroundings) -> Result<String, Located> {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    let secret = if file == "-" {
        let mut secret = Vec::new();
        std::io::stdin()
            .read_to_end(&mut secret)
            .map_err(|error| Located::new(format!("reading standard input: {error}")))?;
        secret
    } else {
        let path = unfrack(file, surroundings, None);
        let metadata = std::fs::metadata(&path)
            .map_err(|_| Located::new(format!("The password file {path} was not found")))?;
        if metadata.permissions().mode() & 0o111 != 0 {
            let output = Command::new(&path).output().map_err(|error| {
                Located::new(format!(
                    "Problem occurred when trying to run the password script {path} ({error}). If this is not a script, remove \
                     the executable bit from the file."
                ))
            })?;
            if !output.status.success() {
                return Err(Located::new(format!(
                    "The password script {path} returned an error (rc={}): {}",
                    output.status.code().unwrap_or(-1),
                    String::from_utf8_lossy(&output.stderr)
                )));
            }
            output.stdout
        } else {
            std::fs::read(&path).map_err(|error| {
                Located::new(format!("Could not read password file '{path}'."))
                    .because(Located::new(error.to_string()))
            })?
        }
    };
    let text = String::from_utf8_lossy(&secret);
    let text = text.trim_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Located::new(format!(
            "Empty password was provided from file ({file})"
        )));
    }
    Ok(text.to_owned())
}
