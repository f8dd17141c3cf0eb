//! Actions that wait for a machine: `wait_for_connection`, `reboot`.

use std::time::{Duration, Instant};

use consort_jinja::{Dict, Value, repr};

use super::given::{Given, dict, says, set};
use super::machine::shell;
use super::{Action, Failure, Outcome, Traits};
use crate::connection::{Call, Command, Output};
use crate::executor::Attempt;

/// `wait_for_connection`: until modules run on the machine.
pub(super) struct WaitForConnection;

impl Action for WaitForConnection {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(wait(attempt, arguments))
    }

    fn traits(&self) -> Traits {
        Traits {
            arguments: Some(&["connect_timeout", "delay", "sleep", "timeout"]),
            ..Traits::default()
        }
    }
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

async fn wait(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    let given = Given(&arguments);
    let connect = seconds(given.integer("connect_timeout", 5)?);
    let delay = seconds(given.integer("delay", 0)?);
    let sleep = seconds(given.integer("sleep", 1)?);
    let timeout = seconds(given.integer("timeout", 600)?);
    if attempt.check {
        attempt.detail(3, "wait_for_connection: skipping for check_mode");
        return Ok(dict([("skipped", true.into())]));
    }
    let began = Instant::now();
    tokio::time::sleep(delay).await;
    let until = Instant::now() + timeout;
    let mut last = "None".to_owned();
    let result = Dict::default();
    loop {
        if Instant::now() >= until {
            set(&result, "failed", true);
            set(
                &result,
                "msg",
                format!("timed out waiting for ping module test: {last}"),
            );
            break;
        }
        attempt.detail(3, "wait_for_connection: attempting ping module test");
        attempt.connection()?.reset().await;
        let limit = connect.max(Duration::from_secs(1)) + Duration::from_secs(30);
        let pinged = tokio::time::timeout(
            limit,
            attempt.module("ansible.legacy.ping", Dict::default()),
        )
        .await;
        match pinged {
            Ok(Ok(report))
                if report.get("ping").as_ref().and_then(Value::as_str) == Some("pong") =>
            {
                break;
            }
            Ok(Ok(report)) if says(&report, "failed") => {
                last = report
                    .get("msg")
                    .map_or_else(|| "'ping'".to_owned(), |value| repr::text(&value));
            }
            Ok(Ok(_)) => "ping test failed".clone_into(&mut last),
            Ok(Err(failure)) => last = said(&failure),
            Err(_) => "the machine did not answer".clone_into(&mut last),
        }
        tokio::time::sleep(sleep).await;
    }
    set(&result, "elapsed", whole_seconds(began));
    Ok(result)
}

fn whole_seconds(began: Instant) -> Value {
    Value::Int(i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX))
}

fn said(failure: &Failure) -> String {
    match failure {
        Failure::Failed(failed) => failed.error.brief(),
        Failure::Skipped { message, .. } | Failure::Unreachable { message, .. } => message.clone(),
    }
}

/// `reboot`: restarts the machine and waits for it.
pub(super) struct Reboot;

impl Action for Reboot {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(reboot(attempt, arguments))
    }

    fn traits(&self) -> Traits {
        Traits {
            arguments: Some(&[
                "boot_time_command",
                "connect_timeout",
                "msg",
                "post_reboot_delay",
                "pre_reboot_delay",
                "reboot_command",
                "reboot_timeout",
                "search_paths",
                "test_command",
            ]),
            ..Traits::default()
        }
    }
}

/// What is run on a kind of system, in the order: time of the boot, shutdown, its arguments, test.
struct System {
    boot: &'static str,
    shutdown: &'static str,
    arguments: &'static str,
    test: &'static str,
}

const USUAL: System = System {
    boot: "cat /proc/sys/kernel/random/boot_id",
    shutdown: "shutdown",
    arguments: "-r {delay_min} \"{message}\"",
    test: "whoami",
};

fn system(names: &[String]) -> System {
    for name in names {
        let found = match name.as_str() {
            "alpine" => System {
                shutdown: "reboot",
                arguments: "",
                ..USUAL
            },
            "void" => System {
                arguments: "-r +{delay_min} \"{message}\"",
                ..USUAL
            },
            "freebsd" => System {
                boot: "/sbin/sysctl kern.boottime",
                arguments: "-r +{delay_sec}s \"{message}\"",
                ..USUAL
            },
            "openbsd" => System {
                boot: "/sbin/sysctl kern.boottime",
                arguments: "-r +{delay_min} \"{message}\"",
                ..USUAL
            },
            "macosx" => System {
                boot: "who -b",
                arguments: "-r +{delay_min} \"{message}\"",
                ..USUAL
            },
            "solaris" | "sunos" => System {
                boot: "who -b",
                arguments: "-y -g {delay_sec} -i 6 \"{message}\"",
                test: if name == "solaris" { "who" } else { "whoami" },
                ..USUAL
            },
            "vmkernel" => System {
                boot: "grep booted /var/log/vmksummary.log | tail -n 1",
                shutdown: "reboot",
                arguments: "-d {delay_sec}",
                test: "who",
            },
            "aix" => System {
                boot: "who -b",
                arguments: "-Fr",
                ..USUAL
            },
            _ => continue,
        };
        return found;
    }
    USUAL
}

async fn reboot(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    if attempt.transport()?.rsplit('.').next() == Some("local") {
        return Ok(dict([
            ("changed", false.into()),
            ("elapsed", Value::Int(0)),
            ("rebooted", false.into()),
            ("failed", true.into()),
            (
                "msg",
                format!(
                    "Running {} with local connection would reboot the control node.",
                    attempt.task.action.name
                )
                .into(),
            ),
        ]));
    }
    if attempt.check {
        return Ok(dict([
            ("changed", true.into()),
            ("elapsed", Value::Int(0)),
            ("rebooted", true.into()),
        ]));
    }
    let given = Given(&arguments);
    let timeout = seconds(given.integer("reboot_timeout", 600)?);
    let before = given.integer("pre_reboot_delay", 0)?.max(0);
    let after = given.integer("post_reboot_delay", 0)?.max(0);
    let system = distribution(attempt).await?;
    let boot = given
        .text("boot_time_command")
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| system.boot.to_owned());
    let previous = match boot_time(attempt, &boot).await {
        Ok(time) => time,
        Err(failure) => {
            return Ok(dict([
                ("failed", true.into()),
                ("reboot", false.into()),
                ("msg", said(&failure).into()),
            ]));
        }
    };
    let line = command(attempt, &given, &system, before).await?;
    attempt.detail(
        3,
        &format!("{}: rebooting server...", attempt.task.action.name),
    );
    let began = Instant::now();
    match run(attempt, &line).await {
        Ok(output) if output.status != 0 => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            return Ok(dict([
                ("failed", true.into()),
                ("rebooted", false.into()),
                (
                    "msg",
                    format!(
                        "Reboot command failed. Error was: '{}, {}'",
                        text(&output.stdout),
                        text(&output.stderr)
                    )
                    .into(),
                ),
                ("elapsed", whole_seconds(began)),
            ]));
        }
        // It went down faster than it could answer.
        Ok(_) | Err(Failure::Unreachable { .. }) => {}
        Err(other) => return Err(other),
    }
    tokio::time::sleep(seconds(after)).await;
    let test = given
        .text("test_command")
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| system.test.to_owned());
    let result = dict([("rebooted", true.into())]);
    match back(attempt, timeout, &boot, &previous, &test).await {
        Ok(()) => set(&result, "changed", true),
        Err(what) => {
            set(&result, "failed", true);
            set(
                &result,
                "msg",
                format!(
                    "Timed out waiting for {what} (timeout={})",
                    timeout.as_secs()
                ),
            );
        }
    }
    set(&result, "elapsed", whole_seconds(began));
    Ok(result)
}

async fn run(attempt: &Attempt<'_>, line: &str) -> Result<Output, Failure> {
    let user = attempt.user()?;
    let command = Command {
        line: line.to_owned(),
        ..Command::default()
    };
    shell(attempt, command, user).await
}

async fn distribution(attempt: &Attempt<'_>) -> Result<System, Failure> {
    let report = attempt
        .module(
            "ansible.legacy.setup",
            dict([("gather_subset", "min".into())]),
        )
        .await?;
    if says(&report, "failed") {
        let text = |name: &str| {
            report
                .get(name)
                .map(|value| repr::text(&value).trim().to_owned())
                .unwrap_or_default()
        };
        return Err(Failure::error(format!(
            "Failed to determine system distribution. {}, {}",
            text("module_stdout"),
            text("module_stderr")
        )));
    }
    let Some(Value::Dict(facts)) = report.get("ansible_facts") else {
        return Err(Failure::error(
            "Failed to get distribution information. Missing \"ansible_facts\" in output.",
        ));
    };
    let fact = |name: &str| {
        facts
            .get(name)
            .map(|value| repr::text(&value).to_lowercase())
            .ok_or_else(|| {
                Failure::error(format!(
                    "Failed to get distribution information. Missing \"{name}\" in output."
                ))
            })
    };
    let name = fact("ansible_distribution")?;
    let version = fact("ansible_distribution_version")?;
    let major = version.split('.').next().unwrap_or_default();
    Ok(system(&[
        format!("{name}{major}"),
        name.clone(),
        fact("ansible_os_family")?,
    ]))
}

async fn boot_time(attempt: &Attempt<'_>, command: &str) -> Result<String, Failure> {
    let output = run(attempt, command).await?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status != 0 {
        return Err(Failure::error(format!(
            "{}: failed to get host boot time info, rc: {}, stdout: {stdout}, stderr: {}",
            attempt.task.action.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(stdout.trim().to_owned())
}

/// The line that restarts the machine.
async fn command(
    attempt: &Attempt<'_>,
    given: &Given<'_>,
    system: &System,
    delay: i64,
) -> Result<String, Failure> {
    let own = match given.get("reboot_command") {
        None => None,
        Some(Value::Str(text)) => Some(text.to_string()),
        Some(other) => {
            return Err(Failure::error(format!(
                "Invalid value given for 'reboot_command': {} is not a string and conversion is not allowed.",
                repr::string(&repr::text(&other))
            )));
        }
    };
    let (program, arguments) = match &own {
        Some(line) => match line.split_once(' ') {
            Some((program, arguments)) => (program.to_owned(), arguments.to_owned()),
            None => (line.clone(), String::new()),
        },
        None => {
            let message = given
                .text("msg")
                .unwrap_or_else(|| "Reboot initiated by Ansible".to_owned());
            let arguments = system
                .arguments
                .replace("{delay_sec}", &delay.to_string())
                .replace("{delay_min}", &(delay / 60).to_string())
                .replace("{message}", &message);
            (system.shutdown.to_owned(), arguments)
        }
    };
    if program.starts_with('/') {
        return Ok(format!("{program} {arguments}"));
    }
    let searched: Vec<Value> = match given.get("search_paths") {
        None => ["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"]
            .map(Value::from)
            .to_vec(),
        Some(Value::Str(text)) => text.split(',').map(Value::from).collect(),
        Some(Value::List(items)) => items.read().clone(),
        Some(other) => {
            return Err(Failure::error(format!(
                "'search_paths' must be a string or flat list of strings, got {}",
                repr::text(&other)
            )));
        }
    };
    let report = attempt
        .module(
            "ansible.legacy.find",
            dict([
                ("paths", searched.clone().into()),
                ("patterns", Value::list(vec![program.as_str().into()])),
                ("file_type", "any".into()),
            ]),
        )
        .await?;
    let found = report
        .get("files")
        .and_then(|files| files.iterate().ok())
        .unwrap_or_default()
        .into_iter()
        .find_map(|file| match file {
            Value::Dict(file) => file.get("path").map(|path| repr::text(&path)),
            _ => None,
        });
    match found {
        Some(path) => Ok(format!("{path} {arguments}")),
        None => Err(Failure::error(format!(
            "Unable to find command \"{program}\" in search paths: {}",
            repr::text(&Value::list(searched))
        ))),
    }
}

/// Waits until the machine has booted anew and does what it is asked. Says what was waited for in vain.
async fn back(
    attempt: &Attempt<'_>,
    timeout: Duration,
    boot: &str,
    previous: &str,
    test: &str,
) -> Result<(), &'static str> {
    let mut until = Instant::now() + timeout;
    let mut failures = 0;
    loop {
        if Instant::now() >= until {
            return Err("last boot time check");
        }
        attempt.detail(3, "attempting to get system boot time");
        match boot_time(attempt, boot).await {
            Ok(time) if !time.is_empty() && time != previous => break,
            Ok(_) => {}
            Err(_) => reset(attempt).await,
        }
        pause(&mut failures).await;
    }
    until = Instant::now() + timeout;
    failures = 0;
    loop {
        if Instant::now() >= until {
            return Err("post-reboot test command");
        }
        attempt.detail(3, "attempting post-reboot test command");
        match run(attempt, test).await {
            Ok(output) if output.status == 0 => return Ok(()),
            Ok(_) => {}
            Err(_) => reset(attempt).await,
        }
        pause(&mut failures).await;
    }
}

async fn reset(attempt: &Attempt<'_>) {
    if let Ok(connection) = attempt.connection() {
        connection.reset().await;
    }
}

/// Waits twice as long each time, twelve seconds at most, and a little more by chance.
async fn pause(failures: &mut u32) {
    let doubled = 1_u64.checked_shl(*failures).unwrap_or(12).min(12);
    let more = rand::random_range(0..1000);
    *failures = failures.saturating_add(1).min(10);
    tokio::time::sleep(Duration::from_secs(doubled) + Duration::from_millis(more)).await;
}
