//! Playbooks as parts of a score: plans, what is known only later, what is remembered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use consort_plan::{
    Action, Call, Change, Intent, Lines, Order, Part, PartPlan, Planned, Problem, Progress, Request,
};
use consort_playbook::part::{Environment, HostRecord, Memory, Playbooks};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

type Inputs = BTreeMap<String, Planned>;

/// Remembers for as long as a test.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, HostRecord>>);

impl Memory for Kept {
    fn recall<'a>(&'a self, _: &'a str) -> Call<'a, Result<Vec<HostRecord>, String>> {
        Box::pin(std::future::ready(Ok(self
            .0
            .lock()
            .values()
            .cloned()
            .collect())))
    }

    fn keep<'a>(&'a self, _: &'a str, record: &'a HostRecord) -> Call<'a, Result<(), String>> {
        self.0.lock().insert(record.host.clone(), record.clone());
        Box::pin(std::future::ready(Ok(())))
    }

    fn forget<'a>(&'a self, _: &'a str, host: &'a str) -> Call<'a, Result<(), String>> {
        self.0.lock().remove(host);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Hears nothing, and gives inputs as they are.
struct Silent(Inputs);

impl Progress for Silent {
    fn began(&self, _: u32) {}
    fn note(&self, _: u32, _: &str) {}
    fn done(&self, _: u32) {}
    fn failed(&self, _: u32, _: Problem) {}
    fn input(&self, name: &str) -> Result<Planned, Box<Problem>> {
        self.0.get(name).cloned().ok_or_else(Box::default)
    }
}

struct Score {
    directory: tempfile::TempDir,
    memory: Arc<Kept>,
}

impl Score {
    fn new(playbook: &str) -> Self {
        let score = Score {
            directory: tempfile::tempdir().unwrap(),
            memory: Arc::default(),
        };
        score.write(playbook);
        score
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, playbook: &str) {
        let text = playbook.replace("OUT", &self.path().join("out").to_string_lossy());
        std::fs::write(self.path().join("site.yml"), text).unwrap();
    }

    fn part(&self, more: &Value) -> Playbooks {
        let mut stanza = json!({
            "path": "site.yml",
            "hosts": {"web": [{"name": "here", "connection": "local"}]},
        });
        for (name, value) in more.as_object().unwrap() {
            stanza[name] = value.clone();
        }
        let environment = Environment {
            variables: std::env::vars().collect(),
            memory: Some(self.memory.clone()),
        };
        let spec = serde_json::from_value(stanza).unwrap();
        Playbooks::open("web", spec, Lines::default(), self.path(), environment).unwrap()
    }

    async fn plan(&self, more: &Value, inputs: &Inputs) -> Result<PartPlan, Vec<Problem>> {
        self.plan_of(more, inputs, false).await
    }

    async fn plan_of(
        &self,
        more: &Value,
        inputs: &Inputs,
        healing: bool,
    ) -> Result<PartPlan, Vec<Problem>> {
        let cancel = CancellationToken::new();
        self.part(more)
            .plan(Request {
                intent: Intent::Apply,
                inputs,
                documented: false,
                healing,
                cancel: &cancel,
            })
            .await
    }

    /// Plans and carries out; what was planned.
    async fn apply(&self, more: &Value, inputs: &Inputs) -> PartPlan {
        let (plan, problems) = self.attempt(more, inputs).await;
        assert_eq!(problems, []);
        plan
    }

    /// The same, with what went wrong.
    async fn attempt(&self, more: &Value, inputs: &Inputs) -> (PartPlan, Vec<Problem>) {
        let plan = self.plan(more, inputs).await.unwrap();
        let part = self.part(more);
        let cancel = CancellationToken::new();
        let done = vec![false; plan.changes.len()];
        let carrier = part
            .carrier(Order {
                intent: Intent::Apply,
                payload: &plan.payload,
                changes: &plan.changes,
                inputs,
                done: &done,
                scratch: self.path().join("scratch"),
                cancel: &cancel,
            })
            .await
            .unwrap();
        let progress = Silent(inputs.clone());
        let mut problems = Vec::new();
        for (id, _) in carrier.steps().iter() {
            if let Err(wrong) = carrier.step(id, &progress).await {
                problems.extend(wrong);
            }
        }
        carrier.finish().await.unwrap();
        (plan, problems)
    }
}

fn actions(plan: &PartPlan) -> Vec<(&str, Action)> {
    plan.changes
        .iter()
        .map(|change: &Change| (change.address.local(), change.action))
        .collect()
}

const PAGES: &str = r#"
- hosts: web
  gather_facts: false
  tasks:
    - name: Directory
      file: {path: OUT, state: directory}
    - name: Page
      copy: {content: "one\n", dest: OUT/page}
      notify: reload
    - name: Lines
      lineinfile: {path: OUT/lines, line: "{{ item }}", create: true}
      loop: [a, b]
    - set_stats: {data: {fixed: 1, where: "{{ inventory_hostname }}"}}
  handlers:
    - name: reload
      copy: {content: "again\n", dest: OUT/reloaded}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_what_each_task_changes_and_a_second_one_changes_nothing() {
    let score = Score::new(PAGES);
    let none = Inputs::new();
    let plan = score.plan(&json!({}), &none).await.unwrap();
    assert_eq!(
        actions(&plan),
        [
            ("here[\"Directory\"]", Action::Create),
            ("here[\"Page\"]", Action::Create),
            ("here[\"Lines\"]", Action::Update),
            ("here[\"reload\"]", Action::Create),
        ]
    );
    let page = plan.changes[1].after.as_ref().unwrap();
    assert_eq!(page.value["content"], json!("one\n"));
    assert_eq!(plan.changes[1].location.as_ref().unwrap().file, "site.yml");
    assert_eq!(plan.outputs["fixed"].value, Planned::known(json!(1)));
    assert!(!plan.outputs["where"].value.is_wholly_known());
    assert!(!score.path().join("out").exists(), "a plan changes nothing");

    score.apply(&json!({}), &none).await;
    let text = std::fs::read_to_string(score.path().join("out/lines")).unwrap();
    assert_eq!(text, "a\nb\n");
    let again = score.plan(&json!({}), &none).await.unwrap();
    assert!(
        again
            .changes
            .iter()
            .all(|change| change.action == Action::NoOp)
    );
    assert_eq!(again.outputs["where"].value, Planned::known(json!("here")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_is_drift_and_what_left_the_files_is_undone_when_asked() {
    let score = Score::new(PAGES);
    let none = Inputs::new();
    score.apply(&json!({}), &none).await;
    std::fs::write(score.path().join("out/page"), "two\n").unwrap();
    let plan = score.plan(&json!({}), &none).await.unwrap();
    let page = &plan.changes[1];
    assert_eq!(page.action, Action::Update);
    assert_eq!(page.drift[0].at, "/content");
    assert_eq!(page.drift[0].found.value, json!("two\n"));

    // Another content in the files is a change, and no drift.
    score.write(&PAGES.replace("one", "three"));
    let plan = score.plan(&json!({}), &none).await.unwrap();
    assert!(plan.changes[1].drift.is_empty());

    score.write(&PAGES.replace("[a, b]", "[a]"));
    let plan = score.apply(&json!({}), &none).await;
    let told: Vec<&str> = plan.warnings.iter().map(|one| &*one.summary).collect();
    assert!(told[0].contains("no longer declared"), "{told:?}");
    let lines = || std::fs::read_to_string(score.path().join("out/lines")).unwrap();
    assert_eq!(lines(), "a\nb\n");
    let plan = score.apply(&json!({"prune": true}), &none).await;
    let undone: Vec<_> = actions(&plan)
        .into_iter()
        .filter(|(_, action)| *action == Action::Delete)
        .collect();
    assert_eq!(undone, [("here[\"Lines\"][\"b\"]", Action::Delete)]);
    assert_eq!(lines(), "a\n");

    // A directory in the place of a file is the same thing: nothing of it is undone.
    std::fs::remove_file(score.path().join("out/page")).unwrap();
    score.write(&PAGES.replace("[a, b]", "[a]").replace(
        "copy: {content: \"one\\n\", dest: OUT/page}",
        "file: {path: OUT/page, state: directory}",
    ));
    score.apply(&json!({"prune": true}), &none).await;
    let plan = score.apply(&json!({"prune": true}), &none).await;
    assert!(
        actions(&plan)
            .iter()
            .all(|(_, action)| *action == Action::NoOp)
    );
    assert!(score.path().join("out/page").is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_know_yet_is_said_to_be_so_and_known_when_it_is_carried_out() {
    let score = Score::new(
        r#"
- hosts: web
  gather_facts: false
  tasks:
    - name: Directory
      file: {path: OUT, state: directory}
    - name: Greeting
      copy: {content: "{{ greeting }}", dest: OUT/greeting}
    - name: Default
      copy: {content: "{{ greeting | default('none') }}", dest: OUT/default}
"#,
    );
    let more = json!({
        "hosts": {"web": {"from": "infra.machines"}},
        "variables": {"greeting": {"from": "infra.greeting"}},
    });
    let mut inputs = Inputs::from([
        (
            "infra.machines".to_owned(),
            Planned::known(json!({"here": {"connection": "local"}})),
        ),
        (
            "infra.greeting".to_owned(),
            Planned::unknown("string", None),
        ),
    ]);
    let plan = score.plan(&more, &inputs).await.unwrap();
    assert_eq!(
        actions(&plan),
        [
            ("here[\"Directory\"]", Action::Create),
            ("here[\"Greeting\"]", Action::Update),
            ("here[\"Default\"]", Action::Update),
        ]
    );
    assert!(plan.changes[2].reasons[0].contains("'greeting' is known only after the apply"));

    inputs.insert(
        "infra.machines".to_owned(),
        Planned::unknown("dynamic", None),
    );
    let plan = score.plan(&more, &inputs).await.unwrap();
    assert_eq!(actions(&plan), [("{web}[\"web\"]", Action::Create)]);
    assert_eq!(plan.takes, [(0, "infra.machines".to_owned())]);

    inputs.insert(
        "infra.machines".to_owned(),
        Planned::known(json!({"here": {"connection": "local"}})),
    );
    inputs.insert("infra.greeting".to_owned(), Planned::known(json!("hello")));
    score.apply(&more, &inputs).await;
    let text = std::fs::read_to_string(score.path().join("out/default")).unwrap();
    assert_eq!(text, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_would_fail_fails_the_plan_at_its_place() {
    let score = Score::new(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - name: Refuse\n      assert: {that: 1 == 2, fail_msg: not equal}\n",
    );
    let problems = score.plan(&json!({}), &Inputs::new()).await.unwrap_err();
    assert_eq!(problems[0].summary, "Refuse on here: not equal");
    let location = problems[0].location.as_ref().unwrap();
    assert_eq!((location.file.as_str(), location.line), ("site.yml", 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nothing_sets_fails_the_plan_although_something_changes_before_it() {
    let score = Score::new(
        r#"
- hosts: web
  gather_facts: false
  tasks:
    - file: {path: OUT, state: directory}
    - command: echo later
      register: said
    - name: Known later
      copy: {content: "{{ said.stdout }}", dest: OUT/later}
    - name: Misspelt
      copy: {content: "{{ greting }}", dest: OUT/page}
"#,
    );
    let problems = score.plan(&json!({}), &Inputs::new()).await.unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].summary.starts_with("Misspelt on here: "));
    assert!(problems[0].summary.ends_with("'greting' is undefined"));
    assert_eq!(problems[0].location.as_ref().unwrap().line, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_wait_for_what_really_changes_and_for_runs_that_did_not_come_to_them() {
    let score = Score::new(
        r#"
- hosts: web
  gather_facts: false
  tasks:
    - file: {path: OUT, state: directory}
    - command: echo one
      register: said
      changed_when: false
    - name: Page
      copy: {content: "{{ said.stdout }}", dest: OUT/page}
      notify: reload
    - command: test -e OUT/gate
      changed_when: false
  handlers:
    - name: reload
      command: touch OUT/reloaded
"#,
    );
    let none = Inputs::new();
    let (plan, problems) = score.attempt(&json!({}), &none).await;
    assert!(actions(&plan).contains(&("here[\"reload\"]", Action::Update)));
    assert_eq!(problems.len(), 1, "{problems:?}");
    let out = score.path().join("out");
    assert!(out.join("page").exists() && !out.join("reloaded").exists());

    // The page is as it should be, but nobody has read it again yet.
    std::fs::write(out.join("gate"), "").unwrap();
    let plan = score.apply(&json!({}), &none).await;
    let reload = &plan.changes[4];
    assert_eq!(reload.address.local(), "here[\"reload\"]");
    assert_eq!(
        reload.reasons[0],
        "notified by a run that ended before it came to that"
    );
    assert!(out.join("reloaded").exists());

    let plan = score.plan(&json!({}), &none).await.unwrap();
    let quiet = |action: Action| matches!(action, Action::NoOp | Action::Read);
    assert!(
        actions(&plan).iter().all(|(_, action)| quiet(*action)),
        "{:?}",
        actions(&plan)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn healing_puts_back_what_drifted_and_does_nothing_for_commands_alone() {
    let score = Score::new(
        r"
- hosts: web
  gather_facts: false
  tasks:
    - file: {path: OUT, state: directory}
    - name: Page
      copy: {content: one, dest: OUT/page}
    - name: Count
      shell: echo again >> OUT/count
",
    );
    let none = Inputs::new();
    score.apply(&json!({}), &none).await;
    let changing = |plan: &PartPlan| -> Vec<String> {
        plan.changes
            .iter()
            .filter(|change| change.action.changes())
            .map(|change| change.address.local().to_owned())
            .collect()
    };
    let plan = score.plan(&json!({}), &none).await.unwrap();
    assert_eq!(changing(&plan), ["here[\"Count\"]"]);
    let plan = score.plan_of(&json!({}), &none, true).await.unwrap();
    assert!(changing(&plan).is_empty());
    std::fs::write(score.path().join("out/page"), "two").unwrap();
    let plan = score.plan_of(&json!({}), &none, true).await.unwrap();
    assert_eq!(changing(&plan), ["here[\"Page\"]", "here[\"Count\"]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_answer_is_said_to_be_unknown_and_stops_no_other() {
    let score = Score::new(
        r#"
- hosts: web
  tasks:
    - file: {path: OUT, state: directory}
    - name: Page
      copy: {content: "{{ ansible_facts.kernel }}", dest: "OUT/{{ inventory_hostname }}"}
"#,
    );
    let hosts = json!({"hosts": {"web": [
        {"name": "here", "connection": "local"},
        {"name": "away", "connection": "ssh", "address": "127.0.0.1", "port": 1},
    ]}});
    let none = Inputs::new();
    let plan = score.plan(&hosts, &none).await.unwrap();
    let warning = &plan.warnings[0].summary;
    assert!(warning.starts_with("away cannot be reached"), "{warning}");
    let page = plan
        .changes
        .iter()
        .find(|change| change.address.local() == "away[\"Page\"]")
        .unwrap();
    assert_eq!(
        page.reasons,
        ["'ansible_facts' is known only after the apply"]
    );
    let mut more = hosts.clone();
    more["wait"] = json!("1s");
    let (_, problems) = score.attempt(&more, &none).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].transient && problems[0].summary.contains("on away: "));
    assert!(score.path().join("out/here").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_hosts_of_a_group_that_is_not_known_yet_is_known_after_the_apply() {
    let score = Score::new(
        r#"
- hosts: db
  gather_facts: false
  tasks:
    - name: Upstreams
      copy: {content: "{{ groups.web | join(',') }}", dest: OUT}
    - name: Own
      copy: {content: "{{ groups.db | join(',') }}", dest: OUT-own}
"#,
    );
    let more = json!({"hosts": {
        "web": {"from": "infra.machines"},
        "db": [{"name": "here", "connection": "local"}],
    }});
    let machines = "infra.machines".to_owned();
    let mut inputs = Inputs::from([(machines.clone(), Planned::unknown("dynamic", None))]);
    let plan = score.plan(&more, &inputs).await.unwrap();
    assert_eq!(
        actions(&plan),
        [
            ("here[\"Upstreams\"]", Action::Update),
            ("here[\"Own\"]", Action::Create)
        ]
    );
    let reasons = &plan.changes[0].reasons;
    assert_eq!(reasons, &["'groups.web' is known only after the apply"]);
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    inputs.insert(machines, Planned::known(json!(["10.0.0.1", "10.0.0.2"])));
    score.apply(&more, &inputs).await;
    let text = std::fs::read_to_string(score.path().join("out")).unwrap();
    assert_eq!(text, "10.0.0.1,10.0.0.2");
}
