//! What a behaviour has to know about the flavor that it is tried with.

use std::collections::BTreeSet;

use ringway::channel_of::{Flavor, Mpmc, Spsc};

/// Both flavors; a behaviour of both is a function that is generic over this.
pub(crate) trait Kind: Flavor {
    /// As in the names of trials.
    const NAME: &'static str;

    /// Messages that fit where `asked` were asked for.
    fn capacity(asked: usize) -> usize;

    /// The capacities that come of those which are asked for, each once.
    fn capacities(asked: &[usize]) -> BTreeSet<usize> {
        asked.iter().map(|asked| Self::capacity(*asked)).collect()
    }
}

impl Kind for Spsc {
    const NAME: &'static str = "spsc";

    fn capacity(asked: usize) -> usize {
        asked
    }
}

impl Kind for Mpmc {
    const NAME: &'static str = "mpmc";

    fn capacity(asked: usize) -> usize {
        asked.next_power_of_two().max(2)
    }
}
