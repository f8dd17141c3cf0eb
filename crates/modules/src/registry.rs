//! The modules there are.

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::invocation::{FailureKind, Invocation, Outcome, Report};
use crate::process::Cancel;
use crate::{attributes, module, secrets};

/// A native module.
pub struct Module {
    /// Its name without a collection.
    pub name: &'static str,
    /// What it does: reads its arguments, brings the machine into the state they ask for.
    pub(crate) act: fn(&mut Context<'_>, &Invocation) -> Outcome,
}

/// The modules, in the order of their names.
static MODULES: &[Module] = &[
    module::apt::MODULE,
    module::apt_key::MODULE,
    module::apt_repository::MODULE,
    module::archive::MODULE,
    module::assemble::MODULE,
    module::async_status::MODULE,
    module::authorized_key::MODULE,
    module::blockinfile::MODULE,
    module::command::MODULE,
    module::copy::MODULE,
    module::cron::MODULE,
    module::deb822_repository::MODULE,
    module::debconf::MODULE,
    module::dnf::MODULE,
    module::dpkg_selections::MODULE,
    module::file::MODULE,
    module::find::MODULE,
    module::get_url::MODULE,
    module::getent::MODULE,
    module::git::MODULE,
    module::group::MODULE,
    module::hostname::MODULE,
    module::iptables::MODULE,
    module::known_hosts::MODULE,
    module::lineinfile::MODULE,
    module::mount::MODULE,
    module::package_facts::MODULE,
    module::ping::MODULE,
    module::pip::MODULE,
    module::replace::MODULE,
    module::rpm_key::MODULE,
    module::service::MODULE,
    module::service_facts::MODULE,
    module::setup::MODULE,
    module::slurp::MODULE,
    module::stat::MODULE,
    module::sysctl::MODULE,
    module::systemd::MODULE,
    module::systemd::SERVICE,
    module::sysvinit::MODULE,
    module::tempfile::MODULE,
    module::unarchive::MODULE,
    module::uri::MODULE,
    module::user::MODULE,
    module::wait_for::MODULE,
    module::yum_repository::MODULE,
];

/// The module of a name (without its collection), if it is native.
pub fn find(name: &str) -> Option<&'static Module> {
    MODULES
        .binary_search_by(|module| module.name.cmp(name))
        .ok()
        .map(|place| &MODULES[place])
}

/// Modules that are native and at home in a collection, with their full names.
const OF_COLLECTIONS: [&str; 4] = [
    "ansible.posix.authorized_key",
    "ansible.posix.mount",
    "ansible.posix.sysctl",
    "community.general.archive",
];

/// The module of a full name of a collection other than `ansible.builtin`, if it is native: it needs no such collection.
pub fn find_of_collection(name: &str) -> Option<&'static Module> {
    OF_COLLECTIONS
        .contains(&name)
        .then(|| name.rsplit('.').next().and_then(find))
        .flatten()
}

impl Module {
    /// Whether it works on such arguments; others are better left to the module of ansible-core, if there is one.
    pub fn takes(&self, arguments: &Map<String, Value>) -> bool {
        self.name != module::dnf::MODULE.name || module::dnf::takes(arguments)
    }

    /// Runs it here, in this process. Blocks until it is done. A failure is a report with `failed`.
    pub fn run(&self, invocation: &Invocation) -> Report {
        self.run_until(invocation, None)
    }

    /// Runs it here, unless it is ended from outside before.
    pub fn run_until(&self, invocation: &Invocation, cancel: Option<Cancel>) -> Report {
        let mut context = Context::new(&invocation.settings);
        context.cancel = cancel;
        let mut report = (self.act)(&mut context, invocation).unwrap_or_else(|failure| {
            if matches!(failure.kind, FailureKind::Unhandled) {
                // What no module of Python catches ends it before it tells its arguments, and what it warned of.
                context.checked = None;
                context.warnings.clear();
                context.deprecations.clear();
            }
            failure.into_report()
        });
        attributes::add_path_information(&context, &mut report);
        if invocation.settings.inject_invocation {
            if let Some(checked) = context.checked.take() {
                report
                    .entry("invocation")
                    .or_insert_with(|| json!({ "module_args": checked }));
            }
        } else {
            report.remove("invocation");
        }
        if !context.warnings.is_empty() {
            report.insert("warnings".to_owned(), context.warnings.clone().into());
        }
        if !context.deprecations.is_empty() {
            for entry in &mut context.deprecations {
                entry["deprecator"] = json!({
                    "resolved_name": format!("ansible.builtin.{}", self.name),
                    "type": "module",
                });
            }
            report.insert(
                "deprecations".to_owned(),
                context.deprecations.clone().into(),
            );
        }
        secrets::remove(&mut report, &context.secrets);
        report
    }
}
