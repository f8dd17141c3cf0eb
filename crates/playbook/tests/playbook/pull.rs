//! Playbooks run in a process of their own, as a node runs them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use consort_playbook::pull::{Error, Job, Outcome, Task, run};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// The program beside this test that is `consort play` alone.
fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_consort-play-pull").into()
}

fn task(directory: &Path, text: &str) -> Task {
    let source = directory.join("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("site.yml"), text).unwrap();
    Task {
        program: program(),
        job: Job {
            directory: source,
            environment: std::env::vars().collect(),
            playbooks: vec!["site.yml".into()],
            host: "machine".to_owned(),
            groups: vec!["web".to_owned()],
            variables: json!({"place": directory, "said": "{{ 'rende' ~ 'red' }}"})
                .as_object()
                .unwrap()
                .clone(),
            values: json!({"said": "hidden", "plain": "{{ as it is }}"})
                .as_object()
                .unwrap()
                .clone(),
            ..Job::default()
        },
        lock: directory.join("lock"),
        log: Some(directory.join("log")),
        limit: Duration::from_secs(60),
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn done(task: &Task) -> Outcome {
    block(run(task, &CancellationToken::new())).unwrap()
}

const SITE: &str = "
- hosts: web
  gather_facts: false
  tasks:
    - name: keep a file
      copy: {content: \"{{ said }}{{ plain }}\\n\", dest: \"{{ place }}/kept\", mode: '0600'}
    - name: is rescued
      block: [{fail: {msg: not for long}}]
      rescue: [{debug: {msg: fine}}]
";

#[test]
fn a_run_tells_what_it_changed_and_a_second_one_that_there_was_nothing_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let mut task = task(directory.path(), SITE);
    task.job.check = true;
    let looked = done(&task);
    assert_eq!((looked.status, looked.changed), (0, 1), "{looked:?}");
    assert!(!directory.path().join("kept").exists());
    task.job.check = false;
    let first = done(&task);
    assert_eq!((first.status, first.plays), (0, 1), "{first:?}");
    assert_eq!((first.counts.changed, first.counts.rescued), (1, 1));
    assert_eq!(first.faults, []);
    let deed = &first.changes[0];
    assert_eq!(
        (&*deed.task, &*deed.place, &*deed.module),
        ("keep a file", "site.yml:5", "copy")
    );
    assert!(deed.what.ends_with("/kept"), "{deed:?}");
    let kept = directory.path().join("kept");
    assert_eq!(
        std::fs::read_to_string(&kept).unwrap(),
        "rendered{{ as it is }}\n"
    );
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(log.contains("PLAY RECAP"), "{log}");
    assert_eq!(done(&task).changed, 0);
}

#[test]
fn what_fails_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let fault = |text: &str| {
        let outcome = done(&task(directory.path(), text));
        assert_ne!(outcome.status, 0, "{text}");
        outcome.faults[0].text()
    };
    let said = fault(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: breaks\n      fail: {msg: boom}\n",
    );
    assert_eq!(said, "site.yml:4: TASK [breaks]: boom");
    let said = fault("- hosts: all\n  tasks:\n    - nothing_like_this: {}\n");
    assert!(said.starts_with("site.yml:3:"), "{said}");
    let said = fault("- hosts: all\n  tasks: [}\n");
    assert!(said.contains("site.yml:2:"), "{said}");
}

#[test]
fn a_run_that_nobody_wants_any_more_ends_with_all_it_has_started() {
    let directory = tempfile::tempdir().unwrap();
    let text = "
- hosts: all
  gather_facts: false
  tasks:
    - shell: echo $$ > {{ place }}/pid; exec sleep 1000
";
    let task = task(directory.path(), text);
    let pid_file = directory.path().join("pid");
    let cancel = CancellationToken::new();
    let ended = block(async {
        let stop = async {
            let give_up = Instant::now() + Duration::from_secs(30);
            while std::fs::read_to_string(&pid_file)
                .unwrap_or_default()
                .trim()
                .is_empty()
            {
                assert!(Instant::now() < give_up, "the command did not start");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            cancel.cancel();
        };
        tokio::join!(run(&task, &cancel), stop).0
    });
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let give_up = Instant::now() + Duration::from_secs(10);
    while Path::new("/proc").join(pid.trim()).join("exe").exists() {
        assert!(Instant::now() < give_up, "the command goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn two_runs_never_work_at_once_and_none_takes_longer_than_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let text = "
- hosts: all
  gather_facts: false
  tasks:
    - shell: mkdir {{ place }}/busy && sleep 0.3 && rmdir {{ place }}/busy
";
    let one = task(directory.path(), text);
    let outcomes = block(async {
        let never = CancellationToken::new();
        tokio::join!(run(&one, &never), run(&one, &never))
    });
    assert_eq!(outcomes.0.unwrap().status, 0);
    assert_eq!(outcomes.1.unwrap().status, 0);
    let mut long = task(
        directory.path(),
        "- hosts: all\n  gather_facts: false\n  tasks: [{shell: sleep 1000}]\n",
    );
    long.limit = Duration::from_millis(300);
    let ended = block(run(&long, &CancellationToken::new()));
    assert!(matches!(ended, Err(Error::TimedOut(_))), "{ended:?}");
}
