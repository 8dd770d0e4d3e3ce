//! The machine: what it is, and which two of its processors are used.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// The two processors of every measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Where the consumer runs, or the side that starts the round trips.
    pub measuring: usize,
    /// Where the producer runs, or the side that sends back.
    pub other: usize,
}

/// What the header of the report says.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    cpu: String,
    hypervisor: bool,
    kernel: String,
    processors: usize,
    placement: Placement,
    /// How the two processors are related.
    relation: &'static str,
    load_before: String,
    rustc: &'static str,
    rustflags: &'static str,
    commit: String,
    command: String,
}

impl Machine {
    /// Looks around.
    pub fn observe(placement: Placement) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.split(':').next().map(str::trim) == Some(name));
            line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim()).to_owned()
        };
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let uname = rustix::system::uname();
        Self {
            cpu: format!("{} (family {}, model {})", field("model name"), field("cpu family"), field("model")),
            hypervisor: field("flags").split(' ').any(|flag| flag == "hypervisor"),
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            placement,
            relation: relation(placement),
            load_before: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            rustc: env!("PEERS_RUSTC"),
            rustflags: env!("PEERS_RUSTFLAGS"),
            commit: commit(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
        }
    }

    /// The two processors, and how they are related.
    pub fn processors(&self) -> String {
        let Placement { measuring, other } = self.placement;
        format!("cpus {measuring} and {other} of {}: {}", self.processors, self.relation)
    }

    /// The lines of the header.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let Placement { measuring, other } = self.placement;
        let virtual_machine = if self.hypervisor { ", in a virtual machine" } else { "" };
        let mut lines = vec![
            ("processor", format!("{}{virtual_machine}", self.cpu)),
            ("kernel", self.kernel.clone()),
            (
                "placement",
                format!(
                    "consumer on cpu {measuring}, producer on cpu {other} of {}: {}",
                    self.processors, self.relation
                ),
            ),
            ("load before", format!("{} (1, 5, 15 minutes)", self.load_before)),
            ("compiler", self.rustc.to_owned()),
            ("commit", self.commit.clone()),
            ("command", self.command.clone()),
        ];
        if !self.rustflags.is_empty() {
            lines.insert(5, ("rustflags", self.rustflags.to_owned()));
        }
        lines
    }
}

/// Keeps the calling thread on one processor.
///
/// # Errors
///
/// If it may not run there.
pub fn pin(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).with_context(|| format!("cannot run on cpu {cpu}"))
}

/// The first two processors that this process may use and that are no siblings of one core; two
/// siblings, which the report then names as such, only if there is nothing else.
///
/// # Errors
///
/// If there is one processor only.
pub fn place() -> Result<Placement> {
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    ensure!(cpus.len() >= 2, "two processors are needed, and this process may use {cpus:?} only");
    let measuring = cpus[0];
    let distinct = cpus[1..].iter().find(|&&cpu| !siblings(measuring, cpu));
    Ok(Placement { measuring, other: *distinct.unwrap_or(&cpus[1]) })
}

/// The processors that the user asked for.
///
/// # Errors
///
/// If this process may not use both, or they are one.
pub fn placed(cpus: &[usize]) -> Result<Placement> {
    let &[measuring, other] = cpus else {
        anyhow::bail!("two processors are needed, as in `--cpus 0,2`");
    };
    ensure!(measuring != other, "two different processors are needed");
    let allowed = sched_getaffinity(None)?;
    for cpu in [measuring, other] {
        let usable = cpu < CpuSet::MAX_CPU && allowed.is_set(cpu);
        ensure!(usable, "this process may not run on cpu {cpu}");
    }
    Ok(Placement { measuring, other })
}

fn relation(Placement { measuring, other }: Placement) -> &'static str {
    if siblings(measuring, other) {
        "TWO HARDWARE THREADS OF ONE CORE, not comparable with distinct cores"
    } else if shared(measuring, other, "cache/index3/shared_cpu_list") {
        "distinct cores under one L3"
    } else if shared(measuring, other, "topology/package_cpus_list") {
        "distinct cores of one package, no common L3"
    } else {
        "distinct packages"
    }
}

fn siblings(one: usize, another: usize) -> bool {
    shared(one, another, "topology/thread_siblings_list")
}

/// Whether `another` is in the list of processors that the kernel keeps for `one` under `list`.
fn shared(one: usize, another: usize, list: &str) -> bool {
    let path = format!("/sys/devices/system/cpu/cpu{one}/{list}");
    fs::read_to_string(path).is_ok_and(|list| in_list(list.trim(), another))
}

/// Whether a list of the kernel's (`0-3,8`) names `cpu`.
fn in_list(list: &str, cpu: usize) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if (first..=last).contains(&cpu))
    })
}

/// The commit that is checked out, and whether the sources differ from it.
fn commit() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(directory).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit} with changes that are not committed"),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel_are_read() {
        assert!(in_list("0-3,8", 2));
        assert!(in_list("0-3,8", 8));
        assert!(!in_list("0-3,8", 4));
        assert!(!in_list("0", 1));
        assert!(!in_list("", 0));
    }
}
