//! A channel in an anonymous region, which the processes attach through a descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use ringway::channel_of::{Channel, Flavor, Receiver, Sender};
use ringway::{Error, Options};

use super::{Ends, Inlet, Outlet};
use crate::bench::message::Message;
use crate::bench::plan::{Cell, Wait};

/// A region for messages of type `M`: both ends are the same descriptor.
pub(crate) fn region<M: Message, F: Flavor>(capacity: usize) -> io::Result<Ends> {
    let channel = Channel::<M, F>::anonymous(&Options::new().capacity(capacity)).map_err(io::Error::other)?;
    let region = channel.as_fd().ok_or_else(|| io::Error::other("an anonymous region has a descriptor"))?;
    Ok(Ends { incoming: region.try_clone_to_owned()?, outgoing: region.try_clone_to_owned()? })
}

/// The receiver, whose region is the standard input.
pub(crate) struct Incoming<M: Message, F: Flavor>(Receiver<M, F>);

/// The sender, whose region is the standard output.
pub(crate) struct Outgoing<M: Message, F: Flavor>(Sender<M, F>);

impl<M: Message, F: Flavor> Incoming<M, F> {
    /// Takes the role.
    pub(crate) fn open(cell: &Cell) -> io::Result<Self> {
        attach(&io::stdin(), cell, Channel::receiver).map(Self)
    }
}

impl<M: Message, F: Flavor> Outgoing<M, F> {
    /// Takes the role.
    pub(crate) fn open(cell: &Cell) -> io::Result<Self> {
        attach(&io::stdout(), cell, Channel::sender).map(Self)
    }
}

/// Opens an end of the channel behind a descriptor.
pub(crate) fn attach<M: Message, F: Flavor, H>(
    region: &impl AsFd,
    cell: &Cell,
    open: impl FnOnce(&Channel<M, F>) -> Result<H, Error>,
) -> io::Result<H> {
    let wait = match cell.wait {
        Wait::Spin => ringway::Wait::Spin,
        Wait::Adaptive => ringway::Wait::Adaptive,
        Wait::Park => ringway::Wait::Park,
        Wait::Kernel => return Err(io::Error::other("the kernel does not wait for channels")),
    };
    let region: OwnedFd = region.as_fd().try_clone_to_owned()?;
    Channel::from_fd(region, &Options::new().wait(wait)).and_then(|channel| open(&channel)).map_err(io::Error::other)
}

impl<M: Message, F: Flavor> Outlet<M> for Outgoing<M, F> {
    #[inline]
    fn send(&mut self, message: M) -> io::Result<()> {
        self.0.send(message).map_err(|error| io::Error::other(error.to_string()))
    }

    #[inline]
    fn send_batch(&mut self, messages: &[M]) -> io::Result<()> {
        self.0.send_slice(messages).map_err(io::Error::other)
    }
}

impl<M: Message, F: Flavor> Inlet<M> for Incoming<M, F> {
    #[inline]
    fn recv(&mut self) -> io::Result<M> {
        self.0.recv().map_err(io::Error::other)
    }

    #[inline]
    fn recv_batch(&mut self, messages: &mut [M]) -> io::Result<usize> {
        self.0.recv_slice(messages).map_err(io::Error::other)
    }
}
