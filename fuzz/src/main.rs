//! Runs one target under libFuzzer. `CONSORT_FUZZ` names the target; with `list` the program prints all names and
//! ends. Seeds and words are written below `CONSORT_FUZZ_WORK` first.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;
use std::{env, fs, process};

use consort_fuzz::{Target, all, run, seeds, target};

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fn prepare() -> Result<&'static Target, String> {
    let name = env::var("CONSORT_FUZZ").unwrap_or_default();
    if name == "list" {
        for target in all() {
            println!("{}", target.name);
        }
        process::exit(0);
    }
    let target = target(&name).ok_or_else(|| format!("CONSORT_FUZZ={name:?} names no target"))?;
    if let Some(work) = env::var_os("CONSORT_FUZZ_WORK").map(PathBuf::from) {
        let write = |path: PathBuf, bytes: &[u8]| {
            fs::write(&path, bytes).map_err(|error| format!("writing {}: {error}", path.display()))
        };
        let dir = work.join("seeds").join(target.name);
        fs::create_dir_all(&dir).map_err(|error| format!("making {}: {error}", dir.display()))?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            write(dir.join(format!("{number:04}")), seed)?;
        }
        // Any byte may be written as its number, and some must be.
        let words: String = seeds::words(target)
            .iter()
            .map(|word| {
                let bytes: String = word.iter().map(|byte| format!("\\x{byte:02X}")).collect();
                format!("\"{bytes}\"\n")
            })
            .collect();
        write(work.join(format!("{}.dict", target.name)), words.as_bytes())?;
    }
    Ok(target)
}

libfuzzer_sys::fuzz_target!(
    init: match prepare() {
        Ok(target) => {
            let _ = CHOSEN.set(target);
        }
        Err(why) => {
            eprintln!("{why}");
            process::exit(2);
        }
    },
    |bytes: &[u8]| {
        if let Some(target) = CHOSEN.get() {
            run(target, bytes);
        }
    }
);
