//! The memory that a region lies in, and the leases on it: all that the rest of the crate has to know about a backing.

mod anon;
mod file;
mod heap;
mod one_way;
mod sysv;

use core::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use self::anon::AnonymousStore;
pub(super) use self::file::FileStore;
use self::heap::HeapStore;
use self::one_way::OneWayStore;
use self::sysv::SegmentStore;
pub(crate) use self::sysv::addresses as segments;
use super::header::Page;
use crate::address::{Address, Place};
use crate::error::{Error, Role};
use crate::lease;
use crate::memory::Memory;
use crate::pages::{MemoryReport, Pages};
use crate::sys::entry::Entry;
use crate::sys::sysv::Key;

/// What errors call a region without a name.
const ANONYMOUS: &str = "(descriptor)";

/// Memory with leases, open in this process; nothing of it is mapped for writing until a role is taken.
///
/// Reading goes through system calls, or through memory that nobody can truncate, so it never raises `SIGBUS`.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Bytes at this moment.
    fn length(&self) -> Result<u64, Error>;

    /// Reads words at `offset`, a multiple of 8; `false` if the memory ends before.
    fn read(&self, words: &mut [u64], offset: usize) -> Result<bool, Error>;

    /// Bytes of it that are there, and charged to whoever made it; the others would be to whoever writes them first.
    fn allocated(&self) -> Result<u64, Error> {
        self.length()
    }

    /// Whether reading all of it could make memory of what is not there yet, and charge it to this process.
    fn grows_when_read(&self) -> bool {
        false
    }

    /// The first offset from this one on at which there may be anything but zeroes; what is passed over was never written.
    fn data_from(&self, offset: usize) -> usize {
        offset
    }

    /// The event word in which `role` tells the other side about itself; 0 if it cannot be read.
    fn event(&self, role: Role) -> u32;

    /// The description by which locks are asked about; `None` if the leases are no locks.
    fn locks(&self) -> Option<BorrowedFd<'_>>;

    /// Takes the lease of the first of `indexes` that is free, and maps the memory, which must be `length` bytes long;
    /// `None` if none is free. `pages` is what the mapping is to be like; `joins` is the role to be counted among.
    fn take(
        self: Arc<Self>,
        indexes: &mut dyn Iterator<Item = usize>,
        joins: Option<Role>,
        length: usize,
        pages: &Pages,
    ) -> Result<Option<Attachment>, Error>;

    /// What the kernel says about what this process has mapped of it.
    fn report(&self) -> Result<MemoryReport, Error> {
        Err(Error::Unsupported {
            what: "a report about pages of the heap",
            advice: "create the channel at anon: instead",
        })
    }

    /// User id of the owner, and permission bits.
    fn access(&self) -> Result<(u32, u32), Error>;

    /// Changes owner, group and permission bits.
    fn set_access(&self, _owner: Option<u32>, _group: Option<u32>, _mode: Option<u32>) -> Result<(), Error> {
        Err(Error::Unsupported { what: "an owner of memory without a name", advice: "whoever has it may use it" })
    }

    /// Keeps its pages from being swapped out, or no longer.
    fn keep_in_memory(&self, _keep: bool) -> Result<(), Error> {
        Err(Error::Unsupported { what: "locking the memory of others", advice: "only System V shared memory has that" })
    }

    /// What others find it by.
    fn name(&self) -> Option<&str> {
        None
    }

    /// What errors call it.
    fn label(&self) -> &str {
        self.name().unwrap_or(ANONYMOUS)
    }

    /// The descriptor that can be passed on.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The descriptor of the file that its blocks lie in, if that is another one.
    fn blocks(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether no peer can truncate it, which would end a reader of its mapping.
    fn is_sealed(&self) -> bool {
        true
    }

    /// Whether it outlives the machine.
    fn is_on_disk(&self) -> bool {
        false
    }

    /// Waits until everything that was written so far is on the disk; whether the region is clean there, so that a crash
    /// of the machine loses nothing unless somebody takes a role first.
    fn sync(&self) -> Result<bool, Error> {
        Ok(false)
    }

    /// Whether the name leads to this very memory.
    fn is_named(&self) -> Result<bool, Error> {
        Ok(false)
    }

    /// Removes the name, if it still leads to this memory; whether it did.
    fn remove(&self) -> Result<bool, Error> {
        Ok(false)
    }

    /// Whether somebody holds the lease of peer `index`.
    fn is_held(&self, index: usize) -> bool {
        self.locks().is_none_or(|locks| lease::is_held(locks, index))
    }

    /// Whether anybody was counted among the holders of `role` and is not gone yet.
    fn is_role_held(&self, role: Role) -> bool {
        self.locks().is_none_or(|locks| lease::is_role_held(locks, role))
    }

    /// Announces that this process has the region open; `false` if somebody is throwing it away.
    fn announce_open(&self) -> Result<bool, Error> {
        self.locks().map_or(Ok(true), lease::announce_open)
    }

    /// Whether nobody else has it open; if so, nobody can until this value is dropped.
    fn claim_abandoned(&self) -> Result<bool, Error> {
        self.locks().map_or(Ok(false), lease::claim_abandoned)
    }
}

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To look at it.
    Read,
    /// To take roles, or to remove it.
    Write,
}

/// What a new store is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'p> {
    /// In bytes.
    pub(super) length: usize,
    /// Leases that can be held.
    pub(super) peers: usize,
    /// Permission bits.
    pub(super) mode: u32,
    /// The creator's own if it is `None`.
    pub(super) group: Option<u32>,
    /// The header.
    pub(super) page: &'p Page,
    /// What it is made of.
    pub(super) pages: &'p Pages,
    /// Whether nobody but its maker will write the blocks; memfds only.
    pub(super) one_way: bool,
}

/// Makes new memory, which appears under its name with its header in it, all at once.
pub(super) fn create(address: &Address, plan: &Plan<'_>) -> Result<Arc<dyn Store>, Error> {
    Ok(match address.place() {
        Place::Posix(name) => Arc::new(FileStore::create(Entry::of_name(name), plan)?),
        Place::SystemV(key) => Arc::new(SegmentStore::create(key, plan)?),
        Place::File(path) => Arc::new(FileStore::create(Entry::of_path(path)?, plan)?),
        Place::Memfd if plan.one_way => Arc::new(OneWayStore::create(plan)?),
        Place::Memfd => Arc::new(FileStore::create_anonymous(plan)?),
        Place::Anonymous => Arc::new(AnonymousStore::create(plan)?),
        Place::Heap => Arc::new(HeapStore::create(plan)?),
    })
}

/// Opens the memory of that name. What it contains is still to be checked.
pub(crate) fn find(address: &Address, access: Access) -> Result<Arc<dyn Store>, Error> {
    Ok(match address.place() {
        Place::Posix(name) => Arc::new(FileStore::open(Entry::of_name(name), access)?),
        Place::File(path) => Arc::new(FileStore::open(Entry::of_path(path)?, access)?),
        Place::SystemV(Key::Private) | Place::Memfd | Place::Anonymous | Place::Heap => {
            let reason =
                "it means new memory each time, so nothing can be found by it; create, and inherit or pass that";
            return Err(Error::InvalidName { name: address.to_string(), reason });
        }
        Place::SystemV(key) => Arc::new(SegmentStore::find(key, access)?),
    })
}

/// The memory behind a descriptor, or behind one and that of its blocks.
pub(super) fn from_fd(fd: OwnedFd, blocks: Option<OwnedFd>) -> Result<Arc<dyn Store>, Error> {
    let store = FileStore::from_fd(fd)?;
    Ok(match blocks {
        Some(blocks) => Arc::new(OneWayStore::from_parts(store, blocks)?),
        None => Arc::new(store),
    })
}

/// A role taken: the memory, and the lease that lasts as long as this value.
#[derive(Debug)]
pub(crate) struct Attachment {
    memory: Memory,
    index: usize,
    /// Keeps both.
    _hold: Box<dyn Hold>,
}

/// What keeps memory mapped and a lease held, and ends both when it is dropped.
trait Hold: fmt::Debug + Send + Sync {}
impl<T: fmt::Debug + Send + Sync> Hold for T {}

impl Attachment {
    /// The region's memory, valid as long as `self`.
    #[inline(always)]
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The peer index whose lease is held.
    pub(crate) fn index(&self) -> usize {
        self.index
    }
}
