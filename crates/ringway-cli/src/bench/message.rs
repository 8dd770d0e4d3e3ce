//! The messages of a benchmark: every word of them is checked by whoever receives them.

use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Sizes that a message can have.
pub(super) const SIZES: [usize; 5] = [8, 64, 256, 1024, 4096];

/// In the first word beside the sequence number: the measurement begins with this message.
pub(super) const BEGIN: u64 = 1 << 62;
/// In the first word beside the sequence number: this is the last message.
pub(super) const LAST: u64 = 1 << 63;
/// Bits of the first word that are neither.
pub(super) const SEQUENCE: u64 = !(BEGIN | LAST);

/// Odd and without pattern, so that no word equals another word of the same or of a neighbouring message.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A message of some size, all of whose words follow from the first.
pub(super) trait Message: Payload + Copy + FromBytes + IntoBytes + Immutable {
    /// The message whose first word is `stamp`.
    fn new(stamp: u64) -> Self;

    /// Its first word.
    fn stamp(&self) -> u64;

    /// Whether it is as [`new`](Self::new) made it: neither torn, nor mixed with another.
    fn is_intact(&self) -> bool;
}

macro_rules! message {
    ($name:ident, $words:literal) => {
        #[doc = concat!("A message of ", $words, " words.")]
        #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, Payload)]
        #[repr(C)]
        pub(super) struct $name {
            words: [u64; $words],
        }

        impl Message for $name {
            #[inline]
            fn new(stamp: u64) -> Self {
                let mut words = [stamp; $words];
                for (index, word) in words.iter_mut().enumerate() {
                    *word = stamp.wrapping_add(STEP.wrapping_mul(index as u64));
                }
                Self { words }
            }

            #[inline]
            fn stamp(&self) -> u64 {
                self.words[0]
            }

            #[inline]
            fn is_intact(&self) -> bool {
                // Without an early end, so that the compiler can compare many words at a time.
                let mut difference = 0;
                for (index, word) in self.words.iter().enumerate() {
                    difference |= word ^ self.words[0].wrapping_add(STEP.wrapping_mul(index as u64));
                }
                difference == 0
            }
        }
    };
}

message!(Message8, 1);
message!(Message64, 8);
message!(Message256, 32);
message!(Message1024, 128);
message!(Message4096, 512);

/// Evaluates `$body` with `$M` being the message type of `$bytes` bytes.
macro_rules! with_message {
    ($bytes:expr, $M:ident => $body:expr) => {
        match $bytes {
            8 => {
                type $M = $crate::bench::message::Message8;
                $body
            }
            64 => {
                type $M = $crate::bench::message::Message64;
                $body
            }
            256 => {
                type $M = $crate::bench::message::Message256;
                $body
            }
            1024 => {
                type $M = $crate::bench::message::Message1024;
                $body
            }
            4096 => {
                type $M = $crate::bench::message::Message4096;
                $body
            }
            bytes => Err(std::io::Error::other(format!("no message has {bytes} bytes"))),
        }
    };
}
pub(super) use with_message;

#[cfg(test)]
mod tests {
    use super::*;

    fn check<M: Message>(bytes: usize) {
        assert_eq!(size_of::<M>(), bytes);
        let whole = M::new(7 | BEGIN);
        assert!(whole.is_intact());
        assert_eq!(whole.stamp() & SEQUENCE, 7);
        let next = M::new(8);
        for word in (8..bytes).step_by(8) {
            let mut torn = whole;
            torn.as_mut_bytes()[word..].copy_from_slice(&next.as_bytes()[word..]);
            assert!(!torn.is_intact(), "torn before byte {word} of {bytes}");
        }
        for byte in 8..bytes {
            let mut flipped = whole;
            flipped.as_mut_bytes()[byte] ^= 1;
            assert!(!flipped.is_intact(), "byte {byte} of {bytes}");
        }
    }

    #[test]
    fn a_changed_or_torn_message_is_noticed() {
        for bytes in SIZES {
            with_message!(bytes, M => {
                check::<M>(bytes);
                Ok(())
            })
            .unwrap();
        }
    }
}
