//! `ringway recv` from one sender.

use ringway::channel_of::Spsc;
use ringway::spsc::{Channel, Receiver};
use ringway::{PeerState, RecvError, RecvTimeoutError};

use super::frame::{BATCH, Broken, Follower, Frame, Step};
use super::input::Carrier;
use super::output::Output;
use super::session::{Joined, Patience, Session};
use super::{Endpoint, fault, start_again};
use crate::failure::{Failure, Kind};

/// One stream out of the channel to standard output.
pub(super) fn recv(endpoint: &Endpoint) -> Result<(), Failure> {
    let session = Session::start()?;
    let (joined, first) = meet(endpoint, &session)?;
    let mut inbound = Inbound {
        endpoint,
        receiver: &joined,
        follower: Follower::default(),
        output: Output::new(
            endpoint.lines,
            "the sender is told; make room, or choose another output, and start both sides again",
        ),
        complete: false,
    };
    let mut frames = vec![Frame::EMPTY; BATCH];
    frames[0] = first;
    let mut count = 1;
    while inbound.deliver(&frames[..count])? {
        count = match inbound.take(&mut frames)? {
            Some(count) => count,
            None => break,
        };
    }
    Ok(())
}

/// Waits for the first frame of a stream.
pub(super) fn meet(
    endpoint: &Endpoint,
    session: &Session<Spsc>,
) -> Result<(Joined<Spsc, Receiver<Frame>>, Frame), Failure> {
    let mut patience = Patience::of(endpoint);
    let deadline = patience.deadline();
    loop {
        let joined = session.join(endpoint, &mut patience, Channel::receiver)?;
        match joined.recv_deadline(deadline) {
            Ok(frame) => return Ok((joined, frame)),
            Err(RecvTimeoutError::Timeout) => return Err(endpoint.absent("sender", "send")),
            Err(RecvTimeoutError::Fault(cause)) => return Err(fault(&cause)),
            // The sender of an earlier stream was just leaving; the name is free now.
            Err(_) => joined.leave(&mut patience)?,
        }
    }
}

/// Our end, and what came through it.
struct Inbound<'a> {
    endpoint: &'a Endpoint,
    receiver: &'a Receiver<Frame>,
    follower: Follower,
    output: Output,
    /// The end was written; only the confirmation is missing.
    complete: bool,
}

impl Inbound<'_> {
    /// Takes what has arrived, or waits for the next frame; `None` if the sender of a complete stream has left.
    ///
    /// No call takes a frame that came after it began. The confirmation is sent after the end was taken, so it is never
    /// taken together with it, which is what makes it worth something.
    fn take(&self, frames: &mut [Frame]) -> Result<Option<usize>, Failure> {
        let arrived = self.receiver.len().clamp(1, frames.len());
        match self.receiver.recv_slice(&mut frames[..arrived]) {
            Ok(count) => Ok(Some(count)),
            Err(RecvError::Fault(cause)) => Err(fault(&cause)),
            Err(_) if self.complete => Ok(None),
            Err(_) => Err(self.sender_gone()),
        }
    }

    /// Writes out the data of the frames; false after the last one of the stream.
    fn deliver(&mut self, frames: &[Frame]) -> Result<bool, Failure> {
        let mut data = Vec::with_capacity(frames.len());
        let mut outcome = Ok(true);
        for frame in frames {
            match self.follower.follow(frame) {
                Ok(Step::Data(bytes)) => data.push(bytes),
                Ok(Step::End) => self.complete = true,
                Ok(Step::Confirmed) => outcome = Ok(false),
                Err(broken) => {
                    outcome = Err(broken);
                    break;
                }
            }
        }
        self.output.write(&data)?;
        if self.complete {
            self.output.finish()?;
        }
        match outcome {
            // Nothing makes a complete stream less complete, not even a new sender in place of one that died just now.
            Err(_) if self.complete => Ok(false),
            outcome => outcome.map_err(|broken| self.broken(&broken)),
        }
    }

    fn broken(&self, broken: &Broken) -> Failure {
        let kind = if matches!(broken, Broken::Malformed { .. }) { Kind::Failed } else { Kind::Gone };
        Failure::new(kind, format_args!("{broken}; {}", self.output.progress())).next(start_again(self.endpoint))
    }

    fn sender_gone(&self) -> Failure {
        let how = match self.receiver.peer() {
            PeerState::Dead { pid } => format!("the sender (pid {pid}) died"),
            _ => "the sender ended".into(),
        };
        let progress = self.output.progress();
        Failure::new(Kind::Gone, format_args!("{how} before its stream was complete; {progress}"))
            .next(start_again(self.endpoint))
    }
}
