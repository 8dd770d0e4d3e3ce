//! Passing a channel's descriptors over a Unix socket.

use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::os;
use crate::error::Error;

/// The byte that carries one descriptor: a stream passes none without data.
const ONE: [u8; 1] = *b"R";
/// The byte that carries two.
const TWO: [u8; 1] = *b"W";

/// Sends a descriptor, and the one that goes with it if there is one.
pub(crate) fn send(socket: &UnixStream, fd: BorrowedFd<'_>, other: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let carrier = if other.is_some() { TWO } else { ONE };
    let fds: Vec<_> = [fd].into_iter().chain(other).collect();
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "there is room for two");
    loop {
        match sendmsg(socket, &[IoSlice::new(&carrier)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(Error::NotPassed { reason: "the connection has ended" }),
            Err(errno) => return Err(os("sendmsg")(errno)),
        }
    }
}

/// What [`send`] sent; whatever else comes instead is closed again.
pub(crate) fn receive(socket: &UnixStream) -> Result<(OwnedFd, Option<OwnedFd>), Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [0; 1];
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut data)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            received => break received.map_err(os("recvmsg"))?,
        }
    };
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let mut fds: Vec<OwnedFd> = rights.flatten().collect();
    let is_whole = !received.flags.contains(ReturnFlags::CTRUNC);
    let reason = match fds.len() {
        0 if received.bytes == 0 => "the connection has ended",
        0 => "something else came, without a descriptor",
        1 if data != ONE => "a descriptor came, but not from a channel",
        1 if is_whole => return Ok((fds.remove(0), None)),
        2 if is_whole && data == TWO => return Ok((fds.remove(0), fds.pop())),
        _ => "more than one descriptor came",
    };
    Err(Error::NotPassed { reason })
}
