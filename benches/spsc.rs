//! Regressions of single operations (criterion): `cargo bench --bench spsc`.
//!
//! Comparisons with others are in `benches/peers`, between processes in `ringway bench`.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway::spsc::{Channel, Receiver, Sender};
use ringway::{Options, Payload, Wait};

const CAPACITY: usize = 1024;

fn ends<T: Payload>(wait: Wait, membarrier: bool) -> (Sender<T>, Receiver<T>) {
    let options = Options::new().capacity(CAPACITY).wait(wait).membarrier(membarrier);
    let channel = Channel::anonymous(&options).expect("memory for a small channel");
    (channel.sender().expect("a free end"), channel.receiver().expect("a free end"))
}

/// A send and a receive by one thread: instructions, without the transfer between cores.
fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one_thread");
    for (name, membarrier) in [("u64", true), ("u64_fences", false)] {
        let (tx, rx) = ends::<u64>(Wait::Spin, membarrier);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                tx.try_send(black_box(7)).expect("room");
                rx.try_recv().expect("a message")
            })
        });
    }
    let (tx, rx) = ends::<[u64; 128]>(Wait::Spin, true);
    group.bench_function("1024_bytes", |bencher| {
        bencher.iter(|| {
            tx.try_send(black_box([7; 128])).expect("room");
            rx.try_recv().expect("a message")
        })
    });
    let (tx, rx) = ends::<u64>(Wait::Spin, true);
    let (messages, mut places) = ([7; 32], [0; 32]);
    group.throughput(Throughput::Elements(32));
    group.bench_function("u64_batch_32", |bencher| {
        bencher.iter(|| {
            tx.try_send_slice(black_box(&messages)).expect("room");
            rx.try_recv_slice(&mut places).expect("messages")
        })
    });
    group.finish();
}

/// Messages streamed from one thread to another.
fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("two_threads");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for wait in [Wait::Spin, Wait::Adaptive] {
        group.bench_with_input(BenchmarkId::new("u64", format!("{wait:?}")), &wait, |bencher, wait| {
            bencher.iter_custom(|count| stream(ends::<u64>(*wait, true), count, |number| number));
        });
    }
    group.bench_function("64_bytes", |bencher| {
        bencher.iter_custom(|count| stream(ends::<[u64; 8]>(Wait::Spin, true), count, |number| [number; 8]));
    });
    group.bench_function("1024_bytes", |bencher| {
        bencher.iter_custom(|count| stream(ends::<[u64; 128]>(Wait::Spin, true), count, |number| [number; 128]));
    });
    group.finish();
}

fn stream<T>((tx, rx): (Sender<T>, Receiver<T>), count: u64, message: fn(u64) -> T) -> Duration
where
    T: Payload + PartialEq,
{
    let sender = thread::spawn(move || {
        for number in 0..count {
            assert!(tx.send(message(number)).is_ok());
        }
    });
    let start = Instant::now();
    for number in 0..count {
        assert!(rx.recv().is_ok_and(|found| found == message(number)));
    }
    let elapsed = start.elapsed();
    sender.join().expect("the sender does not panic");
    elapsed
}

criterion_group!(benches, one_thread, two_threads);
criterion_main!(benches);
