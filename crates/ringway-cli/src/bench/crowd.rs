//! Several senders and receivers on one channel.
//!
//! A producer sends for the time of the measurement, from the moment at which all are attached; a consumer takes
//! whatever comes until the last producer has ended. The time is from the first send to the last receive. Each message
//! carries its producer's number beside its own, so a consumer checks that each producer's messages come in order, and
//! all consumers' checksums together tell that none is lost or doubled.

use std::io::{self, Read as _};

use ringway::RecvError;
use ringway::channel_of::{Channel, Mpmc};

use super::message::{LAST, Message, SEQUENCE};
use super::peer::{self, Job, Report, Role, Stopwatch};
use super::transport::{Outlet as _, channel};

/// Bits of the first word that count within a producer; its index is above.
const COUNT_BITS: u32 = 48;

/// Does the job.
pub(super) fn play<M: Message>(job: &Job) -> io::Result<Report> {
    match job.role {
        Role::Leader => produce::<M>(job),
        Role::Follower => consume::<M>(job),
    }
}

fn produce<M: Message>(job: &Job) -> io::Result<Report> {
    let mut outlet = channel::Outgoing::<M, Mpmc>::open(&job.cell)?;
    // Closed once all are attached.
    io::stdin().read_to_end(&mut Vec::new())?;
    let first = (job.index as u64) << COUNT_BITS;
    let mut sequence = first;
    let stopwatch = Stopwatch::start();
    peer::produce_for(&mut outlet, &mut sequence, job.cell.batch, job.measure)?;
    outlet.send(M::new(sequence | LAST))?;
    Ok(stopwatch.report(sequence + 1 - first))
}

fn consume<M: Message>(job: &Job) -> io::Result<Report> {
    let receiver = channel::attach(&io::stdin(), &job.cell, Channel::<M, Mpmc>::receiver)?;
    let mut checker = Checker { next: vec![0; job.cell.producers], ..Checker::default() };
    let mut messages = vec![M::new(0); job.cell.batch];
    let mut stopwatch = None;
    loop {
        let received = match messages.as_mut_slice() {
            [message] => receiver.recv().map(|received| {
                *message = received;
                1
            }),
            messages => receiver.recv_slice(messages),
        };
        let count = match received {
            Ok(count) => count,
            Err(RecvError::Disconnected) => break,
            Err(error) => return Err(io::Error::other(error)),
        };
        stopwatch.get_or_insert_with(Stopwatch::start);
        for message in &messages[..count] {
            checker.check(message)?;
        }
    }
    let report = stopwatch.unwrap_or_else(Stopwatch::start).report(checker.count);
    Ok(Report { digest: checker.digest, end_ns: checker.end_ns, ..report })
}

/// What one consumer has seen of the producers.
#[derive(Default)]
struct Checker {
    /// The least number that each producer's next message can have.
    next: Vec<u64>,
    count: u64,
    digest: u64,
    /// When the last message of some producer came.
    end_ns: u64,
}

impl Checker {
    #[inline]
    fn check<M: Message>(&mut self, message: &M) -> io::Result<()> {
        let stamp = message.stamp();
        let (producer, number) = split(stamp & SEQUENCE);
        match self.next.get_mut(producer) {
            Some(next) if *next <= number && message.is_intact() => *next = number + 1,
            _ => return Err(wrong(producer, number, message.is_intact())),
        }
        self.count += 1;
        self.digest = self.digest.wrapping_add(digest(stamp & SEQUENCE));
        if stamp & LAST != 0 {
            self.end_ns = peer::now();
        }
        Ok(())
    }
}

fn split(sequence: u64) -> (usize, u64) {
    ((sequence >> COUNT_BITS) as usize, sequence & ((1 << COUNT_BITS) - 1))
}

#[cold]
fn wrong(producer: usize, number: u64, intact: bool) -> io::Error {
    let how = if intact { "came late, or twice" } else { "is torn" };
    io::Error::other(format!("verification failed: message {number} of producer {producer} {how}"))
}

/// Tells sets of messages apart, whatever their order.
fn digest(sequence: u64) -> u64 {
    sequence.wrapping_mul(sequence ^ 0x9E37_79B9_7F4A_7C15)
}

/// Whether what the consumers took is what the producers sent.
pub(super) fn is_complete(producers: &[Report], consumers: &[Report]) -> bool {
    let mut expected = 0_u64;
    for (producer, report) in producers.iter().enumerate() {
        let first = (producer as u64) << COUNT_BITS;
        for sequence in first..first + report.messages {
            expected = expected.wrapping_add(digest(sequence));
        }
    }
    let count = |reports: &[Report]| reports.iter().map(|report| report.messages).sum::<u64>();
    let found = consumers.iter().fold(0_u64, |sum, report| sum.wrapping_add(report.digest));
    (count(producers), expected) == (count(consumers), found)
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::bench::message::Message64;

    fn sequence(producer: u64, number: u64) -> u64 {
        producer << COUNT_BITS | number
    }

    fn checker() -> Checker {
        Checker { next: vec![0; 2], ..Checker::default() }
    }

    #[test]
    fn producers_alternate_and_others_take_some() {
        let mut checker = checker();
        for sequence in [sequence(1, 0), sequence(0, 3), sequence(0, 4), sequence(1, 7) | LAST] {
            checker.check(&Message64::new(sequence)).unwrap();
        }
        assert_eq!(checker.count, 4);
        assert!(checker.end_ns > 0);
    }

    #[test]
    fn a_repeated_an_overtaken_a_torn_and_a_foreign_message_are_noticed() {
        let mut checker = checker();
        checker.check(&Message64::new(sequence(0, 5))).unwrap();
        assert!(checker.check(&Message64::new(sequence(0, 5))).is_err(), "repeated");
        assert!(checker.check(&Message64::new(sequence(0, 4))).is_err(), "overtaken");
        assert!(checker.check(&Message64::new(sequence(2, 0))).is_err(), "foreign");
        let mut torn = Message64::new(sequence(0, 6));
        torn.as_mut_bytes()[63] ^= 1;
        assert!(checker.check(&torn).is_err(), "torn");
    }

    #[test]
    fn a_loss_is_noticed_even_if_the_number_of_messages_is_right() {
        let sent = |messages| Report { messages, ..Report::default() };
        let took = |sequences: &[u64]| Report {
            messages: sequences.len() as u64,
            digest: sequences.iter().fold(0, |sum: u64, &sequence| sum.wrapping_add(digest(sequence))),
            ..Report::default()
        };
        let producers = [sent(2), sent(1)];
        let (a, b, c) = (sequence(0, 0), sequence(0, 1), sequence(1, 0));
        assert!(is_complete(&producers, &[took(&[c, b]), took(&[a])]));
        assert!(!is_complete(&producers, &[took(&[c, b]), took(&[])]));
        assert!(!is_complete(&producers, &[took(&[c, b]), took(&[b])]));
        assert!(!is_complete(&producers, &[took(&[c, b]), took(&[a, a])]));
    }
}
