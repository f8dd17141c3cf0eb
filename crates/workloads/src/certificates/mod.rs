//! Certificate signing requests: approves those of nodes, signs what is approved, removes what is old.
//!
//! Which signer signs what, and for whom, is upstream's
//! (<https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>). The key
//! itself is the server's: it hands in a [`CertificateSigner`].

mod age;
mod request;

use crate::{
    error::{Doing, Error, text},
    options::Options,
    write,
};
use consort_reconcile::{Action, Controller, Event, Hub, Key};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    certificates::v1::{
        CertificateSigningRequest, CertificateSigningRequestCondition,
        CertificateSigningRequestSpec,
    },
};
use kube::{
    Api, Client,
    api::{Patch, PostParams},
};
use request::{Request, Signer};
use serde_json::json;
use std::{fmt::Debug, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Certificates live this long unless less is asked for.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// Nothing shorter is signed.
const SHORTEST: Duration = Duration::from_secs(600);

/// Signs requests with the authority that clients of the API are checked against.
pub trait CertificateSigner: Debug + Send + Sync {
    /// The certificate (PEM) of a request (PEM) for these usages, living as long as said; or why there
    /// is none.
    fn sign(&self, request: &[u8], usages: &[String], lifetime: Duration)
    -> Result<String, String>;
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let requests = hub.informer::<CertificateSigningRequest>();
    let controller =
        Controller::new("certificate-signing-requests").queue_on(&requests, Event::key);
    let client = hub.client();
    let signer = options.certificates.clone();
    let reconcile = move |key: Key| {
        let request = requests.by_key(&key);
        let one = One {
            client: client.clone(),
            signer: signer.clone(),
        };
        async move {
            match request {
                Some(request) => one.reconcile(&request).await.map_err(text),
                None => Ok(Action::Done),
            }
        }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    let conditions = request.status.iter().flat_map(|status| &status.conditions);
    conditions
        .flatten()
        .any(|condition| condition.type_ == kind && condition.status != "False")
}

fn is_signed(request: &CertificateSigningRequest) -> bool {
    request
        .status
        .as_ref()
        .and_then(|status| status.certificate.as_ref())
        .is_some_and(|certificate| !certificate.0.is_empty())
}

/// How long a certificate lives.
fn lifetime(spec: &CertificateSigningRequestSpec) -> Duration {
    match spec.expiration_seconds {
        None => LIFETIME,
        Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
            .clamp(SHORTEST, LIFETIME),
    }
}

struct One {
    client: Client,
    signer: Option<Arc<dyn CertificateSigner>>,
}

impl One {
    async fn reconcile(&self, request: &CertificateSigningRequest) -> Result<Action, Error> {
        let now = k8s_openapi::jiff::Timestamp::now();
        let left = match age::left(request, now) {
            age::Left::Over => {
                let api = Api::<CertificateSigningRequest>::all(self.client.clone());
                write::delete(&api, &request.metadata, None, None).await?;
                return Ok(Action::Done);
            }
            age::Left::Wait(left) => left,
        };
        if !is_signed(request) && !has(request, "Denied") && !has(request, "Failed") {
            if has(request, "Approved") {
                self.sign(request).await?;
            } else {
                self.approve(request).await?;
            }
        }
        Ok(Action::After(left))
    }

    /// Approves what a node asks for itself, if it may have it.
    async fn approve(&self, request: &CertificateSigningRequest) -> Result<(), Error> {
        let Some(Signer::KubeletClient) = Signer::of(&request.spec) else {
            return Ok(());
        };
        let usages = request.spec.usages.clone().unwrap_or_default();
        let Ok(parsed) = Request::parse(&request.spec.request.0) else {
            return Ok(());
        };
        if parsed.check_kubelet_client(&usages).is_err() {
            return Ok(());
        }
        let own = request.spec.username.as_deref() == Some(parsed.common_name.as_str());
        let kinds = [
            (
                own,
                "selfnodeclient",
                "Auto approving self kubelet client certificate after SubjectAccessReview.",
            ),
            (
                true,
                "nodeclient",
                "Auto approving kubelet client certificate after SubjectAccessReview.",
            ),
        ];
        for (fits, subresource, message) in kinds {
            if fits && self.may(&request.spec, subresource).await? {
                return self
                    .condition(request, "approval", "Approved", "AutoApproved", message)
                    .await;
            }
        }
        Ok(())
    }

    /// Whether the requester may create requests of this kind.
    async fn may(
        &self,
        spec: &CertificateSigningRequestSpec,
        subresource: &str,
    ) -> Result<bool, Error> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".to_owned()),
                    resource: Some("certificatesigningrequests".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    verb: Some("create".to_owned()),
                    version: Some("*".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = Api::<SubjectAccessReview>::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await
            .doing(|| format!("asking whether {:?} may have a certificate", spec.username))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    async fn sign(&self, request: &CertificateSigningRequest) -> Result<(), Error> {
        let (Some(kind), Some(signer)) = (Signer::of(&request.spec), &self.signer) else {
            return Ok(());
        };
        let usages = request.spec.usages.clone().unwrap_or_default();
        let checked =
            Request::parse(&request.spec.request.0).and_then(|parsed| kind.check(&parsed, &usages));
        if let Err(why) = checked {
            let reason = "SignerValidationFailure";
            return self
                .condition(request, "status", "Failed", reason, &why)
                .await;
        }
        let (signer, pem) = (signer.clone(), request.spec.request.0.clone());
        let lifetime = lifetime(&request.spec);
        let signed =
            tokio::task::spawn_blocking(move || signer.sign(&pem, &usages, lifetime)).await;
        match signed {
            Ok(Ok(certificate)) => {
                let bytes = k8s_openapi::ByteString(certificate.into_bytes());
                let status = json!({"certificate": bytes});
                self.write(request, "status", status).await
            }
            Ok(Err(why)) => {
                let reason = "SignerValidationFailure";
                self.condition(request, "status", "Failed", reason, &why)
                    .await
            }
            Err(error) => {
                tracing::error!(%error, "a signer died");
                Ok(())
            }
        }
    }

    /// Adds a condition to the request.
    async fn condition(
        &self,
        request: &CertificateSigningRequest,
        part: &str,
        kind: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), Error> {
        let mut conditions = request
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        conditions.push(CertificateSigningRequestCondition {
            type_: kind.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            ..CertificateSigningRequestCondition::default()
        });
        self.write(request, part, json!({"conditions": conditions}))
            .await
    }

    async fn write(
        &self,
        request: &CertificateSigningRequest,
        part: &str,
        status: serde_json::Value,
    ) -> Result<(), Error> {
        let meta = &request.metadata;
        let patch = json!({
            "metadata": {"resourceVersion": meta.resource_version, "uid": meta.uid},
            "status": status,
        });
        let name = write::name_of(meta);
        Api::<CertificateSigningRequest>::all(self.client.clone())
            .patch_subresource(part, name, &write::patch_params(), &Patch::Merge(&patch))
            .await
            .map(drop)
            .doing(|| format!("writing the {part} of the certificate request {name}"))
    }
}
