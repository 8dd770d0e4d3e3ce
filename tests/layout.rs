//! The format, byte by byte: docs/LAYOUT.md in numbers of its own, so that a change of the format is a decision.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::id;
use std::sync::atomic::{AtomicU64, Ordering};

use ringway::channel_of::{Channel, Flavor, Mpmc, Spsc};
use ringway::{Options, Payload};

/// A channel, and the bytes of its region.
struct Region<T, F: Flavor = Spsc> {
    channel: Channel<T, F>,
    file: File,
}

impl<T: Payload, F: Flavor> Region<T, F> {
    fn new(options: Options) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("ringway-layout-{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let channel = Channel::create(&name, &options).unwrap();
        let file = File::open(format!("/dev/shm/{name}")).unwrap();
        Self { channel, file }
    }

    fn of(capacity: usize) -> Self {
        // The default has a flag that not every kernel can grant.
        Self::new(Options::new().capacity(capacity).membarrier(false))
    }

    fn length(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    fn words<const N: usize>(&self, offset: u64) -> [u64; N] {
        let bytes = self.bytes(offset, 8 * N);
        std::array::from_fn(|word| u64::from_le_bytes(bytes[8 * word..][..8].try_into().unwrap()))
    }

    #[track_caller]
    fn is_zero(&self, from: u64, to: u64) {
        assert!(self.bytes(from, (to - from) as usize).iter().all(|byte| *byte == 0), "{from} to {to}");
    }
}

/// The hash of which the docs of `Schema` give the constants.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[test]
fn the_header_page() {
    let region = Region::<u64>::of(20);
    let schema = b"u64: size 8, align 8, fields 1\nself: u64 at 0, size 8\n";
    assert_eq!(region.bytes(0, 8), b"RINGWAY\0");
    let [version, flavor, flags, capacity, size, align, stride, fingerprint] = region.words(8);
    assert_eq!([version, flavor, flags, capacity, size, align, stride], [2, 1, 0, 20, 8, 8, 8]);
    assert_eq!(fingerprint, 0xbb4d_88b5_fa31_cbea);
    assert_eq!(fingerprint, fnv1a(&schema[5..]), "from behind the first `: `");
    let [region_length, instance, peers, schema_length, checksum] = region.words(72);
    assert_eq!([region_length, peers, schema_length], [12288, 2, 54]);
    assert_eq!(region.length(), 12288);
    assert_ne!(instance, Region::<u64>::of(20).words::<1>(80)[0], "it is random");
    let mut page = region.bytes(0, 4096);
    page[..8].fill(0);
    page[104..112].fill(0);
    assert_eq!(checksum, fnv1a(&page));
    region.is_zero(112, 128);
    assert_eq!(region.bytes(128, 54), schema);
    region.is_zero(182, 12288);
}

#[test]
fn the_usage_word_of_a_file_is_not_part_of_the_checksum() {
    let path = format!("{}/ringway-layout-{}", env!("CARGO_TARGET_TMPDIR"), id());
    let channel = Channel::<u64, Spsc>::create(format!("file:{path}"), &Options::new()).unwrap();
    let _tx = channel.sender().unwrap();
    let region = Region { channel, file: File::open(&path).unwrap() };
    fs::remove_file(&path).unwrap();
    let mut page = region.bytes(0, 4096);
    let [checksum] = region.words(104);
    for zero in [0..8, 104..112, 112..120] {
        page[zero].fill(0);
    }
    assert_eq!(checksum, fnv1a(&page));
    region.is_zero(120, 128);
}

#[test]
fn the_flags() {
    let [flags] = Region::<u64>::new(Options::new().membarrier(true)).words(24);
    let [refused] = Region::<u64>::new(Options::new().membarrier(false)).words(24);
    assert!(flags <= 1, "bit 0, where the kernel has membarrier");
    assert_eq!(refused, 0);
    let packed = || Options::new().membarrier(false).pack_batches(true);
    assert_eq!(Region::<[u8; 48], Mpmc>::new(packed()).words(24), [16]);
    assert_eq!(Region::<[u8; 49], Mpmc>::new(packed()).words(24), [0], "too large to be packed");
    assert_eq!(Region::<u64, Spsc>::new(packed()).words(24), [0]);
}

#[test]
fn the_peer_table() {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Field 22; the name in parentheses is the second.
    let start_time: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let namespace = fs::metadata("/proc/self/ns/pid").unwrap().ino();
    let here = [id().into(), start_time, namespace];

    let region = Region::<u64>::of(20);
    let _tx = region.channel.sender().unwrap();
    assert_eq!(region.words::<4>(4096), [1, here[0], here[1], here[2]]);
    region.is_zero(4096 + 32, 12288);
    for attaches in 1..4 {
        let _rx = region.channel.receiver().unwrap();
        assert_eq!(region.words::<4>(4224), [attaches, here[0], here[1], here[2]]);
    }
    assert_eq!(region.words::<1>(4096), [1]);
}

#[test]
fn the_shared_words_and_the_blocks() {
    let region = Region::<u64>::of(20);
    let (tx, rx) = (region.channel.sender().unwrap(), region.channel.receiver().unwrap());
    region.is_zero(4352, 12288);
    for number in 0..10 {
        tx.send(100 + number).unwrap();
    }
    for _ in 0..4 {
        rx.recv().unwrap();
    }
    // Seven messages to a block, behind the count of all that were ever sent.
    assert_eq!(region.words::<1>(4352), [7], "tail: the first message of the block that is being filled");
    region.is_zero(4360, 4480);
    assert_eq!(region.words::<1>(4480), [4], "head");
    region.is_zero(4488, 8192);
    assert_eq!(region.words::<8>(8192), [7, 100, 101, 102, 103, 104, 105, 106]);
    assert_eq!(region.words::<8>(8256), [10, 107, 108, 109, 0, 0, 0, 0]);
    region.is_zero(8320, 12288);

    // Four blocks, ceil(19 / 7) + 1, so message 28 lies where message 0 did.
    for number in 10..30 {
        rx.try_recv().unwrap_or_default();
        tx.send(100 + number).unwrap();
    }
    assert_eq!(region.words::<8>(8192), [30, 128, 129, 102, 103, 104, 105, 106]);
    assert_eq!(region.words::<8>(8256), [14, 107, 108, 109, 110, 111, 112, 113]);
    assert_eq!(region.words::<8>(8384), [28, 121, 122, 123, 124, 125, 126, 127]);
    region.is_zero(8448, 12288);
    assert_eq!([region.words::<1>(4352), region.words::<1>(4480)], [[28], [24]]);

    // A closed end says so, a reopened one takes it back; the position is where it was.
    region.is_zero(4608, 8192);
    drop(tx);
    assert_eq!(region.words::<1>(4736), [2]);
    drop(rx);
    assert_eq!(region.words::<1>(4608), [2]);
    let (_tx, _rx) = (region.channel.sender().unwrap(), region.channel.receiver().unwrap());
    region.is_zero(4608, 8192);
    assert_eq!([region.words::<1>(4352), region.words::<1>(4480)], [[28], [24]]);
}

/// Sends three messages of `N` bytes and requires these bytes from the first block on.
#[track_caller]
fn lies_as<const N: usize>(messages: [[u8; N]; 3], expected: &[&[u8]]) {
    let region = Region::<[u8; N]>::of(100);
    region.channel.sender().unwrap().send_slice(&messages).unwrap();
    let expected = expected.concat();
    assert_eq!(region.bytes(8192, expected.len()), expected, "messages of {N} bytes");
}

fn count(count: u64) -> [u8; 8] {
    count.to_le_bytes()
}

#[test]
fn messages_within_a_block() {
    lies_as([[], [], []], &[&count(3), &[0; 56]]);
    lies_as([[1], [2], [3]], &[&count(3), &[1, 2, 3], &[0; 53]]);
    lies_as([[1, 2], [3, 4], [5, 6]], &[&count(3), &[1, 2, 3, 4, 5, 6], &[0; 50]]);
    lies_as([[1, 2, 3], [4, 5, 6], [7, 8, 9]], &[&count(3), &[1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0], &[0; 44]]);
    lies_as([[7; 5], [8; 5], [9; 5]], &[&count(3), &[7; 5], &[0; 3], &[8; 5], &[0; 3], &[9; 5], &[0; 35]]);
    lies_as([[7; 9], [8; 9], [9; 9]], &[&count(3), &[7; 9], &[0; 7], &[8; 9], &[0; 7], &[9; 9], &[0; 15]]);
    lies_as([[7; 24], [8; 24], [9; 24]], &[&count(2), &[7; 24], &[8; 24], &[0; 8], &count(3), &[9; 24], &[0; 32]]);
    lies_as([[7; 56], [8; 56], [9; 56]], &[&count(1), &[7; 56], &count(2), &[8; 56], &count(3), &[9; 56]]);
    lies_as(
        [[7; 57], [8; 57], [9; 57]],
        &[&count(1), &[7; 57], &[0; 7], &count(2), &[8; 57], &[0; 7], &count(3), &[9; 57], &[0; 7]],
    );
    lies_as([[7; 64], [8; 64], [9; 64]], &[&count(1), &[7; 64], &count(2), &[8; 64], &count(3), &[9; 64], &[0; 72]]);
}

/// Requires a stride and, for 1 and for 1000 messages, these lengths of the region.
#[track_caller]
fn measures<T: Payload>(stride: u64, lengths: [u64; 2]) {
    for (capacity, length) in [1, 1000].into_iter().zip(lengths) {
        let region = Region::<T>::of(capacity);
        assert_eq!([region.words::<1>(40), region.words::<1>(56)], [[size_of::<T>() as u64], [stride]]);
        assert_eq!([region.words::<1>(72), [region.length()]], [[length]; 2], "{}", std::any::type_name::<T>());
    }
}

#[test]
fn strides_and_lengths() {
    measures::<()>(1, [12288, 12288]);
    measures::<u8>(1, [12288, 12288]);
    measures::<[u8; 2]>(2, [12288, 12288]);
    measures::<[u8; 3]>(4, [12288, 16384]);
    measures::<u64>(8, [12288, 20480]);
    measures::<[u8; 9]>(16, [12288, 32768]);
    measures::<[u64; 3]>(24, [12288, 40960]);
    measures::<[u64; 7]>(56, [12288, 73728]);
    measures::<[u8; 57]>(64, [12288, 81920]);
    measures::<[u64; 8]>(64, [12288, 81920]);
    measures::<[u64; 128]>(1024, [12288, 1_040_384]);
}

/// The first slot behind the table of two peers.
const SLOTS: u64 = 4864 + 2 * 128;

/// A word of lap 0: phase FULL, `behind` messages behind number `first` of the slot.
fn full(first: u64, behind: u64) -> u64 {
    first << 10 | behind << 4 | 2
}

/// A ring of two slots.
fn slots<T: Payload>(packed: bool) -> Region<T, Mpmc> {
    Region::new(Options::new().capacity(2).peers(2).membarrier(false).pack_batches(packed))
}

#[test]
fn the_slots() {
    let region = slots::<u64>(false);
    assert_eq!([region.words::<1>(32), region.words::<1>(56)], [[2], [64]], "capacity and stride");
    let (tx, rx) = (region.channel.sender().unwrap(), region.channel.receiver().unwrap());
    region.is_zero(SLOTS, region.length());
    tx.send_slice(&[7, 8]).unwrap();
    assert_eq!(region.words::<8>(SLOTS), [full(0, 0), 0, 7, 0, 0, 0, 0, 0]);
    assert_eq!(region.words::<8>(SLOTS + 64), [full(0, 0), 0, 8, 0, 0, 0, 0, 0]);
    assert_eq!([region.words::<1>(4352), region.words::<1>(4480)], [[2], [0]], "tail and head");
    rx.recv().unwrap();
    assert_eq!(region.words::<3>(SLOTS), [1 << 16, 0, 7], "free in lap 1");
    let guard = rx.recv_guard().unwrap();
    assert_eq!(region.words::<3>(SLOTS + 64), [1 << 4 | 4, 0, 8], "read by peer 1");
    drop(guard);
    assert_eq!(region.words::<3>(SLOTS + 64), [4095 << 4 | 4, 0, 8], "read by nobody");
    rx.recv().unwrap();
    assert_eq!(region.words::<2>(SLOTS + 128), [0, 1 << 16 | 1], "delivered once before, for lap 1");
}

#[test]
fn the_slots_of_a_packed_ring() {
    let region = slots::<u64>(true);
    assert_eq!([region.words::<1>(32), region.words::<1>(56)], [[2], [512]], "capacity and stride");
    let (tx, rx) = (region.channel.sender().unwrap(), region.channel.receiver().unwrap());
    tx.send_slice(&std::array::from_fn::<_, 50, _>(|number| 100 + number as u64)).unwrap();
    assert_eq!(region.words::<8>(SLOTS), [full(0, 47), 0, 100, 101, 102, 103, 104, 105]);
    assert_eq!(region.words::<8>(SLOTS + 64), [0, 0, 106, 107, 108, 109, 110, 111]);
    assert_eq!(region.words::<8>(SLOTS + 448), [0, 0, 142, 143, 144, 145, 146, 147]);
    assert_eq!(region.words::<8>(SLOTS + 512), [full(0, 1), 0, 148, 149, 0, 0, 0, 0]);
    region.is_zero(SLOTS + 576, region.length());
    assert_eq!([region.words::<1>(4352), region.words::<1>(4480)], [[2], [0]], "tail and head");
    rx.recv().unwrap();
    assert_eq!(region.words::<1>(SLOTS), [full(1, 46)]);
    assert_eq!(rx.recv_slice(&mut [0; 48]), Ok(48));
    assert_eq!([region.words::<1>(SLOTS), region.words::<1>(SLOTS + 512)], [[1 << 16], [full(1, 0)]]);
    assert_eq!([region.words::<1>(4352), region.words::<1>(4480)], [[2], [1]], "tail and head");

    let region = slots::<[u8; 20]>(true);
    assert_eq!(region.words::<1>(56), [1024], "stride");
    region.channel.sender().unwrap().send_slice(&[[1; 20], [2; 20], [3; 20]]).unwrap();
    let line = |first: &[u8], second: &[u8]| [first, &[0; 4], second, &[0; 4]].concat();
    assert_eq!(region.bytes(SLOTS + 16, 48), line(&[1; 20], &[2; 20]));
    assert_eq!(region.bytes(SLOTS + 80, 48), line(&[3; 20], &[0; 20]));
}

/// The locks that the kernel knows on the region's file: shared or exclusive, and the byte.
///
/// Its list may skip a line while somebody else takes a lock on another file, so it has to say the same twice.
fn locks<T: Payload>(region: &Region<T>) -> Vec<(String, u64)> {
    let looks = (0..1000).map(|_| (listed_locks(region), listed_locks(region)));
    let (locks, _) = looks.into_iter().find(|(first, second)| first == second).expect("a moment's quiet");
    locks
}

fn listed_locks<T: Payload>(region: &Region<T>) -> Vec<(String, u64)> {
    let metadata = region.file.metadata().unwrap();
    let device = metadata.dev();
    let file = format!("{:02x}:{:02x}:{}", rustix::fs::major(device), rustix::fs::minor(device), metadata.ino());
    let text = fs::read_to_string("/proc/locks").unwrap();
    let mut locks = Vec::new();
    for line in text.lines() {
        // `1: OFDLCK ADVISORY  WRITE -1 00:1a:34 1048576 1048576`
        let words: Vec<_> = line.split_whitespace().collect();
        if words.len() == 8 && words[5] == file {
            assert_eq!((words[1], words[6]), ("OFDLCK", words[7]), "one byte, of an open file description");
            locks.push((words[3].to_owned(), words[6].parse().unwrap()));
        }
    }
    locks.sort();
    locks
}

#[test]
fn the_locks() {
    let region = Region::<u64>::of(20);
    let read = |byte| ("READ".to_owned(), byte);
    let write = |byte| ("WRITE".to_owned(), byte);
    assert_eq!(locks(&region), [read(1_048_574)], "it is open here");
    let tx = region.channel.sender().unwrap();
    assert_eq!(locks(&region), [read(1_048_574), write(1_048_576)]);
    let rx = region.channel.receiver().unwrap();
    assert_eq!(locks(&region), [read(1_048_574), write(1_048_576), write(1_048_577)]);
    let other = Channel::<u64, Spsc>::attach(region.channel.name().unwrap(), &Options::new()).unwrap();
    assert_eq!(locks(&region).len(), 4);
    drop((tx, rx, other));
    assert_eq!(locks(&region), [read(1_048_574)]);
}
