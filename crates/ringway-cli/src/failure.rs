//! How a command fails: what happened, what to do next, and the exit code that a script can act upon.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

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
        Self::new(Kind::Failed, format_args!("{doing}: {error}"))
    }

    /// Adds what the user can do about it.
    pub(crate) fn next(mut self, advice: impl Display) -> Self {
        self.next = Some(advice.to_string());
        self
    }

    /// Prints the failure on standard error, unless nobody is interested.
    pub(crate) fn report(self) -> ExitCode {
        if self.kind != Kind::OutputClosed {
            let next = self.next.map(|next| format!("   next: {next}\n")).unwrap_or_default();
            // A standard error that is closed, too, leaves the exit code to tell.
            let _ = write!(io::stderr(), "ringway: {}\n{next}", self.what);
        }
        ExitCode::from(self.kind as u8)
    }
}

/// The library's messages say what to do next themselves.
impl From<ringway::Error> for Failure {
    fn from(error: ringway::Error) -> Self {
        let kind = match error {
            ringway::Error::RoleTaken { .. } | ringway::Error::NoPeerLeft { .. } => Kind::Taken,
            ringway::Error::InvalidName { .. } | ringway::Error::InvalidCapacity { .. } => Kind::Usage,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
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
