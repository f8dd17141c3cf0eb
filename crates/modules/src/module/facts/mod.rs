//! What is known of a machine: the facts of `setup`.
//!
//! Each subject is a file with a `collect` that gives the facts of one of Ansible's collectors, without the prefix they get
//! in the result. They read files below a root ([`Gathering::path`]), so that the tree of another machine can be looked at
//! as well; what only a running machine can tell (programs, netlink, the system itself) is asked where
//! [`Gathering::live`] says so.
//!
//! The keys, their types and their values are those of ansible-core 2.21 on the same machine. Where it starts a program to
//! read what the kernel or a file tells as well, the kernel or the file is read here.

mod caps;
mod cmdline;
mod date_time;
mod devices;
mod distribution;
mod distro;
mod fqdn;
mod gathering;
mod hardware;
mod local;
mod lsb;
mod mounts;
pub(crate) mod netlink;
mod network;
mod other;
mod pkg_mgr;
mod platform;
mod processor;
mod python;
mod restrictions;
mod select;
mod service_mgr;
mod storage;
mod user;
mod virtual_machine;

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::glob;
use crate::invocation::Settings;

pub(crate) use distribution::name_and_version as distribution_name;
pub(crate) use gathering::Gathering;
pub(crate) use service_mgr::is_systemd_managed;

/// Facts by their names.
pub(crate) type Facts = Map<String, Value>;

/// What gathers the facts of one subject.
pub(super) struct Collector {
    /// Its name as a subset.
    name: &'static str,
    /// Facts of it that can be asked for as subsets too.
    ids: &'static [&'static str],
    /// The collectors whose facts it needs.
    needs: &'static [&'static str],
    /// Whether it is one of those that are gathered unless `!min` is asked for.
    minimal: bool,
    /// What its facts' names begin with in the result.
    prefix: &'static str,
    collect: fn(&mut Gathering<'_, '_>) -> Facts,
}

const fn collector(
    name: &'static str,
    ids: &'static [&'static str],
    collect: fn(&mut Gathering<'_, '_>) -> Facts,
) -> Collector {
    Collector {
        name,
        ids,
        needs: &[],
        minimal: false,
        prefix: "ansible_",
        collect,
    }
}

impl Collector {
    const fn minimal(mut self) -> Self {
        self.minimal = true;
        self
    }

    const fn needs(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }

    const fn prefix(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
        self
    }
}

/// All of them, those that others need first.
static COLLECTORS: &[Collector] = &[
    collector(
        "platform",
        &[
            "system",
            "kernel",
            "kernel_version",
            "machine",
            "python_version",
            "architecture",
            "machine_id",
        ],
        platform::collect,
    )
    .minimal(),
    collector(
        "distribution",
        &[
            "distribution_version",
            "distribution_release",
            "distribution_major_version",
            "os_family",
        ],
        distribution::collect,
    )
    .minimal(),
    collector("lsb", &[], lsb::collect).minimal(),
    collector("selinux", &[], restrictions::selinux).minimal(),
    collector("apparmor", &[], restrictions::apparmor).minimal(),
    collector("chroot", &["is_chroot"], restrictions::chroot),
    collector("fips", &[], restrictions::fips).minimal(),
    collector("python", &[], python::collect).minimal(),
    collector(
        "caps",
        &["system_capabilities", "system_capabilities_enforced"],
        caps::collect,
    )
    .minimal(),
    collector("pkg_mgr", &[], pkg_mgr::collect)
        .minimal()
        .needs(&["distribution"]),
    collector("service_mgr", &[], service_mgr::collect)
        .minimal()
        .needs(&["platform", "distribution"]),
    collector("cmdline", &[], cmdline::collect).minimal(),
    collector("date_time", &[], date_time::collect).minimal(),
    collector("env", &[], user::environment).minimal(),
    collector("loadavg", &[], hardware::load_average),
    collector(
        "ssh_pub_keys",
        &[
            "ssh_host_pub_keys",
            "ssh_host_key_dsa_public",
            "ssh_host_key_rsa_public",
            "ssh_host_key_ecdsa_public",
            "ssh_host_key_ed25519_public",
        ],
        other::ssh_host_keys,
    )
    .minimal(),
    collector(
        "user",
        &[
            "user_id",
            "user_uid",
            "user_gid",
            "user_gecos",
            "user_dir",
            "user_shell",
            "real_user_id",
            "effective_user_id",
            "effective_group_ids",
        ],
        user::collect,
    )
    .minimal(),
    collector("systemd", &[], service_mgr::systemd),
    collector(
        "virtual",
        &[
            "virtualization_type",
            "virtualization_role",
            "virtualization_tech_guest",
            "virtualization_tech_host",
        ],
        virtual_machine::collect,
    ),
    collector(
        "hardware",
        &[
            "processor",
            "processor_cores",
            "processor_count",
            "mounts",
            "devices",
        ],
        hardware::collect,
    )
    .needs(&["platform"]),
    collector("dns", &[], other::dns).minimal(),
    collector("fibre_channel_wwn", &[], other::fibre_channel),
    collector(
        "network",
        &[
            "interfaces",
            "default_ipv4",
            "default_ipv6",
            "all_ipv4_addresses",
            "all_ipv6_addresses",
        ],
        network::collect,
    )
    .needs(&["distribution", "platform"]),
    collector("iscsi", &[], other::iscsi),
    collector("nvme", &[], other::nvme),
    collector("local", &[], local::collect).minimal(),
    collector("facter", &[], other::facter).prefix("facter_"),
    collector("ohai", &[], other::ohai).prefix("ohai_"),
];

/// What is to be gathered.
pub(crate) struct Wanted {
    /// Names of collectors or facts, with `!` for what is not.
    pub subset: Vec<String>,
    /// Patterns of the names that are told; all if there are none.
    pub filter: Vec<String>,
}

/// Gathers facts. The error tells that a subset is none.
pub(crate) fn gather(gathering: &mut Gathering<'_, '_>, wanted: &Wanted) -> Result<Facts, String> {
    let chosen = select::collectors(&wanted.subset)?;
    let mut told = Facts::new();
    for collector in chosen {
        let facts = (collector.collect)(gathering);
        for (name, value) in facts {
            let full = format!("{}{}", collector.prefix, name.replace('-', "_"));
            if passes(&full, &wanted.filter) {
                told.insert(full.clone(), value.clone());
            }
            gathering.known.insert(full, value);
        }
    }
    for (name, value) in [
        ("gather_subset", json!(wanted.subset)),
        ("module_setup", json!(true)),
    ] {
        if passes(name, &wanted.filter) {
            told.insert(name.to_owned(), value);
        }
    }
    Ok(told)
}

/// Whether a fact's name passes the filter; names in it may do without `ansible_`.
fn passes(name: &str, filter: &[String]) -> bool {
    filter.is_empty()
        || filter.iter().any(|pattern| {
            pattern.is_empty()
                || glob::fits(name, pattern)
                || (!["ansible_", "facter", "ohai"]
                    .iter()
                    .any(|prefix| pattern.starts_with(prefix))
                    && glob::fits(name, &format!("ansible_{pattern}")))
        })
}

/// The facts a tree of files tells of the machine it is the root of, which need not run: those of all collectors, or of the
/// subsets that are asked for (as `gather_subset` of `setup`). No program is run.
///
/// # Errors
/// A subset is none.
pub fn of_tree(root: &Path, subset: &[&str]) -> Result<Map<String, Value>, String> {
    let settings = Settings::default();
    let mut context = Context::new(&settings);
    let wanted = Wanted {
        subset: subset.iter().map(|name| (*name).to_owned()).collect(),
        filter: Vec::new(),
    };
    gather(&mut Gathering::of_tree(&mut context, root), &wanted)
}

/// The full name of the machine (`socket.getfqdn()`).
pub(crate) fn full_name(gathering: &Gathering<'_, '_>) -> String {
    fqdn::of(gathering, &platform::Uname::of(gathering).node)
}
