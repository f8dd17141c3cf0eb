//! Playbooks as they are understood.

use std::path::Path;
use std::sync::{Arc, Mutex};

use consort_jinja::{Dict, Value, repr};
use consort_playbook::language::{
    Directive, Item, LoaderOptions, Playbook, PlaybookLoader, Task, split_pairs, split_words,
};
use consort_playbook::paths::Surroundings;
use consort_playbook::settings::{Settings, Sources};
use consort_playbook::source::{Content, Located, Node, Notice, Reader};
use consort_playbook::template::{Templar, TemplarOptions};

fn parse(text: &str) -> Result<Node, Located> {
    Reader::new()
        .parse(text, "/nowhere.yml", true)
        .map(|node| node.expect("a document"))
}

fn error(text: &str) -> String {
    parse(text).expect_err("an error").brief()
}

fn shown(node: &Node) -> String {
    repr::repr(&node.value())
}

#[test]
fn scalars_have_the_types_of_yaml_1_1_and_their_places() {
    let node =
        parse("a: yes\nb: 0o7\nc: 010\nd: 1:30\ne: 1e3\nf: 1.0e+3\ng: ~\nh: '1'\ni: 2020-01-02\n")
            .expect("yaml");
    assert_eq!(
        shown(&node),
        "{'a': True, 'b': '0o7', 'c': 8, 'd': 90, 'e': '1e3', 'f': 1000.0, 'g': None, 'h': '1', 'i': datetime.date(2020, 1, 2)}"
    );
    let h = node.get("h").expect("h").origin();
    assert_eq!((h.line, h.column), (8, 4));
}

#[test]
fn what_is_merged_counts_less_than_what_stands_there_and_twice_is_warned_of() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let reader = Reader::new().telling(Arc::new(move |notice| {
        if let Notice::Warning(warning) = notice {
            sink.lock().expect("lock").push(warning.brief());
        }
    }));
    let node = reader
        .parse("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n", "/n.yml", true)
        .expect("yaml")
        .expect("a document");
    assert_eq!(
        shown(&node),
        "{'x': {'a': 1, 'b': 2}, 'y': {'a': 1, 'b': 3}}"
    );
    assert_eq!(
        *told.lock().expect("lock"),
        ["Found duplicate mapping key 'b'."]
    );
}

#[test]
fn texts_are_templates_but_for_those_that_are_unsafe() {
    let node = parse("a: '{{ x }}'\nb: !unsafe '{{ x }}'\nc: !unsafe [x, {y: z}]\n").expect("yaml");
    assert!(node.get("a").expect("a").value().may_hold_templates());
    assert!(!node.get("b").expect("b").value().may_hold_templates());
    assert!(!node.get("c").expect("c").value().may_hold_templates());
}

#[test]
fn errors_of_yaml_name_the_usual_mistake_behind_them() {
    assert_eq!(
        error("a: b: c\n"),
        "YAML parsing failed: Colons in unquoted values must be followed by a non-space character."
    );
    assert_eq!(
        error("a: {{ b }}\n"),
        "YAML parsing failed: This may be an issue with missing quotes around a template block."
    );
    assert_eq!(
        error("a: \"b\" c\n"),
        "YAML parsing failed: Values starting with a quote must end with the same quote."
    );
    assert_eq!(
        error("a:\n  - b\n c\n"),
        "YAML parsing failed: While parsing a block mapping did not find expected key."
    );
    assert_eq!(
        error("a: *b\n"),
        "YAML parsing failed: Found undefined alias."
    );
    let place = parse("a:\n\t- b\n").expect_err("an error");
    let place = place.origin().expect("a place");
    assert_eq!((place.line, place.column), (2, 1));
}

#[test]
fn depth_and_circles_are_errors_and_no_end() {
    assert!(error(&"[".repeat(5000)).contains("nested too deeply"));
    assert!(error(&"- ".repeat(5000)).contains("nested too deeply"));
    assert!(error("&a [*a]").contains("recursive"));
    // Each level stands for the one before it nine times.
    let mut text = String::from("a0: &a0 x\n");
    for level in 1..40 {
        let one = format!("*a{}, ", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", one.repeat(9)));
    }
    let node = parse(&text).expect("yaml");
    assert!(matches!(node.value(), Value::Dict(_)));
    assert!(matches!(node.content(), Content::Mapping(entries) if entries.len() == 40));
}

#[test]
fn words_are_split_where_neither_quotes_nor_templates_are_open() {
    let words = split_words("a=b c=\"d e\" {{ f g }} h").expect("words");
    assert_eq!(words, ["a=b", "c=\"d e\"", "{{ f g }}", "h"]);
    let pairs =
        split_pairs(&consort_jinja::Str::new("echo hi chdir=/tmp a=b"), true).expect("pairs");
    assert_eq!(
        repr::repr(&Value::Dict(pairs)),
        "{'chdir': '/tmp', '_raw_params': 'echo hi a=b'}"
    );
    assert!(split_words("a 'b").is_err());
}

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            std::fs::write(path, text).expect("a file");
        }
        Files(directory)
    }

    fn load(&self, extra: &[(&str, &str)]) -> Result<Playbook, Located> {
        let surroundings = Surroundings {
            directory: self.0.path().to_string_lossy().into_owned(),
            ..Surroundings::default()
        };
        let sources = Sources::find(surroundings, &mut Vec::new()).expect("sources");
        let loader = PlaybookLoader::new(LoaderOptions {
            reader: Reader::new(),
            settings: Arc::new(Settings::load(&sources).expect("settings")),
            sources,
            templar: Templar::new(&TemplarOptions::default()),
            extra: extra
                .iter()
                .map(|(name, value)| (*name, *value))
                .collect::<Dict>(),
            magic: Dict::default(),
        });
        loader.playbook(&self.0.path().join("play.yml"))
    }
}

fn tasks(items: &[Item]) -> Vec<Arc<Task>> {
    let mut all = Vec::new();
    for item in items {
        match item {
            Item::Task(task) => all.push(Arc::clone(task)),
            Item::Block(block) => {
                for part in [&block.tasks, &block.rescue, &block.always] {
                    all.extend(tasks(part));
                }
            }
        }
    }
    all
}

fn describe(task: &Task) -> String {
    let show = |directive| {
        task.directive(directive)
            .map_or_else(String::new, |value| repr::repr(&value))
    };
    format!(
        "{} {} tags{} when{}",
        task.action.name,
        repr::repr(&Value::Dict(task.action.arguments.clone())),
        show(Directive::Tags),
        show(Directive::When)
    )
}

#[test]
fn directives_are_handed_down_through_plays_blocks_imports_and_roles() {
    let files = Files::new(&[
        (
            "play.yml",
            "- hosts: all\n  tags: p\n  roles:\n    - {role: r, tags: x, when: w}\n  tasks:\n    - block:\n        - import_tasks: '{{ f }}'\n          when: c\n          tags: [t]\n      when: b\n      tags: k\n",
        ),
        ("more.yml", "- ping:\n  when: d\n"),
        (
            "roles/r/tasks/main.yml",
            "- command: echo hi\n  args: {chdir: /}\n",
        ),
        ("roles/r/meta/main.yml", "dependencies: [d]\n"),
        ("roles/d/tasks/main.yml", "- debug: msg=d\n"),
    ]);
    let playbook = files.load(&[("f", "more.yml")]).expect("a playbook");
    let described: Vec<String> = tasks(&playbook.plays[0].compile(false))
        .iter()
        .filter(|task| !task.implicit)
        .map(|task| describe(task))
        .collect();
    assert_eq!(
        described,
        [
            "ansible.builtin.debug {'msg': 'd'} tags['x', 'p'] when['w']",
            "ansible.builtin.command {'chdir': '/', '_raw_params': 'echo hi'} tags['x', 'p'] when['w']",
            "ansible.builtin.ping {} tags['t', 'k', 'p'] when['b', 'c', 'd']",
        ]
    );
}

#[test]
fn handlers_of_roles_come_first_and_are_known_by_their_role_too() {
    let files = Files::new(&[
        (
            "play.yml",
            "- hosts: all\n  roles: [r]\n  handlers:\n    - name: own\n      ping:\n      listen: topic\n",
        ),
        (
            "roles/r/handlers/main.yml",
            "- name: of role\n  ping:\n  listen: topic\n",
        ),
    ]);
    let playbook = files.load(&[]).expect("a playbook");
    let listen: Vec<String> = tasks(&playbook.plays[0].handlers)
        .iter()
        .map(|task| repr::repr(&task.directive(Directive::Listen).expect("listen")))
        .collect();
    assert_eq!(listen, ["['topic', 'r : topic', 'r : topic']", "['topic']"]);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let of = |text: &str| {
        let files = Files::new(&[("play.yml", text)]);
        let error = files.load(&[]).expect_err("an error");
        let place = error.origin().map(|o| (o.line, o.column));
        (error.brief(), place, error.exit())
    };
    assert_eq!(
        of("- hosts: all\n  tasks:\n    - debug:\n      foo: 1\n"),
        (
            "conflicting action statements: debug, foo".to_owned(),
            Some((3, 7)),
            4
        )
    );
    assert_eq!(
        of("- hosts: all\n  tasks:\n    - nosuch:\n"),
        (
            "couldn't resolve module/action 'nosuch'. This often indicates a misspelling, missing collection, or incorrect module path.".to_owned(),
            Some((3, 7)),
            4
        )
    );
    assert_eq!(
        of("- hosts: all\n  bogus: 1\n"),
        (
            "'bogus' is not a valid attribute for a Play".to_owned(),
            Some((2, 3)),
            4
        )
    );
    assert_eq!(
        of("- hosts: all\n  tasks:\n    - import_tasks: '{{ f }}'\n").0,
        "Error when evaluating variable in import path '{{ f }}': 'f' is undefined"
    );
    let files = Files::new(&[
        ("play.yml", "- hosts: all\n  roles: [a]\n"),
        ("roles/a/meta/main.yml", "dependencies: [b]\n"),
        ("roles/b/meta/main.yml", "dependencies: [a]\n"),
    ]);
    assert!(
        files
            .load(&[])
            .expect_err("an error")
            .brief()
            .starts_with("A recursion loop was detected with the roles specified.")
    );
}

#[test]
fn settings_come_from_the_environment_before_the_file_before_the_default() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(
        directory.path().join("ansible.cfg"),
        "[defaults]\nforks = 7 ; more\nroles_path = r:/s\ntimeout = 20\n",
    )
    .expect("a file");
    let base = directory.path().to_string_lossy().into_owned();
    let surroundings = |variables: &[(&str, &str)]| Surroundings {
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        directory: base.clone(),
    };
    let load = |variables: &[(&str, &str)]| {
        let sources = Sources::find(surroundings(variables), &mut Vec::new()).expect("sources");
        Settings::load(&sources)
    };
    let settings = load(&[("ANSIBLE_TIMEOUT", "30"), ("HOME", "/h")]).expect("settings");
    assert_eq!((settings.forks, settings.timeout), (7, 30));
    assert_eq!(settings.roles_path, [format!("{base}/r"), "/s".to_owned()]);
    assert_eq!(settings.gathering, "implicit");
    assert!(
        settings
            .module_path
            .contains(&"/h/.ansible/plugins/modules".to_owned())
    );
    let error = load(&[("ANSIBLE_FORKS", "many")]).expect_err("an error");
    assert_eq!(
        error.brief(),
        "Config 'DEFAULT_FORKS' from 'env: ANSIBLE_FORKS' has an invalid value: Invalid value provided for 'integer': 'many'"
    );
    let error = load(&[("ANSIBLE_GATHERING", "never")]).expect_err("an error");
    assert_eq!(
        error.brief(),
        "Invalid value 'never' for config 'DEFAULT_GATHERING'."
    );
    assert!(Path::new(&base).exists());
}
