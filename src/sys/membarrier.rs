//! A memory barrier on every running thread of every registered process, paid by the caller alone.
//!
//! `MEMBARRIER_CMD_GLOBAL_EXPEDITED` (Linux 4.16) lets the side that is about to sleep pay for the store-load order that
//! the side that publishes would otherwise buy with a fence on every message.

use rustix::thread::{MembarrierCommand, MembarrierQuery, membarrier, membarrier_query};

/// Registers this process as a target of others' barriers; `false` if the kernel or a sandbox refuses.
///
/// Registering twice is harmless. A forked child inherits nothing: it registers when it attaches.
pub(crate) fn register() -> bool {
    let needed = MembarrierQuery::GLOBAL_EXPEDITED | MembarrierQuery::REGISTER_GLOBAL_EXPEDITED;
    membarrier_query().contains(needed)
        && membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
        && membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}

/// Issues the barrier; `false` if it was refused. After [`register`] has succeeded once that happens only if a sandbox
/// was entered since.
pub(crate) fn issue() -> bool {
    membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}
