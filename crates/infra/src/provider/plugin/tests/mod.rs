//! A provider of our own, run as a real process over a real socket, and what it can do wrong.

mod fixture;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consort_hcl::{Kind as ValueKind, Value};

use super::{Error, Launcher, Plugin};
use crate::provider::objects::{proposed_new, result_problems};
use crate::provider::schema::{Kind, ResourceSchema};
use crate::provider::{
    Applied, Apply, Call, Configure, Diagnostics, Plan, Planned, Provider, Read, Validate,
};

/// A directory with a program that serves the fixture: this test binary, told to run [`fixture::serve`].
struct Program {
    directory: tempfile::TempDir,
}

impl Program {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let test = std::env::current_exe().unwrap();
        // The test harness writes to standard output, so the plugin's own goes by another descriptor.
        let script = format!(
            "#!/bin/sh\nexec 3>&1 >/dev/null\nexec '{}' --exact provider::plugin::tests::fixture::serve --ignored --nocapture\n",
            test.display()
        );
        let program = Self { directory };
        std::fs::write(program.path(), script).unwrap();
        std::fs::set_permissions(program.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("terraform-provider-fixture")
    }

    fn launcher(&self, behaviour: &str) -> Launcher {
        let mut launcher = Launcher {
            start_timeout: Duration::from_secs(30),
            ..Launcher::default()
        };
        let directory = self.directory.path().display().to_string();
        launcher.environment = [
            ("FIXTURE_BEHAVIOUR".to_owned(), behaviour.to_owned()),
            ("FIXTURE_DIRECTORY".to_owned(), directory),
        ]
        .into();
        launcher
    }

    async fn start(&self, behaviour: &str) -> Plugin {
        self.launcher(behaviour).start(&self.path()).await.unwrap()
    }

    /// How often the plugin was asked for its schema.
    fn schema_requests(&self) -> u64 {
        std::fs::metadata(self.directory.path().join("schema-requests")).map_or(0, |m| m.len())
    }
}

async fn thing(plugin: &Plugin) -> Arc<ResourceSchema> {
    plugin
        .schemas()
        .await
        .unwrap()
        .resource(Kind::Managed, "fixture_thing")
        .unwrap()
}

fn config(name: &str) -> Value {
    Value::object([
        ("id", Value::null(consort_hcl::Type::String)),
        ("name", Value::string(name)),
        ("token", Value::string("secret")),
    ])
}

async fn plan(plugin: &Plugin, config: Value) -> Planned {
    let schema = thing(plugin).await;
    let prior = Value::null(schema.block.implied_type());
    plugin
        .plan_resource(Plan {
            type_name: "fixture_thing".into(),
            proposed: proposed_new(&schema.block, &prior, &config),
            prior,
            config,
            private: Bytes::new(),
            provider_meta: None,
            identity: None,
            deferral_allowed: false,
        })
        .await
}

async fn apply(plugin: &Plugin, config: Value) -> (Value, Applied) {
    let planned = plan(plugin, config.clone()).await;
    assert!(!planned.diagnostics.has_errors(), "{}", planned.diagnostics);
    let applied = apply_call(plugin, &planned, config).await;
    (planned.state, applied)
}

fn apply_call<'a>(plugin: &'a Plugin, planned: &Planned, config: Value) -> Call<'a, Applied> {
    plugin.apply_resource(Apply {
        type_name: "fixture_thing".into(),
        prior: Value::null(planned.state.ty().clone()),
        planned: planned.state.clone(),
        config,
        private: planned.private.clone(),
        provider_meta: None,
        identity: None,
    })
}

fn only(diagnostics: &Diagnostics) -> (&str, &str) {
    assert_eq!(diagnostics.0.len(), 1, "{diagnostics}");
    (&diagnostics.0[0].summary, &diagnostics.0[0].detail)
}

#[tokio::test]
async fn both_protocols_carry_a_resource_through_its_life() {
    let program = Program::new();
    for behaviour in ["v5", "v6"] {
        let plugin = program.start(behaviour).await;
        assert_eq!(plugin.protocol(), if behaviour == "v5" { 5 } else { 6 });
        let provider_config = Value::object([("region", Value::string("here"))]);
        assert!(
            plugin
                .validate_config(provider_config.clone())
                .await
                .is_empty()
        );
        let configure = Configure {
            terraform_version: "1.11.4".into(),
            config: provider_config,
            deferral_allowed: false,
        };
        assert!(plugin.configure(configure).await.is_empty());
        let schema = thing(&plugin).await;
        assert!(schema.block.attributes["token"].write_only);

        let (planned, applied) = apply(&plugin, config("one")).await;
        assert!(matches!(
            planned.attribute("id").unwrap().kind(),
            ValueKind::Unknown(_)
        ));
        assert!(applied.diagnostics.is_empty(), "{}", applied.diagnostics);
        let state = applied.state.unwrap();
        assert_eq!(state.attribute("id").unwrap().as_str(), Some("thing-one"));
        assert_eq!(
            result_problems(
                &schema.block,
                &schema.block.without_write_only(&planned),
                &state
            ),
            []
        );
        assert_eq!(applied.private, "private".as_bytes());

        let read = plugin
            .read_resource(Read {
                type_name: "fixture_thing".into(),
                prior: state.clone(),
                private: applied.private,
                provider_meta: None,
                identity: None,
                deferral_allowed: false,
            })
            .await;
        assert!(read.state.raw_equals(&state));

        // An unknown of which something is known, and a message about an attribute.
        let validate = Validate {
            type_name: "fixture_thing".into(),
            config: config("bad"),
        };
        let said = plugin.validate_resource(validate).await;
        assert_eq!(said.0[0].attribute.as_ref().unwrap().to_string(), ".name");
        let sum = plugin
            .call_function("add".into(), vec![Value::number(2), Value::number(40)])
            .await
            .unwrap();
        assert!(sum.raw_equals(&Value::number(42)));
        let error = plugin
            .call_function("add".into(), vec![Value::number(2), Value::number(-1)])
            .await
            .unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.argument),
            ("no negative numbers", Some(1))
        );
        plugin.close().await;
        let after = plan(&plugin, config("late")).await;
        assert_eq!(only(&after.diagnostics).0, "Request cancelled");
    }
}

#[tokio::test]
async fn a_provider_that_dies_in_an_apply_is_reported_with_its_last_words() {
    let program = Program::new();
    let plugin = program.start("dies").await;
    let (_, applied) = apply(&plugin, config("one")).await;
    assert!(applied.state.is_none());
    let (summary, detail) = only(&applied.diagnostics);
    assert_eq!(summary, "Plugin did not respond");
    assert!(
        detail.starts_with(
            "The plugin encountered an error, and failed to respond to the plugin6.(*GRPCProvider).ApplyResourceChange \
             call. The plugin logs may contain more details."
        ),
        "{detail}"
    );
    assert!(detail.contains("panic: the fixture gives up"), "{detail}");
    // And everything after it, at once.
    let begun = Instant::now();
    assert!(plan(&plugin, config("two")).await.diagnostics.has_errors());
    assert!(begun.elapsed() < Duration::from_secs(10));
    plugin.close().await;
}

#[tokio::test]
async fn an_apply_that_hangs_ends_when_the_provider_is_told_to_stop() {
    let program = Program::new();
    let plugin = program.start("hangs").await;
    let planned = plan(&plugin, config("one")).await;
    let apply = apply_call(&plugin, &planned, config("one"));
    let stop = async {
        // The provider has the request once it has left its mark.
        let mark = program.directory.path().join("applying");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !mark.exists() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        plugin.stop().await
    };
    let (applied, stopped) = tokio::join!(apply, stop);
    stopped.unwrap();
    assert_eq!(only(&applied.diagnostics).0, "stopped");
    plugin.close().await;
}

#[tokio::test]
async fn an_apply_that_hangs_for_good_ends_with_its_process() {
    let program = Program::new();
    let plugin = program.start("hangs for good").await;
    let planned = plan(&plugin, config("one")).await;
    let apply = apply_call(&plugin, &planned, config("one"));
    let close = async {
        let mark = program.directory.path().join("applying");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !mark.exists() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        plugin.close().await;
    };
    let (applied, ()) = tokio::join!(apply, close);
    assert!(applied.state.is_none());
    assert_eq!(only(&applied.diagnostics).0, "Request cancelled");
}

#[tokio::test]
async fn a_result_that_breaks_its_plan_is_found_and_a_written_secret_refused() {
    let program = Program::new();
    let plugin = program.start("inconsistent").await;
    let schema = thing(&plugin).await;
    let (planned, applied) = apply(&plugin, config("one")).await;
    let state = applied.state.unwrap();
    let problems = result_problems(
        &schema.block,
        &schema.block.without_write_only(&planned),
        &state,
    );
    assert!(
        problems.iter().any(|p| p.to_string()
            == ".name: was cty.StringVal(\"one\"), but now cty.StringVal(\"another\")"),
        "{problems:?}"
    );
    assert_eq!(only(&applied.diagnostics).0, "Invalid provider response");
    plugin.close().await;
}

#[tokio::test]
async fn a_program_that_is_no_plugin_or_never_speaks_is_given_up() {
    let program = Program::new();
    let start = |behaviour: &'static str, patience| {
        let mut launcher = program.launcher(behaviour);
        launcher.start_timeout = patience;
        let path = program.path();
        async move { launcher.start(&path).await.map(|_| ()).unwrap_err() }
    };
    let patient = Duration::from_secs(30);
    let error = start("not a plugin", patient).await;
    assert!(matches!(&error, Error::Handshake { .. }), "{error}");
    assert!(
        error.to_string().contains("This binary is a plugin"),
        "{error}"
    );
    let error = start("exits", patient).await;
    assert!(matches!(&error, Error::Exited { .. }), "{error}");
    assert!(error.to_string().contains("exit status: 3"), "{error}");
    assert!(
        error.to_string().contains("cannot find its settings"),
        "{error}"
    );
    let error = start("silent", Duration::from_millis(300)).await;
    assert!(matches!(error, Error::HandshakeTimeout { .. }), "{error}");
    let missing = Launcher::default()
        .start(Path::new("/nonexistent/provider"))
        .await
        .unwrap_err();
    assert!(matches!(missing, Error::Spawn { .. }), "{missing}");
}

#[tokio::test]
async fn a_peer_that_is_not_the_one_of_the_handshake_is_refused() {
    let program = Program::new();
    let error = program
        .launcher("other certificate")
        .start(&program.path())
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::Connect { .. }), "{error:?}");
    let error = program
        .launcher("plain tcp")
        .start(&program.path())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Plain { .. }), "{error}");
}

#[tokio::test]
async fn answers_of_more_than_64_mb_arrive_and_noise_on_standard_output_is_taken() {
    let program = Program::new();
    let plugin = program.start("large").await;
    let text = plugin
        .call_function("large".into(), vec![Value::number(70_000_000)])
        .await
        .unwrap();
    assert_eq!(text.as_str().map(str::len), Some(70_000_000));
    plugin.close().await;
}

#[tokio::test]
async fn a_schema_is_asked_for_once_and_kept_between_runs() {
    let program = Program::new();
    let cache = tempfile::tempdir().unwrap();
    let mut launcher = program.launcher("v6");
    launcher.schema_cache = Some(cache.path().to_owned());
    let mut types = Vec::new();
    for _ in 0..2 {
        // The second run is another process of ours, with nothing in memory.
        let fresh = launcher_like(&launcher);
        for _ in 0..2 {
            let plugin = fresh.start(&program.path()).await.unwrap();
            let schema = thing(&plugin).await;
            types.push(schema.block.implied_type());
            assert_eq!(
                schema.identity.as_ref().map(|i| i.attributes.len()),
                Some(1)
            );
            plugin.close().await;
        }
    }
    assert!(types.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(program.schema_requests(), 1);

    // A damaged file is not believed.
    let file = std::fs::read_dir(cache.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let plugin = launcher_like(&launcher)
        .start(&program.path())
        .await
        .unwrap();
    assert_eq!(thing(&plugin).await.block.implied_type(), types[0]);
    assert_eq!(program.schema_requests(), 2);
    plugin.close().await;
}

/// The same settings without what a launcher remembers.
fn launcher_like(launcher: &Launcher) -> Launcher {
    Launcher {
        environment: launcher.environment.clone(),
        schema_cache: launcher.schema_cache.clone(),
        start_timeout: launcher.start_timeout,
        ..Launcher::default()
    }
}
