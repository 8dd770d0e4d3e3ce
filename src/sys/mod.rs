//! The platform seam: one file an operating-system duty, each with a safe face.
//!
//! Nothing here knows what a channel is. The errors of this level are `rustix`'s, or the crate's own where the kernel's
//! word would not tell the user what to do.

pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod entry;
pub(crate) mod file;
pub(crate) mod futex;
pub(crate) mod heap;
pub(crate) mod lock;
pub(crate) mod map;
pub(crate) mod membarrier;
pub(crate) mod numa;
pub(crate) mod pages;
pub(crate) mod patience;
pub(crate) mod posix;
pub(crate) mod process;
pub(crate) mod smaps;
pub(crate) mod socket;
pub(crate) mod sysv;

use crate::error::Error;

/// Wraps an errno that has no better name.
pub(crate) fn os(call: &'static str) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |errno| Error::Os { call, source: errno.into() }
}
