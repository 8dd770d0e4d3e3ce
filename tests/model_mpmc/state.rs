//! What is in the region, and what each process keeps to itself.
//!
//! One byte a field: the search hashes and copies states by the million.

use std::fmt;

use zerocopy::{Immutable, IntoBytes};

use crate::ledger::{Ledger, bit};

/// The most of each that a state has room for; a model may use fewer.
pub(crate) const SLOTS: usize = 3;
/// The last producer and the last consumer are kept for the probe at the end.
pub(crate) const PRODUCERS: usize = 4;
pub(crate) const CONSUMERS: usize = 3;
pub(crate) const RECLAIMERS: usize = 2;

/// The owner index that nobody ever has, and that therefore always counts as dead.
pub(crate) const NOBODY: u8 = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
pub(crate) enum Phase {
    Free,
    Writing,
    Full,
    Held,
    Reading,
}

/// A slot's word.
#[derive(Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Word {
    pub(crate) phase: Phase,
    pub(crate) lap: u8,
    /// 0: none. Of a FULL word in a packed ring, how many of the two messages are left.
    pub(crate) owner: u8,
}

impl Word {
    pub(crate) fn new(phase: Phase, lap: u8, owner: u8) -> Self {
        Self { phase, lap, owner }
    }

    pub(crate) fn free(lap: u8) -> Self {
        Self::new(Phase::Free, lap, 0)
    }

    /// The same for the next lap: how a producer passes a slot that it cannot have.
    pub(crate) fn bumped(self) -> Self {
        Self { lap: self.lap + 1, ..self }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({},{})", self.phase, self.lap, self.owner)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
pub(crate) enum SkipKind {
    /// This ticket is settled: nobody may quarantine it any more.
    Settled,
    /// Somebody asks whether it may be quarantined.
    Requested,
    /// It is: the slot is its owner's, whatever the word says.
    Quarantined,
}

/// A slot's second word, which mode A needs.
#[derive(Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Skip {
    pub(crate) kind: SkipKind,
    /// One more than the lap that it speaks of, so that 0 speaks of none.
    pub(crate) next: u8,
    pub(crate) owner: u8,
}

impl Skip {
    pub(crate) fn settled(lap: u8) -> Self {
        Self { kind: SkipKind::Settled, next: lap + 1, owner: 0 }
    }

    pub(crate) fn requested(lap: u8, owner: u8) -> Self {
        Self { kind: SkipKind::Requested, next: lap + 1, owner }
    }

    pub(crate) fn quarantined(lap: u8, owner: u8) -> Self {
        Self { kind: SkipKind::Quarantined, next: lap + 1, owner }
    }

    pub(crate) fn is_quarantined(self) -> bool {
        self.kind == SkipKind::Quarantined
    }

    /// Whether this is an open request for exactly this lap.
    pub(crate) fn requests(self, lap: u8) -> bool {
        self.kind == SkipKind::Requested && self.next == lap + 1
    }

    /// The word in whose place a quarantine stands.
    pub(crate) fn held(self) -> Word {
        Word::new(Phase::Held, self.next - 1, self.owner)
    }

    /// What a slot is whose word was loaded first and whose skip word then; none if the two do not go together.
    pub(crate) fn applied_to(self, word: Word) -> Option<Word> {
        let limit = if word.phase == Phase::Free { word.lap } else { word.lap + 1 };
        if self.is_quarantined() {
            Some(self.held())
        } else if self.next > limit {
            None
        } else {
            Some(word)
        }
    }
}

impl fmt::Debug for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({},{})", self.kind, i16::from(self.next) - 1, self.owner)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Slot {
    pub(crate) word: Word,
    pub(crate) skip: Skip,
    /// Two words, so that a payload can be torn; each is the message's number plus one.
    pub(crate) payload: [u8; 2],
}

/// Whether the lease of an owner index is held, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
pub(crate) enum Life {
    First,
    Dead,
    /// A newcomer holds the lease of a dead peer's index, and sweeps.
    Sweeping,
    Second,
}

/// Where a producer is: the name says what its next step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
pub(crate) enum ProducerAt {
    /// Reads the tail hint, and begins a send.
    Idle,
    /// Loads the word.
    Look,
    /// Loads the skip word (mode A), and judges both.
    LookSkip,
    /// FREE to WRITING.
    Claim,
    /// Stores half of the payload.
    Fill,
    FillRest,
    /// Mode C: exchanges WRITING for FULL. Mode A: stores FULL, into the store buffer.
    Publish,
    /// Mode A: looks whether somebody asks to quarantine this slot.
    Glance,
    /// Somebody does: a full fence, then both words once more.
    Fence,
    SettleSkip,
    SettleWord,
    /// Refuses the request: the message counts.
    Refuse,
    /// Is quarantined: the word says so, too (or, as a mistake, says FREE already).
    Retire,
    /// ... the skip word no longer does.
    Unskip,
    /// Gives the held slot back.
    ReturnLook,
    Return,
    /// Asks for the life of a reader in the way.
    Query,
    /// Passes the slot by taking it into the next lap.
    Bump,
    /// Gives its own ticket to a dead reader's message.
    Redeliver,
    /// Stores the tail hint.
    Hint,
}

/// The one store of a producer that others may not see yet.
#[derive(Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Buffered {
    pub(crate) pending: bool,
    pub(crate) slot: u8,
    pub(crate) word: Word,
    /// Which messages it publishes.
    pub(crate) messages: u8,
}

impl Buffered {
    pub(crate) const NOTHING: Self =
        Self { pending: false, slot: 0, word: Word { phase: Phase::Free, lap: 0, owner: 0 }, messages: 0 };
}

#[derive(Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Producer {
    pub(crate) life: Life,
    pub(crate) at: ProducerAt,
    /// Sends still to do.
    pub(crate) left: u8,
    pub(crate) message: u8,
    pub(crate) ticket: u8,
    /// What was last read.
    pub(crate) word: Word,
    pub(crate) skip: Skip,
    pub(crate) bumps: u8,
    /// Whether a slot was free during the whole call so far.
    pub(crate) roomy: bool,
    pub(crate) buffer: Buffered,
}

impl Producer {
    pub(crate) fn new(left: u8) -> Self {
        Self {
            life: Life::First,
            at: ProducerAt::Idle,
            left,
            message: 0,
            ticket: 0,
            word: Word::free(0),
            skip: Skip { kind: SkipKind::Settled, next: 0, owner: 0 },
            bumps: 0,
            roomy: false,
            buffer: Buffered::NOTHING,
        }
    }

    /// Ready for the next call; nothing private outlives one.
    pub(crate) fn rest(&mut self) {
        *self = Self { life: self.life, buffer: self.buffer, ..Self::new(self.left - 1) };
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.life {
            Life::Dead | Life::Sweeping => return write!(f, "{:?}", self.life),
            _ => write!(f, "{:?} t{}", self.at, self.ticket)?,
        }
        if self.buffer.pending { write!(f, " +{:?}@{}", self.buffer.word, self.buffer.slot) } else { Ok(()) }
    }
}

/// Where a consumer is: the name says what its next step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
pub(crate) enum ConsumerAt {
    /// Reads the head hint, and begins a receive.
    Idle,
    Look,
    /// Loads the skip word (mode A), and judges both.
    LookSkip,
    /// Refuses a request in the name of a producer that has published.
    Help,
    /// Loads half of the payload.
    Copy,
    CopyRest,
    /// FULL to FREE.
    Take,
    /// Stores the head hint.
    Hint,
    /// Whether something is claimed behind a slot that is being written.
    Ahead,
    AheadSkip,
    /// Mode C: WRITING to HELD. Mode A: Request, Barrier, Recheck, Quarantine.
    Hold,
    LoadSkip,
    Request,
    Barrier,
    Recheck,
    Quarantine,
    /// Ack mode: FULL to READING.
    Acquire,
    ReadHint,
    Read,
    ReadRest,
    /// READING to FREE, or (a negative acknowledgement) to nobody's READING.
    AckLook,
    Ack,
    /// Would report `Empty`: whether a dead reader's message waits anywhere.
    Scan,
    /// Moves the frontier by one ticket towards it.
    Query,
    Push,
    Redeliver,
}

#[derive(Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Consumer {
    pub(crate) life: Life,
    pub(crate) at: ConsumerAt,
    /// Receives still to do.
    pub(crate) left: u8,
    pub(crate) ticket: u8,
    pub(crate) word: Word,
    pub(crate) skip: Skip,
    /// The word of the slot behind.
    pub(crate) ahead: Word,
    pub(crate) copy: [u8; 2],
    /// Whether a message was left in the slot.
    pub(crate) left_one: bool,
    /// The messages that could have been taken during the whole call so far.
    pub(crate) sure: u8,
}

impl Consumer {
    pub(crate) fn new(left: u8) -> Self {
        Self {
            life: Life::First,
            at: ConsumerAt::Idle,
            left,
            ticket: 0,
            word: Word::free(0),
            skip: Skip { kind: SkipKind::Settled, next: 0, owner: 0 },
            ahead: Word::free(0),
            copy: [0; 2],
            left_one: false,
            sure: 0,
        }
    }

    pub(crate) fn rest(&mut self) {
        *self = Self { life: self.life, ..Self::new(self.left - 1) };
    }

    /// Forgets what it has read, and looks at its ticket (again).
    pub(crate) fn look(&mut self) {
        *self = Self {
            life: self.life,
            ticket: self.ticket,
            sure: self.sure,
            at: ConsumerAt::Look,
            ..Self::new(self.left)
        };
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.life {
            Life::Dead | Life::Sweeping => write!(f, "{:?}", self.life),
            _ => write!(f, "{:?} t{}", self.at, self.ticket),
        }
    }
}

/// Where somebody is who gives a dead owner's slot back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
pub(crate) enum MendAt {
    /// Loads the word.
    Idle,
    LoadSkip,
    /// Asks for the owner's life. Not a step of a sweep, whose owner is the sweeper.
    Query,
    /// Loads the word once more, if the exchange is to be on the skip word.
    LookAgain,
    /// The one exact compare-exchange; what is left to do after it is another round's.
    Exchange,
}

/// A reclaimer (any peer, at any time) or a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Mender {
    pub(crate) at: MendAt,
    pub(crate) slot: u8,
    /// Whose slots are mended; a reclaimer learns it from the words.
    pub(crate) owner: u8,
    pub(crate) word: Word,
    pub(crate) skip: Skip,
}

impl Mender {
    pub(crate) const IDLE: Self = Self {
        at: MendAt::Idle,
        slot: 0,
        owner: 0,
        word: Word { phase: Phase::Free, lap: 0, owner: 0 },
        skip: Skip { kind: SkipKind::Settled, next: 0, owner: 0 },
    };
}

/// Everything.
#[derive(Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct State {
    pub(crate) slots: [Slot; SLOTS],
    pub(crate) tail: u8,
    pub(crate) head: u8,
    pub(crate) producers: [Producer; PRODUCERS],
    pub(crate) consumers: [Consumer; CONSUMERS],
    pub(crate) reclaimers: [Mender; RECLAIMERS],
    pub(crate) sweep: Mender,
    pub(crate) ledger: Ledger,
    /// How many of each have happened; a model allows so many.
    pub(crate) crashes: u8,
    pub(crate) quarantines: u8,
    pub(crate) nacks: u8,
    pub(crate) births: u8,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for slot in &self.slots {
            write!(f, "[{:?} {:?} {:?}] ", slot.word, slot.skip, slot.payload)?;
        }
        write!(f, "tail {} head {} {:?} {:?}", self.tail, self.head, self.producers, self.consumers)?;
        for mender in self.reclaimers.iter().chain([&self.sweep]).filter(|mender| mender.at != MendAt::Idle) {
            write!(f, " {:?}@{}", mender.at, mender.slot)?;
        }
        Ok(())
    }
}

/// The owner index of a producer.
pub(crate) fn producer_index(producer: usize) -> u8 {
    producer as u8 + 1
}

/// The owner index of a consumer.
pub(crate) fn consumer_index(consumer: usize) -> u8 {
    (PRODUCERS + consumer) as u8 + 1
}

impl State {
    /// The lease of an owner index.
    pub(crate) fn life(&mut self, owner: u8) -> &mut Life {
        let index = usize::from(owner) - 1;
        if index < PRODUCERS { &mut self.producers[index].life } else { &mut self.consumers[index - PRODUCERS].life }
    }

    pub(crate) fn life_of(&self, owner: u8) -> Life {
        let index = usize::from(owner) - 1;
        if index < PRODUCERS { self.producers[index].life } else { self.consumers[index - PRODUCERS].life }
    }

    /// What the kernel says about a lease.
    pub(crate) fn is_dead(&self, owner: u8) -> bool {
        owner == NOBODY || self.life_of(owner) == Life::Dead
    }

    /// What a slot is at this moment.
    pub(crate) fn effective(&self, slot: usize) -> Word {
        let Slot { word, skip, .. } = self.slots[slot];
        if skip.is_quarantined() { skip.held() } else { word }
    }

    /// A locked compare-exchange of a slot's word.
    pub(crate) fn exchange(&mut self, slot: usize, from: Word, to: Word) -> bool {
        let found = self.slots[slot].word == from;
        if found {
            self.slots[slot].word = to;
        }
        found
    }

    /// A locked compare-exchange of a slot's skip word.
    pub(crate) fn exchange_skip(&mut self, slot: usize, from: Skip, to: Skip) -> bool {
        let found = self.slots[slot].skip == from;
        if found {
            self.slots[slot].skip = to;
        }
        found
    }

    /// A producer's store reaches memory.
    pub(crate) fn drain(&mut self, producer: usize) {
        let buffer = std::mem::replace(&mut self.producers[producer].buffer, Buffered::NOTHING);
        if buffer.pending {
            self.slots[usize::from(buffer.slot)].word = buffer.word;
            if buffer.word.phase == Phase::Full {
                self.ledger.published |= buffer.messages;
            }
        }
    }

    /// The sends that have returned and whose store everybody sees.
    pub(crate) fn completed(&self) -> u8 {
        let unseen = self.producers.iter().filter(|producer| producer.buffer.pending);
        unseen.fold(self.ledger.returned, |all, producer| all & !producer.buffer.messages)
    }

    /// The messages that somebody reads and has not acknowledged.
    pub(crate) fn being_read(&self) -> u8 {
        let read = self.slots.iter().filter(|slot| slot.word.phase == Phase::Reading);
        read.fold(0, |all, slot| all | bit(slot.payload[0] - 1))
    }

    /// From now on nobody can be blamed for not having got it.
    pub(crate) fn gone(&mut self, message: u8) {
        for consumer in &mut self.consumers {
            consumer.sure &= !bit(message);
        }
    }
}
