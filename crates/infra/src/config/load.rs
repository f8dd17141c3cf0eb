//! From a directory to a module: which files count, and their text.

use std::path::{Path, PathBuf};

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::Sources;
use consort_hcl::syntax::{Body, parse, parse_json};

use super::file::{self, File};
use super::merge;
use super::module::Module;
use super::snapshot::Texts;
use super::source::clean_path;
use super::test_file::{self, MockProvider};
use crate::address::ModulePath;

/// The directory where tests are looked for when no other is asked for.
pub const TEST_DIRECTORY: &str = "tests";

/// The files of a module's directory that count.
#[derive(Debug, Default)]
struct Files {
    primary: Vec<PathBuf>,
    overrides: Vec<PathBuf>,
    tests: Vec<PathBuf>,
    warnings: Diagnostics,
}

/// A path below a directory as messages show it: `main.tf` and not `./main.tf`.
pub(super) fn join(directory: &Path, name: &str) -> PathBuf {
    if directory == Path::new(".") || directory.as_os_str().is_empty() {
        PathBuf::from(name)
    } else {
        directory.join(name)
    }
}

fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'))
}

fn extension(name: &str) -> Option<&'static str> {
    [".tf", ".tf.json", ".tftest.hcl", ".tftest.json"]
        .into_iter()
        .find(|extension| name.ends_with(extension))
}

fn files(texts: Texts<'_>, directory: &Path, tests: Option<&str>) -> Result<Files, Diagnostics> {
    let mut files = Files::default();
    let mut diagnostics = Diagnostics::new();
    if let Some(tests) = tests {
        let directory = join(directory, tests);
        match texts.names(&directory) {
            Ok(names) => {
                let wanted =
                    |name: &&String| !is_ignored(name) && extension(name).is_some_and(is_test);
                files.tests.extend(
                    names
                        .iter()
                        .filter(wanted)
                        .map(|name| join(&directory, name)),
                );
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if tests != TEST_DIRECTORY {
                    diagnostics.push(Diagnostic::warning(
                        "Test directory does not exist",
                        format!(
                            "Requested test directory {} does not exist.",
                            directory.display()
                        ),
                    ));
                }
            }
            Err(error) => {
                diagnostics.push(Diagnostic::error(
                    "Failed to read test directory",
                    format!(
                        "Test directory {} could not be read: {error}.",
                        directory.display()
                    ),
                ));
                return Err(diagnostics);
            }
        }
    }
    let Ok(names) = texts.names(directory) else {
        diagnostics.push(Diagnostic::error(
            "Failed to read module directory",
            format!(
                "Module directory {} does not exist or cannot be read.",
                directory.display()
            ),
        ));
        return Err(diagnostics);
    };
    for name in names {
        let Some(extension) = extension(&name).filter(|_| !is_ignored(&name)) else {
            continue;
        };
        let path = join(directory, &name);
        let base = &name[..name.len() - extension.len()];
        if is_test(extension) {
            if tests.is_some() {
                files.tests.push(path);
            }
        } else if base == "override" || base.ends_with("_override") {
            files.overrides.push(path);
        } else {
            files.primary.push(path);
        }
    }
    files.warnings = diagnostics;
    Ok(files)
}

fn is_test(extension: &str) -> bool {
    extension.starts_with(".tftest")
}

/// Whether a directory holds any configuration files.
pub fn is_module_directory(directory: &Path) -> bool {
    files(Texts::Disk, directory, None)
        .is_ok_and(|files| !files.primary.is_empty() || !files.overrides.is_empty())
}

/// Reads and parses a file of either syntax; nothing when it cannot be read.
fn parse_file(texts: Texts<'_>, path: &Path, sources: &mut Sources) -> (Option<Body>, Diagnostics) {
    let name = path.to_string_lossy();
    match texts.read(path) {
        Err(_) => {
            let detail = format!("The file {name:?} could not be read.");
            (
                None,
                Diagnostic::error("Failed to read file", detail).into(),
            )
        }
        Ok(text) => {
            let (body, diagnostics) = if name.ends_with(".json") {
                parse_json(sources, &*name, text)
            } else {
                parse(sources, &*name, text)
            };
            (Some(body), diagnostics)
        }
    }
}

fn decode_all(
    texts: Texts<'_>,
    paths: &[PathBuf],
    overriding: bool,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Vec<File> {
    let mut decoded = Vec::with_capacity(paths.len());
    for path in paths {
        let (body, found) = parse_file(texts, path, sources);
        diagnostics.append(found);
        if let Some(body) = body {
            let (file, found) = file::decode(&body, sources, overriding);
            diagnostics.append(found);
            decoded.push(file);
        }
    }
    decoded
}

/// Loads the module of a directory, with its test files when a directory for them is given (those beside the
/// configuration count too). Children are not looked at.
pub fn load_module(
    directory: &Path,
    path: &ModulePath,
    tests: Option<&str>,
    sources: &mut Sources,
) -> (Option<Module>, Diagnostics) {
    load_module_of(Texts::Disk, directory, path, tests, sources)
}

/// As [`load_module`], from wherever its files are.
pub(super) fn load_module_of(
    texts: Texts<'_>,
    directory: &Path,
    path: &ModulePath,
    tests: Option<&str>,
    sources: &mut Sources,
) -> (Option<Module>, Diagnostics) {
    let files = match files(texts, directory, tests) {
        Ok(files) => files,
        Err(diagnostics) => return (None, diagnostics),
    };
    let mut diagnostics = files.warnings.clone();
    let primary = decode_all(texts, &files.primary, false, sources, &mut diagnostics);
    let overrides = decode_all(texts, &files.overrides, true, sources, &mut diagnostics);
    let mut tests = Vec::new();
    for file in &files.tests {
        let (body, found) = parse_file(texts, file, sources);
        diagnostics.append(found);
        if let Some(body) = body {
            let (mut test, found) = test_file::decode(&body, sources);
            diagnostics.append(found);
            for provider in test.mock_providers.values_mut() {
                load_mocks(directory, provider, sources, &mut diagnostics);
            }
            let name = file
                .strip_prefix(directory)
                .unwrap_or(file)
                .to_string_lossy()
                .into_owned();
            tests.push((name, test));
        }
    }
    let (mut module, found) = merge::build(
        path.clone(),
        directory.to_path_buf(),
        primary,
        overrides,
        sources,
    );
    diagnostics.append(found);
    module.tests.extend(tests);
    (Some(module), diagnostics)
}

/// The resource blocks of a text as those of a module of which it would be a file.
///
/// What else is in the text is left out.
pub(super) fn resources_of(
    module: &Module,
    name: &str,
    text: &str,
    sources: &mut Sources,
) -> (Vec<super::Resource>, Diagnostics) {
    let (body, mut diagnostics) = parse(sources, name, text);
    let (file, found) = file::decode(&body, sources, false);
    diagnostics.append(found);
    let (built, found) = merge::build(
        module.path.clone(),
        module.source_dir.clone(),
        vec![file],
        Vec::new(),
        sources,
    );
    diagnostics.append(found);
    let resources = built
        .resources
        .into_values()
        .map(|mut resource| {
            resource.provider = module.provider_for_name(&resource.local_provider().name);
            resource
        })
        .collect();
    (resources, diagnostics)
}

/// Adds what the files of a mock provider's `source` hold: `*.tfmock.hcl` and `*.tfmock.json`.
fn load_mocks(
    module: &Path,
    provider: &mut MockProvider,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) {
    let Some((source, at)) = provider.source.clone() else {
        return;
    };
    let directory = join(module, &clean_path(&source));
    let Ok(names) = Texts::Disk.names(&directory) else {
        let detail = format!(
            "Mock data directory {} does not exist or cannot be read.",
            directory.display()
        );
        diagnostics.push(Diagnostic::error("Failed to read mock data directory", detail).at(at));
        return;
    };
    for name in names.iter().filter(|name| !is_ignored(name)) {
        if !name.ends_with(".tfmock.hcl") && !name.ends_with(".tfmock.json") {
            continue;
        }
        let (body, found) = parse_file(Texts::Disk, &join(&directory, name), sources);
        diagnostics.append(found);
        if let Some(body) = body {
            diagnostics.append(test_file::decode_mocks(&body, sources, provider));
        }
    }
}
