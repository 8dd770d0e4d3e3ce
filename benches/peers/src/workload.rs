//! The loops that are timed: each defined once, compiled for every contender and message.

use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::contender::{ReceiveEnd, SendEnd};
use crate::message::Message;
use crate::scenario::{BATCH, Scenario};

/// How much work one measurement is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What is done.
    pub scenario: Scenario,
    /// Messages, or round trips, that are not counted.
    pub warmup: u64,
    /// Messages, or round trips, between the first and the last look at the clock.
    pub messages: u64,
    /// Round trips after that, each with a look at the clock of its own, for the percentiles.
    pub timed: u64,
    /// Messages that the channel holds.
    pub capacity: usize,
}

/// The quantiles of a round trip that are reported, besides the maximum.
pub const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// What came out of one measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Wall time for one message or round trip, in nanoseconds, seen by the consumer.
    pub ns: f64,
    /// Processor time for it, of both sides together.
    pub cpu_ns: f64,
    /// The round trips at [`QUANTILES`], and the longest; empty for a stream.
    pub quantiles_ns: Vec<f64>,
}

impl Sample {
    /// Share of its two processors that the measurement got, between 0 and 1.
    ///
    /// Sides that poll use theirs all the time, so whatever is missing was taken by somebody else.
    pub fn share(&self) -> f64 {
        self.cpu_ns / (2.0 * self.ns)
    }
}

/// Whose processor time is counted.
#[derive(Clone, Copy, Debug)]
pub enum Account {
    /// The calling thread's: both ends are in one process.
    Thread,
    /// The whole process's, with whatever threads a contender starts.
    Process,
}

impl Account {
    /// The time used until now. `getrusage` reads the same account, rounded to microseconds.
    fn used(self) -> Duration {
        let clock = match self {
            Self::Thread => ClockId::ThreadCPUTime,
            Self::Process => ClockId::ProcessCPUTime,
        };
        Duration::try_from(clock_gettime(clock)).expect("processor time is positive")
    }
}

/// Sends the stream; returns the processor time that the counted part took on this side.
pub fn produce<M: Message>(tx: &mut impl SendEnd<M>, plan: &Plan, account: Account) -> Duration {
    send_all(tx, 0..plan.warmup, plan.scenario);
    let before = account.used();
    send_all(tx, plan.warmup..plan.warmup + plan.messages, plan.scenario);
    account.used() - before
}

/// Takes and checks the stream; returns wall and processor time of the counted part on this side.
pub fn consume<M: Message>(rx: &mut impl ReceiveEnd<M>, plan: &Plan, account: Account) -> (Duration, Duration) {
    receive_all(rx, 0..plan.warmup, plan.scenario);
    let (before, start) = (account.used(), Instant::now());
    receive_all(rx, plan.warmup..plan.warmup + plan.messages, plan.scenario);
    (start.elapsed(), account.used() - before)
}

/// Sends every message back; returns the processor time of the counted part on this side.
pub fn echo<M: Message>(
    rx: &mut impl ReceiveEnd<M>,
    tx: &mut impl SendEnd<M>,
    plan: &Plan,
    account: Account,
) -> Duration {
    return_all(rx, tx, plan.warmup);
    let before = account.used();
    return_all(rx, tx, plan.messages);
    let used = account.used() - before;
    return_all(rx, tx, plan.timed);
    used
}

/// What the side that starts a round trip saw of them.
pub struct RoundTrips {
    /// Wall time of the counted ones.
    pub elapsed: Duration,
    /// Processor time of the counted ones on this side.
    pub used: Duration,
    /// The timed ones, shortest first. Each includes one look at the clock.
    pub sorted_ns: Vec<u32>,
}

/// Sends a message, waits for its return, and so on.
pub fn ping<M: Message>(
    tx: &mut impl SendEnd<M>,
    rx: &mut impl ReceiveEnd<M>,
    plan: &Plan,
    account: Account,
) -> RoundTrips {
    let mut sorted_ns = vec![0; usize::try_from(plan.timed).expect("fits memory")];
    let timed_from = plan.warmup + plan.messages;

    there_and_back(tx, rx, 0..plan.warmup);
    let (before, start) = (account.used(), Instant::now());
    there_and_back(tx, rx, plan.warmup..timed_from);
    let (elapsed, used) = (start.elapsed(), account.used() - before);

    let mut last = Instant::now();
    for (number, ns) in (timed_from..).zip(&mut sorted_ns) {
        there_and_back(tx, rx, number..number + 1);
        let now = Instant::now();
        *ns = u32::try_from((now - last).as_nanos()).unwrap_or(u32::MAX);
        last = now;
    }
    sorted_ns.sort_unstable();
    RoundTrips { elapsed, used, sorted_ns }
}

/// Value at quantile `q` of a sorted list: the smallest that at least that share does not exceed.
pub fn quantile(sorted: &[u32], q: f64) -> u32 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[inline(always)]
fn send_all<M: Message>(tx: &mut impl SendEnd<M>, numbers: Range<u64>, scenario: Scenario) {
    if scenario == Scenario::Batches {
        let mut next = numbers.start;
        while next < numbers.end {
            let end = numbers.end.min(next + BATCH as u64);
            tx.send_batch(next..end);
            next = end;
        }
    } else {
        for number in numbers {
            tx.send(number);
        }
    }
}

#[inline(always)]
fn receive_all<M: Message>(rx: &mut impl ReceiveEnd<M>, numbers: Range<u64>, scenario: Scenario) {
    if scenario == Scenario::Batches {
        let mut next = numbers.start;
        while next < numbers.end {
            let limit = BATCH.min((numbers.end - next) as usize);
            let first = next;
            let taken = rx.receive_batch(limit, |message| {
                check(message, next);
                next += 1;
            });
            assert_eq!(next - first, taken as u64, "messages shown and messages counted");
        }
    } else {
        for number in numbers {
            rx.receive(|message| check(message, number));
        }
    }
}

#[inline(always)]
fn there_and_back<M: Message>(tx: &mut impl SendEnd<M>, rx: &mut impl ReceiveEnd<M>, numbers: Range<u64>) {
    for number in numbers {
        tx.send(number);
        rx.receive(|message| check(message, number));
    }
}

#[inline(always)]
fn return_all<M: Message>(rx: &mut impl ReceiveEnd<M>, tx: &mut impl SendEnd<M>, messages: u64) {
    for _ in 0..messages {
        // What is sent back is what came, so the answer cannot leave before the question is here.
        let number = rx.receive(Message::number);
        tx.send(number);
    }
}

#[inline(always)]
fn check<M: Message>(message: &M, number: u64) {
    if !message.is_numbered(number) {
        wrong(message.number(), number);
    }
}

#[cold]
#[inline(never)]
fn wrong(found: u64, expected: u64) -> ! {
    panic!("a wrong message: number {found} in its first word where {expected} was due");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_list() {
        let sorted: Vec<u32> = (1..=1000).collect();
        assert_eq!(quantile(&sorted, 0.5), 500);
        assert_eq!(quantile(&sorted, 0.999), 999);
        assert_eq!(quantile(&sorted, 1.0), 1000);
        assert_eq!(quantile(&[7], 0.001), 7);
    }

    /// Shows one message twice, or leaves one out, at a chosen place.
    struct Faulty {
        next: u64,
        at: u64,
        by: u64,
    }

    impl ReceiveEnd<u64> for Faulty {
        fn receive<R>(&mut self, visit: impl FnOnce(&u64) -> R) -> R {
            if self.next == self.at {
                self.next = self.next.wrapping_add(self.by);
            }
            self.next += 1;
            visit(&(self.next - 1))
        }
    }

    fn plan(scenario: Scenario) -> Plan {
        Plan { scenario, warmup: 10, messages: 64, timed: 0, capacity: 8 }
    }

    #[test]
    fn a_sound_stream_passes() {
        let mut sound = Faulty { next: 0, at: u64::MAX, by: 0 };
        consume(&mut sound, &plan(Scenario::Words), Account::Thread);
        assert_eq!(sound.next, 74);
    }

    #[test]
    #[should_panic(expected = "number 41 in its first word where 40 was due")]
    fn a_lost_message_is_noticed() {
        consume(&mut Faulty { next: 0, at: 40, by: 1 }, &plan(Scenario::Words), Account::Thread);
    }

    #[test]
    #[should_panic(expected = "number 39 in its first word where 40 was due")]
    fn a_doubled_message_is_noticed() {
        let mut doubled = Faulty { next: 0, at: 40, by: u64::MAX };
        consume(&mut doubled, &plan(Scenario::Batches), Account::Thread);
    }
}
