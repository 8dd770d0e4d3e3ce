//! Giving back what the dead have left: reclaiming by anybody, and the sweep of a newcomer that takes over an index.

use crate::explore::Steps;
use crate::producer::retired;
use crate::ring::{Mistake, Ring};
use crate::state::{Life, MendAt as At, Mender, NOBODY, Phase, Skip, State, Word};

/// One exact compare-exchange.
enum Mend {
    Word(Word),
    Skip(Skip),
}

/// What is to be done next about a slot, and whose it is.
fn next_mend(ring: &Ring, word: Word, skip: Skip) -> Option<(u8, Mend)> {
    if skip.is_quarantined() {
        let target = retired(ring, skip);
        let mend = if word == target { Mend::Skip(Skip::settled(skip.next - 1)) } else { Mend::Word(target) };
        return Some((skip.owner, mend));
    }
    let unsettled = skip.next <= word.lap || skip.requests(word.lap);
    let free = Mend::Word(Word::free(word.lap + 1));
    match word.phase {
        Phase::Writing if ring.uses_skip() && unsettled && ring.mistake != Mistake::ReclaimUnsettled => {
            // Quarantined like a slow producer's, and then given back as it would: whoever stops half-way leaves a slot
            // that the others pass over.
            Some((
                word.owner,
                Mend::Skip(match ring.mistake {
                    Mistake::ReclaimSettlesFirst => Skip::settled(word.lap),
                    _ => Skip::quarantined(word.lap, word.owner),
                }),
            ))
        }
        Phase::Writing | Phase::Held => Some((word.owner, free)),
        _ => None,
    }
}

/// A sweep must leave nothing behind that could name the newcomer later: also the reads of its predecessor, which are
/// nobody's then, and requests, which would become quarantines in its name.
fn next_swept(ring: &Ring, word: Word, skip: Skip, owner: u8) -> Option<Mend> {
    if let Some((named, mend)) = next_mend(ring, word, skip) {
        return (named == owner).then_some(mend);
    }
    let named = if word.phase == Phase::Full { skip.owner } else { word.owner };
    if named != owner {
        return None;
    }
    match word.phase {
        Phase::Reading if ring.mistake == Mistake::SweepFreesReading => Some(Mend::Word(Word::free(word.lap + 1))),
        Phase::Reading => Some(Mend::Word(Word { owner: NOBODY, ..word })),
        Phase::Full if skip.requests(word.lap) && ring.mistake != Mistake::SweepOnlyClaims => {
            Some(Mend::Skip(Skip::settled(word.lap)))
        }
        _ => None,
    }
}

fn exchange(state: &mut State, mender: &Mender, mend: &Mend) {
    let slot = usize::from(mender.slot);
    match *mend {
        Mend::Word(target) => state.exchange(slot, mender.word, target),
        Mend::Skip(target) => state.exchange_skip(slot, mender.skip, target),
    };
}

/// Whether a reclaimer's question about an owner is answered by "dead".
fn counts_as_dead(ring: &Ring, state: &State, owner: u8) -> bool {
    match ring.mistake {
        Mistake::ReclaimUnasked => true,
        Mistake::SweepLate => state.is_dead(owner) || state.life_of(owner) == Life::Second,
        _ => state.is_dead(owner),
    }
}

/// The owner, if the slot as it is now is to be reclaimed.
pub(crate) fn reclaimable(ring: &Ring, state: &State, slot: usize) -> Option<u8> {
    let (owner, _) = next_mend(ring, state.slots[slot].word, state.slots[slot].skip)?;
    counts_as_dead(ring, state, owner).then_some(owner)
}

/// Everything that the reclaimers may do next. One may also be killed anywhere, for it owns nothing.
pub(crate) fn reclaimer_steps(ring: &Ring, state: &State, next: &mut Steps<State>) {
    for i in 0..ring.reclaimers {
        let mender = &state.reclaimers[i];
        let mut step = |mender: Mender| {
            let mut after = *state;
            after.reclaimers[i] = mender;
            next.push(("reclaimer", after));
        };
        match mender.at {
            At::Idle => {
                for (slot, here) in state.slots.iter().enumerate().take(ring.slots) {
                    let Some((owner, mend)) = next_mend(ring, here.word, here.skip) else { continue };
                    // A round that begins while the owner lives reads an older word, or the same one; so it has to be
                    // explored only if the exchange is on something that the owner does not change when it goes on.
                    let begins_early = matches!(mend, Mend::Skip(target) if target.is_quarantined());
                    if !begins_early && !counts_as_dead(ring, state, owner) {
                        continue;
                    }
                    let at = if ring.uses_skip() { At::LoadSkip } else { At::Query };
                    step(match ring.mistake {
                        Mistake::AskFirst => Mender { at: At::LoadSkip, slot: slot as u8, owner, ..Mender::IDLE },
                        _ => Mender { at, slot: slot as u8, word: here.word, ..Mender::IDLE },
                    });
                }
            }
            At::LoadSkip if ring.mistake == Mistake::AskFirst => {
                let here = state.slots[usize::from(mender.slot)];
                let mine = next_mend(ring, here.word, here.skip).is_some_and(|(owner, _)| owner == mender.owner);
                let read = Mender { at: At::Exchange, word: here.word, skip: here.skip, ..*mender };
                step(if mine { read } else { Mender::IDLE });
            }
            At::LoadSkip => {
                let skip = state.slots[usize::from(mender.slot)].skip;
                step(Mender { at: At::Query, skip, ..*mender });
            }
            At::Query => {
                step(match next_mend(ring, mender.word, mender.skip) {
                    Some((owner, _)) if !counts_as_dead(ring, state, owner) => Mender::IDLE,
                    Some((_, Mend::Skip(target)))
                        if target.is_quarantined() && ring.mistake != Mistake::ReclaimUnlooked =>
                    {
                        Mender { at: At::LookAgain, ..*mender }
                    }
                    Some(_) => Mender { at: At::Exchange, ..*mender },
                    None => Mender::IDLE,
                });
            }
            // The exchange is on the skip word, so it does not notice what the owner stored into the word before it died.
            At::LookAgain => {
                let same = state.slots[usize::from(mender.slot)].word == mender.word;
                step(if same { Mender { at: At::Exchange, ..*mender } } else { Mender::IDLE });
            }
            At::Exchange => {
                let mut after = *state;
                after.reclaimers[i] = Mender::IDLE;
                if let Some((_, mend)) = next_mend(ring, mender.word, mender.skip) {
                    exchange(&mut after, mender, &mend);
                }
                next.push(("reclaimer", after));
            }
        }
        if mender.at != At::Idle {
            let mut after = *state;
            after.reclaimers[i] = Mender::IDLE;
            next.push(("abandoned", after));
        }
    }
}

/// Reclaims everything at once.
pub(crate) fn reclaim_all(ring: &Ring, state: &mut State) {
    for slot in 0..ring.slots {
        while let Some((owner, mend)) = next_mend(ring, state.slots[slot].word, state.slots[slot].skip) {
            if !state.is_dead(owner) {
                break;
            }
            let mender =
                Mender { slot: slot as u8, word: state.slots[slot].word, skip: state.slots[slot].skip, ..Mender::IDLE };
            exchange(state, &mender, &mend);
        }
    }
}

/// The next step of the newcomer that sweeps, if there is one.
pub(crate) fn sweep_step(ring: &Ring, state: &State, next: &mut Steps<State>) {
    let sweep = state.sweep;
    if sweep.owner == 0 {
        return;
    }
    let mut after = *state;
    let here = state.slots[usize::from(sweep.slot)];
    match sweep.at {
        At::Idle => {
            after.sweep.word = here.word;
            after.sweep.at = if ring.uses_skip() { At::LoadSkip } else { At::Exchange };
        }
        At::LoadSkip => {
            after.sweep.skip = here.skip;
            after.sweep.at = At::Exchange;
        }
        At::Query | At::LookAgain => unreachable!("a sweep does not ask for its own life"),
        At::Exchange => {
            let mut slot = sweep.slot;
            match next_swept(ring, sweep.word, sweep.skip, sweep.owner) {
                Some(mend) => exchange(&mut after, &sweep, &mend),
                None => slot += 1,
            }
            after.sweep = Mender { slot, owner: sweep.owner, ..Mender::IDLE };
            if usize::from(slot) == ring.slots {
                *after.life(sweep.owner) = Life::Second;
                after.sweep = Mender::IDLE;
            }
        }
    }
    next.push(("sweep", after));
}
