//! The results for people: a table for every scenario and size.

use std::fmt::Write as _;

use super::Measured;
use super::limits::{LINE_PAYLOAD, Limits};
use super::machine::PROFILE;
use super::plan::{Cell, Scenario, Transport, Wait};
use super::stats::{PERCENTILES, Row, Spread};
use crate::table::aligned;

/// All of it.
pub(super) fn table(measured: &Measured) -> String {
    let mut text = measured.machine.summary();
    text.push('\n');
    match &measured.limits {
        Some(limits) => {
            let (trip, line) = (time(limits.pingpong_rtt_ns), time(limits.stream_ns_per_line));
            let _ = writeln!(
                text,
                "limits of the two cores: {trip} for a round trip of bare atomics, {line} for a cache line"
            );
        }
        None => text.push_str("only one core is usable: no limits of the machine, and no rows that spin\n"),
    }
    if PROFILE != "release" {
        text.push_str("THIS IS A DEBUG BUILD, its figures mean nothing: cargo run --release -- bench\n");
    }
    let same_table = |one: &Row, other: &Row| {
        let key = |row: &Row| (row.cell.scenario, row.cell.bytes, row.cell.batch);
        key(one) == key(other)
    };
    for rows in measured.rows.chunk_by(same_table) {
        text.push_str(&group(rows, measured.limits.as_ref()));
    }
    text.push_str(&notes(measured));
    text
}

/// One contender, for the progress bar and for failures.
pub(super) fn describe(cell: &Cell) -> String {
    let wait = if cell.wait == Wait::Kernel { String::new() } else { format!(" {}", name(&cell.wait)) };
    let batch = if cell.batch > 1 { format!(", {} a call", cell.batch) } else { String::new() };
    format!("{} of {} bytes, {}{wait}{batch}", name(&cell.scenario), cell.bytes, contender(cell))
}

/// The transport, and how many senders and receivers it has if there are several.
fn contender(cell: &Cell) -> String {
    let transport = name(&cell.transport);
    let Cell { producers, consumers, .. } = cell;
    if producers + consumers > 2 { format!("{transport} {producers}x{consumers}") } else { transport }
}

fn group(rows: &[Row], limits: Option<&Limits>) -> String {
    let Cell { scenario, bytes, batch, .. } = rows[0].cell;
    let (title, columns): (_, &[&str]) = match scenario {
        Scenario::PingPong => (
            format!("round trip, {bytes} bytes"),
            &["transport", "wait", "p50", "p90", "p99", "p99.9", "max", "p50 by round", "CPU", "x pipe", "x limit"],
        ),
        Scenario::Throughput => (
            format!("throughput, {bytes} bytes, {batch} a call"),
            &["transport", "wait", "a message", "by round", "messages/s", "MiB/s", "CPU", "x pipe", "x limit"],
        ),
    };
    let pipe = rows.iter().find(|row| row.cell.transport == Transport::Pipe).and_then(Row::time);
    let limit = limits.map(|limits| match scenario {
        Scenario::PingPong => limits.pingpong_rtt_ns,
        Scenario::Throughput => limits.stream_ns_per_line * bytes as f64 / LINE_PAYLOAD as f64,
    });
    let mut lines = vec![columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.iter().filter_map(|row| line(row, pipe, limit)));
    format!("\n{title}\n{}", aligned(&lines))
}

/// The cells of a row; nothing if every round failed.
fn line(row: &Row, pipe: Option<Spread>, limit: Option<f64>) -> Option<Vec<String>> {
    let spread = row.time()?;
    let mut cells = vec![contender(&row.cell), name(&row.cell.wait)];
    match row.cell.scenario {
        Scenario::PingPong => {
            cells.extend(PERCENTILES.map(|percent| time(row.percentile(percent) as f64)));
            cells.push(range(spread));
        }
        Scenario::Throughput => {
            cells.extend([time(spread.median), range(spread), count(row.messages_per_second()?)]);
            cells.push(significant(row.mib_per_second()?));
        }
    }
    let ratio = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{} x", significant(ratio)));
    cells.push(time(row.cpu()?));
    cells.push(ratio(pipe.map(|pipe| pipe.median / spread.median)));
    cells.push(ratio(limit.map(|limit| spread.median / limit)));
    Some(cells)
}

fn notes(measured: &Measured) -> String {
    let mut text = String::from(
        "\nEvery message was checked, word by word. `a message` and the first percentile are medians, `by round` is their
range; percentiles are those of all rounds, the clock included. CPU is the processor time of all processes, for a
message or a round trip. `x pipe`: so many times as fast as a pipe. `x limit`: so many times as long as the two cores
take at least, for a round trip of bare atomics or for as many cache lines as the message fills. `mpmc 2x2`: two senders
and two receivers, from the first send to the last receive.\n",
    );
    let failures: Vec<_> = measured
        .rows
        .iter()
        .flat_map(|row| row.failures.iter().map(|what| format!("  {}, {what}\n", describe(&row.cell))))
        .collect();
    if !failures.is_empty() {
        let _ = write!(text, "\nFAILED, and not in the figures:\n{}", failures.concat());
    }
    text
}

/// As in the JSON.
fn name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        other => format!("{other:?}"),
    }
}

fn range(spread: Spread) -> String {
    format!("{} - {}", time(spread.min), time(spread.max))
}

fn time(nanoseconds: f64) -> String {
    scaled(nanoseconds, 1000.0, &["ns", "us", "ms", "s"])
}

fn count(count: f64) -> String {
    scaled(count, 1000.0, &["", "k", "M", "G"])
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next();
    // What would be shown as 1000 is one of the next unit.
    while value >= step - 0.5 {
        match units.next() {
            Some(next) => (value, unit) = (value / step, Some(next)),
            None => break,
        }
    }
    format!("{} {}", significant(value), unit.unwrap_or(&"")).trim_end().to_owned()
}

/// Three digits.
fn significant(value: f64) -> String {
    match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(time(2.345), "2.35 ns");
        assert_eq!(time(65_812.0), "65.8 us");
        assert_eq!(time(999.4), "999 ns");
        assert_eq!(time(999.7), "1.00 us");
        assert_eq!(time(12_345_678.0), "12.3 ms");
        assert_eq!(count(123_456_789.0), "123 M");
        assert_eq!(count(12.0), "12.0");
        assert_eq!(significant(99.96), "100");
        assert_eq!(significant(9.996), "10.0");
    }
}
