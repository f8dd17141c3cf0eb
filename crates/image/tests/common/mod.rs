//! What the tests share: images made on the spot, tools of others, and a registry that can be
//! told to misbehave.
#![allow(dead_code, reason = "every test binary uses its own part")]

pub(crate) mod fake;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use consort_image::{Digest, Images, Options};
use serde_json::{Value, json};

/// A command that must be there.
pub(crate) fn tool(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    assert!(found, "{name} is not installed: run `cargo xtask setup`");
    Command::new(name)
}

/// Runs a command and shows what it said when it failed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("starting a command");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A store in a directory of its own.
pub(crate) fn store(dir: &Path) -> Images {
    Images::open(Options::new(dir.join("store"))).unwrap()
}

/// An archive for a layer.
#[derive(Default)]
pub(crate) struct Tar(Option<tar::Builder<Vec<u8>>>);

impl Tar {
    fn builder(&mut self) -> &mut tar::Builder<Vec<u8>> {
        self.0.get_or_insert_with(|| tar::Builder::new(Vec::new()))
    }

    fn add(mut self, header: &mut tar::Header, name: &str, data: &[u8]) -> Self {
        // Written by hand, as the library refuses the names that hostile archives have.
        header.as_mut_bytes()[..100].fill(0);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.builder().append(header, data).unwrap();
        self
    }

    fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.add(
            &mut Self::header(tar::EntryType::Directory, 0o755),
            name,
            b"",
        )
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, 0o644);
        self.add(&mut header, name, content.as_bytes())
    }

    pub(crate) fn owned(self, name: &str, mode: u32, uid: u64, gid: u64) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, mode);
        header.set_uid(uid);
        header.set_gid(gid);
        self.add(&mut header, name, b"owned")
    }

    fn link(self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, 0o777);
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        self.add(&mut header, name, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, name, target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Link, name, target)
    }

    pub(crate) fn device(self, name: &str, major: u32, minor: u32) -> Self {
        let mut header = Self::header(tar::EntryType::Char, 0o666);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self.add(&mut header, name, b"")
    }

    pub(crate) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        let records = records.iter().copied();
        self.builder().append_pax_extensions(records).unwrap();
        self
    }

    pub(crate) fn raw(mut self, header: &tar::Header, data: &[u8]) -> Self {
        self.builder().append(header, data).unwrap();
        self
    }

    pub(crate) fn build(mut self) -> Vec<u8> {
        self.builder();
        self.0.take().unwrap().into_inner().unwrap()
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The documents and blobs of an image.
pub(crate) struct Made {
    pub(crate) manifest: Vec<u8>,
    pub(crate) blobs: Vec<(Digest, Vec<u8>)>,
}

/// An image of uncompressed layers, each stored as `store` makes it.
pub(crate) fn image(layers: &[Vec<u8>], store: impl Fn(&[u8]) -> Vec<u8>) -> Made {
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({"architecture": arch, "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["A=b"], "User": "1:2", "StopSignal": "SIGQUIT"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = serde_json::to_vec(&config).unwrap();
    let mut blobs = vec![(Digest::of(&config), config)];
    for layer in layers {
        let stored = store(layer);
        blobs.push((Digest::of(&stored), stored));
    }
    let describe = |kind: &str, (digest, bytes): &(Digest, Vec<u8>)| json!({"mediaType": kind, "digest": digest, "size": bytes.len()});
    let layers: Vec<Value> = blobs[1..]
        .iter()
        .map(|blob| describe("application/vnd.oci.image.layer.v1.tar+gzip", blob))
        .collect();
    let manifest = json!({"schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe("application/vnd.oci.image.config.v1+json", &blobs[0]),
        "layers": layers});
    Made {
        manifest: serde_json::to_vec(&manifest).unwrap(),
        blobs,
    }
}

impl Made {
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// Writes an OCI layout, with the image under `name`.
    pub(crate) fn layout(&self, dir: &Path, name: &str) -> PathBuf {
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        for (digest, bytes) in &self.blobs {
            std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        }
        std::fs::write(blobs.join(self.digest().hex()), &self.manifest).unwrap();
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let index = json!({"schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": self.digest(), "size": self.manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": name}}]});
        std::fs::write(dir.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
        dir.to_owned()
    }
}

/// Imports an image of these layers and unpacks it.
pub(crate) async fn unpacked(
    images: &Images,
    dir: &Path,
    layers: &[Vec<u8>],
) -> Result<Vec<PathBuf>, consort_image::Error> {
    let layout = image(layers, gzip).layout(&dir.join("layout"), "test.local/image:1");
    let names = images.import(&layout, None).await?;
    let image = images.get(&names[0]).await?.expect("imported and gone");
    images.layers(&image).await
}
