//! Receiving at least once: what acknowledges a message, what delivers it again, and to whom.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ringway::channel_of::Mpmc;
use ringway::mpmc::{Receiver, Sender};
use ringway::{Inspection, Payload, RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::message::{Message, numbered};
use crate::random::Random;
use crate::setup::{Setup, waiting};
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![mpmc:
    an_acknowledged_message_is_gone,
    whatever_is_not_acknowledged_comes_again,
    a_panic_delivers_again,
    deliveries_are_counted_for_each_message,
    another_receiver_gets_what_one_refused,
    a_redelivered_message_comes_at_the_end_of_the_line,
    a_refusal_needs_no_room,
    places_that_a_redelivery_passes_over_are_room_again_in_the_end,
    a_guard_outlives_many_laps,
    guards_may_end_in_any_order,
    as_many_guards_as_slots,
    a_plain_receive_gets_what_was_refused,
    the_end_waits_for_what_others_hold,
    clones_wait_for_each_other,
    a_message_that_is_not_copy_is_acknowledged,
    a_message_under_guard_is_not_drained,
    guards_are_inspected,
];

pub(crate) const WAITING: &[Behaviour] = behaviours![mpmc:
    a_guard_is_waited_for,
    a_refusal_wakes_a_receiver,
    an_acknowledgement_wakes_a_sender,
    the_last_acknowledgement_ends_the_stream,
    every_message_is_acknowledged_once,
];

const LONG: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(2);

fn an_acknowledged_message_is_gone(setup: Setup) {
    let (tx, rx) = setup.ends::<[u8; 57], Mpmc>(2);
    for number in 0..20 {
        let message = Message::number(number);
        tx.send(message).unwrap();
        let guard = rx.recv_guard().unwrap();
        assert_eq!((*guard, guard.redeliveries()), (message, 0));
        assert!(format!("{guard:?}").starts_with("Guard"));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "nobody else gets it meanwhile");
        assert_eq!(guard.ack(), Ok(message));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!([tx.len(), rx.len()], [0, 0]);
    }
}

fn whatever_is_not_acknowledged_comes_again(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(4);
    tx.send(7).unwrap();
    for round in 0..40 {
        let guard = match round % 3 {
            0 => rx.try_recv_guard().unwrap(),
            1 => rx.recv_guard().unwrap(),
            _ => rx.recv_guard_timeout(Duration::ZERO).unwrap(),
        };
        assert_eq!((*guard, guard.redeliveries()), (7, round));
        if round % 2 == 0 { guard.nack().unwrap() } else { drop(guard) }
    }
    assert_eq!(rx.recv_guard().unwrap().ack(), Ok(7));
    assert_eq!(rx.try_recv_guard().map(drop), Err(TryRecvError::Empty));
}

fn a_panic_delivers_again(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(4);
    tx.send(7).unwrap();
    let failed = catch_unwind(AssertUnwindSafe(|| {
        let guard = rx.recv_guard().unwrap();
        // Without the message that a panic prints: this one is wanted.
        std::panic::resume_unwind(Box::new(*guard));
    }));
    assert_eq!(failed.unwrap_err().downcast_ref(), Some(&7_u64));
    let guard = rx.recv_guard().unwrap();
    assert_eq!((*guard, guard.redeliveries()), (7, 1));
}

fn deliveries_are_counted_for_each_message(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(8);
    let mut deliveries = [0; 200];
    let mut random = Random::new(3);
    let (mut sent, mut done) = (0, 0);
    while done < deliveries.len() {
        // Slots are used again and again by messages with other histories.
        while sent < deliveries.len() && tx.try_send(sent as u64).is_ok() {
            sent += 1;
        }
        let guard = rx.try_recv_guard().unwrap();
        let number = *guard as usize;
        assert_eq!(guard.redeliveries(), deliveries[number], "message {number}");
        deliveries[number] += 1;
        if random.below(3) == 0 {
            guard.ack().unwrap();
            done += 1;
        }
    }
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}

fn another_receiver_gets_what_one_refused(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(4);
    let (tx, rx, other) = (open.sender(), open.receiver(), open.receiver());
    tx.send(7).unwrap();
    let guard = rx.recv_guard().unwrap();
    assert_eq!(other.try_recv(), Err(TryRecvError::Empty));
    guard.nack().unwrap();
    let guard = other.recv_guard().unwrap();
    assert_eq!((*guard, guard.redeliveries()), (7, 1));
    // A peer that ends returns what its guards held before.
    drop(guard);
    drop(other);
    let guard = rx.recv_guard().unwrap();
    assert_eq!((*guard, guard.redeliveries()), (7, 2));
}

fn a_redelivered_message_comes_at_the_end_of_the_line(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(8);
    tx.send_slice(&[0, 1, 2, 3]).unwrap();
    let (zero, one) = (rx.recv_guard().unwrap(), rx.recv_guard().unwrap());
    one.nack().unwrap();
    zero.nack().unwrap();
    let mut rest: Vec<_> = rx.try_iter().collect();
    assert_eq!(rest[..2], [2, 3]);
    rest.sort_unstable();
    assert_eq!(rest, [0, 1, 2, 3]);
}

fn a_refusal_needs_no_room(setup: Setup) {
    for capacity in [2, 4, 16] {
        let (tx, rx) = setup.ends::<u64, Mpmc>(capacity);
        let numbers = numbered::<u64>(0..capacity as u64);
        tx.send_slice(&numbers).unwrap();
        let first = rx.recv_guard().unwrap();
        // The place under the guard is not to be had.
        assert_eq!(tx.try_send(99), Err(TrySendError::Full(99)));
        first.nack().unwrap();
        assert_eq!(tx.try_send(99), Err(TrySendError::Full(99)));
        let mut received: Vec<_> = rx.try_iter().collect();
        assert_eq!(received.pop(), Some(0));
        assert_eq!(received, numbers[1..]);
        is_whole(&tx, &rx);
    }
}

fn places_that_a_redelivery_passes_over_are_room_again_in_the_end(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(8);
    tx.send_slice(&numbered::<u64>(0..8)).unwrap();
    let mut guards: Vec<_> = (0..8).map(|_| rx.recv_guard().unwrap()).collect();
    for acknowledged in [6, 5, 4, 2, 1] {
        guards.remove(acknowledged).ack().unwrap();
    }
    drop(guards);
    // 0, 3 and 7 come back in their slots, so the places between 3 and 7 are not to be had as long as 3 is there.
    assert_eq!(rx.try_recv(), Ok(0));
    let fit = (10..20).take_while(|number| tx.try_send(*number).is_ok()).count() as u64;
    assert!((3..=6).contains(&fit), "{fit} fit beside two");
    assert_eq!(rx.try_recv(), Ok(3));
    let more = (10 + fit..20).take_while(|number| tx.try_send(*number).is_ok()).count() as u64;
    assert_eq!(fit + more, 7, "7 is the only one from before");
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [7, 10, 11, 12, 13, 14, 15, 16]);
    is_whole(&tx, &rx);
}

/// Exactly as many messages fit as should, in order, more than once around.
fn is_whole(tx: &Sender<u64>, rx: &Receiver<u64>) {
    for _ in 0..3 {
        let numbers = numbered::<u64>(0..tx.capacity() as u64);
        assert!(numbers.iter().all(|number| tx.try_send(*number) == Ok(())), "less than {} fit", numbers.len());
        assert_eq!(tx.try_send(99), Err(TrySendError::Full(99)));
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), numbers);
    }
}

fn a_guard_outlives_many_laps(setup: Setup) {
    for acknowledge in [true, false] {
        let (tx, rx) = setup.ends::<u64, Mpmc>(4);
        tx.send(99).unwrap();
        let guard = rx.recv_guard().unwrap();
        for number in 0..500 {
            // Three places are left; each turn leaves them all used.
            tx.try_send(number).unwrap();
            if number >= 2 {
                assert_eq!(rx.try_recv(), Ok(number - 2));
            }
        }
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [498, 499]);
        assert_eq!(*guard, 99);
        if acknowledge {
            assert_eq!(guard.ack(), Ok(99));
        } else {
            guard.nack().unwrap();
            assert_eq!(rx.recv_guard().unwrap().ack(), Ok(99));
        }
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        is_whole(&tx, &rx);
    }
}

fn guards_may_end_in_any_order(setup: Setup) {
    let mut random = Random::new(5);
    for _ in 0..30 {
        let (tx, rx) = setup.ends::<u64, Mpmc>(8);
        tx.send_slice(&numbered::<u64>(0..8)).unwrap();
        let mut guards: Vec<_> = (0..6).map(|_| rx.recv_guard().unwrap()).collect();
        let mut expected = vec![6, 7];
        while !guards.is_empty() {
            let guard = guards.swap_remove(random.below(guards.len()));
            if random.below(2) == 0 {
                expected.push(*guard);
                guard.nack().unwrap();
            } else {
                guard.ack().unwrap();
            }
        }
        let mut rest: Vec<_> = rx.try_iter().collect();
        assert_eq!(rest[..2], [6, 7], "those which were there come first");
        rest.sort_unstable();
        expected.sort_unstable();
        assert_eq!(rest, expected);
        is_whole(&tx, &rx);
    }
}

fn as_many_guards_as_slots(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(64);
    let (tx, rx) = (open.sender(), open.receiver());
    let clone = rx.clone();
    tx.send_slice(&numbered::<u64>(0..64)).unwrap();
    let guards: Vec<_> = (0..64).map(|n| if n % 2 == 0 { &rx } else { &clone }.try_recv_guard().unwrap()).collect();
    assert!(guards.iter().map(|guard| **guard).eq(0..64));
    assert_eq!(rx.try_recv_guard().map(drop), Err(TryRecvError::Empty));
    assert_eq!(tx.try_send(99), Err(TrySendError::Full(99)));
    let (even, odd): (Vec<_>, Vec<_>) = guards.into_iter().partition(|guard| **guard % 2 == 0);
    drop(odd);
    assert!(even.into_iter().all(|guard| guard.ack().is_ok()));
    let mut again: Vec<_> = (0..32).map(|_| rx.try_recv_guard().unwrap()).collect();
    assert!(again.iter().all(|guard| guard.redeliveries() == 1));
    again.sort_by_key(|guard| **guard);
    assert!(again.iter().map(|guard| **guard).eq((0..32).map(|number| 2 * number + 1)));
    assert!(again.into_iter().all(|guard| guard.ack().is_ok()));
    is_whole(&tx, &rx);
}

fn a_plain_receive_gets_what_was_refused(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(4);
    let mut places = [0; 4];
    let ways: [&mut dyn FnMut() -> u64; 4] = [
        &mut || rx.try_recv().unwrap(),
        &mut || rx.recv().unwrap(),
        &mut || rx.recv_timeout(LONG).unwrap(),
        &mut || rx.try_recv_slice(&mut places).map(|taken| taken as u64 + 6).unwrap(),
    ];
    for way in ways {
        tx.send(7).unwrap();
        drop(rx.recv_guard().unwrap());
        assert_eq!(way(), 7);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    }
    assert_eq!(places[0], 7);
}

fn the_end_waits_for_what_others_hold(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(4);
    let (rx, other) = (open.receiver(), open.receiver());
    open.sender().send_slice(&[1, 2]).unwrap();
    // A peer does not wait for itself.
    let (first, second) = (rx.recv_guard().unwrap(), rx.recv_guard().unwrap());
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(other.try_recv(), Err(TryRecvError::Empty), "message 1 or 2 may come back");
    assert_eq!(other.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    first.nack().unwrap();
    assert_eq!(other.recv(), Ok(1));
    assert_eq!(other.try_recv(), Err(TryRecvError::Empty), "message 2 may come back");
    second.ack().unwrap();
    assert_eq!(other.try_recv(), Err(TryRecvError::Disconnected));
}

fn clones_wait_for_each_other(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(4);
    let rx = open.receiver();
    let clone = rx.clone();
    open.sender().send(1).unwrap();
    let guard = rx.recv_guard().unwrap();
    assert_eq!(clone.try_recv(), Err(TryRecvError::Empty), "message 1 may come back");
    assert_eq!(clone.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected), "a handle does not wait for itself");
    drop(guard);
    assert_eq!(clone.recv(), Ok(1));
    assert_eq!(clone.recv(), Err(RecvError::Disconnected));
}

#[derive(Debug, PartialEq, FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Unique {
    number: u64,
}

fn a_message_that_is_not_copy_is_acknowledged(setup: Setup) {
    let (tx, rx) = setup.ends::<Unique, Mpmc>(2);
    tx.send(Unique { number: 5 }).unwrap();
    assert_eq!(rx.recv_guard().unwrap().ack(), Ok(Unique { number: 5 }));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}

fn a_message_under_guard_is_not_drained(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(4);
    tx.send_slice(&[1, 2]).unwrap();
    let first = rx.recv_guard().unwrap();
    assert_eq!(rx.recv(), Ok(2));
    assert_eq!(tx.wait_drained(Some(MOMENT)), Err(SendTimeoutError::Timeout(())));
    first.ack().unwrap();
    assert_eq!(tx.wait_drained(None), Ok(()));
}

fn guards_are_inspected(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(8);
    let (tx, rx) = (open.sender(), open.receiver());
    let Some(name) = open.sending().name() else { return };
    let seen = || Inspection::of(name).unwrap().slots.expect("an MPMC region has slots");
    assert_eq!((seen().guarded, seen().held, seen().writing), (0, 0, 0));
    assert_eq!(seen().mode, if setup.membarrier { 'A' } else { 'C' });
    tx.send_slice(&[0; 5]).unwrap();
    let guards: Vec<_> = (0..3).map(|_| rx.recv_guard().unwrap()).collect();
    assert_eq!(seen().guarded, 3);
    let text = Inspection::of(name).unwrap().to_string();
    assert!(text.contains("3 under guard"), "{text}");
    drop(guards);
    while rx.try_recv().is_ok() {}
    assert_eq!((seen().guarded, seen().held, seen().writing), (0, 0, 0));
}

fn a_guard_is_waited_for(setup: Setup) {
    let (tx, mut rx) = setup.ends::<u64, Mpmc>(4);
    let calls: [fn(&Receiver<u64>) -> u64; 2] =
        [|rx| rx.recv_guard().unwrap().ack().unwrap(), |rx| rx.recv_guard_timeout(LONG).unwrap().ack().unwrap()];
    for call in calls {
        let receiver = waiting(setup.wait, move || (call(&rx), rx));
        tx.send(7).unwrap();
        let (message, back) = receiver.join().unwrap();
        assert_eq!(message, 7);
        rx = back;
    }
    assert_eq!(rx.recv_guard_timeout(MOMENT).map(drop), Err(RecvTimeoutError::Timeout));
    let receiver = waiting(setup.wait, move || rx.recv_guard().map(drop));
    drop(tx);
    assert_eq!(receiver.join().unwrap(), Err(RecvError::Disconnected));
}

fn a_refusal_wakes_a_receiver(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(4);
    let (tx, rx) = (open.sender(), open.receiver());
    let refusals: [fn(&Receiver<u64>); 2] =
        [|rx| rx.recv_guard().unwrap().nack().unwrap(), |rx| drop(rx.recv_guard().unwrap())];
    for refuse in refusals {
        let held = open.receiver();
        tx.send(7).unwrap();
        let guard = held.recv_guard().unwrap();
        let ours = rx.clone();
        let receiver = waiting(setup.wait, move || ours.recv());
        drop(guard);
        assert_eq!(receiver.join().unwrap(), Ok(7));
        tx.send(8).unwrap();
        refuse(&held);
        assert_eq!(rx.recv(), Ok(8));
    }
}

fn an_acknowledgement_wakes_a_sender(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(2);
    tx.send_slice(&[0, 1]).unwrap();
    let guards = [rx.recv_guard().unwrap(), rx.recv_guard().unwrap()];
    let sender = waiting(setup.wait, move || tx.send(2));
    assert!(guards.into_iter().all(|guard| guard.ack().is_ok()));
    assert_eq!(sender.join().unwrap(), Ok(()));
    assert_eq!(rx.recv(), Ok(2));
}

fn the_last_acknowledgement_ends_the_stream(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(2);
    let (rx, other) = (open.receiver(), open.receiver());
    open.sender().send(7).unwrap();
    let guard = rx.recv_guard().unwrap();
    let receiver = waiting(setup.wait, move || other.recv());
    guard.ack().unwrap();
    assert_eq!(receiver.join().unwrap(), Err(RecvError::Disconnected));
}

fn every_message_is_acknowledged_once(setup: Setup) {
    const MESSAGES: usize = 300;
    for capacity in [2, 4, 64] {
        let open = setup.open::<u64, Mpmc>(capacity);
        let deliveries: Vec<_> = (0..MESSAGES).map(|_| AtomicU64::new(0)).collect();
        let acknowledged: Vec<_> = (0..MESSAGES).map(|_| AtomicU64::new(0)).collect();
        let tx = open.sender();
        thread::scope(|scope| {
            for seed in 0..3 {
                let (rx, deliveries, acknowledged) = (open.receiver(), &deliveries, &acknowledged);
                scope.spawn(move || handle(&rx, seed, deliveries, acknowledged));
            }
            (0..MESSAGES as u64).for_each(|number| tx.send(number).unwrap());
            drop(tx);
        });
        assert!(acknowledged.iter().all(|count| count.load(Ordering::Relaxed) == 1), "capacity {capacity}");
        let (tx, rx) = (open.sender(), open.receiver());
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        is_whole(&tx, &rx);
    }
}

/// Handles messages to the end of the stream: acknowledges some at once, keeps some for a while, refuses some.
fn handle(rx: &Receiver<u64>, seed: u64, deliveries: &[AtomicU64], acknowledged: &[AtomicU64]) {
    let mut random = Random::new(seed);
    let mut kept = None;
    loop {
        // What is kept is done with before anything is waited for.
        let Ok(guard) =
            (if kept.is_some() { rx.try_recv_guard().map_err(drop) } else { rx.recv_guard().map_err(drop) })
        else {
            match kept.take() {
                Some(_) => continue,
                None => break,
            }
        };
        let number = *guard as usize;
        let before = deliveries[number].fetch_add(1, Ordering::Relaxed);
        assert_eq!(u64::from(guard.redeliveries()), before, "message {number}");
        match random.below(6) {
            0 => guard.nack().unwrap(),
            1 => drop(guard),
            2 => kept = Some(guard),
            _ => {
                acknowledged[number].fetch_add(1, Ordering::Relaxed);
                guard.ack().unwrap();
            }
        }
    }
}
