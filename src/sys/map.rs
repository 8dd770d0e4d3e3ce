//! Mapping a file, unmapping it, and looking at mapped memory.

#![allow(unsafe_code)] // one of the rooms

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::mm::{
    Advice, MapFlags, MremapFlags, MsyncFlags, ProtFlags, madvise, mmap, mmap_anonymous, mremap_fixed, msync, munmap,
};

use super::pages::Span;
use super::{file, numa, os, pages, smaps};
use crate::error::Error;
use crate::pages::{MemoryReport, Pages};
use crate::sync::{Ordering, PlainAtomicU32, PlainAtomicU64};
use crate::sys::process::ForkMark;

/// A shared mapping of a whole file, or of two side by side. It does not survive `fork`: a child has no mapping, and keeps no lock through it.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<c_void>,
    length: usize,
    mark: ForkMark,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: its methods only read its own fields.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `length` bytes of `file`, readable and writable, with pages as they are asked for.
    pub(crate) fn new(file: BorrowedFd<'_>, length: usize, pages: &Pages) -> Result<Self, Error> {
        let mark = ForkMark::here()?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let _node = numa::prefer(pages.node)?;
        let base = pages::map_at(length, pages, |place, flags| {
            // SAFETY: a fresh mapping, at an address of the kernel's choice, or over what was set aside for it.
            unsafe { mmap(place, length, protection, MapFlags::SHARED | flags, file, 0) }
        })?;
        let base = NonNull::new(base.map_err(os("mmap"))?)
            .ok_or(Error::Unsupported { what: "a mapping away from address 0", advice: "check vm.mmap_min_addr" })?;
        let mapping = Self { base, length, mark };
        // SAFETY: the range is exactly the mapping made above; the advice concerns children only.
        unsafe { madvise(base.as_ptr(), length, Advice::LinuxDontFork) }.map_err(os("madvise(MADV_DONTFORK)"))?;
        // SAFETY: exactly the mapping made above, readable and writable.
        unsafe { pages::prepare(base, length, pages) }?;
        Ok(mapping)
    }

    /// Maps `boundary` bytes of `front`, readable and writable, and `back` behind them, up to `length` bytes in all.
    pub(crate) fn of_two(
        front: BorrowedFd<'_>,
        boundary: usize,
        back: Back<'_>,
        length: usize,
        pages: &Pages,
    ) -> Result<Self, Error> {
        let mark = ForkMark::here()?;
        let _node = numa::prefer(pages.node)?;
        let populate = if pages.prefault { MapFlags::POPULATE } else { MapFlags::empty() };
        let flags = MapFlags::SHARED | MapFlags::FIXED | populate;
        let span = Span::always(length, pages)?;
        let (begin, rest) = (span.base(), length - boundary);
        // SAFETY: over the beginning of what was set aside for it.
        unsafe { mmap(begin, boundary, ProtFlags::READ | ProtFlags::WRITE, flags, front, 0) }.map_err(os("mmap"))?;
        let middle = begin.wrapping_byte_add(boundary);
        match back {
            Back::ReadOnly(file) => {
                // SAFETY: over the rest of what was set aside.
                unsafe { mmap(middle, rest, ProtFlags::READ, flags, file, 0) }.map_err(os("mmap"))?
            }
            Back::Writable(other) => {
                assert_eq!(other.length, rest, "it is the whole of that file");
                // Of the length 0, it is copied, and stays where it is.
                // SAFETY: over the rest of what was set aside; the other mapping does not change.
                unsafe { mremap_fixed(other.base.as_ptr(), 0, rest, MremapFlags::MAYMOVE, middle) }
                    .map_err(os("mremap"))?
            }
        };
        let base = span.give_up();
        let mapping = Self { base, length, mark };
        // SAFETY: exactly the mappings made above; the advice concerns children only.
        unsafe { madvise(begin, length, Advice::LinuxDontFork) }.map_err(os("madvise(MADV_DONTFORK)"))?;
        if pages.prefault && matches!(back, Back::Writable(_)) {
            // Before Linux 5.14, the first accesses fault instead.
            // SAFETY: exactly the mapping made above, and no byte of it changes.
            let _ = unsafe { madvise(middle, rest, Advice::LinuxPopulateWrite) };
        }
        // SAFETY: exactly the mappings made above.
        unsafe { pages::prepare(base, length, pages) }?;
        Ok(mapping)
    }

    /// Whether it is there: not so in a child of the process that made it.
    pub(crate) fn is_ours(&self) -> bool {
        self.mark.is_ours()
    }

    /// The first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base.cast()
    }

    /// Waits until the first `length` bytes are on the disk.
    pub(crate) fn sync(&self, length: usize) -> Result<(), Error> {
        assert!(length <= self.length);
        // SAFETY: the range lies in this mapping, and nothing is invalidated.
        unsafe { msync(self.base.as_ptr(), length, MsyncFlags::SYNC) }.map_err(os("msync"))
    }

    /// Bytes mapped.
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // In a child the mapping is not there, and something else may be.
        if self.mark.is_ours() {
            // SAFETY: the range is exactly this mapping, and whoever holds `Memory` over it is gone with its owner.
            let _ = unsafe { munmap(self.base.as_ptr(), self.length) };
        }
    }
}

/// What lies behind the file that a mapping begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Back<'m> {
    /// A file, to be read only.
    ReadOnly(BorrowedFd<'m>),
    /// What another mapping leads to, as it does: the file may be closed to new ones.
    Writable(&'m Mapping),
}

/// A mapping that can only be read, made to ask the kernel about what is mapped there; of `length` bytes, a page at least.
pub(crate) fn probe(file: BorrowedFd<'_>, length: usize, look: &mut dyn FnMut(usize)) -> Result<(), Error> {
    // SAFETY: a fresh mapping at an address of the kernel's choice overlays nothing.
    let base = unsafe { mmap(null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0) }.map_err(os("mmap"))?;
    look(base.addr());
    // SAFETY: exactly the mapping made above, whose bytes nobody looked at.
    unsafe { munmap(base, length) }.map_err(os("munmap"))
}

/// Shared memory without a name, which children inherit.
#[derive(Debug)]
pub(crate) struct Inherited {
    base: NonNull<c_void>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Inherited {}
// SAFETY: its methods only read its own fields, or make atomic accesses.
unsafe impl Sync for Inherited {}

impl Inherited {
    /// Maps `length` bytes of zeroes, all of them at once, with pages as they are asked for; locking is up to the ends.
    pub(crate) fn new(length: usize, pages: &Pages) -> Result<Self, Error> {
        let pages = &pages.for_making();
        let _node = numa::prefer(pages.node)?;
        let reserved = if pages.are_huge() && pages::has_huge_pages(length) {
            Self::map(length, pages, MapFlags::HUGETLB | MapFlags::from_bits_retain(pages::huge_page_bits()))?.ok()
        } else {
            None
        };
        let this = match reserved {
            Some(this) => this,
            None => Self::of_usual_pages(length, pages)?,
        };
        // SAFETY: exactly the mapping made above, readable and writable.
        unsafe { pages::prepare(this.base, length, pages) }?;
        Ok(this)
    }

    fn of_usual_pages(length: usize, pages: &Pages) -> Result<Self, Error> {
        let (needed, available) = (length as u64, file::memory_available());
        // The kernel would hand out addresses, and the machine run out of memory behind them.
        if needed > available {
            return Err(Error::NoSpace { needed, available });
        }
        Self::map(length, pages, MapFlags::empty())?.map_err(|errno| match errno {
            Errno::NOMEM => Error::NoSpace { needed, available },
            errno => os("mmap")(errno),
        })
    }

    fn map(length: usize, pages: &Pages, kind: MapFlags) -> Result<Result<Self, Errno>, Error> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let base = pages::map_at(length, pages, |place, flags| {
            // SAFETY: a fresh mapping, at an address of the kernel's choice, or over what was set aside for it.
            unsafe { mmap_anonymous(place, length, protection, MapFlags::SHARED | kind | flags) }
        })?;
        Ok(base.and_then(|base| Ok(Self { base: NonNull::new(base).ok_or(Errno::NOMEM)?, length })))
    }

    /// What the kernel says about it.
    pub(crate) fn report(&self) -> Result<MemoryReport, Error> {
        smaps::report(self.base.addr().get())?.ok_or_else(file::no_proc)
    }

    /// Keeps it in memory as long as it is mapped here.
    pub(crate) fn lock(&self, pages: &Pages) -> Result<(), Error> {
        // SAFETY: exactly this mapping.
        unsafe { pages::lock(self.base, self.length, pages.prefault) }
    }

    /// The first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base.cast()
    }

    /// Bytes mapped.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// To be read, no longer than this value lives.
    pub(crate) fn view(&self) -> View<'_> {
        // SAFETY: mapped as long as `self`, page-aligned, and without a file that could be truncated.
        unsafe { View::new(self.base.cast(), self.length) }
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        // SAFETY: the range is exactly this mapping, in a child as well; whoever holds `Memory` over it is gone.
        let _ = unsafe { munmap(self.base.as_ptr(), self.length) };
    }
}

/// Shared memory that is only looked at: as everywhere, by atomics, of the same width at the same address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'m> {
    base: NonNull<u8>,
    length: usize,
    memory: PhantomData<&'m ()>,
}

impl View<'_> {
    /// # Safety
    /// `base` is aligned to a page and leads to `length` bytes that are mapped and readable for as long as the lifetime
    /// says, and whose file cannot be truncated.
    pub(crate) unsafe fn new(base: NonNull<u8>, length: usize) -> Self {
        Self { base, length, memory: PhantomData }
    }

    /// Reads words at `offset`; `false` if the memory ends before.
    pub(crate) fn read(self, words: &mut [u64], offset: usize) -> bool {
        assert!(offset % 8 == 0);
        if offset.checked_add(size_of_val(words)).is_none_or(|end| end > self.length) {
            return false;
        }
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: the offset lies in the mapping, as was just checked.
            let place = unsafe { self.base.add(offset + 8 * index) };
            // SAFETY: mapped and aligned (base to a page, offset to 8); a word of the region, by the caller's offset.
            let place = unsafe { place.cast::<PlainAtomicU64>().as_ref() };
            // Acquire: what precedes a magic that is seen was written before it.
            *word = place.load(Ordering::Acquire);
        }
        true
    }

    /// Reads the half word at `offset`.
    pub(crate) fn read_u32(self, offset: usize) -> u32 {
        assert!(offset % 4 == 0 && offset < self.length && self.length - offset >= 4);
        // SAFETY: the offset lies in the mapping, as was just checked.
        let place = unsafe { self.base.add(offset) };
        // SAFETY: mapped and aligned (base to a page, offset to 4); an event word of the region, by the caller's offset.
        unsafe { place.cast::<PlainAtomicU32>().as_ref() }.load(Ordering::Acquire)
    }
}
