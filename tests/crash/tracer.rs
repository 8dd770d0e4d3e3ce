//! Bringing a process to a chosen instruction of an operation.
//!
//! A victim marks where the operation begins and ends by stopping itself. One victim is single-stepped from mark to mark,
//! which yields the list of all its instructions, each as a [`Point`]. Another victim, forked from the same process and
//! hence at the same addresses, reaches a point much faster: it runs at full speed to the last system call before it,
//! and from there to a breakpoint.

#![allow(unsafe_code)] // ptrace

use std::collections::HashMap;
use std::ffi::{c_int, c_uint};
use std::io;
use std::process::id;
use std::ptr::null_mut;

use crate::process::{Change, Child, errno_of};
use crate::world::Bytes;

/// Bit that `PTRACE_O_TRACESYSGOOD` sets in the signal of a stop at a system call.
const CALL: c_int = 0x80;
/// The system call that marks.
const MARK: u64 = libc::SYS_kill as u64;
/// The instruction `syscall`.
const SYSCALL: u64 = 0x050f;
/// The instruction `int3`, a breakpoint.
const INT3: u64 = 0xcc;

/// Handed to a victim, to mark its operation with.
pub(crate) struct Marker {
    pid: u32,
}

impl Marker {
    /// Stops this process until its tracer lets it go on. A single system call, so that it adds nothing to kill at.
    pub(crate) fn mark(&self) {
        // SAFETY: takes numbers only.
        unsafe { libc::syscall(libc::SYS_kill, self.pid, libc::SIGSTOP) };
    }
}

/// A place in the course of an operation: before an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// System calls that the operation has completed.
    pub(crate) calls: u32,
    /// Times that the same instruction was executed since the last of them.
    passes: u32,
    /// Its address.
    address: u64,
}

/// The course of an operation.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Where it was seen: one for each instruction, or for each stretch between two system calls that was passed over.
    /// At the last one the operation is complete.
    pub(crate) points: Vec<Point>,
    /// Those points from which one step changed the world: it wrote to the region, or was a system call.
    ///
    /// What a dead process leaves behind is the region and what the kernel keeps, so between two of these one death is
    /// like another.
    pub(crate) changes: Vec<usize>,
    /// System calls after which, up to the next, the region was written to.
    pub(crate) written: Vec<u32>,
}

/// What became of a victim that was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// One step done, or a breakpoint met.
    Trap,
    /// It is at the entry or the exit of a system call.
    Call,
    /// It marked the end of the operation.
    Mark,
}

/// A process that is traced by this one.
#[derive(Debug)]
pub(crate) struct Victim {
    child: Child,
}

/// Whether this process may trace its children; why not.
pub(crate) fn is_permitted() -> io::Result<()> {
    errno_of(trace_me)
}

fn trace_me() -> io::Result<()> {
    // SAFETY: asks to be traced; the other arguments are not looked at.
    let result = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Victim {
    /// Starts a victim and lets it run to its first mark. It inherits nothing from this process.
    pub(crate) fn start(body: impl FnOnce(&Marker)) -> Self {
        Self::to_mark(Child::start(|| Self::live(body)))
    }

    /// The same with everything that this process has.
    pub(crate) fn inheriting(body: impl FnOnce(&Marker)) -> Self {
        Self::to_mark(Child::inheriting(|| Self::live(body)))
    }

    fn live(body: impl FnOnce(&Marker)) {
        trace_me().expect("it was permitted before");
        body(&Marker { pid: id() });
    }

    fn to_mark(child: Child) -> Self {
        let mut victim = Self { child };
        assert_eq!(victim.child.next_change(), Change::Stopped(libc::SIGSTOP), "it did not come to the operation");
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        victim.request(libc::PTRACE_SETOPTIONS, 0, options as u64);
        victim
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// What the system call returned that it has just completed.
    pub(crate) fn result(&self) -> i64 {
        self.registers().rax as i64
    }

    /// Kills it where it is.
    pub(crate) fn kill(&mut self) -> u32 {
        self.child.kill();
        self.child.pid()
    }

    /// Stops it where it is, for real: no longer traced, it goes on with `SIGCONT`, and on its own.
    pub(crate) fn leave_stopped(mut self) -> Child {
        // Delivered before the next instruction is executed.
        self.child.signal(libc::SIGSTOP);
        self.request(libc::PTRACE_DETACH, 0, 0);
        assert_eq!(self.child.next_change(), Change::Stopped(libc::SIGSTOP));
        self.child
    }

    /// Runs it to the end of the first system call of that number, calling `inside` at its beginning.
    pub(crate) fn run_through(&mut self, call: i64, inside: impl FnOnce()) {
        loop {
            assert_eq!(self.resume(libc::PTRACE_SYSCALL), Event::Call, "no such call");
            let found = self.registers().orig_rax == call as u64;
            if found {
                inside();
                assert_eq!(self.resume(libc::PTRACE_SYSCALL), Event::Call);
                return;
            }
            assert_eq!(self.resume(libc::PTRACE_SYSCALL), Event::Call);
        }
    }

    /// Steps it until it has written to the region, which it does before any system call; says where it is then, for
    /// others to be run to.
    pub(crate) fn step_to_write(&mut self, watched: &Bytes) -> Point {
        let mut watch = Watch::new(watched);
        let mut passes = HashMap::new();
        loop {
            let address = self.registers().rip;
            let seen: &mut u32 = passes.entry(address).or_default();
            if watch.has_changed() {
                return Point { calls: 0, passes: *seen, address };
            }
            *seen += 1;
            assert_eq!(self.resume(libc::PTRACE_SINGLESTEP), Event::Trap, "one instruction is executed");
        }
    }

    /// Follows it to its next mark, or through `calls` system calls if it does not come to one before. It is stepped
    /// only behind those system calls for which `is_stepped`, and otherwise run from one to the next.
    ///
    /// `watched` is the region; without one, only system calls count as changes.
    pub(crate) fn record(
        &mut self,
        watched: Option<&Bytes>,
        calls: Option<u32>,
        is_stepped: impl Fn(u32) -> bool,
    ) -> Trace {
        let mut trace = Trace::default();
        let mut watch = watched.map(Watch::new);
        for done in 0.. {
            if calls == Some(done) {
                trace.points.push(Point { calls: done, passes: 0, address: self.registers().rip });
                break;
            }
            let is_over = if is_stepped(done) {
                self.step_to_call(done, watch.as_mut(), &mut trace)
            } else {
                self.run_to_call(done, watch.as_mut(), &mut trace)
            };
            if is_over {
                break;
            }
        }
        trace
    }

    /// Steps it through its next system call; or to the mark, and then says so.
    fn step_to_call(&mut self, done: u32, mut watch: Option<&mut Watch<'_>>, trace: &mut Trace) -> bool {
        let mut passes = HashMap::new();
        let mut are_calls = HashMap::new();
        loop {
            let registers = self.registers();
            let address = registers.rip;
            let seen: &mut u32 = passes.entry(address).or_default();
            trace.points.push(Point { calls: done, passes: *seen, address });
            *seen += 1;
            let is_call = *are_calls.entry(address).or_insert_with(|| self.peek(address) & 0xffff == SYSCALL);
            if is_call && registers.rax == MARK {
                return true;
            }
            assert_eq!(self.resume(libc::PTRACE_SINGLESTEP), Event::Trap, "one instruction is executed");
            let is_written = watch.as_mut().is_some_and(|watch| watch.has_changed());
            if is_call || is_written {
                trace.changes.push(trace.points.len() - 1);
            }
            if is_call {
                return false;
            }
        }
    }

    /// The same at full speed.
    fn run_to_call(&mut self, done: u32, mut watch: Option<&mut Watch<'_>>, trace: &mut Trace) -> bool {
        trace.points.push(Point { calls: done, passes: 0, address: self.registers().rip });
        assert_eq!(self.resume(libc::PTRACE_SYSCALL), Event::Call, "a system call begins");
        if watch.as_mut().is_some_and(|watch| watch.has_changed()) {
            trace.written.push(done);
        }
        if self.registers().orig_rax == MARK {
            return true;
        }
        assert_eq!(self.resume(libc::PTRACE_SYSCALL), Event::Call, "and ends");
        if let Some(watch) = watch {
            watch.has_changed();
        }
        trace.changes.push(trace.points.len() - 1);
        false
    }

    /// Runs it to `point`; `false` if it took another way and was stopped near by.
    pub(crate) fn run_to(&mut self, point: &Point) -> bool {
        for _ in 0..2 * point.calls {
            if self.resume(libc::PTRACE_SYSCALL) != Event::Call {
                return false;
            }
        }
        let mut passes = 0;
        loop {
            if self.registers().rip == point.address {
                if passes == point.passes {
                    return true;
                }
                passes += 1;
                if self.resume(libc::PTRACE_SINGLESTEP) != Event::Trap {
                    return false;
                }
            } else if !self.run_to_breakpoint(point.address) {
                return false;
            }
        }
    }

    fn run_to_breakpoint(&mut self, address: u64) -> bool {
        let word = self.peek(address);
        self.request(libc::PTRACE_POKETEXT, address, word & !0xff | INT3);
        let event = self.resume(libc::PTRACE_SYSCALL);
        self.request(libc::PTRACE_POKETEXT, address, word);
        if event != Event::Trap {
            return false;
        }
        let mut registers = self.registers();
        registers.rip = address;
        self.request(libc::PTRACE_SETREGS, 0, &raw mut registers as u64);
        true
    }

    fn resume(&mut self, request: c_uint) -> Event {
        self.request(request, 0, 0);
        match self.child.next_change() {
            Change::Stopped(libc::SIGTRAP) => Event::Trap,
            Change::Stopped(libc::SIGSTOP) => Event::Mark,
            Change::Stopped(signal) if signal == libc::SIGTRAP | CALL => Event::Call,
            change => panic!("the victim failed on its way: {change:?}"),
        }
    }

    fn registers(&self) -> libc::user_regs_struct {
        // SAFETY: a struct of integers, for which zero is a value.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        self.request(libc::PTRACE_GETREGS, 0, &raw mut registers as u64);
        registers
    }

    /// Eight bytes of its program.
    fn peek(&self, address: u64) -> u64 {
        let pid = self.child.pid();
        // SAFETY: reads memory of the victim, which is stopped; fails if there is none.
        unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, pid, address, null_mut::<u8>()) as u64 }
    }

    fn request(&self, request: c_uint, address: u64, data: u64) {
        let pid = self.child.pid();
        // SAFETY: concerns the victim, which is stopped; of the requests used here, only `GETREGS` and `SETREGS` take a
        // pointer into this process, and they get one to a live `user_regs_struct`.
        let result = unsafe { libc::ptrace(request, pid, address, data) };
        assert_ne!(result, -1, "ptrace({request}): {}", io::Error::last_os_error());
    }
}

/// The bytes of a region, and whether they are still the same.
struct Watch<'a> {
    bytes: &'a Bytes,
    seen: Vec<u8>,
    now: Vec<u8>,
}

impl<'a> Watch<'a> {
    fn new(bytes: &'a Bytes) -> Self {
        let length = bytes.length;
        let mut watch = Self { bytes, seen: vec![0; length], now: vec![0; length] };
        watch.has_changed();
        watch
    }

    /// Since the last call.
    fn has_changed(&mut self) -> bool {
        self.bytes.read(&mut self.now);
        std::mem::swap(&mut self.seen, &mut self.now);
        self.seen != self.now
    }
}
