//! A typed channel between processes: a lock-free ring in shared memory, with a `Sender<T>` and a `Receiver<T>` at its
//! ends, which supply the synchronization that the kernel leaves out.

// So that `#[derive(Payload)]`, which writes `::ringway`, works in here, too.
extern crate self as ringway;

mod channel;
mod error;
mod inspect;
mod layout;
mod lease;
mod memory;
mod payload;
mod peer;
mod region;
mod ring;
mod sync;
mod sys;
mod wait;

pub use channel::Options;
pub use error::{
    Error, Fault, RecvError, RecvTimeoutError, Role, SendError, SendSliceError, SendTimeoutError, TryRecvError,
    TrySendError,
};
pub use inspect::Inspection;
pub use payload::{Field, Payload, Schema, Shape};
pub use peer::PeerState;
pub use region::unlink;
#[cfg(feature = "derive")]
pub use ringway_derive::Payload;
pub use wait::Wait;

/// One producer, one consumer.
pub mod spsc {
    pub use crate::channel::{Channel, IntoIter, Iter, Receiver, Sender, TryIter, channel};
}
