//! `consort get`.

use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use http::Request;
use http::header::ACCEPT;
use kube::Client;
use serde_json::{Value, json};

use crate::cli::{Format, Get};
use crate::connect::connect;
use crate::error::{Failure, Kind, Result};
use crate::output;
use crate::resources::{Resource, Resources, select};

/// Tables are made by the server, as it does for `kubectl`.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const PAGE: usize = 500;

/// Shows objects.
pub(super) async fn run(args: Get) -> Result<()> {
    let connection = connect(&args.target).await?;
    let resources = Resources::discover(&connection.client).await?;
    let mut queries = Vec::new();
    for selection in select(&args.what)? {
        for resource in resources.named(&selection.kind)? {
            let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
            if selection.names.is_empty() {
                queries.push(Query {
                    resource,
                    namespace,
                    name: None,
                });
            }
            let names = selection.names.iter();
            queries.extend(names.map(|name| Query {
                resource,
                namespace,
                name: Some(name.clone()),
            }));
        }
    }
    if args.watch {
        let [query] = queries.as_slice() else {
            return Err(Failure::new(
                Kind::Usage,
                "--watch follows one kind of object, or one object",
            ));
        };
        return watch(&connection.client, &args, query).await;
    }
    match args.output {
        Some(Format::Yaml | Format::Json) => objects(&connection.client, &args, &queries).await,
        _ => tables(&connection.client, &args, &queries).await,
    }
}

struct Query<'a> {
    resource: &'a Resource,
    namespace: Option<&'a str>,
    name: Option<String>,
}

impl Query<'_> {
    fn path(&self, args: &Get) -> String {
        let collection = self.resource.path(self.namespace);
        let mut parameters = Vec::new();
        let mut path = collection;
        match &self.name {
            Some(name) if !args.watch => path = format!("{path}/{name}"),
            Some(name) => parameters.push(format!(
                "fieldSelector={}",
                encode(&format!("metadata.name={name}"))
            )),
            None => {
                if let Some(selector) = &args.selector {
                    parameters.push(format!("labelSelector={}", encode(selector)));
                }
                if let Some(selector) = &args.field_selector {
                    parameters.push(format!("fieldSelector={}", encode(selector)));
                }
                if !args.watch {
                    parameters.push(format!("limit={PAGE}"));
                }
            }
        }
        if parameters.is_empty() {
            path
        } else {
            format!("{path}?{}", parameters.join("&"))
        }
    }
}

/// Percent-encodes a query parameter's value.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

async fn request(client: &Client, path: &str, accept: &str) -> Result<Value> {
    let request = Request::get(path)
        .header(ACCEPT, accept)
        .body(Vec::new())
        .map_err(anyhow::Error::from)?;
    Ok(client.request(request).await?)
}

/// All pages of a query, one after the other.
async fn pages(client: &Client, path: &str, accept: &str) -> Result<Vec<Value>> {
    let mut pages = Vec::new();
    let mut next = path.to_owned();
    loop {
        let page = request(client, &next, accept).await?;
        let token = page["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        pages.push(page);
        if token.is_empty() {
            return Ok(pages);
        }
        next = format!("{path}&continue={}", encode(&token));
    }
}

async fn objects(client: &Client, args: &Get, queries: &[Query<'_>]) -> Result<()> {
    let mut items = Vec::new();
    let mut single = None;
    for query in queries {
        for mut page in pages(client, &query.path(args), "application/json").await? {
            if query.name.is_some() && queries.len() == 1 {
                single = Some(page);
                break;
            }
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(list)) => items.extend(list),
                _ => items.push(page),
            }
        }
    }
    let mut value =
        single.unwrap_or_else(|| json!({"apiVersion": "v1", "kind": "List", "items": items}));
    hide_managed_fields(&mut value);
    print_value(&value, args.output == Some(Format::Yaml))
}

/// Field ownership is for tools; people see it with `kubectl get --show-managed-fields`.
fn hide_managed_fields(value: &mut Value) {
    if let Some(items) = value.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(hide_managed_fields);
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// Prints a value as YAML or JSON.
pub(super) fn print_value(value: &Value, yaml: bool) -> Result<()> {
    let text = if yaml {
        let mut text = serde_saphyr::to_string(value).map_err(anyhow::Error::from)?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    } else {
        format!("{value:#}\n")
    };
    output::print(&text);
    Ok(())
}

/// A server's table, reduced to the columns that are shown.
struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn read_table(table: &Value, args: &Get, resource: &Resource) -> Table {
    let wide = args.output == Some(Format::Wide);
    let definitions = array(table, "columnDefinitions");
    let shown: Vec<(usize, &Value)> = definitions
        .iter()
        .enumerate()
        .filter(|(_, column)| wide || column["priority"].as_i64().unwrap_or_default() == 0)
        .collect();
    let with_namespace = args.all_namespaces && resource.namespaced;
    let mut header: Vec<String> = Vec::new();
    if with_namespace {
        header.push("NAMESPACE".to_owned());
    }
    header.extend(
        shown
            .iter()
            .map(|(_, column)| column["name"].as_str().unwrap_or_default().to_uppercase()),
    );
    let rows = array(table, "rows")
        .iter()
        .map(|row| {
            let mut cells = Vec::new();
            if with_namespace {
                let namespace = row["object"]["metadata"]["namespace"].as_str();
                cells.push(namespace.unwrap_or_default().to_owned());
            }
            cells.extend(shown.iter().map(|(index, _)| match &row["cells"][*index] {
                Value::String(text) => text.clone(),
                Value::Null => "<none>".to_owned(),
                other => other.to_string(),
            }));
            cells
        })
        .collect();
    Table { header, rows }
}

fn array<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn names(table: &Value, resource: &Resource) -> String {
    array(table, "rows")
        .iter()
        .filter_map(|row| row["object"]["metadata"]["name"].as_str())
        .map(|name| format!("{}/{name}\n", resource.singular()))
        .collect()
}

async fn tables(client: &Client, args: &Get, queries: &[Query<'_>]) -> Result<()> {
    let mut printed = 0;
    let several = queries.len() > 1 && queries.iter().any(|query| query.name.is_none());
    for query in queries {
        let mut all: Option<Table> = None;
        for page in pages(client, &query.path(args), TABLE).await? {
            if args.output == Some(Format::Name) {
                let text = names(&page, query.resource);
                printed += text.lines().count();
                output::print(&text);
                continue;
            }
            let table = read_table(&page, args, query.resource);
            match &mut all {
                Some(all) => all.rows.extend(table.rows),
                None => all = Some(table),
            }
        }
        let Some(mut table) = all.filter(|table| !table.rows.is_empty()) else {
            continue;
        };
        if several {
            let column = usize::from(args.all_namespaces && query.resource.namespaced);
            for row in &mut table.rows {
                row[column] = format!("{}/{}", query.resource.singular(), row[column]);
            }
            if printed > 0 {
                output::print("\n");
            }
        }
        printed += table.rows.len();
        output::print(&output::table(&table.header, &table.rows, !args.no_headers));
    }
    if printed == 0 && queries.iter().all(|query| query.name.is_none()) {
        match queries
            .first()
            .and_then(|query| query.namespace.filter(|_| query.resource.namespaced))
        {
            Some(namespace) => eprintln!("No resources found in {namespace} namespace."),
            None => eprintln!("No resources found"),
        }
    }
    Ok(())
}

/// Follows a table: rows as they are, then a row for every change.
async fn watch(client: &Client, args: &Get, query: &Query<'_>) -> Result<()> {
    let base = query.path(args);
    let joint = if base.contains('?') { '&' } else { '?' };
    let request = Request::get(format!("{base}{joint}watch=true"))
        .header(ACCEPT, TABLE)
        .body(Vec::new())
        .map_err(anyhow::Error::from)?;
    let mut lines = client.request_stream(request).await?.lines();
    let mut header = !args.no_headers;
    let mut widths: Vec<usize> = Vec::new();
    while let Some(line) = lines.try_next().await? {
        let event: Value = serde_json::from_str(&line).map_err(anyhow::Error::from)?;
        if event["type"] == "ERROR" {
            let message = event["object"]["message"]
                .as_str()
                .unwrap_or("the watch ended");
            return Err(Failure::new(Kind::Failed, message));
        }
        let table = read_table(&event["object"], args, query.resource);
        if args.output == Some(Format::Name) {
            output::print(&names(&event["object"], query.resource));
            continue;
        }
        for row in header
            .then_some(&table.header)
            .into_iter()
            .chain(&table.rows)
        {
            // Columns stay as wide as the widest cell so far: what is printed cannot be moved.
            widths.resize(row.len(), 0);
            let mut text = String::new();
            for (cell, width) in row.iter().zip(&mut widths) {
                *width = (*width).max(cell.chars().count());
                text.push_str(&format!("{cell:<width$}   ", width = *width));
            }
            output::print(&format!("{}\n", text.trim_end()));
        }
        header = header && table.header.is_empty();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_encoded() {
        assert_eq!(encode("app in (a,b)"), "app%20in%20%28a%2Cb%29");
    }
}
