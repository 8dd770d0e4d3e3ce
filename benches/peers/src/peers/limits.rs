//! What memory itself allows on this machine, with no channel around it.

use std::array;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use crossbeam_utils::CachePadded;
use zerocopy::{FromBytes, IntoBytes};

use crate::contender::{About, BetweenThreads, Group, ReceiveEnd, SendEnd};
use crate::message::Message;
use crate::peers::{BARE, LINES};
use crate::scenario::Scenario;

/// Two atomics on two lines, one a direction: the shortest round trip there is.
///
/// Good for a round trip only: nothing keeps a second message from overwriting the first.
pub struct BareAtomics;

/// The same without the processor's pause instruction in the polling loop, which the contenders have.
pub struct BareAtomicsNoPause;

const BARE_ATOMICS: About = About {
    name: BARE,
    package: "",
    form: "one AtomicU64 a direction, each on a line of its own; store, and poll with spin_loop",
    group: Group::Limit,
    scenarios: &[Scenario::PingPong],
};

impl BetweenThreads for BareAtomics {
    const ABOUT: About = BARE_ATOMICS;
    type Tx<M: Message> = Word;
    type Rx<M: Message> = PolledWord<true>;

    fn channel<M: Message>(_: usize) -> Result<(Word, PolledWord<true>)> {
        Ok(word())
    }
}

impl BetweenThreads for BareAtomicsNoPause {
    const ABOUT: About =
        About { name: "bare atomics, no pause", form: "as bare atomics, but polled without spin_loop", ..BARE_ATOMICS };
    type Tx<M: Message> = Word;
    type Rx<M: Message> = PolledWord<false>;

    fn channel<M: Message>(_: usize) -> Result<(Word, PolledWord<false>)> {
        Ok(word())
    }
}

/// Holds the number of the last message, plus one, so that zero is none.
pub struct Word(Arc<CachePadded<AtomicU64>>);

/// The side that polls for the next number.
pub struct PolledWord<const PAUSE: bool> {
    word: Arc<CachePadded<AtomicU64>>,
    last: u64,
}

fn word<const PAUSE: bool>() -> (Word, PolledWord<PAUSE>) {
    let word = Arc::new(CachePadded::new(AtomicU64::new(0)));
    (Word(Arc::clone(&word)), PolledWord { word, last: 0 })
}

impl<M: Message> SendEnd<M> for Word {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        self.0.store(number + 1, Ordering::Release);
    }
}

impl<M: Message, const PAUSE: bool> ReceiveEnd<M> for PolledWord<PAUSE> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        loop {
            let word = self.word.load(Ordering::Acquire);
            if word != self.last {
                self.last = word;
                return visit(&M::numbered(word - 1));
            }
            if PAUSE {
                spin_loop();
            }
        }
    }
}

/// Lines of 64 bytes with a flag in the first word, streamed through a ring of as many payload words
/// as the contenders' rings hold: what a stream of small messages could cost at best.
pub struct Lines;

const PAYLOAD_WORDS: usize = 7;

#[repr(align(64))]
struct Line {
    /// Lap of the line's content, counted from 1; written last.
    flag: AtomicU64,
    payload: [AtomicU64; PAYLOAD_WORDS],
}

struct Ring {
    lines: Box<[Line]>,
    /// Lines that the consumer has left, written a few times a lap.
    left: CachePadded<AtomicU64>,
}

/// The producer's end.
pub struct LineTx {
    ring: Arc<Ring>,
    next: u64,
    left: u64,
}

/// The consumer's end.
pub struct LineRx {
    ring: Arc<Ring>,
    next: u64,
}

impl BetweenThreads for Lines {
    const ABOUT: About = About {
        name: LINES,
        package: "",
        form: "lines of 7 payload words and a flag, stored and polled; room is returned 4 times a lap",
        group: Group::Limit,
        scenarios: &[Scenario::Lines],
    };
    type Tx<M: Message> = LineTx;
    type Rx<M: Message> = LineRx;

    fn channel<M: Message>(capacity: usize) -> Result<(LineTx, LineRx)> {
        let lines = capacity.div_ceil(PAYLOAD_WORDS).next_power_of_two().max(4);
        let line = |_| Line { flag: AtomicU64::new(0), payload: array::from_fn(|_| AtomicU64::new(0)) };
        let ring = Arc::new(Ring { lines: (0..lines).map(line).collect(), left: CachePadded::new(AtomicU64::new(0)) });
        Ok((LineTx { ring: Arc::clone(&ring), next: 0, left: 0 }, LineRx { ring, next: 0 }))
    }
}

impl Ring {
    /// Where line `ticket` is, and the flag that it has once it is written.
    #[inline(always)]
    fn line(&self, ticket: u64) -> (&Line, u64) {
        let count = self.lines.len() as u64;
        let index = (ticket & (count - 1)) as usize;
        (&self.lines[index], (ticket >> count.trailing_zeros()) + 1)
    }
}

impl<M: Message> SendEnd<M> for LineTx {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        while self.next - self.left == self.ring.lines.len() as u64 {
            self.left = self.ring.left.load(Ordering::Acquire);
            if self.next - self.left < self.ring.lines.len() as u64 {
                break;
            }
            spin_loop();
        }
        let (line, flag) = self.ring.line(self.next);
        let message = M::numbered(number);
        let words = <[u64]>::ref_from_bytes(message.as_bytes()).expect("messages are made of words");
        for (place, &word) in line.payload.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        line.flag.store(flag, Ordering::Release);
        self.next += 1;
    }
}

impl<M: Message> ReceiveEnd<M> for LineRx {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        let (line, flag) = self.ring.line(self.next);
        while line.flag.load(Ordering::Acquire) != flag {
            spin_loop();
        }
        let words: [u64; PAYLOAD_WORDS] = array::from_fn(|index| line.payload[index].load(Ordering::Relaxed));
        let result = visit(&M::read_from_bytes(words.as_bytes()).expect("a message is a line's payload"));
        self.next += 1;
        if self.next & (self.ring.lines.len() as u64 / 4 - 1) == 0 {
            self.ring.left.store(self.next, Ordering::Release);
        }
        result
    }
}
