//! Pulling, from a registry that does what it should not, and from a real one.

mod common;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::fake::Fake;
use common::{Tar, gzip, image, run, store, tool};
use consort_image::{
    Credential, ErrorKind, HostOptions, Images, Mirror, Options, Progress, Reference,
};

fn name(fake: &Fake, rest: &str) -> Reference {
    format!("{}/{rest}", fake.address).parse().unwrap()
}

fn quiet(_: Progress) {}

/// Content that does not compress away.
fn noise(length: usize) -> String {
    let mut state = 1_u32;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 27) as u8 % 26)
    });
    next.take(length).collect()
}

fn blobs_of(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("store/blobs/sha256"))
        .unwrap()
        .count()
}

#[tokio::test]
async fn a_pulled_image_has_its_configuration_names_and_digests() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    let made = image(&[Tar::default().file("a", "1").build()], gzip);
    fake.add("team/app", "1", &made);
    let images = store(dir.path());
    let name = name(&fake, "team/app:1");
    let last = std::sync::Mutex::new(Progress::default());
    let report = |progress| *last.lock().unwrap() = progress;
    let pulled = images.pull(&name, &[], &report).await.unwrap();
    assert_eq!(pulled.digest, made.digest());
    assert_eq!(pulled.id, made.blobs[0].0);
    assert_eq!(pulled.config.cmd, ["sh"]);
    assert_eq!(pulled.config.user, "1:2");
    assert_eq!(
        pulled.repo_digests(),
        [format!("{}@{}", name.name(), made.digest())]
    );
    let last = *last.lock().unwrap();
    assert_eq!((last.layers_done, last.bytes_done), (1, last.bytes));
    drop(images);
    let again = store(dir.path());
    let found = again.get(&name).await.unwrap().unwrap();
    assert_eq!(
        (found.id, found.references),
        (pulled.id, vec![name.clone()])
    );
    let by_digest = again.get(&name.at(made.digest())).await.unwrap().unwrap();
    assert_eq!(by_digest.id, pulled.id);
}

#[tokio::test]
async fn many_pulls_at_once_transfer_everything_once() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    let made = image(&[Tar::default().file("a", &noise(300_000)).build()], gzip);
    fake.add("app", "1", &made);
    fake.add("app", "2", &made);
    let images = store(dir.path());
    let pulls = (0..16).map(|at| {
        let name = name(&fake, if at % 2 == 0 { "app:1" } else { "app:2" });
        let images = images.clone();
        async move { images.pull(&name, &[], &quiet).await }
    });
    for pulled in futures::future::join_all(pulls).await {
        assert_eq!(pulled.unwrap().digest, made.digest());
    }
    for (digest, _) in &made.blobs {
        assert_eq!(fake.asked(*digest).len(), 1);
    }
    let image = images.get(&name(&fake, "app:1")).await.unwrap().unwrap();
    let unpacking = (0..8).map(|_| images.layers(&image));
    let dirs = futures::future::join_all(unpacking).await;
    let first = dirs[0].as_ref().unwrap().clone();
    assert!(dirs.into_iter().all(|dir| dir.unwrap() == first));
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_broke() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    let made = image(&[Tar::default().file("a", &noise(400_000)).build()], gzip);
    fake.add("app", "1", &made);
    let (layer, bytes) = &made.blobs[1];
    let half = bytes.len() / 2;
    fake.state.lock().unwrap().cut = Some((layer.to_string(), half));
    let images = store(dir.path());
    let pulled = images
        .pull(&name(&fake, "app:1"), &[], &quiet)
        .await
        .unwrap();
    images.layers(&pulled).await.unwrap();
    let asked = fake.asked(*layer);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[1].ends_with(&format!(" bytes={half}-")), "{asked:?}");
}

#[tokio::test]
async fn a_tampered_blob_is_refused_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    let made = image(&[Tar::default().file("a", "1").build()], gzip);
    fake.add("app", "1", &made);
    let (layer, bytes) = &made.blobs[1];
    let mut wrong = bytes.clone();
    wrong[20] ^= 1;
    fake.put(&format!("/v2/app/blobs/{layer}"), wrong);
    let images = store(dir.path());
    let name = name(&fake, "app:1");
    let error = images.pull(&name, &[], &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch, "{error}");
    assert!(images.get(&name).await.unwrap().is_none());
    assert!(
        !dir.path()
            .join("store/blobs/sha256")
            .join(layer.hex())
            .exists()
    );
    fake.add("app", "1", &made);
    images.pull(&name, &[], &quiet).await.unwrap();
}

#[tokio::test]
async fn a_blob_longer_than_its_descriptor_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    let made = image(&[Tar::default().file("a", "1").build()], gzip);
    fake.add("app", "1", &made);
    let (layer, bytes) = &made.blobs[1];
    let longer = [bytes.as_slice(), &vec![0; 1 << 20]].concat();
    fake.put(&format!("/v2/app/blobs/{layer}"), longer);
    let images = store(dir.path());
    let error = images
        .pull(&name(&fake, "app:1"), &[], &quiet)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(blobs_of(dir.path()), 1, "only the configuration is there");
}

#[tokio::test]
async fn a_manifest_that_is_not_what_the_digest_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    let made = image(&[Tar::default().file("a", "1").build()], gzip);
    let other = image(&[Tar::default().file("a", "2").build()], gzip);
    fake.add("app", "1", &made);
    fake.put(
        &format!("/v2/app/manifests/{}", made.digest()),
        other.manifest,
    );
    let images = store(dir.path());
    let by_digest = name(&fake, "app").at(made.digest());
    let error = images.pull(&by_digest, &[], &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch, "{error}");
}

#[tokio::test]
async fn an_endless_manifest_does_not_fill_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    fake.state.lock().unwrap().endless = Some(64 << 20);
    let images = store(dir.path());
    let error = images
        .pull(&name(&fake, "app:1"), &[], &quiet)
        .await
        .unwrap_err();
    assert!(
        error
            .message()
            .contains("larger than the limit of 4194304 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn credentials_are_tried_in_turn_and_are_needed_again_by_the_next_pull() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    fake.add(
        "app",
        "1",
        &image(&[Tar::default().file("a", "1").build()], gzip),
    );
    fake.state.lock().unwrap().basic = Some("dTpw".into());
    let images = store(dir.path());
    let name = name(&fake, "app:1");
    let error = images.pull(&name, &[], &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(
        error.message().contains("authentication required"),
        "{}",
        error.message()
    );
    let credential = |password: &str| Credential {
        registry: fake.address.clone(),
        username: "u".into(),
        password: password.into(),
        token: None,
    };
    let given = [credential("wrong"), credential("p")];
    images.pull(&name, &given, &quiet).await.unwrap();
    // One pull's permission is not another's.
    let error = images.pull(&name, &[], &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_the_registry_when_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (broken, mirror, own) = (
        Fake::start().await,
        Fake::start().await,
        Fake::start().await,
    );
    broken.state.lock().unwrap().status = Some(500);
    let made = image(&[Tar::default().file("a", "1").build()], gzip);
    mirror.add("cache/app", "1", &made);
    own.add("other", "1", &made);
    let mut options = Options::new(dir.path().join("store"));
    let mirrors = [broken.address.clone(), format!("{}/cache", mirror.address)];
    let mirrors = mirrors.map(Mirror::from).into();
    options
        .registries
        .mirrors
        .insert(own.address.clone(), mirrors);
    let images = Images::open(options).unwrap();
    images
        .pull(&name(&own, "app:1"), &[], &quiet)
        .await
        .unwrap();
    assert!(
        own.state.lock().unwrap().seen.is_empty(),
        "the mirror had it"
    );
    images
        .pull(&name(&own, "other:1"), &[], &quiet)
        .await
        .unwrap();
    let error = images
        .pull(&name(&own, "missing:1"), &[], &quiet)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn errors_tell_missing_unreachable_and_foreign_images_apart() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    let images = store(dir.path());
    let kind = async |name: Reference| {
        let error = images.pull(&name, &[], &quiet).await.unwrap_err();
        (error.kind(), error.message())
    };
    let (missing, said) = kind(name(&fake, "app:9")).await;
    assert_eq!(missing, ErrorKind::NotFound);
    assert!(said.contains("manifest unknown"), "{said}");
    let (unreachable, said) = kind("127.0.0.1:1/app".parse().unwrap()).await;
    assert_eq!(unreachable, ErrorKind::Unreachable);
    assert!(said.contains("127.0.0.1:1"), "{said}");
    let entry = r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","size":1,
        "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "platform":{"os":"linux","architecture":"s390x"}}]}"#;
    fake.put("/v2/app/manifests/z", entry.into());
    let (foreign, said) = kind(name(&fake, "app:z")).await;
    assert_eq!(foreign, ErrorKind::NotFound);
    assert!(said.contains("it has linux/s390x"), "{said}");
}

#[tokio::test]
async fn a_pull_that_is_given_up_leaves_nothing_that_blocks_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    let made = image(&[Tar::default().file("a", &noise(2_000_000)).build()], gzip);
    fake.add("app", "1", &made);
    let images = store(dir.path());
    let name = name(&fake, "app:1");
    for millis in [0, 1, 2, 5, 10] {
        let some = Duration::from_millis(millis);
        let _ = tokio::time::timeout(some, images.pull(&name, &[], &quiet)).await;
    }
    let pulled = images.pull(&name, &[], &quiet).await.unwrap();
    images.layers(&pulled).await.unwrap();
}

/// A real registry on loopback.
struct Registry {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn registry() -> Registry {
    let dir = tempfile::tempdir().unwrap();
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let address = format!("127.0.0.1:{port}");
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
        dir.path().join("data").display()
    );
    let path = dir.path().join("config.yml");
    std::fs::write(&path, config).unwrap();
    let child = tool("docker-registry")
        .arg("serve")
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let registry = Registry {
        child,
        address,
        _dir: dir,
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(&registry.address)
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline, "docker-registry does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    registry
}

#[tokio::test]
async fn images_of_every_format_come_from_a_real_registry() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry().await;
    let layers = [
        Tar::default()
            .dir("etc")
            .file("etc/a", &noise(200_000))
            .file("etc/b", "b")
            .build(),
        Tar::default()
            .file("etc/.wh.b", "")
            .file("etc/c", "c")
            .build(),
    ];
    let made = image(&layers, gzip);
    let layout = made.layout(&dir.path().join("layout"), "1");
    let images = store(dir.path());
    for format in ["oci", "v2s2"] {
        let to = format!("{}/team/app:{format}", registry.address);
        run(tool("skopeo")
            .args([
                "copy",
                "--insecure-policy",
                "--dest-tls-verify=false",
                "--format",
                format,
            ])
            .arg(format!("oci:{}:1", layout.display()))
            .arg(format!("docker://{to}")));
        let pulled = images
            .pull(&to.parse().unwrap(), &[], &quiet)
            .await
            .unwrap();
        let dirs = images.layers(&pulled).await.unwrap();
        assert_eq!(std::fs::read_to_string(dirs[0].join("etc/c")).unwrap(), "c");
        let inspected = run(tool("skopeo")
            .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
            .arg(format!("docker://{to}")));
        assert_eq!(pulled.digest.to_string(), inspected.trim());
    }
    let error = images
        .pull(
            &format!("{}/team/none:1", registry.address).parse().unwrap(),
            &[],
            &quiet,
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn an_option_for_a_host_that_does_not_exist_is_an_error_where_it_is_written() {
    let error = serde_json::from_str::<HostOptions>(r#"{"plain_htp": true}"#).unwrap_err();
    assert!(error.to_string().contains("plain_htp"), "{error}");
}
