//! Images that are made from the running program.
//!
//! Such an image is its list of entries. The layer's directory is filled from it while the very
//! archive that these files would be in a registry is hashed; so equal content has equal digests
//! everywhere. What was made is kept under a fingerprint of the list and of the host files' inodes,
//! sizes and times: the next start reads none of them.

use std::fs::{self, File};
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{ConfigFile, RootFs};
use crate::digest::Hasher;
use crate::images::{Inner, blocking};
use crate::layer::{Meta, Tree};
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Platform};
use crate::{Config, Digest, Error, Image, Layer, Reference, disk, layers};

/// An image with one layer that is made at need, so that there is one where no registry is.
pub trait Builtin: Send + Sync {
    /// The repository it answers for, with any tag: `consort.dev/toolbox`.
    fn name(&self) -> &str;

    /// How it is run.
    fn config(&self) -> Config;

    /// Lists the content of the layer. Files of the host are only named here; they are read when
    /// the image is wanted and they, or the list, changed since it was made.
    fn build(&self, layer: &mut LayerBuilder) -> io::Result<()>;
}

/// Collects what goes into a built-in image's layer. Paths are absolute within the image; parents
/// that are not listed come into being with mode 0755; everything belongs to root.
#[derive(Debug, Default, Hash)]
pub struct LayerBuilder {
    entries: Vec<(PathBuf, Entry)>,
}

#[derive(Debug, Clone, Hash)]
enum Entry {
    Dir { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    HostFile { mode: u32, source: PathBuf },
    Symlink { target: PathBuf },
}

impl LayerBuilder {
    /// A directory with permission bits `mode`.
    pub fn dir(&mut self, path: impl AsRef<Path>, mode: u32) {
        self.add(path.as_ref(), Entry::Dir { mode });
    }

    /// A file with this content.
    pub fn file(&mut self, path: impl AsRef<Path>, mode: u32, content: impl Into<Vec<u8>>) {
        let content = content.into();
        self.add(path.as_ref(), Entry::File { mode, content });
    }

    /// A file with the content that `source` has on this machine.
    pub fn host_file(&mut self, path: impl AsRef<Path>, mode: u32, source: impl Into<PathBuf>) {
        let source = source.into();
        self.add(path.as_ref(), Entry::HostFile { mode, source });
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: impl AsRef<Path>, target: impl Into<PathBuf>) {
        let target = target.into();
        self.add(path.as_ref(), Entry::Symlink { target });
    }

    fn add(&mut self, path: &Path, entry: Entry) {
        let path = path.strip_prefix("/").unwrap_or(path).to_owned();
        self.entries.push((path, entry));
    }

    /// Changes whenever the layer would, without reading the host's files.
    fn fingerprint(&self, config: &Config) -> io::Result<String> {
        // Two different hashes of 64 bits: this is no defence, only a memory.
        let mut hashers = [rapid(0), rapid(1)];
        for hasher in &mut hashers {
            self.hash(hasher);
            format!("{config:?}").hash(hasher);
            for (_, entry) in &self.entries {
                if let Entry::HostFile { source, .. } = entry {
                    let stat = fs::metadata(source)?;
                    (stat.dev(), stat.ino(), stat.size()).hash(hasher);
                    (
                        stat.mtime(),
                        stat.mtime_nsec(),
                        stat.ctime(),
                        stat.ctime_nsec(),
                    )
                        .hash(hasher);
                }
            }
        }
        let [a, b] = hashers.map(|hasher| hasher.finish());
        Ok(format!("{a:016x}{b:016x}"))
    }

    /// Fills a directory and gives digest and size of the archive it stands for.
    fn write(&self, into: &Path) -> io::Result<(Digest, u64)> {
        let mut tree = Tree::open(into)?;
        let mut archive = tar::Builder::new(HashWriter(Hasher::default()));
        for (path, entry) in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(0);
            match entry {
                Entry::Dir { mode } => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    archive.append_data(&mut header, path, io::empty())?;
                    tree.make_directory(path, &Meta::plain(*mode))?;
                }
                Entry::Symlink { target } => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    archive.append_link(&mut header, path, target)?;
                    tree.symlink(path, target.as_os_str(), &Meta::plain(0o777))?;
                }
                Entry::File { mode, content } => {
                    header.set_mode(*mode);
                    header.set_size(content.len() as u64);
                    archive.append_data(&mut header, path, content.as_slice())?;
                    let mut file = tree.create_file(path)?;
                    file.write_all(content)?;
                    Meta::plain(*mode).apply(&file)?;
                }
                Entry::HostFile { mode, source } => {
                    let from = File::open(source)?;
                    let size = from.metadata()?.len();
                    header.set_mode(*mode);
                    header.set_size(size);
                    let mut file = tree.create_file(path)?;
                    let tee = Tee {
                        from: from.take(size),
                        to: &mut file,
                        left: size,
                    };
                    let mut tee = BufReader::with_capacity(256 * 1024, tee);
                    archive.append_data(&mut header, path, &mut tee)?;
                    if tee.get_ref().left != 0 {
                        let reason =
                            format!("{} became shorter while it was read", source.display());
                        return Err(io::Error::other(reason));
                    }
                    Meta::plain(*mode).apply(&file)?;
                }
            }
        }
        let HashWriter(hasher) = archive.into_inner()?;
        tree.finish()?;
        Ok(hasher.finish())
    }
}

/// A hasher of the standard library with a fixed seed.
fn rapid(seed: u64) -> std::hash::DefaultHasher {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write_u64(seed);
    hasher
}

struct HashWriter(Hasher);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies what is read through it.
struct Tee<'a> {
    from: io::Take<File>,
    to: &'a mut File,
    left: u64,
}

impl Read for Tee<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(out)?;
        self.to.write_all(&out[..read])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// What is remembered of an image that was made.
#[derive(Serialize, Deserialize)]
struct Record {
    fingerprint: String,
    /// Layers are not synced, as they can be made again: what an earlier boot made may be torn.
    boot: String,
    diff_id: Digest,
    size: u64,
}

/// The built-in image of that name, made now if need be.
pub(crate) async fn image(
    inner: &Arc<Inner>,
    reference: &Reference,
) -> Result<Option<Image>, Error> {
    let name = reference.name();
    let Some(at) = inner.options.builtin.iter().position(|b| b.name() == name) else {
        return Ok(None);
    };
    let only = inner.making.lock(name).await;
    let reference = reference.clone();
    let made = blocking(inner, move |inner| {
        let _only = only;
        make(inner, at, &reference)
    });
    made.await.map(Some)
}

fn make(inner: &Inner, at: usize, reference: &Reference) -> Result<Image, Error> {
    let builtin = &inner.options.builtin[at];
    let name = builtin.name();
    let failed = |source| Error::Builtin {
        name: name.to_owned(),
        source,
    };
    let config = builtin.config();
    let mut layer = LayerBuilder::default();
    builtin.build(&mut layer).map_err(failed)?;
    let fingerprint = layer.fingerprint(&config).map_err(failed)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(failed)?;
    let file_name = format!("builtin-{}.json", name.replace('/', "_"));
    let path = inner.options.dir.join(file_name);
    let record = fs::read(&path)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok())
        .filter(|record| record.fingerprint == fingerprint && record.boot == boot)
        .filter(|record| inner.unpacked(record.diff_id).is_dir());
    let record = if let Some(record) = record {
        record
    } else {
        let (diff_id, size) = make_layer(inner, &layer, &failed, &boot)?;
        let record = Record {
            fingerprint,
            boot,
            diff_id,
            size,
        };
        let json = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
        disk::write_atomically(&path, &json)?;
        record
    };
    let image = describe(&record, config, reference).map_err(|error| failed(error.into()))?;
    // Known by every name it was asked for.
    let mut made = inner.made.lock();
    let known = made.entry(name.to_owned()).or_insert_with(|| image.clone());
    let mut references = std::mem::take(&mut known.references);
    if !references.contains(reference) && reference.digest().is_none() {
        references.push(reference.clone());
        references.sort();
    }
    *known = Image {
        references,
        ..image
    };
    Ok(known.clone())
}

/// Makes the layer's directory beside its place and moves it there.
fn make_layer(
    inner: &Inner,
    layer: &LayerBuilder,
    failed: &impl Fn(io::Error) -> Error,
    boot: &str,
) -> Result<(Digest, u64), Error> {
    let temporary = disk::temporary_beside(&inner.layer_dir.join("builtin"));
    fs::create_dir(&temporary).map_err(Error::io("creating", &temporary))?;
    let written =
        layers::set_mode(&temporary).and_then(|()| layer.write(&temporary).map_err(failed));
    let (diff_id, size) = match written {
        Ok(written) => written,
        Err(error) => {
            disk::remove_all(&temporary)?;
            return Err(error);
        }
    };
    let _held = inner.pins.hold([diff_id]);
    let dir = inner.unpacked(diff_id);
    let marker = inner.boot_marker(diff_id);
    let made_in_this_boot = fs::read_to_string(&marker).is_ok_and(|made| made == boot);
    if dir.is_dir() && made_in_this_boot {
        // Containers may have it mounted, and it is the same.
        disk::remove_all(&temporary)?;
    } else {
        disk::remove_tree_whole(&dir)?;
        fs::rename(&temporary, &dir).map_err(Error::io("creating", &dir))?;
        fs::write(&marker, boot).map_err(Error::io("writing", &marker))?;
    }
    Ok((diff_id, size))
}

impl Inner {
    /// Holds the boot in which the built-in layer beside it was made.
    pub(crate) fn boot_marker(&self, diff_id: Digest) -> PathBuf {
        self.layer_dir.join(format!("{}.boot", diff_id.hex()))
    }
}

fn describe(
    record: &Record,
    config: Config,
    reference: &Reference,
) -> Result<Image, serde_json::Error> {
    let host = Platform::host();
    let file = ConfigFile {
        created: Some("1970-01-01T00:00:00Z".to_owned()),
        architecture: host.architecture,
        os: host.os,
        config: Some(config.clone().into()),
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: vec![record.diff_id],
        },
    };
    let file = serde_json::to_vec(&file)?;
    let id = Digest::of(&file);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        config: Descriptor::new(OCI_CONFIG, id, file.len() as u64),
        layers: vec![Descriptor::new(OCI_LAYER, record.diff_id, record.size)],
    };
    Ok(Image {
        id,
        digest: Digest::of(&serde_json::to_vec(&manifest)?),
        index: None,
        references: vec![reference.clone()],
        config: Arc::new(config),
        size: record.size + file.len() as u64,
        created: Some("1970-01-01T00:00:00Z".to_owned()),
        layers: Arc::new([Layer {
            blob: record.diff_id,
            diff_id: record.diff_id,
            size: record.size,
        }]),
    })
}
