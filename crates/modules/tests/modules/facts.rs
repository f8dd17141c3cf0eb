//! The facts of machines whose files are laid out here, and of the one this runs on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use consort_modules::facts;
use serde_json::{Map, Value, json};

use super::run;

/// A tree of files: paths, and what is in them. What begins with `->` is a link.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.strip_prefix("->") {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => std::fs::write(path, text).unwrap(),
        }
    }
    root
}

/// The facts of a subset of a tree.
fn of(files: &[(&str, &str)], subset: &str) -> Map<String, Value> {
    facts::of_tree(tree(files).path(), &["!all", "!min", subset]).unwrap()
}

#[test]
fn distributions_are_recognized_by_their_files() {
    let cases = [
        (
            vec![
                (
                    "/etc/os-release",
                    "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n",
                ),
                ("/etc/debian_version", "12.11\n"),
                ("/usr/bin/apt-get", ""),
            ],
            json!(["Debian", "12.11", "12", "bookworm", "Debian", "apt"]),
        ),
        (
            vec![
                (
                    "/usr/lib/os-release",
                    "NAME=\"Ubuntu\"\nVERSION=\"24.04.1 LTS (Noble Numbat)\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n",
                ),
                ("/etc/os-release", "->../usr/lib/os-release"),
                ("/usr/bin/apt-get", ""),
            ],
            json!(["Ubuntu", "24.04", "24", "noble", "Debian", "apt"]),
        ),
        (
            vec![
                (
                    "/etc/os-release",
                    "NAME=\"Rocky Linux\"\nVERSION=\"9.3 (Blue Onyx)\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.3\"\n",
                ),
                (
                    "/etc/redhat-release",
                    "Rocky Linux release 9.3 (Blue Onyx)\n",
                ),
                ("/usr/bin/dnf-3", ""),
                ("/usr/bin/dnf", "->dnf-3"),
            ],
            json!(["Rocky", "9.3", "9", "Blue Onyx", "RedHat", "dnf"]),
        ),
        (
            vec![
                (
                    "/etc/os-release",
                    "NAME=\"Fedora Linux\"\nVERSION=\"42 (Server Edition)\"\nID=fedora\nVERSION_ID=42\nVERSION_CODENAME=\"\"\n",
                ),
                ("/etc/redhat-release", "Fedora release 42 (Adams)\n"),
                ("/usr/bin/dnf5", ""),
                ("/usr/bin/dnf", "->dnf5"),
            ],
            json!(["Fedora", "42", "42", "", "RedHat", "dnf5"]),
        ),
        (
            vec![
                (
                    "/etc/os-release",
                    "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.2\n",
                ),
                ("/etc/alpine-release", "3.20.2\n"),
                ("/sbin/apk", ""),
            ],
            json!(["Alpine", "3.20.2", "3", "NA", "Alpine", "apk"]),
        ),
        (
            vec![
                (
                    "/etc/os-release",
                    "NAME=\"openSUSE Leap\"\nVERSION=\"15.6\"\nID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"\n",
                ),
                ("/usr/bin/zypper", ""),
            ],
            json!(["openSUSE Leap", "15.6", "15", "6", "Suse", "zypper"]),
        ),
        (
            vec![
                (
                    "/etc/os-release",
                    "NAME=\"Arch Linux\"\nID=arch\nBUILD_ID=rolling\n",
                ),
                ("/etc/arch-release", ""),
                ("/usr/bin/pacman", ""),
            ],
            json!(["Archlinux", "NA", "NA", "NA", "Archlinux", "pacman"]),
        ),
        (
            vec![(
                "/etc/os-release",
                "NAME=\"Some System\"\nVERSION=\"7 beta\"\nID=some\n",
            )],
            json!([
                "Some System",
                "7 beta",
                "NA",
                "NA",
                "Some System",
                "unknown"
            ]),
        ),
    ];
    for (files, wanted) in cases {
        let facts = of(&files, "pkg_mgr");
        let told: Vec<&Value> = [
            "distribution",
            "distribution_version",
            "distribution_major_version",
            "distribution_release",
            "os_family",
            "pkg_mgr",
        ]
        .iter()
        .map(|name| &facts[&format!("ansible_{name}")])
        .collect();
        assert_eq!(json!(told), wanted, "{files:?}");
    }
}

#[test]
fn a_link_of_a_tree_does_not_lead_out_of_it() {
    let facts = of(
        &[("/etc/os-release", "->/usr/lib/os-release")],
        "distribution",
    );
    assert_eq!(facts["ansible_distribution"], "OtherLinux");
    let facts = of(
        &[("/etc/os-release", "->../../../../../../etc/os-release")],
        "distribution",
    );
    assert_eq!(facts["ansible_distribution"], "OtherLinux");
}

#[test]
fn the_words_of_the_kernels_command_line_keep_their_quotes() {
    let facts = of(
        &[(
            "/proc/cmdline",
            "BOOT_IMAGE=/vmlinuz quiet console=tty0 console=ttyS0 dyndbg=\"file a.c +p\"\n",
        )],
        "cmdline",
    );
    assert_eq!(
        facts["ansible_cmdline"],
        json!({"BOOT_IMAGE": "/vmlinuz", "quiet": true, "console": "ttyS0", "dyndbg": "\"file", "a.c": true, "+p\"": true})
    );
    assert_eq!(
        facts["ansible_proc_cmdline"]["console"],
        json!(["tty0", "ttyS0"])
    );
}

#[test]
fn the_name_service_is_told_by_its_settings() {
    let facts = of(
        &[(
            "/etc/resolv.conf",
            "# one\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch a.example b.example\noptions ndots:5 rotate\ndomain c.example\n",
        )],
        "dns",
    );
    assert_eq!(
        facts["ansible_dns"],
        json!({
            "nameservers": ["10.0.0.1", "10.0.0.2"],
            "search": ["a.example", "b.example"],
            "options": {"ndots": "5", "rotate": true},
            "domain": "c.example",
        })
    );
}

#[test]
fn a_container_and_a_guest_are_told_apart_by_what_comes_first() {
    let facts = of(
        &[
            ("/proc/1/cgroup", "0::/docker/0123\n"),
            ("/sys/devices/virtual/dmi/id/product_name", "KVM\n"),
            ("/dev/kvm", ""),
        ],
        "virtual",
    );
    assert_eq!(facts["ansible_virtualization_type"], "docker");
    assert_eq!(facts["ansible_virtualization_role"], "guest");
    assert_eq!(
        facts["ansible_virtualization_tech_guest"],
        json!(["container", "docker", "kvm"])
    );
    assert_eq!(facts["ansible_virtualization_tech_host"], json!(["kvm"]));
    let facts = of(&[("/proc/modules", "ext4 1 0 - Live 0x0\n")], "virtual");
    assert_eq!(facts["ansible_virtualization_type"], "NA");
}

#[test]
fn what_starts_services_is_known_by_the_first_process_or_by_files() {
    let named = |files: &[(&str, &str)]| of(files, "service_mgr")["ansible_service_mgr"].clone();
    assert_eq!(named(&[("/proc/1/comm", "systemd\n")]), "systemd");
    assert_eq!(named(&[("/proc/1/comm", "runit-init\n")]), "runit");
    assert_eq!(
        named(&[("/proc/1/comm", "bash\n"), ("/sbin/openrc", "")]),
        "openrc"
    );
    assert_eq!(named(&[("/etc/init.d/cron", "")]), "sysvinit");
    assert_eq!(named(&[]), "service");
}

#[test]
fn processors_and_memory_are_counted() {
    let mut cpuinfo = String::new();
    for number in 0..4 {
        cpuinfo.push_str(&format!(
            "processor\t: {number}\nvendor_id\t: GenuineIntel\nmodel name\t: Some CPU\nphysical id\t: {}\nsiblings\t: 2\ncore id\t\t: 0\ncpu cores\t: 1\nflags\t\t: fpu vme\n\n",
            number / 2
        ));
    }
    let facts = of(
        &[
            ("/proc/cpuinfo", cpuinfo.as_str()),
            (
                "/proc/meminfo",
                "MemTotal:        2048000 kB\nMemFree:         1024000 kB\nBuffers:           10240 kB\nCached:           102400 kB\nSwapCached:            0 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
            ),
        ],
        "hardware",
    );
    for (name, value) in [
        ("processor_count", 2),
        ("processor_cores", 1),
        ("processor_threads_per_core", 2),
        ("processor_vcpus", 4),
        ("processor_nproc", 4),
        ("memtotal_mb", 2000),
        ("memfree_mb", 1000),
    ] {
        assert_eq!(facts[&format!("ansible_{name}")], value, "{name}");
    }
    assert_eq!(facts["ansible_flags"], json!(["fpu", "vme"]));
    assert_eq!(
        facts["ansible_memory_mb"]["nocache"],
        json!({"free": 1110, "used": 890})
    );
    assert_eq!(facts["ansible_bios_vendor"], "NA");
}

#[test]
fn disks_are_told_with_their_partitions_and_other_names() {
    let place = "/sys/devices/pci0000:00/0000:00:05.0/virtio1/block/vda";
    let at = |file: &str| format!("{place}/{file}");
    let (size, sector, start, part, discard, scheduler) = (
        at("size"),
        at("queue/logical_block_size"),
        at("vda1/start"),
        at("vda1/size"),
        at("queue/discard_granularity"),
        at("queue/scheduler"),
    );
    let facts = of(
        &[
            (
                "/sys/block/vda",
                "->../devices/pci0000:00/0000:00:05.0/virtio1/block/vda",
            ),
            (&size, "41943040\n"),
            (&sector, "512\n"),
            (&start, "2048\n"),
            (&part, "41940992\n"),
            (&discard, "512\n"),
            (&scheduler, "none [mq-deadline]\n"),
            ("/dev/vda1", ""),
            ("/dev/disk/by-uuid/0-1", "->../../vda1"),
        ],
        "hardware",
    );
    let disk = &facts["ansible_devices"]["vda"];
    assert_eq!(disk["size"], "20.00 GB");
    assert_eq!(disk["sectors"], 41_943_040);
    assert_eq!(disk["scheduler_mode"], "mq-deadline");
    assert_eq!(disk["support_discard"], "512");
    assert_eq!(
        disk["partitions"]["vda1"],
        json!({
            "links": {"ids": [], "uuids": ["0-1"], "labels": [], "masters": []},
            "start": "2048",
            "sectorsize": 512,
            "sectors": 41_940_992,
            "size": "20.00 GB",
            "uuid": "0-1",
            "holders": [],
        })
    );
    assert_eq!(
        facts["ansible_device_links"]["uuids"],
        json!({"vda1": ["0-1"]})
    );
}

#[test]
fn local_facts_are_json_or_ini_and_what_is_neither_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text, mode) in [
        ("a.fact", "{\"x\": [1, 2]}", 0o644),
        ("b.fact", "[one]\nKey = 1\nother=%(key)s!\n", 0o644),
        ("c.fact", "neither", 0o644),
        ("d.fact", "#!/bin/sh\necho '{\"run\": true}'\n", 0o755),
        ("e.fact", "#!/bin/sh\nexit 3\n", 0o755),
        ("f.txt", "{}", 0o644),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let place = directory.path().to_str().unwrap();
    let told = run(
        "setup",
        json!({"gather_subset": ["!all", "!min", "local"], "fact_path": place}),
    );
    let wrong =
        format!("error loading facts as JSON or ini - please check content: {place}/c.fact");
    let failed = format!("Failure executing fact script ({place}/e.fact), rc: 3, err: ");
    assert_eq!(
        told["ansible_facts"]["ansible_local"],
        json!({
            "a": {"x": [1, 2]},
            "b": {"one": {"key": "1", "other": "1!"}},
            "c": wrong,
            "d": {"run": true},
            "e": failed,
        })
    );
    assert_eq!(told["warnings"], json!([wrong, failed]));
}

#[test]
fn subsets_choose_what_is_gathered_and_the_filter_what_is_told() {
    let names = |arguments: Value| -> Vec<String> {
        let told = run("setup", arguments);
        told["ansible_facts"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    let all = names(json!({}));
    for name in [
        "ansible_processor",
        "ansible_distribution",
        "ansible_user_id",
        "ansible_mounts",
        "ansible_date_time",
        "module_setup",
    ] {
        assert!(all.contains(&name.to_owned()), "{name}");
    }
    let minimal = names(json!({"gather_subset": "!all"}));
    assert!(minimal.contains(&"ansible_distribution".to_owned()));
    assert!(!minimal.contains(&"ansible_processor".to_owned()));
    assert_eq!(
        names(json!({"gather_subset": "!all,!min,fips"})),
        ["ansible_fips", "gather_subset", "module_setup"]
    );
    assert_eq!(
        names(json!({"gather_subset": "!all,!min,os_family", "filter": "distribution_ma*"})),
        ["ansible_distribution_major_version"]
    );
    let told = run("setup", json!({"gather_subset": "nonsense"}));
    assert_eq!(told["failed"], true);
    assert!(
        told["msg"].as_str().unwrap().starts_with(
            "Bad subset 'nonsense' given to Ansible. gather_subset options allowed: all, all_ipv4_addresses,"
        )
    );
}

/// The cases ansible-core's own tests have for distributions: `CONSORT_ANSIBLE_SOURCE` is its source.
#[test]
#[ignore = "needs the source of ansible-core"]
fn distributions_are_those_of_ansible_cores_own_tests() {
    /// What these are comes of the program `lsb_release`, or was made up: their files do not tell it.
    const OF_PROGRAMS: [&str; 17] = [
        "Gentoo 2.18",
        "Ubuntu 12.04",
        "Ubuntu 14.04",
        "Ubuntu 10.04 guess",
        "Amazon Linux 2",
        "Amazon Linux 2 - Karoo",
        "Archlinux rolling",
        "Debian stretch/sid",
        "Debian 7.9",
        "Debian 10",
        "Kali 2019.1",
        "Virtuozzo 7.3",
        "OSMC",
        "Fedora 25",
        "SteamOS 2.0",
        "SMGL NA",
        "Parrot 4.8",
    ];
    let source = std::env::var("CONSORT_ANSIBLE_SOURCE").unwrap();
    let units = Path::new(&source).join("test/units/module_utils/facts");
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in std::fs::read_dir(units.join("system/distribution/fixtures")).unwrap() {
        let path = entry.unwrap().path();
        let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if case
            .get("platform.system")
            .is_some_and(|name| name != "Linux")
            || OF_PROGRAMS.contains(&case["name"].as_str().unwrap())
        {
            continue;
        }
        cases += 1;
        let files: Vec<(&str, &str)> = case["input"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str().unwrap()))
            .collect();
        let told = of(&files, "distribution");
        for (name, value) in case["result"].as_object().unwrap() {
            let ours = told.get(&format!("ansible_{name}"));
            if ours != Some(value) {
                wrong.push(format!("{}: {name} {value} {ours:?}", case["name"]));
            }
        }
    }
    assert!(cases > 50);
    assert!(wrong.is_empty(), "{cases} cases\n{}", wrong.join("\n"));
}
