//! Explores every interleaving of small configurations of the slot-owner ring, with processes killed at every step.
//!
//! A step is one access to the region. Between any two steps of a process any other may run, so stalls need no modelling
//! of their own; kills, quarantines, negative acknowledgements and newcomers that take over a dead peer's index happen
//! anywhere, but only so many times, which keeps the search finite. Reclaiming is done by peers of its own, who read, ask
//! and exchange in separate steps and may be killed in between.
//!
//! | file | what it holds |
//! |---|---|
//! | `explore.rs` | the search: depth first, each state once, a trace to every violation |
//! | `state.rs`, `ledger.rs` | words and processes; which messages were sent and handed out |
//! | `ring.rs` | the configuration, kills and newcomers, and what is checked at the end and when somebody stops |
//! | `producer.rs`, `consumer.rs`, `mend.rs` | the protocol, a step each |
//! | `waits.rs` | several sleepers at one event word |
//! | `tail_counter.rs` | the claim that this ring does not use |
//!
//! Checked in every state: no payload is torn, no message handed out twice or unpublished or before one that was sent
//! earlier, no `Empty` or `Full` that was not true, no owner without its slot, no word outside the protocol. Checked
//! whenever all are done: everything that counted can be received, and then every slot be used. With `stops`, in every
//! state each process in turn is stopped for ever: the others' calls must end and messages pass, with one slot less.
//!
//! Memory is sequentially consistent in mode C. In mode A a producer's publication sits in its store buffer, as on
//! x86, until the buffer drains: by itself, by a locked instruction or fence of the same process, by somebody's
//! membarrier, or because the process ends. Weaker memory is not modelled.
//!
//! Everything here ends in seconds without optimization. `RINGWAY_SOAK=1 cargo test --release --test model_mpmc` explores
//! larger configurations, too; their sizes stand where they are listed.

mod consumer;
mod explore;
mod ledger;
mod mend;
mod producer;
mod ring;
mod state;
mod tail_counter;
mod waits;

use std::collections::BTreeSet;

use explore::{Kind, Model, fails, holds};
use ring::{Mistake, Publish, Ring};
use tail_counter::{Hole, TailCounter};
use waits::{Waits, Wakes};

/// Mode C as plain as it gets: a word is loaded before it is claimed, and stale tickets are walked over.
const PLAIN_C: Ring = Ring {
    publish: Publish::Exchange,
    ack: false,
    packed: false,
    blind: false,
    jump: false,
    slots: 2,
    producers: 2,
    consumers: 1,
    messages: 1,
    receives: 2,
    crashes: 1,
    quarantines: 1,
    nacks: 0,
    births: 0,
    reclaimers: 1,
    stops: false,
    mistake: Mistake::None,
};

/// Mode A with nothing else.
const PLAIN_A: Ring = Ring { publish: Publish::Store, ..PLAIN_C };

/// Mode C as it is shipped: the exchange comes first, and stale tickets are jumped over.
const MODE_C: Ring = Ring { blind: true, jump: true, ..PLAIN_C };

/// Mode A as it is shipped.
const MODE_A: Ring = Ring { blind: true, jump: true, ..PLAIN_A };

/// At least once, in either mode.
const ACK_C: Ring = Ring { ack: true, ..MODE_C };
const ACK_A: Ring = Ring { ack: true, ..MODE_A };

/// Two messages a slot, in either mode.
const PACKED_C: Ring = Ring { packed: true, ..MODE_C };
const PACKED_A: Ring = Ring { packed: true, ..MODE_A };

const SHIPPED: [Ring; 6] = [MODE_C, MODE_A, ACK_C, ACK_A, PACKED_C, PACKED_A];

/// The shapes that every variant is explored in.
fn shapes(ring: Ring) -> Vec<Ring> {
    vec![
        ring,
        Ring { slots: 1, ..ring },
        Ring { slots: 3, ..ring },
        Ring { consumers: 2, receives: 1, crashes: 0, ..ring },
        Ring { producers: 1, consumers: 2, messages: 2, ..ring },
        Ring { slots: 1, messages: 2, crashes: 0, ..ring },
        Ring { crashes: 2, quarantines: 0, ..ring },
        // Nobody dies and nobody is quarantined: here `Full` must be exact.
        Ring { messages: 2, receives: 3, crashes: 0, quarantines: 0, ..ring },
    ]
}

#[test]
fn the_plain_modes_hold() {
    holds(&PLAIN_C);
    holds(&PLAIN_A);
    // Two messages a producer; mode A's millions of states for that are part of the soak.
    holds(&Ring { messages: 2, ..PLAIN_C });
}

#[test]
fn mode_c_holds() {
    shapes(MODE_C).iter().for_each(holds);
    holds(&Ring { messages: 2, ..MODE_C });
    holds(&Ring { producers: 3, crashes: 0, ..MODE_C });
}

#[test]
fn mode_a_holds() {
    shapes(MODE_A).iter().for_each(holds);
    holds(&Ring { messages: 2, crashes: 0, ..MODE_A });
}

#[test]
fn acknowledgements_hold() {
    for ring in [ACK_C, ACK_A].into_iter().flat_map(shapes) {
        holds(&Ring { messages: 1, nacks: 1, ..ring });
    }
    holds(&Ring { messages: 2, quarantines: 0, ..ACK_C });
}

#[test]
fn packed_slots_hold() {
    for ring in [PACKED_C, PACKED_A] {
        holds(&Ring { receives: 3, ..ring });
        holds(&Ring { slots: 1, receives: 3, ..ring });
        holds(&Ring { consumers: 2, receives: 2, crashes: 0, quarantines: 0, ..ring });
        holds(&Ring { producers: 1, consumers: 2, messages: 2, ..ring });
        holds(&Ring { births: 1, receives: 1, quarantines: 0, ..ring });
        holds(&Ring { stops: true, producers: 1, consumers: 2, ..ring });
        // Nobody dies and nobody is quarantined: here `Full` must be exact.
        holds(&Ring { producers: 1, messages: 3, receives: 4, crashes: 0, quarantines: 0, ..ring });
    }
}

#[test]
fn a_part_of_a_packed_slot_must_be_taken_by_an_exchange() {
    for ring in [PACKED_C, PACKED_A] {
        let shared = Ring { producers: 1, consumers: 2, receives: 1, crashes: 0, quarantines: 0, ..ring };
        fails(&Ring { mistake: Mistake::TakeByStore, ..shared }, &[Kind::Duplicate]);
    }
}

#[test]
fn jumps_over_stale_tickets_hold() {
    // In mode A: see `mode_a_holds`, and the soak.
    holds(&Ring { jump: true, messages: 2, receives: 3, ..PLAIN_C });
}

#[test]
fn a_newcomer_may_take_a_dead_peers_index() {
    holds(&Ring { births: 1, reclaimers: 2, receives: 1, ..MODE_C });
    holds(&Ring { births: 1, reclaimers: 2, producers: 1, messages: 2, ..MODE_A });
    holds(&Ring { births: 1, slots: 1, receives: 1, ..MODE_A });
    for ring in [ACK_C, ACK_A] {
        holds(&Ring { births: 1, reclaimers: 1, nacks: 1, producers: 1, consumers: 2, receives: 1, ..ring });
    }
}

#[test]
fn a_stopped_process_stops_nobody() {
    for ring in SHIPPED {
        for slots in 1..=3 {
            holds(&Ring { slots, receives: 1, crashes: 0, stops: true, ..ring });
        }
    }
    // Somebody is stopped, and somebody else killed.
    holds(&Ring { stops: true, ..MODE_C });
    holds(&Ring { stops: true, ..ACK_C });
    holds(&Ring { stops: true, producers: 1, consumers: 2, receives: 1, nacks: 1, ..ACK_A });
    // A newcomer is stopped before it has swept.
    holds(&Ring { stops: true, receives: 1, births: 1, quarantines: 0, ..MODE_C });
    holds(&Ring { stops: true, producers: 1, receives: 1, births: 1, quarantines: 0, ..MODE_A });
}

/// Every place in the protocol is reached, or the other tests would show nothing about it.
#[test]
fn every_step_is_taken() {
    let mut producers = BTreeSet::new();
    let mut consumers = BTreeSet::new();
    for ring in [
        Ring { messages: 2, ..PLAIN_C },
        MODE_A,
        Ring { nacks: 1, ..ACK_C },
        Ring { producers: 1, consumers: 2, messages: 2, receives: 1, quarantines: 0, ..ACK_C },
    ] {
        let explored = ring.explore(|state| {
            producers.extend(state.producers.iter().map(|producer| producer.at as u8));
            consumers.extend(state.consumers.iter().map(|consumer| consumer.at as u8));
        });
        assert!(explored.is_ok());
    }
    assert_eq!(producers, (0..=state::ProducerAt::Hint as u8).collect());
    assert_eq!(consumers, (0..=state::ConsumerAt::Redeliver as u8).collect());
}

#[test]
fn mode_c_must_publish_by_an_exchange() {
    fails(&Ring { mistake: Mistake::PlainPublish, ..PLAIN_C }, &[Kind::Lost]);
}

#[test]
fn a_free_word_must_not_be_jumped_over_as_far_as_a_claimed_one() {
    let ring = Ring { mistake: Mistake::FarJumpOnFree, jump: true, messages: 2, receives: 3, ..PLAIN_C };
    fails(&ring, &[Kind::Lost]);
    fails(&Ring { blind: true, ..ring }, &[Kind::Lost]);
}

#[test]
fn a_quarantine_needs_the_membarrier() {
    for ring in [PLAIN_A, MODE_A] {
        fails(&Ring { mistake: Mistake::NoMembarrier, ..ring }, &[Kind::Lost]);
    }
}

#[test]
fn a_dead_producers_skip_word_must_be_settled_first() {
    for ring in [PLAIN_A, MODE_A] {
        fails(&Ring { mistake: Mistake::ReclaimUnsettled, messages: 2, ..ring }, &[Kind::Lost]);
    }
}

#[test]
fn a_word_must_be_looked_at_again_before_its_dead_owner_is_quarantined() {
    for ring in [PLAIN_A, MODE_A] {
        fails(&Ring { mistake: Mistake::ReclaimUnlooked, ..ring }, &[Kind::Lost]);
    }
}

#[test]
fn a_blind_claim_must_not_find_a_quarantined_slot_free() {
    // It needs no kill. A claimant that loads the skip word first is safe from it.
    let early = Ring { mistake: Mistake::FreeWhileQuarantined, messages: 2, crashes: 0, ..PLAIN_A };
    holds(&Ring { receives: 1, ..early });
    fails(&Ring { blind: true, ..early }, &[Kind::FalseEmpty]);
    fails(&Ring { blind: true, crashes: 1, ..early }, &[Kind::Lost]);
}

#[test]
fn a_slot_must_not_be_reclaimed_without_a_proof_of_death() {
    // A producer that was only slow finds its slot given away.
    let ring = Ring { mistake: Mistake::ReclaimUnasked, crashes: 0, quarantines: 0, ..MODE_C };
    fails(&ring, &[Kind::Dispossessed]);
    fails(&Ring { publish: Publish::Store, quarantines: 1, ..ring }, &[Kind::Lost]);
}

#[test]
fn a_message_must_not_be_redelivered_while_its_reader_lives() {
    for ring in [ACK_C, ACK_A] {
        let readers = Ring { producers: 1, consumers: 2, crashes: 0, quarantines: 0, ..ring };
        fails(&Ring { mistake: Mistake::RedeliverUnasked, ..readers }, &[Kind::Dispossessed]);
    }
}

#[test]
fn the_word_must_be_read_before_its_owner_is_asked_for() {
    fails(&Ring { mistake: Mistake::AskFirst, births: 1, ..MODE_C }, &[Kind::Dispossessed]);
}

#[test]
fn a_newcomer_must_sweep() {
    for ring in [MODE_C, ACK_C] {
        fails(&Ring { mistake: Mistake::NeverSweep, births: 1, ..ring }, &[Kind::Stranded]);
    }
    fails(&Ring { mistake: Mistake::NeverSweep, births: 1, ..MODE_A }, &[Kind::Stranded]);
}

#[test]
fn a_newcomer_must_sweep_before_it_claims() {
    fails(&Ring { mistake: Mistake::SweepLate, births: 1, ..MODE_C }, &[Kind::Dispossessed]);
}

#[test]
fn a_half_done_reclaim_must_leave_a_slot_that_can_be_passed_over() {
    // Its owner's index has a newcomer, who is stopped before it sweeps.
    let newcomer = Ring { births: 1, quarantines: 0, producers: 1, consumers: 2, receives: 1, stops: true, ..MODE_A };
    fails(&Ring { mistake: Mistake::ReclaimSettlesFirst, ..newcomer }, &[Kind::Wedged]);
}

#[test]
fn a_stopped_producer_must_not_hide_a_dead_readers_message() {
    for ring in [ACK_C, ACK_A] {
        let stopped = Ring { receives: 1, quarantines: 0, stops: true, ..ring };
        fails(&Ring { mistake: Mistake::EmptyUnscanned, ..stopped }, &[Kind::Lost]);
    }
}

#[test]
fn a_sweep_must_settle_requests() {
    let ring = Ring { mistake: Mistake::SweepOnlyClaims, births: 1, reclaimers: 0, ..MODE_A };
    fails(&ring, &[Kind::Stranded]);
}

#[test]
fn a_sweep_must_keep_messages_that_were_being_read() {
    let ring = Ring { mistake: Mistake::SweepFreesReading, births: 1, producers: 1, consumers: 2, ..ACK_C };
    fails(&ring, &[Kind::Lost]);
}

#[test]
fn a_tail_counter_cannot_survive_a_killed_claimant() {
    let counter = TailCounter { hole: Hole::Wait, messages: 2, crashes: 0 };
    holds(&counter);
    fails(&TailCounter { crashes: 1, ..counter }, &[Kind::Wedged]);
    // Skipping the hole takes the slot from a claimant that lives: its late publication is from another lap.
    fails(&TailCounter { hole: Hole::Skip, ..counter }, &[Kind::Wedged, Kind::Duplicate, Kind::Lost]);
}

/// Several sleepers, in mode A.
const WAITS: Waits = Waits {
    wakes: Wakes::All,
    wakers: 1,
    waiters: 2,
    messages: 2,
    receives: 1,
    waker_deaths: 0,
    waiter_deaths: 0,
    slices: false,
    buffered: true,
    membarrier: true,
    second_look: true,
};

/// In mode C a publication is a locked instruction, and the waiter needs no membarrier (on x86).
const LOCKED_WAITS: Waits = Waits { buffered: false, membarrier: false, ..WAITS };

fn crowds(waits: Waits) -> [Waits; 4] {
    [
        waits,
        Waits { wakers: 2, messages: 1, ..waits },
        Waits { receives: 2, ..waits },
        Waits { waiters: 3, messages: 3, ..waits },
    ]
}

#[test]
fn waking_all_loses_nothing_even_if_the_woken_die() {
    for waits in [WAITS, LOCKED_WAITS].into_iter().flat_map(crowds) {
        holds(&waits);
        holds(&Waits { waiter_deaths: 1, ..waits });
        holds(&Waits { waiter_deaths: 1, waker_deaths: 1, slices: true, ..waits });
    }
}

#[test]
fn a_killed_waker_needs_slices() {
    for waits in [WAITS, LOCKED_WAITS] {
        fails(&Waits { waker_deaths: 1, ..waits }, &[Kind::Wedged]);
    }
}

#[test]
fn a_waiter_needs_its_barrier_and_its_second_look() {
    fails(&Waits { membarrier: false, ..WAITS }, &[Kind::Wedged]);
    for waits in [WAITS, LOCKED_WAITS] {
        fails(&Waits { second_look: false, ..waits }, &[Kind::Wedged]);
    }
}

#[test]
fn waking_one_must_be_passed_on() {
    for waits in [WAITS, LOCKED_WAITS] {
        let passed_on = Waits { wakes: Wakes::OnePassedOn, ..waits };
        crowds(passed_on).iter().for_each(holds);
        // Otherwise it is lost without any death.
        fails(&Waits { wakes: Wakes::One, ..waits }, &[Kind::Wedged]);
    }
}

#[test]
fn waking_one_loses_nothing_while_the_bit_is_kept() {
    for waits in [WAITS, LOCKED_WAITS].into_iter().flat_map(crowds) {
        holds(&Waits { wakes: Wakes::OneKept, ..waits });
    }
}

#[test]
fn waking_one_is_lost_with_the_woken_one() {
    for waits in [WAITS, LOCKED_WAITS] {
        for wakes in [Wakes::OneKept, Wakes::OnePassedOn, Wakes::One] {
            fails(&Waits { wakes, messages: 1, waiter_deaths: 1, ..waits }, &[Kind::Wedged]);
        }
        for wakes in [Wakes::OneKept, Wakes::OnePassedOn] {
            holds(&Waits { wakes, waiter_deaths: 1, waker_deaths: 1, slices: true, ..waits });
        }
    }
}

/// Some minutes with optimization.
#[test]
fn larger_configurations_hold() {
    if std::env::var_os("RINGWAY_SOAK").is_none() {
        println!("only with RINGWAY_SOAK=1");
        return;
    }
    for (states, ring) in soak() {
        println!("expecting {states} million states");
        holds(&ring);
    }
}

/// What is too large for every day, with how many million states it had.
fn soak() -> [(f32, Ring); 15] {
    [
        (5.8, Ring { messages: 2, ..PLAIN_A }),
        (3.0, Ring { jump: true, messages: 2, receives: 3, crashes: 0, ..PLAIN_A }),
        (12.5, Ring { messages: 2, receives: 3, ..MODE_A }),
        (9.5, Ring { slots: 3, messages: 2, ..MODE_A }),
        (0.6, Ring { crashes: 2, quarantines: 2, ..MODE_A }),
        (3.3, Ring { consumers: 2, receives: 1, ..MODE_A }),
        (5.3, Ring { producers: 3, crashes: 0, ..MODE_A }),
        (10.6, Ring { births: 1, ..MODE_A }),
        (4.1, Ring { births: 1, receives: 1, stops: true, ..MODE_A }),
        (28.1, Ring { births: 1, nacks: 1, ..ACK_A }),
        (1.4, Ring { producers: 3, ..MODE_C }),
        (1.3, Ring { messages: 2, crashes: 2, quarantines: 2, ..MODE_C }),
        (3.1, Ring { producers: 3, ..ACK_C }),
        (6.4, Ring { messages: 2, nacks: 1, ..ACK_C }),
        (16.7, Ring { producers: 1, consumers: 2, messages: 2, births: 1, nacks: 1, reclaimers: 2, ..ACK_C }),
    ]
}
