//! `ringway send` to one receiver.

use std::time::Instant;

use ringway::channel_of::Spsc;
use ringway::spsc::{Channel, Sender};
use ringway::{PeerState, SendError, SendTimeoutError};

use super::frame::{BATCH, Frame, Source};
use super::session::{Joined, Patience, Session};
use super::{Endpoint, fault, input, start_again};
use crate::failure::{Failure, Kind};

/// Standard input into the channel; returns once the receiver has written all of it.
pub(super) fn send(endpoint: &Endpoint) -> Result<(), Failure> {
    let session = Session::start()?;
    let mut source = Source::new();
    let mut outbound = Outbound::meet(endpoint, &session, &source)?;
    let stamp = |frame: &mut Frame, len| source.stamp(frame, len);
    let push = |frames: &[Frame]| outbound.push(frames);
    if endpoint.lines {
        input::forward_pieces(|text, at_end| Ok(input::cut_stream(text, at_end)), stamp, push)?;
    } else {
        input::forward_bytes(stamp, push)?;
    }
    outbound.finish(&source)
}

/// Our end, and what went through it.
pub(super) struct Outbound<'a> {
    endpoint: &'a Endpoint,
    joined: Joined<Spsc, Sender<Frame>>,
    sent: Ledger,
}

impl<'a> Outbound<'a> {
    /// Announces the stream and waits for a receiver to take notice.
    pub(super) fn meet(endpoint: &'a Endpoint, session: &Session<Spsc>, source: &Source) -> Result<Self, Failure> {
        let mut patience = Patience::of(endpoint);
        let deadline = patience.deadline();
        loop {
            let joined = session.join(endpoint, &mut patience, Channel::sender)?;
            match announce(&joined, source.announcement(), deadline) {
                Ok(()) => {
                    let sent = Ledger::new(joined.capacity());
                    return Ok(Self { endpoint, joined, sent });
                }
                Err(SendTimeoutError::Timeout(())) => return Err(endpoint.absent("receiver", "recv")),
                Err(SendTimeoutError::Fault((), cause)) => return Err(fault(&cause)),
                // The receiver of an earlier stream was just leaving; the name is free now.
                Err(_) => joined.leave(&mut patience)?,
            }
        }
    }

    fn push(&mut self, frames: &[Frame]) -> Result<(), Failure> {
        match self.joined.send_slice(frames) {
            Ok(()) => {
                self.sent.record(frames);
                Ok(())
            }
            Err(error) => {
                self.sent.record(&frames[..error.sent.min(frames.len())]);
                Err(match error.cause {
                    SendError::Fault((), cause) => fault(&cause),
                    _ => self.receiver_gone(),
                })
            }
        }
    }

    /// Tells the end of the stream twice; the second frame is only taken by a receiver that has written everything.
    fn finish(&mut self, source: &Source) -> Result<(), Failure> {
        for frame in [source.end(), source.confirmation()] {
            self.push(&[frame])?;
            self.joined.wait_drained(None).map_err(|error| match error {
                SendTimeoutError::Fault((), cause) => fault(&cause),
                _ => self.receiver_gone(),
            })?;
        }
        Ok(())
    }

    fn receiver_gone(&self) -> Failure {
        let sender = &*self.joined;
        let how = match sender.peer() {
            PeerState::Dead { pid } => format!("the receiver (pid {pid}) died"),
            _ => "the receiver ended, because it failed or nobody reads its output any more,".into(),
        };
        let taken = self.sent.taken(sender.len());
        Failure::new(Kind::Gone, format_args!("{how} after it had taken {taken} bytes of this stream"))
            .next(start_again(self.endpoint))
    }
}

fn announce(sender: &Sender<Frame>, frame: Frame, deadline: Instant) -> Result<(), SendTimeoutError<()>> {
    sender.send_deadline(frame, deadline).map_err(|error| match error {
        SendTimeoutError::Timeout(_) => SendTimeoutError::Timeout(()),
        SendTimeoutError::Fault(_, cause) => SendTimeoutError::Fault((), cause),
        _ => SendTimeoutError::Disconnected(()),
    })?;
    sender.wait_drained(Some(deadline.saturating_duration_since(Instant::now())))
}

/// Where the last frames ended, as many as can still lie in the channel.
struct Ledger {
    ends: Vec<u64>,
    frames: usize,
}

impl Ledger {
    fn new(capacity: usize) -> Self {
        Self { ends: vec![0; capacity + BATCH], frames: 0 }
    }

    fn record(&mut self, frames: &[Frame]) {
        let room = self.ends.len();
        for frame in frames {
            self.ends[self.frames % room] = frame.end();
            self.frames += 1;
        }
    }

    /// Bytes of the stream that the receiver has, if `left` frames are still in the channel.
    fn taken(&self, left: usize) -> u64 {
        let taken = self.frames.saturating_sub(left.min(self.ends.len()));
        taken.checked_sub(1).map_or(0, |last| self.ends[last % self.ends.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::input::Carrier;

    #[test]
    fn the_ledger_knows_what_was_taken() {
        let (mut source, mut ledger) = (Source::new(), Ledger::new(2));
        assert_eq!(ledger.taken(0), 0);
        for _ in 0..100 {
            let mut frame = Frame::EMPTY;
            source.stamp(&mut frame, 10);
            ledger.record(&[frame]);
        }
        assert_eq!(ledger.taken(0), 1000);
        assert_eq!(ledger.taken(2), 980);
        // Whatever a corrupt region says.
        ledger.taken(usize::MAX);
    }
}
