//! What a program that runs says.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Finished;
use crate::python_re;

pub(super) fn read_until_end(
    child: &mut Child,
    prompt: Option<&python_re::Pattern>,
) -> std::io::Result<Finished> {
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    for pipe in [
        stdout.as_ref().map(|pipe| pipe.as_fd()),
        stderr.as_ref().map(|pipe| pipe.as_fd()),
    ]
    .into_iter()
    .flatten()
    {
        let flags = OFlag::from_bits_truncate(fcntl(pipe, FcntlArg::F_GETFL)?);
        fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    let mut finished = Finished::default();
    while stdout.is_some() || stderr.is_some() {
        let ready = wait_for_output([
            stdout.as_ref().map(|pipe| pipe.as_fd()),
            stderr.as_ref().map(|pipe| pipe.as_fd()),
        ])?;
        let mut said_more = false;
        if ready[0]
            && let Some(pipe) = &mut stdout
        {
            let before = finished.stdout.len();
            if take(pipe, &mut finished.stdout)? {
                stdout = None;
            }
            said_more = finished.stdout.len() > before;
        }
        if ready[1]
            && let Some(pipe) = &mut stderr
            && take(pipe, &mut finished.stderr)?
        {
            stderr = None;
        }
        if said_more
            && let Some(prompt) = prompt
            && prompt
                .search(&finished.out(), 0)
                .is_ok_and(|found| found.is_some())
        {
            let _ = child.kill();
            let _ = child.wait();
            finished.code = 257;
            finished.stderr =
                b"A prompt was encountered while running a command, but no input data was specified"
                    .to_vec();
            return Ok(finished);
        }
        // Something that still runs in the background may hold the pipes; what it says later is not waited for.
        if ready == [false, false]
            && let Some(status) = child.try_wait()?
        {
            finished.code = code_of(status);
            return Ok(finished);
        }
    }
    finished.code = code_of(child.wait()?);
    Ok(finished)
}

fn code_of(status: std::process::ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| -signal))
        .unwrap_or(-1)
}

/// Waits at most a second for output of either pipe.
fn wait_for_output(pipes: [Option<BorrowedFd<'_>>; 2]) -> std::io::Result<[bool; 2]> {
    let mut waiting = Vec::with_capacity(2);
    let mut places = Vec::with_capacity(2);
    for (place, pipe) in pipes.into_iter().enumerate() {
        if let Some(pipe) = pipe {
            waiting.push(PollFd::new(pipe, PollFlags::POLLIN));
            places.push(place);
        }
    }
    match poll(&mut waiting, PollTimeout::from(1000_u16)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = [false, false];
    for (place, polled) in places.into_iter().zip(&waiting) {
        ready[place] = polled.any().unwrap_or(false);
    }
    Ok(ready)
}

/// Takes what is there. True at the end.
fn take(pipe: &mut impl std::io::Read, into: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut chunk = vec![0; 32 * 1024];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(true),
            Ok(length) => into.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
