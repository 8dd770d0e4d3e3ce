//! A read-only look at any region, whatever its payload: for people, for tools and for tests.
//!
//! Nothing is mapped and no role is taken; the numbers are read one after the other while the peers work, so they are a
//! snapshot of moments that lie close together.

use core::fmt;
use std::sync::Arc;

use crate::address::{Address, Backing, Place};
use crate::error::{Error, Role};
use crate::layout::{self, Flavor, Geometry, Header, Slot};
use crate::peer::PeerState;
use crate::region::{self, Access, HeaderPage, Mode, Store};
use crate::ring::mpmc;
use crate::sys::posix::{self, Name};
use crate::wait::Barrier;

/// Blocks that the sender of an SPSC region may be ahead of its hint for them to be counted, so that a forged region keeps
/// nobody busy: a batch of some thousand.
const BLOCKS_TO_WALK: usize = 1 << 12;

/// Bytes of slots that are read at once. Of a longer slot, only its words are.
const BLOCK: usize = 1 << 16;

/// What a region says about itself.
///
/// # Examples
/// ```
/// use ringway::{Inspection, Options, spsc::Channel};
///
/// let name = format!("doc-inspect-{}", std::process::id());
/// let channel = Channel::<u64>::create(&name, &Options::new().capacity(64))?;
/// channel.sender()?.send(7)?;
///
/// let inspection = Inspection::of(&name)?;
/// assert_eq!((inspection.capacity, inspection.len), (64, 1));
/// assert_eq!(inspection.senders, [ringway::PeerState::Closed]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// What the region is called, as in errors: a name in POSIX shared memory, else its address.
    pub name: String,
    /// The kind of memory.
    pub backing: Backing,
    /// Of the format.
    pub version: u64,
    /// The kind of channel.
    pub flavor: &'static str,
    /// Whether the sleeping side pays for the memory order of wake-ups.
    pub membarrier: bool,
    /// Whether the channel outlives the last peer of a role, by [`Options::stay_open`](crate::Options::stay_open).
    pub stay_open: bool,
    /// Messages that fit; where [`Slots::messages`] share a slot, slots.
    pub capacity: u64,
    /// Messages in the channel; of a batch of thousands that an SPSC sender is at, perhaps not all. MPMC: tickets between the
    /// two hints, which may be a few behind; among them are those that came to nothing, because their sender was passed over or died.
    /// Where messages share slots: those that were found in them, or, [without looking there](Inspection::without_slots), the
    /// tickets.
    pub len: u64,
    /// Messages received in all. MPMC: tickets passed, those included that came to nothing; where messages share slots, each may
    /// have been of many.
    pub received: u64,
    /// Bytes of one message.
    pub payload_size: u64,
    /// Of the payload's schema.
    pub fingerprint: u64,
    /// Printable description of the payload.
    pub schema: String,
    /// Whether the machine stopped while this file was in use, so that its messages cannot be trusted and nobody can
    /// attach.
    pub crashed: bool,
    /// Bytes of memory.
    pub region_length: u64,
    /// Tells two regions of one name apart.
    pub instance: u64,
    /// Permission bits.
    pub mode: u32,
    /// User id of the owner.
    pub owner: u32,
    /// Who holds the sending end; MPMC: every sending peer that lives, or has crashed and was not replaced yet.
    pub senders: Vec<PeerState>,
    /// Who holds the receiving end; MPMC: as `senders`.
    pub receivers: Vec<PeerState>,
    /// What only an MPMC region has. `None` also from [`Inspection::without_slots`], and while System V shared memory is
    /// not all there yet, because reading it would make it so.
    pub slots: Option<Slots>,
}

/// Somebody who looks at a region, as often as wanted, and can do nothing else: what it opens can only be read, which the
/// kernel enforces, so permission to read is enough. It holds no lock, takes no role and counts as nobody: ends are opened,
/// closed and taken over as if it were not there, and a region that only observers have open is abandoned.
///
/// It goes on looking at the memory that it found, also when the address has come to lead elsewhere:
/// [`Observer::is_current`].
///
/// # Examples
/// ```
/// use ringway::{Observer, Options, PeerState, spsc::Channel};
///
/// let name = format!("doc-observer-{}", std::process::id());
/// let channel = Channel::<u64>::create(&name, &Options::new().mode(0o644))?;
///
/// // in a process of another user:
/// let observer = Observer::attach(&name)?;
/// assert_eq!(observer.inspect()?.senders, [PeerState::Never]);
///
/// channel.sender()?.send(7)?;
/// assert_eq!(observer.inspect()?.len, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Observer {
    store: Arc<dyn Store>,
    backing: Backing,
    /// Checked, and never read again.
    page: HeaderPage,
    geometry: Geometry,
}

/// How an MPMC ring works, and what its slots are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slots {
    /// How messages are published: `'A'`, by a store, or `'C'`, by a compare-exchange.
    pub mode: char,
    /// Why the ring works in that mode.
    pub reason: &'static str,
    /// Messages of a batch that fit a slot: more than 1 with [`Options::pack_batches`](crate::Options::pack_batches).
    pub messages: u64,
    /// Peers that can be attached at the same time.
    pub peers: u64,
    /// Slots that are being written.
    pub writing: u64,
    /// Capacity lost to peers that were too slow, or are stopped, until they go on or end.
    pub held: u64,
    /// Messages received under a guard and not acknowledged yet.
    pub guarded: u64,
}

impl Slots {
    /// Looks at each slot; says how many messages lie in them, too.
    fn of(header: &Header, geometry: &Geometry, store: &dyn Store) -> Result<(Self, u64), Error> {
        let Mode { barrier, refused, .. } = Mode::of(header.flags);
        let (mode, reason) = match (barrier, refused) {
            (Barrier::Membarrier, _) => ('A', "every peer can issue membarrier"),
            (Barrier::Fence, true) => ('C', "the kernel, or a sandbox, refused the creator membarrier"),
            (Barrier::Fence, false) => ('C', "the creator asked for it"),
        };
        let peers = geometry.peers as u64;
        let messages = Slot::of(header.payload_size as usize, geometry.packed).messages as u64;
        let mut slots = Self { mode, reason, messages, peers, writing: 0, held: 0, guarded: 0 };
        let mut found = 0;
        let stride = header.stride as usize;
        let (mut block, step) = match BLOCK / stride * stride {
            0 => (vec![0; 2], stride),
            step => (vec![0; step / 8], step),
        };
        let mut offset = geometry.start;
        while offset < geometry.end {
            // What was never written is free; a file may claim to be far longer than anybody could read.
            let data = store.data_from(offset);
            if data >= geometry.end {
                break;
            }
            offset += data.saturating_sub(offset) / stride * stride;
            let length = size_of_val(&*block).min(geometry.end - offset);
            let block = &mut block[..length / 8];
            if !store.read(block, offset)? {
                break;
            }
            found += block.chunks(stride / 8).map(|slot| slots.count(slot[0], slot[1])).sum::<u64>();
            offset += step;
        }
        Ok((slots, found))
    }

    /// Counts a slot; says how many messages are in it.
    fn count(&mut self, word: u64, skip: u64) -> u64 {
        match mpmc::phase(word, if self.mode == 'A' { skip } else { 0 }) {
            Some(mpmc::Phase::Full) => return mpmc::messages(word, self.messages),
            Some(mpmc::Phase::Writing) => self.writing += 1,
            Some(mpmc::Phase::Held) => self.held += 1,
            Some(mpmc::Phase::Reading) => self.guarded += 1,
            Some(mpmc::Phase::Free) | None => {}
        }
        0
    }
}

impl Inspection {
    /// Looks at the region there; reading permission is enough.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PermissionDenied`], [`Error::NotARegion`], [`Error::VersionMismatch`],
    /// [`Error::Damaged`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Inspection, Options, spsc::Channel};
    ///
    /// let name = format!("doc-of-{}", std::process::id());
    /// let _channel = Channel::<u64>::create(&name, &Options::new().capacity(64))?;
    /// println!("{}", Inspection::of(&name)?); // what `ringway inspect` shows
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn of<A>(address: A) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        Observer::attach(address)?.inspect()
    }

    /// The same without [`Inspection::slots`], for those who look at many regions: it takes as long whatever the capacity.
    ///
    /// # Errors
    /// As [`Inspection::of`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Inspection, Options, mpmc::Channel};
    ///
    /// let name = format!("doc-slots-{}", std::process::id());
    /// let _channel = Channel::<u64>::create(&name, &Options::new())?;
    /// assert!(Inspection::of(&name)?.slots.is_some());
    /// assert!(Inspection::without_slots(&name)?.slots.is_none());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn without_slots<A>(address: A) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        Self::of_region(&Observer::attach(address)?, false)
    }

    fn of_region(observer: &Observer, with_slots: bool) -> Result<Self, Error> {
        let Observer { store, backing, page: HeaderPage { header, schema, crashed }, geometry } = observer;
        let store = &**store;
        let Header { version, capacity, payload_size, fingerprint, region_length, instance, .. } = *header;
        let (owner, mode) = store.access()?;
        let word = |offset: usize| {
            let mut word = [0];
            match store.read(&mut word, offset)? {
                true => Ok(word[0]),
                false => Err(Error::Damaged {
                    name: store.label().into(),
                    field: "the length of its file",
                    expected: region_length,
                    found: store.length()?,
                }),
            }
        };
        let received = word(layout::HEAD)?;
        let hint = word(layout::TAIL)?;
        let peers = |role| match geometry.flavor {
            Flavor::Spsc => vec![region::peer_state_in(store, role)],
            Flavor::Mpmc => region::peer_states_in(store, geometry.peers, role),
        };
        let used = |sent: u64| sent.saturating_sub(received).min(capacity);
        let (len, slots) = match geometry.flavor {
            Flavor::Spsc => {
                // The sender's hint is behind, by some blocks or a batch; the counts from there on are the truth.
                let block = layout::Block::of(payload_size as usize);
                let (mut sent, most) = (hint.max(received), received.saturating_add(capacity));
                for _ in 0..BLOCKS_TO_WALK {
                    let count = word(block.offset(sent, geometry))?.min(most);
                    if count <= sent {
                        break;
                    }
                    sent = count;
                }
                (used(sent), None)
            }
            Flavor::Mpmc if with_slots && !store.grows_when_read() => {
                let (slots, found) = Slots::of(header, geometry, store)?;
                (if geometry.packed { found } else { used(hint) }, Some(slots))
            }
            Flavor::Mpmc => (used(hint), None),
        };
        Ok(Self {
            version,
            flavor: geometry.flavor.name(),
            membarrier: header.flags & layout::FLAG_MEMBARRIER != 0,
            stay_open: Mode::of(header.flags).stay_open,
            capacity,
            len,
            received,
            payload_size,
            fingerprint,
            schema: schema.clone(),
            crashed: *crashed,
            region_length,
            instance,
            mode,
            owner,
            senders: peers(Role::Sender),
            receivers: peers(Role::Receiver),
            slots,
            name: store.label().into(),
            backing: *backing,
        })
    }

    /// The names of all regions in POSIX shared memory that this user can read, sorted.
    ///
    /// # Errors
    /// [`Error::NotMounted`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Inspection, Options, spsc::Channel};
    ///
    /// let name = format!("doc-names-{}", std::process::id());
    /// let _channel = Channel::<u64>::create(&name, &Options::new())?;
    /// assert!(Inspection::names()?.contains(&name));
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn names() -> Result<Vec<String>, Error> {
        let mut names = posix::names()?;
        names.retain(|name| Name::new(name).is_ok_and(|name| is_region(&Place::Posix(name).into())));
        names.sort();
        Ok(names)
    }

    /// The addresses of all regions that this user can read, in POSIX and in System V shared memory; files are found by
    /// their paths only.
    ///
    /// # Errors
    /// [`Error::NotMounted`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Address, Inspection, Options, spsc::Channel};
    ///
    /// let name = format!("doc-addresses-{}", std::process::id());
    /// let _channel = Channel::<u64>::create(&name, &Options::new())?;
    /// assert!(Inspection::addresses()?.contains(&name.parse::<Address>()?));
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn addresses() -> Result<Vec<Address>, Error> {
        let named = |name: String| Name::new(&name).map(|name| Place::Posix(name).into());
        let posix = Self::names()?.into_iter().filter_map(|name| named(name).ok());
        Ok(posix.chain(region::segments()?.into_iter().filter(is_region)).collect())
    }
}

impl Observer {
    /// Opens the region at that address for reading, whatever its payload and flavor.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PermissionDenied`], [`Error::NotARegion`], [`Error::VersionMismatch`],
    /// [`Error::Damaged`].
    ///
    /// # Examples
    /// ```
    /// use ringway::{Error, Observer};
    ///
    /// let nowhere = Observer::attach("doc-a-name-that-nobody-uses");
    /// assert!(matches!(nowhere, Err(Error::NotFound { .. })));
    /// ```
    pub fn attach<A>(address: A) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        let address = address.try_into()?;
        let store = region::find(&address, Access::Read)?;
        let (page, geometry) = region::read_header(&*store)?;
        Ok(Self { store, backing: address.backing(), page, geometry })
    }

    /// What the region says about itself at this moment.
    ///
    /// # Errors
    /// [`Error::Damaged`] if somebody truncated it meanwhile.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Observer, Options, spsc::Channel};
    ///
    /// let name = format!("doc-look-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new())?;
    /// let observer = Observer::attach(&name)?;
    /// channel.sender()?.send(7)?;
    /// assert_eq!(observer.inspect()?.len, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inspect(&self) -> Result<Inspection, Error> {
        Inspection::of_region(self, true)
    }

    /// Whether the address still leads to this region: it was neither removed nor replaced.
    ///
    /// # Errors
    /// [`Error::NotMounted`], [`Error::NoDirectory`] if the place itself is gone.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Observer, Options, spsc::Channel};
    ///
    /// let name = format!("doc-current-{}", std::process::id());
    /// let channel = Channel::<u64>::create(&name, &Options::new())?;
    /// let observer = Observer::attach(&name)?;
    /// assert!(observer.is_current()?);
    /// channel.unlink()?;
    /// assert!(!observer.is_current()?);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn is_current(&self) -> Result<bool, Error> {
        self.store.is_named()
    }
}

/// Whether what is there begins as a region does.
fn is_region(address: &Address) -> bool {
    let mut magic = [0];
    region::find(address, Access::Read).is_ok_and(|store| store.read(&mut magic, 0).unwrap_or(false))
        && magic == [layout::MAGIC]
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name       {}", self.name.escape_debug())?;
        writeln!(f, "flavor     {}, format {}", self.flavor, self.version)?;
        let void = if self.flavor == Flavor::Mpmc.name() { ", void tickets included" } else { "" };
        match self.slots {
            Some(Slots { messages: most @ 2.., .. }) => writeln!(
                f,
                "messages   {} in {} slots of up to {most} ({} slots received{void})",
                self.len, self.capacity, self.received
            )?,
            _ => writeln!(f, "messages   {} of {} ({} received{void})", self.len, self.capacity, self.received)?,
        }
        for (role, peers) in [("sender", &self.senders), ("receiver", &self.receivers)] {
            match peers.as_slice() {
                [] => writeln!(f, "{role:<10} none")?,
                peers => peers.iter().try_for_each(|peer| writeln!(f, "{role:<10} {peer}"))?,
            }
        }
        if let Some(slots) = self.slots {
            let Slots { mode, reason, peers, writing, held, guarded, .. } = slots;
            writeln!(f, "slots      {writing} being written, {held} held by stalled peers, {guarded} under guard")?;
            writeln!(f, "publishing mode {mode}: {reason}")?;
            writeln!(f, "peers      at most {peers}")?;
        }
        let stream = if self.stay_open { "stays open for the next peers" } else { "ends when either side has gone" };
        writeln!(f, "stream     {stream}")?;
        writeln!(f, "wake-ups   by {}", if self.membarrier { "membarrier" } else { "fences" })?;
        writeln!(
            f,
            "memory     {}, {} bytes, owner {}, mode {:o}",
            self.backing, self.region_length, self.owner, self.mode
        )?;
        if self.crashed {
            writeln!(f, "crashed    the machine was restarted while this was in use; it can only be removed")?;
        }
        writeln!(f, "payload    {} bytes, fingerprint {:016x}", self.payload_size, self.fingerprint)?;
        for line in self.schema.lines() {
            writeln!(f, "           {}", line.escape_debug())?;
        }
        Ok(())
    }
}
