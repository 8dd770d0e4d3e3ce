//! Messages whose whole content follows from their number, of every size at which the ring takes another form.

use std::fmt::Debug;

use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::random::mix;

/// A message that tells whether it is whole and where it belongs.
pub(crate) trait Message: Payload + Copy + PartialEq + Debug {
    /// The message of that number. Neighbours differ, unless the type is too small to.
    fn number(number: u64) -> Self;
}

/// The messages of those numbers.
pub(crate) fn numbered<T: Message>(numbers: impl IntoIterator<Item = u64>) -> Vec<T> {
    numbers.into_iter().map(T::number).collect()
}

impl Message for u64 {
    fn number(number: u64) -> Self {
        number
    }
}

impl Message for u128 {
    fn number(number: u64) -> Self {
        u128::from(mix(number)) << 64 | u128::from(number)
    }
}

impl<const N: usize> Message for [u8; N] {
    fn number(number: u64) -> Self {
        let mut bytes = [0; N];
        for (index, chunk) in bytes.chunks_mut(8).enumerate() {
            let word = if index == 0 { number } else { mix(number ^ (index as u64) << 56) };
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
        bytes
    }
}

impl Message for () {
    fn number(_: u64) -> Self {}
}

/// Fields of several widths, 24 bytes: two to a block.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
pub(crate) struct Trade {
    price: f64,
    number: u64,
    size: u32,
    venue: u16,
    flags: [u8; 2],
}

impl Message for Trade {
    fn number(number: u64) -> Self {
        let mixed = mix(number);
        Self {
            price: (mixed >> 12) as f64,
            number,
            size: mixed as u32,
            venue: (mixed >> 32) as u16,
            flags: [(mixed >> 48) as u8, (mixed >> 56) as u8],
        }
    }
}

/// Alignment beyond a word, and beyond what a slot has.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C, align(64))]
pub(crate) struct Aligned([u64; 8]);

impl Message for Aligned {
    fn number(number: u64) -> Self {
        Self(std::array::from_fn(|word| mix(number.wrapping_add(word as u64))))
    }
}

/// Calls `function::<T, F>(arguments)` for every kind of message.
macro_rules! for_every_message {
    ($function:ident::<_, $flavor:ident>($($argument:expr),*)) => {
        for_every_message!(@ $function $flavor ($($argument),*)
            [u8; 0], [u8; 1], [u8; 2], [u8; 3], [u8; 4], [u8; 8], [u8; 9], [u8; 16], [u8; 28], [u8; 40], [u8; 48],
            [u8; 56], [u8; 57], [u8; 64], [u8; 200], [u8; 1024], [u8; 4096],
            (), u64, u128, $crate::message::Trade, $crate::message::Aligned
        )
    };
    // The arguments as one tree, because they repeat independently of the types.
    (@ $function:ident $flavor:ident $arguments:tt $($message:ty),*) => {
        $($function::<$message, $flavor> $arguments;)*
    };
}
pub(crate) use for_every_message;
