//! A server in a network namespace of its own, and `kubectl` beside it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const CONSORT: &str = env!("CARGO_BIN_EXE_consort");
/// An image with a shell, in every cluster's store.
pub(crate) const BUSYBOX: &str = "e2e.test/busybox:1";
/// How long one command may take.
const COMMAND: Duration = Duration::from_secs(90);
/// How long the server gets to start, and anything to become true.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the server gets to stop: more than it gives its pods.
const STOP: Duration = Duration::from_secs(100);
const POLL: Duration = Duration::from_millis(50);

/// A running server of its own. Dropped, it is stopped by force and everything of it removed;
/// [`Cluster::stop`] ends it as an administrator would and checks that nothing is left.
pub(crate) struct Cluster {
    dir: TempDir,
    netns: Netns,
    server: Option<Child>,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that runs beside the test; killed when dropped.
pub(crate) struct Background {
    child: Child,
    lines: Receiver<String>,
    seen: String,
}

/// A named network namespace with only a loopback interface.
struct Netns(String);

impl Netns {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("consort-e2e-{}-{count}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let netns = Self(name);
        run(Command::new("ip").args(["-n", &netns.0, "link", "set", "lo", "up"]));
        netns
    }

    /// A command inside; `ip netns exec` would hide the control groups.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.0))
            .arg(program);
        command
    }

    fn pids(&self) -> Vec<i32> {
        let output = Command::new("ip").args(["netns", "pids", &self.0]).output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        for pid in self.pids() {
            kill(pid, "KILL");
        }
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

impl Cluster {
    /// Starts a server, waits until its node is ready, and imports [`BUSYBOX`].
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further arguments for `consort server`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let mut cluster = Self::unstarted();
        cluster.launch(arguments);
        cluster.import_busybox();
        cluster
    }

    /// Imports [`BUSYBOX`].
    pub(crate) fn import_busybox(&self) {
        let archive = busybox_archive(self.path());
        self.ok(&format!(
            "consort image import --data-dir {} {}",
            self.data_dir().display(),
            archive.display()
        ));
    }

    /// The directory and the network namespace, without a server yet.
    pub(crate) fn unstarted() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("consort-e2e-")
            .tempdir()
            .expect("a temporary directory");
        for name in ["home", "bin", "work"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        std::os::unix::fs::symlink(CONSORT, dir.path().join("bin/consort")).expect("a link");
        Self {
            dir,
            netns: Netns::new(),
            server: None,
        }
    }

    /// Starts the server (again) and waits until its node is ready.
    pub(crate) fn launch(&mut self, arguments: &[&str]) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the server's log");
        let server = self
            .netns
            // Should the test be killed, the server goes with it.
            .command("setpriv")
            .args([
                "--pdeathsig",
                "TERM",
                CONSORT,
                "server",
                "--node-name",
                "n1",
                "--data-dir",
            ])
            .arg(self.data_dir())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the server's log"))
            .stderr(log)
            .spawn()
            .expect("starting the server");
        self.server = Some(server);
        let node = !arguments.contains(&"--no-node");
        self.until("the server is ready", || {
            let server = self.server.as_ref().map(Child::id)?;
            assert!(Path::new(&format!("/proc/{server}/exe")).exists(), "the server ended:\n{}", self.log());
            let probe = if node {
                "test \"$(kubectl get node n1 -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].status}')\" = True \
                 && kubectl get serviceaccount default -o name"
            } else {
                "kubectl get --raw /readyz"
            };
            (self.sh(probe).code == 0).then_some(())
        });
    }

    /// The temporary directory: `home`, `work` (where commands run), `data`.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The server's data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.path().join("server.log")
    }

    /// What the server logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn command(&self, script: &str, limit: Duration) -> Command {
        // Without the terminal of whoever runs the tests: a program that reaches for it (`kubectl edit`) would be
        // stopped.
        let mut command = self.netns.command("setsid");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args([
                "--wait",
                "timeout",
                "--kill-after=1",
                &limit.as_secs().to_string(),
                "bash",
                "-c",
                script,
            ])
            .current_dir(self.path().join("work"))
            .env("HOME", self.path().join("home"))
            .env("KUBECONFIG", self.data_dir().join("admin.kubeconfig"))
            .env(
                "PATH",
                format!("{}:{path}", self.path().join("bin").display()),
            )
            .env("TERM", "dumb")
            .stdin(Stdio::null());
        command
    }

    /// Runs a shell script in the network namespace, with `kubectl` and `consort` at hand.
    pub(crate) fn sh(&self, script: &str) -> Ran {
        let output = self
            .command(script, COMMAND)
            .output()
            .expect("running a command");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a script that must succeed; gives its standard output without the last line's end.
    #[track_caller]
    pub(crate) fn ok(&self, script: &str) -> String {
        let ran = self.sh(script);
        assert_eq!(ran.code, 0, "$ {script}\n{}{}", ran.stdout, ran.stderr);
        ran.stdout.trim_end().to_owned()
    }

    /// Runs a script that must fail; gives what it printed to both streams.
    #[track_caller]
    pub(crate) fn fails(&self, script: &str) -> String {
        let ran = self.sh(script);
        assert_ne!(
            ran.code, 0,
            "should have failed: $ {script}\n{}{}",
            ran.stdout, ran.stderr
        );
        assert!(
            ran.code != 124 && ran.code != 137,
            "hung: $ {script}\n{}{}",
            ran.stdout,
            ran.stderr
        );
        ran.stdout + &ran.stderr
    }

    /// Runs a script that must succeed and print `expected` somewhere; gives all it printed.
    #[track_caller]
    pub(crate) fn shows(&self, script: &str, expected: &str) -> String {
        let ran = self.sh(script);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, 0, "$ {script}\n{all}");
        assert!(
            all.contains(expected),
            "$ {script}\nlacks {expected:?}:\n{all}"
        );
        all
    }

    /// Applies manifests.
    #[track_caller]
    pub(crate) fn apply(&self, manifests: &str) -> String {
        self.ok(&format!(
            "kubectl apply -f - <<'END_OF_MANIFESTS'\n{manifests}\nEND_OF_MANIFESTS"
        ))
    }

    /// Writes a file into the directory where commands run.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join("work").join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a directory");
        }
        std::fs::write(path, text).expect("writing a file");
    }

    /// Starts a script beside the test.
    pub(crate) fn spawn(&self, script: &str) -> Background {
        let mut child = self
            .command(script, Duration::from_secs(300))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("starting a command");
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Background {
            child,
            lines,
            seen: String::new(),
        }
    }

    /// Asks until there is an answer.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "timed out waiting until {what}\n{}",
                self.sh("kubectl get all,events -A -o wide").stdout
            );
            std::thread::sleep(POLL);
        }
    }

    /// Runs a script until it prints `expected` (as a whole, line end aside).
    #[track_caller]
    pub(crate) fn becomes(&self, script: &str, expected: &str) {
        let mut last = String::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ran = self.sh(script);
            if ran.code == 0 && ran.stdout.trim_end() == expected {
                return;
            }
            last.clear();
            let _ = write!(last, "{}{}", ran.stdout, ran.stderr);
            assert!(
                Instant::now() < deadline,
                "$ {script}\nshould become {expected:?}, and is {last:?}\n{}",
                self.sh("kubectl get all,events -A -o wide").stdout
            );
            std::thread::sleep(POLL);
        }
    }

    /// Stops the server politely and asserts that nothing of it is left on this machine.
    pub(crate) fn stop(mut self) {
        self.terminate();
        self.nothing_is_left();
    }

    /// Asserts that nothing of a server is left on this machine.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        let left = self.left();
        assert!(left.is_empty(), "left behind: {left:#?}\n{}", self.log());
    }

    /// Stops the server politely and waits for its end.
    pub(crate) fn terminate(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        kill(server.id().try_into().expect("a process id"), "TERM");
        let deadline = Instant::now() + STOP;
        loop {
            if let Some(status) = server.try_wait().expect("waiting for the server") {
                assert!(
                    status.success(),
                    "the server ended with {status}:\n{}",
                    self.log()
                );
                return;
            }
            if Instant::now() > deadline {
                self.server = Some(server);
                panic!("the server did not stop:\n{}", self.log());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Kills the server without a warning, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("killing the server");
            server.wait().expect("waiting for the server");
        }
    }

    /// Kills the server, its shims and all containers at once.
    pub(crate) fn kill_everything(&mut self) {
        self.kill();
        self.kill_what_runs();
    }

    /// Kills one process of this cluster, the first whose command line has `text` in it.
    #[track_caller]
    pub(crate) fn kill_one(&self, text: &str) {
        let pids = self.processes();
        let pid = pids.into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line)
                .replace('\0', " ")
                .contains(text)
        });
        kill(pid.expect("such a process"), "KILL");
    }

    /// Kills everything of this cluster that runs, without a warning.
    pub(crate) fn kill_what_runs(&self) {
        self.until("everything is dead", || {
            let pids = self.processes();
            for pid in &pids {
                kill(*pid, "KILL");
            }
            pids.is_empty().then_some(())
        });
    }

    /// The name the server derives from its data directory; it is in the names of its control groups.
    fn instance(&self) -> String {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let digest = Sha256::digest(self.data_dir().as_os_str().as_encoded_bytes());
        digest[..6]
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(*byte) % 36]))
            .collect()
    }

    /// What of this cluster still exists on the machine.
    fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = Vec::new();
        left.extend(self.processes().into_iter().map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!(
                "process {pid}: {}",
                String::from_utf8_lossy(&line).replace('\0', " ")
            )
        }));
        left.extend(
            self.mounts()
                .into_iter()
                .map(|mount| format!("mount {mount}")),
        );
        left.extend(
            self.cgroups()
                .into_iter()
                .map(|path| format!("control group {}", path.display())),
        );
        let ask = |program: &str, arguments: &[&str]| {
            let output = self
                .netns
                .command(program)
                .args(arguments)
                .output()
                .expect("looking around");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        left.extend(
            ask("nft", &["list", "tables"])
                .lines()
                .map(|table| format!("nft {table}")),
        );
        left.extend(
            ask("ip", &["-o", "link"])
                .lines()
                .filter(|link| !link.contains(": lo:"))
                .map(|link| format!("link {link}")),
        );
        let named = Command::new("ip")
            .args(["netns", "list"])
            .output()
            .expect("listing namespaces");
        let instance = self.instance();
        left.extend(
            String::from_utf8_lossy(&named.stdout)
                .lines()
                .filter(|name| name.contains(&instance))
                .map(|name| format!("network namespace {name}")),
        );
        left
    }

    /// Processes of this cluster: in its network namespace, or started for its directory.
    fn processes(&self) -> Vec<i32> {
        let mut pids = self.netns.pids();
        let needle = self.path().as_os_str().as_encoded_bytes().to_owned();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if line.windows(needle.len()).any(|window| window == needle) {
                pids.push(pid);
            }
        }
        for cgroup in self.cgroups() {
            let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    fn mounts(&self) -> Vec<String> {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let below = format!("{}/", self.path().display());
        text.lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|point| point.starts_with(&below))
            .map(str::to_owned)
            .collect()
    }

    /// Control groups of this cluster, children first.
    fn cgroups(&self) -> Vec<PathBuf> {
        fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    collect(&entry.path(), found);
                }
            }
            found.push(dir.to_owned());
        }
        let name = format!("consort-{}", self.instance());
        let mut found = Vec::new();
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            for name in [name.clone(), format!("{name}-machines")] {
                let dir = hierarchy.path().join(name);
                if dir.is_dir() {
                    collect(&dir, &mut found);
                }
            }
        }
        found
    }

    /// Removes by force what is left.
    fn sweep(&mut self) {
        if let Some(mut server) = self.server.take() {
            kill(server.id().try_into().unwrap_or(0), "TERM");
            let deadline = Instant::now() + Duration::from_secs(15);
            while server.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline
            {
                std::thread::sleep(POLL);
            }
            let _ = server.kill();
            let _ = server.wait();
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let pids = self.processes();
            if pids.is_empty() || Instant::now() > deadline {
                break;
            }
            for pid in pids {
                kill(pid, "KILL");
            }
            std::thread::sleep(POLL);
        }
        for mount in self.mounts().iter().rev() {
            let _ = Command::new("umount").args(["-l", mount]).status();
        }
        for cgroup in self.cgroups() {
            let _ = std::fs::remove_dir(cgroup);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the server's log ends:\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
        self.sweep();
    }
}

impl Background {
    /// Reads lines until one contains `expected`; gives that line.
    #[track_caller]
    pub(crate) fn until_line(&mut self, expected: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push_str(&line);
                    self.seen.push('\n');
                    if line.contains(expected) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("timed out before {expected:?} in:\n{}", self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended before {expected:?} in:\n{}", self.seen)
                }
            }
        }
    }

    /// Waits for the end; gives the exit code and all that was printed.
    #[track_caller]
    pub(crate) fn wait(mut self) -> (i32, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waiting for a command") {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "still runs; printed:\n{}",
                self.seen
            );
            std::thread::sleep(POLL);
        };
        let mut seen = std::mem::take(&mut self.seen);
        while let Ok(line) = self.lines.recv() {
            seen.push_str(&line);
            seen.push('\n');
        }
        (status.code().unwrap_or(-1), seen)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // `timeout` passes the signal on to what it runs.
        kill(self.child.id().try_into().unwrap_or(0), "TERM");
        let deadline = Instant::now() + Duration::from_secs(3);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline
        {
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kill(pid: i32, signal: &str) {
    if pid > 1 {
        let _ = Command::new("kill")
            .args([&format!("-{signal}"), &pid.to_string()])
            .stderr(Stdio::null())
            .status();
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("running a command");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A Docker archive of an image with a static busybox and links for all of its commands.
fn busybox_archive(dir: &Path) -> PathBuf {
    let root = dir.join("image");
    for name in ["bin", "etc", "root", "tmp"] {
        std::fs::create_dir_all(root.join(name)).expect("a directory");
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = busybox.iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("a static busybox (the package busybox-static)");
    std::fs::copy(busybox, root.join("bin/busybox")).expect("copying busybox");
    run(Command::new(busybox)
        .args(["--install", "-s"])
        .arg(root.join("bin")));
    for entry in std::fs::read_dir(root.join("bin"))
        .expect("a directory")
        .flatten()
    {
        // The links name the installing busybox; in the image it is elsewhere.
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            std::fs::remove_file(entry.path()).expect("removing a link");
            std::os::unix::fs::symlink("busybox", entry.path()).expect("a link");
        }
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")
        .expect("writing a file");
    let layer = dir.join("layer.tar");
    run(Command::new("tar")
        .arg("-cf")
        .arg(&layer)
        .arg("-C")
        .arg(&root)
        .arg("."));
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(&layer).expect("the layer");
    file.read_to_end(&mut bytes).expect("reading the layer");
    let mut digest = String::new();
    for byte in Sha256::digest(&bytes) {
        let _ = write!(digest, "{byte:02x}");
    }
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let manifest = serde_json::json!([
        { "Config": "config.json", "RepoTags": [BUSYBOX], "Layers": ["layer.tar"] }
    ]);
    std::fs::write(dir.join("config.json"), config.to_string()).expect("writing a file");
    std::fs::write(dir.join("manifest.json"), manifest.to_string()).expect("writing a file");
    let archive = dir.join("busybox.tar");
    run(Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(dir)
        .args(["manifest.json", "config.json", "layer.tar"]));
    archive
}
