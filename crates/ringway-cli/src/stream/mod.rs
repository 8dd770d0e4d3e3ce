//! `ringway send` and `ringway recv`: a byte stream through a channel.
//!
//! Whichever side starts first creates the channel, and both remove its name when they end: by themselves, or by a
//! signal. A side that is killed leaves the name behind; the next one to start finds that nobody is alive in there and
//! replaces it.

mod frame;
mod input;
mod output;
mod recv;
mod send;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ringway::{Fault, Options, PeerState, Wait, spsc::Channel};

use self::frame::Frame;
pub(crate) use self::recv::recv;
pub(crate) use self::send::send;
use crate::failure::{Failure, Kind};
use crate::interrupt::on_interrupt;

/// Shown by `ringway send --help`.
pub(crate) const SEND_EXAMPLES: &str = "\
Exit code 0 means that the receiver has written every byte to its output.

Examples:
  tar c docs | ringway send demo
  ringway send demo < disk.img
  tail -f log | ringway send log --lines      each line leaves as it comes
  ringway send demo --timeout 5 < file        code 5 if no receiver comes within 5 s";

/// Shown by `ringway recv --help`.
pub(crate) const RECV_EXAMPLES: &str = "\
Exit code 0 means that the whole stream was written, to its last byte.

Examples:
  ringway recv demo | tar t
  ringway recv demo > disk.img
  ringway recv log --lines | grep error       only whole lines, each as it comes
  ringway recv demo --timeout 5 > file        code 5 if no sender comes within 5 s";

/// A longer line is written in pieces, so that a stream without line ends cannot fill the memory.
const LINE_LIMIT: usize = 1 << 20;

/// In place of "no time limit"; a century.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Arguments of `ringway send` and `ringway recv`.
#[derive(Args)]
pub(crate) struct Endpoint {
    /// Name of the channel, the same on both sides
    name: String,
    /// Keep lines whole: send each as it comes, write each once it is complete
    #[arg(long)]
    lines: bool,
    /// Frames of 4 KiB that fit in between; the side that starts first decides
    #[arg(long, value_name = "FRAMES", default_value_t = 256)]
    capacity: usize,
    /// Permission bits of the channel, in octal; the side that starts first decides
    #[arg(long, value_parser = parse_mode, default_value = "600")]
    mode: u32,
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

    /// Until when the other side has to come.
    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout.unwrap_or(FOREVER)
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

/// The channel that this process has an end of, shared with the thread that removes its name after a signal.
#[derive(Clone, Default)]
struct Session(Arc<Mutex<Option<Channel<Frame>>>>);

impl Session {
    /// A session that leaves no name behind when a signal ends the process.
    fn start() -> Result<Self, Failure> {
        let session = Self::default();
        let removed = session.clone();
        on_interrupt(move || removed.hold_removed()).map_err(|error| Failure::io("handling signals", &error))?;
        Ok(session)
    }

    /// Attaches, or creates, and opens one end. What others left behind is replaced.
    ///
    /// The lock is held meanwhile: a signal finds either nothing, or a channel whose end is ours. The name of a channel
    /// whose end belongs to another process is not ours to remove.
    fn join<H>(
        &self,
        endpoint: &Endpoint,
        open: impl Fn(&Channel<Frame>) -> Result<H, ringway::Error>,
    ) -> Result<Joined<H>, Failure> {
        let mut held = self.lock();
        loop {
            let channel = match Channel::open_or_create(&endpoint.name, &endpoint.options()) {
                // Somebody else is replacing it just now.
                Err(ringway::Error::Removed { .. }) => continue,
                channel => channel?,
            };
            if is_over(&channel) {
                channel.unlink()?;
                std::thread::yield_now();
                continue;
            }
            let handle = open(&channel)?;
            *held = Some(channel);
            return Ok(Joined { handle, session: self.clone() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Channel<Frame>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self) {
        self.lock().take().iter().for_each(remove_quietly);
    }

    /// The same as the last act of the process: nothing can join any more.
    fn hold_removed(&self) {
        let mut held = self.lock();
        held.take().iter().for_each(remove_quietly);
        std::mem::forget(held);
    }
}

/// Whether somebody has used the channel, and nobody does any more.
///
/// Not the option `replace_dead`, which spares what anybody has open: two sides that start at the same time would each
/// take the other for a user of what killed processes have left. Here each finds that neither end is alive. Should one
/// of them come alive in between, it finds its other end dead, or the name gone to another channel, and joins that.
fn is_over(channel: &Channel<Frame>) -> bool {
    let ends = [channel.sender_state(), channel.receiver_state()];
    ends.iter().any(PeerState::is_gone) && !ends.iter().any(PeerState::is_alive)
}

/// Removes the name if it is still that of this channel; the other side may have been faster.
fn remove_quietly(channel: &Channel<Frame>) {
    let _ = channel.unlink();
}

/// An open end of the channel. The name goes before the end does, so that nobody attaches to what is over.
struct Joined<H> {
    handle: H,
    session: Session,
}

impl<H> Drop for Joined<H> {
    fn drop(&mut self) {
        self.session.remove();
    }
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
    use super::frame::Source;
    use super::send::Outbound;
    use super::*;

    fn endpoint(test: &str) -> Endpoint {
        Endpoint {
            name: format!("ringway-cli-unit-{}-{test}", std::process::id()),
            lines: false,
            capacity: 4,
            mode: 0o600,
            wait: Waiting::Park,
            timeout: Some(Duration::from_secs(60)),
        }
    }

    fn wait_until(condition: impl Fn() -> bool) {
        while !condition() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_over_is_replaced_by_two_at_once() {
        let endpoint = endpoint("over");
        for _ in 0..100 {
            let over = Channel::<Frame>::create(&endpoint.name, &endpoint.options()).unwrap();
            over.sender().unwrap().send(Source::new().announcement()).unwrap();
            std::thread::scope(|scope| {
                let receiving = scope.spawn(|| recv::meet(&endpoint, &Session::default()).map(drop));
                assert!(Outbound::meet(&endpoint, &Session::default(), &Source::new()).is_ok());
                assert!(receiving.join().unwrap().is_ok());
            });
            assert!(matches!(ringway::unlink(&endpoint.name), Err(ringway::Error::NotFound { .. })));
        }
    }

    #[test]
    fn a_sender_that_leaves_without_a_word_is_not_waited_for() {
        let endpoint = endpoint("sender");
        let channel = Channel::<Frame>::create(&endpoint.name, &endpoint.options()).unwrap();
        let sender = channel.sender().unwrap();
        std::thread::scope(|scope| {
            let receiving = scope.spawn(|| recv::meet(&endpoint, &Session::default()).map(drop));
            wait_until(|| channel.receiver_state().is_alive());
            drop(sender);
            wait_until(|| !channel.receiver_state().is_alive());
            assert!(Outbound::meet(&endpoint, &Session::default(), &Source::new()).is_ok());
            assert!(receiving.join().unwrap().is_ok());
        });
    }

    #[test]
    fn a_receiver_that_leaves_without_a_look_is_not_waited_for() {
        let endpoint = endpoint("receiver");
        let channel = Channel::<Frame>::create(&endpoint.name, &endpoint.options()).unwrap();
        let receiver = channel.receiver().unwrap();
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| Outbound::meet(&endpoint, &Session::default(), &Source::new()).map(drop));
            wait_until(|| receiver.len() == 1);
            drop(receiver);
            wait_until(|| !channel.sender_state().is_alive());
            assert!(recv::meet(&endpoint, &Session::default()).is_ok());
            assert!(sending.join().unwrap().is_ok());
        });
    }

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
