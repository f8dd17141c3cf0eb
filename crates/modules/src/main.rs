//! The program that runs native modules on another machine or as another user.

use std::ffi::OsString;
use std::process::ExitCode;

use consort_modules::protocol::{self, Program};

fn main() -> ExitCode {
    if let Some(told) = protocol::asked() {
        return told;
    }
    if cfg!(any(static_helper, target_feature = "crt-static")) {
        protocol::keep_apart();
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match Program::this(false) {
        Ok(program) => protocol::main(&arguments, &program),
        Err(error) => {
            eprintln!("consort-play-helper: which program is it? {error}");
            ExitCode::FAILURE
        }
    }
}
