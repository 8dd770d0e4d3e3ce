//! The one door to atomics: `core`'s in a normal build, loom's under `--cfg loom`.
//!
//! Nothing else in the crate names `sync::atomic` (`.ci/run` sees to it: clippy's `disallowed-types` cannot, it looks
//! through re-exports), so what loom explores is the code that ships.

#[cfg(not(loom))]
mod imp {
    pub(crate) use core::hint::spin_loop;
    pub(crate) use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, compiler_fence, fence};

    /// One that can lie in a page, in either build.
    pub(crate) type PlainAtomicU64 = AtomicU64;
    /// As [`PlainAtomicU64`].
    pub(crate) type PlainAtomicU32 = AtomicU32;
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};

    /// Loom explores other threads only at its own yield points.
    pub(crate) fn spin_loop() {
        loom::thread::yield_now();
    }

    /// Loom has no asymmetric barrier, so its models run the symmetric variant: see `wait::Barrier`.
    pub(crate) fn compiler_fence(_: Ordering) {
        fence(Ordering::SeqCst);
    }

    use core::sync::atomic::Ordering;

    /// One that can lie in a page, in either build; loom does not see it.
    pub(crate) type PlainAtomicU64 = core::sync::atomic::AtomicU64;
    /// As [`PlainAtomicU64`].
    pub(crate) type PlainAtomicU32 = core::sync::atomic::AtomicU32;
}

pub(crate) use core::sync::atomic::Ordering;
pub(crate) use imp::*;
