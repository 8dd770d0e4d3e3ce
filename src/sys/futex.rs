//! Sleeping on a word of shared memory.
//!
//! The futex is always *shared*, never `FUTEX_PRIVATE_FLAG`: the kernel would key a private one by address space, and
//! the other process would wake nobody.

use core::time::Duration;

use crate::sync::AtomicU32;

/// Sleeps until woken, until `timeout` passes, or for no reason at all; returns at once if `word` is not `expected`.
#[cfg(not(loom))]
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    use rustix::thread::futex;
    // A duration that does not fit (584 billion years) is cut, and the caller loops anyway.
    let timeout = futex::Timespec {
        tv_sec: timeout.as_secs().min(i64::MAX as u64) as i64,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // EAGAIN (word changed), EINTR and ETIMEDOUT all mean: look again. A kernel without futexes does not exist.
    let _ = futex::wait(word, futex::Flags::empty(), expected, Some(&timeout));
}

/// Wakes up to `count` of those who sleep on `word`; says how many it were.
#[cfg(not(loom))]
pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
    use rustix::thread::futex;
    futex::wake(word, futex::Flags::empty(), count).unwrap_or(0) as u32
}

/// Wakes everybody who sleeps on `word`.
pub(crate) fn wake_all(word: &AtomicU32) {
    // The kernel reads the count as a signed number.
    let _ = wake(word, i32::MAX as u32);
}

/// Loom's stand-in: the model may resume the sleeper at any later point, which covers wake-ups, timeouts and spurious
/// returns. It never sleeps without bound, so lost wake-ups are for `tests/model_wait.rs`, which has no timeouts.
#[cfg(loom)]
pub(crate) fn wait(_: &AtomicU32, _: u32, _: Duration) {
    loom::thread::yield_now();
}

/// Loom's stand-in for a wake-up.
#[cfg(loom)]
pub(crate) fn wake(_: &AtomicU32, _: u32) -> u32 {
    0
}
