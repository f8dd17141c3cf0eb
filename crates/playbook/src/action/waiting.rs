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
                    attempt.task.action.written
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
    let connect = match given.integer("connect_timeout", 0)? {
        ..=0 => None,
        limit => Some(seconds(limit)),
    };
    let asked = own_command(&given, "boot_time_command").map(|own| {
        own.filter(|text| !text.is_empty())
            .unwrap_or_else(|| system.boot.to_owned())
    });
    let first = match asked {
        Ok(boot) => boot_time(attempt, &boot).await.map(|time| (boot, time)),
        Err(failure) => Err(failure),
    };
    let (boot, previous) = match first {
        Ok(first) => first,
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
        &format!("{}: rebooting server...", attempt.task.action.written),
    );
    let told = run(attempt, &line).await;
    let began = Instant::now();
    match told {
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
                (
                    "start",
                    jiff::Timestamp::now()
                        .strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")
                        .to_string()
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
    attempt.detail(
        3,
        &format!("{}: validating reboot", attempt.task.action.written),
    );
    let waited = Back {
        attempt,
        timeout,
        connect,
    };
    match waited.until(&boot, &previous, &test).await {
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
            attempt.task.action.written,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(stdout.trim().to_owned())
}

/// A command that was given, which must be a text.
fn own_command(given: &Given<'_>, name: &str) -> Result<Option<String>, Failure> {
    match given.get(name) {
        None => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text.to_string())),
        Some(other) => Err(Failure::error(format!(
            "Invalid value given for '{name}': '{}' is not a string and conversion is not allowed.",
            repr::text(&other)
        ))),
    }
}

/// The line that restarts the machine.
async fn command(
    attempt: &Attempt<'_>,
    given: &Given<'_>,
    system: &System,
    delay: i64,
) -> Result<String, Failure> {
    let own = own_command(given, "reboot_command")?;
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

/// What is waited for after the machine was told to restart.
struct Back<'a> {
    attempt: &'a Attempt<'a>,
    /// How long for each of the two.
    timeout: Duration,
    /// How long to connect may take, if that was given.
    connect: Option<Duration>,
}

impl Back<'_> {
    /// Waits until the machine has booted anew and does what it is asked. Says what was waited for in vain.
    async fn until(&self, boot: &str, previous: &str, test: &str) -> Result<(), &'static str> {
        let what = "last boot time check";
        self.repeat(what, || async {
            self.tell("attempting to get system boot time");
            if self.connect.is_some() {
                reset(self.attempt).await;
            }
            let time = self.bound(boot_time(self.attempt, boot)).await?;
            if time.is_empty() || time == previous {
                return Err("boot time has not changed".to_owned());
            }
            Ok(())
        })
        .await?;
        self.repeat("post-reboot test command", || async {
            self.tell("attempting post-reboot test command");
            let output = self.bound(run(self.attempt, test)).await?;
            if output.status != 0 {
                return Err(format!(
                    "Test command failed: {} {}",
                    String::from_utf8_lossy(&output.stderr),
                    String::from_utf8_lossy(&output.stdout)
                ));
            }
            Ok(())
        })
        .await?;
        self.tell("system successfully rebooted");
        Ok(())
    }

    fn tell(&self, text: &str) {
        let name = &self.attempt.task.action.written;
        self.attempt.detail(3, &format!("{name}: {text}"));
    }

    /// Something that the machine is asked. It may have gone without a word: then the connection is given up.
    async fn bound<T>(&self, asked: impl Future<Output = Result<T, Failure>>) -> Result<T, String> {
        let limit = self.connect.unwrap_or(Duration::from_secs(10)) + Duration::from_secs(20);
        let failed = match tokio::time::timeout(limit, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => said(&failure),
            Err(_) => "the machine did not answer".to_owned(),
        };
        reset(self.attempt).await;
        Err(failed)
    }

    /// Tries something until it succeeds, or the time is over.
    async fn repeat<F>(
        &self,
        what: &'static str,
        mut act: impl FnMut() -> F,
    ) -> Result<(), &'static str>
    where
        F: Future<Output = Result<(), String>>,
    {
        let until = Instant::now() + self.timeout;
        let mut failures = 0;
        let mut last = None;
        while Instant::now() < until {
            let Err(error) = act().await else {
                return Ok(());
            };
            let line = error.lines().last().unwrap_or_default().to_owned();
            let pause = pause(failures);
            failures += 1;
            let failed = format!("{what} fail '{line}'");
            self.tell(&format!(
                "{failed}, retrying in {:.4} seconds...",
                pause.as_secs_f64()
            ));
            last = Some(failed);
            tokio::time::sleep(pause).await;
        }
        if let Some(last) = last {
            let name = &self.attempt.task.action.written;
            let text = format!("Last error message before the timeout exception - {name}: {last}");
            self.attempt.detail(3, &text);
        }
        Err(what)
    }
}

async fn reset(attempt: &Attempt<'_>) {
    if let Ok(connection) = attempt.connection() {
        connection.reset().await;
    }
}

/// How long to wait after some failures: twice as long each time, twelve seconds at most, and a little more by chance.
fn pause(failures: u32) -> Duration {
    let doubled = 1_u64.checked_shl(failures.min(10)).unwrap_or(12).min(12);
    Duration::from_secs(doubled) + Duration::from_millis(rand::random_range(0..1000))
}
