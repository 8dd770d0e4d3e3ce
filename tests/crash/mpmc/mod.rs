//! MPMC: a second producer, a second consumer and newcomers go on, whoever is killed or stopped.

mod broken;
mod cast;
mod guards;
mod life;
mod messages;
mod oracle;
mod setting;
mod soak;
mod wake;

use ringway::channel_of::Mpmc;

use crate::harness::{Case, is_soak};
use crate::series::{Operation, Sampling, Stage};
use crate::world::{Backing, Mode, Numbered, World};

/// Where an operation is tried.
#[derive(Clone, Copy, Debug)]
struct Place {
    backing: Backing,
    mode: Mode,
    /// Whether the messages of a batch share a slot.
    packed: bool,
}

impl Place {
    /// A handle does not know what it is attached to, so each mode is tried on one backing; a soak tries all.
    fn all() -> Vec<Self> {
        let all = Backing::all().iter().flat_map(|&backing| Mode::ALL.map(|mode| Self::of(backing, mode)));
        let is_chosen = |place: &Self| is_soak() || (place.backing == Backing::Posix) == (place.mode == Mode::A);
        all.filter(is_chosen).collect()
    }

    fn world<T: Numbered>(self, capacity: u64, peers: usize) -> World<T, Mpmc> {
        let Self { backing, mode, packed } = self;
        let made = if packed { World::packed } else { World::shared };
        made(backing, mode, capacity, peers)
    }

    const fn of(backing: Backing, mode: Mode) -> Self {
        Self { backing, mode, packed: false }
    }

    fn operation(self, name: &str, stage: Stage, effects: &'static [u64], whole: u64) -> Operation {
        Operation { name: self.name_of(name), stage, effects, whole, sampling: Sampling::Some }
    }

    fn name_of(self, operation: &str) -> String {
        let Self { backing, mode, packed } = self;
        let packed = if packed { ", packed" } else { "" };
        format!("mpmc {operation}[{mode:?}, {backing:?}{packed}]")
    }
}

/// Those in which others are in trouble, too, whose trouble ends while the victim is stopped.
pub(crate) fn operations_to_stop() -> Vec<Operation> {
    Place::all().into_iter().flat_map(messages::operations_beside_changes).collect()
}

/// All others.
pub(crate) fn operations() -> Vec<Operation> {
    let operations = Place::all().into_iter().flat_map(operations_at);
    if is_soak() {
        return operations.chain(packed()).collect();
    }
    // What the memory decides about is tried on the others, too.
    let others = [(Backing::File, Mode::A), (Backing::SystemV, Mode::C), (Backing::Anonymous, Mode::A)];
    let others = others.into_iter().flat_map(|(backing, mode)| life::operations(Place::of(backing, mode)));
    operations.chain(packed()).chain(others).chain(inherited_sample()).collect()
}

fn operations_at(place: Place) -> Vec<Operation> {
    let messages = messages::sending_operations(place).into_iter().chain(messages::receiving_operations(place));
    messages.chain(guards::operations(place)).chain(life::operations(place)).chain(wake::operations(place)).collect()
}

/// In the middle of packed slots, in either mode.
fn packed() -> impl Iterator<Item = Operation> {
    Place::all().into_iter().flat_map(|place| messages::packed_operations(Place { packed: true, ..place }))
}

/// Some on memory that victims come by in another way: they inherit it.
fn inherited_sample() -> Vec<Operation> {
    const SAMPLE: [&str; 8] = [
        "send, its claim lost",
        "send when full",
        "recv",
        "recv that reclaims",
        "recv that redelivers",
        "recv_guard",
        "ack",
        "try_send to sleepers",
    ];
    let place = Place::of(Backing::Anonymous, Mode::C);
    let names = SAMPLE.map(|name| place.name_of(name));
    let mut operations = operations_at(place);
    operations.retain(|operation| names.contains(&operation.name));
    assert_eq!(operations.len(), names.len(), "each of the sample exists");
    operations
}

/// Trials that are no operations.
pub(crate) fn cases() -> Vec<Case> {
    broken::cases().into_iter().chain(soak::cases()).collect()
}
