//! The region that a trial is about, and messages that tell where they belong.

#![allow(unsafe_code)] // attaching a segment to look at it

use std::cell::Cell;
use std::fmt::Debug;
use std::fs::{self, File};
use std::ops::{Deref, Range};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::parent_id;
use std::process::id;

use ringway::channel_of::{Channel, Flavor, Mpmc, Receiver, Sender, Spsc};
use ringway::{Inspection, Options, Payload, Wait};

use crate::harness::is_soak;
use crate::process::{Board, Child};
use crate::tracer::{Marker, Victim};

/// What kind of memory the region lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// Named POSIX shared memory.
    Posix,
    /// An anonymous file, opened through its descriptor.
    Memfd,
    /// A file on a disk.
    File,
    /// A System V segment.
    SystemV,
    /// Memory that children inherit, and nobody else can open.
    Anonymous,
}

impl Backing {
    /// On which everything is tried: a handle does not know what it is attached to, so two, and in a soak each.
    pub(crate) fn all() -> &'static [Self] {
        if is_soak() { &Self::EACH } else { &[Self::Posix, Self::Memfd] }
    }

    /// On each, that is tried which the memory decides about, and some of the rest.
    pub(crate) const EACH: [Self; 5] = [Self::Posix, Self::Memfd, Self::File, Self::SystemV, Self::Anonymous];
}

/// How an MPMC ring publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By a store; whoever quarantines issues a `membarrier`.
    A,
    /// By a compare-exchange.
    C,
}

impl Mode {
    pub(crate) const ALL: [Self; 2] = [Self::A, Self::C];
}

/// A payload that says which message of the stream it is, in such a way that a torn one, or memory that was never
/// written, is no message at all.
pub(crate) trait Numbered: Payload + Copy + Debug {
    fn new(number: u64) -> Self;
    fn number(&self) -> Result<u64, String>;
}

fn seal(number: u64, salt: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 29
}

/// Seven of these share a cache line.
impl Numbered for u64 {
    fn new(number: u64) -> Self {
        number << 32 | seal(number, 0) >> 32
    }

    fn number(&self) -> Result<u64, String> {
        let number = self >> 32;
        if *self == Self::new(number) { Ok(number) } else { Err(format!("{self:#x} was never sent")) }
    }
}

/// A message that spans two cache lines.
pub(crate) type Wide = [u64; 12];

impl<const WORDS: usize> Numbered for [u64; WORDS] {
    fn new(number: u64) -> Self {
        std::array::from_fn(|word| if word == 0 { number } else { seal(number, word as u64) })
    }

    fn number(&self) -> Result<u64, String> {
        let whole = Self::new(self[0]);
        match self.iter().zip(whole).position(|(found, expected)| *found != expected) {
            None => Ok(self[0]),
            Some(word) => Err(format!("message {} is torn: word {word} is {:#x}", self[0], self[word])),
        }
    }
}

/// The numbers of the messages as they arrive.
#[derive(Debug)]
pub(crate) struct Numbers {
    next: u64,
}

impl Numbers {
    pub(crate) fn from(next: u64) -> Self {
        Self { next }
    }

    /// The number that must come next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn accept<T: Numbered>(&mut self, message: &T) -> Result<(), String> {
        let (number, next) = (message.number()?, self.next);
        if number > next {
            return Err(format!("lost: message {number} follows {next}, which did not arrive"));
        }
        if number < next {
            return Err(format!("duplicate or late: message {number}, where {next} was due"));
        }
        self.next += 1;
        Ok(())
    }
}

/// A region, a way to attach to it from anywhere, and a board beside it.
#[derive(Debug)]
pub(crate) struct World<T, F: Flavor = Spsc> {
    channel: Channel<T, F>,
    address: Address,
    pub(crate) capacity: u64,
    pub(crate) board: Board,
    _scratch: Option<Scratch>,
}

/// A file, which would outlive the channel.
#[derive(Debug)]
struct Scratch {
    path: String,
    /// Children inherit this value, and not its duty.
    owner: u32,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.owner == id() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The bytes of a region, wherever it lies.
#[derive(Debug)]
pub(crate) struct Bytes {
    /// The region's own, or this process's memory.
    file: File,
    base: u64,
    pub(crate) length: usize,
    /// Whether a segment was attached to be looked at.
    is_attached: bool,
}

impl Bytes {
    pub(crate) fn read(&self, buffer: &mut [u8]) {
        self.read_at(buffer, 0);
    }

    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) {
        self.file.read_exact_at(buffer, self.base + offset).expect("a region keeps its length");
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if self.is_attached {
            // SAFETY: attached by whoever made this value, for it alone.
            unsafe { libc::shmdt(std::ptr::without_provenance(self.base as usize)) };
        }
    }
}

/// Where files lie: beside the build, which hardly ever is memory.
pub(crate) const DISK: &str = env!("CARGO_TARGET_TMPDIR");

/// What a region begins with, as docs/LAYOUT.md gives it.
const MAGIC: &[u8; 8] = b"RINGWAY\0";

/// Cells of a world's board.
const BOARD: usize = 16;

#[derive(Clone, Debug)]
enum Address {
    Name(String),
    /// As another process of this user sees the descriptor.
    Descriptor(String),
    /// Nobody else can have it.
    Inherited,
}

/// The options of every channel in the trials: nothing is polled, so a call takes the same course each time.
pub(crate) fn options() -> Options {
    Options::new().wait(Wait::Park)
}

/// A name of this trial's own, by which the harness finds what is left of it.
pub(crate) fn fresh_name() -> String {
    format!("{}{}", own_prefix(), count())
}

/// A System V key of this trial's own.
fn fresh_key() -> u64 {
    u64::from(id()) << 8 | count() & 0xff
}

fn count() -> u64 {
    thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });
    COUNT.replace(COUNT.get() + 1)
}

/// What the names of this trial begin with.
pub(crate) fn own_prefix() -> String {
    prefix_of(parent_id(), Some(id()))
}

/// What the names of a harness's trials, or of one of them, begin with.
pub(crate) fn prefix_of(harness: u32, trial: Option<u32>) -> String {
    match trial {
        Some(trial) => format!("ringway-crash-{harness}-{trial}-"),
        None => format!("ringway-crash-{harness}-"),
    }
}

/// A channel as a process has come by it.
#[derive(Debug)]
pub(crate) enum Access<'w, T, F: Flavor> {
    /// Opened by this process.
    Own(Channel<T, F>),
    /// By its creator, which is this process or one that it descends from.
    Inherited(&'w Channel<T, F>),
}

impl<T, F: Flavor> Deref for Access<'_, T, F> {
    type Target = Channel<T, F>;

    fn deref(&self) -> &Channel<T, F> {
        match self {
            Self::Own(channel) => channel,
            Self::Inherited(channel) => channel,
        }
    }
}

/// Where this process has the region that its children inherit; a trial has one at a time.
fn inherited(memory: &File) -> Range<u64> {
    let maps = fs::read_to_string("/proc/self/maps").expect("our own mappings");
    let is_region = |range: &Range<u64>| {
        let mut magic = [0; MAGIC.len()];
        memory.read_exact_at(&mut magic, range.start).expect("it is mapped");
        magic == *MAGIC
    };
    // What the kernel calls memory that is shared and has no file; boards are such, too.
    let shared = maps.lines().filter(|line| line.ends_with("/dev/zero (deleted)"));
    let ranges = shared.map(|line| {
        let (start, end) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
        let [start, end] = [start, end].map(|digits| u64::from_str_radix(digits, 16).expect("an address"));
        start..end
    });
    let mut regions = ranges.filter(is_region);
    let region = regions.next().expect("a region is mapped");
    assert_eq!(regions.next(), None, "another region is mapped");
    region
}

impl<T: Numbered> World<T> {
    /// For one sender and one receiver.
    pub(crate) fn new(backing: Backing, capacity: u64) -> Self {
        Self::with(backing, &options().capacity(capacity as usize))
    }

    pub(crate) fn with(backing: Backing, options: &Options) -> Self {
        Self::made(backing, options)
    }

    pub(crate) fn named(name: &str, options: &Options) -> Self {
        Self::made_named(name, options)
    }
}

fn shared_options(mode: Mode, capacity: u64, peers: usize) -> Options {
    options().capacity(capacity as usize).peers(peers).membarrier(mode == Mode::A)
}

impl<T: Numbered> World<T, Mpmc> {
    /// For as many peers as that, at most, of either role.
    pub(crate) fn shared(backing: Backing, mode: Mode, capacity: u64, peers: usize) -> Self {
        Self::made(backing, &shared_options(mode, capacity, peers))
    }

    /// The same, where messages of a batch share a slot.
    pub(crate) fn packed(backing: Backing, mode: Mode, capacity: u64, peers: usize) -> Self {
        Self::made(backing, &shared_options(mode, capacity, peers).pack_batches(true))
    }
}

impl<T: Numbered, F: Flavor> World<T, F> {
    pub(crate) fn made(backing: Backing, options: &Options) -> Self {
        match backing {
            Backing::Posix => Self::made_named(&fresh_name(), options),
            Backing::Memfd => {
                let channel = Channel::anonymous(options).expect("a new region");
                let descriptor = channel.as_fd().expect("a memfd").as_raw_fd();
                Self::at(Address::Descriptor(format!("/proc/{}/fd/{descriptor}", id())), channel)
            }
            Backing::File => {
                let path = format!("{DISK}/{}", fresh_name());
                let world = Self::made_named(&format!("file:{path}"), options);
                Self { _scratch: Some(Scratch { path, owner: id() }), ..world }
            }
            // A key, because whoever attaches by an id looks it up in a list that others change meanwhile.
            Backing::SystemV => Self::made_named(&format!("sysv:{:#x}", fresh_key()), options),
            Backing::Anonymous => {
                Self::at(Address::Inherited, Channel::create("anon:", options).expect("a new region"))
            }
        }
    }

    fn made_named(name: &str, options: &Options) -> Self {
        Self::at(Address::Name(name.into()), Channel::create(name, options).expect("a new region"))
    }

    fn at(address: Address, channel: Channel<T, F>) -> Self {
        let capacity = channel.capacity() as u64;
        Self { channel, address, capacity, board: Board::new(BOARD), _scratch: None }
    }

    /// Attaches to the region as any other process would.
    pub(crate) fn open(&self) -> Access<'_, T, F> {
        self.open_with(&options())
    }

    /// The same with these options; what is inherited has those of its creator.
    pub(crate) fn open_with(&self, options: &Options) -> Access<'_, T, F> {
        let channel = match &self.address {
            Address::Name(name) => Channel::attach(name, options),
            Address::Descriptor(path) => {
                let file = File::options().read(true).write(true).open(path).expect("the creator's descriptor");
                Channel::from_fd(file.into(), options)
            }
            Address::Inherited => return Access::Inherited(&self.channel),
        };
        Access::Own(channel.expect("the region is there and whole"))
    }

    /// Starts a child that has to open the region as any stranger; if nobody can, one that inherits it.
    pub(crate) fn child(&self, body: impl FnOnce()) -> Child {
        if self.can_be_opened() { Child::start(body) } else { Child::inheriting(body) }
    }

    /// Starts such a child as a victim.
    pub(crate) fn victim(&self, body: impl FnOnce(&Marker)) -> Victim {
        if self.can_be_opened() { Victim::start(body) } else { Victim::inheriting(body) }
    }

    fn can_be_opened(&self) -> bool {
        !matches!(self.address, Address::Inherited)
    }

    /// The channel as its creator has it open.
    pub(crate) fn channel(&self) -> &Channel<T, F> {
        &self.channel
    }

    pub(crate) fn sender(&self) -> Sender<T, F> {
        self.channel.sender().expect("the role is free")
    }

    pub(crate) fn receiver(&self) -> Receiver<T, F> {
        self.channel.receiver().expect("the role is free")
    }

    /// The bytes of the region, as long as this process lives.
    pub(crate) fn bytes(&self) -> Bytes {
        if self.channel.as_fd().is_some() {
            let file = self.file();
            let length = file.metadata().expect("an open file").len() as usize;
            return Bytes { file, base: 0, length, is_attached: false };
        }
        let file = File::open("/proc/self/mem").expect("our own memory");
        let Some(name) = self.channel.name() else {
            let Range { start: base, end } = inherited(&file);
            return Bytes { file, base, length: (end - base) as usize, is_attached: false };
        };
        let key = name.strip_prefix("sysv:0x").and_then(|digits| i32::from_str_radix(digits, 16).ok()).expect("a key");
        let length = Inspection::of(name).expect("a region").region_length as usize;
        // SAFETY: takes numbers only.
        let segment = unsafe { libc::shmget(key, 0, 0) };
        // SAFETY: an address of the kernel's choice overlays nothing; it is read by system calls only.
        let base = unsafe { libc::shmat(segment, std::ptr::null(), libc::SHM_RDONLY) };
        assert_ne!(base.addr(), usize::MAX);
        Bytes { file, base: base.addr() as u64, length, is_attached: true }
    }

    /// The region's file, for whoever changes its bytes.
    pub(crate) fn file(&self) -> File {
        let descriptor = self.channel.as_fd().expect("the region has a file");
        File::from(descriptor.try_clone_to_owned().expect("one more descriptor"))
    }
}
