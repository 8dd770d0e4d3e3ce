//! A typed channel between processes: a lock-free ring in shared memory, with a [`Sender`](spsc::Sender) and a
//! [`Receiver`](spsc::Receiver) at its ends, which supply the synchronization that the kernel leaves out.
//!
//! ```
//! use ringway::{Options, Payload, spsc::Channel};
//! use zerocopy::{FromBytes, Immutable, IntoBytes};
//!
//! #[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, Payload)]
//! #[repr(C)]
//! struct Tick {
//!     price: f64,
//!     size: u32,
//!     venue: u32,
//! }
//!
//! # let name = &format!("doc-lib-{}", std::process::id());
//! // one process
//! let options = Options::new().capacity(4096);
//! let tx = Channel::<Tick>::open_or_create(name, &options)?.sender()?;
//! // another
//! let rx = Channel::<Tick>::open_or_create(name, &options)?.receiver()?;
//!
//! let tick = Tick { price: 101.5, size: 300, venue: 4 };
//! tx.send(tick)?;
//! assert_eq!(rx.recv()?, tick);
//!
//! drop(tx); // or a crash of that process
//! assert!(rx.recv().unwrap_err().is_disconnected());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`spsc`] has one sender and one receiver at a time, [`mpmc`] any number of both; the methods are the same, so switching
//! is one line.
//!
//! # What holds
//!
//! * **Progress**: [`spsc`]'s `try_send` and `try_recv` are wait-free, [`mpmc`]'s lock-free. They make a system call only to
//!   wake a sleeper, and on an empty or full ring, once a clock tick, to ask whether the other side lives. The blocking calls
//!   sleep in the kernel and cost the other side nothing until then.
//! * **Order and delivery**: first in, first out; nothing is lost, duplicated or torn between live ends. `recv` is
//!   at most once: what a process had received when it was killed is lost with it. [`mpmc`]'s `recv_guard` is at least
//!   once, and counts redeliveries.
//! * **Crash**: any process may be killed at any instruction. [`spsc`]: the other side gets everything that was sent, then
//!   `Disconnected`; a new process takes the dead one's end over and continues exactly where it stopped. [`mpmc`]: the
//!   others go on. That a process is dead is proved by the kernel (a lock that lives as long as its mapping), never by a
//!   clock or a pid.
//! * **Stall**: a stopped process counts as alive, because it may go on. [`spsc`]: its end cannot be taken. [`mpmc`]: it
//!   costs the others one slot of the capacity, and their patience of some microseconds once.
//! * **Trust**: a peer that scribbles over the region can forge, drop or delay messages; it cannot cause undefined
//!   behaviour, a panic or an endless loop here. Use [`Channel::anonymous`](spsc::Channel::anonymous) with such peers, and
//!   [`send_fd`](spsc::Channel::send_fd): they could truncate a named file, which ends in a `SIGBUS`.
//! * **Memory**: the same channel in POSIX or System V shared memory, in a file, in memory that is inherited or passed over
//!   a socket, or on the heap; an [`Address`] says which.
//!
//! # What it does not do
//!
//! Exactly-once delivery; telling a killed sender whether its last message was sent; replacing a stopped end in place;
//! borrowing a message in place; other systems than Linux.

// So that `#[derive(Payload)]`, which writes `::ringway`, works in here, too.
extern crate self as ringway;

mod address;
mod capabilities;
mod channel;
mod error;
mod inspect;
mod layout;
mod lease;
mod memory;
mod pages;
mod payload;
mod peer;
mod region;
mod ring;
mod sync;
mod sys;
mod wait;

pub use address::{Address, Backing};
pub use capabilities::{Capabilities, Cost, Leases};
pub use channel::Options;
pub use error::{
    Error, Fault, RecvError, RecvTimeoutError, Role, SendError, SendSliceError, SendTimeoutError, TryRecvError,
    TrySendError,
};
pub use inspect::{Inspection, Observer, Slots};
pub use pages::{HugePages, MemoryReport};
#[doc(hidden)]
pub use payload::{Field, Shape};
pub use payload::{Payload, Schema};
pub use peer::PeerState;
pub use region::unlink;
#[cfg(feature = "derive")]
pub use ringway_derive::Payload;
pub use wait::Wait;

/// The types behind the aliases in [`spsc`] and [`mpmc`], for code that is generic over the flavor.
pub mod channel_of {
    pub use crate::channel::{Channel, Ends, Flavor, IntoIter, Iter, Mpmc, Receiver, Sender, Spsc, TryIter};
}

/// One producer, one consumer.
pub mod spsc {
    pub use crate::channel::spsc_channel as channel;
    use crate::channel::{self, Spsc};

    /// A channel with one sender and one receiver at a time.
    pub type Channel<T> = channel::Channel<T, Spsc>;
    /// Its sending end: `Send`, and neither `Sync` nor `Clone`.
    pub type Sender<T> = channel::Sender<T, Spsc>;
    /// Its receiving end: `Send`, and neither `Sync` nor `Clone`.
    pub type Receiver<T> = channel::Receiver<T, Spsc>;
    /// Iterator of [`Receiver::iter`].
    pub type Iter<'a, T> = channel::Iter<'a, T, Spsc>;
    /// Iterator of [`Receiver::try_iter`].
    pub type TryIter<'a, T> = channel::TryIter<'a, T, Spsc>;
    /// Iterator that owns its receiver.
    pub type IntoIter<T> = channel::IntoIter<T, Spsc>;
}

/// Any number of producers and consumers, each message to one of the consumers.
pub mod mpmc {
    use crate::channel::{self, Mpmc};
    pub use crate::channel::{Guard, mpmc_channel as channel};

    /// A channel with any number of senders and receivers.
    pub type Channel<T> = channel::Channel<T, Mpmc>;
    /// A sending end: `Send`, `Sync` and `Clone`.
    pub type Sender<T> = channel::Sender<T, Mpmc>;
    /// A receiving end: `Send`, `Sync` and `Clone`.
    pub type Receiver<T> = channel::Receiver<T, Mpmc>;
    /// Iterator of [`Receiver::iter`].
    pub type Iter<'a, T> = channel::Iter<'a, T, Mpmc>;
    /// Iterator of [`Receiver::try_iter`].
    pub type TryIter<'a, T> = channel::TryIter<'a, T, Mpmc>;
    /// Iterator that owns its receiver.
    pub type IntoIter<T> = channel::IntoIter<T, Mpmc>;
}

/// The README's program compiles.
#[cfg(all(doctest, feature = "derive"))]
#[doc = include_str!("../README.md")]
struct Readme;
