//! Who calls and what it may do: tokens, reviews, roles, acting as others, nodes, certificate requests.
#![allow(missing_docs)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use consort_api::identity::User;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Server, pod, request};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn jane() -> User {
    User::new("jane", ["dev"])
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
}

/// Gives a user these rules everywhere.
async fn grant(server: &Server, name: &str, user: &str, rules: Value) {
    let role = json!({"metadata": {"name": name}, "rules": rules});
    let made = server.post(&format!("{RBAC}/clusterroles"), &role).await;
    assert_eq!(made.code, 201, "{:?}", made.bytes);
    let binding = json!({"metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]});
    let made = server
        .post(&format!("{RBAC}/clusterrolebindings"), &binding)
        .await;
    assert_eq!(made.code, 201, "{:?}", made.bytes);
}

/// Asks until the answer has this code: what is written is authorized by a moment later.
async fn until(server: &Server, path: &str, user: &User, code: u16) -> support::Answer {
    let ask = async {
        loop {
            let answer = server.get_as(path, user.clone()).await;
            if answer.code == code {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ask)
        .await
        .unwrap_or_else(|_| panic!("{path} never answered {code}"))
}

async fn review(server: &Server, token: &str, audiences: Value) -> Value {
    let body = json!({"spec": {"token": token, "audiences": audiences}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    server.post(path, &body).await.json()["status"].clone()
}

#[tokio::test]
async fn tokens_are_bound_scoped_and_checked_as_asked() {
    let server = Server::start().await;
    for (spec, code, words) in [
        (
            json!({"expirationSeconds": 599}),
            422,
            "less than 10 minutes",
        ),
        (
            json!({"expirationSeconds": 1_u64 << 33}),
            422,
            "larger than 2^32",
        ),
        (
            json!({"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}}),
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
        (
            json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "none"}}),
            404,
            "secrets \"none\" not found",
        ),
    ] {
        let answer = server.post(TOKEN, &json!({"spec": spec})).await;
        assert_eq!(answer.code, code, "{:?}", answer.bytes);
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{message}");
    }
    let other = json!({"metadata": {"name": "other"}, "spec": {}});
    assert_eq!(server.post(TOKEN, &other).await.code, 422);

    let made = server
        .post("/api/v1/namespaces/default/pods", &pod("p"))
        .await;
    assert_eq!(made.code, 201, "{:?}", made.bytes);
    let uid = made.json()["metadata"]["uid"].clone();
    let bound = |uid: &Value| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid});
    let wrong = json!({"spec": {"boundObjectRef": bound(&json!("another"))}});
    assert_eq!(server.post(TOKEN, &wrong).await.code, 409);
    // The lifetime by which tokens of pods are known: they are told an hour, and live a year.
    let asked = json!({"spec": {"expirationSeconds": 3607, "boundObjectRef": bound(&uid)}});
    let answer = server.post(TOKEN, &asked).await.json();
    let token = answer["status"]["token"].as_str().unwrap();
    let said = claims(token);
    let times = |claim: &Value| claim.as_u64().unwrap();
    assert_eq!(times(&said["exp"]) - times(&said["iat"]), 365 * 24 * 3600);
    let warn = &said["kubernetes.io"]["warnafter"];
    assert_eq!(times(warn) - times(&said["iat"]), 3607);
    assert_eq!(said["kubernetes.io"]["pod"]["uid"], uid);
    assert_eq!(said["aud"], json!(["https://issuer.test"]));

    let good = review(&server, token, json!([])).await;
    assert_eq!(good["authenticated"], true, "{good}");
    assert_eq!(good["audiences"], json!(["https://issuer.test"]));
    let user = &good["user"];
    assert_eq!(user["username"], "system:serviceaccount:default:default");
    let extra = |key: &str| user["extra"][format!("authentication.kubernetes.io/{key}")].clone();
    assert_eq!(extra("pod-name"), json!(["p"]));
    assert_eq!(
        extra("credential-id"),
        json!([format!("JTI={}", said["jti"].as_str().unwrap())])
    );
    let elsewhere = review(&server, token, json!(["vault"])).await;
    assert_ne!(elsewhere["authenticated"], true);
    assert!(
        elsewhere["error"]
            .as_str()
            .unwrap()
            .contains("invalid bearer token")
    );
    let path = "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0";
    server.delete(path).await;
    assert_ne!(
        review(&server, token, json!([])).await["authenticated"],
        true
    );
    let me = request(Method::GET, "/version", "", "");
    assert_eq!(server.ask_by(me, token).await.code, 401);

    let vault = json!({"spec": {"audiences": ["vault", "bank"]}});
    let answer = server.post(TOKEN, &vault).await.json();
    let token = answer["status"]["token"].as_str().unwrap();
    let found = review(&server, token, json!(["bank", "shop"])).await;
    assert_eq!(found["audiences"], json!(["bank"]), "{found}");
    let me = request(Method::GET, "/version", "", "");
    assert_eq!(server.ask_by(me, token).await.code, 401, "for others only");
}

#[tokio::test]
async fn a_bootstrap_token_authenticates_into_its_groups() {
    let server = Server::start().await;
    let data = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:workers"});
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token", "stringData": data});
    let made = server
        .post("/api/v1/namespaces/kube-system/secrets", &secret)
        .await;
    assert_eq!(made.code, 201, "{:?}", made.bytes);
    let body = json!({}).to_string();
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let ask = request(Method::POST, path, "application/json", body.clone());
    let answer = server.ask_by(ask, "abcdef.0123456789abcdef").await;
    assert_eq!(answer.code, 201, "{:?}", answer.bytes);
    let me = &answer.json()["status"]["userInfo"];
    assert_eq!(me["username"], "system:bootstrap:abcdef");
    let groups = me["groups"].as_array().unwrap();
    for group in [
        "system:bootstrappers",
        "system:bootstrappers:workers",
        "system:authenticated",
    ] {
        assert!(groups.contains(&json!(group)), "{groups:?}");
    }
    let ask = request(Method::POST, path, "application/json", body);
    assert_eq!(
        server.ask_by(ask, "abcdef.0123456789abcdee").await.code,
        401
    );
}

#[tokio::test]
async fn nobody_hands_out_rights_it_does_not_have() {
    let server = Server::start().await;
    let manage = rule(
        &["create", "update", "get"],
        &["rbac.authorization.k8s.io"],
        &["*"],
    );
    let pods = rule(&["get", "list"], &[""], &["pods"]);
    grant(&server, "managers", "jane", json!([manage, pods])).await;
    until(&server, "/api/v1/pods", &jane(), 200).await;
    let path = format!("{RBAC}/clusterroles");
    let role = |name: &str, rules: Value| json!({"metadata": {"name": name}, "rules": rules});
    let made = server
        .post_as(&path, &role("less", json!([pods])), jane())
        .await;
    assert_eq!(made.code, 201, "{:?}", made.bytes);
    let more = json!([rule(&["get", "delete", "watch"], &[""], &["pods"]),
        {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]);
    let refused = server.post_as(&path, &role("more", more), jane()).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.json()["message"],
        "clusterroles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\" \
         (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \"watch\"]}\n\
         {NonResourceURLs:[\"/metrics\"], Verbs:[\"get\"]}"
    );
    let mut sum = role("sum", json!([]));
    sum["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    let refused = server.post_as(&path, &sum, jane()).await;
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .ends_with("must have cluster-admin privileges to use the aggregationRule")
    );
    // Labels decide what aggregates gather: a change of them is looked at, too.
    let place = format!("{path}/cluster-admin");
    let mut admin = server.get(&place).await.json();
    admin["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] = json!("true");
    let put = request(Method::PUT, &place, "application/json", admin.to_string());
    assert_eq!(server.ask_as(put, jane()).await.code, 403);
    let bind = |role: &str| {
        json!({"metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": "joe"}]})
    };
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    assert_eq!(
        server.post_as(&bindings, &bind("less"), jane()).await.code,
        201
    );
    assert_eq!(
        server.post_as(&bindings, &bind("admin"), jane()).await.code,
        403
    );
    assert_eq!(
        server.post_as(&bindings, &bind("none"), jane()).await.code,
        404
    );
    let may = json!([rule(
        &["bind"],
        &["rbac.authorization.k8s.io"],
        &["clusterroles"]
    )]);
    grant(&server, "binders", "jane", may).await;
    let ask = async {
        while server.post_as(&bindings, &bind("admin"), jane()).await.code != 201 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ask)
        .await
        .unwrap();
}

#[tokio::test]
async fn acting_as_another_needs_the_wide_right_or_both_narrow_ones() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let acting = |headers: &[(&'static str, &str)], path: &str| {
        let mut asked = request(Method::GET, path, "", "");
        for (name, value) in headers {
            asked.headers_mut().append(*name, value.parse().unwrap());
        }
        asked
    };
    let as_joe = [("impersonate-user", "joe")];
    let refused = server.ask_as(acting(&as_joe, pods), jane()).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.json()["message"],
        "pods is forbidden: User \"jane\" cannot impersonate-on:user-info:list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let groups_only = [("impersonate-group", "dev")];
    assert_eq!(
        server.ask_as(acting(&groups_only, pods), jane()).await.code,
        400
    );

    let read = json!([rule(&["list"], &[""], &["pods"])]);
    grant(&server, "joe-reads", "joe", read).await;
    until(&server, pods, &User::new("joe", [""; 0]), 200).await;
    let narrow = json!([
        rule(
            &["impersonate:user-info"],
            &["authentication.k8s.io"],
            &["users", "groups"]
        ),
        rule(&["impersonate-on:user-info:list"], &[""], &["pods"]),
    ]);
    grant(&server, "narrow", "jane", narrow).await;
    let ask = async {
        while server.ask_as(acting(&as_joe, pods), jane()).await.code != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ask)
        .await
        .unwrap();
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(
        server.ask_as(acting(&as_joe, secrets), jane()).await.code,
        403
    );
    let masters = [
        ("impersonate-user", "joe"),
        ("impersonate-group", "system:masters"),
    ];
    let refused = server.ask_as(acting(&masters, pods), jane()).await;
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .contains("impersonating the system:masters group is not allowed")
    );

    // An administrator has the wide right, to any of it.
    let all = [
        ("impersonate-user", "system:serviceaccount:default:default"),
        ("impersonate-uid", "7"),
        ("impersonate-extra-acme.com%2fscopes", "view"),
    ];
    let mut asked = acting(&all, "/apis/authentication.k8s.io/v1/selfsubjectreviews");
    *asked.method_mut() = Method::POST;
    *asked.body_mut() = bytes::Bytes::from("{}").into();
    asked
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    let me = server.ask(asked).await.json()["status"]["userInfo"].clone();
    assert_eq!(me["uid"], "7");
    assert_eq!(me["extra"]["acme.com/scopes"], json!(["view"]));
    assert_eq!(
        me["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
}

#[tokio::test]
async fn a_node_reads_only_what_pods_on_it_need() {
    let server = Server::start().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["mine", "other"] {
        server
            .post(secrets, &json!({"metadata": {"name": name}}))
            .await;
    }
    let mut wanted = pod("p");
    wanted["spec"]["nodeName"] = json!("n1");
    wanted["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "mine"}}]);
    let made = server
        .post("/api/v1/namespaces/default/pods", &wanted)
        .await;
    assert_eq!(made.code, 201, "{:?}", made.bytes);
    let (n1, n2) = (User::node("n1"), User::node("n2"));
    until(&server, &format!("{secrets}/mine"), &n1, 200).await;
    let refused = server.get_as(&format!("{secrets}/mine"), n2.clone()).await;
    assert_eq!(refused.code, 403);
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .ends_with("no relationship found between node 'n2' and this object")
    );
    assert_eq!(
        server
            .get_as(&format!("{secrets}/other"), n1.clone())
            .await
            .code,
        403
    );
    assert_eq!(server.get_as(secrets, n1.clone()).await.code, 403);
    let one = "fieldSelector=metadata.name%3Dmine,metadata.namespace%3Ddefault";
    let list = format!("/api/v1/secrets?{one}");
    assert_eq!(server.get_as(&list, n1.clone()).await.code, 200);
    assert_eq!(server.get_as(&list, n2.clone()).await.code, 403);
    let pods = "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1";
    assert_eq!(server.get_as(pods, n1.clone()).await.code, 200);
    assert_eq!(server.get_as(pods, n2.clone()).await.code, 403);
    assert_eq!(server.get_as("/api/v1/pods", n1.clone()).await.code, 403);
    let uid = made.json()["metadata"]["uid"].clone();
    let token = json!({"spec": {
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}}});
    assert_eq!(server.post_as(TOKEN, &token, n1).await.code, 201);
    assert_eq!(server.post_as(TOKEN, &token, n2).await.code, 403);
}

#[tokio::test]
async fn the_default_policy_is_made_whole_again_at_the_next_start() {
    let server = Server::start().await;
    let path = |name: &str| format!("{RBAC}/clusterroles/{name}");
    let empty = json!({"rules": []});
    let merge = "application/merge-patch+json";
    server.patch(&path("system:kube-dns"), merge, &empty).await;
    let keep = json!({"rules": [],
        "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}});
    server.patch(&path("system:heapster"), merge, &keep).await;
    let bindings = format!("{RBAC}/clusterrolebindings/system:monitoring");
    server
        .patch(&bindings, merge, &json!({"subjects": []}))
        .await;
    let server = server.restart().await;
    let rules = |answer: support::Answer| answer.json()["rules"].as_array().map_or(0, Vec::len);
    assert_eq!(rules(server.get(&path("system:kube-dns")).await), 1);
    assert_eq!(rules(server.get(&path("system:heapster")).await), 0);
    let binding = server.get(&bindings).await.json();
    assert_eq!(binding["subjects"][0]["name"], "system:monitoring");
}

#[tokio::test]
async fn reviews_of_access_say_what_is_wrong_with_them_and_why_not() {
    let server = Server::start().await;
    let group = "/apis/authorization.k8s.io/v1";
    let ask = async |path: &str, spec: Value| {
        server
            .post(&format!("{group}/{path}"), &json!({"spec": spec}))
            .await
    };
    for (path, spec, field) in [
        (
            "selfsubjectaccessreviews",
            json!({}),
            "spec.resourceAttributes",
        ),
        (
            "selfsubjectaccessreviews",
            json!({"resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {"path": "/"}}),
            "spec.nonResourceAttributes",
        ),
        (
            "subjectaccessreviews",
            json!({"resourceAttributes": {"verb": "get"}}),
            "spec.user",
        ),
        (
            "subjectaccessreviews",
            json!({"user": "x", "resourceAttributes": {"fieldSelector": {}}}),
            "spec.resourceAttributes.fieldSelector.requirements",
        ),
        (
            "namespaces/default/localsubjectaccessreviews",
            json!({"user": "x", "resourceAttributes": {"namespace": "other"}}),
            "spec.resourceAttributes.namespace",
        ),
    ] {
        let answer = ask(path, spec).await;
        assert_eq!(answer.code, 422, "{path}");
        let causes = answer.json()["details"]["causes"].clone();
        assert_eq!(causes[0]["field"], field, "{causes}");
    }
    let spec = json!({"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": {
        "verb": "list", "resource": "pods", "fieldSelector": {
            "requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n1"]}]}}});
    let answer = ask("subjectaccessreviews", spec.clone()).await.json();
    assert_eq!(answer["status"]["allowed"], true, "{answer}");
    let mut other = spec;
    other["resourceAttributes"]["fieldSelector"] = json!({"rawSelector": "spec.nodeName=n2"});
    let answer = ask("subjectaccessreviews", other).await.json();
    assert_eq!(answer["status"]["allowed"], false);
    assert_eq!(
        answer["status"]["reason"],
        "can only list/watch pods with spec.nodeName field selector"
    );
    let rules = server
        .post_as(
            &format!("{group}/selfsubjectrulesreviews"),
            &json!({"spec": {"namespace": "default"}}),
            User::node("n1"),
        )
        .await
        .json();
    assert_eq!(rules["status"]["incomplete"], true);
    let urls = rules["status"]["nonResourceRules"].as_array().unwrap();
    assert!(urls.iter().any(|rule| {
        rule["nonResourceURLs"]
            .as_array()
            .unwrap()
            .contains(&json!("/healthz"))
    }));
}

fn signing_request(subject: &[(rcgen::DnType, &str)], signer: &str) -> (Value, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let value = json!({"metadata": {"name": "jane"}, "spec": {"request": STANDARD.encode(pem),
        "signerName": signer, "usages": ["client auth", "digital signature"]}});
    (value, key)
}

#[tokio::test]
async fn certificate_requests_are_approved_and_signed_by_those_who_may() {
    use rcgen::DnType::{CommonName, OrganizationName};
    let server = Server::start().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let client = "kubernetes.io/kube-apiserver-client";
    let (masters, _) = signing_request(
        &[(CommonName, "x"), (OrganizationName, "system:masters")],
        client,
    );
    let refused = server.post(path, &masters).await;
    assert_eq!(refused.code, 403, "{:?}", refused.bytes);
    assert!(refused.json()["message"].as_str().unwrap().contains(
        "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
    ));
    let write = rule(
        &["create", "get", "update"],
        &["certificates.k8s.io"],
        &[
            "certificatesigningrequests",
            "certificatesigningrequests/approval",
            "certificatesigningrequests/status",
        ],
    );
    grant(&server, "requests", "jane", json!([write])).await;
    let (wanted, _) = signing_request(&[(CommonName, "jane")], client);
    let ask = async {
        loop {
            let answer = server.post_as(path, &wanted, jane()).await;
            if answer.code == 201 {
                return answer.json();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let made = tokio::time::timeout(Duration::from_secs(10), ask)
        .await
        .unwrap();
    assert_eq!(made["spec"]["username"], "jane");
    let put = async |part: &str, change: &dyn Fn(&mut Value)| {
        let mut value = server.get(&format!("{path}/jane")).await.json();
        change(&mut value);
        let place = format!("{path}/jane/{part}");
        let put = request(Method::PUT, &place, "application/json", value.to_string());
        server.ask_as(put, jane()).await
    };
    let approve = |value: &mut Value| {
        value["status"]["conditions"] =
            json!([{"type": "Approved", "status": "True", "reason": "Fine"}]);
    };
    let refused = put("approval", &approve).await;
    assert_eq!(refused.code, 403);
    assert!(refused.json()["message"].as_str().unwrap().ends_with(
        "user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\""
    ));
    let mut may = rule(&["approve"], &["certificates.k8s.io"], &["signers"]);
    may["resourceNames"] = json!(["kubernetes.io/*"]);
    grant(&server, "approvers", "jane", json!([may])).await;
    let ask = async {
        while put("approval", &approve).await.code != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ask)
        .await
        .unwrap();
    let sign = |value: &mut Value| {
        value["status"]["certificate"] = json!(STANDARD.encode("x"));
    };
    let refused = put("status", &sign).await;
    assert_eq!(refused.code, 403, "{:?}", refused.bytes);
}
