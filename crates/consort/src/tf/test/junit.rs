//! Tests as a report in the XML that JUnit made common.

use std::fmt::Write as _;

use consort_hcl::Sources;
use consort_hcl::diagnostic::{self, Diagnostic, Style};
use consort_infra::testing::{FileReport, RunReport, Status};

/// The whole report.
pub(super) fn report(files: &[FileReport], sources: &Sources) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><testsuites>");
    for file in files {
        let count = |status: Status| file.runs.iter().filter(|run| run.status == status).count();
        let _ = write!(
            out,
            "\n  <testsuite name=\"{}\" tests=\"{}\" skipped=\"{}\" failures=\"{}\" errors=\"{}\">",
            escaped(&file.name),
            file.runs.len(),
            count(Status::Skip),
            count(Status::Fail),
            count(Status::Error)
        );
        for run in &file.runs {
            case(&mut out, file, run, sources);
        }
        if file.runs.is_empty() {
            out.push_str("</testsuite>");
        } else {
            out.push_str("\n  </testsuite>");
        }
    }
    if !files.is_empty() {
        out.push('\n');
    }
    out.push_str("</testsuites>");
    out
}

fn case(out: &mut String, file: &FileReport, run: &RunReport, sources: &Sources) {
    let _ = write!(
        out,
        "\n    <testcase name=\"{}\" classname=\"{}\"",
        escaped(&run.name),
        escaped(&file.name)
    );
    if let Some(started) = run.started {
        let at = jiff::Timestamp::try_from(started)
            .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .unwrap_or_default();
        let _ = write!(
            out,
            " time=\"{}\" timestamp=\"{at}\"",
            run.took.as_secs_f64()
        );
    }
    out.push('>');
    let texts = |errors: bool| -> String {
        let mut sorted = run.diagnostics.clone();
        sorted.sort(sources);
        sorted
            .iter()
            .filter(|diagnostic| diagnostic.is_error() == errors)
            .map(|diagnostic| plain(diagnostic, sources))
            .collect()
    };
    let mut inner = String::new();
    match run.status {
        Status::Skip => {
            let failed = file.runs.iter().find(|other| other.status == Status::Error);
            let (message, text) = match failed {
                Some(failed) => (
                    "Testcase skipped due to a previous testcase error",
                    format!(
                        "Previous testcase {:?} ended in error, which caused the remaining tests in the file to be skipped",
                        &*failed.name
                    ),
                ),
                None => (
                    "Testcase skipped due to an interrupt",
                    "Terraform received an interrupt and stopped gracefully. This caused all remaining testcases to be skipped".to_owned(),
                ),
            };
            element(&mut inner, "skipped", Some(message), &text);
        }
        Status::Fail => {
            let failed: Vec<&Diagnostic> = run
                .diagnostics
                .iter()
                .filter(|diagnostic| {
                    diagnostic.is_error() && diagnostic.summary == "Test assertion failed"
                })
                .collect();
            let first = failed.first().map_or("", |diagnostic| &diagnostic.detail);
            let including = if failed.len() > 1 { ", including" } else { "" };
            let message = format!(
                "{} of {} assertions failed{including}: {first}",
                failed.len(),
                run.assertions
            );
            element(&mut inner, "failure", Some(&message), &texts(true));
        }
        Status::Error => element(
            &mut inner,
            "error",
            Some("Encountered an error"),
            &texts(true),
        ),
        Status::Pass | Status::Pending => {}
    }
    let warnings = texts(false);
    if !warnings.is_empty() && run.status != Status::Skip {
        element(&mut inner, "system-err", None, &warnings);
    }
    if inner.is_empty() {
        out.push_str("</testcase>");
    } else {
        out.push_str(&inner);
        out.push_str("\n    </testcase>");
    }
}

fn element(out: &mut String, name: &str, message: Option<&str>, text: &str) {
    let message = message
        .map(|message| format!(" message=\"{}\"", escaped(message)))
        .unwrap_or_default();
    let text = text.replace("]]>", "]]]]><![CDATA[>");
    let _ = write!(out, "\n      <{name}{message}><![CDATA[{text}]]></{name}>");
}

fn plain(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let style = Style {
        boxed: false,
        color: false,
        width: 80,
    };
    diagnostic::text(diagnostic, sources, style)
}

/// As Go's `encoding/xml` does it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' => out.push_str("&#x9;"),
            '\n' => out.push_str("&#xA;"),
            '\r' => out.push_str("&#xD;"),
            letter if letter < ' ' => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}
