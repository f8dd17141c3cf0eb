//! Certificate requests, token secrets and bootstrap tokens against the real API.

use crate::cluster::{Cluster, eventually};
use consort_api::identity::pki::user_of_certificate;
use k8s_openapi::api::{
    certificates::v1::CertificateSigningRequest,
    core::v1::{ConfigMap, Secret, ServiceAccount},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use std::time::Duration;

fn request(name: &str, subject: &[(DnType, &str)], spec: &Value) -> CertificateSigningRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    let key = KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let mut value = json!({"metadata": {"name": name}, "spec": spec});
    value["spec"]["request"] = json!(k8s_openapi::ByteString(pem.into_bytes()));
    serde_json::from_value(value).unwrap()
}

/// The request once it fulfils a condition.
async fn until(
    requests: &Api<CertificateSigningRequest>,
    name: &str,
    check: impl Fn(&CertificateSigningRequest) -> bool,
) -> CertificateSigningRequest {
    let mut last = None;
    eventually(&format!("{name} is as wanted"), async || {
        last = requests.get_opt(name).await.unwrap();
        last.as_ref().is_some_and(&check)
    })
    .await;
    last.unwrap()
}

fn certificate(request: &CertificateSigningRequest) -> Option<String> {
    let bytes = request.status.as_ref()?.certificate.as_ref()?;
    String::from_utf8(bytes.0.clone()).ok()
}

fn condition(request: &CertificateSigningRequest, kind: &str) -> Option<String> {
    let status = request.status.as_ref()?;
    let found = status
        .conditions
        .as_ref()?
        .iter()
        .find(|one| one.type_ == kind)?;
    Some(found.message.clone().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approved_request_ends_as_a_certificate_that_names_its_subject() {
    let cluster = Cluster::start().await;
    let requests = cluster.all::<CertificateSigningRequest>();
    let spec = json!({"signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth", "digital signature"], "expirationSeconds": 3600});
    let subject = [
        (DnType::CommonName, "jane"),
        (DnType::OrganizationName, "dev"),
    ];
    let wanted = request("jane", &subject, &spec);
    requests
        .create(&PostParams::default(), &wanted)
        .await
        .unwrap();
    let approve = json!({"status": {"conditions": [
        {"type": "Approved", "status": "True", "reason": "Fine", "message": "by a person"}]}});
    requests
        .patch_subresource(
            "approval",
            "jane",
            &PatchParams::default(),
            &Patch::Merge(&approve),
        )
        .await
        .unwrap();
    let signed = until(&requests, "jane", |one| certificate(one).is_some()).await;
    let pem = certificate(&signed).unwrap();
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let user = user_of_certificate(&block.contents).unwrap();
    assert_eq!((user.name.as_str(), user.is_in("dev")), ("jane", true));
    let left = block
        .parse_x509()
        .unwrap()
        .validity()
        .time_to_expiration()
        .unwrap();
    assert!(left.whole_seconds() <= 3600, "it asked for an hour");

    // For serving this signer signs nothing, approved or not.
    let spec = json!({"signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["server auth"]});
    let wanted = request("serving", &subject, &spec);
    requests
        .create(&PostParams::default(), &wanted)
        .await
        .unwrap();
    requests
        .patch_subresource(
            "approval",
            "serving",
            &PatchParams::default(),
            &Patch::Merge(&approve),
        )
        .await
        .unwrap();
    let failed = until(&requests, "serving", |one| {
        condition(one, "Failed").is_some()
    })
    .await;
    assert_eq!(
        condition(&failed, "Failed").unwrap(),
        "invalid usage for client certificate: server auth"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_gets_its_certificate_by_itself_and_nobody_else_does() {
    let cluster = Cluster::start().await;
    let spec = json!({"signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        "usages": ["client auth", "digital signature"]});
    let subject = [
        (DnType::CommonName, "system:node:n1"),
        (DnType::OrganizationName, "system:nodes"),
    ];
    let node = cluster.client_of(consort_api::identity::User::node("n1"));
    let requests: Api<CertificateSigningRequest> = Api::all(node);
    let wanted = request("own", &subject, &spec);
    requests
        .create(&PostParams::default(), &wanted)
        .await
        .unwrap();
    let all = cluster.all::<CertificateSigningRequest>();
    let signed = until(&all, "own", |one| certificate(one).is_some()).await;
    assert_eq!(
        condition(&signed, "Approved").unwrap(),
        "Auto approving self kubelet client certificate after SubjectAccessReview."
    );
    // Of another node it may not have one; that request waits for a person.
    let other = [
        (DnType::CommonName, "system:node:n2"),
        (DnType::OrganizationName, "system:nodes"),
    ];
    let wanted = request("others", &other, &spec);
    requests
        .create(&PostParams::default(), &wanted)
        .await
        .unwrap();
    let third = request("last", &subject, &spec);
    requests
        .create(&PostParams::default(), &third)
        .await
        .unwrap();
    until(&all, "last", |one| certificate(one).is_some()).await;
    let others = all.get("others").await.unwrap();
    assert_eq!(condition(&others, "Approved"), None);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_secret_is_filled_and_goes_with_its_account() {
    let cluster = Cluster::start().await;
    cluster
        .apply::<ServiceAccount>(json!({"metadata": {"name": "cart"}}))
        .await;
    cluster
        .apply::<Secret>(json!({"metadata": {"name": "cart-token",
            "annotations": {"kubernetes.io/service-account.name": "cart"}},
            "type": "kubernetes.io/service-account-token"}))
        .await;
    let filled = cluster
        .until::<Secret>("cart-token", "it is filled", |secret| {
            secret
                .data
                .as_ref()
                .is_some_and(|data| data.contains_key("token"))
        })
        .await;
    let data = filled.data.unwrap();
    assert_eq!(data["namespace"].0, b"shop");
    assert_eq!(data["ca.crt"].0, b"-- the CA --");
    let token = String::from_utf8(data["token"].0.clone()).unwrap();
    let claims = cluster.signer.verify_legacy(&token).unwrap();
    assert_eq!(
        (claims.account.as_str(), claims.secret.as_str()),
        ("cart", "cart-token")
    );
    cluster
        .api::<ServiceAccount>()
        .delete("cart", &DeleteParams::default())
        .await
        .unwrap();
    cluster.gone::<Secret>("cart-token").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bootstrap_tokens_sign_the_cluster_info_until_they_expire() {
    let cluster = Cluster::start().await;
    let client = cluster.client.clone();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-public");
    let secrets: Api<Secret> = Api::namespaced(client, "kube-system");
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "cluster-info"},
        "data": {"kubeconfig": "content"}}))
    .unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-signing": "true", "expiration": end.to_string()}}))
    .unwrap();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let signed = async || {
        let data = maps.get("cluster-info").await.unwrap().data.unwrap();
        data.contains_key("jws-kubeconfig-abcdef")
    };
    eventually("it is signed", async || signed().await).await;
    eventually("the token is gone", async || {
        secrets
            .get_opt("bootstrap-token-abcdef")
            .await
            .unwrap()
            .is_none()
    })
    .await;
    eventually("its signature is gone", async || !signed().await).await;
    assert!(Duration::try_from(jiff::Timestamp::now().duration_since(end)).is_ok());
    cluster.end().await;
}
