//! Letting messages gather, for consumers of either ring.
//!
//! A consumer that catches up with each message takes the line away from the producer while it writes the next one, and
//! both become slow. One that makes a pause before it says *empty* does not. The pause grows while more than one message
//! comes between two empty moments, and shrinks otherwise, so an exchange of single messages never pays it, and neither
//! does an idle ring.

use crate::sync::spin_loop;

/// log2 of the pauses at most: the least that gives most of what there is to gain (docs/PROTOCOL.md).
const MAX: u64 = if cfg!(loom) { 0 } else { 5 };

/// Makes the pause of a consumer that finds the ring empty, so many messages after the last time, and whose lag was `lag`
/// then. Its lag from now on, 0 if there was no pause.
#[inline(always)]
pub(super) fn pause(lag: u64, came: u64) -> u64 {
    let lag = if came > 1 { (lag + 1).min(MAX) } else { lag.saturating_sub(1) };
    if lag > 0 {
        for _ in 0..1_u32 << lag {
            spin_loop();
        }
    }
    lag
}
