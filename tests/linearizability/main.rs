//! An MPMC channel is a bounded FIFO to everybody who cannot look inside: small histories of real threads, each with an
//! order of its calls in which a `VecDeque` would have answered the same.
//!
//! Threads record when they called and when they returned, by a counter that all share; a checker (Wing and Gong's
//! algorithm with Lowe's memory, from `todc-utils`) looks for that order. What the checker must find is tried as well:
//! histories by hand, true histories with one answer forged, and channels that have a flaw.

mod fifo;
mod record;
mod subject;

use std::sync::{Mutex, PoisonError};

use ringway::Options;

use crate::fifo::{Fifo, Operation, is_linearizable};
use crate::record::{History, Repertoire, record};
use crate::subject::{Flaw, Locked, Ring, Subject};

/// Histories that are recorded at a time.
const HISTORIES: u64 = 200;
/// Histories with calls that overlap, of each shape, as far as the machine lets threads run side by side ...
const OVERLAPPING: usize = 300;
/// ... within so many rounds of all shapes.
const ROUNDS: usize = 100;
/// ... in so many recordings.
const RECORDINGS: u64 = 8;

/// Held by whoever records: two at a time would keep each other's threads from running side by side.
static PROCESSORS: Mutex<()> = Mutex::new(());

/// Checks histories of `THREADS` threads on a channel for `CAPACITY` messages; says how many of them had calls that
/// overlap.
fn check<const THREADS: usize, const CAPACITY: usize>(
    subject: &impl Subject,
    repertoire: Repertoire,
    seed: u64,
) -> usize {
    let (mut recorded, mut overlapping, mut held) = (0, 0, 0);
    for recording in 0..RECORDINGS {
        for history in record(THREADS, subject, repertoire, HISTORIES, seed << 16 | recording) {
            let strictly = is_linearizable::<Fifo<CAPACITY, 0>>(&history);
            // Each of the other threads may keep a slot while it is preempted in the middle of a call.
            if !strictly && !is_linearizable_with_slots_held::<THREADS, CAPACITY>(&history) {
                panic!(
                    "{THREADS} threads, {repertoire:?}, capacity {CAPACITY}, seed {seed}: no order explains {history:#?}"
                );
            }
            recorded += 1;
            overlapping += usize::from(record::overlaps(&history));
            held += usize::from(!strictly);
        }
        if overlapping >= OVERLAPPING {
            break;
        }
    }
    println!(
        "{THREADS} threads, {repertoire:?}, capacity {CAPACITY}: {recorded} histories, {overlapping} with calls that \
         overlap, {held} in which a slot was held"
    );
    overlapping
}

fn is_linearizable_with_slots_held<const THREADS: usize, const CAPACITY: usize>(history: &History) -> bool {
    match THREADS {
        1 => false,
        2 => is_linearizable::<Fifo<CAPACITY, 1>>(history),
        3 => is_linearizable::<Fifo<CAPACITY, 2>>(history),
        _ => is_linearizable::<Fifo<CAPACITY, 3>>(history),
    }
}

/// Every shape, of small messages and of such as take a while to write.
fn every_shape(membarrier: bool, repertoire: Repertoire) {
    fn of<const THREADS: usize, const CAPACITY: usize>(membarrier: bool, repertoire: Repertoire) -> usize {
        let options = Options::new().capacity(CAPACITY).membarrier(membarrier);
        check::<THREADS, CAPACITY>(&Ring::<1>::new(&options, THREADS), repertoire, 1)
            + check::<THREADS, CAPACITY>(&Ring::<128>::new(&options, THREADS), repertoire, 2)
    }
    let _alone = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
    // A thread alone is forgiven nothing.
    assert_eq!(of::<1, 2>(membarrier, repertoire) + of::<1, 4>(membarrier, repertoire), 0);
    let shapes = [of::<2, 2>, of::<2, 4>, of::<3, 2>, of::<3, 4>, of::<4, 2>, of::<4, 4>];
    let mut overlapping = 0;
    // Calls one after the other prove nothing; on a machine that is busy, it takes longer until some are not.
    for _ in 0..ROUNDS {
        overlapping += shapes.iter().map(|shape| shape(membarrier, repertoire)).sum::<usize>();
        if overlapping >= OVERLAPPING {
            return;
        }
    }
    panic!("{overlapping} histories in {ROUNDS} rounds have calls that overlap, which is too few to show anything");
}

#[test]
fn histories_of_mode_a_are_linearizable() {
    every_shape(true, Repertoire::Single);
}

#[test]
fn histories_of_mode_c_are_linearizable() {
    every_shape(false, Repertoire::Single);
}

#[test]
fn histories_with_slices_of_mode_a_are_linearizable() {
    every_shape(true, Repertoire::Slices);
}

#[test]
fn histories_with_slices_of_mode_c_are_linearizable() {
    every_shape(false, Repertoire::Slices);
}

#[test]
fn histories_of_packed_rings_are_linearizable() {
    // Places of 48 messages never come to an end in so short a history, so calls of this shape are never told that it is full.
    let _alone = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut overlapping = 0;
    for round in 0..ROUNDS as u64 {
        for membarrier in [true, false] {
            let options = Options::new().capacity(32).membarrier(membarrier).pack_batches(true);
            overlapping += check::<2, 1000>(&Ring::<1>::new(&options, 2), Repertoire::Slices, round << 1 | 1);
            overlapping += check::<3, 1000>(&Ring::<6>::new(&options, 3), Repertoire::Slices, round << 1);
        }
        if overlapping >= OVERLAPPING {
            return;
        }
    }
    panic!("{overlapping} histories have calls that overlap, which is too few to show anything");
}

#[test]
fn histories_with_guards_of_mode_a_are_linearizable() {
    every_shape(true, Repertoire::Guards);
}

#[test]
fn histories_with_guards_of_mode_c_are_linearizable() {
    every_shape(false, Repertoire::Guards);
}

#[test]
fn one_forged_answer_is_found_in_any_history() {
    let _alone = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
    let ring = Ring::<1>::new(&Options::new().capacity(4), 3);
    for repertoire in [Repertoire::Single, Repertoire::Slices, Repertoire::Guards] {
        let mut forged = 0;
        for history in record(3, &ring, repertoire, HISTORIES, 3) {
            assert!(is_linearizable::<Fifo<4, 2>>(&history));
            for forgery in record::forgeries(&history) {
                assert!(
                    !is_linearizable::<Fifo<4, 2>>(&forgery),
                    "an order explains {forgery:#?}, forged from {history:#?}"
                );
                forged += 1;
            }
        }
        assert!(forged as u64 > HISTORIES);
    }
}

#[test]
fn a_channel_with_a_flaw_is_found() {
    let _alone = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
    let are_linearizable = |flaw, repertoire| {
        let histories = record(3, &Locked::new(flaw), repertoire, HISTORIES, 4);
        histories.iter().all(is_linearizable::<Fifo<{ Locked::CAPACITY }, 0>>)
    };
    for (flaw, repertoire) in [
        (Flaw::Overtaking, Repertoire::Single),
        (Flaw::BackwardSlices, Repertoire::Slices),
        (Flaw::LostRefusals, Repertoire::Guards),
        (Flaw::UncountedRefusals, Repertoire::Guards),
    ] {
        assert!(!are_linearizable(flaw, repertoire), "{flaw:?}");
        assert!(are_linearizable(Flaw::Nothing, repertoire), "{repertoire:?}");
    }
}

#[test]
fn wrong_histories_are_found() {
    use Operation::{Acknowledge, Receive, Refuse, Send, Take};
    let sent = |message| Send { message, sent: true };
    let full = |message| Send { message, sent: false };
    let (got, empty) = (|message| Receive(Some(message)), Receive(None));
    let (took, ack, nack) = (|message, before| Take(Some((message, before))), Acknowledge, Refuse);
    // Calls of one thread; the checker is given one after the other.
    let wrong: [(&str, &[Operation]); 18] = [
        ("lost", &[sent(1), empty]),
        ("lost in the middle", &[sent(1), sent(2), sent(3), got(1), got(3)]),
        ("doubled", &[sent(1), got(1), got(1)]),
        ("out of thin air", &[sent(1), got(2)]),
        ("overtaken", &[sent(1), sent(2), got(2), got(1)]),
        ("empty between two", &[sent(1), sent(2), got(1), empty, got(2)]),
        ("full too early", &[full(1)]),
        ("never full", &[sent(1), sent(2), sent(3), sent(4), sent(5)]),
        ("received under guard by two", &[sent(1), took(1, 0), took(1, 0)]),
        ("received while under guard", &[sent(1), took(1, 0), got(1)]),
        ("empty, but for the guard", &[sent(1), Take(None)]),
        ("acknowledged and back", &[sent(1), took(1, 0), ack(1), got(1)]),
        ("acknowledged without guard", &[sent(1), ack(1)]),
        ("refused and lost", &[sent(1), took(1, 0), nack(1), empty]),
        ("refused without guard", &[sent(1), nack(1)]),
        ("refused and not counted", &[sent(1), took(1, 0), nack(1), took(1, 0)]),
        ("refused, and before those in line", &[sent(1), sent(2), took(1, 0), nack(1), got(1)]),
        ("no room under a guard", &[sent(1), took(1, 0), sent(2), sent(3), sent(4), sent(5)]),
    ];
    for (name, calls) in wrong {
        assert!(!is_linearizable::<Fifo<4, 3>>(&record::one_by_one(calls)), "{name}");
    }
    let right: [&[Operation]; 2] = [
        &[empty, sent(1), sent(2), sent(3), got(1), sent(4), sent(5), full(6), got(2), got(3), got(4), got(5), empty],
        &[
            sent(1),
            sent(2),
            took(1, 0),
            took(2, 0),
            Take(None),
            nack(1),
            ack(2),
            sent(3),
            took(1, 1),
            got(3),
            ack(1),
            empty,
        ],
    ];
    for calls in right {
        assert!(is_linearizable::<Fifo<4, 0>>(&record::one_by_one(calls)));
    }
    // With a slot held, full comes one message earlier, and not two.
    let (one_held, two_held) = ([sent(1), sent(2), sent(3), full(4)], [sent(1), sent(2), full(3)]);
    assert!(is_linearizable::<Fifo<4, 1>>(&record::one_by_one(&one_held)));
    assert!(!is_linearizable::<Fifo<4, 1>>(&record::one_by_one(&two_held)));
    // What was under guard is room when the messages are gone that it was passed over for, and not later.
    let late = [sent(1), sent(2), took(1, 0), ack(1), full(3), got(2), sent(4), sent(5), full(6)];
    let never = [sent(1), sent(2), took(1, 0), ack(1), got(2), sent(4), full(5)];
    assert!(is_linearizable::<Fifo<2, 0>>(&record::one_by_one(&late)));
    assert!(!is_linearizable::<Fifo<2, 0>>(&record::one_by_one(&never)));
    // A refused message takes no room from those behind it.
    let refused = [sent(1), took(1, 0), nack(1), full(2)];
    assert!(!is_linearizable::<Fifo<2, 0>>(&record::one_by_one(&refused)));
}

#[test]
fn a_slice_may_be_interrupted_and_not_turned_around() {
    use Operation::{Receive, Send};
    let sent = |message| Send { message, sent: true };
    let (got, empty) = (|message| Receive(Some(message)), Receive(None));
    // Each thread makes one call, all at the same time.
    let right: [&[&[Operation]]; 3] = [
        &[&[sent(1), sent(2)], &[got(1), got(3), got(2)], &[sent(3)]],
        &[&[sent(1), sent(2)], &[got(1), empty], &[got(2)]],
        &[&[sent(1), sent(2)], &[got(2)], &[got(1)]],
    ];
    for calls in right {
        assert!(is_linearizable::<Fifo<4, 0>>(&record::at_once(calls)), "{calls:?}");
    }
    let wrong: [(&str, &[&[Operation]]); 4] = [
        ("sent from its end", &[&[sent(1), sent(2)], &[got(2), got(1)]]),
        ("received from its end", &[&[sent(1), sent(2)], &[got(2), empty]]),
        ("a hole", &[&[sent(1), sent(2), sent(3)], &[got(1), got(3), empty]]),
        ("one message for two", &[&[sent(1), sent(2)], &[got(1), got(2)], &[got(2)]]),
    ];
    for (name, calls) in wrong {
        assert!(!is_linearizable::<Fifo<4, 3>>(&record::at_once(calls)), "{name}");
    }
}
