//! The slot-owner ring with its processes: who may do what next, and what must hold.

use crate::explore::{Kind, Model, Steps, Violation};
use crate::ledger::{Ledger, PROBE, bit};
use crate::mend;
use crate::state::{
    CONSUMERS, Consumer, ConsumerAt, Life, MendAt, Mender, PRODUCERS, Phase, Producer, ProducerAt, RECLAIMERS, SLOTS,
    Slot, State, Word, consumer_index, producer_index,
};
use crate::{consumer, producer};

/// How FULL gets into a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    /// Mode C: by a compare-exchange.
    Exchange,
    /// Mode A: by a plain store, under the protocol of the skip words.
    Store,
}

/// What a model gets wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// Mode C publishes by a plain store, and has no skip words.
    PlainPublish,
    /// A consumer jumps as far for a FREE word as for a claimed one.
    FarJumpOnFree,
    /// A quarantine without the membarrier.
    NoMembarrier,
    /// A dead producer's word is freed before its skip word is settled.
    ReclaimUnsettled,
    /// A quarantined producer of mode A (and whoever reclaims its slot) stores FREE while the skip word still says
    /// that the slot is held.
    FreeWhileQuarantined,
    /// A slot is reclaimed without asking whether its owner is dead.
    ReclaimUnasked,
    /// ... or asked before the word is read.
    AskFirst,
    /// A consumer reports `Empty` at a slot that is being written without looking for a dead reader's message.
    EmptyUnscanned,
    /// A message is given to another consumer while its reader lives.
    RedeliverUnasked,
    /// A newcomer that takes a dead peer's index never sweeps.
    NeverSweep,
    /// ... or one of its threads claims while another one sweeps.
    SweepLate,
    /// A sweep leaves a published word alone, even if a quarantine of it has been requested.
    SweepOnlyClaims,
    /// A reclaimer of mode A settles the dead producer's skip word while the slot is still being written.
    ReclaimSettlesFirst,
    /// A reclaimer of mode A does not look at the word again once it knows that the owner is dead.
    ReclaimUnlooked,
    /// A sweep frees the slot of a message that its predecessor has read and not acknowledged.
    SweepFreesReading,
    /// A part of a packed slot is taken by a plain store.
    TakeByStore,
}

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    pub(crate) publish: Publish,
    /// At least once: READING, acknowledgements, redelivery.
    pub(crate) ack: bool,
    /// Whether each send is of two messages, which share a slot, and may be taken one by one.
    pub(crate) packed: bool,
    /// Whether a claim is tried before anything is loaded.
    pub(crate) blind: bool,
    /// Whether stale tickets are jumped over, or walked over.
    pub(crate) jump: bool,
    pub(crate) slots: usize,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    /// Sends of each producer, receives of each consumer.
    pub(crate) messages: u8,
    pub(crate) receives: u8,
    /// So many of these may happen, each at any moment.
    pub(crate) crashes: u8,
    pub(crate) quarantines: u8,
    pub(crate) nacks: u8,
    /// Newcomers that take a dead peer's index, and do one call each.
    pub(crate) births: u8,
    /// Peers that may reclaim at the same time.
    pub(crate) reclaimers: usize,
    /// Whether in every state each process in turn is stopped for ever, and the others must go on.
    pub(crate) stops: bool,
    pub(crate) mistake: Mistake,
}

impl Ring {
    pub(crate) fn slot(&self, ticket: u8) -> usize {
        usize::from(ticket) % self.slots
    }

    pub(crate) fn lap(&self, ticket: u8) -> u8 {
        ticket / self.slots as u8
    }

    /// The word of a slot that was just published.
    pub(crate) fn full(&self, lap: u8) -> Word {
        Word::new(Phase::Full, lap, if self.packed { 2 } else { 0 })
    }

    /// What the send of that number writes: its message's number plus one, twice, or those of two messages.
    pub(crate) fn payload(&self, send: u8) -> [u8; 2] {
        if self.packed { [2 * send + 1, 2 * send + 2] } else { [send + 1; 2] }
    }

    /// The messages of that send.
    pub(crate) fn bits(&self, send: u8) -> u8 {
        self.payload(send).iter().fold(0, |all, payload| all | bit(payload - 1))
    }

    /// The number of the probe's send.
    pub(crate) fn probe(&self) -> u8 {
        if self.packed { PROBE / 2 } else { PROBE }
    }

    pub(crate) fn uses_skip(&self) -> bool {
        self.publish == Publish::Store
    }

    /// The ticket to look at after a word of a newer lap than `ticket` was met: every ticket up to the one `back` laps
    /// before the word's is settled.
    pub(crate) fn beyond(&self, ticket: u8, word: Word, back: u8) -> u8 {
        let settled = (word.lap + 1).saturating_sub(back) * self.slots as u8;
        let target = (settled + self.slot(ticket) as u8 + 1).saturating_sub(self.slots as u8);
        if self.jump { target.max(ticket + 1) } else { ticket + 1 }
    }

    /// Without deaths, quarantines and readers a `Full` must be exact.
    pub(crate) fn counts_room(&self) -> bool {
        self.crashes == 0 && self.quarantines == 0 && !self.ack && !self.stops
    }

    /// Nobody can be blamed for `Full` who was at it when there was no room.
    fn note_room(&self, state: &mut State) {
        if self.counts_room() && state.slots[..self.slots].iter().all(|slot| slot.word.phase != Phase::Free) {
            state.producers.iter_mut().for_each(|producer| producer.roomy = false);
        }
    }

    fn peer_steps(&self, state: &State, next: &mut Steps<State>) -> Result<(), Violation> {
        for i in 0..self.producers {
            producer::step(self, state, i, next)?;
        }
        for i in 0..self.consumers {
            consumer::step(self, state, i, next)?;
        }
        Ok(())
    }

    /// Anybody in the middle of a call, or of a sweep, may be killed; what is in its store buffer reaches memory.
    fn kills(&self, state: &State, next: &mut Steps<State>) {
        if state.crashes == self.crashes {
            return;
        }
        let killed = |mut after: State, owner: u8| {
            after.crashes += 1;
            if after.sweep.owner == owner {
                after.sweep = Mender::IDLE;
            }
            *after.life(owner) = Life::Dead;
            ("kill", after)
        };
        for (i, peer) in state.producers[..self.producers].iter().enumerate() {
            let busy = peer.at != ProducerAt::Idle || peer.buffer.pending || peer.life == Life::Sweeping;
            if busy && peer.life != Life::Dead {
                let mut after = *state;
                after.drain(i);
                after.producers[i] = Producer::new(0);
                next.push(killed(after, producer_index(i)));
            }
        }
        for (i, peer) in state.consumers[..self.consumers].iter().enumerate() {
            let busy = peer.at != ConsumerAt::Idle || peer.life == Life::Sweeping;
            if busy && peer.life != Life::Dead {
                let mut after = *state;
                after.consumers[i] = Consumer::new(0);
                next.push(killed(after, consumer_index(i)));
            }
        }
    }

    /// A newcomer takes the lease of a dead peer's index. It must sweep before it begins its one call.
    fn births(&self, state: &State, next: &mut Steps<State>) {
        if state.births == self.births || state.sweep.owner != 0 {
            return;
        }
        let sweeps = !matches!(self.mistake, Mistake::NeverSweep | Mistake::SweepLate);
        let born = |mut after: State, owner: u8| {
            after.births += 1;
            *after.life(owner) = if sweeps { Life::Sweeping } else { Life::Second };
            if sweeps {
                after.sweep.owner = owner;
            }
            ("birth", after)
        };
        for i in (0..self.producers).filter(|i| state.producers[*i].life == Life::Dead) {
            let mut after = *state;
            let message = self.producers as u8 * self.messages + state.births;
            after.producers[i] = Producer { message, ..Producer::new(1) };
            next.push(born(after, producer_index(i)));
        }
        for i in (0..self.consumers).filter(|i| state.consumers[*i].life == Life::Dead) {
            let mut after = *state;
            after.consumers[i] = Consumer::new(1);
            next.push(born(after, consumer_index(i)));
        }
    }

    /// Whether nobody has anything left to do.
    fn is_quiet(&self, state: &State) -> bool {
        let idle = |at: bool, left: u8, life: Life| life == Life::Dead || (at && left == 0 && life != Life::Sweeping);
        state.producers.iter().all(|p| idle(p.at == ProducerAt::Idle && !p.buffer.pending, p.left, p.life))
            && state.consumers.iter().all(|c| idle(c.at == ConsumerAt::Idle, c.left, c.life))
            && state.reclaimers.iter().all(|mender| mender.at == MendAt::Idle)
            && (0..self.slots).all(|slot| mend::reclaimable(self, state, slot).is_none())
    }

    /// At the end everything that was published can be received, and then every slot be used.
    fn aftermath(&self, state: &State) -> Result<(), Violation> {
        let mut state = *state;
        self.receive_all(&mut state)?;
        let lost = state.ledger.owed & !state.ledger.taken;
        Violation::when(lost != 0, Kind::Lost, || format!("messages {lost:b}"))?;
        for _ in 0..self.slots {
            let sent = self.send_one(&mut state)?;
            Violation::when(!sent, Kind::Stranded, || format!("no room: {state:?}"))?;
        }
        let sent = self.send_one(&mut state)?;
        Violation::when(sent, Kind::Impossible, || format!("more messages than slots: {state:?}"))
    }

    /// While one peer is stopped for ever, each of the others finishes its call, and the ring goes on with at most one
    /// slot less.
    fn goes_on_without(&self, state: &State, stopped: u8) -> Result<(), Violation> {
        let mut state = *state;
        let mut next = Vec::new();
        while ![0, stopped].contains(&state.sweep.owner) {
            mend::sweep_step(self, &state, &mut next);
            state = next.pop().map_or(state, |(_, after)| after);
        }
        for i in 0..self.producers {
            // A stopped process does not run, and so its stores have reached memory.
            state.drain(i);
        }
        for i in (0..self.producers).filter(|i| producer_index(*i) != stopped) {
            self.finish_producer(&mut state, i)?;
        }
        for i in (0..self.consumers).filter(|i| consumer_index(*i) != stopped) {
            self.finish_consumer(&mut state, i)?;
        }
        self.receive_all(&mut state)?;
        let reads = |slot: &Slot| slot.word.phase == Phase::Reading && slot.word.owner == stopped;
        let read = state.slots.iter().filter(|slot| reads(slot)).fold(0, |all, slot| all | bit(slot.payload[0] - 1));
        let lost = state.ledger.owed & !state.ledger.taken & !read;
        Violation::when(lost != 0, Kind::Lost, || format!("messages {lost:b} while {stopped} is stopped"))?;
        let held = (0..self.slots).filter(|slot| state.effective(*slot).owner == stopped).count();
        Violation::when(held > 1, Kind::Stranded, || format!("{stopped} holds {held} slots"))?;
        if held < self.slots {
            for _ in 0..2 * self.slots {
                let sent = self.send_one(&mut state)?;
                let received = self.receive_one(&mut state)?;
                let passed = sent && received;
                Violation::when(!passed, Kind::Wedged, || format!("nothing passes {stopped}: {state:?}"))?;
            }
        }
        Ok(())
    }

    fn survives_stops(&self, state: &State) -> Result<(), Violation> {
        for (i, peer) in state.producers[..self.producers].iter().enumerate() {
            if peer.at != ProducerAt::Idle || peer.life == Life::Sweeping {
                self.goes_on_without(state, producer_index(i))?;
            }
        }
        for (i, peer) in state.consumers[..self.consumers].iter().enumerate() {
            if peer.at != ConsumerAt::Idle || peer.life == Life::Sweeping {
                self.goes_on_without(state, consumer_index(i))?;
            }
        }
        Ok(())
    }

    /// A fresh producer sends one message of its own; whether there was room.
    fn send_one(&self, state: &mut State) -> Result<bool, Violation> {
        state.ledger = Ledger::EMPTY;
        state.producers[self.producers] = Producer::new(1);
        self.finish_producer(state, self.producers)?;
        Ok(state.ledger.returned & self.bits(self.probe()) != 0)
    }

    /// A fresh consumer receives; whether there was a message.
    fn receive_one(&self, state: &mut State) -> Result<bool, Violation> {
        let taken = state.ledger.taken;
        state.consumers[self.consumers] = Consumer::new(1);
        self.finish_consumer(state, self.consumers)?;
        Ok(state.ledger.taken != taken)
    }

    fn receive_all(&self, state: &mut State) -> Result<(), Violation> {
        while self.receive_one(state)? {}
        Ok(())
    }

    /// Runs a producer alone to the end of its call.
    fn finish_producer(&self, state: &mut State, i: usize) -> Result<(), Violation> {
        let begins = state.producers[i].left != 0 && i == self.producers;
        self.alone(
            state,
            begins,
            |s| s.producers[i].at == ProducerAt::Idle,
            |s, next| producer::step(self, s, i, next),
        )?;
        state.drain(i);
        Ok(())
    }

    fn finish_consumer(&self, state: &mut State, i: usize) -> Result<(), Violation> {
        let begins = state.consumers[i].left != 0 && i == self.consumers;
        self.alone(state, begins, |s| s.consumers[i].at == ConsumerAt::Idle, |s, next| consumer::step(self, s, i, next))
    }

    /// Takes the last of the possible steps (the one that gets on) until the process is idle, reclaiming whatever the
    /// dead have left, as every call does.
    fn alone(
        &self,
        state: &mut State,
        mut begins: bool,
        idle: impl Fn(&State) -> bool,
        step: impl Fn(&State, &mut Steps<State>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let mut next = Vec::new();
        for _ in 0..60 * self.slots {
            if idle(state) && !begins {
                return Ok(());
            }
            begins = false;
            if state.crashes > 0 {
                mend::reclaim_all(self, state);
            }
            next.clear();
            step(state, &mut next)?;
            if let Some((_, after)) = next.pop() {
                *state = after;
                self.note_room(state);
            }
        }
        Err(Violation::new(Kind::Wedged, format!("a call does not end: {state:?}")))
    }
}

impl Model for Ring {
    type State = State;

    fn start(&self) -> State {
        assert!(self.producers as u8 * self.messages + self.births <= self.probe() && self.reclaimers <= RECLAIMERS);
        let skip = Producer::new(0).skip;
        let mut state = State {
            slots: [Slot { word: Word::free(0), skip, payload: [0; 2] }; SLOTS],
            tail: 0,
            head: 0,
            producers: [Producer::new(0); PRODUCERS],
            consumers: [Consumer::new(0); CONSUMERS],
            reclaimers: [Mender::IDLE; RECLAIMERS],
            sweep: Mender::IDLE,
            ledger: Ledger::EMPTY,
            crashes: 0,
            quarantines: 0,
            nacks: 0,
            births: 0,
        };
        state.producers[..self.producers].fill(Producer::new(self.messages));
        state.consumers[..self.consumers].fill(Consumer::new(self.receives));
        state
    }

    fn steps(&self, state: &State, next: &mut Steps<State>) -> Result<(), Violation> {
        self.peer_steps(state, next)?;
        self.kills(state, next);
        self.births(state, next);
        mend::reclaimer_steps(self, state, next);
        mend::sweep_step(self, state, next);
        next.iter_mut().for_each(|(_, after)| self.note_room(after));
        Ok(())
    }

    fn check(&self, state: &State, stuck: bool) -> Result<(), Violation> {
        if self.is_quiet(state) {
            return self.aftermath(state);
        }
        Violation::when(stuck, Kind::Wedged, || "nobody can go on".to_owned())?;
        // Whoever runs alone may quarantine as often as it has to.
        let unlimited = Ring { quarantines: u8::MAX, ..*self };
        if self.stops { unlimited.survives_stops(state) } else { Ok(()) }
    }
}
