//! Shared memory as words: the only way in which this crate reads or writes a region once it is mapped.
//!
//! A peer may write any byte at any moment, so no reference to plain data is ever formed in a region. Every access is an
//! atomic of fixed width, **always the same width at the same address**, and payloads move by Relaxed words between the
//! region and private memory. A racing peer is then never a data race in Rust's sense; at worst it makes us read other
//! numbers, and numbers from a region are input.
//!
//! Under loom the same offsets lead to loom's atomics, which have no fixed layout and so cannot lie in a mapping.

#![allow(unsafe_code)] // one of the rooms: pointers into a mapping

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::error::{Error, Fault, Role};
use crate::layout::{self, stride};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::process::Wiped;

#[cfg(not(loom))]
type Base = u8;
#[cfg(loom)]
type Base = crate::sys::heap::Cells;

/// A mapped region. Copies of it are valid as long as the mapping is; the owner of both keeps them together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    base: NonNull<Base>,
    length: usize,
}

// SAFETY: shared memory belongs to no thread, and every access through this type is atomic.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// # Safety
    /// * `base` is aligned to a page and leads to `length` bytes (under loom: to cells for as many) that are mapped,
    ///   readable and writable for as long as this value or a copy of it is used; except that the blocks of an SPSC region
    ///   may be for reading only where there is no `Producer` of it, because nobody else stores there;
    /// * `length` is at least two pages, in which the shared words lie;
    /// * nobody in this process accesses them other than through `Memory`.
    pub(crate) unsafe fn new(base: NonNull<Base>, length: usize) -> Self {
        Self { base, length }
    }

    /// As [`Memory::new`], for bytes of a mapping; loom's atomics cannot lie in one.
    ///
    /// # Safety
    /// As [`Memory::new`].
    pub(crate) unsafe fn mapped(base: NonNull<u8>, length: usize) -> Self {
        #[cfg(loom)]
        panic!("models run on the heap backing, not on {length} bytes at {base:p}");
        // SAFETY: the caller's promise is the one that is asked for.
        #[cfg(not(loom))]
        unsafe {
            Self::new(base, length)
        }
    }

    /// The eight-byte word at `offset`.
    ///
    /// # Panics
    /// If it does not lie in the region, or not at a multiple of 8: offsets come from `layout`, never from a peer.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset % 8 == 0 && offset < self.length && self.length - offset >= 8);
        // SAFETY: `offset` was checked in the line above.
        unsafe { self.word_unchecked(offset) }
    }

    /// The event word in which `role` tells the other side about itself.
    #[inline(always)]
    pub(crate) fn event(&self, role: Role) -> &AtomicU32 {
        // SAFETY: the offset is a multiple of 4, and the event words lie before the blocks, in every region.
        unsafe { self.event_unchecked(layout::event_offset(role)) }
    }

    /// The roll of `role` in an MPMC region.
    #[inline(always)]
    pub(crate) fn roll(&self, role: Role) -> &AtomicU64 {
        // SAFETY: the offset is a multiple of 8, and the rolls lie before the blocks, in every region.
        unsafe { self.word_unchecked(layout::roll_offset(role)) }
    }
}

/// A mapped region that a child of `fork` does not have, and knows that it does not.
#[derive(Debug)]
pub(crate) struct Anchor {
    base: Wiped<Base>,
    length: usize,
}

impl Anchor {
    pub(crate) fn new(memory: Memory) -> Result<Self, Error> {
        Ok(Self { base: Wiped::new(memory.base)?, length: memory.length })
    }

    /// The region, for one operation: whoever keeps it longer would miss a fork.
    #[inline(always)]
    pub(crate) fn memory(&self) -> Result<Memory, Fault> {
        match self.base.get() {
            Some(base) => Ok(Memory { base, length: self.length }),
            None => Err(Fault::Forked),
        }
    }
}

#[cfg(not(loom))]
macro_rules! prefetch {
    ($(#[$doc:meta])* $name:ident, $x86_64:literal, $aarch64:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(&self, offset: usize) {
            let line = self.base.as_ptr().wrapping_add(offset);
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a prefetch has no effect on memory, and never faults.
            unsafe {
                core::arch::asm!($x86_64, in(reg) line, options(nostack, preserves_flags, readonly));
            }
            #[cfg(target_arch = "aarch64")]
            // SAFETY: a prefetch has no effect on memory, and never faults.
            unsafe {
                core::arch::asm!($aarch64, in(reg) line, options(nostack, preserves_flags, readonly));
            }
            let _ = line;
        }
    };
}

#[cfg(not(loom))]
impl Memory {
    /// # Safety
    /// `offset` is a multiple of 8, and `offset + 8 <= length`.
    #[inline(always)]
    pub(crate) unsafe fn word_unchecked(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the offset lies in the mapping, by the caller's promise.
        let word = unsafe { self.base.add(offset) };
        // SAFETY: mapped and aligned (base to a page, offset to 8); atomics of this width only, by the module's rule.
        unsafe { word.cast().as_ref() }
    }

    /// # Safety
    /// `offset` is a multiple of 4, and `offset + 4 <= length`.
    #[inline(always)]
    unsafe fn event_unchecked(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the offset lies in the mapping, by the caller's promise.
        let word = unsafe { self.base.add(offset) };
        // SAFETY: mapped and aligned (base to a page, offset to 4); atomics of this width only, by the module's rule.
        unsafe { word.cast().as_ref() }
    }

    // Not `_mm_prefetch`, which becomes a prefetch for reading unless the target is known to have one for writing. Every
    // 64-bit x86 processor takes that, if only as a no-op.
    prefetch!(
        /// Asks for the line around `offset` in order to write to it. A hint: it touches nothing, wherever it leads.
        prefetch_to_write, "prefetchw [{}]", "prfm pstl1keep, [{}]"
    );
    prefetch!(
        /// As [`Memory::prefetch_to_write`], in order to read.
        prefetch_to_read, "prefetcht0 [{}]", "prfm pldl1keep, [{}]"
    );

    /// Stores `value` in Relaxed units: Relaxed because whoever publishes the payload does so with Release.
    ///
    /// # Safety
    /// * `offset` is a multiple of `stride(size_of::<T>())` or of 8, whichever is less;
    /// * `offset + stride(size_of::<T>()) <= length`;
    /// * `T` has no padding.
    #[inline(always)]
    pub(crate) unsafe fn store<T>(&self, offset: usize, value: &T) {
        // SAFETY: the offset lies in the mapping, by the caller's promise.
        let to = unsafe { self.base.add(offset) };
        // SAFETY: `to` leads to a stride of mapped bytes at its alignment; `value` is `size_of::<T>()` readable bytes,
        // all initialized.
        unsafe { units::copy_in::<T>(to.as_ptr(), core::ptr::from_ref(value).cast(), units::NEVER) }
    }

    /// Loads a `T` to `place` in Relaxed units. Its bytes are initialized then, but may be no valid `T`.
    ///
    /// Relaxed because the caller has Acquired the word that published the payload. To a place, because a large value
    /// that is returned is copied once more by every caller.
    ///
    /// # Safety
    /// As [`Memory::store`].
    #[inline(always)]
    pub(crate) unsafe fn load<T>(&self, offset: usize, place: &mut MaybeUninit<T>) {
        // SAFETY: the offset lies in the mapping, by the caller's promise.
        let from = unsafe { self.base.add(offset) };
        // SAFETY: `from` leads to a stride of mapped bytes at its alignment; `place` is `size_of::<T>()` writable bytes.
        unsafe { units::copy_out::<T>(place.as_mut_ptr().cast(), from.as_ptr(), units::PAIRS) };
    }

    /// Stores a unit of each line of a `T` as it is there: the lines are this core's own then, and the next one to store
    /// there need not ask all others to let go of them.
    ///
    /// # Safety
    /// As [`Memory::store`]. What others store there meanwhile may be undone.
    #[inline(always)]
    pub(crate) unsafe fn rewrite<T>(&self, offset: usize) {
        for ahead in (0..stride(size_of::<T>())).step_by(layout::LINE) {
            // SAFETY: the offset lies in the mapping, by the caller's promise.
            let unit = unsafe { self.base.add(offset + ahead) };
            // SAFETY: a unit of T's stride, by the caller's promise.
            unsafe { units::rewrite::<T>(unit.as_ptr()) };
        }
    }

    /// As [`Memory::load`], for a value that is put elsewhere at once and need not be in memory before.
    ///
    /// # Safety
    /// As [`Memory::store`].
    #[inline(always)]
    pub(crate) unsafe fn load_value<T>(&self, offset: usize) -> MaybeUninit<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the offset lies in the mapping, by the caller's promise.
        let from = unsafe { self.base.add(offset) };
        // SAFETY: as in `load`.
        unsafe { units::copy_out::<T>(value.as_mut_ptr().cast(), from.as_ptr(), units::LARGE) };
        value
    }
}

/// Copies between private bytes and shared units: one unit of 1, 2, 4 or 8 bytes for a payload of up to 8, else words of
/// 8 of which the last may be padded. The unit depends on `T` alone, so an address keeps its width for ever.
#[cfg(not(loom))]
mod units {
    use super::{AtomicU32, AtomicU64, Ordering, stride};
    use crate::sync::{AtomicU8, AtomicU16};

    macro_rules! unit {
        ($atomic:ty, $plain:ty, $store:ident, $load:ident) => {
            /// # Safety
            /// `to` leads to an aligned, mapped unit; `from` to `length` initialized bytes, at most the unit's.
            #[inline(always)]
            unsafe fn $store(to: *mut u8, from: *const u8, length: usize) {
                let mut bytes = [0_u8; size_of::<$plain>()];
                // SAFETY: `length` bytes are readable at `from`, and `bytes` holds as many.
                unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), length) };
                // SAFETY: aligned and mapped, by the caller's promise.
                let unit = unsafe { &*to.cast::<$atomic>() };
                unit.store(<$plain>::from_ne_bytes(bytes), Ordering::Relaxed);
            }

            /// # Safety
            /// `from` leads to an aligned, mapped unit; `to` to `length` writable bytes, at most the unit's.
            #[inline(always)]
            unsafe fn $load(to: *mut u8, from: *mut u8, length: usize) {
                // SAFETY: aligned and mapped, by the caller's promise.
                let unit = unsafe { &*from.cast::<$atomic>() };
                let bytes = unit.load(Ordering::Relaxed).to_ne_bytes();
                // SAFETY: `length` bytes are writable at `to`, and `bytes` holds as many.
                unsafe { bytes.as_ptr().copy_to_nonoverlapping(to, length) };
            }
        };
    }

    unit!(AtomicU8, u8, store_1, load_1);
    unit!(AtomicU16, u16, store_2, load_2);
    unit!(AtomicU32, u32, store_4, load_4);
    unit!(AtomicU64, u64, store_8, load_8);

    /// From here on, a message is read 16 bytes at a time whatever becomes of it: in registers it does not fit anyway.
    pub(super) const LARGE: usize = 512;
    /// From here on, one that goes to a place in memory is: whoever moves it from there does so 16 bytes at a time, too, and
    /// would wait for two stores of 8 to be done.
    pub(super) const PAIRS: usize = 16;
    /// A message is not written so: the caller's stores are still on their way when it is copied in, and then two of them do
    /// not come out as one (docs/PROTOCOL.md has all of this).
    pub(super) const NEVER: usize = usize::MAX;

    /// Copies the front of a payload of at least `least` bytes 16 at a time, and says how many bytes: the same for every
    /// payload of this size.
    ///
    /// To the compiler, as to a reader of this code, it is so many Relaxed accesses of 8 bytes; that the processor joins
    /// two of them changes nothing that they promise.
    ///
    /// # Safety
    /// `size` bytes can be read at `from`, which is aligned to 8, and written at `to`.
    #[inline(always)]
    unsafe fn in_pairs(to: *mut u8, from: *const u8, size: usize, least: usize) -> usize {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "units do it all"))]
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if size >= least.max(LARGE) {
            let length = size / 64 * 64;
            // SAFETY: touches `length` bytes from `to` and from `from` on, at least 64, and the registers it names.
            unsafe {
                core::arch::asm!(
                    "2:",
                    "movups {a}, [{from} + {done}]",
                    "movups {b}, [{from} + {done} + 16]",
                    "movups {c}, [{from} + {done} + 32]",
                    "movups {d}, [{from} + {done} + 48]",
                    "movups [{to} + {done}], {a}",
                    "movups [{to} + {done} + 16], {b}",
                    "movups [{to} + {done} + 32], {c}",
                    "movups [{to} + {done} + 48], {d}",
                    "add {done}, 64",
                    "cmp {done}, {length}",
                    "jne 2b",
                    from = in(reg) from,
                    to = in(reg) to,
                    done = inout(reg) done,
                    length = in(reg) length,
                    a = out(xmm_reg) _,
                    b = out(xmm_reg) _,
                    c = out(xmm_reg) _,
                    d = out(xmm_reg) _,
                    options(nostack),
                );
            }
        }
        #[cfg(target_arch = "x86_64")]
        while size >= least && size - done >= 16 {
            // SAFETY: 16 bytes of either side, from `done` on, and the register it names.
            unsafe {
                core::arch::asm!(
                    "movups {pair}, [{from} + {done}]",
                    "movups [{to} + {done}], {pair}",
                    from = in(reg) from,
                    to = in(reg) to,
                    done = in(reg) done,
                    pair = out(xmm_reg) _,
                    options(nostack, preserves_flags),
                );
            }
            done += 16;
        }
        let _ = (to, from, size, least);
        done
    }

    /// Stores the unit at `at` as it is there.
    ///
    /// # Safety
    /// `at` leads to an aligned, mapped unit of a `T`.
    #[inline(always)]
    pub(super) unsafe fn rewrite<T>(at: *mut u8) {
        let mut unit = [0; 8];
        macro_rules! through {
            ($load:ident, $store:ident, $length:literal) => {{
                // SAFETY: by the caller's promise; `unit` holds as many bytes.
                unsafe { $load(unit.as_mut_ptr(), at, $length) };
                // SAFETY: as above.
                unsafe { $store(at, unit.as_ptr(), $length) }
            }};
        }
        match stride(size_of::<T>()) {
            1 => through!(load_1, store_1, 1),
            2 => through!(load_2, store_2, 2),
            4 => through!(load_4, store_4, 4),
            _ => through!(load_8, store_8, 8),
        }
    }

    macro_rules! copy {
        ($name:ident, $one:ident, $two:ident, $four:ident, $eight:ident) => {
            /// # Safety
            /// The shared side leads to `stride(size_of::<T>())` mapped bytes, aligned to that or to 8, whichever is
            /// less; the private side to `size_of::<T>()` bytes that may be read or written.
            #[inline(always)]
            pub(super) unsafe fn $name<T>(
                to: *mut u8,
                from: copy!(@from $name),
                least: usize,
            ) {
                let size = size_of::<T>();
                match stride(size) {
                    // SAFETY: one unit of this width, by the caller's promise.
                    1 => unsafe { $one(to, from, size) },
                    // SAFETY: as above.
                    2 => unsafe { $two(to, from, size) },
                    // SAFETY: as above.
                    4 => unsafe { $four(to, from, size) },
                    stride => {
                        // SAFETY: the caller's promise is the one that is asked for.
                        let mut done = unsafe { in_pairs(to, from, size, least) };
                        while done < stride {
                            let length = if size - done < 8 { size - done } else { 8 };
                            // SAFETY: `done < size`, so it lies in both sides.
                            let to = unsafe { to.add(done) };
                            // SAFETY: as above.
                            let from = unsafe { from.add(done) };
                            // SAFETY: a unit of 8 at a multiple of 8, and `length` private bytes.
                            unsafe { $eight(to, from, length) };
                            done += 8;
                        }
                    }
                }
            }
        };
        (@from copy_in) => { *const u8 };
        (@from copy_out) => { *mut u8 };
    }

    copy!(copy_in, store_1, store_2, store_4, store_8);
    copy!(copy_out, load_1, load_2, load_4, load_8);
}

#[cfg(loom)]
impl Memory {
    pub(crate) fn prefetch_to_write(&self, _: usize) {}

    pub(crate) fn prefetch_to_read(&self, _: usize) {}

    /// # Safety
    /// As in the normal build.
    pub(crate) unsafe fn word_unchecked(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the cells outlive this value, by the promise of `new`.
        unsafe { self.base.as_ref() }.word(offset)
    }

    /// # Safety
    /// As in the normal build.
    unsafe fn event_unchecked(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the cells outlive this value, by the promise of `new`.
        unsafe { self.base.as_ref() }.event(offset)
    }

    /// # Safety
    /// As in the normal build; models use payloads of whole words only.
    pub(crate) unsafe fn store<T>(&self, offset: usize, value: &T) {
        assert!(size_of::<T>() % 8 == 0 && stride(size_of::<T>()) == size_of::<T>());
        for i in 0..size_of::<T>() / 8 {
            // SAFETY: within `value`, which has no padding.
            let word = unsafe { core::ptr::from_ref(value).cast::<u64>().add(i).read_unaligned() };
            self.word(offset + 8 * i).store(word, Ordering::Relaxed);
        }
    }

    /// # Safety
    /// As in the normal build; models use payloads of whole words only.
    pub(crate) unsafe fn rewrite<T>(&self, offset: usize) {
        for ahead in (0..stride(size_of::<T>())).step_by(layout::LINE) {
            let word = self.word(offset + ahead);
            word.store(word.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// # Safety
    /// As in the normal build; models use payloads of whole words only.
    pub(crate) unsafe fn load_value<T>(&self, offset: usize) -> MaybeUninit<T> {
        let mut value = MaybeUninit::uninit();
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { self.load(offset, &mut value) };
        value
    }

    /// # Safety
    /// As in the normal build; models use payloads of whole words only.
    pub(crate) unsafe fn load<T>(&self, offset: usize, place: &mut MaybeUninit<T>) {
        assert!(size_of::<T>() % 8 == 0 && stride(size_of::<T>()) == size_of::<T>());
        for i in 0..size_of::<T>() / 8 {
            let word = self.word(offset + 8 * i).load(Ordering::Relaxed);
            // SAFETY: within `place`.
            unsafe { place.as_mut_ptr().cast::<u64>().add(i).write_unaligned(word) };
        }
    }
}
