//! Namespaces and kinds that come with the plan.

use consort_plan::Intent;
use serde_json::json;

use crate::cluster::{Cluster, apply, change, known, plan, told, try_plan};

const DEFINITION: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.example.com
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [size]
              properties:
                size: {type: integer, minimum: 1}
                colour: {type: string, default: red}
";

const WIDGET: &str = "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: big\n  namespace: plant\nspec:\n  size: 3\n";
const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: plant}\n";
const ACCOUNT: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plan, namespace: plant}\ndata: {a: b}\n";

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_a_namespace_and_a_definition_to_come_are_planned_checked_and_made_in_order() {
    let cluster = Cluster::start().await;
    cluster.file("a.yaml", WIDGET);
    cluster.file("b.yaml", ACCOUNT);
    cluster.file("c.yaml", NAMESPACE);
    cluster.file("d.yaml", DEFINITION);
    let part = cluster.part(json!({}));
    let first = plan(&part).await;
    let told_first = told(&first);
    assert_eq!(told_first.len(), 4, "{told_first:?}");
    let place = |local: &str| {
        told_first
            .iter()
            .position(|one| one.ends_with(local))
            .unwrap()
    };
    assert!(place("widgets.example.com") < place("Widget/plant/big"));
    assert!(place("Namespace/plant") < place("ConfigMap/plant/plan"));
    let widget = change(&first, "example.com/v1/Widget/plant/big")
        .after
        .as_ref()
        .unwrap();
    assert_eq!(
        widget.value["spec"]["colour"], "red",
        "defaults of the schema are known"
    );
    let config = change(&first, "v1/ConfigMap/plant/plan")
        .after
        .as_ref()
        .unwrap();
    assert_eq!(config.value["metadata"]["namespace"], "plant");
    apply(&cluster, &part).await;
    assert!(
        cluster
            .get("/apis/example.com/v1/namespaces/plant/widgets/big")
            .await
            .is_some()
    );
    let second = plan(&part).await;
    assert_eq!(told(&second), [""; 0], "{second:#?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_checked_by_the_schema_its_definition_will_have() {
    let cluster = Cluster::start().await;
    cluster.file("a.yaml", &WIDGET.replace("size: 3", "size: 0\n  sise: 3"));
    cluster.file("c.yaml", NAMESPACE);
    cluster.file("d.yaml", DEFINITION);
    let part = cluster.part(json!({}));
    let problems = try_plan(&part, Intent::Apply, &known(&[]))
        .await
        .unwrap_err();
    assert_eq!(problems[0].detail, "unknown field \"spec.sise\"");
    assert_eq!(
        problems[0].location.as_ref().unwrap().to_string(),
        "deploy/a.yaml:8"
    );
    cluster.file("a.yaml", &WIDGET.replace("size: 3", "size: 0"));
    let problems = try_plan(&part, Intent::Apply, &known(&[]))
        .await
        .unwrap_err();
    assert!(
        problems[0].detail.contains("greater than or equal to 1"),
        "{problems:?}"
    );
    assert_eq!(
        problems[0].location.as_ref().unwrap().to_string(),
        "deploy/a.yaml:7"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_goes_says_what_goes_with_it() {
    let cluster = Cluster::start().await;
    cluster.file("a.yaml", WIDGET);
    cluster.file("c.yaml", NAMESPACE);
    cluster.file("d.yaml", DEFINITION);
    let part = cluster.part(json!({}));
    apply(&cluster, &part).await;
    cluster.remove("d.yaml");
    cluster.remove("a.yaml");
    let plan = plan(&part).await;
    let definition = change(
        &plan,
        "apiextensions.k8s.io/v1/CustomResourceDefinition/widgets.example.com",
    );
    assert_eq!(definition.reasons[1], "all in it goes with it: 1 Widget");
    assert_eq!(definition.reversal, consort_plan::Reversal::Irreversible);
    cluster.stop().await;
}
