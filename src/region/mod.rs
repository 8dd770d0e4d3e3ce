//! A region: created whole or not at all, attached only after every number in its header was checked.
//!
//! A [`Region`] takes no role and maps nothing: it holds the descriptor for queries and the private copy of the header.
//! A role is taken by [`Region::open_role`], which yields the mapping that is also the lease.

mod header;
mod record;
mod store;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use self::header::check_header;
pub(crate) use self::header::{HeaderPage, Mode, Request, read_header};
pub(crate) use self::record::{enter_roll, peer_state_in, peer_states_in, strike_off, write_record};
#[cfg(feature = "shared_memory")]
use self::store::FileStore;
use self::store::Plan;
pub(crate) use self::store::{Access, Attachment, Store, find, segments};
use crate::address::{Address, Backing};
use crate::error::{Error, Role};
use crate::layout::{self, Flavor, Geometry};
use crate::pages::{MemoryReport, Pages};
use crate::peer::PeerState;
#[cfg(feature = "shared_memory")]
use crate::sys::entry::Entry;
use crate::sys::membarrier;
use crate::sys::pages::huge_page_size;
use crate::sys::patience::Patience;
#[cfg(feature = "shared_memory")]
use crate::sys::posix::Name;
use crate::sys::process::ForkMark;
use crate::wait::Barrier;

/// A region that this process has open.
#[derive(Debug)]
pub(crate) struct Region {
    store: Arc<dyn Store>,
    geometry: Geometry,
    mode: Mode,
    /// What the mappings of roles are to be like.
    pages: Pages,
    /// Whether the name goes when this value does.
    remove: bool,
    mark: ForkMark,
}

/// How a region is created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Creation {
    pub(crate) capacity: u64,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
    pub(crate) persist: bool,
    pub(crate) membarrier: bool,
    /// MPMC: records in the peer table.
    pub(crate) peers: usize,
    /// See [`Mode::stay_open`].
    pub(crate) stay_open: bool,
    /// See [`Mode::one_way`].
    pub(crate) one_way: bool,
    /// MPMC: whether small messages of a batch share slots.
    pub(crate) packed: bool,
}

impl Creation {
    fn geometry(&self, request: &Request) -> Result<Geometry, Error> {
        let (peers, most) = (self.peers, layout::MPMC_PEERS_MAX);
        if request.flavor == Flavor::Mpmc && !(2..=most).contains(&peers) {
            return Err(Error::InvalidPeers { peers, most });
        }
        Geometry::new(request.flavor, self.capacity, request.payload_size, self.peers, self.packed)
    }

    fn mode(&self) -> Mode {
        let registered = self.membarrier && membarrier::register();
        let barrier = if registered { Barrier::Membarrier } else { Barrier::Fence };
        Mode { barrier, refused: self.membarrier && !registered, stay_open: self.stay_open, one_way: self.one_way }
    }

    /// Whether memory of this kind can be what is asked for.
    fn check(&self, request: &Request, backing: Backing, pages: &Pages) -> Result<(), Error> {
        if self.one_way && (request.flavor, backing, pages.are_huge()) != (Flavor::Spsc, Backing::Memfd, false) {
            return Err(Error::Unsupported {
                what: "a one-way channel of this kind",
                advice: "create an SPSC channel at memfd:, without huge pages",
            });
        }
        Ok(())
    }
}

impl Region {
    /// Creates a region, or fails with [`Error::AlreadyExists`].
    pub(crate) fn create(address: &Address, request: &Request, how: Creation, pages: &Pages) -> Result<Self, Error> {
        how.check(request, address.backing(), pages)?;
        let (geometry, mode) = (how.geometry(request)?, how.mode());
        let unit = if pages.are_huge() { huge_page_size() } else { layout::PAGE };
        let needed = geometry.region_length as u64;
        let geometry = geometry.in_units(unit).ok_or(Error::NoSpace { needed, available: 0 })?;
        let page = header::compose(request, &geometry, mode)?;
        let Geometry { region_length: length, peers, .. } = geometry;
        let store = store::create(
            address,
            &Plan { length, peers, mode: how.mode, group: how.group, page: &page, pages, one_way: how.one_way },
        )?;
        // A file is there to outlive its users.
        let remove = !how.persist && address.backing() != Backing::File;
        Self::new(store, geometry, mode, remove, pages)
    }

    /// Lays a region into a file of that name which exists already and belongs to somebody else's library.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn create_within(name: &str, request: &Request, how: Creation, pages: &Pages) -> Result<Self, Error> {
        how.check(request, Backing::Posix, pages)?;
        let store = FileStore::open(Entry::of_name(&Name::new(name)?), Access::Write)?;
        let (needed, mode) = (how.geometry(request)?, how.mode());
        let available = store.length()?;
        if available < needed.region_length as u64 {
            return Err(Error::NoSpace { needed: needed.region_length as u64, available });
        }
        if !(store.announce_open()? && store.claim_abandoned()?) {
            return Err(Error::AlreadyExists { name: store.label().into() });
        }
        let geometry = Geometry { region_length: available as usize, ..needed };
        store.overwrite(needed.region_length, &header::compose(request, &geometry, mode)?)?;
        store.announce_open()?;
        Self::new(Arc::new(store), geometry, mode, false, pages)
    }

    /// Opens a region that others can find.
    pub(crate) fn attach(
        address: &Address,
        request: &Request,
        owner: Option<u32>,
        pages: &Pages,
    ) -> Result<Self, Error> {
        let mut patience = Patience::new();
        let store = loop {
            let store = find(address, Access::Write)?;
            // Before its locks are asked: somebody else's would say what they please.
            check_owner(&*store, owner)?;
            if store.announce_open()? && store.is_named()? {
                break store;
            }
            // Somebody is throwing the region away, or has just done so: the name is free or new in a moment.
            if !patience.wait() {
                return Err(Error::Removed { name: store.label().into() });
            }
        };
        Self::check(store, request, pages)
    }

    /// Opens the region behind a descriptor that came from another process, or behind one and that of its blocks.
    pub(crate) fn attach_fd(
        fd: OwnedFd,
        blocks: Option<OwnedFd>,
        request: &Request,
        trust_unsealed: bool,
        pages: &Pages,
    ) -> Result<Self, Error> {
        let region = Self::check(store::from_fd(fd, blocks)?, request, pages)?;
        if trust_unsealed || region.store.is_sealed() { Ok(region) } else { Err(Error::Unsealed) }
    }

    fn check(store: Arc<dyn Store>, request: &Request, pages: &Pages) -> Result<Self, Error> {
        let (geometry, mode) = check_header(&*store, request)?;
        mode.barrier.join()?;
        Self::new(store, geometry, mode, false, pages)
    }

    fn new(store: Arc<dyn Store>, geometry: Geometry, mode: Mode, remove: bool, pages: &Pages) -> Result<Self, Error> {
        Ok(Self { store, geometry, mode, pages: *pages, remove, mark: ForkMark::here()? })
    }

    /// Takes `role`, or fails with [`Error::RoleTaken`]; of an MPMC region, any free peer index, or fails with
    /// [`Error::NoPeerLeft`].
    pub(crate) fn open_role(&self, role: Role) -> Result<Attachment, Error> {
        // A child of the process that opened this region registers for itself.
        self.mode.barrier.join()?;
        let Geometry { flavor, peers, region_length, .. } = self.geometry;
        let store = Arc::clone(&self.store);
        match flavor {
            Flavor::Spsc => {
                let attachment = store.take(&mut [role.index()].into_iter(), None, region_length, &self.pages)?;
                attachment.ok_or_else(|| Error::RoleTaken { role, holder: self.peer_state(role) })
            }
            Flavor::Mpmc => {
                // Each question takes the kernel a walk over all locks, so begin where none is held yet.
                let first = self.attached_ever() % peers;
                let mut indexes = (first..peers).chain(0..first);
                let attachment = store.take(&mut indexes, Some(role), region_length, &self.pages)?;
                attachment.ok_or(Error::NoPeerLeft { peers })
            }
        }
    }

    /// MPMC: how many peers have ever been attached, to within those that are doing so.
    fn attached_ever(&self) -> usize {
        let roll = |role| {
            let mut roll = [0];
            // If it cannot be read, the search begins elsewhere.
            let _ = self.store.read(&mut roll, layout::roll_offset(role));
            roll[0]
        };
        (roll(Role::Sender) >> 32).wrapping_add(roll(Role::Receiver) >> 32) as usize
    }

    /// Whether anybody holds the lease of `role`.
    pub(crate) fn is_leased(&self, role: Role) -> bool {
        match self.geometry.flavor {
            Flavor::Spsc => self.store.is_held(role.index()),
            Flavor::Mpmc => self.store.is_role_held(role),
        }
    }

    /// Whether nobody holds the lease of peer `index`.
    pub(crate) fn is_dead(&self, index: usize) -> bool {
        !self.store.is_held(index)
    }

    /// What is known about the holder of `role` in an SPSC region.
    pub(crate) fn peer_state(&self, role: Role) -> PeerState {
        peer_state_in(&*self.store, role)
    }

    /// What is known about the holders of `role` in an MPMC region.
    pub(crate) fn peer_states(&self, role: Role) -> Vec<PeerState> {
        peer_states_in(&*self.store, self.geometry.peers, role)
    }

    /// Changes owner, group and permission bits.
    pub(crate) fn set_access(&self, owner: Option<u32>, group: Option<u32>, mode: Option<u32>) -> Result<(), Error> {
        self.store.set_access(owner, group, mode)
    }

    /// What the kernel says about what this process has mapped of it.
    pub(crate) fn report(&self) -> Result<MemoryReport, Error> {
        self.store.report()
    }

    /// Keeps its pages from being swapped out, or no longer.
    pub(crate) fn keep_in_memory(&self, keep: bool) -> Result<(), Error> {
        self.store.keep_in_memory(keep)
    }

    /// Waits until everything is on the disk; whether the region is clean there.
    pub(crate) fn sync(&self) -> Result<bool, Error> {
        self.store.sync()
    }

    /// Removes the name, if it still leads to this region; `false` if not.
    pub(crate) fn unlink(&self) -> Result<bool, Error> {
        self.store.remove()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.store.name()
    }

    /// What can be passed on: the descriptor of all, or of all but the blocks, and then theirs.
    pub(crate) fn fds(&self) -> Option<(BorrowedFd<'_>, Option<BorrowedFd<'_>>)> {
        Some((self.store.descriptor()?, self.store.blocks()))
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
        if self.remove && self.mark.is_ours() {
            // Nobody is left to tell; the name then stays, which `list` and `unlink` are for.
            let _ = self.unlink();
        }
    }
}

/// Many directories are writable by everybody, so a name alone says nothing about who is behind it.
fn check_owner(store: &dyn Store, owner: Option<u32>) -> Result<(), Error> {
    let (found, _) = store.access()?;
    let this = rustix::process::geteuid().as_raw();
    let welcome = match owner {
        Some(owner) => found == owner,
        None => found == this || found == 0,
    };
    let expected = owner.unwrap_or(this);
    if welcome { Ok(()) } else { Err(Error::WrongOwner { name: store.label().into(), expected, found }) }
}

/// Whether it is a region at all: whatever else is wrong with one, this is how one gets rid of it.
fn check_removable(store: &dyn Store) -> Result<(), Error> {
    match read_header(store) {
        Err(error @ Error::NotARegion { .. }) => Err(error),
        _ => Ok(()),
    }
}

/// Removes the name of a region that no process has open, if there is one.
///
/// Whoever opens a region to use it first fails to claim it, and then announces itself; so of several that do this at
/// once, none can find another one's announcement on a region that was abandoned.
pub(crate) fn remove_abandoned(address: &Address, owner: Option<u32>) -> Result<(), Error> {
    let store = match find(address, Access::Write) {
        Err(Error::NotFound { .. }) => return Ok(()),
        store => store?,
    };
    check_owner(&*store, owner)?;
    check_removable(&*store)?;
    if store.claim_abandoned()? {
        store.remove()?;
    }
    Ok(())
}

/// Removes a region of any kind that others can find, after checking that it is one. Who is attached goes on
/// undisturbed; the memory goes with the last of them.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotARegion`], [`Error::PermissionDenied`]; [`Error::Removed`] if somebody else was
/// faster.
///
/// # Examples
/// ```
/// use ringway::{Options, spsc::Channel};
///
/// let name = format!("doc-unlink-{}", std::process::id());
/// drop(Channel::<u64>::create(&name, &Options::new().persist(true))?);
/// ringway::unlink(&name)?;
/// assert!(Channel::<u64>::attach(&name, &Options::new()).is_err());
/// # Ok::<(), ringway::Error>(())
/// ```
pub fn unlink<A>(address: A) -> Result<(), Error>
where
    A: TryInto<Address>,
    Error: From<A::Error>,
{
    let store = find(&address.try_into()?, Access::Write)?;
    check_removable(&*store)?;
    if store.remove()? { Ok(()) } else { Err(Error::Removed { name: store.label().into() }) }
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
