//! Closed forms that the machine must reproduce, before anything else is believed.

use std::ops::RangeInclusive;

use crate::cpu::{Cpu, Word};
use crate::machine::{Machine, Timing};
use crate::slot_cas::{Prefetch, SlotCas};
use crate::strategy::{Peer, Ring, Strategy};

/// A word of a line that belongs to nothing.
const WORD: Word = Word { line: 0, index: 0 };

/// Panics if one of them is missed.
pub(crate) fn all(timing: Timing, strategy: SlotCas) {
    writes_in_turn(timing);
    polled_ping_pong(timing);
    hot_spot(timing);
    uncontended_addition(timing);
    if timing == Timing::MEASURED {
        two_adders();
    }
    alternating_batches(timing, strategy);
}

fn expect(what: &str, found: f64, range: RangeInclusive<u64>) {
    let (low, high) = (*range.start() as f64, *range.end() as f64);
    assert!(low <= found && found <= high, "{what}: expected {low} to {high}, found {found}");
}

/// Runs programs on so many cores until they end.
fn run<F: Future<Output = ()> + 'static>(timing: Timing, cores: usize, program: impl Fn(Cpu) -> F) -> Machine {
    let mut machine = Machine::new(timing, 1);
    for _ in 0..cores {
        machine.run(&program);
    }
    while machine.step() {}
    machine
}

const ROUNDS: u64 = 1000;

/// A round of two writers that never meet moves the line there and back.
fn writes_in_turn(timing: Timing) {
    let apart = 10 * timing.transfer;
    let machine = run(timing, 2, move |cpu| async move {
        cpu.work(apart * cpu.core() as u64).await;
        for _ in 0..ROUNDS {
            cpu.add(WORD, 1).await;
            cpu.work(2 * apart).await;
        }
    });
    let transfers = machine.counts().shared;
    assert_eq!(transfers, 2 * ROUNDS, "writes in turn: two transfers a round");
}

/// Who polls for the other's store shares the line first and upgrades it then: twice two transfers a round, one after
/// the other.
fn polled_ping_pong(timing: Timing) {
    let machine = run(timing, 2, |cpu| async move {
        for round in 0..ROUNDS {
            let turn = 2 * round + cpu.core() as u64;
            while cpu.load(WORD).await != turn {}
            cpu.store(WORD, turn + 1).await;
        }
    });
    let time = machine.now() as f64 / ROUNDS as f64;
    assert_eq!(machine.counts().shared, 4 * ROUNDS + 1, "polled ping-pong: four transfers a round and one first poll");
    expect("polled ping-pong, time", time, 4 * timing.transfer..=4 * timing.transfer + 10 * timing.plain);
}

/// Cores that leave the line between two additions for longer than it is held: every addition is a transfer, and the
/// home serves one after the other.
fn hot_spot(timing: Timing) {
    const CORES: usize = 8;
    let machine = run(timing, CORES, move |cpu| async move {
        for _ in 0..ROUNDS {
            cpu.add(WORD, 1).await;
            cpu.work(timing.hold).await;
        }
    });
    let additions = CORES as u64 * ROUNDS;
    assert_eq!(machine.counts().shared, additions, "hot spot: one transfer an addition");
    let time = machine.now() as f64 / additions as f64;
    expect("hot spot, time an addition", time, timing.transfer..=timing.transfer + 1);
}

/// One core alone fetches the line once and then hits.
fn uncontended_addition(timing: Timing) {
    let machine = run(timing, 1, |cpu| async move {
        for n in 0..ROUNDS {
            assert_eq!(cpu.add(WORD, 1).await, n, "no addition is lost");
        }
    });
    assert_eq!(machine.counts().shared, 1, "uncontended addition: one transfer in all");
    assert_eq!(machine.now(), timing.transfer + ROUNDS * timing.locked, "uncontended addition: time");
}

/// Two threads that do nothing but add to one word come to 15 ns an addition on the machine whose timing this is.
fn two_adders() {
    let machine = run(Timing::MEASURED, 2, |cpu| async move {
        for _ in 0..ROUNDS {
            cpu.add(WORD, 1).await;
        }
    });
    expect("two adders, time an addition", machine.now() as f64 / (2 * ROUNDS) as f64, 12..=18);
}

/// A producer and a consumer that never run at the same time: the claim moves the slot's line there; the consumer's load
/// moves it back, and its compare-exchange upgrades it, unless the load was preceded by a prefetch for writing. Hints
/// cost nothing, because nobody reads them.
fn alternating_batches(timing: Timing, strategy: SlotCas) {
    for (prefetch, transfers) in [(Prefetch::None, 3), (Prefetch::Own, 2)] {
        let ring = Ring { capacity: 64, packed: 1 };
        let strategy = SlotCas { prefetch, ..strategy };
        let (mut machine, batches, batch, apart) = (Machine::new(timing, ring.lines()), 10, 32, 1_000_000);
        machine.run(move |cpu| async move {
            let mut peer = Peer::default();
            for message in 0..batches * batch {
                strategy.send(ring, &cpu, &mut peer, message).await;
                cpu.work(if message % batch == batch - 1 { 2 * apart } else { 0 }).await;
            }
        });
        machine.run(move |cpu| async move {
            let mut peer = Peer::default();
            cpu.work(apart).await;
            for message in 0..batches * batch {
                assert_eq!(strategy.recv(ring, &cpu, &mut peer).await, message, "in order");
                cpu.work(if message % batch == batch - 1 { 2 * apart } else { 0 }).await;
            }
        });
        while machine.step() {
            assert!(machine.now() < 3 * batches * apart, "alternating batches: a message does not arrive");
        }
        assert_eq!(machine.counts().slots, batches * batch * transfers, "alternating batches: slots");
        assert_eq!(machine.counts().shared, 2, "alternating batches: hints, at their first store");
        assert_eq!(machine.counts().failed, 0, "alternating batches: nobody to race with");
    }
}
