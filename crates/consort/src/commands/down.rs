//! `consort down`.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};

use crate::cli::Down;
use crate::error::{Failure, Kind, Result};
use crate::output::Progress;
use crate::server::running_pid;
use crate::settings::Configuration;

/// Pods may take their whole grace to end.
const DEADLINE: Duration = Duration::from_secs(120);

/// How long a process may take to be gone once it has let go of everything.
const EXIT: Duration = Duration::from_secs(2);

/// Stops the server of a data directory and waits until it is gone.
pub(super) async fn run(configuration: &Configuration, args: &Down) -> Result<()> {
    let data_dir = configuration.data_dir(args.data_dir.as_ref());
    let progress = Progress::new(false);
    let Some(pid) = running_pid(&data_dir)? else {
        progress.finish();
        eprintln!("no server runs on {}", data_dir.display());
        return Ok(());
    };
    progress.waiting(format!(
        "stopping the server of {} (process {pid})",
        data_dir.display()
    ));
    match kill(pid, Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(Errno::EPERM) => {
            return Err(
                Failure::new(Kind::Permission, format!("may not stop process {pid}"))
                    .hint("run this as root"),
            );
        }
        Err(error) => return Err(std::io::Error::from(error).into()),
    }
    let start = Instant::now();
    while running_pid(&data_dir)? == Some(pid) {
        if start.elapsed() > DEADLINE {
            return Err(Failure::new(
                Kind::Failed,
                format!("process {pid} did not end within {} s", DEADLINE.as_secs()),
            ));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It lets go of the directory a moment before it is gone; one that nobody waits for stays a
    // zombie, and holds nothing.
    let start = Instant::now();
    while kill(pid, None) != Err(Errno::ESRCH) && start.elapsed() < EXIT {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    progress.done("stopped");
    progress.finish();
    Ok(())
}
