//! What programs put out.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use consort_jinja::{Error, Result, Value};
use consort_modules::process::session_program;

use super::Call;
use crate::template::context::{blocking, refused};

impl Call<'_, '_, '_, '_> {
    fn output(&self, line: &str, plugin: &str) -> Result<Vec<u8>> {
        let options = &self.context().options;
        // what the run is given up with ends it, whatever it has started
        let mut command = match session_program() {
            Some(program) => {
                let mut command = Command::new(program);
                command.arg("/bin/sh");
                command
            }
            None => {
                let mut command = Command::new("/bin/sh");
                command.process_group(0);
                command
            }
        };
        command
            .arg("-c")
            .arg(line)
            .current_dir(&options.basedir)
            .stdin(Stdio::null())
            // Tasks are worked on away from the terminal.
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let cancel = crate::blocking::cancel();
        let done = blocking(|| {
            let child = command.spawn()?;
            let group = child.id().cast_signed();
            if let Some(cancel) = &cancel {
                cancel.started(group);
            }
            let done = child.wait_with_output();
            if let Some(cancel) = &cancel {
                cancel.ended(group);
            }
            done
        })
        .map_err(|error| Error::failed(error.to_string()))?;
        let status = done.status.code().unwrap_or_else(|| {
            use std::os::unix::process::ExitStatusExt as _;
            -done.status.signal().unwrap_or(1)
        });
        if status != 0 {
            return refused(format!("lookup_plugin.{plugin}({line}) returned {status}"));
        }
        Ok(done.stdout)
    }
}

pub(super) fn pipe(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    call.texts()?
        .iter()
        .map(|line| {
            let output = call.output(line, "pipe")?;
            let text = String::from_utf8(output)
                .map_err(|error| Error::failed(format!("'utf-8' codec can't decode: {error}")))?;
            Ok(Value::from(text.trim_end()))
        })
        .collect()
}

pub(super) fn lines(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for line in call.texts()? {
        let output = call.output(&line, "lines")?;
        let text = String::from_utf8_lossy(&output);
        found.extend(text.lines().map(Value::from));
    }
    Ok(found)
}
