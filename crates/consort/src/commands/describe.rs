//! `consort describe`.

use http::Request;
use kube::Client;
use serde_json::Value;

use crate::cli::Describe;
use crate::connect::connect;
use crate::error::{Failure, Kind, Result};
use crate::output;
use crate::resources::{Resource, Resources, select};

/// Shows objects field by field, with the events about them.
pub(super) async fn run(args: Describe) -> Result<()> {
    let connection = connect(&args.target).await?;
    let resources = Resources::discover(&connection.client).await?;
    let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
    let mut described = 0;
    for selection in select(&args.what)? {
        for resource in resources.named(&selection.kind)? {
            let collection = resource.path(namespace);
            let mut objects = Vec::new();
            for name in &selection.names {
                objects.push(fetch(&connection.client, &format!("{collection}/{name}")).await?);
            }
            if selection.names.is_empty() {
                let path = match &args.selector {
                    Some(selector) => {
                        format!(
                            "{collection}?labelSelector={}",
                            super::get::encode(selector)
                        )
                    }
                    None => collection,
                };
                let mut list = fetch(&connection.client, &path).await?;
                if let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) {
                    objects.extend(items);
                }
            }
            for object in &objects {
                if described > 0 {
                    output::print("\n\n");
                }
                described += 1;
                let events = events(&connection.client, resource, object).await?;
                output::print(&text(resource, object, &events));
            }
        }
    }
    if described == 0 {
        return Err(Failure::new(Kind::Failed, "no resources found"));
    }
    Ok(())
}

async fn fetch(client: &Client, path: &str) -> Result<Value> {
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(anyhow::Error::from)?;
    Ok(client.request(request).await?)
}

async fn events(client: &Client, resource: &Resource, object: &Value) -> Result<Vec<Value>> {
    let metadata = &object["metadata"];
    let of = |field: &str| metadata[field].as_str().unwrap_or_default();
    let selector = format!(
        "involvedObject.name={},involvedObject.kind={},involvedObject.uid={}",
        of("name"),
        resource.api.kind,
        // Events about nodes carry the node's name in place of its uid.
        if resource.api.kind == "Node" {
            of("name")
        } else {
            of("uid")
        },
    );
    let namespace = of("namespace");
    let scope = if namespace.is_empty() {
        "/api/v1/events".to_owned()
    } else {
        format!("/api/v1/namespaces/{namespace}/events")
    };
    let path = format!("{scope}?fieldSelector={}", super::get::encode(&selector));
    let list = fetch(client, &path).await?;
    let mut events = list["items"].as_array().cloned().unwrap_or_default();
    events.sort_by(|a, b| seen(a).cmp(seen(b)));
    Ok(events)
}

fn seen(event: &Value) -> &str {
    let time = |field: &str| event[field].as_str();
    time("lastTimestamp")
        .or_else(|| time("eventTime"))
        .unwrap_or_default()
}

fn text(resource: &Resource, object: &Value, events: &[Value]) -> String {
    let metadata = &object["metadata"];
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        text.push_str(&format!("{:<14} {value}\n", format!("{key}:")));
    };
    line("Name", metadata["name"].as_str().unwrap_or_default());
    if let Some(namespace) = metadata["namespace"].as_str() {
        line("Namespace", namespace);
    }
    line(
        "Kind",
        &format!("{} ({})", resource.api.kind, resource.api.api_version),
    );
    line(
        "Created",
        metadata["creationTimestamp"].as_str().unwrap_or_default(),
    );
    for (title, field) in [("Labels", "labels"), ("Annotations", "annotations")] {
        let pairs = metadata[field].as_object();
        let mut shown = 0;
        for (key, value) in pairs.into_iter().flatten() {
            if key.ends_with("last-applied-configuration") {
                continue;
            }
            let title = if shown == 0 { title } else { "" };
            let pair = format!("{key}={}", value.as_str().unwrap_or_default());
            if title.is_empty() {
                text.push_str(&format!("{:<14} {pair}\n", ""));
            } else {
                text.push_str(&format!("{:<14} {pair}\n", format!("{title}:")));
            }
            shown += 1;
        }
    }
    let secret = resource.api.kind == "Secret";
    for (key, value) in object.as_object().into_iter().flatten() {
        if matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        if secret && key == "data" {
            text.push_str("Data:\n");
            for (name, value) in value.as_object().into_iter().flatten() {
                let bytes = value.as_str().map_or(0, |text| text.len() / 4 * 3);
                text.push_str(&format!("  {name}: about {bytes} bytes\n"));
            }
            continue;
        }
        field(&mut text, key, value, 0);
    }
    if events.is_empty() {
        text.push_str("Events:        <none>\n");
        return text;
    }
    let header: Vec<String> = ["  TYPE", "REASON", "LAST SEEN", "COUNT", "MESSAGE"]
        .map(str::to_owned)
        .into();
    let rows: Vec<Vec<String>> = events
        .iter()
        .map(|event| {
            let of = |field: &str| event[field].as_str().unwrap_or_default();
            vec![
                format!("  {}", of("type")),
                of("reason").to_owned(),
                seen(event).to_owned(),
                event["count"].as_i64().unwrap_or(1).to_string(),
                of("message").trim().to_owned(),
            ]
        })
        .collect();
    text.push_str("Events:\n");
    text.push_str(&output::table(&header, &rows, true));
    text
}

/// `terminationGracePeriodSeconds` as `Termination Grace Period Seconds`.
fn title(key: &str) -> String {
    let mut title = String::new();
    let mut previous_lower = false;
    for (index, c) in key.chars().enumerate() {
        if index == 0 {
            title.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && previous_lower {
                title.push(' ');
            }
            title.push(c);
        }
        previous_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    title
}

fn field(text: &mut String, key: &str, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    // Keys that users chose (labels, data) stay as they are.
    let name = if key.contains(['.', '/', '-', '_']) {
        key.to_owned()
    } else {
        title(key)
    };
    match value {
        Value::Object(map) if map.is_empty() => {}
        Value::Array(list) if list.is_empty() => {}
        Value::Null => {}
        Value::Object(map) => {
            text.push_str(&format!("{indent}{name}:\n"));
            for (key, value) in map {
                field(text, key, value, depth + 1);
            }
        }
        Value::Array(list)
            if list
                .iter()
                .all(|item| !item.is_object() && !item.is_array()) =>
        {
            let items: Vec<String> = list.iter().map(scalar).collect();
            text.push_str(&format!("{indent}{name}: {}\n", items.join(", ")));
        }
        Value::Array(list) => {
            text.push_str(&format!("{indent}{name}:\n"));
            for (index, item) in list.iter().enumerate() {
                let own = item["name"].as_str().or_else(|| item["type"].as_str());
                let label = own.map_or_else(|| index.to_string(), str::to_owned);
                text.push_str(&format!("{indent}  - {label}\n"));
                for (key, value) in item.as_object().into_iter().flatten() {
                    field(text, key, value, depth + 2);
                }
            }
        }
        Value::String(long) if long.contains('\n') => {
            text.push_str(&format!("{indent}{name}:\n"));
            for line in long.lines() {
                text.push_str(&format!("{indent}  {line}\n"));
            }
        }
        other => text.push_str(&format!("{indent}{name}: {}\n", scalar(other))),
    }
}

fn scalar(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_titles() {
        assert_eq!(
            title("terminationGracePeriodSeconds"),
            "Termination Grace Period Seconds"
        );
        assert_eq!(title("clusterIP"), "Cluster IP");
    }
}
