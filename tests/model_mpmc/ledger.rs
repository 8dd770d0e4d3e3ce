//! The ledger by which a run is judged: which messages were sent, and which were handed out.

use zerocopy::{Immutable, IntoBytes};

use crate::explore::{Kind, Violation};

/// Message numbers are bits of one byte; the highest is the probe's.
pub(crate) const PROBE: u8 = 7;

/// Who sent and got what: sets of messages, a bit each. No process sees it.
#[derive(Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Ledger {
    /// FULL was in memory.
    pub(crate) published: u8,
    /// The sender knows that it counts.
    pub(crate) owed: u8,
    /// The send has returned.
    pub(crate) returned: u8,
    /// The send has returned `Full`.
    pub(crate) refused: u8,
    /// Handed out; in ack mode acknowledged.
    pub(crate) taken: u8,
    /// Ack mode: handed out.
    pub(crate) delivered: u8,
    /// Ack mode: to be handed out again.
    pub(crate) redelivered: u8,
    /// For each message what had completed before its send began.
    pub(crate) before: [u8; 8],
}

pub(crate) fn bit(message: u8) -> u8 {
    1 << message
}

impl Ledger {
    pub(crate) const EMPTY: Self =
        Self { published: 0, owed: 0, returned: 0, refused: 0, taken: 0, delivered: 0, redelivered: 0, before: [0; 8] };

    /// Which message a payload is.
    fn message(&self, payload: [u8; 2]) -> Result<u8, Violation> {
        let [first, second] = payload;
        Violation::when(first != second || first == 0, Kind::Torn, || format!("payload {first}/{second}"))?;
        Ok(first - 1)
    }

    fn sound(&self, message: u8) -> Result<(), Violation> {
        let sent = self.published & !self.refused & bit(message) != 0;
        Violation::when(!sent, Kind::Unpublished, || format!("message {message}"))?;
        Violation::when(self.taken & bit(message) != 0, Kind::Duplicate, || format!("message {message}"))
    }

    fn in_order(&self, message: u8, gone: u8) -> Result<(), Violation> {
        let overtaken = self.before[usize::from(message)] & !gone;
        Violation::when(overtaken != 0, Kind::Overtaken, || format!("message {message} before {overtaken:b}"))
    }

    /// At most once: a consumer's exchange has given it this payload.
    pub(crate) fn take(&mut self, payload: [u8; 2]) -> Result<u8, Violation> {
        let message = self.message(payload)?;
        self.sound(message)?;
        self.in_order(message, self.taken)?;
        self.taken |= bit(message);
        self.before[usize::from(message)] = 0;
        Ok(message)
    }

    /// The same, of the message at one of the two places of a packed slot.
    pub(crate) fn take_one(&mut self, payload: u8, place: u8) -> Result<u8, Violation> {
        Violation::when(payload % 2 == place, Kind::Torn, || format!("payload {payload} at place {place}"))?;
        self.take([payload; 2])
    }

    /// Ack mode: a consumer has made this slot its own.
    pub(crate) fn deliver(&mut self, payload: [u8; 2]) -> Result<u8, Violation> {
        let message = self.message(payload)?;
        self.sound(message)?;
        if self.redelivered & bit(message) == 0 {
            self.in_order(message, self.delivered)?;
        }
        self.delivered |= bit(message);
        Ok(message)
    }

    /// Ack mode: this is what it has read there, and is done with.
    pub(crate) fn acknowledge(&mut self, payload: [u8; 2]) -> Result<(), Violation> {
        let message = self.message(payload)?;
        self.sound(message)?;
        self.taken |= bit(message);
        Ok(())
    }
}
