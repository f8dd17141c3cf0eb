//! Machines of which only a shell is to be had, and what stands in for `ssh` and `sudo` there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use consort_playbook::connection::{
    Become, Command, ConnectionSettings, Connections, Content, Error, Pool,
};

/// A program of the test's own.
fn program(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_string_lossy().into_owned()
}

/// A machine of a kind for which there is no helper: `ssh` runs the last of its arguments here, where `uname` says something else.
fn foreign(directory: &Path) -> ConnectionSettings {
    let programs = directory.join("bin");
    std::fs::create_dir_all(&programs).unwrap();
    program(&programs, "uname", "#!/bin/sh\necho sparc64\n");
    let ssh = format!(
        "#!/bin/sh\necho \"$@\" >>{0}/called\nfor LAST do :; done\nPATH={0}/bin:$PATH; export PATH\nexec sh -c \"$LAST\"\n",
        directory.display()
    );
    let ssh = program(directory, "ssh", &ssh);
    ConnectionSettings {
        plugin: "ssh".to_owned(),
        host: "far".to_owned(),
        address: "far".to_owned(),
        port: None,
        user: None,
        password: None,
        options: vec![
            ("ssh_executable".to_owned(), ssh),
            ("ssh_args".to_owned(), "-o ControlMaster=no".to_owned()),
        ],
        directory: directory.to_string_lossy().into_owned(),
        remote_tmp: directory.join("remote").to_string_lossy().into_owned(),
        shell: "/bin/sh".to_owned(),
    }
}

/// Becoming `svc` by a program that asks for a password as `sudo` does, and takes `right`.
fn becoming(directory: &Path, password: Option<&str>) -> Become {
    let sudo = program(
        directory,
        "sudo",
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in -p) P=$2; shift 2;; -u) shift 2;; -*) shift;; *) break;; esac; done\n\
         if [ -z \"$P\" ]; then echo 'sudo: a password is required' >&2; exit 1; fi\n\
         printf %s \"$P\" >&2; read -r ANSWER\n\
         if [ \"$ANSWER\" != right ]; then echo 'Sorry, try again.' >&2; exit 1; fi\n\
         exec \"$@\"\n",
    );
    Become {
        method: "sudo".to_owned(),
        user: "svc".to_owned(),
        exe: Some(sudo),
        flags: None,
        password: password.map(str::to_owned),
    }
}

fn line(text: &str) -> Command {
    Command {
        line: text.to_owned(),
        ..Command::default()
    }
}

#[tokio::test]
async fn where_no_helper_can_run_commands_and_files_go_as_who_is_become_with_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let pool = Pool::new();
    let machine = pool.connection(&foreign(here)).unwrap();
    let user = becoming(here, Some("right"));
    assert!(!machine.runs_native(Some(&user)).await.unwrap());

    let mut said = line("cat; echo oops >&2; exit 3");
    said.input = b"what it reads\n".to_vec();
    let output = machine.command(said, Some(&user), None).await.unwrap();
    assert_eq!(output.status, 3);
    assert_eq!(output.stdout, b"what it reads\n");
    assert!(output.stderr.ends_with(b"oops\n"));

    let file = here.join("file").to_string_lossy().into_owned();
    let bytes = [b"binary \0\xff\r\n".as_slice(), &vec![7; 300_000]].concat();
    machine
        .put(Content::Bytes(&bytes), &file, 0o600, Some(&user))
        .await
        .unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let temporary = machine.temporary(Some(&user)).await.unwrap();
    assert!(Path::new(&temporary).is_dir());
    machine.remove(&temporary, Some(&user)).await.unwrap();
    assert!(!Path::new(&temporary).exists());
    pool.close().await;
}

#[tokio::test]
async fn a_wrong_and_a_missing_password_are_told_as_ansible_tells_them() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let pool = Pool::new();
    let machine = pool.connection(&foreign(here)).unwrap();
    for (password, message) in [
        (Some("wrong"), "Incorrect sudo password"),
        (None, "Missing sudo password"),
    ] {
        let user = becoming(here, password);
        let refused = machine.command(line("id"), Some(&user), None).await;
        match refused {
            Err(Error::Failed { message: said, .. }) => assert_eq!(said, message),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn only_lines_for_the_login_shell_are_left_to_it_and_only_they_have_a_terminal_who_ask_for_one()
 {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let pool = Pool::new();
    let machine = pool.connection(&foreign(here)).unwrap();
    let raw = Command {
        login_shell: true,
        terminal: true,
        ..line("echo raw")
    };
    let output = machine.command(raw, None, None).await.unwrap();
    assert_eq!(output.stdout, b"raw\n");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "Connection to far closed.\r\n"
    );
    machine
        .command(line("echo plain"), None, None)
        .await
        .unwrap();
    let called = std::fs::read_to_string(here.join("called")).unwrap();
    assert!(called.contains("-tt far echo raw\n"), "{called}");
    assert!(
        called.contains(" far /bin/sh -c 'echo plain'\n"),
        "{called}"
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_with_the_system_s_reason() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = foreign(directory.path());
    settings.options = vec![("ssh_executable".to_owned(), "/no/ssh".to_owned())];
    let machine = Pool::new().connection(&settings).unwrap();
    match machine.runs_native(None).await {
        Err(Error::Failed { message, .. }) => assert_eq!(
            message,
            "Unable to execute ssh command line on a controller: [Errno 2] No such file or directory: b'/no/ssh'"
        ),
        other => panic!("{other:?}"),
    }
}
