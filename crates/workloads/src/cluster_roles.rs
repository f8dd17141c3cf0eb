//! Fills ClusterRoles that have an aggregation rule with the rules of the roles they select.

use crate::{
    error::{Error, text},
    options::Options,
    selectors::Labels,
    write,
};
use consort_reconcile::{Action, Controller, Event, Hub, Key};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Api;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub(crate) async fn run(hub: Hub, _options: Arc<Options>, shutdown: CancellationToken) {
    let roles = hub.informer::<ClusterRole>();
    let all = roles.clone();
    // Any role may be part of any aggregate: a change looks at all aggregates, which are few.
    roles.add_index("aggregates", |role| {
        role.aggregation_rule
            .iter()
            .map(|_| "yes".to_owned())
            .collect()
    });
    let controller = Controller::new("cluster-role-aggregation").queue_on(
        &roles,
        move |event: &Event<ClusterRole>| {
            let mut keys: Vec<_> = all
                .by_index("aggregates", "yes")
                .iter()
                .map(|role| Key::of(&**role))
                .collect();
            keys.extend(event.key());
            keys
        },
    );
    let api = Api::<ClusterRole>::all(hub.client());
    let reconcile = move |key: Key| {
        let role = roles.by_key(&key);
        let (all, api) = (roles.list(), api.clone());
        async move {
            let Some(role) = role else {
                return Ok(Action::Done);
            };
            if let Some(rules) = aggregate(&role, &all).map_err(text)? {
                let wanted = ClusterRole {
                    rules: Some(rules),
                    ..(*role).clone()
                };
                write::update(&api, &role, &wanted).await.map_err(text)?;
            }
            Ok::<_, String>(Action::Done)
        }
    };
    controller.run(1, reconcile, shutdown).await;
}

/// The rules the role should have, if it aggregates and does not have them.
fn aggregate(
    role: &ClusterRole,
    all: &[Arc<ClusterRole>],
) -> Result<Option<Vec<PolicyRule>>, Error> {
    let Some(aggregation) = &role.aggregation_rule else {
        return Ok(None);
    };
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in aggregation.cluster_role_selectors.iter().flatten() {
        let labels = Labels::parse(selector, role)?;
        // `all` is ordered by name, which makes the outcome the same every time.
        for other in all
            .iter()
            .filter(|other| other.metadata.name != role.metadata.name && labels.matches(&***other))
        {
            for rule in other.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Ok((rules != role.rules.clone().unwrap_or_default()).then_some(rules))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn role(value: Value) -> Arc<ClusterRole> {
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn an_aggregate_holds_each_rule_of_the_selected_roles_once() {
        let read = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
        let write = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]});
        let labels = json!({"part": "yes"});
        let all = [
            role(json!({"metadata": {"name": "a", "labels": labels}, "rules": [read]})),
            role(json!({"metadata": {"name": "b", "labels": labels}, "rules": [read, write]})),
            role(json!({"metadata": {"name": "c"}, "rules": [{"verbs": ["*"]}]})),
            role(
                json!({"metadata": {"name": "sum", "labels": labels}, "rules": [],
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": labels}, {"matchLabels": labels}]}}),
            ),
        ];
        let rules = aggregate(&all[3], &all).unwrap().unwrap();
        assert_eq!(serde_json::to_value(&rules).unwrap(), json!([read, write]));
        let settled = role(json!({"metadata": {"name": "sum"}, "rules": rules,
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": labels}]}}));
        assert_eq!(aggregate(&settled, &all).unwrap(), None);
        assert_eq!(aggregate(&all[0], &all).unwrap(), None);
    }
}
