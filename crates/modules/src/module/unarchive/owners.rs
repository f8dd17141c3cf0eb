//! Who unpacked files belong to.

use std::os::unix::fs::MetadataExt as _;

use crate::attributes::{Wanted, group_id, group_name, user_id, user_name};
use crate::invocation::Failure;

/// Who unpacked files belong to.
pub(super) struct Owners {
    run_uid: u32,
    owner: String,
    uid: u32,
    group: String,
    gid: u32,
    run_owner: String,
    run_gid: u32,
    groups: Vec<u32>,
}

impl Owners {
    pub(super) fn of(wanted: &Wanted) -> Self {
        let run_uid = nix::unistd::getuid().as_raw();
        let run_gid = nix::unistd::getgid().as_raw();
        let number = |text: &String| text.trim().parse::<u32>().ok();
        let uid = wanted
            .owner
            .as_ref()
            .filter(|owner| !owner.is_empty())
            .map_or(run_uid, |owner| {
                user_id(owner)
                    .or_else(|| number(owner).filter(|uid| user_name(*uid).is_some()))
                    .unwrap_or(run_uid)
            });
        let gid = wanted
            .group
            .as_ref()
            .filter(|group| !group.is_empty())
            .map_or(run_gid, |group| {
                group_id(group)
                    .or_else(|| number(group).filter(|gid| group_name(*gid).is_some()))
                    .unwrap_or(run_gid)
            });
        let named = |uid: u32| user_name(uid).unwrap_or_else(|| uid.to_string());
        Owners {
            run_uid,
            owner: named(uid),
            uid,
            group: group_name(gid).unwrap_or_else(|| gid.to_string()),
            gid,
            run_owner: named(run_uid),
            run_gid,
            groups: nix::unistd::getgroups()
                .map(|groups| groups.into_iter().map(nix::unistd::Gid::as_raw).collect())
                .unwrap_or_default(),
        }
    }

    pub(super) fn compare(
        &self,
        path: &str,
        meta: &std::fs::Metadata,
        marks: &mut [char],
    ) -> Result<(), Failure> {
        if self.run_uid != 0 && self.uid != self.run_uid {
            return Err(Failure::unhandled(format!(
                "Cannot change ownership of {path} to {}, as user {}",
                self.owner, self.run_owner
            )));
        }
        let differs = match user_name(meta.uid()) {
            Some(owner) => owner != self.owner,
            None => meta.uid() != self.uid,
        };
        if differs {
            marks[6] = 'o';
        }
        if self.run_uid != 0 && self.gid != self.run_gid && !self.groups.contains(&self.gid) {
            return Err(Failure::unhandled(format!(
                "Cannot change group ownership of {path} to {}, as user {}",
                self.group, self.run_owner
            )));
        }
        let differs = match group_name(meta.gid()) {
            Some(group) => group != self.group,
            None => meta.gid() != self.gid,
        };
        if differs {
            marks[6] = 'g';
        }
        Ok(())
    }
}
