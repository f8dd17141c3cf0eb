use consort_object::FieldSelector;
use serde_json::json;

use super::*;

fn secret<'a>(verb: &'a str, namespace: &'a str, name: &'a str) -> Attributes<'a> {
    Attributes {
        verb,
        resource: "secrets",
        namespace,
        name,
        ..Attributes::default()
    }
}

#[test]
fn a_node_reads_what_its_pods_need_and_no_longer_when_they_are_gone() {
    let graph = Graph::default();
    let pod = |name: &str, node: &str| {
        json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {
            "nodeName": node, "serviceAccountName": "cart",
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}]}]}})
    };
    let (n1, n2) = (User::node("n1"), User::node("n2"));
    let wanted = secret("get", "shop", "db");
    assert_ne!(graph.authorize(&n1, &wanted), Opinion::Allowed);
    graph.put("pods", &pod("a", "n1"));
    graph.put("pods", &pod("b", "n1"));
    assert_eq!(graph.authorize(&n1, &wanted), Opinion::Allowed);
    assert_eq!(
        graph.authorize(&n2, &wanted),
        none("no relationship found between node 'n2' and this object")
    );
    for (verb, name) in [("get", "other"), ("update", "db"), ("list", "")] {
        assert_ne!(
            graph.authorize(&n1, &secret(verb, "shop", name)),
            Opinion::Allowed,
            "{verb} {name}"
        );
    }
    graph.put(
        "persistentvolumes",
        &json!({"metadata": {"name": "pv"}, "spec": {
            "claimRef": {"namespace": "shop", "name": "data"},
            "csi": {"nodeStageSecretRef": {"namespace": "vault", "name": "key"}}}}),
    );
    let key = secret("get", "vault", "key");
    assert_eq!(graph.authorize(&n1, &key), Opinion::Allowed);
    assert_ne!(graph.authorize(&n2, &key), Opinion::Allowed);
    graph.remove("pods", "shop", "a");
    assert_eq!(graph.authorize(&n1, &wanted), Opinion::Allowed);
    graph.put("pods", &pod("b", "n2"));
    assert_ne!(graph.authorize(&n1, &wanted), Opinion::Allowed);
    assert_ne!(graph.authorize(&n1, &key), Opinion::Allowed);
    assert_eq!(graph.authorize(&n2, &key), Opinion::Allowed);
}

#[test]
fn a_node_reads_what_the_playbooks_for_it_name() {
    let graph = Graph::default();
    let node =
        |name: &str, role: &str| json!({"metadata": {"name": name, "labels": {"role": role}}});
    let playbook = |role: &str| {
        json!({"metadata": {"name": "site", "namespace": "ops"}, "spec": {
            "selector": {"matchLabels": {"role": role}},
            "source": {"git": {"url": "https://host/x", "credentials": "login"}},
            "vault": {"secret": "vault"},
            "variablesFrom": [{"secret": {"name": "tokens"}}]}})
    };
    graph.put("nodes", &node("n1", "web"));
    graph.put("nodes", &node("n2", "db"));
    graph.put("playbooks", &playbook("web"));
    let reads = |node: &str, name: &str| {
        let user = User::node(node);
        graph.authorize(&user, &secret("get", "ops", name)) == Opinion::Allowed
    };
    for name in ["login", "vault", "tokens"] {
        assert!(reads("n1", name), "{name}");
        assert!(!reads("n2", name), "{name}");
    }
    assert!(!reads("n1", "other"));
    graph.put("playbooks", &playbook("db"));
    assert!(!reads("n1", "vault") && reads("n2", "vault"));
    graph.put("nodes", &node("n2", "web"));
    assert!(!reads("n2", "vault"));
    graph.put("nodes", &node("n1", "db"));
    graph.remove("playbooks", "ops", "site");
    assert!(!reads("n1", "vault"));
}

#[test]
fn a_node_sees_itself_and_the_pods_on_it() {
    let graph = Graph::default();
    let n1 = User::node("n1");
    let mut wanted = Attributes {
        verb: "list",
        resource: "pods",
        ..Attributes::default()
    };
    assert_ne!(graph.authorize(&n1, &wanted), Opinion::Allowed);
    let own = FieldSelector::parse("spec.nodeName=n1").unwrap();
    wanted.field_selector = Some(&own);
    assert_eq!(graph.authorize(&n1, &wanted), Opinion::Allowed);
    let other = FieldSelector::parse("spec.nodeName=n2").unwrap();
    wanted.field_selector = Some(&other);
    assert_ne!(graph.authorize(&n1, &wanted), Opinion::Allowed);
    let node = |name| Attributes {
        verb: "get",
        resource: "nodes",
        name,
        ..Attributes::default()
    };
    assert_eq!(graph.authorize(&n1, &node("n1")), Opinion::Allowed);
    assert_ne!(graph.authorize(&n1, &node("n2")), Opinion::Allowed);
    let services = Attributes {
        verb: "watch",
        resource: "services",
        ..Attributes::default()
    };
    assert_eq!(graph.authorize(&n1, &services), Opinion::Allowed);
    assert_eq!(
        graph.authorize(&User::new("jane", ["dev"]), &services),
        Opinion::None(None)
    );
}
