//! Two threads, or two processes, in a mix of all calls: every message arrives, whole and in order.

use std::ops::Range;
use std::thread::{self, yield_now};
use std::time::Duration;

use ringway::channel_of::{Flavor, Receiver, Sender};
use ringway::{RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

use crate::flavor::Kind;
use crate::message::{Message, Trade, numbered};
use crate::random::Random;
use crate::setup::Setup;
use crate::{Behaviour, behaviours};

pub(crate) const WAITING: &[Behaviour] = behaviours![
    threads_exchange_words,
    threads_exchange_trades,
    threads_exchange_large_messages,
    threads_with_one_place_between_them_exchange_words,
];

/// The longest slice.
const BATCH: usize = 100;
/// Long enough to be met, short enough to pass.
const MOMENT: Duration = Duration::from_micros(50);

fn threads_exchange_words<F: Kind>(setup: Setup) {
    exchange::<u64, F>(setup, 1000, 50_000);
}

fn threads_exchange_trades<F: Kind>(setup: Setup) {
    exchange::<Trade, F>(setup, 61, 5_000);
}

fn threads_exchange_large_messages<F: Kind>(setup: Setup) {
    exchange::<[u8; 1024], F>(setup, 33, 1_000);
}

fn threads_with_one_place_between_them_exchange_words<F: Kind>(setup: Setup) {
    exchange::<u64, F>(setup, 1, 150);
}

fn exchange<T: Message, F: Kind>(setup: Setup, capacity: usize, count: u64) {
    let (tx, rx) = setup.ends::<T, F>(capacity);
    let sender = thread::spawn(move || send_all(&tx, 0..count, 1));
    receive_all(&rx, count, 2);
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    sender.join().unwrap();
}

/// Sends the messages of those numbers by calls of all kinds.
pub(crate) fn send_all<T: Message, F: Flavor>(tx: &Sender<T, F>, numbers: Range<u64>, seed: u64) {
    let mut random = Random::new(seed);
    let Range { start: mut next, end } = numbers;
    while next < end {
        let message = T::number(next);
        next += match random.below(6) {
            0 => tx.send(message).map(|()| 1).unwrap(),
            1 => match tx.try_send(message) {
                Ok(()) => 1,
                Err(TrySendError::Full(_)) => wait_a_little(),
                Err(error) => panic!("{error}"),
            },
            2 => match tx.send_timeout(message, MOMENT) {
                Ok(()) => 1,
                Err(SendTimeoutError::Timeout(_)) => 0,
                Err(error) => panic!("{error}"),
            },
            3 => match tx.try_send_slice(&batch::<T>(&mut random, next, end)) {
                Ok(sent) => sent as u64,
                Err(TrySendError::Full(())) => wait_a_little(),
                Err(error) => panic!("{error}"),
            },
            4 => {
                let messages = batch::<T>(&mut random, next, end);
                tx.send_slice(&messages).unwrap();
                messages.len() as u64
            }
            // Most messages travel by the calls that a program uses most.
            _ => {
                let messages = batch::<T>(&mut random, next, end);
                messages.iter().for_each(|message| tx.send(*message).unwrap());
                messages.len() as u64
            }
        };
    }
}

/// Sent nothing, so somebody else should have the core.
fn wait_a_little() -> u64 {
    yield_now();
    0
}

fn batch<T: Message>(random: &mut Random, next: u64, end: u64) -> Vec<T> {
    numbered(next..end.min(next + random.below(BATCH) as u64))
}

/// Receives messages 0 to `count` by calls of all kinds.
pub(crate) fn receive_all<T: Message, F: Flavor>(rx: &Receiver<T, F>, count: u64, seed: u64) {
    let mut calls = Calls::new(rx, seed);
    let mut next = 0;
    while next < count {
        let messages = calls.next().expect("the sender has not sent everything");
        for (message, number) in messages.iter().zip(next..) {
            assert_eq!(*message, T::number(number), "message {number} of {count}");
        }
        next += messages.len() as u64;
    }
}

/// Receives by calls of all kinds.
pub(crate) struct Calls<'a, T, F: Flavor> {
    rx: &'a Receiver<T, F>,
    random: Random,
    places: [T; BATCH],
}

impl<'a, T: Message, F: Flavor> Calls<'a, T, F> {
    pub(crate) fn new(rx: &'a Receiver<T, F>, seed: u64) -> Self {
        Self { rx, random: Random::new(seed), places: [T::number(u64::MAX); BATCH] }
    }

    /// Makes a call; yields what it received, which may be nothing, or `None` if the stream has ended.
    pub(crate) fn next(&mut self) -> Option<&[T]> {
        let Self { rx, random, places } = self;
        let limit = 1 + random.below(BATCH);
        let taken = match random.below(6) {
            0 => match rx.recv() {
                Ok(message) => first(places, message),
                Err(RecvError::Disconnected) => return None,
                Err(error) => panic!("{error}"),
            },
            1 => match rx.try_recv() {
                Ok(message) => first(places, message),
                Err(TryRecvError::Empty) => 0,
                Err(TryRecvError::Disconnected) => return None,
                Err(error) => panic!("{error}"),
            },
            2 => match rx.recv_timeout(MOMENT) {
                Ok(message) => first(places, message),
                Err(RecvTimeoutError::Timeout) => 0,
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(error) => panic!("{error}"),
            },
            3 => match rx.try_recv_slice(&mut places[..limit]) {
                Ok(taken) => taken,
                Err(TryRecvError::Empty) => 0,
                Err(TryRecvError::Disconnected) => return None,
                Err(error) => panic!("{error}"),
            },
            4 => match rx.recv_slice(&mut places[..limit]) {
                Ok(taken) => taken,
                Err(RecvError::Disconnected) => return None,
                Err(error) => panic!("{error}"),
            },
            _ => rx.try_iter().take(limit).zip(places.iter_mut()).map(|(message, place)| *place = message).count(),
        };
        if taken == 0 {
            yield_now();
        }
        Some(&places[..taken])
    }
}

fn first<T>(places: &mut [T], message: T) -> usize {
    places[0] = message;
    1
}
