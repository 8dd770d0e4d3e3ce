//! One of the processes of a run.
//!
//! Standard input is the end that messages come in at, standard output the one that they go out at, whatever carries
//! them. On standard error it leaves its report, or whatever went wrong.
//!
//! In every scenario one side *leads*: it decides by its clock when the measurement begins and ends, and says so in the
//! first word of a message. The other side *follows*. Filling and checking the messages is part of what is measured,
//! and the same for everyone. Where there may be several of a side, [`super::crowd`] takes over.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use ringway::channel_of::{Mpmc, Spsc};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::crowd;
use super::message::{BEGIN, LAST, Message, SEQUENCE, with_message};
use super::placement::pin;
use super::plan::{Cell, Scenario, Transport};
use super::stats::new_histogram;
use super::transport::{Inlet, Outlet, channel, kernel};

/// What the process is to do; its only argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) cell: Cell,
    pub(super) role: Role,
    /// Among those of its role.
    pub(super) index: usize,
    pub(super) core: usize,
    pub(super) measure: Duration,
    /// Process id of the benchmark.
    pub(super) parent: i32,
}

/// Which side of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    /// Sends the messages, or starts the round trips.
    Leader,
    /// Receives the messages, or sends them back.
    Follower,
}

/// What the process has seen between the first measured message and the last.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// Messages that arrived here, or round trips; every one was checked.
    pub(super) messages: u64,
    /// Checksum of their numbers, where others receive the rest.
    pub(super) digest: u64,
    /// By the clock that all processes share.
    pub(super) begin_ns: u64,
    pub(super) end_ns: u64,
    /// Processor time of this process, in the kernel or not.
    pub(super) cpu_ns: u64,
    /// Round trips that the leader measured: nanoseconds and how many.
    pub(super) trips: Vec<(u64, u64)>,
}

/// Caches, page tables and clocks get this part of the measured time to become warm.
const WARM_PART: u32 = 10;

/// A sender looks at the clock about this often.
const CLOCK_EVERY: Duration = Duration::from_micros(20);

/// Does the job, and leaves the report on standard error.
pub(super) fn run(job: &str) -> io::Result<()> {
    let job: Job = serde_json::from_str(job)?;
    // However the benchmark ends, we end with it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(job.parent) {
        return Err(io::Error::other("not started by a benchmark"));
    }
    pin(job.core)?;
    let report = with_message!(job.cell.bytes, M => open::<M>(&job))?;
    writeln!(io::stderr(), "{}", serde_json::to_string(&report)?)
}

fn open<M: Message>(job: &Job) -> io::Result<Report> {
    match job.cell.transport {
        _ if job.cell.is_crowd() => crowd::play::<M>(job),
        Transport::Spsc => play(job, channel::Incoming::<M, Spsc>::open, channel::Outgoing::<M, Spsc>::open),
        Transport::Mpmc => play(job, channel::Incoming::<M, Mpmc>::open, channel::Outgoing::<M, Mpmc>::open),
        _ => play::<M, _, _>(job, kernel::Incoming::open, kernel::Outgoing::open),
    }
}

/// Opens the ends that the part needs, and plays it.
fn play<M, I, O>(
    job: &Job,
    incoming: impl FnOnce(&Cell) -> io::Result<I>,
    outgoing: impl FnOnce(&Cell) -> io::Result<O>,
) -> io::Result<Report>
where
    M: Message,
    I: Inlet<M>,
    O: Outlet<M>,
{
    let cell = &job.cell;
    match (cell.scenario, job.role) {
        (Scenario::Throughput, Role::Leader) => produce(&mut outgoing(cell)?, cell.batch, job.measure),
        (Scenario::Throughput, Role::Follower) => consume(&mut incoming(cell)?, cell.batch),
        (Scenario::PingPong, Role::Leader) => ping(&mut incoming(cell)?, &mut outgoing(cell)?, job.measure),
        (Scenario::PingPong, Role::Follower) => pong(&mut incoming(cell)?, &mut outgoing(cell)?),
    }
}

fn produce<M: Message>(outlet: &mut impl Outlet<M>, batch: usize, measure: Duration) -> io::Result<Report> {
    let mut sequence = 0;
    produce_for(outlet, &mut sequence, batch, measure / WARM_PART)?;
    let stopwatch = Stopwatch::start();
    let first = sequence;
    outlet.send(M::new(sequence | BEGIN))?;
    sequence += 1;
    produce_for(outlet, &mut sequence, batch, measure)?;
    outlet.send(M::new(sequence | LAST))?;
    Ok(stopwatch.report(sequence - first))
}

/// Sends messages for about `time`.
pub(super) fn produce_for<M: Message>(
    outlet: &mut impl Outlet<M>,
    sequence: &mut u64,
    batch: usize,
    time: Duration,
) -> io::Result<()> {
    let mut messages = vec![M::new(0); batch];
    let (start, mut before, mut calls) = (Instant::now(), Duration::ZERO, 1);
    loop {
        for _ in 0..calls {
            if batch == 1 {
                outlet.send(M::new(*sequence))?;
            } else {
                for (message, number) in messages.iter_mut().zip(*sequence..) {
                    *message = M::new(number);
                }
                outlet.send_batch(&messages)?;
            }
            *sequence += batch as u64;
        }
        let now = start.elapsed();
        if now >= time {
            return Ok(());
        }
        if now - before < CLOCK_EVERY {
            calls *= 2;
        }
        before = now;
    }
}

fn consume<M: Message>(inlet: &mut impl Inlet<M>, batch: usize) -> io::Result<Report> {
    let mut checker = Checker::default();
    let mut stopwatch = None;
    let mut messages = vec![M::new(0); batch];
    loop {
        let count = if batch == 1 {
            messages[0] = inlet.recv()?;
            1
        } else {
            inlet.recv_batch(&mut messages)?
        };
        for message in &messages[..count] {
            match checker.check(message)? {
                0 => {}
                BEGIN => stopwatch = Some((Stopwatch::start(), checker.checked)),
                _ => {
                    let (stopwatch, first) = stopwatch.ok_or_else(|| io::Error::other("an end without a beginning"))?;
                    return Ok(stopwatch.report(checker.checked - first));
                }
            }
        }
    }
}

fn ping<M: Message>(inlet: &mut impl Inlet<M>, outlet: &mut impl Outlet<M>, measure: Duration) -> io::Result<Report> {
    let mut checker = Checker::default();
    let mut trips = new_histogram();
    // How long one round trip took, and when it ended.
    let mut trip = |flag: u64| {
        let message = M::new(checker.checked | flag);
        let begin = Instant::now();
        outlet.send(message)?;
        let back = inlet.recv()?;
        let end = Instant::now();
        checker.check(&back)?;
        io::Result::Ok((end - begin, end))
    };
    let warm = Instant::now() + measure / WARM_PART;
    while trip(0)?.1 < warm {}
    let (_, start) = trip(BEGIN)?;
    let stopwatch = Stopwatch::start();
    loop {
        let (took, end) = trip(0)?;
        trips.saturating_record(took.as_nanos() as u64);
        if end - start >= measure {
            break;
        }
    }
    let report = stopwatch.report(trips.len());
    trip(LAST)?;
    let trips = trips.iter_recorded().map(|trip| (trip.value_iterated_to(), trip.count_at_value())).collect();
    Ok(Report { trips, ..report })
}

fn pong<M: Message>(inlet: &mut impl Inlet<M>, outlet: &mut impl Outlet<M>) -> io::Result<Report> {
    let mut checker = Checker::default();
    let mut stopwatch = None;
    loop {
        let message = inlet.recv()?;
        outlet.send(message)?;
        match checker.check(&message)? {
            0 => {}
            BEGIN => stopwatch = Some((Stopwatch::start(), checker.checked)),
            _ => {
                let (stopwatch, first) = stopwatch.ok_or_else(|| io::Error::other("an end without a beginning"))?;
                // The last trip is not one of those measured.
                return Ok(stopwatch.report(checker.checked - first - 1));
            }
        }
    }
}

/// Makes sure that every message arrives, whole, once and in order.
#[derive(Default)]
struct Checker {
    checked: u64,
}

impl Checker {
    /// The message's flag, if it is the next one and intact.
    #[inline]
    fn check<M: Message>(&mut self, message: &M) -> io::Result<u64> {
        let stamp = message.stamp();
        if stamp & SEQUENCE != self.checked || !message.is_intact() {
            return Err(self.wrong(message));
        }
        self.checked += 1;
        Ok(stamp & !SEQUENCE)
    }

    #[cold]
    fn wrong<M: Message>(&self, message: &M) -> io::Error {
        let (found, expected) = (message.stamp() & SEQUENCE, self.checked);
        let how = if message.is_intact() { "in the wrong place" } else { "torn" };
        io::Error::other(format!("verification failed: message {expected} expected, message {found} found, {how}"))
    }
}

/// Time on the wall and on the processor.
pub(super) struct Stopwatch {
    begin_ns: u64,
    cpu_ns: u64,
}

impl Stopwatch {
    /// From now on.
    pub(super) fn start() -> Self {
        Self { cpu_ns: nanoseconds(ClockId::ProcessCPUTime), begin_ns: now() }
    }

    /// Until now.
    pub(super) fn report(&self, messages: u64) -> Report {
        let end_ns = now();
        let cpu_ns = nanoseconds(ClockId::ProcessCPUTime).saturating_sub(self.cpu_ns);
        Report { messages, digest: 0, begin_ns: self.begin_ns, end_ns, cpu_ns, trips: Vec::new() }
    }
}

/// By the clock that all processes share.
pub(super) fn now() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

fn nanoseconds(clock: ClockId) -> u64 {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::bench::message::Message64;

    #[test]
    fn a_lost_a_repeated_and_a_torn_message_are_noticed() {
        let mut checker = Checker::default();
        assert_eq!(checker.check(&Message64::new(0)).unwrap(), 0);
        assert_eq!(checker.check(&Message64::new(1 | LAST)).unwrap(), LAST);
        assert!(checker.check(&Message64::new(1)).is_err(), "repeated");
        assert!(checker.check(&Message64::new(3)).is_err(), "lost");
        let mut torn = Message64::new(2);
        torn.as_mut_bytes()[63] ^= 1;
        assert!(checker.check(&torn).is_err(), "torn");
        assert_eq!(checker.check(&Message64::new(2 | BEGIN)).unwrap(), BEGIN);
    }
}
