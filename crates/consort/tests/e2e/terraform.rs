//! `consort tf` from outside: whole commands on configurations that need no provider but the built-in one.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::CONSORT;

fn tf(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().unwrap()
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(CONSORT);
    command
        .arg("tf")
        .args(arguments)
        .current_dir(directory)
        .env("TF_CLI_CONFIG_FILE", "/dev/null")
        .env("HOME", directory)
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TF_VAR_") {
            command.env_remove(name);
        }
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The output of a command that succeeds.
fn done(directory: &Path, arguments: &[&str]) -> String {
    let output = tf(directory, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn state(directory: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(directory.join("terraform.tfstate")).unwrap()).unwrap()
}

const CONFIGURATION: &str = r#"
variable "size" {
  type = number
  validation {
    condition     = var.size < 10
    error_message = "${var.size} is too big."
  }
}

module "names" {
  source = "./names"
  count  = 2
  index  = count.index
}

resource "terraform_data" "each" {
  for_each         = toset(module.names[*].name)
  input            = { name = each.key, size = var.size }
  triggers_replace = var.size
  lifecycle {
    create_before_destroy = true
  }
}

resource "terraform_data" "after" {
  input = [for one in terraform_data.each : one.output.name]
}

output "names" {
  value = terraform_data.after.output
}

output "secret" {
  value     = sensitive("hunter2")
  sensitive = true
}
"#;

fn configuration() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("main.tf"), CONFIGURATION).unwrap();
    std::fs::create_dir(directory.path().join("names")).unwrap();
    std::fs::write(
        directory.path().join("names/main.tf"),
        "variable \"index\" {}\n\noutput \"name\" {\n  value = upper(\"n${var.index}\")\n}\n",
    )
    .unwrap();
    directory
}

#[test]
fn a_configuration_is_planned_applied_changed_and_destroyed() {
    let directory = configuration();
    let at = directory.path();
    done(at, &["init"]);
    done(at, &["validate"]);
    let plan = done(at, &["plan", "-var", "size=1"]);
    assert!(
        plan.contains("Plan: 3 to add, 0 to change, 0 to destroy."),
        "{plan}"
    );
    assert!(plan.contains("secret = (sensitive value)"), "{plan}");
    let applied = done(at, &["apply", "-auto-approve", "-var", "size=1"]);
    assert!(
        applied.contains("Apply complete! Resources: 3 added, 0 changed, 0 destroyed."),
        "{applied}"
    );
    assert!(!applied.contains("hunter2"), "{applied}");
    assert_eq!(done(at, &["output", "-json", "names"]), "[\"N0\",\"N1\"]\n");
    assert_eq!(
        done(at, &["state", "list"]),
        "terraform_data.after\nterraform_data.each[\"N0\"]\nterraform_data.each[\"N1\"]\n"
    );
    let again = tf(at, &["plan", "-detailed-exitcode", "-var", "size=1"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stdout));
    let changed = tf(at, &["plan", "-detailed-exitcode", "-var", "size=2"]);
    assert_eq!(changed.status.code(), Some(2));
    let changed = text(&changed.stdout);
    assert!(
        changed.contains("+/- resource \"terraform_data\" \"each\""),
        "{changed}"
    );
    assert!(
        changed.contains("triggers_replace = 1 -> 2 # forces replacement"),
        "{changed}"
    );
    assert!(
        changed.contains("Plan: 2 to add, 1 to change, 2 to destroy."),
        "{changed}"
    );
    done(at, &["apply", "-auto-approve", "-var", "size=2"]);
    let destroyed = done(at, &["destroy", "-auto-approve", "-var", "size=2"]);
    assert!(
        destroyed.contains("Destroy complete! Resources: 3 destroyed."),
        "{destroyed}"
    );
    assert_eq!(state(at)["resources"], Value::Array(Vec::new()));
}

#[test]
fn a_saved_plan_is_shown_and_applied_only_while_nothing_has_changed() {
    let directory = configuration();
    let at = directory.path();
    done(at, &["init"]);
    done(at, &["plan", "-out", "saved", "-var", "size=1"]);
    let shown: Value = serde_json::from_str(&done(at, &["show", "-json", "saved"])).unwrap();
    assert_eq!(shown["format_version"], "1.2");
    // As it was given: only the plan itself holds it as a number.
    assert_eq!(shown["variables"]["size"]["value"], "1");
    assert_eq!(shown["resource_changes"].as_array().unwrap().len(), 3);
    assert!(done(at, &["show", "saved"]).contains("Plan: 3 to add"));
    done(at, &["apply", "saved"]);
    let shown: Value = serde_json::from_str(&done(at, &["show", "-json"])).unwrap();
    assert_eq!(shown["values"]["outputs"]["names"]["value"][1], "N1");
    let dropped = tf(at, &["apply", "-var", "size=2", "saved"]);
    assert_eq!(dropped.status.code(), Some(1));
    assert!(
        text(&dropped.stderr).contains("Can't change variable when applying a saved plan"),
        "{}",
        text(&dropped.stderr)
    );
    let stale = tf(at, &["apply", "saved"]);
    assert_eq!(stale.status.code(), Some(1));
    assert!(
        text(&stale.stderr).contains("Saved plan is stale"),
        "{}",
        text(&stale.stderr)
    );
}

#[test]
fn wrong_input_is_told_with_its_place_and_changes_nothing() {
    let directory = configuration();
    let at = directory.path();
    done(at, &["init"]);
    let refused = tf(at, &["apply", "-auto-approve", "-var", "size=11"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(
        told.contains("Invalid value for variable") && told.contains("main.tf line 2"),
        "{told}"
    );
    assert!(told.contains("11 is too big."), "{told}");
    std::fs::write(
        at.join("more.tf"),
        "output \"x\" {\n  value = local.nothing\n}\n",
    )
    .unwrap();
    let refused = tf(at, &["validate"]);
    let told = text(&refused.stderr);
    assert!(
        told.contains("Reference to undeclared local value"),
        "{told}"
    );
    assert!(
        told.contains("on more.tf line 2, in output \"x\""),
        "{told}"
    );
    assert!(!at.join("terraform.tfstate").exists());
}

#[test]
fn a_run_that_is_killed_loses_nothing_it_made() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(
        at.join("main.tf"),
        "resource \"terraform_data\" \"first\" {\n  input = 1\n}\n\nresource \"terraform_data\" \"second\" {\n  \
         input = terraform_data.first.id\n  provisioner \"local-exec\" {\n    command = \"touch made; sleep 60\"\n  \
         }\n}\n",
    )
    .unwrap();
    done(at, &["init"]);
    let mut running = command(at, &["apply", "-auto-approve"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !at.join("made").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "nothing was made"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let locked = tf(at, &["plan"]);
    assert!(text(&locked.stderr).contains("Error acquiring the state lock"));
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(
        done(at, &["state", "list"]).contains("terraform_data.first"),
        "the first resource was made and acknowledged"
    );
    std::fs::write(
        at.join("main.tf"),
        "resource \"terraform_data\" \"first\" {\n  input = 1\n}\n",
    )
    .unwrap();
    let applied = done(at, &["apply", "-auto-approve"]);
    assert!(
        !applied.contains("terraform_data.first: Creating"),
        "{applied}"
    );
    assert_eq!(done(at, &["state", "list"]), "terraform_data.first\n");
}

#[test]
fn an_interrupt_at_the_question_ends_the_run_and_gives_the_lock_up() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("main.tf"), "resource \"terraform_data\" \"a\" {}\n").unwrap();
    done(at, &["init"]);
    let mut running = command(at, &["apply"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = running.stdout.take().unwrap();
    let mut told = String::new();
    while !told.contains("Enter a value:") {
        let mut part = [0; 4096];
        let count = std::io::Read::read(&mut out, &mut part).unwrap();
        assert_ne!(count, 0, "{told}");
        told.push_str(&text(&part[..count]));
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(running.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = running.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(1));
    assert!(!at.join(".terraform.tfstate.lock.info").exists());
    assert!(!at.join("terraform.tfstate").exists());
}

#[test]
fn states_are_moved_marked_and_kept_apart_by_workspace() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("main.tf"), "resource \"terraform_data\" \"a\" {}\n").unwrap();
    done(at, &["init"]);
    done(at, &["apply", "-auto-approve"]);
    done(at, &["state", "mv", "terraform_data.a", "terraform_data.b"]);
    assert_eq!(done(at, &["state", "list"]), "terraform_data.b\n");
    let plan = done(at, &["plan"]);
    assert!(
        plan.contains("because terraform_data.b is not in configuration"),
        "{plan}"
    );
    done(at, &["state", "mv", "terraform_data.b", "terraform_data.a"]);
    done(at, &["taint", "terraform_data.a"]);
    let plan = done(at, &["plan"]);
    assert!(plan.contains("is tainted, so must be replaced"), "{plan}");
    done(at, &["untaint", "terraform_data.a"]);
    assert!(done(at, &["plan"]).contains("No changes."));
    done(at, &["workspace", "new", "other"]);
    assert_eq!(
        done(at, &["state", "list", "-state=terraform.tfstate"]),
        "terraform_data.a\n"
    );
    assert!(done(at, &["plan"]).contains("Plan: 1 to add"));
    done(at, &["workspace", "select", "default"]);
    done(at, &["workspace", "delete", "other"]);
    assert_eq!(done(at, &["workspace", "list"]), "* default\n\n");
}
