//! Services, users, groups, crontabs and rules of the packet filter, beside programs that only write down how they are
//! called: what those of ansible-core 2.21.5 call with the same arguments, and tell.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use consort_modules::{Invocation, Settings, find};
use serde_json::{Value, json};

/// A place with programs that are found before those of the machine.
struct Place {
    top: tempfile::TempDir,
}

impl Place {
    fn new(programs: &[(&str, &str)]) -> Place {
        let place = Place {
            top: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(place.path("bin")).unwrap();
        for (name, script) in programs {
            place.script(&format!("bin/{name}"), script);
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    /// A program that writes down its arguments, and goes on with a script. `$D` is this place.
    fn script(&self, name: &str, script: &str) {
        let top = self.top.path().display();
        let own = name.rsplit('/').next().unwrap();
        let text = format!("#!/bin/sh\nD={top}\necho \"{own} $*\" >> $D/calls\n{script}\n");
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run_set(&self, module: &str, arguments: Value, settings: Settings) -> Value {
        let Value::Object(arguments) = arguments else {
            panic!("arguments are an object")
        };
        let programs = format!(
            "{}:{}",
            self.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let settings = Settings {
            environment: vec![
                ("PATH".to_owned(), programs),
                ("XDG_RUNTIME_DIR".to_owned(), "/run/user/0".to_owned()),
                ("TMPDIR".to_owned(), self.path("").display().to_string()),
            ],
            remote_tmp: self.path("tmp").display().to_string(),
            umask: Some(0o077),
            ..settings
        };
        Value::Object(find(module).unwrap().run(&Invocation {
            module: module.to_owned(),
            arguments,
            settings,
        }))
    }

    fn run(&self, module: &str, arguments: Value) -> Value {
        self.run_set(module, arguments, Settings::default())
    }

    /// In check mode, with differences.
    fn check(&self, module: &str, arguments: Value) -> Value {
        let settings = Settings {
            check: true,
            diff: true,
            ..Settings::default()
        };
        self.run_set(module, arguments, settings)
    }

    /// How the programs were called since this was last asked.
    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = std::fs::remove_file(self.path("calls"));
        calls.lines().map(str::to_owned).collect()
    }
}

const SYSTEMCTL: &str = r#"
case "$1" in
show) a=$(cat $D/active 2>/dev/null || echo inactive)
  case $2 in gone) echo LoadState=not-found;; *) printf 'Description={ odd\nExecStart={ path=/x ;\n y=1 }\nLoadState=loaded\nActiveState=%s\n' $a;; esac;;
is-enabled) f=$(cat $D/enabled 2>/dev/null || echo disabled); echo $f; [ $f = enabled ];;
enable) echo enabled > $D/enabled;; disable) echo disabled > $D/enabled;;
start) [ $2 = stuck ] && { echo no >&2; exit 1; }; echo active > $D/active;; restart|reload) ;; stop) echo inactive > $D/active;;
esac"#;

#[test]
fn a_unit_is_started_and_enabled_once() {
    let place = Place::new(&[("systemctl", SYSTEMCTL)]);
    let wanted = json!({"name": "web", "state": "started", "enabled": true, "daemon_reload": true});
    let would = place.check("systemd", wanted.clone());
    assert_eq!(would["changed"], true);
    assert_eq!(
        place.calls(),
        ["systemctl show web", "systemctl is-enabled web -l"]
    );
    let first = place.run("systemd", wanted.clone());
    assert_eq!(
        first,
        json!({"name": "web", "changed": true, "enabled": true, "state": "started", "status": {
            "Description": "{ odd", "ExecStart": "{ path=/x ;\n y=1 }", "LoadState": "loaded", "ActiveState": "inactive"
        }})
    );
    assert_eq!(
        place.calls(),
        [
            "systemctl daemon-reload",
            "systemctl show web",
            "systemctl is-enabled web -l",
            "systemctl enable web",
            "systemctl start web"
        ]
    );
    assert_eq!(place.run("systemd_service", wanted)["changed"], false);
    let again = place.run("systemd", json!({"name": "web", "state": "restarted"}));
    assert_eq!(
        (&again["changed"], &again["state"]),
        (&json!(true), &json!("started"))
    );
    let gone = place.run("systemd", json!({"name": "gone", "state": "started"}));
    assert_eq!(
        gone["msg"],
        "Could not find the requested service gone: host"
    );
    std::fs::remove_file(place.path("active")).unwrap();
    let stuck = place.run("systemd", json!({"name": "stuck", "state": "started"}));
    assert_eq!(stuck["msg"], "Unable to start service stuck: no\n");
}

#[test]
fn a_script_of_init_is_run_in_a_session_of_its_own_if_it_is_to_be() {
    let place = Place::new(&[("ps", "echo root 1 /sbin/something")]);
    place.script(
        "daemon",
        "[ \"$(cut -d' ' -f6 /proc/$$/stat)\" = $$ ] && echo apart; [ $1 = stop ] && exit 4; exit 0",
    );
    let script = place.path("daemon").display().to_string();
    let run = |state: &str, pattern: &str, apart: bool| {
        place.run(
            "sysvinit",
            json!({"name": script, "state": state, "pattern": pattern, "daemonize": apart, "args": "a 'b c'"}),
        )
    };
    let started = run("started", "nothing", false);
    assert_eq!(
        started["status"]["started"],
        json!({"changed": true, "rc": 0, "stdout": "", "stderr": ""})
    );
    assert_eq!(
        started["warnings"][0],
        "Unable to determine if service is up, assuming it is down"
    );
    assert_eq!(place.calls(), ["ps auxww", "daemon start a b c"]);
    assert_eq!(run("started", "something", false)["changed"], false);
    let apart = run("started", "nothing", true);
    assert_eq!(apart["status"]["started"]["stdout"], "apart\n");
    let stopped = run("stopped", "something", false);
    assert_eq!(stopped["msg"], format!("Failed to stop service: {script}"));
    assert_eq!(stopped["rc"], 4);
}

#[test]
fn a_rule_says_what_was_asked_for_and_is_added_once() {
    let version = "echo iptables v1.8.11; exit 0";
    let filter =
        format!("case $1 in --version) {version};; esac; case $3 in -C) [ -e $D/there ];; esac");
    let place = Place::new(&[("iptables", &filter), ("ip6tables", &filter)]);
    let rule = json!({
        "chain": "INPUT", "protocol": "tcp", "source": "!10.0.0.0/8", "destination_ports": ["80", "8081:8083"],
        "ctstate": ["NEW", "RELATED"], "jump": "ACCEPT", "comment": "the web", "wait": "5",
        "tcp_flags": {"flags": ["ALL"], "flags_set": ["ACK", "SYN"]}, "limit": "2/second"
    });
    let words = "-p tcp ! -s 10.0.0.0/8 --tcp-flags ALL ACK,SYN -j ACCEPT -m multiport --dports 80,8081:8083 \
                 -m conntrack --ctstate NEW,RELATED -m limit --limit 2/second -m comment --comment the web";
    let added = place.run("iptables", rule.clone());
    assert_eq!(
        (&added["changed"], &added["rule"]),
        (&json!(true), &json!(words))
    );
    assert_eq!(
        place.calls(),
        [
            "iptables --version".to_owned(),
            format!("iptables -t filter -C INPUT -w 5 {words}"),
            format!("iptables -t filter -A INPUT -w 5 {words}")
        ]
    );
    std::fs::write(place.path("there"), "").unwrap();
    assert_eq!(place.run("iptables", rule)["changed"], false);
    place.calls();
    let log =
        json!({"chain": "OUTPUT", "ip_version": "both", "log_prefix": "x", "state": "absent"});
    assert_eq!(place.check("iptables", log)["changed"], true);
    assert_eq!(
        place.calls(),
        [
            "iptables --version",
            "iptables -t filter -C OUTPUT -j LOG --log-prefix x",
            "ip6tables --version",
            "ip6tables -t filter -C OUTPUT -j LOG --log-prefix x"
        ]
    );
    let wrong = place.run("iptables", json!({"chain": "INPUT", "jump": "TEE"}));
    assert_eq!(
        wrong["msg"],
        "jump is TEE but all of the following are missing: gateway"
    );
}

#[test]
fn jobs_of_a_crontab_are_known_by_their_names() {
    let program = "[ \"$1\" = -l ] && { cat $D/table 2>/dev/null; exit; }; cat \"$1\" > $D/table";
    let place = Place::new(&[("crontab", program)]);
    let job = json!({"name": "backup", "job": "/usr/bin/backup > /dev/null", "hour": "5,2"});
    let would = place.check("cron", job.clone());
    let table = "#Ansible: backup\n* 5,2 * * * /usr/bin/backup > /dev/null\n";
    assert_eq!(
        would["diff"],
        json!({"before": "", "before_header": "crontab", "after": table, "after_header": "crontab"})
    );
    assert!(!place.path("table").exists());
    let made = place.run("cron", job.clone());
    assert_eq!(
        made,
        json!({"changed": true, "jobs": ["backup"], "envs": []})
    );
    assert_eq!(std::fs::read_to_string(place.path("table")).unwrap(), table);
    assert_eq!(place.run("cron", job)["changed"], false);
    let variable = place.run(
        "cron",
        json!({"name": "PATH", "value": "/bin", "env": true}),
    );
    assert_eq!(variable["envs"], json!(["PATH"]));
    let file = place.path("jobs").display().to_string();
    let daily = json!({"name": "d", "job": "x", "user": "root", "special_time": "daily", "cron_file": file});
    assert_eq!(place.run("cron", daily)["changed"], true);
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "#Ansible: d\n@daily root x\n"
    );
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let gone = json!({"name": "d", "state": "absent", "cron_file": file});
    assert_eq!(place.run("cron", gone)["changed"], true);
    assert!(!PathBuf::from(file).exists());
    place.run("cron", json!({"name": "backup", "state": "absent"}));
    assert_eq!(
        std::fs::read_to_string(place.path("table")).unwrap(),
        "PATH=\"/bin\"\n"
    );
}

#[test]
fn a_user_that_is_as_asked_costs_no_program() {
    let place = Place::new(&[
        ("useradd", ""),
        ("usermod", ""),
        ("groupadd", "echo full >&2; exit 9"),
    ]);
    let same = place.run(
        "user",
        json!({"name": "root", "uid": 0, "home": "/root", "create_home": false}),
    );
    assert_eq!(same["changed"], false, "{same}");
    assert_eq!((&same["uid"], &same["home"]), (&json!(0), &json!("/root")));
    assert!(place.calls().is_empty());
    let would = place.check(
        "user",
        json!({"name": "root", "comment": "nobody's comment"}),
    );
    assert_eq!(would["changed"], true);
    assert!(place.calls().is_empty());
    let made = place.run(
        "user",
        json!({"name": "consort-nobody-x", "groups": ["root"], "shell": "/bin/false", "expires": 1_422_403_387,
            "password": "plain", "password_lock": true, "system": true, "umask": "077"}),
    );
    assert_eq!(
        place.calls(),
        [
            "useradd -G root -s /bin/false -e 2015-01-28 -p !plain -m -K UMASK=077 -r consort-nobody-x"
        ]
    );
    assert_eq!(made["password"], "NOT_LOGGING_PASSWORD");
    assert!(
        made["warnings"][0]
            .as_str()
            .unwrap()
            .starts_with("The input password appears not to have been hashed.")
    );
    let refused = place.run(
        "group",
        json!({"name": "consort-nobody-x", "gid": 4, "non_unique": true}),
    );
    assert_eq!(
        refused,
        json!({"failed": true, "msg": "full\n", "name": "consort-nobody-x"})
    );
    assert_eq!(place.calls(), ["groupadd -g 4 -o consort-nobody-x"]);
    let known = place.run("group", json!({"name": "root", "gid": 0}));
    assert_eq!(
        (&known["changed"], &known["gid"]),
        (&json!(false), &json!(0))
    );
}
