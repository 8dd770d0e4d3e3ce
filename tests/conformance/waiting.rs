//! Calls that wait: for a message, for room, for a side that has not come yet, until a deadline.

use std::thread;
use std::time::{Duration, Instant};

use ringway::{RecvTimeoutError, SendTimeoutError};

use crate::flavor::Kind;
use crate::message::numbered;
use crate::setup::{Setup, send_each, waiting};
use crate::{Behaviour, behaviours};

pub(crate) const WAITING: &[Behaviour] = behaviours![
    recv_waits_for_a_message,
    send_waits_for_room,
    recv_waits_for_the_first_sender,
    send_waits_for_the_first_receiver,
    recv_times_out_not_before_its_time,
    send_times_out_not_before_its_time,
    a_message_ends_a_timed_wait,
    room_ends_a_timed_wait,
    recv_slice_waits_for_the_first_message,
    send_slice_waits_for_room_again_and_again,
    wait_drained_waits_for_the_last_message,
    two_channels_of_one_message_play_ping_pong,
];

const TIMEOUT: Duration = Duration::from_millis(15);
/// For waits that must end by an event.
const LONG: Duration = Duration::from_secs(3600);

fn recv_waits_for_a_message<F: Kind>(setup: Setup) {
    let (tx, mut rx) = setup.ends::<u64, F>(4);
    for number in 0..3 {
        let receiver = waiting(setup.wait, move || (rx.recv(), rx));
        tx.send(number).unwrap();
        let (message, back) = receiver.join().unwrap();
        assert_eq!(message, Ok(number));
        rx = back;
    }
}

fn send_waits_for_room<F: Kind>(setup: Setup) {
    let (mut tx, rx) = setup.ends::<u64, F>(2);
    send_each(&tx, &[0, 1]);
    for number in 2..5 {
        let sender = waiting(setup.wait, move || (tx.send(number), tx));
        assert_eq!(rx.recv(), Ok(number - 2));
        let (sent, back) = sender.join().unwrap();
        assert_eq!(sent, Ok(()));
        tx = back;
    }
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [3, 4]);
}

fn recv_waits_for_the_first_sender<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(4);
    let rx = open.receiver();
    let receiver = waiting(setup.wait, move || rx.recv());
    open.sender().send(5).unwrap();
    assert_eq!(receiver.join().unwrap(), Ok(5));
}

fn send_waits_for_the_first_receiver<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(2);
    let tx = open.sender();
    send_each(&tx, &[0, 1]);
    let sender = waiting(setup.wait, move || tx.send(2));
    let rx = open.receiver();
    assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(sender.join().unwrap(), Ok(()));
}

fn recv_times_out_not_before_its_time<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(2);
    let rx = open.receiver();
    for sender in [None, Some(open.sender())] {
        let start = Instant::now();
        assert_eq!(rx.recv_timeout(TIMEOUT), Err(RecvTimeoutError::Timeout), "{sender:?}");
        assert!(start.elapsed() >= TIMEOUT);
        let deadline = Instant::now() + TIMEOUT;
        let error = rx.recv_deadline(deadline).unwrap_err();
        assert!(error.is_timeout() && !error.is_disconnected(), "{sender:?}");
        assert!(Instant::now() >= deadline);
    }
}

fn send_times_out_not_before_its_time<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(2);
    let tx = open.sender();
    send_each(&tx, &[0, 1]);
    for receiver in [None, Some(open.receiver())] {
        let start = Instant::now();
        assert_eq!(tx.send_timeout(7, TIMEOUT), Err(SendTimeoutError::Timeout(7)), "{receiver:?}");
        assert!(start.elapsed() >= TIMEOUT);
        let deadline = Instant::now() + TIMEOUT;
        assert_eq!(tx.send_deadline(8, deadline), Err(SendTimeoutError::Timeout(8)), "{receiver:?}");
        assert!(Instant::now() >= deadline);
        let start = Instant::now();
        assert_eq!(tx.wait_drained(Some(TIMEOUT)), Err(SendTimeoutError::Timeout(())), "{receiver:?}");
        assert!(start.elapsed() >= TIMEOUT);
    }
    assert_eq!(tx.len(), 2, "what timed out was not sent");
}

fn a_message_ends_a_timed_wait<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(1);
    let receiver = waiting(setup.wait, move || (rx.recv_timeout(LONG), rx));
    tx.send(1).unwrap();
    let (message, rx) = receiver.join().unwrap();
    assert_eq!(message, Ok(1));
    // A deadline too far to be computed is none.
    let receiver = waiting(setup.wait, move || (rx.recv_timeout(Duration::MAX), rx));
    tx.send(2).unwrap();
    let (message, rx) = receiver.join().unwrap();
    assert_eq!(message, Ok(2));
    let receiver = waiting(setup.wait, move || rx.recv_deadline(Instant::now() + LONG));
    tx.send(3).unwrap();
    assert_eq!(receiver.join().unwrap(), Ok(3));
}

fn room_ends_a_timed_wait<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(2);
    send_each(&tx, &[0, 1]);
    let sender = waiting(setup.wait, move || (tx.send_timeout(2, LONG), tx));
    assert_eq!(rx.recv(), Ok(0));
    let (sent, tx) = sender.join().unwrap();
    assert_eq!(sent, Ok(()));
    let sender = waiting(setup.wait, move || (tx.send_timeout(3, Duration::MAX), tx));
    assert_eq!(rx.recv(), Ok(1));
    let (sent, tx) = sender.join().unwrap();
    assert_eq!(sent, Ok(()));
    let sender = waiting(setup.wait, move || tx.send_deadline(4, Instant::now() + LONG));
    assert_eq!(rx.recv(), Ok(2));
    assert_eq!(sender.join().unwrap(), Ok(()));
    assert_eq!(rx.iter().collect::<Vec<_>>(), [3, 4]);
}

fn recv_slice_waits_for_the_first_message<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(8);
    let receiver = waiting(setup.wait, move || {
        let mut messages = [0; 8];
        let mut taken = 0;
        // What else is there by then depends on who is faster; nothing is waited for but the first.
        while taken < 3 {
            let more = rx.recv_slice(&mut messages[taken..]).unwrap();
            assert!(more > 0);
            taken += more;
        }
        messages
    });
    tx.send_slice(&[1, 2, 3]).unwrap();
    assert_eq!(receiver.join().unwrap(), [1, 2, 3, 0, 0, 0, 0, 0]);
}

fn send_slice_waits_for_room_again_and_again<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(3);
    let messages = numbered::<u64>(0..40 * setup.messages_a_place::<u64, F>() as u64);
    let sender = {
        let messages = messages.clone();
        waiting(setup.wait, move || tx.send_slice(&messages))
    };
    assert_eq!(rx.iter().collect::<Vec<_>>(), messages);
    assert_eq!(sender.join().unwrap(), Ok(()));
}

fn wait_drained_waits_for_the_last_message<F: Kind>(setup: Setup) {
    let (mut tx, rx) = setup.ends::<u64, F>(8);
    assert_eq!(tx.wait_drained(None), Ok(()), "nothing was sent");
    for timeout in [None, Some(LONG), Some(Duration::MAX)] {
        tx.send_slice(&[1, 2]).unwrap();
        let sender = waiting(setup.wait, move || (tx.wait_drained(timeout), tx.len(), tx));
        assert_eq!(rx.recv(), Ok(1));
        assert!(!sender.is_finished(), "one message is left");
        assert_eq!(rx.recv(), Ok(2));
        let (drained, len, back) = sender.join().unwrap();
        assert_eq!((drained, len), (Ok(()), 0));
        tx = back;
    }
}

fn two_channels_of_one_message_play_ping_pong<F: Kind>(setup: Setup) {
    let ((ping, pinged), (pong, ponged)) = (setup.ends::<u64, F>(1), setup.ends::<u64, F>(1));
    let echo = thread::spawn(move || pinged.iter().try_for_each(|message| pong.send(message + 1)));
    for number in 0..50 {
        ping.send(number).unwrap();
        assert_eq!(ponged.recv(), Ok(number + 1));
    }
    drop(ping);
    assert_eq!(echo.join().unwrap(), Ok(()));
}
