//! Ways to a machine.

use std::time::{Duration, Instant};

use consort_modules::{Invocation, Settings};
use consort_playbook::connection::{
    Command, ConnectionSettings, Connections, Content, Error, Job, Packed, PackedKind, Pool, Work,
};
use consort_playbook::python::core::Core;
use consort_playbook::python::pack::{Found, Interpreters, Packer};
use serde_json::json;

/// Settings for this machine.
fn local(directory: &str) -> ConnectionSettings {
    ConnectionSettings {
        plugin: "local".to_owned(),
        host: "localhost".to_owned(),
        address: "localhost".to_owned(),
        port: None,
        user: None,
        password: None,
        options: Vec::new(),
        directory: directory.to_owned(),
        remote_tmp: format!("{directory}/remote"),
        shell: "/bin/sh".to_owned(),
    }
}

/// A call of a module.
fn call(module: &str, arguments: serde_json::Value) -> Invocation {
    let serde_json::Value::Object(arguments) = arguments else {
        panic!("arguments are an object")
    };
    Invocation {
        module: module.to_owned(),
        arguments,
        settings: Settings::default(),
    }
}

/// Waits until something holds, for ten seconds at most.
fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to hold");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn this_machine_runs_modules_commands_and_keeps_files_whole() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let pool = Pool::new();
    let connection = pool.connection(&local(here)).unwrap();
    let report = connection
        .module(call("ping", json!({"data": "x"})), None, None)
        .await
        .unwrap();
    assert_eq!(report["ping"], "x");

    let output = connection
        .command(
            Command {
                line: "read word; echo $word $THING; pwd; exit 3".to_owned(),
                input: b"in\n".to_vec(),
                environment: vec![("THING".to_owned(), "out".to_owned())],
                ..Command::default()
            },
            None,
            None,
        )
        .await
        .unwrap();
    assert_eq!(output.status, 3);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("in out\n{here}\n")
    );

    let task = connection.temporary(None).await.unwrap();
    let file = format!("{task}/file");
    connection
        .put(Content::Bytes(b"content"), &file, 0o640, None)
        .await
        .unwrap();
    let back = directory.path().join("back");
    connection.fetch(&file, &back, None).await.unwrap();
    assert_eq!(std::fs::read(&back).unwrap(), b"content");
    connection.remove(&task, None).await.unwrap();
    assert!(!std::path::Path::new(&task).exists());
}

#[tokio::test]
async fn a_command_whose_time_is_over_ends_with_all_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let connection = Pool::new().connection(&local(here)).unwrap();
    let begun = Instant::now();
    let ended = connection
        .command(
            Command {
                line: "echo $$ > leader; sleep 100 & sleep 100; true".to_owned(),
                ..Command::default()
            },
            None,
            Some(Duration::from_millis(300)),
        )
        .await;
    assert!(matches!(ended, Err(Error::TimedOut(_))), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let leader = std::fs::read_to_string(directory.path().join("leader")).unwrap();
    wait_until(|| processes_of_group(leader.trim()) == 0);
}

/// How many processes of a group still run.
fn processes_of_group(group: &str) -> usize {
    let running = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let after = stat.rsplit_once(')')?.1;
        let mut fields = after.split_whitespace();
        let state = fields.next()?;
        (state != "Z" && fields.nth(1)? == group).then_some(())
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(running)
        .count()
}

/// An SSH server of this machine for one test, which lets one key in.
struct Sshd {
    directory: tempfile::TempDir,
    process: std::process::Child,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sshd {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        for key in ["host", "user"] {
            let made = std::process::Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(here.join(key))
                .status()
                .unwrap();
            assert!(made.success());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/user.pub\nStrictModes no\nPidFile none\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n",
            here.display()
        );
        std::fs::write(here.join("config"), config).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let process = std::process::Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(here.join("config"))
            .stderr(std::fs::File::create(here.join("log")).unwrap())
            .spawn()
            .unwrap();
        wait_until(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Sshd {
            directory,
            process,
            port,
        }
    }

    fn settings(&self) -> ConnectionSettings {
        let here = self.directory.path().display();
        let mut settings = local(&here.to_string());
        "ssh".clone_into(&mut settings.plugin);
        "127.0.0.1".clone_into(&mut settings.address);
        settings.port = Some(self.port);
        settings.options = [
            ("ssh_args", "-o ControlMaster=no -F none".to_owned()),
            ("private_key_file", format!("{here}/user")),
            (
                "ssh_common_args",
                format!("-o UserKnownHostsFile={here}/known"),
            ),
            ("host_key_checking", "false".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        settings
    }
}

#[tokio::test]
async fn a_machine_over_ssh_does_all_that_this_one_does_by_a_helper_that_is_sent_once() {
    let server = Sshd::start();
    let here = server.directory.path();
    let pool = Pool::new();
    let connection = pool.connection(&server.settings()).unwrap();
    assert!(connection.runs_native(None).await.unwrap());
    let report = connection
        .module(call("ping", json!({"data": "x"})), None, None)
        .await
        .unwrap();
    assert_eq!(report["ping"], "x");
    let output = connection
        .command(
            Command {
                line: "cat; echo $THING >&2; exit 3".to_owned(),
                input: vec![b'x'; 3_000_000],
                environment: vec![("THING".to_owned(), "out".to_owned())],
                ..Command::default()
            },
            None,
            None,
        )
        .await
        .unwrap();
    assert_eq!((output.status, output.stdout.len()), (3, 3_000_000));
    assert_eq!(output.stderr, b"out\n");

    // what is made there gets the permissions that the login's mask gives, also by the helper that was just sent
    let made = Command {
        line: "umask".to_owned(),
        ..Command::default()
    };
    let output = connection.command(made, None, None).await.unwrap();
    assert_ne!(output.stdout, b"0077\n");

    let content: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
    let file = here.join("file");
    let path = file.to_str().unwrap();
    connection
        .put(Content::Bytes(&content), path, 0o640, None)
        .await
        .unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), content);
    let back = here.join("back");
    connection.fetch(path, &back, None).await.unwrap();
    assert_eq!(std::fs::read(&back).unwrap(), content);
    let missing = connection.fetch("/no/such", &back, None).await;
    assert!(matches!(missing, Err(Error::Failed { .. })), "{missing:?}");
    let task = connection.temporary(None).await.unwrap();
    connection.remove(&task, None).await.unwrap();
    assert!(!std::path::Path::new(&task).exists());

    let kept = || {
        std::fs::read_dir(here.join("remote/consort"))
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect::<Vec<_>>()
    };
    let first = kept();
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&first[0]).unwrap());
    assert_eq!(first.len(), 1);
    connection.reset().await;
    connection
        .module(call("ping", json!({})), None, None)
        .await
        .unwrap();
    assert_eq!(kept(), first);
    assert_eq!(
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&first[0]).unwrap()),
        inode
    );
    pool.close().await;
}

#[tokio::test]
async fn a_machine_that_is_lost_is_unreachable_and_nothing_is_left_running_or_half_written_there() {
    let server = Sshd::start();
    let here = server.directory.path();
    let pool = Pool::new();
    let connection = pool.connection(&server.settings()).unwrap();
    connection
        .module(call("ping", json!({})), None, None)
        .await
        .unwrap();
    // the file never ends, and the command neither, when the login is lost
    let endless = here.join("endless");
    nix::unistd::mkfifo(&endless, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let writer = {
        let endless = endless.clone();
        std::thread::spawn(move || {
            use std::io::Write;
            let mut to = std::fs::OpenOptions::new()
                .write(true)
                .open(endless)
                .unwrap();
            while to.write_all(&[b'x'; 8192]).is_ok() {}
        })
    };
    let target = here.join("target");
    let put = connection.put(
        Content::File(&endless),
        target.to_str().unwrap(),
        0o600,
        None,
    );
    let command = connection.command(
        Command {
            line: format!("echo $$ > {}/leader; sleep 100 & sleep 100", here.display()),
            ..Command::default()
        },
        None,
        None,
    );
    let lose = async {
        let leader = here.join("leader");
        let beside = || {
            std::fs::read_dir(here).unwrap().flatten().any(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(".ansible_tmp")
            })
        };
        while !std::fs::read_to_string(&leader).is_ok_and(|text| text.ends_with('\n')) || !beside()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // the login's own process, as a machine that vanishes: children of the server
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.process.id()))
                .unwrap();
        for child in children.split_whitespace() {
            let child = nix::unistd::Pid::from_raw(child.parse().unwrap());
            let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
        }
    };
    let (put, command, ()) = tokio::join!(put, command, lose);
    assert!(matches!(put, Err(Error::Unreachable(_))), "{put:?}");
    assert!(matches!(command, Err(Error::Unreachable(_))), "{command:?}");
    let leader = std::fs::read_to_string(here.join("leader")).unwrap();
    wait_until(|| processes_of_group(leader.trim()) == 0);
    wait_until(|| {
        std::fs::read_dir(here).unwrap().flatten().all(|entry| {
            !entry
                .file_name()
                .to_string_lossy()
                .starts_with(".ansible_tmp")
        })
    });
    assert!(!target.exists());
    // the next use logs in anew
    connection
        .module(call("ping", json!({})), None, None)
        .await
        .unwrap();
    pool.close().await;
    writer.join().unwrap();
}

#[tokio::test]
async fn a_machine_that_refuses_is_told_as_ansible_tells_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = local(directory.path().to_str().unwrap());
    "ssh".clone_into(&mut settings.plugin);
    "127.0.0.1".clone_into(&mut settings.address);
    settings.port = Some(1);
    settings.options = vec![("ssh_args".to_owned(), "-F none".to_owned())];
    let connection = Pool::new().connection(&settings).unwrap();
    let refused = connection.module(call("ping", json!({})), None, None).await;
    let Err(Error::Unreachable(message)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        message,
        "Failed to connect to the host via ssh: ssh: connect to host 127.0.0.1 port 1: Connection refused"
    );
}

/// A module that is a script.
fn script(name: &str, text: &str, kind: PackedKind) -> Packed {
    Packed {
        name: name.to_owned(),
        digest: format!("{name}-{}", text.len()),
        content: text.as_bytes().into(),
        kind,
    }
}

#[tokio::test]
async fn modules_that_are_programs_are_given_their_arguments_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let pool = Pool::new();
    let connection = pool.connection(&local(here)).unwrap();
    let arguments = json!({"text": "it's", "yes": true, "none": null, "list": [1, "a"]});
    let interpreter = Some("/bin/sh".to_owned());
    let old = script(
        "old",
        "echo greetings; . \"$1\"; echo \"{\\\"text\\\": \\\"$text $yes $none $list $THING\\\"}\"",
        PackedKind::OldStyle {
            interpreter: interpreter.clone(),
        },
    );
    let mut invocation = call("old", arguments.clone());
    invocation.settings.environment = vec![("THING".to_owned(), "out".to_owned())];
    let report = connection
        .packed(&old, invocation, None, None)
        .await
        .unwrap();
    assert_eq!(report["text"], "it's True None [1, 'a'] out");
    let json = script(
        "json",
        "printf '{\"given\": '; cat \"$1\"; echo '}'",
        PackedKind::WantsJson { interpreter },
    );
    let report = connection
        .packed(&json, call("json", arguments), None, None)
        .await
        .unwrap();
    assert_eq!(report["given"]["list"], json!([1, "a"]));
    assert_eq!(report["given"]["_ansible_check_mode"], false);
    let silent = script(
        "silent",
        "echo nothing; exit 4",
        PackedKind::OldStyle {
            interpreter: Some("/no/such".to_owned()),
        },
    );
    let refused = connection
        .packed(&silent, call("silent", json!({})), None, None)
        .await;
    let Err(Error::Failed { message, more }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(message, "The module interpreter '/no/such' was not found.");
    assert_eq!(more["rc"], 127);
    pool.close().await;
}

#[tokio::test]
async fn a_module_whose_time_is_over_ends_and_others_go_on_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let pool = Pool::new();
    let connection = pool.connection(&local(here.to_str().unwrap())).unwrap();
    let long = script(
        "long",
        &format!("echo $$ > {}/leader; sleep 100 & sleep 100", here.display()),
        PackedKind::OldStyle {
            interpreter: Some("/bin/sh".to_owned()),
        },
    );
    let slow = connection.packed(
        &long,
        call("long", json!({})),
        None,
        Some(Duration::from_secs(1)),
    );
    let quick = connection.module(call("ping", json!({})), None, Some(Duration::from_secs(30)));
    let (slow, quick) = tokio::join!(slow, quick);
    assert!(matches!(slow, Err(Error::TimedOut(_))), "{slow:?}");
    assert_eq!(quick.unwrap()["ping"], "pong");
    let leader = std::fs::read_to_string(here.join("leader")).unwrap();
    wait_until(|| processes_of_group(leader.trim()) == 0);
    pool.close().await;
}

#[tokio::test]
async fn a_module_in_the_background_goes_on_when_the_controller_has_left() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let pool = Pool::new();
    let connection = pool.connection(&local(here.to_str().unwrap())).unwrap();
    let gate = here.join("gate");
    let waits = script(
        "waits",
        &format!(
            "while ! [ -e {} ]; do sleep 0.05; done; echo '{{\"changed\": true}}'",
            gate.display()
        ),
        PackedKind::OldStyle {
            interpreter: Some("/bin/sh".to_owned()),
        },
    );
    let job = |id: &str, limit| Job {
        id: id.to_owned(),
        limit,
        directory: here.join("jobs").to_str().unwrap().to_owned(),
    };
    let begin = |id: &'static str, limit| {
        connection.start(
            Work::Packed(&waits, call("waits", json!({}))),
            job(id, limit),
            None,
        )
    };
    let report = begin("j1.1", 100).await.unwrap();
    assert_eq!(report["ansible_job_id"], "j1.1");
    begin("j2.2", 1).await.unwrap();
    pool.close().await;
    let state = |id: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(here.join("jobs").join(id)).unwrap()).unwrap()
    };
    assert_eq!(state("j1.1")["finished"], false);
    wait_until(|| state("j2.2").get("started").is_none());
    assert_eq!(state("j2.2")["msg"], "Timeout exceeded");
    assert_eq!(state("j2.2")["failed"], true);
    assert_eq!(state("j1.1")["finished"], false);
    std::fs::write(&gate, "").unwrap();
    wait_until(|| state("j1.1").get("started").is_none());
    assert_eq!(state("j1.1")["changed"], true);
}

#[tokio::test]
async fn another_user_has_a_helper_of_its_own_wherever_the_program_lies() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let pool = Pool::new();
    let connection = pool.connection(&local(here)).unwrap();
    let nobody = consort_playbook::connection::Become {
        method: "su".to_owned(),
        user: "nobody".to_owned(),
        exe: None,
        flags: Some("-s /bin/sh".to_owned()),
        password: None,
    };
    let output = connection
        .command(
            Command {
                line: "id -un; echo ~".to_owned(),
                ..Command::default()
            },
            Some(&nobody),
            None,
        )
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("nobody\n"));
    let task = connection.temporary(Some(&nobody)).await.unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&task).unwrap());
    assert_ne!(owner, 0);
    connection.remove(&task, Some(&nobody)).await.unwrap();
    let wrong = consort_playbook::connection::Become {
        user: "no-such-user".to_owned(),
        ..nobody.clone()
    };
    let refused = connection
        .module(call("ping", json!({})), Some(&wrong), None)
        .await;
    let Err(Error::Failed { message, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        message.starts_with(
            "Premature end of stream waiting for become success.\n>>> Standard Error\n"
        ),
        "{message}"
    );
    pool.close().await;
}

/// Interpreters of this machine.
struct Here;

impl Interpreters for Here {
    fn python(&self) -> String {
        "python3".to_owned()
    }

    fn other(&self, _name: &str) -> Option<String> {
        None
    }
}

#[tokio::test]
async fn python_modules_run_as_they_are_where_an_ansible_core_is_installed() {
    let Ok(core) = Core::installed() else {
        eprintln!("no ansible-core is installed: nothing is tried");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let pool = Pool::new();
    let connection = pool.connection(&local(here.to_str().unwrap())).unwrap();
    let packer = Packer::new(vec![here.join("module_utils")], {
        let here = here.to_owned();
        Box::new(move |name| {
            Some(
                here.join("ansible_collections")
                    .join(name.replace('.', "/")),
            )
        })
    });
    let run = async |found: Found, arguments: serde_json::Value| {
        let mut invocation = call("any", arguments);
        invocation.settings.remote_tmp = here.join("remote").to_str().unwrap().to_owned();
        let packed = packer.pack(&found, &invocation, &Here).unwrap();
        connection.packed(&packed, invocation, None, None).await
    };
    let builtin = |leaf: &str| Found {
        name: format!("ansible.builtin.{leaf}"),
        path: core.module(leaf).unwrap(),
    };
    let report = run(builtin("ping"), json!({"data": "x"})).await.unwrap();
    assert_eq!(report["ping"], "x");
    let report = run(builtin("ping"), json!({"data": "crash"}))
        .await
        .unwrap();
    assert_eq!(report["failed"], true);
    assert_eq!(report[consort_modules::CAUSES], json!(["boom"]));
    let file = here.join("file");
    std::fs::write(&file, "x").unwrap();
    let report = run(builtin("stat"), json!({"path": file.to_str().unwrap()}))
        .await
        .unwrap();
    assert_eq!(report["stat"]["size"], 1);

    // a collection's module, with module_utils of its own by a relative import, and one that stands before ansible-core's
    let write = |path: &str, text: &str| {
        let path = here.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let collection = "ansible_collections/a/b/plugins";
    write(&format!("{collection}/module_utils/deep/__init__.py"), "");
    write(
        &format!("{collection}/module_utils/deep/words.py"),
        "from ..other import WORD\nWORDS = [WORD]\n",
    );
    write(
        &format!("{collection}/module_utils/other.py"),
        "WORD = 'here'\n",
    );
    write("module_utils/mine.py", "MINE = 'mine'\n");
    write(
        &format!("{collection}/modules/told.py"),
        "#!/usr/bin/python\n\"\"\"from ansible.module_utils.no import such\"\"\"\nimport os\nfrom ansible.module_utils.basic import (\n    AnsibleModule,  # the usual\n)\nfrom ansible.module_utils import mine; from ..module_utils.deep.words import WORDS\ntry:\n    from ansible.module_utils.absent import nothing\nexcept ImportError:\n    nothing = None\n\n\ndef main():\n    module = AnsibleModule(argument_spec=dict(n=dict(type='int')))\n    module.warn('careful')\n    module.exit_json(words=WORDS, mine=mine.MINE, n=module.params['n'], thing=os.environ.get('THING'))\n\n\nif __name__ == '__main__':\n    main()\n",
    );
    let told = Found {
        name: "a.b.told".to_owned(),
        path: here.join(collection).join("modules/told.py"),
    };
    let report = run(told, json!({"n": "7"})).await.unwrap();
    assert_eq!(report["words"], json!(["here"]));
    assert_eq!(report["mine"], "mine");
    assert_eq!(report["n"], 7);
    assert_eq!(report["warnings"], json!(["careful"]));

    write(
        "broken.py",
        "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\nfrom ansible.module_utils.absent import nothing\n",
    );
    let broken = Found {
        name: "broken".to_owned(),
        path: here.join("broken.py"),
    };
    let refused = packer
        .pack(&broken, &call("broken", json!({})), &Here)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Could not find imported module support code for ansible.legacy.broken. Looked for (['ansible.module_utils.absent.nothing', 'ansible.module_utils.absent'])"
    );
    pool.close().await;
}
