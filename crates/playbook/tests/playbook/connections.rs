//! Ways to a machine.

use std::time::{Duration, Instant};

use consort_modules::{Invocation, Settings};
use consort_playbook::connection::{
    Command, ConnectionSettings, Connections, Content, Error, Pool,
};
use serde_json::json;

/// Settings for this machine.
fn local(directory: &str) -> ConnectionSettings {
    ConnectionSettings {
        plugin: "local".to_owned(),
        host: "localhost".to_owned(),
        address: "localhost".to_owned(),
        port: None,
        user: None,
        password: None,
        options: Vec::new(),
        directory: directory.to_owned(),
        remote_tmp: format!("{directory}/remote"),
        shell: "/bin/sh".to_owned(),
    }
}

/// A call of a module.
fn call(module: &str, arguments: serde_json::Value) -> Invocation {
    let serde_json::Value::Object(arguments) = arguments else {
        panic!("arguments are an object")
    };
    Invocation {
        module: module.to_owned(),
        arguments,
        settings: Settings::default(),
    }
}

/// Waits until something holds, for ten seconds at most.
fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to hold");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn this_machine_runs_modules_commands_and_keeps_files_whole() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let pool = Pool::new();
    let connection = pool.connection(&local(here)).unwrap();
    let report = connection
        .module(call("ping", json!({"data": "x"})), None, None)
        .await
        .unwrap();
    assert_eq!(report["ping"], "x");

    let output = connection
        .command(
            Command {
                line: "read word; echo $word $THING; pwd; exit 3".to_owned(),
                input: b"in\n".to_vec(),
                environment: vec![("THING".to_owned(), "out".to_owned())],
                directory: None,
            },
            None,
            None,
        )
        .await
        .unwrap();
    assert_eq!(output.status, 3);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("in out\n{here}\n")
    );

    let task = connection.temporary(None).await.unwrap();
    let file = format!("{task}/file");
    connection
        .put(Content::Bytes(b"content"), &file, 0o640, None)
        .await
        .unwrap();
    let back = directory.path().join("back");
    connection.fetch(&file, &back, None).await.unwrap();
    assert_eq!(std::fs::read(&back).unwrap(), b"content");
    connection.remove(&task, None).await.unwrap();
    assert!(!std::path::Path::new(&task).exists());
}

#[tokio::test]
async fn a_command_whose_time_is_over_ends_with_all_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let connection = Pool::new().connection(&local(here)).unwrap();
    let begun = Instant::now();
    let ended = connection
        .command(
            Command {
                line: "echo $$ > leader; sleep 100 & sleep 100; true".to_owned(),
                ..Command::default()
            },
            None,
            Some(Duration::from_millis(300)),
        )
        .await;
    assert!(matches!(ended, Err(Error::TimedOut(_))), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let leader = std::fs::read_to_string(directory.path().join("leader")).unwrap();
    wait_until(|| processes_of_group(leader.trim()) == 0);
}

/// How many processes of a group still run.
fn processes_of_group(group: &str) -> usize {
    let running = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let after = stat.rsplit_once(')')?.1;
        let mut fields = after.split_whitespace();
        let state = fields.next()?;
        (state != "Z" && fields.nth(1)? == group).then_some(())
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(running)
        .count()
}
