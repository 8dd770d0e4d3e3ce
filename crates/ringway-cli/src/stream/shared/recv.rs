//! `ringway recv --mpmc`

use std::time::Instant;

use ringway::channel_of::Mpmc;
use ringway::mpmc::{Channel, Receiver};
use ringway::{PeerState, RecvError, RecvTimeoutError};

use super::message::{Kind, Message};
use crate::failure::{self, Failure};
use crate::stream::frame::BATCH;
use crate::stream::input::Carrier;
use crate::stream::output::Output;
use crate::stream::session::{Joined, Patience, Session, alive};
use crate::stream::{Endpoint, fault};

/// This receiver's part of the messages to standard output, until every sender has ended and the channel is drained.
pub(crate) fn recv(endpoint: &Endpoint) -> Result<(), Failure> {
    let session = Session::start()?;
    let mut patience = Patience::of(endpoint);
    let deadline = patience.deadline();
    let joined = session.join(endpoint, &mut patience, Channel::receiver)?;
    let mut output =
        Output::new(false, "other receivers go on; make room, or choose another output, and start it again");
    let mut messages = vec![Message::EMPTY; BATCH];
    let mut taken = meet(endpoint, &joined, deadline, &mut messages)?;
    while let Some(count) = taken {
        write(endpoint, &messages[..count], &mut output)?;
        taken = match joined.recv_slice(&mut messages) {
            Ok(count) => Some(count),
            Err(RecvError::Fault(cause)) => return Err(fault(&cause)),
            Err(_) => None,
        };
    }
    // Whoever comes now, comes for other senders.
    joined.remove_name();
    complete(&joined, &output)
}

/// Waits for a sender, and takes its first message if it has one; `None` if all of them have ended already.
fn meet(
    endpoint: &Endpoint,
    joined: &Joined<Mpmc, Receiver<Message>>,
    deadline: Instant,
    messages: &mut [Message],
) -> Result<Option<usize>, Failure> {
    match joined.recv_deadline(deadline) {
        Ok(message) => {
            messages[0] = message;
            Ok(Some(1))
        }
        // Its announcement may have gone to another receiver.
        Err(RecvTimeoutError::Timeout) if alive(&joined.peers()) > 0 => Ok(Some(0)),
        Err(RecvTimeoutError::Timeout) => Err(endpoint.absent("sender", "send")),
        Err(RecvTimeoutError::Fault(cause)) => Err(fault(&cause)),
        Err(_) => Ok(None),
    }
}

fn write(endpoint: &Endpoint, messages: &[Message], output: &mut Output) -> Result<(), Failure> {
    let mut pieces = Vec::with_capacity(2 * messages.len());
    let mut outcome = Ok(());
    for message in messages {
        match message.read() {
            Some((Kind::Announcement, _)) => {}
            Some((Kind::Line, line)) => pieces.extend([line, b"\n"]),
            Some((Kind::Bytes, bytes)) if !endpoint.lines => pieces.push(bytes),
            Some((Kind::Bytes, _)) => {
                let what = "a sender sends bytes that are not cut into lines";
                let next = format!("start every `ringway send {} --mpmc` with --lines", endpoint.name);
                outcome = Err(Failure::new(failure::Kind::Usage, what).next(next));
                break;
            }
            None => {
                let what = "a message is none of ringway send's: another program sends here";
                outcome = Err(Failure::new(failure::Kind::Failed, what).next("use another name"));
                break;
            }
        }
    }
    output.write(&pieces)?;
    outcome
}

/// All that was sent was received; but whoever was killed had more to send.
fn complete(receiver: &Receiver<Message>, output: &Output) -> Result<(), Failure> {
    let killed: Vec<_> = receiver
        .peers()
        .iter()
        .filter_map(|peer| if let PeerState::Dead { pid } = peer { Some(pid.to_string()) } else { None })
        .collect();
    if killed.is_empty() {
        return Ok(());
    }
    let (pids, progress) = (killed.join(", "), output.progress());
    let what =
        format!("killed before the end of its input: sender (pid {pids}); all that was sent was received; {progress}");
    Err(Failure::new(failure::Kind::Gone, what).next("send the rest of its input again"))
}
