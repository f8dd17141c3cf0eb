//! What the name of a strategy stands for.

use crate::bridge::Error;
use crate::executor::run::Run;
use crate::language::Play;
use crate::source::{Located, Notice, Removal};

/// How the hosts of a play go through its tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Strategy {
    /// Task by task, all hosts together.
    Linear,
    /// Each host as fast as it can.
    Free {
        /// A host that was begun is ended before another takes its place.
        pinned: bool,
    },
}

/// Those that are built in, by their names without a collection.
fn built_in(leaf: &str) -> Option<Strategy> {
    Some(match leaf {
        "linear" | "debug" => Strategy::Linear,
        "free" => Strategy::Free { pinned: false },
        "host_pinned" => Strategy::Free { pinned: true },
        _ => return None,
    })
}

/// The strategy of a name. One in Python is taken for what it is made of, if all it changes is how workers are had: that of
/// Mitogen, or one that leaves the running of hosts to its base.
///
/// # Errors
/// There is none of the name, or it runs hosts in a way of its own.
pub(super) fn of(run: &Run, play: &Play, name: &str) -> Result<Strategy, Located> {
    let leaf = ["ansible.builtin.", "ansible.legacy."]
        .iter()
        .find_map(|collection| name.strip_prefix(collection))
        .unwrap_or(name);
    if let Some(known) = built_in(leaf) {
        return Ok(known);
    }
    // what it does is done here anyway: a process stays on each machine
    if let Some(known) = leaf.strip_prefix("mitogen_").and_then(built_in) {
        return Ok(known);
    }
    let invalid =
        || Located::new(format!("Invalid play strategy specified: {name}")).at(&play.origin);
    let Some(bridge) = run.templar.bridge() else {
        return Err(invalid());
    };
    let base = match bridge.strategy(name) {
        Ok(Some(base)) => base,
        Ok(None) | Err(Error::Absent(_)) => return Err(invalid()),
        Err(error) => return Err(invalid().because(error.into())),
    };
    (run.notices)(Notice::Deprecated {
        what: Located::new(
            "Use of strategy plugins not included in ansible.builtin are deprecated and do not carry any backwards compatibility \
             guarantees. No alternative for third party strategy plugins is currently planned.",
        ),
        removal: Removal::default(),
    });
    built_in(&base).ok_or_else(|| {
        Located::new(format!(
            "The strategy plugin {name} runs hosts in a way of its own, which cannot be done here."
        ))
        .at(&play.origin)
        .hint("Strategies in Python are taken for `linear`, `free` or `host_pinned` where they are made of one of these and leave its `run` as it is.")
    })
}
