//! Options that several commands share, by the names Ansible gives them.

use clap::{ArgAction, Args};

/// How much is told.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Verbosity {
    /// Tell more; up to six times.
    #[arg(short = 'v', long = "verbose", action = ArgAction::Count, global = true)]
    pub(super) verbose: u8,
}

/// Which hosts there are.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct InventoryOptions {
    /// A file, directory or program of hosts, or a list of them with commas.
    #[arg(short = 'i', long, alias = "inventory-file", value_name = "INVENTORY")]
    pub(super) inventory: Vec<String>,
    /// List the hosts that are meant, and do nothing else.
    #[arg(long)]
    pub(super) list_hosts: bool,
    /// Only the hosts of these that match this pattern too.
    #[arg(short = 'l', long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub(super) limit: Option<String>,
    /// Forget the facts kept of all hosts.
    #[arg(long)]
    pub(super) flush_cache: bool,
}

/// What opens what is encrypted.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct VaultOptions {
    /// A secret: its name, `@`, and a file, a program or `prompt`.
    #[arg(long, value_name = "ID")]
    pub(super) vault_id: Vec<String>,
    /// Ask for the vault's password.
    #[arg(
        short = 'J',
        long = "ask-vault-password",
        alias = "ask-vault-pass",
        conflicts_with = "vault_password_file"
    )]
    pub(super) ask_vault_password: bool,
    /// A file that holds, or a program that prints, the vault's password.
    #[arg(long, alias = "vault-pass-file", value_name = "FILE")]
    pub(super) vault_password_file: Vec<String>,
}

/// How machines are reached.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ConnectOptions {
    /// The key to log in with.
    #[arg(long, alias = "key-file", value_name = "FILE")]
    pub(super) private_key: Option<String>,
    /// The user to log in as.
    #[arg(short = 'u', long)]
    pub(super) user: Option<String>,
    /// The kind of connection.
    #[arg(short = 'c', long)]
    pub(super) connection: Option<String>,
    /// Seconds to wait for a connection.
    #[arg(short = 'T', long)]
    pub(super) timeout: Option<u64>,
    /// Arguments for ssh, scp and sftp.
    #[arg(long, allow_hyphen_values = true)]
    pub(super) ssh_common_args: Option<String>,
    /// More arguments for sftp.
    #[arg(long, allow_hyphen_values = true)]
    pub(super) sftp_extra_args: Option<String>,
    /// More arguments for scp.
    #[arg(long, allow_hyphen_values = true)]
    pub(super) scp_extra_args: Option<String>,
    /// More arguments for ssh.
    #[arg(long, allow_hyphen_values = true)]
    pub(super) ssh_extra_args: Option<String>,
    /// Ask for the password to log in with.
    #[arg(short = 'k', long, conflicts_with = "connection_password_file")]
    pub(super) ask_pass: bool,
    /// A file that holds, or a program that prints, the password to log in with.
    #[arg(long, alias = "conn-pass-file", value_name = "FILE")]
    pub(super) connection_password_file: Option<String>,
}

/// Becoming another user on the machine.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct BecomeOptions {
    /// Become another user.
    #[arg(short = 'b', long = "become")]
    pub(super) becomes: bool,
    /// How.
    #[arg(long, value_name = "METHOD")]
    pub(super) become_method: Option<String>,
    /// Whom.
    #[arg(long, value_name = "USER")]
    pub(super) become_user: Option<String>,
    /// Ask for the password to become another user with.
    #[arg(short = 'K', long, conflicts_with = "become_password_file")]
    pub(super) ask_become_pass: bool,
    /// A file that holds, or a program that prints, that password.
    #[arg(long, alias = "become-pass-file", value_name = "FILE")]
    pub(super) become_password_file: Option<String>,
}

/// Looking without changing.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct CheckOptions {
    /// Change nothing; tell what would change.
    #[arg(short = 'C', long)]
    pub(super) check: bool,
    /// Show how files differ.
    #[arg(short = 'D', long)]
    pub(super) diff: bool,
}

/// Variables of the command line.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ExtraOptions {
    /// Variables: `name=value`, YAML, JSON, or `@` and a file.
    #[arg(
        short = 'e',
        long,
        value_name = "VARIABLES",
        allow_hyphen_values = true
    )]
    pub(super) extra_vars: Vec<String>,
}

/// How many hosts are worked on at once, and where modules are.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct RunOptions {
    /// How many hosts at once.
    #[arg(short = 'f', long, allow_hyphen_values = true)]
    pub(super) forks: Option<i64>,
    /// Directories of modules, before all others, separated by colons.
    #[arg(short = 'M', long, value_name = "PATH")]
    pub(super) module_path: Vec<String>,
}

/// Which tasks.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct TagOptions {
    /// Only tasks with these tags.
    #[arg(short = 't', long)]
    pub(super) tags: Vec<String>,
    /// No tasks with these tags.
    #[arg(long)]
    pub(super) skip_tags: Vec<String>,
}
