//! What the figures mean for the project: its targets, and every cell in which somebody is faster.

use std::fmt;

use serde::Serialize;

use crate::contender::Group;
use crate::peers::{BARE, REFERENCE};
use crate::report::{Measured, Row, figure};
use crate::run::UNDISTURBED;
use crate::scenario::Scenario;

/// Something that the project promised, and whether this run shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    contender: &'static str,
    promise: String,
    /// The ratio of the medians, which decides.
    found: Option<f64>,
    /// The ratio of the best rounds, which does not.
    best: Option<f64>,
    met: Option<bool>,
    /// Whether other work had so much of the processors that this says little.
    disturbed: bool,
    evidence: String,
}

impl Target {
    /// Every target, for every way of waiting in which ringway polls between processes.
    pub fn all(rows: &[Row]) -> Vec<Self> {
        let mut ours: Vec<&'static str> = Vec::new();
        for row in rows.iter().filter(|row| row.ours && row.group == Group::ProcessesPolling) {
            if !ours.contains(&row.contender) {
                ours.push(row.contender);
            }
        }
        ours.into_iter().flat_map(|contender| Self::of(rows, contender)).collect()
    }

    fn of(rows: &[Row], contender: &'static str) -> [Self; 4] {
        let reference = measured(rows, Scenario::Words, REFERENCE);
        let trip = measured(rows, Scenario::PingPong, contender);
        let rate = |scenario, least: f64, what: &str| {
            let promise = format!("{what}: at least {least} times the rate of {REFERENCE} between threads, one a call");
            let ours = measured(rows, scenario, contender);
            Self::ratio(contender, promise, reference, ours, |ratio| ratio >= least)
        };
        let quickest = rows
            .iter()
            .filter(|row| row.scenario == Scenario::PingPong && !row.ours)
            .filter(|row| matches!(row.group, Group::ProcessesPolling | Group::ProcessesBlocking))
            .filter_map(|row| Some((row.measured.as_ref()?, row.contender)))
            .min_by(|one, another| one.0.median_ns.total_cmp(&another.0.median_ns));
        let name = quickest.map_or("none measured", |(_, name)| name);
        [
            rate(Scenario::Words, 1.7, "u64, one a call"),
            rate(Scenario::Batches, 3.0, "u64, batches of 32"),
            Self::ratio(
                contender,
                "round trip: at most 1.1 times that of bare atomics".to_owned(),
                trip,
                measured(rows, Scenario::PingPong, BARE),
                |ratio| ratio <= 1.1,
            ),
            Self::ratio(
                contender,
                format!("round trip: below that of every peer between processes (quickest: {name})"),
                trip,
                quickest.map(|(measured, _)| measured),
                |ratio| ratio < 1.0,
            ),
        ]
    }

    /// A target about the times `one / another`.
    fn ratio(
        contender: &'static str,
        promise: String,
        one: Option<&Measured>,
        another: Option<&Measured>,
        holds: impl Fn(f64) -> bool,
    ) -> Self {
        let both = one.zip(another);
        let found = both.map(|(one, another)| one.median_ns / another.median_ns);
        Self {
            contender,
            promise,
            found,
            best: both.map(|(one, another)| one.min_ns / another.min_ns),
            met: found.map(holds),
            disturbed: both
                .is_some_and(|(one, another)| one.processor_share.min(another.processor_share) < UNDISTURBED),
            evidence: both.map_or("not measured".to_owned(), |(one, another)| {
                let [ours, theirs] = [one, another].map(|side| figure(side.median_ns));
                let [our_best, their_best] = [one, another].map(|side| figure(side.min_ns));
                format!("medians {ours} / {theirs} ns, best rounds {our_best} / {their_best} ns")
            }),
        }
    }
}

/// The figures of a contender in a scenario, if it was measured.
fn measured<'a>(rows: &'a [Row], scenario: Scenario, contender: &str) -> Option<&'a Measured> {
    rows.iter().find(|row| row.scenario == scenario && row.contender == contender)?.measured.as_ref()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.met {
            Some(true) => "PASS",
            Some(false) => "FAIL",
            None => "----",
        };
        write!(f, "{verdict}  {}: {}", self.contender, self.promise)?;
        match self.found {
            Some(found) => write!(f, ": {found:.2} ({})", self.evidence),
            None => write!(f, ": {}", self.evidence),
        }?;
        if self.disturbed { f.write_str(" ~ the machine was not quiet, so this says little") } else { Ok(()) }
    }
}

/// A cell in which others are faster than a variant of ringway.
#[derive(Clone, Debug, Serialize)]
pub struct Loss {
    scenario: Scenario,
    contender: &'static str,
    figure: &'static str,
    ns: f64,
    faster: Vec<Faster>,
}

/// Who is faster, and by how much.
#[derive(Clone, Debug, Serialize)]
struct Faster {
    contender: &'static str,
    group: Group,
    ns: f64,
    /// Our time in relation to theirs.
    times: f64,
    /// Whether the ranges of the rounds overlap, so that the order may be chance; `None` for figures
    /// of which no range is kept.
    ranges_overlap: Option<bool>,
}

/// A figure in which a contender can be ahead.
struct Figure {
    name: &'static str,
    of: fn(&Measured) -> Option<f64>,
    has_range: bool,
    groups: &'static [Group],
}

const POLLING: &[Group] = &[Group::ProcessesPolling, Group::ThreadsPolling];
const BLOCKING: &[Group] = &[Group::ProcessesBlocking];
const BOTH: &[Group] = &[Group::ProcessesPolling, Group::ThreadsPolling, Group::ProcessesBlocking];

const FIGURES: [Figure; 5] = [
    Figure { name: "time", of: |row| Some(row.median_ns), has_range: true, groups: BOTH },
    // Who polls uses two processors all the time, so this says something of those who sleep only.
    Figure { name: "cpu time", of: |row| Some(row.cpu_ns), has_range: false, groups: BLOCKING },
    Figure { name: "p50", of: |row| row.quantiles_ns.first().copied(), has_range: false, groups: BOTH },
    Figure { name: "p99", of: |row| row.quantiles_ns.get(2).copied(), has_range: false, groups: BOTH },
    Figure { name: "p99.9", of: |row| row.quantiles_ns.get(3).copied(), has_range: false, groups: BOTH },
];

impl Loss {
    /// Every one of them: each variant of ringway against everybody who waits in the same way.
    pub fn all(rows: &[Row]) -> Vec<Self> {
        let mut losses = Vec::new();
        for our in rows.iter().filter(|row| row.ours) {
            for figure in FIGURES.iter().filter(|figure| figure.groups.contains(&our.group)) {
                losses.extend(Self::of(our, figure, rows));
            }
        }
        losses
    }

    fn of(our: &Row, figure: &Figure, rows: &[Row]) -> Option<Self> {
        let measured = our.measured.as_ref()?;
        let ns = (figure.of)(measured)?;
        let comparable = if POLLING.contains(&our.group) { POLLING } else { BLOCKING };
        let mut faster: Vec<Faster> = rows
            .iter()
            .filter(|row| !row.ours && row.scenario == our.scenario && comparable.contains(&row.group))
            .filter_map(|row| {
                let theirs = row.measured.as_ref()?;
                let their_ns = (figure.of)(theirs).filter(|&their_ns| their_ns < ns)?;
                Some(Faster {
                    contender: row.contender,
                    group: row.group,
                    ns: their_ns,
                    times: ns / their_ns,
                    ranges_overlap: figure.has_range.then_some(measured.min_ns <= theirs.max_ns),
                })
            })
            .collect();
        faster.sort_by(|one, another| one.ns.total_cmp(&another.ns));
        (!faster.is_empty()).then_some(Self {
            scenario: our.scenario,
            contender: our.contender,
            figure: figure.name,
            ns,
            faster,
        })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, contender, figure: name, ns, faster } = self;
        write!(f, "{scenario}, {name}: {contender} {} ns; faster:", figure(*ns))?;
        for (index, other) in faster.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let threads = if other.group == Group::ThreadsPolling { " (threads)" } else { "" };
            let overlap = if other.ranges_overlap == Some(true) { ", ranges overlap" } else { "" };
            let (name, ns, times) = (other.contender, figure(other.ns), other.times);
            write!(f, "{separator} {name}{threads} {ns} ({times:.2}x{overlap})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(scenario: Scenario, contender: &'static str, group: Group, ns: f64, ours: bool) -> Row {
        Row {
            scenario,
            contender,
            package: "",
            version: None,
            ours,
            group,
            messages: 1,
            laps: 0,
            measured: Some(Measured {
                median_ns: ns,
                min_ns: ns - 1.0,
                max_ns: ns + 1.0,
                rounds_ns: vec![ns],
                cpu_ns: 2.0 * ns,
                rate_to_reference: None,
                time_to_limit: None,
                quantiles_ns: Vec::new(),
                processor_share: 1.0,
                verified: true,
            }),
            failure: None,
        }
    }

    #[test]
    fn targets_are_met_or_missed_by_the_figures() {
        let mut rows = vec![
            row(Scenario::Words, REFERENCE, Group::ThreadsPolling, 8.5, false),
            row(Scenario::Words, "us", Group::ProcessesPolling, 5.0, true),
            row(Scenario::Batches, "us", Group::ProcessesPolling, 2.9, true),
            row(Scenario::PingPong, BARE, Group::Limit, 100.0, false),
            row(Scenario::PingPong, "us", Group::ProcessesPolling, 111.0, true),
            row(Scenario::PingPong, "them", Group::ProcessesPolling, 112.0, false),
        ];
        let met = |rows: &[Row]| Target::all(rows).iter().map(|t| t.met).collect::<Vec<_>>();
        assert_eq!(met(&rows), [Some(true), Some(false), Some(false), Some(true)]);
        assert!(Target::all(&rows).iter().all(|target| !target.disturbed));
        rows[1].measured.as_mut().expect("was given").processor_share = 0.5;
        let disturbed: Vec<_> = Target::all(&rows).iter().map(|target| target.disturbed).collect();
        assert_eq!(disturbed, [true, false, false, false]);
        rows.remove(0);
        assert_eq!(met(&rows), [None, None, Some(false), Some(true)]);
    }

    #[test]
    fn a_faster_peer_is_a_loss_and_a_slower_one_is_not() {
        let rows = [
            row(Scenario::Bytes64, "us", Group::ProcessesPolling, 10.0, true),
            row(Scenario::Bytes64, "faster", Group::ThreadsPolling, 5.0, false),
            row(Scenario::Bytes64, "by chance", Group::ProcessesPolling, 9.5, false),
            row(Scenario::Bytes64, "slower", Group::ThreadsPolling, 11.0, false),
            row(Scenario::Bytes64, "another kind", Group::ProcessesBlocking, 1.0, false),
            row(Scenario::Bytes48, "another work", Group::ThreadsPolling, 1.0, false),
        ];
        let losses = Loss::all(&rows);
        assert_eq!(losses.len(), 1);
        let names: Vec<_> = losses[0].faster.iter().map(|faster| faster.contender).collect();
        assert_eq!(names, ["faster", "by chance"]);
        let overlaps: Vec<_> = losses[0].faster.iter().map(|faster| faster.ranges_overlap).collect();
        assert_eq!(overlaps, [Some(false), Some(true)]);
    }
}
