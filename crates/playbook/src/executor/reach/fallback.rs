//! What templates of a task see of how its machine is reached, where no variable says it.

use std::sync::Arc;

use consort_jinja::{Str, Value, Variables};

use crate::executor::plan::Plan;
use crate::executor::run::Run;
use crate::language::Directive;

/// How a host is reached, as variables, where no variable says it.
pub(super) struct Fallback {
    pub(super) run: Arc<Run>,
    pub(super) plan: Arc<Plan>,
    pub(super) host: Arc<str>,
}

impl Variables for Fallback {
    fn get(&self, name: &str) -> Option<Value> {
        let settings = &self.run.settings;
        let rest = name.strip_prefix("ansible_")?;
        let text = |text: &str| Value::Str(Str::new(text));
        match rest {
            "connection" => Some(
                self.plan
                    .keyword(Directive::Connection)
                    .cloned()
                    .or_else(|| self.run.options.connection.as_deref().map(text))
                    .unwrap_or_else(|| text(&settings.transport)),
            ),
            "host" | "ssh_host" => Some(text(&self.host)),
            "user" | "ssh_user" => self
                .plan
                .keyword(Directive::RemoteUser)
                .cloned()
                .or_else(|| self.run.options.remote_user.as_deref().map(text))
                .or_else(|| settings.remote_user.as_deref().map(text)),
            "port" | "ssh_port" => self
                .plan
                .keyword(Directive::Port)
                .cloned()
                .or_else(|| settings.remote_port.map(Value::Int)),
            "shell_executable" => Some(text(&settings.executable)),
            "pipelining" | "ssh_pipelining" => Some(Value::Bool(settings.pipelining)),
            "timeout" | "ssh_timeout" => Some(
                self.run
                    .connection_option("timeout")
                    .and_then(|given| given.parse().ok())
                    .map_or(Value::Int(settings.timeout), Value::Int),
            ),
            "module_compression" => Some(text(&settings.module_compression)),
            "private_key_file" | "ssh_private_key_file" => self
                .run
                .connection_option("private_key_file")
                .or(settings.private_key_file.as_deref())
                .map(text),
            "password" | "ssh_pass" => Some(text(
                self.run
                    .options
                    .connection_password
                    .as_deref()
                    .unwrap_or(""),
            )),
            _ => None,
        }
    }

    fn names(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
}
