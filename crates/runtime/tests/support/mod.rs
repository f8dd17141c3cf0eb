//! A runtime in a temporary directory with a busybox root file system, that checks afterwards that
//! nothing is left on the machine.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use consort_runtime::{
    Container, ContainerSpec, ExecSpec, Exit, Options, Runtime, Sandbox, SandboxSpec,
};
use tokio::io::AsyncReadExt;

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub struct Bed {
    pub dir: tempfile::TempDir,
    pub runtime: Runtime,
    pub options: Options,
}

/// Mounts of the host below a directory.
fn mounts_in(dir: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = dir.to_str().unwrap();
    table
        .lines()
        .filter(|line| line.contains(dir))
        .map(str::to_owned)
        .collect()
}

impl Bed {
    pub fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make containers: run them as root"
        );
        let dir = tempfile::Builder::new()
            .prefix("consort-runtime-")
            .tempdir()
            .unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .iter()
            .find(|path| Path::new(path).exists());
        let busybox = busybox.expect("these tests need busybox: apt-get install busybox-static");
        let rootfs = dir.path().join("layer");
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev", "data"] {
            fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::copy(busybox, rootfs.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "echo", "sleep", "ls", "id", "mount", "hostname", "ps", "kill", "true",
            "false", "touch", "stty", "tty", "mkdir", "dd", "seq", "head", "grep", "mknod", "env",
            "pwd", "wc", "ip", "chmod", "su", "unshare", "setsid", "stat", "yes", "rm", "umount",
        ] {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        fs::write(
            rootfs.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/sh\n",
        )
        .unwrap();
        fs::write(
            rootfs.join("etc/group"),
            "root:x:0:\nwww:x:34:\nlogs:x:4:web\n",
        )
        .unwrap();
        fs::write(rootfs.join("etc/garbage"), "not a program").unwrap();
        fs::set_permissions(
            rootfs.join("etc/garbage"),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        fs::create_dir(dir.path().join("logs")).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let options = Options {
            root: dir.path().join("run"),
            shim_exe: env!("CARGO_BIN_EXE_consort-shim").into(),
            cgroup_parent: format!("consort-test-{}-{number}", std::process::id()),
        };
        let runtime = Runtime::new(options.clone()).unwrap();
        Self {
            dir,
            runtime,
            options,
        }
    }

    pub fn layer(&self) -> PathBuf {
        self.dir.path().join("layer")
    }

    pub fn log(&self, id: &str) -> PathBuf {
        self.dir.path().join("logs").join(format!("{id}.log"))
    }

    /// The texts that a container has written, without times and tags.
    pub fn logged(&self, id: &str) -> String {
        let text = fs::read_to_string(self.log(id)).unwrap_or_default();
        text.lines()
            .map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default())
            .fold(String::new(), |all, line| all + line + "\n")
    }

    pub async fn sandbox(&self, id: &str) -> Sandbox {
        let spec = SandboxSpec {
            id: id.to_owned(),
            hostname: format!("host-{id}"),
            ..SandboxSpec::default()
        };
        self.runtime.create_sandbox(spec).await.unwrap()
    }

    pub fn spec(&self, id: &str, script: &str) -> ContainerSpec {
        ContainerSpec {
            id: id.to_owned(),
            lower_dirs: vec![self.layer()],
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".to_owned()],
            log_path: Some(self.log(id)),
            ..ContainerSpec::default()
        }
    }

    /// Runs a script to its end and gives what it printed.
    pub async fn output(&self, sandbox: &Sandbox, spec: ContainerSpec) -> (Exit, String) {
        let id = spec.id.clone();
        let container = sandbox.run(spec).await.unwrap();
        let exit = within(container.wait()).await.unwrap();
        (exit, self.logged(&id))
    }

    /// Checks that nothing is left once all sandboxes have been removed.
    pub fn finish(self) {
        self.runtime.close().unwrap();
        assert_eq!(
            fs::read_dir(&self.options.root).unwrap().count(),
            0,
            "sandbox directories are left"
        );
        let mounts = mounts_in(self.dir.path());
        assert!(mounts.is_empty(), "mounts are left: {mounts:?}");
        let groups = cgroups(&self.options.cgroup_parent);
        assert!(groups.is_empty(), "cgroups are left: {groups:?}");
        let needle = self.options.root.to_str().unwrap().to_owned();
        let left = processes(&needle);
        assert!(left.is_empty(), "processes are left: {left:?}");
    }
}

/// Cgroups of that name anywhere.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let mut found = vec![Path::new("/sys/fs/cgroup").join(name)];
    for entry in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        found.push(entry.path().join(name));
    }
    found.retain(|path| path.exists());
    found
}

/// Processes that have `needle` in their command line.
pub fn processes(needle: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != std::process::id() as i32 && String::from_utf8_lossy(&line).contains(needle)
    })
    .collect()
}

/// A deadline for everything that could hang.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("not done in time")
}

pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a script in a container; gives its exit code and output.
pub async fn exec(container: &Container, script: &str) -> (i32, String, String) {
    let spec = ExecSpec {
        args: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..ExecSpec::default()
    };
    let mut exec = container.exec(spec).await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (exec.stdout.take().unwrap(), exec.stderr.take().unwrap());
    within(async {
        tokio::join!(
            stdout.read_to_string(&mut out),
            stderr.read_to_string(&mut err)
        )
    })
    .await
    .0
    .unwrap();
    (within(exec.wait()).await.unwrap(), out, err)
}

pub fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
