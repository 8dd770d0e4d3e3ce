//! The slot-owner ring: one compare-exchange on the slot's own word claims it and names the claimant. Kill-safe in all
//! its variants, which differ in where a peer looks for its ticket.

use crate::cpu::{Cpu, Word};
use crate::strategy::{Backoff, HEAD, Peer, Ring, Strategy, TAIL};

pub(crate) const FREE: u64 = 0;
pub(crate) const WRITING: u64 = 1;
pub(crate) const FULL: u64 = 2;

/// A slot's word. The owner is left out: nobody dies here.
pub(crate) fn word(lap: u64, phase: u64) -> u64 {
    lap << 2 | phase
}

/// The lap of a slot's word.
pub(crate) fn lap_of(word: u64) -> u64 {
    word >> 2
}

/// How a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    /// Mode A: a plain store, then a look at `skip`.
    Store,
    /// Mode C: a compare-exchange.
    Exchange,
}

impl Publish {
    pub(crate) async fn publish(self, ring: Ring, cpu: &Cpu, ticket: u64) {
        let (slot, lap) = (ring.word(ticket), ring.lap(ticket));
        match self {
            Self::Store => {
                cpu.store(slot, word(lap, FULL)).await;
                cpu.load(ring.skip(ticket)).await;
            }
            Self::Exchange => {
                let seen = cpu.exchange(slot, word(lap, WRITING), word(lap, FULL)).await;
                assert_eq!(seen, word(lap, WRITING), "nobody is quarantined here");
            }
        }
    }
}

/// The slot-owner ring and its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotCas {
    pub(crate) publish: Publish,
    /// Whether a call reads the shared hint at its beginning; if not, it begins behind the peer's own last ticket.
    pub(crate) hinted: bool,
    /// Whether the first attempt of a call is a compare-exchange without a load.
    pub(crate) blind: bool,
    /// Whether the attempts after a lost race are.
    pub(crate) blind_again: bool,
    /// Tickets that a loser tries one after the other before it reads the hint again.
    pub(crate) walk: u64,
    /// Limit of the back-off after a lost race.
    pub(crate) backoff: u64,
    /// The shared hint is stored every so many messages.
    pub(crate) hint_every: u64,
    pub(crate) prefetch: Prefetch,
}

/// Which slots are prefetched for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefetch {
    None,
    /// By a consumer its slot, before it loads the word.
    Own,
    /// By a producer the one two tickets ahead, at the end of each call.
    Producers,
    /// By producers and consumers the one two tickets ahead, at the end of a call that met nobody and did not wait.
    Smooth,
}

/// One call's search for a ticket.
struct Search {
    hint: Word,
    ticket: u64,
    walked: u64,
    lost: Backoff,
    idle: Backoff,
    waited: bool,
}

impl Search {
    async fn new(strategy: &SlotCas, cpu: &Cpu, peer: &Peer, hint: Word) -> Self {
        let shared = if strategy.hinted { cpu.load(hint).await } else { 0 };
        let lost = Backoff::new(strategy.backoff);
        Self { hint, ticket: shared.max(peer.next), walked: 0, lost, idle: Backoff::idle(), waited: false }
    }

    /// The ring is full or empty.
    async fn wait(&mut self, cpu: &Cpu) {
        self.waited = true;
        self.idle.pause(cpu).await;
    }

    /// Somebody else has this ticket: on to another one.
    async fn advance(&mut self, strategy: &SlotCas, cpu: &Cpu) {
        self.ticket += 1;
        self.walked += 1;
        if self.walked > strategy.walk {
            self.walked = 0;
            self.ticket = cpu.load(self.hint).await.max(self.ticket);
        }
    }

    /// The ticket is ours, and its message has been sent or taken.
    async fn finish(&self, strategy: &SlotCas, ring: Ring, cpu: &Cpu, peer: &mut Peer) {
        let smooth = self.ticket == peer.next && !self.waited;
        peer.next = self.ticket + 1;
        peer.messages += 1;
        if peer.messages % strategy.hint_every == 0 {
            cpu.store(self.hint, peer.next).await;
        }
        let ahead = match strategy.prefetch {
            Prefetch::None | Prefetch::Own => false,
            Prefetch::Producers => self.hint == TAIL,
            Prefetch::Smooth => smooth,
        };
        if ahead {
            cpu.own(ring.word(self.ticket + 2)).await;
        }
    }
}

impl SlotCas {
    async fn claim(&self, ring: Ring, cpu: &Cpu, peer: &Peer) -> Search {
        let mut search = Search::new(self, cpu, peer, TAIL).await;
        let mut blind = self.blind;
        loop {
            let (slot, lap) = (ring.word(search.ticket), ring.lap(search.ticket));
            let free = word(lap, FREE);
            let mut seen = if blind { free } else { cpu.load(slot).await };
            let exchanged = seen == free;
            if exchanged {
                seen = cpu.exchange(slot, free, word(lap, WRITING)).await;
                if seen == free {
                    return search;
                }
            }
            if lap_of(seen) < lap {
                blind = false;
                search.wait(cpu).await;
                continue;
            }
            blind = self.blind_again;
            if exchanged {
                search.lost.pause(cpu).await;
            }
            search.advance(self, cpu).await;
        }
    }
}

impl Strategy for SlotCas {
    async fn send(&self, ring: Ring, cpu: &Cpu, peer: &mut Peer, message: u64) {
        let search = self.claim(ring, cpu, peer).await;
        ring.write(cpu, search.ticket, message).await;
        self.publish.publish(ring, cpu, search.ticket).await;
        search.finish(self, ring, cpu, peer).await;
    }

    async fn recv(&self, ring: Ring, cpu: &Cpu, peer: &mut Peer) -> u64 {
        let mut search = Search::new(self, cpu, peer, HEAD).await;
        if self.prefetch == Prefetch::Own {
            cpu.own(ring.word(search.ticket)).await;
        }
        loop {
            let (slot, lap) = (ring.word(search.ticket), ring.lap(search.ticket));
            let seen = cpu.load(slot).await;
            if seen == word(lap, FULL) {
                let message = ring.read(cpu, search.ticket).await;
                if cpu.exchange(slot, seen, word(lap + 1, FREE)).await == seen {
                    search.finish(self, ring, cpu, peer).await;
                    return message.expect("what was taken is whole");
                }
                search.lost.pause(cpu).await;
            } else if lap_of(seen) <= lap {
                search.wait(cpu).await;
                continue;
            }
            search.advance(self, cpu).await;
        }
    }
}
