//! Channels among many: several producers and several consumers at once, in threads of one process or in processes.
//!
//! The main program compares pairs; this compares crowds. The rules are the same (rounds, verification, one policy of
//! waiting for everybody), but a message has a producer beside its number, a consumer takes whatever comes, and nobody
//! looks at a clock while messages are on their way.

mod contender;
mod measure;
mod peers;
mod report;
mod rounds;
mod worker;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

pub use self::measure::{run_measurement, run_victim, run_worker};
use self::report::Report;
use self::rounds::Effort;
use crate::machine::{self, Machine};

/// Messages in one call of a batch operation.
pub const BATCH: usize = 32;

/// How many of each there are: producers, and as many consumers.
pub const SHAPES: [usize; 4] = [1, 2, 4, 8];

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Bytes of a message.
    pub bytes: usize,
    /// Messages a call.
    pub batch: usize,
}

impl Work {
    /// All of it; batches are for those who have a call for them.
    pub const ALL: [Self; 4] = [
        Self { bytes: 8, batch: 1 },
        Self { bytes: 48, batch: 1 },
        Self { bytes: 8, batch: BATCH },
        Self { bytes: 48, batch: BATCH },
    ];
}

/// Evaluates an expression with a type bound to the message type of some size, so that the choice is made once a run.
macro_rules! by_bytes {
    ($bytes:expr, $message:ident => $body:expr) => {
        match $bytes {
            8 => {
                type $message = u64;
                $body
            }
            48 => {
                type $message = $crate::message::Bytes48;
                $body
            }
            bytes => Err(anyhow::anyhow!("no message has {bytes} bytes")),
        }
    };
}
use by_bytes;

/// Arguments of `peers mpmc`.
#[derive(Debug, Args)]
pub struct Options {
    /// Contenders whose name contains this (repeatable)
    #[arg(long, value_name = "SUBSTRING")]
    only: Vec<String>,
    /// Producers, and consumers: 1, 2, 4 or 8 (repeatable)
    #[arg(long, value_name = "N", value_parser = parse_shape)]
    shape: Vec<usize>,
    /// Measurements of every cell [default: 7, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Messages that the channels hold
    #[arg(long, value_name = "N", default_value_t = 1024)]
    capacity: usize,
    /// Shorter and fewer measurements: good for a look, not for a report
    #[arg(long)]
    quick: bool,
    /// Two processors, over which producers and consumers are dealt out [default: two distinct cores]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Producers on one processor and consumers on the other, instead of both on both
    #[arg(long)]
    split: bool,
    /// Write the report as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn parse_shape(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|shape| SHAPES.contains(shape)).ok_or_else(|| format!("expected one of {SHAPES:?}"))
}

/// Compares the contenders.
///
/// # Errors
///
/// If shared memory cannot be used at all. What goes wrong in a cell stays there.
pub fn compare(options: &Options) -> Result<()> {
    ensure!((2..=1 << 20).contains(&options.capacity), "a capacity between 2 and {} is needed", 1 << 20);
    let (rounds, sample) = if options.quick { (3, 40) } else { (7, 150) };
    let effort = Effort {
        rounds: options.rounds.map_or(rounds, |rounds| rounds as usize),
        sample: Duration::from_millis(sample),
        capacity: options.capacity,
        split: options.split,
    };
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|part| name.contains(part.as_str()));
    let contenders: Vec<_> =
        peers::contenders().into_iter().map(|contender| contender.about).filter(|about| wanted(about.name)).collect();
    ensure!(!contenders.is_empty(), "no contender is called like that");
    let shapes: Vec<_> =
        SHAPES.into_iter().filter(|shape| options.shape.is_empty() || options.shape.contains(shape)).collect();
    let placement = if options.cpus.is_empty() { machine::place()? } else { machine::placed(&options.cpus)? };
    let machine = Machine::observe(placement);
    let cells = rounds::run(&contenders, &shapes, &effort, placement)?;
    let report = Report::new(machine, &effort, &cells);
    print!("{}", report.text());
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
