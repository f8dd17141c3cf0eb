//! What pip would do, for check mode.

use serde_json::{Value, json};

use super::Work;
use super::requirement::Package;
use crate::arguments::Arguments;
use crate::invocation::{Failure, Outcome, Report};
use crate::process::Command;
use crate::python;

impl Work<'_, '_> {
    pub(super) fn foresee(
        &mut self,
        arguments: &Arguments,
        names: &[String],
        packages: Vec<Package>,
        pip: &[String],
    ) -> Outcome {
        let state = arguments.required("state");
        let is_unknown = arguments.filled("extra_args").is_some()
            || arguments.filled("requirements").is_some()
            || state == "latest"
            || names.is_empty();
        if is_unknown {
            return Ok(Report::from_iter([("changed".to_owned(), json!(true))]));
        }
        let (command, done) = self.installed(pip)?;
        self.out.push_str(&done.out());
        self.err.push_str(&done.err());
        let mut installed: Vec<String> = self
            .out
            .lines()
            .filter(|line| {
                !line.is_empty()
                    && !line.starts_with("You are using")
                    && !line.starts_with("You should consider")
            })
            .map(str::to_owned)
            .collect();
        if command.ends_with(" freeze") {
            // pip does not count itself.
            for name in ["setuptools", "pip"] {
                if names.iter().any(|asked| asked == name)
                    && let Some(version) = self.version_of(arguments, name)
                {
                    let line = format!("{name}=={version}");
                    self.out.push_str(&format!("{line}\n"));
                    installed.push(line);
                }
            }
        }
        let packages = self.resolved(arguments, packages, pip)?;
        let changed = packages.iter().any(|package| {
            let there = package.is_among(&installed);
            (state == "present" && !there) || (state == "absent" && there)
        });
        Ok(Report::from_iter([
            ("changed".to_owned(), json!(changed)),
            ("cmd".to_owned(), json!(command)),
            ("stdout".to_owned(), json!(self.out)),
            ("stderr".to_owned(), json!(self.err)),
        ]))
    }

    /// The version of pip or setuptools, as the interpreter knows it.
    fn version_of(&self, arguments: &Arguments, name: &str) -> Option<String> {
        let interpreter = match &self.environment {
            Some(environment) => python::join(environment, "bin/python"),
            None => arguments
                .filled("executable")
                .unwrap_or(&self.python)
                .to_owned(),
        };
        let question =
            format!("from importlib.metadata import version; print(version(\"{name}\"))");
        let done = Command::new([interpreter.as_str(), "-c", &question])
            .literal()
            .run(self.context)
            .ok()?;
        done.success().then(|| done.out().trim().to_owned())
    }

    /// The packages, with what stands at places asked of pip.
    fn resolved(
        &mut self,
        arguments: &Arguments,
        packages: Vec<Package>,
        pip: &[String],
    ) -> Result<Vec<Package>, Failure> {
        let (mut named, places): (Vec<Package>, Vec<Package>) = packages
            .into_iter()
            .partition(|package| package.demands.is_some());
        if places.is_empty() {
            return Ok(named);
        }
        let version = self.version_of(arguments, "pip").unwrap_or_default();
        let mut parts = version
            .split('.')
            .map(|part| part.parse::<u32>().unwrap_or(0));
        if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (24, 1) {
            self.context.warn("Using check mode with packages from vcs urls, file paths, or archives will not behave as expected when using pip versions <24.1.");
            named.extend(places);
            return Ok(named);
        }
        let report = self.context.temporary_directory()?.join("pip-report.json");
        let words: Vec<String> = pip
            .iter()
            .cloned()
            .chain(["install", "--dry-run", "--ignore-installed"].map(str::to_owned))
            .chain([format!("--report={}", report.display())])
            .chain(places.iter().map(|place| place.text.clone()))
            .collect();
        self.command(&words).check().run(self.context)?;
        let told: Value = std::fs::read(&report)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        for each in told["install"].as_array().into_iter().flatten() {
            let text = |key: &str| each["metadata"][key].as_str().unwrap_or("");
            named.push(Package::of_version(text("name"), text("version")));
        }
        Ok(named)
    }
}
