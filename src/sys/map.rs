//! Mapping a file, unmapping it, and looking at mapped memory.

#![allow(unsafe_code)] // one of the rooms

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MsyncFlags, ProtFlags, madvise, mmap, mmap_anonymous, msync, munmap};

use super::{file, os};
use crate::error::Error;
use crate::sync::{Ordering, PlainAtomicU32, PlainAtomicU64};
use crate::sys::process::ForkMark;

/// A shared mapping of a whole file. It does not survive `fork`: a child has no mapping, and keeps no lock through it.
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
    /// Maps `length` bytes of `file`, readable and writable, and touches every page so that no first access faults.
    pub(crate) fn new(file: BorrowedFd<'_>, length: usize) -> Result<Self, Error> {
        let mark = ForkMark::here()?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlays nothing.
        let base = unsafe { mmap(null_mut(), length, protection, MapFlags::SHARED | MapFlags::POPULATE, file, 0) };
        let base = NonNull::new(base.map_err(os("mmap"))?)
            .ok_or(Error::Unsupported { what: "a mapping away from address 0", advice: "check vm.mmap_min_addr" })?;
        let mapping = Self { base, length, mark };
        // SAFETY: the range is exactly the mapping made above; the advice concerns children only.
        unsafe { madvise(base.as_ptr(), length, Advice::LinuxDontFork) }.map_err(os("madvise(MADV_DONTFORK)"))?;
        Ok(mapping)
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
    /// Maps `length` bytes of zeroes, all of them at once.
    pub(crate) fn new(length: usize) -> Result<Self, Error> {
        let (needed, available) = (length as u64, file::memory_available());
        // The kernel would hand out addresses, and the machine run out of memory behind them.
        if needed > available {
            return Err(Error::NoSpace { needed, available });
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlays nothing.
        let base = unsafe { mmap_anonymous(null_mut(), length, protection, MapFlags::SHARED | MapFlags::POPULATE) };
        let base = base.map_err(|errno| match errno {
            Errno::NOMEM => Error::NoSpace { needed, available },
            errno => os("mmap")(errno),
        })?;
        Ok(Self { base: NonNull::new(base).ok_or(Error::NoSpace { needed, available })?, length })
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
