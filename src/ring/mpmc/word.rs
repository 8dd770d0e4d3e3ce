//! The two words at the head of a slot, taken apart.
//!
//! ```text
//! word  lap:48 | owner:12 | redelivered:1 | phase:3                 FULL: first:6 | behind:6 in place of the owner
//! skip  lap+1:48 | owner:12 | 0:2 | kind:2            all zero: never
//! ```

use crate::layout::SLOT_MESSAGES_MAX;

/// A slot's phase: who may do what next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A producer may claim the slot for this lap.
    Free,
    /// Its owner writes the payload.
    Writing,
    /// Messages are published, of which the first ones may be taken.
    Full,
    /// Passed over: its owner was too slow to write it, and gives it back when it goes on.
    Held,
    /// Taken under a guard by its owner; [`NOBODY`] if it waits for its redelivery.
    Reading,
}

/// The owner that is always dead.
pub(super) const NOBODY: usize = 0xFFF;

const PHASE_BITS: u64 = 0b111;
const REDELIVERED: u64 = 1 << 3;
const OWNER_SHIFT: u32 = 4;
const LAP_SHIFT: u32 = 16;
const BEHIND_SHIFT: u32 = OWNER_SHIFT;
const FIRST_SHIFT: u32 = 10;
const RUN_MASK: u64 = SLOT_MESSAGES_MAX as u64 - 1;

/// A slot's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    /// The largest number that the lap's bits hold.
    pub(super) const LAST_LAP: u64 = (1 << (64 - LAP_SHIFT)) - 1;

    #[inline(always)]
    pub(super) const fn new(lap: u64, phase: Phase, owner: usize) -> Self {
        Self(lap << LAP_SHIFT | (owner as u64 & 0xFFF) << OWNER_SHIFT | phase as u64)
    }

    #[inline(always)]
    pub(super) const fn free(lap: u64) -> Self {
        Self::new(lap, Phase::Free, 0)
    }

    /// So many messages are published, at least 1 and at most [`SLOT_MESSAGES_MAX`].
    #[inline(always)]
    pub(super) const fn full(lap: u64, messages: usize) -> Self {
        Self::new(lap, Phase::Full, messages - 1)
    }

    /// As `self`, in another phase.
    pub(super) const fn with(self, phase: Phase, owner: usize) -> Self {
        Self(Self::new(self.lap(), phase, owner).0 | self.0 & REDELIVERED)
    }

    /// As `self`, one lap on: what the ticket of that lap comes to.
    pub(super) const fn bumped(self) -> Self {
        Self(self.0.wrapping_add(1 << LAP_SHIFT))
    }

    pub(super) const fn redelivered(self) -> Self {
        Self(self.0 | REDELIVERED)
    }

    #[inline(always)]
    pub(super) const fn lap(self) -> u64 {
        self.0 >> LAP_SHIFT
    }

    pub(super) const fn owner(self) -> usize {
        (self.0 >> OWNER_SHIFT & 0xFFF) as usize
    }

    pub(super) const fn is_redelivered(self) -> bool {
        self.0 & REDELIVERED != 0
    }

    /// `None` for a number that no correct peer writes.
    #[inline(always)]
    pub(super) const fn phase(self) -> Option<Phase> {
        Some(match self.0 & PHASE_BITS {
            0 => Phase::Free,
            1 => Phase::Writing,
            2 => Phase::Full,
            3 => Phase::Held,
            4 => Phase::Reading,
            _ => return None,
        })
    }

    /// FULL: which messages are left, in a ring with at most so many in a slot. `None` for numbers that no correct peer writes.
    #[inline(always)]
    pub(super) const fn run(self, most: usize) -> Option<Run> {
        let first = (self.0 >> FIRST_SHIFT & RUN_MASK) as usize;
        let length = (self.0 >> BEHIND_SHIFT & RUN_MASK) as usize + 1;
        if first + length <= most { Some(Run { first, length }) } else { None }
    }

    /// As [`Word::run`], if this is FULL in that lap.
    #[inline(always)]
    pub(super) const fn run_in(self, lap: u64, most: usize) -> Option<Run> {
        if self.0 & PHASE_BITS == Phase::Full as u64 && self.lap() == lap { self.run(most) } else { None }
    }

    /// As [`Word::run_in`], where a slot has one message.
    #[inline(always)]
    pub(super) const fn single_in(self, lap: u64) -> Option<Run> {
        if self.0 & !REDELIVERED == Self::full(lap, 1).0 { Some(Run::SINGLE) } else { None }
    }

    /// FULL: what becomes of the word when so many of the messages in `run` are taken, at least one of them and at most all.
    #[inline(always)]
    pub(super) const fn without(self, taken: usize, run: Run) -> Self {
        if taken == run.length {
            Self::free(self.lap().wrapping_add(1))
        } else {
            let taken = taken as u64;
            Self(self.0.wrapping_add(taken << FIRST_SHIFT).wrapping_sub(taken << BEHIND_SHIFT))
        }
    }
}

/// Messages that lie one behind the other in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: usize,
    pub(super) length: usize,
}

impl Run {
    /// The message of a slot that was sent alone.
    pub(super) const SINGLE: Self = Self { first: 0, length: 1 };
}

/// What a skip word says about a ticket of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Settled: nobody may quarantine it any more.
    Pub,
    /// Somebody thinks about quarantining it.
    Req,
    /// Quarantined, whatever the word says.
    Quar,
}

/// A slot's skip word, by which mode A quarantines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skip(pub(super) u64);

impl Skip {
    pub(super) const fn new(lap: u64, kind: Kind, owner: usize) -> Self {
        Self(lap.wrapping_add(1) << LAP_SHIFT | (owner as u64 & 0xFFF) << OWNER_SHIFT | kind as u64)
    }

    pub(super) const fn settled(lap: u64) -> Self {
        Self::new(lap, Kind::Pub, 0)
    }

    /// Laps that it speaks about: those below this one, and the last of them in particular.
    pub(super) const fn laps(self) -> u64 {
        self.0 >> LAP_SHIFT
    }

    pub(super) const fn owner(self) -> usize {
        (self.0 >> OWNER_SHIFT & 0xFFF) as usize
    }

    /// `None` for a number that no correct peer writes.
    pub(super) const fn kind(self) -> Option<Kind> {
        Some(match self.0 & 0b1111 {
            0 => Kind::Pub,
            1 => Kind::Req,
            2 => Kind::Quar,
            _ => return None,
        })
    }

    #[inline(always)]
    pub(super) const fn is_settled(self) -> bool {
        self.0 & 0b1111 == Kind::Pub as u64
    }

    /// Whether somebody thinks about quarantining the ticket of this lap.
    pub(super) const fn requests(self, lap: u64) -> bool {
        self.0 & 0b1111 == Kind::Req as u64 && self.laps() == lap + 1
    }

    pub(super) const fn bumped(self) -> Self {
        Self(self.0.wrapping_add(1 << LAP_SHIFT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_region_is_free_in_lap_0_and_never_skipped() {
        assert_eq!(Word::free(0), Word(0));
        assert_eq!((Skip(0).kind(), Skip(0).laps()), (Some(Kind::Pub), 0));
    }

    #[test]
    fn messages_are_taken_from_the_front_of_a_run() {
        let word = Word::full(7, 5).redelivered();
        let run = word.run(5).unwrap();
        assert_eq!(run, Run { first: 0, length: 5 });
        assert_eq!(
            (word.run_in(7, 5), word.run_in(8, 5), word.run(4), word.single_in(7)),
            (Some(run), None, None, None)
        );
        let rest = word.without(2, run);
        assert!(rest.phase() == Some(Phase::Full) && rest.lap() == 7 && rest.is_redelivered());
        assert_eq!(rest.run(5), Some(Run { first: 2, length: 3 }));
        assert_eq!(rest.without(3, rest.run(5).unwrap()), Word::free(8));
        let single = Word::full(7, 1);
        assert_eq!(
            (single.run(1), single.single_in(7), single.single_in(8)),
            (Some(Run::SINGLE), Some(Run::SINGLE), None)
        );
        assert_eq!(single.redelivered().single_in(7), Some(Run::SINGLE));
        assert_eq!(
            Word::full(0, SLOT_MESSAGES_MAX).run(SLOT_MESSAGES_MAX).map(|run| run.length),
            Some(SLOT_MESSAGES_MAX)
        );
    }

    #[test]
    fn words_come_apart_as_they_were_put_together() {
        for (lap, phase, owner) in
            [(0, Phase::Writing, 0), (1, Phase::Reading, 4094), ((1 << 48) - 1, Phase::Held, NOBODY)]
        {
            let word = Word::new(lap, phase, owner);
            assert_eq!(
                (word.lap(), word.phase(), word.owner(), word.is_redelivered()),
                (lap, Some(phase), owner, false)
            );
            let again = word.redelivered().with(Phase::Reading, 7);
            assert_eq!((again.lap(), again.phase(), again.owner()), (lap, Some(Phase::Reading), 7));
            assert!(again.is_redelivered() && again.bumped().is_redelivered());
        }
        assert!((5..8).all(|phase| Word(phase).phase().is_none()));
        let skip = Skip::new(41, Kind::Req, 9);
        assert_eq!((skip.laps(), skip.kind(), skip.owner()), (42, Some(Kind::Req), 9));
        assert!(skip.requests(41) && !skip.requests(40) && !skip.bumped().requests(41));
        assert!((3..16).all(|kind| Skip(kind).kind().is_none()));
    }
}
