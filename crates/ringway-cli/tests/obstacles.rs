//! What other processes, and other users, can put in the way of the command.

#![allow(unsafe_code)] // rustix has no byte-range locks of this kind

mod common;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use common::{Ended, Name, Side, ringway, watchdog};
use ringway::{Options, spsc::Channel};
use rustix::process::Signal;

/// docs/LAYOUT.md in numbers of its own.
const OPEN_BYTE: i64 = (1 << 20) - 2;
const REMOVAL_BYTE: i64 = (1 << 20) - 1;

/// Two users without any rights.
const ALICE: u32 = 2001;
const BOB: u32 = 2002;

/// Locks a byte of a file alone, for as long as what is returned.
fn lock(name: &Name, byte: i64) -> File {
    let file = File::options().read(true).write(true).open(name.path()).unwrap();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and `lock` is a valid request that outlives the call.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) }, 0);
    file
}

/// What a killed `ringway send` leaves behind.
fn left_behind() -> Name {
    let name = Name::new();
    let sender = Side::send(&name, &[]);
    name.wait_for(|region| region.len == 1);
    sender.kill();
    name
}

fn run(arguments: &[&str]) -> Ended {
    Side::start(ringway(arguments.iter().copied())).finish()
}

#[test]
fn a_remover_that_was_stopped_is_not_waited_for_longer_than_asked() {
    let _watchdog = watchdog();
    let name = left_behind();
    let stopped = lock(&name, REMOVAL_BYTE);
    for command in ["send", "recv"] {
        let ended = run(&[command, &name, "--timeout", "0.1"]);
        ended.expect(5, &["has begun to remove", &name, "resume or kill it"]);
    }
    run(&["recv", &name]).expect(1, &["has begun to remove", "use another name"]);
    run(&["remove", &name]).expect(1, &["another process is removing", "stopped"]);
    let waiting = Side::recv(&name, &["--timeout", "100000"]);
    drop(stopped);
    Side::send(&name, &[]).feed(b"through").expect(0, &[]);
    assert_eq!(waiting.finish().expect(0, &[]), b"through");
}

#[test]
fn who_waits_for_a_remover_can_be_interrupted() {
    let _watchdog = watchdog();
    let name = left_behind();
    let _stopped = lock(&name, REMOVAL_BYTE);
    let waiting = Side::recv(&name, &["--timeout", "100000"]);
    // Since it opened the region, it is at it.
    let files = format!("/proc/{}/fd", waiting.id());
    let leads_there = |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|path| path == name.path());
    while !fs::read_dir(&files).unwrap().flatten().any(leads_there) {
        std::thread::yield_now();
    }
    waiting.signal(Signal::INT);
    assert_eq!(waiting.wait_for_end(), Some(130));
    fs::remove_file(name.path()).unwrap();
}

#[test]
fn who_throws_a_region_away_for_ever_is_not_waited_for_longer_than_asked() {
    let _watchdog = watchdog();
    let name = left_behind();
    let _stopped = lock(&name, OPEN_BYTE);
    for options in [&[][..], &["--mpmc"]] {
        let ended = Side::recv(&name, &[&["--timeout", "0.1"], options].concat()).finish();
        ended.expect(5, &["has begun to remove", &name]);
    }
    fs::remove_file(name.path()).unwrap();
}

#[test]
fn a_name_taken_by_somebody_else_is_told_at_once() {
    let _watchdog = watchdog();
    if !rustix::process::geteuid().is_root() {
        return println!("not possible here: only root can give files away");
    }
    let name = Name::new();
    fs::write(name.path(), [0; 8192]).unwrap();
    chown(name.path(), Some(ALICE), None).unwrap();
    let _squatting = lock(&name, OPEN_BYTE);
    for command in ["send", "recv"] {
        run(&[command, &name]).expect(1, &["belongs to user 2001", "--owner 2001"]);
    }
    fs::remove_file(name.path()).unwrap();
}

/// The command as another user runs it, wherever this user has it.
fn as_user(user: u32, arguments: &[&str]) -> Side {
    let program = File::open(env!("CARGO_BIN_EXE_ringway")).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.args(arguments).uid(user).gid(user).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Side::start(command)
}

#[test]
fn two_users_have_a_channel_whoever_starts_first() {
    let _watchdog = watchdog();
    if !rustix::process::geteuid().is_root() {
        return println!("not possible here: only root can be two users");
    }
    let (alice, bob) = (ALICE.to_string(), BOB.to_string());
    for options in [&[][..], &["--mpmc"]] {
        for receiver_first in [true, false] {
            let name = Name::new();
            let send = |more: &[&str]| as_user(ALICE, &[&["send", &name, "--mode", "666"], options, more].concat());
            let recv = |more: &[&str]| as_user(BOB, &[&["recv", &name, "--mode", "666"], options, more].concat());
            let owner = if receiver_first { BOB } else { ALICE };
            let (sender, receiver) = if receiver_first {
                let receiver = recv(&["--owner", &alice]);
                name.wait_for(|region| region.receivers.iter().any(|peer| peer.is_alive()));
                send(&[]).finish().expect(1, &["belongs to user 2002", "--owner 2002"]);
                (send(&["--owner", &bob]), receiver)
            } else {
                let sender = send(&["--owner", "root", "--owner", &bob]);
                name.wait_for(|region| region.len == 1);
                recv(&[]).finish().expect(1, &["belongs to user 2001", "--owner 2001"]);
                (sender, recv(&["--owner", &alice]))
            };
            sender.feed(b"from alice to bob").expect(0, &[]);
            assert_eq!(receiver.finish().expect(0, &[]), b"from alice to bob");
            // In a directory where everybody removes only their own, a channel of many may end with the other user.
            if name.exists() {
                assert!(!options.is_empty());
                as_user(owner, &["remove", &name]).finish().expect(0, &[]);
            }
        }
    }
    let name = Name::new();
    let private = as_user(ALICE, &["send", &name]);
    name.wait_for(|region| region.len == 1);
    as_user(BOB, &["recv", &name, "--owner", &alice]).finish().expect(1, &["no permission to open", "--mode 666"]);
    as_user(BOB, &["remove", &name, "--force"]).finish().expect(1, &["no permission to open"]);
    private.signal(Signal::TERM);
    assert_eq!(private.wait_for_end(), Some(143));
    run(&["recv", &name, "--owner", "nobody at all"]).expect(2, &["id -u"]);
}

#[test]
fn the_remedies_are_those_of_the_command() {
    let _watchdog = watchdog();
    let name = Name::new();
    let missing = [&["inspect", &*name][..], &["remove", &name], &["remove", &name, "--force"]];
    for arguments in missing {
        let ended = run(arguments);
        assert!(!ended.stderr.contains("open_or_create"), "{}", ended.stderr);
        ended.expect(1, &["no region is named", "ringway list"]);
    }
    let channel = Channel::<u64>::create(&name, &Options::new().persist(true)).unwrap();
    let file = File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap());
    run(&["recv", &name]).expect(1, &["another payload", "use another name"]);
    file.write_all_at(&[0xff; 8], 24).unwrap();
    for command in ["inspect", "recv", "remove"] {
        let ended = run(&[command, &name]);
        assert!(!ended.stderr.contains("unlink"), "{}", ended.stderr);
        ended.expect(1, &["damaged", &format!("`ringway remove {} --force`", &*name)]);
    }
    run(&["remove", &name, "--force"]).expect(0, &[]);
}

#[test]
fn what_is_damaged_stands_below_the_list_and_names_do_not_widen_it() {
    let _watchdog = watchdog();
    let (short, long, broken) = (Name::new(), Name::new(), Name::new());
    let wide = format!("{}{}", &*long, "-".repeat(180));
    let create = |name: &str| Channel::<u64>::create(name, &Options::new().capacity(8)).unwrap();
    let (_short, _long, damaged) = (create(&short), create(&wide), create(&broken));
    let file = File::from(damaged.as_fd().unwrap().try_clone_to_owned().unwrap());
    file.write_all_at(&[0xff; 8], 24).unwrap();
    let list = String::from_utf8(run(&["list", &broken, &short, &wide]).expect(0, &[])).unwrap();
    let lines: Vec<_> = list.lines().collect();
    let [head, first, second, "", note] = lines[..] else { panic!("{list}") };
    assert!(first.starts_with(&*short) && second.starts_with(&wide), "{list}");
    assert!(head.len().max(first.len()) < short.len() + 70, "{list}");
    assert!(note.starts_with(&format!("`{}` is damaged: flags is ", &*broken)), "{list}");
}

#[test]
fn nothing_that_a_terminal_obeys_comes_out() {
    let _watchdog = watchdog();
    for name in ["evil\u{1b}[31m", "evil\nforged  spsc  1  2", "file:/tmp/evil\u{9b}31m"] {
        for command in ["send", "recv", "inspect", "remove", "list"] {
            let ended = run(&[command, name]);
            assert!(!ended.stderr.trim_end().contains('\u{1b}') && !ended.stderr.contains("\nforged"));
            ended.expect(2, &["control character"]);
        }
    }
    // Somebody who does not use our library can still make such a name, and write what it pleases into a schema.
    let name = Name::new();
    let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
    let evil = format!("/dev/shm/{}\u{1b}[31m", &*name);
    fs::hard_link(name.path(), &evil).unwrap();
    let list = String::from_utf8(run(&["list"]).expect(0, &[])).unwrap();
    fs::remove_file(evil).unwrap();
    assert!(list.contains(&*name) && !list.contains('\u{1b}'), "{list:?}");

    let file = File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap());
    let mut page = [0; 4096];
    file.read_exact_at(&mut page, 0).unwrap();
    page[128..131].copy_from_slice(b"\x1b[m");
    let hash = page.iter().enumerate().fold(0xcbf2_9ce4_8422_2325_u64, |hash, (offset, byte)| {
        let byte = if offset < 8 || (104..120).contains(&offset) { 0 } else { *byte };
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    page[104..112].copy_from_slice(&hash.to_le_bytes());
    file.write_all_at(&page, 0).unwrap();
    let shown = String::from_utf8(run(&["inspect", &name]).expect(0, &[])).unwrap();
    assert!(shown.contains("\\u{1b}[m") && !shown.contains('\u{1b}'), "{shown:?}");
}
