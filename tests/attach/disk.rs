//! Files on a disk: they outlive their users, and say so if the machine stopped in between.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;

use libtest_mimic::Completion;
use ringway::spsc::Channel;
use ringway::{Backing, Error, Inspection, Options, PeerState, mpmc};

use crate::child::{Part, Talking, is_told, parts, play, say};
use crate::expect::{assert_refused, damaged};
use crate::left::Name;
use crate::mount::mount;
use crate::places::{in_own_mounts, mount_memory};
use crate::{Case, Outcome, cases};

pub(crate) const CASES: &[Case] = cases![
    a_file_outlives_its_users,
    sessions_that_never_meet_exchange_messages,
    a_relative_path_means_the_same_file_later,
    a_file_is_in_use_from_the_first_role_to_the_last,
    sync_says_whether_the_file_is_clean,
    a_file_that_was_in_use_when_the_machine_stopped_is_refused,
    a_killed_user_leaves_a_file_that_goes_on,
    a_file_that_is_opened_while_it_is_closed_is_in_use,
    what_is_no_file_was_never_in_use,
    directories_that_cannot_be_used_say_so,
    a_full_or_read_only_file_system,
];

pub(crate) const PARTS: &[Part] = parts![take_a_role_and_stay, where_files_do_not_fit];

/// docs/LAYOUT.md, in numbers of its own.
const USAGE: u64 = 112;
const BOOT: u64 = (1 << 40) - 1;

/// The usage word of a file.
fn usage(name: &Name) -> u64 {
    let mut bytes = [0; 8];
    File::open(name.path()).unwrap().read_exact_at(&mut bytes, USAGE).unwrap();
    u64::from_le_bytes(bytes)
}

fn set_usage(name: &Name, usage: u64) {
    let file = File::options().write(true).open(name.path()).unwrap();
    file.write_all_at(&usage.to_le_bytes(), USAGE).unwrap();
}

/// The bits that stand for this boot.
fn this_boot() -> u64 {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let digits = id.trim().replace('-', "");
    u64::from_str_radix(&digits[digits.len() - 10..], 16).unwrap() | 1
}

/// A build directory in memory does not outlive the machine, and nothing of this is about it.
fn on_disk() -> Result<Name, Outcome> {
    let name = Name::on_disk();
    let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
    let role = channel.sender().unwrap();
    let is_marked = usage(&name) & BOOT != 0;
    drop((role, channel));
    fs::remove_file(name.path()).unwrap();
    if is_marked { Ok(name) } else { Err(Ok(Completion::ignored_with("the build directory is not on a disk"))) }
}

/// Has a trial run where there is a disk.
macro_rules! on_disk {
    () => {
        match on_disk() {
            Ok(name) => name,
            Err(outcome) => return outcome,
        }
    };
}

fn a_file_outlives_its_users() {
    let name = Name::on_disk();
    let tx = Channel::<u64>::create(&name, &Options::new()).unwrap().sender().unwrap();
    tx.send_slice(&[1, 2, 3]).unwrap();
    drop(tx);
    let inspection = Inspection::of(&name).unwrap();
    assert_eq!((inspection.backing, inspection.len, inspection.crashed), (Backing::File, 3, false));
    assert_eq!(inspection.name, *name);
    let channel = Channel::<u64>::attach(&name, &Options::new()).unwrap();
    assert_eq!(channel.name(), Some(&*name));
    let rx = channel.receiver().unwrap();
    assert_eq!(rx.iter().collect::<Vec<_>>(), [1, 2, 3]);
    drop((rx, channel));
    assert!(name.is_taken(), "whoever wants it gone removes it");
    ringway::unlink(&name).unwrap();
    assert!(!name.is_taken());
}

fn sessions_that_never_meet_exchange_messages() {
    let name = Name::on_disk();
    let options = Options::new().capacity(64).stay_open(true);
    for session in 0..3_u64 {
        let tx = mpmc::Channel::<u64>::open_or_create(&name, &options).unwrap().sender().unwrap();
        tx.send_slice(&[session, session + 10]).unwrap();
        drop(tx);
        let rx = mpmc::Channel::<u64>::attach(&name, &options).unwrap().receiver().unwrap();
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [session, session + 10]);
    }
    // Without it, the channel is one stream: the end of its receiver is the end of it.
    let other = Name::on_disk();
    let options = Options::new();
    let tx = Channel::<u64>::create(&other, &options).unwrap().sender().unwrap();
    tx.send(1).unwrap();
    drop(tx);
    let rx = Channel::<u64>::attach(&other, &options).unwrap().receiver().unwrap();
    assert_eq!(rx.iter().collect::<Vec<_>>(), [1]);
    drop(rx);
    let tx = Channel::<u64>::attach(&other, &options).unwrap().sender().unwrap();
    assert!(tx.send(2).unwrap_err().is_disconnected());
}

fn a_relative_path_means_the_same_file_later() {
    let name = Name::on_disk();
    let before = std::env::current_dir().unwrap();
    std::env::set_current_dir(name.path().parent().unwrap()).unwrap();
    let relative = format!("file:{}", name.path().file_name().unwrap().to_str().unwrap());
    let channel = Channel::<u64>::create(relative.as_str(), &Options::new()).unwrap();
    std::env::set_current_dir(before).unwrap();
    assert_eq!(channel.name(), Some(&*name));
    assert!(name.is_taken());
    assert!(channel.unlink().unwrap());
    assert!(!name.is_taken());
}

fn a_file_is_in_use_from_the_first_role_to_the_last() -> Outcome {
    let name = on_disk!();
    let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
    assert_eq!(usage(&name), 0);
    let tx = channel.sender().unwrap();
    assert_eq!(usage(&name), 1 << 40 | this_boot());
    let rx = channel.receiver().unwrap();
    assert_eq!(usage(&name), 2 << 40 | this_boot());
    drop(tx);
    assert_eq!(usage(&name), 2 << 40 | this_boot());
    drop(rx);
    assert_eq!(usage(&name), 2 << 40);
    drop(channel.sender().unwrap());
    assert_eq!(usage(&name), 3 << 40);
    Ok(Completion::Completed)
}

fn sync_says_whether_the_file_is_clean() -> Outcome {
    let name = on_disk!();
    let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
    assert!(channel.sync().unwrap());
    let tx = channel.sender().unwrap();
    tx.send(1).unwrap();
    assert!(!channel.sync().unwrap(), "somebody may write on");
    drop(tx);
    assert!(channel.sync().unwrap());
    // As after the last user was killed.
    set_usage(&name, this_boot());
    assert!(channel.sync().unwrap());
    assert_eq!(usage(&name), 0);
    Ok(Completion::Completed)
}

fn a_file_that_was_in_use_when_the_machine_stopped_is_refused() -> Outcome {
    let name = on_disk!();
    let options = Options::new();
    let tx = Channel::<u64>::create(&name, &options).unwrap().sender().unwrap();
    tx.send(1).unwrap();
    drop(tx);
    // Clean, in whichever generation and after whichever boot, and in use since this one.
    for clean in [0, 7 << 40, !BOOT, this_boot(), 7 << 40 | this_boot()] {
        set_usage(&name, clean);
        drop(Channel::<u64>::attach(&name, &options).unwrap());
        assert!(!Inspection::of(&name).unwrap().crashed);
    }
    let others = (0..40).map(|bit| this_boot() ^ 1 << bit).chain([1, BOOT, 5 << 40 | 1]);
    for other in others.filter(|other| other & BOOT != 0) {
        set_usage(&name, other);
        for result in [
            Channel::<u64>::attach(&name, &options).map(drop),
            Channel::<u64>::open_or_create(&name, &options).map(drop),
            Channel::<u64>::from_fd(File::options().read(true).write(true).open(name.path()).unwrap().into(), &options)
                .map(drop),
        ] {
            let remedy = "discard it with ringway::unlink";
            assert_refused!(result, Error::MachineCrashed { .. }, "restarted while", remedy, "replace_dead");
        }
        let inspection = Inspection::of(&name).unwrap();
        assert!(inspection.crashed && inspection.to_string().contains("restarted"));
    }
    // Discarded either way.
    let channel = Channel::<u64>::open_or_create(&name, &options.clone().replace_dead(true)).unwrap();
    assert!(channel.receiver().unwrap().is_empty());
    drop(channel);
    set_usage(&name, 1);
    ringway::unlink(&name).unwrap();
    assert!(!name.is_taken());
    Ok(Completion::Completed)
}

fn take_a_role_and_stay(name: &str) -> Result<(), String> {
    let _tx = Channel::<u64>::attach(name, &Options::new()).unwrap().sender().unwrap();
    say(std::process::id());
    is_told();
    Ok(())
}

fn a_killed_user_leaves_a_file_that_goes_on() -> Outcome {
    let name = on_disk!();
    let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
    let mut user = Talking::start("take_a_role_and_stay", &name);
    let pid = user.hear().parse().unwrap();
    user.kill();
    assert_eq!(usage(&name) & BOOT, this_boot());
    assert_eq!(channel.sender_state(), PeerState::Dead { pid });
    let tx = channel.sender().unwrap();
    tx.send(1).unwrap();
    drop(tx);
    assert_eq!(usage(&name) & BOOT, 0, "its successor ended in good order");
    Ok(Completion::Completed)
}

fn a_file_that_is_opened_while_it_is_closed_is_in_use() -> Outcome {
    let name = on_disk!();
    let channel = mpmc::Channel::<u64>::create(&name, &Options::new().capacity(4)).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..30 {
                    let role = channel.sender().unwrap();
                    assert_eq!(usage(&name) & BOOT, this_boot(), "somebody holds a role");
                    drop(role);
                }
            });
        }
    });
    assert_eq!(usage(&name), 90 << 40, "the last one has closed it");
    Ok(Completion::Completed)
}

fn what_is_no_file_was_never_in_use() {
    let name = Name::new();
    let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
    let tx = channel.sender().unwrap();
    assert_eq!(usage(&name), 0);
    assert!(!channel.sync().unwrap(), "it does not outlive the machine");
    drop(tx);
    assert!(!channel.sync().unwrap());
    set_usage(&name, this_boot());
    assert_eq!(damaged(Channel::<u64>::attach(&name, &Options::new())), "usage");
}

fn directories_that_cannot_be_used_say_so() {
    let options = Options::new();
    let (missing, file) = (Name::on_disk(), Name::on_disk());
    fs::write(file.path(), "").unwrap();
    for (parent, found_here) in [(missing, "no such directory"), (file, "not a directory")] {
        let address = format!("{}/x", &*parent);
        let path = parent.path().display().to_string();
        let calls: [(&str, Result<(), Error>); 5] = [
            ("create", Channel::<u64>::create(&address, &options).map(drop)),
            ("attach", Channel::<u64>::attach(&address, &options).map(drop)),
            ("open_or_create", Channel::<u64>::open_or_create(&address, &options).map(drop)),
            ("unlink", ringway::unlink(&address)),
            ("inspect", Inspection::of(&address).map(drop)),
        ];
        for (call, result) in calls {
            assert_refused!(call => result, Error::NoDirectory { found, .. } if *found == found_here, &path, "create it");
        }
    }
    for address in ["sysv:private", "memfd:", "anon:", "heap:"] {
        let reason = "nothing can be found by it";
        assert_refused!(Channel::<u64>::attach(address, &options), Error::InvalidName { .. }, address, reason);
        assert_refused!(ringway::unlink(address), Error::InvalidName { .. }, address, reason);
        Channel::<u64>::open_or_create(address, &options).unwrap().sender().unwrap();
    }
}

fn a_full_or_read_only_file_system() -> Outcome {
    play("where_files_do_not_fit", "")
}

fn where_files_do_not_fit(_: &str) -> Result<(), String> {
    in_own_mounts(|| {
        mount_memory("/mnt", "size=64k,mode=1777")?;
        let options = Options::new().capacity(20_000);
        let result = Channel::<u64>::create("file:/mnt/x", &options);
        assert_refused!(result, Error::NoSpace { available: 65_536, .. }, "65536 available", "lower the capacity");
        assert_eq!(fs::read_dir("/mnt").expect("a directory").count(), 0);
        let channel = Channel::<u64>::create("file:/mnt/x", &Options::new()).expect("it fits");
        channel.sender().expect("a free end").send(7).expect("room");
        drop(channel);
        mount("none", "/mnt", "", libc::MS_REMOUNT | libc::MS_RDONLY, "")?;
        for result in [
            Channel::<u64>::create("file:/mnt/y", &options).map(drop),
            Channel::<u64>::attach("file:/mnt/x", &options).map(drop),
            ringway::unlink("file:/mnt/x"),
        ] {
            assert_refused!(result, Error::ReadOnly { path } if path == "/mnt", "mount -o remount,rw /mnt");
        }
        assert_eq!(Inspection::of("file:/mnt/x").expect("it is readable").len, 1);
        Ok(())
    })
}
