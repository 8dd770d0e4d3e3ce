//! What the docs of the handles promise, for either flavor, on every backing, with every way of waiting, and with either barrier.
//!
//! A behaviour is a function of a [`Setup`]; a trial is a behaviour in one setup, named
//! `mpmc/posix/park/membarrier/BEHAVIOUR`. Behaviours that never wait are tried with the default strategy only, and so is
//! everything on one-way memory. `RINGWAY_SOAK=1` adds what takes minutes: every number of producers and consumers up to 8.

mod asleep;
mod basics;
mod batch;
mod disconnect;
mod flavor;
mod hostile;
#[allow(dead_code)] // the names in it are for the suite that it is shared with
#[path = "../attach/left.rs"]
mod left;
mod message;
mod model;
mod mpmc;
mod processes;
mod random;
mod scribble;
mod setup;
mod stress;
mod threads;
mod waiting;
mod watchdog;

use std::env;
use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Arguments, Trial};
use ringway::Wait;
use ringway::channel_of::{Mpmc, Spsc};
use ringway::spsc;
use setup::{Backing, Setup};
use static_assertions::{assert_impl_all, assert_not_impl_any};

use crate::flavor::Kind;

// Moved between threads, never shared, never duplicated.
assert_impl_all!(spsc::Sender<u64>: Send);
assert_impl_all!(spsc::Receiver<u64>: Send);
assert_not_impl_any!(spsc::Sender<u64>: Sync, Clone, Copy);
assert_not_impl_any!(spsc::Receiver<u64>: Sync, Clone, Copy);
assert_impl_all!(spsc::Channel<u64>: Send, Sync);
assert_not_impl_any!(spsc::Channel<u64>: Clone, Copy);
// Shared between threads, and cloned for them.
assert_impl_all!(ringway::mpmc::Sender<u64>: Send, Sync, Clone);
assert_impl_all!(ringway::mpmc::Receiver<u64>: Send, Sync, Clone);
assert_not_impl_any!(ringway::mpmc::Sender<u64>: Copy);
assert_not_impl_any!(ringway::mpmc::Receiver<u64>: Copy);
assert_impl_all!(ringway::mpmc::Channel<u64>: Send, Sync);
assert_not_impl_any!(ringway::mpmc::Channel<u64>: Clone, Copy);

/// One promise, as a test of it in any setup, for each flavor that makes it.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    name: &'static str,
    spsc: Option<fn(Setup)>,
    mpmc: Option<fn(Setup)>,
}

/// Names functions as behaviours: of one flavor, or, if they are generic over it, of both.
macro_rules! behaviours {
    (spsc: $($function:ident),+ $(,)?) => {
        &[$($crate::Behaviour { name: stringify!($function), spsc: Some($function), mpmc: None }),+]
    };
    (mpmc: $($function:ident),+ $(,)?) => {
        &[$($crate::Behaviour { name: stringify!($function), spsc: None, mpmc: Some($function) }),+]
    };
    ($($function:ident),+ $(,)?) => {
        &[$($crate::Behaviour {
            name: stringify!($function),
            spsc: Some($function::<ringway::channel_of::Spsc>),
            mpmc: Some($function::<ringway::channel_of::Mpmc>),
        }),+]
    };
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
    /// Whether they are tried in packed rings, too.
    packs: bool,
}

const fn suite(behaviours: &'static [Behaviour], is_tried: fn(Setup) -> bool) -> Suite {
    Suite { behaviours, is_tried, starts_processes: false, packs: true }
}

/// For behaviours of messages under guard, which packed rings have not, and of how much a batch fills.
const fn unpacked(behaviours: &'static [Behaviour], is_tried: fn(Setup) -> bool) -> Suite {
    Suite { packs: false, ..suite(behaviours, is_tried) }
}

/// For behaviours that start processes.
const fn with_processes(behaviours: &'static [Behaviour], is_tried: fn(Setup) -> bool) -> Suite {
    Suite { starts_processes: true, ..suite(behaviours, is_tried) }
}

fn always(_: Setup) -> bool {
    true
}

/// For behaviours that never wait.
fn once(setup: Setup) -> bool {
    setup.wait == Wait::default()
}

/// For behaviours between processes.
fn that_is_reached(setup: Setup) -> bool {
    setup.backing.is_reached()
}

/// For behaviours of which the bytes of the region are a part.
fn with_a_file(setup: Setup) -> bool {
    setup.backing.has_file()
}

/// The same, for behaviours that open so many ends that a disk would be kept busy for minutes.
fn in_memory(setup: Setup) -> bool {
    with_a_file(setup) && setup.backing != Backing::File
}

/// For behaviours that are costly, and about nothing that depends on the setup.
fn in_one_memfd(setup: Setup) -> bool {
    once(setup) && setup.backing == Backing::Memfd && setup.membarrier
}

/// For behaviours of many processes, to which a channel comes by name or by descriptor.
fn in_a_crowd(setup: Setup) -> bool {
    let is_chosen = setup.backing.has_name() || setup.backing == Backing::Passed;
    once(setup) && setup.is_main() && is_chosen
}

/// For behaviours that somebody watches from outside.
fn that_sleeps(setup: Setup) -> bool {
    setup.wait != Wait::Spin && with_a_file(setup)
}

const SUITES: [Suite; 34] = [
    suite(basics::ROLES, once),
    suite(basics::IMMEDIATE, once),
    suite(batch::IMMEDIATE, once),
    unpacked(batch::FILLING, once),
    suite(disconnect::IMMEDIATE, once),
    suite(model::IMMEDIATE, once),
    suite(hostile::IMMEDIATE, |setup| once(setup) && with_a_file(setup)),
    suite(scribble::IMMEDIATE, |setup| once(setup) && in_memory(setup)),
    suite(scribble::WAITING, in_memory),
    suite(waiting::WAITING, always),
    suite(disconnect::WAITING, always),
    suite(stress::WAITING, always),
    suite(threads::WAITING, always),
    suite(mpmc::peers::IMMEDIATE, once),
    suite(mpmc::peers::WAITING, always),
    unpacked(mpmc::guards::IMMEDIATE, once),
    unpacked(mpmc::guards::WAITING, always),
    suite(mpmc::model::IMMEDIATE, once),
    unpacked(mpmc::model::GUARDED, once),
    suite(mpmc::hostile::IMMEDIATE, |setup| once(setup) && with_a_file(setup)),
    unpacked(mpmc::hostile::GUARDED, |setup| once(setup) && with_a_file(setup)),
    suite(mpmc::packing::IMMEDIATE, once),
    suite(mpmc::packing::FORGED, |setup| once(setup) && with_a_file(setup)),
    suite(mpmc::hostile::WAITING, with_a_file),
    suite(mpmc::shapes::WAITING, always),
    suite(mpmc::shapes::CROWDED, |setup| once(setup) && setup.backing == Backing::Memfd),
    suite(mpmc::shapes::LARGE, in_one_memfd),
    suite(mpmc::shapes::ALL, |setup| in_one_memfd(setup) && env::var_os("RINGWAY_SOAK").is_some()),
    suite(mpmc::peers::LARGE, in_one_memfd),
    Suite { packs: false, ..with_processes(mpmc::crowd::WAITING, in_a_crowd) }, // Its messages are too large.
    suite(asleep::ALONE, that_sleeps),
    unpacked(asleep::GUARDED, that_sleeps),
    suite(asleep::OBSERVED, that_sleeps),
    with_processes(processes::WAITING, that_is_reached),
];

fn trial(flavor: &str, name: &str, run: fn(Setup), setup: Setup, alone: bool) -> Trial {
    let name = format!("{flavor}/{setup}/{name}");
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
        let is_chosen = |suite: &Suite| setup.is_main() || (suite.starts_processes && setup.membarrier);
        let is_tried = |suite: &&Suite| (suite.is_tried)(setup) && is_chosen(suite);
        for suite in SUITES.iter().filter(is_tried) {
            for Behaviour { name, spsc, mpmc } in suite.behaviours {
                let of_flavors = [(Spsc::NAME, spsc), (Mpmc::NAME, mpmc)];
                let tried = of_flavors.into_iter().filter_map(|(flavor, run)| Some((flavor, (*run)?)));
                let tried = tried.filter(|(flavor, _)| setup.backing.carries(flavor));
                trials.extend(tried.map(|(flavor, run)| trial(flavor, name, run, setup, suite.starts_processes)));
                if let (Some(run), Some(packed), true) = (mpmc, setup.with_packing(), suite.packs) {
                    trials.push(trial(Mpmc::NAME, name, *run, packed, suite.starts_processes));
                }
            }
        }
    }
    trials
}

fn main() -> ExitCode {
    if processes::is_child() {
        return processes::run_child();
    }
    let (arguments, trials, before) = (Arguments::from_args(), trials(), left::Behind::here());
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Trials run beside each other, so that only their end can be compared.
    assert_eq!(left::Behind::here(), before, "something was left behind");
    conclusion.exit_code()
}
