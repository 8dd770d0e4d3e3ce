//! The contenders, each in its best plain form.
//!
//! The benchmark makes both ends and gives each process its own as standard input and output, so a run leaves nothing
//! behind, however it ends. One message a call means one `send`, `write`, `recv` or `read` a message; with batches, a
//! call carries up to 32. Pipes and sockets keep the buffer sizes that the kernel gives them.

pub(super) mod channel;
pub(super) mod kernel;

use std::io;
use std::os::fd::OwnedFd;

use ringway::channel_of::{Mpmc, Spsc};

use super::message::{Message, with_message};
use super::plan::{Cell, Transport};

/// Where messages go out.
pub(super) trait Outlet<M: Message> {
    /// Sends one message, however long that takes.
    fn send(&mut self, message: M) -> io::Result<()>;

    /// Sends them all.
    fn send_batch(&mut self, messages: &[M]) -> io::Result<()>;
}

/// Where messages come in.
pub(super) trait Inlet<M: Message> {
    /// Waits for one message.
    fn recv(&mut self) -> io::Result<M>;

    /// Waits for at least one message, and says how many came.
    fn recv_batch(&mut self, messages: &mut [M]) -> io::Result<usize>;
}

/// What one process has of a connection in both directions.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) incoming: OwnedFd,
    pub(super) outgoing: OwnedFd,
}

/// Connects two processes that are still to be started.
pub(super) fn connect(cell: &Cell, capacity: usize) -> io::Result<[Ends; 2]> {
    let one_way = || match cell.transport {
        Transport::Spsc => with_message!(cell.bytes, M => channel::region::<M, Spsc>(capacity)),
        Transport::Mpmc => with_message!(cell.bytes, M => channel::region::<M, Mpmc>(capacity)),
        Transport::Pipe => kernel::pipe(),
        Transport::Fifo => kernel::fifo(),
        Transport::UnixStream | Transport::Tcp => unreachable!("sockets go both ways"),
    };
    let sockets = match cell.transport {
        Transport::UnixStream => kernel::unix_stream()?,
        Transport::Tcp => kernel::tcp()?,
        _ => {
            let (there, back) = (one_way()?, one_way()?);
            return Ok([
                Ends { incoming: back.incoming, outgoing: there.outgoing },
                Ends { incoming: there.incoming, outgoing: back.outgoing },
            ]);
        }
    };
    let [one, other] = sockets.map(|socket| io::Result::Ok(Ends { incoming: socket.try_clone()?, outgoing: socket }));
    Ok([one?, other?])
}
