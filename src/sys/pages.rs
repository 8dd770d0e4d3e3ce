//! Where a mapping begins, and what its pages are: huge, locked, and how many of the huge ones there are.

#![allow(unsafe_code)] // one of the rooms

use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use std::fs;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MlockFlags, ProtFlags, madvise, mlock, mlock_with, mmap_anonymous, munmap};
use rustix::process::{Resource, getrlimit};

use super::{os, smaps};
use crate::error::Error;
use crate::pages::{HugePages, Pages};

/// Addresses that belong to nobody else, to be mapped over.
#[derive(Debug)]
pub(crate) struct Span {
    base: NonNull<c_void>,
    length: usize,
}

impl Span {
    /// Sets addresses aside if it matters where a mapping begins; else the kernel may choose.
    pub(crate) fn reserve(length: usize, pages: &Pages) -> Result<Option<Self>, Error> {
        let align = Self::alignment(pages)?;
        if align <= rustix::param::page_size() { Ok(None) } else { Self::aligned(length, align).map(Some) }
    }

    /// Sets addresses aside in any case.
    pub(crate) fn always(length: usize, pages: &Pages) -> Result<Self, Error> {
        Self::aligned(length, Self::alignment(pages)?.max(rustix::param::page_size()))
    }

    fn alignment(pages: &Pages) -> Result<usize, Error> {
        if !pages.align.is_power_of_two() {
            return Err(Error::InvalidAlignment { align: pages.align });
        }
        Ok(pages.align.max(if pages.are_huge() { huge_page_size() } else { 1 }))
    }

    fn aligned(length: usize, align: usize) -> Result<Self, Error> {
        let invalid = || Error::InvalidAlignment { align };
        let length = length.next_multiple_of(rustix::param::page_size());
        let whole = length.checked_add(align).filter(|whole| *whole <= isize::MAX as usize).ok_or_else(invalid)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlays nothing.
        let base =
            unsafe { mmap_anonymous(null_mut(), whole, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE) };
        let base =
            base.map_err(|errno| if align > rustix::param::page_size() { invalid() } else { os("mmap")(errno) })?;
        let before = base.addr().next_multiple_of(align) - base.addr();
        let start = base.wrapping_byte_add(before);
        if before > 0 {
            // SAFETY: the beginning of the mapping made above, which nobody knows of.
            let _ = unsafe { munmap(base, before) };
        }
        let after = whole - before - length;
        if after > 0 {
            // SAFETY: the end of it, as above.
            let _ = unsafe { munmap(start.wrapping_byte_add(length), after) };
        }
        Ok(Self { base: NonNull::new(start).ok_or_else(invalid)?, length })
    }

    /// The first address.
    pub(crate) fn base(&self) -> *mut c_void {
        self.base.as_ptr()
    }

    /// Leaves the addresses to what was mapped over all of them; the first one.
    pub(crate) fn give_up(self) -> NonNull<c_void> {
        core::mem::ManuallyDrop::new(self).base
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // SAFETY: exactly the addresses that were set aside: whoever maps something over them gives them up.
        let _ = unsafe { munmap(self.base.as_ptr(), self.length) };
    }
}

/// Maps something where `pages` wants it to begin: `map` is given the address, null if that is the kernel's choice, and
/// the flags that go with it.
pub(crate) fn map_at<E>(
    length: usize,
    pages: &Pages,
    map: impl FnOnce(*mut c_void, MapFlags) -> Result<*mut c_void, E>,
) -> Result<Result<*mut c_void, E>, Error> {
    let populate = if pages.prefault { MapFlags::POPULATE } else { MapFlags::empty() };
    let Some(span) = Span::reserve(length, pages)? else { return Ok(map(null_mut(), populate)) };
    let mapped = map(span.base(), populate | MapFlags::FIXED);
    if mapped.is_ok() {
        span.give_up();
    }
    Ok(mapped)
}

/// Makes the pages of a mapping what was asked for, as far as it takes no part in making the mapping.
///
/// # Safety
/// The range consists of mappings, or is an attachment, of this process, and can be read.
pub(crate) unsafe fn prepare(base: NonNull<c_void>, length: usize, pages: &Pages) -> Result<(), Error> {
    if pages.are_huge() {
        // What comes of either is seen in the end: a kernel without transparent huge pages refuses the first, one before
        // 6.1 the second, and both do so for pages that are huge anyway.
        // SAFETY: the range is the caller's, and neither advice changes a byte.
        let _ = unsafe { madvise(base.as_ptr(), length, Advice::LinuxHugepage) };
        // SAFETY: as above.
        let _ = unsafe { libc::madvise(base.as_ptr(), length, libc::MADV_COLLAPSE) };
    }
    if pages.lock {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { lock(base, length, pages.prefault) }?;
    }
    if pages.huge == HugePages::Require {
        let (needed, obtained) = (length as u64, smaps::at(base.as_ptr().addr())?.map_or(0, |area| area.huge));
        if obtained < needed {
            let (unit, free) = (huge_page_size() as u64, free_huge_pages());
            return Err(Error::NoHugePages { needed, obtained, unit, free });
        }
    }
    Ok(())
}

/// Keeps the pages of a mapping in memory; those that are not there yet, from their first access on unless `now`.
///
/// # Safety
/// As [`prepare`].
pub(crate) unsafe fn lock(base: NonNull<c_void>, length: usize, now: bool) -> Result<(), Error> {
    let result = if now {
        // SAFETY: the range is the caller's, and locking changes no byte.
        unsafe { mlock(base.as_ptr(), length) }
    } else {
        // SAFETY: as above.
        unsafe { mlock_with(base.as_ptr(), length, MlockFlags::ONFAULT) }
    };
    result.map_err(|errno| match errno {
        Errno::NOMEM | Errno::PERM | Errno::AGAIN => lock_limit(length),
        errno => os("mlock")(errno),
    })
}

/// The error where so many bytes more cannot be locked.
pub(crate) fn lock_limit(length: usize) -> Error {
    let limit = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    Error::LockLimit { needed: length as u64, limit }
}

/// Bytes of a huge page: of one entry in the last but one level of the page table.
pub(crate) fn huge_page_size() -> usize {
    let read = || fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").ok()?.trim().parse().ok();
    // A kernel without transparent huge pages does not say. An eighth of a page is how many entries fit one.
    let page = rustix::param::page_size();
    read().filter(|size: &usize| size.is_power_of_two() && *size >= page).unwrap_or(page * page / 8)
}

/// Which huge pages are meant, as `memfd_create`, `shmget` and `mmap` all write it.
pub(crate) fn huge_page_bits() -> u32 {
    huge_page_size().trailing_zeros() << libc::MAP_HUGE_SHIFT
}

/// Reserved huge pages that nobody has taken yet.
pub(crate) fn free_huge_pages() -> u64 {
    let pool = format!("/sys/kernel/mm/hugepages/hugepages-{}kB", huge_page_size() / 1024);
    let read = |name: &str| -> Option<u64> { fs::read_to_string(format!("{pool}/{name}")).ok()?.trim().parse().ok() };
    // Those promised to mappings are free yet, too.
    read("free_hugepages").unwrap_or(0).saturating_sub(read("resv_hugepages").unwrap_or(0))
}

/// Whether `length` bytes can be had of reserved huge pages; asked first, because the kernel takes what there is before
/// it gives up.
pub(crate) fn has_huge_pages(length: usize) -> bool {
    length % huge_page_size() == 0 && (length / huge_page_size()) as u64 <= free_huge_pages()
}
