//! Exec, attach and logs.
#![allow(missing_docs)]

mod support;

use std::time::Duration;

use consort_runtime::{Error, ExecSpec};
use support::{Bed, alive, exec, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn sh(script: &str) -> ExecSpec {
    ExecSpec {
        args: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..ExecSpec::default()
    }
}

#[tokio::test]
async fn an_exec_has_the_containers_surroundings_and_its_own_streams() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let mut spec = bed.spec("c", "echo here > /data/file; sleep 1000");
    spec.env.push("COLOUR=blue".to_owned());
    spec.cwd = "/data".into();
    let container = sandbox.run(spec).await.unwrap();
    until("the file is there", || {
        bed.dir.path().join("run/one/c/c/upper/data/file").exists()
    })
    .await;
    let (code, out, err) = exec(
        &container,
        "pwd; hostname; echo $COLOUR; cat file; echo oops >&2; exit 3",
    )
    .await;
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (3, "/data\nhost-one\nblue\nhere\n", "oops\n")
    );
    let (_, out, _) = exec(&container, "ps | grep -c '[s]leep 1000'; ls /proc/self/fd").await;
    assert!(
        out.starts_with("1\n0\n1\n2\n"),
        "only the standard streams are open: {out}"
    );
    let (code, ..) = exec(&container, "kill -9 $$").await;
    assert_eq!(code, 137);

    let mut cat = container
        .exec(ExecSpec {
            stdin: true,
            ..sh("cat; echo end")
        })
        .await
        .unwrap();
    let mut stdin = cat.stdin.take().unwrap();
    stdin.write_all(b"through\n").await.unwrap();
    drop(stdin);
    let mut out = String::new();
    within(cat.stdout.take().unwrap().read_to_string(&mut out))
        .await
        .unwrap();
    assert_eq!(
        (out.as_str(), within(cat.wait()).await.unwrap()),
        ("through\nend\n", 0)
    );
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn an_exec_with_a_terminal_can_be_resized_and_typed_to() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let container = sandbox.run(bed.spec("c", "sleep 1000")).await.unwrap();
    let spec = ExecSpec {
        tty: true,
        stdin: true,
        ..sh("tty; read line; stty size; echo got $line; exit 5")
    };
    let mut exec = container.exec(spec).await.unwrap();
    exec.resize(132, 43).unwrap();
    exec.stdin
        .as_mut()
        .unwrap()
        .write_all(b"hello\r")
        .await
        .unwrap();
    let mut out = String::new();
    within(exec.stdout.take().unwrap().read_to_string(&mut out))
        .await
        .unwrap();
    assert!(
        out.contains("/dev/pts/0") && out.contains("43 132") && out.contains("got hello"),
        "{out}"
    );
    assert!(exec.stderr.is_none());
    assert_eq!(within(exec.wait()).await.unwrap(), 5);
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn many_execs_run_side_by_side() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let container = sandbox.run(bed.spec("c", "sleep 1000")).await.unwrap();
    let runs = (0..40).map(|number| {
        let container = container.clone();
        async move {
            let (code, out, _) = exec(&container, &format!("echo {number}; exit {number}")).await;
            assert_eq!((code, out), (number, format!("{number}\n")));
        }
    });
    within(futures::future::join_all(runs)).await;
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn an_exec_ends_when_it_is_killed_or_dropped_and_cannot_enter_the_dead() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let container = sandbox.run(bed.spec("c", "sleep 1000")).await.unwrap();
    let mut killed = container.exec(sh("exec sleep 777")).await.unwrap();
    killed.kill().await.unwrap();
    assert_eq!(within(killed.wait()).await.unwrap(), 137);
    let dropped = container.exec(sh("exec sleep 31337.5")).await.unwrap();
    until("it runs", || support::processes("31337.5").len() == 1).await;
    let pid = support::processes("31337.5")[0];
    drop(dropped);
    until("it is killed", || !alive(pid)).await;
    container.kill(9).await.unwrap();
    within(container.wait()).await.unwrap();
    match container.exec(sh("true")).await {
        Err(Error::WrongState { state, .. }) => assert_eq!(state, "exited"),
        other => panic!("{other:?}"),
    }
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn several_clients_attach_and_one_types() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let mut spec = bed.spec("c", "while read line; do echo got $line; done; echo bye");
    spec.stdin = true;
    spec.stdin_once = true;
    let container = sandbox.create(spec).await.unwrap();
    let mut typist = container.attach(true).await.unwrap();
    let mut watcher = container.attach(false).await.unwrap();
    container.start().await.unwrap();
    let mut stdin = typist.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    for attach in [&mut typist, &mut watcher] {
        let mut out = String::new();
        within(attach.stdout.take().unwrap().read_to_string(&mut out))
            .await
            .unwrap();
        assert_eq!(out, "got one\ngot two\nbye\n");
    }
    assert_eq!(within(container.wait()).await.unwrap().code, 0);
    assert_eq!(bed.logged("c"), "got one\ngot two\nbye\n");
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn a_container_can_have_a_terminal() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let mut spec = bed.spec("c", "tty; read line; stty size; echo got $line");
    (spec.tty, spec.stdin) = (true, true);
    let container = sandbox.create(spec).await.unwrap();
    let mut attach = container.attach(true).await.unwrap();
    container.start().await.unwrap();
    attach.resize(100, 30).await.unwrap();
    attach
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"key\r")
        .await
        .unwrap();
    let mut out = String::new();
    within(attach.stdout.take().unwrap().read_to_string(&mut out))
        .await
        .unwrap();
    assert!(
        out.contains("/dev/pts/0") && out.contains("30 100") && out.contains("got key"),
        "{out}"
    );
    assert_eq!(within(container.wait()).await.unwrap().code, 0);
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn a_flood_of_output_is_logged_whole_and_rotated() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let mut spec = bed.spec("c", "seq 1 200000");
    spec.log_max_bytes = Some(2 << 20);
    spec.log_max_files = Some(20);
    let (exit, _) = bed.output(&sandbox, spec).await;
    assert_eq!(exit.code, 0);
    let mut lines = 0;
    for entry in std::fs::read_dir(bed.dir.path().join("logs")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.len() < 3 << 20);
        lines += text.lines().count();
    }
    assert_eq!(lines, 200_000);
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn an_attacher_that_does_not_read_stops_nobody() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let container = sandbox
        .create(bed.spec("c", "seq 1 500000; echo end"))
        .await
        .unwrap();
    let stuck = container.attach(false).await.unwrap();
    container.start().await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(30), container.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(exit.code, 0);
    drop(stuck);
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn a_moved_log_is_opened_again() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let container = sandbox
        .run(bed.spec(
            "c",
            "echo first; until [ -e /data/go ]; do sleep 0.02; done; echo second",
        ))
        .await
        .unwrap();
    until("the first line", || bed.logged("c") == "first\n").await;
    let moved = bed.dir.path().join("logs/moved");
    std::fs::rename(bed.log("c"), &moved).unwrap();
    container.reopen_log().await.unwrap();
    exec(&container, "touch /data/go").await;
    within(container.wait()).await.unwrap();
    assert_eq!(bed.logged("c"), "second\n");
    assert_eq!(std::fs::read_to_string(moved).unwrap().lines().count(), 1);
    sandbox.remove().await.unwrap();
    bed.finish();
}
