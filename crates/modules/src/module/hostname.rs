//! `hostname`: the name of the machine, now and after its next start.

use std::sync::LazyLock;

use serde_json::json;

use crate::arguments::{Spec, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::module::facts::{self, Gathering};
use crate::process::{self, Command};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "hostname",
    act,
};

/// The names of the ways a name is kept, and the ways.
const WAYS: [(&str, Way); 13] = [
    ("alpine", Way::Alpine),
    ("debian", Way::Systemd),
    ("freebsd", Way::FreeBsd),
    ("generic", Way::Generic),
    ("macos", Way::Darwin),
    ("macosx", Way::Darwin),
    ("darwin", Way::Darwin),
    ("openbsd", Way::OpenBsd),
    ("openrc", Way::OpenRc),
    ("redhat", Way::RedHat),
    ("sles", Way::Sles),
    ("solaris", Way::Solaris),
    ("systemd", Way::Systemd),
];

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("name", text().required())
        .with("use", text().choices(&WAYS.map(|(name, _)| name)))
        .supports_check_mode()
});

/// How a name is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Alpine,
    Darwin,
    File,
    FreeBsd,
    Generic,
    OpenBsd,
    OpenRc,
    RedHat,
    Sles,
    Solaris,
    Systemd,
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let name = arguments.required("name");
    let used = arguments.text("use");
    let way = match WAYS.iter().find(|(known, _)| Some(*known) == used) {
        Some((_, way)) => *way,
        None => way_of(context)?,
    };
    let keeper = Keeper::new(context, way)?;
    let (current, permanent) = (keeper.current()?, keeper.permanent()?);
    let change = !context.settings.check;
    let mut changed = false;
    // systemd wants the name that stays first.
    let order = if way == Way::Systemd {
        [true, false]
    } else {
        [false, true]
    };
    for stays in order {
        let before = if stays {
            keeper.permanent()?
        } else {
            keeper.current()?
        };
        if before != name {
            changed = true;
            if change && stays {
                keeper.set_permanent(name)?;
            } else if change {
                keeper.set_current(name)?;
            }
        }
    }
    let full = {
        let gathering = Gathering::here(context);
        facts::full_name(&gathering)
    };
    let domain = full.split_once('.').map_or("", |(_, domain)| domain);
    let mut report = Report::from_iter([
        ("changed".to_owned(), json!(changed)),
        ("name".to_owned(), json!(name)),
        (
            "ansible_facts".to_owned(),
            json!({
                "ansible_hostname": name.split('.').next(),
                "ansible_nodename": name,
                "ansible_fqdn": full,
                "ansible_domain": domain,
            }),
        ),
    ]);
    if changed {
        let before = if name == current { permanent } else { current };
        report.insert(
            "diff".to_owned(),
            json!({
                "after": format!("hostname = {name}\n"),
                "before": format!("hostname = {before}\n"),
            }),
        );
    }
    Ok(report)
}

/// The way of the machine's distribution.
fn way_of(context: &mut Context<'_>) -> Result<Way, Failure> {
    let gathering = Gathering::here(context);
    if facts::is_systemd_managed(&gathering) {
        return Ok(Way::Systemd);
    }
    let (distribution, version) = facts::distribution_name(&gathering);
    Ok(match distribution.as_str() {
        "Sles"
            if version
                .parse::<f64>()
                .is_ok_and(|version| (10.0..=12.0).contains(&version)) =>
        {
            Way::Sles
        }
        "Redhat" | "Centos" | "Anolis" | "Cloudlinuxserver" | "Cloudlinux" | "Alinux"
        | "Scientific" | "Oracle" | "Virtuozzo" | "Amazon" | "Altlinux" | "Eurolinux" => {
            Way::RedHat
        }
        "Debian" | "Kylin" | "Cumulus-linux" | "Kali" | "Parrot" | "Ubuntu" | "Linuxmint"
        | "Linaro" | "Devuan" | "Raspbian" | "Uos" | "Deepin" | "Neon" | "Void" | "Pop" => {
            Way::File
        }
        "Gentoo" => Way::OpenRc,
        "Alpine" => Way::Alpine,
        _ => {
            return Err(Failure::new(format!(
                "hostname module cannot be used on platform Linux ({distribution})"
            )));
        }
    })
}

/// A way, with the program it needs.
struct Keeper<'a, 'c> {
    context: &'a Context<'c>,
    way: Way,
    program: String,
}

impl<'a, 'c> Keeper<'a, 'c> {
    fn new(context: &'a Context<'c>, way: Way) -> Result<Self, Failure> {
        let program = match way {
            Way::Systemd => process::required(context, "hostnamectl", &[])?,
            Way::OpenBsd | Way::FreeBsd | Way::Solaris => {
                process::required(context, "hostname", &[])?
            }
            Way::Darwin => {
                process::required(context, "scutil", &[])?;
                return Err(Failure::new(
                    "the native hostname module does not keep names as macOS does",
                ));
            }
            Way::Generic => return Err(Failure::unhandled("")),
            Way::Alpine | Way::File | Way::OpenRc | Way::RedHat | Way::Sles => String::new(),
        };
        Ok(Keeper {
            context,
            way,
            program,
        })
    }

    /// The file the name stands in.
    fn file(&self) -> &'static str {
        match self.way {
            Way::Sles => "/etc/HOSTNAME",
            Way::RedHat => "/etc/sysconfig/network",
            Way::OpenRc => "/etc/conf.d/hostname",
            Way::FreeBsd => "/etc/rc.conf.d/hostname",
            Way::OpenBsd => "/etc/myname",
            _ => "/etc/hostname",
        }
    }

    fn ask(&self, words: &[&str]) -> Result<String, Failure> {
        let done = Command::new(words.iter().copied()).run(self.context)?;
        if done.success() {
            return Ok(done.out().trim().to_owned());
        }
        Err(Failure::new(format!(
            "Command failed rc={}, out={}, err={}",
            done.code,
            done.out(),
            done.err()
        )))
    }

    fn current(&self) -> Result<String, Failure> {
        match self.way {
            Way::Systemd => self.ask(&[&self.program, "--transient", "status"]),
            Way::OpenBsd | Way::FreeBsd => self.ask(&[&self.program]),
            _ => self.permanent(),
        }
    }

    fn set_current(&self, name: &str) -> Result<(), Failure> {
        match self.way {
            Way::Systemd => {
                is_short(name)?;
                self.ask(&[&self.program, "--transient", "set-hostname", name])?;
            }
            Way::OpenBsd | Way::FreeBsd => {
                self.ask(&[&self.program, name])?;
            }
            Way::Solaris => {
                self.ask(&[&self.program, "-t", name])?;
            }
            Way::Alpine => {
                let hostname = process::required(self.context, "hostname", &[])?;
                self.ask(&[&hostname, "-F", self.file()])?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The text of the file; nothing if it is not there.
    fn text(&self) -> Result<Option<String>, Failure> {
        let path = self.context.path(self.file());
        if !path.is_file() {
            return Ok(None);
        }
        std::fs::read_to_string(&path).map(Some).map_err(|error| {
            Failure::new(format!(
                "failed to read hostname: {}",
                python::os_error_at_text(&error, self.file())
            ))
        })
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        std::fs::write(self.context.path(self.file()), text).map_err(|error| {
            Failure::new(format!(
                "failed to update hostname: {}",
                python::os_error_at_text(&error, self.file())
            ))
        })
    }

    fn permanent(&self) -> Result<String, Failure> {
        match self.way {
            Way::Systemd => self.ask(&[&self.program, "--static", "status"]),
            Way::Solaris => self.ask(&[
                "/usr/sbin/svccfg",
                "-s",
                "svc:/system/identity:node",
                "listprop",
                "-o",
                "value",
                "config/nodename",
            ]),
            Way::RedHat => {
                let text = self.text()?.unwrap_or_default();
                text.lines()
                    .map(str::trim)
                    .find(|line| line.starts_with("HOSTNAME"))
                    .and_then(|line| line.split_once('='))
                    .map(|(_, name)| name.trim().to_owned())
                    .ok_or_else(|| {
                        Failure::new(format!(
                            "Unable to locate HOSTNAME entry in {}",
                            self.file()
                        ))
                    })
            }
            Way::OpenRc | Way::FreeBsd => {
                let text = self.text()?.unwrap_or_default();
                Ok(text
                    .lines()
                    .map(str::trim)
                    .find_map(|line| line.strip_prefix("hostname="))
                    .map(|name| name.trim_matches('"').to_owned())
                    .unwrap_or_default())
            }
            _ => Ok(self.text()?.unwrap_or_default().trim().to_owned()),
        }
    }

    fn set_permanent(&self, name: &str) -> Result<(), Failure> {
        match self.way {
            Way::Systemd => {
                is_short(name)?;
                self.ask(&[&self.program, "--pretty", "--static", "set-hostname", name])
                    .map(|_| ())
            }
            Way::Solaris => self.ask(&[&self.program, name]).map(|_| ()),
            Way::RedHat => {
                let mut found = false;
                let mut text = String::new();
                for line in self.text()?.unwrap_or_default().split_inclusive('\n') {
                    if line.trim().starts_with("HOSTNAME") {
                        found = true;
                        text.push_str(&format!("HOSTNAME={name}\n"));
                    } else {
                        text.push_str(line);
                    }
                }
                if !found {
                    text.push_str(&format!("HOSTNAME={name}\n"));
                }
                self.write(&text)
            }
            Way::OpenRc | Way::FreeBsd => {
                let written = format!("hostname=\"{name}\"");
                let text = match self.text()? {
                    None if self.way == Way::FreeBsd => written,
                    text => {
                        let text = text.unwrap_or_default();
                        let mut lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
                        if let Some(line) =
                            lines.iter_mut().find(|line| line.starts_with("hostname="))
                        {
                            *line = &written;
                        }
                        lines.join("\n")
                    }
                };
                self.write(&format!("{text}\n"))
            }
            _ => self.write(&format!("{name}\n")),
        }
    }
}

fn is_short(name: &str) -> Result<(), Failure> {
    if name.chars().count() > 64 {
        return Err(Failure::new(
            "name cannot be longer than 64 characters on systemd servers, try a shorter name",
        ));
    }
    Ok(())
}
