//! The program that runs native modules on another machine or as another user.

fn main() -> std::process::ExitCode {
    // One invocation as JSON on the standard input, its report on the standard output.
    let invocation: consort_modules::Invocation = match serde_json::from_reader(std::io::stdin()) {
        Ok(invocation) => invocation,
        Err(error) => {
            eprintln!("consort-play-helper: no invocation: {error}");
            return std::process::ExitCode::from(2);
        }
    };
    let Some(module) = consort_modules::find(&invocation.module) else {
        eprintln!("consort-play-helper: no module `{}`", invocation.module);
        return std::process::ExitCode::from(3);
    };
    let report = module.run(&invocation);
    println!("{}", serde_json::Value::Object(report));
    std::process::ExitCode::SUCCESS
}
