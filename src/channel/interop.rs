//! Regions that the `shared_memory` crate made, and ours opened by it (feature `shared_memory`).
//!
//! That crate maps a named segment without reserving its pages and keeps the descriptor to itself, so neither a lease
//! nor a reservation can go through it. Its segments are files of the same tmpfs, though, so the name leads us to the
//! same memory, with a descriptor of our own. The other way round nothing is needed: `ShmemConf::os_id(name).open()`
//! opens a region of ours, and [`Channel::attach_in`] finds the channel in it.

use shared_memory::Shmem;

use super::{Channel, Flavor, Options};
use crate::error::Error;
use crate::payload::Payload;
use crate::region::{Region, Request};

impl<T: Payload, F: Flavor> Channel<T, F> {
    /// Lays a channel into a segment that the `shared_memory` crate made. Whatever the segment held is lost.
    ///
    /// The segment's name, mode and removal stay that crate's business: it unlinks the name when the owning [`Shmem`] is
    /// dropped; the channel works on for who is attached.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if the segment is too small for the capacity (both sizes are in it); [`Error::AlreadyExists`]
    /// if it carries a channel that somebody has open.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    /// use shared_memory::ShmemConf;
    ///
    /// let segment = ShmemConf::new().size(1 << 20).create()?;
    /// let options = Options::new().capacity(1000);
    /// let tx = Channel::<u64>::create_in(&segment, &options)?.sender()?;
    /// let rx = Channel::<u64>::attach_in(&segment, &options)?.receiver()?;
    /// tx.send(7)?;
    /// assert_eq!(rx.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_in(segment: &Shmem, options: &Options) -> Result<Self, Error> {
        let request = Request::of::<T>(F::FLAVOR);
        Self::new(Region::create_within(name(segment), &request, options.creation(), &options.pages), options)
    }

    /// Opens the channel that lies in a segment of the `shared_memory` crate, whichever side made it.
    ///
    /// # Errors
    /// As [`Channel::attach`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, mpmc::Channel};
    /// use shared_memory::ShmemConf;
    ///
    /// let segment = ShmemConf::new().size(1 << 20).create()?;
    /// let options = Options::new().capacity(64).peers(16);
    /// let channel = Channel::<u64>::create_in(&segment, &options)?;
    ///
    /// // in the other process, which opened the segment:
    /// assert_eq!(Channel::<u64>::attach_in(&segment, &options)?.capacity(), 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attach_in(segment: &Shmem, options: &Options) -> Result<Self, Error> {
        Self::attach(name(segment), options)
    }
}

/// That crate writes names with the leading slash of `shm_open`.
fn name(segment: &Shmem) -> &str {
    let id = segment.get_os_id();
    id.strip_prefix('/').unwrap_or(id)
}
