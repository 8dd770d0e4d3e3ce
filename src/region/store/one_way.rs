//! Two memfds as one region: what both sides write, and the blocks, which only the process that made them can write.
//!
//! The blocks are mapped for writing once, and then sealed against every other such mapping, against `write`, and against
//! both after having been opened anew (`F_SEAL_FUTURE_WRITE`). A sending end copies that first mapping behind its own of
//! the other file; a receiving end maps the blocks for reading. In either case the region is one range of addresses, so
//! the ring does not know. `MADV_DONTFORK` keeps the first mapping from children, and so the sending end, too.
//!
//! The leases lie on the first file, whose mapping ends together with that of the blocks.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::file::{FileStore, memory};
use super::{Attachment, Plan, Store};
use crate::error::{Error, Role};
use crate::layout::BLOCKS;
use crate::lease;
use crate::pages::{MemoryReport, Pages};
use crate::sys::map::{self, Back, Mapping};
use crate::sys::{file, numa, smaps};

/// Both files, and in the process that made them the way to write the second one.
#[derive(Debug)]
pub(super) struct OneWayStore {
    /// Up to [`BLOCKS`].
    shared: FileStore,
    /// From there on.
    blocks: File,
    /// The only mapping of `blocks` for writing, but for its copies; `None` where they were passed to.
    writable: Option<Mapping>,
}

impl OneWayStore {
    /// New memory with this header.
    pub(super) fn create(plan: &Plan<'_>) -> Result<Self, Error> {
        let shared = FileStore::create_anonymous(&Plan { length: BLOCKS, ..*plan })?;
        let length = plan.length - BLOCKS;
        let node = numa::prefer(plan.pages.node)?;
        let blocks = file::unsealed_memfd(length, plan.pages)?;
        drop(node);
        // Nothing is accessed through it.
        let writable = Mapping::new(blocks.as_fd(), length, &Pages { prefault: false, ..Pages::USUAL })?;
        file::seal_writing(blocks.as_fd())?;
        Ok(Self { shared, blocks: blocks.into(), writable: Some(writable) })
    }

    /// What came from another process.
    pub(super) fn from_parts(shared: FileStore, blocks: OwnedFd) -> Result<Self, Error> {
        file::check_regular(blocks.as_fd(), shared.label())?;
        let found = shared.length()?;
        if found != BLOCKS as u64 {
            let (name, expected) = (shared.label().into(), BLOCKS as u64);
            return Err(Error::Damaged { name, field: "the length of its first file", expected, found });
        }
        Ok(Self { shared, blocks: blocks.into(), writable: None })
    }

    fn metadata(&self) -> Result<std::fs::Metadata, Error> {
        self.blocks.metadata().map_err(|source| Error::Os { call: "fstat", source })
    }

    /// What peer `index` may do with the blocks.
    fn back(&self, index: usize) -> Result<Back<'_>, Error> {
        if index != Role::Sender.index() {
            return Ok(Back::ReadOnly(self.blocks.as_fd()));
        }
        let writable = self.writable.as_ref().filter(|writable| writable.is_ours());
        writable.map(Back::Writable).ok_or(Error::Unsupported {
            what: "the sending end of a one-way channel in this process",
            advice: "open it in the process that created the channel, which alone can write to it",
        })
    }
}

impl Store for OneWayStore {
    fn length(&self) -> Result<u64, Error> {
        Ok(self.shared.length()?.saturating_add(self.metadata()?.len()))
    }

    fn read(&self, words: &mut [u64], offset: usize) -> Result<bool, Error> {
        match offset.checked_sub(BLOCKS) {
            Some(offset) => file::read_at(&self.blocks, words.as_mut_bytes(), offset as u64),
            None => self.shared.read(words, offset),
        }
    }

    fn allocated(&self) -> Result<u64, Error> {
        Ok(self.shared.allocated()?.saturating_add(self.metadata()?.blocks().saturating_mul(512)))
    }

    fn event(&self, role: Role) -> u32 {
        self.shared.event(role)
    }

    fn locks(&self) -> Option<BorrowedFd<'_>> {
        self.shared.locks()
    }

    fn take(
        self: Arc<Self>,
        indexes: &mut dyn Iterator<Item = usize>,
        joins: Option<Role>,
        length: usize,
        pages: &Pages,
    ) -> Result<Option<Attachment>, Error> {
        // Of an SPSC region there is no more than one to be had.
        let Some(index) = indexes.next() else { return Ok(None) };
        let back = self.back(index)?;
        let found = self.length()?;
        if found != length as u64 {
            let (name, expected) = (self.label().into(), length as u64);
            return Err(Error::Damaged { name, field: "the length of its files", expected, found });
        }
        let (locks, mut index) = (self.shared.locks().expect("a file has locks"), [index].into_iter());
        let Some((fresh, index)) = lease::take(locks, self.label(), &mut index, joins)? else { return Ok(None) };
        let mapping = Mapping::of_two(fresh.as_fd(), BLOCKS, back, length, pages)?;
        Ok(Some(Attachment { memory: memory(&mapping), index, _hold: Box::new(mapping) }))
    }

    fn report(&self) -> Result<MemoryReport, Error> {
        let mut report = Ok(None);
        let blocks = self.blocks.as_fd();
        map::probe(blocks, file::page_size(blocks)?, &mut |place| report = smaps::report(place))?;
        Ok(self.shared.report()?.followed_by(report?.ok_or_else(file::no_proc)?))
    }

    fn access(&self) -> Result<(u32, u32), Error> {
        self.shared.access()
    }

    fn set_access(&self, owner: Option<u32>, group: Option<u32>, mode: Option<u32>) -> Result<(), Error> {
        self.shared.set_access(owner, group, mode)?;
        file::set_access(self.blocks.as_fd(), self.label(), owner, group, mode)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.shared.descriptor()
    }

    fn blocks(&self) -> Option<BorrowedFd<'_>> {
        Some(self.blocks.as_fd())
    }

    fn is_sealed(&self) -> bool {
        self.shared.is_sealed() && file::is_sealed_for_writing(self.blocks.as_fd())
    }
}
