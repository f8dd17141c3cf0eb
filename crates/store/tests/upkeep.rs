//! Backups, restoring them, looking at what is on disk, and making it small.
#![allow(missing_docs)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{key, list, note, pod, put, small, write};
use consort_object::{Draft, Revision};
use consort_store::{
    Error, Expect, Key, Options, Store, Transform, Write, check_backup, inspect, restore, verify,
};
use serde_json::json;

/// Seals by flipping bits, under a name that can change.
struct Flip(&'static str);

impl Transform for Flip {
    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Option<Vec<u8>>, String> {
        if key.plural() != "secrets" {
            return Ok(None);
        }
        let body = plain.iter().map(|byte| !byte);
        Ok(Some(self.0.bytes().chain(body).collect()))
    }

    fn open(&self, _: &Key, sealed: &[u8]) -> Result<Vec<u8>, String> {
        Ok(sealed[2..].iter().map(|byte| !byte).collect())
    }

    fn stale(&self, key: &Key, sealed: Option<&[u8]>) -> bool {
        match sealed {
            Some(sealed) => !sealed.starts_with(self.0.as_bytes()),
            None => key.plural() == "secrets",
        }
    }

    fn describe(&self, _: &Key, sealed: &[u8]) -> String {
        String::from_utf8_lossy(&sealed[..2]).into_owned()
    }
}

fn with(dir: &Path, transform: Option<&'static str>) -> Options {
    let mut options = small(dir);
    options.transform = transform.map(|name| Arc::new(Flip(name)) as Arc<dyn Transform>);
    options
}

fn secret(name: &str) -> Key {
    key(&format!("/core/secrets/shop/{name}"))
}

async fn write_secret(store: &Store, name: &str, value: &str) {
    let object = json!({"metadata": {"name": name}, "data": {"password": value}});
    let put = Write::Put {
        key: secret(name),
        draft: Draft::from_value(&object, vec![]).unwrap(),
        expect: Expect::Any,
    };
    store.commit(vec![put]).await.unwrap();
}

fn is_secret(key: &Key) -> bool {
    key.plural() == "secrets"
}

#[tokio::test]
async fn a_backup_taken_under_writes_is_one_revision_and_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(small(&dir.path().join("a"))).unwrap();
    for n in 0..300 {
        write(&store, &pod(&format!("p{n:03}")), &format!("v{n}")).await;
    }
    write(&store, &pod("p007"), "newer").await;
    common::delete(&pod("p008"), Expect::Any);
    store
        .commit(vec![common::delete(&pod("p008"), Expect::Any)])
        .await
        .unwrap();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0..300 {
                write(&store, &pod(&format!("p{n:03}")), "later").await;
                if n % 50 == 0 {
                    store.compact(store.revision()).await.unwrap();
                }
            }
        }
    });
    let path = dir.path().join("backup");
    let backup = tokio::task::spawn_blocking({
        let (store, path) = (store.clone(), path.clone());
        move || store.backup(std::fs::File::create(path).unwrap())
    });
    let backup = backup.await.unwrap().unwrap();
    writer.await.unwrap();
    assert_eq!(check_backup(&path).unwrap(), backup);
    assert_eq!(backup.bytes, std::fs::metadata(&path).unwrap().len());

    let target = dir.path().join("b");
    let restored = restore(&path, &target, 1000).unwrap();
    assert_eq!(restored.revision.0, backup.revision.0 + 1000);
    assert!(matches!(
        restore(&path, &target, 0),
        Err(Error::NotEmpty { .. })
    ));
    let again = Store::open(small(&target)).unwrap();
    let found = list(&again, "/core/pods/", None);
    assert_eq!(found.len() as u64, backup.objects);
    assert_eq!(again.count("/core/pods/") as u64, backup.objects);
    for (name, content) in &found {
        let at = again.get(&pod(name)).unwrap().unwrap();
        assert!(at.revision <= backup.revision);
        assert_eq!(&note(&at), content);
    }
    // Whoever saw anything before has to list again.
    assert_eq!(again.revision(), restored.revision);
    assert!(matches!(
        again.watch("/core/pods/", Revision(backup.revision.0 + 1)),
        Err(Error::Compacted { .. })
    ));
    let next = write(&again, &pod("new"), "x").await;
    assert_eq!(next.0, restored.revision.0 + 1);
    again.close().await;
    let again = Store::open(small(&target)).unwrap();
    assert_eq!(again.count("/core/pods/") as u64, backup.objects + 1);
}

#[tokio::test]
async fn a_damaged_backup_is_refused_with_the_place_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(small(&dir.path().join("a"))).unwrap();
    for n in 0..20 {
        write(&store, &pod(&format!("p{n}")), "x").await;
    }
    let mut whole = Vec::new();
    store.backup(&mut whole).unwrap();
    let path = dir.path().join("backup");
    let target = dir.path().join("b");
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        // The time it was taken at is behind the header's checksum, as everything else is.
        std::fs::write(&path, &bytes).unwrap();
        let refused = restore(&path, &target, 0);
        assert!(
            matches!(refused, Err(Error::Corrupt { .. })),
            "byte {at}: {refused:?}"
        );
        assert!(!target.exists());
    }
    for end in [0, 10, 40, whole.len() - 1] {
        std::fs::write(&path, &whole[..end]).unwrap();
        assert!(matches!(
            restore(&path, &target, 0),
            Err(Error::Corrupt { .. })
        ));
    }
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(names.len(), 2, "the store and the backup");
    std::fs::write(&path, &whole).unwrap();
    restore(&path, &target, 0).unwrap();
    let log = target.join("0000000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let refused = Store::open(small(&target)).err();
    assert!(
        matches!(refused, Some(Error::Corrupt { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_another_key_sealed_is_sealed_anew_and_nothing_of_it_stays_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(with(dir.path(), None)).unwrap();
    for n in 0..30 {
        write_secret(&store, &format!("s{n}"), "aHVzaC1odXNo").await;
        write(&store, &pod(&format!("p{n}")), "x").await;
    }
    store.close().await;
    let open = verify(dir.path(), None, Some(&is_secret)).unwrap();
    assert_eq!(open.leaks.len(), 30, "{:?}", open.leaks);

    let store = Store::open(with(dir.path(), Some("A:"))).unwrap();
    let before = store.get(&secret("s1")).unwrap();
    assert!(store.stale(&secret("s1")).unwrap());
    assert_eq!(store.reseal().await.unwrap(), 30);
    assert!(!store.stale(&secret("s1")).unwrap());
    // The old records are still there until the log is rewritten.
    let flip = Flip("A:");
    let still = verify(dir.path(), Some(&flip), Some(&is_secret)).unwrap();
    assert!(!still.leaks.is_empty());
    store.shrink().await.unwrap();
    let sealed = verify(dir.path(), Some(&flip), Some(&is_secret)).unwrap();
    assert_eq!((sealed.leaks, sealed.damage), (vec![], vec![]));
    assert_eq!(sealed.objects, 60);
    assert_eq!(sealed.sealed.get("A:"), Some(&30));
    assert_eq!(store.get(&secret("s1")).unwrap(), before);
    store.close().await;

    let store = Store::open(with(dir.path(), Some("B:"))).unwrap();
    assert_eq!(store.reseal().await.unwrap(), 30);
    store.shrink().await.unwrap();
    let records = inspect(dir.path(), &secret("s1"), Some(&Flip("B:"))).unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].sealed.as_deref(), Some("B:"));
    assert_eq!(records[0].revision, before.unwrap().revision);
    store.close().await;
    let store = Store::open(with(dir.path(), Some("B:"))).unwrap();
    assert_eq!(store.get(&secret("s3")).unwrap().unwrap().head.name, "s3");
}

#[tokio::test]
async fn values_left_in_any_file_are_found_and_damage_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(with(dir.path(), Some("A:"))).unwrap();
    write_secret(&store, "s", "aHVzaC1odXNoLWh1c2g=").await;
    for n in 0..50 {
        write(&store, &pod(&format!("p{n}")), "x").await;
    }
    store.close().await;
    let flip = Flip("A:");
    let clean = verify(dir.path(), Some(&flip), Some(&is_secret)).unwrap();
    assert_eq!((clean.leaks.len(), clean.damage.len()), (0, 0));
    // Decoded, in a file that a crash might have left.
    std::fs::write(
        dir.path().join("0000000009.tmp"),
        b"junk hush-hush-hush junk",
    )
    .unwrap();
    let found = verify(dir.path(), Some(&flip), Some(&is_secret)).unwrap();
    assert_eq!(found.leaks.len(), 1);
    assert_eq!(found.leaks[0].offset, 5);
    assert!(found.leaks[0].detail.contains("/core/secrets/shop/s"));

    let log = dir.path().join("0000000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    let damaged = verify(dir.path(), Some(&flip), None).unwrap();
    assert_eq!(damaged.damage.len(), 1, "{:?}", damaged.damage);
    assert_eq!(damaged.damage[0].path, log);
    assert!(damaged.damage[0].offset as usize <= middle);
    assert!(damaged.objects >= 49);
}

#[tokio::test]
async fn damage_in_the_only_frame_of_a_rewritten_log_is_no_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(small(dir.path())).unwrap();
    for n in 0..40 {
        write(&store, &pod(&format!("p{n:02}")), "x").await;
    }
    store.shrink().await.unwrap();
    store.close().await;
    let logs = std::fs::read_dir(dir.path()).unwrap();
    let log = logs
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "log"))
        .unwrap();
    let whole = std::fs::read(&log).unwrap();
    let place = inspect(dir.path(), &pod("p07"), None).unwrap()[0].offset as usize;
    let mut bytes = whole.clone();
    bytes[place + 100] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    let found = verify(dir.path(), None, None).unwrap();
    assert!(!found.torn);
    assert_eq!(found.damage.len(), 1, "{:?}", found.damage);
    assert_eq!(found.damage[0].offset as usize, place);
    assert_eq!(found.objects, 39, "the others can be read");
    // Cut short it is damage too: the index says that there was more.
    std::fs::write(&log, &whole[..whole.len() - 400]).unwrap();
    let cut = verify(dir.path(), None, None).unwrap();
    assert!(!cut.damage.is_empty() && !cut.torn);
    std::fs::write(&log, &whole).unwrap();
    assert!(verify(dir.path(), None, None).unwrap().damage.is_empty());
    // Nor is it when the index is lost: opening refuses, and drops nothing.
    std::fs::write(&log, &bytes).unwrap();
    std::fs::remove_file(dir.path().join("index")).unwrap();
    let refused = Store::open(small(dir.path())).err();
    assert!(
        matches!(refused, Some(Error::Corrupt { .. })),
        "{refused:?}"
    );
    assert_eq!(std::fs::read(&log).unwrap(), bytes);
}

#[tokio::test]
async fn shrinking_leaves_the_present_and_little_else_while_writes_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(small(dir.path())).unwrap();
    for round in 0..20 {
        for n in 0..20 {
            write(
                &store,
                &pod(&format!("p{n:02}")),
                &format!("{round}").repeat(50),
            )
            .await;
        }
    }
    let size = || -> u64 {
        let files = std::fs::read_dir(dir.path()).unwrap();
        files
            .map(|entry| entry.unwrap().metadata().map_or(0, |meta| meta.len()))
            .sum()
    };
    let before = list(&store, "/core/pods/", None);
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0..50 {
                store
                    .commit(vec![put(
                        &key(&format!("/core/nodes/n{n}")),
                        "x",
                        Expect::Any,
                    )])
                    .await
                    .unwrap();
            }
        }
    });
    store.shrink().await.unwrap();
    writer.await.unwrap();
    store.shrink().await.unwrap();
    assert_eq!(list(&store, "/core/pods/", None), before);
    store.close().await;
    assert!(size() < 100 << 10, "{} bytes", size());
    let store = Store::open(small(dir.path())).unwrap();
    assert_eq!(list(&store, "/core/pods/", None), before);
    assert_eq!(store.count("/core/nodes/"), 50);
}
