//! The end of a side: what was sent before it is received, what waits for it wakes.

use std::time::Duration;

use ringway::channel_of::{Flavor, Receiver, Sender};
use ringway::{RecvError, RecvTimeoutError, SendError, SendSliceError, SendTimeoutError, TryRecvError, TrySendError};

use crate::flavor::Kind;
use crate::message::numbered;
use crate::setup::{Setup, send_each, waiting};
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![
    every_receive_drains_before_it_fails,
    every_send_fails_when_the_receiver_has_gone,
    an_end_without_messages_is_seen_at_once,
    iterators_end_with_the_sender,
    a_try_iterator_ends_where_it_would_wait,
    what_the_receiver_left_stays_for_the_next,
    a_channel_that_stays_open_has_no_end,
];

pub(crate) const WAITING: &[Behaviour] = behaviours![
    every_waiting_receive_ends_with_the_sender,
    every_waiting_send_ends_with_the_receiver,
    a_waiting_iterator_yields_what_comes_and_ends,
    a_waiting_receive_gets_the_last_message_first,
    a_channel_that_stays_open_waits_for_the_next_peer,
];

/// A way to receive, and what came of it.
type ReceiveBy<F, R> = fn(&Receiver<u64, F>) -> R;
/// A way to send, and what came of it.
type SendBy<F, R> = fn(&Sender<u64, F>) -> R;

const LONG: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(2);

fn every_receive_drains_before_it_fails<F: Kind>(setup: Setup) {
    let ways: [ReceiveBy<F, Option<u64>>; 7] = [
        |rx| rx.try_recv().map_err(|error| assert_eq!(error, TryRecvError::Disconnected)).ok(),
        |rx| rx.recv().map_err(|error| assert_eq!(error, RecvError::Disconnected)).ok(),
        |rx| rx.recv_timeout(LONG).map_err(|error| assert_eq!(error, RecvTimeoutError::Disconnected)).ok(),
        |rx| {
            let mut place = [0];
            let taken = rx.try_recv_slice(&mut place).map_err(|error| assert_eq!(error, TryRecvError::Disconnected));
            taken.ok().map(|_| place[0])
        },
        |rx| {
            let mut place = [0];
            let taken = rx.recv_slice(&mut place).map_err(|error| assert_eq!(error, RecvError::Disconnected));
            taken.ok().map(|_| place[0])
        },
        |rx| rx.iter().next(),
        |rx| rx.into_iter().next(),
    ];
    for way in ways {
        let (tx, rx) = setup.ends::<u64, F>(10);
        tx.send_slice(&numbered::<u64>(0..10)).unwrap();
        drop(tx);
        for number in 0..10 {
            assert_eq!(rx.len() as u64, 10 - number);
            assert_eq!(way(&rx), Some(number));
        }
        for _ in 0..2 {
            assert_eq!(way(&rx), None);
        }
    }
}

/// Whether a slice came so far, and no further because nobody is left to receive it.
fn is_disconnected_after(messages: usize, error: &SendSliceError) -> bool {
    (error.sent, &error.cause) == (messages, &SendError::Disconnected(()))
}

fn every_send_fails_when_the_receiver_has_gone<F: Kind>(setup: Setup) {
    for left in [0, 1, 4] {
        let (tx, rx) = setup.ends::<u64, F>(4);
        tx.send_slice(&numbered::<u64>(0..left)).unwrap();
        drop(rx);
        // At once, whether there is room or not.
        assert_eq!(tx.try_send(9), Err(TrySendError::Disconnected(9)), "{left} left");
        assert_eq!(tx.send(9), Err(SendError::Disconnected(9)));
        assert_eq!(tx.send_timeout(9, LONG), Err(SendTimeoutError::Disconnected(9)));
        assert_eq!(tx.try_send_slice(&[9, 9]), Err(TrySendError::Disconnected(())));
        let error = tx.send_slice(&[9, 9]).unwrap_err();
        assert!(is_disconnected_after(0, &error));
        assert_eq!(error.to_string(), "after 0 messages: sending on a channel whose receiver is gone");
        let drained = if left == 0 { Ok(()) } else { Err(SendTimeoutError::Disconnected(())) };
        assert_eq!(tx.wait_drained(None), drained);
        assert_eq!(tx.len() as u64, left, "nothing was sent");
    }
}

fn an_end_without_messages_is_seen_at_once<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(1);
    drop(tx);
    let error = rx.try_recv().unwrap_err();
    assert!(error.is_disconnected() && !error.is_empty());
    assert_eq!(error.to_string(), "receiving on an empty channel whose sender is gone");
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
}

fn iterators_end_with_the_sender<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(20);
    tx.send_slice(&numbered::<u64>(0..20)).unwrap();
    drop(tx);
    assert_eq!(rx.iter().take(5).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let mut next = 5;
    for message in &rx {
        assert_eq!(message, next);
        next += 1;
        if next == 10 {
            break;
        }
    }
    assert_eq!(rx.try_iter().take(2).collect::<Vec<_>>(), [10, 11]);
    let mut rest = rx.into_iter();
    assert!(rest.by_ref().eq(12..20));
    assert_eq!(rest.next(), None);
}

fn a_try_iterator_ends_where_it_would_wait<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(20);
    assert_eq!(rx.try_iter().next(), None);
    for round in 0..20 {
        let numbers = numbered::<u64>(round..2 * round);
        tx.send_slice(&numbers).unwrap();
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), numbers);
    }
}

fn what_the_receiver_left_stays_for_the_next<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(10);
    let tx = open.sender();
    tx.send_slice(&numbered::<u64>(0..10)).unwrap();
    for number in 0..10 {
        assert_eq!(open.receiver().recv(), Ok(number), "each receiver takes one and goes");
        assert_eq!(tx.try_send(99), Err(TrySendError::Disconnected(99)));
    }
    let rx = open.receiver();
    tx.send(10).unwrap();
    assert_eq!(rx.recv(), Ok(10));
}

/// Has `call` wait, then `end` happen, and hands over what `call` returned.
fn ended_by<H: Send + 'static, R: Send + 'static>(
    setup: Setup,
    handle: H,
    call: fn(&H) -> R,
    end: impl FnOnce(),
) -> (R, H) {
    let thread = waiting(setup.wait, move || (call(&handle), handle));
    end();
    thread.join().unwrap()
}

fn every_waiting_receive_ends_with_the_sender<F: Kind>(setup: Setup) {
    let ways: [ReceiveBy<F, bool>; 5] = [
        |rx| rx.recv() == Err(RecvError::Disconnected),
        |rx| rx.recv_timeout(LONG) == Err(RecvTimeoutError::Disconnected),
        |rx| rx.recv_timeout(Duration::MAX) == Err(RecvTimeoutError::Disconnected),
        |rx| rx.recv_slice(&mut [0; 3]) == Err(RecvError::Disconnected),
        |rx| rx.iter().next().is_none(),
    ];
    let open = setup.open::<u64, F>(4);
    let mut rx = open.receiver();
    for way in ways {
        let tx = open.sender();
        let (as_promised, back) = ended_by(setup, rx, way, || drop(tx));
        assert!(as_promised);
        rx = back;
    }
}

fn every_waiting_send_ends_with_the_receiver<F: Kind>(setup: Setup) {
    let ways: [SendBy<F, bool>; 5] = [
        |tx| tx.send(9) == Err(SendError::Disconnected(9)),
        |tx| tx.send_timeout(9, LONG) == Err(SendTimeoutError::Disconnected(9)),
        |tx| tx.send_timeout(9, Duration::MAX) == Err(SendTimeoutError::Disconnected(9)),
        |tx| tx.send_slice(&[9, 9]).is_err_and(|error| is_disconnected_after(0, &error)),
        |tx| tx.wait_drained(None) == Err(SendTimeoutError::Disconnected(())),
    ];
    let open = setup.open::<u64, F>(2);
    let mut tx = open.sender();
    send_each(&tx, &[0, 1]);
    for way in ways {
        let rx = open.receiver();
        let (as_promised, back) = ended_by(setup, tx, way, || drop(rx));
        assert!(as_promised);
        tx = back;
    }

    // Of a slice, what went through before the end is counted.
    let rx = open.receiver();
    let take_one_and_go = || {
        assert_eq!(rx.recv(), Ok(0));
        while tx_is_behind(&rx) {}
        drop(rx);
    };
    let fit = setup.messages_a_place::<u64, F>();
    let (result, tx) = ended_by(setup, (tx, fit), |(tx, fit)| tx.send_slice(&vec![2; fit + 1]), take_one_and_go);
    assert!(is_disconnected_after(fit, &result.unwrap_err()));
    drop(tx);
    assert_eq!(open.receiver().iter().collect::<Vec<_>>(), [&[1][..], &vec![2; fit]].concat());
}

/// Whether the sender has not yet filled the place that the receiver made.
fn tx_is_behind<F: Flavor>(rx: &Receiver<u64, F>) -> bool {
    std::thread::yield_now();
    !rx.is_full()
}

fn a_waiting_iterator_yields_what_comes_and_ends<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(4);
    let receiver = waiting(setup.wait, move || rx.into_iter().collect::<Vec<_>>());
    let numbers = numbered::<u64>(0..50);
    tx.send_slice(&numbers).unwrap();
    drop(tx);
    assert_eq!(receiver.join().unwrap(), numbers);
}

fn a_waiting_receive_gets_the_last_message_first<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(3);
    let mut rx = open.receiver();
    // The message and the end come as close together as they can; the message must win.
    for number in 0..50 {
        let tx = open.sender();
        let receiver = waiting(setup.wait, move || (rx.recv(), rx.recv(), rx));
        tx.send(number).unwrap();
        drop(tx);
        let (message, end, back) = receiver.join().unwrap();
        assert_eq!((message, end), (Ok(number), Err(RecvError::Disconnected)));
        rx = back;
    }
}

fn a_channel_that_stays_open_has_no_end<F: Kind>(setup: Setup) {
    let open = setup.open_with::<u64, F>(&setup.options().capacity(2).stay_open(true));
    let rx = open.receiver();
    for number in 0..3 {
        open.sender().send(number).unwrap();
        assert_eq!(rx.recv(), Ok(number));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(rx.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    }
    drop(rx);
    let tx = open.sender();
    send_each(&tx, &[3, 4]);
    assert_eq!(tx.try_send(5), Err(TrySendError::Full(5)));
    assert_eq!(tx.send_timeout(5, MOMENT), Err(SendTimeoutError::Timeout(5)));
    assert_eq!(open.receiver().try_iter().collect::<Vec<_>>(), [3, 4]);
}

fn a_channel_that_stays_open_waits_for_the_next_peer<F: Kind>(setup: Setup) {
    let open = setup.open_with::<u64, F>(&setup.options().capacity(2).stay_open(true));
    let rx = open.receiver();
    drop(open.sender());
    let receiver = waiting(setup.wait, move || rx.recv());
    open.sender().send(1).unwrap();
    assert_eq!(receiver.join().unwrap(), Ok(1));

    let tx = open.sender();
    send_each(&tx, &[2, 3]);
    let sender = waiting(setup.wait, move || tx.send(4));
    let rx = open.receiver();
    assert_eq!([rx.recv(), rx.recv(), rx.recv()], [Ok(2), Ok(3), Ok(4)]);
    assert_eq!(sender.join().unwrap(), Ok(()));
}
