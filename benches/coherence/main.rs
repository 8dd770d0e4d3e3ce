//! Line transfers a message for 2 to 64 cores, by claim strategy: `cargo bench --bench coherence [-- NAME=VALUE ...]`.
//!
//! **A model, not a measurement.** Few machines at hand have more than two cores, so the candidates' real sequences of
//! loads, stores and compare-exchanges run here on a simulated machine that counts how often a cache line has to move
//! and adds up how long that takes ([`machine`] says what it models and what not). Programs are ordinary code
//! ([`slot_cas`] is ours), every message is checked for loss, duplication and order, and nothing is random but a seeded
//! back-off and pause between calls: two runs print the same. docs/PROTOCOL.md keeps the table and what follows from it.
//!
//! NAME is `transfer`, `hold` (see [`machine::Timing`]), `producers`, `consumers` (limits of their random work between two
//! calls; without them, a tight loop and a looser one are shown), `capacity` or `messages` (how many are measured).

mod checks;
mod cpu;
mod machine;
mod positions;
mod slot_cas;
mod spread;
mod strategy;
mod workload;

use std::env;

use machine::Timing;
use positions::{TailAdd, TailCas, TwoCounters};
use slot_cas::{Prefetch, Publish, SlotCas};
use spread::Spread;
use strategy::{Ring, Strategy};
use workload::{Cost, Workload};

const CORES: [usize; 6] = [2, 4, 8, 16, 32, 64];

/// The slot-owner ring in mode A: a call begins behind the peer's own last ticket, with a compare-exchange; a loser
/// backs off, loads before it tries again, and walks three tickets before it reads the hint.
const A: SlotCas = SlotCas {
    publish: Publish::Store,
    hinted: false,
    blind: true,
    blind_again: false,
    walk: 3,
    backoff: 1024,
    hint_every: 1,
    prefetch: Prefetch::None,
};

/// One half of the table: every strategy under the same conditions.
struct Section {
    timing: Timing,
    think: [u64; 2],
    capacity: u64,
    messages: u64,
    /// Time a message of the first row on two cores.
    unit: Option<f64>,
}

impl Section {
    fn row(&mut self, name: &str, strategy: impl Strategy) {
        self.print(name, strategy, Ring { capacity: self.capacity, packed: 1 }, 1);
    }

    fn print(&mut self, name: &str, strategy: impl Strategy, ring: Ring, batch: u64) {
        let Self { timing, think, messages, .. } = *self;
        print!("{name:38}");
        for cores in CORES {
            let Cost { slots, shared, failed, time, slowest } =
                Workload { timing, ring, cores, think, batch, messages }.run(strategy);
            let time = time / *self.unit.get_or_insert(time);
            print!(" |{slots:5.1} {shared:5.1} {failed:4.1} {time:5.2} {slowest:4.2}");
        }
        println!();
    }

    fn all(&mut self) {
        let [producers, consumers] = self.think;
        println!(
            "work between calls up to {producers} (producers), {consumers} (consumers); capacity {}",
            self.capacity
        );
        self.row("A", A);
        self.row("A, both prefetch 2 ahead when smooth", SlotCas { prefetch: Prefetch::Smooth, ..A });
        self.row("A, producers always prefetch 2 ahead", SlotCas { prefetch: Prefetch::Producers, ..A });
        self.row("A, consumers prefetch their slot", SlotCas { prefetch: Prefetch::Own, ..A });
        self.row("A, reads the hint at each call", SlotCas { hinted: true, ..A });
        self.row("A, stores the hint every 8 messages", SlotCas { hint_every: 8, ..A });
        self.row("A, loser reads the hint at once", SlotCas { walk: 0, ..A });
        self.row("A, loser walks 7 tickets", SlotCas { walk: 7, ..A });
        self.row("A, loser never reads the hint", SlotCas { walk: u64::MAX, ..A });
        self.row("A, loser tries again without a load", SlotCas { blind_again: true, ..A });
        self.row("A, always loads first", SlotCas { blind: false, ..A });
        self.row("A, no back-off", SlotCas { backoff: 0, ..A });
        self.print("A, 64 slots", A, Ring { capacity: 64, packed: 1 }, 1);
        let ring = Ring { capacity: self.capacity, packed: 1 };
        let batch = SlotCas { prefetch: Prefetch::Smooth, ..A };
        self.print("A, 32 a call, one hint, both prefetch", SlotCas { hint_every: 32, ..batch }, ring, 32);
        self.print("A, 32 a call, 4 hints, both prefetch", SlotCas { hint_every: 8, ..batch }, ring, 32);
        self.print("A, 32 a call, 32 hints, both prefetch", SlotCas { hint_every: 1, ..batch }, ring, 32);
        self.row("C", SlotCas { publish: Publish::Exchange, ..A });
        self.row("~ slot owner, advised by addition", Spread);
        self.row("* tail CAS", TailCas { backoff: 0 });
        self.row("* tail CAS, backs off", TailCas { backoff: 1024 });
        self.print("* tail CAS, 4 slots a line", TailCas { backoff: 0 }, Ring { packed: 4, ..ring }, 1);
        self.row("* tail addition", TailAdd);
        self.row("* two counters", TwoCounters);
    }
}

/// The number of an argument `name=number`.
fn argument(name: &str) -> Option<u64> {
    let value = env::args().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}: {value} is not a number")))
}

fn main() {
    let measured = Timing::MEASURED;
    let timing = Timing {
        transfer: argument("transfer").unwrap_or(measured.transfer),
        hold: argument("hold").unwrap_or(measured.hold),
        ..measured
    };
    assert!(timing.hold < timing.transfer, "a line leaves before it arrives");
    checks::all(timing, A);

    println!("A model. Each cell, a message: line transfers of slots, of shared words, failed compare-exchanges, time");
    println!(
        "(1 is A on 2 cores); then the slowest core's share of the average. * is not kill-safe, ~ not worked out."
    );
    println!("{timing:?}");
    print!("{:38}", "");
    CORES.iter().for_each(|cores| print!(" |{:27}", format!(" {cores} cores")));
    println!();
    let capacity = argument("capacity").unwrap_or(1024);
    let messages = argument("messages").unwrap_or(4096);
    let thinks = match (argument("producers"), argument("consumers")) {
        (None, None) => vec![[16, 16], [400, 400]],
        (producers, consumers) => vec![[producers.unwrap_or(16), consumers.unwrap_or(16)]],
    };
    for think in thinks {
        Section { timing, think, capacity, messages, unit: None }.all();
    }
}
