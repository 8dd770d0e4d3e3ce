//! Sending, receiving and counting without waiting, roles, and what handles tell about themselves.

use std::process::id;
use std::thread;
use std::time::{Duration, Instant};

use ringway::channel_of::Spsc;
use ringway::{Error, PeerState, RecvTimeoutError, Role, SendTimeoutError, TryRecvError, TrySendError};

use crate::flavor::Kind;
use crate::message::{Message, for_every_message, numbered};
use crate::setup::{Setup, send_each};
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![
    a_message_arrives,
    capacity_is_what_was_asked_for,
    len_counts_exactly_in_every_state,
    full_is_exactly_at_capacity,
    a_failed_send_hands_the_message_back,
    a_waiting_call_takes_what_is_there,
    a_role_is_free_again_after_a_clean_drop,
    a_side_that_never_attached_is_not_gone,
    a_closed_end_is_reopened_where_it_stopped,
    messages_outlive_both_handles,
    handles_move_between_threads,
    handles_name_their_channel,
];

pub(crate) const ROLES: &[Behaviour] = behaviours![spsc: a_role_has_one_holder, peers_are_told_about_each_other];

/// At every edge of a block: 7 words fill one, 14 messages of three bytes do.
const CAPACITIES: [usize; 10] = [1, 2, 3, 6, 7, 8, 13, 14, 64, 1024];

fn a_message_arrives<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(4);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    tx.try_send(7).unwrap();
    assert_eq!(rx.try_recv(), Ok(7));
    tx.send(8).unwrap();
    assert_eq!(rx.recv(), Ok(8));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}

fn capacity_is_what_was_asked_for<F: Kind>(setup: Setup) {
    for asked in CAPACITIES {
        let capacity = F::capacity(asked);
        let open = setup.open::<[u8; 3], F>(asked);
        let (tx, rx) = (open.sender(), open.receiver());
        assert_eq!([open.sending().capacity(), open.receiving().capacity()], [capacity; 2]);
        assert_eq!([tx.capacity(), rx.capacity()], [capacity; 2]);
    }
}

fn len_counts_exactly_in_every_state<F: Kind>(setup: Setup) {
    for capacity in F::capacities(&CAPACITIES).into_iter().filter(|capacity| *capacity <= 64) {
        let (tx, rx) = setup.ends::<u64, F>(capacity);
        let state = |len: usize| {
            assert_eq!([tx.len(), rx.len()], [len; 2], "capacity {capacity}");
            assert_eq!([tx.is_empty(), rx.is_empty()], [len == 0; 2]);
            assert_eq!([tx.is_full(), rx.is_full()], [len == capacity; 2]);
        };
        state(0);
        // Each round begins one place further, so that every length is seen at every place.
        for round in 0..capacity + 15 {
            for len in 0..capacity {
                tx.try_send(round as u64).unwrap();
                state(len + 1);
            }
            for len in (0..capacity).rev() {
                rx.try_recv().unwrap();
                state(len);
            }
            tx.try_send(0).unwrap();
            rx.try_recv().unwrap();
        }
    }
}

fn full_is_exactly_at_capacity<F: Kind>(setup: Setup) {
    for_every_message!(fill::<_, F>(setup));
}

fn fill<T: Message, F: Kind>(setup: Setup) {
    // Where every message fills lines of its own, a thousand of them tell no more than sixty.
    let longest = if size_of::<T>() <= 64 { 1024 } else { 64 };
    for capacity in F::capacities(&CAPACITIES).into_iter().filter(|capacity| *capacity <= longest) {
        let (tx, rx) = setup.ends::<T, F>(capacity);
        let mut sent = 0..;
        let mut received = 0..;
        let context = || format!("capacity {capacity}, {}", std::any::type_name::<T>());
        let mut send = || {
            let number = sent.next().unwrap();
            assert_eq!(tx.try_send(T::number(number)), Ok(()), "message {number} of {}", context());
        };
        let mut receive = || {
            let number = received.next().unwrap();
            assert_eq!(rx.try_recv(), Ok(T::number(number)), "message {number} of {}", context());
        };
        let is_full = || {
            let refused = tx.try_send(T::number(u64::MAX));
            assert_eq!(refused, Err(TrySendError::Full(T::number(u64::MAX))), "{}", context());
        };
        // Full at the start, after every partial take, and after wraps; then drained.
        (0..capacity).for_each(|_| send());
        is_full();
        for taken in [1, capacity / 2, capacity, capacity.div_ceil(3)] {
            (0..taken).for_each(|_| receive());
            (0..taken).for_each(|_| send());
            is_full();
        }
        (0..capacity).for_each(|_| receive());
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "{}", context());
    }
}

fn a_failed_send_hands_the_message_back<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(2);
    send_each(&tx, &[0, 1]);

    let full = tx.try_send(2).unwrap_err();
    assert!(full.is_full() && !full.is_disconnected());
    assert_eq!(full.into_inner(), 2);
    let timeout = tx.send_timeout(3, Duration::ZERO).unwrap_err();
    assert!(timeout.is_timeout() && !timeout.is_disconnected());
    assert_eq!(timeout.into_inner(), 3);

    drop(rx);
    let error = tx.try_send(4).unwrap_err();
    assert!(error.is_disconnected() && !error.is_full());
    assert_eq!(error.into_inner(), 4);
    let error = tx.send(5).unwrap_err();
    assert!(error.is_disconnected());
    assert_eq!(error.into_inner(), 5);
    let error = tx.send_timeout(6, Duration::from_secs(60)).unwrap_err();
    assert!(error.is_disconnected() && !error.is_timeout());
    assert_eq!(error.into_inner(), 6);
}

fn a_waiting_call_takes_what_is_there<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(4);
    let past = Instant::now();
    tx.send(0).unwrap();
    tx.send_timeout(1, Duration::ZERO).unwrap();
    tx.send_deadline(2, past).unwrap();
    tx.send_timeout(3, Duration::MAX).unwrap();
    assert_eq!(tx.send_deadline(4, past), Err(SendTimeoutError::Timeout(4)));
    assert_eq!(rx.recv(), Ok(0));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(1));
    assert_eq!(rx.recv_deadline(past), Ok(2));
    assert_eq!(rx.recv_timeout(Duration::MAX), Ok(3));
    assert_eq!(rx.recv_deadline(past), Err(RecvTimeoutError::Timeout));
    assert_eq!(tx.wait_drained(Some(Duration::ZERO)), Ok(()));
}

fn a_role_has_one_holder(setup: Setup) {
    let open = setup.open::<u64, Spsc>(4);
    let (tx, rx) = (open.sender(), open.receiver());
    for (sending, receiving) in [(open.sending(), open.sending()), (open.also_sending(), open.receiving())] {
        let errors = [(Role::Sender, sending.sender().err()), (Role::Receiver, receiving.receiver().err())];
        for (expected, error) in errors {
            let error = error.expect("the role is taken");
            let text = error.to_string();
            let Error::RoleTaken { role, holder } = error else { panic!("{error:?}") };
            assert_eq!((role, holder), (expected, PeerState::Running { pid: id() }));
            assert!(text.contains(&format!("the {expected} of this channel is taken")), "{text}");
            assert!(text.contains(&id().to_string()) && text.contains("end that one"), "{text}");
        }
    }
    // The refusals left no trace.
    tx.send(1).unwrap();
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!([tx.peer(), rx.peer()], [PeerState::Running { pid: id() }; 2]);
}

fn a_role_is_free_again_after_a_clean_drop<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(4);
    for _ in 0..50 {
        drop((open.sender(), open.receiver()));
        // Either side may open either end, unless the channel is one-way.
        let (rx, tx) = (open.sending().receiver().unwrap(), open.also_sending().sender().unwrap());
        tx.send(1).unwrap();
        assert_eq!(rx.recv(), Ok(1));
    }
}

fn peers_are_told_about_each_other(setup: Setup) {
    let open = setup.open::<u64, Spsc>(4);
    let states = || {
        let seen = [open.sending(), open.receiving()].map(|side| (side.sender_state(), side.receiver_state()));
        assert_eq!(seen[0], seen[1], "both sides see the same");
        seen[0]
    };
    let running = PeerState::Running { pid: id() };
    assert_eq!(states(), (PeerState::Never, PeerState::Never));

    let tx = open.sender();
    assert_eq!(states(), (running, PeerState::Never));
    assert_eq!(tx.peer(), PeerState::Never);
    let rx = open.receiver();
    assert_eq!(states(), (running, running));
    assert_eq!([tx.peer(), rx.peer()], [running; 2]);
    assert!(running.is_alive() && !running.is_gone());
    assert_eq!(running.to_string(), format!("process {}, running", id()));

    drop(tx);
    assert_eq!(states(), (PeerState::Closed, running));
    assert_eq!(rx.peer(), PeerState::Closed);
    assert!(PeerState::Closed.is_gone() && !PeerState::Never.is_gone() && !PeerState::Never.is_alive());
    let tx = open.sender();
    assert_eq!(states(), (running, running));
    drop((tx, rx));
    assert_eq!(states(), (PeerState::Closed, PeerState::Closed));
}

fn a_side_that_never_attached_is_not_gone<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(3);
    let rx = open.receiver();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.try_recv_slice(&mut [0]), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(Duration::from_millis(5)), Err(RecvTimeoutError::Timeout));
    drop(rx);

    let open = setup.open::<u64, F>(4);
    let tx = open.sender();
    for number in 0..4 {
        tx.send(number).unwrap();
    }
    assert_eq!(tx.try_send(4), Err(TrySendError::Full(4)));
    assert_eq!(tx.send_timeout(4, Duration::from_millis(5)), Err(SendTimeoutError::Timeout(4)));
    assert_eq!(tx.wait_drained(Some(Duration::from_millis(5))), Err(SendTimeoutError::Timeout(())));
    let rx = open.receiver();
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

fn a_closed_end_is_reopened_where_it_stopped<F: Kind>(setup: Setup) {
    for_every_message!(reopen::<_, F>(setup));
}

fn reopen<T: Message, F: Kind>(setup: Setup) {
    // Twice around the longest block of 56, closing each end at every place.
    const COUNT: u64 = 130;
    let open = setup.open::<T, F>(9);
    let mut rx = open.receiver();
    for number in 0..COUNT {
        let tx = open.sender();
        assert_eq!((tx.len(), rx.len()), (0, 0), "before message {number}");
        assert_eq!(tx.try_send(T::number(number)), Ok(()), "the receiver is open again");
        drop(tx);
        assert_eq!(rx.len(), 1, "after message {number}");
        if number % 3 == 0 {
            drop(rx);
            rx = open.receiver();
        }
        assert_eq!(rx.try_recv(), Ok(T::number(number)), "message {number}");
        assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    }
}

fn messages_outlive_both_handles<F: Kind>(setup: Setup) {
    for capacity in F::capacities(&CAPACITIES).into_iter().filter(|capacity| *capacity <= 64) {
        let open = setup.open::<u64, F>(capacity);
        let mut numbers = 0..;
        // Filled by several senders, none of which ever meets a receiver.
        for _ in 0..capacity {
            open.sender().try_send(numbers.next().unwrap()).unwrap();
        }
        assert_eq!(open.sender().try_send(0), Err(TrySendError::Full(0)), "capacity {capacity}");
        let rx = open.receiver();
        assert!(rx.is_full());
        assert_eq!(rx.iter().collect::<Vec<u64>>(), numbered::<u64>(0..capacity as u64));
    }
}

fn handles_move_between_threads<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(4);
    let tx = thread::spawn(move || tx.send(1).map(|()| tx).unwrap()).join().unwrap();
    let rx = thread::spawn(move || rx.recv().map(|message| assert_eq!(message, 1)).map(|()| rx).unwrap());
    let rx = rx.join().unwrap();
    tx.send(2).unwrap();
    drop(tx);
    assert_eq!(rx.into_iter().collect::<Vec<_>>(), [2]);
}

fn handles_name_their_channel<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(4);
    let (tx, rx) = (open.sender(), open.receiver());
    let name = open.sending().name();
    assert_eq!(name.is_some(), setup.backing.has_name());
    assert_eq!([open.receiving().name(), tx.name(), rx.name()], [name; 3]);
    assert_eq!(open.sending().as_fd().is_some(), setup.backing.has_file());
    for (text, name) in [(format!("{tx:?}"), "Sender"), (format!("{rx:?}"), "Receiver")] {
        assert!(text.starts_with(name) && text.contains("len: 0"), "{text}");
    }
}
