//! Which cores the processes run on, and what these share.

use std::fs;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where the two sides run.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// Of the producer and the consumer.
    pub(super) cores: [usize; 2],
    /// Further ones, for more than two processes.
    others: Vec<usize>,
    /// What the two share, for the report.
    pub(super) kind: &'static str,
}

impl Placement {
    /// Two cores of their own that share a cache, if this process may use such; `wanted` overrules.
    pub(super) fn choose(wanted: Option<[usize; 2]>) -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let usable: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
        let &[first, ..] = usable.as_slice() else {
            return Err(io::Error::other("no core is usable"));
        };
        let cores = match wanted {
            Some(cores) => cores,
            None => {
                let second = usable[1..].iter().copied().min_by_key(|&core| distance(first, core));
                [first, second.unwrap_or(first)]
            }
        };
        if let Some(core) = cores.iter().find(|core| !usable.contains(core)) {
            return Err(io::Error::other(format!("core {core} is not one of the usable cores {usable:?}")));
        }
        let spare = |core: &usize| wanted.is_none() && !cores.contains(core);
        let others = usable.iter().copied().filter(spare).collect();
        Ok(Self { cores, others, kind: KINDS[distance(cores[0], cores[1])] })
    }

    /// The core of a process: one for each as long as there are some, and then the same ones again.
    pub(super) fn core(&self, process: usize) -> usize {
        let all = self.cores.len() + self.others.len();
        self.cores.iter().chain(&self.others).copied().cycle().nth(process % all).expect("two at least")
    }

    /// Whether there is a core for each side: without, nothing is gained by spinning.
    pub(super) fn is_parallel(&self) -> bool {
        self.cores[0] != self.cores[1]
    }
}

const KINDS: [&str; 4] = [
    "distinct cores with a common last-level cache",
    "distinct cores without a common last-level cache",
    "hardware threads of one core",
    "one core for both processes",
];

/// Index into [`KINDS`]; the nearer to zero, the better for a measurement.
fn distance(one: usize, other: usize) -> usize {
    let describe = |core: usize, what: &str| {
        fs::read_to_string(format!("/sys/devices/system/cpu/cpu{core}/{what}")).unwrap_or_default()
    };
    let same = |what: &str| describe(one, what) == describe(other, what);
    match () {
        () if one == other => 3,
        () if same("topology/physical_package_id") && same("topology/core_id") && same("topology/thread_siblings") => 2,
        () if !same("cache/index3/shared_cpu_list") => 1,
        () => 0,
    }
}

/// Keeps the calling thread on one core.
pub(super) fn pin(core: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(core);
    Ok(sched_setaffinity(None, &only)?)
}
