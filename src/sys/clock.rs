//! A clock that is cheap enough to read on every empty poll.

use rustix::time::{ClockId, clock_gettime};

/// Ticks of the kernel's timer interrupt, in nanoseconds: moves every 1 to 10 ms, costs a few nanoseconds to read.
///
/// Loom repeats executions and has no clock: time stands still there.
pub(crate) fn coarse() -> i64 {
    if cfg!(loom) {
        return 0;
    }
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec)
}
