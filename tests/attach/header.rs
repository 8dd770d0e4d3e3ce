//! Every number of a header, changed by itself; and files that are shorter or longer than they say.

use std::fs::File;
use std::os::unix::fs::FileExt;

use ringway::channel_of::{Channel as ChannelOf, Flavor, Mpmc, Spsc};
use ringway::spsc::Channel;
use ringway::{Error, Inspection, Options, mpmc};

use crate::expect::{assert_refused, damaged, refused, says};
use crate::left::Name;
use crate::look::forged;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    every_word_of_a_header_is_checked,
    every_byte_of_the_header_page_is_checked,
    what_contradicts_is_named,
    what_contradicts_in_mpmc_is_named_whatever_the_checksum,
    a_region_of_another_version_or_flavor_says_so,
    a_region_of_another_length_is_refused,
    a_region_truncated_after_it_was_opened_is_refused,
    positions_beyond_the_ring_are_refused,
    a_damaged_region_can_be_removed,
];

/// docs/LAYOUT.md, in numbers of its own.
const MAGIC: u64 = 0;
const VERSION: u64 = 8;
const FLAVOR: u64 = 16;
const FLAGS: u64 = 24;
const CAPACITY: u64 = 32;
const STRIDE: u64 = 56;
const REGION_LENGTH: u64 = 72;
const PEERS: u64 = 88;
const SCHEMA_LENGTH: u64 = 96;
const USAGE: u64 = 112;
const WORDS: u64 = 128;
const PAGE: u64 = 4096;
/// SPSC: the sender's hint, and the first block's count.
const TAIL: u64 = 4352;
const BLOCKS: u64 = 8192;
/// MPMC: the peer table.
const MPMC_PEERS: u64 = 4864;
/// Of the flags.
const STAY_OPEN: u64 = 4;
const ONE_WAY: u64 = 8;
const PACKED: u64 = 16;

/// The first page of a region.
pub(crate) type Page = [u8; PAGE as usize];

/// A region whose bytes can be changed and put back.
struct Subject<F: Flavor> {
    name: Name,
    file: File,
    _channel: ChannelOf<[u32; 3], F>,
}

impl<F: Flavor> Subject<F> {
    fn new() -> Self {
        Self::at(Name::new())
    }

    /// One in each kind of memory.
    fn each() -> [Self; 2] {
        Name::each().map(Self::at)
    }

    fn at(name: Name) -> Self {
        let channel = ChannelOf::create(&name, &Options::new().capacity(64)).unwrap();
        let file = File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap());
        Self { name, file, _channel: channel }
    }

    fn read(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, offset).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn write(&self, offset: u64, value: u64) {
        self.file.write_all_at(&value.to_le_bytes(), offset).unwrap();
    }

    /// Changes a word, has `look` look at the region, and puts the word back.
    fn with<R>(&self, offset: u64, value: u64, look: impl FnOnce(&Self) -> R) -> R {
        let honest = self.read(offset);
        self.write(offset, value);
        let result = look(self);
        self.write(offset, honest);
        result
    }

    fn page(&self) -> Page {
        let mut page = [0; PAGE as usize];
        self.file.read_exact_at(&mut page, 0).unwrap();
        page
    }

    fn attach(&self) -> Result<(), Error> {
        ChannelOf::<[u32; 3], F>::attach(&self.name, &Options::new()).map(drop)
    }

    fn open_passed(&self) -> Result<(), Error> {
        ChannelOf::<[u32; 3], F>::from_fd(self.file.try_clone().unwrap().into(), &Options::new()).map(drop)
    }

    fn inspect(&self) -> Result<(), Error> {
        Inspection::of(&self.name).map(drop)
    }

    /// The error that every way to look at the region comes to.
    fn refusal(&self) -> Error {
        let error = refused(self.attach());
        for other in [refused(self.open_passed()), refused(self.inspect())] {
            assert_eq!(std::mem::discriminant(&other), std::mem::discriminant(&error), "{other:?}, {error:?}");
        }
        error
    }
}

impl<F: Flavor> Drop for Subject<F> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.attach().expect("everything was put back");
        }
    }
}

fn every_word_of_a_header_is_checked() {
    Subject::<Spsc>::each().iter().for_each(every_word_of_it_is_checked);
    Subject::<Mpmc>::each().iter().for_each(every_word_of_it_is_checked);
}

fn every_word_of_it_is_checked<F: Flavor>(subject: &Subject<F>) {
    // On a disk, the usage word has a meaning of its own.
    let checked = |offset: &u64| *offset != USAGE || !subject.name.starts_with("file:");
    for offset in (0..WORDS).step_by(8).filter(checked) {
        let honest = subject.read(offset);
        let values = [0, 1, 2, u64::MAX, u64::MAX - 7, honest.wrapping_add(1), honest.wrapping_sub(1), !honest];
        let flips = (0..64).map(|bit| honest ^ 1 << bit);
        for value in values.into_iter().chain(flips).filter(|value| *value != honest) {
            let error = subject.with(offset, value, Subject::refusal);
            let context = format!("offset {offset}, {value} for {honest}: {error:?}");
            match (offset, &error) {
                (MAGIC, Error::NotARegion { .. }) => says(&error, &["begins with", "choose another name"]),
                (VERSION, Error::VersionMismatch { expected: 2, found, .. }) => assert_eq!(*found, value, "{context}"),
                (FLAVOR.., Error::Damaged { expected, found, .. }) => assert_ne!(expected, found, "{context}"),
                _ => panic!("{context}"),
            }
        }
    }
}

fn every_byte_of_the_header_page_is_checked() {
    Subject::<Spsc>::each().iter().for_each(every_byte_of_it_is_checked);
    Subject::<Mpmc>::each().iter().for_each(every_byte_of_it_is_checked);
}

fn every_byte_of_it_is_checked<F: Flavor>(subject: &Subject<F>) {
    let mut page = [0; PAGE as usize];
    subject.file.read_exact_at(&mut page, 0).unwrap();
    assert!(page[WORDS as usize..].starts_with(b"[u32; 3]: size 12"), "the schema text");
    for (offset, honest) in page.iter().enumerate().skip(WORDS as usize) {
        // No byte of UTF-8 text is 0xff, so that is one more thing that a reader may stumble over.
        for value in [honest ^ 1, honest ^ 0x20, 0xff] {
            subject.file.write_all_at(&[value], offset as u64).unwrap();
            assert!(matches!(subject.refusal(), Error::Damaged { .. }), "byte {offset} as {value}");
        }
        subject.file.write_all_at(&[*honest], offset as u64).unwrap();
    }
}

fn what_contradicts_is_named() {
    Subject::<Spsc>::each().iter().for_each(what_contradicts_in_it_is_named);
}

fn what_contradicts_in_it_is_named(subject: &Subject<Spsc>) {
    let cases = [
        (FLAVOR, 0, "flavor"),
        (FLAVOR, 3, "flavor"),
        (FLAGS, PACKED, "flags"),
        (FLAGS, 32, "flags"),
        (FLAGS, u64::MAX, "flags"),
        (CAPACITY, 0, "capacity"),
        (CAPACITY, u64::MAX, "capacity"),
        (CAPACITY, 1 << 40, "region length"),
        (STRIDE, 8, "stride"),
        (STRIDE, 0, "stride"),
        (REGION_LENGTH, 0, "the length of its file"),
        (REGION_LENGTH, u64::MAX, "the length of its file"),
        (PEERS, 3, "number of peers"),
        (SCHEMA_LENGTH, 3969, "schema length"),
        (SCHEMA_LENGTH, u64::MAX, "schema length"),
    ];
    for (offset, value, field) in cases {
        assert_eq!(subject.with(offset, value, |subject| damaged(subject.attach())), field, "{value} at {offset}");
    }
}

fn what_contradicts_in_mpmc_is_named_whatever_the_checksum() {
    for subject in Subject::<Mpmc>::each() {
        let put = |page: &Page| subject.file.write_all_at(page, 0).unwrap();
        every_contradiction_is_named(subject.page(), put, || subject.attach(), || subject.refusal());
    }
    // What has no name is looked at through its descriptor alone.
    let channel = mpmc::Channel::<[u32; 3]>::anonymous(&Options::new().capacity(64)).unwrap();
    let file = File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap());
    let mut page = [0; PAGE as usize];
    file.read_exact_at(&mut page, 0).unwrap();
    let passed = || file.try_clone().unwrap().into();
    let attach = || mpmc::Channel::<[u32; 3]>::from_fd(passed(), &Options::new()).map(drop);
    every_contradiction_is_named(page, |page| file.write_all_at(page, 0).unwrap(), attach, || refused(attach()));
}

/// Forges the first page of an MPMC region of 64 `[u32; 3]` in every way that contradicts something.
pub(crate) fn every_contradiction_is_named(
    honest: Page,
    put: impl Fn(&Page),
    attach: impl Fn() -> Result<(), Error>,
    refusal: impl Fn() -> Error,
) {
    let word = |offset: u64| u64::from_le_bytes(honest[offset as usize..][..8].try_into().unwrap());
    let [flags, length, peers] = [FLAGS, REGION_LENGTH, PEERS].map(word);
    // Whoever forges this one changes what the region says and contradicts nothing: the checksum is a right one.
    put(&forged(honest, &[(FLAGS, flags ^ STAY_OPEN)]));
    attach().unwrap();
    let full = (MPMC_PEERS + 4095 * 128 + 64 * (64 + 8) + 128_u64).next_multiple_of(PAGE);
    let packed = (MPMC_PEERS + peers * 128 + 64 * (1024 + 8) + 128).next_multiple_of(PAGE);
    let cases: &[(&[_], _, _, _)] = &[
        (&[(CAPACITY, 0)], "capacity", 1, 0),
        (&[(CAPACITY, 1)], "capacity", 2, 1),
        (&[(CAPACITY, 3)], "capacity", 4, 3),
        (&[(PEERS, 0)], "number of peers", 4095, 0),
        (&[(PEERS, 1)], "number of peers", 4095, 1),
        (&[(PEERS, 4096)], "number of peers", 4095, 4096),
        // The table would reach beyond the end; and the length fits the table, but not the file.
        (&[(PEERS, 4095)], "region length", full, length),
        (&[(PEERS, 4095), (REGION_LENGTH, full)], "the length of its file", full, length),
        (&[(FLAGS, flags | ONE_WAY)], "flags", flags, flags | ONE_WAY),
        // A barrier that is used and was refused.
        (&[(FLAGS, flags | 3)], "flags", (flags | 3) & !2, flags | 3),
        (&[(FLAVOR, 1)], "number of peers", 2, peers),
        // Messages that share slots need larger ones, and so there is not memory enough for them.
        (&[(FLAGS, flags | PACKED)], "stride", 1024, 64),
        (&[(FLAGS, flags | PACKED), (STRIDE, 1024)], "region length", packed, length),
        (&[(FLAGS, flags | PACKED), (STRIDE, 1024), (REGION_LENGTH, packed)], "the length of its file", packed, length),
        // What it would be in an SPSC region.
        (&[(STRIDE, 16)], "stride", 64, 16),
    ];
    for &(fields, field, expected, found) in cases {
        put(&forged(honest, fields));
        let error = refusal();
        assert!(
            matches!(error, Error::Damaged { expected: e, found: f, .. } if (e, f) == (expected, found)),
            "{fields:?}: {error:?}"
        );
        assert_eq!(damaged(Err::<(), _>(error)), field, "{fields:?}");
    }
    put(&honest);
    attach().expect("everything was put back");
}

fn a_region_of_another_version_or_flavor_says_so() {
    let subject = Subject::<Spsc>::new();
    subject.with(VERSION, 3, |subject| {
        assert_refused!(
            subject.attach(),
            Error::VersionMismatch { expected: 2, found: 3, .. },
            "version 3",
            "speaks 2",
            "update"
        );
    });
    let remedy = "attach with the flavor that created it";
    let options = Options::new();
    assert_refused!(
        mpmc::Channel::<[u32; 3]>::attach(&subject.name, &options),
        Error::FlavorMismatch { expected: "mpmc", found: "spsc", .. },
        "an spsc channel",
        "expected mpmc",
        remedy
    );
    let name = Name::new();
    let _channel = mpmc::Channel::<[u32; 3]>::create(&name, &options).unwrap();
    assert_refused!(
        Channel::<[u32; 3]>::attach(&name, &options),
        Error::FlavorMismatch { expected: "spsc", found: "mpmc", .. },
        "an mpmc channel",
        "expected spsc",
        remedy
    );
}

fn a_region_of_another_length_is_refused() {
    Subject::<Spsc>::each().iter().for_each(it_is_refused_at_another_length);
}

fn it_is_refused_at_another_length(subject: &Subject<Spsc>) {
    let honest = subject.file.metadata().unwrap().len();
    let mut bytes = vec![0; honest as usize];
    subject.file.read_exact_at(&mut bytes, 0).unwrap();
    let shorter = [8, 9, 100, 127, 128, 4095, 4096, 4097, 4352, honest / 2, honest - 4096, honest - 1];
    let longer = [honest + 1, honest + 8, honest + 4096, 1 << 30];
    for length in shorter.into_iter().chain(longer) {
        subject.file.set_len(length).unwrap();
        let error = subject.refusal();
        assert!(
            matches!(error, Error::Damaged { field: "the length of its file", found, .. } if found == length),
            "{error:?}"
        );
        says(&error, &[&length.to_string(), "ringway::unlink"]);
        subject.file.set_len(honest).unwrap();
        subject.file.write_all_at(&bytes, 0).unwrap();
    }
    for (length, found) in [(0, "an empty file"), (1, "a file of 1 bytes"), (7, "a file of 7 bytes")] {
        subject.file.set_len(length).unwrap();
        assert_refused!(Err::<(), _>(subject.refusal()), Error::NotARegion { .. }, found);
    }
    subject.file.set_len(honest).unwrap();
    subject.file.write_all_at(&bytes, 0).unwrap();
}

fn a_region_truncated_after_it_was_opened_is_refused() {
    let name = Name::new();
    let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
    let file = File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap());
    let honest = file.metadata().unwrap().len();
    for length in [0, 1, 4096, honest - 1, honest + 1] {
        file.set_len(length).unwrap();
        assert_eq!(damaged(channel.sender()), "the length of its file", "{length} bytes");
        assert_eq!(damaged(channel.receiver()), "the length of its file", "{length} bytes");
        assert!(!channel.sender_state().is_alive() && !channel.receiver_state().is_alive());
    }

    // A sealed one cannot be.
    let channel = Channel::<u64>::anonymous(&Options::new()).unwrap();
    let file = File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap());
    for length in [0, honest + 4096] {
        assert_eq!(file.set_len(length).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    }
    channel.sender().unwrap();
}

fn positions_beyond_the_ring_are_refused() {
    // Eight messages in two blocks of seven. What the hint says, and then the count of the second block.
    for (tail, count, field) in [
        (9, 0, "the sender's position"),
        (7, 9, "the sender's position"),
        (7, 15, "the sender's count of messages"),
        (u64::MAX, 0, "the sender's position"),
    ] {
        let channel = Channel::<u64>::anonymous(&Options::new().capacity(8)).unwrap();
        let file = File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap());
        file.write_all_at(&u64::to_le_bytes(tail), TAIL).unwrap();
        file.write_all_at(&u64::to_le_bytes(count), BLOCKS + 64).unwrap();
        assert_eq!(damaged(channel.sender()), field, "tail {tail}, count {count}");
    }
}

fn a_damaged_region_can_be_removed() {
    for offset in [VERSION, FLAVOR, FLAGS, CAPACITY, REGION_LENGTH] {
        let name = Name::new();
        let channel = Channel::<u64>::create(&name, &Options::new().persist(true)).unwrap();
        let file = File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap());
        file.write_all_at(&u64::MAX.to_le_bytes(), offset).unwrap();
        drop(channel);
        refused(Channel::<u64>::attach(&name, &Options::new()));
        ringway::unlink(&name).unwrap();
        assert!(!name.is_taken());
    }
}
