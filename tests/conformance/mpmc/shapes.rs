//! Many threads on both sides, in every shape: nothing is lost, duplicated or torn, and the messages of each producer
//! come to each consumer in order.

use std::sync::Barrier;
use std::thread;

use ringway::channel_of::Mpmc;
use ringway::mpmc::Receiver;

use crate::message::Message;
use crate::setup::{Open, Setup};
use crate::stress::{Calls, send_all};
use crate::{Behaviour, behaviours};

pub(crate) const CROWDED: &[Behaviour] = behaviours![mpmc:
    one_to_one,
    one_to_four,
    four_to_one,
    two_to_two,
    three_to_five,
    eight_to_eight,
    one_to_eight,
    eight_to_one,
    two_to_eight,
    a_ring_of_65536_is_filled_and_wraps,
];

/// Every shape up to eight to eight.
pub(crate) const ALL: &[Behaviour] = &[
    all("one_to_any_number", any_number::<1>),
    all("two_to_any_number", any_number::<2>),
    all("three_to_any_number", any_number::<3>),
    all("four_to_any_number", any_number::<4>),
    all("five_to_any_number", any_number::<5>),
    all("six_to_any_number", any_number::<6>),
    all("seven_to_any_number", any_number::<7>),
    all("eight_to_any_number", any_number::<8>),
];

const fn all(name: &'static str, run: fn(Setup)) -> Behaviour {
    Behaviour { name, spsc: None, mpmc: Some(run) }
}

pub(crate) const WAITING: &[Behaviour] = behaviours![mpmc: a_few_peers_exchange_words, a_few_clones_exchange_words];

pub(crate) const LARGE: &[Behaviour] = behaviours![mpmc:
    the_largest_ring_of_the_largest_messages_wraps,
    the_largest_ring_of_the_largest_messages_is_filled_by_many,
];

/// The messages of one producer begin here.
const PRODUCER: u64 = 1 << 32;
/// The largest ring that anybody is expected to want.
const LARGE_RING: u64 = 65536;
/// Messages through a ring where the shape is all that is new.
const FEW: u64 = 200;
const MANY: u64 = 2000;

/// How many threads there are on each side.
#[derive(Clone, Copy, Debug)]
struct Shape {
    producers: u64,
    consumers: u64,
}

/// Whether threads share a peer or are peers of their own.
#[derive(Clone, Copy, Debug)]
enum Handles {
    Clones,
    Peers,
}

/// A message from which its number can be read, as far as it has room for one.
trait Numbered: Message {
    fn read(&self) -> u64;
}

impl<const N: usize> Numbered for [u8; N] {
    fn read(&self) -> u64 {
        self.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

fn one_to_one(setup: Setup) {
    all_rings(setup, Shape { producers: 1, consumers: 1 }, MANY);
}

fn one_to_four(setup: Setup) {
    all_rings(setup, Shape { producers: 1, consumers: 4 }, MANY);
}

fn four_to_one(setup: Setup) {
    all_rings(setup, Shape { producers: 4, consumers: 1 }, MANY);
}

fn two_to_two(setup: Setup) {
    all_rings(setup, Shape { producers: 2, consumers: 2 }, MANY);
}

fn three_to_five(setup: Setup) {
    all_rings(setup, Shape { producers: 3, consumers: 5 }, MANY);
}

fn eight_to_eight(setup: Setup) {
    all_rings(setup, Shape { producers: 8, consumers: 8 }, MANY);
}

fn one_to_eight(setup: Setup) {
    all_rings(setup, Shape { producers: 1, consumers: 8 }, FEW);
}

fn eight_to_one(setup: Setup) {
    all_rings(setup, Shape { producers: 8, consumers: 1 }, FEW);
}

fn two_to_eight(setup: Setup) {
    all_rings(setup, Shape { producers: 2, consumers: 8 }, FEW);
}

fn any_number<const PRODUCERS: u64>(setup: Setup) {
    for consumers in 1..=8 {
        all_rings(setup, Shape { producers: PRODUCERS, consumers }, MANY);
    }
}

/// Sends `count` words through each ring, and fewer of other messages.
fn all_rings(setup: Setup, shape: Shape, count: u64) {
    for capacity in [1, 2, 3, 64, LARGE_RING as usize] {
        exchange::<8>(setup, shape, capacity, count);
        exchange::<1>(setup, shape, capacity, count / 4);
        // The last size that fits a line, the first that does not, and what fills whole lines.
        exchange::<48>(setup, shape, capacity, count / 4);
        exchange::<56>(setup, shape, capacity, count / 4);
        exchange::<57>(setup, shape, capacity, count / 4);
        exchange::<64>(setup, shape, capacity, count / 4);
        exchange::<200>(setup, shape, capacity, count / 4);
        if capacity <= 64 {
            exchange::<4096>(setup, shape, capacity, count / 10);
        }
    }
}

fn a_ring_of_65536_is_filled_and_wraps(setup: Setup) {
    fill_and_wrap::<8>(setup);
    fill_and_wrap::<1>(setup);
    fill_and_wrap::<57>(setup);
}

fn the_largest_ring_of_the_largest_messages_is_filled_by_many(setup: Setup) {
    fill_and_wrap::<4096>(setup);
}

/// Has producers fill the ring before anybody receives, then everybody go on for two more laps.
fn fill_and_wrap<const N: usize>(setup: Setup) {
    let shape = Shape { producers: 3, consumers: 3 };
    // Three laps in all, and enough for one producer to fill the ring alone.
    let each = LARGE_RING;
    let open = setup.open::<[u8; N], Mpmc>(LARGE_RING as usize);
    let rx = open.receiver();
    let full = Barrier::new(shape.producers as usize + 1);
    let received = thread::scope(|scope| {
        for producer in 0..shape.producers {
            let (tx, full) = (open.sender(), &full);
            scope.spawn(move || {
                let (mut next, end) = (producer * PRODUCER, producer * PRODUCER + each);
                while next < end && tx.try_send(Message::number(next)).is_ok() {
                    next += 1;
                }
                full.wait();
                send_all(&tx, next..end, producer);
            });
        }
        full.wait();
        assert_eq!((rx.len() as u64, rx.is_full()), (LARGE_RING, true));
        let consumers = (0..shape.consumers).map(|seed| (seed, open.receiver()));
        let consumers = consumers.map(|(seed, rx)| scope.spawn(move || receive(&rx, seed)));
        consumers.collect::<Vec<_>>().into_iter().map(|consumer| consumer.join().unwrap()).collect()
    });
    check(received, shape, each, N);
    assert_eq!((rx.len(), rx.try_recv().map_err(|error| error.is_disconnected())), (0, Err(true)));
}

fn the_largest_ring_of_the_largest_messages_wraps(setup: Setup) {
    let (tx, rx) = setup.ends::<[u64; 512], Mpmc>(LARGE_RING as usize);
    // To the last place, and a little further.
    for number in 0..LARGE_RING {
        tx.try_send([number; 512]).unwrap();
    }
    assert!(tx.try_send([0; 512]).unwrap_err().is_full());
    for number in 0..LARGE_RING + 10 {
        let message = rx.try_recv().unwrap();
        assert_eq!([message[0], message[511]], [number; 2]);
        tx.try_send([LARGE_RING + number; 512]).unwrap();
    }
    assert!(rx.is_full());
}

fn a_few_peers_exchange_words(setup: Setup) {
    let shape = Shape { producers: 3, consumers: 2 };
    let open = setup.open::<[u8; 8], Mpmc>(5);
    exchange_over(&open, shape, 200, Handles::Peers);
}

fn a_few_clones_exchange_words(setup: Setup) {
    let shape = Shape { producers: 2, consumers: 3 };
    let open = setup.open::<[u8; 8], Mpmc>(5);
    exchange_over(&open, shape, 200, Handles::Clones);
}

/// Sends `count` messages in all, to be shared out among the producers.
fn exchange<const N: usize>(setup: Setup, shape: Shape, capacity: usize, count: u64) {
    let each = count.div_ceil(shape.producers);
    // One kind a ring: which one does not depend on anything that matters to it.
    let handles = if capacity % 2 == 0 { Handles::Peers } else { Handles::Clones };
    let open = setup.open::<[u8; N], Mpmc>(capacity);
    exchange_over(&open, shape, each, handles);
}

fn exchange_over<const N: usize>(open: &Open<[u8; N], Mpmc>, shape: Shape, each: u64, handles: Handles) {
    let Shape { producers, consumers } = shape;
    let (tx, rx) = (open.sender(), open.receiver());
    let received: Vec<Vec<u64>> = thread::scope(|scope| {
        let consumers: Vec<_> = (0..consumers)
            .map(|seed| {
                let rx = another(&rx, handles, || open.receiver());
                scope.spawn(move || receive(&rx, seed))
            })
            .collect();
        for producer in 0..producers {
            let tx = another(&tx, handles, || open.sender());
            let first = producer * PRODUCER;
            scope.spawn(move || send_all(&tx, first..first + each, producer));
        }
        // The last of them ends the stream.
        drop(tx);
        consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect()
    });
    check(received, shape, each, N);
    assert_eq!((rx.len(), rx.try_recv().map_err(|error| error.is_disconnected())), (0, Err(true)));
}

fn another<H: Clone>(handle: &H, handles: Handles, open: impl FnOnce() -> H) -> H {
    match handles {
        Handles::Clones => handle.clone(),
        Handles::Peers => open(),
    }
}

/// Receives to the end; the numbers as far as the messages tell them.
fn receive<T: Numbered>(rx: &Receiver<T>, seed: u64) -> Vec<u64> {
    let mut calls = Calls::new(rx, !seed);
    let mut numbers = Vec::new();
    while let Some(messages) = calls.next() {
        for message in messages {
            let number = message.read();
            assert_eq!(*message, T::number(number), "message {number} is not whole");
            numbers.push(number);
        }
    }
    numbers
}

/// Compares what all consumers have received with what all producers have sent.
fn check(received: Vec<Vec<u64>>, shape: Shape, each: u64, size: usize) {
    let visible = if size < 8 { (1 << (8 * size)) - 1 } else { u64::MAX };
    if size >= 8 {
        for numbers in &received {
            for producer in 0..shape.producers {
                let of_producer = numbers.iter().filter(|number| **number / PRODUCER == producer);
                assert!(of_producer.is_sorted(), "{shape:?}: producer {producer}'s messages out of order");
            }
        }
    } else if shape.producers == 1 && shape.consumers == 1 {
        assert!(received[0].iter().copied().eq((0..each).map(|number| number & visible)), "out of order");
    }
    let mut all: Vec<_> = received.into_iter().flatten().collect();
    let sent = (0..shape.producers).flat_map(|producer| producer * PRODUCER..producer * PRODUCER + each);
    let mut sent: Vec<_> = sent.map(|number| number & visible).collect();
    all.sort_unstable();
    sent.sort_unstable();
    assert!(all == sent, "{shape:?}: {} messages sent, {} received, or others", sent.len(), all.len());
}
