//! Regressions of single operations of MPMC channels (criterion): `cargo bench --bench mpmc`.
//!
//! One thread does both sides: instructions, without the transfer between cores. What several threads get through is measured by
//! `benches/peers -- mpmc`.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use ringway::mpmc::{Channel, Receiver, Sender};
use ringway::{Options, Payload, Wait};

const CAPACITY: usize = 1024;
/// Messages of a slice.
const BATCH: usize = 32;

fn ends<T: Payload>(membarrier: bool) -> (Sender<T>, Receiver<T>) {
    let options = Options::new().capacity(CAPACITY).wait(Wait::Spin).membarrier(membarrier);
    let channel = Channel::anonymous(&options).expect("memory for a small channel");
    (channel.sender().expect("a free place"), channel.receiver().expect("a free place"))
}

/// A send and a receive.
fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mpmc_pair");
    pair(&mut group, "u64", 7_u64, true);
    pair(&mut group, "u64_fences", 7_u64, false);
    pair(&mut group, "48_bytes", [7_u64; 6], true);
    group.finish();
}

fn pair<T: Payload + Copy>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, message: T, membarrier: bool) {
    let (tx, rx) = ends::<T>(membarrier);
    group.throughput(Throughput::Elements(1)).bench_function(name, |bencher| {
        bencher.iter(|| {
            assert!(tx.try_send(black_box(message)).is_ok());
            rx.try_recv().expect("a message")
        })
    });
}

/// A slice, sent and received.
fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mpmc_batch_32");
    batch(&mut group, "u64", 7_u64);
    batch(&mut group, "48_bytes", [7_u64; 6]);
    group.finish();
}

fn batch<T: Payload + Copy>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, message: T) {
    let (tx, rx) = ends::<T>(true);
    let (messages, mut places) = ([message; BATCH], [message; BATCH]);
    group.throughput(Throughput::Elements(BATCH as u64)).bench_function(name, |bencher| {
        bencher.iter(|| {
            tx.try_send_slice(black_box(&messages)).expect("room");
            rx.try_recv_slice(&mut places).expect("messages")
        })
    });
}

/// A send, and a receive under a guard that is acknowledged.
fn guards(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mpmc_guard");
    guard(&mut group, "u64", 7_u64);
    guard(&mut group, "48_bytes", [7_u64; 6]);
    group.finish();
}

fn guard<T: Payload + Copy>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, message: T) {
    let (tx, rx) = ends::<T>(true);
    group.throughput(Throughput::Elements(1)).bench_function(name, |bencher| {
        bencher.iter(|| {
            assert!(tx.try_send(black_box(message)).is_ok());
            rx.try_recv_guard().expect("a message").ack().expect("it is ours")
        })
    });
}

criterion_group!(benches, pairs, batches, guards);
criterion_main!(benches);
