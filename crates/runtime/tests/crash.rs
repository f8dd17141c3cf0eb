//! Deaths at bad moments: of the agent, of a shim, of a container.
#![allow(missing_docs)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use consort_runtime::{Error, Runtime, State};
use support::{Bed, alive, exec, processes, until, within};

/// The agent that is going to be killed: this test binary again, told so by a variable.
const AGENT: &str = "CONSORT_TEST_AGENT";

#[test]
fn the_agent_that_is_killed() {
    let Ok(told) = std::env::var(AGENT) else {
        return;
    };
    let (options, spec): ((String, String, String), String) = serde_json::from_str(&told).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let runtime = Runtime::new(consort_runtime::Options {
            root: options.0.into(),
            shim_exe: options.1.into(),
            cgroup_parent: options.2,
        })
        .unwrap();
        let sandbox = runtime
            .create_sandbox(consort_runtime::SandboxSpec {
                id: "one".to_owned(),
                hostname: "one".to_owned(),
                ..Default::default()
            })
            .await
            .unwrap();
        sandbox
            .run(serde_json::from_str(&spec).unwrap())
            .await
            .unwrap();
        println!("agent: running");
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn containers_outlive_the_agent_and_are_adopted() {
    let bed = Bed::new();
    let mut spec = bed.spec(
        "c",
        "echo before; until [ -e /data/go ]; do sleep 0.02; done; echo after; exit 42",
    );
    spec.labels.insert("app".to_owned(), "web".to_owned());
    let options = (
        bed.options.root.to_str().unwrap(),
        bed.options.shim_exe.to_str().unwrap(),
        &bed.options.cgroup_parent,
    );
    let told = serde_json::to_string(&(options, serde_json::to_string(&spec).unwrap())).unwrap();
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_agent_that_is_killed", "--nocapture"])
        .env(AGENT, told)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("agent: running")));
    agent.kill().unwrap();
    agent.wait().unwrap();

    let sandboxes = bed.runtime.adopt().await.unwrap();
    let sandbox = &sandboxes[0];
    assert!(sandbox.alive() && sandboxes.len() == 1);
    let container = sandbox.container("c").unwrap();
    assert_eq!(container.spec(), &spec);
    assert!(matches!(
        container.state().await.unwrap(),
        State::Running { .. }
    ));
    exec(&container, "touch /data/go").await;
    assert_eq!(within(container.wait()).await.unwrap().code, 42);
    assert_eq!(bed.logged("c"), "before\nafter\n");
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn a_killed_shim_takes_its_containers_along_and_they_are_recorded() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let done = sandbox.run(bed.spec("done", "exit 3")).await.unwrap();
    within(done.wait()).await.unwrap();
    let container = sandbox
        .run(bed.spec("c", "setsid sleep 424242 & sleep 1000"))
        .await
        .unwrap();
    let State::Running { pid, .. } = container.state().await.unwrap() else {
        panic!("it does not run")
    };
    let waiting = tokio::spawn({
        let container = container.clone();
        async move { container.wait().await }
    });
    let shim = processes(bed.options.root.to_str().unwrap());
    assert_eq!(shim.len(), 1);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(shim[0]),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let exit = within(waiting).await.unwrap().unwrap();
    assert_eq!(exit.code, 137);
    assert!(exit.message.contains("shim"), "{exit:?}");
    until("the container is gone", || {
        !alive(pid) && processes("424242").is_empty()
    })
    .await;
    assert!(!sandbox.alive());
    assert!(matches!(
        sandbox.run(bed.spec("next", "true")).await,
        Err(Error::ShimGone(_))
    ));
    assert!(matches!(done.state().await.unwrap(), State::Exited(exit) if exit.code == 3));
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn a_shim_that_died_while_the_agent_was_away_is_found_dead() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    sandbox.run(bed.spec("c", "sleep 1000")).await.unwrap();
    for pid in processes(bed.options.root.to_str().unwrap()) {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        until("the shim is gone", || !alive(pid)).await;
    }
    std::fs::create_dir(bed.options.root.join("half-made")).unwrap();
    let runtime = Runtime::new(bed.options.clone()).unwrap();
    let sandboxes = runtime.adopt().await.unwrap();
    assert_eq!(sandboxes.len(), 1);
    assert!(!sandboxes[0].alive());
    let container = &sandboxes[0].containers().unwrap()[0];
    assert!(matches!(container.state().await.unwrap(), State::Exited(exit) if exit.code == 137));
    container.remove().await.unwrap();
    sandboxes[0].remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn a_container_killed_from_outside_is_seen_to_end() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let container = sandbox.run(bed.spec("c", "sleep 1000")).await.unwrap();
    let State::Running { pid, .. } = container.state().await.unwrap() else {
        panic!("it does not run")
    };
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let exit = within(container.wait()).await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom), (137, Some(9), false));
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn the_shim_is_small_and_idle() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let container = sandbox
        .run(bed.spec("c", "echo x; sleep 1000"))
        .await
        .unwrap();
    exec(&container, "true").await;
    let shim = processes(bed.options.root.to_str().unwrap())[0];
    let status = std::fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
    assert!(status.contains("Threads:\t1\n"), "{status}");
    let times = || {
        let stat = std::fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
        stat.lines()
            .find(|line| line.starts_with("voluntary_ctxt_switches"))
            .unwrap()
            .to_owned()
    };
    // The last connections may still be closing at first.
    let mut quiet = false;
    for _ in 0..20 {
        let before = times();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        quiet = times() == before;
        if quiet {
            break;
        }
    }
    assert!(quiet, "the shim wakes up without a reason");
    sandbox.remove().await.unwrap();
    bed.finish();
}
