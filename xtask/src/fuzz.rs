//! Runs the fuzz targets under libFuzzer, one after another.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// What makes the compiler count which code an input reaches. It needs no nightly toolchain.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The stack of the server's threads, in KiB.
const STACK: &str = "2048";

/// `[TARGET...] [--for DURATION]`: the named targets, or all, share the time (a minute each, if none is given).
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let mut names: Vec<String> = Vec::new();
    let mut time = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--for" => {
                let text = args.next().context("--for needs a time, such as 10m")?;
                time = Some(
                    duration(text)
                        .with_context(|| format!("{text:?} is no time such as 90s, 10m or 1h"))?,
                );
            }
            flag if flag.starts_with('-') => bail!("unknown option {flag}"),
            name => names.push(name.to_owned()),
        }
    }
    let target_dir = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let program = build(&target_dir)?;
    let known = list(&program)?;
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!("no target {unknown}; there are {}", known.join(", "));
    }
    if names.is_empty() {
        names = known;
    }
    let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let each = time.map_or(Duration::from_secs(60), |time| time / count);
    let work = target_dir.join("fuzzing");
    let mut broken = Vec::new();
    for name in names {
        println!("== {name}, {each:.0?}");
        if !one(&program, &work, &name, each)? {
            broken.push(name);
        }
    }
    if !broken.is_empty() {
        bail!(
            "{} did not hold; the inputs are in {}",
            broken.join(", "),
            work.join("findings").display()
        );
    }
    Ok(())
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().ok()?;
    let seconds = match unit {
        's' => number,
        'm' => number.checked_mul(60)?,
        'h' => number.checked_mul(3_600)?,
        _ => return None,
    };
    Some(Duration::from_secs(seconds))
}

fn host() -> anyhow::Result<String> {
    let out = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("asking rustc for its host")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

/// Builds the program with counters. A target is named so that build scripts get none.
fn build(target_dir: &Path) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--package",
            "consort-fuzz",
            "--profile",
            "fuzz",
            "--features",
            "guided",
            "--target",
            &host,
        ])
        .env("RUSTFLAGS", COVERAGE.join(" "))
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("cargo build ended with {status}");
    }
    Ok(target_dir.join(host).join("fuzz").join("consort-fuzz"))
}

fn list(program: &Path) -> anyhow::Result<Vec<String>> {
    let out = Command::new(program)
        .env("CONSORT_FUZZ", "list")
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    Ok(String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// Whether a target held for all inputs that were tried.
fn one(program: &Path, work: &Path, name: &str, time: Duration) -> anyhow::Result<bool> {
    let dirs = ["corpus", "seeds"].map(|dir| work.join(dir).join(name));
    for dir in dirs.iter().chain([&work.join("findings")]) {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let words = work.join(format!("{name}.dict"));
    if !words.exists() {
        fs::write(&words, "").with_context(|| format!("writing {}", words.display()))?;
    }
    let findings = work.join("findings").join(format!("{name}-"));
    let status = Command::new("sh")
        .args(["-c", "ulimit -s \"$0\"; exec \"$@\"", STACK])
        .arg(program)
        .args(&dirs)
        .arg(format!("-dict={}", words.display()))
        .arg(format!("-artifact_prefix={}", findings.display()))
        .arg(format!("-max_total_time={}", time.as_secs().max(1)))
        .args([
            "-timeout=30",
            "-rss_limit_mb=2048",
            "-max_len=8192",
            "-reload=0",
            "-use_value_profile=1",
            "-print_final_stats=1",
        ])
        .env("CONSORT_FUZZ", name)
        .env("CONSORT_FUZZ_WORK", work)
        .env("RUST_BACKTRACE", "1")
        .status()
        .with_context(|| format!("starting {}", program.display()))?;
    Ok(status.success())
}
