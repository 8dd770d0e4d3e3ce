//! Regions whose file is cut short by somebody else. What only looks at one never touches its memory, so it gets an
//! error; what works in it cannot be saved from a `SIGBUS`, except by memory that nobody can cut.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use ringway::channel_of::{Channel, Flavor, Mpmc, Spsc};
use ringway::{Error, Inspection, Options, PeerState};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::child::{Part, Talking, is_told, parts, say};
use crate::expect::{assert_refused, refused};
use crate::left::Name;
use crate::segment::Key;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    whoever_looks_at_a_cut_region_gets_an_error,
    whoever_has_it_open_gets_an_error,
    whoever_works_in_it_gets_a_bus_error,
    a_sealed_region_cannot_be_cut,
    memory_that_is_no_file_cannot_be_cut,
];

pub(crate) const PARTS: &[Part] = parts![work_in_it_until_the_end];

/// Of every kind that a region is laid out in: the header, the peers, the ring, and what is just beside their borders.
fn lengths(whole: u64) -> impl Iterator<Item = u64> {
    let borders = (0..=whole).step_by(1024).flat_map(|border| [border.saturating_sub(1), border, border + 1]);
    borders.chain([7, 8, 9, 64, 112, 120, 2 * whole]).filter(move |length| *length != whole)
}

fn cut(name: &Name, length: u64) {
    File::options().write(true).open(name.path()).unwrap().set_len(length).unwrap();
}

fn attach<F: Flavor>(name: &Name) -> Result<Channel<u64, F>, Error> {
    Channel::attach(name, &Options::new())
}

/// What is wrong with a region of another length than it was created with.
fn is_refused<T>(result: Result<T, Error>, length: u64) {
    match refused(result) {
        Error::NotARegion { found, .. } => assert!(length < 8, "{found}, of {length} bytes"),
        Error::Damaged { field, found, .. } => assert_eq!((field, found), ("the length of its file", length)),
        error => panic!("{length} bytes: {error:?}"),
    }
}

fn whoever_looks_at_a_cut_region_gets_an_error() {
    fn looks<F: Flavor>(name: &Name) {
        // Abandoned, so that `replace_dead` may take it.
        let options = Options::new().capacity(64).peers(8).persist(true);
        drop(Channel::<u64, F>::create(name, &options).unwrap());
        let bytes = std::fs::read(name.path()).unwrap();
        for length in lengths(bytes.len() as u64) {
            // A cut region is given its bytes again, as they were, or is removed; so each length stands for itself.
            std::fs::write(name.path(), &bytes).unwrap();
            cut(name, length);
            is_refused(attach::<F>(name), length);
            is_refused(Channel::<u64, F>::open_or_create(name, &options), length);
            is_refused(Inspection::of(name), length);
            let passed = OwnedFd::from(File::options().read(true).write(true).open(name.path()).unwrap());
            is_refused(Channel::<u64, F>::from_fd(passed, &options), length);
            assert!(length < 8 || Inspection::names().is_ok());
            let anew = Channel::<u64, F>::open_or_create(name, &options.clone().replace_dead(true));
            if length < 8 {
                // Nothing tells that it was one.
                is_refused(anew, length);
            } else {
                drop(anew.unwrap());
                ringway::unlink(name).unwrap();
                assert!(!name.is_taken());
            }
        }
    }
    for name in Name::each() {
        looks::<Spsc>(&name);
    }
    for name in Name::each() {
        looks::<Mpmc>(&name);
    }
}

fn whoever_has_it_open_gets_an_error() {
    fn asks<F: Flavor>(name: &Name, states: fn(&Channel<u64, F>) -> Vec<PeerState>) {
        let channel = Channel::<u64, F>::create(name, &Options::new().capacity(64).peers(8)).unwrap();
        drop((channel.sender().unwrap(), channel.receiver().unwrap()));
        let whole = std::fs::metadata(name.path()).unwrap().len();
        for length in lengths(whole) {
            cut(name, length);
            let field = "the length of its file";
            let ends = [channel.sender().map(drop), channel.receiver().map(drop)];
            for result in ends {
                assert_refused!(result, Error::Damaged { expected, .. } if *expected == whole, field, "ringway::unlink");
            }
            assert!(states(&channel).iter().all(|state| !state.is_alive()), "of {length} bytes");
            channel.sync().unwrap();
            channel.set_mode(0o600).unwrap();
            assert_eq!(channel.capacity(), 64);
        }
        assert!(channel.unlink().unwrap());
    }
    for name in Name::each() {
        asks::<Spsc>(&name, |channel| vec![channel.sender_state(), channel.receiver_state()]);
    }
    for name in Name::each() {
        asks::<Mpmc>(&name, |channel| [channel.senders(), channel.receivers()].concat());
    }
}

/// Holds both ends; dies in the middle of the first call that touches the memory.
fn work_in_it_until_the_end(subject: &str) -> Result<(), String> {
    fn work<F: Flavor>(name: &str) {
        let channel = Channel::<u64, F>::attach(name, &Options::new()).expect("a region");
        let (tx, rx) = (channel.sender().expect("a free end"), channel.receiver().expect("a free end"));
        tx.send(1).expect("room");
        assert_eq!(rx.recv(), Ok(1));
        say("working");
        is_told();
        // To be asked about takes system calls only, which fail where the file ends.
        assert!(matches!(refused(channel.sender()), Error::RoleTaken { .. } | Error::Damaged { .. }));
        say("asked");
        is_told();
        let _ = tx.try_send(2);
        say("alive");
    }
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).expect("less is allowed");
    match subject.split_once(' ') {
        Some(("spsc", name)) => work::<Spsc>(name),
        Some((_, name)) => work::<Mpmc>(name),
        None => panic!("{subject} names no flavor"),
    }
    Ok(())
}

fn whoever_works_in_it_gets_a_bus_error() {
    fn dies<F: Flavor>(flavor: &str, name: &Name) {
        let channel = Channel::<u64, F>::create(name, &Options::new()).unwrap();
        let mut worker = Talking::start("work_in_it_until_the_end", &format!("{flavor} {}", &**name));
        assert_eq!(worker.hear(), "working");
        cut(name, 0);
        worker.tell();
        assert_eq!(worker.hear(), "asked");
        worker.tell();
        assert_eq!(worker.die_of(), Some(libc::SIGBUS));
        // Nobody else is harmed: the name is free for a whole one.
        assert!(channel.unlink().unwrap());
        let channel = Channel::<u64, F>::create(name, &Options::new()).unwrap();
        channel.sender().unwrap().send(7).unwrap();
        assert_eq!(channel.receiver().unwrap().recv(), Ok(7));
        channel.unlink().unwrap();
    }
    for name in Name::each() {
        dies::<Spsc>("spsc", &name);
    }
    for name in Name::each() {
        dies::<Mpmc>("mpmc", &name);
    }
}

/// Sends and receives a ring's worth.
fn goes_on<F: Flavor>(channel: &Channel<u64, F>) {
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    (0..tx.capacity() as u64).for_each(|number| tx.try_send(number).unwrap());
    assert!(rx.try_iter().eq(0..tx.capacity() as u64));
}

fn a_sealed_region_cannot_be_cut() {
    fn is_sealed<F: Flavor>() {
        let channel = Channel::<u64, F>::anonymous(&Options::new()).unwrap();
        let file = File::from(channel.as_fd().unwrap().as_fd().try_clone_to_owned().unwrap());
        let whole = file.metadata().unwrap().len();
        for length in lengths(whole) {
            assert_eq!(file.set_len(length).unwrap_err().raw_os_error(), Some(libc::EPERM));
        }
        // Nor by a description that its own holder opens.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let opened = File::options().write(true).custom_flags(libc::O_TRUNC).open(path);
        assert_eq!(opened.unwrap_err().raw_os_error(), Some(libc::EPERM));
        goes_on(&channel);
    }
    is_sealed::<Spsc>();
    is_sealed::<Mpmc>();
}

/// The file beside a System V segment can be cut; the memory is not in it.
fn memory_that_is_no_file_cannot_be_cut() {
    fn goes_on_without<F: Flavor>() {
        let key = Key::new();
        let channel = Channel::<u64, F>::create(&key, &Options::new()).unwrap();
        let companion = File::options().write(true).open(key.companion()).unwrap();
        for length in [0, 1, 8, 23, 4095] {
            companion.set_len(length).unwrap();
            goes_on(&channel);
        }
        companion.set_len(0).unwrap();
        let found = "beside a file that is no lease";
        assert_refused!(Channel::<u64, F>::attach(&key, &Options::new()), Error::NotARegion { .. }, &key, found);
        assert_refused!(Inspection::of(&key), Error::NotARegion { .. }, found);
        assert!(channel.unlink().unwrap());
        assert!(key.is_free());
    }
    goes_on_without::<Spsc>();
    goes_on_without::<Mpmc>();
}
