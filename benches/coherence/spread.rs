//! The slot-owner ring, with tickets handed out by addition as *advice*: a peer is told where to go, so that it meets
//! nobody there, and owns nothing before its compare-exchange. To keep claims in order it watches the ticket before its
//! own and goes ahead when that one is claimed (or taken).
//!
//! An outlook on what claims without races would cost. Two things are left out, because nobody stalls here and calls
//! block: trying the ticket before one's own if nobody comes for it, without which this is not kill-safe, and giving back
//! advice that a full or empty ring makes useless.

use crate::cpu::Cpu;
use crate::slot_cas::{FREE, FULL, Publish, WRITING, lap_of, word};
use crate::strategy::{Backoff, HEAD, Peer, Ring, Strategy, TAIL};

/// Claim by compare-exchange at an advised ticket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread;

impl Spread {
    /// Waits until `passed` says of the word of the ticket before this one that it is out of the way.
    async fn follow(ring: Ring, cpu: &Cpu, ticket: u64, passed: impl Fn(u64, u64) -> bool) {
        let Some(before) = ticket.checked_sub(1) else { return };
        let mut idle = Backoff::idle();
        while !passed(cpu.load(ring.word(before)).await, ring.lap(before)) {
            idle.pause(cpu).await;
        }
    }
}

impl Strategy for Spread {
    async fn send(&self, ring: Ring, cpu: &Cpu, _peer: &mut Peer, message: u64) {
        let ticket = cpu.add(TAIL, 1).await;
        let (slot, lap) = (ring.word(ticket), ring.lap(ticket));
        Self::follow(ring, cpu, ticket, |seen, lap| seen > word(lap, FREE)).await;
        let mut idle = Backoff::idle();
        while cpu.exchange(slot, word(lap, FREE), word(lap, WRITING)).await != word(lap, FREE) {
            while lap_of(cpu.load(slot).await) < lap {
                idle.pause(cpu).await;
            }
        }
        ring.write(cpu, ticket, message).await;
        Publish::Store.publish(ring, cpu, ticket).await;
    }

    async fn recv(&self, ring: Ring, cpu: &Cpu, _peer: &mut Peer) -> u64 {
        let ticket = cpu.add(HEAD, 1).await;
        let (slot, lap) = (ring.word(ticket), ring.lap(ticket));
        let mut idle = Backoff::idle();
        while cpu.load(slot).await != word(lap, FULL) {
            idle.pause(cpu).await;
        }
        let message = ring.read(cpu, ticket).await;
        Self::follow(ring, cpu, ticket, |seen, lap| lap_of(seen) > lap).await;
        let seen = cpu.exchange(slot, word(lap, FULL), word(lap + 1, FREE)).await;
        assert_eq!(seen, word(lap, FULL), "advice is given once");
        message.expect("what was taken is whole")
    }
}
