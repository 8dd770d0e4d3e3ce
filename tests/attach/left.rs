//! What a process has, so that a trial or a suite can show that it left nothing behind.

use std::fs;
use std::path::PathBuf;
use std::process::id;
use std::sync::atomic::{AtomicU64, Ordering};

/// Descriptors, shared mappings, and names and System V segments of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    descriptors: Vec<PathBuf>,
    mappings: Vec<String>,
    names: Vec<String>,
    segments: Vec<String>,
}

impl Behind {
    pub(crate) fn here() -> Self {
        let links = fs::read_dir("/proc/self/fd").expect("/proc").map(|entry| entry.expect("an entry").path());
        // The one that lists them is gone by the time that it is looked at.
        let mut descriptors: Vec<_> = links.filter_map(|link| fs::read_link(link).ok()).collect();
        descriptors.sort();
        let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
        let shared =
            maps.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|flags| flags.ends_with('s')));
        let mappings = shared.map(str::to_owned).collect();
        let names = names();
        Self { descriptors, mappings, names, segments: segments() }
    }
}

/// What the names of this process begin with, in any of the suites.
fn prefix() -> String {
    format!("ringway-{}-{}-", env!("CARGO_CRATE_NAME"), id())
}

/// Where files that are no shared memory are tried: beside the build, which hardly ever is memory.
const DISK: &str = env!("CARGO_TARGET_TMPDIR");

/// The names that are ours.
fn names() -> Vec<String> {
    // Where a directory is missing, there are none.
    let entries = ["/dev/shm", DISK].into_iter().flat_map(fs::read_dir).flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| name.contains(&prefix()) || is_hidden_and_ours(name));
    names.sort();
    names
}

/// What the library itself names: drafts, and companions of System V segments.
fn is_hidden_and_ours(name: &str) -> bool {
    let creator = || -> Option<u64> {
        Some(u64::from_le_bytes(fs::read(format!("/dev/shm/{name}")).ok()?.get(16..24)?.try_into().ok()?))
    };
    name.starts_with(&format!(".ringway-draft-{}-", id()))
        || name.starts_with(".ringway-sysv-") && creator() == Some(id().into())
}

/// The System V segments that this process made.
fn segments() -> Vec<String> {
    let text = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let ours = |line: &&str| line.split_whitespace().nth(4) == Some(&id().to_string());
    text.lines().filter(ours).map(str::to_owned).collect()
}

/// A name that is free, and free again when this is dropped, whatever it leads to by then.
#[derive(Debug)]
pub(crate) struct Name {
    address: String,
    path: PathBuf,
}

impl Name {
    /// In POSIX shared memory.
    pub(crate) fn new() -> Self {
        let address = fresh();
        Self { path: PathBuf::from("/dev/shm").join(&address), address }
    }

    /// In a directory on a disk.
    pub(crate) fn on_disk() -> Self {
        let path = PathBuf::from(DISK).join(fresh());
        Self { address: format!("file:{}", path.display()), path }
    }

    /// One of each.
    pub(crate) fn each() -> [Self; 2] {
        [Self::new(), Self::on_disk()]
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Whether it leads to anything.
    pub(crate) fn is_taken(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }
}

fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}{}", prefix(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.address
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // One of the two is right, or the name is free already.
        let _ = fs::remove_file(self.path());
        let _ = fs::remove_dir(self.path());
    }
}

/// So that a name can stand where an address is asked for.
impl TryFrom<&Name> for ringway::Address {
    type Error = ringway::Error;

    fn try_from(name: &Name) -> Result<Self, ringway::Error> {
        name.address.parse()
    }
}
