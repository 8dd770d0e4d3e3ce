//! Memory that children inherit over `fork`, and nobody else can reach. The leases lie on a file beside it.
//!
//! The memory itself is mapped once, in every process of the family, as long as the region is open there; a role adds the
//! mapping of the file through which it holds its lease, and that one is not inherited. A handle reaches the memory only
//! as long as it has both, so a lease that is free means that nobody writes.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::{Attachment, Plan, Store};
use crate::error::{Error, Role};
use crate::layout::{self, PAGE};
use crate::lease;
use crate::memory::Memory;
use crate::pages::{MemoryReport, Pages};
use crate::sync::Ordering;
use crate::sys::file;
use crate::sys::map::{Inherited, Mapping};

/// Memory, and the file of its leases.
#[derive(Debug)]
pub(crate) struct AnonymousStore {
    shared: Inherited,
    leases: File,
}

/// A role: the fields are dropped in this order.
#[derive(Debug)]
struct Hold {
    _lease: Mapping,
    _memory: Arc<AnonymousStore>,
}

impl AnonymousStore {
    /// New memory with this header.
    pub(crate) fn create(plan: &Plan<'_>) -> Result<Self, Error> {
        let shared = Inherited::new(plan.length, plan.pages)?;
        let store = Self { shared, leases: file::memfd(PAGE, &Pages::USUAL)?.into() };
        let memory = store.memory();
        // Relaxed: nobody else has it yet.
        plan.page.iter().enumerate().for_each(|(index, word)| memory.word(8 * index).store(*word, Ordering::Relaxed));
        Ok(store)
    }

    /// The words, to be used no longer than `self`.
    fn memory(&self) -> Memory {
        // SAFETY: the mapping is page-aligned and as long as said, which is at least two pages of a region; whoever calls
        // keeps `self`; and its bytes are accessed through `Memory` and `View` only.
        #[allow(unsafe_code)]
        unsafe {
            Memory::mapped(self.shared.base(), self.shared.length())
        }
    }
}

impl Store for AnonymousStore {
    fn length(&self) -> Result<u64, Error> {
        Ok(self.shared.length() as u64)
    }

    fn read(&self, words: &mut [u64], offset: usize) -> Result<bool, Error> {
        Ok(self.shared.view().read(words, offset))
    }

    fn event(&self, role: Role) -> u32 {
        self.shared.view().read_u32(layout::event_offset(role))
    }

    fn locks(&self) -> Option<BorrowedFd<'_>> {
        Some(self.leases.as_fd())
    }

    fn take(
        self: Arc<Self>,
        indexes: &mut dyn Iterator<Item = usize>,
        joins: Option<Role>,
        length: usize,
        pages: &Pages,
    ) -> Result<Option<Attachment>, Error> {
        assert_eq!(self.shared.length(), length, "it keeps its length");
        let Some((fresh, index)) = lease::take(self.leases.as_fd(), self.label(), indexes, joins)? else {
            return Ok(None);
        };
        if pages.lock {
            self.shared.lock(pages)?;
        }
        let lease = Mapping::new(fresh.as_fd(), PAGE, &Pages::USUAL)?;
        let memory = self.memory();
        Ok(Some(Attachment { memory, index, _hold: Box::new(Hold { _lease: lease, _memory: self }) }))
    }

    fn report(&self) -> Result<MemoryReport, Error> {
        self.shared.report()
    }

    fn access(&self) -> Result<(u32, u32), Error> {
        Ok((rustix::process::geteuid().as_raw(), 0o600))
    }
}
