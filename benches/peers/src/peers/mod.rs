//! The contenders. To add one: a file beside this, its `mod` line, and its line in [`contenders`].

mod array_queue;
mod cloudtoid;
mod crossbeam_channel;
mod iceoryx2;
mod ipc_channel;
mod kanal;
mod limits;
mod nexus_queue;
mod ringbuf;
mod ringfire;
mod ringway;
mod rtrb;
mod shaq3;
mod shaq4;
mod stream;

use anyhow::{Context, Result};

use crate::cell::{self, Order};
use crate::contender::{About, BetweenProcesses, BetweenThreads};
use crate::workload::Sample;

/// The package that the report is about.
pub const OURS: &str = "ringway";
/// Whose rate the others' are held against.
pub const REFERENCE: &str = "rtrb";
/// The limit of a round trip.
pub const BARE: &str = "bare atomics";
/// The limit of a stream of small messages.
pub const LINES: &str = "line stream";

/// A contender with its measurements compiled for it.
pub struct Contender {
    /// What the report says.
    pub about: About,
    /// Measures it, in a process of its own.
    pub measure: fn(&Order) -> Result<Sample>,
    /// What the second process does, if there is one.
    pub other_half: Option<fn(&Order) -> Result<()>>,
}

/// Every contender, in the order of the rounds.
pub fn contenders() -> Vec<Contender> {
    vec![
        between_threads::<limits::Lines>(),
        between_threads::<limits::BareAtomics>(),
        between_threads::<limits::BareAtomicsNoPause>(),
        between_processes::<ringway::Named<ringway::Spin>>(),
        between_processes::<ringway::Named<ringway::Adaptive>>(),
        between_processes::<shaq3::Shaq>(),
        between_processes::<shaq4::Shaq>(),
        between_processes::<ringfire::Ringfire>(),
        between_processes::<iceoryx2::Samples>(),
        between_processes::<iceoryx2::Slices>(),
        between_processes::<cloudtoid::Cloudtoid>(),
        between_threads::<ringway::Heap>(),
        between_threads::<ringway::Memfd>(),
        between_threads::<rtrb::Rtrb>(),
        between_threads::<array_queue::CrossbeamArrayQueue>(),
        between_threads::<crossbeam_channel::CrossbeamChannel>(),
        between_threads::<ringbuf::Ringbuf>(),
        between_threads::<kanal::Kanal>(),
        between_threads::<nexus_queue::NexusQueue>(),
        between_processes::<ringway::Named<ringway::Park>>(),
        between_processes::<stream::Pipe>(),
        between_processes::<stream::UnixSocket>(),
        between_processes::<ipc_channel::IpcChannel>(),
    ]
}

/// The contender of that name.
///
/// # Errors
///
/// If there is none.
pub fn find(name: &str) -> Result<Contender> {
    contenders()
        .into_iter()
        .find(|contender| contender.about.name == name)
        .with_context(|| format!("no contender is called {name:?}"))
}

fn between_threads<C: BetweenThreads>() -> Contender {
    Contender { about: C::ABOUT, measure: cell::between_threads::<C>, other_half: None }
}

fn between_processes<C: BetweenProcesses>() -> Contender {
    Contender { about: C::ABOUT, measure: cell::between_processes::<C>, other_half: Some(cell::other_half::<C>) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let contenders = contenders();
        let names: HashSet<_> = contenders.iter().map(|contender| contender.about.name).collect();
        assert_eq!(names.len(), contenders.len());
    }
}
