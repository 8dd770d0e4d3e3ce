//! ringway beside its peers: the same work, interleaved, verified, in one run.
//!
//! See `README.md` beside this package for what is measured and how to read it.

mod cell;
mod contender;
mod crowd;
mod machine;
mod meeting;
mod message;
mod peers;
mod report;
mod run;
mod scenario;
mod verdict;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use cell::Half;
use contender::About;
use machine::Machine;
use report::{Report, locked_version};
use run::Effort;
use scenario::Scenario;

/// Compares ringway with its peers: the same work, interleaved, verified, in one run.
#[derive(Debug, Parser)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  peers                              everything, in less than four minutes
  peers --quick --only ringway --only rtrb
  peers --scenario ping-pong         round trips only
  peers mpmc                         several producers and consumers, in five to ten minutes
  peers --json report.json           for programs; `-` is the standard output"
)]
struct Options {
    #[command(subcommand)]
    inner: Option<Inner>,
    /// Contenders whose name contains this, and the limits (repeatable)
    #[arg(long, value_name = "SUBSTRING")]
    only: Vec<String>,
    /// Scenarios by name: words, batches, bytes48, bytes64, bytes1024, ping-pong, lines (repeatable)
    #[arg(long, value_name = "NAME")]
    scenario: Vec<Scenario>,
    /// Measurements of every cell [default: 7, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Messages that the channels hold
    #[arg(long, value_name = "N", default_value_t = 1024)]
    capacity: usize,
    /// Shorter and fewer measurements: good for a look, not for a report
    #[arg(long)]
    quick: bool,
    /// Two processors, for the consumer and the producer [default: two distinct cores]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Write the report as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Say who is compared, in which form, and end
    #[arg(long)]
    list: bool,
}

/// Another comparison, and what this program starts of itself.
#[derive(Debug, Subcommand)]
enum Inner {
    /// One half of one measurement.
    #[command(hide = true)]
    Half {
        /// Which.
        half: Half,
        /// Of what.
        order: String,
    },
    /// Compare channels with several producers and consumers instead of pairs
    Mpmc(crowd::Options),
    /// One measurement of several producers and consumers.
    #[command(hide = true)]
    Crowd {
        /// Of what.
        order: String,
    },
    /// One producer or consumer of such a measurement.
    #[command(hide = true)]
    CrowdWorker {
        /// Of what.
        order: String,
        /// Which.
        role: String,
    },
    /// One that is stopped in such a measurement.
    #[command(hide = true)]
    CrowdVictim {
        /// Of what.
        order: String,
        /// Which.
        role: String,
    },
}

fn main() -> ExitCode {
    match act(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(options: &Options) -> Result<()> {
    match &options.inner {
        Some(Inner::Half { half, order }) => return cell::run(*half, order),
        Some(Inner::Crowd { order }) => return crowd::run_measurement(order),
        Some(Inner::CrowdWorker { order, role }) => return crowd::run_worker(order, role),
        Some(Inner::CrowdVictim { order, role }) => return crowd::run_victim(order, role),
        Some(Inner::Mpmc(_)) | None => {}
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: built without optimization; the figures mean nothing (use --release)");
    }
    if let Some(Inner::Mpmc(options)) = &options.inner {
        return crowd::compare(options);
    }
    let contenders = chosen(options)?;
    if options.list {
        list(&contenders);
        return Ok(());
    }
    compare(options, &contenders)
}

fn compare(options: &Options, contenders: &[About]) -> Result<()> {
    let capacity = options.capacity;
    ensure!((2..=1 << 20).contains(&capacity), "a capacity between 2 and {} is needed", 1 << 20);
    let (rounds, sample) = if options.quick { (3, 40) } else { (7, 150) };
    let effort = Effort {
        rounds: options.rounds.map_or(rounds, |rounds| rounds as usize),
        sample: Duration::from_millis(sample),
        capacity,
    };
    let scenarios: Vec<Scenario> = Scenario::ALL
        .into_iter()
        .filter(|scenario| options.scenario.is_empty() || options.scenario.contains(scenario))
        .collect();
    let placement = if options.cpus.is_empty() { machine::place()? } else { machine::placed(&options.cpus)? };
    let machine = Machine::observe(placement);

    let cells = run::rounds(contenders, &scenarios, &effort, placement)?;
    let report = Report::new(machine, &effort, &cells);
    match &options.json {
        Some(path) if path.as_os_str() == "-" => {
            println!("{}", serde_json::to_string_pretty(&report)?);
            eprint!("{}", report.text());
        }
        path => {
            print!("{}", report.text());
            if let Some(path) = path {
                let json = serde_json::to_string_pretty(&report)? + "\n";
                fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// The contenders that the user wants, and the limits, without which their figures mean little.
fn chosen(options: &Options) -> Result<Vec<About>> {
    let wanted =
        |about: &About| options.only.is_empty() || options.only.iter().any(|part| about.name.contains(part.as_str()));
    let all = peers::contenders().into_iter().map(|contender| contender.about);
    let (limits, contenders): (Vec<About>, Vec<About>) = all.partition(|about| about.group == contender::Group::Limit);
    let mut chosen: Vec<About> = contenders.into_iter().filter(wanted).collect();
    ensure!(!chosen.is_empty(), "no contender is called like that; --list says who there is");
    chosen.splice(0..0, limits);
    Ok(chosen)
}

fn list(contenders: &[About]) {
    for about in contenders {
        let version = locked_version(about.package).unwrap_or_default();
        println!("{:<24} {:<8} {}", about.name, version, about.group.title());
        println!("{:<24} {:<8} {}", "", "", about.form);
    }
}
