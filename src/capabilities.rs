//! What each kind of memory can do: the one place that says so, for programs and for docs/BACKINGS.md.

use core::fmt;

use crate::address::Backing;

/// What a kind of memory can do, by the kernel's leave.
///
/// docs/BACKINGS.md shows all of it in one table, together with the times that creating and attaching took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Another process finds it by an address.
    pub named: bool,
    /// An owner and permission bits decide who can attach; else, whoever has it can.
    pub permissions: bool,
    /// Nobody can truncate it under those who use it.
    pub sealed: bool,
    /// It can be passed over a Unix socket.
    pub passed: bool,
    /// It can stay, with its messages, while no process has it open.
    pub survives_exit: bool,
    /// It stays, with its messages, when the machine is restarted in good order.
    pub survives_reboot: bool,
    /// The kernel lets an [`Observer`](crate::Observer) look at it who may not write to it.
    pub observed: bool,
    /// It can be made of reserved huge pages.
    pub reserved_huge_pages: bool,
    /// The kernel can make transparent huge pages of its pages; of those of a file, that depends on the file system.
    pub transparent_huge_pages: bool,
    /// What proves that a peer is alive.
    pub leases: Leases,
    /// What attaching costs; nothing where the memory is inherited. A channel of
    /// [`Options::one_way`](crate::Options::one_way) takes two descriptors.
    pub attach: Cost,
    /// What each open end costs in addition; with [`Options::one_way`](crate::Options::one_way), two mappings.
    pub end: Cost,
}

/// What of the kernel's a process keeps for as long as it has a channel, or an end of it, open; the limits are
/// `RLIMIT_NOFILE` and `vm.max_map_count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// File descriptors.
    pub descriptors: u32,
    /// Mappings of shared memory.
    pub mappings: u32,
}

impl Cost {
    const NOTHING: Self = Self { descriptors: 0, mappings: 0 };
    const DESCRIPTOR: Self = Self { descriptors: 1, ..Self::NOTHING };
    const MAPPING: Self = Self { mappings: 1, ..Self::NOTHING };
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: u32, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            many => Some(format!("{many} {what}s")),
        };
        let parts = [count(self.descriptors, "descriptor"), count(self.mappings, "mapping")];
        match parts.into_iter().flatten().collect::<Vec<_>>().as_slice() {
            [] => f.write_str("nothing"),
            parts => f.write_str(&parts.join(", ")),
        }
    }
}

/// What proves that a peer is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leases {
    /// Locks on the file that the memory is.
    Own,
    /// Locks on a file beside it.
    Companion,
    /// Flags: its peers are threads, which end with their process.
    Flags,
}

impl fmt::Display for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "locks on it",
            Self::Companion => "locks on a file beside it",
            Self::Flags => "flags",
        })
    }
}

impl Backing {
    /// What this kind of memory can do.
    ///
    /// # Examples
    /// ```
    /// use ringway::Backing;
    ///
    /// let safe = |backing: &Backing| backing.capabilities().sealed && backing.capabilities().passed;
    /// assert_eq!(Backing::ALL.into_iter().find(safe), Some(Backing::Memfd));
    /// ```
    pub const fn capabilities(self) -> Capabilities {
        // Memory of processes that nobody else finds, and that nobody can shorten.
        const HIDDEN: Capabilities = Capabilities {
            named: false,
            permissions: false,
            sealed: true,
            passed: false,
            survives_exit: false,
            survives_reboot: false,
            observed: false,
            reserved_huge_pages: true,
            transparent_huge_pages: true,
            leases: Leases::Companion,
            // It is inherited, and an end maps the file with its lease.
            attach: Cost::NOTHING,
            end: Cost::MAPPING,
        };
        const NAMED: Capabilities = Capabilities {
            named: true,
            permissions: true,
            survives_exit: true,
            observed: true,
            attach: Cost::DESCRIPTOR,
            ..HIDDEN
        };
        // A file that has a name can be shortened by whoever may write to it.
        const FILE: Capabilities =
            Capabilities { sealed: false, passed: true, reserved_huge_pages: false, leases: Leases::Own, ..NAMED };
        match self {
            Self::Posix => FILE,
            // A header that is read through a mapping, and an end that maps the segment and the file with its lease.
            Self::SystemV => Capabilities {
                attach: Cost { descriptors: 1, mappings: 1 },
                end: Cost { mappings: 2, ..Cost::NOTHING },
                ..NAMED
            },
            Self::File => Capabilities { survives_reboot: true, transparent_huge_pages: false, ..FILE },
            // Whoever has its descriptor can open it anew for writing, so nobody can be held to reading.
            Self::Memfd => Capabilities { passed: true, leases: Leases::Own, attach: Cost::DESCRIPTOR, ..HIDDEN },
            Self::Anonymous => HIDDEN,
            Self::Heap => Capabilities {
                reserved_huge_pages: false,
                transparent_huge_pages: false,
                leases: Leases::Flags,
                end: Cost::NOTHING,
                ..HIDDEN
            },
        }
    }
}
