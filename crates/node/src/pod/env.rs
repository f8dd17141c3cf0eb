//! A container's environment, command and arguments.
//!
//! Follows the Kubernetes API: `envFrom` first, then `env` in order (each may refer to what came
//! before it and to the service variables), then the service variables that nothing has overridden.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Service};

use super::expand::expand;
use super::fields::{self, PodFacts};

/// ConfigMaps and Secrets of the pod's namespace by name; what is absent does not exist.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) config_maps: HashMap<String, std::sync::Arc<ConfigMap>>,
    pub(crate) secrets: HashMap<String, std::sync::Arc<Secret>>,
}

/// Names of the ConfigMaps and Secrets that a container's environment needs.
pub(crate) fn references(container: &Container) -> (Vec<String>, Vec<String>) {
    let mut config_maps = Vec::new();
    let mut secrets = Vec::new();
    for from in container.env_from.iter().flatten() {
        config_maps.extend(from.config_map_ref.iter().map(|r| r.name.clone()));
        secrets.extend(from.secret_ref.iter().map(|r| r.name.clone()));
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|e| e.value_from.as_ref())
    {
        config_maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    (config_maps, secrets)
}

/// The environment of a container and the names that had to be left out of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Names and values, in the order they take effect.
    pub(crate) variables: Vec<(String, String)>,
    /// Per `envFrom` source: keys that cannot be variable names.
    pub(crate) invalid: Vec<String>,
}

/// Makes the environment.
///
/// # Errors
/// The message of `CreateContainerConfigError`: a missing object or key, or a field that cannot be read.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    facts: &PodFacts,
    sources: &Sources,
    services: &BTreeMap<String, String>,
) -> Result<Environment, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut order: Vec<String> = Vec::new();
    let mut values: HashMap<String, String> = HashMap::new();
    let mut set = |values: &mut HashMap<String, String>, name: String, value: String| {
        if values.insert(name.clone(), value).is_none() {
            order.push(name);
        }
    };
    let mut invalid = Vec::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut bad = Vec::new();
        if let Some(reference) = &from.config_map_ref {
            match sources.config_maps.get(&reference.name) {
                Some(map) => pairs.extend(
                    map.data
                        .iter()
                        .flatten()
                        .map(|(k, v)| (k.clone(), v.clone())),
                ),
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap \"{}\" not found", reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secrets.get(&reference.name) {
                Some(secret) => pairs.extend(
                    secret
                        .data
                        .iter()
                        .flatten()
                        .map(|(k, v)| (k.clone(), String::from_utf8_lossy(&v.0).into_owned())),
                ),
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret \"{}\" not found", reference.name)),
            }
        }
        for (key, value) in pairs {
            let name = format!("{prefix}{key}");
            if valid_name(&name) {
                set(&mut values, name, value);
            } else {
                bad.push(name);
            }
        }
        if !bad.is_empty() {
            let kind = if from.config_map_ref.is_some() {
                "ConfigMap"
            } else {
                "Secret"
            };
            let name = from
                .config_map_ref
                .as_ref()
                .map(|r| &r.name)
                .or(from.secret_ref.as_ref().map(|r| &r.name));
            invalid.push(format!(
                "Keys [{}] from the EnvFrom {kind} {namespace}/{} were skipped since they are considered invalid \
                 environment variable names.",
                bad.join(", "),
                name.map_or("", String::as_str)
            ));
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) if !text.is_empty() => Some(expand(text, |name| {
                values
                    .get(name)
                    .or_else(|| services.get(name))
                    .map(String::as_str)
            })),
            (_, Some(source)) => {
                if let Some(selector) = &source.field_ref {
                    Some(fields::field(pod, facts, selector)?)
                } else if let Some(selector) = &source.resource_field_ref {
                    Some(fields::resource(pod, facts, selector, Some(container))?)
                } else if let Some(selector) = &source.config_map_key_ref {
                    let optional = selector.optional == Some(true);
                    match sources.config_maps.get(&selector.name) {
                        None if optional => None,
                        None => return Err(format!("configmap \"{}\" not found", selector.name)),
                        Some(map) => match map.data.as_ref().and_then(|d| d.get(&selector.key)) {
                            Some(value) => Some(value.clone()),
                            None if optional => None,
                            None => {
                                return Err(format!(
                                    "couldn't find key {} in ConfigMap {namespace}/{}",
                                    selector.key, selector.name
                                ));
                            }
                        },
                    }
                } else if let Some(selector) = &source.secret_key_ref {
                    let optional = selector.optional == Some(true);
                    match sources.secrets.get(&selector.name) {
                        None if optional => None,
                        None => return Err(format!("secret \"{}\" not found", selector.name)),
                        Some(secret) => {
                            match secret.data.as_ref().and_then(|d| d.get(&selector.key)) {
                                Some(value) => Some(String::from_utf8_lossy(&value.0).into_owned()),
                                None if optional => None,
                                None => {
                                    return Err(format!(
                                        "couldn't find key {} in Secret {namespace}/{}",
                                        selector.key, selector.name
                                    ));
                                }
                            }
                        }
                    }
                } else {
                    return Err(format!(
                        "environment variable {} has an unsupported valueFrom",
                        variable.name
                    ));
                }
            }
            _ => Some(String::new()),
        };
        // An optional reference that is not there leaves the variable unset.
        if let Some(value) = value {
            set(&mut values, variable.name.clone(), value);
        }
    }
    let mut variables: Vec<(String, String)> = order
        .into_iter()
        .map(|name| {
            let value = values.remove(&name).unwrap_or_default();
            (name, value)
        })
        .collect();
    let taken: std::collections::HashSet<&str> =
        variables.iter().map(|(k, _)| k.as_str()).collect();
    let rest: Vec<(String, String)> = services
        .iter()
        .filter(|(k, _)| !taken.contains(k.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    variables.extend(rest);
    Ok(Environment { variables, invalid })
}

/// Whether the kernel and the API both take it as a variable's name: printable ASCII without `=`.
fn valid_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=')
}

/// The variables by which old clients find services: host and port per service of the pod's own
/// namespace, and always those of the API server (`kubernetes` in `default`).
///
/// `links` is the pod's `enableServiceLinks`.
pub(crate) fn service_variables<'a>(
    services: impl Iterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let (Some(name), Some(home)) = (
            service.metadata.name.as_deref(),
            service.metadata.namespace.as_deref(),
        ) else {
            continue;
        };
        let master = name == "kubernetes" && home == "default";
        if home == namespace && links {
            chosen.insert(name, service);
        } else if master {
            chosen.entry(name).or_insert(service);
        }
    }
    let mut out = BTreeMap::new();
    for (name, service) in chosen {
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec
            .cluster_ip
            .as_deref()
            .filter(|ip| !ip.is_empty() && *ip != "None")
        else {
            continue;
        };
        let Some(ports) = spec.ports.as_ref().filter(|p| !p.is_empty()) else {
            continue;
        };
        let name = variable_name(name);
        out.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
        out.insert(format!("{name}_SERVICE_PORT"), ports[0].port.to_string());
        for (index, port) in ports.iter().enumerate() {
            if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
                out.insert(
                    format!("{name}_SERVICE_PORT_{}", variable_name(port_name)),
                    port.port.to_string(),
                );
            }
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let lower = protocol.to_ascii_lowercase();
            let number = port.port;
            let url = format!("{lower}://{ip}:{number}");
            if index == 0 {
                out.insert(format!("{name}_PORT"), url.clone());
            }
            let base = format!("{name}_PORT_{number}_{}", protocol.to_ascii_uppercase());
            out.insert(base.clone(), url);
            out.insert(format!("{base}_PROTO"), lower);
            out.insert(format!("{base}_PORT"), number.to_string());
            out.insert(format!("{base}_ADDR"), ip.to_owned());
        }
    }
    out
}

fn variable_name(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// The process to start: the image's entry point and command, overridden and expanded as the API says.
///
/// # Errors
/// When neither the pod nor the image names a command.
pub(crate) fn command_line(
    container: &Container,
    variables: &[(String, String)],
    entrypoint: &[String],
    cmd: &[String],
) -> Result<Vec<String>, String> {
    let map: HashMap<&str, &str> = variables
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    let expanded = |list: Option<&Vec<String>>| -> Vec<String> {
        list.into_iter()
            .flatten()
            .map(|text| expand(text, |name| map.get(name).copied()))
            .collect()
    };
    let command = expanded(container.command.as_ref());
    let args = expanded(container.args.as_ref());
    let line: Vec<String> = if !command.is_empty() {
        command.into_iter().chain(args).collect()
    } else if args.is_empty() {
        entrypoint.iter().chain(cmd).cloned().collect()
    } else {
        entrypoint.iter().cloned().chain(args).collect()
    };
    if line.is_empty() {
        return Err("no command specified".to_owned());
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn world() -> (Pod, Sources, BTreeMap<String, String>) {
        let pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": []}}),
        )
        .unwrap();
        let map: ConfigMap =
            serde_json::from_value(json!({"data": {"K": "v", "bad=key": "x", "B": "b"}})).unwrap();
        let secret: Secret = serde_json::from_value(json!({"data": {"S": "c2VjcmV0"}})).unwrap();
        let sources = Sources {
            config_maps: HashMap::from([("cm".to_owned(), Arc::new(map))]),
            secrets: HashMap::from([("sec".to_owned(), Arc::new(secret))]),
        };
        let services = BTreeMap::from([("WEB_SERVICE_HOST".to_owned(), "10.0.0.9".to_owned())]);
        (pod, sources, services)
    }

    fn make(container: serde_json::Value) -> Result<Environment, String> {
        let (pod, sources, services) = world();
        let container: Container = serde_json::from_value(container).unwrap();
        environment(&pod, &container, &PodFacts::default(), &sources, &services)
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn later_variables_override_and_see_earlier_ones() {
        let made = make(json!({"name": "c",
            "envFrom": [{"configMapRef": {"name": "cm"}}, {"prefix": "P_", "secretRef": {"name": "sec"}}],
            "env": [{"name": "K", "value": "own"}, {"name": "X", "value": "$(K)-$(P_S)-$(WEB_SERVICE_HOST)-$(LATER)-$$(K)"},
                {"name": "LATER", "value": "l"}, {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "EMPTY"}]}))
        .unwrap();
        assert_eq!(
            made.variables,
            pairs(&[
                ("B", "b"),
                ("K", "own"),
                ("P_S", "secret"),
                ("X", "own-secret-10.0.0.9-$(LATER)-$(K)"),
                ("LATER", "l"),
                ("N", "p"),
                ("EMPTY", ""),
                ("WEB_SERVICE_HOST", "10.0.0.9"),
            ])
        );
        assert_eq!(made.invalid.len(), 1);
        assert!(
            made.invalid[0].contains("[bad=key] from the EnvFrom ConfigMap ns/cm"),
            "{}",
            made.invalid[0]
        );
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_is_optional() {
        let reference = |kind: &str, name: &str, key: &str, optional: bool| {
            let (_, inner) = (
                kind,
                json!({"name": name, "key": key, "optional": optional}),
            );
            make(json!({"name": "c", "env": [{"name": "V", "valueFrom": {kind: inner}}]}))
        };
        for (kind, name, key, message) in [
            ("configMapKeyRef", "no", "k", "configmap \"no\" not found"),
            (
                "configMapKeyRef",
                "cm",
                "no",
                "couldn't find key no in ConfigMap ns/cm",
            ),
            ("secretKeyRef", "no", "k", "secret \"no\" not found"),
            (
                "secretKeyRef",
                "sec",
                "no",
                "couldn't find key no in Secret ns/sec",
            ),
        ] {
            assert_eq!(reference(kind, name, key, false).unwrap_err(), message);
            let made = reference(kind, name, key, true).unwrap();
            assert!(made.variables.iter().all(|(k, _)| k != "V"));
        }
        assert_eq!(
            make(json!({"name": "c", "envFrom": [{"secretRef": {"name": "no"}}]})).unwrap_err(),
            "secret \"no\" not found"
        );
        assert!(
            make(
                json!({"name": "c", "envFrom": [{"secretRef": {"name": "no", "optional": true}}]})
            )
            .is_ok()
        );
    }

    #[test]
    fn services_become_variables_of_their_namespace_and_the_api_of_all() {
        let services: Vec<Service> = serde_json::from_value(json!([
            {"metadata": {"name": "kubernetes", "namespace": "default"},
             "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}},
            {"metadata": {"name": "redis-db", "namespace": "ns"},
             "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 6379}, {"name": "dns", "port": 53, "protocol": "UDP"}]}},
            {"metadata": {"name": "headless", "namespace": "ns"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
            {"metadata": {"name": "other", "namespace": "else"}, "spec": {"clusterIP": "10.96.0.8", "ports": [{"port": 1}]}}
        ]))
        .unwrap();
        let made = service_variables(services.iter(), "ns", true);
        for (name, value) in [
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
            ("REDIS_DB_SERVICE_HOST", "10.96.0.7"),
            ("REDIS_DB_SERVICE_PORT", "6379"),
            ("REDIS_DB_SERVICE_PORT_DNS", "53"),
            ("REDIS_DB_PORT", "tcp://10.96.0.7:6379"),
            ("REDIS_DB_PORT_6379_TCP_ADDR", "10.96.0.7"),
            ("REDIS_DB_PORT_53_UDP_PROTO", "udp"),
        ] {
            assert_eq!(made.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(
            !made
                .keys()
                .any(|k| k.starts_with("HEADLESS") || k.starts_with("OTHER"))
        );
        let without = service_variables(services.iter(), "ns", false);
        assert!(
            without.contains_key("KUBERNETES_SERVICE_HOST")
                && !without.contains_key("REDIS_DB_SERVICE_HOST")
        );
    }

    #[test]
    fn command_and_args_override_the_image_as_the_api_says() {
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let (entrypoint, cmd) = (strings(&["/entry"]), strings(&["serve"]));
        let line = |container: serde_json::Value| {
            command_line(
                &serde_json::from_value(container).unwrap(),
                &pairs(&[("V", "val")]),
                &entrypoint,
                &cmd,
            )
        };
        assert_eq!(line(json!({"name": "c"})).unwrap(), ["/entry", "serve"]);
        assert_eq!(
            line(json!({"name": "c", "args": ["a$(V)"]})).unwrap(),
            ["/entry", "aval"]
        );
        assert_eq!(
            line(json!({"name": "c", "command": ["sh"]})).unwrap(),
            ["sh"]
        );
        assert_eq!(
            line(json!({"name": "c", "command": ["sh"], "args": ["$(NO)"]})).unwrap(),
            ["sh", "$(NO)"]
        );
        assert!(command_line(&Container::default(), &[], &[], &[]).is_err());
    }
}
