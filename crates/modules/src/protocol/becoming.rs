//! Becoming another user on a machine: the command lines, the prompts and what says that a password is wrong.

use serde::{Deserialize, Serialize};

/// Whom to become, and how.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Becoming {
    /// `sudo`, `su`, ...
    pub method: String,
    /// Whom.
    pub user: String,
    /// The program, if it is not the usual one.
    pub exe: Option<String>,
    /// Its flags, if they are not the usual ones.
    pub flags: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The shell that is run in between.
    pub shell: String,
    /// A directory to change to first (`sudo_chdir`).
    pub directory: Option<String>,
    /// Beginnings of prompts to look for, if not the usual ones (`prompt_l10n`).
    pub prompts: Vec<String>,
    /// After how many seconds it counts as failed.
    pub timeout: u64,
}

/// Why another user could not be become.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NotBecome {
    /// What happened: `Premature end of stream`, `Timed out`, `Duplicate become password prompt encountered`.
    pub reason: String,
    /// What was written until then.
    pub stdout: String,
    /// What was complained until then.
    pub stderr: String,
    /// Whether the password was still to be asked for.
    pub password_expected: bool,
    /// Whether what was said means that the password is wrong.
    pub incorrect: bool,
    /// Whether what was said means that a password is wanted.
    pub missing: bool,
}

impl NotBecome {
    /// What is said of it where all that was written is shown.
    pub fn message(&self) -> String {
        let mut message = format!("{} waiting for become success", self.reason);
        if self.password_expected {
            message.push_str(" or become password prompt");
        }
        message.push('.');
        if !self.stdout.is_empty() {
            message.push_str("\n>>> Standard Output\n");
            message.push_str(&self.stdout);
        }
        if !self.stderr.is_empty() {
            message.push_str("\n>>> Standard Error\n");
            message.push_str(&self.stderr);
        }
        message
    }
}

/// What is run, and what it says.
#[derive(Clone, Debug)]
pub struct Line {
    /// The command line.
    pub line: String,
    /// What is written when another user has been become.
    pub success: String,
    /// What it asks for a password with, if it may ask.
    pub prompt: Prompt,
    /// What it says of a wrong password.
    pub incorrect: &'static [&'static str],
    /// What it says where a password is missing.
    pub missing: &'static [&'static str],
    /// Whether it asks at the terminal, wherever its input comes from.
    pub terminal: bool,
}

/// What a password is asked for with.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// Never.
    None,
    /// A line that begins with one of these.
    Line(Vec<String>),
    /// One of these anywhere, whatever its case, before a colon.
    Word(Vec<String>),
}

impl Prompt {
    /// What was written without the prompts of our own making.
    pub fn without(&self, written: &str) -> String {
        match self {
            Prompt::Line(prompts) => prompts
                .iter()
                .filter(|prompt| prompt.contains("key="))
                .fold(written.to_owned(), |text, prompt| {
                    text.replace(prompt.as_str(), "")
                }),
            Prompt::None | Prompt::Word(_) => written.to_owned(),
        }
    }

    /// Whether it stands in what was written.
    pub fn found(&self, written: &str) -> bool {
        match self {
            Prompt::None => false,
            Prompt::Line(prompts) => written.lines().any(|line| {
                prompts
                    .iter()
                    .any(|prompt| line.trim().starts_with(prompt.trim()))
            }),
            Prompt::Word(words) => {
                let written = written.to_lowercase();
                words.iter().any(|word| {
                    let word = word.to_lowercase();
                    written.match_indices(&word).any(|(at, _)| {
                        let after = written[at + word.len()..].trim_start();
                        after.starts_with([':', '：'])
                    })
                })
            }
        }
    }
}

/// How `su` asks for a password in the languages it speaks.
const SU_PROMPTS: &[&str] = &[
    "Password",
    "암호",
    "パスワード",
    "Adgangskode",
    "Contraseña",
    "Contrasenya",
    "Hasło",
    "Heslo",
    "Jelszó",
    "Lösenord",
    "Mật khẩu",
    "Mot de passe",
    "Parola",
    "Parool",
    "Pasahitza",
    "Passord",
    "Passwort",
    "Salasana",
    "Sandi",
    "Senha",
    "Wachtwoord",
    "ססמה",
    "Лозинка",
    "Парола",
    "Пароль",
    "गुप्तशब्द",
    "शब्दकूट",
    "సంకేతపదము",
    "හස්පදය",
    "密码",
    "密碼",
    "口令",
];

/// A text as one word of a shell.
pub fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "@%+=:,./-_".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

/// Flags of `sudo` without those that forbid it to ask.
fn asking(flags: &str) -> String {
    let Some(words) = shlex::split(flags) else {
        return flags.to_owned();
    };
    let kept = words.into_iter().filter_map(|word| {
        if word == "-n" || word == "--non-interactive" {
            return None;
        }
        if word.starts_with('-') && !word.starts_with("--") {
            let letters: String = word[1..]
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect();
            let rest = word[1 + letters.len()..].to_owned();
            return Some(match letters.rfind('n') {
                Some(at) => format!("-{}{}{rest}", &letters[..at], &letters[at + 1..]),
                None => word,
            });
        }
        Some(word)
    });
    kept.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
}

impl Becoming {
    /// The name of the method without a collection.
    pub fn leaf(&self) -> &str {
        self.method.rsplit('.').next().unwrap_or(&self.method)
    }

    /// The command line that becomes the user and runs `command` there. `key` tells this attempt from all others.
    ///
    /// # Errors
    /// The method is unknown: a message.
    pub fn line(&self, command: &str, key: &str) -> Result<Line, String> {
        let success = format!("BECOME-SUCCESS-{key}");
        let announced = quoted(&format!("echo {success} ; {command}"));
        let within = format!("{} -c {announced}", self.shell);
        let flags = |usual: &str| self.flags.clone().unwrap_or_else(|| usual.to_owned());
        let exe = |usual: &str| {
            self.exe
                .clone()
                .filter(|exe| !exe.is_empty())
                .unwrap_or_else(|| usual.to_owned())
        };
        let asks = self.password.is_some();
        let joined = |parts: &[&str]| {
            let parts: Vec<&str> = parts
                .iter()
                .filter(|part| !part.is_empty())
                .copied()
                .collect();
            parts.join(" ")
        };
        let user = if self.user.is_empty() {
            String::new()
        } else {
            format!("-u {}", self.user)
        };
        let mut line = Line {
            line: String::new(),
            success: success.clone(),
            prompt: Prompt::None,
            incorrect: &[],
            missing: &[],
            terminal: false,
        };
        match self.leaf() {
            "sudo" | "dzdo" => {
                let name = self.leaf();
                let mut flags = flags("-H -S -n");
                let mut prompt = String::new();
                if asks {
                    let asked = format!("[{name} via ansible, key={key}] password:");
                    flags = asking(&flags);
                    prompt = format!("-p \"{asked}\"");
                    line.prompt = Prompt::Line(vec![asked]);
                }
                let mut program = exe(name);
                if let Some(directory) = &self.directory {
                    program = format!("cd {} && {program}", quoted(directory));
                }
                line.line = joined(&[&program, &flags, &prompt, &user, &within]);
                line.incorrect = &["Sorry, try again."];
                line.missing = &[
                    "Sorry, a password is required to run sudo",
                    "sudo: a password is required",
                ];
            }
            "su" => {
                line.line = joined(&[&exe("su"), &flags(""), &self.user, "-c", &quoted(&within)]);
                let words = if self.prompts.is_empty() {
                    SU_PROMPTS.iter().map(|&word| word.to_owned()).collect()
                } else {
                    self.prompts.clone()
                };
                line.prompt = Prompt::Word(words);
                line.incorrect = &["Authentication failure"];
            }
            "runuser" => {
                line.line = joined(&[&exe("runuser"), &flags(""), &user, "--", &within]);
            }
            "doas" => {
                let mut flags = flags("");
                if !asks && !flags.contains("-n") {
                    flags.push_str(" -n");
                }
                line.line = joined(&[&exe("doas"), flags.trim(), &user, &within]);
                line.prompt = Prompt::Line(vec!["doas (".to_owned(), "Password:".to_owned()]);
                line.incorrect = &["Permission denied", "Authorization failed"];
                line.missing = &["Authorization required"];
                line.terminal = true;
            }
            "pfexec" => {
                line.line = joined(&[&exe("pfexec"), &flags("-H -S -n"), &format!("\"{within}\"")]);
            }
            "pbrun" | "pmrun" => {
                line.line = joined(&[&exe(self.leaf()), &flags(""), &user, &within]);
                line.prompt = Prompt::Line(vec![
                    "Password:".to_owned(),
                    "Enter UPM user password:".to_owned(),
                ]);
                line.terminal = true;
            }
            "ksu" => {
                line.line = joined(&[&exe("ksu"), &self.user, &flags(""), "-e", &within]);
                line.prompt = Prompt::Line(vec!["Kerberos password for".to_owned()]);
                line.incorrect = &["Password incorrect"];
                line.missing = &["No password given"];
                line.terminal = true;
            }
            "machinectl" => {
                line.line = joined(&[
                    &exe("machinectl"),
                    "-q shell",
                    &flags(""),
                    &format!("{}@", self.user),
                    &within,
                ]);
                line.prompt = Prompt::Word(vec!["Password".to_owned()]);
                line.terminal = true;
            }
            _ => {
                return Err(format!(
                    "Invalid become method specified, could not find matching plugin: '{}'. Use `ansible-doc -t become -l` to list available plugins.",
                    self.method
                ));
            }
        }
        Ok(line)
    }
}
