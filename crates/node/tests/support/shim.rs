//! The smallest executable that can be a shim, for tests.

fn main() {
    let mut args = std::env::args_os().skip(1);
    if args
        .next()
        .is_some_and(|arg| arg == consort_runtime::SHIM_ARGUMENT)
    {
        consort_runtime::shim_main(args);
    }
    eprintln!("this is only good as a shim");
    std::process::exit(2);
}
