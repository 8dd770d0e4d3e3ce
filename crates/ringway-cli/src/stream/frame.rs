//! What travels between one sender and one receiver, and how the receiver makes sure that it is one whole stream.
//!
//! ```text
//! announcement | data | data | ... | end | confirmation
//! ```
//!
//! Every frame names its stream and its place in it. So the receiver notices whatever a crash can do to a byte stream:
//! another stream id means that the sender was started anew, a gap that an earlier receiver took some of it, and a
//! channel whose sender is gone before the end that the sender died.
//!
//! The *announcement* is a data frame without data. Once it is taken, both sides are there. The *end* carries the
//! length of the stream. The *confirmation* is sent after the end was taken, so the receiver finds it only in a later
//! call, after it has written everything out. A sender whose confirmation was taken therefore knows that the last byte
//! has left the receiver.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::input::Carrier;

/// Bytes that one frame carries at most; with its header a frame takes 4 KiB.
///
/// Of 1, 4, 16 and 64 KiB: with 1 KiB, 1 GiB takes twice as long; with 16 KiB, it is hardly faster, but a short line
/// takes three times as long (1.9 instead of 0.6 us), because a frame is copied whole.
pub(crate) const DATA: usize = 4072;

/// Frames that are sent or taken at once.
pub(crate) const BATCH: usize = 32;

const KIND_DATA: u32 = 1;
const KIND_END: u32 = 2;
const KIND_CONFIRMATION: u32 = 3;

/// The message type of `ringway send` and `ringway recv`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
pub(crate) struct Frame {
    /// Random number of the stream.
    stream: u64,
    /// Bytes of the stream before this frame.
    offset: u64,
    /// Bytes of `data` that count.
    len: u32,
    /// `KIND_*`
    kind: u32,
    /// The first `len` bytes.
    data: [u8; DATA],
}

impl Carrier for Frame {
    const EMPTY: Self = Self { stream: 0, offset: 0, len: 0, kind: KIND_DATA, data: [0; DATA] };

    fn room(&mut self) -> &mut [u8; DATA] {
        &mut self.data
    }
}

impl Frame {
    /// Bytes of the stream up to the end of this frame.
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

/// The sender's place in its stream: it gives every frame its number.
#[derive(Debug)]
pub(crate) struct Source {
    stream: u64,
    offset: u64,
}

impl Source {
    /// A new stream. Its number differs from every other with overwhelming probability.
    pub(crate) fn new() -> Self {
        Self { stream: RandomState::new().build_hasher().finish(), offset: 0 }
    }

    /// Makes `frame` carry the next `len` bytes, which are already in its `data`.
    pub(crate) fn stamp(&mut self, frame: &mut Frame, len: usize) {
        debug_assert!(len <= DATA);
        (frame.stream, frame.offset, frame.len, frame.kind) = (self.stream, self.offset, len as u32, KIND_DATA);
        self.offset += len as u64;
    }

    /// The frame that tells that we are there.
    pub(crate) fn announcement(&self) -> Frame {
        self.control(KIND_DATA)
    }

    /// The frame that makes the stream complete.
    pub(crate) fn end(&self) -> Frame {
        self.control(KIND_END)
    }

    /// The frame that may be sent once [`end`](Self::end) was taken.
    pub(crate) fn confirmation(&self) -> Frame {
        self.control(KIND_CONFIRMATION)
    }

    fn control(&self, kind: u32) -> Frame {
        Frame { stream: self.stream, offset: self.offset, kind, ..Frame::EMPTY }
    }
}

/// The receiver's place in the stream that it follows.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// Of the first frame that came.
    stream: Option<u64>,
    offset: u64,
    ended: bool,
}

/// What a frame means to the receiver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// The next bytes of the stream; none in the announcement.
    Data(&'a [u8]),
    /// The stream is complete.
    End,
    /// The sender knows that its end was taken.
    Confirmed,
}

/// Why a frame does not continue the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The first frame that came is not the first of its stream.
    Joined {
        /// Bytes that somebody else has taken.
        missing: u64,
    },
    /// The frame belongs to another stream.
    Restarted,
    /// The frame does not follow the previous one.
    Gap {
        /// Where it should begin.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// No `ringway send` writes such a frame.
    Malformed {
        /// Its kind.
        kind: u32,
        /// Its length.
        len: u32,
    },
}

impl Follower {
    /// Checks that `frame` comes next, and moves on behind it.
    pub(crate) fn follow<'a>(&mut self, frame: &'a Frame) -> Result<Step<'a>, Broken> {
        let data = frame.data.get(..frame.len as usize);
        let (Some(data), KIND_DATA..=KIND_CONFIRMATION) = (data, frame.kind) else {
            return Err(Broken::Malformed { kind: frame.kind, len: frame.len });
        };
        match self.stream {
            None if frame.offset != 0 => return Err(Broken::Joined { missing: frame.offset }),
            Some(stream) if stream != frame.stream => return Err(Broken::Restarted),
            _ if frame.offset != self.offset => {
                return Err(Broken::Gap { expected: self.offset, found: frame.offset });
            }
            _ => self.stream = Some(frame.stream),
        }
        let step = match (frame.kind, self.ended) {
            (KIND_DATA, false) => Step::Data(data),
            (KIND_END, false) if data.is_empty() => Step::End,
            (KIND_CONFIRMATION, true) if data.is_empty() => Step::Confirmed,
            (kind, _) => return Err(Broken::Malformed { kind, len: frame.len }),
        };
        self.offset += data.len() as u64;
        self.ended |= step == Step::End;
        Ok(step)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { missing } => {
                write!(f, "this stream has already lost its first {missing} bytes to a receiver that ended")
            }
            Self::Restarted => f.write_str("the sender was started anew in the middle of its stream"),
            Self::Gap { expected, found } => {
                write!(f, "the stream goes on at byte {found}, expected {expected}: a receiver in between ended")
            }
            Self::Malformed { kind, len } => {
                write!(
                    f,
                    "a frame of kind {kind} with {len} bytes is none of ringway send's: another program sends here"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(source: &mut Source, bytes: &[u8]) -> Frame {
        let mut frame = Frame::EMPTY;
        frame.room()[..bytes.len()].copy_from_slice(bytes);
        source.stamp(&mut frame, bytes.len());
        frame
    }

    #[test]
    fn a_frame_takes_a_page() {
        assert_eq!(size_of::<Frame>(), 4096);
    }

    #[test]
    fn a_whole_stream_is_followed() {
        let (mut source, mut follower) = (Source::new(), Follower::default());
        assert_eq!(follower.follow(&source.announcement()), Ok(Step::Data(b"")));
        assert_eq!(follower.follow(&data(&mut source, b"abc")), Ok(Step::Data(b"abc")));
        assert_eq!(follower.follow(&data(&mut source, &[7; DATA])), Ok(Step::Data(&[7; DATA])));
        assert_eq!(follower.follow(&source.end()), Ok(Step::End));
        assert_eq!(follower.follow(&source.confirmation()), Ok(Step::Confirmed));
        assert_eq!(follower.offset, 3 + DATA as u64);
        assert_eq!(follower.offset, source.offset);
    }

    #[test]
    fn the_announcement_may_be_lost_but_no_byte() {
        let mut source = Source::new();
        let (first, second) = (data(&mut source, b"abc"), data(&mut source, b"de"));
        assert_eq!(Follower::default().follow(&first), Ok(Step::Data(b"abc")));
        assert_eq!(Follower::default().follow(&second), Err(Broken::Joined { missing: 3 }));
        assert_eq!(Follower::default().follow(&source.end()), Err(Broken::Joined { missing: 5 }));
    }

    #[test]
    fn another_stream_and_a_gap_are_noticed() {
        let (mut old, mut new, mut follower) = (Source::new(), Source::new(), Follower::default());
        follower.follow(&old.announcement()).unwrap();
        assert_eq!(follower.follow(&new.announcement()), Err(Broken::Restarted));
        let lost = data(&mut old, b"lost");
        let after = data(&mut old, b"after");
        assert_eq!(follower.follow(&after), Err(Broken::Gap { expected: 0, found: 4 }));
        assert_eq!(follower.follow(&lost), Ok(Step::Data(b"lost")));
        assert_eq!(follower.follow(&lost), Err(Broken::Gap { expected: 4, found: 0 }));
        assert_eq!(follower.follow(&data(&mut new, b"x")), Err(Broken::Restarted));
    }

    #[test]
    fn what_no_sender_writes_is_refused() {
        let source = Source::new();
        let broken = |change: fn(&mut Frame)| {
            let mut frame = source.announcement();
            change(&mut frame);
            Follower::default().follow(&frame).unwrap_err()
        };
        let malformed = |kind, len| Broken::Malformed { kind, len };
        assert_eq!(broken(|frame| frame.len = DATA as u32 + 1), malformed(KIND_DATA, DATA as u32 + 1));
        assert_eq!(broken(|frame| frame.len = u32::MAX), malformed(KIND_DATA, u32::MAX));
        assert_eq!(broken(|frame| frame.kind = 0), malformed(0, 0));
        assert_eq!(broken(|frame| frame.kind = 4), malformed(4, 0));
        assert_eq!(broken(|frame| frame.kind = KIND_CONFIRMATION), malformed(KIND_CONFIRMATION, 0));
        assert_eq!(broken(|frame| (frame.kind, frame.len) = (KIND_END, 1)), malformed(KIND_END, 1));

        let mut follower = Follower::default();
        follower.follow(&source.end()).unwrap();
        assert_eq!(follower.follow(&source.end()), Err(malformed(KIND_END, 0)));
        assert_eq!(follower.follow(&source.announcement()), Err(malformed(KIND_DATA, 0)));
    }
}
