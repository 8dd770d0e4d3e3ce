//! Passing one descriptor over a Unix socket.

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

/// The byte that carries a descriptor: a stream passes none without data.
const CARRIER: [u8; 1] = *b"R";

pub(crate) fn send(socket: &UnixStream, fd: BorrowedFd<'_>) -> Result<(), Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "there is room for one");
    loop {
        match sendmsg(socket, &[IoSlice::new(&CARRIER)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(Error::NotPassed { reason: "the connection has ended" }),
            Err(errno) => return Err(os("sendmsg")(errno)),
        }
    }
}

/// The one descriptor that comes; whatever else comes instead is closed again.
pub(crate) fn receive(socket: &UnixStream) -> Result<OwnedFd, Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
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
    let reason = match fds.len() {
        0 if received.bytes == 0 => "the connection has ended",
        0 => "something else came, without a descriptor",
        1 if data != CARRIER => "a descriptor came, but not from a channel",
        1 if !received.flags.contains(ReturnFlags::CTRUNC) => return Ok(fds.remove(0)),
        _ => "more than one descriptor came",
    };
    Err(Error::NotPassed { reason })
}
