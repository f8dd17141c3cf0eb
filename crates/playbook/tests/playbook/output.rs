//! What is told of a run, beside what ansible-playbook 2.21.5 was recorded to print of the same playbook.

use std::io::Write;
use std::sync::Arc;

use consort_jinja::{Dict, Value};
use consort_playbook::output::default::{Default, Options};
use consort_playbook::output::difference::{lines, unified};
use consort_playbook::output::display::Display;
use parking_lot::Mutex;

use crate::executor::play_telling;

const PLAYBOOK: &str = include_str!("recorded/output.yml");
const RECORDED: &str = include_str!("recorded/output.txt");

/// Keeps what is written, whoever of its clones it is written to.
#[derive(Clone)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_run_is_told_byte_by_byte_as_ansible_tells_it() {
    let directory = tempfile::tempdir().unwrap();
    let screen = Kept(Arc::new(Mutex::new(Vec::new())));
    let display = Display::to(0, None, Box::new(screen.clone()), Box::new(screen.clone()));
    let extra: Dict = [(
        "ansible_python_interpreter",
        Value::from("/usr/bin/python3"),
    )]
    .into_iter()
    .collect();
    let status = play_telling(
        directory.path(),
        PLAYBOOK,
        &["a"],
        extra,
        vec![Box::new(Default::new(display, Options::default()))],
    );
    assert_eq!(status, 2);
    let told = String::from_utf8(screen.0.lock().clone()).unwrap();
    let told = told.replace(&*directory.path().to_string_lossy(), "DIR");
    assert_eq!(told, RECORDED);
    let written = std::fs::read_to_string(directory.path().join("written")).unwrap();
    assert_eq!(written, "one\n2\n");
}

#[test]
fn differences_are_those_difflib_finds() {
    let a = lines("a\nb\nc\nd\ne\nf\ng\nh\ni\n");
    let b = lines("a\nb\nX\nd\ne\nf\ng\nh\ni\nj");
    assert_eq!(
        unified(&a, &b, "before", "after", 1).concat(),
        "--- before\n+++ after\n@@ -2,3 +2,3 @@\n b\n-c\n+X\n d\n@@ -9 +9,2 @@\n i\n+j"
    );
    assert!(unified(&a, &a, "before", "after", 3).is_empty());
}

#[test]
fn what_is_not_to_be_logged_is_told_to_nobody_whatever_comes_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let screen = Kept(Arc::new(Mutex::new(Vec::new())));
    let display = Display::to(3, None, Box::new(screen.clone()), Box::new(screen.clone()));
    play_telling(
        directory.path(),
        r#"
- hosts: all
  gather_facts: false
  vars: {secret: hunter2}
  tasks:
    - {command: "echo {{ secret }}", no_log: true}
    - {command: "sh -c 'echo {{ secret }}; exit 3'", no_log: "{{ true }}", ignore_errors: true}
    - {command: "echo {{ item }}", loop: ["{{ secret }}", other], no_log: true, register: kept}
    - {debug: {msg: "{{ kept.results[0].stdout | length }} letters"}}
"#,
        &["a"],
        Dict::default(),
        vec![Box::new(Default::new(display, Options::default()))],
    );
    let told = String::from_utf8(screen.0.lock().clone()).unwrap();
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains("7 letters"), "{told}");
    assert_eq!(
        told.matches("the output has been hidden").count(),
        4,
        "{told}"
    );
}
