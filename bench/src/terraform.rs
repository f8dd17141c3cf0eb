//! Plan, apply, plan again and destroy of built-in resources, in six shapes, beside the real terraform in the same run.
//!
//! Processor time and peak memory are those of the command's process and its children, as the kernel counts them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::{Place, server};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Numbers of resources
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
    resources: Vec<usize>,
    /// Shapes: blocks, count, chain, set, map, modules
    #[arg(long, value_delimiter = ',', default_values_t = SHAPES.map(str::to_owned))]
    shapes: Vec<String>,
    /// Seconds of processor time above which terraform is not asked for the next larger number of a shape
    #[arg(long, default_value_t = 60.0)]
    patience: f64,
    /// The real terraform; without it Consort is measured alone
    #[arg(long, default_value = "terraform")]
    terraform: PathBuf,
}

const SHAPES: [&str; 6] = ["blocks", "count", "chain", "set", "map", "modules"];

/// A configuration of about `count` resources.
fn write(shape: &str, count: usize, dir: &Path) -> Result<()> {
    let mut text = String::new();
    match shape {
        "blocks" => {
            for n in 0..count {
                let _ = writeln!(
                    text,
                    "resource \"terraform_data\" \"r{n}\" {{\n  input = \"value {n}\"\n}}"
                );
            }
        }
        "count" => {
            let _ = writeln!(
                text,
                "resource \"terraform_data\" \"r\" {{\n  count = {count}\n  input = \"value ${{count.index}}\"\n}}"
            );
        }
        "chain" => {
            for n in 0..count {
                let input = match n {
                    0 => "\"first\"".to_owned(),
                    n => format!("terraform_data.r{}.output", n - 1),
                };
                let _ = writeln!(
                    text,
                    "resource \"terraform_data\" \"r{n}\" {{\n  input = {input}\n}}"
                );
            }
        }
        "set" | "map" => {
            let (open, close) = if shape == "set" {
                ("toset([", "])")
            } else {
                ("{", "}")
            };
            let _ = writeln!(
                text,
                "resource \"terraform_data\" \"r\" {{\n  for_each = {open}"
            );
            for n in 0..count {
                let _ = match shape {
                    "set" => writeln!(text, "    \"key-{n}\","),
                    _ => writeln!(text, "    \"key-{n}\" = \"value {n}\""),
                };
            }
            let _ = writeln!(text, "  {close}\n  input = each.value\n}}");
        }
        "modules" => {
            // Each instance has a variable, a local, two resources and an output.
            let _ = writeln!(
                text,
                "module \"m\" {{\n  source = \"./m\"\n  count  = {}\n  name   = \"name ${{count.index}}\"\n}}",
                count / 2
            );
            std::fs::create_dir_all(dir.join("m"))?;
            std::fs::write(
                dir.join("m/main.tf"),
                "variable \"name\" {\n  type = string\n}\n\nlocals {\n  upper = upper(var.name)\n}\n\nresource \
                 \"terraform_data\" \"a\" {\n  input = local.upper\n}\n\nresource \"terraform_data\" \"b\" {\n  \
                 input = terraform_data.a.output\n}\n\noutput \"name\" {\n  value = terraform_data.b.output\n}\n",
            )?;
        }
        other => bail!("no shape {other:?}: {}", SHAPES.join(", ")),
    }
    std::fs::write(dir.join("main.tf"), text)?;
    Ok(())
}

/// What a command took.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Taken {
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
    /// Peak resident memory in MB.
    pub(crate) memory: f64,
}

/// Runs a command and prints what it took: the whole program of the hidden sub-command, so that the kernel's
/// peak is that of this one command.
pub(crate) fn measured(words: &[String]) -> Result<()> {
    let (program, arguments) = words.split_first().context("no command")?;
    let begun = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .status()
        .with_context(|| format!("running {program}"))?;
    let wall = begun.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
    let taken = Taken {
        cpu: seconds(usage.user_time()) + seconds(usage.system_time()),
        wall,
        memory: usage.max_rss() as f64 / 1024.0,
    };
    println!("{}", serde_json::to_string(&taken)?);
    if !status.success() {
        bail!("{} ended with {status}", words.join(" "));
    }
    Ok(())
}

struct Tool {
    name: &'static str,
    words: Vec<String>,
}

impl Tool {
    fn run(&self, dir: &Path, arguments: &[&str]) -> Result<Taken> {
        let output = Command::new(std::env::current_exe()?)
            .arg("measured")
            .arg("--")
            .args(&self.words)
            .args(arguments)
            .current_dir(dir)
            .env("TF_CLI_CONFIG_FILE", "/dev/null")
            .env("CHECKPOINT_DISABLE", "1")
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!(
                "{} {}: {}",
                self.name,
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The four steps, each from a fresh process.
    fn cycle(
        &self,
        shape: &str,
        count: usize,
        place: &Place,
    ) -> Result<Vec<(&'static str, Taken)>> {
        let dir = tempfile::Builder::new()
            .prefix("consort-bench-")
            .tempdir_in(&place.dir)?;
        write(shape, count, dir.path())?;
        self.run(dir.path(), &["init", "-no-color"])?;
        let mut taken = Vec::new();
        for (step, arguments) in [
            ("plan", &["plan", "-no-color"][..]),
            ("apply", &["apply", "-no-color", "-auto-approve"]),
            ("plan again", &["plan", "-no-color"]),
            ("destroy", &["destroy", "-no-color", "-auto-approve"]),
        ] {
            taken.push((step, self.run(dir.path(), arguments)?));
        }
        Ok(taken)
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let place = &arguments.place;
    let own = Tool {
        name: "consort tf",
        words: vec![
            server::binary(place)?.display().to_string(),
            "tf".to_owned(),
        ],
    };
    let peer = Tool {
        name: "terraform",
        words: vec![arguments.terraform.display().to_string()],
    };
    let version = Command::new(&arguments.terraform)
        .arg("version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !version {
        println!("(no terraform here: Consort alone)");
    }
    let here = tempfile::tempdir_in(&place.dir)?;
    let mut starts: Vec<f64> = Vec::new();
    for _ in 0..20 {
        starts.push(own.run(here.path(), &["version"])?.wall * 1e3);
    }
    starts.sort_by(f64::total_cmp);
    println!(
        "start (version): median {:.1} ms of 10 aimed at",
        starts[starts.len() / 2]
    );
    println!(
        "{:<9} {:>6} {:<11} {:>9} {:>9} {:>11} {:>9} {:>9} {:>9}",
        "", "", "", "CPU s", "peak MB", "terraform s", "peak MB", "CPU less", "MB part"
    );
    for shape in &arguments.shapes {
        let mut asked = version;
        for &count in &arguments.resources {
            let ours = own.cycle(shape, count, place)?;
            let theirs = if asked {
                Some(peer.cycle(shape, count, place)?)
            } else {
                None
            };
            for (at, (step, taken)) in ours.iter().enumerate() {
                let other = theirs.as_ref().map(|all| all[at].1);
                let cell = |value: Option<f64>, digits: usize| {
                    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
                };
                println!(
                    "{shape:<9} {count:>6} {step:<11} {:>9.3} {:>9.0} {:>11} {:>9} {:>9} {:>9}",
                    taken.cpu,
                    taken.memory,
                    cell(other.map(|o| o.cpu), 2),
                    cell(other.map(|o| o.memory), 0),
                    cell(other.map(|o| o.cpu / taken.cpu.max(1e-3)), 1),
                    cell(other.map(|o| taken.memory / o.memory), 2),
                );
            }
            let worst = theirs
                .iter()
                .flatten()
                .map(|(_, taken)| taken.cpu)
                .fold(0.0, f64::max);
            if worst > arguments.patience {
                println!("{shape:<9} (terraform is not asked for more)");
                asked = false;
            }
        }
    }
    Ok(())
}
