//! The results for programs: schema `ringway-bench/1`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::limits::Limits;
use super::machine::Machine;
use super::plan::{Scenario, Transport, Wait};
use super::stats::{PERCENTILES, Row, rounded};
use super::{Arguments, Measured};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    machine: &'a Machine,
    /// As measured in the same run; null on a single core.
    limits: Option<&'a Limits>,
    settings: Value,
    results: Vec<Entry>,
    failures: Vec<Value>,
}

/// Times are those of one message, or in the ping-pong of one round trip; median, min and max are over the rounds.
#[derive(Serialize)]
struct Entry {
    scenario: Scenario,
    transport: Transport,
    wait: Wait,
    processes: usize,
    producers: usize,
    consumers: usize,
    bytes: usize,
    batch: usize,
    median_ns: f64,
    min_ns: f64,
    max_ns: f64,
    /// Of single round trips in all rounds; empty for the throughput, where no single message is timed.
    percentiles_ns: Map<String, Value>,
    messages_per_s: f64,
    mib_per_s: f64,
    /// Processor time of all processes together.
    cpu_ns: f64,
    rounds: usize,
    /// Messages, or round trips, that were measured.
    messages: u64,
    verified: bool,
}

/// The whole document.
pub(super) fn document(arguments: &Arguments, measured: &Measured) -> String {
    let failures = measured.rows.iter().flat_map(|row| {
        let cell = row.cell;
        row.failures.iter().map(move |what| json!({ "cell": cell, "what": what }))
    });
    let document = Document {
        schema: "ringway-bench/1",
        machine: &measured.machine,
        limits: measured.limits.as_ref(),
        settings: json!({
            "rounds": arguments.rounds(),
            "capacity": arguments.capacity,
            "duration_s": arguments.duration().as_secs(),
            "took_s": rounded(measured.took.as_secs_f64()),
        }),
        results: measured.rows.iter().filter_map(entry).collect(),
        failures: failures.collect(),
    };
    let text = serde_json::to_string_pretty(&document).expect("plain data has a JSON form");
    text + "\n"
}

fn entry(row: &Row) -> Option<Entry> {
    let time = row.time()?;
    let percentiles: &[f64] = match row.cell.scenario {
        Scenario::PingPong => &PERCENTILES,
        Scenario::Throughput => &[],
    };
    Some(Entry {
        scenario: row.cell.scenario,
        transport: row.cell.transport,
        wait: row.cell.wait,
        processes: row.cell.producers + row.cell.consumers,
        producers: row.cell.producers,
        consumers: row.cell.consumers,
        bytes: row.cell.bytes,
        batch: row.cell.batch,
        median_ns: rounded(time.median),
        min_ns: rounded(time.min),
        max_ns: rounded(time.max),
        percentiles_ns: percentiles
            .iter()
            .map(|&percent| (percent.to_string(), row.percentile(percent).into()))
            .collect(),
        messages_per_s: row.messages_per_second()?.round(),
        mib_per_s: rounded(row.mib_per_second()?),
        cpu_ns: rounded(row.cpu()?),
        rounds: row.rounds(),
        messages: row.messages,
        verified: row.failures.is_empty(),
    })
}
