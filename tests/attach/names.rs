//! Names that are none, and names that lead to something else.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};

use ringway::spsc::Channel;
use ringway::{Error, Inspection, Options};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::expect::assert_refused;
use crate::left::Name;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    impossible_names_are_refused_by_every_call,
    the_longest_and_the_oddest_names_work,
    a_free_name_leads_to_nothing,
    a_name_in_use_is_not_created_again,
    files_of_other_programs_are_told_apart_and_left_alone,
    what_is_no_file_is_told_apart_and_left_alone,
    a_link_is_not_followed,
    descriptors_of_something_else_are_refused,
];

type Result = std::result::Result<(), Error>;
type Call = fn(&str) -> Result;

/// Every call that takes a name, but `create`.
const FINDERS: [(&str, Call); 4] = [
    ("attach", |name| Channel::<u64>::attach(name, &Options::new()).map(drop)),
    ("open_or_create", |name| Channel::<u64>::open_or_create(name, &Options::new()).map(drop)),
    ("unlink", |name| ringway::unlink(name)),
    ("inspect", |name| Inspection::of(name).map(drop)),
];

fn create(name: &str) -> Result {
    Channel::<u64>::create(name, &Options::new()).map(drop)
}

fn impossible_names_are_refused_by_every_call() {
    let names = [
        ("", "empty"),
        (".", "directory"),
        ("..", "directory"),
        ("/", "slash"),
        ("/ticks", "without a leading slash"),
        ("ticks/eu", "slash"),
        ("ticks\0", "zero byte"),
        ("ticks\nforged", "control character"),
        ("\u{1b}[2Jticks", "control character"),
        (&"x".repeat(256), "255"),
        (&"ä".repeat(128), "255"),
    ];
    for (name, reason) in names {
        for (call, find) in FINDERS.iter().chain(&[("create", create as Call)]) {
            let shown = format!("{name:?}");
            let result = find(name);
            assert_refused!(call => result, Error::InvalidName { name: given, .. } if given == name, reason, &shown);
        }
    }
}

fn the_longest_and_the_oddest_names_work() {
    let name = Name::new();
    let longest = format!("{:x<255}", &*name);
    for name in [longest, format!("{}...", &*name), format!("{} ä\"\\%s*", &*name)] {
        let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
        assert_eq!(Channel::<u64>::attach(&name, &Options::new()).unwrap().name(), Some(name.as_str()));
        assert_eq!(Inspection::of(&name).unwrap().name, name);
        assert!(Inspection::names().unwrap().contains(&name));
        drop(channel);
        assert!(matches!(Inspection::of(&name), Err(Error::NotFound { .. })));
    }
}

fn a_free_name_leads_to_nothing() {
    for name in Name::each() {
        for (call, find) in FINDERS.iter().filter(|(call, _)| *call != "open_or_create") {
            assert_refused!(find(&name), Error::NotFound { name: given } if **given == *name, &name, "open_or_create");
            assert!(!name.is_taken(), "{call}");
        }
    }
}

fn a_name_in_use_is_not_created_again() {
    for name in Name::each() {
        let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
        let remedy = "attach to it, use open_or_create, or remove it with ringway::unlink";
        assert_refused!(create(&name), Error::AlreadyExists { name: given } if **given == *name, &name, remedy);
        assert!(channel.unlink().unwrap(), "it is still the first one");
    }
}

/// What tells a file apart from any other.
fn identity(name: &Name) -> (u64, u32, u64) {
    let metadata = name.path().symlink_metadata().expect("it is still there");
    (metadata.ino(), metadata.mode(), metadata.len())
}

/// No call may take this for a region, change it, or hang on it.
fn is_left_alone(name: &Name, found: &str) {
    let before = identity(name);
    for (call, find) in FINDERS {
        assert_refused!(
            call => find(name),
            Error::NotARegion { name: given, .. } if **given == **name,
            name,
            found,
            "choose another name",
        );
    }
    assert_refused!(create(name), Error::AlreadyExists { .. }, name);
    assert_eq!(identity(name), before, "{found}");
    assert!(!Inspection::names().unwrap().iter().any(|listed| **listed == **name));
}

fn files_of_other_programs_are_told_apart_and_left_alone() {
    let noise = |length: usize| (0..length).map(|index| (index * 131 + 7) as u8).collect::<Vec<_>>();
    let cases = [
        (vec![], "an empty file"),
        (vec![0], "a file of 1 bytes"),
        (b"RINGWAY".to_vec(), "a file of 7 bytes"),
        (b"RINGWAY\x01".to_vec(), "a file that begins with [52, 49, 4e, 47, 57, 41, 59, 01]"),
        (vec![0; 8192], "a file that begins with [00, 00, 00, 00, 00, 00, 00, 00]"),
        (noise(9), "a file that begins with"),
        (noise(4095), "a file that begins with"),
        (noise(4096), "a file that begins with"),
        (noise(4097), "a file that begins with"),
        (noise(1 << 20), "a file that begins with"),
    ];
    for (bytes, found) in cases {
        for name in Name::each() {
            fs::write(name.path(), &bytes).unwrap();
            is_left_alone(&name, found);
            assert_eq!(fs::read(name.path()).unwrap(), bytes);
        }
    }
}

fn what_is_no_file_is_told_apart_and_left_alone() {
    for name in Name::each() {
        fs::create_dir(name.path()).unwrap();
        is_left_alone(&name, "a directory");
    }
    for name in Name::each() {
        mknodat(CWD, name.path(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        is_left_alone(&name, "a FIFO");
        assert!(name.path().metadata().unwrap().file_type().is_fifo());
    }
    let name = Name::new();
    let _listener = UnixListener::bind(name.path()).unwrap();
    is_left_alone(&name, "a socket");
}

fn a_link_is_not_followed() {
    for (region, link) in Name::each().into_iter().zip(Name::each()) {
        let _channel = Channel::<u64>::create(&region, &Options::new()).unwrap();
        symlink(region.path(), link.path()).unwrap();
        is_left_alone(&link, "a symbolic link");
        fs::remove_file(link.path()).unwrap();
        symlink("/nowhere", link.path()).unwrap();
        is_left_alone(&link, "a symbolic link");
    }
}

fn descriptors_of_something_else_are_refused() {
    let from = |fd: OwnedFd| Channel::<u64>::from_fd(fd, &Options::new());
    let fifo = Name::new();
    mknodat(CWD, fifo.path(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    let name = Name::new();
    fs::write(name.path(), [7; 5000]).unwrap();
    let cases: [(OwnedFd, &str); 5] = [
        (File::options().read(true).write(true).open(fifo.path()).unwrap().into(), "a FIFO"),
        (socket.into(), "a socket"),
        (File::open("/dev/null").unwrap().into(), "a special file"),
        (File::options().read(true).custom_flags(libc::O_DIRECTORY).open("/dev/shm").unwrap().into(), "a directory"),
        (File::open(name.path()).unwrap().into(), "a file that begins with [07, 07"),
    ];
    for (fd, found) in cases {
        assert_refused!(from(fd), Error::NotARegion { .. }, "(descriptor)", found);
    }
}
