//! Memory of this process as a store: the leases are flags beside it, which end with the handles.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::{Attachment, Plan, Store};
use crate::error::{Error, Role};
use crate::layout;
use crate::pages::{HugePages, Pages};
use crate::sync::{AtomicU32, Ordering};
use crate::sys::heap::Heap;

/// Zeroed memory without a header: whoever can reach it knows what it is.
#[derive(Debug)]
pub(crate) struct HeapStore {
    heap: Heap,
    length: usize,
    /// By peer index: 1 while it is held.
    leases: Box<[AtomicU32]>,
    /// Peers that were counted, by role.
    held: [AtomicU32; 2],
}

impl HeapStore {
    pub(crate) fn create(plan: &Plan<'_>) -> Result<Self, Error> {
        let Plan { length, peers, pages, .. } = *plan;
        // Whatever is asked of the kernel about the allocator's pages would concern its other tenants, and later ones.
        let Pages { huge, lock, node, align, prefault: _ } = *pages;
        if huge == HugePages::Require || lock || node.is_some() || align > layout::PAGE {
            return Err(Error::Unsupported {
                what: "a choice of pages on the heap",
                advice: "create the channel at anon: instead, which threads can share as well",
            });
        }
        let leases = (0..peers).map(|_| AtomicU32::new(0)).collect();
        let held = [AtomicU32::new(0), AtomicU32::new(0)];
        Ok(Self { heap: Heap::new(length)?, length, leases, held })
    }
}

/// A lease.
#[derive(Debug)]
struct Lease {
    store: Arc<HeapStore>,
    index: usize,
    joined: Option<Role>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Release: whatever this holder wrote is visible to whoever finds it gone.
        if let Some(role) = self.joined {
            self.store.held[role.index()].fetch_sub(1, Ordering::Release);
        }
        self.store.leases[self.index].store(0, Ordering::Release);
    }
}

impl Store for HeapStore {
    fn length(&self) -> Result<u64, Error> {
        Ok(self.length as u64)
    }

    fn read(&self, words: &mut [u64], offset: usize) -> Result<bool, Error> {
        if offset + size_of_val(words) > self.length {
            return Ok(false);
        }
        let memory = self.heap.memory();
        for (index, word) in words.iter_mut().enumerate() {
            // Relaxed: a snapshot for people.
            *word = memory.word(offset + 8 * index).load(Ordering::Relaxed);
        }
        Ok(true)
    }

    fn event(&self, role: Role) -> u32 {
        // Relaxed: as above.
        self.heap.memory().event(role).load(Ordering::Relaxed)
    }

    fn locks(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn take(
        self: Arc<Self>,
        mut indexes: &mut dyn Iterator<Item = usize>,
        joins: Option<Role>,
        _: usize,
        _: &Pages,
    ) -> Result<Option<Attachment>, Error> {
        // Acquire: pairs with the Release in `Lease::drop`.
        let Some(index) = Iterator::find(&mut indexes, |index| self.leases[*index].swap(1, Ordering::Acquire) == 0)
        else {
            return Ok(None);
        };
        if let Some(role) = joins {
            self.held[role.index()].fetch_add(1, Ordering::Relaxed);
        }
        let memory = self.heap.memory();
        Ok(Some(Attachment { memory, index, _hold: Box::new(Lease { store: self, index, joined: joins }) }))
    }

    fn access(&self) -> Result<(u32, u32), Error> {
        Ok((rustix::process::geteuid().as_raw(), 0o600))
    }

    fn is_held(&self, index: usize) -> bool {
        // Acquire: pairs with the Release in `Lease::drop`.
        self.leases.get(index).is_some_and(|lease| lease.load(Ordering::Acquire) != 0)
    }

    fn is_role_held(&self, role: Role) -> bool {
        // Acquire: pairs with the Release in `Lease::drop`.
        self.held[role.index()].load(Ordering::Acquire) != 0
    }
}
