//! One error type per operation, each of which hands the message back where there is one.
//!
//! Names and shapes follow crossbeam-channel, with one more case everywhere: [`Fault`], for what cannot happen between
//! threads of one program but can between processes.

use core::fmt;
use std::io;

use crate::PeerState;

/// Why a region could not be created, attached or removed.
///
/// Every mismatch carries what was expected and what was found, and every message but that of an unusual
/// [`Error::Os`] says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name cannot name a region.
    #[error("invalid region name {name:?}: {reason}")]
    InvalidName {
        /// As given.
        name: String,
        /// What a name must be.
        reason: &'static str,
    },
    /// A region (or somebody else's file) of that name exists.
    #[error("region `{name}` already exists: attach to it, use open_or_create, or remove it with ringway::unlink")]
    AlreadyExists {
        /// Of the region.
        name: String,
    },
    /// No region has that name.
    #[error("no region is named `{name}`: start the side that creates it first, or use open_or_create")]
    NotFound {
        /// Of the region.
        name: String,
    },
    /// The kernel refused access.
    #[error("no permission to {action} `{name}` (owner {owner}, mode {mode:o}): ask its owner for another mode")]
    PermissionDenied {
        /// What was tried.
        action: &'static str,
        /// Of the region, or of the directory that refused.
        name: String,
        /// User id of its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The region belongs to a user from whom this process did not expect it.
    #[error(
        "region `{name}` belongs to user {found}, expected {expected}: if you trust that user, say so with Options::owner({found})"
    )]
    WrongOwner {
        /// Of the region.
        name: String,
        /// User id that was expected.
        expected: u32,
        /// User id that owns the region.
        found: u32,
    },
    /// POSIX shared memory is not mounted.
    #[error("no shared memory at {path} ({found}): mount it with `mount -t tmpfs tmpfs {path}`")]
    NotMounted {
        /// Where it belongs.
        path: &'static str,
        /// What is there instead.
        found: String,
    },
    /// The directory of a file is not there.
    #[error("no directory {path} ({found}): create it first")]
    NoDirectory {
        /// Where it belongs.
        path: String,
        /// What is there instead.
        found: &'static str,
    },
    /// The file system can only be read.
    #[error(
        "{path} is on a file system that is mounted read-only: `mount -o remount,rw {path}`, or choose another place"
    )]
    ReadOnly {
        /// The directory.
        path: String,
    },
    /// The file system may be shared with other machines, whose processes this kernel knows nothing about, or leaves
    /// mappings and locks to a daemon.
    #[error(
        "`{name}` lies on {kind}, where no kernel can prove who is alive: choose a local file system, or posix:NAME for memory"
    )]
    NotLocal {
        /// Of the region or its directory.
        name: String,
        /// The file system.
        kind: &'static str,
    },
    /// The memory for the region is not to be had.
    #[error(
        "not enough shared memory: {needed} bytes needed, {available} available: free some, enlarge the mount, or lower the capacity"
    )]
    NoSpace {
        /// Bytes of the whole region.
        needed: u64,
        /// Bytes that were free.
        available: u64,
    },
    /// The memory behind a descriptor can be truncated by whoever passed it.
    #[error(
        "the memory behind this descriptor is not sealed: whoever passed it could truncate it and end this process with a SIGBUS: have a memfd passed (Channel::anonymous), or, if you trust that process, say so with Options::trust_unsealed"
    )]
    Unsealed,
    /// A descriptor could not be passed over a socket, or something else came.
    #[error(
        "no region was passed over this socket: {reason}: use Channel::send_fd on one side, and receive_fd on the other"
    )]
    NotPassed {
        /// What happened instead.
        reason: &'static str,
    },
    /// A limit that the administrator set.
    #[error("{needed} {what} are needed, and {limit} allowed: raise {path}, lower the capacity, or use other memory")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// How much of it is needed.
        needed: u64,
        /// How much of it may be.
        limit: u64,
        /// The limit, as the administrator knows it.
        path: &'static str,
    },
    /// Huge pages were required and are not to be had.
    #[error(
        "{needed} bytes are to lie in huge pages, and {obtained} do ({free} reserved pages of {unit} bytes are free): reserve more in /proc/sys/vm/nr_hugepages, use memory other than a disk's, or ask for HugePages::Try"
    )]
    NoHugePages {
        /// Bytes of the whole region.
        needed: u64,
        /// Bytes of which the kernel made huge pages.
        obtained: u64,
        /// Bytes of a huge page.
        unit: u64,
        /// Reserved huge pages that are free.
        free: u64,
    },
    /// More memory is to be locked than this process may lock.
    #[error(
        "{needed} bytes are to be locked in memory, and this process may lock {limit} in all: raise RLIMIT_MEMLOCK (`ulimit -l`), or lower the capacity"
    )]
    LockLimit {
        /// Bytes of the whole region.
        needed: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// There is no such NUMA node.
    #[error("there is no NUMA node {node} here: choose one of {online}")]
    NoNumaNode {
        /// As given.
        node: u32,
        /// Those that there are, as the kernel lists them.
        online: String,
    },
    /// A mapping cannot begin at multiples of this.
    #[error("a mapping cannot begin at a multiple of {align} bytes: choose a power of two that an address space holds")]
    InvalidAlignment {
        /// As given.
        align: usize,
    },
    /// The file that a System V key is made of is not there.
    #[error("no file {path} to make a System V key of: create it first, and do not replace it while it is used")]
    NoKeyFile {
        /// As given.
        path: String,
    },
    /// Another process has begun to create the region and has not finished.
    #[error(
        "region `{name}` is being created by another process: try again; if that process is stopped, resume or kill it"
    )]
    NotReady {
        /// Of the region.
        name: String,
    },
    /// The capacity is zero, or too large for the machine.
    #[error("invalid capacity {capacity} for messages of {payload_size} bytes: {reason}")]
    InvalidCapacity {
        /// As given, in messages.
        capacity: u64,
        /// Bytes of one message.
        payload_size: usize,
        /// What a capacity must be.
        reason: &'static str,
    },
    /// What was found is not a region of this library.
    #[error("`{name}` is not a ringway region: {found}: it belongs to another program, choose another name")]
    NotARegion {
        /// Of the object.
        name: String,
        /// What it is instead.
        found: String,
    },
    /// The region was written by an incompatible version of this library.
    #[error(
        "region `{name}` has format version {found}, this program speaks {expected}: update the older of the two programs"
    )]
    VersionMismatch {
        /// Of the region.
        name: String,
        /// Spoken by this program.
        expected: u64,
        /// In the region.
        found: u64,
    },
    /// The region carries another kind of channel.
    #[error("region `{name}` carries an {found} channel, expected {expected}: attach with the flavor that created it")]
    FlavorMismatch {
        /// Of the region.
        name: String,
        /// Of this call.
        expected: &'static str,
        /// In the region.
        found: &'static str,
    },
    /// The region carries another type of message.
    #[error("region `{name}` carries another payload: {difference}: build both programs with the same type")]
    PayloadMismatch {
        /// Of the region.
        name: String,
        /// The first field that differs, in words.
        difference: String,
        /// Schema text of this program's type.
        expected: String,
        /// Schema text in the region.
        found: String,
    },
    /// A field of the header contradicts another, or the file.
    #[error(
        "region `{name}` is damaged: {field} is {found}, expected {expected}: remove it with ringway::unlink and create it anew"
    )]
    Damaged {
        /// Of the region.
        name: String,
        /// Which field.
        field: &'static str,
        /// Value that would be consistent.
        expected: u64,
        /// Value in the region.
        found: u64,
    },
    /// The machine stopped while a file was in use, or after its last user had been killed: what has come to the disk is
    /// a mixture of moments, so none of it is believed.
    #[error(
        "the machine was restarted while `{name}` was in use, and its messages cannot be trusted: discard it with ringway::unlink, or with Options::replace_dead"
    )]
    MachineCrashed {
        /// Of the region.
        name: String,
    },
    /// So many peers cannot be told apart, or so few not exchange anything.
    #[error("a channel cannot have {peers} peers: choose 2 to {most} with Options::peers")]
    InvalidPeers {
        /// What was asked for.
        peers: usize,
        /// The most that there can be.
        most: usize,
    },
    /// Every peer index of an MPMC channel is held by a live process.
    #[error("all {peers} peers of this channel are taken: end one, or create it with a larger Options::peers")]
    NoPeerLeft {
        /// What the creator asked for.
        peers: usize,
    },
    /// A live process holds that end of the channel.
    ///
    /// A *stopped* process counts as live: it may go on at any moment and write through its mapping, so it cannot be
    /// replaced; resume it (`SIGCONT`) or kill it.
    #[error("the {role} of this channel is taken ({holder}): {}", advice(holder))]
    RoleTaken {
        /// Which end.
        role: Role,
        /// Who holds it.
        holder: PeerState,
    },
    /// The name was removed, or given to another region, while this process was attaching.
    #[error("region `{name}` was removed while attaching: try again")]
    Removed {
        /// Of the region.
        name: String,
    },
    /// The kernel, or a sandbox, lacks something that the channel needs.
    #[error("{what} is not available here: {advice}")]
    Unsupported {
        /// What is missing.
        what: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
    /// The operating system failed in a way that has no name above; the message says what to do where that is known.
    #[error("{call} failed: {source}{}", remedy(source))]
    Os {
        /// The system call.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
}

/// For calls that take an [`Address`](crate::Address) as well as a text.
impl From<core::convert::Infallible> for Error {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

fn advice(holder: &PeerState) -> &'static str {
    match holder {
        PeerState::Stopped { .. } => {
            "a stopped process may go on at any moment; resume it with SIGCONT or kill it first"
        }
        _ => "each end has one holder at a time; end that one, or use another channel",
    }
}

/// What to do about an error of the operating system, where it means the same whatever call it is of.
fn remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EMFILE) => ": close files of this process, or raise RLIMIT_NOFILE (`ulimit -n`)",
        Some(libc::ENFILE) => ": close files of other processes, or raise /proc/sys/fs/file-max",
        Some(libc::ENOMEM) => {
            ": free memory, lower the capacity, or raise the limit that was met (RLIMIT_AS, the memory of a cgroup, \
             /proc/sys/vm/max_map_count)"
        }
        Some(libc::ENOSPC | libc::EDQUOT) => ": free space and files there, or choose another place",
        Some(libc::EACCES | libc::EPERM) => ": have the call allowed to this process, by its user or by its sandbox",
        Some(libc::ENOSYS) => ": allow the call in the sandbox, or run on a newer kernel",
        Some(libc::EIO) => ": the device fails, and the kernel's log (`dmesg`) says how; choose another place",
        _ => "",
    }
}

/// An end of a channel. There will be no third one, so it can be matched without a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The producers' end.
    Sender,
    /// The consumers' end.
    Receiver,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        })
    }
}

/// What makes a handle unusable, or a single message unreadable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The handle was inherited over `fork`; only the process that opened it may use it.
    #[error("this handle belongs to the parent process: after fork, open the child's own through the Channel")]
    Forked,
    /// The other side wrote numbers into the region that no correct peer writes.
    ///
    /// Nothing was read or written on their account. The fault stays until the region is created anew.
    #[error(
        "the region is corrupt: {what} is {found}, expected {expected}: end both sides and create the channel anew"
    )]
    Corrupt {
        /// Which number.
        what: &'static str,
        /// What it could have been.
        expected: u64,
        /// What it was.
        found: u64,
    },
    /// Others changed the same words again and again: 65,536 lost races in one call, or a walk over that many slots and four
    /// times around the ring.
    #[error("gave up after losing one race for a slot after the other: try again; if it stays so, a peer misbehaves")]
    Contended,
    /// A message of a packed channel cannot be kept until it is acknowledged, see `Options::pack_batches`.
    #[error(
        "this channel packs batches, so no message can be kept under a guard: use recv, or create it without pack_batches"
    )]
    Packed,
    /// The bytes of one message are no valid value of the payload type; that message is dropped, the next may be fine.
    #[error("a message is no valid {type_name}: the sender is not built from the same source; the message was dropped")]
    Invalid {
        /// The payload type.
        type_name: &'static str,
    },
}

/// Error of `send`: the message comes back.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T> {
    /// Every receiver is gone.
    Disconnected(T),
    /// This handle cannot send.
    Fault(T, Fault),
}

/// Error of `try_send`: the message comes back.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// No room at this moment.
    Full(T),
    /// Every receiver is gone.
    Disconnected(T),
    /// This handle cannot send.
    Fault(T, Fault),
}

/// Error of `send_timeout` and `send_deadline`: the message comes back.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendTimeoutError<T> {
    /// No room until the deadline.
    Timeout(T),
    /// Every receiver is gone.
    Disconnected(T),
    /// This handle cannot send.
    Fault(T, Fault),
}

/// Error of `send_slice`: how many messages were sent before it, and why it stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {sent} messages: {cause}")]
#[non_exhaustive]
pub struct SendSliceError {
    /// Messages from the front of the slice that were sent.
    pub sent: usize,
    /// What stopped the rest.
    pub cause: SendError<()>,
}

/// Error of `recv`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// Every sender is gone and the channel is drained.
    #[error("receiving on an empty channel whose sender is gone")]
    Disconnected,
    /// This handle cannot receive, or this message cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Error of `try_recv`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// No message at this moment.
    #[error("receiving on an empty channel")]
    Empty,
    /// Every sender is gone and the channel is drained.
    #[error("receiving on an empty channel whose sender is gone")]
    Disconnected,
    /// This handle cannot receive, or this message cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Error of `recv_timeout` and `recv_deadline`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No message until the deadline.
    #[error("timed out waiting for a message")]
    Timeout,
    /// Every sender is gone and the channel is drained.
    #[error("receiving on an empty channel whose sender is gone")]
    Disconnected,
    /// This handle cannot receive, or this message cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What the three errors that carry a message have in common: it need not be `Debug` for the error to be.
macro_rules! carries_message {
    ($name:ident { $($extra:ident => $text:literal),* }) => {
        impl<T> $name<T> {
            /// The message that was not sent.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("let error = ringway::", stringify!($name), "::Disconnected(7);")]
            /// assert_eq!(error.into_inner(), 7);
            /// ```
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$extra(message) => message,)*
                    Self::Disconnected(message) | Self::Fault(message, _) => message,
                }
            }

            /// Whether every receiver is gone.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("let error = ringway::", stringify!($name), "::Disconnected(7);")]
            /// assert!(error.is_disconnected());
            /// ```
            pub fn is_disconnected(&self) -> bool {
                matches!(self, Self::Disconnected(_))
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$extra(_) => f.write_str(concat!(stringify!($extra), "(..)")),)*
                    Self::Disconnected(_) => f.write_str("Disconnected(..)"),
                    Self::Fault(_, fault) => write!(f, "Fault(.., {fault:?})"),
                }
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$extra(_) => f.write_str($text),)*
                    Self::Disconnected(_) => f.write_str("sending on a channel whose receiver is gone"),
                    Self::Fault(_, fault) => fault.fmt(f),
                }
            }
        }

        impl<T> core::error::Error for $name<T> {}
    };
}

carries_message!(SendError {});
carries_message!(TrySendError { Full => "sending on a full channel" });
carries_message!(SendTimeoutError { Timeout => "timed out waiting for room in the channel" });

impl<T> TrySendError<T> {
    /// Whether there was no room.
    ///
    /// # Examples
    /// ```
    /// assert!(ringway::TrySendError::Full(7).is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl<T> SendTimeoutError<T> {
    /// Whether the deadline passed.
    ///
    /// # Examples
    /// ```
    /// assert!(ringway::SendTimeoutError::Timeout(7).is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

impl RecvError {
    /// Whether every sender is gone and the channel is drained.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// drop(tx);
    /// assert!(rx.recv().unwrap_err().is_disconnected());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

impl TryRecvError {
    /// Whether there was no message.
    ///
    /// # Examples
    /// ```
    /// let (_tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// assert!(rx.try_recv().unwrap_err().is_empty());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether every sender is gone and the channel is drained.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// drop(tx);
    /// assert!(rx.try_recv().unwrap_err().is_disconnected());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

impl RecvTimeoutError {
    /// Whether the deadline passed.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let (_tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// assert!(rx.recv_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Whether every sender is gone and the channel is drained.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// drop(tx);
    /// assert!(rx.recv_timeout(Duration::MAX).unwrap_err().is_disconnected());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}
