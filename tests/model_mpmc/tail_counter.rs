//! What this ring does not do: claim with a tail counter, as Vyukov's ring and its relatives.
//!
//! A claimant that is killed leaves a slot that nobody writes and nobody can attribute: its sequence number does not
//! tell a dead claimant from a slow one, nor who it was. Waiting for it wedges everybody, skipping it takes the slot
//! from a claimant that lives.

use zerocopy::{Immutable, IntoBytes};

use crate::explore::{Kind, Model, Steps, Violation};
use crate::ledger::bit;

const SLOTS: usize = 2;
const PRODUCERS: usize = 2;

/// What the consumer does about a slot that is claimed and not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hole {
    Wait,
    Skip,
}

/// One configuration: two producers, one consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailCounter {
    pub(crate) hole: Hole,
    pub(crate) messages: u8,
    pub(crate) crashes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
enum ProducerAt {
    /// Loads the slot's sequence number and, if the slot is free, takes the ticket.
    Claim,
    Fill,
    /// The sequence number says that the slot is full.
    Publish,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
struct Producer {
    at: ProducerAt,
    left: u8,
    ticket: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct State {
    /// A slot's sequence number is its ticket while it is free, one more while it is full.
    sequence: [u8; SLOTS],
    payload: [u8; SLOTS],
    tail: u8,
    head: u8,
    producers: [Producer; PRODUCERS],
    published: u8,
    taken: u8,
    crashes: u8,
}

impl TailCounter {
    fn produce(&self, state: &State, i: usize, next: &mut Steps<State>) {
        let producer = state.producers[i];
        let slot = usize::from(producer.ticket) % SLOTS;
        let message = i as u8 * self.messages + (self.messages - producer.left);
        let mut after = *state;
        let own = &mut after.producers[i];
        match producer.at {
            ProducerAt::Claim if state.sequence[usize::from(state.tail) % SLOTS] == state.tail => {
                *own = Producer { at: ProducerAt::Fill, ticket: state.tail, ..producer };
                after.tail += 1;
            }
            // Full: it tries again, as a blocking send does.
            ProducerAt::Claim => {}
            ProducerAt::Fill => {
                after.payload[slot] = message + 1;
                own.at = ProducerAt::Publish;
            }
            ProducerAt::Publish => {
                let left = producer.left - 1;
                *own = Producer { at: if left == 0 { ProducerAt::Gone } else { ProducerAt::Claim }, left, ticket: 0 };
                after.sequence[slot] = producer.ticket + 1;
                after.published |= bit(message);
            }
            ProducerAt::Gone => return,
        }
        next.push(("producer", after));
    }

    fn consume(&self, state: &State, next: &mut Steps<State>) -> Result<(), Violation> {
        let slot = usize::from(state.head) % SLOTS;
        let mut after = *state;
        if state.sequence[slot] == state.head + 1 {
            let message = state.payload[slot] - 1;
            Violation::when(state.taken & bit(message) != 0, Kind::Duplicate, || format!("message {message}"))?;
            after.taken |= bit(message);
        } else if self.hole == Hole::Wait || state.tail <= state.head + 1 {
            return Ok(());
        }
        after.sequence[slot] = state.head + SLOTS as u8;
        after.head += 1;
        next.push(("consumer", after));
        Ok(())
    }
}

impl Model for TailCounter {
    type State = State;

    fn start(&self) -> State {
        let producer = Producer { at: ProducerAt::Claim, left: self.messages, ticket: 0 };
        State {
            sequence: [0, 1],
            payload: [0; SLOTS],
            tail: 0,
            head: 0,
            producers: [producer; PRODUCERS],
            published: 0,
            taken: 0,
            crashes: 0,
        }
    }

    fn steps(&self, state: &State, next: &mut Steps<State>) -> Result<(), Violation> {
        for i in 0..PRODUCERS {
            self.produce(state, i, next);
            let midway = matches!(state.producers[i].at, ProducerAt::Fill | ProducerAt::Publish);
            if midway && state.crashes < self.crashes {
                let mut after = *state;
                after.producers[i] = Producer { at: ProducerAt::Gone, left: 0, ticket: 0 };
                after.crashes += 1;
                next.push(("kill", after));
            }
        }
        self.consume(state, next)
    }

    fn check(&self, state: &State, stuck: bool) -> Result<(), Violation> {
        let sends = state.producers.iter().any(|producer| producer.at != ProducerAt::Gone);
        Violation::when(stuck && sends, Kind::Wedged, || "the survivors wait for ever".to_owned())?;
        let lost = state.published & !state.taken;
        Violation::when(stuck && lost != 0, Kind::Lost, || format!("messages {lost:b}"))
    }
}
