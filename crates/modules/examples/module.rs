//! Runs native modules here: one invocation as JSON a line on the standard input, its report as JSON a line on the standard
//! output.
//!
//! ```text
//! echo '{"module": "stat", "arguments": {"path": "/etc"}, "settings": {}}' | cargo run --example module
//! ```

use std::io::{BufRead as _, Write as _};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let invocation: consort_modules::Invocation = serde_json::from_str(&line?)?;
        let module = consort_modules::find(&invocation.module)
            .ok_or_else(|| format!("no module `{}`", invocation.module))?;
        let report = module.run(&invocation);
        writeln!(output, "{}", serde_json::Value::Object(report))?;
    }
    Ok(())
}
