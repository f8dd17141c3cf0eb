//! Containers from creation to removal.
#![allow(missing_docs)]

mod support;

use std::time::Duration;

use consort_runtime::{Error, SandboxSpec, State};
use support::{Bed, alive, until, within};

#[tokio::test]
async fn a_container_runs_logs_and_leaves_its_exit_code() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let spec = bed.spec("c", "echo out; echo err >&2; hostname; exit 42");
    let container = sandbox.create(spec).await.unwrap();
    assert_eq!(container.state().await.unwrap(), State::Created);
    container.start().await.unwrap();
    let exit = within(container.wait()).await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom), (42, None, false));
    assert!(exit.started_at.unwrap() <= exit.finished_at);
    let log = std::fs::read_to_string(bed.log("c")).unwrap();
    assert!(
        log.contains(" stdout F out\n")
            && log.contains(" stderr F err\n")
            && log.contains("host-one"),
        "{log}"
    );
    assert!(matches!(container.state().await.unwrap(), State::Exited(_)));
    container.remove().await.unwrap();
    assert!(sandbox.containers().unwrap().is_empty());
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn what_cannot_be_executed_is_explained() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let cases = [
        (
            "nowhere",
            r#"exec: "nowhere": executable file not found in $PATH"#,
        ),
        (
            "/bin/nowhere",
            r#"exec: "/bin/nowhere": stat /bin/nowhere: no such file or directory"#,
        ),
        ("/etc/passwd", r#"exec: "/etc/passwd": permission denied"#),
        ("/etc/garbage", "exec /etc/garbage: exec format error"),
    ];
    for (program, expected) in cases {
        let mut spec = bed.spec("c", "");
        spec.args = vec![program.to_owned()];
        match sandbox.run(spec).await {
            Err(Error::Start(message)) => assert!(message.contains(expected), "{message}"),
            other => panic!("{program}: {other:?}"),
        }
        if let Some(container) = sandbox.container("c") {
            // It was there before its program turned out to be none.
            assert_eq!(within(container.wait()).await.unwrap().code, 126);
            container.remove().await.unwrap();
        }
    }
    let (container, mut spec) = (
        sandbox.run(bed.spec("ok", "sleep 100")).await.unwrap(),
        bed.spec("u", "true"),
    );
    spec.user.image_user = "ghost".to_owned();
    let error = sandbox.run(spec).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("unable to find user ghost: no matching entries in passwd file"),
        "{error}"
    );
    let exec = consort_runtime::ExecSpec {
        args: vec!["nowhere".to_owned()],
        ..Default::default()
    };
    let error = container.exec(exec).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("executable file not found in $PATH"),
        "{error}"
    );
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn stopping_asks_first_and_kills_after_the_grace_time() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let polite = sandbox
        .run(bed.spec(
            "polite",
            "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done",
        ))
        .await
        .unwrap();
    let deaf = sandbox
        .run(bed.spec(
            "deaf",
            "trap '' TERM; echo ready; while :; do sleep 0.05; done",
        ))
        .await
        .unwrap();
    until("both are ready", || {
        bed.logged("polite").contains("ready") && bed.logged("deaf").contains("ready")
    })
    .await;
    assert_eq!(
        within(polite.stop(Duration::from_secs(30)))
            .await
            .unwrap()
            .code,
        7
    );
    let exit = within(deaf.stop(Duration::from_millis(100))).await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn removing_a_sandbox_ends_even_processes_that_left_their_parents() {
    let bed = Bed::new();
    let spec = SandboxSpec {
        id: "one".to_owned(),
        hostname: "one".to_owned(),
        host_pid: true,
        ..SandboxSpec::default()
    };
    let sandbox = bed.runtime.create_sandbox(spec).await.unwrap();
    let script = "(setsid sh -c '(sleep 1234567 & echo $!) &' &) ; sleep 0.2; echo done; sleep 100";
    sandbox.run(bed.spec("c", script)).await.unwrap();
    until("it has forked", || bed.logged("c").contains("done")).await;
    let pid: i32 = bed.logged("c").lines().next().unwrap().parse().unwrap();
    assert!(alive(pid));
    sandbox.remove().await.unwrap();
    assert!(!alive(pid));
    bed.finish();
}

#[tokio::test]
async fn containers_of_a_pod_share_hostname_memory_and_if_asked_processes() {
    let bed = Bed::new();
    let spec = SandboxSpec {
        id: "one".to_owned(),
        hostname: "web-0".to_owned(),
        share_pid: true,
        ..SandboxSpec::default()
    };
    let sandbox = bed.runtime.create_sandbox(spec).await.unwrap();
    sandbox
        .run(bed.spec("a", "echo shared > /dev/shm/file; sleep 54321"))
        .await
        .unwrap();
    let script = "until [ -s /dev/shm/file ]; do sleep 0.01; done; cat /dev/shm/file; hostname; ps | grep -c '[s]leep 54321'";
    let (exit, text) = bed.output(&sandbox, bed.spec("b", script)).await;
    assert_eq!((exit.code, text.as_str()), (0, "shared\nweb-0\n1\n"));
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn a_container_sees_the_processes_of_the_one_it_is_pointed_at_and_no_others() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let target = sandbox.run(bed.spec("a", "exec sleep 54321")).await;
    sandbox
        .run(bed.spec("other", "exec tail -f /dev/null"))
        .await
        .unwrap();
    let mut spec = bed.spec("b", "ps -o pid,comm | grep -E 'sleep|tail'");
    spec.pid_of = Some("a".to_owned());
    let (exit, text) = bed.output(&sandbox, spec).await;
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!((exit.code, words), (0, vec!["1", "sleep"]));

    target.unwrap().kill(9).await.unwrap();
    within(sandbox.containers().unwrap()[0].wait())
        .await
        .unwrap();
    let mut late = bed.spec("c", "true");
    late.pid_of = Some("a".to_owned());
    let refused = sandbox.run(late).await.unwrap_err().to_string();
    assert!(refused.contains("does not run"), "{refused}");
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn fifty_pods_start_at_once() {
    let bed = Bed::new();
    let pods = futures::future::join_all((0..50).map(|number| {
        let bed = &bed;
        async move {
            let id = format!("p{number}");
            let sandbox = bed.sandbox(&id).await;
            let container = sandbox
                .run(bed.spec(&id, &format!("echo {number}; exit {number}")))
                .await
                .unwrap();
            let exit = within(container.wait()).await.unwrap();
            assert_eq!(exit.code, number);
            assert_eq!(bed.logged(&id), format!("{number}\n"));
            sandbox
        }
    }));
    let sandboxes = within(pods).await;
    for sandbox in sandboxes {
        sandbox.remove().await.unwrap();
    }
    bed.finish();
}

#[tokio::test]
async fn ids_are_unique_and_fit_for_file_names() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let again = SandboxSpec {
        id: "one".to_owned(),
        ..SandboxSpec::default()
    };
    assert!(matches!(
        bed.runtime.create_sandbox(again).await,
        Err(Error::AlreadyExists { .. })
    ));
    let outside = SandboxSpec {
        id: "../one".to_owned(),
        ..SandboxSpec::default()
    };
    assert!(matches!(
        bed.runtime.create_sandbox(outside).await,
        Err(Error::Invalid(_))
    ));
    let container = sandbox.run(bed.spec("c", "sleep 100")).await.unwrap();
    assert!(matches!(
        sandbox.run(bed.spec("c", "true")).await,
        Err(Error::AlreadyExists { .. })
    ));
    assert!(matches!(
        container.start().await,
        Err(Error::WrongState { .. })
    ));
    assert!(matches!(
        sandbox.create(bed.spec("a/b", "true")).await,
        Err(Error::Invalid(_))
    ));
    sandbox.remove().await.unwrap();
    assert!(matches!(
        container.state().await,
        Err(Error::NotFound { .. })
    ));
    bed.finish();
}
