//! What the docs of the handles promise, on every backing, with every way of waiting, and with either barrier.
//!
//! A behaviour is a function of a [`Setup`]; a trial is a behaviour in one setup, named
//! `posix/park/membarrier/BEHAVIOUR`. Behaviours that never wait are tried with the default strategy only.

mod asleep;
mod basics;
mod batch;
mod disconnect;
mod hostile;
mod message;
mod model;
mod processes;
mod random;
mod scribble;
mod setup;
mod stress;
mod waiting;
mod watchdog;

use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Arguments, Trial};
use ringway::Wait;
use ringway::spsc::{Channel, Receiver, Sender};
use setup::Setup;
use static_assertions::{assert_impl_all, assert_not_impl_any};

// Moved between threads, never shared, never duplicated.
assert_impl_all!(Sender<u64>: Send);
assert_impl_all!(Receiver<u64>: Send);
assert_not_impl_any!(Sender<u64>: Sync, Clone, Copy);
assert_not_impl_any!(Receiver<u64>: Sync, Clone, Copy);
assert_impl_all!(Channel<u64>: Send, Sync);
assert_not_impl_any!(Channel<u64>: Clone, Copy);

/// One promise, as a test of it in any setup.
type Behaviour = (&'static str, fn(Setup));

/// Names functions as behaviours.
macro_rules! behaviours {
    ($($function:ident),+ $(,)?) => { &[$((stringify!($function), $function as fn($crate::Setup))),+] };
}
pub(crate) use behaviours;

/// Held shared by a trial of threads, and alone by one that starts processes.
///
/// Between its birth and its `exec`, a child has a copy of every descriptor; a lease that a neighbour takes or returns
/// in that moment would last as long as the child.
static NEIGHBOURS: RwLock<()> = RwLock::new(());

/// Behaviours, and where they are tried.
struct Suite {
    behaviours: &'static [Behaviour],
    is_tried: fn(Setup) -> bool,
    starts_processes: bool,
}

const fn suite(behaviours: &'static [Behaviour], is_tried: fn(Setup) -> bool) -> Suite {
    Suite { behaviours, is_tried, starts_processes: false }
}

fn always(_: Setup) -> bool {
    true
}

/// For behaviours that never wait.
fn once(setup: Setup) -> bool {
    setup.wait == Wait::default()
}

/// For behaviours of which the bytes of the region, or another process, are a part.
fn with_a_file(setup: Setup) -> bool {
    setup.backing.has_file()
}

const SUITES: [Suite; 12] = [
    suite(basics::IMMEDIATE, once),
    suite(batch::IMMEDIATE, once),
    suite(disconnect::IMMEDIATE, once),
    suite(model::IMMEDIATE, once),
    suite(hostile::IMMEDIATE, |setup| once(setup) && with_a_file(setup)),
    suite(scribble::IMMEDIATE, |setup| once(setup) && with_a_file(setup)),
    suite(scribble::WAITING, with_a_file),
    suite(waiting::WAITING, always),
    suite(disconnect::WAITING, always),
    suite(stress::WAITING, always),
    suite(asleep::OBSERVED, |setup| setup.wait != Wait::Spin && with_a_file(setup)),
    Suite { behaviours: processes::WAITING, is_tried: with_a_file, starts_processes: true },
];

fn trial((name, run): Behaviour, setup: Setup, alone: bool) -> Trial {
    let name = format!("{setup}/{name}");
    let guarded = name.clone();
    Trial::test(name, move || {
        let _shared = (!alone).then(|| NEIGHBOURS.read().unwrap_or_else(PoisonError::into_inner));
        let _alone = alone.then(|| NEIGHBOURS.write().unwrap_or_else(PoisonError::into_inner));
        watchdog::guard(&guarded, || run(setup));
        Ok(())
    })
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for setup in Setup::all() {
        for suite in SUITES.iter().filter(|suite| (suite.is_tried)(setup)) {
            trials.extend(suite.behaviours.iter().map(|behaviour| trial(*behaviour, setup, suite.starts_processes)));
        }
    }
    trials
}

fn main() -> ExitCode {
    if processes::is_child() {
        return processes::run_child();
    }
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}
