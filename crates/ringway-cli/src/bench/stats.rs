//! From the samples of the rounds to the figures of a row.

use hdrhistogram::Histogram;

use super::crew::Run;
use super::plan::{Cell, Scenario};

/// Percentiles of the round trips; the last is the longest of all.
pub(super) const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];

/// Nanoseconds up to a minute, with three significant digits.
pub(super) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds")
}

/// No more digits than a measurement has.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Median and range over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Of at least one sample.
    pub(super) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let half = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 };
        Some(Self { median, min, max })
    }
}

/// One contender in one scenario: what it did in all rounds so far.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) cell: Cell,
    /// Nanoseconds a round: the median round trip, or the mean distance of two messages.
    samples: Vec<f64>,
    cpu: Vec<f64>,
    trips: Histogram<u64>,
    /// Messages that were measured, all of them verified.
    pub(super) messages: u64,
    /// Why rounds are missing.
    pub(super) failures: Vec<String>,
}

impl Row {
    /// Without a round.
    pub(super) fn new(cell: Cell) -> Self {
        let (samples, cpu, failures) = Default::default();
        Self { cell, samples, cpu, trips: new_histogram(), messages: 0, failures }
    }

    /// Adds a round.
    pub(super) fn add(&mut self, run: &Run) {
        let messages = run.messages as f64;
        let sample = match self.cell.scenario {
            Scenario::Throughput => run.wall_ns as f64 / messages,
            Scenario::PingPong => {
                let mut round = new_histogram();
                for &(nanoseconds, count) in &run.trips {
                    round.saturating_record_n(nanoseconds, count);
                    self.trips.saturating_record_n(nanoseconds, count);
                }
                round.value_at_quantile(0.5) as f64
            }
        };
        self.samples.push(sample);
        self.cpu.push(run.cpu_ns as f64 / messages);
        self.messages += run.messages;
    }

    /// Rounds that succeeded.
    pub(super) fn rounds(&self) -> usize {
        self.samples.len()
    }

    /// Nanoseconds a message, or a round trip; nothing if every round failed.
    pub(super) fn time(&self) -> Option<Spread> {
        Spread::of(&self.samples)
    }

    /// Processor time of all sides together, in nanoseconds a message or a round trip.
    pub(super) fn cpu(&self) -> Option<f64> {
        Spread::of(&self.cpu).map(|cpu| cpu.median)
    }

    /// Round trip in nanoseconds that `percent` of them, over all rounds, did not exceed.
    pub(super) fn percentile(&self, percent: f64) -> u64 {
        self.trips.value_at_quantile(percent / 100.0)
    }

    /// Messages a second. A round trip is two messages.
    pub(super) fn messages_per_second(&self) -> Option<f64> {
        let messages = match self.cell.scenario {
            Scenario::Throughput => 1.0,
            Scenario::PingPong => 2.0,
        };
        Some(messages * 1e9 / self.time()?.median)
    }

    /// Payload.
    pub(super) fn mib_per_second(&self) -> Option<f64> {
        Some(self.messages_per_second()? * self.cell.bytes as f64 / f64::from(1 << 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0]), Some(Spread { median: 3.0, min: 3.0, max: 3.0 }));
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 9.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
    }
}
