//! The steps of a producer. Each is one access to the region, and what follows from it.

use crate::explore::{Kind, Steps, Violation};
use crate::ledger::bit;
use crate::ring::{Mistake, Publish, Ring};
use crate::state::{Buffered, Life, Phase, Producer, ProducerAt as At, Skip, State, Word, producer_index};

const NAMES: [&str; 4] = ["producer 0", "producer 1", "producer 2", "producer 3"];

/// Everything that producer `i` may do next.
pub(crate) fn step(ring: &Ring, state: &State, i: usize, next: &mut Steps<State>) -> Result<(), Violation> {
    let producer = &state.producers[i];
    if matches!(producer.life, Life::Dead | Life::Sweeping) {
        return Ok(());
    }
    if producer.buffer.pending {
        let mut after = *state;
        after.drain(i);
        next.push(("store buffer", after));
    }
    if producer.at != At::Idle || producer.left > 0 {
        let mut after = *state;
        act(ring, &mut after, i)?;
        next.push((NAMES[i], after));
    }
    Ok(())
}

fn act(ring: &Ring, state: &mut State, i: usize) -> Result<(), Violation> {
    let me = producer_index(i);
    let producer = state.producers[i];
    let slot = ring.slot(producer.ticket);
    let lap = ring.lap(producer.ticket);
    let here = state.slots[slot];
    let own = |phase| Word::new(phase, lap, me);
    match producer.at {
        At::Idle => begin(ring, state, i),
        At::Look => {
            let word = seen_by(&producer, slot, here.word);
            state.producers[i].word = word;
            if ring.uses_skip() {
                state.producers[i].at = At::LookSkip;
            } else {
                judge(ring, state, i, word)?;
            }
        }
        At::LookSkip => {
            state.producers[i].skip = here.skip;
            match here.skip.applied_to(producer.word) {
                Some(word) => judge(ring, state, i, word)?,
                None => state.producers[i].at = At::Look,
            }
        }
        At::Claim => {
            state.drain(i);
            let claimed = state.exchange(slot, Word::free(lap), own(Phase::Writing));
            state.producers[i].skip = Producer::new(0).skip;
            state.producers[i].word = own(Phase::Writing);
            state.producers[i].at = if claimed { At::Fill } else { At::Look };
        }
        At::Fill => {
            state.slots[slot].payload[0] = ring.payload(producer.message)[0];
            state.producers[i].at = At::FillRest;
        }
        At::FillRest => {
            state.slots[slot].payload[1] = ring.payload(producer.message)[1];
            state.producers[i].at = At::Publish;
        }
        At::Publish => match ring.publish {
            Publish::Exchange => publish_by_exchange(ring, state, i),
            Publish::Store => {
                let (word, messages) = (ring.full(lap), ring.bits(producer.message));
                state.producers[i].buffer = Buffered { pending: true, slot: slot as u8, word, messages };
                state.producers[i].at = At::Glance;
            }
        },
        At::Glance => {
            let asked = here.skip.next > lap && here.skip != Skip::settled(here.skip.next - 1);
            if asked {
                state.producers[i].at = At::Fence;
            } else {
                counts(ring, state, i);
            }
        }
        At::Fence => {
            state.drain(i);
            state.producers[i].at = At::SettleSkip;
        }
        At::SettleSkip => {
            state.producers[i].skip = here.skip;
            state.producers[i].at = At::SettleWord;
        }
        At::SettleWord => {
            let taken = here.word != ring.full(lap);
            if !taken && producer.skip.requests(lap) {
                state.producers[i].at = At::Refuse;
            } else if !taken && producer.skip.is_quarantined() {
                state.producers[i].at = At::Retire;
            } else {
                counts(ring, state, i);
            }
        }
        At::Refuse => {
            if state.exchange_skip(slot, producer.skip, Skip::settled(lap)) {
                counts(ring, state, i);
            } else {
                state.producers[i].at = At::SettleSkip;
            }
        }
        At::Retire => {
            let word = retired(ring, producer.skip);
            let messages = ring.bits(producer.message);
            state.ledger.published &= !messages;
            state.producers[i].buffer = Buffered { pending: true, slot: slot as u8, word, messages };
            state.producers[i].at = At::Unskip;
        }
        At::Unskip => {
            state.drain(i);
            let settled = Skip::settled(producer.skip.next - 1);
            if !state.exchange_skip(slot, producer.skip, settled) {
                state.producers[i].skip = here.skip;
                state.producers[i].at = At::Retire;
            } else if ring.mistake == Mistake::FreeWhileQuarantined {
                restart(ring, state, i);
            } else {
                state.producers[i].at = At::ReturnLook;
            }
        }
        At::ReturnLook => {
            let mine = here.word.phase == Phase::Held && here.word.owner == me;
            Violation::when(!mine, Kind::Dispossessed, || format!("producer {i} finds {here:?}"))?;
            state.producers[i].word = here.word;
            state.producers[i].at = At::Return;
        }
        At::Return => {
            if state.exchange(slot, producer.word, Word::free(producer.word.lap + 1)) {
                restart(ring, state, i);
            } else {
                state.producers[i].at = At::ReturnLook;
            }
        }
        At::Query => {
            let dead = state.is_dead(producer.word.owner) || ring.mistake == Mistake::RedeliverUnasked;
            state.producers[i].at = if dead { At::Redeliver } else { At::Bump };
        }
        At::Bump => {
            state.drain(i);
            let bumped = if producer.skip.is_quarantined() {
                let next = Skip { next: producer.skip.next + 1, ..producer.skip };
                state.exchange_skip(slot, producer.skip, next)
            } else {
                state.exchange(slot, producer.word, producer.word.bumped())
            };
            passed(state, i, bumped);
        }
        At::Redeliver => {
            state.drain(i);
            let given = state.exchange(slot, producer.word, Word::new(Phase::Full, lap, 0));
            if given {
                state.ledger.redelivered |= bit(here.payload[0] - 1);
            }
            passed(state, i, given);
        }
        At::Hint => {
            state.tail = producer.ticket + 1;
            state.ledger.returned |= ring.bits(producer.message);
            state.producers[i].rest();
        }
    }
    Ok(())
}

/// A producer sees its own store before others do.
fn seen_by(producer: &Producer, slot: usize, word: Word) -> Word {
    let buffer = &producer.buffer;
    if buffer.pending && usize::from(buffer.slot) == slot { buffer.word } else { word }
}

fn begin(ring: &Ring, state: &mut State, i: usize) {
    let own = &state.producers[i];
    let message = if i == ring.producers {
        ring.probe()
    } else if own.life == Life::Second {
        own.message
    } else {
        i as u8 * ring.messages + (ring.messages - own.left)
    };
    let unseen = if own.buffer.pending { own.buffer.messages } else { 0 };
    let before = state.completed() | unseen;
    let [first, second] = ring.payload(message).map(|payload| payload - 1);
    state.ledger.before[usize::from(first)] = before;
    if first != second {
        state.ledger.before[usize::from(second)] = before | bit(first);
    }
    state.producers[i].message = message;
    state.producers[i].roomy = ring.counts_room();
    restart(ring, state, i);
}

/// Begins at the hint, with nothing held.
fn restart(ring: &Ring, state: &mut State, i: usize) {
    let own = &mut state.producers[i];
    let rested = Producer { left: own.left, life: own.life, buffer: own.buffer, ..Producer::new(0) };
    *own = Producer { message: own.message, bumps: own.bumps, roomy: own.roomy, ..rested };
    own.ticket = state.tail;
    own.at = if ring.blind { At::Claim } else { At::Look };
}

/// What a word means to a producer that wants this ticket.
fn judge(ring: &Ring, state: &mut State, i: usize, word: Word) -> Result<(), Violation> {
    let full = usize::from(state.producers[i].bumps) == ring.slots;
    let own = &mut state.producers[i];
    let lap = ring.lap(own.ticket);
    own.at = At::Look;
    if word == Word::free(lap) {
        own.at = At::Claim;
    } else if word.lap >= lap {
        own.ticket = ring.beyond(own.ticket, word, 1);
    } else {
        let wrong = word.lap + 1 != lap || word.phase == Phase::Free;
        Violation::when(wrong, Kind::Impossible, || format!("{word:?} at ticket {}", own.ticket))?;
        match word.phase {
            Phase::Held if !full => own.at = At::Bump,
            Phase::Reading if !full => own.at = At::Query,
            _ => return refuse(ring, state, i),
        }
    }
    Ok(())
}

/// The send returns `Full`.
fn refuse(ring: &Ring, state: &mut State, i: usize) -> Result<(), Violation> {
    let own = &mut state.producers[i];
    Violation::when(own.roomy, Kind::FalseFull, || format!("producer {i} at ticket {}", own.ticket))?;
    state.ledger.refused |= ring.bits(own.message);
    own.rest();
    Ok(())
}

fn publish_by_exchange(ring: &Ring, state: &mut State, i: usize) {
    let own = state.producers[i];
    let slot = ring.slot(own.ticket);
    let full = ring.full(own.word.lap);
    if ring.mistake == Mistake::PlainPublish {
        state.slots[slot].word = full;
    } else if !state.exchange(slot, own.word, full) {
        state.producers[i].at = At::ReturnLook;
        return;
    }
    state.ledger.published |= ring.bits(own.message);
    counts(ring, state, i);
}

/// From here on the message must not get lost.
fn counts(ring: &Ring, state: &mut State, i: usize) {
    state.ledger.owed |= ring.bits(state.producers[i].message);
    state.producers[i].at = At::Hint;
}

/// What the word of a quarantined slot becomes before the skip word gives it up.
pub(crate) fn retired(ring: &Ring, skip: Skip) -> Word {
    if ring.mistake == Mistake::FreeWhileQuarantined { Word::free(skip.next) } else { skip.held() }
}

/// After an attempt to pass a slot.
fn passed(state: &mut State, i: usize, done: bool) {
    let own = &mut state.producers[i];
    if done {
        own.ticket += 1;
        own.bumps += 1;
    }
    own.at = At::Look;
}
