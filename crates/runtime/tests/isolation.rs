//! What a container may see and do.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::path::PathBuf;

use consort_runtime::{
    Device, Error, ExecSpec, Mount, MountKind, Resources, Rlimit, SandboxSpec, Seccomp, UserSpec,
};
use support::{Bed, exec, until, within};

#[tokio::test]
async fn a_container_sees_only_itself() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let script = "ps | grep -c .; ls /; cat /proc/1/comm; wc -c < /proc/interrupts; \
                  (echo x > /proc/sys/kernel/domainname) 2> /dev/null || echo read-only; mount | grep -c overlay; cat /proc/self/cgroup | grep -c consort";
    let (_, text) = bed.output(&sandbox, bed.spec("c", script)).await;
    let lines: Vec<_> = text.lines().collect();
    let processes: u32 = lines[0].parse().unwrap();
    assert!(processes < 6, "{text}");
    assert!(
        text.contains("bin\ndata\ndev\netc\nproc\nsys\ntmp\nsh\n0\n"),
        "{text}"
    );
    assert!(
        text.contains("read-only\n") && text.contains("\n1\n0\n"),
        "{text}"
    );
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn users_groups_capabilities_and_limits_are_as_asked() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let state = "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:|Groups' /proc/self/status; cat /proc/self/limits | grep 'open files'";

    let (_, text) = bed
        .output(
            &sandbox,
            bed.spec("plain", &format!("id; umask; {state}; pwd; echo $HOME")),
        )
        .await;
    assert!(
        text.starts_with("uid=0(root) gid=0(root) groups=0(root)\n0022\n"),
        "{text}"
    );
    assert!(
        text.contains("CapEff:\t00000000a80425fb") && text.contains("CapBnd:\t00000000a80425fb"),
        "{text}"
    );
    assert!(
        text.contains("NoNewPrivs:\t0") && text.contains("Seccomp:\t2"),
        "{text}"
    );
    assert!(text.ends_with("/\n/root\n"), "{text}");

    let mut spec = bed.spec("user", &format!("id; {state}; pwd; echo $HOME; echo fine > /dev/stdout; echo file > /new/dir/file || echo denied"));
    spec.user = UserSpec {
        image_user: "web".to_owned(),
        supplemental_groups: vec![7],
        fs_group: Some(2000),
        run_as_non_root: false,
        ..UserSpec::default()
    };
    spec.no_new_privs = true;
    spec.drop_capabilities = vec!["ALL".to_owned()];
    spec.add_capabilities = vec!["NET_BIND_SERVICE".to_owned()];
    spec.rlimits = vec![Rlimit {
        name: "RLIMIT_NOFILE".to_owned(),
        soft: 100,
        hard: 200,
    }];
    spec.cwd = "/new/dir".into();
    let (_, text) = bed.output(&sandbox, spec).await;
    assert!(
        text.starts_with("uid=33(web) gid=34(www) groups=4(logs),7,34(www),2000\n"),
        "{text}"
    );
    assert!(
        text.contains("CapEff:\t0000000000000000") && text.contains("CapBnd:\t0000000000000400"),
        "{text}"
    );
    assert!(
        text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"),
        "{text}"
    );
    assert!(text.contains("100                  200"), "{text}");
    assert!(
        text.contains("/new/dir\n/var/www\nfine\n") && text.ends_with("denied\n"),
        "{text}"
    );

    let mut spec = bed.spec("free", state);
    (spec.seccomp, spec.privileged) = (Seccomp::Default, true);
    let (_, text) = bed.output(&sandbox, spec).await;
    assert!(
        text.contains("Seccomp:\t0") && !text.contains("a80425fb"),
        "{text}"
    );

    let mut spec = bed.spec("root", "true");
    spec.user.run_as_non_root = true;
    assert!(
        matches!(sandbox.run(spec).await, Err(Error::Start(text)) if text.contains("will run as root"))
    );
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn an_exec_takes_the_containers_user_or_its_own() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let mut spec = bed.spec("c", "sleep 1000");
    spec.user.run_as_user = Some(33);
    let container = sandbox.run(spec).await.unwrap();
    let (_, text, _) = exec(
        &container,
        "id -u; grep -E 'CapEff|Seccomp:' /proc/self/status",
    )
    .await;
    assert_eq!(text, "33\nCapEff:\t0000000000000000\nSeccomp:\t2\n");
    let user = UserSpec {
        run_as_user: Some(0),
        ..UserSpec::default()
    };
    let spec = ExecSpec {
        args: vec!["id".to_owned(), "-u".to_owned()],
        user: Some(user),
        ..ExecSpec::default()
    };
    let mut exec = container.exec(spec).await.unwrap();
    let mut text = String::new();
    within(tokio::io::AsyncReadExt::read_to_string(
        exec.stdout.as_mut().unwrap(),
        &mut text,
    ))
    .await
    .unwrap();
    assert_eq!(text, "0\n");
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn the_filter_refuses_what_containers_have_no_business_with() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let script = "unshare -m true 2>&1; mount -t tmpfs x /tmp 2>&1; echo alive";
    let (_, text) = bed.output(&sandbox, bed.spec("default", script)).await;
    assert!(
        text.contains("unshare") && text.contains("not permitted") && text.ends_with("alive\n"),
        "{text}"
    );

    let profile = bed.dir.path().join("profile.json");
    fs::write(&profile, r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#).unwrap();
    let mut spec = bed.spec("own", "mkdir /tmp/x 2>&1; echo $?");
    spec.seccomp = Seccomp::Path(profile);
    let (_, text) = bed.output(&sandbox, spec).await;
    assert!(
        text.contains("Function not implemented") && text.ends_with("1\n"),
        "{text}"
    );

    let mut spec = bed.spec("missing", "true");
    spec.seccomp = Seccomp::Path("/nowhere.json".into());
    assert!(
        matches!(sandbox.run(spec).await, Err(Error::Start(text)) if text.contains("/nowhere.json"))
    );
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn devices_are_the_usual_few_and_a_disk_cannot_be_opened() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let script = "ls /dev; head -c 4 /dev/zero | wc -c; echo x > /dev/null; mknod /tmp/disk b 254 0; head -c 1 /tmp/disk 2>&1; mknod /tmp/tun c 10 200; head -c 1 /tmp/tun 2>&1";
    let (_, text) = bed.output(&sandbox, bed.spec("c", script)).await;
    let expected = "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n4\n";
    assert!(
        text.replace("kcore\n", "")
            .starts_with(&expected.replace("core\n", "")),
        "{text}"
    );
    assert_eq!(text.matches("Operation not permitted").count(), 2, "{text}");

    let mut spec = bed.spec("more", "head -c 1 /dev/given | wc -c");
    spec.devices = vec![Device {
        host_path: "/dev/urandom".into(),
        container_path: "/dev/given".into(),
        permissions: "r".to_owned(),
    }];
    assert_eq!(bed.output(&sandbox, spec).await.1, "1\n");
    let mut spec = bed.spec("all", "[ -c /dev/kmsg ] && echo yes");
    spec.privileged = true;
    assert_eq!(bed.output(&sandbox, spec).await.1, "yes\n");
    sandbox.remove().await.unwrap();
    bed.finish();
}

fn bind(source: PathBuf, target: &str) -> Mount {
    Mount {
        source,
        target: target.into(),
        ..Mount::default()
    }
}

#[tokio::test]
async fn mounts_are_made_in_order_read_only_if_asked_and_never_outside() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let volume = bed.dir.path().join("volume");
    fs::create_dir_all(volume.join("inner")).unwrap();
    fs::write(volume.join("inner/file"), "content\n").unwrap();
    fs::write(bed.dir.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("/", volume.join("escape")).unwrap();

    let mut spec = bed.spec("c", "cat /v/inner/file /one /made/by/need/file; echo x > /v/w || echo ro; echo y > /rw/y; mount | grep -c '/t type tmpfs.*noexec'; touch /root-file || echo ro-root; ls -l /t | wc -l");
    spec.read_only_root = true;
    spec.mounts = vec![
        Mount {
            read_only: true,
            ..bind(volume.clone(), "/v")
        },
        bind(volume.clone(), "/rw"),
        bind(volume.join("inner/file"), "/one"),
        Mount {
            sub_path: Some("inner".into()),
            ..bind(volume.clone(), "/made/by/need")
        },
        Mount {
            kind: MountKind::Tmpfs,
            target: "/t".into(),
            options: vec!["noexec".to_owned(), "size=1m".to_owned()],
            ..Mount::default()
        },
    ];
    let (_, text) = bed.output(&sandbox, spec).await;
    assert!(text.starts_with("content\ncontent\ncontent\n"), "{text}");
    assert!(
        text.contains("\nro\n") && text.contains("\n1\n") && text.contains("ro-root"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(volume.join("y")).unwrap(), "y\n");

    let mut spec = bed.spec("escape", "ls /e");
    spec.mounts = vec![Mount {
        sub_path: Some("escape/../../..".into()),
        ..bind(volume.clone(), "/e")
    }];
    let (_, text) = bed.output(&sandbox, spec).await;
    assert!(
        text.contains("inner") && !text.contains("usr"),
        "a sub-path left its volume: {text}"
    );

    let mut spec = bed.spec("nothing", "true");
    spec.mounts = vec![bind(bed.dir.path().join("not-there"), "/x")];
    let error = sandbox.run(spec).await.unwrap_err().to_string();
    assert!(error.contains("No such file or directory"), "{error}");
    assert!(sandbox.container("nothing").is_none());
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn a_root_can_have_very_many_layers() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let mut spec = bed.spec("c", "cat /top; ls / | grep -c '^f'");
    spec.lower_dirs = (0..128)
        .map(|number| {
            let dir = bed.dir.path().join(format!(
                "a-rather-long-name-for-a-layer-as-digests-give-them-{number:050}"
            ));
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join(format!("f{number}")), "").unwrap();
            fs::write(dir.join("top"), format!("{number}\n")).unwrap();
            dir
        })
        .chain([bed.layer()])
        .collect();
    assert_eq!(bed.output(&sandbox, spec).await.1, "0\n128\n");
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn limits_hold_and_running_out_of_memory_is_told_apart() {
    let bed = Bed::new();
    let spec = SandboxSpec {
        id: "one".to_owned(),
        hostname: "one".to_owned(),
        resources: Resources {
            memory_limit_bytes: Some(256 << 20),
            ..Resources::default()
        },
        ..SandboxSpec::default()
    };
    let sandbox = bed.runtime.create_sandbox(spec).await.unwrap();
    let mut spec = bed.spec("hungry", "x=$(head -c 200000000 /dev/zero | dd bs=100M count=1 2>/dev/null | sh -c 'dd bs=150M of=/dev/null iflag=fullblock 2>&1'); exec dd if=/dev/zero of=/dev/null bs=200M count=1");
    spec.resources = Resources {
        memory_limit_bytes: Some(32 << 20),
        ..Resources::default()
    };
    let (exit, _) = bed.output(&sandbox, spec).await;
    assert!(exit.oom && exit.code == 137, "{exit:?}");

    let mut spec = bed.spec(
        "busy",
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; sleep 1000",
    );
    spec.resources = Resources {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(64 << 20),
        pids_limit: Some(20),
    };
    let container = sandbox.run(spec).await.unwrap();
    let (_, text, err) = exec(
        &container,
        "i=0; while [ $i -lt 40 ]; do sleep 100 >/dev/null 2>&1 & i=$((i+1)); done",
    )
    .await;
    assert!(format!("{text}{err}").contains("fork"), "{text}{err}");
    let stats = container.stats().await.unwrap();
    assert!(
        stats.cpu_ns > 0
            && stats.pids > 10
            && stats.memory_bytes > 0
            && stats.memory_bytes < 64 << 20,
        "{stats:?}"
    );
    assert!(sandbox.stats().await.unwrap().pids >= stats.pids);
    container.kill(9).await.unwrap();
    let exit = within(container.wait()).await.unwrap();
    assert!(!exit.oom, "{exit:?}");
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn sysctls_and_shared_memory_size_are_the_sandboxs() {
    let bed = Bed::new();
    let mut spec = SandboxSpec {
        id: "one".to_owned(),
        hostname: "one".to_owned(),
        shm_size: Some(1 << 20),
        ..SandboxSpec::default()
    };
    spec.sysctls
        .insert("kernel.msgmax".to_owned(), "9999".to_owned());
    let sandbox = bed.runtime.create_sandbox(spec.clone()).await.unwrap();
    let (_, text) = bed
        .output(
            &sandbox,
            bed.spec(
                "c",
                "cat /proc/sys/kernel/msgmax; mount | grep -c '/dev/shm type tmpfs.*size=1024k'",
            ),
        )
        .await;
    assert_eq!(text, "9999\n1\n");
    sandbox.remove().await.unwrap();
    spec.sysctls
        .insert("kernel.panic".to_owned(), "1".to_owned());
    let error = bed
        .runtime
        .create_sandbox(spec)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("kernel.panic"), "{error}");
    bed.finish();
}

#[tokio::test]
async fn a_lower_oom_score_than_allowed_does_not_stop_a_container() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let mut spec = bed.spec("low", "cat /proc/self/oom_score_adj");
    spec.oom_score_adj = Some(-997);
    assert_eq!(bed.output(&sandbox, spec).await.0.code, 0);
    let mut spec = bed.spec("high", "cat /proc/self/oom_score_adj");
    spec.oom_score_adj = Some(999);
    assert_eq!(bed.output(&sandbox, spec).await.1, "999\n");
    sandbox.remove().await.unwrap();
    bed.finish();
}

#[tokio::test]
async fn what_the_host_mounts_later_reaches_a_container_that_asked_for_it() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let volume = bed.dir.path().join("volume");
    fs::create_dir_all(volume.join("late")).unwrap();
    // A shared mount, as the whole host is under systemd.
    let run = |args: &[&str]| {
        let done = std::process::Command::new("mount").args(args).status();
        assert!(done.unwrap().success());
    };
    let path = volume.to_str().unwrap();
    run(&["--bind", path, path]);
    run(&["--make-shared", path]);
    let sandbox_after = bed.sandbox("two").await;
    let mut spec = bed.spec("c", "until [ -e /v/late/file ]; do sleep 0.02; done; echo seen; mkdir -p /v/own; mount -t tmpfs own /v/own && touch /v/own/file; sleep 1000");
    spec.privileged = true;
    spec.mounts = vec![Mount {
        propagation: consort_runtime::Propagation::Bidirectional,
        ..bind(volume.clone(), "/v")
    }];
    sandbox_after.run(spec).await.unwrap();
    let late = volume.join("late");
    run(&["-t", "tmpfs", "late", late.to_str().unwrap()]);
    fs::write(late.join("file"), "").unwrap();
    until("the container sees the host's mount", || {
        bed.logged("c").contains("seen")
    })
    .await;
    until("the host sees the container's mount", || {
        volume.join("own/file").exists()
    })
    .await;
    sandbox.remove().await.unwrap();
    sandbox_after.remove().await.unwrap();
    for target in [volume.join("own"), late, volume.clone()] {
        assert!(
            std::process::Command::new("umount")
                .arg(target)
                .status()
                .unwrap()
                .success()
        );
    }
    bed.finish();
}

#[tokio::test]
async fn a_monitor_that_mounts_all_of_sys_sees_the_cgroups_and_stays_in_its_own() {
    let bed = Bed::new();
    let sandbox = bed.sandbox("one").await;
    let mut spec = bed.spec(
        "c",
        "ls /host/fs/cgroup | wc -l; ls /root-of-host/sys/fs/cgroup | wc -l; sleep 1000",
    );
    spec.mounts = vec![
        bind("/sys".into(), "/host"),
        bind("/".into(), "/root-of-host"),
    ];
    spec.resources.pids_limit = Some(4);
    let container = sandbox.run(spec).await.unwrap();
    until("it has looked", || bed.logged("c").lines().count() == 2).await;
    let counts: Vec<u32> = bed
        .logged("c")
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert!(counts.iter().all(|count| *count > 3), "{counts:?}");
    let stats = container.stats().await.unwrap();
    assert!(stats.pids > 0 && stats.memory_bytes > 0, "{stats:?}");
    sandbox.remove().await.unwrap();
    bed.finish();
}
