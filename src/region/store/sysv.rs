//! System V segments as stores. A segment is no file and has no locks, so the leases lie on a file beside it.
//!
//! That *companion* is a page in POSIX shared memory, `.ringway-sysv-NAMESPACE-k` and the key in hexadecimal digits, or
//! `-i` and the id of a segment without a key, with the segment's owner and mode. A role maps it through the description
//! that holds its lease, beside the segment, and unmaps it after the segment. Neither is inherited by children, and both
//! end with the process, so a lease that is held still means that somebody can write, and one that is free that nobody
//! can.
//!
//! ```text
//! companion: 0  magic `RINGSYSV`   8  id of the segment, plus 1; 0 = not yet   16  process id of the creator
//! ```
//!
//! # Creating
//!
//! The companion comes first, with its name, and announced as open by its creator; then the segment, which is entered in
//! it; then the header, its magic last. A companion that nobody has open, and a segment without a magic, or none, are what
//! a creator left that was killed half-way: [`sweep`] takes both away. The one moment at which the segment is there and
//! not entered yet is covered by key and creator: such a segment, with nobody attached, belongs to the dead creator.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::{Access, Attachment, Plan, Store};
use crate::address::{Address, Place};
use crate::error::{Error, Role};
use crate::layout::{self, PAGE};
use crate::lease;
use crate::memory::Memory;
use crate::pages::{MemoryReport, Pages};
use crate::sync::{Ordering, PlainAtomicU64};
use crate::sys::entry::Entry;
use crate::sys::map::Mapping;
use crate::sys::patience::Patience;
use crate::sys::posix::{self, Name};
use crate::sys::sysv::{self, Attached, Key, Segment};
use crate::sys::{file, numa, os, pages, smaps};

/// The first word of a companion.
const MAGIC: u64 = u64::from_le_bytes(*b"RINGSYSV");

/// A segment, attached for reading, and its companion.
#[derive(Debug)]
pub(crate) struct SegmentStore {
    segment: Segment,
    attached: Attached,
    companion: File,
    entry: Entry,
    label: String,
}

/// A role in a segment: the fields are dropped in this order.
#[derive(Debug)]
struct Hold {
    _segment: Attached,
    _lease: Mapping,
}

/// What a companion says.
#[derive(Clone, Copy, Debug)]
struct Record {
    segment: Option<Segment>,
    creator: u32,
}

impl Record {
    fn read(companion: &File) -> Result<Option<Self>, Error> {
        let mut words = [0_u64; 3];
        let whole = file::read_at(companion, words.as_mut_bytes(), 0)?;
        let [magic, id, creator] = words;
        let segment = i32::try_from(id).ok().and_then(|id| id.checked_sub(1)).filter(|id| *id >= 0).map(Segment);
        Ok((whole && magic == MAGIC).then_some(Self { segment, creator: creator as u32 }))
    }

    fn write(&self, companion: BorrowedFd<'_>) -> Result<(), Error> {
        let id = self.segment.map_or(0, |Segment(id)| id as u64 + 1);
        let words = [MAGIC, id, self.creator.into()];
        rustix::io::pwrite(companion, words.as_bytes(), 0).map(drop).map_err(os("pwrite"))
    }
}

fn prefix() -> Result<String, Error> {
    Ok(format!(".ringway-sysv-{}-", sysv::namespace()?))
}

/// A companion, which errors call as the segment is called.
fn companion(rest: &str, label: &str) -> Result<Entry, Error> {
    Ok(Entry::of_name(&Name::new(&(prefix()? + rest))?).called(label))
}

/// What follows the prefix in the name of a companion.
fn rest(key: i32, segment: Segment) -> String {
    let Segment(id) = segment;
    if key == 0 { format!("i{id}") } else { format!("k{key:x}") }
}

/// The addresses of the segments in this IPC namespace that have companions.
pub(crate) fn addresses() -> Result<Vec<Address>, Error> {
    let prefix = prefix()?;
    let address = |name: String| {
        let rest = name.strip_prefix(&prefix)?;
        let key = match key_of(rest) {
            Some(key) => Key::Number(key),
            None => Key::Id(rest.strip_prefix('i')?.parse().ok()?),
        };
        Some(Place::SystemV(key).into())
    };
    Ok(posix::names()?.into_iter().filter_map(address).collect())
}

fn key_of(rest: &str) -> Option<i32> {
    u32::from_str_radix(rest.strip_prefix('k')?, 16).ok().map(|key| key as i32)
}

/// Takes away what killed creators left half-made, and companions whose segment is gone. What cannot be looked at or
/// removed is somebody else's.
fn sweep() -> Result<(), Error> {
    let prefix = prefix()?;
    for name in posix::names()? {
        if let Some(rest) = name.strip_prefix(&prefix) {
            let _ = sweep_one(&companion(rest, &name)?, rest);
        }
    }
    Ok(())
}

fn sweep_one(entry: &Entry, rest: &str) -> Result<(), Error> {
    let companion = File::from(entry.open()?);
    let Some(record) = Record::read(&companion)? else { return Ok(()) };
    // Removed by hand: whoever is attached goes on without a name.
    if !record.segment.is_some_and(is_gone) {
        if !lease::claim_abandoned(companion.as_fd())? {
            return Ok(());
        }
        // Nobody was ever told of a segment without a key that has no name yet.
        let is_nameless = rest.starts_with('p');
        match record.segment.or_else(|| unrecorded(&companion, key_of(rest).unwrap_or(0), record.creator)) {
            Some(segment) if is_nameless || !is_begun(segment) => {
                let stat = segment.stat().map_err(os("shmctl"))?;
                // Lest somebody have us remove what is not his.
                let is_its = stat.creator == record.creator && stat.owner == file::owner(companion.as_fd())?;
                if stat.attachments > 0 || !is_its {
                    return Ok(());
                }
                segment.remove().map_err(os("shmctl"))?;
            }
            Some(_) => return Ok(()),
            None => {}
        }
    }
    entry.unlink_if_same(companion.as_fd()).map(drop)
}

/// The segment of a creator that was killed before it could enter it in the companion: of its key and its process id, and
/// created in the same minute, lest it be another program's to which the kernel gave that id anew.
fn unrecorded(companion: &File, key: i32, creator: u32) -> Option<Segment> {
    let written = companion.metadata().ok()?.mtime();
    let is_its = |listed: &sysv::Listed| {
        let created = listed.segment.stat().map(|stat| stat.changed);
        let soon = created.is_ok_and(|created| (0..60).contains(&(created - written)));
        listed.key == key && listed.creator == creator && soon && !is_begun(listed.segment)
    };
    Some(sysv::segments().into_iter().find(is_its)?.segment)
}

/// Whether a segment was removed, be it that somebody is attached yet.
fn is_gone(segment: Segment) -> bool {
    segment.stat().is_ok_and(|stat| stat.removed) || !segment.exists()
}

/// Whether a segment begins with anything but zeroes. One that cannot be looked at counts as begun.
fn is_begun(segment: Segment) -> bool {
    let mut magic = [u64::MAX];
    if let Ok(attached) = Attached::for_reading(segment) {
        attached.view().read(&mut magic, 0);
    }
    magic != [0]
}

impl SegmentStore {
    /// A new segment with this header, and its companion.
    pub(crate) fn create(key: &Key, plan: &Plan<'_>) -> Result<Self, Error> {
        let Plan { length, mode, group, pages, .. } = *plan;
        let label = format!("sysv:{key}");
        if let Key::Id(_) = key {
            let reason = "an id is the kernel's to give: create with a key, or sysv:private";
            return Err(Error::InvalidName { name: label, reason });
        }
        sweep()?;
        let (number, creator) = (key.number()?, std::process::id());
        // Without a key there is no name before there is an id: one of this process stands in for it.
        static NEXT: PlainAtomicU64 = PlainAtomicU64::new(0);
        let first = match number {
            0 => companion(&format!("p{creator}-{}", NEXT.fetch_add(1, Ordering::Relaxed)), &label)?,
            number => companion(&rest(number, Segment(0)), &label)?,
        };
        let draft = first.draft(PAGE, mode, group)?;
        lease::announce_open(draft.file())?;
        Record { segment: None, creator }.write(draft.file())?;
        let companion = File::from(draft.publish()?);
        let segment = Segment::create(number, length, mode, pages, &label);
        let made = segment.and_then(|segment| {
            let made = Self::make(segment, number, plan, &companion, &first, key);
            made.inspect_err(|_| {
                let _ = segment.remove();
            })
        });
        let (segment, attached, entry, key) = made.inspect_err(|_| drop(first.unlink_if_same(companion.as_fd())))?;
        Ok(Self { segment, attached, companion, entry, label: format!("sysv:{key}") })
    }

    /// Makes a new segment a region; the magic comes last, and with it everybody may know.
    fn make(
        segment: Segment,
        number: i32,
        plan: &Plan<'_>,
        companion: &File,
        first: &Entry,
        key: &Key,
    ) -> Result<(Segment, Attached, Entry, Key), Error> {
        if plan.group.is_some() {
            // The companion has it already, so it is one that this user may give.
            segment.set(None, plan.group, None).map_err(os("shmctl(IPC_SET)"))?;
        }
        Record { segment: Some(segment), creator: std::process::id() }.write(companion.as_fd())?;
        let pages = plan.pages.for_making();
        let _node = numa::prefer(pages.node)?;
        let for_writing = Attached::for_writing(segment, &pages, os("shmat"))?;
        // Huge pages can be refused, so they come before anybody finds the region.
        if pages.are_huge() {
            for_writing.prepare(&pages)?;
        }
        let memory = memory(&for_writing);
        let attached = Attached::for_reading(segment).map_err(os("shmat"))?;
        // Relaxed, but for the magic, whose Release pairs with the Acquire in `View::read`.
        let store = |(index, word): (usize, &u64)| memory.word(8 * index).store(*word, Ordering::Relaxed);
        plan.page.iter().enumerate().skip(1).for_each(store);
        let (entry, key) = if number == 0 {
            let key = Key::Id(segment.0);
            let entry = self::companion(&rest(0, segment), &format!("sysv:{key}"))?;
            first.rename(&entry)?;
            (entry, key)
        } else {
            (first.clone(), key.clone())
        };
        memory.word(0).store(plan.page[0], Ordering::Release);
        // Last, because it takes time, for which nobody has to wait.
        for_writing.populate();
        Ok((segment, attached, entry, key))
    }

    /// The segment of that key or id, once it is finished.
    pub(crate) fn find(key: &Key, access: Access) -> Result<Self, Error> {
        let mut patience = Patience::new();
        loop {
            if let Some(store) = Self::look(key, access)? {
                return Ok(store);
            }
            // Somebody is at it. Who only looks waits for nobody, lest others' unfinished segments hold up whoever looks at
            // many.
            if access != Access::Write || !patience.wait() {
                return Err(Error::NotReady { name: format!("sysv:{key}") });
            }
        }
    }

    /// `None` if it is not finished yet, and its creator is alive.
    fn look(key: &Key, access: Access) -> Result<Option<Self>, Error> {
        let label = format!("sysv:{key}");
        let not_found = || Error::NotFound { name: label.clone() };
        let not_a_region = |found: &str| Error::NotARegion { name: label.clone(), found: found.into() };
        let (number, segment) = match key {
            Key::Id(id) => {
                let listed = sysv::segments().into_iter().find(|listed| listed.segment == Segment(*id));
                (listed.ok_or_else(not_found)?.key, Segment(*id))
            }
            key => {
                let number = key.number()?;
                let found = Segment::find(number).map_err(|errno| match errno {
                    Errno::NOENT => not_found(),
                    errno => os("shmget")(errno),
                });
                (number, found?)
            }
        };
        let entry = companion(&rest(number, segment), &label)?;
        let opened = if access == Access::Write { entry.open() } else { entry.open_read_only() };
        let companion = match opened {
            // The segment is removed before its companion is.
            Err(Error::NotFound { .. }) if is_gone(segment) => return Err(not_found()),
            Err(Error::NotFound { .. }) => return Err(not_a_region("a System V segment of another program")),
            opened => File::from(opened?),
        };
        let Some(record) = Record::read(&companion)? else {
            return Err(not_a_region("a System V segment beside a file that is no lease"));
        };
        match record.segment {
            Some(recorded) if recorded != segment && is_gone(segment) => return Err(not_found()),
            Some(recorded) if recorded != segment => {
                return Err(not_a_region("a System V segment of another program"));
            }
            _ => {}
        }
        let attached = match Attached::for_reading(segment) {
            Err(Errno::INVAL | Errno::IDRM) => return Err(not_found()),
            Err(Errno::ACCESS) => {
                return Err(file::denied("open", &label, rustix::fs::fstat(&companion).ok()));
            }
            attached => attached.map_err(os("shmat"))?,
        };
        // Somebody else's locks would say what they please.
        if segment.stat().map_err(os("shmctl"))?.owner != file::owner(companion.as_fd())? {
            return Err(not_a_region("a System V segment beside a file of another user"));
        }
        let mut magic = [0];
        let begun = attached.length() >= 8 && attached.view().read(&mut magic, 0) && magic != [0];
        if begun && record.segment.is_some() {
            return Ok(Some(Self { segment, attached, companion, entry, label }));
        }
        // A dead creator's is as good as none, and goes when the next one creates.
        if access == Access::Write && lease::claim_abandoned(companion.as_fd())? {
            return Err(not_found());
        }
        Ok(None)
    }
}

/// The words of an attachment, to be used no longer than it.
fn memory(attached: &Attached) -> Memory {
    // SAFETY: the attachment is page-aligned and as long as said, which is at least two pages of a region; whoever calls
    // keeps it beside what is returned; and its bytes are accessed through `Memory` and `View` only.
    #[allow(unsafe_code)]
    unsafe {
        Memory::mapped(attached.base(), attached.length())
    }
}

impl Store for SegmentStore {
    fn length(&self) -> Result<u64, Error> {
        Ok(self.attached.length() as u64)
    }

    fn read(&self, words: &mut [u64], offset: usize) -> Result<bool, Error> {
        Ok(self.attached.view().read(words, offset))
    }

    /// For a moment until its creator has given it every page; before Linux 5.14 until each was used.
    fn grows_when_read(&self) -> bool {
        self.segment.allocated().is_none_or(|allocated| allocated < self.attached.length() as u64)
    }

    fn event(&self, role: Role) -> u32 {
        self.attached.view().read_u32(layout::event_offset(role))
    }

    fn locks(&self) -> Option<BorrowedFd<'_>> {
        Some(self.companion.as_fd())
    }

    fn take(
        self: Arc<Self>,
        indexes: &mut dyn Iterator<Item = usize>,
        joins: Option<Role>,
        length: usize,
        pages: &Pages,
    ) -> Result<Option<Attachment>, Error> {
        assert_eq!(self.attached.length(), length, "a segment keeps its length");
        let Some((fresh, index)) = lease::take(self.companion.as_fd(), &self.label, indexes, joins)? else {
            return Ok(None);
        };
        let lease = Mapping::new(fresh.as_fd(), PAGE, &Pages::USUAL)?;
        let attached = Attached::for_writing(self.segment, pages, |errno| match errno {
            Errno::ACCESS => file::denied("write to", &self.label, rustix::fs::fstat(&self.companion).ok()),
            errno => os("shmat")(errno),
        })?;
        attached.prepare(pages)?;
        let memory = memory(&attached);
        Ok(Some(Attachment { memory, index, _hold: Box::new(Hold { _segment: attached, _lease: lease }) }))
    }

    fn report(&self) -> Result<MemoryReport, Error> {
        smaps::report(self.attached.base().addr().get())?.ok_or_else(file::no_proc)
    }

    fn access(&self) -> Result<(u32, u32), Error> {
        let stat = self.segment.stat().map_err(os("shmctl"))?;
        Ok((stat.owner, stat.mode))
    }

    fn set_access(&self, owner: Option<u32>, group: Option<u32>, mode: Option<u32>) -> Result<(), Error> {
        self.segment.set(owner, group, mode).map_err(|errno| match errno {
            Errno::PERM => file::denied("change", &self.label, rustix::fs::fstat(&self.companion).ok()),
            errno => os("shmctl(IPC_SET)")(errno),
        })?;
        file::set_access(self.companion.as_fd(), &self.label, owner, group, mode)
    }

    fn keep_in_memory(&self, keep: bool) -> Result<(), Error> {
        self.segment.lock(keep).map_err(|errno| match errno {
            Errno::PERM => file::denied("lock", &self.label, rustix::fs::fstat(&self.companion).ok()),
            Errno::NOMEM => pages::lock_limit(self.attached.length()),
            errno => os("shmctl(SHM_LOCK)")(errno),
        })
    }

    fn name(&self) -> Option<&str> {
        Some(&self.label)
    }

    fn is_named(&self) -> Result<bool, Error> {
        Ok(self.segment.stat().is_ok_and(|stat| !stat.removed) && self.entry.leads_to(self.companion.as_fd())?)
    }

    /// The segment first: what is left of a remover that failed or was killed in between goes with the next one who has it
    /// open, or is swept.
    fn remove(&self) -> Result<bool, Error> {
        if !self.entry.leads_to(self.companion.as_fd())? {
            return Ok(false);
        }
        let is_there = !is_gone(self.segment);
        if is_there {
            match self.segment.remove() {
                Ok(()) | Err(Errno::INVAL | Errno::IDRM) => {}
                Err(Errno::PERM) => {
                    return Err(file::denied("remove", &self.label, rustix::fs::fstat(&self.companion).ok()));
                }
                Err(errno) => return Err(os("shmctl(IPC_RMID)")(errno)),
            }
        }
        Ok(self.entry.unlink_if_same(self.companion.as_fd())? && is_there)
    }
}
