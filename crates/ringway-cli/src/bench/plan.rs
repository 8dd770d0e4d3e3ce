//! What is measured, and how long each run of it may take.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What the processes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scenario {
    /// One message goes out, and comes back before the next goes out.
    PingPong,
    /// Messages go one way, as fast as they can.
    Throughput,
}

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Transport {
    /// A ringway channel with one sender and one receiver
    Spsc,
    /// A ringway channel with any number of senders and receivers: 1x1, small messages also 2x2 and 4x4
    Mpmc,
    /// An anonymous pipe
    Pipe,
    /// A named pipe
    Fifo,
    /// A Unix stream socket
    UnixStream,
    /// TCP over the loopback interface, with TCP_NODELAY
    Tcp,
}

/// How a side waits for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wait {
    /// [`ringway::Wait::Spin`]
    Spin,
    /// [`ringway::Wait::Adaptive`]
    Adaptive,
    /// [`ringway::Wait::Park`]
    Park,
    /// In `read` and `write`.
    Kernel,
}

/// One row of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) scenario: Scenario,
    pub(super) transport: Transport,
    pub(super) wait: Wait,
    /// Of one message.
    pub(super) bytes: usize,
    /// Messages a call.
    pub(super) batch: usize,
    /// Processes that send, or start the round trips.
    pub(super) producers: usize,
    /// Processes that receive, or send back.
    pub(super) consumers: usize,
}

impl Cell {
    /// Whether the messages come from several senders, or might: then they are counted and checked as a crowd's.
    pub(super) fn is_crowd(&self) -> bool {
        self.transport == Transport::Mpmc && self.scenario == Scenario::Throughput
    }
}

/// Senders, and as many receivers, of the rows that have several, and the largest messages of these rows.
const CROWDS: [usize; 2] = [2, 4];
const CROWD_BYTES: usize = 64;

/// Messages a call in the rows that batch.
pub(super) const BATCH: usize = 32;

/// Every row, grouped as the table shows them.
pub(super) fn cells(transports: &[Transport], sizes: &[usize], parallel: bool) -> Vec<Cell> {
    let kinds = [(Scenario::PingPong, 1), (Scenario::Throughput, 1), (Scenario::Throughput, BATCH)];
    let mut cells = Vec::new();
    for (scenario, batch) in kinds {
        for &bytes in sizes {
            for &transport in transports {
                let pair = Cell { scenario, transport, wait: Wait::Kernel, bytes, batch, producers: 1, consumers: 1 };
                cells.extend(waits(transport, parallel).iter().map(|&wait| Cell { wait, ..pair }));
                if pair.is_crowd() && bytes <= CROWD_BYTES {
                    let crowd = |size| Cell { wait: Wait::Adaptive, producers: size, consumers: size, ..pair };
                    cells.extend(CROWDS.map(crowd));
                }
            }
        }
    }
    cells
}

/// Two processes on one core must not spin: each would wait until its time slice is over.
fn waits(transport: Transport, parallel: bool) -> &'static [Wait] {
    match (transport, parallel) {
        (Transport::Spsc | Transport::Mpmc, true) => &[Wait::Spin, Wait::Adaptive, Wait::Park],
        (Transport::Spsc | Transport::Mpmc, false) => &[Wait::Adaptive, Wait::Park],
        _ => &[Wait::Kernel],
    }
}

/// What a run costs beside its measurement, until one has been seen: two processes have to start.
const FIRST_OVERHEAD: Duration = Duration::from_millis(10);

/// Shorter measurements say nothing.
const SHORTEST: Duration = Duration::from_millis(2);

/// Divides the time that is left among the runs that are left.
#[derive(Debug)]
pub(super) struct Budget {
    deadline: Instant,
    runs: u32,
    /// Of one run beside its measurement: the mean of what was seen.
    overhead: Duration,
}

impl Budget {
    /// `total` for `runs` runs, from now on.
    pub(super) fn new(total: Duration, runs: usize) -> Self {
        Self { deadline: Instant::now() + total, runs: runs as u32, overhead: FIRST_OVERHEAD }
    }

    /// How long the next run may measure.
    pub(super) fn next(&mut self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let share = left / self.runs.max(1);
        self.runs = self.runs.saturating_sub(1);
        share.saturating_sub(self.overhead).max(SHORTEST)
    }

    /// Notes that a run whose measurement was to take `measured` took `all`.
    pub(super) fn spent(&mut self, all: Duration, measured: Duration) {
        self.overhead = (self.overhead * 7 + all.saturating_sub(measured)) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_plan_has_every_contender() {
        let all = Transport::value_variants();
        let cells = cells(all, &[8, 64, 1024], true);
        // Crowds for two sizes of messages, one a call and in batches.
        assert_eq!(cells.len(), 3 * 3 * (3 + 3 + 4) + 2 * 2 * 2);
        for (index, cell) in cells.iter().enumerate() {
            assert!(!cells[..index].contains(cell), "{cell:?} twice");
            let is_ours = matches!(cell.transport, Transport::Spsc | Transport::Mpmc);
            assert_eq!(is_ours, cell.wait != Wait::Kernel);
            assert!(cell.producers == cell.consumers && (cell.producers == 1 || cell.is_crowd()));
        }
    }

    #[test]
    fn nothing_spins_on_a_single_core() {
        assert!(cells(Transport::value_variants(), &[8], false).iter().all(|cell| cell.wait != Wait::Spin));
    }

    #[test]
    fn a_budget_never_gives_less_than_a_measurement_needs() {
        let mut budget = Budget::new(Duration::ZERO, 1);
        assert_eq!(budget.next(), SHORTEST);
        assert_eq!(budget.next(), SHORTEST);
        budget.spent(Duration::from_secs(9), Duration::ZERO);
        assert_eq!(budget.next(), SHORTEST);
    }
}
