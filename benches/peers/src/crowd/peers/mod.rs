//! The contenders. To add one: its type in a file here, and its line in [`contenders`].
//!
//! nexus-queue has no ring with several producers *and* several consumers.

mod ringway;
mod shaq;
mod threads;

use anyhow::{Context, Result};

use super::contender::{About, Contender};
use super::measure::{self, Order, Role, Sample};

/// The package that the report is about.
pub const OURS: &str = "ringway";
/// Ours, every worker a process.
pub const PROCESSES: &str = "ringway processes";
/// Ours, every worker a thread.
pub const THREADS: &str = "ringway threads";
/// Ours, every worker a process, and the messages of a batch share slots.
pub const PACKED_PROCESSES: &str = "ringway packed, processes";
/// Ours, every worker a thread, and the messages of a batch share slots.
pub const PACKED_THREADS: &str = "ringway packed, threads";
/// Ours, with a producer and a consumer stopped.
pub const STALLED: &str = "ringway, two stopped";
/// Whom the times between threads are held against.
pub const ARRAY_QUEUE: &str = "crossbeam ArrayQueue";
/// Whom the times between processes are held against.
pub const SHAQ: [&str; 2] = ["shaq 3", "shaq 4"];

/// A contender with its measurements compiled for it.
pub struct Entry {
    /// What the report says.
    pub about: About,
    /// Measures it, in a process of its own.
    pub measure: fn(&Order) -> Result<Sample>,
    /// What a worker's process does.
    pub work: fn(&Order, Role) -> Result<()>,
    /// What a victim's process does.
    pub call: fn(&Order, Role) -> Result<()>,
}

/// Every contender, in the order of the rounds.
pub fn contenders() -> Vec<Entry> {
    vec![
        entry::<ringway::Processes>(),
        entry::<ringway::PackedProcesses>(),
        entry::<ringway::Stalled>(),
        entry::<shaq::Shaq3>(),
        entry::<shaq::Shaq4>(),
        entry::<ringway::Threads>(),
        entry::<ringway::PackedThreads>(),
        entry::<threads::CrossbeamArrayQueue>(),
        entry::<threads::CrossbeamChannel>(),
        entry::<threads::Kanal>(),
    ]
}

/// The contender of that name.
///
/// # Errors
///
/// If there is none.
pub fn find(name: &str) -> Result<Entry> {
    let found = contenders().into_iter().find(|contender| contender.about.name == name);
    found.with_context(|| format!("no contender is called {name:?}"))
}

fn entry<C: Contender>() -> Entry {
    Entry { about: C::ABOUT, measure: measure::measure::<C>, work: measure::work::<C>, call: measure::call::<C> }
}
