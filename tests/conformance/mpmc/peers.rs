//! Several peers a side: who counts as one, who is told about whom, and when a side has ended.

use std::process::id;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ringway::channel_of::Mpmc;
use ringway::mpmc::{Receiver, Sender};
use ringway::{Error, PeerState, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};

use crate::message::numbered;
use crate::setup::{Setup, send_each, waiting};
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![mpmc:
    each_call_opens_one_more_peer,
    clones_are_one_peer,
    a_clone_starts_where_its_original_is,
    only_the_last_of_a_side_ends_it,
    peers_beyond_the_maximum_are_refused,
    a_new_peer_continues_an_ended_stream,
    each_message_goes_to_one_receiver,
];

pub(crate) const LARGE: &[Behaviour] = behaviours![mpmc: a_thousand_peers_are_attached_at_once];

pub(crate) const WAITING: &[Behaviour] = behaviours![mpmc:
    handles_are_shared_by_threads,
    whoever_has_sent_finds_a_message,
    the_last_sender_wakes_every_receiver,
    the_last_receiver_wakes_every_sender,
    every_message_wakes_a_receiver,
    every_place_wakes_a_sender,
    every_competitor_is_served_in_the_end,
    a_side_that_always_has_somebody_never_ends,
    what_is_left_at_the_end_is_shared_out,
    a_message_to_each_of_many_channels_arrives,
    timeouts_on_both_sides_lose_nothing,
    a_length_is_never_more_than_fits,
];

const LONG: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(2);

fn each_call_opens_one_more_peer(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(8);
    let running = PeerState::Running { pid: id() };
    assert_eq!((open.sending().senders(), open.receiving().receivers()), (vec![], vec![]));
    let mut senders: Vec<_> = (0..3).map(|_| open.sender()).collect();
    let mut receivers: Vec<_> = (0..2).map(|_| open.receiver()).collect();
    for side in [open.sending(), open.receiving()] {
        assert_eq!((side.senders(), side.receivers()), (vec![running; 3], vec![running; 2]));
    }
    assert!(senders.iter().all(|tx| tx.peers() == [running; 2]));
    assert!(receivers.iter().all(|rx| rx.peers() == [running; 3]));

    senders.remove(1);
    receivers.remove(0);
    assert_eq!((receivers[0].peers(), senders[1].peers()), (vec![running; 2], vec![running]));
    for (number, tx) in senders.iter().enumerate() {
        tx.send(number as u64).unwrap();
    }
    assert_eq!(receivers[0].try_iter().collect::<Vec<_>>(), [0, 1]);
    // A place that was left is taken again.
    senders.push(open.sender());
    assert_eq!(open.sending().senders(), [running; 3]);
    drop((senders, receivers));
    assert_eq!((open.sending().senders(), open.receiving().receivers()), (vec![], vec![]));
}

fn clones_are_one_peer(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(8);
    let (tx, rx) = (open.sender(), open.receiver());
    let (txs, rxs) = (vec![tx.clone(); 50], vec![rx.clone(); 50]);
    assert_eq!((open.sending().senders().len(), open.receiving().receivers().len()), (1, 1));
    drop((tx, rx));
    // The clones go on without the originals, to the last of them.
    for (number, (tx, rx)) in txs.into_iter().zip(rxs).enumerate() {
        assert_eq!((tx.send(number as u64), rx.recv()), (Ok(()), Ok(number as u64)));
    }
    assert_eq!((open.sending().senders().len(), open.receiving().receivers().len()), (0, 0));
}

fn a_clone_starts_where_its_original_is(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(4);
    for round in 0..30 {
        let (other_tx, other_rx) = (tx.clone(), rx.clone());
        for (number, tx) in [&tx, &other_tx, &other_tx].into_iter().enumerate() {
            tx.try_send(round * 3 + number as u64).unwrap();
        }
        assert_eq!([tx.len(), other_tx.len(), rx.len(), other_rx.len()], [3; 4]);
        for (number, rx) in [&other_rx, &rx, &other_rx].into_iter().enumerate() {
            assert_eq!(rx.try_recv(), Ok(round * 3 + number as u64));
        }
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    }
}

fn only_the_last_of_a_side_ends_it(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(8);
    let (tx, rx) = (open.sender(), open.receiver());
    drop((tx.clone(), open.sender(), rx.clone(), open.receiver()));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "a sender is left");
    assert_eq!(tx.try_send(1), Ok(()), "a receiver is left");
    let other = open.receiver();
    drop(rx);
    assert_eq!(tx.try_send(2), Ok(()), "the other receiver is left");
    drop(tx);
    assert_eq!(other.iter().collect::<Vec<_>>(), [1, 2]);
    drop(open.sender());
    assert_eq!(other.recv(), Err(RecvError::Disconnected));
    let tx = open.sender();
    drop(other);
    assert_eq!(tx.send(3), Err(SendError::Disconnected(3)));
}

fn peers_beyond_the_maximum_are_refused(setup: Setup) {
    let open = setup.open_with::<u64, Mpmc>(&setup.options().capacity(4).peers(2));
    let (tx, rx) = (open.sender(), open.receiver());
    for side in [open.sending(), open.receiving()] {
        for error in [side.sender().err(), side.receiver().err()] {
            let error = error.expect("two peers are attached");
            let text = error.to_string();
            let Error::NoPeerLeft { peers: 2 } = error else { panic!("{error:?}") };
            assert!(text.contains("all 2 peers") && text.contains("Options::peers"), "{text}");
        }
    }
    // The refusals left no trace, and clones are no further peers.
    let (other_tx, other_rx) = (tx.clone(), rx.clone());
    other_tx.send(1).unwrap();
    assert_eq!(other_rx.recv(), Ok(1));
    drop((tx, other_tx));
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    // The place is anybody's, in either role.
    let third = open.receiver();
    drop((rx, other_rx));
    let tx = open.sender();
    tx.send(2).unwrap();
    assert_eq!(third.recv(), Ok(2));
}

fn a_new_peer_continues_an_ended_stream(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(4);
    let rx = open.receiver();
    for number in 0..50 {
        let tx = open.sender();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "there is a sender again");
        tx.send(number).unwrap();
        drop(tx);
        assert_eq!(rx.recv(), Ok(number));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    }
    drop(rx);
    let tx = open.sender();
    for number in 0..50 {
        assert_eq!(tx.try_send(number), Err(TrySendError::Disconnected(number)));
        let rx = open.receiver();
        tx.send(number).unwrap();
        assert_eq!(rx.recv(), Ok(number));
    }
}

fn each_message_goes_to_one_receiver(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(16);
    let tx = open.sender();
    let receivers: Vec<_> = (0..4).map(|_| open.receiver()).collect();
    for round in 0..20 {
        tx.send_slice(&numbered::<u64>(round * 16..(round + 1) * 16)).unwrap();
        // Whoever asks gets the oldest.
        for number in 0..16 {
            assert_eq!(receivers[(number * 7 + round) as usize % 4].try_recv(), Ok(round * 16 + number));
        }
        assert!(receivers.iter().all(|rx| rx.try_recv() == Err(TryRecvError::Empty)));
    }
}

fn a_thousand_peers_are_attached_at_once(setup: Setup) {
    const PEERS: usize = 1000;
    const THREADS: usize = 4;
    let open = setup.open_with::<u64, Mpmc>(&setup.options().capacity(64).peers(PEERS));
    let attached = Barrier::new(THREADS + 1);
    let done = Barrier::new(THREADS + 1);
    let received: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS as u64)
            .map(|thread| {
                let (open, attached, done) = (&open, &attached, &done);
                scope.spawn(move || {
                    let senders: Vec<_> = (0..PEERS / THREADS / 2).map(|_| open.sender()).collect();
                    let receivers: Vec<_> = (0..PEERS / THREADS / 2).map(|_| open.receiver()).collect();
                    attached.wait();
                    let exchange = |(number, (tx, rx)): (u64, (&Sender<u64>, &Receiver<u64>))| {
                        tx.send(thread << 32 | number).unwrap();
                        rx.recv().unwrap()
                    };
                    let received: Vec<_> = (0..).zip(senders.iter().zip(&receivers)).map(exchange).collect();
                    done.wait();
                    received
                })
            })
            .collect();
        attached.wait();
        assert_eq!((open.sending().senders().len(), open.receiving().receivers().len()), (PEERS / 2, PEERS / 2));
        assert!(matches!(open.sending().sender(), Err(Error::NoPeerLeft { peers: PEERS })));
        done.wait();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut received = received;
    received.sort_unstable();
    let sent = (0..THREADS as u64).flat_map(|thread| (0..PEERS / THREADS / 2).map(move |n| thread << 32 | n as u64));
    assert!(sent.eq(received), "every peer sent one message, and every peer received one");
    assert_eq!((open.sending().senders().len(), open.receiving().receivers().len()), (0, 0));
}

fn handles_are_shared_by_threads(setup: Setup) {
    const THREADS: u64 = 3;
    const EACH: u64 = 40;
    let (tx, rx) = setup.ends::<u64, Mpmc>(4);
    // By reference: no clone, one handle a side.
    let mut received = thread::scope(|scope| {
        let receivers: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| (0..EACH).map(|_| rx.recv().unwrap()).collect::<Vec<_>>())).collect();
        for thread in 0..THREADS {
            let tx = &tx;
            scope.spawn(move || (0..EACH).for_each(|number| tx.send(thread * EACH + number).unwrap()));
        }
        receivers.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    received.sort_unstable();
    assert!(received.into_iter().eq(0..THREADS * EACH));
}

fn whoever_has_sent_finds_a_message(setup: Setup) {
    const THREADS: u64 = 4;
    const EACH: u64 = 500;
    let open = setup.open::<u64, Mpmc>(THREADS as usize);
    let (tx, rx) = (open.sender(), open.receiver());
    let (received, start) = (AtomicU64::new(0), Barrier::new(THREADS as usize));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            // Some are peers of their own, some share one.
            let own = thread % 2 == 0;
            let (tx, rx) = if own { (open.sender(), open.receiver()) } else { (tx.clone(), rx.clone()) };
            let (received, start) = (&received, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..EACH {
                    tx.send(EACH * thread + number).unwrap();
                    // Nobody receives more often than they have sent, so somebody's message is there.
                    received.fetch_add(rx.try_recv().unwrap(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(received.into_inner(), (0..THREADS * EACH).sum());
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}

fn the_last_sender_wakes_every_receiver(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(4);
    let (tx, other) = (open.sender(), open.sender());
    let shared = open.receiver();
    let calls: [fn(&Receiver<u64>) -> bool; 4] = [
        |rx| rx.recv() == Err(RecvError::Disconnected),
        |rx| rx.recv_timeout(LONG) == Err(RecvTimeoutError::Disconnected),
        |rx| rx.recv_slice(&mut [0; 2]).is_err_and(|error| error.is_disconnected()),
        |rx| rx.iter().next().is_none(),
    ];
    let receivers: Vec<_> = calls
        .into_iter()
        .flat_map(|call| [(call, open.receiver()), (call, shared.clone())])
        .map(|(call, rx)| waiting(setup.wait, move || call(&rx)))
        .collect();
    drop((tx, other.clone()));
    assert!(receivers.iter().all(|thread| !thread.is_finished()), "a sender is left");
    drop(other);
    assert!(receivers.into_iter().all(|thread| thread.join().unwrap()));
}

fn the_last_receiver_wakes_every_sender(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(2);
    let (rx, other) = (open.receiver(), open.receiver());
    let shared = open.sender();
    send_each(&shared, &[0, 1]);
    let calls: [fn(&Sender<u64>) -> bool; 4] = [
        |tx| tx.send(9) == Err(SendError::Disconnected(9)),
        |tx| tx.send_timeout(9, LONG) == Err(SendTimeoutError::Disconnected(9)),
        |tx| tx.send_slice(&[9, 9]).is_err_and(|error| error.sent == 0),
        |tx| tx.wait_drained(None) == Err(SendTimeoutError::Disconnected(())),
    ];
    let senders: Vec<_> = calls
        .into_iter()
        .flat_map(|call| [(call, open.sender()), (call, shared.clone())])
        .map(|(call, tx)| waiting(setup.wait, move || call(&tx)))
        .collect();
    drop((rx, other.clone()));
    assert!(senders.iter().all(|thread| !thread.is_finished()), "a receiver is left");
    drop(other);
    assert!(senders.into_iter().all(|thread| thread.join().unwrap()));
    assert_eq!(shared.len(), 2, "none of them was sent");
}

fn every_message_wakes_a_receiver(setup: Setup) {
    const RECEIVERS: u64 = 4;
    let open = setup.open::<u64, Mpmc>(RECEIVERS as usize);
    let tx = open.sender();
    for batch in [false, true] {
        let receivers: Vec<_> = (0..RECEIVERS)
            .map(|_| {
                let rx = open.receiver();
                waiting(setup.wait, move || rx.recv().unwrap())
            })
            .collect();
        let numbers = numbered::<u64>(0..RECEIVERS);
        if batch {
            tx.send_slice(&numbers).unwrap();
        } else {
            numbers.iter().for_each(|number| tx.send(*number).unwrap());
        }
        let mut received: Vec<_> = receivers.into_iter().map(|thread| thread.join().unwrap()).collect();
        received.sort_unstable();
        assert_eq!(received, numbers);
        // Their ends have ended the channel for senders.
        assert_eq!(tx.try_send(0), Err(TrySendError::Disconnected(0)));
    }
}

fn every_place_wakes_a_sender(setup: Setup) {
    const SENDERS: u64 = 4;
    let open = setup.open::<u64, Mpmc>(SENDERS as usize);
    let (tx, rx) = (open.sender(), open.receiver());
    let before = numbered::<u64>(100..100 + SENDERS);
    for batch in [false, true] {
        send_each(&tx, &before);
        let senders: Vec<_> = (0..SENDERS)
            .map(|number| {
                let tx = open.sender();
                waiting(setup.wait, move || tx.send(number))
            })
            .collect();
        let mut places = [0; SENDERS as usize];
        if batch {
            assert_eq!(rx.recv_slice(&mut places), Ok(places.len()));
        } else {
            places.fill_with(|| rx.recv().unwrap());
        }
        assert_eq!(places[..], before[..]);
        senders.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        let mut received: Vec<_> = rx.try_iter().collect();
        received.sort_unstable();
        assert!(received.into_iter().eq(0..SENDERS));
    }
}

fn every_competitor_is_served_in_the_end(setup: Setup) {
    const COMPETITORS: usize = 3;
    let open = setup.open::<u64, Mpmc>(2);
    let stop = AtomicBool::new(false);
    // Each goes on until all others were served, too; an unfair channel would keep them for ever.
    let all_served = Barrier::new(2 * COMPETITORS);
    let (tx, rx) = (open.sender(), open.receiver());
    thread::scope(|scope| {
        for _ in 0..COMPETITORS {
            let (tx, rx, stop, all_served) = (open.sender(), open.receiver(), &stop, &all_served);
            scope.spawn(move || {
                tx.send(1).unwrap();
                all_served.wait();
                stop.store(true, Ordering::Relaxed);
            });
            scope.spawn(move || {
                rx.recv().unwrap();
                all_served.wait();
            });
        }
        // Two more who want everything.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = tx.send_timeout(0, MOMENT);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = rx.recv_timeout(MOMENT);
            }
        });
    });
}

fn a_side_that_always_has_somebody_never_ends(setup: Setup) {
    const ROUNDS: u64 = 30;
    let open = setup.open::<u64, Mpmc>(2);
    let (anchor, rx) = (open.sender(), open.receiver());
    thread::scope(|scope| {
        let open = &open;
        let comers: Vec<_> = (0..3)
            .map(|comer| {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        // Attached, sent one, gone: and now and then only attached and gone.
                        drop(open.sender());
                        open.sender().send(comer * ROUNDS + round).unwrap();
                        drop(open.receiver());
                    }
                })
            })
            .collect();
        let mut received: Vec<_> = (0..3 * ROUNDS).map(|_| rx.recv().expect("the anchor is attached")).collect();
        comers.into_iter().for_each(|comer| comer.join().unwrap());
        received.sort_unstable();
        assert!(received.into_iter().eq(0..3 * ROUNDS));
    });
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    drop(anchor);
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
}

fn what_is_left_at_the_end_is_shared_out(setup: Setup) {
    const LEFT: u64 = 64;
    let open = setup.open::<u64, Mpmc>(LEFT as usize);
    let tx = open.sender();
    tx.send_slice(&numbered::<u64>(0..LEFT)).unwrap();
    let receivers: Vec<_> = (0..4).map(|_| open.receiver()).collect();
    drop(tx);
    let threads = receivers.into_iter().map(|rx| thread::spawn(move || rx.into_iter().collect::<Vec<_>>()));
    let mut received: Vec<_> = threads.collect::<Vec<_>>().into_iter().flat_map(|t| t.join().unwrap()).collect();
    received.sort_unstable();
    assert!(received.into_iter().eq(0..LEFT));
}

fn a_message_to_each_of_many_channels_arrives(setup: Setup) {
    // Creation, a single message and the end, as close together as they can come.
    for number in 0..40 {
        let (tx, rx) = setup.ends::<u64, Mpmc>(1);
        let receiver = thread::spawn(move || (rx.recv(), rx.recv()));
        thread::spawn(move || tx.send(number)).join().unwrap().unwrap();
        assert_eq!(receiver.join().unwrap(), (Ok(number), Err(RecvError::Disconnected)));
    }
}

fn timeouts_on_both_sides_lose_nothing(setup: Setup) {
    const EACH: u64 = 60;
    const SHORT: Duration = Duration::from_micros(20);
    let (tx, rx) = setup.ends::<u64, Mpmc>(2);
    let mut received: Vec<u64> = thread::scope(|scope| {
        for thread in 0..2 {
            let tx = tx.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    let mut message = thread * EACH + number;
                    while let Err(error) = tx.send_timeout(message, SHORT) {
                        assert!(error.is_timeout());
                        assert_eq!(error.into_inner(), message, "the message comes back");
                        message = thread * EACH + number;
                        thread::yield_now();
                    }
                }
            });
        }
        drop(tx);
        let receive = |rx: Receiver<u64>| {
            let mut received = Vec::new();
            loop {
                match rx.recv_timeout(SHORT) {
                    Ok(message) => received.push(message),
                    Err(RecvTimeoutError::Timeout) => thread::yield_now(),
                    Err(error) => break assert!(error.is_disconnected()),
                }
            }
            received
        };
        let receivers: Vec<_> = (0..2).map(|_| rx.clone()).map(|rx| scope.spawn(move || receive(rx))).collect();
        receivers.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    received.sort_unstable();
    assert!(received.into_iter().eq(0..2 * EACH));
}

fn a_length_is_never_more_than_fits(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(4);
    thread::scope(|scope| {
        let (ours, theirs) = (tx.clone(), rx.clone());
        let sender = scope.spawn(move || (0..300).for_each(|number| ours.send(number).unwrap()));
        let receiver = scope.spawn(move || (0..300).for_each(|number| assert_eq!(theirs.recv(), Ok(number))));
        while !(sender.is_finished() && receiver.is_finished()) {
            assert!(tx.len() <= 4 && rx.len() <= 4);
            thread::yield_now();
        }
    });
    assert_eq!((tx.len(), rx.len(), tx.is_empty(), rx.is_full()), (0, 0, true, false));
}
