//! Processes that a trial starts: this binary again, with a part to play and nothing inherited.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use libtest_mimic::{Completion, Failed};

use crate::{
    Outcome, disk, exhaustion, life, memory, observer, one_way, passing, places, races, remote, sandbox, segment,
    truncation, users, watchdog,
};

/// The part of a child, and what it is about.
const PART: &str = "RINGWAY_ATTACH_PART";
const SUBJECT: &str = "RINGWAY_ATTACH_SUBJECT";
/// The exit code of a child that could not play its part here; it has said why.
const NOT_POSSIBLE: u8 = 77;

/// A part: what it is about, and what came of it. An error is the reason why it is not possible on this machine; what
/// fails, panics.
pub(crate) type Part = (&'static str, fn(&str) -> Result<(), String>);

/// Names functions as parts.
macro_rules! parts {
    ($($function:ident),+ $(,)?) => { &[$((stringify!($function), $function)),+] };
}
pub(crate) use parts;

pub(crate) fn is_child() -> bool {
    env::var_os(PART).is_some()
}

/// What a child does instead of trials.
pub(crate) fn run() -> ExitCode {
    let (part, subject) = (env::var(PART).expect("is set"), env::var(SUBJECT).expect("is set"));
    let parts = [
        life::PARTS,
        races::PARTS,
        exhaustion::PARTS,
        places::PARTS,
        disk::PARTS,
        remote::PARTS,
        sandbox::PARTS,
        segment::PARTS,
        passing::PARTS,
        one_way::PARTS,
        truncation::PARTS,
        memory::PARTS,
        observer::PARTS,
        users::PARTS,
    ]
    .concat();
    let (_, play) = parts.into_iter().find(|(name, _)| *name == part).expect("a part of that name");
    // Not under the watchdog, whose thread would forbid some of the namespaces: the parent's ends both.
    match play(&subject) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("{reason}");
            ExitCode::from(NOT_POSSIBLE)
        }
    }
}

fn command(part: &str, subject: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.env(PART, part).env(SUBJECT, subject).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Has a child play a part to its end.
pub(crate) fn play(part: &str, subject: &str) -> Outcome {
    let output = command(part, subject).stderr(Stdio::piped()).output().expect("another process");
    match output.status.code() {
        Some(0) => Ok(Completion::Completed),
        Some(code) if code == i32::from(NOT_POSSIBLE) => {
            let reason = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Ok(Completion::ignored_with(format!("not possible here: {reason}")))
        }
        _ => Err(Failed::from(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))),
    }
}

/// Has a child play a part to its end, with a socket as its standard input.
pub(crate) fn play_over(part: &str, socket: std::os::unix::net::UnixStream) {
    let status = start_over(part, socket).wait().expect("it is ours");
    assert!(status.success(), "it failed, see above: {status}");
}

/// Starts a child, with a socket as its standard input.
pub(crate) fn start_over(part: &str, socket: std::os::unix::net::UnixStream) -> Child {
    command(part, "").stdin(std::os::fd::OwnedFd::from(socket)).stdout(Stdio::null()).spawn().expect("another process")
}

/// A child that is spoken to: it is asked for a line, and answers with one.
#[derive(Debug)]
pub(crate) struct Talking {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Talking {
    pub(crate) fn start(part: &str, subject: &str) -> Self {
        let mut child = command(part, subject).spawn().expect("another process");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, to, from: BufReader::new(from) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tell(&mut self) {
        self.to.write_all(b"\n").expect("it listens");
    }

    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it speaks");
        assert!(line.ends_with('\n'), "it ended instead of speaking");
        line.trim_end().to_owned()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Waits until a signal ends it; which.
    pub(crate) fn die_of(mut self) -> Option<i32> {
        self.child.wait().expect("it is ours").signal()
    }

    /// Lets it end by itself.
    pub(crate) fn finish(mut self) {
        drop(self.to);
        let status = self.child.wait().expect("it is ours");
        assert!(status.success(), "it failed, see above: {status}");
    }
}

/// A child's side of it: says a line.
pub(crate) fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

/// A child's side of it: waits to be told, or for its parent to let it end; `false` then.
pub(crate) fn is_told() -> bool {
    watchdog::guard("a child that waits to be told", || {
        std::io::stdin().read_line(&mut String::new()).expect("a pipe") > 0
    })
}
