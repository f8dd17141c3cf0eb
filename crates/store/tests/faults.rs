//! What the store does when the disk is full, damaged or read-only.

mod common;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::{list, pod, put, small, write};
use consort_object::Revision;
use consort_store::{Error, Expect, Options, Store};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

fn log(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("{id:010}.log"))
}

/// A store of `count` revisions, closed; the log's end is exact then.
async fn filled(dir: &Path, count: usize) {
    let store = Store::open(Options::new(dir)).unwrap();
    for n in 0..count {
        write(&store, &pod(&format!("p{}", n % 5)), &n.to_string()).await;
    }
    store.close().await;
}

#[tokio::test]
async fn a_log_cut_anywhere_opens_with_a_prefix_of_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 12).await;
    let whole = std::fs::read(log(dir.path(), 1)).unwrap();
    let mut last = 0;
    for len in (64..whole.len()).step_by(13).chain([whole.len()]) {
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(log(copy.path(), 1), &whole[..len]).unwrap();
        let store = Store::open(Options::new(copy.path())).unwrap();
        let now = store.revision().0;
        assert!(now >= last && now <= 12, "{len}: {now} after {last}");
        last = now;
        for (name, content) in list(&store, "/", None) {
            let n: u64 = content.parse().unwrap();
            assert_eq!(name, format!("p{}", n % 5));
            assert!(n < now && n + 5 >= now);
        }
        assert_eq!(write(&store, &pod("more"), "1").await.0, now + 1);
        store.close().await;
        assert_eq!(
            Store::open(Options::new(copy.path())).unwrap().revision().0,
            now + 1
        );
    }
    assert_eq!(last, 12);
}

#[tokio::test]
async fn a_flipped_bit_in_what_was_durable_is_found_and_located() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 12).await;
    let whole = std::fs::read(log(dir.path(), 1)).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (mut refused, mut shortened) = (0, 0);
    for at in (0..whole.len()).step_by(19) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(log(copy.path(), 1), &damaged).unwrap();
        match Store::open(Options::new(copy.path())) {
            Err(Error::Corrupt { path, offset, .. }) => {
                assert_eq!(path, log(copy.path(), 1));
                assert!(offset <= at as u64, "{at} is reported at {offset}");
                refused += 1;
            }
            // The last frame of the log cannot be told from one that a crash tore, and padding
            // between frames means nothing.
            Ok(store) => {
                assert!(store.revision().0 >= 11, "{at}");
                shortened += u32::from(store.revision().0 == 11);
            }
            Err(error) => panic!("{at}: {error}"),
        }
    }
    assert!(
        refused > 10 * shortened.max(1) - 10,
        "{refused} refused, {shortened} shortened"
    );
}

#[tokio::test]
async fn damage_under_the_index_is_found_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let filler = "x".repeat(2000);
    let store = Store::open(Options::new(dir.path())).unwrap();
    for n in 0..200 {
        write(&store, &pod(&format!("p{n}")), &filler).await;
    }
    store.close().await;
    assert!(dir.path().join("index").exists());
    let file = OpenOptions::new()
        .write(true)
        .open(log(dir.path(), 1))
        .unwrap();
    file.write_all_at(b"!", 1000).unwrap();
    let store = Store::open(Options::new(dir.path())).unwrap();
    match store.get(&pod("p0")) {
        Err(Error::Corrupt { path, offset, .. }) => {
            assert_eq!(path, log(dir.path(), 1));
            assert!(offset < 1000);
        }
        other => panic!("{other:?}"),
    }
    assert!(store.get(&pod("p1")).unwrap().is_some());
    assert!(store.range("/", None, None, None, |_| true).is_err());
}

#[tokio::test]
async fn a_damaged_index_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(small(dir.path())).unwrap();
    for n in 0..200 {
        write(&store, &pod(&format!("p{}", n % 9)), &"y".repeat(2000)).await;
    }
    let before = list(&store, "/", None);
    let past = list(&store, "/", Some(Revision(100)));
    store.close().await;
    let index = dir.path().join("index");
    let whole = std::fs::read(&index).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 40 + 1) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x04;
        if at % 3 == 0 {
            damaged.truncate(at);
        }
        std::fs::write(&index, &damaged).unwrap();
        let store = Store::open(small(dir.path())).unwrap();
        assert_eq!(list(&store, "/", None), before, "{at}");
        assert_eq!(list(&store, "/", Some(Revision(100))), past, "{at}");
        store.close().await;
    }
}

#[tokio::test]
async fn missing_parts_of_the_log_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(small(dir.path())).unwrap();
    for n in 0..60 {
        write(&store, &pod(&format!("p{n}")), &"z".repeat(2000)).await;
    }
    store.close().await;
    assert!(log(dir.path(), 4).exists());
    for id in [1, 2] {
        let aside = dir.path().join("aside");
        std::fs::rename(log(dir.path(), id), &aside).unwrap();
        match Store::open(small(dir.path())) {
            Err(Error::Corrupt { path, .. }) => assert_eq!(path, log(dir.path(), id)),
            other => panic!("{other:?}"),
        }
        std::fs::rename(&aside, log(dir.path(), id)).unwrap();
    }
    assert_eq!(
        Store::open(small(dir.path())).unwrap().count("/core/pods/"),
        60
    );
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "log") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert!(matches!(
        Store::open(small(dir.path())),
        Err(Error::Corrupt { .. })
    ));
}

#[tokio::test]
async fn files_that_are_no_log_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(log(dir.path(), 1), b"something else").unwrap();
    assert!(matches!(
        Store::open(Options::new(dir.path())),
        Err(Error::Corrupt { offset: 0, .. })
    ));
    std::fs::write(dir.path().join("file"), b"").unwrap();
    assert!(matches!(
        Store::open(Options::new(dir.path().join("file"))),
        Err(Error::Io { .. })
    ));
}

/// A small file system of its own, gone when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = format!("size={size}");
        mount(
            Some("tmpfs"),
            dir.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            Some(data.as_str()),
        )
        .expect("mounting a tmpfs takes root");
        Self(dir)
    }

    fn remount(&self, flags: MsFlags) {
        let flags = flags | MsFlags::MS_REMOUNT;
        mount(
            None::<&str>,
            self.0.path(),
            None::<&str>,
            flags,
            None::<&str>,
        )
        .unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        umount2(self.0.path(), MntFlags::MNT_DETACH).expect("unmounting the test's tmpfs");
    }
}

#[tokio::test]
async fn a_full_disk_fails_commits_and_the_store_goes_on_when_there_is_space() {
    let disk = Disk::new("256k");
    let dir = disk.0.path().join("store");
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 64 << 10]).unwrap();
    let store = Store::open(small(&dir)).unwrap();
    let filler = "f".repeat(3000);
    let mut acknowledged = Vec::new();
    let mut n = 0;
    let full = loop {
        match store
            .commit(vec![put(
                &pod(&format!("p{n:03}")),
                &filler,
                Expect::Absent,
            )])
            .await
        {
            Ok(_) => acknowledged.push(format!("p{n:03}")),
            Err(error) => break error,
        }
        n += 1;
    };
    assert!(matches!(full, Error::Full { .. }), "{full:?}");
    assert!(acknowledged.len() > 10);
    let names = |store: &Store| -> Vec<String> {
        list(store, "/", None)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    assert_eq!(
        names(&store),
        acknowledged,
        "nothing of the failed commit shows"
    );
    let revision = store.revision();
    let refused = store
        .commit(vec![put(&pod("big"), &filler.repeat(9), Expect::Any)])
        .await;
    assert!(matches!(refused, Err(Error::Full { .. })));
    assert_eq!(store.revision(), revision);

    std::fs::remove_file(&ballast).unwrap();
    let after = store
        .commit(vec![put(&pod("q"), &filler, Expect::Absent)])
        .await
        .unwrap();
    assert_eq!(after.revision.0, revision.0 + 1);
    acknowledged.push("q".to_owned());
    store.close().await;
    let store = Store::open(small(&dir)).unwrap();
    assert_eq!(names(&store), acknowledged);
}

#[tokio::test]
async fn a_read_only_directory_is_named_when_opening() {
    let disk = Disk::new("256k");
    let dir = disk.0.path().join("store");
    filled(&dir, 3).await;
    disk.remount(MsFlags::MS_RDONLY);
    match Store::open(Options::new(&dir)) {
        Err(error @ Error::Io { .. }) => {
            assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
        }
        other => panic!("{other:?}"),
    }
    disk.remount(MsFlags::empty());
    assert_eq!(
        Store::open(Options::new(&dir)).unwrap().revision(),
        Revision(3)
    );
}
