//! `remote-exec`: scripts on the machine that was made.

use consort_hcl::{Diagnostic, Value, quote};
use consort_ssh::{Error, Exec, Exit, Output, Source, posix};

use super::connection::{Link, Settings};
use super::lines::{Lines, PATIENCE};
use super::{given, placed};
use crate::engine::Provision;

pub(super) fn check(config: &Value) -> Vec<Diagnostic> {
    let set = ["inline", "script", "scripts"]
        .into_iter()
        .filter(|name| given(config, name).is_some())
        .count();
    if set == 1 {
        Vec::new()
    } else {
        vec![Diagnostic::error(
            "Invalid remote-exec provisioner configuration",
            "Only one of \"inline\", \"script\", or \"scripts\" must be set",
        )]
    }
}

/// The scripts to run, each whole.
async fn scripts(provision: &Provision<'_>) -> Result<Vec<Vec<u8>>, String> {
    let config = &provision.config;
    let word = |value: &Value, what: &str| match value.as_str() {
        None => Err(format!("invalid null string in '{what}'")),
        Some("") => Err(format!("invalid empty string in '{what}'")),
        Some(text) => Ok(text.to_owned()),
    };
    if let Some(inline) = given(config, "inline") {
        let mut script = String::new();
        for line in inline.as_sequence().unwrap_or_default() {
            script.push_str(&word(line, "scripts")?);
            script.push('\n');
        }
        return Ok(vec![script.into_bytes()]);
    }
    let mut paths = Vec::new();
    if let Some(script) = given(config, "script") {
        paths.push(word(&script, "script")?);
    }
    if let Some(scripts) = given(config, "scripts") {
        for script in scripts.as_sequence().unwrap_or_default() {
            paths.push(word(script, "script")?);
        }
    }
    let mut scripts = Vec::new();
    for path in paths {
        let read = tokio::fs::read(placed(provision, &path))
            .await
            .map_err(|error| {
                let why = error.to_string();
                let why = why.split(" (os error").next().unwrap_or_default();
                format!(
                    "Failed to open script '{path}': open {path}: {}",
                    why.to_lowercase()
                )
            })?;
        scripts.push(read);
    }
    Ok(scripts)
}

pub(super) async fn run(provision: &Provision<'_>) -> Result<(), String> {
    let settings = Settings::new(&provision.connection)?;
    let scripts = scripts(provision).await?;
    let mut link = Link::connect(&settings, Some(provision.output), provision.cancel).await?;
    for script in scripts {
        let path = link.script_path();
        let command = posix([path.as_str()]);
        let ran = async {
            upload(&mut link, &path, script)
                .await
                .map_err(|why| format!("Failed to upload script: {why}"))?;
            let mut exec = link
                .exec(&format!("{command}\n"))
                .await
                .map_err(|error| format!("Error starting script: {error}"))?;
            listen(&mut exec, provision.output).await;
            ended(&exec, &command)
        };
        tokio::select! {
            outcome = ran => outcome?,
            () = provision.cancel.cancelled() => {
                return Err(format!("error executing {}: {}", quote(&command), Exit::Missing));
            }
        }
        // What the script said must not stay there; whether that works is not vital.
        if let Err(error) = link.upload(&path, Source::Bytes(b"")).await {
            tracing::debug!(%error, "the script could not be emptied");
        }
    }
    link.close().await;
    Ok(())
}

/// Puts a script there, and makes it one that can be run.
async fn upload(link: &mut Link<'_>, path: &str, mut script: Vec<u8>) -> Result<(), String> {
    if script.len() < 2 {
        return Err("Error reading script: EOF".to_owned());
    }
    if !script.starts_with(b"#!") && link.is_unix() {
        script.splice(..0, *b"#!/bin/sh\n");
    }
    link.upload(path, Source::Bytes(&script))
        .await
        .map_err(|error| error.to_string())?;
    if !link.is_unix() {
        return Ok(());
    }
    let command = posix(["chmod", "0777", path]);
    let failed = |error: &dyn std::fmt::Display, said: &str| {
        format!("Error chmodding script file to 0777 in remote machine: {error} {said}")
    };
    let mut exec = link
        .exec(&format!("{command}\n"))
        .await
        .map_err(|error: Error| failed(&error, ""))?;
    let said = parking_lot::Mutex::new(String::new());
    listen(&mut exec, &|line| {
        let mut said = said.lock();
        if said.len() < 4096 {
            said.push_str(line);
        }
    })
    .await;
    ended(&exec, &command).map_err(|error| failed(&error, &said.into_inner()))
}

/// Hands on each line until the command ends.
async fn listen(exec: &mut Exec, output: &(dyn Fn(&str) + Send + Sync)) {
    // Nobody will type anything.
    let _ = exec.end().await;
    let (mut out, mut err) = (Lines::default(), Lines::default());
    loop {
        let next = if out.has_begun() || err.has_begun() {
            match tokio::time::timeout(PATIENCE, exec.next()).await {
                Ok(next) => next,
                Err(_) => {
                    out.flush(output);
                    err.flush(output);
                    continue;
                }
            }
        } else {
            exec.next().await
        };
        match next {
            Some(Output::Out(bytes)) => out.add(&bytes, output),
            Some(Output::Err(bytes)) => err.add(&bytes, output),
            None => break,
        }
    }
    out.flush(output);
    err.flush(output);
}

fn ended(exec: &Exec, command: &str) -> Result<(), String> {
    if exec.exit().is_success() {
        Ok(())
    } else {
        Err(format!(
            "error executing {}: {}",
            quote(command),
            exec.exit()
        ))
    }
}
