//! Provisioners that run on this machine.

use std::process::Stdio;
use std::sync::Arc;

use consort_hcl::{Kind, Type, Value};
use consort_infra::engine::Provisioners;
use consort_infra::provider::Call;
use consort_infra::provider::schema::{Attribute, Block};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// `local-exec`. Others are refused by name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Local;

fn text(config: &Value, name: &str) -> Option<String> {
    let value = config.attribute(name).ok()?.unmark_deep().0;
    value.as_str().map(str::to_owned)
}

impl Provisioners for Local {
    fn schema(&self, kind: &str) -> Option<Arc<Block>> {
        let optional = |ty| Attribute::new(ty).optional();
        (kind == "local-exec").then(|| {
            Arc::new(
                Block::default()
                    .attribute("command", Attribute::new(Type::String).required())
                    .attribute("interpreter", optional(Type::list(Type::String)))
                    .attribute("working_dir", optional(Type::String))
                    .attribute("environment", optional(Type::map(Type::String)))
                    .attribute("quiet", optional(Type::Bool)),
            )
        })
    }

    fn run<'a>(
        &'a self,
        _kind: &'a str,
        config: Value,
        _connection: Value,
        output: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Call<'a, Result<(), String>> {
        Box::pin(async move {
            let command = text(&config, "command").unwrap_or_default();
            if command.is_empty() {
                return Err("local-exec provisioner command must be a non-empty string".to_owned());
            }
            let strings = |name: &str| -> Vec<String> {
                let value = config.attribute(name).map(|value| value.unmark_deep().0);
                value
                    .ok()
                    .and_then(|value| {
                        let parts = value.as_sequence()?;
                        Some(
                            parts
                                .iter()
                                .filter_map(|part| part.as_str().map(str::to_owned))
                                .collect(),
                        )
                    })
                    .unwrap_or_default()
            };
            let mut words = strings("interpreter");
            if words.is_empty() {
                words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
            }
            words.push(command);
            let quiet = config
                .attribute("quiet")
                .is_ok_and(|value| value.unmark_deep().0.as_bool() == Some(true));
            if quiet {
                output("local-exec: Executing: Suppressed by quiet=true");
            } else if config.deep_marks().is_empty() {
                let shown: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                output(&format!("Executing: [{}]", shown.join(" ")));
            } else {
                output("(output suppressed due to sensitive value in config)");
            }
            let mut process = Command::new(&words[0]);
            process
                .args(&words[1..])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true);
            if let Some(directory) = text(&config, "working_dir").filter(|text| !text.is_empty()) {
                process.current_dir(directory);
            }
            if let Ok(environment) = config.attribute("environment") {
                let environment = environment.unmark_deep().0;
                if let Kind::Map(entries) = environment.kind() {
                    for (name, value) in entries {
                        if let Some(value) = value.as_str() {
                            process.env(&**name, value);
                        }
                    }
                }
            }
            let hidden = !config.deep_marks().is_empty();
            let failed = |why: String| format!("Error running command: {why}");
            let mut child = process.spawn().map_err(|error| failed(error.to_string()))?;
            let mut lines = Vec::new();
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let mut out = out.map(|stream| BufReader::new(stream).lines());
            let mut err = err.map(|stream| BufReader::new(stream).lines());
            loop {
                let line = tokio::select! {
                    Ok(line) = async {
                        match out.as_mut() {
                            Some(lines) => lines.next_line().await,
                            None => std::future::pending().await,
                        }
                    } => match line {
                        Some(line) => line,
                        None => { out = None; if err.is_none() { break } continue; }
                    },
                    Ok(line) = async {
                        match err.as_mut() {
                            Some(lines) => lines.next_line().await,
                            None => std::future::pending().await,
                        }
                    } => match line {
                        Some(line) => line,
                        None => { err = None; if out.is_none() { break } continue; }
                    },
                    else => break,
                };
                if !hidden {
                    output(&line);
                }
                if lines.len() < 1000 {
                    lines.push(line);
                }
            }
            let status = child
                .wait()
                .await
                .map_err(|error| failed(error.to_string()))?;
            if status.success() {
                return Ok(());
            }
            let shown = if hidden {
                "(output suppressed due to sensitive value in config)".to_owned()
            } else {
                lines.join("\n")
            };
            Err(format!(
                "Error running command '{}': {}. Output: {shown}",
                if hidden {
                    "(sensitive)"
                } else {
                    words.last().map_or("", String::as_str)
                },
                match status.code() {
                    Some(code) => format!("exit status {code}"),
                    None => format!("{status}"),
                }
            ))
        })
    }
}
