//! Talks to a provider's program directly: its schema, or the life of one resource.
//!
//! ```text
//! provider BINARY schema [TYPE]
//! provider BINARY life TYPE CONFIG.json [PROVIDER-CONFIG.json]
//! provider BINARY function NAME ARGUMENTS.json
//! ```
//!
//! `life` validates, plans, creates, reads, plans again (which must change nothing), imports by the
//! attribute `id`, and destroys.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use consort_hcl::{Value, json};
use consort_infra::provider::objects::{
    normalize_legacy, plan_problems, proposed_new, result_problems,
};
use consort_infra::provider::plugin::Launcher;
use consort_infra::provider::schema::{Block, Kind};
use consort_infra::provider::{
    Apply, Configure, Diagnostics, Import, ImportTarget, Plan, Provider, RawState, Read,
    UpgradeState, Validate,
};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = args.iter().map(String::as_str).collect();
    let [binary, rest @ ..] = arguments.as_slice() else {
        bail!("usage: provider BINARY schema|life|function ...")
    };
    let mut launcher = Launcher::default();
    launcher.schema_cache = std::env::var_os("SCHEMA_CACHE").map(Into::into);
    let begun = Instant::now();
    let plugin = launcher.start(Path::new(binary)).await?;
    eprintln!(
        "started in {:?}, protocol {}",
        begun.elapsed(),
        plugin.protocol()
    );
    let outcome = match rest {
        ["schema", types @ ..] => schema(&plugin, types).await,
        ["life", type_name, config, provider @ ..] => {
            life(&plugin, type_name, config, provider.first().copied()).await
        }
        ["function", name, arguments] => function(&plugin, name, arguments).await,
        _ => bail!("usage: provider BINARY schema|life|function ..."),
    };
    let begun = Instant::now();
    plugin.close().await;
    eprintln!("closed in {:?}", begun.elapsed());
    outcome
}

async fn schema(plugin: &dyn Provider, types: &[&str]) -> Result<()> {
    let begun = Instant::now();
    let schemas = plugin.schemas().await.map_err(fail)?;
    eprintln!("schemas in {:?}: {schemas:?}", begun.elapsed());
    println!(
        "functions: {:?}",
        schemas.functions.keys().collect::<Vec<_>>()
    );
    println!("capabilities: {:?}", schemas.capabilities);
    if types.is_empty() {
        let begun = Instant::now();
        for kind in [Kind::Managed, Kind::Data, Kind::Ephemeral] {
            for name in schemas.names(kind) {
                schemas.resource(kind, name)?.block.implied_type();
            }
        }
        eprintln!("all decoded in {:?}", begun.elapsed());
    }
    for name in types {
        let schema = schemas.resource(Kind::Managed, name)?;
        println!(
            "{name} version {}: {}",
            schema.version,
            schema.block.implied_type()
        );
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn fail(diagnostics: Diagnostics) -> anyhow::Error {
    anyhow::anyhow!("{diagnostics}")
}

fn check(what: &str, diagnostics: &Diagnostics) -> Result<()> {
    if !diagnostics.is_empty() {
        eprintln!("{what}: {diagnostics}");
    }
    ensure!(!diagnostics.has_errors(), "{what}: {diagnostics}");
    Ok(())
}

fn read_config(block: &Block, path: Option<&str>) -> Result<Value> {
    let Some(path) = path else {
        return Ok(block.empty_value());
    };
    let text = std::fs::read(path).with_context(|| format!("reading {path}"))?;
    Ok(block.coerce(&json::decode_simple(&text)?)?)
}

fn show(what: &str, value: &Value) -> Result<()> {
    if value.is_wholly_known() {
        println!(
            "{what}: {}",
            String::from_utf8_lossy(&json::encode(value, value.ty())?)
        );
    } else {
        println!(
            "{what}: {}",
            consort_infra::provider::objects::go_value(value)
        );
    }
    Ok(())
}

async fn life(
    plugin: &dyn Provider,
    type_name: &str,
    config: &str,
    provider: Option<&str>,
) -> Result<()> {
    let type_name: Arc<str> = type_name.into();
    let schemas = plugin.schemas().await.map_err(fail)?;
    let resource = schemas.resource(Kind::Managed, &type_name)?;
    let (version, schema) = (resource.version, &resource.block);
    let null = Value::null(schema.implied_type());
    let provider_config = read_config(&schemas.provider, provider)?;
    check(
        "validate provider",
        &plugin.validate_config(provider_config.clone()).await,
    )?;
    let configure = Configure {
        terraform_version: "1.11.4".into(),
        config: provider_config,
        deferral_allowed: false,
    };
    check("configure", &plugin.configure(configure).await)?;

    let config = read_config(schema, Some(config))?;
    let validate = Validate {
        type_name: type_name.clone(),
        config: config.clone(),
    };
    check("validate", &plugin.validate_resource(validate).await)?;

    let plan = |prior: &Value, private: Bytes| {
        let proposed = proposed_new(schema, prior, &config);
        plugin.plan_resource(Plan {
            type_name: type_name.clone(),
            prior: prior.clone(),
            proposed,
            config: config.clone(),
            private,
            provider_meta: None,
            identity: None,
            deferral_allowed: false,
        })
    };
    let planned = plan(&null, Bytes::new()).await;
    check("plan", &planned.diagnostics)?;
    show("planned", &planned.state)?;
    let planned_state = normalize_legacy(schema, &planned.state);
    for problem in plan_problems(schema, &null, &config, &planned_state) {
        println!(
            "plan{problem} (legacy type system: {})",
            planned.legacy_type_system
        );
        ensure!(planned.legacy_type_system, "inconsistent plan");
    }

    let begun = Instant::now();
    let applied = plugin
        .apply_resource(Apply {
            type_name: type_name.clone(),
            prior: null.clone(),
            planned: planned_state.clone(),
            config: config.clone(),
            private: planned.private.clone(),
            provider_meta: None,
            identity: planned.identity.clone(),
        })
        .await;
    eprintln!("applied in {:?}", begun.elapsed());
    check("apply", &applied.diagnostics)?;
    let state = normalize_legacy(schema, &applied.state.context("no state after the apply")?);
    show("applied", &state)?;
    for problem in result_problems(schema, &planned_state, &state) {
        println!(
            "result{problem} (legacy type system: {})",
            applied.legacy_type_system
        );
        ensure!(applied.legacy_type_system, "inconsistent result");
    }

    let stored = json::encode(&schema.without_write_only(&state), &schema.implied_type())?;
    let upgraded = plugin
        .upgrade_state(UpgradeState {
            type_name: type_name.clone(),
            version,
            raw: RawState::Json(stored.into()),
        })
        .await;
    check("upgrade", &upgraded.diagnostics)?;
    let read = plugin
        .read_resource(Read {
            type_name: type_name.clone(),
            prior: upgraded.state,
            private: applied.private.clone(),
            provider_meta: None,
            identity: applied.identity.clone(),
            deferral_allowed: false,
        })
        .await;
    check("read", &read.diagnostics)?;
    ensure!(!read.state.is_null(), "it is gone");
    let now = normalize_legacy(schema, &read.state);
    let again = plan(&now, read.private.clone()).await;
    check("plan again", &again.diagnostics)?;
    let clean = normalize_legacy(schema, &again.state).raw_equals(&now);
    println!(
        "second plan changes {}",
        if clean { "nothing" } else { "something" }
    );
    if !clean {
        show("now", &now)?;
        show("planned again", &again.state)?;
    }

    if let Some(id) = now
        .attribute("id")
        .ok()
        .and_then(|id| id.as_str().map(str::to_owned))
    {
        let import = Import {
            type_name: type_name.clone(),
            target: ImportTarget::Id(id),
            deferral_allowed: false,
        };
        let imported = plugin.import_resource(import).await;
        println!(
            "import: {} found; {}",
            imported.resources.len(),
            imported.diagnostics
        );
    }

    let destroyed = plugin
        .apply_resource(Apply {
            type_name: type_name.clone(),
            prior: now,
            planned: null.clone(),
            config: null,
            private: read.private,
            provider_meta: None,
            identity: None,
        })
        .await;
    check("destroy", &destroyed.diagnostics)?;
    println!(
        "destroyed: {}",
        destroyed.state.is_some_and(|s| s.is_null())
    );
    Ok(())
}

async fn function(plugin: &dyn Provider, name: &str, arguments: &str) -> Result<()> {
    let schemas = plugin.schemas().await.map_err(fail)?;
    let function = schemas
        .functions
        .get(name)
        .with_context(|| format!("no function {name}"))?;
    let given = json::decode_simple(arguments.as_bytes())?;
    let mut arguments = Vec::new();
    for (i, (_, argument)) in given.elements().into_iter().enumerate() {
        let parameter = function
            .parameters
            .get(i)
            .or(function.variadic.as_ref())
            .context("too many arguments")?;
        arguments.push(consort_hcl::convert::convert(&argument, &parameter.ty)?);
    }
    show(
        "result",
        &plugin.call_function(name.into(), arguments).await?,
    )
}
