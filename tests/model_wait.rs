//! Explores every interleaving of the wait protocol (`src/wait.rs`, W1-W4 and S1-S4) on a machine with store buffers,
//! and every place where a process may be killed.
//!
//! The waker publishes some messages, the waiter takes them and sleeps in between, *without* time slices: a state in
//! which the waiter sleeps although a message is there, and nobody is left who would wake it, is a lost wake-up. The
//! protocol as it ships has none; with a barrier left out, or with the epoch, one must be found.

use std::collections::HashSet;

const SLEEPING: u8 = 1;
const EPOCH: u8 = 4;

/// What is left out, to prove that the search can find something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// The waiter does not issue its barrier (or, in fence mode, the waker does not).
    NoBarrier,
    /// The waiter sleeps without comparing the event word.
    SleepsUnconditionally,
    /// The waiter does not look again after it announced itself.
    NoSecondLook,
}

#[derive(Clone, Copy, Debug)]
struct Model {
    messages: u8,
    /// Who pays: the waiter by a membarrier, or both by fences.
    membarrier: bool,
    mistake: Mistake,
    /// Whether the waker may be killed; slices, which exist for this case alone, are allowed then.
    waker_dies: bool,
    /// Whether the waiter may be killed.
    waiter_dies: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Waker {
    Publish,
    Fence,
    Load,
    /// Saw this word, with the bit.
    Exchange(u8),
    Wake,
    Done,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Waiter {
    Look,
    Announce,
    Barrier(u8),
    LookAgain(u8),
    Sleep(u8),
    Asleep,
    Done,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    waker: Waker,
    waiter: Waiter,
    /// Messages published as the waker sees it, as memory has it (a gap is the store buffer), and taken.
    published: u8,
    visible: u8,
    taken: u8,
    event: u8,
    /// System calls of the waker.
    wakes: u8,
}

impl Model {
    fn start() -> State {
        State { waker: Waker::Publish, waiter: Waiter::Look, published: 0, visible: 0, taken: 0, event: 0, wakes: 0 }
    }

    fn steps(&self, state: State) -> Vec<State> {
        let mut next = Vec::new();
        // The store buffer drains whenever it likes, also after its owner was killed.
        if state.visible < state.published {
            next.push(State { visible: state.visible + 1, ..state });
        }
        next.extend(self.waker_step(state));
        next.extend(self.waiter_step(state));
        if self.waker_dies && !matches!(state.waker, Waker::Done | Waker::Dead) {
            next.push(State { waker: Waker::Dead, ..state });
        }
        if self.waiter_dies && !matches!(state.waiter, Waiter::Done | Waiter::Dead) {
            next.push(State { waiter: Waiter::Dead, ..state });
        }
        // A slice ends. Without a killed waker nothing may depend on it.
        if state.waker == Waker::Dead && state.waiter == Waiter::Asleep {
            next.push(State { waiter: Waiter::Look, ..state });
        }
        next
    }

    fn waker_step(&self, mut state: State) -> Option<State> {
        match state.waker {
            Waker::Publish => {
                state.published += 1;
                state.waker = if self.membarrier { Waker::Load } else { Waker::Fence };
            }
            Waker::Fence => {
                if self.mistake != Mistake::NoBarrier {
                    state.visible = state.published;
                }
                state.waker = Waker::Load;
            }
            Waker::Load if state.event & SLEEPING != 0 => state.waker = Waker::Exchange(state.event),
            Waker::Load => state.waker = self.after_message(state),
            Waker::Exchange(seen) if state.event == seen => {
                // A locked instruction drains the buffer.
                state.visible = state.published;
                state.event = (seen & !SLEEPING).wrapping_add(EPOCH);
                state.waker = Waker::Wake;
            }
            Waker::Exchange(_) => {
                state.visible = state.published;
                state.waker = Waker::Load;
            }
            Waker::Wake => {
                state.wakes += 1;
                if state.waiter == Waiter::Asleep {
                    state.waiter = Waiter::Look;
                }
                state.waker = self.after_message(state);
            }
            Waker::Done | Waker::Dead => return None,
        }
        Some(state)
    }

    fn after_message(&self, state: State) -> Waker {
        if state.published == self.messages { Waker::Done } else { Waker::Publish }
    }

    fn waiter_step(&self, mut state: State) -> Option<State> {
        match state.waiter {
            Waiter::Look if state.taken < state.visible => {
                state.taken += 1;
                state.waiter = if state.taken == self.messages { Waiter::Done } else { Waiter::Look };
            }
            Waiter::Look => state.waiter = Waiter::Announce,
            Waiter::Announce => {
                state.event |= SLEEPING;
                state.waiter = Waiter::Barrier(state.event);
            }
            Waiter::Barrier(announced) => {
                if self.membarrier && self.mistake != Mistake::NoBarrier {
                    state.visible = state.published;
                }
                state.waiter = if self.mistake == Mistake::NoSecondLook {
                    Waiter::Sleep(announced)
                } else {
                    Waiter::LookAgain(announced)
                };
            }
            Waiter::LookAgain(announced) => {
                state.waiter = if state.taken < state.visible { Waiter::Look } else { Waiter::Sleep(announced) };
            }
            Waiter::Sleep(announced) => {
                let falls_asleep = state.event == announced || self.mistake == Mistake::SleepsUnconditionally;
                state.waiter = if falls_asleep { Waiter::Asleep } else { Waiter::Look };
            }
            Waiter::Asleep | Waiter::Done | Waiter::Dead => return None,
        }
        Some(state)
    }

    /// Explores everything; the lost wake-up, or how many states there were.
    fn explore(&self) -> Result<usize, State> {
        let mut seen = HashSet::from([Self::start()]);
        let mut open = vec![Self::start()];
        while let Some(state) = open.pop() {
            let next = self.steps(state);
            // Nobody can do anything more, and yet not everything that was published was taken.
            let stuck = next.is_empty() && state.waiter == Waiter::Asleep && state.taken < state.visible;
            let never_ends = next.is_empty() && state.waiter == Waiter::Asleep && state.waker == Waker::Done;
            // A killed waiter leaves one bit behind, which costs one call and not one a message.
            let nagging = state.waiter == Waiter::Dead && state.wakes > self.messages;
            if stuck || never_ends || nagging {
                return Err(state);
            }
            open.extend(next.into_iter().filter(|state| seen.insert(*state)));
        }
        Ok(seen.len())
    }
}

fn models(mistake: Mistake) -> impl Iterator<Item = Model> {
    (1..=4).flat_map(move |messages| {
        [(false, false), (true, false), (false, true)].into_iter().flat_map(move |(waker_dies, waiter_dies)| {
            [true, false].map(|membarrier| Model { messages, membarrier, mistake, waker_dies, waiter_dies })
        })
    })
}

#[test]
fn the_protocol_loses_no_wake_up() {
    for model in models(Mistake::None) {
        let states = model.explore().unwrap_or_else(|state| panic!("{model:?} is stuck in {state:?}"));
        assert!(states > 10, "{model:?} explored only {states} states");
    }
}

#[test]
fn each_part_left_out_loses_one() {
    for mistake in [Mistake::NoBarrier, Mistake::SleepsUnconditionally, Mistake::NoSecondLook] {
        for model in models(mistake).filter(|model| !model.waker_dies && !model.waiter_dies) {
            assert!(model.explore().is_err(), "{model:?} should have got stuck");
        }
    }
}

#[test]
fn a_killed_waiter_costs_one_call() {
    // The first wake-up after the death clears the bit, and nobody sets it again.
    for membarrier in [true, false] {
        let model = Model { messages: 4, membarrier, mistake: Mistake::None, waker_dies: false, waiter_dies: true };
        let mut state = State { waiter: Waiter::Dead, event: SLEEPING, ..Model::start() };
        while let Some(next) = model.waker_step(state) {
            state = next;
        }
        assert_eq!((state.waker, state.wakes), (Waker::Done, 1));
    }
}
