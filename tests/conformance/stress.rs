//! Two threads, or two processes, in a mix of all calls: every message arrives, whole and in order.

use std::thread::{self, yield_now};
use std::time::Duration;

use ringway::spsc::{Receiver, Sender};
use ringway::{RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

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

fn threads_exchange_words(setup: Setup) {
    exchange::<u64>(setup, 1000, 100_000);
}

fn threads_exchange_trades(setup: Setup) {
    exchange::<Trade>(setup, 61, 10_000);
}

fn threads_exchange_large_messages(setup: Setup) {
    exchange::<[u8; 1024]>(setup, 33, 2_000);
}

fn threads_with_one_place_between_them_exchange_words(setup: Setup) {
    exchange::<u64>(setup, 1, 300);
}

fn exchange<T: Message>(setup: Setup, capacity: usize, count: u64) {
    let (tx, rx) = setup.ends::<T>(capacity);
    let sender = thread::spawn(move || send_all(&tx, count, 1));
    receive_all(&rx, count, 2);
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    sender.join().unwrap();
}

/// Sends messages 0 to `count` by calls of all kinds.
pub(crate) fn send_all<T: Message>(tx: &Sender<T>, count: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut next = 0;
    while next < count {
        let message = T::number(next);
        next += match random.below(6) {
            0 => tx.send(message).map(|()| 1).unwrap(),
            1 => match tx.try_send(message) {
                Ok(()) => 1,
                Err(TrySendError::Full(_)) => 0,
                Err(error) => panic!("{error}"),
            },
            2 => match tx.send_timeout(message, MOMENT) {
                Ok(()) => 1,
                Err(SendTimeoutError::Timeout(_)) => 0,
                Err(error) => panic!("{error}"),
            },
            3 => match tx.try_send_slice(&batch::<T>(&mut random, next, count)) {
                Ok(sent) => sent as u64,
                Err(TrySendError::Full(())) => 0,
                Err(error) => panic!("{error}"),
            },
            4 => {
                let messages = batch::<T>(&mut random, next, count);
                tx.send_slice(&messages).unwrap();
                messages.len() as u64
            }
            // Most messages travel by the calls that a program uses most.
            _ => {
                let messages = batch::<T>(&mut random, next, count);
                messages.iter().for_each(|message| tx.send(*message).unwrap());
                messages.len() as u64
            }
        };
    }
}

fn batch<T: Message>(random: &mut Random, next: u64, count: u64) -> Vec<T> {
    numbered(next..count.min(next + random.below(BATCH) as u64))
}

/// Receives messages 0 to `count` by calls of all kinds.
pub(crate) fn receive_all<T: Message>(rx: &Receiver<T>, count: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut places = [T::number(u64::MAX); BATCH];
    let mut next = 0;
    while next < count {
        let limit = 1 + random.below(BATCH);
        let taken = match random.below(6) {
            0 => rx.recv().map(|message| first(&mut places, message)).unwrap(),
            1 => match rx.try_recv() {
                Ok(message) => first(&mut places, message),
                Err(TryRecvError::Empty) => 0,
                Err(error) => panic!("{error}"),
            },
            2 => match rx.recv_timeout(MOMENT) {
                Ok(message) => first(&mut places, message),
                Err(RecvTimeoutError::Timeout) => 0,
                Err(error) => panic!("{error}"),
            },
            3 => match rx.try_recv_slice(&mut places[..limit]) {
                Ok(taken) => taken,
                Err(TryRecvError::Empty) => 0,
                Err(error) => panic!("{error}"),
            },
            4 => rx.recv_slice(&mut places[..limit]).unwrap(),
            _ => rx.try_iter().take(limit).zip(&mut places).map(|(message, place)| *place = message).count(),
        };
        for (place, number) in places.iter().zip(next..next + taken as u64) {
            assert_eq!(*place, T::number(number), "message {number} of {count}");
        }
        next += taken as u64;
        if taken == 0 {
            yield_now();
        }
    }
}

fn first<T>(places: &mut [T], message: T) -> usize {
    places[0] = message;
    1
}
