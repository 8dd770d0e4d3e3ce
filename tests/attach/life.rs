//! Who removes a name, and when; what a killed creator leaves behind.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use ringway::spsc::Channel;
use ringway::{Error, Inspection, Options, PeerState};
use rustix::fs::Mode;
use rustix::process::umask;

use crate::child::{Part, Talking, parts, say};
use crate::expect::assert_refused;
use crate::left::Name;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    the_name_goes_with_the_creators_last_value,
    who_attached_leaves_the_name,
    a_persistent_region_keeps_its_name_and_messages,
    a_region_is_unlinked_once,
    a_name_that_leads_elsewhere_is_not_removed,
    a_creator_that_is_killed_leaves_its_messages,
    a_creator_that_is_killed_leaves_no_half_region,
    the_mode_is_exact_whatever_the_umask,
    the_owner_can_always_read_and_write,
    a_dead_region_is_replaced_on_request_only,
    a_region_in_use_is_not_replaced,
];

pub(crate) const PARTS: &[Part] = parts![leave_messages_behind, create_and_remove_for_ever];

fn open(name: &str) -> Channel<u64> {
    Channel::attach(name, &Options::new()).expect("the region is there")
}

/// The number that tells a region apart from any other.
pub(crate) fn instance<T>(channel: &Channel<T>) -> u64 {
    let file = File::from(channel.as_fd().expect("a file").as_fd().try_clone_to_owned().expect("a descriptor"));
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 80).expect("the header");
    u64::from_le_bytes(bytes)
}

fn the_name_goes_with_the_creators_last_value() {
    let name = Name::new();
    let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
    let tx = channel.sender().unwrap();
    let other = open(&name);
    let rx = other.receiver().unwrap();
    drop(channel);
    assert!(name.is_taken(), "a handle is left");
    drop(tx);
    assert!(!name.is_taken());

    // Who is attached goes on undisturbed, and so does who opens an end now.
    assert!(rx.recv().unwrap_err().is_disconnected());
    let tx = other.sender().unwrap();
    tx.send(7).unwrap();
    assert_eq!(rx.recv(), Ok(7));
    assert_refused!(Channel::<u64>::attach(&name, &Options::new()), Error::NotFound { .. }, &name);
}

fn who_attached_leaves_the_name() {
    let name = Name::new();
    let _creator = Channel::<u64>::create(&name, &Options::new()).unwrap();
    for _ in 0..3 {
        // Asked to persist or not: it is the creator's choice.
        let channel = Channel::<u64>::open_or_create(&name, &Options::new().persist(false)).unwrap();
        drop((channel.sender().unwrap(), channel.receiver().unwrap(), channel));
        assert!(name.is_taken());
    }
}

fn a_persistent_region_keeps_its_name_and_messages() {
    let name = Name::new();
    let tx = Channel::<u64>::create(&name, &Options::new().persist(true)).unwrap().sender().unwrap();
    tx.send_slice(&[1, 2, 3]).unwrap();
    drop(tx);
    assert_eq!(Inspection::of(&name).unwrap().len, 3);
    let rx = open(&name).receiver().unwrap();
    assert_eq!(rx.iter().collect::<Vec<_>>(), [1, 2, 3]);
    drop(rx);
    assert!(name.is_taken());
    ringway::unlink(&name).unwrap();
    assert!(!name.is_taken());
}

fn a_region_is_unlinked_once() {
    let name = Name::new();
    let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
    let other = open(&name);
    assert!(other.unlink().unwrap(), "who attached may remove it, too");
    assert!(!name.is_taken());
    assert!(!channel.unlink().unwrap() && !other.unlink().unwrap());
    assert_refused!(ringway::unlink(&name), Error::NotFound { .. }, &name);
    channel.sender().unwrap().send(1).unwrap();
    assert_eq!(other.receiver().unwrap().recv(), Ok(1));

    for channel in [Channel::<u64>::anonymous(&Options::new()).unwrap(), Channel::heap(&Options::new()).unwrap()] {
        assert!(!channel.unlink().unwrap(), "it has no name");
    }
}

fn a_name_that_leads_elsewhere_is_not_removed() {
    Name::each().iter().for_each(it_is_not_removed_once_it_leads_elsewhere);
}

fn it_is_not_removed_once_it_leads_elsewhere(name: &Name) {
    let first = Channel::<u64>::create(name, &Options::new()).unwrap();
    fs::remove_file(name.path()).unwrap();
    let second = Channel::<u64>::create(name, &Options::new()).unwrap();
    assert!(!first.unlink().unwrap());
    drop(first);
    assert_eq!(instance(&open(name)), instance(&second));

    fs::remove_file(name.path()).unwrap();
    fs::write(name.path(), "somebody else's").unwrap();
    assert!(!second.unlink().unwrap());
    drop(second);
    assert_eq!(fs::read_to_string(name.path()).unwrap(), "somebody else's");
    assert_refused!(ringway::unlink(name), Error::NotARegion { .. }, "a file that begins with");
}

/// Creates a region, sends, and waits to be killed.
fn leave_messages_behind(name: &str) -> Result<(), String> {
    let channel = Channel::<u64>::create(name, &Options::new().capacity(4)).unwrap();
    let tx = channel.sender().unwrap();
    tx.send_slice(&[1, 2, 3]).unwrap();
    say(std::process::id());
    crate::child::is_told();
    Ok(())
}

fn a_creator_that_is_killed_leaves_its_messages() {
    let name = Name::new();
    let mut creator = Talking::start("leave_messages_behind", &name);
    let pid: u32 = creator.hear().parse().unwrap();
    let channel = open(&name);
    assert_eq!(channel.sender_state(), PeerState::Running { pid });
    creator.kill();
    assert_eq!(channel.sender_state(), PeerState::Dead { pid });
    assert_eq!(channel.receiver().unwrap().iter().collect::<Vec<_>>(), [1, 2, 3]);
    assert!(name.is_taken());
    ringway::unlink(&name).unwrap();
}

/// Creates regions as fast as it can, and removes them again.
fn create_and_remove_for_ever(name: &str) -> Result<(), String> {
    let options = Options::new().capacity(10_000);
    say("begin");
    while let Ok(channel) = Channel::<u64>::create(name, &options) {
        channel.unlink().expect("it is ours");
    }
    Ok(())
}

fn a_creator_that_is_killed_leaves_no_half_region() {
    for round in 0..30 {
        let [in_memory, on_disk] = Name::each();
        let name = if round % 3 == 2 { on_disk } else { in_memory };
        let mut creator = Talking::start("create_and_remove_for_ever", &name);
        creator.hear();
        // Looking takes time, so that each round kills it somewhere else. Half a region is never seen, either.
        for _ in 0..round * 5 {
            look(&name);
        }
        creator.kill();
        if look(&name) {
            ringway::unlink(&name).unwrap();
        }
        assert!(!name.is_taken());
    }
}

/// Attaches, which works or finds nothing, if nobody ever sees half a region; says which.
fn look(name: &str) -> bool {
    match Channel::<u64>::attach(name, &Options::new()) {
        Ok(channel) => {
            assert_eq!(channel.capacity(), 10_000);
            true
        }
        Err(Error::NotFound { .. } | Error::Removed { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

fn mode(name: &Name) -> u32 {
    name.path().metadata().unwrap().mode() & 0o7777
}

fn the_mode_is_exact_whatever_the_umask() {
    let create =
        |name: &Name, options: &Options| Channel::<u64>::create(name, options).map(|_channel| mode(name)).unwrap();
    let name = Name::new();
    assert_eq!(create(&name, &Options::new()), 0o600);
    for mask in [0, 0o022, 0o077, 0o777] {
        let before = umask(Mode::from_raw_mode(mask));
        let modes = [0o600, 0o640, 0o660, 0o666, 0o777].map(|mode| (mode, create(&name, &Options::new().mode(mode))));
        umask(before);
        for (asked, found) in modes {
            assert_eq!(found, asked, "mode {asked:o} with umask {mask:o}");
        }
    }
}

fn the_owner_can_always_read_and_write() {
    // Whatever else: the creator opens its own ends through the name's file, and removes it.
    let name = Name::new();
    for (asked, expected) in [(0, 0o600), (0o400, 0o600), (0o060, 0o660), (0o7777, 0o777)] {
        let channel = Channel::<u64>::create(&name, &Options::new().mode(asked)).unwrap();
        assert_eq!(mode(&name), expected, "for {asked:o}");
        drop((channel.sender().unwrap(), channel));
        assert!(!name.is_taken());
    }
}

/// A region of that name with a message in it, which nobody has open.
pub(crate) fn abandon(name: &Name) -> u64 {
    let channel = Channel::<u64>::create(name, &Options::new().persist(true)).unwrap();
    channel.sender().unwrap().send(99).unwrap();
    instance(&channel)
}

fn a_dead_region_is_replaced_on_request_only() {
    let name = Name::new();
    let dead = abandon(&name);
    let channel = Channel::<u64>::open_or_create(&name, &Options::new()).unwrap();
    assert_eq!(instance(&channel), dead);
    assert_eq!(channel.receiver().unwrap().recv(), Ok(99), "the continuation after a crash");
    drop(channel);

    let options = Options::new().capacity(7).replace_dead(true);
    let channel = Channel::<u64>::open_or_create(&name, &options).unwrap();
    assert_ne!(instance(&channel), dead);
    assert_eq!(channel.capacity(), 7);
    assert!(channel.receiver().unwrap().is_empty());
    drop(channel);
    assert!(!name.is_taken(), "it is its creator now");

    let channel = Channel::<u64>::open_or_create(&name, &options).unwrap();
    assert_eq!(channel.sender_state(), PeerState::Never, "without any to replace, it creates");
}

fn a_region_in_use_is_not_replaced() {
    let name = Name::new();
    let options = Options::new().replace_dead(true);
    let creator = Channel::<u64>::create(&name, &options).unwrap();
    let other = Channel::<u64>::open_or_create(&name, &options).unwrap();
    assert_eq!(instance(&other), instance(&creator), "somebody has it open, without a role");
    let rx = other.receiver().unwrap();
    drop((creator, other));
    assert!(!name.is_taken());

    let mut creator = Talking::start("leave_messages_behind", &name);
    creator.hear();
    drop(rx);
    let channel = Channel::<u64>::open_or_create(&name, &options).unwrap();
    assert!(channel.sender_state().is_alive(), "another process has it open");
    drop(channel);
    creator.kill();
    let channel = Channel::<u64>::open_or_create(&name, &options).unwrap();
    assert_eq!(channel.sender_state(), PeerState::Never, "nobody had it open any more");
}
