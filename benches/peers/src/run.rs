//! The rounds: every contender in turn, again and again, so that a slow minute of the machine falls on
//! all of them.

use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cell::{Half, Order};
use crate::contender::About;
use crate::machine::Placement;
use crate::scenario::{BATCH, Scenario};
use crate::workload::{Plan, Sample};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Measurements of every cell.
    pub rounds: usize,
    /// What one of them should take.
    pub sample: Duration,
    /// Messages that the channels hold.
    pub capacity: usize,
}

/// One contender with one kind of work.
#[derive(Debug)]
pub struct Cell {
    /// Who.
    pub about: About,
    /// What, and how much of it; the same in every round.
    pub plan: Plan,
    /// One a round.
    pub samples: Vec<Sample>,
    /// Why there are no (more) samples.
    pub failure: Option<String>,
}

/// Runs every cell once for a guess at its speed, then `effort.rounds` times.
///
/// # Errors
///
/// If shared memory cannot be used at all. What goes wrong in a cell stays there.
pub fn rounds(
    contenders: &[About],
    scenarios: &[Scenario],
    effort: &Effort,
    placement: Placement,
) -> Result<Vec<Cell>> {
    let mut bench = Bench { scratch: Scratch::new()?, placement, measurements: 0, repeats_left: 0 };
    let mut progress = Progress { shown: stderr().is_terminal() };
    let mut cells = Vec::new();
    for &scenario in scenarios {
        for &about in contenders.iter().filter(|about| about.scenarios.contains(&scenario)) {
            progress.show(&format!("sizing: {}: {}", scenario.name(), about.name));
            let guess = bench.measure(about.name, first_plan(scenario, effort.capacity));
            let (plan, failure) = match guess {
                Ok(guess) => (plan(scenario, effort, guess.ns), None),
                Err(error) => (first_plan(scenario, effort.capacity), Some(format!("{error:#}"))),
            };
            cells.push(Cell { about, plan, samples: Vec::new(), failure });
        }
    }
    bench.repeats_left = cells.len() * effort.rounds / 4;
    for round in 0..effort.rounds {
        for &scenario in scenarios {
            let mut row: Vec<&mut Cell> = cells.iter_mut().filter(|cell| cell.plan.scenario == scenario).collect();
            // Nobody always runs first, or always after the same neighbour.
            let first = round * row.len() / effort.rounds;
            row.rotate_left(first);
            for cell in row.into_iter().filter(|cell| cell.failure.is_none()) {
                let (name, rounds) = (cell.about.name, effort.rounds);
                progress.show(&format!("round {} of {rounds}: {scenario}: {name}", round + 1));
                match bench.measure_undisturbed(cell.about, cell.plan) {
                    Ok(sample) => cell.samples.push(sample),
                    Err(error) => cell.failure = Some(format!("{error:#}")),
                }
            }
        }
    }
    progress.show("");
    Ok(cells)
}

/// Enough for a guess at the speed of whatever comes.
fn first_plan(scenario: Scenario, capacity: usize) -> Plan {
    let messages = if scenario == Scenario::PingPong { 2_000 } else { 20_000 };
    Plan { scenario, warmup: messages / 10, messages, timed: 1, capacity }
}

/// A plan that takes about the time of one sample, and wraps the ring many times in any case.
fn plan(scenario: Scenario, effort: &Effort, guessed_ns: f64) -> Plan {
    let in_time = (effort.sample.as_nanos() as f64 / guessed_ns) as u64;
    let (least, warmup) = if scenario == Scenario::PingPong {
        (1_000, 1_000)
    } else {
        (16 * effort.capacity as u64, 4 * effort.capacity as u64)
    };
    let messages = in_time.max(least).next_multiple_of(BATCH as u64);
    let warmup = warmup.max(messages / 16).next_multiple_of(BATCH as u64);
    let timed = if scenario == Scenario::PingPong { (messages / 2).min(100_000) } else { 0 };
    Plan { scenario, warmup, messages, timed, capacity: effort.capacity }
}

/// Share of its processors below which a measurement between sides that poll was disturbed.
pub const UNDISTURBED: f64 = 0.95;

struct Bench {
    scratch: Scratch,
    placement: Placement,
    measurements: usize,
    /// On a machine that is never quiet, the run must end all the same.
    repeats_left: usize,
}

impl Bench {
    /// Far above what a measurement takes, so that only a contender that hangs meets it.
    const LIMIT: Duration = Duration::from_secs(30);

    /// Measures, and again if somebody else used the processors meanwhile; whether to is decided by the
    /// processor time alone and alike for all, never by how the measurement turned out.
    fn measure_undisturbed(&mut self, about: About, plan: Plan) -> Result<Sample> {
        const ATTEMPTS: usize = 3;
        let mut best = self.measure(about.name, plan)?;
        for _ in 1..ATTEMPTS {
            if !about.group.polls() || best.share() >= UNDISTURBED || self.repeats_left == 0 {
                break;
            }
            self.repeats_left -= 1;
            let next = self.measure(about.name, plan)?;
            if next.share() > best.share() {
                best = next;
            }
        }
        Ok(best)
    }

    fn measure(&mut self, contender: &str, plan: Plan) -> Result<Sample> {
        self.measurements += 1;
        let directory = self.scratch.directory(self.measurements)?;
        let order =
            Order { contender: contender.to_owned(), plan, placement: self.placement, directory: directory.clone() };
        let output = output_within(order.command(Half::Measuring)?, Self::LIMIT);
        fs::remove_dir_all(directory)?;
        let output = output?;
        if !output.status.success() {
            bail!("{}: {}", output.status, complaint(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("the result of a measurement")
    }
}

/// The line of a failed process's messages that says most: the first of a panic or an error.
pub fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut line = lines.next().unwrap_or("no message").to_owned();
    if line.contains("panicked at") {
        line = lines.next().unwrap_or("a panic").to_owned();
    }
    line
}

/// Runs a process to its end, which comes within `limit`, or else by force.
///
/// # Errors
///
/// If it cannot be started, or does not end.
pub fn output_within(mut command: Command, limit: Duration) -> Result<Output> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let (done, output) = mpsc::channel();
    let waiter = thread::spawn(move || done.send(child.wait_with_output()));
    let result = match output.recv_timeout(limit) {
        Ok(output) => Ok(output?),
        Err(_) => {
            // The waiter has not reaped it, so the number is still its own; if it ends just now, the
            // kill fails and nothing is lost. Its second process dies with it.
            let _ = kill_process(pid, Signal::KILL);
            let stderr = output.recv()?.map(|output| output.stderr).unwrap_or_default();
            Err(anyhow::anyhow!(
                "no result within {} s (a message was lost, or other work has the processors): {}",
                limit.as_secs(),
                complaint(&stderr)
            ))
        }
    };
    waiter.join().expect("waiting does not panic").ok();
    result
}

/// A directory in shared memory, removed at the end with everything that is named after it.
pub struct Scratch(PathBuf);

impl Scratch {
    const SHARED_MEMORY: &'static str = "/dev/shm";
    const PREFIX: &'static str = "ringway-peers-";

    /// A new one; what interrupted runs have left behind is removed.
    ///
    /// # Errors
    ///
    /// If shared memory cannot be used.
    pub fn new() -> Result<Self> {
        Self::sweep();
        let path = Path::new(Self::SHARED_MEMORY).join(format!("{}{}", Self::PREFIX, process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// A new directory, whose own name is unique on this machine.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn directory(&self, number: usize) -> Result<PathBuf> {
        let path = self.0.join(format!("{}{}-{number}", Self::PREFIX, process::id()));
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Removes what runs that were interrupted have left behind. It all bears their process numbers,
    /// in whatever way a library embeds the names that it is given.
    fn sweep() {
        for entry in fs::read_dir(Self::SHARED_MEMORY).into_iter().flatten().flatten() {
            let ended = |owner: u32| owner == process::id() || !Path::new(&format!("/proc/{owner}")).exists();
            if owner(&entry.file_name().to_string_lossy()).is_some_and(ended) {
                // Somebody else may have been quicker.
                let _ = fs::remove_dir_all(entry.path());
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        Self::sweep();
    }
}

/// The process number in a name that a run of this program gave.
fn owner(name: &str) -> Option<u32> {
    let (_, owner) = name.split_once(Scratch::PREFIX)?;
    owner.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// One line on the terminal that says what is going on; nothing where nobody watches.
pub struct Progress {
    /// Whether anybody watches.
    pub shown: bool,
}

impl Progress {
    /// Replaces the line.
    pub fn show(&mut self, text: &str) {
        if self.shown {
            let mut stderr = stderr().lock();
            // Fails if nobody reads it, and then nobody misses it.
            let _ = write!(stderr, "\r\x1b[K{text}");
            let _ = stderr.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_fills_its_time_and_wraps_the_ring() {
        let effort = Effort { rounds: 1, sample: Duration::from_millis(100), capacity: 1024 };
        let fast = plan(Scenario::Words, &effort, 2.0);
        assert!((50_000_000..50_001_000).contains(&fast.messages));
        let slow = plan(Scenario::Words, &effort, 1e9);
        assert!(slow.messages >= 16 * 1024);
        assert_eq!(slow.warmup % BATCH as u64, 0);
        assert_eq!(plan(Scenario::PingPong, &effort, 100.0).timed, 100_000);
    }

    #[test]
    fn a_process_that_hangs_is_ended() {
        let mut hangs = Command::new("sleep");
        hangs.arg("1000");
        let error = output_within(hangs, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("no result"), "{error}");
    }

    #[test]
    fn leftovers_are_known_by_their_names() {
        assert_eq!(owner("ringway-peers-123"), Some(123));
        assert_eq!(owner("prefix.ringway-peers-123-45-stream"), Some(123));
        assert_eq!(owner("ringway-peers-"), None);
        assert_eq!(owner("ringway-crash-123"), None);
    }

    #[test]
    fn the_reason_of_a_failure_is_found() {
        let panic = b"\nthread 'main' panicked at src/x.rs:1:2:\na wrong message\nnote: run with";
        assert_eq!(complaint(panic), "a wrong message");
        assert_eq!(complaint(b"Error: no room\n"), "Error: no room");
    }
}
