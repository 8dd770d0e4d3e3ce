//! Several producers and consumers.

use loom::thread;

use super::{Message, explore, explore_up_to, message};
use crate::Options;
use crate::error::{RecvError, TryRecvError, TrySendError};
use crate::mpmc::{Channel, Receiver, Sender};
use crate::wait::Wait;

fn options() -> Options {
    Options::new().capacity(2).peers(4).wait(Wait::Park).membarrier(false)
}

fn open() -> Channel<Message> {
    Channel::heap(&options()).unwrap()
}

fn ends() -> (Sender<Message>, Receiver<Message>) {
    let channel = open();
    (channel.sender().unwrap(), channel.receiver().unwrap())
}

/// Of a ring in which the two messages of a slice share a slot.
fn packed_ends() -> (Sender<Message>, Receiver<Message>) {
    let channel = Channel::heap(&options().pack_batches(true)).unwrap();
    (channel.sender().unwrap(), channel.receiver().unwrap())
}

fn send(tx: &Sender<Message>, number: u64) {
    while let Err(error) = tx.try_send(message(number)) {
        assert!(matches!(error, TrySendError::Full(_)), "{error}");
        thread::yield_now();
    }
}

/// Receives until there are no more senders.
fn drain(rx: &Receiver<Message>) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        match rx.try_recv() {
            Ok(found) => {
                assert_eq!(found, message(found[0]), "torn");
                numbers.push(found[0]);
            }
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(TryRecvError::Disconnected) => return numbers,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn two_producers_and_a_consumer() {
    // A consumer has no patience here, so slots are quarantined, given back, and their messages sent again.
    explore(|| {
        let (tx, rx) = ends();
        let others = tx.clone();
        let sender = thread::spawn(move || send(&others, 10));
        let receiver = thread::spawn(move || drain(&rx));
        send(&tx, 0);
        drop(tx);
        sender.join().unwrap();
        let mut numbers = receiver.join().unwrap();
        numbers.sort();
        assert_eq!(numbers, [0, 10]);
    });
}

#[test]
fn messages_arrive_in_order_over_a_wrap() {
    explore(|| {
        let (tx, rx) = ends();
        let sender = thread::spawn(move || (0..3).for_each(|number| send(&tx, number)));
        assert_eq!(drain(&rx), [0, 1, 2]);
        sender.join().unwrap();
    });
}

#[test]
fn two_consumers_share_without_loss_or_duplicate() {
    explore_up_to(2, || {
        let (tx, rx) = ends();
        send(&tx, 0);
        let other = rx.clone();
        let sender = thread::spawn(move || send(&tx, 1));
        let attempt =
            |rx: &Receiver<Message>| rx.try_recv().ok().inspect(|found| assert_eq!(*found, message(found[0])));
        let receiver = thread::spawn(move || attempt(&other));
        let mine = attempt(&rx);
        let theirs = receiver.join().unwrap();
        sender.join().unwrap();
        let taken = [mine, theirs].into_iter().flatten().map(|found| found[0]);
        let mut all: Vec<_> = taken.chain(drain(&rx)).collect();
        all.sort();
        assert_eq!(all, [0, 1]);
    });
}

#[test]
fn what_is_refused_comes_back_and_what_is_acknowledged_does_not() {
    explore_up_to(2, || {
        let (tx, rx) = ends();
        send(&tx, 0);
        let other = rx.clone();
        let receiver = thread::spawn(move || {
            let guard = other.try_recv_guard().ok()?;
            assert_eq!(*guard, message(guard[0]), "torn");
            if guard.redeliveries() == 0 { guard.nack().map(|()| None) } else { guard.ack().map(Some) }.unwrap()
        });
        // It may find the ring full: one slot under guard, one ticket void.
        let sender = thread::spawn(move || tx.try_send(message(1)).is_ok());
        let refused = rx.try_recv_guard().map(|guard| guard.nack());
        assert!(matches!(refused, Err(TryRecvError::Empty | TryRecvError::Disconnected) | Ok(Ok(()))), "{refused:?}");
        let acknowledged = receiver.join().unwrap().map(|found| found[0]);
        let sent = sender.join().unwrap();
        let mut all: Vec<_> = drain(&rx).into_iter().chain(acknowledged).collect();
        all.sort();
        assert_eq!(all, if sent { vec![0, 1] } else { vec![0] });
    });
}

#[test]
fn a_ring_of_two_under_guard_passes_messages_on() {
    explore_up_to(2, || {
        let (tx, rx) = ends();
        send(&tx, 0);
        let guard = rx.recv_guard().unwrap();
        let sender = thread::spawn(move || (1..4).for_each(|number| send(&tx, number)));
        let mut received = Vec::new();
        while received.len() < 3 {
            match rx.try_recv() {
                Ok(found) => received.push(found[0]),
                Err(TryRecvError::Empty) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        sender.join().unwrap();
        assert_eq!((received, guard.ack()), (vec![1, 2, 3], Ok(message(0))));
    });
}

#[test]
fn the_last_sender_ends_the_stream() {
    explore(|| {
        let (tx, rx) = ends();
        let other = tx.clone();
        let sender = thread::spawn(move || other.send(message(7)).unwrap());
        drop(tx);
        assert_eq!(rx.recv(), Ok(message(7)));
        assert_eq!(rx.recv(), Err(RecvError::Disconnected));
        sender.join().unwrap();
    });
}

#[test]
fn a_blocked_sender_is_released_by_a_receive_or_by_the_end_of_the_last_receiver() {
    explore(|| {
        let (tx, rx) = ends();
        send(&tx, 0);
        send(&tx, 1);
        let sender = thread::spawn(move || tx.send(message(2)).is_ok());
        assert_eq!(rx.recv(), Ok(message(0)));
        drop(rx);
        // Either is right: the message was sent before the end, or not at all.
        let _ = sender.join().unwrap();
    });
}

/// Sends two messages at once, as far as there is room; how many.
fn send_two(tx: &Sender<Message>, number: u64) -> usize {
    match tx.try_send_slice(&[message(number), message(number + 1)]) {
        Ok(sent) => sent,
        Err(TrySendError::Full(())) => 0,
        Err(error) => panic!("{error}"),
    }
}

/// Receives up to two messages at once, if there are any.
fn receive_two(rx: &Receiver<Message>) -> Vec<u64> {
    let mut places = [message(99); 2];
    let taken = match rx.try_recv_slice(&mut places) {
        Ok(taken) => taken,
        Err(TryRecvError::Empty | TryRecvError::Disconnected) => 0,
        Err(error) => panic!("{error}"),
    };
    let taken = &places[..taken];
    assert!(taken.iter().all(|found| *found == message(found[0])), "torn");
    taken.iter().map(|found| found[0]).collect()
}

#[test]
fn a_slice_arrives_in_order_whatever_a_slice_takes_of_it() {
    explore(|| {
        let (tx, rx) = ends();
        let sender = thread::spawn(move || send_two(&tx, 0));
        let mut received = receive_two(&rx);
        let sent = sender.join().unwrap();
        received.extend(drain(&rx));
        assert_eq!((sent, received), (2, vec![0, 1]));
    });
}

#[test]
fn a_slice_and_a_message_of_two_producers_fill_the_ring() {
    explore_up_to(2, || {
        let (tx, rx) = ends();
        let other = tx.clone();
        let sender = thread::spawn(move || send_two(&other, 0));
        let single = tx.try_send(message(10)).is_ok();
        drop(tx);
        let mut received = receive_two(&rx);
        let sent = sender.join().unwrap() as u64;
        received.extend(drain(&rx));
        let of_slice: Vec<_> = received.iter().copied().filter(|number| *number < 10).collect();
        assert_eq!(of_slice, (0..sent).collect::<Vec<_>>());
        assert_eq!(received.len() as u64, sent + u64::from(single));
        assert!(received.len() >= 2, "there was room for two");
    });
}

#[test]
fn two_receivers_share_a_slice() {
    explore_up_to(1, || {
        let (tx, rx) = ends();
        let other = rx.clone();
        let sender = thread::spawn(move || send_two(&tx, 0));
        let receiver = thread::spawn(move || receive_two(&other));
        let mine = receive_two(&rx);
        let theirs = receiver.join().unwrap();
        assert_eq!(sender.join().unwrap(), 2);
        assert!(mine.is_sorted() && theirs.is_sorted(), "{mine:?}, {theirs:?}");
        let mut all: Vec<_> = mine.into_iter().chain(theirs).chain(drain(&rx)).collect();
        all.sort();
        assert_eq!(all, [0, 1]);
    });
}

#[test]
fn a_packed_slice_arrives_at_once_and_in_order() {
    explore(|| {
        let (tx, rx) = packed_ends();
        let sender = thread::spawn(move || (send_two(&tx, 0), send_two(&tx, 2), send_two(&tx, 4)));
        let mut received = receive_two(&rx);
        assert_ne!(received.len(), 1, "one of two that share a slot");
        received.extend(rx.try_recv().map(|found| found[0]));
        let sent = sender.join().unwrap();
        received.extend(drain(&rx));
        let expected = if sent.2 == 0 { vec![0, 1, 2, 3] } else { vec![0, 1, 2, 3, 4, 5] };
        assert_eq!(((sent.0, sent.1), received), ((2, 2), expected));
    });
}

#[test]
fn receivers_share_a_packed_slot() {
    explore_up_to(2, || {
        let (tx, rx) = packed_ends();
        assert_eq!(send_two(&tx, 0), 2);
        let other = rx.clone();
        let receiver = thread::spawn(move || other.try_recv().ok().map(|found| found[0]));
        // It finds two, one or none, and makes room or not.
        let mine = receive_two(&rx);
        let sent = send_two(&tx, 2) as u64;
        drop(tx);
        let theirs = receiver.join().unwrap();
        let left = drain(&rx);
        assert!(mine.is_sorted() && left.is_sorted(), "{mine:?}, {left:?}");
        let mut all: Vec<_> = mine.into_iter().chain(theirs).chain(left).collect();
        all.sort();
        assert_eq!(all, (0..2 + sent).collect::<Vec<_>>());
    });
}

#[test]
fn packed_slices_of_two_producers_stay_whole() {
    // A slot that is quarantined is sent again, with all that was in it.
    explore_up_to(2, || {
        let (tx, rx) = packed_ends();
        let other = tx.clone();
        let sender = thread::spawn(move || send_two(&other, 10));
        let receiver = thread::spawn(move || drain(&rx));
        assert_eq!(send_two(&tx, 0), 2);
        drop(tx);
        assert_eq!(sender.join().unwrap(), 2);
        let received = receiver.join().unwrap();
        assert!(received == [0, 1, 10, 11] || received == [10, 11, 0, 1], "{received:?}");
    });
}
