//! Channels whose messages only one process can write.

use std::fs::File;
use std::io::{ErrorKind, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, id};

use ringway::channel_of::{Channel as AnyChannel, Mpmc};
use ringway::spsc::Channel;
use ringway::{Error, HugePages, Options, RecvError, TryRecvError};
use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect, munmap};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::child::{Part, parts, play_over, start_over};
use crate::expect::{assert_refused, damaged};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    the_receiving_process_cannot_write_messages,
    a_forged_tail_makes_no_messages,
    a_receiver_is_taken_over,
    a_killed_sender_ends_the_channel,
    only_the_creator_opens_the_sending_end,
    a_child_of_the_creator_receives_and_does_not_send,
    either_half_alone_is_refused,
    both_files_are_to_be_sealed,
    what_cannot_be_one_way_is_refused,
    both_files_are_reported_and_given_away,
];

pub(crate) const PARTS: &[Part] = parts![try_to_write, receive_and_wait, create_send_and_wait];

/// docs/LAYOUT.md, in a number of its own.
const BLOCKS: usize = 8192;
/// As above, of the sender's hint, which lies where receivers may write.
const TAIL: u64 = 4352;

fn one_way() -> Options {
    Options::new().one_way(true)
}

/// Both descriptors, as they come over a socket.
fn raw(socket: &UnixStream) -> [OwnedFd; 2] {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC).expect("a message");
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    fds.flatten().collect::<Vec<_>>().try_into().expect("two descriptors")
}

/// Both files of a channel.
fn files(channel: &Channel<u64>) -> [File; 2] {
    let (ours, theirs) = UnixStream::pair().unwrap();
    channel.send_fd(&ours).unwrap();
    raw(&theirs).map(File::from)
}

fn over_standard_input() -> UnixStream {
    UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor"))
}

fn tell(mut socket: &UnixStream) {
    socket.write_all(b"!").expect("the other side listens");
}

fn hear(mut socket: &UnixStream) {
    std::io::Read::read_exact(&mut socket, &mut [0]).expect("the other side speaks");
}

fn kill(mut child: Child) {
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
}

fn the_receiving_process_cannot_write_messages() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let channel = Channel::<u64>::anonymous(&one_way()).unwrap();
    let tx = channel.sender().unwrap();
    tx.send_slice(&[1, 2, 3]).unwrap();
    channel.send_fd(&ours).unwrap();
    channel.send_fd(&ours).unwrap();
    play_over("try_to_write", theirs);
    assert_eq!(channel.receiver().unwrap().recv(), Ok(3), "the others were received there");
}

/// Whatever could write to the second file, in a process that was given it.
fn try_to_write(_: &str) -> Result<(), String> {
    let socket = over_standard_input();
    let channel = Channel::<u64>::receive_fd(&socket, &Options::new()).expect("a channel");
    let rx = channel.receiver().expect("a free end");
    assert_eq!(rx.recv(), Ok(1));
    let [shared, blocks] = raw(&socket).map(File::from);
    let reopened = |file: &File| {
        File::options().read(true).write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("/proc")
    };
    // The first file shows that the attempts themselves are sound.
    for file in [&shared, &reopened(&shared)] {
        // Behind the words that are in use.
        file.write_all_at(&[0; 8], 5000).expect("both sides write to it");
        assert_eq!(map_for_writing(file), Ok(()));
    }
    for file in [&blocks, &reopened(&blocks)] {
        assert_eq!(file.write_at(&[9; 8], 8).expect_err("sealed").kind(), ErrorKind::PermissionDenied);
        assert_eq!(map_for_writing(file), Err(Errno::PERM));
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert_eq!(fallocate(file, hole, 0, 4096), Err(Errno::PERM));
        assert_eq!(file.set_len(4096).expect_err("sealed").kind(), ErrorKind::PermissionDenied);
        assert_eq!(fcntl_add_seals(file, SealFlags::WRITE), Err(Errno::PERM));
        assert_eq!(change_to_writing(file), Err(Errno::ACCESS));
    }
    // What the receiving end itself has mapped of it.
    let inode = format!(" {} ", std::os::unix::fs::MetadataExt::ino(&blocks.metadata().expect("an open file")));
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    let mapped: Vec<_> = maps.lines().filter(|line| line.contains(&inode)).collect();
    assert_eq!(mapped.len(), 1, "{maps}");
    assert_eq!(mapped[0].split(' ').nth(1), Some("r--s"));
    let start = usize::from_str_radix(mapped[0].split('-').next().expect("an address"), 16).expect("a number");
    // SAFETY: the kernel refuses; if it did not, the mapping would still be one.
    #[allow(unsafe_code)]
    let changed = unsafe { mprotect(start as *mut _, 4096, MprotectFlags::READ | MprotectFlags::WRITE) };
    assert_eq!(changed, Err(Errno::ACCESS));
    assert_eq!(rx.recv(), Ok(2));
    assert_refused!(channel.sender(), Error::Unsupported { .. }, "sending end", "the process that created");
    Ok(())
}

fn map_for_writing(file: &File) -> Result<(), Errno> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice overlays nothing.
    #[allow(unsafe_code)]
    let base = unsafe { mmap(std::ptr::null_mut(), 4096, protection, MapFlags::SHARED, file, 0) }?;
    // SAFETY: exactly the mapping made above, which nobody uses.
    #[allow(unsafe_code)]
    unsafe {
        munmap(base, 4096)
    }
}

fn change_to_writing(file: &File) -> Result<(), Errno> {
    // SAFETY: a fresh mapping at an address of the kernel's choice overlays nothing.
    #[allow(unsafe_code)]
    let base = unsafe { mmap(std::ptr::null_mut(), 4096, ProtFlags::READ, MapFlags::SHARED, file, 0) }?;
    // SAFETY: exactly the mapping made above, which nobody uses.
    #[allow(unsafe_code)]
    let changed = unsafe { mprotect(base, 4096, MprotectFlags::READ | MprotectFlags::WRITE) };
    // SAFETY: as above.
    #[allow(unsafe_code)]
    unsafe { munmap(base, 4096) }.expect("it is mapped");
    changed
}

fn a_forged_tail_makes_no_messages() {
    let channel = Channel::anonymous(&one_way().capacity(64)).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let [positions, _] = files(&channel);
    let forge = |tail: u64| positions.write_all_at(&tail.to_le_bytes(), TAIL).unwrap();
    let (mut sent, mut received) = (0, 0);
    for turns in 400..600 {
        // A receiver that finds the ring empty puts off its look at the tail; in this loop there is always something.
        for turn in 0..turns {
            while sent < received + 5 {
                tx.send(sent).unwrap();
                sent += 1;
            }
            forge(sent + turn % 50);
            assert_eq!(rx.recv(), Ok(received));
            received += 1;
        }
        let mut rest = [0; 64];
        assert_eq!(rx.recv_slice(&mut rest), Ok((sent - received) as usize));
        assert!(rest.into_iter().zip(received..sent).all(|(found, number)| found == number));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        received = sent;
    }
}

fn a_receiver_is_taken_over() {
    let channel = Channel::<u64>::anonymous(&one_way().capacity(8)).unwrap();
    let tx = channel.sender().unwrap();
    for first in [0, 2, 4] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        channel.send_fd(&ours).unwrap();
        let child = start_over("receive_and_wait", theirs);
        tx.send_slice(&[first, first + 1]).unwrap();
        hear(&ours);
        assert_refused!(channel.receiver(), Error::RoleTaken { .. }, "receiver");
        kill(child);
    }
    // Every one of them had received one message when it was killed.
    assert_eq!(channel.receiver().unwrap().try_iter().collect::<Vec<_>>(), [3, 4, 5]);
}

fn receive_and_wait(_: &str) -> Result<(), String> {
    let socket = over_standard_input();
    let rx = Channel::<u64>::receive_fd(&socket, &Options::new()).expect("a channel").receiver().expect("a free end");
    rx.recv().expect("a message");
    tell(&socket);
    // Until it is killed.
    hear(&socket);
    Ok(())
}

fn a_killed_sender_ends_the_channel() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = start_over("create_send_and_wait", theirs);
    let channel = Channel::<u64>::receive_fd(&ours, &Options::new()).unwrap();
    let rx = channel.receiver().unwrap();
    hear(&ours);
    assert_refused!(channel.sender(), Error::Unsupported { .. }, "the process that created the channel");
    assert_eq!(rx.recv(), Ok(1));
    kill(child);
    assert_eq!(rx.recv(), Ok(2));
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    assert_refused!(channel.sender(), Error::Unsupported { .. }, "the process that created the channel");
    assert!(!channel.sender_state().to_string().is_empty());
}

fn create_send_and_wait(_: &str) -> Result<(), String> {
    let socket = over_standard_input();
    let channel = Channel::<u64>::anonymous(&one_way()).expect("memory");
    channel.send_fd(&socket).expect("a connection");
    let tx = channel.sender().expect("a free end");
    tx.send_slice(&[1, 2]).expect("room");
    tell(&socket);
    // Until it is killed.
    hear(&socket);
    Ok(())
}

fn only_the_creator_opens_the_sending_end() {
    let channel = Channel::<u64>::anonymous(&one_way().capacity(20)).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    channel.send_fd(&ours).unwrap();
    let other = Channel::<u64>::receive_fd(&theirs, &Options::new()).unwrap();
    let rx = other.receiver().unwrap();
    for round in 0..3 {
        assert_refused!(other.sender(), Error::Unsupported { .. }, "sending end", "the process that created");
        let tx = channel.sender().unwrap();
        assert_refused!(channel.sender(), Error::RoleTaken { .. }, "sender");
        (0..15).for_each(|number| tx.send(15 * round + number).unwrap());
        drop(tx);
        (0..15).for_each(|number| assert_eq!(rx.recv(), Ok(15 * round + number)));
        assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    }
    // It can be passed on, which makes the other one no more of a creator.
    let (ours, theirs) = UnixStream::pair().unwrap();
    other.send_fd(&ours).unwrap();
    let third = Channel::<u64>::receive_fd(&theirs, &Options::new()).unwrap();
    drop((rx, other));
    assert_refused!(third.sender(), Error::Unsupported { .. }, "sending end");
    let (tx, rx) = (channel.sender().unwrap(), third.receiver().unwrap());
    tx.send(7).unwrap();
    assert_eq!(rx.recv(), Ok(7));
    assert_refused!(third.receiver(), Error::RoleTaken { .. }, &id().to_string());
}

fn a_child_of_the_creator_receives_and_does_not_send() {
    let channel = Channel::<u64>::anonymous(&one_way()).unwrap();
    // SAFETY: the child needs no other thread, nor a lock that one may hold: it uses its channel, and exits.
    #[allow(unsafe_code)]
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let refused = matches!(channel.sender(), Err(Error::Unsupported { .. }));
        let received = channel.receiver().is_ok_and(|rx| (1..4).all(|number| rx.recv() == Ok(number)));
        // SAFETY: ends the child at once, which has nothing to tidy up.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(if refused && received { 0 } else { 1 })
        }
    }
    channel.sender().unwrap().send_slice(&[1, 2, 3]).unwrap();
    let mut status = 0;
    // SAFETY: the child is ours, and the place for its status too.
    #[allow(unsafe_code)]
    let ended = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!((ended, status), (pid, 0));
}

fn either_half_alone_is_refused() {
    let channel = Channel::<u64>::anonymous(&one_way()).unwrap();
    assert!(channel.as_fd().is_none(), "it takes two");
    let [shared, blocks] = files(&channel).map(OwnedFd::from);
    let from = |fd: &OwnedFd| Channel::<u64>::from_fd(fd.try_clone().unwrap(), &Options::new());
    assert_refused!(from(&shared), Error::Unsupported { .. }, "one half", "send_fd", "receive_fd");
    assert_refused!(from(&blocks), Error::NotARegion { .. }, "begins with");
}

fn both_files_are_to_be_sealed() {
    let channel = Channel::<u64>::anonymous(&one_way()).unwrap();
    let files = files(&channel);
    let seals = files.each_ref().map(|file| fcntl_get_seals(file).unwrap());
    let length = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    assert_eq!(seals, [length, length | SealFlags::FUTURE_WRITE]);
    let copy = |file: &File, seals: SealFlags| {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
        let copy = File::from(rustix::fs::memfd_create("copy", flags).unwrap());
        copy.write_all_at(&bytes, 0).unwrap();
        fcntl_add_seals(&copy, seals).unwrap();
        copy
    };
    let receive = |carrier: u8, files: [&File; 2]| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        crate::passing::send(&ours, carrier, &files.map(AsFd::as_fd));
        Channel::<u64>::receive_fd(&theirs, &Options::new())
    };
    let [shared, blocks] = &files;
    receive(b'W', [shared, blocks]).unwrap();
    receive(b'W', [&copy(shared, seals[0]), &copy(blocks, seals[1])]).unwrap();
    for (shared_seals, blocks_seals) in
        [(SealFlags::SEAL, seals[1]), (seals[0], length), (seals[0], SealFlags::FUTURE_WRITE | SealFlags::SEAL)]
    {
        let result = receive(b'W', [&copy(shared, shared_seals), &copy(blocks, blocks_seals)]);
        assert_refused!(result, Error::Unsealed, "SIGBUS");
    }
    // In another order, of other lengths, or of another channel.
    assert_eq!(damaged(receive(b'W', [blocks, shared])), "the length of its first file");
    assert_eq!(damaged(receive(b'W', [shared, shared])), "the length of its file");
    let usual = Channel::<u64>::anonymous(&Options::new().capacity(1)).unwrap();
    let usual = File::from(usual.as_fd().unwrap().try_clone_to_owned().unwrap());
    let front = copy(&usual, SealFlags::empty());
    front.set_len(BLOCKS as u64).unwrap();
    fcntl_add_seals(&front, seals[0]).unwrap();
    assert_eq!(damaged(receive(b'W', [&front, blocks])), "flags");
    assert_refused!(receive(b'R', [shared, blocks]), Error::NotPassed { .. }, "more than one");
}

fn what_cannot_be_one_way_is_refused() {
    for address in ["posix:one-way", "sysv:private", "file:/tmp/one-way", "anon:", "heap:"] {
        let result = Channel::<u64>::create(address, &one_way());
        assert_refused!(address => result, Error::Unsupported { .. }, "one-way", "SPSC channel at memfd:");
    }
    let result = AnyChannel::<u64, Mpmc>::anonymous(&one_way());
    assert_refused!(result, Error::Unsupported { .. }, "one-way", "SPSC channel at memfd:");
    let result = Channel::<u64>::anonymous(&one_way().huge_pages(HugePages::Try));
    assert_refused!(result, Error::Unsupported { .. }, "without huge pages");
}

fn both_files_are_reported_and_given_away() {
    let channel = Channel::<u64>::anonymous(&one_way().capacity(10_000).align(1 << 20)).unwrap();
    let without = channel.memory().unwrap().mapped;
    let _tx = channel.sender().unwrap();
    let report = channel.memory().unwrap();
    let length = files(&channel).iter().map(|file| file.metadata().unwrap().len()).sum::<u64>();
    assert_eq!((without, report.mapped), (length - BLOCKS as u64, 2 * length - BLOCKS as u64));
    assert!(report.alignment >= 1 << 20, "{report:?}");
    channel.set_mode(0o640).unwrap();
    for file in files(&channel) {
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap()) & 0o777, 0o640);
    }
}
