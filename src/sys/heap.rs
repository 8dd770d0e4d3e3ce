//! Zeroed memory of this process for channels between its threads, and the cells on which loom explores the rings.

#![allow(unsafe_code)] // one of the rooms

#[cfg(not(loom))]
pub(crate) use plain::Heap;
#[cfg(loom)]
pub(crate) use under_loom::{Cells, Heap};

#[cfg(not(loom))]
mod plain {
    use core::ptr::NonNull;
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    use crate::error::Error;
    use crate::layout::PAGE;
    use crate::memory::Memory;
    use crate::sys::file;

    /// Page-aligned memory, freed on drop.
    #[derive(Debug)]
    pub(crate) struct Heap {
        base: NonNull<u8>,
        layout: Layout,
    }

    // SAFETY: owned memory, accessed through `Memory` only.
    unsafe impl Send for Heap {}
    // SAFETY: as above.
    unsafe impl Sync for Heap {}

    impl Heap {
        /// Allocates `length` bytes.
        pub(crate) fn new(length: usize) -> Result<Self, Error> {
            let (needed, available) = (length as u64, file::memory_available());
            let no_space = || Error::NoSpace { needed, available };
            // The allocator would hand out addresses, and the machine run out of memory behind them.
            if needed > available {
                return Err(no_space());
            }
            let layout = Layout::from_size_align(length, PAGE).map_err(|_| no_space())?;
            assert!(layout.size() > 0);
            // SAFETY: the size is not zero.
            let base = unsafe { alloc_zeroed(layout) };
            let base = NonNull::new(base).ok_or_else(no_space)?;
            Ok(Self { base, layout })
        }

        /// A view that is valid as long as `self`.
        pub(crate) fn memory(&self) -> Memory {
            // SAFETY: page-aligned, `size` bytes, and only `Memory` accesses them.
            unsafe { Memory::new(self.base, self.layout.size()) }
        }
    }

    impl Drop for Heap {
        fn drop(&mut self) {
            // SAFETY: allocated with this layout in `new`.
            unsafe { dealloc(self.base.as_ptr(), self.layout) };
        }
    }
}

#[cfg(loom)]
mod under_loom {
    use core::ptr::NonNull;

    use crate::error::Error;
    use crate::layout::LINES;
    use crate::memory::Memory;
    use crate::sync::{AtomicU32, AtomicU64};

    /// One loom atomic of each width for every eight bytes behind the peer table.
    ///
    /// The header and the peer table before it have none: they are written once, before the threads start, and loom's
    /// budget is better spent on the protocol.
    #[derive(Debug)]
    pub(crate) struct Cells {
        words: Vec<AtomicU64>,
        events: Vec<AtomicU32>,
        records: Vec<AtomicU64>,
    }

    impl Cells {
        pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
            match offset.checked_sub(LINES) {
                Some(offset) => &self.words[offset / 8],
                None => &self.records[offset / 8],
            }
        }

        pub(crate) fn event(&self, offset: usize) -> &AtomicU32 {
            &self.events[(offset - LINES) / crate::layout::PADDING]
        }
    }

    /// The cells, freed on drop.
    #[derive(Debug)]
    pub(crate) struct Heap {
        cells: Box<Cells>,
        length: usize,
    }

    impl Heap {
        pub(crate) fn new(length: usize) -> Result<Self, Error> {
            let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
            let events = (0..4).map(|_| AtomicU32::new(0)).collect();
            let cells = Cells { words: words((length - LINES) / 8), events, records: words(LINES / 8) };
            Ok(Self { cells: Box::new(cells), length })
        }

        pub(crate) fn memory(&self) -> Memory {
            // SAFETY: the box stays where it is as long as `self`.
            unsafe { Memory::new(NonNull::from(&*self.cells), self.length) }
        }
    }
}
