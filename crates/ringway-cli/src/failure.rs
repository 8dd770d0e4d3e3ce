//! How a command fails: what happened, what to do next, and the exit code that a script can act upon.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use ringway::Error;
use rustix::io::Errno;

use crate::table::printable;

/// Why a command ended without success.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    what: String,
    next: Option<String>,
}

/// One exit code each; `ringway --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Input, output, memory, permission.
    Failed = 1,
    /// The arguments make no sense. Clap exits with the same code.
    Usage = 2,
    /// The other side ended before the stream was complete.
    Gone = 3,
    /// The role belongs to another live process, or all places are taken.
    Taken = 4,
    /// The other side did not come in time.
    Absent = 5,
    /// Nobody reads our output any more, which is no reason to complain: as if `SIGPIPE` had ended us.
    OutputClosed = 128 + 13,
}

impl Failure {
    /// A failure whose message says it all.
    pub(crate) fn new(kind: Kind, what: impl Display) -> Self {
        Self { kind, what: what.to_string(), next: None }
    }

    /// An operation of the system that failed.
    pub(crate) fn io(doing: &str, error: &io::Error) -> Self {
        let failure = Self::new(Kind::Failed, format_args!("{doing}: {error}"));
        match remedy(error) {
            Some(remedy) => failure.next(remedy),
            None => failure,
        }
    }

    /// Says what the user can do about it, in place of what was said before.
    pub(crate) fn next(mut self, advice: impl Display) -> Self {
        self.next = Some(advice.to_string());
        self
    }

    /// What happened, in one line that is safe to print.
    pub(crate) fn what(&self) -> String {
        printable(&self.what)
    }

    /// Prints the failure on standard error, unless nobody is interested.
    pub(crate) fn report(self) -> ExitCode {
        if self.kind != Kind::OutputClosed {
            let next = self.next.as_ref().map(|next| format!("   next: {}\n", printable(next))).unwrap_or_default();
            // A standard error that is closed, too, leaves the exit code to tell.
            let _ = write!(io::stderr(), "ringway: {}\n{next}", self.what());
        }
        ExitCode::from(self.kind as u8)
    }
}

/// What to do about a failed operation on a file or a stream that the user has named, if that is known.
fn remedy(error: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(error)? {
        Errno::NOENT => "create its directory first, or choose another place",
        Errno::ISDIR => "that is a directory: give a file",
        Errno::ACCESS | Errno::PERM => "give one that this user has permission for, or have its owner change its mode",
        Errno::ROFS => "the file system is mounted read-only: choose another place",
        Errno::BADF => "it is closed, or not open in that direction: redirect it in the shell by `<` or `>`",
        Errno::NOSPC | Errno::DQUOT => "make room there, or choose another place",
        Errno::FBIG => "raise the limit of the size of files (`ulimit -f`), or choose another place",
        Errno::MFILE => "raise the limit of open files (`ulimit -n`)",
        Errno::IO => {
            "the device fails, or the terminal is not ours to use: the kernel's log (`dmesg`) says more of a device"
        }
        _ => return None,
    })
}

/// The library's messages say what to do next themselves; where they say it to a programmer, it is said anew.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::RoleTaken { .. } | Error::NoPeerLeft { .. } => Kind::Taken,
            Error::InvalidName { .. } | Error::InvalidCapacity { .. } => Kind::Usage,
            _ => Kind::Failed,
        };
        let (what, next) = match &error {
            Error::AlreadyExists { name } => {
                (format!("`{name}` already exists"), format!("`ringway remove {name}`, or use another name"))
            }
            Error::NotFound { name } => (
                format!("no region is named `{name}`"),
                format!(
                    "`ringway list` shows those in shared memory; `ringway send {name}` or `recv {name}` makes one"
                ),
            ),
            Error::WrongOwner { name, found, .. } => (
                format!("`{name}` belongs to user {found}, whom nobody said to trust"),
                format!("if you do, add --owner {found} to `ringway send` or `recv`; else use another name"),
            ),
            Error::PermissionDenied { action: "remove", name, .. } => (
                format!("no permission to remove `{name}`"),
                format!("its owner can, or root: `ringway remove {name}`"),
            ),
            Error::PermissionDenied { action, name, owner, mode } => (
                format!("no permission to {action} `{name}` (owner {owner}, mode {mode:o})"),
                "its owner can allow it: both of its sides are to be started with --mode 666, or 660 for a group"
                    .into(),
            ),
            Error::PayloadMismatch { name, difference, .. } => (
                format!("`{name}` carries another payload: {difference}"),
                "another program, or another version of this one, uses it: use another name".into(),
            ),
            Error::Damaged { name, field, expected, found } => (
                format!("`{name}` is damaged: {field} is {found}, expected {expected}"),
                format!("`ringway remove {name} --force`"),
            ),
            Error::MachineCrashed { name } => (
                format!("the machine was restarted while `{name}` was in use, and its messages cannot be trusted"),
                format!("discard them: `ringway remove {name}`"),
            ),
            Error::NoPeerLeft { peers } => {
                (format!("all {peers} places of this channel are taken"), "end one of its processes".into())
            }
            Error::Removed { name } => (
                format!("another process is removing `{name}`, or has just done so"),
                "try again; if it stays so, a process that is stopped is in the way: resume or kill it".into(),
            ),
            _ => return Self::new(kind, error),
        };
        Self::new(kind, what).next(next)
    }
}

/// Writes a command's result to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write_to(io::stdout(), text)
}

/// Writes a command's result; nobody there to read it is no reason to complain.
pub(crate) fn write_to(mut output: impl Write, text: &str) -> Result<(), Failure> {
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Kind::OutputClosed, error),
        _ => Failure::io("cannot write the result", &error),
    })
}
