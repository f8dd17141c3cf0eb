//! `consort delete`.

use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

use crate::cli::Delete;
use crate::connect::{Connection, connect};
use crate::error::{Failure, Kind, Result};
use crate::manifests;
use crate::output;
use crate::resources::{Resource, Resources, select};

/// One object to delete.
struct Victim {
    path: String,
    title: String,
}

/// Deletes objects in the background and, unless told otherwise, waits until they are gone.
pub(super) async fn run(args: Delete) -> Result<()> {
    if args.what.is_empty() && args.files.is_empty() {
        return Err(Failure::new(
            Kind::Usage,
            "name what to delete, or give files with -f",
        ));
    }
    let connection = connect(&args.target).await?;
    let resources = Resources::discover(&connection.client).await?;
    let victims = if args.files.is_empty() {
        named(&args, &connection, &resources).await?
    } else {
        from_files(&args, &connection, &resources)?
    };
    let mut options =
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    if let Some(seconds) = args.grace_period {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    let mut going = Vec::new();
    for victim in victims {
        match send(
            &connection.client,
            Method::DELETE,
            &victim.path,
            Some(&options),
        )
        .await
        {
            Ok(_) => {
                output::print(&format!("{} deleted\n", victim.title));
                going.push(victim);
            }
            Err(kube::Error::Api(status)) if status.code == 404 && args.ignore_not_found => {}
            Err(error) => return Err(error.into()),
        }
    }
    if args.no_wait {
        return Ok(());
    }
    for victim in going {
        let mut pause = Duration::from_millis(20);
        loop {
            match send(&connection.client, Method::GET, &victim.path, None).await {
                Err(kube::Error::Api(status)) if status.code == 404 => break,
                Err(error) => return Err(error.into()),
                Ok(object) if object["metadata"]["deletionTimestamp"].is_null() => break,
                Ok(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
    Ok(())
}

fn victim(resource: &Resource, namespace: &str, name: &str) -> Victim {
    let namespace = resource.namespaced.then_some(namespace);
    Victim {
        path: format!("{}/{name}", resource.path(namespace)),
        title: format!("{} {name:?}", resource.singular()),
    }
}

fn from_files(
    args: &Delete,
    connection: &Connection,
    resources: &Resources,
) -> Result<Vec<Victim>> {
    let mut manifests = manifests::read(&args.files)?;
    crate::apply::sort(&mut manifests);
    // What was made last goes first.
    let mut victims = Vec::new();
    for manifest in manifests.iter().rev() {
        let resource = resources.of_kind(manifest.api_version(), manifest.kind());
        let Some(resource) = resource else {
            if args.ignore_not_found {
                continue;
            }
            let message = format!("no matches for kind {:?}", manifest.kind());
            return Err(manifest.failure(message, Some("kind"), None));
        };
        let namespace = manifest.namespace().unwrap_or(&connection.namespace);
        victims.push(victim(resource, namespace, manifest.name()));
    }
    Ok(victims)
}

async fn named(
    args: &Delete,
    connection: &Connection,
    resources: &Resources,
) -> Result<Vec<Victim>> {
    let mut victims = Vec::new();
    for selection in select(&args.what)? {
        for resource in resources.named(&selection.kind)? {
            if !selection.names.is_empty() {
                let names = selection.names.iter();
                victims.extend(names.map(|name| victim(resource, &connection.namespace, name)));
                continue;
            }
            if !args.all && args.selector.is_none() {
                return Err(Failure::new(
                    Kind::Usage,
                    format!(
                        "which {}? give names, --selector or --all",
                        resource.api.plural
                    ),
                ));
            }
            let mut path = resource.path(Some(&connection.namespace));
            if let Some(selector) = &args.selector {
                let selector = super::get::encode(selector);
                path = format!("{path}?labelSelector={selector}");
            }
            let list = send(&connection.client, Method::GET, &path, None).await?;
            let items = list["items"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            victims.extend(items.iter().filter_map(|object| {
                let name = object["metadata"]["name"].as_str()?;
                Some(victim(resource, &connection.namespace, name))
            }));
        }
    }
    Ok(victims)
}

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> kube::Result<Value> {
    let body = body.map(serde_json::to_vec).transpose();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.map_err(kube::Error::SerdeError)?.unwrap_or_default())
        .map_err(|error| {
            kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(error))
        })?;
    client.request(request).await
}
