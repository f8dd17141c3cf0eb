//! Inventories: sources read, patterns matched, variables found.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use consort_jinja::{Dict, Value};
use consort_playbook::inventory::{Inventory, Limits, ReadSettings};
use consort_playbook::source::{Located, Notice, Notices};

fn unheard() -> Notices {
    Arc::new(|_| {})
}

fn read(sources: &[&Path]) -> Result<Inventory, Located> {
    let sources: Vec<String> = sources
        .iter()
        .map(|source| source.to_string_lossy().into_owned())
        .collect();
    Inventory::read(&sources, Arc::new(ReadSettings::default()), &unheard())
}

fn ini(text: &str) -> (tempfile::TempDir, Inventory) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hosts");
    fs::write(&path, text).unwrap();
    let inventory = read(&[&path]).unwrap();
    (directory, inventory)
}

fn matching(inventory: &Inventory, pattern: &str) -> String {
    inventory
        .matching(pattern, Limits::Respected, &unheard())
        .unwrap()
        .join(" ")
}

/// The value of a name, the last layer that has it.
fn variable(inventory: &Inventory, host: &str, playbook: &[&Path], name: &str) -> String {
    inventory
        .layers(host, playbook, &unheard())
        .unwrap()
        .iter()
        .rev()
        .find_map(|layer| layer.get(name))
        .map_or_else(String::new, |value| consort_jinja::repr::repr(&value))
}

#[test]
fn ini_has_ranges_ports_literals_and_groups_in_groups() {
    let (_directory, inventory) = ini("\
lone
[web]
web[01:03].x:2222 kind='a b' n=5 list=\"[1, 'x', {'k': None}]\" # comment
[db]
db-[a:c]
[site:children]
web
db
[site:vars]
n=1
text=07
flag=True # yes
[db:vars]
ansible_group_priority=10
");
    assert_eq!(
        matching(&inventory, "all"),
        "lone web01.x web02.x web03.x db-a db-b db-c"
    );
    assert_eq!(matching(&inventory, "ungrouped"), "lone");
    let get = |host: &str, name: &str| variable(&inventory, host, &[], name);
    assert_eq!(get("web02.x", "ansible_port"), "2222");
    assert_eq!(get("web02.x", "kind"), "'a b'");
    assert_eq!(get("web02.x", "n"), "5");
    assert_eq!(get("web02.x", "list"), "[1, 'x', {'k': None}]");
    assert_eq!(get("db-a", "n"), "1");
    assert_eq!(get("db-a", "text"), "'07'");
    assert_eq!(get("db-a", "flag"), "True");
    assert_eq!(inventory.groups["db"].priority, 10);
    assert_eq!(inventory.groups["db"].depth, 2);
    let host = inventory.host("db-a").unwrap();
    assert_eq!(inventory.group_names(host).join(" "), "db site");
}

#[test]
fn patterns_select_intersect_exclude_and_take_subscripts() {
    let (_directory, mut inventory) = ini("\
[web]
web[1:4]
[fra]
web2
web3
db1
[db]
db1
");
    for (pattern, hosts) in [
        ("web:db", "web1 web2 web3 web4 db1"),
        ("web,&fra", "web2 web3"),
        ("web:!fra", "web1 web4"),
        ("!web", "db1"),
        ("web[0]", "web1"),
        ("web[-1]", "web4"),
        ("web[1:2]", "web2 web3"),
        ("web[2:]", "web3 web4"),
        ("~web[13]$", "web1 web3"),
        ("*1", "web1 db1"),
        ("web[!1]", "web2 web3 web4"),
        ("localhost", "localhost"),
        ("nobody", ""),
    ] {
        assert_eq!(matching(&inventory, pattern), hosts, "{pattern}");
    }
    inventory.limit_to(Some("fra:!web3")).unwrap();
    assert_eq!(matching(&inventory, "all"), "web2 db1");
    assert!(inventory.limit_to(Some("@/nowhere/to/be/found")).is_err());
}

#[test]
fn variables_of_files_come_in_the_order_of_precedence() {
    let directory = tempfile::tempdir().unwrap();
    let at = |path: &str, text: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    at(
        "inv/hosts.yml",
        "all: {vars: {v: inv-all}, children: {web: {vars: {v: inv-web}, hosts: {h1: {}, h2: {v: inv-h2}}}}}",
    );
    at("inv/group_vars/all.yml", "v: file-all\na: 1");
    at("inv/group_vars/web/one.yml", "w: one\nx: 1");
    at("inv/group_vars/web/two", "w: two");
    at("inv/group_vars/web/.hidden.yml", "w: hidden");
    at("play/group_vars/web.yml", "x: play");
    at("play/host_vars/h2.json", "{\"v\": \"play-h2\"}");
    let inventory = read(&[&directory.path().join("inv")]).unwrap();
    let play = directory.path().join("play");
    let get = |host: &str, name: &str| variable(&inventory, host, &[&play], name);
    assert_eq!(get("h1", "v"), "'file-all'");
    assert_eq!(get("h1", "a"), "1");
    assert_eq!(get("h1", "w"), "'two'");
    assert_eq!(get("h1", "x"), "'play'");
    assert_eq!(get("h2", "v"), "'play-h2'");
    // Hosts of a group share what is said of it.
    let layers = |host: &str| inventory.layers(host, &[&play], &unheard()).unwrap();
    assert!(
        layers("h1")
            .iter()
            .any(|one| layers("h2").iter().any(|two| one.is(two)))
    );
}

#[test]
fn programs_constructions_and_lists_are_sources_too() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("1-program");
    fs::write(
        &program,
        r#"#!/bin/sh
echo '{"g": {"hosts": ["a", "b"], "vars": {"gv": "{{ x }}"}}, "_meta": {"hostvars": {"a": {"os": "deb", "u": {"__ansible_unsafe": "{{ y }}"}}}}}'
"#,
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(
        directory.path().join("2-made.yml"),
        "plugin: constructed\ncompose: {long: inventory_hostname ~ '.x'}\ngroups: {debs: os is defined}\nkeyed_groups: [{prefix: os, key: os}]\n",
    )
    .unwrap();
    let inventory = read(&[directory.path(), Path::new("c,d:23,")]).unwrap();
    // What is in no group comes first.
    assert_eq!(matching(&inventory, "all"), "c d a b");
    assert_eq!(matching(&inventory, "debs:os_deb"), "a");
    assert_eq!(variable(&inventory, "b", &[], "long"), "'b.x'");
    assert_eq!(variable(&inventory, "d", &[], "ansible_port"), "23");
    let is_template = |dict: &Dict, name: &str| match dict.get(name) {
        Some(Value::Str(text)) => text.is_template(),
        _ => false,
    };
    assert!(is_template(&inventory.groups["g"].variables, "gv"));
    assert!(is_template(&inventory.hosts["a"].variables, "os"));
    assert!(!is_template(&inventory.hosts["a"].variables, "u"));
}

#[test]
fn what_cannot_be_read_is_warned_of_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hosts");
    fs::write(&path, "[a:children]\nb\n[b:children]\na\n").unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let notices: Notices = Arc::new(move |notice| {
        if let Notice::Warning(what) = notice {
            heard.lock().unwrap().push(what.text());
        }
    });
    let sources = [path.to_string_lossy().into_owned()];
    let settings = ReadSettings::default();
    Inventory::read(&sources, Arc::new(settings.clone()), &notices).unwrap();
    let told = told.lock().unwrap().join("\n");
    assert!(told.contains("recursive dependency loop"), "{told}");
    assert!(told.contains(&sources[0]), "{told}");
    let strict = ReadSettings {
        any_unparsed_fails: true,
        ..settings
    };
    assert!(Inventory::read(&sources, Arc::new(strict), &unheard()).is_err());
}

#[test]
fn hosts_and_groups_of_tasks_outlive_a_refresh() {
    let (_directory, mut inventory) = ini("a\n");
    let variables: Dict = [("v", Value::Int(1))].into_iter().collect();
    let groups = ["new".to_owned()];
    let add = |inventory: &mut Inventory| {
        inventory
            .add_dynamic_host("b", &variables, &groups, &unheard())
            .unwrap()
    };
    assert!(add(&mut inventory));
    assert!(!add(&mut inventory));
    assert!(
        inventory
            .add_dynamic_group("a", "kind_x", &["kinds".to_owned()], &unheard())
            .unwrap()
    );
    assert_eq!(matching(&inventory, "new"), "b");
    let fresh = inventory.refreshed(&unheard()).unwrap();
    assert_eq!(matching(&fresh, "new"), "b");
    assert_eq!(matching(&fresh, "kinds"), "a");
    assert_eq!(matching(&fresh, "ungrouped"), "");
}

#[test]
fn many_hosts_in_many_groups_take_no_longer_for_each() {
    let mut text = String::from("[all:vars]\nx=1\n");
    for group in 0..200 {
        text.push_str(&format!("[g{group}]\nh[0:499] v{group}={group}\n"));
    }
    let (_directory, inventory) = ini(&text);
    assert_eq!(inventory.hosts.len(), 500);
    let host = inventory.host("h7").unwrap();
    assert_eq!(inventory.groups_of(host).len(), 201);
}

#[test]
fn ranges_at_the_edge_of_what_there_is_end() {
    let names = |written: &str| {
        consort_playbook::inventory::expand(written)
            .map(|(names, _)| names)
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        names("h[9223372036854775806:9223372036854775807]"),
        Ok(vec![
            "h9223372036854775806".to_owned(),
            "h9223372036854775807".to_owned()
        ])
    );
    let zeros = "0".repeat(70_000);
    for (written, told) in [
        ("h[1:9000000000]".to_owned(), "hosts in one line"),
        ("h[9000000000:1:-1]".to_owned(), "hosts in one line"),
        (format!("h[{zeros}1:{zeros}2]"), "digits in a number"),
        (format!("h{}", "[1:1]".repeat(20_000)), "ranges in one name"),
    ] {
        let error = names(&written).expect_err("it is too much");
        assert!(error.contains(told), "{error}");
    }
}
