//! Playbooks carried out on this machine.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Dict, Value};
use consort_playbook::connection::Pool;
use consort_playbook::executor::{Options, Parts, What, run};
use consort_playbook::inventory::{Inventory, ReadSettings};
use consort_playbook::language::{LoaderOptions, PlaybookLoader};
use consort_playbook::output::{Callback, Event};
use consort_playbook::settings::{Settings, Sources};
use consort_playbook::source::{Notices, Reader};
use consort_playbook::template::{Templar, TemplarOptions};
use consort_playbook::variables::Memory;
use parking_lot::Mutex;

/// Keeps a line for each thing that is told.
struct Kept(Arc<Mutex<Vec<String>>>);

impl Callback for Kept {
    fn event(&mut self, event: &Event<'_>) {
        let line = match event {
            Event::Task { name, kind, .. } => format!("{kind:?} {name}"),
            Event::Result(result) => {
                format!("{:?} {}", result.status, result.host)
            }
            Event::Stats(stats) => {
                for (host, counts) in &stats.hosts {
                    self.0.lock().push(format!(
                        "{host} ok={} changed={} failed={} skipped={} rescued={} ignored={}",
                        counts.ok,
                        counts.changed,
                        counts.failures,
                        counts.skipped,
                        counts.rescued,
                        counts.ignored
                    ));
                }
                return;
            }
            _ => return,
        };
        self.0.lock().push(line);
    }
}

/// Runs a playbook on hosts that are all this machine; gives the exit status and what was told.
fn play(directory: &Path, text: &str, hosts: &[&str], extra: Dict) -> (i32, Vec<String>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let status = play_telling(
        directory,
        text,
        hosts,
        extra,
        vec![Box::new(Kept(Arc::clone(&kept)))],
    );
    (status, std::mem::take(&mut *kept.lock()))
}

/// Runs a playbook on hosts that are all this machine, and tells callbacks of it; gives the exit status.
pub(crate) fn play_telling(
    directory: &Path,
    text: &str,
    hosts: &[&str],
    extra: Dict,
    callbacks: Vec<Box<dyn Callback>>,
) -> i32 {
    let file = directory.join("site.yml");
    std::fs::write(&file, text).unwrap();
    let inventory = directory.join("hosts");
    let lines: String = hosts
        .iter()
        .map(|host| format!("{host} ansible_connection=local\n"))
        .collect();
    std::fs::write(
        &inventory,
        format!("[web]\n{lines}\n[all:vars]\nsaid=inventory\n"),
    )
    .unwrap();
    let notices: Notices = Arc::new(|_| {});
    let settings = Arc::new(Settings::defaults().unwrap());
    let templar = Templar::new(&TemplarOptions::default());
    let reader = Reader::new();
    let parts = Parts {
        settings: Arc::clone(&settings),
        sources: Arc::new(Sources::default()),
        inventory: Inventory::read(
            &[inventory.to_string_lossy().into_owned()],
            Arc::new(ReadSettings::of(&settings)),
            &notices,
        )
        .unwrap(),
        extra: extra.clone(),
        option_variables: Dict::default(),
        cache: Box::new(Memory),
        templar: templar.clone(),
        connections: Arc::new(Pool::new()),
        loader: PlaybookLoader::new(LoaderOptions {
            reader,
            settings,
            sources: Sources::default(),
            templar,
            extra,
            magic: Dict::default(),
        }),
        callbacks,
        notices,
    };
    let options = Options {
        forks: 5,
        helps: true,
        tags: vec!["all".to_owned()],
        directory: directory.to_owned(),
        ..Options::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(run(
            What::Playbooks(vec![file.to_string_lossy().into_owned()]),
            options,
            parts,
        ))
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_block_that_fails_is_rescued_and_always_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (status, told) = play(
        directory.path(),
        r#"
- hosts: all
  gather_facts: false
  tasks:
    - block:
        - {name: breaks, fail: {msg: boom}}
        - {name: is not reached, debug: {msg: x}}
      rescue:
        - name: looks back
          assert: {that: ["ansible_failed_result.msg == 'boom'", "ansible_failed_task.name == 'breaks'"]}
      always:
        - {name: ends, debug: {msg: x}}
    - {name: goes on, debug: {msg: x}}
"#,
        &["a"],
        Dict::default(),
    );
    assert_eq!(status, 0);
    assert_eq!(
        told,
        [
            "Task breaks",
            "Failed a",
            "Task looks back",
            "Ok a",
            "Task ends",
            "Ok a",
            "Task goes on",
            "Ok a",
            "a ok=3 changed=0 failed=0 skipped=0 rescued=1 ignored=0",
        ]
    );
}

#[test]
fn the_nearest_of_all_that_say_a_variable_counts() {
    let directory = tempfile::tempdir().unwrap();
    let role = directory.path().join("roles/r");
    for (file, text) in [
        ("defaults", "said: defaults\nonly_default: yes\n"),
        ("vars", "from_role: vars\n"),
        (
            "tasks",
            "- assert: {that: [\"said == 'inventory'\", only_default, \"from_role == 'vars'\", \"role_name == 'r'\"]}\n",
        ),
    ] {
        std::fs::create_dir_all(role.join(file)).unwrap();
        std::fs::write(role.join(file).join("main.yml"), text).unwrap();
    }
    let (status, told) = play(
        directory.path(),
        r#"
- hosts: all
  gather_facts: false
  roles: [r]
- hosts: all
  gather_facts: false
  vars: {said: play, lazy: "{{ said }}", given: play}
  tasks:
    - assert: {that: "said == 'play' and lazy == 'play'"}
    - assert: {that: "said == 'task' and lazy == 'task'"}
      vars: {said: task}
    - set_fact: {said: fact}
    - assert: {that: "said == 'fact' and hostvars['a'].said == 'fact'"}
      vars: {said: task}
    - assert: {that: "said == 'item'"}
      loop: [item]
      loop_control: {loop_var: said}
    - assert: {that: "given == 'command line'"}
      vars: {given: task}
"#,
        &["a"],
        [("given", "command line")].into_iter().collect(),
    );
    assert_eq!(status, 0, "{told:#?}");
}

#[test]
fn handlers_run_once_for_those_that_notified_them() {
    let directory = tempfile::tempdir().unwrap();
    let (status, told) = play(
        directory.path(),
        r#"
- hosts: all
  gather_facts: false
  tasks:
    - {name: one, debug: {msg: x}, changed_when: true, notify: [restart, topic]}
    - {name: two, debug: {msg: x}, changed_when: "inventory_hostname == 'a'", notify: other}
    - {name: three, debug: {msg: x}, changed_when: true, notify: restart}
  handlers:
    - {name: other, debug: {msg: x}}
    - {name: restart, debug: {msg: x}}
    - {name: listens, debug: {msg: x}, listen: topic}
"#,
        &["a", "b"],
        Dict::default(),
    );
    assert_eq!(status, 0);
    let handlers: Vec<&str> = told
        .iter()
        .skip_while(|line| !line.starts_with("Handler"))
        .map(String::as_str)
        .take(8)
        .collect();
    assert_eq!(
        handlers,
        [
            "Handler other",
            "Ok a",
            "Handler restart",
            "Ok a",
            "Ok b",
            "Handler listens",
            "Ok a",
            "Ok b",
        ]
    );
}

#[test]
fn a_host_that_failed_takes_no_part_in_what_follows() {
    let directory = tempfile::tempdir().unwrap();
    let (status, told) = play(
        directory.path(),
        r#"
- hosts: all
  gather_facts: false
  tasks:
    - {name: one fails, fail: {}, when: "inventory_hostname == 'b'"}
    - name: two are left
      assert: {that: "ansible_play_hosts == ['a', 'c']"}
- hosts: all
  gather_facts: false
  serial: 1
  tasks:
    - {name: later, debug: {msg: x}}
"#,
        &["a", "b", "c"],
        Dict::default(),
    );
    assert_eq!(status, 2);
    assert_eq!(
        &told[told.len() - 3..],
        [
            "a ok=2 changed=0 failed=0 skipped=1 rescued=0 ignored=0",
            "b ok=0 changed=0 failed=1 skipped=0 rescued=0 ignored=0",
            "c ok=2 changed=0 failed=0 skipped=1 rescued=0 ignored=0",
        ]
    );
}

#[test]
fn a_task_is_tried_until_its_condition_holds_and_registers_each_item() {
    let directory = tempfile::tempdir().unwrap();
    let extra: Dict = [(
        "counter",
        Value::from(
            directory
                .path()
                .join("counter")
                .to_string_lossy()
                .into_owned(),
        ),
    )]
    .into_iter()
    .collect();
    let (status, told) = play(
        directory.path(),
        r#"
- hosts: all
  gather_facts: false
  tasks:
    - shell: "echo x >> {{ counter }}; wc -l < {{ counter }}"
      register: tried
      until: tried.stdout | int >= 3
      retries: 5
      delay: 0
    - assert: {that: "tried.attempts == 3"}
    - command: "test {{ item }} = 2"
      loop: [1, 2, 3]
      register: each
      failed_when: each.rc == 1 and item == 3
      ignore_errors: true
    - assert:
        that:
          - each is failed
          - each.results | map(attribute='rc') | list == [1, 0, 1]
          - each.results | map(attribute='failed') | list == [false, false, true]
    - debug: {msg: "{{ item }}"}
      loop: "{{ nowhere }}"
      when: false
"#,
        &["a"],
        extra,
    );
    assert_eq!(status, 0, "{told:#?}");
}

#[test]
fn a_task_sees_what_came_of_it_while_it_runs_and_projections_see_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let (status, told) = play(
        directory.path(),
        r"
- hosts: all
  gather_facts: false
  tasks:
    - name: compares an item with the one before
      debug:
      loop: [1, 2, 3]
      changed_when: _task.loop_result.results | length > 2 and _task.loop_result.results[-2].item == 2
      register:
        last_item: _task.result.item
        changes: flags
        flags: _task.loop_result.results | map(attribute='changed') | list
    - name: says what they found
      assert:
        that: [last_item == 3, 'changes == [false, false, true]']
",
        &["a"],
        Dict::default(),
    );
    assert_eq!(status, 0, "{told:?}");
}

#[test]
fn a_keyword_that_is_omitted_is_inherited() {
    let directory = tempfile::tempdir().unwrap();
    let (status, told) = play(
        directory.path(),
        r#"
- hosts: all
  gather_facts: false
  check_mode: true
  tasks:
    - name: inherits that nothing is done
      command: touch made
      args: {chdir: "{{ playbook_dir }}", creates: "{{ playbook_dir }}/made"}
      check_mode: "{{ omit }}"
      register: done
    - name: nothing was made
      stat: {path: "{{ playbook_dir }}/made"}
      register: made
    - assert: {that: [done is changed, not made.stat.exists]}
"#,
        &["a"],
        Dict::default(),
    );
    assert_eq!(status, 0, "{told:?}");
}

#[test]
fn a_task_is_named_as_far_as_its_name_can_be_rendered_and_meta_is_told_for_each_host() {
    let directory = tempfile::tempdir().unwrap();
    let (_, told) = play(
        directory.path(),
        r#"
- hosts: all
  gather_facts: false
  tasks:
    - meta: noop
    - {name: "say {{ nothing }} to {{ inventory_hostname }}", debug: }
"#,
        &["a", "b"],
        Dict::default(),
    );
    let names: Vec<&str> = told
        .iter()
        .filter_map(|line| line.strip_prefix("Task "))
        .collect();
    assert_eq!(
        names,
        [
            "meta",
            "meta",
            "say << error 1 - 'nothing' is undefined >> to a"
        ]
    );
}

#[test]
fn a_module_beside_the_playbook_stands_before_one_that_is_built_in() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("library")).unwrap();
    for name in ["ping", "file"] {
        std::fs::write(
            directory.path().join("library").join(name),
            "#!/bin/sh\necho '{\"changed\": false, \"ours\": true}'\n",
        )
        .unwrap();
    }
    let (status, told) = play(
        directory.path(),
        r"
- hosts: all
  gather_facts: false
  tasks:
    - ping:
      register: short
    - ansible.builtin.ping:
      register: full
    - assert: {that: [short.ours, full.ping == 'pong']}
",
        &["a"],
        Dict::default(),
    );
    assert_eq!(status, 0, "{told:?}");
}

#[test]
fn the_strategies_of_mitogen_are_those_they_are_named_after() {
    let directory = tempfile::tempdir().unwrap();
    let text = |strategy: &str| {
        format!(
            "- hosts: all\n  gather_facts: false\n  strategy: {strategy}\n  tasks:\n    - debug:\n    - debug:\n"
        )
    };
    let (status, told) = play(
        directory.path(),
        &text("mitogen_linear"),
        &["a", "b"],
        Dict::default(),
    );
    assert_eq!(status, 0);
    let results: Vec<&str> = told
        .iter()
        .filter_map(|line| line.strip_prefix("Ok "))
        .collect();
    assert_eq!(results.len(), 4);
    let mut first = results[..2].to_vec();
    first.sort_unstable();
    assert_eq!(
        first,
        ["a", "b"],
        "all hosts end a task before the next begins"
    );
    let (status, _) = play(
        directory.path(),
        &text("mitogen_host_pinned"),
        &["a", "b"],
        Dict::default(),
    );
    assert_eq!(status, 0);
}

#[test]
fn no_more_pinned_hosts_are_under_way_than_there_are_forks() {
    let directory = tempfile::tempdir().unwrap();
    let text = "- hosts: all\n  gather_facts: false\n  strategy: host_pinned\n  tasks:\n    - debug:\n    - command: /bin/true\n\
                \x20   - meta: noop\n    - debug:\n";
    let hosts = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let (status, told) = play(directory.path(), text, &hosts, Dict::default());
    assert_eq!(status, 0, "{told:?}");
    let mut results: HashMap<&str, usize> = HashMap::new();
    let mut most = 0;
    for host in told.iter().filter_map(|line| line.strip_prefix("Ok ")) {
        *results.entry(host).or_default() += 1;
        most = most.max(results.values().filter(|count| **count < 3).count());
    }
    assert!(results.values().all(|count| *count == 3), "{told:?}");
    assert!(most <= 5, "{told:?}");
}
