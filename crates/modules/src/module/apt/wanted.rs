//! The packages that are asked for, and how they stand on the machine.

use std::collections::{BTreeSet, HashMap};

use super::Apt;
use crate::apt::cache::{self, Known, Pin};
use crate::apt::installed::Installed;
use crate::apt::version;
use crate::context::Context;
use crate::glob;
use crate::invocation::Failure;

/// A package as it is asked for: `name`, `name=1.2*`, `name>=1.2`.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// All of it.
    pub(super) whole: String,
    pub(super) name: String,
    /// `=` or `>=` and the version, if one is named.
    pub(super) version: Option<(String, String)>,
}

impl Asked {
    pub(super) fn of(whole: &str) -> Asked {
        let at = match (whole.find(">="), whole.find('=')) {
            (Some(at), Some(_)) => Some((at, 2)),
            (None, Some(at)) => Some((at, 1)),
            _ => None,
        };
        let (name, version) = match at {
            Some((at, length)) => (
                &whole[..at],
                Some((
                    whole[at..at + length].to_owned(),
                    whole[at + length..].to_owned(),
                )),
            ),
            None => (whole, None),
        };
        Asked {
            whole: whole.to_owned(),
            name: name.to_owned(),
            version,
        }
    }

    /// Whether a version is one that is asked for.
    pub(super) fn fits(&self, found: &str) -> bool {
        match &self.version {
            None => true,
            Some((operator, wanted)) if operator == "=" => glob::fits(found, wanted),
            Some((_, wanted)) => version::compare(found, wanted) != std::cmp::Ordering::Less,
        }
    }

    fn has_wildcards(&self) -> bool {
        matches!(&self.version, Some((operator, wanted)) if operator == "=" && wanted.contains(['*', '?', '[']))
    }
}

/// How a package stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) installed: bool,
    /// The version that is installed is one that is asked for.
    pub(super) fits: bool,
    pub(super) best: Best,
}

/// What could be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Best {
    /// Nothing, or nothing else than what is.
    Nothing,
    /// A version.
    Version(String),
    /// Whatever apt finds: the name is provided by several packages.
    Any,
}

impl Apt<'_> {
    /// Packages with the wildcards in their names replaced by what there is.
    pub(super) fn expand(
        &mut self,
        context: &Context<'_>,
        packages: Vec<String>,
    ) -> Result<Vec<String>, Failure> {
        let has_wildcards =
            |package: &String| Asked::of(package).name.contains(['*', '?', '[', ']', '!']);
        if !packages.iter().any(has_wildcards) {
            return Ok(packages);
        }
        let environment = self.environment(context);
        let names = cache::names(context, &environment)?;
        let architectures = Apt::installed(context).architectures(context);
        let mut expanded = Vec::with_capacity(packages.len());
        for package in packages {
            if !has_wildcards(&package) {
                expanded.push(package);
                continue;
            }
            let pattern = Asked::of(&package).name;
            let before = expanded.len();
            if pattern.contains(':') {
                // Only packages of other architectures carry theirs in their names.
                for foreign in architectures.iter().skip(1) {
                    expanded.extend(
                        names
                            .iter()
                            .map(|name| format!("{name}:{foreign}"))
                            .filter(|name| glob::fits(name, &pattern)),
                    );
                }
            } else {
                expanded.extend(
                    names
                        .iter()
                        .filter(|name| glob::fits(name, &pattern))
                        .cloned(),
                );
            }
            if expanded.len() == before {
                return Err(Failure::new(format!(
                    "No package(s) matching '{pattern}' available"
                )));
            }
        }
        Ok(expanded)
    }

    /// How packages stand that are to be installed. Those of which dpkg's records say enough are not asked about.
    pub(super) fn standings(
        &mut self,
        context: &mut Context<'_>,
        installed: &Installed,
        asked: &[Asked],
        newest: bool,
    ) -> Result<Vec<Standing>, Failure> {
        let own = |asked: &Asked| {
            let version = installed.find(&asked.name)?.version()?;
            Some(asked.fits(version))
        };
        let open: Vec<&Asked> = asked
            .iter()
            .filter(|asked| newest || asked.has_wildcards() || own(asked) != Some(true))
            .collect();
        if open.is_empty() {
            let there = Standing {
                installed: true,
                fits: true,
                best: Best::Nothing,
            };
            return Ok(vec![there; asked.len()]);
        }
        let known = self.known(context, &open)?;
        let mut standings = Vec::with_capacity(asked.len());
        for asked in asked {
            standings.push(self.standing(context, installed, asked, &known)?);
        }
        Ok(standings)
    }

    /// What apt knows of packages, with the pins that go with what is asked.
    fn known(
        &mut self,
        context: &mut Context<'_>,
        asked: &[&Asked],
    ) -> Result<HashMap<String, Known>, Failure> {
        let environment = self.environment(context);
        let release = self.release().map(str::to_owned);
        let mut pins = Vec::new();
        for asked in asked {
            let mut pin = |what: String, priority: i32| {
                pins.push(Pin {
                    package: asked.name.clone(),
                    what,
                    priority,
                });
            };
            // The priority of `apt-get -t`.
            if let Some(release) = &release {
                pin(format!("release {release}"), 990);
            }
            // Above all priorities that are built in.
            if let Some((operator, wanted)) = &asked.version
                && operator == "="
            {
                pin(format!("version {wanted}"), 1001);
            }
        }
        let names: BTreeSet<&str> = asked.iter().map(|asked| asked.name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        cache::known(context, &environment, &names, (&pins, release.as_deref()))
    }

    fn standing(
        &mut self,
        context: &mut Context<'_>,
        installed: &Installed,
        asked: &Asked,
        known: &HashMap<String, Known>,
    ) -> Result<Standing, Failure> {
        let version = installed
            .find(&asked.name)
            .and_then(|package| package.version());
        let Some(found) = known.get(&asked.name) else {
            // Not asked about, for what dpkg says is enough.
            if let Some(version) = version {
                return Ok(Standing {
                    installed: true,
                    fits: asked.fits(version),
                    best: Best::Nothing,
                });
            }
            return Err(unknown(asked));
        };
        if found.has_versions {
            return Ok(standing_of(asked, version, found));
        }
        let environment = self.environment(context);
        let release = self.release().map(str::to_owned);
        let providers = cache::providers(context, &environment, &asked.name, release.as_deref())?;
        if providers.is_empty() {
            return Err(unknown(asked));
        }
        if let [only] = providers.as_slice() {
            let provider = Asked {
                name: only.clone(),
                ..asked.clone()
            };
            let known = self.known(context, &[&provider])?;
            if let Some(found) = known.get(only) {
                let version = installed.find(only).and_then(|package| package.version());
                let standing = standing_of(&provider, version, found);
                if standing.installed {
                    return Ok(standing);
                }
            }
        }
        Ok(Standing {
            installed: false,
            fits: false,
            best: Best::Any,
        })
    }
}

fn unknown(asked: &Asked) -> Failure {
    Failure::new(format!("No package matching '{}' is available", asked.name))
}

fn standing_of(asked: &Asked, version: Option<&str>, known: &Known) -> Standing {
    let best = known
        .candidate
        .clone()
        .filter(|candidate| asked.fits(candidate))
        .filter(|candidate| Some(candidate.as_str()) != version)
        .map_or(Best::Nothing, Best::Version);
    Standing {
        installed: version.is_some(),
        fits: version.is_some_and(|version| asked.fits(version)),
        best,
    }
}
