//! What the figures were measured on, so that they can be compared, or not.

use std::fs;
use std::thread;

use serde::Serialize;

use super::placement::Placement;

/// The machine, and the program that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    cpu: String,
    /// That this process may use.
    usable_cores: usize,
    /// Of the producer and the consumer.
    pinned_to: [usize; 2],
    placement: &'static str,
    virtual_machine: bool,
    architecture: &'static str,
    kernel: String,
    rustc: &'static str,
    version: &'static str,
    commit: &'static str,
    profile: &'static str,
}

/// Debug builds measure the compiler's laziness.
pub(super) const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

impl Machine {
    /// This one.
    pub(super) fn describe(placement: &Placement) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| cpuinfo.lines().find(|line| line.starts_with(name))?.split_once(':');
        let system = rustix::system::uname();
        Self {
            cpu: field("model name").map_or_else(|| "unknown".into(), |(_, value)| value.trim().into()),
            usable_cores: thread::available_parallelism().map_or(1, usize::from),
            pinned_to: placement.cores,
            placement: placement.kind,
            virtual_machine: field("flags").is_some_and(|(_, flags)| flags.split(' ').any(|flag| flag == "hypervisor")),
            architecture: std::env::consts::ARCH,
            kernel: format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
            rustc: env!("RINGWAY_RUSTC"),
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("RINGWAY_COMMIT"),
            profile: PROFILE,
        }
    }

    /// For the head of the table.
    pub(super) fn summary(&self) -> String {
        format!(
            "{}{}, cores {} and {} ({}), {}\nringway {} ({}), {}, {} build",
            self.cpu,
            if self.virtual_machine { " (virtual machine)" } else { "" },
            self.pinned_to[0],
            self.pinned_to[1],
            self.placement,
            self.kernel,
            self.version,
            self.commit,
            self.rustc,
            self.profile,
        )
    }
}
