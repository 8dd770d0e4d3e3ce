//! `ringway send --mpmc`

use std::time::Instant;

use ringway::channel_of::Mpmc;
use ringway::mpmc::{Channel, Sender};
use ringway::{PeerState, SendError, SendTimeoutError};

use super::SLICE;
use super::message::{Kind, Message};
use crate::failure::{self, Failure};
use crate::stream::frame::DATA;
use crate::stream::session::{Joined, Patience, Session, alive};
use crate::stream::{Endpoint, fault, input};

/// Standard input into the channel.
pub(crate) fn send(endpoint: &Endpoint) -> Result<(), Failure> {
    let session = Session::start()?;
    let mut outbound = Outbound::meet(endpoint, &session)?;
    let push = |messages: &[Message]| outbound.push(messages);
    if endpoint.lines {
        let mut line = 0_u64;
        let cut = |text: &[u8], at_end| {
            input::cut_line(text, at_end)
                .inspect(|cut| line += u64::from(cut.is_some()))
                .map_err(|()| too_long(line + 1, &endpoint.name))
        };
        input::forward_pieces(cut, |message: &mut Message, len| message.stamp(Kind::Line, len), push)?;
    } else {
        input::forward_bytes(|message: &mut Message, len| message.stamp(Kind::Bytes, len), push)?;
    }
    outbound.finish()
}

fn too_long(line: u64, name: &str) -> Failure {
    let what =
        format!("line {line} has more than {DATA} bytes, the maximum of a message; the lines before it were sent");
    Failure::new(failure::Kind::Failed, what)
        .next(format_args!("shorten it; or without --lines, `ringway send {name} --mpmc` sends bytes instead of lines"))
}

/// Our end, and how many messages of the input went through it.
pub(super) struct Outbound {
    joined: Joined<Mpmc, Sender<Message>>,
    sent: u64,
}

impl Outbound {
    /// Announces a sender and waits for a receiver to take notice.
    pub(super) fn meet(endpoint: &Endpoint, session: &Session<Mpmc>) -> Result<Self, Failure> {
        let mut patience = Patience::of(endpoint);
        let deadline = patience.deadline();
        loop {
            let joined = session.join(endpoint, &mut patience, Channel::sender)?;
            match announce(&joined, deadline) {
                Ok(()) => return Ok(Self { joined, sent: 0 }),
                Err(SendTimeoutError::Timeout(())) => return Err(endpoint.absent("receiver", "recv")),
                Err(SendTimeoutError::Fault((), cause)) => return Err(fault(&cause)),
                // The last receiver of earlier senders was just leaving.
                Err(_) => joined.leave(&mut patience)?,
            }
        }
    }

    fn push(&mut self, messages: &[Message]) -> Result<(), Failure> {
        match self.joined.send_slice(messages) {
            Ok(()) => {
                self.sent += messages.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.sent += error.sent as u64;
                Err(match error.cause {
                    SendError::Fault((), cause) => fault(&cause),
                    _ => self.receivers_gone(),
                })
            }
        }
    }

    /// Waits until everything was taken; where another sender is still there, that is its business.
    fn finish(&self) -> Result<(), Failure> {
        loop {
            match self.joined.wait_drained(Some(SLICE)) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Timeout(())) if self.joined.has_company() => return Ok(()),
                Err(SendTimeoutError::Timeout(())) => {}
                Err(SendTimeoutError::Fault((), cause)) => return Err(fault(&cause)),
                Err(_) => return Err(self.receivers_gone()),
            }
        }
    }

    /// Every receiver has ended. Nobody can join them, so the name can go.
    fn receivers_gone(&self) -> Failure {
        self.joined.remove_name();
        let dead = self.joined.peers().iter().filter(|peer| matches!(peer, PeerState::Dead { .. })).count();
        let dead = if dead > 0 { format!(" ({dead} killed)") } else { String::new() };
        let (sent, left) = (self.sent, self.joined.len());
        let what =
            format!("every receiver has ended{dead}; {sent} messages of this input were sent, and {left} are left");
        Failure::new(failure::Kind::Gone, what).next("start receivers that stay, and send the rest again")
    }
}

/// Sends an announcement, and returns once a receiver has taken it.
fn announce(sender: &Sender<Message>, deadline: Instant) -> Result<(), SendTimeoutError<()>> {
    sender.send_deadline(Message::ANNOUNCEMENT, deadline).map_err(|error| match error {
        SendTimeoutError::Timeout(_) => SendTimeoutError::Timeout(()),
        SendTimeoutError::Fault(_, cause) => SendTimeoutError::Fault((), cause),
        _ => SendTimeoutError::Disconnected(()),
    })?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match sender.wait_drained(Some(left.min(SLICE))) {
            // Where others send without a pause, the channel may never be seen drained; but somebody takes.
            Err(SendTimeoutError::Timeout(())) if alive(&sender.peers()) > 0 => return Ok(()),
            Err(SendTimeoutError::Timeout(())) if left > SLICE => {}
            outcome => return outcome,
        }
    }
}
