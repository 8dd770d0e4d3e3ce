//! Waiting for somebody who is in the middle of something, but not for ever.

use std::thread;
use std::time::Duration;

/// Looks in vain: the first hundred a yield apart, the others a millisecond, so about a second in all. Whoever was only
/// preempted has gone on by then; whoever was stopped must not stop us.
const LOOKS: u32 = 1000;

/// What is left of it.
#[derive(Debug)]
pub(crate) struct Patience {
    looks: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { looks: 0 }
    }

    /// Waits for a moment, after a look in vain; `false` if that was the last one.
    pub(crate) fn wait(&mut self) -> bool {
        self.looks += 1;
        if self.looks < LOOKS / 10 {
            thread::yield_now()
        } else {
            thread::sleep(Duration::from_millis(1))
        }
        self.looks < LOOKS
    }
}
