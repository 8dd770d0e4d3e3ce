//! The processes that a trial starts, and the page that they share with it.
//!
//! A trial is a process with a single thread, or with others that do no more than send, so it may fork as it likes, and its
//! children may do whatever a process may.

#![allow(unsafe_code)] // fork, signals, waiting, and a page shared with children

use std::ffi::c_int;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{abort, id};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::yield_now;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this code.
    Exited(c_int),
    /// By this signal.
    Killed(c_int),
}

/// What `waitpid` tells about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Stopped by this signal; its bit 7 marks a system call of a traced process.
    Stopped(c_int),
    Ended(Ended),
}

/// A child of this process; killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    pid: libc::pid_t,
    ended: Option<Ended>,
}

impl Child {
    /// Starts a child that inherits no descriptor but the standard ones, hence no part of a channel: it has to attach as
    /// any stranger. It ends when `body` returns, without running any destructor of the parent's.
    pub(crate) fn start(body: impl FnOnce()) -> Self {
        Self::inheriting(|| {
            // SAFETY: closes descriptors that nobody in this process uses: what owns them is never dropped here.
            unsafe { libc::close_range(3, u32::MAX, 0) };
            body();
        })
    }

    /// Starts a child that inherits everything that `fork` lets it inherit.
    pub(crate) fn inheriting(body: impl FnOnce()) -> Self {
        let parent = id();
        // SAFETY: the child finds no lock held by a thread that it does not have: this process has one thread, or others
        // which only send (and the allocator's locks are taken by `fork` itself).
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
        if pid == 0 {
            live(parent, body);
        }
        Self { pid, ended: None }
    }

    /// An orphan that this process inherited.
    pub(crate) fn adopted(pid: u32) -> Self {
        Self { pid: pid as libc::pid_t, ended: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid as u32
    }

    pub(crate) fn signal(&self, signal: c_int) {
        assert!(self.ended.is_none(), "its pid may be somebody else's by now");
        signal_process(self.pid(), signal);
    }

    /// Kills it and reaps it: afterwards the kernel has released everything that was its own.
    pub(crate) fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        while !matches!(self.next_change(), Change::Ended(_)) {}
    }

    /// Waits for the next stop or for the end.
    pub(crate) fn next_change(&mut self) -> Change {
        let mut status = 0;
        // SAFETY: `status` is writable; `__WALL` and `WUNTRACED` are flags of this call.
        let pid = unsafe { libc::waitpid(self.pid, &mut status, libc::__WALL | libc::WUNTRACED) };
        assert_eq!(pid, self.pid, "waitpid: {}", io::Error::last_os_error());
        if libc::WIFSTOPPED(status) {
            return Change::Stopped(libc::WSTOPSIG(status));
        }
        let ended = if libc::WIFSIGNALED(status) {
            Ended::Killed(libc::WTERMSIG(status))
        } else {
            Ended::Exited(libc::WEXITSTATUS(status))
        };
        self.ended = Some(ended);
        Change::Ended(ended)
    }

    /// Stops it, and returns when it has stopped.
    pub(crate) fn stop(&mut self) {
        self.signal(libc::SIGSTOP);
        assert_eq!(self.next_change(), Change::Stopped(libc::SIGSTOP));
    }

    /// Waits for its end, letting it go on from every stop.
    pub(crate) fn finish(&mut self) -> Ended {
        loop {
            if let Some(ended) = self.ended {
                return ended;
            }
            if let Change::Stopped(_) = self.next_change() {
                self.signal(libc::SIGCONT);
            }
        }
    }

    /// Waits for its end and requires that it was content.
    pub(crate) fn succeed(&mut self, who: &str) -> Result<(), String> {
        match self.finish() {
            Ended::Exited(0) => Ok(()),
            ended => Err(format!("{who}: {ended:?}")),
        }
    }

    /// Waits until it has ended, and leaves it a zombie.
    pub(crate) fn await_zombie(&self) {
        // SAFETY: a struct of integers, for which zero is a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: `info` is writable, and the child is ours.
        let result = unsafe { libc::waitid(libc::P_PID, self.pid(), &mut info, flags) };
        assert_eq!(result, 0, "waitid: {}", io::Error::last_os_error());
        assert_eq!(self.state(), Some('Z'));
    }

    /// Waits until it sleeps in the system call of that number.
    pub(crate) fn await_sleep(&self, call: i64) {
        await_sleep_of(self.pid(), call);
    }

    /// The letter that the kernel gives for its state; `None` once it is reaped.
    pub(crate) fn state(&self) -> Option<char> {
        state_of(self.pid())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
        }
    }
}

/// Waits until a process sleeps in the system call of that number.
pub(crate) fn await_sleep_of(pid: u32, call: i64) {
    let asleep = format!("{call} ");
    let path = format!("/proc/{pid}/syscall");
    while !(state_of(pid) == Some('S') && std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with(&asleep))) {
        assert!(![Some('Z'), None].contains(&state_of(pid)), "it ended instead of going to sleep");
        yield_now();
    }
}

/// The letter that the kernel gives for a process's state; `None` if there is none of that pid.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the program's name, which may hold any character.
    stat[stat.rfind(')')? + 2..].chars().next()
}

/// Sends a signal to a process that is known to exist.
pub(crate) fn signal_process(pid: u32, signal: c_int) {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::kill(pid as libc::pid_t, signal) };
    assert_eq!(result, 0, "kill: {}", io::Error::last_os_error());
}

fn live(parent: u32, body: impl FnOnce()) -> ! {
    die_with(parent);
    leave_no_core();
    let code = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(()) => 0,
        Err(_) => 101,
    };
    exit_now(code)
}

/// Has this process killed when `parent` dies, so that no trial leaves anybody behind.
pub(crate) fn die_with(parent: u32) {
    // SAFETY: sets an attribute of this process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // The parent may have died before that; and a parent in another pid namespace is 0.
    if ![parent, 0].contains(&std::os::unix::process::parent_id()) {
        abort();
    }
}

/// Undoes [`die_with`].
pub(crate) fn outlive_parent() {
    // SAFETY: sets an attribute of this process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
}

/// Takes this process out of reach of a terminal's signals, and lets go of what it was started with.
pub(crate) fn leave_session() {
    // SAFETY: concerns this process only; a child is no group's leader.
    unsafe { libc::setsid() };
    // SAFETY: closes descriptors that nobody in this process uses from here on.
    unsafe { libc::close_range(0, u32::MAX, 0) };
}

/// Makes this process the one that inherits the orphans among its descendants, so that it can wait for them.
pub(crate) fn adopt_orphans() {
    // SAFETY: sets an attribute of this process.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Aborting is part of the trials, and nobody wants the files.
fn leave_no_core() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is readable.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
}

/// Ends this process as a crash would, except for the code: no destructor runs, no buffer is flushed.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Sleeps until a signal ends this process.
pub(crate) fn idle() -> ! {
    loop {
        // SAFETY: sleeps until a signal.
        unsafe { libc::pause() };
    }
}

/// Puts the children that this process starts from now on into a pid namespace of their own.
pub(crate) fn enter_pid_namespace() -> io::Result<()> {
    // A user namespace gives an ordinary user the right to make the other one.
    for flags in [libc::CLONE_NEWPID, libc::CLONE_NEWUSER | libc::CLONE_NEWPID] {
        // SAFETY: concerns this process's namespaces only; it has one thread.
        if unsafe { libc::unshare(flags) } == 0 {
            return Ok(());
        }
    }
    Err(io::Error::last_os_error())
}

/// Whether this process may do that; why not.
pub(crate) fn may_enter_pid_namespace() -> io::Result<()> {
    errno_of(enter_pid_namespace)
}

/// Tries something in a child, which does not last.
pub(crate) fn errno_of(attempt: fn() -> io::Result<()>) -> io::Result<()> {
    let trying = || exit_now(attempt().err().and_then(|error| error.raw_os_error()).unwrap_or(0));
    match Child::start(trying).finish() {
        Ended::Exited(0) => Ok(()),
        Ended::Exited(errno) => Err(io::Error::from_raw_os_error(errno)),
        Ended::Killed(signal) => Err(io::Error::other(format!("killed by signal {signal}"))),
    }
}

/// Numbers that a process shares with the children it starts later; they tell what a crash cannot undo.
#[derive(Debug)]
pub(crate) struct Board {
    cells: NonNull<[AtomicU64]>,
}

impl Board {
    /// So many cells, each 0.
    pub(crate) fn new(cells: usize) -> Self {
        let length = cells * size_of::<AtomicU64>();
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlays nothing.
        let page = unsafe { libc::mmap(null_mut(), length, protection, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        let first = NonNull::new(page.cast()).expect("nothing is mapped at address 0");
        Self { cells: NonNull::slice_from_raw_parts(first, cells) }
    }

    fn cell(&self, index: usize) -> &AtomicU64 {
        // SAFETY: mapped as long as `self`, aligned to a page, zeroed; accessed as atomics only.
        let cells = unsafe { self.cells.as_ref() };
        &cells[index]
    }

    pub(crate) fn set(&self, index: usize, value: u64) {
        self.cell(index).store(value, Ordering::Release);
    }

    pub(crate) fn get(&self, index: usize) -> u64 {
        self.cell(index).load(Ordering::Acquire)
    }

    /// Adds to what several processes count together; what it was before.
    pub(crate) fn add(&self, index: usize, value: u64) -> u64 {
        self.cell(index).fetch_add(value, Ordering::AcqRel)
    }

    /// Sets bits; what it was before.
    pub(crate) fn mark(&self, index: usize, bits: u64) -> u64 {
        self.cell(index).fetch_or(bits, Ordering::AcqRel)
    }

    /// Waits until the cell holds at least `value`.
    pub(crate) fn await_at_least(&self, index: usize, value: u64) {
        while self.get(index) < value {
            yield_now();
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; children have their own.
        unsafe { libc::munmap(self.cells.as_ptr().cast(), self.cells.len() * size_of::<AtomicU64>()) };
    }
}
