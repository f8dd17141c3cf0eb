//! How long a container takes from the call to its first instruction, beside `runc` and `crun` on the same
//! machine in the same run.
//!
//! The program writes to a named pipe as the first thing it does; the clock stops when the byte arrives. All
//! runtimes get the same layer and the same mount, and each makes a writable overlay root within its time (the others
//! have it mounted for them). `crun` refuses a machine with cgroup v1 controllers and
//! an empty v2 mount beside them; there the whole benchmark runs without that mount, in a mount namespace of its own.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use consort_runtime::{ContainerSpec, Mount, Options, Resources, Runtime, SandboxSpec};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Times of one way to start a container.
struct Times {
    name: &'static str,
    milliseconds: Vec<f64>,
}

impl Times {
    fn median(&self) -> f64 {
        self.milliseconds
            .get(self.milliseconds.len() / 2)
            .copied()
            .unwrap_or(f64::NAN)
    }
}

/// A directory with a root file system, and the named pipe that containers write to.
struct Scene {
    dir: PathBuf,
    runs: usize,
}

impl Scene {
    fn new(dir: &Path, runs: usize) -> Result<Self> {
        for name in [
            "layer/bin",
            "layer/proc",
            "layer/sys",
            "layer/dev",
            "layer/pipe",
            "pipe",
        ] {
            fs::create_dir_all(dir.join(name))?;
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .iter()
            .find(|path| Path::new(path).exists());
        fs::copy(
            busybox.ok_or("busybox is missing: apt-get install busybox-static")?,
            dir.join("layer/bin/busybox"),
        )?;
        symlink("busybox", dir.join("layer/bin/sh"))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        let done = Command::new("mkfifo").arg(dir.join("pipe/p")).status()?;
        if !done.success() {
            return Err("mkfifo failed".into());
        }
        Ok(Self {
            dir: dir.to_owned(),
            runs,
        })
    }

    /// Waits for the byte in a thread of its own, so that opening the pipe is not part of the time.
    fn listen(&self) -> Receiver<std::io::Result<Instant>> {
        let path = self.dir.join("pipe/p");
        let (tell, hear) = channel();
        std::thread::spawn(move || {
            let heard = fs::File::open(path).and_then(|mut pipe| {
                pipe.read_exact(&mut [0])?;
                let now = Instant::now();
                // Till the writer has closed it, so that the next one meets the next listener.
                pipe.read_to_end(&mut Vec::new())?;
                Ok(now)
            });
            // Nobody waits for it any more when it comes too late.
            let _ = tell.send(heard);
        });
        hear
    }

    fn measure(
        &self,
        name: &'static str,
        mut start: impl FnMut(usize) -> Result<()>,
        mut clean: impl FnMut(usize) -> Result<()>,
    ) -> Result<Times> {
        let mut milliseconds = Vec::with_capacity(self.runs);
        for number in 0..self.runs {
            let listener = self.listen();
            let begin = Instant::now();
            start(number)?;
            let end = listener
                .recv_timeout(Duration::from_secs(20))
                .map_err(|_| format!("{name} did not start its container"))??;
            milliseconds.push(end.duration_since(begin).as_secs_f64() * 1000.0);
            clean(number)?;
        }
        milliseconds.sort_by(f64::total_cmp);
        Ok(Times { name, milliseconds })
    }

    /// An OCI bundle for the other runtimes.
    fn bundle(&self) -> Result<PathBuf> {
        let bundle = self.dir.join("bundle");
        if bundle.exists() {
            return Ok(bundle);
        }
        fs::create_dir_all(bundle.join("rootfs"))?;
        let made = Command::new("runc")
            .arg("spec")
            .current_dir(&bundle)
            .status()?;
        if !made.success() {
            return Err("runc spec failed".into());
        }
        let path = bundle.join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = serde_json::json!(["/bin/sh", "-c", "echo x > /pipe/p"]);
        config["root"] = serde_json::json!({ "path": bundle.join("rootfs"), "readonly": false });
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.push(serde_json::json!({ "destination": "/pipe", "type": "bind", "source": self.dir.join("pipe"), "options": ["rbind"] }));
            // Refused on machines with cgroup v1 and without a systemd hierarchy of the usual form.
            mounts.retain(|mount| mount["type"] != "cgroup");
        }
        fs::write(&path, config.to_string())?;
        Ok(bundle)
    }

    fn peer(&self, name: &'static str, arguments: &[&str]) -> Result<Option<Times>> {
        if Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            return Ok(None);
        }
        let bundle = self.bundle()?;
        let child = std::cell::RefCell::new(None);
        let times = self.measure(
            name,
            |number| {
                let root = self.dir.join("bundle/rootfs");
                for part in ["upper", "work"] {
                    fs::create_dir_all(self.dir.join(format!("bundle/{number}/{part}")))?;
                }
                let (layer, own) = (
                    self.dir.join("layer"),
                    self.dir.join(format!("bundle/{number}")),
                );
                let options = format!(
                    "lowerdir={},upperdir={}/upper,workdir={}/work,volatile",
                    layer.display(),
                    own.display(),
                    own.display()
                );
                let flags = nix::mount::MsFlags::empty();
                nix::mount::mount(
                    Some("overlay"),
                    &root,
                    Some("overlay"),
                    flags,
                    Some(options.as_str()),
                )?;
                let id = format!("consort-bench-{}-{number}", std::process::id());
                let mut command = Command::new(name);
                command
                    .args(arguments)
                    .arg("run")
                    .arg("--bundle")
                    .arg(&bundle)
                    .arg(id)
                    .stdin(Stdio::null());
                child.replace(Some(command.spawn()?));
                Ok(())
            },
            |number| {
                let ended = child.take().map(|mut child| child.wait()).transpose()?;
                nix::mount::umount(&self.dir.join("bundle/rootfs"))?;
                fs::remove_dir_all(self.dir.join(format!("bundle/{number}")))?;
                match ended {
                    Some(status) if !status.success() => Err(format!("{name} failed").into()),
                    _ => Ok(()),
                }
            },
        );
        times.map(Some)
    }
}

/// Takes the empty v2 mount of a hybrid layout away from this process and what it starts.
fn leave_hybrid_cgroups() -> Result<()> {
    let empty = Path::new("/sys/fs/cgroup/unified");
    if empty.exists() {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        let flags = nix::mount::MsFlags::MS_SLAVE | nix::mount::MsFlags::MS_REC;
        nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?;
        nix::mount::umount(empty)?;
    }
    Ok(())
}

/// Runs the comparison and prints it; call it before any thread is started. `shim` is an executable that can be a shim.
pub(crate) fn run(shim: &Path, runs: usize) -> Result<()> {
    leave_hybrid_cgroups()?;
    let dir = std::env::temp_dir().join(format!("consort-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let result = compare(&dir, shim, runs);
    fs::remove_dir_all(&dir)?;
    result
}

fn compare(dir: &Path, shim: &Path, runs: usize) -> Result<()> {
    let scene = Scene::new(dir, runs)?;
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _entered = tokio.enter();
    let runtime = Runtime::new(Options {
        root: dir.join("run"),
        shim_exe: shim.to_owned(),
        cgroup_parent: format!("consort-bench-{}", std::process::id()),
    })?;
    let container = |id: String| ContainerSpec {
        id,
        lower_dirs: vec![dir.join("layer")],
        args: ["/bin/sh", "-c", "echo x > /pipe/p"]
            .map(str::to_owned)
            .to_vec(),
        mounts: vec![Mount {
            source: dir.join("pipe"),
            target: "/pipe".into(),
            ..Mount::default()
        }],
        resources: Resources {
            memory_limit_bytes: Some(64 << 20),
            ..Resources::default()
        },
        ..ContainerSpec::default()
    };
    let pod = |id: String| SandboxSpec {
        id,
        hostname: "bench".to_owned(),
        ..SandboxSpec::default()
    };

    let mut sandboxes = Vec::new();
    let whole = scene.measure(
        "consort, pod and container",
        |number| {
            let sandbox = tokio.block_on(runtime.create_sandbox(pod(format!("p{number}"))))?;
            tokio.block_on(sandbox.run(container("c".to_owned())))?;
            sandboxes.push(sandbox);
            Ok(())
        },
        |_| Ok(()),
    )?;
    for sandbox in sandboxes {
        tokio.block_on(sandbox.remove())?;
    }
    let sandbox = tokio.block_on(runtime.create_sandbox(pod("one".to_owned())))?;
    let inner = scene.measure(
        "consort, container in a pod",
        |number| {
            tokio.block_on(sandbox.run(container(format!("c{number}"))))?;
            Ok(())
        },
        |number| {
            let found = sandbox
                .container(&format!("c{number}"))
                .ok_or("the container is gone")?;
            tokio.block_on(found.wait())?;
            tokio.block_on(found.remove())?;
            Ok(())
        },
    )?;
    tokio.block_on(sandbox.remove())?;
    runtime.close()?;

    let mut all = vec![inner, whole];
    all.extend(scene.peer("runc", &[])?);
    all.extend(scene.peer("crun", &[])?);

    let base = all[0].median();
    println!("call to first instruction, {runs} runs        median      min      max   ratio");
    for times in &all {
        let (min, max) = (
            times.milliseconds[0],
            times.milliseconds[times.milliseconds.len() - 1],
        );
        println!(
            "{:<42} {:>8.1} {:>8.1} {:>8.1} {:>7.2}",
            times.name,
            times.median(),
            min,
            max,
            times.median() / base
        );
    }
    Ok(())
}
