//! Keeping programs away from the user's terminal.
//!
//! A program that asks something there (`ssh` whether a key is right, `git` for a password) would stop for ever, as it is not
//! in the terminal's foreground. In a session of its own it finds no terminal, and says so at once.

use std::path::PathBuf;
use std::sync::LazyLock;

/// The program `setsid`, if this process has a terminal that what it starts would find.
///
/// It gives the program it is followed by a session of its own. Started as the leader of no group of processes, it keeps its
/// id, which then is that of the group.
pub fn session_program() -> Option<&'static PathBuf> {
    static PROGRAM: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let terminal = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/tty");
        terminal.ok()?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/bin", "/bin"].map(PathBuf::from))
            .map(|directory| directory.join("setsid"))
            .find(|program| program.is_file())
    });
    PROGRAM.as_ref()
}
