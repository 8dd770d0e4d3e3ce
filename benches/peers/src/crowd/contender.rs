//! What a contender among many has to offer.
//!
//! Its calls never wait: the waiting is done outside, by one policy for all of them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Work;
use crate::message::Message;

/// What the report says about a contender.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Unique, and short enough for a table.
    pub name: &'static str,
    /// The crate as `Cargo.lock` knows it, with the beginning of its version where several are locked (`name@1`).
    pub package: &'static str,
    /// Whether every producer and consumer is a process, not a thread.
    pub processes: bool,
    /// Whether it has calls for batches.
    pub batches: bool,
    /// Whether a producer and a consumer are stopped all the while, beside those that are measured.
    pub stalled: bool,
}

impl About {
    /// Whether this work is for it.
    pub fn does(&self, work: Work, shape: usize) -> bool {
        (self.batches || work.batch == 1) && (!self.stalled || shape > 1)
    }
}

/// Where processes find a channel.
#[derive(Clone, Debug)]
pub struct Place(PathBuf);

impl Place {
    /// Below an empty directory in shared memory, whose own name is in use nowhere else.
    pub fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// A path where nothing else is.
    pub fn path(&self) -> PathBuf {
        self.0.join("crowd")
    }

    /// A name that is in use nowhere else on this machine.
    pub fn name(&self) -> String {
        format!("{}-crowd", self.0.file_name().unwrap_or_default().to_string_lossy())
    }
}

/// A kind of channel.
pub trait Contender: 'static {
    /// What the report says.
    const ABOUT: About;
    /// A channel, of which ends can be opened.
    type Channel<M: Message>;
    /// A producer's end.
    type Tx<M: Message>: SendEnd<M>;
    /// A consumer's end.
    type Rx<M: Message>: ReceiveEnd<M>;

    /// A new channel that holds `capacity` messages.
    ///
    /// # Errors
    ///
    /// The contender's own.
    fn create<M: Message>(place: &Place, capacity: usize) -> Result<Self::Channel<M>>;

    /// The same channel in another process.
    ///
    /// # Errors
    ///
    /// The contender's own; that it has no such thing.
    fn attach<M: Message>(place: &Place) -> Result<Self::Channel<M>> {
        let _ = place;
        anyhow::bail!("{} lives in one process", Self::ABOUT.name)
    }

    /// One more producer's end.
    ///
    /// # Errors
    ///
    /// The contender's own.
    fn sender<M: Message>(channel: &Self::Channel<M>) -> Result<Self::Tx<M>>;

    /// One more consumer's end.
    ///
    /// # Errors
    ///
    /// The contender's own.
    fn receiver<M: Message>(channel: &Self::Channel<M>) -> Result<Self::Rx<M>>;
}

/// A producer's end.
pub trait SendEnd<M: Message>: Send {
    /// Sends a message if there is room; says whether it did.
    fn try_send(&mut self, message: M) -> bool;

    /// Sends as many as there is room for, by the contender's own batch operation; says how many.
    ///
    /// Called only if [`About::batches`].
    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[M]) -> usize {
        usize::from(self.try_send(messages[0]))
    }
}

/// A consumer's end.
pub trait ReceiveEnd<M: Message>: Send {
    /// Takes a message if there is one.
    fn try_receive(&mut self) -> Option<M>;

    /// Takes as many as there are, by the contender's own batch operation; says how many.
    ///
    /// Called only if [`About::batches`].
    #[inline(always)]
    fn try_receive_batch(&mut self, messages: &mut [M]) -> usize {
        match self.try_receive() {
            Some(message) => {
                messages[0] = message;
                1
            }
            None => 0,
        }
    }
}
