//! Channels and the handles at their ends: the only place that knows the order *try, back off, announce, try again,
//! sleep, check the lease*.

mod endpoint;
mod flavor;
mod guard;
#[cfg(feature = "shared_memory")]
mod interop;
#[cfg(all(test, loom))]
mod models;
mod options;
mod receiver;
mod sender;

use core::fmt;
use core::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use static_assertions::{assert_impl_all, assert_not_impl_any};

pub use self::flavor::{Flavor, Mpmc, Spsc};
pub use self::guard::Guard;
pub use self::options::Options;
pub use self::receiver::{IntoIter, Iter, Receiver, TryIter};
pub use self::sender::Sender;
use crate::address::Address;
use crate::error::{Error, Role};
use crate::pages::MemoryReport;
use crate::payload::Payload;
use crate::peer::PeerState;
use crate::region::{self, Region, Request};
use crate::sys::patience::Patience;
use crate::sys::socket;

/// Both ends of a channel.
pub type Ends<T, F> = (Sender<T, F>, Receiver<T, F>);

/// Creates an anonymous channel and opens both of its ends, for two threads of this process.
///
/// At least `capacity` messages fit. The channel lies in a sealed memfd; [`Channel::heap`] is the variant without any
/// kernel object, [`Channel::create`] the one for other processes.
///
/// # Errors
/// [`Error::InvalidCapacity`] for 0, [`Error::NoSpace`] if the memory is not to be had.
///
/// # Examples
/// ```
/// let (tx, rx) = ringway::spsc::channel::<u64>(1024)?;
/// std::thread::spawn(move || tx.send(42).unwrap());
/// assert_eq!(rx.recv(), Ok(42));
/// assert!(rx.recv().unwrap_err().is_disconnected()); // the sender was dropped
/// # Ok::<(), ringway::Error>(())
/// ```
pub fn spsc_channel<T: Payload>(capacity: usize) -> Result<Ends<T, Spsc>, Error> {
    ends(capacity)
}

/// Creates an anonymous channel and opens both of its ends, which can be cloned, for the threads of this process.
///
/// At least `capacity` messages fit (the next power of two, from 2). The channel lies in a sealed memfd;
/// [`Channel::heap`] is the variant without any kernel object, [`Channel::create`] the one for other processes.
///
/// # Errors
/// [`Error::InvalidCapacity`] for 0, [`Error::NoSpace`] if the memory is not to be had.
///
/// # Examples
/// ```
/// let (tx, rx) = ringway::mpmc::channel::<u64>(1024)?;
/// let workers: Vec<_> = (0..4)
///     .map(|_| {
///         let rx = rx.clone();
///         std::thread::spawn(move || rx.iter().sum::<u64>())
///     })
///     .collect();
/// for number in 1..=100 {
///     tx.send(number)?;
/// }
/// drop(tx); // the last sender: the receivers drain the channel and end
/// assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>(), 5050);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mpmc_channel<T: Payload>(capacity: usize) -> Result<Ends<T, Mpmc>, Error> {
    ends(capacity)
}

fn ends<T: Payload, F: Flavor>(capacity: usize) -> Result<Ends<T, F>, Error> {
    let channel = Channel::anonymous(&Options::new().capacity(capacity))?;
    Ok((channel.sender()?, channel.receiver()?))
}

/// A channel that this process has open, without a role in it.
///
/// It opens the ends ([`Channel::sender`], [`Channel::receiver`]), each of which one process at a time can hold (MPMC: any
/// number), and it tells who holds them. It survives `fork`: a child opens its own ends through the `Channel` that it
/// inherited.
///
/// # Life of a region that others can find
///
/// The region lives as long as somebody has it open or it can be found. It is removed when the creator's last value (this,
/// or a handle opened through it) is dropped, if name or key still lead to it; who is attached goes on undisturbed. With
/// [`Options::persist`], and when the creator is killed or exits without dropping its values, it stays, with every message
/// that was sent and not received: attach to it again, or remove it with [`unlink`](crate::unlink). A file always stays:
/// sender and receiver may run at different times, also with a restart of the machine in between; see
/// [`Channel::sync`]. A channel is one stream, which ends with its last receiver; for one that senders and receivers use
/// by turns again and again, there is [`Options::stay_open`].
///
/// # System V shared memory
///
/// A segment has no locks, by which the living are told from the dead. They lie on a small file beside it in /dev/shm,
/// with the segment's owner and mode, so that has to be mounted, and shared together with the IPC namespace.
///
/// # Examples
/// ```
/// use ringway::{Options, spsc::Channel};
///
/// let name = format!("doc-channel-{}", std::process::id());
/// let channel = Channel::<u64>::create(&name, &Options::new().capacity(64))?;
/// let tx = channel.sender()?;
///
/// // in the other process:
/// let rx = Channel::<u64>::attach(&name, &Options::new())?.receiver()?;
///
/// tx.send(7)?;
/// assert_eq!(rx.recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Channel<T, F: Flavor> {
    region: Arc<Region>,
    options: Options,
    payload: PhantomData<fn(T) -> (T, F)>,
}

impl<T: Payload, F: Flavor> Channel<T, F> {
    /// Creates a region, all at once: whoever finds it finds a finished one, and a creator that dies half-way leaves
    /// nothing behind. All of its memory is reserved here.
    ///
    /// `address` says where: a name such as `"ticks"` in POSIX shared memory, a file as in `"file:/var/lib/x.ring"`, or
    /// another kind of memory, see [`Address`].
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::InvalidName`], [`Error::InvalidCapacity`], [`Error::NoSpace`],
    /// [`Error::PermissionDenied`], [`Error::ReadOnly`]; [`Error::NotMounted`] for shared memory; [`Error::NoDirectory`] and
    /// [`Error::NotLocal`] for files; [`Error::Limit`] and [`Error::NoKeyFile`] for System V; MPMC: [`Error::InvalidPeers`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Error, Options, spsc::Channel};
    ///
    /// let name = format!("doc-create-{}", std::process::id());
    /// let options = Options::new().capacity(4096);
    /// let channel = Channel::<u64>::create(&name, &options)?;
    /// let again = Channel::<u64>::create(&name, &options);
    /// assert!(matches!(again, Err(Error::AlreadyExists { .. })));
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn create<A>(address: A, options: &Options) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        Self::create_at(&address.try_into()?, options)
    }

    fn create_at(address: &Address, options: &Options) -> Result<Self, Error> {
        Self::new(Region::create(address, &Request::of::<T>(F::FLAVOR), options.creation(), &options.pages), options)
    }

    /// Opens the region at that address. Its capacity and mode are its creator's; those in `options` are not looked at.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PermissionDenied`], [`Error::WrongOwner`]; [`Error::NotARegion`],
    /// [`Error::VersionMismatch`], [`Error::FlavorMismatch`], [`Error::PayloadMismatch`], [`Error::Damaged`] and
    /// [`Error::MachineCrashed`] for what is there but cannot be used; [`Error::NotReady`] if its creator has not finished,
    /// [`Error::Removed`] if somebody is throwing it away, each after about a second.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Error, Options, mpmc, spsc};
    ///
    /// let name = format!("doc-attach-{}", std::process::id());
    /// let channel = spsc::Channel::<u64>::create(&name, &Options::new().capacity(64))?;
    ///
    /// // in the other process:
    /// assert_eq!(spsc::Channel::<u64>::attach(&name, &Options::new())?.capacity(), 64);
    /// let wrong = mpmc::Channel::<u64>::attach(&name, &Options::new());
    /// assert!(matches!(wrong, Err(Error::FlavorMismatch { .. })));
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn attach<A>(address: A, options: &Options) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        Self::attach_at(&address.try_into()?, options)
    }

    fn attach_at(address: &Address, options: &Options) -> Result<Self, Error> {
        Self::new(Region::attach(address, &Request::of::<T>(F::FLAVOR), options.owner, &options.pages), options)
    }

    /// Opens the region at that address, or creates it: of two processes that race, one creates and both attach.
    ///
    /// With [`Options::replace_dead`], a region that nobody has open is removed first, with what is in it.
    ///
    /// # Errors
    /// As [`Channel::create`] and [`Channel::attach`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let name = format!("doc-open-{}", std::process::id());
    /// let first = Channel::<u64>::open_or_create(&name, &Options::new().capacity(64))?;
    /// let second = Channel::<u64>::open_or_create(&name, &Options::new().capacity(8))?;
    /// assert_eq!(second.capacity(), 64); // the first one has created it
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn open_or_create<A>(address: A, options: &Options) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        let address = &address.try_into()?;
        if !address.can_be_found() {
            return Self::create_at(address, options);
        }
        let mut patience = Patience::new();
        loop {
            if options.replace_dead {
                region::remove_abandoned(address, options.owner)?;
            }
            match Self::attach_at(address, options) {
                Err(Error::NotFound { .. }) => match Self::create_at(address, options) {
                    Err(Error::AlreadyExists { .. }) => {}
                    result => return result,
                },
                result => return result,
            }
            // Lost the race to create it.
            if !patience.wait() {
                return Err(Error::Removed { name: address.to_string() });
            }
        }
    }

    /// Creates a region without a name, in a memfd that is sealed against truncation; the same as `"memfd:"`.
    ///
    /// Children inherit it over `fork`; [`Channel::as_fd`] can be passed over a Unix socket, by [`Channel::send_fd`].
    ///
    /// # Errors
    /// [`Error::InvalidCapacity`], [`Error::NoSpace`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().capacity(64))?;
    /// let (tx, rx) = (channel.sender()?, channel.receiver()?);
    /// assert_eq!((channel.name(), tx.capacity(), rx.len()), (None, 64, 0));
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn anonymous(options: &Options) -> Result<Self, Error> {
        Self::create_at(&Address::MEMFD, options)
    }

    /// Opens the region behind a descriptor that another process passed.
    ///
    /// It has to be sealed, as that of [`Channel::anonymous`] is, so that no process can truncate it, which would end this
    /// one with a `SIGBUS`; unless [`Options::trust_unsealed`]. A channel of [`Options::one_way`] has two, and comes by
    /// [`Channel::receive_fd`] only.
    ///
    /// # Errors
    /// Those of [`Channel::attach`] that concern the region itself; [`Error::Unsealed`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new())?;
    /// let fd = channel.as_fd().expect("a memfd").try_clone_to_owned()?;
    ///
    /// // in the process that got the descriptor:
    /// let rx = Channel::<u64>::from_fd(fd, &Options::new())?.receiver()?;
    ///
    /// channel.sender()?.send(7)?;
    /// assert_eq!(rx.recv(), Ok(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd, options: &Options) -> Result<Self, Error> {
        Self::from_parts(fd, None, options)
    }

    fn from_parts(fd: OwnedFd, blocks: Option<OwnedFd>, options: &Options) -> Result<Self, Error> {
        let request = Request::of::<T>(F::FLAVOR);
        Self::new(Region::attach_fd(fd, blocks, &request, options.trust_unsealed, &options.pages), options)
    }

    /// Opens the region that another process passes over a Unix socket by [`Channel::send_fd`]; waits for it, as the
    /// socket is set to, and takes one byte out of the stream.
    ///
    /// # Errors
    /// [`Error::NotPassed`] if something else comes, or nothing any more; those of [`Channel::from_fd`].
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::net::UnixStream;
    ///
    /// use ringway::{Error, Options, spsc::Channel};
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// Channel::<u64>::anonymous(&Options::new().capacity(64))?.send_fd(&ours)?;
    /// drop(ours);
    /// assert_eq!(Channel::<u64>::receive_fd(&theirs, &Options::new())?.capacity(), 64);
    /// let next = Channel::<u64>::receive_fd(&theirs, &Options::new());
    /// assert!(matches!(next, Err(Error::NotPassed { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receive_fd(socket: &UnixStream, options: &Options) -> Result<Self, Error> {
        let (fd, blocks) = socket::receive(socket)?;
        Self::from_parts(fd, blocks, options)
    }

    /// Creates a region in this process's own memory: the same ring without any kernel object, for threads; the same as
    /// `"heap:"`.
    ///
    /// # Errors
    /// [`Error::InvalidCapacity`], [`Error::NoSpace`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::heap(&Options::new())?;
    /// let (tx, rx) = (channel.sender()?, channel.receiver()?);
    /// std::thread::spawn(move || tx.send(7));
    /// assert_eq!(rx.recv(), Ok(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn heap(options: &Options) -> Result<Self, Error> {
        Self::create_at(&Address::HEAP, options)
    }

    fn new(region: Result<Region, Error>, options: &Options) -> Result<Self, Error> {
        Ok(Self { region: Arc::new(region?), options: options.clone(), payload: PhantomData })
    }

    /// Takes the sending end; MPMC: becomes one more sending peer. If the last holder of an SPSC end crashed, this one
    /// continues exactly where that one stopped; an MPMC peer first settles what a dead one left behind in its place.
    ///
    /// A handle that is dropped says so before its lease ends: whoever hears `Disconnected` and opens that end at once may
    /// still get `RoleTaken`, and try again.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with [`Options::one_way`] in every process but the creator's.
    /// MPMC: [`Error::NoPeerLeft`]. SPSC: [`Error::RoleTaken`] while another handle holds it, be its process running or
    /// stopped; [`Error::Damaged`] if the positions in the region contradict each other.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Error, Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new())?;
    /// let tx = channel.sender()?;
    /// assert!(matches!(channel.sender(), Err(Error::RoleTaken { .. })));
    /// drop(tx);
    /// channel.sender()?; // the end is free again
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn sender(&self) -> Result<Sender<T, F>, Error> {
        Sender::open(&self.region, self.options.wait)
    }

    /// Takes the receiving end; MPMC: becomes one more receiving peer.
    ///
    /// # Errors
    /// As [`Channel::sender`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new())?;
    /// let rx = channel.receiver()?;
    /// assert!(channel.receiver().is_err()); // MPMC: one more receiving peer
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn receiver(&self) -> Result<Receiver<T, F>, Error> {
        Receiver::open(&self.region, self.options.wait)
    }
}

impl<T> Channel<T, Spsc> {
    /// Who holds the sending end at this moment.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, PeerState, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new())?;
    /// assert_eq!(channel.sender_state(), PeerState::Never);
    /// let tx = channel.sender()?;
    /// assert_eq!(channel.sender_state(), PeerState::Running { pid: std::process::id() });
    /// drop(tx);
    /// assert_eq!(channel.sender_state(), PeerState::Closed);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn sender_state(&self) -> PeerState {
        self.region.peer_state(Role::Sender)
    }

    /// Who holds the receiving end at this moment.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, PeerState, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new())?;
    /// let _rx = channel.receiver()?;
    /// assert!(channel.receiver_state().is_alive());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn receiver_state(&self) -> PeerState {
        self.region.peer_state(Role::Receiver)
    }
}

impl<T> Channel<T, Mpmc> {
    /// The sending peers at this moment: those that live, and those that crashed and have not been replaced yet.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, mpmc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new())?;
    /// let (first, second) = (channel.sender()?, channel.sender()?);
    /// let clone = first.clone(); // the same peer
    /// assert_eq!(channel.senders().len(), 2);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn senders(&self) -> Vec<PeerState> {
        self.region.peer_states(Role::Sender)
    }

    /// The receiving peers at this moment, as [`Channel::senders`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, mpmc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new())?;
    /// let rx = channel.receiver()?;
    /// assert!(channel.receivers()[0].is_alive());
    /// drop(rx);
    /// assert!(channel.receivers().is_empty());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn receivers(&self) -> Vec<PeerState> {
        self.region.peer_states(Role::Receiver)
    }
}

impl<T, F: Flavor> Channel<T, F> {
    /// Messages that fit: what the creator asked for; MPMC: the next power of two, from 2. With [`Options::pack_batches`],
    /// more than that fit if they come in batches.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, mpmc, spsc};
    ///
    /// let options = Options::new().capacity(100);
    /// assert_eq!(spsc::Channel::<u64>::anonymous(&options)?.capacity(), 100);
    /// assert_eq!(mpmc::Channel::<u64>::anonymous(&options)?.capacity(), 128);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn capacity(&self) -> usize {
        self.region.geometry().capacity as usize
    }

    /// What others find the region by, and errors call it: a name in POSIX shared memory, else an address; `None` if they
    /// cannot find it.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let name = format!("doc-name-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new())?;
    /// assert_eq!(channel.name(), Some(name.as_str()));
    /// assert_eq!(Channel::<u64>::anonymous(&Options::new())?.name(), None);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.region.name()
    }

    /// The descriptor of the region, to be passed on; `None` for memory that is no file: System V, `anon:` and `heap:`; and
    /// with [`Options::one_way`], because there it takes two: use [`Channel::send_fd`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// assert!(Channel::<u64>::anonymous(&Options::new())?.as_fd().is_some());
    /// assert!(Channel::<u64>::heap(&Options::new())?.as_fd().is_none());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.region.fds().and_then(|(fd, blocks)| if blocks.is_none() { Some(fd) } else { None })
    }

    /// Changes the permission bits, exactly; who has the region open goes on. The owner's 0600 stays.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`] for everybody but the owner and root; [`Error::Unsupported`] on the heap.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Inspection, Options, spsc::Channel};
    ///
    /// let name = format!("doc-set-mode-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new())?;
    /// channel.set_mode(0o660)?;
    /// assert_eq!(Inspection::of(&name)?.mode, 0o660);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn set_mode(&self, mode: u32) -> Result<(), Error> {
        self.region.set_access(None, None, Some(mode & 0o777 | 0o600))
    }

    /// Gives the region to another user and another group, as far as they are given.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`] for everybody but root, unless the group is one of the owner's own;
    /// [`Error::Unsupported`] on the heap.
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::fs::MetadataExt;
    ///
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let gid = std::fs::metadata("/proc/self")?.gid();
    /// let name = format!("doc-set-owner-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new())?;
    /// channel.set_owner(None, Some(gid))?; // the owner may choose among its own groups
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_owner(&self, user: Option<u32>, group: Option<u32>) -> Result<(), Error> {
        self.region.set_access(user, group, None)
    }

    /// What this process has of the channel's memory at this moment, in the words of the kernel: whether pages are huge,
    /// locked or present, and where they lie.
    ///
    /// It reads /proc/self/smaps, which takes milliseconds in a large process.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on the heap, and without /proc.
    ///
    /// # Examples
    /// ```
    /// use ringway::{HugePages, Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::anonymous(&Options::new().huge_pages(HugePages::Try))?;
    /// let _tx = channel.sender()?;
    /// let memory = channel.memory()?;
    /// println!("{} of {} bytes lie in huge pages", memory.huge, memory.mapped);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn memory(&self) -> Result<MemoryReport, Error> {
        self.region.report()
    }

    /// System V shared memory: keeps its pages from being swapped out, for all who are attached and until this is called
    /// with `false`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for other kinds of memory, and if the limit of locked memory is too small;
    /// [`Error::PermissionDenied`] for everybody but the owner and root.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let channel = Channel::<u64>::create("sysv:private", &Options::new().capacity(64))?;
    /// match channel.keep_in_memory(true) {
    ///     Ok(()) => println!("no page of it is swapped out"),
    ///     Err(limit) => println!("{limit}"),
    /// }
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn keep_in_memory(&self, keep: bool) -> Result<(), Error> {
        self.region.keep_in_memory(keep)
    }

    /// Waits until everything that was sent and received so far is on the disk of a [`File`](crate::Backing::File), name
    /// included, and says whether the file is *clean* there.
    ///
    /// `true`: nobody holds an end, and should the machine crash now, every message is there afterwards. That stays so
    /// until somebody opens an end. `false`: somebody holds one, and goes on writing; or the memory is of a kind that does
    /// not outlive the machine.
    ///
    /// The file becomes clean by itself, too, when the last end is dropped, which therefore waits for the disk. If the
    /// machine crashes while a file is in use, the disk holds a mixture of moments: then, and also if the last user was
    /// killed and the machine restarted before anybody called this, attaching fails with [`Error::MachineCrashed`].
    ///
    /// # Errors
    /// [`Error::Os`] if the disk fails.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let path = std::env::temp_dir().join(format!("doc-sync-{}", std::process::id()));
    /// let address = format!("file:{}", path.display());
    /// let channel = Channel::<u64>::create(&address, &Options::new())?;
    /// channel.sender()?.send(7)?;
    /// match channel.sync()? {
    ///     true => println!("the message outlives a crash of the machine"),
    ///     false => println!("{address} is in memory"),
    /// }
    /// channel.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync(&self) -> Result<bool, Error> {
        self.region.sync()
    }

    /// Passes the region over a Unix socket to a process that calls [`Channel::receive_fd`], as one byte of the stream.
    ///
    /// For processes that do not trust each other, and have no name in common: with [`Channel::anonymous`], the receiver
    /// can be sure that nobody truncates the memory.
    ///
    /// # Errors
    /// [`Error::NotPassed`] if the connection has ended; [`Error::Unsupported`] for memory without a descriptor.
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::net::UnixStream;
    ///
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let channel = Channel::<u64>::anonymous(&Options::new())?;
    /// channel.send_fd(&ours)?;
    ///
    /// // in the other process:
    /// let rx = Channel::<u64>::receive_fd(&theirs, &Options::new())?.receiver()?;
    ///
    /// channel.sender()?.send(7)?;
    /// assert_eq!(rx.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_fd(&self, socket: &UnixStream) -> Result<(), Error> {
        let (fd, blocks) = self.region.fds().ok_or(Error::Unsupported {
            what: "a descriptor of this kind of memory",
            advice: "pass a channel that was created at memfd:",
        })?;
        socket::send(socket, fd, blocks)
    }

    /// Removes the name now, if it still leads to this region; whether it did. Who is attached goes on.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`] in a directory of somebody else.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Options, spsc::Channel};
    ///
    /// let name = format!("doc-unlink-own-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new())?;
    /// assert!(channel.unlink()?);
    /// assert!(!channel.unlink()?); // it has no name any more
    /// channel.sender()?; // and goes on
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn unlink(&self) -> Result<bool, Error> {
        self.region.unlink()
    }
}

// SPSC handles are moved between threads, never shared or duplicated: a role has one holder.
assert_impl_all!(Sender<u64, Spsc>: Send);
assert_impl_all!(Receiver<u64, Spsc>: Send);
assert_not_impl_any!(Sender<u64, Spsc>: Sync, Clone, Copy);
assert_not_impl_any!(Receiver<u64, Spsc>: Sync, Clone, Copy);
assert_impl_all!(Sender<u64, Mpmc>: Send, Sync, Clone);
assert_impl_all!(Receiver<u64, Mpmc>: Send, Sync, Clone);
assert_impl_all!(Channel<u64, Spsc>: Send, Sync);
assert_impl_all!(Channel<u64, Mpmc>: Send, Sync);

impl<T, F: Flavor> fmt::Debug for Channel<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("name", &self.name())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
