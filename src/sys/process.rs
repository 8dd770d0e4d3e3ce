//! Who this process is, and what the kernel tells about another one.

#![allow(unsafe_code)] // one of the rooms: a page that fork wipes

use core::ptr::{NonNull, null_mut};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use rustix::time::{ClockId, clock_gettime};

use super::os;
use crate::error::Error;
use crate::sync::{Ordering, PlainAtomicU64};

/// Remembers the process in which it was made: a child that inherited it over `fork` finds that it is not ours.
///
/// A page of the process holds a random-enough token, and `MADV_WIPEONFORK` zeroes that page in every child, whichever
/// way it was forked. One load and one comparison tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForkMark {
    page: NonNull<PlainAtomicU64>,
    token: u64,
}

// SAFETY: the page is never unmapped and is accessed atomically.
unsafe impl Send for ForkMark {}
// SAFETY: as above.
unsafe impl Sync for ForkMark {}

/// The page's address, valid for ever. A failure is remembered, too: it would fail again.
struct Page(Result<NonNull<PlainAtomicU64>, rustix::io::Errno>);
// SAFETY: the address is constant, and what it leads to is atomic.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

static PAGE: OnceLock<Page> = OnceLock::new();

fn map_page() -> Result<NonNull<PlainAtomicU64>, rustix::io::Errno> {
    let length = rustix::param::page_size();
    // SAFETY: a fresh mapping at an address of the kernel's choice overlays nothing.
    let page = unsafe { mmap_anonymous(null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }?;
    // SAFETY: the range is exactly the mapping made above.
    unsafe { madvise(page, length, Advice::LinuxWipeOnFork) }?;
    NonNull::new(page.cast()).ok_or(rustix::io::Errno::NOMEM)
}

impl ForkMark {
    /// The mark of the calling process.
    pub(crate) fn here() -> Result<Self, Error> {
        let page = PAGE.get_or_init(|| Page(map_page())).0.map_err(os("madvise(MADV_WIPEONFORK)"))?;
        // SAFETY: mapped for ever, zeroed or holding a token, aligned to a page.
        let word = unsafe { page.as_ref() };
        // A child makes its token later than its parent did, so no two processes of one lineage share one.
        let now = clock_gettime(ClockId::Monotonic);
        let fresh = (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64) | 1;
        // Relaxed: the token guards nothing but itself.
        let token = match word.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => fresh,
            Err(token) => token,
        };
        Ok(Self { page, token })
    }

    /// Whether the calling process made this mark.
    #[inline(always)]
    pub(crate) fn is_ours(&self) -> bool {
        // SAFETY: mapped for ever, aligned to a page.
        let word = unsafe { self.page.as_ref() };
        // Relaxed: only a fork changes it, and the child has no other thread.
        word.load(Ordering::Relaxed) == self.token
    }
}

/// A pointer that is there only in the process that made this: it lies in a page of its own with `MADV_WIPEONFORK`, so a
/// child finds none. For pointers that are followed on every call: then asking for a fork costs next to nothing.
#[derive(Debug)]
pub(crate) struct Wiped<T> {
    /// All zero bits are `None`.
    page: NonNull<Option<NonNull<T>>>,
}

// SAFETY: the page belongs to this value, and only `get` reads it; the pointer is no more than handed out.
unsafe impl<T> Send for Wiped<T> {}

impl<T> Wiped<T> {
    pub(crate) fn new(pointer: NonNull<T>) -> Result<Self, Error> {
        let page = map_page().map_err(os("madvise(MADV_WIPEONFORK)"))?.cast();
        // SAFETY: a fresh page, aligned and larger than a pointer.
        unsafe { page.write(Some(pointer)) };
        Ok(Self { page })
    }

    /// The pointer, unless this is a child of the process that made it.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<NonNull<T>> {
        // SAFETY: mapped as long as `self`, and holds what `new` wrote or all zeros.
        unsafe { self.page.read() }
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        // SAFETY: the range is exactly the mapping that `new` made, and nothing refers to it any more. A failure would
        // leave a page mapped, which hurts nobody.
        let _ = unsafe { munmap(self.page.as_ptr().cast(), rustix::param::page_size()) };
    }
}

/// Whether this machine can run both sides of a channel at once. What this *process* may use (its affinity) does not
/// matter: the two sides are often pinned to one core each.
pub(crate) fn has_many_cores() -> bool {
    static MANY: OnceLock<bool> = OnceLock::new();
    // SAFETY: reads a number, takes no pointer.
    *MANY.get_or_init(|| unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) } != 1)
}

/// A number that differs between any two boots of a machine, or of any two machines; not 0.
///
/// The low bits of the kernel's random boot id, of which the lowest gives way.
pub(crate) fn boot(bits: u64) -> Result<u64, Error> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|_| super::file::no_proc())?;
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    let id = u128::from_str_radix(&digits, 16).map_err(|_| super::file::no_proc())?;
    Ok(id as u64 & bits | 1)
}

/// What a peer writes about itself when it attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
    pub(crate) pid_namespace: u64,
}

impl Identity {
    /// Of the calling process. Fields that /proc does not tell are 0.
    pub(crate) fn here() -> Self {
        let pid = std::process::id();
        let start_time = stat("self").map_or(0, |stat| stat.start_time);
        Self { pid, start_time, pid_namespace: pid_namespace() }
    }

    /// Whether the process is stopped (`SIGSTOP`, a debugger); `false` where this process cannot tell.
    pub(crate) fn is_stopped(&self) -> bool {
        self.pid_namespace == pid_namespace()
            && stat(&self.pid.to_string())
                .is_some_and(|stat| stat.start_time == self.start_time && matches!(stat.state, b'T' | b't'))
    }
}

fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

struct Stat {
    state: u8,
    start_time: u64,
}

/// Fields 3 and 22 of /proc/PID/stat, counted behind the last parenthesis because a program's name may hold any byte.
fn stat(pid: &str) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text[close + 1..].split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let start_time = core::str::from_utf8(fields.nth(18)?).ok()?.parse().ok()?;
    Some(Stat { state, start_time })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_running_and_ours() {
        let identity = Identity::here();
        assert_eq!(identity.pid, std::process::id());
        assert!(identity.start_time > 0);
        assert!(identity.pid_namespace > 0);
        assert!(!identity.is_stopped());
        assert_eq!(boot(0xff).unwrap(), boot(0xffff).unwrap() & 0xff);
        assert!(ForkMark::here().unwrap().is_ours());
        assert_eq!(ForkMark::here().unwrap().token, ForkMark::here().unwrap().token);
    }
}
