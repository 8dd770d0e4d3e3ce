//! A peer that writes whatever it likes, wherever it likes, while a victim works. The victim may get errors and forged
//! messages; it may not panic, hang, or write where a channel does not.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringway::spsc::{Channel, Receiver, Sender};
use ringway::{Inspection, Payload};
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

use crate::hostile::{BLOCKS, HEAD, PEERS, RECEIVER_EVENT, SENDER_EVENT, TAIL, forge, read};
use crate::random::Random;
use crate::setup::{Open, Setup};
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![every_word_takes_every_value];

pub(crate) const WAITING: &[Behaviour] =
    behaviours![a_scribbler_never_stops_a_victim, a_scribbled_event_word_never_keeps_a_sleeper];

const CAPACITY: usize = 20;
const MOMENT: Duration = Duration::from_micros(100);

/// A block of three; some bit patterns are no messages.
#[derive(Clone, Copy, Debug, TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Message {
    number: u64,
    flags: [bool; 8],
}

const MESSAGE: Message = Message { number: 7, flags: [true; 8] };
/// Bytes of the blocks of such messages: ceil(19 / 3) + 1 of 64.
const RING: u64 = 8 * 64;

/// Makes every call that `tx` has. None waits for longer than a moment.
fn work_as_sender(tx: &Sender<Message>) {
    let _ = tx.try_send(MESSAGE);
    let _ = tx.send_timeout(MESSAGE, MOMENT);
    assert!(tx.try_send_slice(&[MESSAGE; 2 * CAPACITY]).unwrap_or(0) <= 2 * CAPACITY);
    let _ = tx.wait_drained(Some(MOMENT));
    assert!(tx.len() <= CAPACITY);
    let _ = (tx.is_empty(), tx.is_full(), tx.peer().to_string());
}

/// Makes every call that `rx` has. None waits for longer than a moment, if there is none to be had.
fn work_as_receiver(rx: &Receiver<Message>) {
    let _ = rx.try_recv();
    let _ = rx.recv_timeout(MOMENT);
    let mut places = [MESSAGE; 2 * CAPACITY];
    assert!(rx.try_recv_slice(&mut places).unwrap_or(0) <= places.len());
    // A forged stream may be endless.
    let _ = rx.try_iter().take(2 * CAPACITY).count();
    assert!(rx.len() <= CAPACITY);
    let _ = (rx.is_empty(), rx.is_full(), rx.peer().to_string());
}

/// What both sides must leave alone: the header page, and what lies behind the ring.
fn untouchable(file: &File) -> (Vec<u8>, Vec<u8>) {
    let length = file.metadata().expect("an open file").len();
    let bytes = |from: u64, to: u64| {
        let mut bytes = vec![0; (to - from) as usize];
        file.read_exact_at(&mut bytes, from).expect("the region keeps its length");
        bytes
    };
    (bytes(0, PEERS), bytes(BLOCKS + RING, length))
}

fn every_word_takes_every_value(setup: Setup) {
    let shared = [TAIL, HEAD, RECEIVER_EVENT, SENDER_EVENT];
    let records = [0, 8, 16, 24].into_iter().flat_map(|field| [PEERS + field, PEERS + 128 + field]);
    let counts = (BLOCKS..BLOCKS + RING).step_by(64);
    let mut random = Random::new(0);
    for word in shared.into_iter().chain(records).chain(counts) {
        for value in [0, 1, 2, 3, 19, 20, 21, 1 << 31, 1 << 32, 1 << 63, u64::MAX - 1, u64::MAX, random.next()] {
            let open = setup.open::<Message>(CAPACITY);
            let file = open.file();
            let before = untouchable(&file);
            let (tx, rx) = (open.sender(), open.receiver());
            // Somewhere in the second lap.
            for _ in 0..25 {
                tx.try_send(MESSAGE).expect("room");
                rx.try_recv().expect("a message");
            }
            tx.send_slice(&[MESSAGE; 10]).expect("room");
            let honest = read(&file, word);
            for value in [value, honest.wrapping_add(value)] {
                forge(&file, word, value);
                work_as_sender(&tx);
                work_as_receiver(&rx);
                forge(&file, word, value);
                work_as_receiver(&rx);
                work_as_sender(&tx);
            }
            drop((tx, rx));
            forge(&file, word, value);
            take_over(&open);
            assert!(before == untouchable(&file), "word {word} as {value}: something else was overwritten");
        }
    }
}

/// Opens whichever ends can be opened, and works with them.
fn take_over(open: &Open<Message>) {
    let tx = open.sending().sender().map(|tx| work_as_sender(&tx));
    let rx = open.receiving().receiver().map(|rx| work_as_receiver(&rx));
    for error in [tx.err(), rx.err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
    let _ = (open.sending().sender_state().to_string(), open.sending().receiver_state().to_string());
    if let Some(name) = open.sending().name() {
        let _ = Inspection::of(name).map(|inspection| inspection.to_string());
    }
}

/// Writes random values to random words of the region `count` times, or until told to stop.
fn scribble(file: &File, offsets: impl Fn(&mut Random) -> u64, stop: &AtomicBool) {
    let mut random = Random::new(1);
    for _ in 0..200_000 {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let offset = offsets(&mut random);
        let value = match random.below(8) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => random.next(),
            // Close to what an honest peer would write: the most dangerous.
            _ => read(file, offset).wrapping_add(random.next() % 64).wrapping_sub(32),
        };
        forge(file, offset, value);
    }
}

fn a_scribbler_never_stops_a_victim(setup: Setup) {
    let open = setup.open::<Message>(CAPACITY);
    let file = open.file();
    let stop = AtomicBool::new(false);
    let length = file.metadata().expect("an open file").len();
    let anywhere = |random: &mut Random| match random.below(8) {
        0 => random.next() % (length / 8) * 8,
        1 => TAIL,
        2 => HEAD,
        3 => RECEIVER_EVENT,
        4 => SENDER_EVENT,
        5 => PEERS + random.next() % 32 * 8,
        _ => BLOCKS + random.next() % (RING / 8) * 8,
    };
    thread::scope(|scope| {
        scope.spawn(|| scribble(&file, anywhere, &stop));
        let victim = scope.spawn(|| {
            for _ in 0..20 {
                take_over(&open);
                // The header is scribbled over, too; who is attached does not look at it again.
                if let Some(name) = open.sending().name() {
                    let _ = Channel::<Message>::attach(name, &setup.options()).map_err(|error| error.to_string());
                }
            }
        });
        for _ in 0..20 {
            if let Ok(rx) = open.receiving().receiver() {
                (0..10).for_each(|_| work_as_receiver(&rx));
            }
        }
        let ended = victim.join();
        stop.store(true, Ordering::Relaxed);
        ended.expect("no panic");
    });
}

fn a_scribbled_event_word_never_keeps_a_sleeper(setup: Setup) {
    let open = setup.open::<Message>(CAPACITY);
    let file = open.file();
    let stop = AtomicBool::new(false);
    let (tx, rx) = (open.sender(), open.receiver());
    let events = |random: &mut Random| [RECEIVER_EVENT, SENDER_EVENT][random.below(2)];
    thread::scope(|scope| {
        scope.spawn(|| scribble(&file, events, &stop));
        for _ in 0..20 {
            // Until its deadline, or a forged end.
            let _ = rx.recv_timeout(MOMENT);
        }
        stop.store(true, Ordering::Relaxed);
    });
    // An honest peer clears what was forged, and all goes on.
    drop((tx, rx));
    let (tx, rx) = (open.sender(), open.receiver());
    tx.send(MESSAGE).unwrap();
    assert_eq!(rx.recv().map(|message| message.number), Ok(7));
}
