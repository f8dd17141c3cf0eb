//! Makes `consort-play-helper` a program that needs nothing of the machine it runs on, where that can be done.
//!
//! It is sent to machines with an older C library than this one's, or with another kind of it, so it brings its own. The whole
//! workspace cannot be built so (macros are libraries that the compiler loads), and Cargo has no such switch for one program: the
//! linker is led to the static form of each system library instead, by scripts in a directory that it searches first.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that is linked so.
const PROGRAM: &str = "consort-play-helper";

/// The system libraries that the standard library and its like ask for, and what stands for each.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("c", &["libc.a", "libgcc.a", "libgcc_eh.a"]),
    ("gcc_s", &["libgcc_eh.a", "libgcc.a"]),
    ("m", &["libm.a"]),
    ("pthread", &["libpthread.a"]),
    ("dl", &["libdl.a"]),
    ("rt", &["librt.a"]),
    ("util", &["libutil.a"]),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(static_helper)");
    let told = |name: &str| std::env::var(name).unwrap_or_default();
    // what is sent to machines is worth its size; the names of its functions are of no use there
    if told("PROFILE") == "release" && told("CARGO_CFG_TARGET_OS") == "linux" {
        println!("cargo:rustc-link-arg-bin={PROGRAM}=-Wl,-s");
    }
    let is_ours = told("CARGO_CFG_TARGET_OS") == "linux"
        && told("CARGO_CFG_TARGET_ENV") == "gnu"
        && told("HOST") == told("TARGET")
        && !told("CARGO_CFG_TARGET_FEATURE")
            .split(',')
            .any(|feature| feature == "crt-static");
    if !is_ours {
        return;
    }
    let linker = match told("RUSTC_LINKER") {
        linker if linker.is_empty() => "cc".to_owned(),
        linker => linker,
    };
    let directory = PathBuf::from(told("OUT_DIR")).join("static");
    match scripts(&linker, &directory).and_then(|()| try_out(&linker, &directory)) {
        Ok(()) => {
            println!(
                "cargo:rustc-link-arg-bin={PROGRAM}=-L{}",
                directory.display()
            );
            println!("cargo:rustc-link-arg-bin={PROGRAM}=-static-pie");
            println!("cargo:rustc-cfg=static_helper");
        }
        Err(why) => println!(
            "cargo:warning={PROGRAM} will run only on machines whose C library is at least as new as this one's: {why}"
        ),
    }
}

/// Writes the scripts that lead to the static libraries.
fn scripts(linker: &str, directory: &Path) -> Result<(), String> {
    std::fs::create_dir_all(directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    for (name, parts) in LIBRARIES {
        let mut found = Vec::new();
        for part in *parts {
            let told = Command::new(linker)
                .arg(format!("-print-file-name={part}"))
                .output()
                .map_err(|error| format!("{linker}: {error}"))?;
            let path = String::from_utf8_lossy(&told.stdout).trim().to_owned();
            if !Path::new(&path).is_absolute() {
                return Err(format!("there is no {part}"));
            }
            found.push(path);
        }
        let script = directory.join(format!("lib{name}.so"));
        std::fs::write(&script, format!("GROUP ( {} )\n", found.join(" ")))
            .map_err(|error| format!("{}: {error}", script.display()))?;
    }
    Ok(())
}

/// Links a small program in the same way, and runs it.
fn try_out(linker: &str, directory: &Path) -> Result<(), String> {
    let source = directory.join("try.c");
    let program = directory.join("try");
    std::fs::write(&source, "int main(void) { return 0; }\n")
        .map_err(|error| format!("{}: {error}", source.display()))?;
    let linked = Command::new(linker)
        .args(["-nodefaultlibs", "-pie", "-fPIE"])
        .arg(&source)
        .args(["-Wl,-Bdynamic", "-lgcc_s", "-lc"])
        .arg(format!("-L{}", directory.display()))
        .arg("-static-pie")
        .arg("-o")
        .arg(&program)
        .output()
        .map_err(|error| format!("{linker}: {error}"))?;
    if !linked.status.success() {
        return Err(format!(
            "{linker} does not link it: {}",
            String::from_utf8_lossy(&linked.stderr)
                .lines()
                .next()
                .unwrap_or_default()
        ));
    }
    match Command::new(&program).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("a program linked so ends with {status}")),
        Err(error) => Err(format!("a program linked so does not start: {error}")),
    }
}
