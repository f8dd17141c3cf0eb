//! The commands for scores that a server follows.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Target;

/// `consort score`.
#[derive(Debug, Subcommand)]
pub(crate) enum Score {
    /// Let the server follow a score in a Git repository
    Add(Box<ScoreAdd>),
    /// List the scores the server knows, and how they stand
    List(ScoreList),
    /// Show how a score stands, and why
    Show(ScoreShow),
    /// Take a score off the server; what it made stays
    Rm(ScoreRm),
}

/// `consort score add`.
#[derive(Debug, Args)]
pub(crate) struct ScoreAdd {
    /// Name of the score
    pub(crate) name: String,
    /// The repository: https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH or /PATH
    #[arg(long, value_name = "URL")]
    pub(crate) git: String,
    /// Branch, tag or commit [default: the repository's own]
    #[arg(long = "ref", value_name = "REF", default_value = "")]
    pub(crate) reference: String,
    /// Directory of the score in the repository
    #[arg(long, value_name = "DIR", default_value = "")]
    pub(crate) path: String,
    /// How often the repository is asked whether it has moved
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub(crate) interval: String,
    /// Carry new commits out only when somebody asks for it
    #[arg(long)]
    pub(crate) manual: bool,
    /// Keep what is no longer in the source
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// Tell of drift, and leave it
    #[arg(long)]
    pub(crate) no_self_heal: bool,
    /// When syncs may be done, or may not: allow|deny:SCHEDULE:DURATION[:ZONE], such as "deny:0 22 * * *:8h:Europe/Berlin"
    #[arg(long = "window", value_name = "WINDOW")]
    pub(crate) windows: Vec<String>,
    /// A Secret with the credentials that is there already
    #[arg(long, value_name = "SECRET", conflicts_with_all = ["username", "password_stdin", "ssh_key", "ca"])]
    pub(crate) credentials: Option<String>,
    /// User of the repository
    #[arg(long, value_name = "USER", requires = "password_stdin")]
    pub(crate) username: Option<String>,
    /// Read the password or token of the repository from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Private key for the repository, with --known-hosts
    #[arg(long, value_name = "FILE", requires = "known_hosts")]
    pub(crate) ssh_key: Option<PathBuf>,
    /// Keys of hosts to trust, as ssh-keyscan prints them
    #[arg(long, value_name = "FILE")]
    pub(crate) known_hosts: Option<PathBuf>,
    /// Certificate authorities to trust besides the server's own
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Take webhooks of the repository, and print where and with what token
    #[arg(long)]
    pub(crate) webhook: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort score list`.
#[derive(Debug, Args)]
pub(crate) struct ScoreList {
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort score show`.
#[derive(Debug, Args)]
pub(crate) struct ScoreShow {
    /// Name of the score
    pub(crate) name: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort score rm`.
#[derive(Debug, Args)]
pub(crate) struct ScoreRm {
    /// Names of scores
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort sync`.
#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// Names of scores
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Ask for it, and do not wait for its end
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = super::duration)]
    pub(crate) timeout: std::time::Duration,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort suspend` and `consort resume-sync`.
#[derive(Debug, Args)]
pub(crate) struct Suspend {
    /// Names of scores
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `consort drift`.
#[derive(Debug, Args)]
pub(crate) struct Drift {
    /// Names of scores the server knows, or a directory of one [default: all]
    pub(crate) scores: Vec<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}
