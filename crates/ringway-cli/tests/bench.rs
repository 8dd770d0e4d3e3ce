//! `ringway bench`: its results have the form that they promise, and no process outlives it.

mod common;

use std::fs;
use std::path::Path;
use std::thread;

use common::{Ended, Side, ringway, watchdog};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

fn bench(options: &[&str]) -> Side {
    Side::start(ringway(["bench"].into_iter().chain(options.iter().copied())))
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().filter(|number| *number > 0.0).unwrap_or_else(|| panic!("{value} is no positive number"))
}

/// Checks all that `ringway-bench/1` promises, and gives the results.
#[track_caller]
fn checked(text: &[u8]) -> (Value, Vec<Value>) {
    let document: Value = serde_json::from_slice(text).expect("JSON");
    assert_eq!(document["schema"], "ringway-bench/1");
    for key in ["cpu", "kernel", "rustc", "commit", "version", "placement", "profile"] {
        assert!(document["machine"][key].is_string(), "no {key} in {}", document["machine"]);
    }
    assert_eq!(document["failures"], Value::Array(Vec::new()));
    let results = document["results"].as_array().unwrap().clone();
    for row in &results {
        let [producers, consumers, processes] =
            ["producers", "consumers", "processes"].map(|key| row[key].as_u64().unwrap());
        assert_eq!(producers + consumers, processes, "{row}");
        assert!(processes == 2 || row["transport"] == "mpmc" && row["scenario"] == "throughput", "{row}");
        assert_eq!(row["verified"], true, "{row}");
        let [min, median, max] = ["min_ns", "median_ns", "max_ns"].map(|key| number(&row[key]));
        assert!(min <= median && median <= max, "{row}");
        number(&row["mib_per_s"]);
        number(&row["messages_per_s"]);
        number(&row["messages"]);
        number(&row["cpu_ns"]);
        let percentiles = row["percentiles_ns"].as_object().unwrap();
        let values: Vec<_> =
            ["50", "90", "99", "99.9", "100"].iter().filter_map(|key| percentiles.get(*key)).map(number).collect();
        assert!(values.is_sorted(), "{row}");
        let expected = match row["scenario"].as_str() {
            Some("pingpong") => 5,
            Some("throughput") => 0,
            other => panic!("scenario {other:?}"),
        };
        assert_eq!((values.len(), percentiles.len()), (expected, expected), "{row}");
        let wait = row["wait"].as_str().unwrap();
        match row["transport"].as_str().unwrap() {
            "spsc" | "mpmc" => assert!(["spin", "adaptive", "park"].contains(&wait), "{row}"),
            "pipe" | "fifo" | "unix-stream" | "tcp" => assert_eq!(wait, "kernel"),
            other => panic!("transport {other}"),
        }
    }
    (document, results)
}

fn rows<'a>(results: &'a [Value], pairs: &[(&str, Value)]) -> Vec<&'a Value> {
    results.iter().filter(|row| pairs.iter().all(|(key, value)| row[key] == *value)).collect()
}

#[test]
fn a_quick_run_has_every_contender_in_every_scenario() {
    let _watchdog = watchdog();
    let Ended { code, stdout, stderr } = bench(&["--quick", "--json", "-"]).finish();
    assert_eq!(code, Some(0), "{stderr}");
    let (document, results) = checked(&stdout);
    let parallel = thread::available_parallelism().unwrap().get() > 1;
    if parallel {
        number(&document["limits"]["pingpong_rtt_ns"]);
        number(&document["limits"]["stream_ns_per_line"]);
    }
    let pairs = if parallel { 10 } else { 8 };
    let mut crowds = 0;
    for bytes in [8, 64, 1024] {
        for (scenario, batch) in [("pingpong", 1), ("throughput", 1), ("throughput", 32)] {
            let cell = |producers: usize| {
                let cell = [("bytes", bytes.into()), ("scenario", scenario.into()), ("batch", batch.into())];
                rows(
                    &results,
                    &[&cell[..], &[("producers", producers.into()), ("consumers", producers.into())]].concat(),
                )
            };
            assert_eq!(cell(1).len(), pairs, "{bytes} {scenario} {batch}");
            for size in [2, 4] {
                let expected = usize::from(scenario == "throughput" && bytes <= 64);
                assert_eq!(cell(size).len(), expected, "{size}x{size} {bytes} {scenario} {batch}");
                crowds += expected;
            }
        }
    }
    assert_eq!(results.len(), 9 * pairs + crowds);
    let titles =
        ["round trip, 8 bytes", "throughput, 1024 bytes, 32 a call", "unix-stream", "mpmc 4x4", "x pipe", "x limit"];
    for title in titles {
        assert!(stderr.contains(title), "no {title:?} in: {stderr}");
    }
}

#[test]
fn a_selection_goes_to_a_file() {
    let _watchdog = watchdog();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}.json", std::process::id()));
    fs::write(&file, "x".repeat(100_000)).unwrap();
    let options = ["--only", "fifo,spsc", "--sizes", "64,4096,64", "--rounds", "1", "--duration", "1"];
    let ended = bench(&[&options[..], &["--json", file.to_str().unwrap()]].concat()).finish();
    let table = String::from_utf8(ended.expect(0, &[])).unwrap();
    let (_, results) = checked(&fs::read(&file).unwrap());
    fs::remove_file(file).unwrap();
    assert!(!rows(&results, &[("bytes", 4096.into()), ("transport", "spsc".into())]).is_empty());
    assert!(results.iter().all(|row| row["rounds"] == 1));
    assert!(results.iter().all(|row| row["transport"] == "spsc" || row["transport"] == "fifo"));
    assert!(table.contains("round trip, 4096 bytes") && !table.contains("tcp"), "{table}");
    let temporary = fs::read_dir(std::env::temp_dir()).unwrap();
    let left = temporary
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().as_encoded_bytes().starts_with(b"ringway-bench-"));
    assert!(left.is_none(), "{left:?} was left behind");
}

#[test]
fn a_single_core_is_enough() {
    let _watchdog = watchdog();
    let allowed = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|&core| allowed.is_set(core)).unwrap());
    // The child inherits what this thread, and only this thread, is restricted to.
    sched_setaffinity(None, &one).unwrap();
    let ended = bench(&["--only", "spsc,pipe", "--sizes", "8", "--quick", "--json", "-"]).finish();
    let words = ["only one core is usable"];
    assert!(words.iter().all(|word| ended.stderr.contains(word)), "{}", ended.stderr);
    let (document, results) = checked(&ended.stdout);
    assert_eq!(ended.code, Some(0));
    assert!(document["limits"].is_null());
    assert_eq!(rows(&results, &[("wait", "spin".into())]).len(), 0);
    assert_eq!(results.len(), 9);
}

#[test]
fn wrong_options_are_noticed_before_anything_is_measured() {
    let _watchdog = watchdog();
    for options in [
        &["--only", "carrier-pigeon"][..],
        &["--sizes", "7"],
        &["--rounds", "0"],
        &["--cores", "0"],
        &["--cores", "0,1023"],
    ] {
        let ended = bench(options).finish();
        assert_eq!(ended.code, Some(2), "{options:?}: {}", ended.stderr);
    }
    for (path, next) in [("/nonexistent/file", "next: create its directory"), ("/proc", "next: that is a directory")] {
        bench(&["--json", path]).finish().expect(1, &["cannot write", path, next]);
    }
}

/// The processes that a run has started, once so many are at work: each on its core.
fn peers(bench: &Side, count: usize) -> Vec<Pid> {
    let main = bench.id();
    loop {
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
        let pids: Vec<_> = children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
        let is_pinned = |pid: &Pid| sched_getaffinity(Some(*pid)).is_ok_and(|cores| cores.count() == 1);
        if pids.len() == count && pids.iter().all(is_pinned) {
            return pids;
        }
        thread::yield_now();
    }
}

fn wait_until_gone(pids: &[Pid]) {
    for pid in pids {
        let is_gone = || match fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
            Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])),
            Err(_) => true,
        };
        while !is_gone() {
            thread::yield_now();
        }
    }
}

#[test]
fn an_interrupted_benchmark_takes_its_processes_along() {
    let _watchdog = watchdog();
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::TERM, Some(143)), (Signal::KILL, None)] {
        let bench = bench(&["--only", "spsc", "--sizes", "8", "--rounds", "1", "--duration", "86400"]);
        let peers = peers(&bench, 2);
        bench.signal(signal);
        assert_eq!(bench.finish().code, code);
        wait_until_gone(&peers);
    }
}

#[test]
fn a_process_that_dies_or_hangs_is_reported() {
    let _watchdog = watchdog();
    for (signal, words) in [(Signal::KILL, "died of signal 9"), (Signal::STOP, "hung, and was killed")] {
        let bench = bench(&["--only", "pipe", "--sizes", "8", "--rounds", "1", "--duration", "2", "--json", "-"]);
        let peers = peers(&bench, 2);
        kill_process(peers[1], signal).unwrap();
        let ended = bench.finish();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("FAILED") && ended.stderr.contains(words), "{}", ended.stderr);
        wait_until_gone(&peers);
        let document: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(document["failures"].as_array().unwrap().len(), 1);
        // The other runs went on.
        assert_eq!(document["results"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_process_of_a_crowd_that_dies_is_reported() {
    let _watchdog = watchdog();
    let bench = bench(&["--only", "mpmc", "--sizes", "8", "--rounds", "1", "--duration", "10", "--json", "-"]);
    let peers = peers(&bench, 4);
    kill_process(peers[0], Signal::KILL).unwrap();
    let ended = bench.finish();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for words in ["FAILED", "mpmc 2x2", "producer 0: died of signal 9"] {
        assert!(ended.stderr.contains(words), "no {words:?} in {}", ended.stderr);
    }
    let document: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(document["failures"].as_array().unwrap().len(), 1);
    assert!(!rows(document["results"].as_array().unwrap(), &[("producers", 4.into())]).is_empty());
}

#[test]
fn a_peer_does_nothing_by_itself() {
    let _watchdog = watchdog();
    let job = r#"{"cell":{"scenario":"pingpong","transport":"pipe","wait":"kernel","bytes":8,"batch":1,
        "producers":1,"consumers":1},"role":"Leader","index":0,"core":0,"measure":{"secs":1,"nanos":0},"parent":1}"#;
    Side::start(ringway(["bench-peer", job])).finish().expect(1, &["not started by a benchmark"]);
    Side::start(ringway(["bench-peer", "{}"])).finish().expect(1, &["missing field"]);
}
