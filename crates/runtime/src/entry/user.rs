//! Who a process runs as, by the files of its own root file system.

use crate::spec::UserSpec;

/// Numbers to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All supplementary groups, sorted, the primary one included.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Passwd {
            name,
            uid,
            gid,
            home: fields.nth(1).unwrap_or_default(),
        })
    })
}

fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

/// Refuses root where it was asked not to be used, in the kubelet's words. A user that is known by name
/// only could be root, so it is refused too.
pub(crate) fn check_non_root(user: &UserSpec) -> Result<(), String> {
    if !user.run_as_non_root {
        return Ok(());
    }
    if let Some(uid) = user.run_as_user {
        return if uid == 0 {
            Err("container's runAsUser breaks non-root policy".to_owned())
        } else {
            Ok(())
        };
    }
    let name = user.image_user.split(':').next().unwrap_or_default();
    match name.parse::<u32>() {
        Ok(0) => Err("container has runAsNonRoot and image will run as root".to_owned()),
        Ok(_) => Ok(()),
        Err(_) if name.is_empty() => {
            Err("container has runAsNonRoot and image will run as root".to_owned())
        }
        Err(_) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
        )),
    }
}

/// Finds the numbers. `passwd_text` and `group_text` are the container's files, empty if it has none.
pub(crate) fn resolve(
    user: &UserSpec,
    passwd_text: &str,
    group_text: &str,
) -> Result<Identity, String> {
    let (name, group) = user
        .image_user
        .split_once(':')
        .unwrap_or((user.image_user.as_str(), ""));
    let entry = match (user.run_as_user, name.parse::<u32>()) {
        (Some(uid), _) | (None, Ok(uid)) => Err(uid),
        (None, Err(_)) if name.is_empty() => Err(0),
        (None, Err(_)) => Ok(passwd(passwd_text)
            .find(|entry| entry.name == name)
            .ok_or_else(|| {
                format!("unable to find user {name}: no matching entries in passwd file")
            })?),
    };
    let (uid, entry) = match entry {
        Ok(entry) => (entry.uid, Some(entry)),
        Err(uid) => (uid, passwd(passwd_text).find(|entry| entry.uid == uid)),
    };
    let gid = match user.run_as_group {
        Some(gid) => gid,
        // A user of the pod's choice does not take the image's group.
        None if group.is_empty() || user.run_as_user.is_some() => {
            entry.as_ref().map_or(0, |entry| entry.gid)
        }
        None => match group.parse() {
            Ok(gid) => gid,
            Err(_) => groups(group_text)
                .find(|(name, ..)| *name == group)
                .map(|(_, gid, _)| gid)
                .ok_or_else(|| {
                    format!("unable to find group {group}: no matching entries in group file")
                })?,
        },
    };
    let mut all = vec![gid];
    if let Some(entry) = &entry {
        all.extend(
            groups(group_text)
                .filter(|(_, _, members)| members.split(',').any(|member| member == entry.name))
                .map(|(_, gid, _)| gid),
        );
    }
    all.extend(&user.supplemental_groups);
    all.extend(user.fs_group);
    all.sort_unstable();
    all.dedup();
    let home = entry
        .map(|entry| entry.home)
        .filter(|home| !home.is_empty());
    let home = home
        .unwrap_or(if uid == 0 { "/root" } else { "/" })
        .to_owned();
    Ok(Identity {
        uid,
        gid,
        groups: all,
        home,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\nbroken line\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlogs:x:4:web,other\nstaff:x:50:\n";

    fn user(image_user: &str) -> UserSpec {
        UserSpec {
            image_user: image_user.to_owned(),
            ..UserSpec::default()
        }
    }

    #[test]
    fn a_name_brings_its_groups_and_home() {
        let found = resolve(&user("web"), PASSWD, GROUP).unwrap();
        assert_eq!(
            found,
            Identity {
                uid: 33,
                gid: 34,
                groups: vec![4, 34],
                home: "/var/www".to_owned()
            }
        );
    }

    #[test]
    fn a_number_needs_no_entry_and_gets_group_zero() {
        let found = resolve(&user("1234"), PASSWD, GROUP).unwrap();
        assert_eq!(
            found,
            Identity {
                uid: 1234,
                gid: 0,
                groups: vec![0],
                home: "/".to_owned()
            }
        );
    }

    #[test]
    fn the_pods_user_and_groups_override_the_image() {
        let spec = UserSpec {
            run_as_user: Some(33),
            supplemental_groups: vec![7],
            fs_group: Some(2000),
            ..user("root:staff")
        };
        let found = resolve(&spec, PASSWD, GROUP).unwrap();
        assert_eq!(
            (found.uid, found.gid, found.groups),
            (33, 34, vec![4, 7, 34, 2000])
        );
    }

    #[test]
    fn unknown_names_are_named() {
        assert_eq!(
            resolve(&user("nobody"), PASSWD, GROUP).unwrap_err(),
            "unable to find user nobody: no matching entries in passwd file"
        );
        assert_eq!(
            resolve(&user("web:none"), PASSWD, GROUP).unwrap_err(),
            "unable to find group none: no matching entries in group file"
        );
    }

    #[test]
    fn root_is_refused_where_it_must_not_be() {
        let check = |image_user: &str, run_as_user| {
            check_non_root(&UserSpec {
                run_as_non_root: true,
                run_as_user,
                ..user(image_user)
            })
        };
        assert!(
            check("", None)
                .unwrap_err()
                .ends_with("image will run as root")
        );
        assert!(
            check("0:5", None)
                .unwrap_err()
                .ends_with("image will run as root")
        );
        assert!(
            check("web", None)
                .unwrap_err()
                .contains("non-numeric user (web)")
        );
        assert!(
            check("1000", Some(0))
                .unwrap_err()
                .contains("breaks non-root policy")
        );
        assert_eq!(check("33", None), Ok(()));
        assert_eq!(check("", Some(33)), Ok(()));
    }
}
