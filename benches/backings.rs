//! What a kind of memory costs, and what it does not: `cargo bench --bench backings [-- ROUNDS]`.
//!
//! *Creating and attaching*: medians of one process. *The fast path*: two processes, parent and forked child, pinned to two
//! cores, carry the same verified u64 messages over every kind of memory, with `Wait::Spin`. The kinds take turns in every
//! round, in an order that rotates, and POSIX shared memory takes two turns: how far those two are apart is what this
//! machine's noise alone comes to. What counts is the median of the ratios within a round.

#![allow(unsafe_code)] // fork, waitpid

use std::path::Path;
use std::time::Instant;
use std::{env, fs};

use ringway::spsc::Channel;
use ringway::{Address, Backing, Options, Wait};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The kinds of memory that two processes can share; the first is what the others are compared with.
const KINDS: [Backing; 6] =
    [Backing::Posix, Backing::Posix, Backing::SystemV, Backing::File, Backing::Memfd, Backing::Anonymous];
const CAPACITY: usize = 1024;
/// Messages of one turn that are timed, behind a tenth of them that are not.
const STREAMED: u64 = 1_000_000;
/// Round trips of one turn, likewise.
const EXCHANGED: u64 = 50_000;

fn label(index: usize) -> String {
    match index {
        0 => "posix".into(),
        1 => "posix again".into(),
        _ => KINDS[index].to_string(),
    }
}

/// A channel, which goes with its name.
struct Made(Channel<u64>);

impl Drop for Made {
    fn drop(&mut self) {
        // A file would stay.
        let _ = self.0.unlink();
    }
}

fn address(backing: Backing, number: u32) -> Address {
    let name = format!("ringway-bench-{}-{number}", std::process::id());
    let address = match backing {
        Backing::Posix => format!("posix:{name}"),
        Backing::File => format!("file:{}", Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).display()),
        other => other.scheme().into(),
    };
    address.parse().expect("an address")
}

fn create(backing: Backing, number: u32) -> Made {
    let options = Options::new().capacity(CAPACITY).wait(Wait::Spin);
    Made(Channel::create(address(backing, number), &options).expect("memory for a small channel"))
}

fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("a core of this machine");
}

/// Runs `child` in a forked process on core 1 and `parent` on core 0; what the parent measured.
fn between_processes(child: impl FnOnce(), parent: impl FnOnce() -> f64) -> f64 {
    // The child is born where it is to stay: on the parent's core it would wait behind the parent's polling.
    pin(1);
    // SAFETY: this process has one thread, so the child may go on with everything.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no more processes");
    if pid == 0 {
        child();
        // SAFETY: ends this process without what the parent has to clean up. A panic ends it, too, with another status.
        unsafe { libc::_exit(0) };
    }
    pin(0);
    let measured = parent();
    let mut status = 0;
    // SAFETY: waits for the child made above, and writes one integer of ours.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(status, 0, "the other process failed");
    measured
}

/// Nanoseconds per message.
fn stream(backing: Backing) -> f64 {
    let Made(channel) = &create(backing, 0);
    let skipped = STREAMED / 10;
    let send = || {
        let tx = channel.sender().expect("a free end");
        (0..skipped + STREAMED).for_each(|number| tx.send(number).expect("the parent receives"));
    };
    between_processes(send, || {
        let rx = channel.receiver().expect("a free end");
        let receive = |numbers: std::ops::Range<u64>| {
            numbers.for_each(|number| assert_eq!(rx.recv(), Ok(number), "every message is verified"));
        };
        receive(0..skipped);
        let start = Instant::now();
        receive(skipped..skipped + STREAMED);
        start.elapsed().as_nanos() as f64 / STREAMED as f64
    })
}

/// Nanoseconds per round trip over two channels.
fn exchange(backing: Backing) -> f64 {
    let (Made(there), Made(back)) = (&create(backing, 0), &create(backing, 1));
    let skipped = EXCHANGED / 10;
    let echo = || {
        let (rx, tx) = (there.receiver().expect("a free end"), back.sender().expect("a free end"));
        (0..skipped + EXCHANGED).for_each(|_| tx.send(!rx.recv().expect("a message")).expect("the parent receives"));
    };
    between_processes(echo, || {
        let (tx, rx) = (there.sender().expect("a free end"), back.receiver().expect("a free end"));
        let exchange = |numbers: std::ops::Range<u64>| {
            for number in numbers {
                tx.send(number).expect("the child receives");
                assert_eq!(rx.recv(), Ok(!number), "every message is verified");
            }
        };
        exchange(0..skipped);
        let start = Instant::now();
        exchange(skipped..skipped + EXCHANGED);
        start.elapsed().as_nanos() as f64 / EXCHANGED as f64
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// Runs every kind once a round, and prints a table in Markdown.
fn compare(title: &str, rounds: usize, run: fn(Backing) -> f64) {
    let mut measured = vec![Vec::new(); KINDS.len()];
    for round in 0..rounds {
        for turn in 0..KINDS.len() {
            let index = (round + turn) % KINDS.len();
            measured[index].push(run(KINDS[index]));
        }
    }
    println!("\n| {title} | median | min | max | ratio to posix, median of {rounds} rounds |\n|---|---|---|---|---|");
    for (index, times) in measured.iter().enumerate() {
        let ratio = median(times.iter().zip(&measured[0]).map(|(time, posix)| time / posix).collect());
        let (min, max) = times.iter().fold((f64::MAX, 0.0), |(min, max), time| (time.min(min), time.max(max)));
        println!("| {} | {:.2} | {min:.2} | {max:.2} | {ratio:.3} |", label(index), median(times.clone()));
    }
}

/// Microseconds of a call, as a median; what it makes is dropped behind the clock's back.
fn cost<T>(times: usize, mut call: impl FnMut() -> T) -> f64 {
    let time = |_| {
        let start = Instant::now();
        let made = call();
        let elapsed = start.elapsed().as_nanos() as f64 / 1000.0;
        drop(made);
        elapsed
    };
    median((0..times).map(time).collect())
}

fn costs() {
    println!("\n| µs | create | attach | open an end |\n|---|---|---|---|");
    for backing in Backing::ALL {
        // A disk is slow.
        let times = if backing == Backing::File { 50 } else { 500 };
        let mut number = 0;
        let creating = cost(times, || {
            number += 1;
            create(backing, number)
        });
        let Made(channel) = &create(backing, 0);
        let options = Options::new();
        let attaching = match (channel.name(), channel.as_fd()) {
            (Some(name), _) => Some(cost(times, || Channel::<u64>::attach(name, &options).expect("a region"))),
            (None, Some(fd)) => Some(cost(times, || {
                let fd = fd.try_clone_to_owned().expect("one more descriptor");
                Channel::<u64>::from_fd(fd, &options).expect("a region")
            })),
            (None, None) => None,
        };
        let attaching = attaching.map_or("inherited".into(), |cost| format!("{cost:.0}"));
        let opening = cost(times, || channel.sender().expect("a free end"));
        println!("| {backing} | {creating:.0} | {attaching} | {opening:.0} |");
    }
}

fn main() {
    let rounds = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(41);
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    println!("{} of {}", std::thread::available_parallelism().map_or(1, usize::from), model.unwrap_or("unknown cores"));
    costs();
    compare("ns a message, streamed", rounds, stream);
    compare("ns a round trip", rounds, exchange);
}
