use std::collections::HashMap;
use std::sync::OnceLock;

use k8s_openapi::schemars::SchemaGenerator;
use serde_json::{Map, Value};

/// The schema `k8s-openapi` has for a message, from which only the descriptions are taken.
pub(super) fn of(message: &str) -> Option<&'static Map<String, Value>> {
    static ALL: OnceLock<HashMap<String, Map<String, Value>>> = OnceLock::new();
    ALL.get_or_init(collect).get(message)
}

/// The description in a schema or a property of it.
pub(super) fn text(schema: Option<&Value>) -> Option<&str> {
    schema?.get("description")?.as_str()
}

fn collect() -> HashMap<String, Map<String, Value>> {
    let mut generator = SchemaGenerator::default();
    roots(&mut generator);
    generator
        .take_definitions(false)
        .into_iter()
        .filter_map(|(name, schema)| match schema {
            Value::Object(schema) => Some((name, schema)),
            _ => None,
        })
        .collect()
}

fn roots(generator: &mut SchemaGenerator) {
    /// Names the kinds of one package; what they are made of comes with them.
    macro_rules! kinds {
        ($package:path: $($kind:ident),+) => {{
            use $package as package;
            $(generator.subschema_for::<package::$kind>();)+
        }};
    }
    kinds!(
        k8s_openapi::api::admissionregistration::v1:
        MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
        ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration
    );
    kinds!(k8s_openapi::api::apps::v1: ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet);
    kinds!(k8s_openapi::api::authentication::v1: SelfSubjectReview, TokenRequest, TokenReview);
    kinds!(
        k8s_openapi::api::authorization::v1:
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview
    );
    kinds!(k8s_openapi::api::autoscaling::v1: HorizontalPodAutoscaler, Scale);
    kinds!(k8s_openapi::api::autoscaling::v2: HorizontalPodAutoscaler);
    kinds!(k8s_openapi::api::batch::v1: CronJob, Job);
    kinds!(
        k8s_openapi::api::certificates::v1:
        CertificateSigningRequest, ClusterTrustBundle, PodCertificateRequest
    );
    kinds!(k8s_openapi::api::coordination::v1: Lease);
    kinds!(
        k8s_openapi::api::core::v1:
        Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume,
        PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service,
        ServiceAccount
    );
    kinds!(k8s_openapi::api::discovery::v1: EndpointSlice);
    kinds!(k8s_openapi::api::events::v1: Event);
    kinds!(k8s_openapi::api::flowcontrol::v1: FlowSchema, PriorityLevelConfiguration);
    kinds!(k8s_openapi::api::networking::v1: IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR);
    kinds!(k8s_openapi::api::node::v1: RuntimeClass);
    kinds!(k8s_openapi::api::policy::v1: Eviction, PodDisruptionBudget);
    kinds!(k8s_openapi::api::rbac::v1: ClusterRole, ClusterRoleBinding, Role, RoleBinding);
    kinds!(
        k8s_openapi::api::resource::v1:
        DeviceClass, DeviceTaintRule, ResourceClaim, ResourceClaimTemplate, ResourceSlice
    );
    kinds!(k8s_openapi::api::scheduling::v1: PriorityClass);
    kinds!(
        k8s_openapi::api::storage::v1:
        CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass
    );
    kinds!(k8s_openapi::api::storagemigration::v1: StorageVersionMigration);
    kinds!(k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1: CustomResourceDefinition);
    kinds!(
        k8s_openapi::apimachinery::pkg::apis::meta::v1:
        APIGroup, APIGroupList, APIResourceList, APIVersions, DeleteOptions, Status
    );
    kinds!(k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1: APIService);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_their_fields_are_described() {
        let spec = of("io.k8s.api.core.v1.PodSpec").unwrap();
        assert!(
            text(
                spec.get("properties")
                    .and_then(|fields| fields.get("containers"))
            )
            .is_some()
        );
        assert!(of("io.k8s.api.core.v1.Container").is_some());
        assert!(of("no.such.Message").is_none());
    }
}
