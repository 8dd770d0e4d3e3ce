//! What is said about the crowds: a table a kind of work, the ratios that the project has promised, JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use super::peers::{ARRAY_QUEUE, OURS, PACKED_PROCESSES, PACKED_THREADS, PROCESSES, SHAQ, STALLED, THREADS};
use super::rounds::{Cell, Effort};
use super::{BATCH, SHAPES, Work};
use crate::machine::Machine;
use crate::report::{figure, locked_version, median};
use crate::run::UNDISTURBED;

/// Everything, in the form of the JSON file.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: &'static str,
    machine: Machine,
    rounds: usize,
    sample_ms: u128,
    capacity: usize,
    split: bool,
    results: Vec<Row>,
    targets: Vec<Target>,
}

/// One contender with one kind of work in one shape; times in nanoseconds a message.
#[derive(Clone, Debug, Serialize)]
struct Row {
    contender: &'static str,
    package: &'static str,
    version: Option<String>,
    processes: bool,
    producers: usize,
    consumers: usize,
    #[serde(flatten)]
    work: Work,
    /// In each sample.
    messages: u64,
    measured: Option<Measured>,
    failure: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Measured {
    median_ns: f64,
    min_ns: f64,
    max_ns: f64,
    rounds_ns: Vec<f64>,
    /// Processor time of all workers, median of the rounds.
    cpu_ns: f64,
    /// Share of the two processors that the measurement got, median of the rounds.
    processor_share: f64,
    /// A sample with one message missing, doubled, overtaken by its own producer or damaged is no sample.
    verified: bool,
}

impl Measured {
    fn is_disturbed(&self) -> bool {
        self.processor_share < UNDISTURBED
    }
}

/// Something that the project promised, and whether this run shows it.
#[derive(Debug, Serialize)]
struct Target {
    /// Whose time in relation to whose.
    ratio: String,
    bytes: usize,
    /// Producers, and consumers.
    shape: usize,
    found: f64,
    /// The largest ratio that keeps the promise.
    most: f64,
    met: bool,
    /// Whether other work had so much of the processors that this says little.
    disturbed: bool,
}

impl Row {
    fn new(cell: &Cell) -> Self {
        let of = |value: fn(&super::measure::Sample) -> f64| cell.samples.iter().map(value).collect::<Vec<_>>();
        let rounds_ns = of(|sample| sample.ns);
        let is_measured = cell.failure.is_none() && !rounds_ns.is_empty();
        Self {
            contender: cell.about.name,
            package: cell.about.package,
            version: locked_version(cell.about.package),
            processes: cell.about.processes,
            producers: cell.shape,
            consumers: cell.shape,
            work: cell.work,
            messages: cell.messages,
            measured: is_measured.then(|| Measured {
                median_ns: median(&rounds_ns),
                min_ns: rounds_ns.iter().copied().fold(f64::INFINITY, f64::min),
                max_ns: rounds_ns.iter().copied().fold(0.0, f64::max),
                cpu_ns: median(&of(|sample| sample.cpu_ns)),
                processor_share: median(&of(|sample| sample.share())),
                verified: true,
                rounds_ns,
            }),
            failure: cell.failure.clone(),
        }
    }
}

/// The figures of a contender, if it was measured.
fn find<'a>(rows: &'a [Row], contender: &str, work: Work, shape: usize) -> Option<&'a Measured> {
    let is_it = |row: &&Row| row.contender == contender && row.work == work && row.producers == shape;
    rows.iter().find(is_it)?.measured.as_ref()
}

impl Target {
    fn all(rows: &[Row]) -> Vec<Self> {
        let mut targets = Vec::new();
        for bytes in [8, 48] {
            let (work, batches) = (Work { bytes, batch: 1 }, Work { bytes, batch: BATCH });
            let mut compare = |ratio: String, one: (&str, Work), another: (&str, Work), shapes: &[[usize; 2]], most| {
                for &[shape, other] in shapes {
                    let one = find(rows, one.0, one.1, shape);
                    let another = find(rows, another.0, another.1, other);
                    targets.extend(one.zip(another).map(|pair| Self::of(&ratio, bytes, shape, pair, most)));
                }
            };
            const FEW: [[usize; 2]; 3] = [[1, 1], [2, 2], [4, 4]];
            for (ours, packed) in [(THREADS, PACKED_THREADS), (PROCESSES, PACKED_PROCESSES)] {
                compare(format!("{ours} / {ARRAY_QUEUE}"), (ours, work), (ARRAY_QUEUE, work), &FEW, 0.6);
                for shaq in SHAQ {
                    compare(format!("{ours} / {shaq}"), (ours, work), (shaq, work), &FEW, 0.15);
                }
                compare(format!("{ours}, {BATCH} a call / one"), (ours, batches), (ours, work), &FEW, 0.5);
                compare(
                    format!("{packed}, {BATCH} a call / not packed, one"),
                    (packed, batches),
                    (ours, work),
                    &FEW,
                    0.5,
                );
                compare(format!("{ours}, 8x8 / 1x1"), (ours, work), (ours, work), &[[8, 1]], 2.0);
            }
            let many = [[2, 2], [4, 4], [8, 8]];
            compare(format!("{STALLED} / none stopped"), (STALLED, work), (PROCESSES, work), &many, 2.0);
        }
        targets
    }

    fn of(ratio: &str, bytes: usize, shape: usize, (one, another): (&Measured, &Measured), most: f64) -> Self {
        let found = one.median_ns / another.median_ns;
        let disturbed = one.is_disturbed() || another.is_disturbed();
        Self { ratio: ratio.to_owned(), bytes, shape, found, most, met: found <= most, disturbed }
    }

    fn cell(&self) -> String {
        let quiet = if self.disturbed { "~" } else { "" };
        format!("{quiet}{:.2} {}", self.found, if self.met { "PASS" } else { "FAIL" })
    }
}

impl Report {
    /// Sums the cells up.
    pub fn new(machine: Machine, effort: &Effort, cells: &[Cell]) -> Self {
        let results: Vec<_> = cells.iter().map(Row::new).collect();
        Self {
            schema: "ringway-peers-mpmc/1",
            machine,
            rounds: effort.rounds,
            sample_ms: effort.sample.as_millis(),
            capacity: effort.capacity,
            split: effort.split,
            targets: Target::all(&results),
            results,
        }
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        for (name, value) in self.machine.lines().into_iter().filter(|(name, _)| *name != "placement") {
            writeln!(out, "{name:<12} {value}")?;
        }
        let how =
            if self.split { "producers on one, consumers on the other" } else { "producers and consumers on both" };
        writeln!(out, "{:<12} {how} of {}", "placement", self.machine.processors())?;
        writeln!(
            out,
            "{:<12} {} rounds, all contenders in turn; about {} ms each after a warm-up; rings of {} messages; calls that \
             do not wait, repeated with spin_loop and, from 2x2 on, sched_yield",
            "method", self.rounds, self.sample_ms, self.capacity
        )?;
        let mut versions: Vec<_> = self
            .results
            .iter()
            .filter_map(|row| Some(format!("{} {}", row.package.split('@').next()?, row.version.as_ref()?)))
            .collect();
        versions.dedup();
        versions.sort();
        versions.dedup();
        writeln!(out, "{:<12} {}", "versions", versions.join(", "))?;
        for work in Work::ALL {
            self.write_work(out, work)?;
        }
        writeln!(out, "\nTARGETS: RATIOS OF TWO MEDIANS OF THIS RUN (~: other work had too much of the processors)")?;
        writeln!(out, "{:<70} {}", "", SHAPES.map(|shape| format!("{:>13}", format!("{shape}x{shape}"))).join(" "))?;
        let same_line = |one: &Target, other: &Target| (&one.ratio, one.bytes) == (&other.ratio, other.bytes);
        for targets in self.targets.chunk_by(same_line) {
            let Target { ratio, bytes, most, .. } = &targets[0];
            write!(out, "  {:<68}", format!("{ratio}, {bytes} bytes, at most {most}"))?;
            for shape in SHAPES {
                let target = targets.iter().find(|target| target.shape == shape);
                write!(out, " {:>13}", target.map(Target::cell).unwrap_or_default())?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_work(&self, out: &mut String, work: Work) -> std::fmt::Result {
        let rows: Vec<_> = self.results.iter().filter(|row| row.work == work).collect();
        let mut shapes: Vec<_> = rows.iter().map(|row| row.producers).collect();
        shapes.sort_unstable();
        shapes.dedup();
        if rows.is_empty() {
            return Ok(());
        }
        write!(out, "\nNS A MESSAGE OF {} BYTES, {} A CALL: MEDIAN [MIN .. MAX]\n{:<25}", work.bytes, work.batch, "")?;
        for shape in &shapes {
            write!(out, " {:>23}", format!("{shape}x{shape}"))?;
        }
        writeln!(out)?;
        for (processes, title) in [(true, "processes"), (false, "threads of one process")] {
            let mut names: Vec<_> =
                rows.iter().filter(|row| row.processes == processes).map(|row| row.contender).collect();
            names.dedup();
            let mut seen = Vec::new();
            names.retain(|name| {
                !seen.contains(name) && {
                    seen.push(*name);
                    true
                }
            });
            if !names.is_empty() {
                writeln!(out, "  {title}")?;
            }
            for name in names {
                let ours = rows.iter().any(|row| row.contender == name && row.package == OURS);
                write!(out, "  {} {name:<21}", if ours { '>' } else { ' ' })?;
                for &shape in &shapes {
                    let row = rows.iter().find(|row| row.contender == name && row.producers == shape);
                    write!(out, " {:>23}", row.map_or("-".into(), |row| row.cell()))?;
                }
                writeln!(out)?;
            }
        }
        for row in &rows {
            if let Some(failure) = &row.failure {
                writeln!(out, "  FAILED: {} at {}x{}: {failure}", row.contender, row.producers, row.consumers)?;
            }
        }
        Ok(())
    }
}

impl Row {
    fn cell(&self) -> String {
        match &self.measured {
            None => "FAILED".into(),
            Some(measured) => {
                let [median, min, max] = [measured.median_ns, measured.min_ns, measured.max_ns].map(figure);
                format!("{}{median} [{min} .. {max}]", if measured.is_disturbed() { "~" } else { "" })
            }
        }
    }
}
