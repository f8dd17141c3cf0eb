//! `consort score`: scores that the server follows.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use consort_score::follow::{GitSpec, Score, SourceSpec, Spec, Status, SyncMode, SyncSpec};
use consort_score::git::Credentials;
use consort_score::records::Records;
use consort_score::{NAMESPACE, sync};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Resource as _};

use crate::cli::{Score as Command, ScoreAdd, ScoreList, ScoreRm, ScoreShow, Target};
use crate::connect::connect;
use crate::error::{Failure, Kind, Result, chain};
use crate::output;
use crate::scores::failure;

/// Who writes what is written here.
const MANAGER: &str = "consort-cli";

/// Runs one of the commands.
pub(super) async fn run(command: Command) -> Result<()> {
    match command {
        Command::Add(args) => add(*args).await,
        Command::List(args) => list(args).await,
        Command::Show(args) => show(args).await,
        Command::Rm(args) => remove(args).await,
    }
}

/// A server with scores, and the namespace they are in.
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) namespace: String,
}

impl Place {
    pub(super) async fn find(target: &Target) -> Result<Self> {
        let connection = connect(target).await?;
        Ok(Self {
            client: connection.client,
            namespace: target
                .namespace
                .clone()
                .unwrap_or_else(|| NAMESPACE.to_owned()),
        })
    }

    pub(super) fn scores(&self) -> Api<Score> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) async fn get(&self, name: &str) -> Result<Score> {
        self.scores()
            .get_opt(name)
            .await?
            .ok_or_else(|| unknown(name))
    }
}

pub(super) fn unknown(name: &str) -> Failure {
    Failure::new(Kind::Input, format!("the server knows no score {name:?}"))
        .hint("see `consort score list`")
}

async fn add(args: ScoreAdd) -> Result<()> {
    let spec = spec(&args)?;
    let credentials = credentials(&args)?;
    let place = Place::find(&args.target).await?;
    let records = Records::new(place.client.clone(), place.namespace.clone());
    records.install().await.map_err(|error| failure(&error))?;
    let found = place.scores().get_opt(&args.name).await?;
    if let Some(found) = &found
        && let Ok(Spec {
            source: Some(SourceSpec::Directory(directory)),
            ..
        }) = found.spec()
    {
        eprintln!(
            "{} {} was applied from {}; from now on it follows the repository",
            output::cyan("note:"),
            args.name,
            directory.path
        );
    }
    let mut spec = spec;
    if let Some(credentials) = credentials {
        let name = format!("{}-git", args.name);
        let data = credentials.to_data();
        put_secret(&place, &name, "consort.dev/git", data).await?;
        set_git(&mut spec, |git| git.credentials = Some(name));
    }
    let mut token = None;
    if args.webhook {
        let name = format!("{}-webhook", args.name);
        let made = format!(
            "{}{}",
            uuid::Uuid::new_v4().simple(),
            uuid::Uuid::new_v4().simple()
        );
        let data = BTreeMap::from([("token".to_owned(), made.clone())]);
        put_secret(&place, &name, "Opaque", data).await?;
        set_git(&mut spec, |git| git.webhook = Some(name));
        token = Some(made);
    }
    let mut score = Score::new(&place.namespace, &args.name, &spec);
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    match found {
        None => {
            place.scores().create(&params, &score).await?;
        }
        // Its former source and settings go in the same write.
        Some(found) => {
            score.metadata = found.metadata;
            score.metadata.managed_fields = None;
            place.scores().replace(&args.name, &params, &score).await?;
        }
    }
    output::print(&format!(
        "{} follows {}; see how it goes with: consort score show {}\n",
        args.name, args.git, args.name
    ));
    if let Some(token) = token {
        let path = if place.namespace == NAMESPACE {
            format!("/hooks/scores/{}", args.name)
        } else {
            format!("/hooks/scores/{}/{}", place.namespace, args.name)
        };
        output::print(&format!(
            "webhook: POST {path} on the address of this server, with the secret {token}\n"
        ));
    }
    Ok(())
}

fn set_git(spec: &mut Spec, change: impl FnOnce(&mut GitSpec)) {
    if let Some(SourceSpec::Git(git)) = &mut spec.source {
        change(git);
    }
}

/// The spec that the command line means.
fn spec(args: &ScoreAdd) -> Result<Spec> {
    let usage = |error: &dyn std::error::Error| Failure::new(Kind::Usage, chain(error));
    // A path on this machine may be relative; the server knows nothing of where this command runs.
    let url = if Path::new(&args.git).is_dir() {
        let path = std::fs::canonicalize(&args.git)?;
        path.to_string_lossy().into_owned()
    } else {
        args.git.clone()
    };
    let git = GitSpec {
        url: url.parse().map_err(|error| usage(&error))?,
        reference: args.reference.parse().map_err(|error| usage(&error))?,
        path: args.path.trim_matches('/').to_owned(),
        interval: serde_json::from_value(args.interval.clone().into())
            .map_err(|error| Failure::new(Kind::Usage, format!("--interval {error}")))?,
        credentials: args.credentials.clone(),
        webhook: None,
    };
    let mut windows = Vec::with_capacity(args.windows.len());
    for text in &args.windows {
        windows.push(window(text)?);
    }
    Ok(Spec {
        source: Some(SourceSpec::Git(git)),
        sync: SyncSpec {
            mode: if args.manual {
                SyncMode::Manual
            } else {
                SyncMode::Automatic
            },
            prune: args.no_prune.then_some(false),
            self_heal: !args.no_self_heal,
            windows,
            ..SyncSpec::default()
        },
        suspend: false,
    })
}

/// `allow|deny:SCHEDULE:DURATION[:ZONE]`.
fn window(text: &str) -> Result<sync::Window> {
    let usage = |why: String| Failure::new(Kind::Usage, format!("--window {text:?}: {why}"));
    let mut parts = text.splitn(4, ':');
    let (Some(kind), Some(schedule), Some(duration)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(usage(
            "expected allow|deny:SCHEDULE:DURATION[:ZONE], such as \"deny:0 22 * * *:8h\""
                .to_owned(),
        ));
    };
    let window = sync::Window {
        kind: match kind {
            "allow" => sync::WindowKind::Allow,
            "deny" => sync::WindowKind::Deny,
            other => return Err(usage(format!("expected allow or deny, not {other:?}"))),
        },
        schedule: schedule.to_owned(),
        duration: duration.to_owned(),
        time_zone: parts.next().map(str::to_owned),
        manual_sync: false,
    };
    window.check().map_err(|error| usage(error.to_string()))?;
    Ok(window)
}

fn credentials(args: &ScoreAdd) -> Result<Option<Credentials>> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| {
            Failure::new(Kind::Input, format!("reading {}: {error}", path.display()))
        })
    };
    let mut credentials = Credentials::default();
    if args.password_stdin {
        let mut password = String::new();
        std::io::stdin().lock().read_to_string(&mut password)?;
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() || password.contains('\n') {
            return Err(Failure::new(
                Kind::Input,
                "standard input holds no password in one line",
            ));
        }
        credentials = Credentials::basic(args.username.as_deref().unwrap_or("git"), password);
    }
    let known_hosts = args.known_hosts.as_deref().map(read).transpose()?;
    if let Some(key) = &args.ssh_key {
        credentials = credentials.with_key(read(key)?, known_hosts);
    } else if let Some(known_hosts) = known_hosts {
        credentials = credentials.with_known_hosts(known_hosts);
    }
    if let Some(ca) = &args.ca {
        credentials = credentials.with_authorities(read(ca)?);
    }
    Ok((credentials != Credentials::default()).then_some(credentials))
}

async fn put_secret(
    place: &Place,
    name: &str,
    kind: &str,
    data: BTreeMap<String, String>,
) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(place.client.clone(), &place.namespace);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some(kind.to_owned()),
        data: Some(
            data.into_iter()
                .map(|(key, value)| (key, ByteString(value.into_bytes())))
                .collect(),
        ),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &secret).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let patch = serde_json::json!({"data": secret.data});
            secrets
                .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
                .await?;
        }
        created => {
            created?;
        }
    }
    Ok(())
}

async fn list(args: ScoreList) -> Result<()> {
    let place = Place::find(&args.target).await?;
    let found = match place.scores().list(&ListParams::default()).await {
        Ok(found) => found.items,
        // Nobody has followed anything here yet.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if args.json {
        let text = serde_json::to_string_pretty(&found).map_err(anyhow::Error::from)?;
        output::print(&format!("{text}\n"));
        return Ok(());
    }
    if found.is_empty() {
        eprintln!("the server knows no scores");
        return Ok(());
    }
    let header = ["NAME", "SOURCE", "COMMIT", "REVISION", "SYNCED", "REASON"].map(str::to_owned);
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|score| {
            let status = score.status.clone().unwrap_or_default();
            let (synced, reason) = synced(&status);
            vec![
                score.name().to_owned(),
                source(score, &status),
                status.commit.map(|commit| commit.short).unwrap_or_default(),
                status.revision.to_string(),
                synced,
                reason,
            ]
        })
        .collect();
    output::print(&output::table(&header, &rows, true));
    Ok(())
}

fn source(score: &Score, status: &Status) -> String {
    if !status.source.is_empty() {
        return status.source.clone();
    }
    match score.spec().ok().and_then(|spec| spec.source) {
        Some(SourceSpec::Git(git)) => git.url.to_string(),
        Some(SourceSpec::Directory(directory)) => directory.path,
        None => "-".to_owned(),
    }
}

/// The condition `Synced`: its state and its reason.
pub(super) fn synced(status: &Status) -> (String, String) {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Synced")
        .map_or(("Unknown".to_owned(), String::new()), |condition| {
            (condition.status.clone(), condition.reason.clone())
        })
}

async fn show(args: ScoreShow) -> Result<()> {
    let place = Place::find(&args.target).await?;
    let score = place.get(&args.name).await?;
    if args.json {
        let text = serde_json::to_string_pretty(&score).map_err(anyhow::Error::from)?;
        output::print(&format!("{text}\n"));
        return Ok(());
    }
    let status = score.status.clone().unwrap_or_default();
    let spec = score.spec().unwrap_or_default();
    let mut lines = vec![
        ("name", score.name().to_owned()),
        ("source", source(&score, &status)),
    ];
    if spec.suspend {
        lines.push(("suspended", "yes".to_owned()));
    }
    let git = matches!(spec.source, Some(SourceSpec::Git(_)));
    if git {
        let mode = match spec.sync.mode {
            SyncMode::Automatic => "on each commit",
            SyncMode::Manual => "when asked for",
        };
        lines.push(("syncs", mode.to_owned()));
    }
    let heals = if spec.sync.self_heal {
        "puts it back"
    } else {
        "tells of it"
    };
    lines.push(("drift", heals.to_owned()));
    if let Some(commit) = &status.commit {
        let mut text = commit.id.clone();
        if !commit.author.is_empty() {
            text.push_str(&format!(" by {}: {}", commit.author, commit.subject));
        }
        lines.push(("commit", consort_score::render::escaped(&text).into_owned()));
    }
    lines.push(("revision", status.revision.to_string()));
    if let Some(waiting) = &status.waiting {
        lines.push(("blueprint", waiting.blueprint.clone()));
    }
    let mut text = String::new();
    for (name, value) in lines {
        text.push_str(&format!("{name:<10} {value}\n"));
    }
    for condition in &status.conditions {
        text.push_str(&format!(
            "{:<10} {} ({}): {}\n",
            condition.type_.to_lowercase(),
            condition.status,
            condition.reason,
            consort_score::render::escaped(&condition.message)
        ));
    }
    output::print(&text);
    Ok(())
}

async fn remove(args: ScoreRm) -> Result<()> {
    let place = Place::find(&args.target).await?;
    for name in &args.names {
        match place.scores().delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(unknown(name)),
            deleted => {
                deleted?;
            }
        }
        output::print(&format!(
            "{} {name} is no longer followed; what it made stays (`consort destroy {name}` deletes it)\n",
            Score::kind(&()).to_lowercase()
        ));
    }
    Ok(())
}
