//! Slices: partial, across blocks and laps, and empty.

use ringway::{TryRecvError, TrySendError};

use crate::flavor::Kind;
use crate::message::{Message, for_every_message, numbered};
use crate::random::Random;
use crate::setup::Setup;
use crate::{Behaviour, behaviours};

pub(crate) const FILLING: &[Behaviour] = behaviours![as_many_as_fit_are_sent];

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![
    as_many_as_are_there_are_received,
    slices_of_all_lengths_cross_the_wrap,
    an_empty_slice_does_nothing,
    slices_and_single_messages_mix,
];

fn as_many_as_fit_are_sent<F: Kind>(setup: Setup) {
    for capacity in F::capacities(&[1, 2, 7, 8, 13]) {
        for there in 0..=capacity {
            for length in 1..2 * capacity + 2 {
                let (tx, rx) = setup.ends::<u64, F>(capacity);
                let numbers = numbered::<u64>(0..(there + length) as u64);
                assert_eq!(tx.try_send_slice(&numbers[..there]), Ok(there));
                let fit = length.min(capacity - there);
                let expected = if fit == 0 { Err(TrySendError::Full(())) } else { Ok(fit) };
                assert_eq!(tx.try_send_slice(&numbers[there..]), expected, "{length} to {there} of {capacity}");
                assert_eq!([tx.len(), rx.len()], [there + fit; 2]);
                assert_eq!(rx.try_iter().collect::<Vec<_>>(), numbers[..there + fit]);
            }
        }
    }
}

fn as_many_as_are_there_are_received<F: Kind>(setup: Setup) {
    for capacity in F::capacities(&[1, 2, 7, 8, 13]) {
        for there in 0..=capacity {
            for length in 1..capacity + 2 {
                let (tx, rx) = setup.ends::<u64, F>(capacity);
                let numbers = numbered::<u64>(1..there as u64 + 1);
                tx.send_slice(&numbers).unwrap();
                let mut messages = vec![0; length];
                let taken = length.min(there);
                let expected = if taken == 0 { Err(TryRecvError::Empty) } else { Ok(taken) };
                assert_eq!(rx.try_recv_slice(&mut messages), expected, "{length} of {there} of {capacity}");
                assert_eq!(messages[..taken], numbers[..taken]);
                assert!(messages[taken..].iter().all(|message| *message == 0), "only the front is written");
                assert_eq!([tx.len(), rx.len()], [there - taken; 2]);
                assert_eq!(rx.try_iter().collect::<Vec<_>>(), numbers[taken..]);
            }
        }
    }
}

fn slices_of_all_lengths_cross_the_wrap<F: Kind>(setup: Setup) {
    for_every_message!(cross::<_, F>(setup));
}

fn cross<T: Message, F: Kind>(setup: Setup) {
    // Where every message fills lines of its own, the wrap is all that there is to cross.
    let longest = if size_of::<T>() <= 64 { 64 } else { 15 };
    for capacity in F::capacities(&[1, 3, 7, 15, 58]).into_iter().filter(|capacity| *capacity <= longest) {
        let (tx, rx) = setup.ends::<T, F>(capacity);
        let (mut sent, mut received) = (0, 0);
        let mut places = vec![T::number(u64::MAX); capacity];
        for length in (1..=capacity).chain((1..=capacity).rev()) {
            let messages = numbered::<T>(sent..sent + length as u64);
            assert_eq!(tx.try_send_slice(&messages), Ok(length));
            sent += length as u64;
            // In two pieces, the first of which may be empty.
            let (front, back) = places[..length].split_at_mut(length / 2);
            assert_eq!(rx.try_recv_slice(front), Ok(front.len()));
            assert_eq!(rx.recv_slice(back), Ok(back.len()));
            assert_eq!(places[..length], messages, "{length} of {capacity}, {}", std::any::type_name::<T>());
            received += length as u64;
        }
        assert_eq!(sent, received);
    }
}

fn an_empty_slice_does_nothing<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(1);
    for full in [false, true] {
        assert_eq!(tx.try_send_slice(&[]), Ok(0), "full: {full}");
        assert_eq!(tx.send_slice(&[]), Ok(()));
        assert_eq!(rx.try_recv_slice(&mut []), Ok(0));
        assert_eq!(rx.recv_slice(&mut []), Ok(0));
        assert_eq!([tx.len(), rx.len()], [usize::from(full); 2]);
        let _ = tx.try_send(1);
    }
    assert_eq!(rx.try_recv(), Ok(1));
}

fn slices_and_single_messages_mix<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(20);
    let mut random = Random::new(1);
    let (mut sent, mut received) = (0, 0);
    let mut places = [0; 25];
    while sent < 5000 {
        match random.below(4) {
            0 => sent += u64::from(tx.try_send(sent).is_ok()),
            1 => {
                let length = random.below(25) as u64;
                let fit = tx.try_send_slice(&numbered::<u64>(sent..sent + length));
                sent += fit.unwrap_or(0) as u64;
            }
            2 => {
                if let Ok(message) = rx.try_recv() {
                    assert_eq!(message, received);
                    received += 1;
                }
            }
            _ => {
                let taken = rx.try_recv_slice(&mut places[..random.below(25)]).unwrap_or(0) as u64;
                assert!(places.iter().copied().take(taken as usize).eq(received..received + taken));
                received += taken;
            }
        }
        assert_eq!([tx.len() as u64, rx.len() as u64], [sent - received; 2]);
    }
}
