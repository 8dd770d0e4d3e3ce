//! docs/BACKINGS.md says of every kind of memory what the code says, and the code what the kernel does.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use ringway::spsc::Channel;
use ringway::{Address, Backing, Capabilities, HugePages, Inspection, Leases, Observer, Options};

const PAGE: &str = include_str!("../docs/BACKINGS.md");
const BEGIN: &str = "<!-- What follows is written by tests/backings.rs. -->\n";

type Cell = fn(&Capabilities) -> String;

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.into()
}

fn huge_pages(it: &Capabilities) -> String {
    match (it.reserved_huge_pages, it.transparent_huge_pages) {
        (true, true) => "reserved, transparent",
        (true, false) => "reserved",
        (false, true) => "transparent",
        (false, false) => "no",
    }
    .into()
}

const ROWS: [(&str, Cell); 11] = [
    ("another process finds it by an address", |it| yes(it.named)),
    ("owner and mode decide who can attach", |it| yes(it.permissions)),
    ("nobody can truncate it", |it| yes(it.sealed)),
    ("can be passed over a Unix socket", |it| yes(it.passed)),
    ("can stay while no process has it open", |it| yes(it.survives_exit)),
    ("survives a restart in good order", |it| yes(it.survives_reboot)),
    ("read-only observers", |it| yes(it.observed)),
    ("huge pages", huge_pages),
    ("leases by", |it| it.leases.to_string()),
    ("cost to attach", |it| it.attach.to_string()),
    ("cost of each open end", |it| it.end.to_string()),
];

fn table() -> String {
    let mut table = BEGIN.to_owned();
    let mut row = |head: &str, cell: &dyn Fn(Backing) -> String| {
        let cells: Vec<_> = Backing::ALL.into_iter().map(cell).collect();
        writeln!(table, "| {head} | {} |", cells.join(" | ")).expect("a string takes anything");
    };
    row("", &|backing| format!("`{}`", backing.scheme()));
    row("---", &|_| "---".into());
    for (head, cell) in ROWS {
        row(head, &|backing| cell(&backing.capabilities()));
    }
    table
}

#[test]
fn the_page_is_up_to_date() {
    let table = table();
    assert!(PAGE.contains(&format!("\n{table}\n")), "put this into docs/BACKINGS.md:\n\n{table}");
}

/// A place that is free, and free again afterwards.
struct Place(Address);

impl Place {
    fn of(backing: Backing) -> Self {
        let name = format!("ringway-backings-{}", std::process::id());
        let address = match backing {
            Backing::Posix => format!("posix:{name}"),
            Backing::File => format!("file:{}/{name}", env!("CARGO_TARGET_TMPDIR")),
            Backing::SystemV => format!("sysv:{:#x}", 0x7269_0000 | (std::process::id() & 0xffff)),
            other => other.scheme().into(),
        };
        Self(address.parse().expect("an address"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = ringway::unlink(&self.0);
    }
}

/// The file systems on which a restart loses everything.
fn is_memory(file: impl AsFd) -> bool {
    [0x0102_1994, 0x8584_58f6].contains(&(rustix::fs::fstatfs(file).expect("an open file").f_type as u32))
}

/// The inodes of the files that this process has open, and the kernel's list of those on which there are locks.
fn open_and_locked() -> (Vec<u64>, impl Fn(u64) -> bool) {
    let links = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let inodes = links.filter_map(|link| Some(fs::metadata(link.path()).ok()?.ino())).collect();
    let locks = fs::read_to_string("/proc/locks").expect("/proc");
    (inodes, move |inode| locks.lines().any(|line| line.contains("OFDLCK") && line.contains(&format!(":{inode} "))))
}

fn leases_of(channel: &Channel<u64>, before: &[u64]) -> Leases {
    let _tx = channel.sender().expect("a free end");
    let own = channel.as_fd().map(|fd| rustix::fs::fstat(fd).expect("an open file").st_ino);
    let (open, is_locked) = open_and_locked();
    if own.is_some_and(&is_locked) {
        Leases::Own
    } else if open.into_iter().any(|inode| !before.contains(&inode) && is_locked(inode)) {
        Leases::Companion
    } else {
        Leases::Flags
    }
}

/// The descriptors that this process has, and the mappings of shared memory.
fn held() -> [usize; 2] {
    let links = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    let is_shared = |line: &&str| line.split_whitespace().nth(1).is_some_and(|flags| flags.ends_with('s'));
    // The descriptor that lists them is closed before it is looked at.
    let open: Vec<_> = links.map(|link| link.path()).collect();
    [open.iter().filter(|path| path.read_link().is_ok()).count(), maps.lines().filter(is_shared).count()]
}

/// What a process keeps in addition, for once attaching to a channel and for an end of it.
fn costs_of(channel: &Channel<u64>) -> [[usize; 2]; 2] {
    let more = |now: [usize; 2], before: [usize; 2]| [now[0] - before[0], now[1] - before[1]];
    let options = Options::new().trust_unsealed(true);
    let before = held();
    let attached = match (channel.name(), channel.as_fd()) {
        (Some(name), _) => Some(Channel::attach(name, &options).expect("a region")),
        // The descriptor that was passed becomes the channel's.
        (None, Some(fd)) => {
            Some(Channel::from_fd(fd.try_clone_to_owned().expect("one more descriptor"), &options).expect("a region"))
        }
        (None, None) => None,
    };
    let once_attached = held();
    let _tx = attached.as_ref().unwrap_or(channel).sender().expect("a free end");
    [more(once_attached, before), more(held(), once_attached)]
}

/// Whether somebody who has the channel can truncate it, which is tried in the harmless direction.
fn can_be_resized(fd: OwnedFd) -> bool {
    let file = File::from(fd);
    let length = file.metadata().expect("an open file").len();
    let resized = file.set_len(length + 4096).is_ok();
    if resized {
        file.set_len(length).expect("as before");
    }
    resized
}

fn bytes_in_huge_pages(backing: Backing) -> u64 {
    let place = Place::of(backing);
    let options = Options::new().capacity(300_000).huge_pages(HugePages::Try);
    let channel = Channel::<u64>::create(&place.0, &options).expect("a new region");
    let _tx = channel.sender().expect("a free end");
    channel.memory().map_or(0, |memory| memory.huge)
}

#[test]
fn the_kernel_does_what_the_code_says() {
    let huge = bytes_in_huge_pages(Backing::Posix);
    for backing in Backing::ALL {
        let (place, says) = (Place::of(backing), backing.capabilities());
        let (before, _) = open_and_locked();
        let options = Options::new().mode(0o640).persist(true);
        let channel = Channel::<u64>::create(&place.0, &options).expect("a new region");
        let name = channel.name().map(str::to_owned);
        assert_eq!(name.is_some(), says.named, "{backing}: a name");
        let attach = |name: &String| Channel::<u64>::attach(name, &Options::new()).is_ok();
        assert_eq!(name.as_ref().is_some_and(attach), says.named, "{backing}: attached by it");
        assert_eq!(name.as_ref().is_some_and(|name| Observer::attach(name).is_ok()), says.observed, "{backing}");
        let mode = name.as_ref().and_then(|name| Some(Inspection::of(name).ok()?.mode));
        assert_eq!(mode == Some(0o640), says.permissions, "{backing}: {mode:?}");

        let descriptor = || channel.as_fd().map(|fd| fd.try_clone_to_owned().expect("one more descriptor"));
        assert_eq!(descriptor().is_some_and(can_be_resized), !says.sealed, "{backing}");
        let trusting = Options::new().trust_unsealed(true);
        let passed = descriptor().is_some_and(|fd| Channel::<u64>::from_fd(fd, &trusting).is_ok());
        assert_eq!(passed, says.passed, "{backing}");

        assert_eq!(leases_of(&channel, &before), says.leases, "{backing}");
        let costs = [says.attach, says.end].map(|cost| [cost.descriptors, cost.mappings].map(|count| count as usize));
        assert_eq!(costs_of(&channel), costs, "{backing}: descriptors and mappings, to attach and of an end");
        if descriptor().is_none_or(|fd| !is_memory(fd)) {
            assert_eq!(channel.sync().expect("a disk that works"), says.survives_reboot, "{backing}: on a disk");
        } else {
            assert!(!channel.sync().expect("nothing to do"), "{backing}: nothing comes to a disk");
        }

        let tx = channel.sender().expect("a free end");
        tx.send(7).expect("room");
        drop((tx, channel));
        let again = name.and_then(|name| Channel::<u64>::attach(name, &Options::new()).ok());
        let message = again.map(|channel| channel.receiver().expect("a free end").try_recv());
        assert_eq!(message == Some(Ok(7)), says.survives_exit, "{backing}: {message:?}");
        drop(place);

        // Whatever this kernel can do, it does for all or none. Reserved pages are tried in tests/attach/memory.rs.
        let obtained = bytes_in_huge_pages(backing);
        if says.transparent_huge_pages {
            assert_eq!(obtained > 0, huge > 0, "{backing}: {obtained} bytes in huge pages");
        } else if backing == Backing::Heap {
            assert_eq!(obtained, 0);
        }
    }
}
