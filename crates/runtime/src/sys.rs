//! Thin wrappers over system calls that neither `std` nor `nix` offers. All unsafe code of the crate.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::unistd::{ForkResult, Pid};

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Forks; `Ok(None)` in the child. Only for processes with a single thread.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the callers (the shim and its children) have one thread, so the child finds every lock free.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Forks with flags for `clone3(2)`: the caller's parent as the child's parent, new namespaces.
pub(crate) fn fork_as(flags: u64) -> io::Result<Option<Pid>> {
    clone3(flags, 0)
}

/// Forks; the child is born in the cgroup (v2) of that directory.
pub(crate) fn fork_into(cgroup: BorrowedFd<'_>) -> io::Result<Option<Pid>> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    clone3(CLONE_INTO_CGROUP, cgroup.as_raw_fd() as u64)
}

fn clone3(flags: u64, cgroup: u64) -> io::Result<Option<Pid>> {
    #[repr(C)]
    #[derive(Default)]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    let exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 {
        libc::SIGCHLD as u64
    } else {
        0
    };
    let arguments = Arguments {
        flags,
        exit_signal,
        cgroup,
        ..Arguments::default()
    };
    // SAFETY: without CLONE_VM and a stack this is fork(2); the caller has one thread.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<Arguments>(),
        )
    })?;
    Ok((pid != 0).then(|| Pid::from_raw(pid as i32)))
}

/// Ends the process at once, without running destructors or exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Takes over a descriptor that this process was given by number.
pub(crate) fn adopt_fd(fd: RawFd) -> OwnedFd {
    // SAFETY: the number was set up for this process by whoever forked it, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Borrows one of the descriptors 0, 1 and 2, or another that lives as long as the process.
pub(crate) fn borrow_fd(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: used for descriptors that stay open until the process ends or executes a program.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Makes `target` refer to what `fd` refers to, surviving exec.
pub(crate) fn dup_onto(fd: RawFd, target: RawFd) -> io::Result<()> {
    // SAFETY: dup2 and fcntl take plain numbers.
    if fd == target {
        check(i64::from(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }))?;
    } else {
        check(i64::from(unsafe { libc::dup2(fd, target) }))?;
    }
    Ok(())
}

/// Duplicates `fd` to a number of at least `least`.
pub(crate) fn dup_above(fd: RawFd, least: RawFd) -> io::Result<RawFd> {
    // SAFETY: fcntl takes plain numbers.
    let fd = check(i64::from(unsafe {
        libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least)
    }))?;
    Ok(fd as RawFd)
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: RawFd) {
    // SAFETY: called in freshly forked children, which use nothing of what they inherited above `first`.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Marks every descriptor from `first` on to be closed by exec.
pub(crate) fn cloexec_from(first: RawFd) {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: takes plain numbers and closes nothing yet.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
}

/// All signals back to their defaults and none blocked, as a program expects to find them.
pub(crate) fn reset_signals() {
    // SAFETY: plain calls; restoring default actions cannot break invariants of this process, which is about to exec.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut empty: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut empty);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut());
    }
}

/// Waits for any signal, all of which are blocked, and takes it.
pub(crate) fn next_signal() -> Option<i32> {
    // SAFETY: both are plain values that outlive the call.
    let (outcome, signal) = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        let mut signal = 0;
        (libc::sigwait(&raw const all, &raw mut signal), signal)
    };
    (outcome == 0).then_some(signal)
}

/// `prctl(2)` with plain number arguments.
pub(crate) fn prctl(option: i32, a: u64, b: u64) -> io::Result<i32> {
    // SAFETY: used only with options whose arguments are numbers.
    Ok(check(i64::from(unsafe {
        libc::prctl(option, a, b, 0_u64, 0_u64)
    }))? as i32)
}

/// Sets effective, permitted and inheritable capabilities.
pub(crate) fn capset(effective: u64, permitted: u64, inheritable: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header {
        version: 0x2008_0522,
        pid: 0,
    };
    let half = |shift: u32| Sets {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let sets = [half(0), half(32)];
    // SAFETY: both structures have the layout of version 3 and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) })?;
    Ok(())
}

/// Installs a compiled filter. Unlike seccompiler's own way, without setting `no_new_privs`.
pub(crate) fn install_filter(program: &[seccompiler::sock_filter]) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const seccompiler::sock_filter,
    }
    let length =
        u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = Program {
        length,
        filter: program.as_ptr(),
    };
    // SAFETY: the program and its instructions outlive the call; the kernel copies them.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    })?;
    Ok(())
}

/// A descriptor for a process.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes plain numbers; the result is a new descriptor.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    Ok(adopt_fd(fd as RawFd))
}

/// Opens `path` below `root`, following links as if `root` were `/`.
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: i32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct How {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    const RESOLVE_NO_MAGICLINKS: u64 = 2;
    const RESOLVE_IN_ROOT: u64 = 16;
    let how = How {
        flags: (flags | libc::O_CLOEXEC) as u64,
        mode: 0,
        resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    let path = c_path(path)?;
    loop {
        // SAFETY: the path and the structure outlive the call.
        let opened = check(unsafe {
            libc::syscall(
                libc::SYS_openat2,
                root.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<How>(),
            )
        });
        match opened {
            // Somewhere something was renamed or mounted while `..` was followed: the kernel cannot vouch for the way.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => {}
            opened => return Ok(adopt_fd(opened? as RawFd)),
        }
    }
}

/// A detached copy of the mounts at `fd` and below.
pub(crate) fn clone_tree(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: u32 = 1;
    let flags = OPEN_TREE_CLONE
        | libc::O_CLOEXEC as u32
        | (libc::AT_EMPTY_PATH | libc::AT_RECURSIVE) as u32;
    // SAFETY: an empty constant path and plain numbers.
    let tree =
        check(unsafe { libc::syscall(libc::SYS_open_tree, fd.as_raw_fd(), c"".as_ptr(), flags) })?;
    Ok(adopt_fd(tree as RawFd))
}

/// Attaches a detached mount where `place` is open.
pub(crate) fn move_mount_onto(tree: BorrowedFd<'_>, place: BorrowedFd<'_>) -> io::Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
    const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
    // SAFETY: both paths are empty constants; what is meant are the descriptors.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            place.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// A change to a mount.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MountAttributes {
    /// `MOUNT_ATTR_...` to set.
    pub(crate) set: u64,
    /// `MS_PRIVATE` and its like; 0 leaves it.
    pub(crate) propagation: u64,
    /// What is mounted below changes too.
    pub(crate) recursive: bool,
}

/// Changes a mount that is open.
pub(crate) fn set_mount(tree: BorrowedFd<'_>, change: &MountAttributes) -> io::Result<()> {
    if change.set == 0 && change.propagation == 0 {
        return Ok(());
    }
    // One of the times of access replaces another.
    let times = libc::MOUNT_ATTR_NOATIME | libc::MOUNT_ATTR_STRICTATIME;
    let clear = if change.set & times == 0 {
        0
    } else {
        libc::MOUNT_ATTR__ATIME
    };
    let attributes = libc::mount_attr {
        attr_set: change.set,
        attr_clr: clear,
        propagation: change.propagation,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH
        | if change.recursive {
            libc::AT_RECURSIVE
        } else {
            0
        };
    // SAFETY: an empty constant path, and a structure that outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Who holds a record lock on `file`, if anyone does.
pub(crate) fn lock_holder(file: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    // SAFETY: flock is plain data, and valid when zeroed.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    // SAFETY: the structure outlives the call.
    check(i64::from(unsafe {
        libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock)
    }))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

/// Takes a record lock on `file` for this process (children do not inherit it).
pub(crate) fn lock(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: flock is plain data, and valid when zeroed.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    // SAFETY: the structure outlives the call.
    check(i64::from(unsafe {
        libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock)
    }))?;
    Ok(())
}

/// Sets the size of a terminal.
pub(crate) fn set_window(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the structure outlives the call.
    check(i64::from(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size)
    }))?;
    Ok(())
}

/// Unlocks the other side of a new pseudo-terminal and opens it.
pub(crate) fn open_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let zero: libc::c_int = 0;
    // SAFETY: the number outlives the call.
    check(i64::from(unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const zero)
    }))?;
    // SAFETY: TIOCGPTPEER takes open flags and gives a new descriptor.
    let fd = check(i64::from(unsafe {
        libc::ioctl(
            master.as_raw_fd(),
            libc::TIOCGPTPEER,
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        )
    }))?;
    Ok(adopt_fd(fd as RawFd))
}

/// Makes `terminal` the controlling terminal of this session.
pub(crate) fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes plain numbers.
    check(i64::from(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0)
    }))?;
    Ok(())
}

/// Sets a resource limit by its number.
pub(crate) fn set_rlimit(resource: i32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the structure outlives the call.
    check(i64::from(unsafe {
        libc::setrlimit(resource as _, &raw const limit)
    }))?;
    Ok(())
}

/// One instruction of an eBPF program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// Destination in the low four bits, source in the high ones.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// Loads a device program and attaches it to a cgroup (v2).
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: &[Instruction],
) -> io::Result<()> {
    const BPF_PROG_LOAD: i32 = 5;
    const BPF_PROG_ATTACH: i32 = 8;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let load = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the attributes and what they point to outlive the call.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const load,
            size_of::<Load>(),
        )
    })?;
    let loaded = adopt_fd(fd as RawFd);
    let attach = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: as above.
    check(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attach,
            size_of::<Attach>(),
        )
    })?;
    Ok(())
}

/// Sets the action for a signal to one that runs no code.
pub(crate) fn ignore(
    signal: nix::sys::signal::Signal,
    handler: nix::sys::signal::SigHandler,
) -> io::Result<()> {
    // SAFETY: the callers pass SigIgn or SigDfl, no handler functions.
    unsafe { nix::sys::signal::signal(signal, handler) }?;
    Ok(())
}

/// Sends a signal by its number, real-time ones included.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes plain numbers.
    check(i64::from(unsafe { libc::kill(pid, signal) }))?;
    Ok(())
}

/// Sets the NIS domain name of this UTS namespace.
pub(crate) fn set_domain_name(name: &str) -> io::Result<()> {
    // SAFETY: the bytes outlive the call.
    check(i64::from(unsafe {
        libc::setdomainname(name.as_ptr().cast(), name.len())
    }))?;
    Ok(())
}

/// Watches a descriptor from tokio's reactor.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: `OwnedFd` always gives the same number, and keeps it open until it is dropped.
    Ok(unsafe { tokio::io::unix::AsyncFd::register(fd) }?)
}
