//! Unpacking: what overlayfs makes of it, and what hostile layers get.
//!
//! These need root, as unpacking does: owners, devices, overlay mounts.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use common::{Tar, gzip, image, run, store, tool, unpacked};
use consort_image::{Builtin, Config, ErrorKind, Images, LayerBuilder, Options};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// An overlay mount that goes away with the test.
struct Overlay(PathBuf);

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn overlay(at: &Path, lower: &[PathBuf]) -> Overlay {
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| at.join(name));
    for dir in [&upper, &work, &merged] {
        fs::create_dir_all(dir).unwrap();
    }
    let lower: Vec<_> = lower.iter().map(|dir| dir.display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        upper.display(),
        work.display()
    );
    mount(
        Some("overlay"),
        &merged,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .unwrap();
    Overlay(merged)
}

/// Every path below a directory.
fn tree(dir: &Path) -> BTreeSet<String> {
    fn walk(dir: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.strip_prefix(root).unwrap().display().to_string());
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                walk(&path, root, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(dir, dir, &mut found);
    found
}

#[tokio::test]
async fn an_overlay_mount_of_the_layers_is_what_the_image_means() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(dir.path());
    let layers = [
        Tar::default()
            .dir("keep")
            .file("keep/a", "a")
            .file("keep/gone", "x")
            .dir("emptied")
            .file("emptied/old", "x")
            .dir("emptied/deep")
            .file("emptied/deep/old", "x")
            .dir("replaced")
            .file("replaced/old", "x")
            .dir("replaced2")
            .file("replaced2/old", "x")
            .dir("becomes-file")
            .file("becomes-file/old", "x")
            .file("file-becomes-dir", "x")
            .build(),
        Tar::default()
            // Marks before and after what they are about: the order in the archive means nothing.
            .file("keep/.wh.gone", "")
            .file("emptied/.wh..wh..opq", "")
            .file("emptied/new", "n")
            .file(".wh.replaced", "")
            .dir("replaced")
            .file("replaced/new", "n")
            .dir("replaced2")
            .file("replaced2/new", "n")
            .file(".wh.replaced2", "")
            .file("becomes-file", "f")
            .dir("file-becomes-dir")
            .file("file-becomes-dir/new", "n")
            .build(),
        Tar::default().file("keep/top", "t").build(),
    ];
    let dirs = unpacked(&images, dir.path(), &layers).await.unwrap();
    let mounted = overlay(dir.path(), &dirs);
    let expected = [
        "keep",
        "keep/a",
        "keep/top",
        "emptied",
        "emptied/new",
        "replaced",
        "replaced/new",
        "replaced2",
        "replaced2/new",
        "becomes-file",
        "file-becomes-dir",
        "file-becomes-dir/new",
    ];
    assert_eq!(tree(&mounted.0), expected.map(str::to_owned).into());
}

#[tokio::test]
async fn the_result_is_what_umoci_unpacks() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(dir.path());
    let layers = [
        Tar::default()
            .dir("bin")
            .file("bin/x", "x")
            .symlink("sbin", "bin")
            .hard_link("bin/y", "bin/x")
            .owned("bin/setuid", 0o4755, 12, 34)
            .device("null", 1, 3)
            .dir("d")
            .file("d/1", "1")
            .file("d/2", "2")
            .build(),
        Tar::default()
            .file("d/.wh.1", "")
            .file("d/3", "3")
            .file(".wh.null", "")
            .build(),
    ];
    let made = image(&layers, gzip);
    let layout = made.layout(&dir.path().join("umoci-layout"), "1");
    let bundle = dir.path().join("bundle");
    run(tool("umoci")
        .arg("raw")
        .arg("unpack")
        .arg("--image")
        .arg(format!("{}:1", layout.display()))
        .arg(&bundle));
    let dirs = unpacked(&images, dir.path(), &layers).await.unwrap();
    let mounted = overlay(dir.path(), &dirs);
    assert_eq!(tree(&mounted.0), tree(&bundle));
    for path in tree(&bundle) {
        let (ours, theirs) = (mounted.0.join(&path), bundle.join(&path));
        let (a, b) = (
            fs::symlink_metadata(&ours).unwrap(),
            fs::symlink_metadata(&theirs).unwrap(),
        );
        assert_eq!(
            (a.mode(), a.uid(), a.gid(), a.rdev()),
            (b.mode(), b.uid(), b.gid(), b.rdev()),
            "{path}"
        );
        if !a.is_dir() {
            assert_eq!((a.mtime(), a.nlink()), (b.mtime(), b.nlink()), "{path}");
        }
    }
}

#[tokio::test]
async fn owners_modes_times_links_devices_and_capabilities_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(dir.path());
    // cap_net_bind_service=ep, version 2.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = Tar::default()
        .owned("su", 0o4750, 100, 200)
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.note", b"n"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("mtime", b"1600000000.25"),
        ])
        .file("capable", "x")
        .hard_link("same", "capable")
        .symlink("link", "/etc/passwd")
        .device("null", 1, 3)
        .build();
    let dirs = unpacked(&images, dir.path(), &[layer]).await.unwrap();
    let at = |name: &str| dirs[0].join(name);
    let stat = fs::metadata(at("su")).unwrap();
    assert_eq!(
        (stat.mode() & 0o7777, stat.uid(), stat.gid()),
        (0o4750, 100, 200)
    );
    let stat = fs::metadata(at("capable")).unwrap();
    assert_eq!(
        (stat.mtime(), stat.mtime_nsec(), stat.nlink()),
        (1_600_000_000, 250_000_000, 2)
    );
    assert_eq!(stat.ino(), fs::metadata(at("same")).unwrap().ino());
    let attribute = |name: &str| xattr::get(at("capable"), name).unwrap();
    assert_eq!(attribute("security.capability").unwrap(), capability);
    assert_eq!(attribute("user.note").unwrap(), b"n");
    assert_eq!(attribute("trusted.overlay.redirect"), None);
    assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(
        fs::symlink_metadata(at("null")).unwrap().rdev(),
        libc::makedev(1, 3)
    );
    let root = fs::metadata(&dirs[0]).unwrap();
    assert_eq!(root.permissions().mode() & 0o7777, 0o755);
}

/// Each tries to write `victim` outside of its layer, or to read what is there into it.
#[tokio::test]
async fn no_layer_reaches_out_of_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let out = outside.display().to_string();
    let up = "../".repeat(20) + out.trim_start_matches('/');
    let layers = [
        (
            "dots",
            Tar::default().file(&format!("../{}", "victim"), "x"),
        ),
        (
            "absolute",
            Tar::default().file(&format!("{out}/victim"), "x"),
        ),
        (
            "through an absolute link",
            Tar::default().symlink("l", &out).file("l/victim", "x"),
        ),
        (
            "through a relative link",
            Tar::default().symlink("l", &up).file("l/victim", "x"),
        ),
        (
            "through a chain",
            Tar::default()
                .symlink("a", "b")
                .symlink("b", &out)
                .file("a/victim", "x"),
        ),
        (
            "over a link",
            Tar::default()
                .symlink("l", &format!("{out}/victim"))
                .file("l", "x"),
        ),
        (
            "a directory over a link",
            Tar::default()
                .symlink("l", &out)
                .dir("l")
                .file("l/victim", "x"),
        ),
        (
            "hard link out",
            Tar::default().hard_link("h", &format!("{out}/secret")),
        ),
        (
            "hard link up",
            Tar::default().hard_link("h", &format!("{up}/secret")),
        ),
        (
            "hard link through a link",
            Tar::default().symlink("l", &out).hard_link("h", "l/secret"),
        ),
        (
            "write through a hard link to a link",
            Tar::default()
                .symlink("l", &format!("{out}/secret"))
                .hard_link("h", "l")
                .file("h", "overwritten"),
        ),
        (
            "whiteout out",
            Tar::default().symlink("l", &out).file("l/.wh.secret", ""),
        ),
        (
            "opaque out",
            Tar::default().symlink("l", &out).file("l/.wh..wh..opq", ""),
        ),
        (
            "device out",
            Tar::default().symlink("l", &out).device("l/victim", 1, 3),
        ),
        ("whiteout of dots", Tar::default().file("d/.wh...", "")),
    ];
    for (at, (what, layer)) in layers.into_iter().enumerate() {
        let own = dir.path().join(at.to_string());
        let images = store(&own);
        // Refused, or kept inside: both are safe.
        let done = unpacked(&images, &own, &[layer.build()]).await;
        assert_eq!(
            tree(&outside),
            ["secret".to_owned()].into(),
            "{what}: {done:?}"
        );
        assert_eq!(
            fs::read_to_string(outside.join("secret")).unwrap(),
            "secret",
            "{what}"
        );
        assert_eq!(
            fs::metadata(outside.join("secret")).unwrap().nlink(),
            1,
            "{what}"
        );
        assert!(xattr::list(&outside).unwrap().next().is_none(), "{what}");
        assert!(!own.join("store/layers/victim").exists() && !own.join("store/victim").exists());
        if let Err(error) = done {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error}");
            let left = fs::read_dir(own.join("store/layers")).unwrap().count();
            assert_eq!(left, 0, "{what} left something behind");
        }
    }
}

/// How a layer is stored.
type Stored<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

#[tokio::test]
async fn malformed_and_lying_layers_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let good = Tar::default().file("a", &"x".repeat(100_000)).build();
    let cut = |bytes: &[u8]| {
        let stored = gzip(bytes);
        stored[..stored.len() / 2].to_vec()
    };
    let other = |_: &[u8]| gzip(&Tar::default().file("other", "x").build());
    let garbage = |_: &[u8]| gzip(&vec![7; 4096]);
    let bzip = |_: &[u8]| b"BZh91AY&SY".to_vec();
    let cases: [(&str, Stored<'_>, ErrorKind); 4] = [
        ("cut", &cut, ErrorKind::Invalid),
        ("another content", &other, ErrorKind::DigestMismatch),
        ("garbage", &garbage, ErrorKind::Invalid),
        ("another compression", &bzip, ErrorKind::Invalid),
    ];
    for (what, stored, kind) in cases {
        let own = dir.path().join(what);
        let images = store(&own);
        let layout =
            image(std::slice::from_ref(&good), stored).layout(&own.join("layout"), "x.io/x:1");
        let names = images.import(&layout, None).await.unwrap();
        let found = images.get(&names[0]).await.unwrap().unwrap();
        let error = images.layers(&found).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {}", error.message());
        assert_eq!(
            fs::read_dir(own.join("store/layers")).unwrap().count(),
            0,
            "{what}"
        );
    }
}

#[tokio::test]
async fn limits_stop_bombs() {
    let dir = tempfile::tempdir().unwrap();
    let limited = |name: &str, change: &dyn Fn(&mut Options)| {
        let own = dir.path().join(name);
        let mut options = Options::new(own.join("store"));
        change(&mut options);
        (Images::open(options).unwrap(), own)
    };
    let zeros = Tar::default().file("zeros", &"\0".repeat(8 << 20)).build();
    let (images, own) = limited("bytes", &|options| options.limits.unpacked_bytes = 1 << 20);
    let error = unpacked(&images, &own, &[zeros]).await.unwrap_err();
    assert!(
        error.message().contains("limit of 1048576 bytes"),
        "{error}"
    );
    let many = (0..100).fold(Tar::default(), |tar, at| tar.file(&format!("f{at}"), ""));
    let (images, own) = limited("entries", &|options| options.limits.entries = 50);
    let error = unpacked(&images, &own, &[many.build()]).await.unwrap_err();
    assert!(error.message().contains("limit of 50 entries"), "{error}");
    // A name of 64 MiB, which compresses to nothing.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(64 << 20);
    header.set_cksum();
    let name = vec![b'a'; 64 << 20];
    let long = Tar::default().raw(&header, &name).file("x", "x").build();
    let (images, own) = limited("name", &|_| ());
    let error = unpacked(&images, &own, &[long]).await.unwrap_err();
    assert!(
        error.message().contains("larger than 4 MiB"),
        "{}",
        error.message()
    );
    let layers: Vec<_> = (0..4)
        .map(|at| Tar::default().file("f", &at.to_string()).build())
        .collect();
    let (images, own) = limited("layers", &|options| options.limits.layers = 3);
    let error = unpacked(&images, &own, &layers).await.unwrap_err();
    assert!(error.message().contains("limit of 3 layers"), "{error}");
}

#[tokio::test]
async fn a_layer_that_an_image_has_twice_is_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(dir.path());
    let twice = Tar::default().file("a", "first").build();
    let between = Tar::default().file("a", "second").build();
    let dirs = unpacked(&images, dir.path(), &[twice.clone(), between, twice])
        .await
        .unwrap();
    assert_eq!(dirs.len(), 2);
    let mounted = overlay(dir.path(), &dirs);
    assert_eq!(fs::read_to_string(mounted.0.join("a")).unwrap(), "first");
}

/// A built-in image around one file of the host.
struct Sample(PathBuf);

impl Builtin for Sample {
    fn name(&self) -> &'static str {
        "consort.dev/sample"
    }

    fn config(&self) -> Config {
        Config {
            cmd: vec!["x".into()],
            ..Config::default()
        }
    }

    fn build(&self, layer: &mut LayerBuilder) -> std::io::Result<()> {
        layer.dir("/tmp", 0o1777);
        layer.host_file("/bin/x", 0o755, &self.0);
        layer.symlink("/bin/y", "x");
        layer.file("/etc/passwd", 0o644, "root:x:0:0::/:/\n");
        Ok(())
    }
}

#[tokio::test]
async fn a_built_in_image_is_there_without_a_registry_and_follows_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    fs::write(&program, "one").unwrap();
    let open = || {
        let mut options = Options::new(dir.path().join("store"));
        options.builtin = vec![std::sync::Arc::new(Sample(program.clone()))];
        Images::open(options).unwrap()
    };
    let name = "consort.dev/sample".parse().unwrap();
    let images = open();
    let first = images.get(&name).await.unwrap().unwrap();
    let dirs = images.layers(&first).await.unwrap();
    assert_eq!(fs::read_to_string(dirs[0].join("bin/x")).unwrap(), "one");
    assert_eq!(
        fs::metadata(dirs[0].join("tmp")).unwrap().mode() & 0o7777,
        0o1777
    );
    let mounted = overlay(dir.path(), &dirs);
    assert_eq!(fs::read_to_string(mounted.0.join("bin/y")).unwrap(), "one");
    drop(mounted);
    assert_eq!(
        images.gc().await.unwrap().items,
        0,
        "it is in use as long as it is current"
    );
    drop(images);
    let images = open();
    let same = images.pull(&name, &[], &|_| ()).await.unwrap();
    assert_eq!((same.id, same.digest), (first.id, first.digest));
    drop(images);
    fs::write(&program, "two!").unwrap();
    let images = open();
    let second = images.get(&name).await.unwrap().unwrap();
    assert_ne!(second.id, first.id);
    let new = images.layers(&second).await.unwrap();
    assert_eq!(fs::read_to_string(new[0].join("bin/x")).unwrap(), "two!");
    assert_eq!(
        fs::read_to_string(dirs[0].join("bin/x")).unwrap(),
        "one",
        "who has it mounted keeps it"
    );
    assert_eq!(images.gc().await.unwrap().items, 1);
}
