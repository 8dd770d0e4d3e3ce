//! The loops of a producer and of a consumer, and what a consumer checks.

use std::hint::spin_loop;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::BATCH;
use super::contender::{ReceiveEnd, SendEnd};
use crate::message::Message;

/// Bits of a message's number that count within its producer; the producer's index is above.
const SEQUENCE_BITS: u32 = 40;

/// Polls in vain before a worker that shares its processor yields it.
const POLLS: u32 = 32;

/// What one worker has seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// When it began, by the clock that all processes share.
    pub begin_ns: u64,
    /// When it was done.
    pub end_ns: u64,
    /// Processor time in between.
    pub cpu_ns: u64,
    /// Messages that a consumer took.
    pub count: u64,
    /// Checksum of their numbers.
    pub sum: u64,
}

/// One share of the work.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The first number of a producer, within its own.
    pub from: u64,
    /// Messages that a producer sends, or that a consumer takes.
    pub messages: u64,
    /// Messages a call.
    pub batch: usize,
    /// Whether workers share processors.
    pub crowded: bool,
}

/// How everybody waits: polls, and where several workers share a processor yields it now and then.
struct Pause {
    crowded: bool,
    polls: u32,
}

impl Pause {
    fn new(crowded: bool) -> Self {
        Self { crowded, polls: 0 }
    }

    #[inline(always)]
    fn wait(&mut self) {
        self.polls += 1;
        if self.crowded && self.polls.is_multiple_of(POLLS) {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}

/// What can be told apart of a set of numbers, whatever their order.
pub fn digest(number: u64) -> u64 {
    number.wrapping_mul(number ^ 0x9E37_79B9_7F4A_7C15)
}

/// The number of message `sequence` of a producer.
pub fn number(producer: usize, sequence: u64) -> u64 {
    (producer as u64) << SEQUENCE_BITS | sequence
}

/// Sends a share of the work.
pub fn produce<M: Message>(tx: &mut impl SendEnd<M>, producer: usize, share: Share) -> Seen {
    let mut pause = Pause::new(share.crowded);
    let (cpu, begin_ns) = (cpu_time(), now());
    let end = share.from + share.messages;
    if share.batch == 1 {
        for sequence in share.from..end {
            let message = M::numbered(number(producer, sequence));
            while !tx.try_send(message) {
                pause.wait();
            }
        }
    } else {
        let mut batch = Vec::with_capacity(BATCH);
        let mut next = share.from;
        while next < end {
            batch.clear();
            batch.extend((next..end).take(BATCH).map(|sequence| M::numbered(number(producer, sequence))));
            let mut rest = &batch[..];
            while !rest.is_empty() {
                match tx.try_send_batch(rest) {
                    0 => pause.wait(),
                    sent => rest = &rest[sent..],
                }
            }
            next += batch.len() as u64;
        }
    }
    Seen { begin_ns, end_ns: now(), cpu_ns: cpu_time() - cpu, count: 0, sum: 0 }
}

/// Takes a share of the work, and checks it.
pub fn consume<M: Message>(rx: &mut impl ReceiveEnd<M>, producers: usize, share: Share) -> Seen {
    let mut pause = Pause::new(share.crowded);
    let mut checker = Checker { last: vec![None; producers], count: 0, sum: 0 };
    let (cpu, begin_ns) = (cpu_time(), now());
    if share.batch == 1 {
        while checker.count < share.messages {
            match rx.try_receive() {
                Some(message) => checker.check(&message),
                None => pause.wait(),
            }
        }
    } else {
        let mut batch = [M::numbered(0); BATCH];
        while checker.count < share.messages {
            let limit = BATCH.min((share.messages - checker.count) as usize);
            match rx.try_receive_batch(&mut batch[..limit]) {
                0 => pause.wait(),
                taken => batch[..taken].iter().for_each(|message| checker.check(message)),
            }
        }
    }
    Seen { begin_ns, end_ns: now(), cpu_ns: cpu_time() - cpu, count: checker.count, sum: checker.sum }
}

/// Every message whole, and each producer's in order; that none is lost or doubled shows in the sums of all consumers.
struct Checker {
    /// The last number of each producer.
    last: Vec<Option<u64>>,
    count: u64,
    sum: u64,
}

impl Checker {
    #[inline(always)]
    fn check<M: Message>(&mut self, message: &M) {
        let number = message.number();
        let last = self.last.get_mut((number >> SEQUENCE_BITS) as usize);
        match last {
            Some(last) if *last < Some(number) && message.is_numbered(number) => *last = Some(number),
            _ => wrong(number),
        }
        self.count += 1;
        self.sum = self.sum.wrapping_add(digest(number));
    }
}

#[cold]
#[inline(never)]
fn wrong(number: u64) -> ! {
    let (producer, sequence) = (number >> SEQUENCE_BITS, number & ((1 << SEQUENCE_BITS) - 1));
    panic!("a wrong message: number {sequence} of producer {producer} is torn or out of order");
}

/// Nanoseconds of the clock that all processes of the machine share.
fn now() -> u64 {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).expect("not before the start").as_nanos() as u64
}

fn cpu_time() -> u64 {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("positive").as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checker() -> Checker {
        Checker { last: vec![None; 2], count: 0, sum: 0 }
    }

    #[test]
    fn producers_may_alternate() {
        let mut checker = checker();
        for message in [number(1, 0), number(0, 0), number(0, 5), number(1, 1)] {
            checker.check(&message);
        }
        assert_eq!(checker.count, 4);
    }

    #[test]
    #[should_panic(expected = "number 4 of producer 0 is torn or out of order")]
    fn a_producer_overtaking_itself_is_noticed() {
        let mut checker = checker();
        checker.check(&number(0, 5));
        checker.check(&number(0, 4));
    }

    #[test]
    #[should_panic(expected = "torn or out of order")]
    fn a_doubled_message_is_noticed() {
        let mut checker = checker();
        checker.check(&number(1, 5));
        checker.check(&number(1, 5));
    }

    #[test]
    fn a_loss_is_not_made_up_for_by_another_message() {
        let sum = |numbers: &[u64]| numbers.iter().fold(0_u64, |sum, &number| sum.wrapping_add(digest(number)));
        assert_ne!(sum(&[1, 4]), sum(&[2, 3]));
        assert_ne!(sum(&[number(0, 1), number(1, 0)]), sum(&[number(0, 0), number(1, 1)]));
    }
}
