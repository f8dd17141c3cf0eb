//! `consort tf test` from outside, with no provider but the built-in one.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::CONSORT;

fn tf(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(CONSORT)
        .arg("tf")
        .args(arguments)
        .arg("-no-color")
        .current_dir(directory)
        .env("TF_CLI_CONFIG_FILE", "/dev/null")
        .env("HOME", directory)
        .env_remove("TF_VAR_name")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory with these files, initialized.
fn configuration(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let initialized = tf(directory.path(), &["init"]);
    assert!(
        initialized.status.success(),
        "{}",
        text(&initialized.stderr)
    );
    directory
}

const MAIN: &str = r#"
variable "name" {
  default = "web"
  validation {
    condition     = var.name != "bad"
    error_message = "That name is taken."
  }
}

resource "terraform_data" "server" {
  input = { name = var.name, network = module.network.id }
}

module "network" {
  source = "./network"
}

check "named" {
  assert {
    condition     = var.name != "odd"
    error_message = "An odd name."
  }
}

output "server" {
  value = terraform_data.server.output
}
"#;

const NETWORK: &str = r#"
resource "terraform_data" "it" {
  input = "real"
}

output "id" {
  value = terraform_data.it.output
}
"#;

#[test]
fn runs_share_a_state_see_each_others_outputs_and_leave_nothing() {
    let directory = configuration(&[
        ("main.tf", MAIN),
        ("network/main.tf", NETWORK),
        (
            "setup/main.tf",
            "resource \"terraform_data\" \"it\" {\n  input = \"from setup\"\n}\noutput \"name\" {\n  value = terraform_data.it.output\n}\n",
        ),
        (
            "tests/all.tftest.hcl",
            r#"
variables {
  name = "of the file"
}

override_module {
  target  = module.network
  outputs = { id = "made up" }
}

run "setup" {
  module {
    source = "./setup"
  }
}

run "first" {
  assert {
    condition     = output.server == { name = "of the file", network = "made up" }
    error_message = "The server is ${jsonencode(output.server)}."
  }
}

run "second" {
  variables {
    name = run.setup.name
  }
  assert {
    condition     = output.server.name == "from setup" && run.first.server.name == var.expected
    error_message = "Not what setup said."
  }
}

run "refused" {
  command = plan
  variables {
    name = "bad"
  }
  expect_failures = [var.name]
}

run "odd" {
  variables {
    name = "odd"
  }
  expect_failures = [check.named]
}
"#,
        ),
        ("tests/terraform.tfvars", "expected = \"of the file\"\n"),
    ]);
    let modules = std::fs::read_to_string(directory.path().join(".terraform/modules/modules.json"));
    assert!(modules.unwrap().contains("\"test.tests.all.setup\""));
    let report = directory.path().join("report.xml");
    let report = report.to_str().unwrap();
    let done = tf(directory.path(), &["test", &format!("-junit-xml={report}")]);
    assert_eq!(
        text(&done.stdout),
        "tests/all.tftest.hcl... in progress\n  run \"setup\"... pass\n  run \"first\"... pass\n  run \"second\"... \
         pass\n  run \"refused\"... pass\n  run \"odd\"... pass\ntests/all.tftest.hcl... tearing down\n\
         tests/all.tftest.hcl... pass\n\nSuccess! 5 passed, 0 failed.\n",
        "{}",
        text(&done.stderr)
    );
    assert!(done.status.success());
    assert!(!directory.path().join("terraform.tfstate").exists());
    let report = std::fs::read_to_string(report).unwrap();
    assert!(
        report.contains("<testsuite name=\"tests/all.tftest.hcl\" tests=\"5\" skipped=\"0\" failures=\"0\" errors=\"0\">"),
        "{report}"
    );
}

#[test]
fn what_does_not_hold_is_told_with_the_values_in_it_and_fails() {
    let directory = configuration(&[
        ("main.tf", MAIN),
        ("network/main.tf", NETWORK),
        (
            "main.tftest.hcl",
            r#"
run "wrong" {
  assert {
    condition     = terraform_data.server.input.name == "db"
    error_message = "Not the data base."
  }
}

run "unknown" {
  command = plan
  plan_options {
    replace = [terraform_data.server]
  }
  assert {
    condition     = terraform_data.server.id == run.wrong.server.name
    error_message = "Never seen."
  }
}

run "left_out" {
}
"#,
        ),
    ]);
    let done = tf(directory.path(), &["test"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        text(&done.stdout).ends_with("\nFailure! 0 passed, 2 failed, 1 skipped.\n"),
        "{}",
        text(&done.stdout)
    );
    let said = text(&done.stderr);
    assert!(
        said.contains(
            "Error: Test assertion failed\n\n  on main.tftest.hcl line 4, in run \"wrong\":\n   4:     condition     = \
             terraform_data.server.input.name == \"db\"\n    ├────────────────\n    │ \
             terraform_data.server.input.name is \"web\"\n\nNot the data base.\n"
        ),
        "{said}"
    );
    assert!(said.contains("Error: Unknown condition value"), "{said}");

    let lines: Vec<Value> = text(&tf(directory.path(), &["test", "-json"]).stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let statuses: Vec<(&str, &str)> = lines
        .iter()
        .filter(|line| line["test_run"]["progress"] == "complete")
        .map(|line| {
            (
                line["@testrun"].as_str().unwrap(),
                line["test_run"]["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        statuses,
        [
            ("wrong", "fail"),
            ("unknown", "error"),
            ("left_out", "skip")
        ]
    );
    let summary = lines.last().unwrap();
    assert_eq!(
        summary["test_summary"],
        serde_json::json!({"status": "error", "passed": 0, "failed": 1, "errored": 1, "skipped": 1})
    );
}

#[test]
fn an_interrupt_skips_the_rest_and_still_cleans_up() {
    let directory = configuration(&[
        (
            "main.tf",
            r#"
resource "terraform_data" "it" {
  provisioner "local-exec" {
    command = "kill -INT $PPID; touch made"
  }
  provisioner "local-exec" {
    when    = destroy
    command = "touch destroyed"
  }
}
"#,
        ),
        ("main.tftest.hcl", "run \"one\" {\n}\nrun \"two\" {\n}\n"),
    ]);
    let done = tf(directory.path(), &["test"]);
    assert!(
        text(&done.stdout).ends_with("Success! 1 passed, 0 failed, 1 skipped.\n"),
        "{}{}",
        text(&done.stdout),
        text(&done.stderr)
    );
    assert!(text(&done.stderr).contains("Interrupt received."));
    assert!(directory.path().join("made").exists());
    assert!(directory.path().join("destroyed").exists());
}

#[test]
fn what_cannot_be_destroyed_is_named() {
    let directory = configuration(&[
        (
            "main.tf",
            r#"
resource "terraform_data" "stuck" {
  provisioner "local-exec" {
    when    = destroy
    command = "exit 1"
  }
}
"#,
        ),
        ("main.tftest.hcl", "run \"one\" {\n}\n"),
    ]);
    let done = tf(directory.path(), &["test"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        text(&done.stdout).ends_with("main.tftest.hcl... fail\n\nFailure! 1 passed, 0 failed.\n")
    );
    let said = text(&done.stderr);
    assert!(
        said.contains("Terraform encountered an error destroying resources created while executing\nmain.tftest.hcl/one.\n")
            && said.ends_with(
                "\nTerraform left the following resources in state after executing\nmain.tftest.hcl/one, and they need to be \
                 cleaned up manually:\n  - terraform_data.stuck\n"
            ),
        "{said}"
    );
}
