//! Packages from files: what they need is installed first, then dpkg takes them.

use std::io::Read as _;

use super::{Apt, diff_of, outcome};
use crate::apt::cache;
use crate::apt::installed::{Installed, Package};
use crate::apt::version::{self, Relation, relations};
use crate::context::Context;
use crate::invocation::{Failure, Outcome, Report};
use crate::process::Command;
use crate::python;

/// A file of a package, and what it says of itself.
struct File {
    path: String,
    control: String,
}

impl File {
    fn field(&self, name: &str) -> &str {
        Package::of(&self.control).field(name).unwrap_or("")
    }
}

/// Why a package cannot be installed.
enum Hindrance {
    /// One with a later version is there.
    Later,
    /// Something else, in the words of apt's library.
    Other(String),
}

fn unable(why: &str) -> Failure {
    Failure::new(format!("Unable to install package: {why}"))
}

/// What apt's library says of a file that is no package.
fn looked_at(context: &Context<'_>, path: &str) -> Result<(), Failure> {
    let mut file = std::fs::File::open(context.path(path)).map_err(|error| {
        let number = error.raw_os_error().unwrap_or(0);
        unable(&format!(
            "E:Could not open file {path} - open ({number}: {})",
            python::strerror(number)
        ))
    })?;
    let mut start = Vec::with_capacity(8);
    file.by_ref()
        .take(8)
        .read_to_end(&mut start)
        .map_err(|error| {
            let number = error.raw_os_error().unwrap_or(0);
            unable(&format!(
                "E:Read error - read ({number}: {})",
                python::strerror(number)
            ))
        })?;
    if start.len() < 8 {
        return Err(unable(&format!(
            "E:read, still have {} to read but none left",
            8 - start.len()
        )));
    }
    if start != b"!<arch>\n" {
        return Err(unable("E:Invalid archive signature"));
    }
    Ok(())
}

impl Apt<'_> {
    fn opened(&mut self, context: &Context<'_>, path: &str) -> Result<File, Failure> {
        looked_at(context, path)?;
        let words = ["dpkg", "--field", path];
        let done = self
            .environment(context)
            .of(Command::new(words))
            .run(context)?;
        if !done.success() {
            return Err(unable(done.err().trim_end()));
        }
        Ok(File {
            path: path.to_owned(),
            control: done.out(),
        })
    }

    /// Installs the packages of files, separated by commas.
    pub(super) fn install_files(&mut self, context: &mut Context<'_>, files: &str) -> Outcome {
        let installed = Apt::installed(context);
        let architectures = installed.architectures(context);
        let mut needed: Vec<String> = Vec::new();
        let mut wanted: Vec<String> = Vec::new();
        for path in files.split(',') {
            let file = self.opened(context, path)?;
            let (name, version) = (file.field("Package"), file.field("Version"));
            let key = if architectures.len() > 1 {
                format!("{name}:{}", file.field("Architecture"))
            } else {
                name.to_owned()
            };
            let there = installed.find(&key).and_then(|package| package.version());
            if there.is_some_and(|there| version::compare(version, there).is_eq()) {
                continue;
            }
            let force = self.arguments.flag("force");
            match self.hindrance(context, &installed, &file, &architectures, &mut needed)? {
                None => {}
                Some(_) if force => {}
                Some(Hindrance::Later) if self.arguments.flag("allow_downgrade") => {}
                Some(Hindrance::Later) => {
                    return Err(Failure::new("A later version is already installed"));
                }
                Some(Hindrance::Other(why)) => return Err(Failure::new(why)),
            }
            if self.arguments.flag("install_recommends") {
                let field = file.field("Recommends").to_owned();
                self.recommended(context, &installed, &field, &mut needed)?;
            }
            wanted.push(path.to_owned());
        }
        let mut before = Report::new();
        let mut changed = false;
        if !needed.is_empty() {
            before = self.install(context, needed.clone(), false)??;
            self.mark(context, &needed, "auto", "auto")?;
            changed = before.get("changed") == Some(&true.into());
        }
        if wanted.is_empty() {
            let told = |key: &str| before.get(key).cloned().unwrap_or_else(|| "".into());
            return Ok(Report::from_iter([
                ("changed".to_owned(), changed.into()),
                ("stdout".to_owned(), told("stdout")),
                ("stderr".to_owned(), told("stderr")),
                ("diff".to_owned(), told("diff")),
            ]));
        }
        self.unpack(context, &wanted, &before)
    }

    fn unpack(&mut self, context: &mut Context<'_>, files: &[String], before: &Report) -> Outcome {
        let mut options: String = self
            .arguments
            .required("dpkg_options")
            .split(',')
            .map(|option| format!("--{option}"))
            .collect::<Vec<_>>()
            .join(" ");
        if context.settings.check {
            options.push_str(" --simulate");
        }
        if self.arguments.flag("force") {
            options.push_str(" --force-all");
        }
        let line = format!("dpkg {options} -i {}", files.join(" "));
        let mut done = self.change(context, &line, None)?;
        let diff = match before.get("diff").and_then(|diff| diff.as_object()) {
            Some(diff) => {
                let mut diff = diff.clone();
                if let Some(prepared) = diff.get("prepared").and_then(|text| text.as_str()) {
                    let all = format!("{prepared}\n\n{}", done.out());
                    diff.insert("prepared".to_owned(), all.into());
                }
                diff
            }
            None => diff_of(&done.out()),
        };
        let earlier = |key: &str| {
            before
                .get(key)
                .and_then(|text| text.as_str())
                .unwrap_or_default()
                .as_bytes()
                .to_vec()
        };
        done.stdout = [earlier("stdout"), done.stdout].concat();
        done.stderr = [earlier("stderr"), done.stderr].concat();
        if done.success() {
            return Ok(outcome(true, &done, diff));
        }
        Err(Failure::new(format!("{line} failed"))
            .with("stdout", done.out())
            .with("stderr", done.err()))
    }

    /// What stands against a package. What it needs and is not there goes to `needed`.
    fn hindrance(
        &mut self,
        context: &mut Context<'_>,
        installed: &Installed,
        file: &File,
        architectures: &[String],
        needed: &mut Vec<String>,
    ) -> Result<Option<Hindrance>, Failure> {
        let architecture = file.field("Architecture");
        if architecture.is_empty() {
            return Ok(Some(Hindrance::Other(
                "No Architecture field in the package".to_owned(),
            )));
        }
        if architecture != "all" && !architectures.iter().any(|known| known == architecture) {
            return Ok(Some(Hindrance::Other(format!(
                "Wrong architecture '{architecture}' -- Run dpkg --add-architecture to add it and update afterwards"
            ))));
        }
        let name = format!("{}:{architecture}", file.field("Package"));
        let there = installed.find(&name).and_then(|package| package.version());
        if there.is_some_and(|there| version::compare(there, file.field("Version")).is_gt()) {
            return Ok(Some(Hindrance::Later));
        }
        if let Some(why) = conflict(installed, file) {
            return Ok(Some(Hindrance::Other(why)));
        }
        if let Some(why) = broken(installed, file, architecture) {
            return Ok(Some(Hindrance::Other(why)));
        }
        // Packages of another architecture need those of their own.
        let foreign = (architecture != "all"
            && Some(architecture) != architectures.first().map(String::as_str))
        .then_some(architecture);
        let fields = [file.field("Depends"), file.field("Pre-Depends")];
        for group in fields.iter().flat_map(|field| relations(field)) {
            let group: Vec<Relation> = group
                .into_iter()
                .map(|relation| of_architecture(installed, relation, foreign))
                .collect();
            if is_satisfied(installed, &group) {
                continue;
            }
            match self.candidate(context, &group)? {
                Some(name) => needed.push(name),
                None => {
                    // The last one decides whether versions are told, as in apt's library.
                    let told = group.last().is_some_and(|last| !last.operator.is_empty());
                    let shown: Vec<String> = group
                        .iter()
                        .map(|one| {
                            if told {
                                format!("{} ({} {})", one.name, one.operator, one.version)
                            } else {
                                one.name.clone()
                            }
                        })
                        .collect();
                    return Ok(Some(Hindrance::Other(format!(
                        "Dependency is not satisfiable: {}\n",
                        shown.join("|")
                    ))));
                }
            }
        }
        Ok(None)
    }

    /// The first of several packages that apt could install.
    fn candidate(
        &mut self,
        context: &mut Context<'_>,
        group: &[Relation],
    ) -> Result<Option<String>, Failure> {
        let environment = self.environment(context);
        let names: Vec<&str> = group
            .iter()
            .map(|relation| relation.name.as_str())
            .collect();
        let known = cache::known(context, &environment, &names, (&[], None))?;
        for relation in group {
            let Some(found) = known.get(&relation.name) else {
                continue;
            };
            if found.has_versions {
                if let Some(candidate) = &found.candidate
                    && relation.holds(candidate)
                {
                    return Ok(Some(relation.name.clone()));
                }
                continue;
            }
            // If only one package provides it, it is that one.
            let providers = cache::providers(context, &environment, &relation.name, None)?;
            if let [only] = providers.as_slice()
                && relation.operator.is_empty()
            {
                return Ok(Some(only.clone()));
            }
        }
        Ok(None)
    }

    /// What a package recommends and is not there.
    fn recommended(
        &mut self,
        context: &mut Context<'_>,
        installed: &Installed,
        field: &str,
        needed: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let environment = self.environment(context);
        let groups = relations(field);
        let names: Vec<&str> = groups
            .iter()
            .flatten()
            .map(|relation| relation.name.as_str())
            .collect();
        let known = cache::known(context, &environment, &names, (&[], None))?;
        for group in &groups {
            for relation in group {
                let Some(found) = known.get(&relation.name).filter(|known| known.has_versions)
                else {
                    continue;
                };
                let there = installed
                    .find(&relation.name)
                    .and_then(|package| package.version());
                if !relation.operator.is_empty()
                    && there.is_some_and(|version| relation.holds(version))
                {
                    break;
                }
                match &found.candidate {
                    Some(candidate) if relation.holds(candidate) => {
                        needed.push(relation.name.clone());
                        break;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether a package provides a name.
fn provides(package: &Package<'_>, name: &str) -> bool {
    package.field("Provides").is_some_and(|field| {
        relations(field)
            .iter()
            .flatten()
            .any(|given| given.name == name)
    })
}

/// What a package of another architecture needs: of that architecture, unless one of the machine's own will do.
fn of_architecture(
    installed: &Installed,
    mut relation: Relation,
    foreign: Option<&str>,
) -> Relation {
    let Some(foreign) = foreign else {
        return relation;
    };
    if relation.name.contains(':') {
        return relation;
    }
    let will_do = installed.find(&relation.name).is_some_and(|own| {
        own.field("Architecture") == Some("all") || own.field("Multi-Arch") == Some("foreign")
    });
    if !will_do {
        relation.name = format!("{}:{foreign}", relation.name);
    }
    relation
}

/// Whether one of several packages is there.
fn is_satisfied(installed: &Installed, group: &[Relation]) -> bool {
    group.iter().any(|relation| {
        installed
            .find(&relation.name)
            .and_then(|package| package.version())
            .is_some_and(|version| relation.holds(version))
            || (relation.operator.is_empty()
                && installed
                    .all()
                    .iter()
                    .any(|(_, package)| provides(package, &relation.name)))
    })
}

/// What is there and the package does not go with.
fn conflict(installed: &Installed, file: &File) -> Option<String> {
    let replaced = relations(file.field("Replaces"));
    let name = file.field("Package");
    for relation in relations(file.field("Conflicts")).iter().flatten() {
        let mut against: Vec<&str> = Vec::new();
        if installed.find(&relation.name).is_some() {
            against.push(&relation.name);
        } else {
            against.extend(
                installed
                    .all()
                    .iter()
                    .filter(|(own, package)| *own != name && provides(package, &relation.name))
                    .map(|(own, _)| *own),
            );
        }
        for other in against {
            let Some(version) = installed.find(other).and_then(|package| package.version()) else {
                continue;
            };
            let may_go = replaced
                .iter()
                .flatten()
                .any(|replaced| replaced.name == other && replaced.holds(version));
            if relation.holds(version) && !may_go {
                return Some(format!("Conflicts with the installed package '{other}'"));
            }
        }
    }
    None
}

/// What is there and would no longer work with the package.
fn broken(installed: &Installed, file: &File, architecture: &str) -> Option<String> {
    let (name, version) = (file.field("Package"), file.field("Version"));
    let provided: Vec<String> = relations(file.field("Provides"))
        .iter()
        .filter_map(|group| Some(group.first()?.name.clone()))
        .collect();
    for (other, package) in installed.all() {
        let fields = ["Depends", "Pre-Depends"].map(|name| package.field(name).unwrap_or(""));
        for needed in fields.iter().flat_map(|field| relations(field)).flatten() {
            if needed.name == name && !needed.holds(version) {
                return Some(format!(
                    "Breaks existing package '{other}' dependency {name} ({} {})",
                    needed.operator, needed.version
                ));
            }
        }
        let own = match package.field("Architecture") {
            Some(own) if own != "all" => own,
            _ => installed.architecture.as_str(),
        };
        for avoided in relations(package.field("Conflicts").unwrap_or(""))
            .iter()
            .flatten()
        {
            if avoided.name == name && own == architecture && avoided.holds(version) {
                return Some(format!(
                    "Breaks existing package '{other}' conflict: {name} ({} {})",
                    avoided.operator, avoided.version
                ));
            }
            if provided.contains(&avoided.name) && name != other {
                return Some(format!(
                    "Breaks existing package '{other}' that conflict: '{}'. But the '{}' provides it via: '{}'",
                    avoided.name,
                    file.path,
                    provided.join(",")
                ));
            }
        }
    }
    None
}
