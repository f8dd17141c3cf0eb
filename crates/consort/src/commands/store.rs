//! `consort store`.

use std::path::PathBuf;

use consort_store::{Damage, Key, Report, check_backup, inspect, restore, verify};

use crate::cli::{Store as Command, StoreDir};
use crate::error::{Failure, Kind, Result, chain};
use crate::output;
use crate::server::running_pid;
use crate::settings::Configuration;
use crate::store::{Done, Opened, Request, ask, dir, encryption, keys_path};

/// Damage and leaks are listed up to this many; the rest is counted.
const LISTED: usize = 50;

pub(super) async fn run(configuration: &Configuration, command: Command) -> Result<()> {
    match command {
        Command::Backup { file, store } => {
            let path = std::path::absolute(&file)?;
            let place = Place::of(configuration, &store);
            match place.perform(Request::Backup { path }).await? {
                Done::Backup(written) => {
                    output::print(&format!(
                        "{}: {} objects at revision {}, {} bytes\n",
                        file.display(),
                        written.objects,
                        written.revision,
                        written.bytes
                    ));
                    output::print(&format!(
                        "secrets in it are sealed: to restore it elsewhere, keep {} too, in another place\n",
                        keys_path(&place.data_dir).display()
                    ));
                    Ok(())
                }
                other => Err(unexpected(&other)),
            }
        }
        Command::Restore {
            file,
            bump_revision,
            store,
        } => {
            let place = Place::of(configuration, &store);
            if let Some(pid) = running_pid(&place.data_dir)? {
                return Err(Failure::new(
                    Kind::Failed,
                    format!("{} is served by process {pid}", place.data_dir.display()),
                )
                .hint("stop it with `consort down` first"));
            }
            let target = dir(&place.data_dir);
            let restored = restore(&file, &target, bump_revision).map_err(|error| {
                let failure = failed(&error);
                match error {
                    consort_store::Error::NotEmpty { .. } => {
                        failure.hint("move it away first: a restore replaces nothing")
                    }
                    _ => failure,
                }
            })?;
            output::print(&format!(
                "{}: {} objects restored, the next revision is {}\n",
                target.display(),
                restored.objects,
                restored.revision.0 + 1
            ));
            if !keys_path(&place.data_dir).exists() {
                output::print(&format!(
                    "put the keys that sealed its secrets at {} before the first start\n",
                    keys_path(&place.data_dir).display()
                ));
            }
            Ok(())
        }
        Command::Verify {
            encrypted,
            backup,
            store,
        } => match backup {
            Some(file) => {
                let found = check_backup(&file).map_err(|error| failed(&error))?;
                output::print(&format!(
                    "{}: {} objects at revision {}, {} bytes, no damage\n",
                    file.display(),
                    found.objects,
                    found.revision,
                    found.bytes
                ));
                Ok(())
            }
            None => Place::of(configuration, &store).verify(encrypted),
        },
        Command::Inspect { key, raw, store } => Place::of(configuration, &store).inspect(&key, raw),
        Command::Compact { store } => {
            let place = Place::of(configuration, &store);
            match place.perform(Request::Compact).await? {
                Done::Compacted { revision } => {
                    output::print(&format!(
                        "compacted: history begins at revision {revision}\n"
                    ));
                    Ok(())
                }
                other => Err(unexpected(&other)),
            }
        }
        Command::Reseal { new_key, store } => {
            let place = Place::of(configuration, &store);
            match place.perform(Request::Reseal { new_key }).await? {
                Done::Resealed { objects, key } => {
                    let with = key
                        .map(|key| format!(" with key {key}"))
                        .unwrap_or_default();
                    output::print(&format!("{objects} objects sealed anew{with}\n"));
                    Ok(())
                }
                other => Err(unexpected(&other)),
            }
        }
    }
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(Kind::Failed, chain(error))
}

fn unexpected(done: &Done) -> Failure {
    Failure::new(
        Kind::Failed,
        format!("the server did something else: {done:?}"),
    )
}

/// The data directory a command is about.
struct Place {
    data_dir: PathBuf,
    encryption_config: Option<PathBuf>,
}

impl Place {
    fn of(configuration: &Configuration, store: &StoreDir) -> Self {
        Self {
            data_dir: configuration.data_dir(store.data_dir.as_ref()),
            encryption_config: configuration.encryption_config(store.encryption_config.as_ref()),
        }
    }

    /// Has the server do it, or does it here if none runs.
    async fn perform(&self, request: Request) -> Result<Done> {
        if running_pid(&self.data_dir)?.is_some() {
            return ask(&self.data_dir, &request).await;
        }
        self.must_exist()?;
        let (data_dir, config) = (self.data_dir.clone(), self.encryption_config.clone());
        let opened =
            tokio::task::spawn_blocking(move || Opened::open(&data_dir, config.as_deref()))
                .await
                .map_err(anyhow::Error::from)??;
        let done = opened.perform(request).await;
        opened.store.close().await;
        done.map_err(Failure::from)
    }

    fn must_exist(&self) -> Result<()> {
        let dir = dir(&self.data_dir);
        if dir.is_dir() {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Failed,
            format!("there is no store at {}", dir.display()),
        )
        .hint("name its data directory with --data-dir"))
    }

    fn verify(&self, encrypted: bool) -> Result<()> {
        self.must_exist()?;
        if !keys_path(&self.data_dir).exists() && self.encryption_config.is_none() {
            return self.report(encrypted, &self.look(None, encrypted)?);
        }
        let (encryption, _) = encryption(&self.data_dir, self.encryption_config.as_deref())?;
        self.report(encrypted, &self.look(Some(&encryption), encrypted)?)
    }

    fn look(
        &self,
        encryption: Option<&consort_encryption::Encryption>,
        encrypted: bool,
    ) -> Result<Report> {
        let secret = |key: &Key| match encryption {
            Some(encryption) => encryption.encrypts(key),
            None => key.group() == "core" && key.plural() == "secrets",
        };
        let secret: consort_store::Secret<'_> = &secret;
        let transform = encryption.map(|e| e as &dyn consort_store::Transform);
        verify(&dir(&self.data_dir), transform, encrypted.then_some(secret))
            .map_err(|error| failed(&error))
    }

    fn report(&self, encrypted: bool, report: &Report) -> Result<()> {
        let mut text = format!(
            "{}: {} objects at revision {}, {} records in {} files, {} bytes\n",
            dir(&self.data_dir).display(),
            report.objects,
            report.revision,
            report.records,
            report.segments,
            report.bytes
        );
        for (by, count) in &report.sealed {
            text.push_str(&format!("{count} records sealed by {by}\n"));
        }
        text.push_str(&format!("{} records readable\n", report.plain));
        if report.torn {
            text.push_str("a write at the end is not finished; opening the store drops it\n");
        }
        list(&mut text, "damaged", &report.damage);
        list(&mut text, "not encrypted", &report.leaks);
        output::print(&text);
        match (report.damage.len(), report.leaks.len()) {
            (0, 0) if encrypted => {
                output::print("no damage, and nothing that should be encrypted can be read\n");
                Ok(())
            }
            (0, 0) => {
                output::print("no damage\n");
                Ok(())
            }
            (0, leaks) => Err(Failure::new(
                Kind::Failed,
                format!("{leaks} places can be read that should be encrypted"),
            )
            .hint("`consort store reseal` encrypts what is there and leaves nothing else on disk")),
            (damage, _) => Err(Failure::new(
                Kind::Failed,
                format!("{damage} places are damaged"),
            )),
        }
    }

    fn inspect(&self, name: &str, raw: bool) -> Result<()> {
        self.must_exist()?;
        let key = parse(name).ok_or_else(|| {
            Failure::new(
                Kind::Usage,
                format!("{name:?} names no object: expected secrets/NAMESPACE/NAME, deployments.apps/NAMESPACE/NAME or nodes/NAME"),
            )
        })?;
        let encryption = if keys_path(&self.data_dir).exists() {
            Some(encryption(&self.data_dir, self.encryption_config.as_deref())?.0)
        } else {
            None
        };
        let transform = encryption
            .as_ref()
            .map(|e| e as &dyn consort_store::Transform);
        let found =
            inspect(&dir(&self.data_dir), &key, transform).map_err(|error| failed(&error))?;
        if found.is_empty() {
            return Err(Failure::new(
                Kind::Failed,
                format!("{key} is not in the store"),
            ));
        }
        for record in &found {
            output::print(&format!(
                "{} byte {}: revision {}, {}, {} bytes, {}\n",
                record.path.display(),
                record.offset,
                record.revision,
                record.kind,
                record.raw.len(),
                record
                    .sealed
                    .as_ref()
                    .map_or_else(|| "readable".to_owned(), |by| format!("sealed by {by}"))
            ));
            if raw {
                output::print(&dump(&record.raw));
            }
        }
        Ok(())
    }
}

fn list(text: &mut String, what: &str, places: &[Damage]) {
    for place in places.iter().take(LISTED) {
        text.push_str(&format!(
            "{what}: {} byte {}: {}\n",
            place.path.display(),
            place.offset,
            place.detail
        ));
    }
    if places.len() > LISTED {
        text.push_str(&format!("{what}: and {} more\n", places.len() - LISTED));
    }
}

/// `secrets/shop/db`, `deployments.apps/shop/web`, `nodes/n1`, or a key as it is stored.
fn parse(name: &str) -> Option<Key> {
    if name.starts_with('/') {
        return Key::parse(name).ok();
    }
    let mut parts = name.split('/');
    let resource = parts.next()?;
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let first = parts.next()?;
    match (parts.next(), parts.next()) {
        (None, _) => Key::new(group, plural, None, first).ok(),
        (Some(name), None) => Key::new(group, plural, Some(first), name).ok(),
        _ => None,
    }
}

/// Bytes as `hexdump -C` shows them.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, chunk) in bytes.chunks(16).enumerate() {
        text.push_str(&format!("{:08x} ", line * 16));
        for at in 0..16 {
            match chunk.get(at) {
                Some(byte) => text.push_str(&format!(" {byte:02x}")),
                None => text.push_str("   "),
            }
        }
        let shown = chunk.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        text.push_str("  |");
        text.extend(shown);
        text.push_str("|\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_kubectl_names_them() {
        let key = |name| parse(name).map(|key| key.as_str().to_owned());
        assert_eq!(key("secrets/a/b").as_deref(), Some("/core/secrets/a/b"));
        assert_eq!(
            key("deployments.apps/a/b").as_deref(),
            Some("/apps/deployments/a/b")
        );
        assert_eq!(key("nodes/n").as_deref(), Some("/core/nodes/n"));
        assert_eq!(key("/core/nodes/n").as_deref(), Some("/core/nodes/n"));
        for name in ["", "secrets", "a/b/c/d", "secrets//x"] {
            assert_eq!(key(name), None, "{name}");
        }
    }

    #[test]
    fn bytes_are_shown_with_their_text() {
        let text = dump(b"k8s:enc\0 and more than a line");
        assert!(text.starts_with("00000000  6b 38 73"));
        assert!(text.contains("|k8s:enc. and mor|"));
        assert_eq!(text.lines().count(), 2);
    }
}
