//! Claims on shared positions, as others do it. None of them is kill-safe: who dies behind its claim leaves a slot that
//! nobody can attribute.

use crate::cpu::{Cpu, Word};
use crate::strategy::{Backoff, HEAD, Peer, Ring, Strategy, TAIL};

/// Compare-exchange on the position, then a stamp in the slot: `2 * ticket`, plus one when it is full (Vyukov's ring,
/// crossbeam's ArrayQueue).
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailCas {
    /// Limit of the back-off after a lost race.
    pub(crate) backoff: u64,
}

impl TailCas {
    /// Moves `position` over the ticket whose slot has the stamp `2 * ticket + full`.
    async fn claim(&self, ring: Ring, cpu: &Cpu, position: Word, full: u64) -> u64 {
        let mut lost = Backoff::new(self.backoff);
        let mut idle = Backoff::idle();
        let mut ticket = cpu.load(position).await;
        loop {
            let stamp = cpu.load(ring.word(ticket)).await;
            if stamp == 2 * ticket + full {
                let seen = cpu.exchange(position, ticket, ticket + 1).await;
                if seen == ticket {
                    return ticket;
                }
                ticket = seen;
                lost.pause(cpu).await;
            } else {
                if stamp < 2 * ticket + full {
                    idle.pause(cpu).await;
                }
                ticket = cpu.load(position).await;
            }
        }
    }
}

impl Strategy for TailCas {
    fn initial(&self, slot: u64) -> u64 {
        2 * slot
    }

    async fn send(&self, ring: Ring, cpu: &Cpu, _peer: &mut Peer, message: u64) {
        let ticket = self.claim(ring, cpu, TAIL, 0).await;
        ring.write(cpu, ticket, message).await;
        cpu.store(ring.word(ticket), 2 * ticket + 1).await;
    }

    async fn recv(&self, ring: Ring, cpu: &Cpu, _peer: &mut Peer) -> u64 {
        let ticket = self.claim(ring, cpu, HEAD, 1).await;
        let message = ring.read(cpu, ticket).await;
        cpu.store(ring.word(ticket), 2 * (ticket + ring.capacity)).await;
        message.expect("what was claimed is whole")
    }
}

/// Fetch-and-add on the position, then wait for the slot's turn, told by the same stamps (rigtorp's MPMCQueue; SCQ
/// claims in the same way). It has no way to report a full or empty ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailAdd;

impl TailAdd {
    async fn turn(ring: Ring, cpu: &Cpu, ticket: u64, stamp: u64) {
        let mut idle = Backoff::idle();
        while cpu.load(ring.word(ticket)).await != stamp {
            idle.pause(cpu).await;
        }
    }
}

impl Strategy for TailAdd {
    fn initial(&self, slot: u64) -> u64 {
        2 * slot
    }

    async fn send(&self, ring: Ring, cpu: &Cpu, _peer: &mut Peer, message: u64) {
        let ticket = cpu.add(TAIL, 1).await;
        Self::turn(ring, cpu, ticket, 2 * ticket).await;
        ring.write(cpu, ticket, message).await;
        cpu.store(ring.word(ticket), 2 * ticket + 1).await;
    }

    async fn recv(&self, ring: Ring, cpu: &Cpu, _peer: &mut Peer) -> u64 {
        let ticket = cpu.add(HEAD, 1).await;
        Self::turn(ring, cpu, ticket, 2 * ticket + 1).await;
        let message = ring.read(cpu, ticket).await;
        cpu.store(ring.word(ticket), 2 * (ticket + ring.capacity)).await;
        message.expect("what was claimed is whole")
    }
}

/// Compare-exchange on one position, then publication in order by a second one on the same line (DPDK's rte_ring). Not
/// stall-safe either: everybody waits for the slowest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TwoCounters;

/// Up to where messages are published.
const PUBLISHED: Word = Word { index: 1, ..TAIL };
/// Up to where slots are free again.
const RELEASED: Word = Word { index: 1, ..HEAD };

impl TwoCounters {
    /// Moves `position` by one if it stays within `room` of `limit`.
    async fn claim(cpu: &Cpu, position: Word, limit: Word, room: u64) -> u64 {
        let mut idle = Backoff::idle();
        let mut ticket = cpu.load(position).await;
        loop {
            if ticket >= cpu.load(limit).await + room {
                idle.pause(cpu).await;
                ticket = cpu.load(position).await;
                continue;
            }
            let seen = cpu.exchange(position, ticket, ticket + 1).await;
            if seen == ticket {
                return ticket;
            }
            ticket = seen;
        }
    }

    /// Waits for every earlier ticket, then adds this one.
    async fn finish(cpu: &Cpu, done: Word, ticket: u64) {
        let mut idle = Backoff::idle();
        while cpu.load(done).await != ticket {
            idle.pause(cpu).await;
        }
        cpu.store(done, ticket + 1).await;
    }
}

impl Strategy for TwoCounters {
    async fn send(&self, ring: Ring, cpu: &Cpu, _peer: &mut Peer, message: u64) {
        let ticket = Self::claim(cpu, TAIL, RELEASED, ring.capacity).await;
        ring.write(cpu, ticket, message).await;
        Self::finish(cpu, PUBLISHED, ticket).await;
    }

    async fn recv(&self, ring: Ring, cpu: &Cpu, _peer: &mut Peer) -> u64 {
        let ticket = Self::claim(cpu, HEAD, PUBLISHED, 0).await;
        let message = ring.read(cpu, ticket).await;
        Self::finish(cpu, RELEASED, ticket).await;
        message.expect("what was claimed is whole")
    }
}
