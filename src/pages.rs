//! What the pages of a region are to be like, and what the kernel made of it.

/// Whether a channel is to lie in huge pages, which spare a large ring most misses of the TLB.
///
/// Either kind will do: reserved ones (`vm.nr_hugepages`), which `memfd:`, `sysv:` and `anon:` can be made of, or
/// transparent ones, which the kernel is asked to make of the memory's own pages. The region is rounded up to whole huge
/// pages, so a small channel takes one, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HugePages {
    /// Pages of the usual size.
    #[default]
    No,
    /// Huge pages if they are to be had; [`Channel::memory`](crate::spsc::Channel::memory) says whether they were.
    Try,
    /// Huge pages, or an error.
    Require,
}

/// What a process asks for when it maps a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pages {
    pub(crate) huge: HugePages,
    /// Whether they may not be swapped out.
    pub(crate) lock: bool,
    /// Whether all are mapped at once, so that no first access faults.
    pub(crate) prefault: bool,
    /// The NUMA node that they should lie on.
    pub(crate) node: Option<u32>,
    /// The mapping begins at a multiple of this.
    pub(crate) align: usize,
}

impl Pages {
    /// What nobody had a say in.
    pub(crate) const USUAL: Self = Self { huge: HugePages::No, lock: false, prefault: true, node: None, align: 1 };

    /// For whoever makes the memory, to have all of it at once; keeping it is up to the ends.
    pub(crate) fn for_making(self) -> Self {
        Self { lock: false, prefault: true, ..self }
    }

    /// Whether huge pages are asked for.
    pub(crate) fn are_huge(&self) -> bool {
        self.huge != HugePages::No
    }
}

/// What this process has of a channel's memory, in the words of the kernel, whatever was asked for.
///
/// [`Channel::memory`](crate::spsc::Channel::memory) tells it. All but `page_size` is about the mappings through which
/// this process can write, which are those of the ends that it holds (`anon:`: of the channel; a creator of a one-way
/// channel also has its messages mapped without an end, and a receiver cannot write them); it is 0, or empty, while it has
/// none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryReport {
    /// Bytes of the pages that the memory was made of: of reserved huge pages, or the machine's usual ones, several of
    /// which may have become a transparent huge page since.
    pub page_size: u64,
    /// Bytes mapped, once for each end.
    pub mapped: u64,
    /// Bytes of `mapped` that can be accessed without a fault.
    pub resident: u64,
    /// Bytes of `mapped` that lie in huge pages of either kind, and are mapped as such.
    pub huge: u64,
    /// Bytes of `mapped` that may not be swapped out.
    pub locked: u64,
    /// The largest power of two at a multiple of which every one of these mappings begins.
    pub alignment: u64,
    /// The NUMA nodes on which pages of these mappings lie; empty, too, where the kernel knows no NUMA.
    pub nodes: Vec<u32>,
}

impl MemoryReport {
    /// Of a region that begins with `self`, and goes on with `rest`.
    pub(crate) fn followed_by(mut self, rest: Self) -> Self {
        self.mapped += rest.mapped;
        self.resident += rest.resident;
        self.huge += rest.huge;
        self.locked += rest.locked;
        self.nodes.extend(rest.nodes);
        self.nodes.sort_unstable();
        self.nodes.dedup();
        self
    }
}
