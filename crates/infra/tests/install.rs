//! Modules and providers installed from a server on loopback: registries, a network mirror, archives.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::Sources;
use consort_infra::address::ModulePath;
use consort_infra::config::{Requirements, check_references, load, parse_provider_source};
use consort_infra::install::cli_config::{Location, Method};
use consort_infra::install::{
    Authentication, CliConfig, Event, Http, Installer, Locks, Manifest, Mode, ModuleInstaller,
    Platform, executables,
};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A path, headers and a body.
type Page = (String, Vec<(&'static str, String)>, Vec<u8>);

type Pages = Arc<BTreeMap<String, (Vec<(&'static str, String)>, Vec<u8>)>>;

/// Serves pages by path until the returned task is dropped.
async fn serve(pages: impl FnOnce(&str) -> Vec<Page>) -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let pages: Pages = Arc::new(
        pages(&base)
            .into_iter()
            .map(|(path, headers, body)| (path, (headers, body)))
            .collect(),
    );
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let pages = pages.clone();
            connections.spawn(async move {
                let service =
                    service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                        let pages = pages.clone();
                        async move {
                            let found = pages.get(request.uri().path());
                            let mut response = hyper::Response::builder()
                                .status(if found.is_some() { 200 } else { 404 });
                            for (name, value) in
                                found.map(|(headers, _)| headers).into_iter().flatten()
                            {
                                response = response.header(*name, value);
                            }
                            let body = found.map(|(_, body)| body.clone()).unwrap_or_default();
                            response.body(Full::new(Bytes::from(body)))
                        }
                    });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (base, tasks)
}

fn json(value: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn kind(value: &str) -> Vec<(&'static str, String)> {
    vec![("content-type", value.to_string())]
}

fn zip_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in files {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A configuration in which the host `registry.test` has its services at `base`.
fn cli_config(directory: &Path, base: &str) -> Arc<CliConfig> {
    let path = directory.join("cli.tfrc");
    let text = format!(
        "host \"registry.test\" {{\n  services = {{\n    \"modules.v1\" = \"{base}/modules/\"\n    \"providers.v1\" = \"{base}/providers/\"\n  }}\n}}\n"
    );
    std::fs::write(&path, text).unwrap();
    let mut config = CliConfig::default();
    config.add_file(&path, &HashMap::new()).unwrap();
    Arc::new(config)
}

const ZIP: &[u8] = include_bytes!("testdata/provider-demo.zip");
const SUMS: &[u8] = include_bytes!("testdata/provider-demo_SHA256SUMS");
const SIGNATURE: &[u8] = include_bytes!("testdata/provider-demo_SHA256SUMS.sig");
const KEY: &str = include_str!("testdata/provider-demo.asc");

fn provider_pages(base: &str, zip: &[u8], signature: &[u8]) -> Vec<Page> {
    let platform = Platform::current();
    let name = format!("terraform-provider-demo_1.2.0_{platform}.zip");
    let digest = String::from_utf8_lossy(SUMS)
        .split_whitespace()
        .next()
        .unwrap()
        .to_string();
    let download = serde_json::json!({
        "protocols": ["5.0", "6.0"], "os": platform.os, "arch": platform.arch, "filename": name,
        "download_url": format!("{base}/files/{name}"), "shasum": digest,
        "shasums_url": "/files/SUMS", "shasums_signature_url": "/files/SUMS.sig",
        "signing_keys": { "gpg_public_keys": [{ "key_id": "x", "ascii_armor": KEY }] },
    });
    vec![
        (
            "/providers/acme/demo/versions".to_string(),
            kind("application/json"),
            json(&serde_json::json!({"versions": [
                {"version": "1.0.0"}, {"version": "1.2.0"}, {"version": "1.3.0-beta1"}, {"version": "2.0.0"}]})),
        ),
        (
            format!(
                "/providers/acme/demo/1.2.0/download/{}/{}",
                platform.os, platform.arch
            ),
            kind("application/json"),
            json(&download),
        ),
        (
            format!("/files/{name}"),
            kind("application/zip"),
            zip.to_vec(),
        ),
        ("/files/SUMS".to_string(), kind("text/plain"), SUMS.to_vec()),
        (
            "/files/SUMS.sig".to_string(),
            kind("application/octet-stream"),
            signature.to_vec(),
        ),
    ]
}

fn requirements() -> Requirements {
    let provider = parse_provider_source("registry.test/acme/demo").unwrap();
    Requirements::from([(provider, "~> 1.1".parse().unwrap())])
}

#[tokio::test]
async fn a_provider_is_chosen_checked_by_signature_and_locked() {
    let (base, _server) = serve(|base| provider_pages(base, ZIP, SIGNATURE)).await;
    let directory = tempfile::tempdir().unwrap();
    let config = cli_config(directory.path(), &base);
    let installer = Installer::new(&config, &HashMap::new())
        .unwrap()
        .with_methods(vec![Method::for_all(Location::Direct)]);
    let target = directory.path().join("providers");
    let mut seen = Vec::new();
    let (locks, failures) = installer
        .install(
            &requirements(),
            &Locks::default(),
            Mode::Locked,
            &target,
            &mut |event| seen.push(event),
        )
        .await;
    assert!(failures.is_empty(), "{failures:?}");
    let authentication = seen.iter().find_map(|event| match event {
        Event::Installed { authentication, .. } => Some(authentication.clone()),
        _ => None,
    });
    assert!(
        matches!(authentication, Some(Authentication::Signed(_))),
        "{authentication:?}"
    );
    let lock = locks.0.values().next().unwrap();
    assert_eq!(
        (lock.version.to_string().as_str(), lock.constraints.as_str()),
        ("1.2.0", "~> 1.1")
    );
    assert!(
        lock.hashes.iter().any(|hash| hash.scheme() == "h1")
            && lock.hashes.iter().any(|hash| hash.scheme() == "zh")
    );
    let found = executables(&requirements(), &locks, &config, &target).unwrap();
    assert!(
        found
            .values()
            .next()
            .unwrap()
            .ends_with("terraform-provider-demo_v1.2.0")
    );

    // Once more: nothing is fetched. With the package changed on disk: it is no longer taken for what was locked.
    seen.clear();
    let (again, _) = installer
        .install(
            &requirements(),
            &locks,
            Mode::Locked,
            &target,
            &mut |event| seen.push(event),
        )
        .await;
    assert!(
        again == locks
            && seen
                .iter()
                .any(|event| matches!(event, Event::AlreadyInstalled { .. }))
    );
    std::fs::write(found.values().next().unwrap(), "changed").unwrap();
    assert!(executables(&requirements(), &locks, &config, &target).is_err());
}

#[tokio::test]
async fn a_package_that_is_not_what_was_signed_is_refused() {
    let mut changed = ZIP.to_vec();
    changed.push(0);
    let mut damaged = SIGNATURE.to_vec();
    let middle = damaged.len() - 8;
    damaged[middle] ^= 1;
    for (zip, signature, said) in [
        (&changed[..], SIGNATURE, "incorrect checksum"),
        (ZIP, &damaged[..], "error checking signature"),
    ] {
        let (base, _server) = serve(|base| provider_pages(base, zip, signature)).await;
        let directory = tempfile::tempdir().unwrap();
        let config = cli_config(directory.path(), &base);
        let installer = Installer::new(&config, &HashMap::new())
            .unwrap()
            .with_methods(vec![Method::for_all(Location::Direct)]);
        let target = directory.path().join("providers");
        let (locks, failures) = installer
            .install(
                &requirements(),
                &Locks::default(),
                Mode::Locked,
                &target,
                &mut |_| {},
            )
            .await;
        assert!(locks.0.is_empty());
        assert!(
            failures[0].error.to_string().contains(said),
            "{}",
            failures[0].error
        );
    }
}

#[tokio::test]
async fn a_network_mirror_and_a_lock_file_must_agree() {
    let platform = Platform::current();
    let (base, _server) = serve(|_| {
        let path = "/mirror/registry.test/acme/demo";
        vec![
            (
                format!("{path}/index.json"),
                kind("application/json"),
                json(&serde_json::json!({"versions": {"1.2.0": {}}})),
            ),
            (
                format!("{path}/1.2.0.json"),
                kind("application/json"),
                json(&serde_json::json!({"archives": {platform.to_string(): {"url": "demo.zip"}}})),
            ),
            (
                format!("{path}/demo.zip"),
                kind("application/zip"),
                ZIP.to_vec(),
            ),
        ]
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let config = cli_config(directory.path(), &base);
    let mirror = Method::for_all(Location::NetworkMirror(format!("{base}/mirror/")));
    let installer = Installer::new(&config, &HashMap::new())
        .unwrap()
        .with_methods(vec![mirror]);
    let target = directory.path().join("providers");
    let (locks, failures) = installer
        .install(
            &requirements(),
            &Locks::default(),
            Mode::Locked,
            &target,
            &mut |_| {},
        )
        .await;
    assert!(failures.is_empty(), "{failures:?}");
    // Somebody else locked another package.
    let text = locks.text().replace("h1:", "h1:x").replace("zh:", "zh:0");
    let (other, _) = Locks::parse(text.as_bytes(), "lock", &mut Sources::new());
    std::fs::remove_dir_all(&target).unwrap();
    let (_, failures) = installer
        .install(&requirements(), &other, Mode::Locked, &target, &mut |_| {})
        .await;
    assert!(
        failures[0]
            .error
            .to_string()
            .contains("doesn't match any of the checksums"),
        "{}",
        failures[0].error
    );
}

#[tokio::test]
async fn modules_come_from_a_registry_archives_git_and_paths() {
    let git = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let status = std::process::Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@t",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .current_dir(git.path())
            .output()
            .unwrap()
            .status;
        assert!(status.success(), "{arguments:?}");
    };
    run(&["init", "-q"]);
    std::fs::create_dir(git.path().join("sub")).unwrap();
    std::fs::write(
        git.path().join("sub/main.tf"),
        "output \"it\" { value = \"old\" }",
    )
    .unwrap();
    run(&["add", "."]);
    run(&["commit", "-qm", "one"]);
    run(&["tag", "v1"]);
    std::fs::write(git.path().join("sub/main.tf"), "nonsense").unwrap();
    run(&["commit", "-qam", "two"]);

    let module = zip_of(&[
        (
            "top/main.tf",
            "variable \"x\" {}\nmodule \"inner\" { source = \"./inner\" }",
        ),
        ("top/inner/main.tf", "output \"y\" { value = 1 }"),
    ]);
    let (base, _server) = serve(|base| {
        vec![
            (
                "/modules/acme/net/cloud/versions".to_string(),
                kind("application/json"),
                json(&serde_json::json!({"modules": [{"versions": [{"version": "1.0.0"}, {"version": "1.5.0"}, {"version": "2.0.0"}, {"version": "1.6.0-rc1"}]}]})),
            ),
            (
                "/modules/acme/net/cloud/1.5.0/download".to_string(),
                vec![("x-terraform-get", format!("{base}/files/net.zip//top"))],
                Vec::new(),
            ),
            ("/files/net.zip".to_string(), kind("application/zip"), module.clone()),
            ("/redirected".to_string(), vec![("x-terraform-get", "./files/net.zip//top".to_string())], Vec::new()),
        ]
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir_all(root.join("here")).unwrap();
    std::fs::write(root.join("here/main.tf"), "").unwrap();
    let text = format!(
        "module \"registry\" {{\n  source = \"registry.test/acme/net/cloud\"\n  version = \"~> 1.0\"\n  x = 1\n}}\nmodule \"archive\" {{\n  source = \"{base}/redirected\"\n  x = module.git.it\n}}\nmodule \"git\" {{\n  source = \"git::file://{}//sub?ref=v1\"\n}}\nmodule \"path\" {{\n  source = \"./here\"\n}}\n",
        git.path().display()
    );
    std::fs::write(root.join("main.tf"), text).unwrap();
    let http = Http::new(cli_config(directory.path(), &base)).unwrap();
    let modules = directory.path().join("modules");
    let mut sources = Sources::new();
    let mut events = Vec::new();
    let (manifest, diagnostics) = ModuleInstaller {
        directory: &modules,
        http: Some(&http),
        base: None,
        upgrade: false,
        events: &mut |event| events.push(event),
    }
    .install(&root, None, &mut sources)
    .await;
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let record = manifest.get(&ModulePath::root().child("registry")).unwrap();
    assert_eq!(record.version.as_ref().unwrap().to_string(), "1.5.0");
    assert_eq!(record.source, "registry.test/acme/net/cloud");
    assert!(record.directory.ends_with("registry/top"));
    let (tree, diagnostics) = load(
        &root,
        &Manifest::read(&modules).unwrap(),
        None,
        &mut sources,
    );
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let tree = tree.unwrap();
    assert!(check_references(&tree).is_empty());
    assert!(tree.children["archive"].children.contains_key("inner"));

    // A second time nothing is fetched.
    events.clear();
    let (_, diagnostics) = ModuleInstaller {
        directory: &modules,
        http: None,
        base: None,
        upgrade: false,
        events: &mut |event| events.push(event),
    }
    .install(&root, None, &mut sources)
    .await;
    assert!(
        diagnostics.is_empty() && events.is_empty(),
        "{diagnostics:?} {events:?}"
    );
}

#[tokio::test]
async fn a_module_that_cannot_be_had_is_an_error_at_its_call() {
    let directory = tempfile::tempdir().unwrap();
    let (base, _server) = serve(|_| Vec::new()).await;
    let http = Http::new(cli_config(directory.path(), &base)).unwrap();
    for (source, said) in [
        (format!("{base}/missing.zip"), "Failed to download module"),
        (
            format!("{base}/x.zip?checksum=sha256:00"),
            "Failed to download module",
        ),
        (
            "s3::https://s3.amazonaws.com/bucket/x.zip".to_string(),
            "Failed to download module",
        ),
        (
            "registry.test/acme/missing/cloud".to_string(),
            "Module not found",
        ),
        ("./missing".to_string(), "Unreadable module directory"),
    ] {
        let root = directory.path().join("root");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(
            root.join("main.tf"),
            format!("module \"m\" {{\n  source = \"{source}\"\n}}\n"),
        )
        .unwrap();
        let modules = directory.path().join("modules");
        let (_, diagnostics) = ModuleInstaller {
            directory: &modules,
            http: Some(&http),
            base: None,
            upgrade: false,
            events: &mut |_| {},
        }
        .install(&root, None, &mut Sources::new())
        .await;
        assert_eq!(
            diagnostics.first_error().unwrap().summary,
            said,
            "{source}: {diagnostics:?}"
        );
        assert!(!modules.join("modules.json").exists());
    }
}
