//! A pool of worker processes that share one channel. One of them is killed with a job in its hands, and somebody else
//! gets that job.
//!
//! Run: `cargo run --example workers`

use std::env;
use std::process::{Command, Stdio};

use ringway::mpmc::Channel;
use ringway::{Options, Payload};
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Job {
    number: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Done {
    number: u64,
    result: u64,
    worker: u64,
    redeliveries: u64,
}

const JOBS: u64 = 1000;
/// Whoever gets this job for the first time does not survive it.
const POISON: u64 = 500;

type Failure = Box<dyn std::error::Error>;

fn work(name: &str) -> Result<(), Failure> {
    let jobs = Channel::<Job>::attach(name, &Options::new())?.receiver()?;
    let done = Channel::<Done>::attach(format!("{name}-done"), &Options::new())?.sender()?;
    // The job stays in the channel until it is acknowledged; whatever happens before that, somebody gets it.
    while let Ok(job) = jobs.recv_guard() {
        let redeliveries = job.redeliveries();
        if job.number == POISON && redeliveries == 0 {
            std::process::abort();
        }
        let (number, worker) = (job.number, std::process::id().into());
        done.send(Done { number, result: number * number, worker, redeliveries: redeliveries.into() })?;
        job.ack()?;
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    if let Some(name) = env::args().nth(1) {
        return work(&name);
    }
    let name = format!("workers-{}", std::process::id());
    let options = Options::new().capacity(64);
    let jobs = Channel::<Job>::create(&name, &options)?;
    let done = Channel::<Done>::create(format!("{name}-done"), &options)?;
    let (tx, rx) = (jobs.sender()?, done.receiver()?);

    let worker = || Command::new(env::current_exe()?).arg(&name).stderr(Stdio::null()).spawn();
    let mut workers = (0..4).map(|_| worker()).collect::<Result<Vec<_>, _>>()?;

    let sending = std::thread::spawn(move || (1..=JOBS).try_for_each(|number| tx.send(Job { number })));
    let mut results = Vec::new();
    while results.len() < JOBS as usize {
        results.push(rx.recv()?);
    }
    sending.join().expect("it does not panic")?; // the only sender: the workers drain the channel and end

    let dead = workers.iter_mut().filter_map(|worker| worker.wait().ok()).filter(|status| !status.success()).count();
    results.sort_by_key(|done| done.number);
    assert!(results.iter().zip(1..).all(|(done, number)| done.number == number && done.result == number * number));
    let again = results.iter().find(|done| done.redeliveries > 0).expect("the poison was delivered twice");
    println!(
        "{} jobs done once each; {dead} worker died, and {} did job {} after it",
        JOBS, again.worker, again.number
    );
    Ok(())
}
