//! Playbooks beside ansible-core and the Rust engine `ansible-core-rs`, in the same run.
//!
//! Everything runs inside a Debian root with ansible-core in it, in mount, process and network namespaces of its own: the sshd
//! that hosts are reached through listens on a loopback nobody else has. Processor time is that of the program and all it
//! started, also what left its tree; memory is the largest sum of proportional set sizes seen in the tree. The sshd's side
//! is not counted.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike as _;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Place, process, server};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// A directory with a Debian, ansible-core, OpenSSH's client and server
    #[arg(long)]
    root: PathBuf,
    /// The program `ansible` of the wheel `ansible-core-rs`
    #[arg(long)]
    rival: Option<PathBuf>,
    /// Leave ansible-core out
    #[arg(long)]
    no_ansible: bool,
    /// Which: local, ssh, hosts, template, facts, scale
    #[arg(long, value_delimiter = ',', default_values_t = CASES.map(str::to_owned))]
    cases: Vec<String>,
    /// How often each is run; the least processor time counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Set by the program itself when it is where it wants to be
    #[arg(long, hide = true)]
    inside: bool,
}

const CASES: [&str; 6] = ["local", "ssh", "hosts", "template", "facts", "scale"];
/// Where everything is, as seen from inside the root.
const HERE: &str = "/tmp/bench";
/// The name of the row of OpenSSH's client alone.
const LOGINS: &str = "ssh true";

/// What a run took.
#[derive(Clone, Copy)]
struct Taken {
    cpu: f64,
    wall: f64,
    /// Bytes.
    memory: u64,
}

struct Tool {
    name: &'static str,
    words: Vec<String>,
}

/// One thing measured: the playbook, the inventory, and the options.
struct Case {
    name: String,
    playbook: &'static str,
    inventory: &'static str,
    options: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.inside {
        return enter();
    }
    nix::sys::prctl::set_child_subreaper(true)?;
    let root = std::fs::canonicalize(&arguments.root)?;
    let here = prepare(arguments, &root)?;
    let mut tools = vec![Tool {
        name: "consort",
        words: vec![format!("{HERE}/consort"), "play".to_owned()],
    }];
    if !arguments.no_ansible {
        tools.push(Tool {
            name: "ansible",
            words: vec!["ansible-playbook".to_owned()],
        });
    }
    if arguments.rival.is_some() {
        tools.push(Tool {
            name: "rival",
            words: vec![format!("{HERE}/ansible-playbook")],
        });
    }
    // What OpenSSH takes to log in to all of the hosts at once is the least that any of them can take.
    tools.push(Tool {
        name: LOGINS,
        words: vec!["sh".to_owned(), format!("{HERE}/logins")],
    });
    let sshd = sshd(&root)?;
    let done = measure(arguments, &tools, &root, &here);
    let mut sshd = sshd;
    let _ = sshd.kill();
    let _ = sshd.wait();
    done
}

/// Runs this program again in namespaces of its own.
fn enter() -> Result<()> {
    let status = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--net",
        ])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        .status()
        .context("unshare")?;
    if !status.success() {
        bail!("the measurement ended with {status}");
    }
    Ok(())
}

fn sh(line: &str) -> Result<()> {
    let status = Command::new("sh").args(["-ec", line]).status()?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Makes the root usable and writes everything that is run below its `/tmp`.
fn prepare(arguments: &Arguments, root: &Path) -> Result<PathBuf> {
    let at = root.display();
    sh(&format!(
        "ip link set lo up; mount -t tmpfs -o mode=1777 tmpfs {at}/tmp; mount -t tmpfs tmpfs {at}/run; mount -t tmpfs -o mode=700 tmpfs {at}/root; \
         mkdir -p {at}/run/sshd {at}/root/.ssh; mount -t proc proc {at}/proc; mount --rbind /dev {at}/dev"
    ))?;
    let here = root.join(&HERE[1..]);
    std::fs::create_dir_all(&here)?;
    let binary = server::binary(&arguments.place)?;
    std::fs::copy(&binary, here.join("consort"))?;
    let beside = binary.with_file_name("consort-play-helper");
    if beside.exists() {
        std::fs::copy(beside, here.join("consort-play-helper"))?;
    }
    if let Some(rival) = &arguments.rival {
        std::fs::copy(rival, here.join("ansible-playbook"))?;
        sh(&format!("chmod 755 {}/ansible-playbook", here.display()))?;
    }
    std::fs::write(
        here.join("logins"),
        "sed 's/.*ansible_host=\\([^ ]*\\).*/\\1/' \"$2\" | {\n\
         while read -r host; do ssh -n \"root@$host\" true & done\nwait\n}\n",
    )?;
    // Not every program hands all its options on to each of OpenSSH's programs.
    std::fs::write(
        root.join("root/.ssh/config"),
        format!(
            "Host *\nPort 2222\nIdentityFile {HERE}/key\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n"
        ),
    )?;
    write(&here)?;
    Ok(here)
}

fn write(here: &Path) -> Result<()> {
    let file = |name: &str, text: &str| std::fs::write(here.join(name), text);
    let mut local =
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n".to_owned();
    for n in 0..20 {
        let _ = write!(
            local,
            "  - copy: {{dest: {HERE}/out/file-{n}, content: \"line {n}\\n\"}}\n\
             \x20 - file: {{path: {HERE}/out/dir-{n}, state: directory, mode: '0750'}}\n\
             \x20 - lineinfile: {{path: {HERE}/out/file-{n}, line: more}}\n\
             \x20 - command: /bin/true\n\
             \x20 - debug: {{msg: \"task {{{{ {n} + 1 }}}}\"}}\n"
        );
    }
    file("local.yml", &local)?;
    let eleven = "- hosts: all\n  gather_facts: false\n  tasks:\n\
        \x20 - ping:\n\
        \x20 - file: {path: \"/tmp/on-{{ inventory_hostname }}\", state: directory}\n\
        \x20 - copy: {dest: \"/tmp/on-{{ inventory_hostname }}/a\", content: \"of {{ inventory_hostname }}\\n\"}\n\
        \x20 - lineinfile: {path: \"/tmp/on-{{ inventory_hostname }}/a\", line: more}\n\
        \x20 - template: {src: small.j2, dest: \"/tmp/on-{{ inventory_hostname }}/b\"}\n\
        \x20 - command: /bin/true\n\
        \x20 - shell: echo $HOME\n\
        \x20 - stat: {path: \"/tmp/on-{{ inventory_hostname }}/b\"}\n\
        \x20 - slurp: {src: \"/tmp/on-{{ inventory_hostname }}/b\"}\n\
        \x20 - command: \"ls /tmp/on-{{ inventory_hostname }}\"\n";
    file("hosts.yml", eleven)?;
    file(
        "ssh.yml",
        &format!(
            "{eleven}  - blockinfile: {{path: \"/tmp/on-{{{{ inventory_hostname }}}}/a\", block: \"one\\ntwo\"}}\n"
        ),
    )?;
    file(
        "small.j2",
        "{% for n in range(5) %}\nline {{ n }} of {{ inventory_hostname }}\n{% endfor %}\n",
    )?;
    let mut long = String::new();
    for n in 0..40 {
        let _ = write!(
            long,
            "# section {n}\n{{% for item in items_of | selectattr('use') %}}\nname = {{{{ item.name | upper }}}}\n\
             {{% endfor %}}\nvalue = {{{{ settings['key' ~ {n}] | default('none') | quote }}}}\n"
        );
    }
    file("long.j2", &long)?;
    file(
        "template.yml",
        &format!(
            "- hosts: localhost\n  connection: local\n  gather_facts: false\n  vars:\n    settings: {{key1: one, key2: 'two words'}}\n    \
             items_of: [{{name: a, use: true}}, {{name: b, use: false}}, {{name: c, use: true}}]\n  tasks:\n  - template: {{src: long.j2, dest: \
             \"{HERE}/out/long-{{{{ item }}}}\"}}\n    loop: \"{{{{ range(20) | list }}}}\"\n"
        ),
    )?;
    file(
        "facts.yml",
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n  - setup:\n    loop: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n",
    )?;
    let mut scale =
        "- hosts: all\n  connection: local\n  gather_facts: false\n  tasks:\n".to_owned();
    for n in 0..10 {
        let _ = writeln!(
            scale,
            "  - set_fact: {{fact_{n}: \"{{{{ inventory_hostname }}}} {n}\"}}"
        );
    }
    file("scale.yml", &scale)?;
    let mut wide =
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n  - set_fact:\n"
            .to_owned();
    for n in 0..2_000 {
        let _ = writeln!(wide, "      fact_{n}: value {n}");
    }
    for n in 0..100 {
        let _ = writeln!(wide, "  - debug: {{msg: \"{{{{ fact_{n} }}}}\"}}");
    }
    file("wide.yml", &wide)?;
    file(
        "one",
        "localhost ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n",
    )?;
    let over = format!(
        "ansible_user=root ansible_port=2222 ansible_python_interpreter=/usr/bin/python3 ansible_ssh_private_key_file={HERE}/key \
         ansible_ssh_common_args='-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'"
    );
    file("target", &format!("target ansible_host=127.0.0.1 {over}\n"))?;
    let mut fifty = String::new();
    for n in 1..=50 {
        let _ = writeln!(fifty, "host{n} ansible_host=127.0.0.{n} {over}");
    }
    file("fifty", &fifty)?;
    for count in [10, 100, 1_000] {
        let mut hosts = String::new();
        for n in 0..count {
            let _ = writeln!(hosts, "host{n}");
        }
        file(&format!("hosts{count}"), &hosts)?;
    }
    file(
        "ansible.cfg",
        "[defaults]\nhost_key_checking = false\nretry_files_enabled = false\n[ssh_connection]\npipelining = true\n",
    )?;
    Ok(())
}

fn sshd(root: &Path) -> Result<Child> {
    let at = root.display();
    sh(&format!(
        "chroot {at} sh -ec 'ssh-keygen -q -t ed25519 -N \"\" -f {HERE}/key; ssh-keygen -q -t ed25519 -N \"\" -f {HERE}/host'; \
         printf 'Port 2222\\nListenAddress 0.0.0.0\\nHostKey {HERE}/host\\nAuthorizedKeysFile {HERE}/key.pub\\nStrictModes no\\nUsePAM no\\n\
         Subsystem sftp internal-sftp\\nMaxStartups 1000\\nMaxSessions 1000\\nPidFile none\\nPermitRootLogin yes\\n' > {at}{HERE}/sshd_config"
    ))?;
    let child = Command::new("chroot")
        .arg(root)
        .args(["/usr/sbin/sshd", "-D", "-f"])
        .arg(format!("{HERE}/sshd_config"))
        .stdin(Stdio::null())
        .spawn()?;
    let until = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect("127.0.0.1:2222").is_err() {
        if Instant::now() > until {
            bail!("the sshd does not listen");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(child)
}

impl Tool {
    fn run(&self, case: &Case, root: &Path, here: &Path, sshd: u32) -> Result<Taken> {
        for left in std::fs::read_dir(root.join("tmp"))?.flatten() {
            if left.file_name().to_string_lossy().starts_with("on-") {
                std::fs::remove_dir_all(left.path())?;
            }
        }
        let out = here.join("out");
        let _ = std::fs::remove_dir_all(&out);
        std::fs::create_dir_all(&out)?;
        let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let begun = Instant::now();
        let log = std::fs::File::create(here.join("log"))?;
        let mut child = Command::new("chroot")
            .arg(root)
            .args(["env", "-i", "-C", HERE])
            .args([
                "HOME=/root",
                "LC_ALL=C.UTF-8",
                "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "USER=root",
            ])
            .args(&self.words)
            .args(["-i", case.inventory, case.playbook])
            .args(&case.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut memory = 0;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            let family = process::family(child.id(), "no-such-mark");
            memory = memory.max(family.iter().map(|pid| process::pss(*pid)).sum());
            std::thread::sleep(Duration::from_millis(20));
        };
        let wall = begun.elapsed().as_secs_f64();
        // What left the tree (masters of ssh) is ended and counted.
        let own = std::process::id();
        for pid in process::family(own, "no-such-mark") {
            if pid != own && !process::family(sshd, "no-such-mark").contains(&pid) {
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
            }
        }
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(20)),
                Ok(_) => {}
                Err(_) => break,
            }
            if process::family(own, "no-such-mark")
                .iter()
                .all(|pid| *pid == own || process::family(sshd, "no-such-mark").contains(pid))
            {
                break;
            }
        }
        let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        if !status.success() {
            let log = std::fs::read_to_string(here.join("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(12).collect();
            bail!(
                "{} {}: {status}\n{}",
                self.name,
                case.playbook,
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
        let cpu = |usage: nix::sys::resource::Usage| {
            seconds(usage.user_time()) + seconds(usage.system_time())
        };
        Ok(Taken {
            cpu: cpu(after) - cpu(before),
            wall,
            memory,
        })
    }
}

fn measure(arguments: &Arguments, tools: &[Tool], root: &Path, here: &Path) -> Result<()> {
    let case = |name: &str, playbook, inventory, options: &[&str]| Case {
        name: name.to_owned(),
        playbook,
        inventory,
        options: options.iter().map(|&option| option.to_owned()).collect(),
    };
    let mut cases = Vec::new();
    for name in &arguments.cases {
        match name.as_str() {
            "local" => cases.push(case("100 local tasks", "local.yml", "one", &[])),
            "ssh" => cases.push(case("11 tasks over ssh", "ssh.yml", "target", &[])),
            "hosts" => cases.push(case(
                "50 hosts x 10 tasks",
                "hosts.yml",
                "fifty",
                &["-f", "50"],
            )),
            "template" => cases.push(case("20 x 200-line template", "template.yml", "one", &[])),
            "facts" => cases.push(case("10 x facts", "facts.yml", "one", &[])),
            "scale" => {
                cases.push(case("10 hosts x 10 set_fact", "scale.yml", "hosts10", &[]));
                cases.push(case("100 hosts x 10", "scale.yml", "hosts100", &[]));
                cases.push(case(
                    "1,000 hosts x 10",
                    "scale.yml",
                    "hosts1000",
                    &["-f", "50"],
                ));
                cases.push(case("2,000 facts, 100 tasks", "wide.yml", "one", &[]));
            }
            other => bail!("no case {other:?}: {}", CASES.join(", ")),
        }
    }
    println!(
        "{:<24} {:<8} {:>10} {:>10} {:>9} {:>14} {:>10} {:>10}",
        "", "", "CPU s", "wall s", "MB", "CPU of ours", "wall", "memory"
    );
    let sshd = std::fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with(b"sshd"))
        })
        .unwrap_or(0);
    for case in &cases {
        let mut ours: Option<Taken> = None;
        for tool in tools {
            if tool.name == LOGINS && !["ssh.yml", "hosts.yml"].contains(&case.playbook) {
                continue;
            }
            // ansible-core takes minutes for what others do in a second.
            let runs = if tool.name == "ansible" {
                1
            } else {
                arguments.runs
            };
            let mut best: Option<Taken> = None;
            let mut failed = None;
            for _ in 0..runs {
                match tool.run(case, root, here, sshd) {
                    Ok(taken) => {
                        best = Some(best.map_or(taken, |known| Taken {
                            cpu: known.cpu.min(taken.cpu),
                            wall: known.wall.min(taken.wall),
                            memory: known.memory.max(taken.memory),
                        }));
                    }
                    Err(error) => failed = Some(error),
                }
            }
            let Some(taken) = best else {
                println!(
                    "{:<24} {:<8} {}",
                    case.name,
                    tool.name,
                    failed.map(|error| format!("{error}")).unwrap_or_default()
                );
                continue;
            };
            let of = ours.unwrap_or(taken);
            println!(
                "{:<24} {:<8} {:>10.3} {:>10.3} {:>9.1} {:>14.1} {:>10.1} {:>10.1}",
                case.name,
                tool.name,
                taken.cpu,
                taken.wall,
                taken.memory as f64 / 1e6,
                taken.cpu / of.cpu.max(1e-4),
                taken.wall / of.wall.max(1e-4),
                taken.memory as f64 / (of.memory as f64).max(1.0),
            );
            if tool.name == "consort" {
                ours = Some(taken);
            }
        }
    }
    Ok(())
}
