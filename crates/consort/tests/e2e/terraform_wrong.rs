//! `consort tf` with something wrong: what is said, where, and that nothing is changed by it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::CONSORT;

fn tf(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(CONSORT)
        .arg("tf")
        .args(arguments)
        .current_dir(directory)
        .env("TF_CLI_CONFIG_FILE", "/dev/null")
        .env("HOME", directory)
        .env_remove("TF_REATTACH_PROVIDERS")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Summaries with file and line, sorted, as `validate -json` has them, and whether it succeeded.
fn validated(files: &[(&str, &str)]) -> (bool, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), files);
    let output = tf(directory.path(), &["validate", "-json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found: Vec<String> = report["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let place = match &one["range"] {
                Value::Null => String::new(),
                range => format!(
                    " {}:{}",
                    range["filename"].as_str().unwrap(),
                    range["start"]["line"]
                ),
            };
            format!("{}{place}", one["summary"].as_str().unwrap())
        })
        .collect();
    found.sort();
    assert_eq!(report["valid"], output.status.success());
    (output.status.success(), found)
}

const MANIFEST: (&str, &str) = (
    ".terraform/modules/modules.json",
    r#"{"Modules":[{"Key":"","Source":"","Dir":"."},{"Key":"m","Source":"./m","Dir":"m"}]}"#,
);

/// Files, and what has to be said of them.
type Case<'c> = (Vec<(&'c str, &'c str)>, Vec<&'c str>);

#[test]
fn validating_finds_what_only_the_configuration_as_a_whole_shows() {
    for (text, wanted) in [
        (
            "locals {\n  a = local.b\n  b = local.a\n}\n",
            vec!["Cycle: local.a (expand), local.b (expand)"],
        ),
        (
            "locals {\n  a = local.a\n}\n",
            vec!["Self-referencing local value main.tf:2"],
        ),
        (
            "resource \"terraform_data\" \"a\" {\n  count = -1\n}\nresource \"terraform_data\" \"b\" {\n  for_each = [1]\n}\n",
            vec![
                "Invalid count argument main.tf:2",
                "Invalid for_each argument main.tf:5",
            ],
        ),
        (
            "variable \"s\" {\n  sensitive = true\n}\noutput \"o\" {\n  value = \"x${var.s}\"\n}\n",
            vec!["Output refers to sensitive values main.tf:4"],
        ),
        (
            "variable \"e\" {\n  ephemeral = true\n}\nresource \"terraform_data\" \"a\" {\n  input = var.e\n}\n",
            vec!["Invalid use of ephemeral value main.tf:5"],
        ),
        (
            "resource \"terraform_data\" \"a\" {}\noutput \"o\" {\n  value = terraform_data.a.idd\n}\n",
            vec!["Unsupported attribute main.tf:3"],
        ),
        (
            "resource \"terraform_data\" \"a\" {\n  lifecycle {\n    ignore_changes = [nope]\n    precondition {\n      condition     = terraform_data.a.nope\n      error_message = \"x\"\n    }\n  }\n}\n",
            vec!["Invalid reference in precondition main.tf:5"],
        ),
        (
            "module \"m\" {\n  source = \"./m\"\n  n      = \"x\"\n}\n",
            vec!["Invalid value for input variable main.tf:3"],
        ),
        (
            "module \"m\" {\n  source = \"./m\"\n  n      = 1\n}\noutput \"o\" {\n  value = module.m.nope\n}\n",
            vec!["Unsupported attribute main.tf:6"],
        ),
        (
            "variable \"v\" {}\nmodule \"m\" {\n  source = \"./m\"\n  n      = var.v\n}\ncheck \"c\" {\n  assert {\n    condition     = var.w\n    error_message = \"x\"\n  }\n}\n",
            vec!["Reference to undeclared input variable main.tf:8"],
        ),
    ] {
        let files = [
            ("main.tf", text),
            ("m/m.tf", "variable \"n\" {\n  type = number\n}\n"),
            MANIFEST,
        ];
        let (valid, found) = validated(&files);
        assert_eq!(found, wanted, "{text}");
        assert!(!valid);
    }
}

#[test]
fn what_may_be_right_for_some_values_is_valid_and_so_is_an_empty_directory() {
    assert_eq!(validated(&[]), (true, Vec::new()));
    let text = r#"
        variable "n" {}
        variable "each" { type = map(any) }
        resource "terraform_data" "a" {
          count = var.n
          input = count.index
        }
        resource "terraform_data" "b" {
          for_each = var.each
          input    = [each.value.anything, terraform_data.a[0].output.deep.inside]
        }
        module "m" {
          source   = "./m"
          for_each = var.each
          n        = each.value
        }
        output "o" { value = module.m["x"].twice + var.n }
        terraform {
          cloud {}
        }
    "#;
    let child =
        "variable \"n\" {\n  type = number\n}\noutput \"twice\" {\n  value = 2 * var.n\n}\n";
    let files = [("main.tf", text), ("m/m.tf", child), MANIFEST];
    assert_eq!(validated(&files), (true, Vec::new()));
}

/// Every file below a directory with its bytes.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path.display().to_string(), bytes);
            }
        }
    }
    found
}

#[test]
fn what_cannot_be_read_is_named_and_nothing_is_changed() {
    const LOCK: &str = "provider \"registry.terraform.io/acme/p\" {\n  version = \"1.0.0\"\n  hashes = [\n    \"h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\n  ]\n}\n";
    const USES: &str = "terraform {\n  required_providers {\n    p = { source = \"acme/p\" }\n  }\n}\nresource \"p_x\" \"a\" {}\n";
    let platform = format!(
        ".terraform/providers/registry.terraform.io/acme/p/1.0.0/linux_{}/terraform-provider-p",
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    );
    let plain = ("main.tf", "resource \"terraform_data\" \"a\" {}\n");
    let calls = ("main.tf", "module \"m\" {\n  source = \"./m\"\n}\n");
    let cases: Vec<Case<'_>> = vec![
        (
            vec![plain, ("terraform.tfstate", "{\"version\": 4, ")],
            vec!["Failed to load state", "terraform.tfstate: ", "line 1"],
        ),
        (
            vec![plain, ("terraform.tfstate", "{\"version\": 99}")],
            vec![
                "Failed to load state",
                "terraform.tfstate: ",
                "format version 99",
            ],
        ),
        (
            vec![plain, ("terraform.tfstate", "\u{1}\u{2}")],
            vec!["Failed to load state", "terraform.tfstate: "],
        ),
        (
            vec![
                calls,
                (".terraform/modules/modules.json", "{\"Modules\": ["),
            ],
            vec!["Failed to read module manifest", "modules.json"],
        ),
        (
            vec![calls, (".terraform/modules/modules.json/x", "")],
            vec!["Failed to read module manifest", "modules.json"],
        ),
        (
            vec![
                ("main.tf", USES),
                (".terraform.lock.hcl", "provider \"p\" {\n"),
            ],
            vec!["Unclosed configuration block", ".terraform.lock.hcl line 1"],
        ),
        (
            vec![
                ("main.tf", USES),
                (".terraform.lock.hcl", LOCK),
                (platform.as_str(), "#!/bin/sh\n"),
            ],
            vec![
                "Required plugins are not installed",
                "does not match any of the checksums",
                "registry.terraform.io/acme/p",
            ],
        ),
        (
            vec![("main.tf", USES)],
            vec![
                "Inconsistent dependency lock file",
                "registry.terraform.io/acme/p",
            ],
        ),
    ];
    for (files, wanted) in cases {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &files);
        let before = contents(directory.path());
        for arguments in [
            &["plan"][..],
            &["apply", "-auto-approve"],
            &["destroy", "-auto-approve"],
        ] {
            let output = tf(directory.path(), arguments);
            let said: String = String::from_utf8_lossy(&output.stderr)
                .lines()
                .map(|line| format!("{} ", line.trim_start_matches(['│', ' '])))
                .collect();
            assert!(!output.status.success(), "{files:?}");
            for words in &wanted {
                assert!(said.contains(words), "{arguments:?} {files:?}: {said}");
            }
            assert_eq!(
                contents(directory.path()),
                before,
                "{arguments:?} {files:?}"
            );
        }
    }
}

#[test]
fn a_wrong_value_is_shown_where_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    write(
        here,
        &[
            (
                "main.tf",
                "variable \"a\" {\n  type = list(number)\n  validation {\n    condition     = length(var.a) < 2\n    error_message = \"Too many.\"\n  }\n}\n",
            ),
            ("terraform.tfvars", "\na = [1, 2]\n"),
        ],
    );
    let said = |arguments: &[&str]| {
        let output = tf(here, arguments);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = said(&["plan"]);
    assert!(
        text.contains("Invalid value for variable") && text.contains("on terraform.tfvars line 2"),
        "{text}"
    );
    std::fs::write(here.join("terraform.tfvars"), "\na = [\"x\"]\n").unwrap();
    let text = said(&["plan"]);
    assert!(
        text.contains("Invalid value for input variable")
            && text.contains("on terraform.tfvars line 2"),
        "{text}"
    );
    let text = said(&["plan", "-var", "a=[\"x\"]"]);
    assert!(
        text.contains("set using -var=\"a=...\"") && text.contains("on main.tf line 1"),
        "{text}"
    );
}
