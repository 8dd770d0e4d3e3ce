//! What travels among many.

use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::stream::frame::DATA;
use crate::stream::input::Carrier;

/// The type of the messages. Together with what the ring keeps in a slot it takes 4 KiB.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
pub(crate) struct Message {
    /// Bytes of `data` that count.
    len: u32,
    /// [`Kind`]
    kind: u32,
    /// The first `len` bytes.
    data: [u8; DATA],
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// Says that a sender has come; without data.
    Announcement = 1,
    /// A piece of an input.
    Bytes = 2,
    /// A line without its newline.
    Line = 3,
}

impl Carrier for Message {
    const EMPTY: Self = Self { len: 0, kind: Kind::Announcement as u32, data: [0; DATA] };

    fn room(&mut self) -> &mut [u8; DATA] {
        &mut self.data
    }
}

impl Message {
    /// A sender has come.
    pub(super) const ANNOUNCEMENT: Self = Self::EMPTY;

    /// Says what the first `len` bytes of its data are.
    pub(super) fn stamp(&mut self, kind: Kind, len: usize) {
        debug_assert!(len <= DATA);
        (self.kind, self.len) = (kind as u32, len as u32);
    }

    /// What it is and what it carries; nothing if no `ringway send` writes such a message.
    pub(super) fn read(&self) -> Option<(Kind, &[u8])> {
        let data = self.data.get(..self.len as usize)?;
        let kinds = [Kind::Announcement, Kind::Bytes, Kind::Line];
        Some((kinds.into_iter().find(|&kind| kind as u32 == self.kind)?, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_fills_its_slot() {
        // Two words of the ring's are in the slot with it.
        assert_eq!(size_of::<Message>() + 16, 4096);
    }

    #[test]
    fn what_was_stamped_is_read() {
        let mut message = Message::EMPTY;
        assert_eq!(message.read(), Some((Kind::Announcement, &b""[..])));
        message.room()[..3].copy_from_slice(b"abc");
        message.stamp(Kind::Line, 3);
        assert_eq!(message.read(), Some((Kind::Line, &b"abc"[..])));
        message.stamp(Kind::Bytes, DATA);
        assert_eq!(message.read().unwrap().1.len(), DATA);
    }

    #[test]
    fn what_no_sender_writes_is_refused() {
        for (kind, len) in [(0, 0), (4, 0), (u32::MAX, 1), (3, DATA as u32 + 1), (3, u32::MAX)] {
            assert_eq!(Message { kind, len, data: [0; DATA] }.read(), None, "{kind} {len}");
        }
    }
}
