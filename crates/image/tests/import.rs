//! Importing what other tools write, and the life of the store.

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{Tar, gzip, image, run, store, tool};
use consort_image::{ErrorKind, Images, Options, Reference, User, Users};

fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

/// Users as the test says.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<User>>>);

impl Told {
    fn set(&self, users: &[User]) {
        *self.0.lock().unwrap() = users.to_vec();
    }
}

impl Users for Told {
    fn users(&self) -> std::io::Result<Vec<User>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

fn user(name: &str, image: &str, layers: &[PathBuf]) -> User {
    User {
        name: name.to_owned(),
        image: image.to_owned(),
        layers: layers.to_vec(),
    }
}

fn store_with_users(dir: &Path) -> (Images, Told) {
    let users = Told::default();
    let mut options = Options::new(dir.join("store"));
    options.users = Arc::new(users.clone());
    (Images::open(options).unwrap(), users)
}

fn simple(content: &str) -> common::Made {
    image(
        &[Tar::default().dir("d").file("d/f", content).build()],
        gzip,
    )
}

async fn content(images: &Images, name: &str) -> String {
    let image = images.get(&reference(name)).await.unwrap().unwrap();
    let dirs = images.layers(&image).await.unwrap();
    std::fs::read_to_string(dirs[0].join("d/f")).unwrap()
}

#[tokio::test]
async fn archives_of_skopeo_are_imported_compressed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let layout = simple("x").layout(&dir.path().join("layout"), "1");
    let from = format!("oci:{}:1", layout.display());
    let docker = dir.path().join("docker.tar");
    let oci = dir.path().join("oci.tar");
    for to in [
        format!("docker-archive:{}:example.com/docker:1", docker.display()),
        format!("oci-archive:{}:example.com/oci:1", oci.display()),
    ] {
        run(tool("skopeo").args(["copy", "--insecure-policy", &from, &to]));
    }
    run(tool("gzip").arg("-k").arg(&docker));
    run(tool("zstd").arg("-q").arg(&oci));
    for (archive, name) in [
        ("docker.tar", "example.com/docker:1"),
        ("docker.tar.gz", "example.com/docker:1"),
        ("oci.tar", "example.com/oci:1"),
        ("oci.tar.zst", "example.com/oci:1"),
    ] {
        let own = dir.path().join(format!("{archive}.d"));
        let images = store(&own);
        let imported = images
            .import(&dir.path().join(archive), None)
            .await
            .unwrap();
        assert_eq!(imported, [reference(name)], "{archive}");
        assert_eq!(content(&images, name).await, "x", "{archive}");
        let left = std::fs::read_dir(own.join("store/ingest")).unwrap().count();
        assert_eq!(left, 0, "{archive} left its copy behind");
    }
}

#[tokio::test]
async fn layouts_of_umoci_name_by_tag_and_get_the_name_they_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("umoci");
    run(tool("umoci").arg("init").arg("--layout").arg(&layout));
    let tagged = format!("{}:v7", layout.display());
    run(tool("umoci").args(["new", "--image", &tagged]));
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("d")).unwrap();
    std::fs::write(root.join("d/f"), "u").unwrap();
    run(tool("umoci")
        .args(["insert", "--image", &tagged])
        .arg(root.join("d"))
        .arg("/d"));
    run(tool("umoci").args([
        "config",
        "--image",
        &tagged,
        "--config.cmd",
        "run",
        "--config.user",
        "7",
    ]));
    let images = store(dir.path());
    let error = images.import(&layout, None).await.unwrap_err();
    assert!(error.message().contains("\"v7\""), "{error}");
    let name = reference("example.com/made:v7");
    assert_eq!(
        images.import(&layout, Some(&name)).await.unwrap(),
        std::slice::from_ref(&name)
    );
    let image = images.get(&name).await.unwrap().unwrap();
    assert_eq!(
        (image.config.cmd.as_slice(), image.config.user.as_str()),
        (&["run".to_owned()][..], "7")
    );
    assert_eq!(content(&images, "example.com/made:v7").await, "u");
}

/// A Docker archive by hand: several images, a shared layer as a link, and what `change` does.
fn docker_archive(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let layer = Tar::default().dir("d").file("d/f", "shared").build();
    let made = image(std::slice::from_ref(&layer), gzip);
    let (config_digest, config) = &made.blobs[0];
    let config_name = format!("{}.json", config_digest.hex());
    let mut stored = layer;
    change(&mut stored);
    let manifest = format!(
        r#"[{{"Config":"{config_name}","RepoTags":["example.com/one:1","two"],"Layers":["a/layer.tar"]}},
            {{"Config":"{config_name}","RepoTags":["three:3"],"Layers":["b/layer.tar"]}}]"#
    );
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut archive = Tar::default().file(&config_name, &text(config));
    let mut header = tar::Header::new_gnu();
    header.set_path("a/layer.tar").unwrap();
    header.set_size(stored.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive = archive.raw(&header, &stored);
    let archive = archive
        .symlink("b/layer.tar", "../a/layer.tar")
        .file("manifest.json", &manifest);
    std::fs::write(path, archive.build()).unwrap();
}

#[tokio::test]
async fn a_docker_archive_brings_all_its_images_and_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive.tar");
    docker_archive(&path, |_| ());
    let images = store(dir.path());
    let names = images.import(&path, None).await.unwrap();
    let expected = ["example.com/one:1", "two", "three:3"].map(reference);
    assert_eq!(names, expected);
    for name in &expected {
        assert_eq!(content(&images, &name.to_string()).await, "shared");
    }
    assert_eq!(images.list().await.unwrap().len(), 1, "they are one image");
}

#[tokio::test]
async fn a_tampered_archive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive.tar");
    docker_archive(&path, |layer| layer[600] ^= 1);
    let images = store(dir.path());
    let error = images.import(&path, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch, "{error}");
    let made = simple("x");
    let layout = made.layout(&dir.path().join("layout"), "example.com/x:1");
    std::fs::write(
        layout.join("blobs/sha256").join(made.blobs[1].0.hex()),
        b"other",
    )
    .unwrap();
    let error = images.import(&layout, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch, "{error}");
    assert!(images.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_image_archive_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(dir.path());
    let path = dir.path().join("x");
    std::fs::write(&path, Tar::default().file("hello", "x").build()).unwrap();
    let error = images.import(&path, None).await.unwrap_err();
    assert!(error.message().contains("neither an OCI layout"), "{error}");
    std::fs::write(
        &path,
        b"not a tar archive at all, but long enough to be read as one".repeat(20),
    )
    .unwrap();
    assert_eq!(
        images.import(&path, None).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let error = images
        .import(&dir.path().join("none"), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disk, "{error}");
    let escape = r#"[{"Config":"../../etc/passwd","RepoTags":["a:1"],"Layers":[]}]"#;
    std::fs::write(&path, Tar::default().file("manifest.json", escape).build()).unwrap();
    let error = images.import(&path, None).await.unwrap_err();
    assert!(error.message().contains("outside"), "{error}");
}

#[tokio::test]
async fn removing_the_last_name_removes_the_content_that_nothing_else_uses() {
    let dir = tempfile::tempdir().unwrap();
    let (images, users) = store_with_users(dir.path());
    for (name, content) in [
        ("example.com/a:1", "a"),
        ("example.com/a:2", "a"),
        ("example.com/b:1", "b"),
    ] {
        let layout = simple(content).layout(&dir.path().join(content), name);
        images.import(&layout, None).await.unwrap();
    }
    let image = images
        .get(&reference("example.com/a:1"))
        .await
        .unwrap()
        .unwrap();
    let layers = images.layers(&image).await.unwrap();
    let removed = images
        .remove(&reference("example.com/a:1"), false)
        .await
        .unwrap();
    assert_eq!(removed.items, 0, "the other name still needs it");
    users.set(&[user("pod x/y", "example.com/a:1", &layers)]);
    let last = reference("example.com/a:2");
    let error = images.remove(&last, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert_eq!(
        error.to_string(),
        "image example.com/a:2 is in use by pod x/y"
    );
    assert!(images.get(&last).await.unwrap().is_some());
    let removed = images.remove(&last, true).await.unwrap();
    assert_eq!(removed.items, 3, "manifest, configuration and blob");
    assert!(layers[0].is_dir(), "a container still has it mounted");
    users.set(&[]);
    assert_eq!(images.gc().await.unwrap().items, 1);
    assert!(!layers[0].exists());
    assert_eq!(content(&images, "example.com/b:1").await, "b");
    let error = images
        .remove(&reference("example.com/a:1"), false)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_name_that_a_container_was_made_by_stays_even_if_there_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let (images, users) = store_with_users(dir.path());
    for name in ["example.com/a:1", "example.com/a:2"] {
        let layout = simple("a").layout(&dir.path().join(name.replace('/', "-")), name);
        images.import(&layout, None).await.unwrap();
    }
    let (one, two) = (reference("example.com/a:1"), reference("example.com/a:2"));
    assert_eq!(images.unused().await.unwrap(), [one.clone(), two.clone()]);
    let image = images.get(&one).await.unwrap().unwrap();
    let layers = images.layers(&image).await.unwrap();
    users.set(&[
        user("pod x/b", "example.com/a:1", &layers),
        user("pod x/a", "example.com/a:1", &layers),
        user("pod x/other", "example.com/other:1", &[]),
    ]);
    assert!(images.unused().await.unwrap().is_empty());
    let error = images.remove(&one, false).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "image example.com/a:1 is in use by pod x/a, pod x/b"
    );
    images.remove(&two, false).await.unwrap();
    assert_eq!(content(&images, "example.com/a:1").await, "a");
}

#[tokio::test]
async fn what_is_held_outlives_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(dir.path());
    let layout = simple("a").layout(&dir.path().join("layout"), "example.com/a:1");
    images.import(&layout, None).await.unwrap();
    let name = reference("example.com/a:1");
    let image = images.get(&name).await.unwrap().unwrap();
    let hold = images.hold(&image);
    images.remove(&name, false).await.unwrap();
    let layers = images.layers(&image).await.unwrap();
    assert_eq!(images.gc().await.unwrap().items, 0);
    assert!(layers[0].join("d/f").exists());
    drop(hold);
    assert_eq!(
        images.gc().await.unwrap().items,
        4,
        "manifest, configuration, blob and layer"
    );
}

#[tokio::test]
async fn a_second_store_on_the_same_directory_is_refused_with_the_holders_id() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path());
    let error = Images::open(Options::new(dir.path().join("store"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    drop(first);
    Images::open(Options::new(dir.path().join("store"))).unwrap();
}

#[tokio::test]
async fn what_a_crash_left_half_made_is_not_taken_for_whole() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(dir.path());
    let layout = simple("a").layout(&dir.path().join("layout"), "example.com/a:1");
    images.import(&layout, None).await.unwrap();
    let image = images
        .get(&reference("example.com/a:1"))
        .await
        .unwrap()
        .unwrap();
    let layer = image.layers[0].diff_id.hex();
    drop(images);
    let root = dir.path().join("store");
    // As a kill in the middle of unpacking and of a download leaves them.
    let half = root.join(format!("layers/tmp-{layer}-0"));
    std::fs::create_dir_all(half.join("d")).unwrap();
    std::fs::write(root.join("blobs/sha256/tmp-x-1"), b"half").unwrap();
    std::fs::write(root.join("tmp-index.json-2"), b"{").unwrap();
    let images = store(dir.path());
    assert!(!half.exists() && !root.join("tmp-index.json-2").exists());
    assert_eq!(content(&images, "example.com/a:1").await, "a");
    // A layer blob that is gone makes the image one that must be pulled again.
    drop(images);
    std::fs::remove_dir_all(root.join("layers")).unwrap();
    std::fs::remove_file(root.join("blobs/sha256").join(image.layers[0].blob.hex())).unwrap();
    let images = store(dir.path());
    assert!(
        images
            .get(&reference("example.com/a:1"))
            .await
            .unwrap()
            .is_none()
    );
}
