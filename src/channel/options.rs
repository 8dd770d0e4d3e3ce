//! What a program chooses about a channel.

use crate::pages::{HugePages, Pages};
use crate::region::Creation;
use crate::wait::Wait;

/// How a channel is created and opened; the defaults suit a named channel of one user.
///
/// # Examples
/// ```
/// let options = ringway::Options::new().capacity(4096).mode(0o660).wait(ringway::Wait::Park);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    creation: Creation,
    pub(super) wait: Wait,
    pub(super) replace_dead: bool,
    pub(super) owner: Option<u32>,
    pub(super) trust_unsealed: bool,
    pub(super) pages: Pages,
}

impl Options {
    /// The defaults: 1024 messages, mode 0600, [`Wait::Adaptive`], name removed with its creator.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new())?;
    /// assert_eq!(channel.capacity(), 1024);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn new() -> Self {
        Self {
            creation: Creation {
                capacity: 1024,
                mode: 0o600,
                group: None,
                persist: false,
                membarrier: true,
                peers: 1024,
                stay_open: false,
                one_way: false,
                packed: false,
            },
            wait: Wait::default(),
            replace_dead: false,
            owner: None,
            trust_unsealed: false,
            pages: Pages::USUAL,
        }
    }

    /// Messages that fit, at least 1; looked at by creators only. With [`Options::pack_batches`], more than that fit if they come in
    /// batches.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().capacity(3))?;
    /// assert_eq!(channel.capacity(), 3);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn capacity(mut self, messages: usize) -> Self {
        self.creation.capacity = messages as u64;
        self
    }

    /// Permission bits of a region that others can find, exactly (the umask does not apply); looked at by creators only.
    ///
    /// The owner can always read and write, as the creator has to: 0600 is added to whatever is asked for.
    ///
    /// Both ends need to read *and* write. Whoever may do so can also forge, drop and delay messages.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Inspection, Options, spsc::Channel};
    ///
    /// let name = format!("doc-mode-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new().mode(0o060))?;
    /// assert_eq!(Inspection::of(&name)?.mode, 0o660);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn mode(mut self, mode: u32) -> Self {
        self.creation.mode = mode & 0o777 | 0o600;
        self
    }

    /// The group of a region that has one, with what [`Options::mode`] permits it; looked at by creators only. By default
    /// the creator's own.
    ///
    /// Whoever is not root can give it to a group of its own only; else creating fails with
    /// [`Error::PermissionDenied`](crate::Error::PermissionDenied).
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::fs::MetadataExt;
    ///
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let gid = std::fs::metadata("/proc/self")?.gid();
    /// let name = format!("doc-group-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new().group(gid).mode(0o660))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group(mut self, gid: u32) -> Self {
        self.creation.group = Some(gid);
        self
    }

    /// What the handles do while they wait; each process chooses for itself.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, Wait, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().wait(Wait::Park))?;
    /// let (tx, rx) = (channel.sender()?, channel.receiver()?);
    /// std::thread::spawn(move || tx.send(7));
    /// assert_eq!(rx.recv(), Ok(7)); // asleep until then
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Whether a region keeps its name (and its messages) after its creator; looked at by creators only. Files always do.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let name = format!("doc-persist-{}", std::process::id());
    /// drop(Channel::<u64>::create(&name, &Options::new().persist(true))?);
    /// let channel = Channel::<u64>::attach(&name, &Options::new())?;
    /// channel.unlink()?;
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn persist(mut self, persist: bool) -> Self {
        self.creation.persist = persist;
        self
    }

    /// Whether [`open_or_create`](crate::spsc::Channel::open_or_create) replaces a region that no process has open, and
    /// with it the messages in it, by a fresh one.
    ///
    /// Without it, such a region is attached, and its messages are received: the continuation after a crash.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let name = format!("doc-replace-{}", std::process::id());
    /// let options = Options::new().persist(true);
    /// Channel::<u64>::create(&name, &options)?.sender()?.send(7)?;
    /// let fresh = Channel::<u64>::open_or_create(&name, &options.replace_dead(true))?;
    /// assert!(fresh.receiver()?.is_empty());
    /// fresh.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace_dead(mut self, replace: bool) -> Self {
        self.replace_dead = replace;
        self
    }

    /// The user whose regions are attached; by default those of this user and of root are.
    ///
    /// Everybody may create names in /dev/shm, and take keys, so a name alone does not say who is behind it.
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::fs::MetadataExt;
    ///
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let name = format!("doc-owner-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new().mode(0o666))?;
    ///
    /// // in a process of another user, who trusts this one:
    /// let uid = std::fs::metadata("/proc/self")?.uid();
    /// Channel::<u64>::attach(&name, &Options::new().owner(uid))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn owner(mut self, uid: u32) -> Self {
        self.owner = Some(uid);
        self
    }

    /// Whether descriptors are accepted whose file is not sealed, such as that of a named channel. Default `false`.
    ///
    /// Whoever passed such a one could truncate the file, which ends this process with a `SIGBUS`. For a name, that choice
    /// is made by attaching to it.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let name = format!("doc-unsealed-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new())?;
    /// let fd = || channel.as_fd().expect("a file").try_clone_to_owned();
    /// assert!(Channel::<u64>::from_fd(fd()?, &Options::new()).is_err());
    /// Channel::<u64>::from_fd(fd()?, &Options::new().trust_unsealed(true))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trust_unsealed(mut self, trust: bool) -> Self {
        self.trust_unsealed = trust;
        self
    }

    /// Whether the side that goes to sleep pays for the memory order that wake-ups need, by the system call
    /// `membarrier`; looked at by creators only. Default `true`, where the kernel has it.
    ///
    /// Without it, both sides pay a fence with every message, and an MPMC ring works in the slower mode C. That is for
    /// channels to a process whose sandbox forbids the call.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Inspection, Options, spsc::Channel};
    ///
    /// let name = format!("doc-membarrier-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new().membarrier(false))?;
    /// assert!(!Inspection::of(&name)?.membarrier);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn membarrier(mut self, membarrier: bool) -> Self {
        self.creation.membarrier = membarrier;
        self
    }

    /// Whether the channel is to lie in huge pages. Default [`HugePages::No`].
    ///
    /// A creator chooses what the memory consists of, and rounds its length up; then, and for memory that its creator left
    /// as it was, each process has the kernel make huge pages of it when it opens an end. That needs Linux 6.1, and memory
    /// of a kind and a length that allow it; files on a disk are not.
    ///
    /// # Examples
    /// ```
    /// use ringway::{HugePages, Options, mpmc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().huge_pages(HugePages::Try))?;
    /// let _tx = channel.sender()?;
    /// println!("{} bytes lie in huge pages", channel.memory()?.huge);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn huge_pages(mut self, huge: HugePages) -> Self {
        self.pages.huge = huge;
        self
    }

    /// Whether an end keeps the whole region in memory, so that none of it is swapped out, as long as it is open (`anon:`:
    /// as long as the channel is); each process chooses for itself. Default `false`.
    ///
    /// Opening an end fails with [`Error::LockLimit`](crate::Error::LockLimit) where that is more than the process may
    /// lock. System V shared memory can also be kept without an end:
    /// [`Channel::keep_in_memory`](crate::spsc::Channel::keep_in_memory).
    ///
    /// # Examples
    /// ```
    /// use ringway::{Error, Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().capacity(64).lock(true))?;
    /// match channel.sender() {
    ///     Ok(_) => println!("{} bytes are locked", channel.memory()?.locked),
    ///     Err(Error::LockLimit { needed, limit }) => println!("{needed} bytes are more than {limit}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn lock(mut self, lock: bool) -> Self {
        self.pages.lock = lock;
        self
    }

    /// Whether opening an end maps every page at once, so that no first access faults; each process chooses for itself.
    /// Default `true`.
    ///
    /// Without it, an end of a large channel opens faster. The memory itself is reserved when the channel is created,
    /// in any case; `anon:` is mapped by then, too.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().capacity(1 << 20).prefault(false))?;
    /// let _tx = channel.sender()?;
    /// let memory = channel.memory()?;
    /// assert!(memory.resident < memory.mapped);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.pages.prefault = prefault;
        self
    }

    /// The NUMA node on which new pages should lie, as far as it has any left; else, the node of whoever touches a page
    /// first.
    ///
    /// The creator, who reserves the pages, decides; pages of files on a disk come from whoever maps them while they are
    /// not cached. Opening an end fails, too, with [`Error::NoNumaNode`](crate::Error::NoNumaNode) if there is no such
    /// node.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Error, Options, spsc::Channel};
    ///
    /// match Channel::<u64>::anonymous(&Options::new().numa_node(0)) {
    ///     Ok(channel) => println!("{channel:?}"),
    ///     Err(error @ Error::Unsupported { .. }) => println!("{error}"), // in a sandbox
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn numa_node(mut self, node: u32) -> Self {
        self.pages.node = Some(node);
        self
    }

    /// The mapping of each end begins at a multiple of so many bytes, a power of two; each process chooses for itself.
    /// Default: of a page, or of a huge one where [`Options::huge_pages`] are asked for.
    ///
    /// Whatever it is, no two blocks of messages share a cache line unless one is larger than a line.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().align(1 << 20))?;
    /// let _tx = channel.sender()?;
    /// assert!(channel.memory()?.alignment >= 1 << 20);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn align(mut self, bytes: usize) -> Self {
        self.pages.align = bytes;
        self
    }

    /// MPMC: peers that can be attached at the same time, from 2 to 4095; looked at by creators only. Default 1024.
    ///
    /// A peer is what one call of [`sender`](crate::mpmc::Channel::sender) or
    /// [`receiver`](crate::mpmc::Channel::receiver) opens; its clones, in whichever thread, belong to it. Each takes
    /// 128 bytes of the region, attached or not.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Error, Options, mpmc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().peers(2))?;
    /// let (tx, rx) = (channel.sender()?, channel.receiver()?);
    /// assert!(matches!(channel.sender(), Err(Error::NoPeerLeft { peers: 2 })));
    /// let clone = tx.clone(); // takes no place
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn peers(mut self, peers: usize) -> Self {
        self.creation.peers = peers;
        self
    }

    /// MPMC: whether up to 48 small messages of one batch share a slot, so that sending and receiving them takes one locked
    /// instruction each, or two where there is no `membarrier`; looked at by creators only. Default `false`.
    ///
    /// [`send_slice`](crate::mpmc::Sender::send_slice) and [`recv_slice`](crate::mpmc::Receiver::recv_slice) are two to three
    /// times as fast with it. Single messages are up to a half slower, and slower still where a receiver takes one at a time out of a
    /// channel that is full of batches. It is for messages of up to 48 bytes (48 messages a slot of
    /// up to 16 bytes each, 32 of 24, 16 of more); with larger ones it changes nothing.
    ///
    /// * The capacity counts slots of 512 bytes, or of 1024 for messages of more than 8. Single messages take one each, so it is
    ///   the least that fits: there may be up to 48 times as many messages in the channel, which [`len`](crate::mpmc::Sender::len) counts.
    /// * Messages cannot be received under a guard: that fails with [`Fault::Packed`](crate::Fault::Packed).
    /// * All that peers of one flavor promise each other stays: order, and that no message is lost or comes twice. Still nothing
    ///   is atomic about a batch: its messages may go to several receivers. A sender that is killed has sent whole slots.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, mpmc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().capacity(64).pack_batches(true))?;
    /// let (tx, rx) = (channel.sender()?, channel.receiver()?);
    /// tx.send_slice(&[7; 1000])?; // in 21 slots
    /// assert_eq!((tx.len(), tx.is_full()), (1000, false));
    /// let mut messages = [0; 32];
    /// assert_eq!(rx.recv_slice(&mut messages)?, 32);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pack_batches(mut self, pack: bool) -> Self {
        self.creation.packed = pack;
        self
    }

    /// Whether the channel stays open when its last sender or its last receiver ends, or crashes: for services whose peers
    /// come and go, and for files that are filled and emptied by turns; looked at by creators only. Default `false`.
    ///
    /// Then nobody gets `Disconnected`: who waits without a deadline waits for the next peer. An
    /// [`Inspection`](crate::Inspection) tells.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, TryRecvError, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().stay_open(true))?;
    /// let rx = channel.receiver()?;
    /// channel.sender()?.send(7)?; // and that sender ends
    /// assert_eq!(rx.try_recv(), Ok(7));
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty)); // not Disconnected
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stay_open(mut self, stay_open: bool) -> Self {
        self.creation.stay_open = stay_open;
        self
    }

    /// SPSC at `memfd:`: whether only the process that creates the channel can write its messages; looked at by creators
    /// only. Default `false`.
    ///
    /// For a receiver that is not to be trusted: in its process, and in every other one that the channel is passed to, the
    /// kernel refuses to map the messages for writing, to write to their file, and to open that anew for either. What the
    /// receiver does write lies in other pages: its position, which it may forge to lose messages or to have more of them
    /// sent than fit, and the words by which both sides wake each other.
    ///
    /// In return, the sending end is bound to that one process: [`sender`](crate::spsc::Channel::sender) fails in every
    /// other one, its children included, so that a crashed sender has no successor. The receiving end is taken over as
    /// always. It needs Linux 5.1, and cannot be combined with huge pages.
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::net::UnixStream;
    ///
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let channel = Channel::<u64>::anonymous(&Options::new().one_way(true))?;
    /// channel.send_fd(&ours)?;
    ///
    /// // in the other process:
    /// let other = Channel::<u64>::receive_fd(&theirs, &Options::new())?;
    /// let rx = other.receiver()?;
    /// assert!(other.sender().is_err());
    ///
    /// channel.sender()?.send(7)?;
    /// assert_eq!(rx.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn one_way(mut self, one_way: bool) -> Self {
        self.creation.one_way = one_way;
        self
    }

    pub(super) fn creation(&self) -> Creation {
        self.creation
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
