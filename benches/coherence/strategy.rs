//! What the candidates have in common: where slots and shared words lie, and how a peer waits.

use crate::cpu::{Cpu, Word};
use crate::machine::Machine;

/// The producers' shared position or hint.
pub(crate) const TAIL: Word = Word { line: 0, index: 0 };
/// The consumers' shared position or hint.
pub(crate) const HEAD: Word = Word { line: 2, index: 0 };

/// Ring geometry. A slot with a line of its own has its word first, then `skip` and six payload words; a packed slot has
/// a word and one payload word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    pub(crate) capacity: u64,
    /// Slots that share a line: 1 or 4.
    pub(crate) packed: u64,
}

impl Ring {
    pub(crate) fn lines(self) -> usize {
        Machine::SHARED + self.capacity.div_ceil(self.packed) as usize
    }

    /// The word of the slot of `ticket`.
    pub(crate) fn word(self, ticket: u64) -> Word {
        let slot = ticket % self.capacity;
        Word { line: Machine::SHARED + (slot / self.packed) as usize, index: (slot % self.packed * 2) as usize }
    }

    pub(crate) fn skip(self, ticket: u64) -> Word {
        Word { index: 1, ..self.word(ticket) }
    }

    pub(crate) fn lap(self, ticket: u64) -> u64 {
        ticket / self.capacity
    }

    fn payload(self, ticket: u64) -> impl Iterator<Item = Word> {
        let Word { line, index } = self.word(ticket);
        let words = if self.packed == 1 { 2..8 } else { index + 1..index + 2 };
        words.map(move |index| Word { line, index })
    }

    pub(crate) async fn write(self, cpu: &Cpu, ticket: u64, message: u64) {
        for word in self.payload(ticket) {
            cpu.store(word, message).await;
        }
    }

    /// The payload, `None` if it is torn; only what a peer has claimed or taken must be whole.
    pub(crate) async fn read(self, cpu: &Cpu, ticket: u64) -> Option<u64> {
        let mut words = self.payload(ticket);
        let first = cpu.load(words.next()?).await;
        let mut whole = true;
        for word in words {
            whole &= cpu.load(word).await == first;
        }
        whole.then_some(first)
    }
}

/// Exponential back-off with jitter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: u64,
    limit: u64,
}

impl Backoff {
    /// Pauses of at most `limit`; 0 is hardly any.
    pub(crate) fn new(limit: u64) -> Self {
        Self { next: limit.min(8), limit }
    }

    /// Of a peer that polls a full or empty ring, or a predecessor.
    pub(crate) fn idle() -> Self {
        Self::new(256)
    }

    pub(crate) async fn pause(&mut self, cpu: &Cpu) {
        cpu.work(1 + self.next / 2 + cpu.random(self.next / 2)).await;
        self.next = (2 * self.next).min(self.limit);
    }
}

/// What a peer keeps between two calls.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// The ticket after the last one that it got.
    pub(crate) next: u64,
    /// Messages so far.
    pub(crate) messages: u64,
}

/// A way to claim, publish and take. Calls block: they end when the message is sent or received.
pub(crate) trait Strategy: Copy + 'static {
    /// The word of a slot at the beginning; all else is 0.
    fn initial(&self, _slot: u64) -> u64 {
        0
    }

    async fn send(&self, ring: Ring, cpu: &Cpu, peer: &mut Peer, message: u64);

    async fn recv(&self, ring: Ring, cpu: &Cpu, peer: &mut Peer) -> u64;
}
