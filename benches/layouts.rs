//! The race that chose the layout of the SPSC ring: `cargo bench --bench layouts [-- ROUNDS]`.
//!
//! Two layouts carry the same messages through the same kind of memory, interleaved in rounds, in their barest form
//! (neither waits, wakes or checks a peer): the **index ring** with a shared tail and head, each cached by the other
//! side, and **blocks** whose first word counts what was published, in the variants that were considered. Both threads
//! are pinned, and every word of every message is checked. docs/PROTOCOL.md keeps the results.

use std::cell::Cell;
use std::hint::spin_loop;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use crossbeam_utils::CachePadded;
use rustix::thread::{CpuSet, sched_setaffinity};

const CAPACITY: u64 = 1024;

/// Shared by both layouts: words, and the two positions.
struct Shared {
    tail: CachePadded<AtomicU64>,
    head: CachePadded<AtomicU64>,
    words: Box<[Line]>,
}

/// Keeps word 0 of the ring at the beginning of a cache line.
#[repr(align(64))]
struct Line([AtomicU64; 8]);

impl Shared {
    fn new(words: usize) -> Arc<Self> {
        let line = || Line([const { AtomicU64::new(0) }; 8]);
        Arc::new(Self {
            tail: CachePadded::default(),
            head: CachePadded::default(),
            words: (0..words.div_ceil(8)).map(|_| line()).collect(),
        })
    }

    #[inline(always)]
    fn word(&self, index: usize) -> &AtomicU64 {
        &self.words[index / 8].0[index % 8]
    }
}

trait Layout<const W: usize>: Clone + Send + 'static {
    fn new() -> Self;
    fn push(&self, message: &[u64; W]) -> bool;
    fn pop(&self) -> Option<[u64; W]>;
}

/// Lamport's ring with cached indices.
#[derive(Clone)]
struct Index<const W: usize> {
    shared: Arc<Shared>,
    own: Cell<u64>,
    other: Cell<u64>,
}

impl<const W: usize> Layout<W> for Index<W> {
    fn new() -> Self {
        Self { shared: Shared::new(CAPACITY as usize * W), own: Cell::new(0), other: Cell::new(0) }
    }

    #[inline(always)]
    fn push(&self, message: &[u64; W]) -> bool {
        let tail = self.own.get();
        if tail == self.other.get() + CAPACITY {
            self.other.set(self.shared.head.load(Acquire));
            if tail == self.other.get() + CAPACITY {
                return false;
            }
        }
        let start = (tail % CAPACITY) as usize * W;
        for (i, word) in message.iter().enumerate() {
            self.shared.word(start + i).store(*word, Relaxed);
        }
        self.shared.tail.store(tail + 1, Release);
        self.own.set(tail + 1);
        true
    }

    #[inline(always)]
    fn pop(&self) -> Option<[u64; W]> {
        let head = self.own.get();
        if head == self.other.get() {
            self.other.set(self.shared.tail.load(Acquire));
            if head == self.other.get() {
                return None;
            }
        }
        let start = (head % CAPACITY) as usize * W;
        let message = std::array::from_fn(|i| self.shared.word(start + i).load(Relaxed));
        self.shared.head.store(head + 1, Release);
        self.own.set(head + 1);
        Some(message)
    }
}

/// A count word and `M` messages, padded to whole lines if `PADDED`.
#[derive(Clone)]
struct Blocks<const W: usize, const M: usize, const PADDED: bool> {
    shared: Arc<Shared>,
    own: Cell<u64>,
    /// Producer: first message without room. Consumer: first message not known to be published.
    other: Cell<u64>,
    block: Cell<usize>,
    place: Cell<usize>,
}

impl<const W: usize, const M: usize, const PADDED: bool> Blocks<W, M, PADDED> {
    const SIZE: usize = if PADDED { (1 + W * M).next_multiple_of(8) } else { 1 + W * M };
    const END: usize = ((CAPACITY as usize - 1).div_ceil(M) + 1) * Self::SIZE;

    #[inline(always)]
    fn advance(&self) {
        self.own.set(self.own.get() + 1);
        self.place.set(self.place.get() + W);
        if self.place.get() == 1 + W * M {
            self.place.set(1);
            let next = self.block.get() + Self::SIZE;
            self.block.set(if next == Self::END { 0 } else { next });
        }
    }
}

impl<const W: usize, const M: usize, const PADDED: bool> Layout<W> for Blocks<W, M, PADDED> {
    fn new() -> Self {
        let shared = Shared::new(Self::END);
        Self { shared, own: Cell::new(0), other: Cell::new(0), block: Cell::new(0), place: Cell::new(1) }
    }

    #[inline(always)]
    fn push(&self, message: &[u64; W]) -> bool {
        let tail = self.own.get();
        if tail >= self.other.get() {
            self.other.set(self.shared.head.load(Acquire) + CAPACITY);
            if tail >= self.other.get() {
                return false;
            }
        }
        let start = self.block.get() + self.place.get();
        for (i, word) in message.iter().enumerate() {
            self.shared.word(start + i).store(*word, Relaxed);
        }
        self.shared.word(self.block.get()).store(tail + 1, Release);
        self.advance();
        true
    }

    #[inline(always)]
    fn pop(&self) -> Option<[u64; W]> {
        let head = self.own.get();
        if head >= self.other.get() {
            self.other.set(self.shared.word(self.block.get()).load(Acquire));
            if head >= self.other.get() {
                return None;
            }
        }
        let start = self.block.get() + self.place.get();
        let message = std::array::from_fn(|i| self.shared.word(start + i).load(Relaxed));
        self.shared.head.store(head + 1, Release);
        self.advance();
        Some(message)
    }
}

fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("cores 0 and 1 are there");
}

fn push<const W: usize>(layout: &impl Layout<W>, number: u64) {
    let message = std::array::from_fn(|i| number + i as u64);
    while !layout.push(&message) {
        spin_loop();
    }
}

fn pop<const W: usize>(layout: &impl Layout<W>, number: u64) {
    let message = loop {
        match layout.pop() {
            Some(message) => break message,
            None => spin_loop(),
        }
    };
    assert!(message.iter().enumerate().all(|(i, word)| *word == number + i as u64), "message {number}");
}

/// Nanoseconds a message, streamed.
fn throughput<const W: usize, L: Layout<W>>(messages: u64) -> f64 {
    let (consumer, barrier) = (L::new(), Arc::new(Barrier::new(2)));
    let producer = {
        let (layout, barrier) = (consumer.clone(), Arc::clone(&barrier));
        thread::spawn(move || {
            pin(0);
            barrier.wait();
            (0..messages).for_each(|number| push(&layout, number));
        })
    };
    pin(1);
    barrier.wait();
    let start = Instant::now();
    (0..messages).for_each(|number| pop(&consumer, number));
    let elapsed = start.elapsed();
    producer.join().expect("the producer does not panic");
    elapsed.as_nanos() as f64 / messages as f64
}

/// Nanoseconds for a message and its echo.
fn round_trip<const W: usize, L: Layout<W>>(messages: u64) -> f64 {
    let (there, back, barrier) = (L::new(), L::new(), Arc::new(Barrier::new(2)));
    let echo = {
        let (there, back, barrier) = (there.clone(), back.clone(), Arc::clone(&barrier));
        thread::spawn(move || {
            pin(0);
            barrier.wait();
            for number in 0..messages {
                pop(&there, number);
                push(&back, number);
            }
        })
    };
    pin(1);
    barrier.wait();
    let start = Instant::now();
    for number in 0..messages {
        push(&there, number);
        pop(&back, number);
    }
    let elapsed = start.elapsed();
    echo.join().expect("the echo does not panic");
    elapsed.as_nanos() as f64 / messages as f64
}

/// A contender's name, and its two measurements.
type Contender = (String, fn(u64) -> f64, fn(u64) -> f64);

fn contender<const W: usize, L: Layout<W>>(name: &str) -> Contender {
    (format!("{:5} {name}", W * 8), throughput::<W, L>, round_trip::<W, L>)
}

fn contenders() -> Vec<Contender> {
    vec![
        contender::<1, Index<1>>("index ring"),
        contender::<1, Blocks<1, 7, true>>("blocks of 1 line, 7 messages (shipped)"),
        contender::<3, Index<3>>("index ring"),
        contender::<3, Blocks<3, 2, true>>("blocks of 1 line, 2 messages (shipped)"),
        contender::<6, Index<6>>("index ring"),
        contender::<6, Blocks<6, 1, true>>("blocks of 1 line, 1 message (shipped)"),
        contender::<6, Blocks<6, 1, false>>("blocks of 1 message, unpadded"),
        contender::<8, Index<8>>("index ring"),
        contender::<8, Blocks<8, 1, true>>("blocks of 2 lines, 1 message"),
        contender::<8, Blocks<8, 7, true>>("blocks of 8 lines, 7 messages"),
        contender::<8, Blocks<8, 1, false>>("blocks of 1 message, unpadded (shipped)"),
        contender::<16, Index<16>>("index ring"),
        contender::<16, Blocks<16, 1, true>>("blocks of 3 lines, 1 message"),
        contender::<16, Blocks<16, 1, false>>("blocks of 1 message, unpadded (shipped)"),
        contender::<128, Index<128>>("index ring"),
        contender::<128, Blocks<128, 1, true>>("blocks of 17 lines, 1 message"),
        contender::<128, Blocks<128, 1, false>>("blocks of 1 message, unpadded (shipped)"),
    ]
}

fn main() {
    // `cargo bench` appends `--bench`; `cargo test --benches` wants a short run.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let test = !arguments.iter().any(|argument| argument == "--bench");
    let rounds: usize = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(if test { 1 } else { 7 });
    let scale = if test { 1000 } else { 1 };

    let contenders = contenders();
    let mut results = vec![(Vec::new(), Vec::new()); contenders.len()];
    for _ in 0..rounds {
        for ((_, throughput, round_trip), result) in contenders.iter().zip(&mut results) {
            result.0.push(throughput(2_000_000 / scale));
            result.1.push(round_trip(100_000 / scale));
        }
    }
    println!("bytes layout                                        ns a message           ns a round trip");
    for ((name, ..), (streamed, echoed)) in contenders.iter().zip(&mut results) {
        println!("{name:48} {} {}", range(streamed), range(echoed));
    }
}

/// Median, minimum and maximum.
fn range(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:7.2} [{:6.2} .. {:6.2}]", values[values.len() / 2], values[0], values[values.len() - 1])
}
