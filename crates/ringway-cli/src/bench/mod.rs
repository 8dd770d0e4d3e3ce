//! `ringway bench`: channels beside what the kernel offers, between real processes.
//!
//! Every contender gets its turn in every round, so that a noisy moment of the machine hits all of them; the figures
//! are medians over the rounds, with the range beside them. The limits of the machine are measured first in every
//! round, for the same reason.

mod crew;
mod crowd;
mod json;
mod limits;
mod machine;
mod message;
mod peer;
mod placement;
mod plan;
mod report;
mod stats;
mod transport;

use std::fs::OpenOptions;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum as _};
use indicatif::{ProgressBar, ProgressStyle};

use self::crew::Crew;
use self::limits::{Limits, Sampled};
use self::machine::Machine;
use self::placement::Placement;
use self::plan::{Budget, Transport};
use self::stats::Row;
use crate::failure::{Failure, Kind, print, write_to};
use crate::interrupt::on_interrupt;

/// The hidden subcommand that is one of the processes.
pub(crate) const PEER_COMMAND: &str = "bench-peer";

/// Shown by `ringway bench --help`.
pub(crate) const EXAMPLES: &str = "\
Two processes, each pinned to a core, exchange messages whose every word is checked; with mpmc also two and two, and \
four and four. Close other programs first.

Examples:
  ringway bench                               about 45 s
  ringway bench --quick                       about 6 s, for a first impression
  ringway bench --only spsc,pipe --sizes 64
  ringway bench --json - 2> table | jq '.results[] | select(.batch == 32)'";

/// Arguments of `ringway bench`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How often every contender is measured
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// About how long all of it may take
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    duration: Option<u64>,
    /// A first impression: 3 rounds in 6 seconds, unless the options above say otherwise
    #[arg(long)]
    quick: bool,
    /// Measure only these
    #[arg(long, value_enum, value_name = "TRANSPORT", value_delimiter = ',', default_values_t = Transport::value_variants().to_vec())]
    only: Vec<Transport>,
    /// Bytes of a message: 8, 64, 256, 1024 or 4096
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = "8,64,1024", value_parser = parse_size)]
    sizes: Vec<usize>,
    /// Messages that fit into a channel; pipes and sockets keep the kernel's default
    #[arg(long, value_name = "MESSAGES", default_value_t = 1024)]
    capacity: usize,
    /// Cores of the processes; without, two that share a cache and are not threads of one core
    #[arg(long, value_name = "CORE,CORE", value_parser = parse_cores)]
    cores: Option<[usize; 2]>,
    /// Also write the results as JSON; `-` is the standard output, and the table goes to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Arguments {
    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 })
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.duration.unwrap_or(if self.quick { 6 } else { 45 }))
    }
}

fn parse_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| message::SIZES.contains(size));
    size.ok_or_else(|| format!("expected one of {:?}", message::SIZES))
}

fn parse_cores(text: &str) -> Result<[usize; 2], String> {
    let cores = text.split_once(',').and_then(|(one, other)| Some([one.parse().ok()?, other.parse().ok()?]));
    cores.ok_or_else(|| "expected two core numbers, such as 0,1".into())
}

/// What was measured.
struct Measured {
    machine: Machine,
    /// Missing on a single core.
    limits: Option<Limits>,
    rows: Vec<Row>,
    took: Duration,
}

/// Measures, and shows the results.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let placement = Placement::choose(arguments.cores).map_err(|error| {
        Failure::new(Kind::Usage, error).next("name two usable ones with --cores, such as --cores 0,1")
    })?;
    let json = arguments.json.as_deref().map(JsonFile::open).transpose()?;
    let crew = Crew::default();
    let interrupted = crew.clone();
    on_interrupt(move || interrupted.end_for_good()).map_err(|error| Failure::io("handling signals", &error))?;

    let measured = measure(arguments, &placement, &crew)?;
    let table = report::table(&measured);
    match json {
        Some(JsonFile::Stdout) => {
            print(&json::document(arguments, &measured))?;
            write_to(io::stderr(), &table)?;
        }
        Some(JsonFile::File(file)) => {
            replace(file, &json::document(arguments, &measured))?;
            print(&table)?;
        }
        None => print(&table)?,
    }
    match measured.rows.iter().map(|row| row.failures.len()).sum() {
        0 => Ok(()),
        failed => Err(Failure::new(Kind::Failed, format_args!("{failed} runs failed; the table lists them"))
            .next("run the rows alone, for instance with --only and --sizes, to see whether they fail again")),
    }
}

/// One of the processes of a run.
pub(crate) fn run_peer(job: &str) -> Result<(), Failure> {
    peer::run(job).map_err(|error| Failure::new(Kind::Failed, error))
}

fn measure(arguments: &Arguments, placement: &Placement, crew: &Crew) -> Result<Measured, Failure> {
    let start = Instant::now();
    let (transports, sizes) = (distinct(&arguments.only), distinct(&arguments.sizes));
    let cells = plan::cells(&transports, &sizes, placement.is_parallel());
    let mut rows: Vec<_> = cells.into_iter().map(Row::new).collect();
    let limit_runs = if placement.is_parallel() { limits::RUNS } else { 0 };
    let rounds = arguments.rounds();
    let runs = rounds as usize * (limit_runs + rows.len());
    let mut budget = Budget::new(arguments.duration(), runs);
    let progress = progress_bar(runs);
    let mut sampled = Sampled::default();
    for round in 1..=rounds {
        if limit_runs > 0 {
            progress.set_message(format!("round {round} of {rounds}: limits of the machine"));
            let time = (0..limit_runs).map(|_| budget.next()).min().unwrap_or_default().min(limits::LONGEST);
            sampled.sample(placement, time).map_err(|error| Failure::io("measuring the limits", &error))?;
            progress.inc(limit_runs as u64);
        }
        for row in &mut rows {
            progress.set_message(format!("round {round} of {rounds}: {}", report::describe(&row.cell)));
            let (time, begin) = (budget.next(), Instant::now());
            match crew.run(row.cell, placement, arguments.capacity, time) {
                Ok(run) => row.add(&run),
                Err(complaint) => row.failures.push(format!("round {round}: {complaint}")),
            }
            budget.spent(begin.elapsed(), time);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(Measured { machine: Machine::describe(placement), limits: sampled.limits(), rows, took: start.elapsed() })
}

fn distinct<T: Copy + PartialEq>(items: &[T]) -> Vec<T> {
    let mut distinct = Vec::new();
    for &item in items {
        if !distinct.contains(&item) {
            distinct.push(item);
        }
    }
    distinct
}

/// On standard error, and only if that is a terminal.
fn progress_bar(runs: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg:58}").expect("a constant template");
    ProgressBar::new(runs as u64).with_style(style)
}

/// Where the JSON goes; known to be writable before anything is measured.
enum JsonFile {
    Stdout,
    File(std::fs::File),
}

impl JsonFile {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        // An older file keeps its contents until there is something to replace them with.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        file.map(Self::File).map_err(|error| Failure::io(&format!("cannot write {}", path.display()), &error))
    }
}

fn replace(mut file: std::fs::File, text: &str) -> Result<(), Failure> {
    file.set_len(0)
        .and_then(|()| file.rewind())
        .map_err(|error| Failure::io("cannot replace the JSON file", &error))?;
    write_to(file, text)
}
