//! Pipes, FIFOs and sockets: what `read` and `write` work on.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, fcntl_setfl, mkfifoat, open};
use rustix::pipe::{PipeFlags, pipe_with};
use zerocopy::IntoBytes;

use super::{Ends, Inlet, Outlet};
use crate::bench::message::Message;
use crate::bench::plan::Cell;

/// An anonymous pipe.
pub(crate) fn pipe() -> io::Result<Ends> {
    let (incoming, outgoing) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok(Ends { incoming, outgoing })
}

/// A named pipe in a directory of its own, both of which are gone again when this returns.
pub(crate) fn fifo() -> io::Result<Ends> {
    let unique = RandomState::new().build_hasher().finish();
    let directory = std::env::temp_dir().join(format!("ringway-bench-{unique:016x}"));
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    let ends = fifo_at(&directory.join("fifo"));
    fs::remove_dir_all(&directory)?;
    ends
}

fn fifo_at(path: &Path) -> io::Result<Ends> {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?;
    // Without NONBLOCK, opening one end waits for the other, which we are about to open ourselves.
    let incoming = open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    let outgoing = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    fcntl_setfl(&incoming, OFlags::empty())?;
    Ok(Ends { incoming, outgoing })
}

/// Both ends of a Unix stream connection.
pub(crate) fn unix_stream() -> io::Result<[OwnedFd; 2]> {
    let (one, other) = UnixStream::pair()?;
    Ok([one.into(), other.into()])
}

/// Both ends of a TCP connection that sends small messages at once.
pub(crate) fn tcp() -> io::Result<[OwnedFd; 2]> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    let own = one.local_addr()?;
    // Whoever else connects to the port is turned away.
    let other = loop {
        let (stream, from) = listener.accept()?;
        if from == own {
            break stream;
        }
    };
    one.set_nodelay(true)?;
    other.set_nodelay(true)?;
    Ok([one.into(), other.into()])
}

/// The standard input.
pub(crate) struct Incoming {
    file: File,
    /// Bytes of a message that is not complete yet, after a batch.
    partial: Vec<u8>,
}

/// The standard output.
pub(crate) struct Outgoing(File);

impl Incoming {
    /// Of this process.
    pub(crate) fn open(_: &Cell) -> io::Result<Self> {
        Ok(Self { file: io::stdin().as_fd().try_clone_to_owned()?.into(), partial: Vec::new() })
    }
}

impl Outgoing {
    /// Of this process.
    pub(crate) fn open(_: &Cell) -> io::Result<Self> {
        Ok(Self(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }
}

impl<M: Message> Outlet<M> for Outgoing {
    #[inline]
    fn send(&mut self, message: M) -> io::Result<()> {
        self.0.write_all(message.as_bytes())
    }

    #[inline]
    fn send_batch(&mut self, messages: &[M]) -> io::Result<()> {
        self.0.write_all(messages.as_bytes())
    }
}

impl<M: Message> Inlet<M> for Incoming {
    #[inline]
    fn recv(&mut self) -> io::Result<M> {
        let mut message = M::new_zeroed();
        self.file.read_exact(message.as_mut_bytes())?;
        Ok(message)
    }

    #[inline]
    fn recv_batch(&mut self, messages: &mut [M]) -> io::Result<usize> {
        let room = messages.as_mut_bytes();
        let mut len = self.partial.len();
        room[..len].copy_from_slice(&self.partial);
        while len < size_of::<M>() {
            match self.file.read(&mut room[len..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => len += more,
            }
        }
        let count = len / size_of::<M>();
        self.partial.clear();
        self.partial.extend_from_slice(&room[count * size_of::<M>()..len]);
        Ok(count)
    }
}
