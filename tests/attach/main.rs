//! Bad input, and the life of names: whatever is there instead of a region, the error says what was expected, what was
//! found and what to do; and nothing is leaked or left hanging.
//!
//! Trials run one after the other, so that each can count the descriptors, mappings and names that it leaves behind.

mod child;
mod disk;
mod exhaustion;
mod expect;
mod header;
mod left;
mod life;
mod look;
mod memory;
mod mount;
mod names;
mod observer;
mod one_way;
mod passing;
mod payload;
mod places;
mod races;
mod remote;
mod sandbox;
mod segment;
mod truncation;
mod users;
#[path = "../conformance/watchdog.rs"]
mod watchdog;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What a trial comes to, unless it panics.
pub(crate) type Outcome = Result<Completion, Failed>;

/// A trial, and its name.
pub(crate) type Case = (&'static str, fn() -> Outcome);

/// Names functions as trials. Those that return nothing complete.
macro_rules! cases {
    ($($function:ident),+ $(,)?) => {
        &[$((stringify!($function), || { $crate::IntoOutcome::outcome($function()) })),+]
    };
}
pub(crate) use cases;

/// What a trial may return.
pub(crate) trait IntoOutcome {
    fn outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn outcome(self) -> Outcome {
        Ok(Completion::Completed)
    }
}

impl IntoOutcome for Outcome {
    fn outcome(self) -> Outcome {
        self
    }
}

fn trial(group: &str, (name, run): Case) -> Trial {
    let name = format!("{group}/{name}");
    let guarded = name.clone();
    Trial::ignorable_test(name, move || {
        watchdog::guard(&guarded, || {
            let before = left::Behind::here();
            let outcome = run();
            assert_eq!(left::Behind::here(), before, "something was left behind");
            outcome
        })
    })
}

fn main() -> ExitCode {
    if child::is_child() {
        return child::run();
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let groups = [
        ("names", names::CASES),
        ("header", header::CASES),
        ("payload", payload::CASES),
        ("life", life::CASES),
        ("look", look::CASES),
        ("races", races::CASES),
        ("exhaustion", exhaustion::CASES),
        ("places", places::CASES),
        ("disk", disk::CASES),
        ("remote", remote::CASES),
        ("passing", passing::CASES),
        ("one_way", one_way::CASES),
        ("sandbox", sandbox::CASES),
        ("segment", segment::CASES),
        ("truncation", truncation::CASES),
        ("memory", memory::CASES),
        ("observer", observer::CASES),
        ("users", users::CASES),
    ];
    let trials = groups.iter().flat_map(|(group, cases)| cases.iter().map(|case| trial(group, *case))).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
