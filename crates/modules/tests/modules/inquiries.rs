//! Modules that ask programs of the machine: those they find here are scripts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use consort_modules::{Invocation, Settings, find};
use serde_json::{Value, json};

/// A directory with scripts in it.
fn programs(scripts: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in scripts {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    directory
}

/// Runs a module that finds the programs of a directory before all others.
fn with(directory: &Path, module: &str, arguments: Value, check: bool) -> Value {
    let Value::Object(arguments) = arguments else {
        panic!("arguments are an object")
    };
    let path = format!("{}:/usr/bin:/bin", directory.display());
    let settings = Settings {
        check,
        environment: vec![("PATH".to_owned(), path)],
        ..Settings::default()
    };
    Value::Object(find(module).unwrap().run(&Invocation {
        module: module.to_owned(),
        arguments,
        settings,
    }))
}

#[test]
fn a_database_is_told_entry_by_entry() {
    let place = programs(&[(
        "getent",
        "case $2 in nobody) exit 2;; esac\nprintf 'a:x:1\\nb:x:2\\na:x:3\\n'",
    )]);
    let asked = |arguments| with(place.path(), "getent", arguments, false);
    assert_eq!(
        asked(json!({"database": "passwd"})),
        json!({"ansible_facts": {"getent_passwd": {"a": [["x", "1"], ["x", "3"]], "b": ["x", "2"]}}})
    );
    assert_eq!(
        asked(json!({"database": "passwd", "key": "nobody", "fail_key": false}))["ansible_facts"],
        json!({"getent_passwd": {"nobody": null}})
    );
    assert_eq!(
        asked(json!({"database": "passwd", "key": "nobody"}))["failed"],
        true
    );
}

#[test]
fn packages_of_rpm_are_told_by_their_names() {
    let place = programs(&[(
        "rpm",
        "printf 'bash|5.2|1.fc42|(none)|x86_64\\nkernel|6.1|1|(none)|x86_64\\nkernel|6.2|1|(none)|x86_64\\n'",
    )]);
    let told = with(
        place.path(),
        "package_facts",
        json!({"manager": "dnf"}),
        false,
    );
    let packages = &told["ansible_facts"]["packages"];
    assert_eq!(
        packages["bash"],
        json!([{"name": "bash", "version": "5.2", "release": "1.fc42", "epoch": "None", "arch": "x86_64", "source": "rpm"}])
    );
    assert_eq!(packages["kernel"].as_array().unwrap().len(), 2);
    let told = with(
        place.path(),
        "package_facts",
        json!({"manager": "none"}),
        false,
    );
    assert_eq!(told["msg"], "Unsupported package managers requested: none");
}

#[test]
fn pip_in_check_mode_knows_what_meets_a_demand() {
    let place = programs(&[(
        "pip3",
        "printf 'six==1.15.0\\nNice_Name==2.0rc1\\nlocal==1.0+deb1\\n'",
    )]);
    let pip = place.path().join("pip3");
    let changes = |state: &str, name: &str| {
        let arguments = json!({"name": name, "state": state, "executable": pip});
        with(place.path(), "pip", arguments, true)["changed"]
            .as_bool()
            .unwrap()
    };
    for met in [
        "six",
        "Six==1.15",
        "six>=1.10,<2",
        "six==1.15.*",
        "six~=1.4",
        "six!=1.16",
        "nice.name>=2.0rc1",
        "nice-name<2.0",
        "local==1.0",
        "local<=1.0",
    ] {
        // What precedes a version is none that comes before it.
        assert_eq!(changes("present", met), met == "nice-name<2.0", "{met}");
        assert_eq!(changes("absent", met), met != "nice-name<2.0", "{met}");
    }
    for unmet in [
        "six==1.15.1",
        "six~=1.15.1",
        "six>1.15.0",
        "six<1.15",
        "other",
        "nice-name==2.0",
    ] {
        assert!(changes("present", unmet), "{unmet}");
        assert!(!changes("absent", unmet), "{unmet}");
    }
}

#[test]
fn a_working_copy_follows_its_repository() {
    let top = tempfile::tempdir().unwrap();
    let at = |name: &str| top.path().join(name).to_str().unwrap().to_owned();
    let git = |directory: &str, words: &[&str]| {
        let done = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(words)
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    let source = at("source");
    std::fs::create_dir(&source).unwrap();
    git(&source, &["init", "-q", "-b", "main"]);
    let commit = |text: &str| {
        std::fs::write(Path::new(&source).join("file"), text).unwrap();
        git(&source, &["add", "file"]);
        git(&source, &["commit", "-q", "-m", text]);
        git(&source, &["rev-parse", "HEAD"])
    };
    let first = commit("one");
    git(&source, &["tag", "-a", "-m", "t", "v1"]);
    let second = commit("two");
    let dest = at("copy");
    let run = |more: Value, check: bool| {
        let mut arguments = json!({"repo": source, "dest": dest});
        for (name, value) in more.as_object().unwrap() {
            arguments[name] = value.clone();
        }
        with(top.path(), "git", arguments, check)
    };
    assert_eq!(
        run(json!({}), true),
        json!({"changed": true, "before": null, "after": second})
    );
    assert_eq!(
        run(json!({}), false),
        json!({"changed": true, "before": null, "after": second})
    );
    let same =
        json!({"changed": false, "before": second, "after": second, "remote_url_changed": false});
    assert_eq!(run(json!({}), false), same);
    assert_eq!(run(json!({}), true), same);
    let back =
        json!({"changed": true, "before": second, "after": first, "remote_url_changed": false});
    assert_eq!(run(json!({"version": "v1"}), true), back);
    assert_eq!(run(json!({"version": "v1"}), false), back);
    std::fs::write(Path::new(&dest).join("file"), "mine").unwrap();
    let refused = run(json!({"version": "main"}), false);
    assert_eq!(
        refused["msg"],
        format!("Local modifications exist in the destination: {dest} (force=no).")
    );
    assert_eq!(
        run(json!({"version": "main", "force": true}), false)["after"],
        second
    );
    let third = commit("three");
    assert_eq!(run(json!({"version": "main"}), false)["after"], third);
}
