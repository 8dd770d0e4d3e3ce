//! Mapping a file, and unmapping it.

#![allow(unsafe_code)] // one of the rooms

use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use std::os::fd::BorrowedFd;

use rustix::mm::{Advice, MapFlags, MsyncFlags, ProtFlags, madvise, mmap, msync, munmap};

use super::os;
use crate::error::Error;
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
