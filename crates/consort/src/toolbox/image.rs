//! The image's content: the running executable, what it links, and the few files that the C
//! library reads.

use std::io;
use std::path::{Path, PathBuf};

use consort_image::{Builtin, Config, LayerBuilder};

use super::{NAMES, elf};

/// `consort.dev/toolbox`.
#[derive(Debug)]
pub(crate) struct Image {
    program: PathBuf,
}

impl Image {
    /// The image of the program that runs, even when its file was replaced since it started.
    pub(crate) fn new() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
        }
    }
}

/// Directories in which every loader looks without being told, in some distribution or other.
/// In the image they are all one.
const LIBRARY_DIRS: [&str; 3] = ["/lib64", "/usr/lib", "/usr/lib64"];

impl Builtin for Image {
    fn name(&self) -> &'static str {
        "consort.dev/toolbox"
    }

    fn config(&self) -> Config {
        Config {
            cmd: vec!["serve".into()],
            env: vec!["PATH=/bin".into()],
            working_dir: "/".into(),
            labels: [
                ("org.opencontainers.image.title", "toolbox"),
                (
                    "org.opencontainers.image.version",
                    env!("CARGO_PKG_VERSION"),
                ),
                (
                    "org.opencontainers.image.licenses",
                    env!("CARGO_PKG_LICENSE"),
                ),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
            ..Config::default()
        }
    }

    fn build(&self, layer: &mut LayerBuilder) -> io::Result<()> {
        for dir in [
            "/bin", "/etc", "/lib", "/root", "/usr", "/proc", "/sys", "/dev", "/run",
        ] {
            layer.dir(dir, if dir == "/root" { 0o700 } else { 0o755 });
        }
        layer.dir("/tmp", 0o1777);
        layer.dir("/var", 0o755);
        layer.dir("/var/tmp", 0o1777);
        layer.symlink("/usr/bin", "../bin");
        layer.symlink("/var/run", "../run");
        layer.symlink("/lib64", "lib");
        layer.symlink("/usr/lib", "../lib");
        layer.symlink("/usr/lib64", "../lib");
        layer.file("/etc/passwd", 0o644, PASSWD);
        layer.file("/etc/group", 0o644, GROUP);
        layer.file("/etc/nsswitch.conf", 0o644, NSSWITCH);
        layer.file("/etc/hosts", 0o644, HOSTS);
        layer.host_file("/bin/consort", 0o755, &self.program);
        for name in NAMES {
            layer.symlink(Path::new("/bin").join(name), "consort");
        }
        let needs = elf::Needs::of(&self.program)?;
        for (name, path) in elf::libraries(&self.program)? {
            layer.host_file(Path::new("/lib").join(&name), 0o755, &path);
            link_odd_place(layer, &path.with_file_name(&name), &name);
        }
        if let Some(loader) = needs.loader
            && let Some(name) = loader.file_name()
        {
            layer.host_file(Path::new("/lib").join(name), 0o755, &loader);
            link_odd_place(layer, &loader, name);
        }
        Ok(())
    }
}

/// Where a file lies in none of the usual directories (a search path in the program, or a loader
/// of its own), it is there in the image too.
fn link_odd_place(layer: &mut LayerBuilder, path: &Path, name: &std::ffi::OsStr) {
    let usual = path.starts_with("/lib") || LIBRARY_DIRS.iter().any(|dir| path.starts_with(dir));
    if !usual {
        layer.symlink(path, Path::new("/lib").join(name));
    }
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/false\n\
    nobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";
/// A pod brings its own.
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";
