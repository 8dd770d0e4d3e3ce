//! A peer that writes whatever it likes, wherever it likes, while a victim works. The victim may get errors and forged
//! messages; it may not panic, hang, or write where a channel does not.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringway::channel_of::{Channel, Mpmc, Receiver, Sender, Spsc};
use ringway::{Inspection, Options, Payload};
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

use crate::flavor::Kind;
use crate::hostile::{BLOCKS, HEAD, MPMC_PEERS, PEERS, RECEIVER_EVENT, SENDER_EVENT, TAIL, forge, read};
use crate::mpmc::hostile::{SLOTS, forged_skips, forged_words, slot_size};
use crate::random::Random;
use crate::setup::{Open, Setup};
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![every_word_takes_every_value];

pub(crate) const WAITING: &[Behaviour] =
    behaviours![a_scribbler_never_stops_a_victim, a_scribbled_event_word_never_keeps_a_sleeper];

const CAPACITY: usize = 20;
const MOMENT: Duration = Duration::from_micros(50);

/// A block of three, or a slot of its own; some bit patterns are no messages.
#[derive(Clone, Copy, Debug, TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Message {
    number: u64,
    flags: [bool; 8],
}

const MESSAGE: Message = Message { number: 7, flags: [true; 8] };

/// A flavor as those see it who know its layout, docs/LAYOUT.md.
trait Target: Kind + Sized {
    /// Messages that a scribbled channel is to hold.
    const CAPACITY: usize;
    /// From here on, peers write, in all of ...
    const SHARED: u64;

    /// ... this, and what is before the ring.
    fn ring(setup: Setup) -> Range<u64>;

    /// Words that peers write, but for those of the ring.
    fn words() -> Vec<u64>;

    /// Words of the ring that are no payload, each with what a forger may find worth writing there.
    fn ring_words(setup: Setup, random: &mut Random) -> Vec<(u64, Vec<u64>)>;

    /// Whatever only this flavor has.
    fn look_around(tx: Option<&Sender<Message, Self>>, rx: Option<&Receiver<Message, Self>>);
}

impl Target for Spsc {
    const CAPACITY: usize = CAPACITY;
    const SHARED: u64 = PEERS;

    /// The blocks of such messages: ceil(19 / 3) + 1 of 64 bytes.
    fn ring(_: Setup) -> Range<u64> {
        BLOCKS..BLOCKS + 8 * 64
    }

    fn words() -> Vec<u64> {
        let records = [0, 8, 16, 24].into_iter().flat_map(|field| [PEERS + field, PEERS + 128 + field]);
        [TAIL, HEAD, RECEIVER_EVENT, SENDER_EVENT].into_iter().chain(records).collect()
    }

    fn ring_words(setup: Setup, _: &mut Random) -> Vec<(u64, Vec<u64>)> {
        Self::ring(setup).step_by(64).map(|count| (count, vec![])).collect()
    }

    fn look_around(tx: Option<&Sender<Message, Self>>, rx: Option<&Receiver<Message, Self>>) {
        let _ = (tx.map(|tx| tx.peer().to_string()), rx.map(|rx| rx.peer().to_string()));
    }
}

impl Target for Mpmc {
    const CAPACITY: usize = 4;
    const SHARED: u64 = TAIL;

    /// The slots, then the redelivery words.
    fn ring(setup: Setup) -> Range<u64> {
        SLOTS..SLOTS + 4 * slot_size::<Message>(setup) + 4 * 8
    }

    fn words() -> Vec<u64> {
        let (guarded, orphaned) = (HEAD + 8, HEAD + 16);
        let rolls = [RECEIVER_EVENT + 8, SENDER_EVENT + 8];
        // Of the sender, the receiver, and one who never was.
        let records = (0..3).flat_map(|peer| (0..7).map(move |field| MPMC_PEERS + peer * 128 + field * 8));
        let lines = [TAIL, HEAD, guarded, orphaned, RECEIVER_EVENT, SENDER_EVENT];
        lines.into_iter().chain(rolls).chain(records).collect()
    }

    fn ring_words(setup: Setup, random: &mut Random) -> Vec<(u64, Vec<u64>)> {
        let slots = (0..4).map(|slot| SLOTS + slot * slot_size::<Message>(setup));
        let mut words: Vec<_> =
            slots.flat_map(|slot| [(slot, forged_words(random)), (slot + 8, forged_skips(random))]).collect();
        words.extend(
            (0..4).map(|slot| (SLOTS + 4 * slot_size::<Message>(setup) + 8 * slot, vec![6 << 16 | 0xFFFF, 1 << 63])),
        );
        words
    }

    fn look_around(tx: Option<&Sender<Message, Self>>, rx: Option<&Receiver<Message, Self>>) {
        if let Some(tx) = tx {
            assert!(tx.peers().len() <= 4);
            let _ = tx.clone().try_send(MESSAGE);
        }
        let Some(rx) = rx else { return };
        assert!(rx.peers().len() <= 4);
        let acknowledged = rx.try_recv_guard().map(|guard| guard.ack().map(|message| message.number));
        let refused = rx.recv_guard_timeout(MOMENT).map(|guard| guard.nack());
        drop(rx.clone().try_recv_guard());
        drop((acknowledged, refused));
    }
}

fn options<F: Target>(setup: Setup) -> Options {
    setup.options().capacity(F::CAPACITY).peers(4)
}

/// Makes every call that `tx` has. None waits for longer than a moment.
fn work_as_sender<F: Target>(setup: Setup, tx: &Sender<Message, F>) {
    let _ = tx.try_send(MESSAGE);
    let _ = tx.send_timeout(MESSAGE, MOMENT);
    assert!(tx.try_send_slice(&[MESSAGE; 2 * CAPACITY]).unwrap_or(0) <= 2 * CAPACITY);
    let _ = tx.wait_drained(Some(MOMENT));
    assert!(tx.len() <= tx.capacity() * setup.messages_a_place::<Message, F>());
    let _ = (tx.is_empty(), tx.is_full(), format!("{tx:?}"));
    F::look_around(Some(tx), None);
}

/// Makes every call that `rx` has. None waits for longer than a moment, if there is none to be had.
fn work_as_receiver<F: Target>(setup: Setup, rx: &Receiver<Message, F>) {
    let _ = rx.try_recv();
    let _ = rx.recv_timeout(MOMENT);
    let mut places = [MESSAGE; 2 * CAPACITY];
    assert!(rx.try_recv_slice(&mut places).unwrap_or(0) <= places.len());
    // A forged stream may be endless.
    let _ = rx.try_iter().take(2 * CAPACITY).count();
    assert!(rx.len() <= rx.capacity() * setup.messages_a_place::<Message, F>());
    let _ = (rx.is_empty(), rx.is_full(), format!("{rx:?}"));
    F::look_around(None, Some(rx));
}

/// What both sides must leave alone: the header page, and what lies behind the ring.
fn untouchable<F: Target>(setup: Setup, file: &File) -> (Vec<u8>, Vec<u8>) {
    let length = file.metadata().expect("an open file").len();
    let bytes = |from: u64, to: u64| {
        let mut bytes = vec![0; (to - from) as usize];
        file.read_exact_at(&mut bytes, from).expect("the region keeps its length");
        bytes
    };
    (bytes(0, F::SHARED), bytes(F::ring(setup).end, length))
}

fn every_word_takes_every_value<F: Target>(setup: Setup) {
    let mut random = Random::new(0);
    let mut words = F::ring_words(setup, &mut random);
    words.extend(F::words().into_iter().map(|word| (word, vec![])));
    for (word, mut values) in words {
        values.extend([0, 1, 2, 3, 19, 20, 21, 1 << 31, 1 << 32, 1 << 63, u64::MAX - 1, u64::MAX, random.next()]);
        for value in values {
            let open = setup.open_with::<Message, F>(&options::<F>(setup));
            let file = open.file();
            let before = untouchable::<F>(setup, &file);
            let (tx, rx) = (open.sender(), open.receiver());
            // Somewhere in a later lap.
            for _ in 0..25 {
                tx.try_send(MESSAGE).expect("room");
                rx.try_recv().expect("a message");
            }
            for _ in 0..F::CAPACITY / 2 {
                tx.send_slice(&[MESSAGE; 3][..setup.messages_a_place::<Message, F>().min(3)]).expect("room");
            }
            let honest = read(&file, word);
            for value in [value, honest.wrapping_add(value)] {
                forge(&file, word, value);
                work_as_sender(setup, &tx);
                work_as_receiver(setup, &rx);
                forge(&file, word, value);
                work_as_receiver(setup, &rx);
                work_as_sender(setup, &tx);
            }
            drop((tx, rx));
            forge(&file, word, value);
            take_over(setup, &open);
            assert!(before == untouchable::<F>(setup, &file), "word {word} as {value}: something else was overwritten");
        }
    }
}

/// Opens whichever ends can be opened, and works with them.
fn take_over<F: Target>(setup: Setup, open: &Open<Message, F>) {
    let tx = open.sending().sender().map(|tx| work_as_sender(setup, &tx));
    let rx = open.receiving().receiver().map(|rx| work_as_receiver(setup, &rx));
    for error in [tx.err(), rx.err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
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

fn a_scribbler_never_stops_a_victim<F: Target>(setup: Setup) {
    let open = setup.open_with::<Message, F>(&options::<F>(setup));
    let file = open.file();
    let stop = AtomicBool::new(false);
    let (length, ring) = (file.metadata().expect("an open file").len(), F::ring(setup));
    let anywhere = |random: &mut Random| match random.below(8) {
        0 => random.next() % (length / 8) * 8,
        1 => TAIL,
        2 => HEAD,
        3 => RECEIVER_EVENT,
        4 => SENDER_EVENT,
        // The peer table, wherever it is.
        5 => PEERS + random.next() % 32 * 8 + [0, MPMC_PEERS - PEERS][random.below(2)],
        _ => ring.start + random.next() % ((ring.end - ring.start) / 8) * 8,
    };
    thread::scope(|scope| {
        scope.spawn(|| scribble(&file, anywhere, &stop));
        let victim = scope.spawn(|| {
            for _ in 0..20 {
                take_over(setup, &open);
                // The header is scribbled over, too; who is attached does not look at it again.
                if let Some(name) = open.sending().name() {
                    let _ = Channel::<Message, F>::attach(name, &setup.options()).map_err(|error| error.to_string());
                }
            }
        });
        for _ in 0..20 {
            if let Ok(rx) = open.receiving().receiver() {
                (0..10).for_each(|_| work_as_receiver(setup, &rx));
            }
        }
        let ended = victim.join();
        stop.store(true, Ordering::Relaxed);
        ended.expect("no panic");
    });
}

fn a_scribbled_event_word_never_keeps_a_sleeper<F: Target>(setup: Setup) {
    let open = setup.open_with::<Message, F>(&options::<F>(setup));
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
