//! What the contenders carry: messages that know their number, in every word.

use std::fmt::Debug;

use iceoryx2::prelude::ZeroCopySend;
use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A message that can be made from its number and checked against it.
///
/// The bounds are the sum of what the contenders ask of a payload. Every word depends on the number
/// and on its own place, so a message that is lost, doubled, overtaken, torn or shifted is noticed.
pub trait Message:
    Copy + Debug + Send + Sync + Payload + FromBytes + IntoBytes + Immutable + ZeroCopySend + 'static
{
    /// Message `number`.
    fn numbered(number: u64) -> Self;

    /// The number in the first word; says nothing about the others.
    fn number(&self) -> u64;

    /// Whether every word is that of message `number`.
    fn is_numbered(&self, number: u64) -> bool;
}

/// What word `index` of message `number` holds; the first holds the number itself.
#[inline(always)]
fn word(number: u64, index: usize) -> u64 {
    number.wrapping_add((index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

impl Message for u64 {
    #[inline(always)]
    fn numbered(number: u64) -> Self {
        number
    }

    #[inline(always)]
    fn number(&self) -> u64 {
        *self
    }

    #[inline(always)]
    fn is_numbered(&self, number: u64) -> bool {
        *self == number
    }
}

/// Defines messages of several words.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident: $words:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Payload, FromBytes, IntoBytes, Immutable, ZeroCopySend)]
        #[repr(C)]
        pub struct $name {
            words: [u64; $words],
        }

        impl Message for $name {
            #[inline(always)]
            fn numbered(number: u64) -> Self {
                Self { words: std::array::from_fn(|index| word(number, index)) }
            }

            #[inline(always)]
            fn number(&self) -> u64 {
                self.words[0]
            }

            #[inline(always)]
            fn is_numbered(&self, number: u64) -> bool {
                // Folded without a branch a word, so that the check of 1 KiB is a few vector
                // instructions and not the cost that is measured.
                let wrong = self.words.iter().enumerate();
                wrong.fold(0, |wrong, (index, &found)| wrong | (found ^ word(number, index))) == 0
            }
        }
    )*};
}

messages! {
    /// 48 bytes: a market tick, an order.
    Bytes48: 6;
    /// 56 bytes: what fits a cache line beside an 8-byte flag (the limit that is streamed).
    Bytes56: 7;
    /// 64 bytes: a whole cache line.
    Bytes64: 8;
    /// 1 KiB: a small block.
    Bytes1024: 128;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_word_counts<M: Message>() {
        let mut message = M::numbered(41);
        assert!(message.is_numbered(41));
        assert!(!message.is_numbered(42));
        assert_eq!(message.number(), 41);
        for byte in 0..size_of::<M>() {
            let mut bytes = message.as_bytes().to_vec();
            bytes[byte] ^= 1;
            message = M::read_from_bytes(&bytes).expect("same size");
            assert!(!message.is_numbered(41), "byte {byte} was changed and nobody noticed");
            message = M::numbered(41);
        }
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        every_word_counts::<u64>();
        every_word_counts::<Bytes48>();
        every_word_counts::<Bytes56>();
        every_word_counts::<Bytes64>();
        every_word_counts::<Bytes1024>();
    }
}
