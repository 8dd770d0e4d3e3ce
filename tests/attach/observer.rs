//! Observers: they see everything, can do nothing, and nobody notices them.

#![allow(unsafe_code)] // mprotect, which is to fail

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use ringway::channel_of::{Channel, Flavor, Mpmc, Spsc};
use ringway::{Error, Inspection, Observer, Options, PeerState};

use crate::child::{Part, Talking, is_told, parts, play, say};
use crate::expect::assert_refused;
use crate::left::Name;
use crate::users::{as_nobody, prepare};
use crate::{Case, Outcome, cases};

pub(crate) const CASES: &[Case] = cases![
    everything_is_seen_as_it_changes,
    no_lock_is_held,
    a_killed_peer_is_seen_and_taken_over_from,
    what_only_observers_have_open_is_abandoned,
    a_truncated_region_is_an_error,
    the_kernel_forbids_writing,
];

pub(crate) const PARTS: &[Part] = parts![hold_the_sender, as_another_user];

/// One channel of each kind that has a name, and the file on which its leases are.
fn each<F: Flavor>(options: &Options) -> Vec<(Channel<u64, F>, String, Option<Name>)> {
    let (posix, file) = (Name::new(), Name::on_disk());
    let create = |address: &str| Channel::<u64, F>::create(address, options).expect("a new region");
    let segment = create("sysv:private");
    let id = segment.name().and_then(|name| name.strip_prefix("sysv:id=")).expect("an id").to_owned();
    let namespace = fs::metadata("/proc/self/ns/ipc").expect("/proc").ino();
    let companion = format!("/dev/shm/.ringway-sysv-{namespace}-i{id}");
    let path = |name: &Name| name.path().to_str().expect("a plain name").to_owned();
    vec![
        (create(&posix), path(&posix), Some(posix)),
        (create(&file), path(&file), Some(file)),
        (segment, companion, None),
    ]
}

fn observe<F: Flavor>(channel: &Channel<u64, F>) -> Observer {
    Observer::attach(channel.name().expect("a name")).expect("a region")
}

fn counts(observer: &Observer) -> (u64, u64) {
    let Inspection { len, received, .. } = observer.inspect().expect("it is there");
    (len, received)
}

fn everything_is_seen_as_it_changes() {
    let options = Options::new().capacity(100);
    let me = PeerState::Running { pid: std::process::id() };
    for (channel, _, _name) in each::<Spsc>(&options) {
        let observer = observe(&channel);
        let first = observer.inspect().unwrap();
        assert_eq!((first.capacity, first.payload_size, first.flavor), (100, 8, "spsc"));
        assert_eq!(Inspection::of(channel.name().unwrap()).unwrap().instance, first.instance);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for round in 0..3 {
            assert_eq!(counts(&observer), (0, 7 * round));
            (0..7).for_each(|number| tx.send(number).unwrap());
            assert_eq!(counts(&observer), (7, 7 * round));
            assert_eq!(rx.try_iter().count(), 7);
        }
        let during = observer.inspect().unwrap();
        assert_eq!((&during.senders[..], &during.receivers[..]), (&[me][..], &[me][..]));
        drop(tx);
        let after = observer.inspect().unwrap();
        assert_eq!((&after.senders[..], &after.receivers[..]), (&[PeerState::Closed][..], &[me][..]));
        let _ = channel.unlink();
    }
    for (channel, _, _name) in each::<Mpmc>(&options) {
        let observer = observe(&channel);
        let peers = [channel.sender().unwrap(), channel.sender().unwrap()];
        peers[1].send(7).unwrap();
        let inspection = observer.inspect().unwrap();
        assert_eq!((inspection.len, &inspection.senders[..]), (1, &[me, me][..]));
        drop(peers);
        assert_eq!(observer.inspect().unwrap().senders, []);
        let _ = channel.unlink();
    }
}

/// The locks on a file, as the kernel lists them; it may skip a line while somebody else takes one on another file, so it
/// has to say the same twice.
fn locks(path: &str) -> usize {
    let metadata = fs::metadata(path).expect("a file");
    let device = metadata.dev();
    let file = format!(" {:02x}:{:02x}:{} ", rustix::fs::major(device), rustix::fs::minor(device), metadata.ino());
    let listed =
        || fs::read_to_string("/proc/locks").expect("/proc").lines().filter(|line| line.contains(&file)).count();
    (0..1000).map(|_| [listed(), listed()]).find(|[first, second]| first == second).expect("a moment's quiet")[0]
}

fn no_lock_is_held() {
    for (channel, path, _name) in each::<Spsc>(&Options::new()) {
        let before = locks(&path);
        let observers = [observe(&channel), observe(&channel), observe(&channel)];
        assert!(observers.iter().all(|observer| observer.inspect().is_ok()));
        assert_eq!(locks(&path), before, "{path}");
        let tx = channel.sender().unwrap();
        assert_eq!(locks(&path), before + 1, "{path}: locks are counted");
        drop((tx, observers));
        let _ = channel.unlink();
    }
}

fn hold_the_sender(address: &str) -> Result<(), String> {
    let tx = Channel::<u64, Spsc>::attach(address, &Options::new()).expect("a region").sender().expect("a free end");
    tx.send(7).expect("room");
    say("sent");
    is_told();
    Ok(())
}

fn a_killed_peer_is_seen_and_taken_over_from() {
    for (channel, _, _name) in each::<Spsc>(&Options::new()) {
        let observer = observe(&channel);
        let mut child = Talking::start("hold_the_sender", channel.name().unwrap());
        assert_eq!(child.hear(), "sent");
        let pid = child.pid();
        assert_eq!(observer.inspect().unwrap().senders, [PeerState::Running { pid }]);
        child.kill();
        assert_eq!(observer.inspect().unwrap().senders, [PeerState::Dead { pid }]);
        let tx = channel.sender().unwrap();
        tx.send(8).unwrap();
        assert_eq!(counts(&observer), (2, 0));
        assert_eq!(channel.receiver().unwrap().try_iter().collect::<Vec<_>>(), [7, 8]);
        let _ = channel.unlink();
    }
}

fn what_only_observers_have_open_is_abandoned() {
    for (channel, _, _name) in each::<Spsc>(&Options::new().persist(true)) {
        let observer = observe(&channel);
        let address = channel.name().unwrap().to_owned();
        channel.sender().unwrap().send(7).unwrap();
        drop(channel);
        assert!(observer.is_current().unwrap());
        if address.starts_with("sysv:id=") {
            // Nothing new can have that id.
            ringway::unlink(&address).unwrap();
        } else {
            let replacing = Options::new().capacity(9).replace_dead(true);
            let channel = Channel::<u64, Spsc>::open_or_create(&address, &replacing).unwrap();
            assert_eq!(channel.capacity(), 9, "an observer does not count");
            assert_ne!(observe(&channel).inspect().unwrap().instance, observer.inspect().unwrap().instance);
            let _ = channel.unlink();
        }
        assert!(!observer.is_current().unwrap());
        assert_eq!(counts(&observer), (1, 0), "what it found is still there to see");
    }
}

fn a_truncated_region_is_an_error() {
    let name = Name::new();
    let channel = Channel::<u64, Spsc>::create(&name, &Options::new()).unwrap();
    let observer = observe(&channel);
    File::options().write(true).open(name.path()).unwrap().set_len(4096).unwrap();
    assert_refused!(observer.inspect(), Error::Damaged { found: 4096, .. }, "the length of its file");
}

fn the_kernel_forbids_writing() -> Outcome {
    play("as_another_user", "")
}

fn as_another_user(_: &str) -> Result<(), String> {
    prepare("1777")?;
    let options = Options::new().mode(0o644);
    let posix = Channel::<u64, Spsc>::create("ticks", &options).expect("a new region");
    let segment = Channel::<u64, Spsc>::create("sysv:private", &options).expect("a new region");
    let address = segment.name().expect("an id").to_owned();
    // As in a process of that user: nothing of the creator's is open. Its own maps would be in the way below.
    let before = Opened::here();
    as_nobody(|| {
        for address in ["ticks", &address] {
            let result = Channel::<u64, Spsc>::attach(address, &Options::new());
            assert_refused!(result, Error::PermissionDenied { mode: 0o644, .. }, address);
        }
        let observers = ["ticks", &*address].map(|address| Observer::attach(address).expect("reading is enough"));
        posix.sender().expect_err("not even through the creator's value: the kernel asks who opens");
        let opened = Opened::here();
        let mut tried = 0;
        for (descriptor, target) in opened.descriptors.iter().filter(|it| !before.descriptors.contains(it)) {
            let again = File::options().write(true).open(descriptor).expect_err("it can only be read");
            assert_eq!(again.kind(), ErrorKind::PermissionDenied, "{target}");
            tried += 1;
        }
        for (start, line) in opened.mappings.iter().filter(|it| !before.mappings.contains(it)) {
            // SAFETY: allowed, it would only change what may be done with a mapping that nobody writes to.
            let result = unsafe { libc::mprotect(*start as *mut _, 4096, libc::PROT_READ | libc::PROT_WRITE) };
            assert_eq!((result, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EACCES)), "{line}");
            tried += 1;
        }
        assert_eq!(tried, 3, "a file, a companion and a segment");
        assert!(observers.iter().all(|observer| observer.inspect().is_ok_and(|it| it.senders == [PeerState::Never])));
    })
}

/// What this process has open.
struct Opened {
    /// Files of shared memory, by descriptor.
    descriptors: Vec<(String, String)>,
    /// Segments, by address.
    mappings: Vec<(usize, String)>,
}

impl Opened {
    fn here() -> Self {
        let link = |entry: std::io::Result<fs::DirEntry>| {
            let path = entry.ok()?.path();
            let target = fs::read_link(&path).ok()?.to_str()?.to_owned();
            target.starts_with("/dev/shm/").then(|| (path.to_str().expect("a number").to_owned(), target))
        };
        let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
        let mapping = |line: &str| {
            let start = usize::from_str_radix(line.split_once('-')?.0, 16).ok()?;
            line.contains("/SYSV").then(|| (start, line.to_owned()))
        };
        let descriptors = fs::read_dir("/proc/self/fd").expect("/proc").filter_map(link).collect();
        Self { descriptors, mappings: maps.lines().filter_map(mapping).collect() }
    }
}
