//! Channels passed over a Unix socket.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ringway::spsc::Channel;
use ringway::{Error, Options};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::child::{Part, parts, play_over};
use crate::expect::assert_refused;
use crate::left::Name;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    a_channel_passed_to_another_process_works,
    what_comes_instead_is_refused_and_closed,
    memory_that_can_be_truncated_is_refused,
    memory_without_a_descriptor_is_not_passed,
];

pub(crate) const PARTS: &[Part] = parts![receive_from_standard_input];

fn receive(socket: &UnixStream) -> Result<Channel<u64>, Error> {
    Channel::receive_fd(socket, &Options::new())
}

fn receive_from_standard_input(_: &str) -> Result<(), String> {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor"));
    let tx = receive(&socket).expect("a channel").sender().expect("a free end");
    tx.send_slice(&[1, 2, 3]).expect("room");
    // Behind the channel, the stream is the programs' own.
    let mut word = [0; 4];
    (&socket).read_exact(&mut word).expect("a word");
    assert_eq!(&word, b"done");
    Ok(())
}

fn a_channel_passed_to_another_process_works() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let channel = Channel::<u64>::anonymous(&Options::new()).unwrap();
    channel.send_fd(&ours).unwrap();
    ours.write_all(b"done").unwrap();
    play_over("receive_from_standard_input", theirs);
    assert_eq!(channel.receiver().unwrap().iter().collect::<Vec<_>>(), [1, 2, 3]);
}

/// Sends these descriptors with that byte.
pub(crate) fn send(socket: &UnixStream, byte: u8, fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
    sendmsg(socket, &[IoSlice::new(&[byte])], &mut control, SendFlags::empty()).unwrap();
}

fn what_comes_instead_is_refused_and_closed() {
    let channel = Channel::<u64>::anonymous(&Options::new()).unwrap();
    let fd = channel.as_fd().unwrap();
    let null = File::open("/dev/null").unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    for count in [2, 3, 8] {
        send(&ours, b'R', &vec![fd; count]);
        assert_refused!(receive(&theirs), Error::NotPassed { .. }, "more than one", "send_fd");
    }
    send(&ours, b'R', &[]);
    assert_refused!(receive(&theirs), Error::NotPassed { .. }, "without a descriptor");
    send(&ours, b'x', &[fd]);
    assert_refused!(receive(&theirs), Error::NotPassed { .. }, "not from a channel");
    send(&ours, b'R', &[null.as_fd()]);
    assert_refused!(receive(&theirs), Error::NotARegion { .. }, "a special file");
    channel.send_fd(&ours).unwrap();
    receive(&theirs).unwrap().sender().unwrap();
    drop(ours);
    assert_refused!(receive(&theirs), Error::NotPassed { .. }, "the connection has ended");
    assert_refused!(channel.send_fd(&theirs), Error::NotPassed { .. }, "the connection has ended");
}

fn memory_that_can_be_truncated_is_refused() {
    let from = |fd: OwnedFd, options: &Options| Channel::<u64>::from_fd(fd, options);
    let sealed = Channel::<u64>::anonymous(&Options::new()).unwrap();
    let mut bytes = Vec::new();
    File::from(sealed.as_fd().unwrap().try_clone_to_owned().unwrap()).read_to_end(&mut bytes).unwrap();
    let (shrink, grow, seal) = (SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL);
    let trusting = Options::new().trust_unsealed(true);
    for seals in [SealFlags::empty(), shrink, grow, seal, shrink | grow, shrink | seal, grow | seal] {
        let file = memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::io::write(&file, &bytes).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        let result = from(file.try_clone().unwrap(), &Options::new());
        assert_refused!(result, Error::Unsealed, "SIGBUS", "Channel::anonymous", "trust_unsealed");
        from(file, &trusting).unwrap().sender().unwrap();
    }
    for name in Name::each() {
        let named = Channel::<u64>::create(&name, &Options::new()).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        named.send_fd(&ours).unwrap();
        assert_refused!(receive(&theirs), Error::Unsealed, "not sealed");
        named.send_fd(&ours).unwrap();
        Channel::<u64>::receive_fd(&theirs, &trusting).unwrap().sender().unwrap();
    }
}

fn memory_without_a_descriptor_is_not_passed() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    for address in ["sysv:private", "anon:", "heap:"] {
        let channel = Channel::<u64>::create(address, &Options::new()).unwrap();
        assert_refused!(channel.send_fd(&ours), Error::Unsupported { .. }, "created at memfd:");
    }
}
