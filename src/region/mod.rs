//! A region: created whole or not at all, attached only after every number in its header was checked.
//!
//! A [`Region`] takes no role and maps nothing: it holds the descriptor for queries and the private copy of the header.
//! A role is taken by [`Region::open_role`], which yields the mapping that is also the lease.

mod header;
mod record;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(feature = "shared_memory")]
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use crossbeam_utils::Backoff;
use zerocopy::FromZeros;

pub(crate) use self::header::{HeaderPage, Mode, Request, read_header};
use self::header::{check_header, check_length, write_header};
pub(crate) use self::record::{enter_roll, peer_state_in, peer_states_in, strike_off, write_record};
use crate::error::{Error, Role};
use crate::layout::{self, Flavor, Geometry, PeerRecord};
use crate::lease;
use crate::memory::Memory;
use crate::peer::PeerState;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::heap::Heap;
use crate::sys::map::Mapping;
use crate::sys::posix::Name;
use crate::sys::process::ForkMark;
use crate::sys::{file, membarrier, posix};
use crate::wait::{Barrier, CLOSED};

/// What errors call a region without a name.
const ANONYMOUS: &str = "(descriptor)";

/// Where the bytes are.
#[derive(Debug)]
enum Store {
    File(File),
    Heap(Arc<HeapStore>),
}

/// Memory of this process, with its leases.
#[derive(Debug)]
struct HeapStore {
    heap: Heap,
    /// By peer index: 1 while it is held.
    leases: Box<[AtomicU32]>,
    /// Peers of each role.
    held: [AtomicU32; 2],
}

impl HeapStore {
    fn new(geometry: &Geometry) -> Result<Self, Error> {
        let leases = (0..geometry.peers).map(|_| AtomicU32::new(0)).collect();
        let held = [AtomicU32::new(0), AtomicU32::new(0)];
        Ok(Self { heap: Heap::new(geometry.region_length)?, leases, held })
    }

    fn acquire(&self, index: usize) -> bool {
        // Acquire: pairs with the Release in `Attachment::drop`.
        self.leases[index].swap(1, Ordering::Acquire) == 0
    }
}

/// The name under which others find the region.
#[derive(Debug)]
struct Link {
    name: Name,
    /// Whether the name goes when this value does.
    remove: bool,
}

/// A region that this process has open.
#[derive(Debug)]
pub(crate) struct Region {
    store: Store,
    geometry: Geometry,
    mode: Mode,
    link: Option<Link>,
    mark: ForkMark,
}

/// A role taken: the memory, and the lease that lasts as long as this value.
#[derive(Debug)]
pub(crate) struct Attachment {
    memory: Memory,
    index: usize,
    hold: Hold,
}

#[derive(Debug)]
enum Hold {
    Mapping(#[expect(dead_code, reason = "kept for its drop")] Mapping),
    Heap { store: Arc<HeapStore>, index: usize, role: Role },
}

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

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Hold::Heap { store, index, role } = &self.hold {
            // Release: whatever this holder wrote is visible to whoever finds it gone.
            store.held[role.index()].fetch_sub(1, Ordering::Release);
            store.leases[*index].store(0, Ordering::Release);
        }
    }
}

/// How a region is created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Creation {
    pub(crate) capacity: u64,
    pub(crate) mode: u32,
    pub(crate) persist: bool,
    pub(crate) membarrier: bool,
    /// MPMC: records in the peer table.
    pub(crate) peers: usize,
    /// MPMC: see [`Mode::stay_open`].
    pub(crate) stay_open: bool,
}

impl Creation {
    fn geometry(&self, request: &Request) -> Result<Geometry, Error> {
        let (peers, most) = (self.peers, layout::MPMC_PEERS_MAX);
        if request.flavor == Flavor::Mpmc && !(2..=most).contains(&peers) {
            return Err(Error::InvalidPeers { peers, most });
        }
        Geometry::new(request.flavor, self.capacity, request.payload_size, self.peers)
    }

    fn mode(&self) -> Mode {
        let registered = self.membarrier && membarrier::register();
        let barrier = if registered { Barrier::Membarrier } else { Barrier::Fence };
        Mode { barrier, refused: self.membarrier && !registered, stay_open: self.stay_open }
    }
}

impl Region {
    /// Creates a named region, or fails with [`Error::AlreadyExists`].
    pub(crate) fn create_named(name: &str, request: &Request, how: Creation) -> Result<Self, Error> {
        let name = Name::new(name)?;
        let geometry = how.geometry(request)?;
        let file = posix::create_unnamed(&name, geometry.region_length, how.mode)?;
        lease::announce_open(&file)?;
        let mode = how.mode();
        let file = File::from(file);
        write_header(&file, request, &geometry, mode)?;
        posix::link(file.as_fd(), &name)?;
        Self::new(Store::File(file), geometry, mode, Some(Link { name, remove: !how.persist }))
    }

    /// Creates a region without a name, in a sealed memfd.
    pub(crate) fn create_anonymous(request: &Request, how: Creation) -> Result<Self, Error> {
        let geometry = how.geometry(request)?;
        let mode = how.mode();
        let file = File::from(file::memfd(geometry.region_length)?);
        write_header(&file, request, &geometry, mode)?;
        Self::new(Store::File(file), geometry, mode, None)
    }

    /// Creates a region in memory of this process.
    pub(crate) fn create_heap(request: &Request, how: Creation) -> Result<Self, Error> {
        let geometry = how.geometry(request)?;
        let mode = how.mode();
        Self::new(Store::Heap(Arc::new(HeapStore::new(&geometry)?)), geometry, mode, None)
    }

    /// Lays a region into a file of that name which exists already and belongs to somebody else's library.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn create_within(name: &str, request: &Request, how: Creation) -> Result<Self, Error> {
        let name = Name::new(name)?;
        let needed = how.geometry(request)?;
        let file = File::from(posix::open(&name)?);
        let available = header::length(&file)?;
        if available < needed.region_length as u64 {
            return Err(Error::NoSpace { needed: needed.region_length as u64, available });
        }
        if !(lease::announce_open(&file)? && lease::claim_abandoned(&file)?) {
            return Err(Error::AlreadyExists { name: name.as_str().into() });
        }
        let geometry = Geometry { region_length: available as usize, ..needed };
        file::fallocate(file.as_fd(), available)?;
        let mode = how.mode();
        let zeroes = [0; 4096];
        for offset in (0..needed.region_length).step_by(zeroes.len()) {
            file.write_all_at(&zeroes, offset as u64).map_err(|source| Error::Os { call: "pwrite", source })?;
        }
        write_header(&file, request, &geometry, mode)?;
        lease::announce_open(&file)?;
        Self::new(Store::File(file), geometry, mode, Some(Link { name, remove: false }))
    }

    /// Opens a named region.
    pub(crate) fn attach_named(name: &str, request: &Request, owner: Option<u32>) -> Result<Self, Error> {
        let name = Name::new(name)?;
        let backoff = Backoff::new();
        let file = loop {
            let file = File::from(posix::open(&name)?);
            if lease::announce_open(&file)? && posix::leads_to(&name, file.as_fd())? {
                break file;
            }
            // Somebody is throwing the region away, or has just done so: the name is free or new in a moment.
            if backoff.is_completed() {
                return Err(Error::Removed { name: name.as_str().into() });
            }
            backoff.snooze();
        };
        check_owner(&file, name.as_str(), owner)?;
        let (geometry, mode) = check_header(&file, name.as_str(), request)?;
        mode.barrier.join()?;
        Self::new(Store::File(file), geometry, mode, Some(Link { name, remove: false }))
    }

    /// Opens the region behind a descriptor that came from another process.
    pub(crate) fn attach_fd(fd: OwnedFd, request: &Request) -> Result<Self, Error> {
        let file = File::from(fd);
        file::check_regular(file.as_fd(), ANONYMOUS)?;
        let (geometry, mode) = check_header(&file, ANONYMOUS, request)?;
        mode.barrier.join()?;
        Self::new(Store::File(file), geometry, mode, None)
    }

    fn new(store: Store, geometry: Geometry, mode: Mode, link: Option<Link>) -> Result<Self, Error> {
        Ok(Self { store, geometry, mode, link, mark: ForkMark::here()? })
    }

    /// Takes `role`, or fails with [`Error::RoleTaken`]; of an MPMC region, any free peer index, or fails with
    /// [`Error::NoPeerLeft`].
    pub(crate) fn open_role(&self, role: Role) -> Result<Attachment, Error> {
        match &self.store {
            Store::File(file) => {
                // A child of the process that opened this region registers for itself.
                self.mode.barrier.join()?;
                let fresh = file::reopen(file.as_fd(), self.name().unwrap_or(ANONYMOUS))?;
                let index = self.take_index(role, |index| lease::acquire(fresh.as_fd(), index))?;
                if self.geometry.flavor == Flavor::Mpmc {
                    lease::join(fresh.as_fd(), role)?;
                }
                let length = self.geometry.region_length;
                check_length(file, self.name().unwrap_or(ANONYMOUS), length as u64)?;
                let mapping = Mapping::new(fresh.as_fd(), length)?;
                // SAFETY: the mapping is page-aligned and as long as said; it lives in the same value as `memory`, and
                // its bytes are accessed through `Memory` only.
                #[allow(unsafe_code)]
                let memory = unsafe { Memory::mapped(mapping.base(), mapping.length()) };
                Ok(Attachment { memory, index, hold: Hold::Mapping(mapping) })
            }
            Store::Heap(store) => {
                let index = self.take_index(role, |index| Ok(store.acquire(index)))?;
                store.held[role.index()].fetch_add(1, Ordering::Relaxed);
                let hold = Hold::Heap { store: Arc::clone(store), index, role };
                Ok(Attachment { memory: store.heap.memory(), index, hold })
            }
        }
    }

    /// The peer index of `role`, or the first free one.
    fn take_index(&self, role: Role, acquire: impl Fn(usize) -> Result<bool, Error>) -> Result<usize, Error> {
        match self.geometry.flavor {
            Flavor::Spsc if acquire(role.index())? => Ok(role.index()),
            Flavor::Spsc => Err(Error::RoleTaken { role, holder: self.peer_state(role) }),
            Flavor::Mpmc => {
                let peers = self.geometry.peers;
                // Each question takes the kernel a walk over all locks, so begin where none is held yet.
                let first = self.attached_ever() % peers;
                for index in (first..peers).chain(0..first) {
                    if acquire(index)? {
                        return Ok(index);
                    }
                }
                Err(Error::NoPeerLeft { peers: self.geometry.peers })
            }
        }
    }

    /// MPMC: how many peers have ever been attached, to within those that are doing so.
    fn attached_ever(&self) -> usize {
        let roll = |role| match &self.store {
            Store::File(file) => {
                let mut roll = [0; 8];
                // If it cannot be read, the search begins elsewhere.
                let _ = file::read_at(file, &mut roll, layout::roll_offset(role) as u64);
                u64::from_le_bytes(roll)
            }
            // Relaxed: where to begin a search.
            Store::Heap(store) => store.heap.memory().roll(role).load(Ordering::Relaxed),
        };
        ((roll(Role::Sender) >> 32) + (roll(Role::Receiver) >> 32)) as usize
    }

    /// Whether anybody holds `role`.
    pub(crate) fn is_leased(&self, role: Role) -> bool {
        match (&self.store, self.geometry.flavor) {
            (Store::File(file), Flavor::Spsc) => lease::is_held(file.as_fd(), role.index()),
            (Store::File(file), Flavor::Mpmc) => lease::is_role_held(file.as_fd(), role),
            // Acquire: pairs with the Release in `Attachment::drop`.
            (Store::Heap(store), _) => store.held[role.index()].load(Ordering::Acquire) != 0,
        }
    }

    /// Whether nobody holds the lease of peer `index`.
    pub(crate) fn is_dead(&self, index: usize) -> bool {
        match &self.store {
            Store::File(file) => !lease::is_held(file.as_fd(), index),
            // Acquire: pairs with the Release in `Attachment::drop`.
            Store::Heap(store) => store.leases.get(index).is_none_or(|lease| lease.load(Ordering::Acquire) == 0),
        }
    }

    /// What is known about the holder of `role` in an SPSC region.
    pub(crate) fn peer_state(&self, role: Role) -> PeerState {
        match &self.store {
            Store::File(file) => peer_state_in(file, role),
            Store::Heap(store) => {
                let memory = store.heap.memory();
                // Relaxed: a snapshot for people.
                let closed = memory.event(role).load(Ordering::Relaxed) & CLOSED != 0;
                let attaches = memory.word(Flavor::Spsc.record_offset(role.index())).load(Ordering::Relaxed);
                let record = PeerRecord { attaches, pid: std::process::id().into(), ..PeerRecord::new_zeroed() };
                PeerState::new(self.is_leased(role), closed, &record, false)
            }
        }
    }

    /// What is known about the holders of `role` in an MPMC region.
    pub(crate) fn peer_states(&self, role: Role) -> Vec<PeerState> {
        match &self.store {
            Store::File(file) => peer_states_in(file, self.geometry.peers, role),
            Store::Heap(store) => {
                let held = store.held[role.index()].load(Ordering::Relaxed);
                vec![PeerState::Running { pid: std::process::id() }; held as usize]
            }
        }
    }

    /// Removes the name, if it still leads to this region; `false` if not.
    pub(crate) fn unlink(&self) -> Result<bool, Error> {
        match (&self.store, &self.link) {
            (Store::File(file), Some(link)) => posix::unlink_if_same(file.as_fd(), &link.name),
            _ => Ok(false),
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.link.as_ref().map(|link| link.name.as_str())
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.store {
            Store::File(file) => Some(file.as_fd()),
            Store::Heap(_) => None,
        }
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // A child that inherited this value leaves the parent's name alone.
        if self.link.as_ref().is_some_and(|link| link.remove) && self.mark.is_ours() {
            // Nobody is left to tell; the name then stays, which `list` and `unlink` are for.
            let _ = self.unlink();
        }
    }
}
/// /dev/shm is writable by everybody, so a name alone says nothing about who is behind it.
fn check_owner(file: &File, name: &str, owner: Option<u32>) -> Result<(), Error> {
    let found = file.metadata().map_err(|source| Error::Os { call: "fstat", source })?.uid();
    let this = rustix::process::geteuid().as_raw();
    let welcome = match owner {
        Some(owner) => found == owner,
        None => found == this || found == 0,
    };
    if welcome { Ok(()) } else { Err(Error::WrongOwner { name: name.into(), expected: owner.unwrap_or(this), found }) }
}
/// Removes the name of a region that no process has open, if there is one.
///
/// Whoever opens a region to use it first fails to claim it, and then announces itself; so of several that do this at
/// once, none can find another one's announcement on a region that was abandoned.
pub(crate) fn remove_abandoned(name: &str, owner: Option<u32>) -> Result<(), Error> {
    let name = Name::new(name)?;
    let file = match posix::open(&name) {
        Err(Error::NotFound { .. }) => return Ok(()),
        file => File::from(file?),
    };
    check_owner(&file, name.as_str(), owner)?;
    if let Err(error @ Error::NotARegion { .. }) = read_header(&file, name.as_str()) {
        return Err(error);
    }
    if lease::claim_abandoned(&file)? {
        posix::unlink_if_same(file.as_fd(), &name)?;
    }
    Ok(())
}

/// Removes the name of a region, after checking that it is one. Who is attached goes on undisturbed.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotARegion`], [`Error::PermissionDenied`]; [`Error::Removed`] if somebody else was
/// faster.
pub fn unlink(name: &str) -> Result<(), Error> {
    let name = Name::new(name)?;
    let file = File::from(posix::open(&name)?);
    // Whatever else is wrong with it, it is a region, and this is how one gets rid of it.
    if let Err(error @ Error::NotARegion { .. }) = read_header(&file, name.as_str()) {
        return Err(error);
    }
    if posix::unlink_if_same(file.as_fd(), &name)? {
        Ok(())
    } else {
        Err(Error::Removed { name: name.as_str().into() })
    }
}

impl Barrier {
    /// Prepares this process for a region's barrier.
    fn join(self) -> Result<(), Error> {
        match self {
            Self::Membarrier if !membarrier::register() => Err(Error::Unsupported {
                what: "membarrier, on which this channel was created to rely,",
                advice: "create it with Options::membarrier(false), or allow the system call in the sandbox",
            }),
            _ => Ok(()),
        }
    }
}
