//! Says of each file named on standard input whether it is laid out as the formatter would lay it out: `NAME: yes`, `no`, or what is wrong.
//! With a file as argument it prints that file, laid out.

use std::io::BufRead as _;

use consort_policy::{Version, format};

fn main() -> anyhow::Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        print!(
            "{}",
            format::format(&name, &std::fs::read_to_string(&name)?, Version::V1)?
        );
        return Ok(());
    }
    for line in std::io::stdin().lock().lines() {
        let name = line?;
        let Ok(text) = std::fs::read_to_string(&name) else {
            continue;
        };
        match format::format(&name, &text, Version::V1) {
            Ok(formatted) if formatted == text => println!("{name}: yes"),
            Ok(_) => println!("{name}: no"),
            Err(error) => println!("{name}: {error}"),
        }
    }
    Ok(())
}
