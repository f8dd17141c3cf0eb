//! Where the Python of the controller keeps packages, found without starting it: collections that were installed with `pip`
//! lie there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::core::{VARIABLE, shebang_of};

/// The directories that `import` looks in: those of `PYTHONPATH`, those of the interpreters that `python3` and the programs of
/// Ansible on the search path stand for (a virtual environment its own), the user's, and the system's. Those that are not
/// there are left out.
pub(crate) fn directories(variables: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut add = |path: PathBuf| {
        if path.is_dir() && !found.contains(&path) {
            found.push(path);
        }
    };
    let set = |name: &str| variables.get(name).filter(|text| !text.is_empty());
    for path in set("PYTHONPATH")
        .into_iter()
        .flat_map(std::env::split_paths)
    {
        if path.is_absolute() {
            add(path);
        }
    }
    let mut interpreters = Vec::new();
    if let Some(told) = set(VARIABLE).map(PathBuf::from) {
        if told.is_dir() {
            add(told);
        } else {
            interpreters.push(told);
        }
    }
    let programs: Vec<PathBuf> = set("PATH")
        .into_iter()
        .flat_map(std::env::split_paths)
        .collect();
    interpreters.extend(
        programs
            .iter()
            .map(|directory| directory.join("python3"))
            .find(|program| program.exists()),
    );
    interpreters.extend(
        programs
            .iter()
            .filter_map(|directory| shebang_of(&directory.join("ansible-playbook"))),
    );
    for interpreter in interpreters {
        let Some(prefix) = interpreter.parent().and_then(Path::parent) else {
            continue;
        };
        // those of the system come after the user's
        if prefix != Path::new("/usr") && prefix != Path::new("/usr/local") {
            below(&prefix.join("lib"), &mut add);
        }
    }
    if let Some(home) = set("HOME") {
        below(&Path::new(home).join(".local/lib"), &mut add);
    }
    for base in ["/usr/local/lib", "/usr/lib"] {
        below(Path::new(base), &mut add);
    }
    found
}

/// The directories of packages of all versions below a directory of libraries.
fn below(base: &Path, add: &mut impl FnMut(PathBuf)) {
    let Ok(entries) = std::fs::read_dir(base) else {
        return;
    };
    let mut versions: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
        .map(|entry| entry.path())
        .collect();
    versions.sort();
    for version in versions {
        for packages in ["site-packages", "dist-packages"] {
            add(version.join(packages));
        }
    }
}
