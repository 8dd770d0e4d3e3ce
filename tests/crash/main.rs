//! What a crash does to a channel, tried with real processes.
//!
//! | trials | what is done | what must hold |
//! |---|---|---|
//! | `kill` | `SIGKILL` before every instruction of every operation | the other side and a successor go on exactly |
//! | `stop` | `SIGSTOP` there, then `SIGCONT` | nobody waits for a stopped process, nobody takes its end, it goes on |
//! | `death` | the other ways to end; somebody sleeps or polls meanwhile | he notices, and the end is free |
//! | `namespace` | a holder in another pid namespace | alive and dead are told apart all the same |
//! | `container` | peers in namespaces of every kind | they wake, miss, replace and trust each other as ever |
//! | `fork` | children use, drop and open ends | an inherited end is refused, one of their own works |
//! | `soak` | random `SIGKILL`, `SIGSTOP`, `SIGCONT` on both sides of a stream | no loss, duplicate, tear or disorder |
//! | `broken` | victims with mistakes | `kill` finds them |
//! | `harness` | trials that hang, fail or leave something behind | they are reported, and nothing is left |
//!
//! `kill`, `stop`, `soak` and `broken` have trials of both flavors; those of MPMC, whose survivors are other peers of the
//! same role, too, are in `mpmc`.
//!
//! Each trial is a process of its own (`harness`), as is each victim (`process`, `tracer`).
//!
//! `--nocapture` prints what each trial did. `RINGWAY_SEED=n` repeats the random choices of a run, which a failure prints.
//! `RINGWAY_SOAK=1` is for the night: no instruction is left out, on any backing, and the streams are 300 times as long.

mod broken;
mod container;
mod death;
mod fork;
mod harness;
mod kill;
mod life;
mod messages;
#[path = "../attach/mount.rs"]
mod mount;
mod mpmc;
mod oracle;
mod process;
mod random;
mod series;
mod soak;
mod stop;
mod tracer;
mod wake;
mod world;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use harness::Case;

fn cases() -> Vec<Case> {
    let parts = [
        kill::cases,
        stop::cases,
        death::cases,
        death::namespace_cases,
        container::cases,
        fork::cases,
        soak::cases,
        broken::cases,
        mpmc::cases,
    ];
    parts.into_iter().flat_map(|part| part()).collect()
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|argument| argument == death::IDLE) {
        process::idle();
    }
    if let Some(verdict) = harness::run_as_trial(|| cases().into_iter().chain(broken::failing_cases()).collect()) {
        return match verdict {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let arguments = Arguments::from_args();
    process::adopt_orphans();
    harness::hire_janitor();
    let impossible = harness::Impossible::here();
    let trials = cases().into_iter().map(|case| case.into_trial(arguments.nocapture, &impossible));
    libtest_mimic::run(&arguments, trials.chain(broken::harness_trials()).collect()).exit_code()
}
