//! The system-call filter.
//!
//! `seccompiler` turns rules into BPF; installing is ours, because its own way sets `no_new_privs`,
//! which would break set-user-id programs in containers that allow them. The default is an allow-list
//! with the system calls that Docker's and containerd's default profiles allow, by capability; what is
//! not known to it fails with ENOSYS like on an older kernel, what is known and not allowed with EPERM.
//!
//! Filters are for the native architecture: programs of another one (32-bit on x86-64) are killed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use serde::Deserialize;

use super::capabilities;
use crate::spec::Seccomp;

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;
#[cfg(target_arch = "riscv64")]
const ARCH: TargetArch = TargetArch::riscv64;

macro_rules! names {
    ($($(#[$attribute:meta])* $name:ident = $number:ident),* $(,)?) => {
        &[$($(#[$attribute])* (stringify!($name), libc::$number)),*]
    };
}

/// Allowed without conditions.
const COMMON: &[&str] = &[
    "accept",
    "accept4",
    "access",
    "adjtimex",
    "alarm",
    "arch_prctl",
    "bind",
    "brk",
    "cachestat",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "chown",
    "clock_adjtime",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "close_range",
    "connect",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fanotify_mark",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fork",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futex",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "futimesat",
    "getcpu",
    "getcwd",
    "getdents",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getitimer",
    "getpeername",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "get_robust_list",
    "getrusage",
    "getsid",
    "getsockname",
    "getsockopt",
    "get_thread_area",
    "gettid",
    "gettimeofday",
    "getuid",
    "getxattr",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "io_cancel",
    "ioctl",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "ioprio_get",
    "ioprio_set",
    "io_setup",
    "io_submit",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listen",
    "listxattr",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "modify_ldt",
    "mprotect",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "mremap",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "name_to_handle_at",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "pipe",
    "pipe2",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "preadv",
    "preadv2",
    "prlimit64",
    "process_mrelease",
    "process_vm_readv",
    "process_vm_writev",
    "pselect6",
    "ptrace",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "remap_file_pages",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "restart_syscall",
    "riscv_flush_icache",
    "rmdir",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "select",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setitimer",
    "setpgid",
    "setpriority",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "set_robust_list",
    "setsid",
    "setsockopt",
    "set_thread_area",
    "set_tid_address",
    "setuid",
    "setxattr",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "socketpair",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "sysinfo",
    "tee",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "times",
    "tkill",
    "truncate",
    "umask",
    "uname",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "vfork",
    "vmsplice",
    "wait4",
    "waitid",
    "write",
    "writev",
];

/// Allowed with a capability.
const BY_CAPABILITY: &[(&str, &[&str])] = &[
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    (
        "SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount2",
            "unshare",
        ],
    ),
    ("SYS_BOOT", &["reboot"]),
    ("SYS_CHROOT", &["chroot"]),
    (
        "SYS_MODULE",
        &["delete_module", "init_module", "finit_module"],
    ),
    ("SYS_PACCT", &["acct"]),
    ("SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("SYS_RAWIO", &["iopl", "ioperm"]),
    ("SYS_TIME", &["settimeofday", "clock_settime"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
    (
        "SYS_NICE",
        &[
            "get_mempolicy",
            "mbind",
            "set_mempolicy",
            "set_mempolicy_home_node",
        ],
    ),
    ("SYSLOG", &["syslog"]),
    ("BPF", &["bpf"]),
    ("PERFMON", &["perf_event_open"]),
];

/// System calls by name, as far as a profile may name them.
const NUMBERS: &[(&str, i64)] = names![
    accept = SYS_accept,
    accept4 = SYS_accept4,
    acct = SYS_acct,
    add_key = SYS_add_key,
    adjtimex = SYS_adjtimex,
    bind = SYS_bind,
    bpf = SYS_bpf,
    brk = SYS_brk,
    capget = SYS_capget,
    capset = SYS_capset,
    chdir = SYS_chdir,
    chroot = SYS_chroot,
    clock_adjtime = SYS_clock_adjtime,
    clock_getres = SYS_clock_getres,
    clock_gettime = SYS_clock_gettime,
    clock_nanosleep = SYS_clock_nanosleep,
    clock_settime = SYS_clock_settime,
    clone = SYS_clone,
    clone3 = SYS_clone3,
    close = SYS_close,
    close_range = SYS_close_range,
    connect = SYS_connect,
    copy_file_range = SYS_copy_file_range,
    delete_module = SYS_delete_module,
    dup = SYS_dup,
    dup3 = SYS_dup3,
    epoll_create1 = SYS_epoll_create1,
    epoll_ctl = SYS_epoll_ctl,
    epoll_pwait = SYS_epoll_pwait,
    epoll_pwait2 = SYS_epoll_pwait2,
    eventfd2 = SYS_eventfd2,
    execve = SYS_execve,
    execveat = SYS_execveat,
    exit = SYS_exit,
    exit_group = SYS_exit_group,
    faccessat = SYS_faccessat,
    faccessat2 = SYS_faccessat2,
    fadvise64 = SYS_fadvise64,
    fallocate = SYS_fallocate,
    fanotify_init = SYS_fanotify_init,
    fanotify_mark = SYS_fanotify_mark,
    fchdir = SYS_fchdir,
    fchmod = SYS_fchmod,
    fchmodat = SYS_fchmodat,
    fchown = SYS_fchown,
    fchownat = SYS_fchownat,
    fcntl = SYS_fcntl,
    fdatasync = SYS_fdatasync,
    fgetxattr = SYS_fgetxattr,
    finit_module = SYS_finit_module,
    flistxattr = SYS_flistxattr,
    flock = SYS_flock,
    fremovexattr = SYS_fremovexattr,
    fsconfig = SYS_fsconfig,
    fsetxattr = SYS_fsetxattr,
    fsmount = SYS_fsmount,
    fsopen = SYS_fsopen,
    fspick = SYS_fspick,
    fstat = SYS_fstat,
    fstatfs = SYS_fstatfs,
    fsync = SYS_fsync,
    ftruncate = SYS_ftruncate,
    futex = SYS_futex,
    futex_waitv = SYS_futex_waitv,
    get_mempolicy = SYS_get_mempolicy,
    get_robust_list = SYS_get_robust_list,
    getcpu = SYS_getcpu,
    getcwd = SYS_getcwd,
    getdents64 = SYS_getdents64,
    getegid = SYS_getegid,
    geteuid = SYS_geteuid,
    getgid = SYS_getgid,
    getgroups = SYS_getgroups,
    getitimer = SYS_getitimer,
    getpeername = SYS_getpeername,
    getpgid = SYS_getpgid,
    getpid = SYS_getpid,
    getppid = SYS_getppid,
    getpriority = SYS_getpriority,
    getrandom = SYS_getrandom,
    getresgid = SYS_getresgid,
    getresuid = SYS_getresuid,
    getrusage = SYS_getrusage,
    getsid = SYS_getsid,
    getsockname = SYS_getsockname,
    getsockopt = SYS_getsockopt,
    gettid = SYS_gettid,
    gettimeofday = SYS_gettimeofday,
    getuid = SYS_getuid,
    getxattr = SYS_getxattr,
    init_module = SYS_init_module,
    inotify_add_watch = SYS_inotify_add_watch,
    inotify_init1 = SYS_inotify_init1,
    inotify_rm_watch = SYS_inotify_rm_watch,
    io_cancel = SYS_io_cancel,
    io_destroy = SYS_io_destroy,
    io_getevents = SYS_io_getevents,
    io_setup = SYS_io_setup,
    io_submit = SYS_io_submit,
    io_uring_enter = SYS_io_uring_enter,
    io_uring_register = SYS_io_uring_register,
    io_uring_setup = SYS_io_uring_setup,
    ioctl = SYS_ioctl,
    ioprio_get = SYS_ioprio_get,
    ioprio_set = SYS_ioprio_set,
    kcmp = SYS_kcmp,
    kexec_load = SYS_kexec_load,
    keyctl = SYS_keyctl,
    kill = SYS_kill,
    landlock_add_rule = SYS_landlock_add_rule,
    landlock_create_ruleset = SYS_landlock_create_ruleset,
    landlock_restrict_self = SYS_landlock_restrict_self,
    lgetxattr = SYS_lgetxattr,
    linkat = SYS_linkat,
    listen = SYS_listen,
    listxattr = SYS_listxattr,
    llistxattr = SYS_llistxattr,
    lookup_dcookie = SYS_lookup_dcookie,
    lremovexattr = SYS_lremovexattr,
    lseek = SYS_lseek,
    lsetxattr = SYS_lsetxattr,
    madvise = SYS_madvise,
    mbind = SYS_mbind,
    membarrier = SYS_membarrier,
    memfd_create = SYS_memfd_create,
    memfd_secret = SYS_memfd_secret,
    migrate_pages = SYS_migrate_pages,
    mincore = SYS_mincore,
    mkdirat = SYS_mkdirat,
    mknodat = SYS_mknodat,
    mlock = SYS_mlock,
    mlock2 = SYS_mlock2,
    mlockall = SYS_mlockall,
    mmap = SYS_mmap,
    mount = SYS_mount,
    mount_setattr = SYS_mount_setattr,
    move_mount = SYS_move_mount,
    move_pages = SYS_move_pages,
    mprotect = SYS_mprotect,
    mq_getsetattr = SYS_mq_getsetattr,
    mq_notify = SYS_mq_notify,
    mq_open = SYS_mq_open,
    mq_timedreceive = SYS_mq_timedreceive,
    mq_timedsend = SYS_mq_timedsend,
    mq_unlink = SYS_mq_unlink,
    mremap = SYS_mremap,
    msgctl = SYS_msgctl,
    msgget = SYS_msgget,
    msgrcv = SYS_msgrcv,
    msgsnd = SYS_msgsnd,
    msync = SYS_msync,
    munlock = SYS_munlock,
    munlockall = SYS_munlockall,
    munmap = SYS_munmap,
    name_to_handle_at = SYS_name_to_handle_at,
    nanosleep = SYS_nanosleep,
    newfstatat = SYS_newfstatat,
    nfsservctl = SYS_nfsservctl,
    open_by_handle_at = SYS_open_by_handle_at,
    open_tree = SYS_open_tree,
    openat = SYS_openat,
    openat2 = SYS_openat2,
    perf_event_open = SYS_perf_event_open,
    personality = SYS_personality,
    pidfd_getfd = SYS_pidfd_getfd,
    pidfd_open = SYS_pidfd_open,
    pidfd_send_signal = SYS_pidfd_send_signal,
    pipe2 = SYS_pipe2,
    pivot_root = SYS_pivot_root,
    pkey_alloc = SYS_pkey_alloc,
    pkey_free = SYS_pkey_free,
    pkey_mprotect = SYS_pkey_mprotect,
    ppoll = SYS_ppoll,
    prctl = SYS_prctl,
    pread64 = SYS_pread64,
    preadv = SYS_preadv,
    preadv2 = SYS_preadv2,
    prlimit64 = SYS_prlimit64,
    process_madvise = SYS_process_madvise,
    process_mrelease = SYS_process_mrelease,
    process_vm_readv = SYS_process_vm_readv,
    process_vm_writev = SYS_process_vm_writev,
    pselect6 = SYS_pselect6,
    ptrace = SYS_ptrace,
    pwrite64 = SYS_pwrite64,
    pwritev = SYS_pwritev,
    pwritev2 = SYS_pwritev2,
    quotactl = SYS_quotactl,
    quotactl_fd = SYS_quotactl_fd,
    read = SYS_read,
    readahead = SYS_readahead,
    readlinkat = SYS_readlinkat,
    readv = SYS_readv,
    reboot = SYS_reboot,
    recvfrom = SYS_recvfrom,
    recvmmsg = SYS_recvmmsg,
    recvmsg = SYS_recvmsg,
    remap_file_pages = SYS_remap_file_pages,
    removexattr = SYS_removexattr,
    renameat2 = SYS_renameat2,
    request_key = SYS_request_key,
    restart_syscall = SYS_restart_syscall,
    rseq = SYS_rseq,
    rt_sigaction = SYS_rt_sigaction,
    rt_sigpending = SYS_rt_sigpending,
    rt_sigprocmask = SYS_rt_sigprocmask,
    rt_sigqueueinfo = SYS_rt_sigqueueinfo,
    rt_sigreturn = SYS_rt_sigreturn,
    rt_sigsuspend = SYS_rt_sigsuspend,
    rt_sigtimedwait = SYS_rt_sigtimedwait,
    rt_tgsigqueueinfo = SYS_rt_tgsigqueueinfo,
    sched_get_priority_max = SYS_sched_get_priority_max,
    sched_get_priority_min = SYS_sched_get_priority_min,
    sched_getaffinity = SYS_sched_getaffinity,
    sched_getattr = SYS_sched_getattr,
    sched_getparam = SYS_sched_getparam,
    sched_getscheduler = SYS_sched_getscheduler,
    sched_rr_get_interval = SYS_sched_rr_get_interval,
    sched_setaffinity = SYS_sched_setaffinity,
    sched_setattr = SYS_sched_setattr,
    sched_setparam = SYS_sched_setparam,
    sched_setscheduler = SYS_sched_setscheduler,
    sched_yield = SYS_sched_yield,
    seccomp = SYS_seccomp,
    semctl = SYS_semctl,
    semget = SYS_semget,
    semop = SYS_semop,
    semtimedop = SYS_semtimedop,
    sendfile = SYS_sendfile,
    sendmmsg = SYS_sendmmsg,
    sendmsg = SYS_sendmsg,
    sendto = SYS_sendto,
    set_mempolicy = SYS_set_mempolicy,
    set_mempolicy_home_node = SYS_set_mempolicy_home_node,
    set_robust_list = SYS_set_robust_list,
    set_tid_address = SYS_set_tid_address,
    setdomainname = SYS_setdomainname,
    setfsgid = SYS_setfsgid,
    setfsuid = SYS_setfsuid,
    setgid = SYS_setgid,
    setgroups = SYS_setgroups,
    sethostname = SYS_sethostname,
    setitimer = SYS_setitimer,
    setns = SYS_setns,
    setpgid = SYS_setpgid,
    setpriority = SYS_setpriority,
    setregid = SYS_setregid,
    setresgid = SYS_setresgid,
    setresuid = SYS_setresuid,
    setreuid = SYS_setreuid,
    setsid = SYS_setsid,
    setsockopt = SYS_setsockopt,
    settimeofday = SYS_settimeofday,
    setuid = SYS_setuid,
    setxattr = SYS_setxattr,
    shmat = SYS_shmat,
    shmctl = SYS_shmctl,
    shmdt = SYS_shmdt,
    shmget = SYS_shmget,
    shutdown = SYS_shutdown,
    sigaltstack = SYS_sigaltstack,
    signalfd4 = SYS_signalfd4,
    socket = SYS_socket,
    socketpair = SYS_socketpair,
    splice = SYS_splice,
    statfs = SYS_statfs,
    statx = SYS_statx,
    swapoff = SYS_swapoff,
    swapon = SYS_swapon,
    symlinkat = SYS_symlinkat,
    sync = SYS_sync,
    syncfs = SYS_syncfs,
    sysinfo = SYS_sysinfo,
    syslog = SYS_syslog,
    tee = SYS_tee,
    tgkill = SYS_tgkill,
    timer_create = SYS_timer_create,
    timer_delete = SYS_timer_delete,
    timer_getoverrun = SYS_timer_getoverrun,
    timer_gettime = SYS_timer_gettime,
    timer_settime = SYS_timer_settime,
    timerfd_create = SYS_timerfd_create,
    timerfd_gettime = SYS_timerfd_gettime,
    timerfd_settime = SYS_timerfd_settime,
    times = SYS_times,
    tkill = SYS_tkill,
    truncate = SYS_truncate,
    umask = SYS_umask,
    umount2 = SYS_umount2,
    uname = SYS_uname,
    unlinkat = SYS_unlinkat,
    unshare = SYS_unshare,
    userfaultfd = SYS_userfaultfd,
    utimensat = SYS_utimensat,
    vhangup = SYS_vhangup,
    vmsplice = SYS_vmsplice,
    wait4 = SYS_wait4,
    waitid = SYS_waitid,
    write = SYS_write,
    writev = SYS_writev,
    #[cfg(target_arch = "x86_64")]
    _sysctl = SYS__sysctl,
    #[cfg(target_arch = "x86_64")]
    access = SYS_access,
    #[cfg(target_arch = "x86_64")]
    afs_syscall = SYS_afs_syscall,
    #[cfg(target_arch = "x86_64")]
    alarm = SYS_alarm,
    #[cfg(target_arch = "x86_64")]
    arch_prctl = SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    chmod = SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    chown = SYS_chown,
    #[cfg(target_arch = "x86_64")]
    creat = SYS_creat,
    #[cfg(target_arch = "x86_64")]
    dup2 = SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    epoll_create = SYS_epoll_create,
    #[cfg(target_arch = "x86_64")]
    epoll_ctl_old = SYS_epoll_ctl_old,
    #[cfg(target_arch = "x86_64")]
    epoll_wait = SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    epoll_wait_old = SYS_epoll_wait_old,
    #[cfg(target_arch = "x86_64")]
    eventfd = SYS_eventfd,
    #[cfg(target_arch = "x86_64")]
    fchmodat2 = SYS_fchmodat2,
    #[cfg(target_arch = "x86_64")]
    fork = SYS_fork,
    #[cfg(target_arch = "x86_64")]
    futimesat = SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    get_thread_area = SYS_get_thread_area,
    #[cfg(target_arch = "x86_64")]
    getdents = SYS_getdents,
    #[cfg(target_arch = "x86_64")]
    getpgrp = SYS_getpgrp,
    #[cfg(target_arch = "x86_64")]
    getpmsg = SYS_getpmsg,
    #[cfg(target_arch = "x86_64")]
    getrlimit = SYS_getrlimit,
    #[cfg(target_arch = "x86_64")]
    inotify_init = SYS_inotify_init,
    #[cfg(target_arch = "x86_64")]
    ioperm = SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    iopl = SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    kexec_file_load = SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    lchown = SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    link = SYS_link,
    #[cfg(target_arch = "x86_64")]
    lstat = SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    mkdir = SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    mknod = SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    modify_ldt = SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    mseal = SYS_mseal,
    #[cfg(target_arch = "x86_64")]
    open = SYS_open,
    #[cfg(target_arch = "x86_64")]
    pause = SYS_pause,
    #[cfg(target_arch = "x86_64")]
    pipe = SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    poll = SYS_poll,
    #[cfg(target_arch = "x86_64")]
    putpmsg = SYS_putpmsg,
    #[cfg(target_arch = "x86_64")]
    readlink = SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    rename = SYS_rename,
    #[cfg(target_arch = "x86_64")]
    renameat = SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    rmdir = SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    security = SYS_security,
    #[cfg(target_arch = "x86_64")]
    select = SYS_select,
    #[cfg(target_arch = "x86_64")]
    set_thread_area = SYS_set_thread_area,
    #[cfg(target_arch = "x86_64")]
    setrlimit = SYS_setrlimit,
    #[cfg(target_arch = "x86_64")]
    signalfd = SYS_signalfd,
    #[cfg(target_arch = "x86_64")]
    stat = SYS_stat,
    #[cfg(target_arch = "x86_64")]
    symlink = SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    sync_file_range = SYS_sync_file_range,
    #[cfg(target_arch = "x86_64")]
    sysfs = SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    time = SYS_time,
    #[cfg(target_arch = "x86_64")]
    tuxcall = SYS_tuxcall,
    #[cfg(target_arch = "x86_64")]
    unlink = SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    uselib = SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    ustat = SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    utime = SYS_utime,
    #[cfg(target_arch = "x86_64")]
    utimes = SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    vfork = SYS_vfork,
    #[cfg(target_arch = "x86_64")]
    vserver = SYS_vserver,
];

/// Numbers from here on are unknown to the list: a kernel newer than it.
const FIRST_UNKNOWN: u32 = 463;

/// Those that the `libc` crate does not name yet; they have one number on every architecture.
const NEWER: &[(&str, i64)] = &[
    ("cachestat", 451),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    #[cfg(target_arch = "x86_64")]
    ("io_pgetevents", 333),
    #[cfg(not(target_arch = "x86_64"))]
    ("io_pgetevents", 292),
    #[cfg(target_arch = "riscv64")]
    ("riscv_flush_icache", 259),
];

fn number(name: &str) -> Option<i64> {
    NUMBERS
        .iter()
        .chain(NEWER)
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

/// Compiled filters, in the order of installation. Empty is unconfined.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters(Vec<BpfProgram>);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

impl Filters {
    pub(crate) fn load(profile: &Seccomp, capabilities: u64) -> Result<Self, String> {
        match profile {
            Seccomp::Unconfined => Ok(Self::default()),
            Seccomp::Default => Self::default_list(capabilities),
            Seccomp::Path(path) => Self::read(path, capabilities),
        }
    }

    /// Installs them for this process and what it executes.
    pub(crate) fn install(&self) -> io::Result<()> {
        self.0
            .iter()
            .try_for_each(|program| crate::sys::install_filter(program))
    }

    fn default_list(set: u64) -> Result<Self, String> {
        let mut rules = Rules::new();
        for name in COMMON {
            if let Some(number) = number(name) {
                rules.insert(number, Vec::new());
            }
        }
        // No new namespaces without CAP_SYS_ADMIN, and no virtual-machine sockets.
        let namespaces = 0x7e02_0000;
        let when = |argument, op, value| -> Result<SeccompRule, String> {
            let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, op, value)
                .map_err(show)?;
            SeccompRule::new(vec![condition]).map_err(show)
        };
        rules.insert(
            libc::SYS_clone,
            vec![when(0, SeccompCmpOp::MaskedEq(namespaces), 0)?],
        );
        rules.insert(
            libc::SYS_socket,
            vec![when(0, SeccompCmpOp::Ne, libc::AF_VSOCK as u64)?],
        );
        let personalities = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
        let personalities = personalities.map(|value| when(0, SeccompCmpOp::Eq, value));
        rules.insert(
            libc::SYS_personality,
            personalities.into_iter().collect::<Result<_, _>>()?,
        );
        for (capability, names) in BY_CAPABILITY {
            if capabilities::has(set, capability) {
                for number in names.iter().filter_map(|name| number(name)) {
                    rules.insert(number, Vec::new());
                }
            }
        }
        let mut list = not_there(!capabilities::has(set, "SYS_ADMIN"));
        list.extend(compile(
            rules,
            SeccompAction::Errno(libc::EPERM as u32),
            SeccompAction::Allow,
        )?);
        Ok(Self(vec![list]))
    }

    /// A profile in Docker's JSON form: one compiled filter for what is let through or answered by the
    /// default, and one more for each other action.
    fn read(path: &Path, set: u64) -> Result<Self, String> {
        let text = std::fs::read(path)
            .map_err(|error| format!("reading seccomp profile {}: {error}", path.display()))?;
        let profile: Profile = serde_json::from_slice(&text)
            .map_err(|error| format!("parsing seccomp profile {}: {error}", path.display()))?;
        let default = action(&profile.default_action, profile.default_errno_ret)
            .map_err(|error| format!("seccomp profile {}: {error}", path.display()))?;
        let mut by_action: Vec<(SeccompAction, Rules)> = Vec::new();
        let mut not_default = Rules::new();
        for group in &profile.syscalls {
            if !group.applies(set) {
                continue;
            }
            let wanted = action(&group.action, group.errno_ret)
                .map_err(|error| format!("seccomp profile {}: {error}", path.display()))?;
            if wanted == default {
                continue;
            }
            for number in group
                .names
                .iter()
                .chain(&group.name)
                .filter_map(|name| number(name))
            {
                let rule = group.rule()?;
                add(&mut not_default, number, rule.clone());
                if wanted != SeccompAction::Allow {
                    match by_action.iter_mut().find(|(known, _)| *known == wanted) {
                        Some((_, rules)) => add(rules, number, rule),
                        None => {
                            let mut rules = Rules::new();
                            add(&mut rules, number, rule);
                            by_action.push((wanted.clone(), rules));
                        }
                    }
                }
            }
        }
        let mut programs = Vec::new();
        if default != SeccompAction::Allow {
            programs.push(compile(not_default, default, SeccompAction::Allow)?);
        }
        for (wanted, rules) in by_action {
            programs.push(compile(rules, SeccompAction::Allow, wanted)?);
        }
        Ok(Self(programs))
    }
}

/// Adds a way to match; once a call matches without conditions it stays so.
fn add(rules: &mut Rules, number: i64, rule: Option<SeccompRule>) {
    match (rules.get_mut(&number), rule) {
        (None, rule) => {
            rules.insert(number, rule.into_iter().collect());
        }
        (Some(known), Some(rule)) if !known.is_empty() => known.push(rule),
        (Some(known), None) => known.clear(),
        (Some(_), Some(_)) => {}
    }
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, String> {
    let filter = SeccompFilter::new(rules, otherwise, matched, ARCH).map_err(show)?;
    BpfProgram::try_from(filter).map_err(show)
}

fn show(error: impl std::fmt::Display) -> String {
    format!("building the system-call filter: {error}")
}

/// How the list begins: ENOSYS for what is unknown to it, and for `clone3`, whose flags cannot be looked at, so
/// that libraries fall back to `clone`. The rest, with its check of the architecture, follows.
fn not_there(clone3: bool) -> BpfProgram {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let op = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let refuse = 0x0005_0000 | libc::ENOSYS as u32;
    let clone3 = if clone3 {
        libc::SYS_clone3 as u32
    } else {
        u32::MAX
    };
    vec![
        op(LOAD, 0, 0, 0),
        op(EQUAL, 1, 0, clone3),
        op(AT_LEAST, 0, 1, FIRST_UNKNOWN),
        op(RETURN, 0, 0, refuse),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Default, Deserialize)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

impl Condition {
    fn holds(&self, set: u64, empty: bool) -> bool {
        let native = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        if self.caps.is_empty() && self.arches.is_empty() {
            return empty;
        }
        (self.caps.is_empty() || self.caps.iter().any(|name| capabilities::has(set, name)))
            && (self.arches.is_empty() || self.arches.iter().any(|arch| arch == native))
    }
}

impl Group {
    fn applies(&self, set: u64) -> bool {
        self.includes.holds(set, true) && !self.excludes.holds(set, false)
    }

    fn rule(&self) -> Result<Option<SeccompRule>, String> {
        let arguments = self.args.as_deref().unwrap_or_default();
        if arguments.is_empty() {
            return Ok(None);
        }
        let conditions = arguments.iter().map(|argument| {
            let (op, value) = match argument.op.as_str() {
                "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, argument.value),
                "SCMP_CMP_NE" => (SeccompCmpOp::Ne, argument.value),
                "SCMP_CMP_LT" => (SeccompCmpOp::Lt, argument.value),
                "SCMP_CMP_LE" => (SeccompCmpOp::Le, argument.value),
                "SCMP_CMP_GT" => (SeccompCmpOp::Gt, argument.value),
                "SCMP_CMP_GE" => (SeccompCmpOp::Ge, argument.value),
                "SCMP_CMP_MASKED_EQ" => {
                    (SeccompCmpOp::MaskedEq(argument.value), argument.value_two)
                }
                other => return Err(format!("unknown comparison {other:?} in a seccomp profile")),
            };
            SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, op, value).map_err(show)
        });
        SeccompRule::new(conditions.collect::<Result<_, _>>()?)
            .map(Some)
            .map_err(show)
    }
}

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno.unwrap_or(libc::EPERM as u32)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_TRACE" => SeccompAction::Trace(errno.unwrap_or(libc::EPERM as u32)),
        other => return Err(format!("unknown action {other:?}")),
    })
}
