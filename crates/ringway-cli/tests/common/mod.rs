//! Running the command, and making sure that no test hangs or leaves anything behind.

#![allow(dead_code, reason = "every test program uses its own part of this")]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ringway::Inspection;
use rustix::process::{Pid, Signal, kill_process};

/// Far more than any test needs on the slowest machine; only a hang takes so long.
const HANG: Duration = Duration::from_secs(180);

/// Processes that are ours to end if a test hangs.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Ends the test program, and its processes, if the test does not end.
pub(crate) struct Watchdog(#[allow(dead_code, reason = "dropped to disarm")] Sender<()>);

/// Watches over the calling test until it is dropped.
pub(crate) fn watchdog() -> Watchdog {
    let (disarm, disarmed) = mpsc::channel::<()>();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if disarmed.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{test} hangs");
            for &pid in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let _ = kill_process(pid, Signal::KILL);
            }
            std::process::abort();
        }
    });
    Watchdog(disarm)
}

/// The name of a channel that nobody else uses. When it is dropped, it must be gone.
pub(crate) struct Name(String);

impl Name {
    /// A name of this process.
    pub(crate) fn new() -> Self {
        let unique = RandomState::new().build_hasher().finish();
        Self(format!("ringway-cli-test-{}-{unique:016x}", std::process::id()))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.0)
    }

    /// Whether it is there.
    pub(crate) fn exists(&self) -> bool {
        self.path().symlink_metadata().is_ok()
    }

    /// What the region says about itself, once it says what is expected.
    pub(crate) fn wait_for(&self, condition: impl Fn(&Inspection) -> bool) -> Inspection {
        loop {
            match Inspection::of(&self.0) {
                Ok(inspection) if condition(&inspection) => return inspection,
                _ => thread::yield_now(),
            }
        }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// So that a name can stand where an address is asked for.
impl TryFrom<&Name> for ringway::Address {
    type Error = ringway::Error;

    fn try_from(name: &Name) -> Result<Self, ringway::Error> {
        name.0.parse()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let left = self.exists();
        let _ = std::fs::remove_file(self.path());
        if !thread::panicking() {
            assert!(!left, "{} was left behind", self.0);
        }
    }
}

/// The command with its arguments; all three streams are pipes unless the test says otherwise.
pub(crate) fn ringway<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running command, ended at the latest when it is dropped.
pub(crate) struct Side(Child);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Side {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Self {
        let child = command.spawn().expect("the command starts");
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push(Pid::from_child(&child));
        Self(child)
    }

    /// `ringway send NAME ...`
    pub(crate) fn send(name: &str, options: &[&str]) -> Self {
        Self::start(ringway(["send", name].into_iter().chain(options.iter().copied())))
    }

    /// `ringway recv NAME ...`
    pub(crate) fn recv(name: &str, options: &[&str]) -> Self {
        Self::start(ringway(["recv", name].into_iter().chain(options.iter().copied())))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("our own child");
    }

    /// Stops it, and waits until it is stopped.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
            if stat.rsplit(") ").next().unwrap().starts_with('T') {
                return;
            }
            thread::yield_now();
        }
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Writes to its standard input, which stays open. A side that has ended already takes nothing.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.stdin.as_mut().expect("a pipe").write_all(bytes);
    }

    /// Reads exactly so many bytes from its standard output.
    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.stdout.as_mut().expect("a pipe").read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    /// Writes all of `input` while the outputs are read, and waits for the end.
    pub(crate) fn feed(mut self, input: &[u8]) -> Ended {
        let mut stdin = self.0.stdin.take().expect("a pipe");
        thread::scope(|scope| {
            scope.spawn(move || drop(stdin.write_all(input)));
            self.finish()
        })
    }

    /// Waits for the end without closing the input first, as [`Child::wait`] would; gives the exit code.
    pub(crate) fn wait_for_end(mut self) -> Option<i32> {
        let _open = self.0.stdin.take();
        self.0.wait().unwrap().code()
    }

    /// Closes the input, reads the outputs to their ends and waits.
    pub(crate) fn finish(mut self) -> Ended {
        drop(self.0.stdin.take());
        let mut stderr = self.0.stderr.take().expect("a pipe");
        let errors = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text)
        });
        let mut stdout = Vec::new();
        if let Some(mut pipe) = self.0.stdout.take() {
            pipe.read_to_end(&mut stdout).unwrap();
        }
        let status = self.0.wait().unwrap();
        Ended { code: status.code(), stdout, stderr: errors.join().unwrap().unwrap() }
    }
}

impl Deref for Side {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Side {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let pid = Pid::from_child(&self.0);
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|&running| running != pid);
    }
}

impl Ended {
    /// Fails the test unless the command ended like this, with all of `words` on its standard error.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, words: &[&str]) -> Vec<u8> {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in: {}", self.stderr);
        }
        if words.is_empty() {
            assert_eq!(self.stderr, "");
        }
        self.stdout
    }
}

/// Bytes without a pattern that a frame, or its loss, could hide in.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
