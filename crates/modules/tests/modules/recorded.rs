//! The modules beside what ansible-core 2.21.5 gave for the same arguments, recorded in `recorded.json`: results and files.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use consort_modules::{Invocation, Settings, find};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What was recorded: modules called one after the other in a directory.
#[derive(Deserialize)]
struct Case {
    name: String,
    /// A shell script that makes the directory what it is before.
    setup: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    module: String,
    arguments: Map<String, Value>,
    settings: Map<String, Value>,
    /// The result, `*` where it is another each time.
    report: Value,
    /// The files that are there after it: mode, then what a link leads to or what is in a file (a character a byte).
    /// Nothing was recorded where they stayed as they were.
    files: Option<BTreeMap<String, Value>>,
}

#[test]
fn modules_give_and_do_what_those_of_ansible_core_do() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("recorded.json")).unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        if let Err(difference) = replay(&case) {
            wrong.push(format!("{}: {difference}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn replay(case: &Case) -> Result<(), String> {
    let top = tempfile::tempdir().unwrap();
    let top = top.path().canonicalize().unwrap();
    let work = top.join("work");
    std::fs::create_dir(&work).unwrap();
    let made = Command::new("sh")
        .args(["-c", &format!("umask 022\n{}", case.setup)])
        .current_dir(&work)
        .status()
        .unwrap();
    assert!(made.success(), "{}", case.name);
    let place = work.to_str().unwrap();
    let mut before = listing(&work);
    for (number, step) in case.steps.iter().enumerate() {
        let arguments = json!(step.arguments).to_string().replace("@DIR@", place);
        let mut settings: Settings =
            serde_json::from_value(Value::Object(step.settings.clone())).unwrap();
        place.clone_into(&mut settings.directory);
        top.join("tmp")
            .to_str()
            .unwrap()
            .clone_into(&mut settings.remote_tmp);
        settings.umask.get_or_insert(0o022);
        let report = find(&step.module).unwrap().run(&Invocation {
            module: step.module.clone(),
            arguments: serde_json::from_str(&arguments).unwrap(),
            settings,
        });
        let told = json!(report).to_string().replace(place, "@DIR@");
        let mut told: Value = serde_json::from_str(&told).unwrap();
        if let Some(files) = told.get_mut("files").and_then(Value::as_array_mut) {
            // Directories have no order.
            files.sort_by_key(|file| file["path"].to_string());
        }
        let at = format!("step {number} ({} {arguments})", step.module);
        same(&step.report, &told, "result").map_err(|why| format!("{at}: {why}"))?;
        let now = listing(&work);
        let wanted = step.files.as_ref().unwrap_or(&before);
        same(&json!(wanted), &json!(now), "files").map_err(|why| format!("{at}: {why}"))?;
        before = now;
    }
    Ok(())
}

/// Whether something is what was recorded. What depends on who runs this is left out on both sides.
fn same(recorded: &Value, told: &Value, at: &str) -> Result<(), String> {
    const OF_WHO: [&str; 9] = [
        "uid",
        "gid",
        "owner",
        "group",
        "pw_name",
        "gr_name",
        "version",
        "attributes",
        "attr_flags",
    ];
    match (recorded, told) {
        (Value::String(mask), _) if mask == "*" => Ok(()),
        (Value::Object(recorded), Value::Object(told)) => {
            let keys: std::collections::BTreeSet<&String> =
                recorded.keys().chain(told.keys()).collect();
            for key in keys {
                if OF_WHO.contains(&key.as_str()) {
                    continue;
                }
                let (Some(one), Some(other)) = (recorded.get(key), told.get(key)) else {
                    return Err(format!(
                        "{at}.{key}: recorded {:?}, now {:?}",
                        recorded.get(key),
                        told.get(key)
                    ));
                };
                same(one, other, &format!("{at}.{key}"))?;
            }
            Ok(())
        }
        (Value::Array(recorded), Value::Array(told)) if recorded.len() == told.len() => recorded
            .iter()
            .zip(told)
            .try_for_each(|(one, other)| same(one, other, at)),
        _ if recorded == told => Ok(()),
        _ => Err(format!("{at}: recorded {recorded}, now {told}")),
    }
}

fn listing(top: &Path) -> BTreeMap<String, Value> {
    let mut files = BTreeMap::new();
    let mut pending = vec![top.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            let meta = path.symlink_metadata().unwrap();
            let mut told = vec![json!(format!("0o{:o}", meta.permissions().mode()))];
            if meta.is_symlink() {
                let target = path.read_link().unwrap();
                let target = target.to_str().unwrap();
                told.push(json!(target.replace(top.to_str().unwrap(), "@DIR@")));
            } else if meta.is_file()
                && let Ok(bytes) = std::fs::read(&path)
            {
                let text: String = bytes.into_iter().map(char::from).collect();
                told.push(json!(text.replace(top.to_str().unwrap(), "@DIR@")));
            }
            if meta.is_dir() {
                pending.push(path.clone());
            }
            let name = path.strip_prefix(top).unwrap().to_str().unwrap();
            files.insert(name.to_owned(), json!(told));
        }
    }
    files
}
