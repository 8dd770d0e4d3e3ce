//! Looking at regions that somebody made in order to keep whoever looks busy.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use ringway::mpmc::Channel;
use ringway::{Inspection, Options, Payload, spsc};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};

use crate::expect::damaged;
use crate::left::Name;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    memory_that_is_not_there_is_refused,
    a_region_as_long_as_no_memory_is_looked_at_in_no_time,
    slots_are_counted_wherever_they_lie,
    who_looks_at_many_regions_leaves_their_slots_alone,
    every_message_is_counted_whatever_the_hint_says,
];

const PAGE: u64 = 4096;

/// The file of a new channel that is left without its creator.
fn file(name: &Name, capacity: usize) -> File {
    let options = Options::new().capacity(capacity).persist(true);
    let channel = Channel::<u64>::create(name, &options).unwrap();
    File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap())
}

fn memory_that_is_not_there_is_refused() {
    let name = Name::new();
    let file = file(&name, 1 << 10);
    let length = file.metadata().unwrap().len();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, length - PAGE, PAGE).unwrap();
    let trusting = Options::new().trust_unsealed(true);
    let calls = [
        damaged(Channel::<u64>::attach(&name, &trusting)),
        damaged(Channel::<u64>::from_fd(file.as_fd().try_clone_to_owned().unwrap(), &trusting)),
        damaged(Inspection::of(&name)),
        damaged(Inspection::without_slots(&name)),
    ];
    assert_eq!(calls, ["its allocated memory"; 4]);
    assert_eq!(file.metadata().unwrap().blocks() * 512, length - PAGE, "and looking does not fill it");

    let sparse = memfd_create("sparse", MemfdFlags::CLOEXEC).unwrap();
    let mut bytes = [0; PAGE as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let sparse = File::from(sparse);
    sparse.write_all_at(&bytes, 0).unwrap();
    sparse.set_len(length).unwrap();
    assert_eq!(damaged(Channel::<u64>::from_fd(sparse.into(), &trusting)), "its allocated memory");
    ringway::unlink(&name).unwrap();
}

/// Writes numbers into the header, and the checksum that goes with them.
fn forge(file: &File, fields: &[(u64, u64)]) {
    let mut page = [0; PAGE as usize];
    file.read_exact_at(&mut page, 0).unwrap();
    file.write_all_at(&forged(page, fields), 0).unwrap();
}

/// A header with numbers changed, and the checksum that goes with them: docs/LAYOUT.md in numbers of its own.
pub(crate) fn forged(mut page: [u8; PAGE as usize], fields: &[(u64, u64)]) -> [u8; PAGE as usize] {
    fields.iter().for_each(|(offset, value)| page[*offset as usize..][..8].copy_from_slice(&value.to_le_bytes()));
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (offset, byte) in page.iter().enumerate() {
        let byte = if offset < 8 || (104..120).contains(&offset) { 0 } else { *byte };
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    page[104..112].copy_from_slice(&hash.to_le_bytes());
    page
}

fn a_region_as_long_as_no_memory_is_looked_at_in_no_time() {
    const CAPACITY: u64 = 1 << 35;
    for name in Name::each() {
        let file = file(&name, 512);
        // A slot takes a line, and a word behind all of them.
        let length = file.metadata().unwrap().len() + (CAPACITY - 512) * 72;
        file.set_len(length).unwrap();
        forge(&file, &[(32, CAPACITY), (72, length)]);
        if name.starts_with("file:") {
            let seen = Inspection::of(&name).unwrap();
            assert_eq!((seen.capacity, seen.slots.unwrap().writing), (CAPACITY, 0));
        } else {
            assert_eq!(damaged(Inspection::of(&name)), "its allocated memory");
        }
        ringway::unlink(&name).unwrap();
    }
}

fn slots_are_counted_wherever_they_lie() {
    // Behind the first of several blocks; and a slot longer than one.
    let name = Name::new();
    let channel = Channel::<u64>::create(&name, &Options::new().capacity(1 << 14)).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    for number in 0..10_000 {
        tx.send(number).unwrap();
        rx.recv().unwrap();
    }
    tx.send_slice(&[1, 2, 3]).unwrap();
    let guards = [rx.recv_guard().unwrap(), rx.recv_guard().unwrap()];
    assert_eq!(Inspection::of(&name).unwrap().slots.unwrap().guarded, 2);
    drop(guards);
    drop((tx, rx, channel));

    let channel = Channel::<[u64; 9_000]>::create(&name, &Options::new().capacity(4)).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let message = Box::new([7; 9_000]);
    tx.send(*message).unwrap();
    tx.send(*message).unwrap();
    let _guards = [rx.recv_guard().unwrap(), rx.recv_guard().unwrap()];
    assert_eq!(Inspection::of(&name).unwrap().slots.unwrap().guarded, 2);
}

fn who_looks_at_many_regions_leaves_their_slots_alone() {
    for address in [&*Name::new(), "sysv:private"] {
        let channel = Channel::<u64>::create(address, &Options::new().capacity(8)).unwrap();
        let tx = channel.sender().unwrap();
        tx.send(7).unwrap();
        let name = channel.name().unwrap();
        let (whole, quick) = (Inspection::of(name).unwrap(), Inspection::without_slots(name).unwrap());
        assert!(whole.slots.is_some() && quick.slots.is_none(), "{address}");
        assert_eq!((quick.len, &quick.senders), (whole.len, &whole.senders));
    }
}

/// The sender tells of its position now and then only.
fn every_message_is_counted_whatever_the_hint_says() {
    fn count<T: Payload>(message: impl Fn() -> T) {
        let name = Name::new();
        let channel = spsc::Channel::<T>::create(&name, &Options::new().capacity(1000)).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let seen = || {
            let inspection = Inspection::of(&name).unwrap();
            (inspection.received, inspection.len)
        };
        for sent in 1..=1000 {
            tx.send(message()).unwrap();
            assert_eq!(seen(), (0, sent));
        }
        for received in 1..=1000 {
            rx.recv().unwrap();
            assert_eq!(seen(), (received, 1000 - received));
        }
    }
    count(|| 7_u64);
    count(|| [7_u64; 6]);
    count(|| [7_u64; 8]);
}
