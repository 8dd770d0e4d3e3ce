//! The rounds: every contender in turn, again and again, so that a slow minute of the machine falls on all of them.

use std::fs;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::contender::About;
use super::measure::{Order, Sample};
use super::{BATCH, Work};
use crate::machine::Placement;
use crate::run::{Progress, Scratch, UNDISTURBED, complaint, output_within};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Measurements of every cell.
    pub rounds: usize,
    /// What one of them should take.
    pub sample: Duration,
    /// Messages that the channels hold.
    pub capacity: usize,
    /// Whether each side has a processor of its own.
    pub split: bool,
}

/// One contender with one kind of work in one shape.
#[derive(Debug)]
pub struct Cell {
    /// Who.
    pub about: About,
    /// Producers, and consumers.
    pub shape: usize,
    /// What they send.
    pub work: Work,
    /// How much of it; the same in every round.
    pub messages: u64,
    /// One a round.
    pub samples: Vec<Sample>,
    /// Why there are no (more) samples.
    pub failure: Option<String>,
}

/// Far above what a measurement takes, so that only a contender that hangs meets it.
const LIMIT: Duration = Duration::from_secs(30);

/// For a guess at the speed of whatever comes.
const FIRST: u64 = 32 * 1024;

/// Runs every cell once for a guess at its speed, then `effort.rounds` times.
///
/// # Errors
///
/// If shared memory cannot be used at all. What goes wrong in a cell stays there.
pub fn run(contenders: &[About], shapes: &[usize], effort: &Effort, placement: Placement) -> Result<Vec<Cell>> {
    let mut bench = Bench { scratch: Scratch::new()?, effort: *effort, placement, measurements: 0, repeats_left: 0 };
    let mut progress = Progress { shown: stderr().is_terminal() };
    let mut cells = Vec::new();
    for work in Work::ALL {
        for &shape in shapes {
            for &about in contenders.iter().filter(|about| about.does(work, shape)) {
                let mut cell = Cell { about, shape, work, messages: FIRST, samples: Vec::new(), failure: None };
                progress.show(&format!("sizing: {}", cell.name()));
                match bench.measure(&cell) {
                    Ok(guess) => cell.messages = messages(effort, guess.ns),
                    Err(error) => cell.failure = Some(format!("{error:#}")),
                }
                cells.push(cell);
            }
        }
    }
    bench.repeats_left = cells.len() * effort.rounds / 4;
    for round in 0..effort.rounds {
        for row in cells.chunk_by_mut(|one, other| (one.work, one.shape) == (other.work, other.shape)) {
            // Nobody always runs first, or always after the same neighbour.
            let first = round * row.len() / effort.rounds;
            let (before, after) = row.split_at_mut(first);
            for cell in after.iter_mut().chain(before).filter(|cell| cell.failure.is_none()) {
                progress.show(&format!("round {} of {}: {}", round + 1, effort.rounds, cell.name()));
                match bench.measure_undisturbed(cell) {
                    Ok(sample) => cell.samples.push(sample),
                    Err(error) => cell.failure = Some(format!("{error:#}")),
                }
            }
        }
    }
    progress.show("");
    Ok(cells)
}

/// As many as take about the time of one sample, and go around the ring many times in any case.
fn messages(effort: &Effort, guessed_ns: f64) -> u64 {
    let in_time = (effort.sample.as_nanos() as f64 / guessed_ns) as u64;
    in_time.max(16 * effort.capacity as u64).next_multiple_of(8 * BATCH as u64)
}

impl Cell {
    fn name(&self) -> String {
        let Self { about, shape, work, .. } = self;
        format!("{shape}x{shape}, {} bytes, {} a call: {}", work.bytes, work.batch, about.name)
    }
}

struct Bench {
    scratch: Scratch,
    effort: Effort,
    placement: Placement,
    measurements: usize,
    /// On a machine that is never quiet, the run must end all the same.
    repeats_left: usize,
}

impl Bench {
    /// Measures, and again if somebody else used the processors meanwhile; whether to is decided by the processor time
    /// alone and alike for all, never by how the measurement turned out.
    fn measure_undisturbed(&mut self, cell: &Cell) -> Result<Sample> {
        const ATTEMPTS: usize = 3;
        let mut best = self.measure(cell)?;
        for _ in 1..ATTEMPTS {
            if best.share() >= UNDISTURBED || self.repeats_left == 0 {
                break;
            }
            self.repeats_left -= 1;
            let next = self.measure(cell)?;
            if next.share() > best.share() {
                best = next;
            }
        }
        Ok(best)
    }

    fn measure(&mut self, cell: &Cell) -> Result<Sample> {
        self.measurements += 1;
        let directory = self.scratch.directory(self.measurements)?;
        let order = Order {
            contender: cell.about.name.to_owned(),
            shape: cell.shape,
            work: cell.work,
            warmup: (cell.messages / 16).max(4 * self.effort.capacity as u64).next_multiple_of(8 * BATCH as u64),
            messages: cell.messages,
            capacity: self.effort.capacity,
            placement: self.placement,
            split: self.effort.split,
            directory: directory.clone(),
        };
        let output = output_within(order.command("crowd")?, LIMIT);
        fs::remove_dir_all(directory)?;
        let output = output?;
        if !output.status.success() {
            bail!("{}: {}", output.status, complaint(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("the result of a measurement")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::SHAPES;

    #[test]
    fn every_worker_gets_a_whole_share() {
        let effort = Effort { rounds: 1, sample: Duration::from_millis(100), capacity: 1000, split: false };
        for guess in [1.0, 3.7, 1e9] {
            let messages = messages(&effort, guess);
            assert!(messages >= 16_000);
            assert!(SHAPES.into_iter().all(|shape| messages.is_multiple_of(shape as u64)));
        }
    }
}
