//! Personal package archives of Launchpad: `ppa:owner/name`.

use serde_json::Value;

use crate::arguments::Arguments;
use crate::context::Context;
use crate::invocation::Failure;
use crate::locale;
use crate::process::{self, Command};
use crate::python;
use crate::url::{self, Request};

/// Where keys may lie, the best place first.
const KEY_DIRECTORIES: [&str; 3] = [
    "/etc/apt/keyrings",
    "/etc/apt/trusted.gpg.d",
    "/usr/share/keyrings",
];

/// An archive.
pub(super) struct Archive {
    owner: String,
    name: String,
    /// The source of its packages.
    pub(super) source: String,
    /// The release of the machine, or the one that is named.
    pub(super) codename: String,
}

impl Archive {
    /// The archive a text names, for a release.
    pub(super) fn of(
        context: &Context<'_>,
        arguments: &Arguments,
        text: &str,
    ) -> Result<Archive, Failure> {
        let codename = match arguments.filled("codename") {
            Some(codename) => codename.to_owned(),
            None => codename(context)?,
        };
        let path = text.split(':').nth(1).unwrap_or("");
        let mut parts = path.split('/');
        let owner = parts.next().unwrap_or("").to_owned();
        let name = parts.next().unwrap_or("ppa").to_owned();
        Ok(Archive {
            source: format!(
                "deb https://ppa.launchpadcontent.net/{owner}/{name}/ubuntu {codename} main"
            ),
            owner,
            name,
            codename,
        })
    }

    /// Sees to it that the key its packages are signed with is known.
    pub(super) fn fetch_key(
        &self,
        context: &mut Context<'_>,
        arguments: &Arguments,
    ) -> Result<(), Failure> {
        let programs = Programs::find(context)?;
        let fingerprint = self.fingerprint(context, arguments)?;
        if programs.knows(context, &fingerprint)? || context.settings.check {
            return Ok(());
        }
        if let Some(apt_key) = &programs.apt_key {
            return Command::new([
                apt_key.as_str(),
                "adv",
                "--recv-keys",
                "--no-tty",
                "--keyserver",
                "hkp://keyserver.ubuntu.com:80",
                &fingerprint,
            ])
            .check()
            .run(context)
            .map(|_| ());
        }
        let Some(directory) = KEY_DIRECTORIES
            .iter()
            .find(|directory| context.path(directory).exists())
        else {
            return Err(Failure::new(format!(
                "Unable to find any existing apt gpgp repo directories, tried the following: {}",
                KEY_DIRECTORIES.join(", ")
            )));
        };
        let file = format!(
            "{directory}/{}-{}-{}.gpg",
            python::basename(&self.source).replace(' ', "-"),
            self.owner,
            self.name
        );
        let command = [
            programs.gpg.as_deref().unwrap_or("gpg"),
            "--no-tty",
            "--keyserver",
            "hkp://keyserver.ubuntu.com:80",
            "--export",
            &fingerprint,
        ];
        let done = Command::new(command).check().run(context)?;
        if done.stdout.is_empty() {
            return Err(Failure::new("Unable to get required signing key")
                .with("rc", done.code)
                .with("stderr", done.err())
                .with("command", command.map(Value::from).to_vec()));
        }
        std::fs::write(context.path(&file), &done.stdout).map_err(|error| {
            let why = python::os_error_at_text(&error, &file);
            Failure::new("Unable to add required signing key.")
                .with("rc", done.code)
                .with("stderr", done.err())
                .with("error", why.clone())
                .because(why)
        })
    }

    /// The fingerprint of its key, as Launchpad tells it.
    fn fingerprint(
        &self,
        context: &mut Context<'_>,
        arguments: &Arguments,
    ) -> Result<String, Failure> {
        let address = format!(
            "https://api.launchpad.net/1.0/~{}/+archive/{}",
            self.owner, self.name
        );
        let fetched = url::fetch(
            context,
            arguments,
            &Request {
                url: &address,
                method: "GET",
                headers: vec![("Accept".to_owned(), "application/json".to_owned())],
                timeout: 10,
                ..Request::default()
            },
        )?;
        if fetched.status() != Some(200) {
            return Err(Failure::new(format!(
                "failed to fetch PPA information, error was: {}",
                fetched.message()
            )));
        }
        let mut bytes = Vec::new();
        if let Some(mut body) = fetched.response.and_then(|response| response.body) {
            body.read_to_end(&mut bytes)
                .map_err(|error| Failure::unhandled(error.to_string()))?;
        }
        let told: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::unhandled(error.to_string()))?;
        told.get("signing_key_fingerprint")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| Failure::unhandled("'signing_key_fingerprint'"))
    }
}

/// The code name of the release of the machine.
fn codename(context: &Context<'_>) -> Result<String, Failure> {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(context.path(path)).ok())
        .unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|value| value.trim_matches(['"', '\'']).to_owned())
        .ok_or_else(|| Failure::unhandled("'VERSION_CODENAME'"))
}

/// What keys are looked up and fetched with.
pub(super) struct Programs {
    apt_key: Option<String>,
    gpg: Option<String>,
}

impl Programs {
    /// One of them must be there.
    pub(super) fn find(context: &Context<'_>) -> Result<Programs, Failure> {
        let programs = Programs {
            apt_key: process::find(context, "apt-key", &[]),
            gpg: process::find(context, "gpg", &[]),
        };
        if programs.apt_key.is_none() && programs.gpg.is_none() {
            return Err(Failure::new(
                "Either apt-key or gpg binary is required, but neither could be found.\
                 The apt-key CLI has been deprecated and removed in modern Debian and derivatives, \
                 you might want to use \"deb822_repository\" instead.",
            ));
        }
        Ok(programs)
    }

    fn knows(&self, context: &Context<'_>, fingerprint: &str) -> Result<bool, Failure> {
        if let Some(apt_key) = &self.apt_key {
            let command = Command::new([apt_key.as_str(), "export", fingerprint]).check();
            let done = locale::command(context, command).run(context)?;
            return Ok(!done.err().contains("nothing exported"));
        }
        let Some(gpg) = &self.gpg else {
            return Ok(false);
        };
        let mut files = vec!["/etc/apt/trusted.gpg".to_owned()];
        for directory in KEY_DIRECTORIES {
            // One that is not there holds no keys.
            files.extend(
                std::fs::read_dir(context.path(directory))
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .filter(|name| !name.starts_with('.'))
                    .map(|name| python::join(directory, &name)),
            );
        }
        for file in files.iter().filter(|file| context.path(file).exists()) {
            let done = Command::new([gpg.as_str(), "--list-packets", file]).run(context)?;
            if done.out().contains(fingerprint) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
