//! What the machine itself allows: the least that two cores need to exchange a word, or to pass on a cache line.
//!
//! Both are measured with two pinned threads and plain loads and stores, and neither does anything but wait for the
//! other side's line. A channel between processes can come near to them; only luck takes it below.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::thread::{sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use super::placement::{Placement, pin};
use super::stats::{Spread, new_histogram, rounded};

/// Lines that the stream goes round in. The fewer, the more often both sides meet on the same line.
const STREAM_LINES: [usize; 4] = [64, 1 << 10, 1 << 14, 1 << 18];

/// Every limit needs one run a round.
pub(super) const RUNS: usize = 1 + STREAM_LINES.len();

/// A longer measurement of a limit tells no more.
pub(super) const LONGEST: Duration = Duration::from_millis(200);

/// Exchanges that are not measured, until caches and clocks are warm.
const WARM: u64 = 1000;

/// A value that tells the other side to stop.
const STOP: u64 = u64::MAX;

/// Beside the lap in a line's flag: there is no further lap.
const LAST_LAP: u64 = 1 << 63;

/// Lines between two looks at the clock.
const CLOCK_EVERY: usize = 1 << 18;

/// Payload of a line whose last word is the flag, and the flag.
const PAYLOAD_WORDS: usize = 7;

/// Bytes that a streamed line carries beside its flag.
pub(super) const LINE_PAYLOAD: usize = PAYLOAD_WORDS * 8;

/// The limits, each the median over the rounds.
#[derive(Debug, Serialize)]
pub(super) struct Limits {
    /// Round trip of two bare atomics on two lines: the median of single trips, clock included, as in the results.
    pub(super) pingpong_rtt_ns: f64,
    /// One 64-byte line from core to core, in the best of the rings below.
    pub(super) stream_ns_per_line: f64,
    /// The same by the number of lines in the ring.
    stream_ns_per_line_by_lines: BTreeMap<usize, f64>,
    /// What one look at the clock takes; every round trip contains about one.
    clock_ns: f64,
}

/// The samples of all rounds.
#[derive(Debug, Default)]
pub(super) struct Sampled {
    round_trips: Vec<f64>,
    streams: [Vec<f64>; STREAM_LINES.len()],
    clocks: Vec<f64>,
}

impl Sampled {
    /// Measures every limit once more, each for about `time`.
    pub(super) fn sample(&mut self, placement: &Placement, time: Duration) -> io::Result<()> {
        self.clocks.push(clock());
        self.round_trips.push(ping_pong(placement, time)?);
        for (lines, samples) in STREAM_LINES.into_iter().zip(&mut self.streams) {
            samples.push(stream(placement, lines, time)?);
        }
        Ok(())
    }

    /// The medians; nothing without a sample.
    pub(super) fn limits(&self) -> Option<Limits> {
        let median = |samples: &[f64]| Spread::of(samples).map(|spread| spread.median);
        let streams: Option<Vec<_>> = self.streams.iter().map(|samples| median(samples)).collect();
        let streams = streams?;
        Some(Limits {
            pingpong_rtt_ns: median(&self.round_trips)?,
            stream_ns_per_line: rounded(streams.iter().copied().reduce(f64::min)?),
            stream_ns_per_line_by_lines: STREAM_LINES.into_iter().zip(streams.into_iter().map(rounded)).collect(),
            clock_ns: rounded(median(&self.clocks)?),
        })
    }
}

/// A word on a pair of lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Lonely(AtomicU64);

impl Lonely {
    fn wait_for(&self, value: u64) -> bool {
        // No spin hint: on some machines it costs more than a line takes to travel.
        loop {
            match self.0.load(Ordering::Acquire) {
                found if found == value => return true,
                STOP => return false,
                _ => {}
            }
        }
    }
}

/// Median round trip in nanoseconds.
fn ping_pong(placement: &Placement, time: Duration) -> io::Result<f64> {
    let (ping, pong) = (Lonely::default(), Lonely::default());
    let mut trips = new_histogram();
    on_two_cores(
        placement,
        || {
            let start = Instant::now();
            for count in 1.. {
                let begin = Instant::now();
                ping.0.store(count, Ordering::Release);
                pong.wait_for(count);
                let end = Instant::now();
                if count > WARM {
                    record(&mut trips, end - begin);
                    if end - start > time {
                        break;
                    }
                }
            }
            ping.0.store(STOP, Ordering::Release);
        },
        || {
            let mut count = 1;
            while ping.wait_for(count) {
                pong.0.store(count, Ordering::Release);
                count += 1;
            }
        },
    )?;
    Ok(trips.value_at_quantile(0.5) as f64)
}

/// One cache line: seven words, and the number of the lap in which they were written.
#[derive(Default)]
#[repr(align(64))]
struct Line {
    words: [AtomicU64; PAYLOAD_WORDS],
    lap: AtomicU64,
}

/// Nanoseconds a line, streamed through a ring of `count` lines that nothing but the lines themselves synchronizes,
/// except for a credit four times a lap that keeps the writer from lapping the reader.
///
/// The median of stretches of a millisecond or so: a limit is what the cores do while they are left alone.
fn stream(placement: &Placement, count: usize, time: Duration) -> io::Result<f64> {
    let ring: Vec<Line> = std::iter::repeat_with(Line::default).take(count).collect();
    let read = Lonely::default();
    let (mut times, mut intact) = (Vec::new(), true);
    on_two_cores(placement, || write_lines(&ring, &read, time), || intact = read_lines(&ring, &read, &mut times))?;
    if !intact {
        return Err(io::Error::other("a streamed cache line arrived torn: this machine cannot be trusted"));
    }
    Spread::of(&times).map(|times| times.median).ok_or_else(|| io::Error::other("no cache line was streamed"))
}

/// Lines between two credits.
fn stretch(ring: &[Line]) -> usize {
    ring.len() / 4
}

fn write_lines(ring: &[Line], read: &Lonely, time: Duration) {
    let stretch = stretch(ring);
    let (mut written, mut last_lap, start) = (0, STOP, Instant::now());
    for lap in 1.. {
        let flag = if lap == last_lap { lap | LAST_LAP } else { lap };
        for part in ring.chunks(stretch) {
            // Room for this stretch: what lay there one lap ago has been read.
            while written + stretch > read.0.load(Ordering::Acquire) as usize + ring.len() {}
            for line in part {
                for word in &line.words {
                    word.store(lap, Ordering::Relaxed);
                }
                line.lap.store(flag, Ordering::Release);
            }
            written += stretch;
        }
        if lap == last_lap {
            return;
        }
        if last_lap == STOP && written % CLOCK_EVERY == 0 && start.elapsed() > time {
            last_lap = lap + 1;
        }
    }
}

/// Whether every line arrived whole; `times` are nanoseconds a line.
fn read_lines(ring: &[Line], read: &Lonely, times: &mut Vec<f64>) -> bool {
    let stretch = stretch(ring);
    let (mut lines, mut intact, mut start) = (0, true, Instant::now());
    for lap in 1.. {
        let mut flag = 0;
        for part in ring.chunks(stretch) {
            for line in part {
                loop {
                    flag = line.lap.load(Ordering::Acquire);
                    if flag & !LAST_LAP == lap {
                        break;
                    }
                }
                intact &= line.words.iter().all(|word| word.load(Ordering::Relaxed) == lap);
            }
            lines += stretch;
            read.0.store(lines as u64, Ordering::Release);
        }
        if lines % CLOCK_EVERY == 0 {
            let now = Instant::now();
            times.push((now - start).as_nanos() as f64 / CLOCK_EVERY as f64);
            start = now;
        }
        if flag & LAST_LAP != 0 {
            break;
        }
    }
    // The first stretch of time mapped the memory.
    if times.len() > 1 {
        times.remove(0);
    }
    intact
}

/// What one look at the clock takes, in nanoseconds.
fn clock() -> f64 {
    const LOOKS: u32 = 10_000;
    let start = Instant::now();
    for _ in 0..LOOKS {
        std::hint::black_box(Instant::now());
    }
    start.elapsed().as_nanos() as f64 / f64::from(LOOKS)
}

/// Runs both to their end, each on its core.
fn on_two_cores(placement: &Placement, one: impl FnOnce() + Send, other: impl FnOnce()) -> io::Result<()> {
    let [first, second] = placement.cores;
    let before = sched_getaffinity(None)?;
    // A thread inherits its cores. What cannot be pinned fails here, before one side waits for ever for the other.
    pin(second)?;
    pin(first)?;
    let pinned = thread::scope(|scope| {
        scope.spawn(one);
        let pinned = pin(second);
        other();
        pinned
    });
    sched_setaffinity(None, &before)?;
    pinned
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(time.as_nanos() as u64);
}
