//! One file for each module.

pub(crate) mod apt;
pub(crate) mod archive;
pub(crate) mod assemble;
pub(crate) mod async_status;
pub(crate) mod authorized_key;
pub(crate) mod blockinfile;
pub(crate) mod command;
pub(crate) mod copy;
pub(crate) mod file;
pub(crate) mod find;
pub(crate) mod get_url;
pub(crate) mod known_hosts;
pub(crate) mod lineinfile;
pub(crate) mod mount;
pub(crate) mod ping;
pub(crate) mod replace;
pub(crate) mod slurp;
pub(crate) mod stat;
pub(crate) mod sysctl;
pub(crate) mod tempfile;
pub(crate) mod unarchive;
pub(crate) mod uri;
pub(crate) mod wait_for;
