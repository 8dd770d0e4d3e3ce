//! The steps of a consumer. Each is one access to the region, and what follows from it.

use crate::explore::{Kind, Steps, Violation};
use crate::ledger::bit;
use crate::ring::{Mistake, Ring};
use crate::state::{ConsumerAt as At, Life, NOBODY, Phase, Skip, SkipKind, Slot, State, Word, consumer_index};

const NAMES: [&str; 3] = ["consumer 0", "consumer 1", "consumer 2"];

/// Everything that consumer `i` may do next; where there is a choice, the last one gets on.
pub(crate) fn step(ring: &Ring, state: &State, i: usize, next: &mut Steps<State>) -> Result<(), Violation> {
    let consumer = &state.consumers[i];
    let alive = !matches!(consumer.life, Life::Dead | Life::Sweeping);
    if alive && (consumer.at != At::Idle || consumer.left > 0) {
        act(ring, state, i, next)?;
    }
    Ok(())
}

fn act(ring: &Ring, before: &State, i: usize, next: &mut Steps<State>) -> Result<(), Violation> {
    let me = consumer_index(i);
    let consumer = before.consumers[i];
    let slot = ring.slot(consumer.ticket);
    let lap = ring.lap(consumer.ticket);
    let here = before.slots[slot];
    let mut state = *before;
    let own = &mut state.consumers[i];
    match consumer.at {
        At::Idle => {
            // The probe's `Empty` is judged by what is missing then.
            if i < ring.consumers {
                own.sure = before.completed() & !before.ledger.taken & !before.being_read();
            }
            own.ticket = before.head;
            own.at = At::Look;
        }
        At::Look => {
            own.word = here.word;
            if ring.uses_skip() {
                own.at = At::LookSkip;
            } else {
                judge(ring, &mut state, i, here.word)?;
            }
        }
        At::LookSkip => {
            own.skip = here.skip;
            match here.skip.applied_to(consumer.word) {
                Some(word) => judge(ring, &mut state, i, word)?,
                None => own.look(),
            }
        }
        At::Help => {
            own.look();
            state.exchange_skip(slot, consumer.skip, Skip::settled(lap));
        }
        At::Copy => {
            own.copy[0] = here.payload[0];
            own.at = At::CopyRest;
        }
        At::CopyRest => {
            own.copy[1] = here.payload[1];
            own.at = At::Take;
        }
        At::Take if ring.packed => return take_packed(ring, before, i, next),
        At::Take => {
            own.look();
            if state.exchange(slot, consumer.word, Word::free(lap + 1)) {
                state.consumers[i].at = At::Hint;
                let message = state.ledger.take(consumer.copy)?;
                state.gone(message);
            }
        }
        At::Hint => {
            state.head = consumer.ticket + u8::from(!consumer.left_one);
            state.consumers[i].rest();
        }
        At::Ahead => {
            let behind = before.slots[ring.slot(consumer.ticket + 1)].word;
            own.ahead = behind;
            if ring.uses_skip() {
                own.at = At::AheadSkip;
            } else {
                return behind_is(ring, &state, i, Some(behind), next);
            }
        }
        At::AheadSkip => {
            let skip = before.slots[ring.slot(consumer.ticket + 1)].skip;
            return behind_is(ring, &state, i, skip.applied_to(consumer.ahead), next);
        }
        At::Hold => {
            own.look();
            if state.exchange(slot, consumer.word, Word { phase: Phase::Held, ..consumer.word }) {
                state.consumers[i].ticket += 1;
            }
        }
        At::LoadSkip => load_skip(&mut state, i, here.skip, lap),
        At::Request => {
            let request = Skip::requested(lap, consumer.word.owner);
            own.at = At::LoadSkip;
            if state.exchange_skip(slot, consumer.skip, request) {
                state.consumers[i].skip = request;
                state.consumers[i].at = At::Barrier;
            }
        }
        At::Barrier => {
            own.at = At::Recheck;
            if ring.mistake != Mistake::NoMembarrier {
                (0..ring.producers).for_each(|producer| state.drain(producer));
            }
        }
        At::Recheck => {
            if here.word == consumer.word {
                own.at = At::Quarantine;
            } else {
                own.look();
            }
        }
        At::Quarantine => {
            own.look();
            let quarantined = Skip { kind: SkipKind::Quarantined, ..consumer.skip };
            if state.exchange_skip(slot, consumer.skip, quarantined) {
                state.consumers[i].ticket += 1;
            }
        }
        At::Acquire => {
            let reading = Word::new(Phase::Reading, lap, me);
            own.look();
            if state.exchange(slot, consumer.word, reading) {
                state.consumers[i].at = At::ReadHint;
                let message = state.ledger.deliver(here.payload)?;
                state.gone(message);
            }
        }
        At::ReadHint => {
            own.at = At::Read;
            state.head = consumer.ticket + 1;
        }
        At::Read => {
            own.copy[0] = here.payload[0];
            own.at = At::ReadRest;
        }
        At::ReadRest => {
            own.copy[1] = here.payload[1];
            own.at = At::AckLook;
        }
        At::AckLook => return choose_answer(ring, &state, i, here, next),
        At::Ack => {
            if !state.exchange(slot, consumer.word, consumer.ahead) {
                own_at(&mut state, i, At::AckLook);
            } else {
                state.consumers[i].rest();
                if consumer.ahead.phase == Phase::Free {
                    state.ledger.acknowledge(consumer.copy)?;
                }
            }
        }
        At::Scan => {
            let waits = |slot: &Slot| slot.word.phase == Phase::Reading && may_redeliver(ring, before, slot.word.owner);
            if before.slots[..ring.slots].iter().any(waits) {
                if consumer.word.phase == Phase::Writing && !consumer.skip.is_quarantined() && consumer.word.lap == lap
                {
                    // A message waits behind this slot after all.
                    overtake(ring, before, i, next);
                    return Ok(());
                }
                own.at = At::Query;
            } else {
                empty(&mut state, i)?;
            }
        }
        At::Query => {
            let word = consumer.word;
            let dead = word.phase == Phase::Reading && may_redeliver(ring, before, word.owner);
            own.at = if dead && !consumer.skip.is_quarantined() { At::Redeliver } else { At::Push };
        }
        At::Redeliver => {
            own.look();
            if state.exchange(slot, consumer.word, Word::new(Phase::Full, lap, 0)) {
                state.ledger.redelivered |= bit(here.payload[0] - 1);
            }
        }
        At::Push => push(&mut state, i, slot),
    }
    next.push((NAMES[i], state));
    Ok(())
}

/// Takes the first message that is left in a packed slot, or all.
fn take_packed(ring: &Ring, before: &State, i: usize, next: &mut Steps<State>) -> Result<(), Violation> {
    let consumer = before.consumers[i];
    let (slot, left) = (ring.slot(consumer.ticket), consumer.word.owner);
    for taken in 1..=left {
        let mut state = *before;
        let rest = left - taken;
        let word = if rest == 0 { Word::free(consumer.word.lap + 1) } else { Word { owner: rest, ..consumer.word } };
        state.consumers[i].look();
        let is_mine = if rest > 0 && ring.mistake == Mistake::TakeByStore {
            state.slots[slot].word = word;
            true
        } else {
            state.exchange(slot, consumer.word, word)
        };
        if is_mine {
            state.consumers[i].at = At::Hint;
            state.consumers[i].left_one = rest > 0;
            for place in 2 - left..2 - rest {
                let message = state.ledger.take_one(consumer.copy[usize::from(place)], place)?;
                state.gone(message);
            }
        }
        next.push((NAMES[i], state));
    }
    Ok(())
}

fn own_at(state: &mut State, i: usize, at: At) {
    state.consumers[i].at = at;
}

/// What a word means to a consumer that wants this ticket.
fn judge(ring: &Ring, state: &mut State, i: usize, word: Word) -> Result<(), Violation> {
    let own = &mut state.consumers[i];
    let lap = ring.lap(own.ticket);
    if word.lap > lap {
        // A free slot may have been given back before its turn: only the ticket one lap before its last is settled.
        let back = if word.phase == Phase::Free && ring.mistake != Mistake::FarJumpOnFree { 2 } else { 1 };
        own.ticket = ring.beyond(own.ticket, word, back);
        own.look();
    } else if word.lap < lap || word.phase == Phase::Free {
        if !ring.ack {
            return empty(state, i);
        }
        own.at = At::Scan;
    } else {
        match word.phase {
            Phase::Full if ring.uses_skip() && own.skip.requests(lap) => own.at = At::Help,
            Phase::Full => own.at = if ring.ack { At::Acquire } else { At::Copy },
            Phase::Writing => own.at = At::Ahead,
            _ => {
                own.ticket += 1;
                own.look();
            }
        }
    }
    Ok(())
}

/// The receive returns `Empty`.
fn empty(state: &mut State, i: usize) -> Result<(), Violation> {
    let own = &mut state.consumers[i];
    Violation::when(own.sure != 0, Kind::FalseEmpty, || format!("consumer {i}, messages {:b}", own.sure))?;
    own.rest();
    Ok(())
}

/// If nothing is claimed behind a slot that is being written, nothing has to wait for it.
fn behind_is(
    ring: &Ring,
    state: &State,
    i: usize,
    word: Option<Word>,
    next: &mut Steps<State>,
) -> Result<(), Violation> {
    let lap = ring.lap(state.consumers[i].ticket + 1);
    let claimed = word.is_none_or(|word| word.lap > lap || (word.lap == lap && word.phase != Phase::Free));
    if claimed {
        overtake(ring, state, i, next);
    } else {
        let mut after = *state;
        after.consumers[i].ahead = Word::free(0);
        after.consumers[i].at = At::Scan;
        if !ring.ack || ring.mistake == Mistake::EmptyUnscanned {
            empty(&mut after, i)?;
        }
        next.push((NAMES[i], after));
    }
    Ok(())
}

/// Is patient a little longer, or quarantines the slot that is being written.
fn overtake(ring: &Ring, state: &State, i: usize, next: &mut Steps<State>) {
    let mut after = *state;
    after.consumers[i].look();
    next.push((NAMES[i], after));
    if state.quarantines < ring.quarantines {
        let mut after = *state;
        after.quarantines += 1;
        after.consumers[i].ahead = Word::free(0);
        after.consumers[i].at = if ring.uses_skip() { At::LoadSkip } else { At::Hold };
        next.push((NAMES[i], after));
    }
}

fn load_skip(state: &mut State, i: usize, skip: Skip, lap: u8) {
    let own = &mut state.consumers[i];
    if skip.requests(lap) {
        // Whoever requested it, anybody may finish it.
        own.skip = skip;
        own.at = At::Barrier;
    } else if skip.next > lap {
        own.look();
    } else {
        own.skip = skip;
        own.at = At::Request;
    }
}

/// Acknowledges, or hands the message back.
fn choose_answer(ring: &Ring, state: &State, i: usize, here: Slot, next: &mut Steps<State>) -> Result<(), Violation> {
    let word = here.word;
    let mine = word.phase == Phase::Reading && word.owner == consumer_index(i);
    Violation::when(!mine, Kind::Dispossessed, || format!("consumer {i} finds {here:?}"))?;
    let mut answer = |target: Word, nacks: u8| {
        let mut after = *state;
        after.nacks += nacks;
        after.consumers[i].word = word;
        after.consumers[i].ahead = target;
        after.consumers[i].at = At::Ack;
        next.push((NAMES[i], after));
    };
    if state.nacks < ring.nacks {
        answer(Word { owner: NOBODY, ..word }, 1);
    }
    answer(Word::free(word.lap + 1), 0);
    Ok(())
}

fn may_redeliver(ring: &Ring, state: &State, reader: u8) -> bool {
    state.is_dead(reader) || ring.mistake == Mistake::RedeliverUnasked
}

/// Uses up the frontier's ticket, so that a dead reader's slot comes nearer.
fn push(state: &mut State, i: usize, slot: usize) {
    let consumer = state.consumers[i];
    let pushed = if consumer.skip.is_quarantined() {
        let next = Skip { next: consumer.skip.next + 1, ..consumer.skip };
        state.exchange_skip(slot, consumer.skip, next)
    } else {
        state.exchange(slot, consumer.word, consumer.word.bumped())
    };
    state.consumers[i].look();
    if pushed {
        state.consumers[i].ticket += 1;
    }
}
