//! What a trial runs on.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::process::id;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, yield_now};

use ringway::channel_of::{Channel, Flavor, Mpmc, Receiver, Sender, Spsc};
use ringway::{Options, Payload, Wait};

use crate::flavor::Kind;

/// Where the region lies, and how the second side comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// Named shared memory; the second side attaches by name.
    Posix,
    /// A System V segment; the second side attaches by its id.
    SystemV,
    /// A file on a disk; the second side attaches by its path.
    File,
    /// An anonymous file; both sides open their ends through one value.
    Memfd,
    /// An anonymous file; the second side has another descriptor of it.
    Passed,
    /// Two anonymous files, of which the second side can only read one; it has them over a socket.
    OneWay,
    /// Memory that children inherit; both sides open their ends through one value.
    Anonymous,
    /// Memory of this process.
    Heap,
}

impl Backing {
    const ALL: [Self; 8] =
        [Self::Posix, Self::SystemV, Self::File, Self::Memfd, Self::Passed, Self::OneWay, Self::Anonymous, Self::Heap];

    /// Whether it carries channels of that flavor.
    pub(crate) fn carries(self, flavor: &str) -> bool {
        self != Self::OneWay || flavor == Spsc::NAME
    }

    /// Whether its bytes can be written behind the channel's back.
    pub(crate) fn has_file(self) -> bool {
        matches!(self, Self::Posix | Self::File | Self::Memfd | Self::Passed)
    }

    /// Whether another process finds it by an address.
    pub(crate) fn has_name(self) -> bool {
        matches!(self, Self::Posix | Self::SystemV | Self::File)
    }

    /// Whether a process that was started anew can come to it.
    pub(crate) fn is_reached(self) -> bool {
        self.has_name() || self.has_file()
    }

    /// Whether every strategy and both barriers are tried on it: not on a one-way memfd, which is a memfd otherwise.
    fn is_main(self) -> bool {
        self != Self::OneWay
    }

    /// A new one.
    fn address(self) -> String {
        match self {
            Self::Posix => fresh_name(),
            Self::SystemV => "sysv:private".into(),
            Self::File => format!("file:{}/{}", env!("CARGO_TARGET_TMPDIR"), fresh_name()),
            Self::Memfd | Self::Passed | Self::OneWay => "memfd:".into(),
            Self::Anonymous => "anon:".into(),
            Self::Heap => "heap:".into(),
        }
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Posix => "posix",
            Self::SystemV => "sysv",
            Self::File => "file",
            Self::Memfd => "memfd",
            Self::Passed => "passed",
            Self::OneWay => "oneway",
            Self::Anonymous => "anon",
            Self::Heap => "heap",
        })
    }
}

/// On what, and how, a behaviour is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) backing: Backing,
    pub(crate) wait: Wait,
    pub(crate) membarrier: bool,
    /// MPMC: whether small messages of a batch share slots.
    pub(crate) packed: bool,
}

/// A channel as the two sides have it open.
#[derive(Debug)]
pub(crate) struct Open<T, F: Flavor> {
    creator: Channel<T, F>,
    /// `None` if both sides share one value.
    other: Option<Channel<T, F>>,
    one_way: bool,
    _file: Option<Scratch>,
}

/// A file, which would outlive the channel.
#[derive(Debug)]
struct Scratch(String);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = format!("{:?}", self.wait).to_lowercase();
        let barrier = if self.membarrier { "membarrier" } else { "fence" };
        let packed = if self.packed { "/packed" } else { "" };
        write!(f, "{}/{wait}/{barrier}{packed}", self.backing)
    }
}

impl Setup {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for backing in Backing::ALL {
            for wait in [Wait::Spin, Wait::Adaptive, Wait::Park] {
                all.extend([true, false].map(|membarrier| Self { backing, wait, membarrier, packed: false }));
            }
        }
        all
    }

    /// Whether behaviours that do not depend on the memory are tried here.
    pub(crate) fn is_main(self) -> bool {
        self.backing.is_main() || (self.wait == Wait::default() && self.membarrier)
    }

    /// The same with a packed ring, where that is tried: everywhere in one way, and in every way on one memory.
    pub(crate) fn with_packing(self) -> Option<Self> {
        let is_carried = self.backing.carries(Mpmc::NAME);
        let is_chosen = self.backing == Backing::Memfd || (self.wait == Wait::default() && self.membarrier);
        (is_carried && is_chosen).then_some(Self { packed: true, ..self })
    }

    /// Messages of a batch that one place of the ring has room for.
    pub(crate) fn messages_a_place<T, F: Kind>(self) -> usize {
        if self.packed && F::NAME == Mpmc::NAME && size_of::<T>() <= 48 {
            let in_line = 48 / size_of::<T>().next_multiple_of(8).max(8);
            in_line * (48 / in_line).min(16)
        } else {
            1
        }
    }

    pub(crate) fn options(self) -> Options {
        Options::new().wait(self.wait).membarrier(self.membarrier).pack_batches(self.packed)
    }

    /// Creates a channel and opens it from both sides.
    pub(crate) fn open<T: Payload, F: Flavor>(self, capacity: usize) -> Open<T, F> {
        self.open_with(&self.options().capacity(capacity))
    }

    /// Creates a channel with options of the behaviour's own, and opens it from both sides.
    pub(crate) fn open_with<T: Payload, F: Flavor>(self, options: &Options) -> Open<T, F> {
        let address = self.backing.address();
        let _file = address.strip_prefix("file:").map(|path| Scratch(path.into()));
        let one_way = self.backing == Backing::OneWay;
        let options = options.clone().one_way(one_way);
        let creator = Channel::<T, F>::create(address, &options).expect("a new region");
        let other = match self.backing {
            Backing::Passed => {
                let passed = creator.as_fd().and_then(|fd| fd.try_clone_to_owned().ok()).expect("one more descriptor");
                Some(Channel::from_fd(passed, &self.options()))
            }
            Backing::OneWay => {
                let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
                creator.send_fd(&ours).expect("room in the socket");
                Some(Channel::receive_fd(&theirs, &self.options()))
            }
            _ => creator.name().map(|name| Channel::attach(name, &self.options())),
        };
        Open { creator, other: other.map(|other| other.expect("a region")), one_way, _file }
    }

    /// Creates a channel and opens its ends, one from each side.
    pub(crate) fn ends<T: Payload, F: Flavor>(self, capacity: usize) -> (Sender<T, F>, Receiver<T, F>) {
        let open = self.open(capacity);
        (open.sender(), open.receiver())
    }
}

impl<T: Payload, F: Flavor> Open<T, F> {
    /// The side that holds the sending end.
    pub(crate) fn sending(&self) -> &Channel<T, F> {
        &self.creator
    }

    /// The side that holds the receiving end.
    pub(crate) fn receiving(&self) -> &Channel<T, F> {
        self.other.as_ref().unwrap_or(&self.creator)
    }

    /// The side that could hold the sending end as well: the other one, unless the channel is one-way.
    pub(crate) fn also_sending(&self) -> &Channel<T, F> {
        if self.one_way { self.sending() } else { self.receiving() }
    }

    pub(crate) fn sender(&self) -> Sender<T, F> {
        self.sending().sender().expect("a free end")
    }

    pub(crate) fn receiver(&self) -> Receiver<T, F> {
        self.receiving().receiver().expect("a free end")
    }

    /// The bytes of the region, for those who look at them or forge them.
    pub(crate) fn file(&self) -> File {
        let fd = self.creator.as_fd().expect("a backing with a file");
        File::from(fd.try_clone_to_owned().expect("one more descriptor"))
    }
}

/// How full the places of a ring are. One after the other is filled, and emptied.
#[derive(Debug)]
pub(crate) struct Places {
    taken: VecDeque<usize>,
    messages_a_place: usize,
    capacity: usize,
}

impl Places {
    pub(crate) fn new(capacity: usize, messages_a_place: usize) -> Self {
        Self { taken: VecDeque::new(), messages_a_place, capacity }
    }

    pub(crate) fn messages_a_place(&self) -> usize {
        self.messages_a_place
    }

    /// How many messages more there is room for, if they come in one batch.
    pub(crate) fn room(&self) -> usize {
        (self.capacity - self.taken.len()) * self.messages_a_place
    }

    /// Room for so many was taken by one batch.
    pub(crate) fn fill(&mut self, mut messages: usize) {
        while messages > 0 {
            let here = messages.min(self.messages_a_place);
            self.taken.push_back(here);
            messages -= here;
        }
        assert!(self.taken.len() <= self.capacity, "there was no room");
    }

    /// So many messages were received.
    pub(crate) fn empty(&mut self, mut messages: usize) {
        while messages > 0 {
            let first = self.taken.front_mut().expect("a message");
            let here = messages.min(*first);
            *first -= here;
            messages -= here;
            if *first == 0 {
                self.taken.pop_front();
            }
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.room() == 0
    }
}

/// Sends messages one by one: a packed ring has a place for each then, as any other has.
pub(crate) fn send_each<T: Payload + Copy, F: Flavor>(tx: &Sender<T, F>, messages: &[T]) {
    messages.iter().for_each(|message| assert!(tx.send(*message).is_ok(), "room"));
}

/// A name that nobody else uses.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("ringway-conformance-{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs `call` in a thread of its own, and returns when it waits there: asleep in the kernel or, if it spins, as soon
/// as it runs.
pub(crate) fn waiting<R: Send + 'static>(wait: Wait, call: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    let begun = Arc::new(AtomicI32::new(0));
    let begin = Arc::clone(&begun);
    let thread = thread::spawn(move || {
        begin.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Release);
        call()
    });
    loop {
        yield_now();
        let tid = begun.load(Ordering::Acquire);
        if thread.is_finished() || (tid != 0 && (wait == Wait::Spin || is_asleep(tid))) {
            break;
        }
    }
    assert!(!thread.is_finished(), "it returned instead of waiting");
    thread
}

/// Whether the thread of this process sleeps in the kernel.
fn is_asleep(tid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    // Field 3, behind the name in parentheses.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" S"))
}
