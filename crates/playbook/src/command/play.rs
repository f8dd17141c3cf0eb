//! Runs playbooks: `ansible-playbook`.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::options::TagOptions;
use super::passwords::{self, Passwords};
use super::running::{Common, tags};
use super::session::Session;
use crate::executor::What;
use crate::source::Located;

/// Carries out the tasks of playbooks on the hosts they name.
#[derive(Parser, Debug)]
#[command(
    name = "ansible-playbook",
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true
)]
pub(super) struct PlayArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    tags: TagOptions,
    /// Run handlers on hosts that failed too.
    #[arg(long)]
    force_handlers: bool,
    /// Only read the playbooks.
    #[arg(long)]
    syntax_check: bool,
    /// List the tasks that would be done, and do nothing else.
    #[arg(long)]
    list_tasks: bool,
    /// List the tags there are, and do nothing else.
    #[arg(long)]
    list_tags: bool,
    /// Ask before each task.
    #[arg(long)]
    step: bool,
    /// Begin at the task of this name.
    #[arg(long, value_name = "NAME")]
    start_at_task: Option<String>,
    /// The playbooks: files, or names in collections.
    #[arg(value_name = "PLAYBOOK", required = true)]
    playbooks: Vec<String>,
}

impl PlayArguments {
    /// How much is told.
    pub(super) fn verbosity(&self) -> u8 {
        self.common.verbosity.verbose
    }
}

/// Carries it out; the exit status.
pub(super) fn run(arguments: &PlayArguments, session: &Session) -> Result<i32, Located> {
    let common = &arguments.common;
    common.check(session)?;
    session.begin("ansible-playbook");
    for playbook in &arguments.playbooks {
        check_file(playbook)?;
    }
    let lists = common.inventory.list_hosts || arguments.list_tasks || arguments.list_tags;
    let passwords = if lists || arguments.syntax_check {
        Passwords::default()
    } else {
        passwords::machines(
            &common.connect,
            &common.becoming,
            &session.settings,
            &session.surroundings,
        )?
    };
    let mut wanted = tags(&arguments.tags.tags, &session.settings.tags_run);
    let skipped = tags(&arguments.tags.skip_tags, &session.settings.tags_skip);
    if wanted.is_empty() {
        if arguments.list_tags && skipped.is_empty() {
            wanted.push("never".to_owned());
        }
        wanted.push("all".to_owned());
    }
    let directory = arguments
        .playbooks
        .first()
        .and_then(|playbook| Path::new(playbook).parent())
        .and_then(|directory| {
            PathBuf::from(&session.surroundings.directory)
                .join(directory)
                .canonicalize()
                .ok()
        })
        .unwrap_or_else(|| PathBuf::from(&session.surroundings.directory));
    let mut prepared = common.prepare(session, &directory, &wanted, &skipped, passwords)?;
    prepared.hosts(common.inventory.limit.as_deref(), "all")?;
    prepared.options.force_handlers |= arguments.force_handlers;
    prepared.options.step = arguments.step;
    prepared
        .options
        .start_at_task
        .clone_from(&arguments.start_at_task);
    if lists || arguments.syntax_check {
        return super::outline::run(
            &super::outline::Wanted {
                hosts: common.inventory.list_hosts,
                tasks: arguments.list_tasks,
                tags: arguments.list_tags,
                syntax: arguments.syntax_check,
            },
            &arguments.playbooks,
            &prepared,
            session,
        );
    }
    let callback = session.settings.stdout_callback.clone();
    prepared.run(
        What::Playbooks(arguments.playbooks.clone()),
        &callback,
        None,
    )
}

fn check_file(playbook: &str) -> Result<(), Located> {
    let Ok(metadata) = std::fs::metadata(playbook) else {
        // A name in a collection: whether it is there is known to whoever reads it.
        let is_name = playbook.split('.').count() >= 3
            && playbook
                .split('.')
                .all(|part| !part.is_empty() && !part.contains('/'));
        if is_name {
            return Ok(());
        }
        return Err(Located::new(format!(
            "the playbook: {playbook} could not be found"
        )));
    };
    if metadata.is_file() || metadata.file_type().is_fifo() {
        Ok(())
    } else {
        Err(Located::new(format!(
            "the playbook: {playbook} does not appear to be a file"
        )))
    }
}
