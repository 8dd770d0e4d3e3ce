//! `ringway send` and `ringway recv`: a byte stream through a channel, or with `--mpmc` messages among many.
//!
//! Whoever starts first creates the channel ([`session`]). Between one sender and one receiver, what travels is a stream
//! that arrives whole or is known to be broken ([`frame`]). Among many, each message stands for itself ([`shared`]).

mod frame;
mod input;
mod output;
mod recv;
mod send;
mod session;
mod shared;
mod user;

use std::time::Duration;

use clap::{Args, ValueEnum};
use ringway::{Fault, Options, Wait};

use crate::failure::{Failure, Kind};

/// Shown by `ringway send --help`.
pub(crate) const SEND_EXAMPLES: &str = "\
Exit code 0 means that the receiver has written every byte to its output.

With --mpmc, any number of senders and receivers share the channel, and each message goes to one of the receivers. \
With --lines a message is a line, of at most 4072 bytes. Without, it is what one read returned, cut after 4072 bytes, \
so the inputs of several senders are mixed as in a pipe that several programs write to. Exit code 0 means that \
receivers have taken every message in the channel, or that another sender is still there. What a receiver does with \
them, it alone knows: one that is killed or interrupted takes at most 32 messages along.

Examples:
  tar c docs | ringway send demo
  ringway send demo < disk.img
  ringway send file:/var/tmp/demo < disk.img  through a file on a disk
  tail -f log | ringway send log --lines      each line leaves as it comes
  ringway send demo --timeout 5 < file        code 5 if nobody comes within 5 s
  ringway send demo --mode 666 --owner bob    to bob, who trusts us likewise
  ringway send jobs --mpmc --lines < list     one of several senders";

/// Shown by `ringway recv --help`.
pub(crate) const RECV_EXAMPLES: &str = "\
Exit code 0 means that the whole stream was written, to its last byte.

With --mpmc, any number of senders and receivers share the channel, and each message goes to one of the receivers, \
which end when every sender that attached has ended and the channel is drained. Exit code 0 then means that everything \
that this receiver took was written; 3 that in addition a sender was killed before the end of its input. With --lines, \
senders without --lines are refused; every line is written with a newline, also the last one of an input without.

Examples:
  ringway recv demo | tar t
  ringway recv demo > disk.img
  ringway recv log --lines | grep error       only whole lines, each as it comes
  ringway recv demo --timeout 5 > file        code 5 if nobody comes within 5 s
  ringway recv demo --mode 666 --owner alice  from alice, who trusts us likewise
  ringway recv jobs --mpmc --lines | xargs -n 1 work   one of several workers";

/// A longer line is written in pieces, so that a stream without line ends cannot fill the memory.
const LINE_LIMIT: usize = 1 << 20;

/// In place of "no time limit"; a century.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Arguments of `ringway send` and `ringway recv`.
#[derive(Args)]
pub(crate) struct Endpoint {
    /// Name or address of the channel, the same on both sides; see `ringway help`
    name: String,
    /// Keep lines whole: send each as it comes, write each once it is complete
    #[arg(long)]
    lines: bool,
    /// Any number of senders and receivers; every one of them needs this option
    #[arg(long)]
    mpmc: bool,
    /// Frames of 4 KiB that fit in between (with --mpmc the next power of two); the side that starts first decides
    #[arg(long, value_name = "FRAMES", default_value_t = 256)]
    capacity: usize,
    /// Permission bits of the channel, in octal; the side that starts first decides
    #[arg(long, value_parser = parse_mode, default_value = "600")]
    mode: u32,
    /// Trust the channels of this user, too, given by name or number; may be repeated
    #[arg(long = "owner", value_name = "USER", value_parser = user::parse)]
    owners: Vec<u32>,
    /// How to wait for the other side
    #[arg(long, value_enum, default_value_t = Waiting::Adaptive)]
    wait: Waiting,
    /// Give up if the other side does not come within that time
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    timeout: Option<Duration>,
}

/// [`Wait`] on the command line.
#[derive(Clone, Copy, ValueEnum)]
enum Waiting {
    /// Never sleep: fastest, takes a whole core
    Spin,
    /// Spin for some microseconds, then sleep in the kernel
    Adaptive,
    /// Sleep in the kernel at once
    Park,
}

impl Endpoint {
    fn options(&self) -> Options {
        let wait = match self.wait {
            Waiting::Spin => Wait::Spin,
            Waiting::Adaptive => Wait::Adaptive,
            Waiting::Park => Wait::Park,
        };
        Options::new().capacity(self.capacity).mode(self.mode).wait(wait)
    }

    fn absent(&self, other: &str, command: &str) -> Failure {
        let seconds = self.timeout.unwrap_or(FOREVER).as_secs_f64();
        Failure::new(Kind::Absent, format_args!("no {other} came to `{}` within {seconds} s", self.name)).next(
            format_args!("start `ringway {command} {}` beside this command, or allow more with --timeout", self.name),
        )
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected octal permission bits, such as 600 or 0660".into()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|&seconds| seconds <= FOREVER).ok_or_else(|| "expected seconds, such as 5 or 0.5".into())
}

/// Standard input into the channel.
pub(crate) fn send(endpoint: &Endpoint) -> Result<(), Failure> {
    if endpoint.mpmc { shared::send(endpoint) } else { send::send(endpoint) }
}

/// What comes through the channel to standard output.
pub(crate) fn recv(endpoint: &Endpoint) -> Result<(), Failure> {
    if endpoint.mpmc { shared::recv(endpoint) } else { recv::recv(endpoint) }
}

/// The channel itself is unusable; the library's message says what to do.
fn fault(fault: &Fault) -> Failure {
    Failure::new(Kind::Failed, fault)
}

/// What the user can do about a stream that broke off.
fn start_again(endpoint: &Endpoint) -> String {
    let name = &endpoint.name;
    format!("start both sides again, from the beginning: `ringway recv {name}` and `ringway send {name}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_seconds() {
        assert_eq!(parse_mode("600"), Ok(0o600));
        assert_eq!(parse_mode("0o0777"), Ok(0o777));
        for wrong in ["", "800", "1000", "-1", "rw"] {
            assert!(parse_mode(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "-1", "nan", "inf", "1e30", "1 s"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
