//! `consort policy fmt` and `consort policy fmt-check`.

use std::fs;
use std::path::Path;

use consort_policy::format::format;
use consort_policy::load::{Loaded, Manner};
use similar::TextDiff;

use super::options::PolicyFmt;
use super::{FAILED, shown, version};
use crate::error::{Failure, Kind, Result};
use crate::output::print;

pub(super) fn run(args: &PolicyFmt, check: bool) -> Result<()> {
    let version = version(args.v0_compatible);
    if args.paths.is_empty() && !check {
        let text = std::io::read_to_string(std::io::stdin())?;
        let mut loaded = Loaded::default();
        loaded.modules.push(("stdin".to_owned(), text.clone()));
        let formatted = format("stdin", &text, version)
            .map_err(|error| Failure::printed(Kind::Failed, shown(&error, &loaded)))?;
        print(&formatted);
        return Ok(());
    }
    let paths = if args.paths.is_empty() {
        vec![".".to_owned()]
    } else {
        args.paths.clone()
    };
    let (mut changed, mut broken) = (false, false);
    for path in &paths {
        let mut loaded = Loaded::default();
        loaded
            .read(path, Manner::Modules)
            .map_err(|error| Failure::printed(Kind::Failed, format!("{error}\n")))?;
        for (file, text) in &loaded.modules {
            let formatted = match format(file, text, version) {
                Ok(formatted) => formatted,
                Err(error) => {
                    eprint!("{}", shown(&error, &loaded));
                    broken = true;
                    continue;
                }
            };
            let differs = formatted != *text;
            changed |= differs;
            if !differs {
                if !check && !args.list && !args.diff && !args.write {
                    print(&formatted);
                }
                continue;
            }
            if args.list || (check && !args.diff) {
                print(&format!("{file}\n"));
            } else if args.diff {
                let difference = TextDiff::from_lines(text.as_str(), formatted.as_str());
                print(
                    &difference
                        .unified_diff()
                        .header(&format!("{file} (as it is)"), &format!("{file} (laid out)"))
                        .to_string(),
                );
            } else if args.write {
                write(Path::new(file), &formatted)?;
            } else {
                print(&formatted);
            }
        }
    }
    if broken || (changed && (check || args.fail)) {
        return Err(Failure::code(FAILED));
    }
    Ok(())
}

/// By a file beside it that takes its place: a cut leaves the one or the other.
fn write(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("rego.tmp");
    let mode = fs::metadata(path)?.permissions();
    fs::write(&beside, text)?;
    fs::set_permissions(&beside, mode)?;
    fs::rename(&beside, path)?;
    Ok(())
}
