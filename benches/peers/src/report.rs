//! What is said about the measurements: tables for people, JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::contender::Group;
use crate::machine::Machine;
use crate::peers::{BARE, LINES, OURS, REFERENCE};
use crate::run::{Cell, Effort, UNDISTURBED};
use crate::scenario::Scenario;
use crate::verdict::{Loss, Target};
use crate::workload::QUANTILES;

/// Everything, in the form of the JSON file.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: &'static str,
    machine: Machine,
    settings: Settings,
    results: Vec<Row>,
    targets: Vec<Target>,
    losses: Vec<Loss>,
}

/// What the user asked for.
#[derive(Debug, Serialize)]
struct Settings {
    rounds: usize,
    sample_ms: u128,
    capacity: usize,
}

/// One contender in one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The work.
    pub scenario: Scenario,
    /// Who did it.
    pub contender: &'static str,
    /// Its package, as [`About`](crate::contender::About) has it.
    pub package: &'static str,
    /// The version of that, as locked.
    pub version: Option<String>,
    /// Whether it is a variant of ringway.
    pub ours: bool,
    /// Like with like.
    pub group: Group,
    /// Messages or round trips in each sample, and how often they went around the ring.
    pub messages: u64,
    /// How often the ring was filled and emptied in each sample; 0 for round trips.
    pub laps: u64,
    /// What was measured, unless it failed.
    pub measured: Option<Measured>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// The figures of one row, in nanoseconds for a message or round trip.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Of the rounds.
    pub median_ns: f64,
    /// The best round.
    pub min_ns: f64,
    /// The worst round.
    pub max_ns: f64,
    /// Every round, in order.
    pub rounds_ns: Vec<f64>,
    /// Processor time of both sides, median of the rounds.
    pub cpu_ns: f64,
    /// Rate in relation to rtrb's between threads in the same scenario.
    pub rate_to_reference: Option<f64>,
    /// Time in relation to the limit of the machine: bare atomics for a round trip, the line stream
    /// for `u64`.
    pub time_to_limit: Option<f64>,
    /// Of single round trips: 50, 90, 99, 99.9 and 100 %, medians of the rounds (the last: maximum).
    pub quantiles_ns: Vec<f64>,
    /// Share of the two processors that the measurement got, median of the rounds: where both sides
    /// poll, what is missing from 1 was taken by other work.
    pub processor_share: f64,
    /// A sample with one message missing, doubled, out of order or damaged is no sample.
    pub verified: bool,
}

/// The middle one, or the mean of the two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

fn row(cell: &Cell) -> Row {
    let messages = cell.plan.messages;
    let stream = cell.plan.scenario != Scenario::PingPong;
    Row {
        scenario: cell.plan.scenario,
        contender: cell.about.name,
        package: cell.about.package,
        version: locked_version(cell.about.package),
        ours: cell.about.package == OURS,
        group: cell.about.group,
        messages,
        laps: if stream { messages / cell.plan.capacity as u64 } else { 0 },
        measured: if cell.failure.is_some() { None } else { measured(cell) },
        failure: cell.failure.clone(),
    }
}

fn measured(cell: &Cell) -> Option<Measured> {
    let of = |value: &dyn Fn(&crate::workload::Sample) -> f64| -> Vec<f64> { cell.samples.iter().map(value).collect() };
    let rounds_ns = of(&|sample| sample.ns);
    let quantiles = cell.samples.first()?.quantiles_ns.len();
    let mut quantiles_ns: Vec<f64> =
        (0..quantiles).map(|index| median(&of(&|sample| sample.quantiles_ns[index]))).collect();
    if let Some(longest) = quantiles_ns.last_mut() {
        *longest = of(&|sample| sample.quantiles_ns[quantiles - 1]).into_iter().fold(0.0, f64::max);
    }
    Some(Measured {
        median_ns: median(&rounds_ns),
        min_ns: rounds_ns.iter().copied().fold(f64::INFINITY, f64::min),
        max_ns: rounds_ns.iter().copied().fold(0.0, f64::max),
        rounds_ns,
        cpu_ns: median(&of(&|sample| sample.cpu_ns)),
        rate_to_reference: None,
        time_to_limit: None,
        quantiles_ns,
        processor_share: median(&of(&|sample| sample.share())),
        verified: true,
    })
}

/// Whether other work had so much of the processors that the figures of a row say little.
fn disturbed(row: &Row) -> bool {
    let share = row.measured.as_ref().map_or(1.0, |measured| measured.processor_share);
    row.group.polls() && share < UNDISTURBED
}

/// The median of a contender in a scenario, if it was measured.
pub fn median_of(rows: &[Row], scenario: Scenario, contender: &str) -> Option<f64> {
    let row = rows.iter().find(|row| row.scenario == scenario && row.contender == contender)?;
    Some(row.measured.as_ref()?.median_ns)
}

/// The version of a package in `Cargo.lock`; `name@1` is the one that begins with `1.`.
pub fn locked_version(package: &str) -> Option<String> {
    let (name, major) = package.split_once('@').unwrap_or((package, ""));
    let name = format!("name = \"{name}\"");
    let mut lines = include_str!("../Cargo.lock").lines();
    while let Some(line) = lines.next() {
        if line != name {
            continue;
        }
        let version = lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')?;
        if major.is_empty() || version.split('.').next() == Some(major) {
            return Some(version.to_owned());
        }
    }
    None
}

impl Report {
    /// Sums the cells up.
    pub fn new(machine: Machine, effort: &Effort, cells: &[Cell]) -> Self {
        let mut results: Vec<Row> = cells.iter().map(row).collect();
        let medians = results.clone();
        for row in &mut results {
            let Some(measured) = &mut row.measured else { continue };
            let time = measured.median_ns;
            let reference = median_of(&medians, row.scenario, REFERENCE);
            measured.rate_to_reference = reference.map(|reference| reference / time);
            measured.time_to_limit = limit(&medians, row.scenario).map(|limit| time / limit);
        }
        Self {
            schema: "ringway-peers/1",
            machine,
            settings: Settings {
                rounds: effort.rounds,
                sample_ms: effort.sample.as_millis(),
                capacity: effort.capacity,
            },
            targets: Target::all(&results),
            losses: Loss::all(&results),
            results,
        }
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }

    /// Every package that was measured, with its version, once.
    fn versions(&self) -> String {
        let mut versions: Vec<String> = Vec::new();
        for row in &self.results {
            if let Some(version) = &row.version {
                let package = row.package.split('@').next().unwrap_or_default();
                let version = format!("{package} {version}");
                if !versions.contains(&version) {
                    versions.push(version);
                }
            }
        }
        versions.join(", ")
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Settings { rounds, sample_ms, capacity } = self.settings;
        for (name, value) in self.machine.lines() {
            writeln!(out, "{name:<12} {value}")?;
        }
        writeln!(
            out,
            "{:<12} {rounds} rounds, all contenders in turn; about {sample_ms} ms each after a warm-up; \
             rings of {capacity} messages",
            "method"
        )?;
        writeln!(out, "{:<12} every message checked in every word; empty polls are not counted", "")?;
        writeln!(out, "{:<12} {}", "versions", self.versions())?;
        let disturbed = self.results.iter().filter(|row| disturbed(row)).count();
        if disturbed > 0 {
            writeln!(
                out,
                "{:<12} THE MACHINE WAS NOT QUIET: {disturbed} of {} rows, marked ~, got less than {:.0} % \
                 of their processors",
                "",
                self.results.len(),
                UNDISTURBED * 100.0
            )?;
        }
        for scenario in Scenario::ALL {
            let rows: Vec<&Row> = self.results.iter().filter(|row| row.scenario == scenario).collect();
            if !rows.is_empty() {
                write_scenario(out, scenario, &rows)?;
            }
        }
        if !self.results.iter().any(|row| row.ours) {
            return writeln!(out, "\nringway was not measured, so there is nothing to say of its targets and losses");
        }
        writeln!(out, "\nTARGETS (each computed from the medians of this run)")?;
        for target in &self.targets {
            writeln!(out, "  {target}")?;
        }
        writeln!(out, "\nWHERE WE LOSE (polling against polling, blocking against blocking)")?;
        if self.losses.is_empty() {
            writeln!(out, "  nowhere in what was measured")?;
        }
        for loss in &self.losses {
            writeln!(out, "  {loss}")?;
        }
        Ok(())
    }
}

/// What the machine itself takes for a message of this scenario, where that was measured.
fn limit(rows: &[Row], scenario: Scenario) -> Option<f64> {
    match scenario {
        Scenario::PingPong => median_of(rows, Scenario::PingPong, BARE),
        // Seven words a line.
        Scenario::Words | Scenario::Batches => median_of(rows, Scenario::Lines, LINES).map(|line| line / 7.0),
        Scenario::Lines => median_of(rows, Scenario::Lines, LINES),
        Scenario::Bytes48 | Scenario::Bytes64 | Scenario::Bytes1024 => None,
    }
}

fn write_scenario(out: &mut String, scenario: Scenario, rows: &[&Row]) -> std::fmt::Result {
    let round_trip = scenario == Scenario::PingPong;
    let unit = if round_trip { "ns a round trip" } else { "ns a message" };
    writeln!(out, "\n{}", scenario.title().to_uppercase())?;
    write!(out, "{:<25} {:>15} {:>19} {:>10}", "", unit, "[min .. max]", "cpu ns")?;
    if round_trip {
        write!(out, " {:>8}", "x bare")?;
        for quantile in QUANTILES {
            write!(out, " {:>8}", format!("p{}", quantile * 100.0))?;
        }
        writeln!(out, " {:>9}", "max")?;
    } else {
        writeln!(out, " {:>10} {:>8}", "rate/rtrb", "x limit")?;
    }
    let groups = [Group::Limit, Group::ProcessesPolling, Group::ThreadsPolling, Group::ProcessesBlocking];
    for group in groups {
        let mut rows: Vec<&Row> = rows.iter().copied().filter(|row| row.group == group).collect();
        if rows.is_empty() {
            continue;
        }
        let time = |row: &Row| row.measured.as_ref().map_or(f64::INFINITY, |measured| measured.median_ns);
        rows.sort_by(|one, another| time(one).total_cmp(&time(another)));
        writeln!(out, "  {}", group.title())?;
        for row in rows {
            write_row(out, row, round_trip)?;
        }
    }
    Ok(())
}

fn write_row(out: &mut String, row: &Row, round_trip: bool) -> std::fmt::Result {
    let (ours, disturbed) = (if row.ours { '>' } else { ' ' }, if disturbed(row) { '~' } else { ' ' });
    write!(out, "  {ours}{disturbed}{:<25}", row.contender)?;
    let Some(measured) = &row.measured else {
        return writeln!(out, " FAILED: {}", row.failure.as_deref().unwrap_or("no rounds"));
    };
    let range = format!("[{} .. {}]", figure(measured.min_ns), figure(measured.max_ns));
    write!(out, "{:>11} {range:>19} {:>10}", figure(measured.median_ns), figure(measured.cpu_ns))?;
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    if round_trip {
        write!(out, " {:>8}", ratio(measured.time_to_limit))?;
        let (longest, quantiles) = measured.quantiles_ns.split_last().unwrap_or((&f64::NAN, &[]));
        for quantile in quantiles {
            write!(out, " {:>8}", figure(*quantile))?;
        }
        writeln!(out, " {:>9}", figure(*longest))
    } else {
        let (rate, limit) = (ratio(measured.rate_to_reference), ratio(measured.time_to_limit));
        writeln!(out, " {rate:>10} {limit:>8}")
    }
}

/// Three significant digits, or all before the point.
pub fn figure(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        assert_eq!(locked_version("shaq@3").as_deref(), Some("3.0.0"));
        assert_eq!(locked_version("shaq@4").as_deref(), Some("4.3.0"));
        assert!(locked_version("rtrb").is_some());
        assert_eq!(locked_version(""), None);
    }

    #[test]
    fn every_package_is_locked() {
        for contender in crate::peers::contenders() {
            let package = contender.about.package;
            assert!(package.is_empty() || locked_version(package).is_some(), "{package}");
        }
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(figure(1.234), "1.23");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(1234.5), "1234");
    }
}
