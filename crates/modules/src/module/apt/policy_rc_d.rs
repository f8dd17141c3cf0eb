//! Keeps services from being started by the packages they come with (invoke-rc.d's policy), for as long as they are
//! installed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::arguments::Arguments;
use crate::context::Context;
use crate::invocation::Failure;

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The policy of the machine, put aside.
pub(super) struct Guard(State);

enum State {
    /// Nothing was asked for.
    Idle,
    /// There was none before.
    Made,
    /// The one before is kept here.
    Kept(PathBuf),
}

impl Guard {
    pub(super) fn enter(context: &Context<'_>, arguments: &Arguments) -> Result<Guard, Failure> {
        let Some(code) = arguments.integer("policy_rc_d") else {
            return Ok(Guard(State::Idle));
        };
        let policy = context.path(POLICY);
        let state = if policy.exists() {
            // Beside it, so that a run that is killed leaves it where it is found again.
            let kept =
                policy.with_file_name(format!("policy-rc.d.{}", uuid::Uuid::new_v4().simple()));
            std::fs::rename(&policy, &kept).map_err(|_| {
                Failure::new(format!("Fail to move {POLICY} to {}", kept.display()))
            })?;
            State::Kept(kept)
        } else {
            State::Made
        };
        let written = std::fs::write(&policy, format!("#!/bin/sh\nexit {code}\n")).and_then(|()| {
            std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o755))
        });
        let guard = Guard(state);
        if written.is_err() {
            guard.leave()?;
            return Err(Failure::new(format!("Failed to create or chmod {POLICY}")));
        }
        Ok(guard)
    }

    /// Brings the policy of the machine back.
    pub(super) fn leave(mut self) -> Result<(), Failure> {
        self.restore()
    }

    fn restore(&mut self) -> Result<(), Failure> {
        match std::mem::replace(&mut self.0, State::Idle) {
            State::Idle => Ok(()),
            State::Made => {
                // Somebody else may have taken it away already.
                let _ = std::fs::remove_file(POLICY);
                Ok(())
            }
            State::Kept(kept) => std::fs::rename(&kept, POLICY).map_err(|_| {
                Failure::new(format!("Fail to move back {} to {POLICY}", kept.display()))
            }),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Only where the work itself could not go on; that is what is told.
        let _ = self.restore();
    }
}
