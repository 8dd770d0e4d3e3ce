//! `ringway list`, `inspect` and `remove`.

mod common;

use common::{Name, Side, ringway, watchdog};
use ringway::{Options, mpmc, spsc::Channel};

fn run(arguments: &[&str]) -> common::Ended {
    Side::start(ringway(arguments.iter().copied())).finish()
}

fn output(arguments: &[&str]) -> String {
    String::from_utf8(run(arguments).expect(0, &[])).unwrap()
}

#[test]
fn a_channel_is_listed_and_shown() {
    let _watchdog = watchdog();
    let name = Name::new();
    assert!(!output(&["list"]).contains(&*name));
    let channel = Channel::<u64>::create(&name, &Options::new().capacity(8)).unwrap();
    let sender = channel.sender().unwrap();
    sender.send_slice(&[1, 2, 3]).unwrap();
    let pid = std::process::id().to_string();

    let list = output(&["list"]);
    let line = list.lines().find(|line| line.starts_with(&*name)).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[1..4], ["spsc", "3", "8"], "{line}");
    assert!(line.contains(&pid), "{line}");

    let shown = output(&["inspect", &name]);
    for word in [&*name, &pid, "3 of 8", "u64"] {
        assert!(shown.contains(word), "no {word} in {shown}");
    }
    assert_eq!(sender.len(), 3);
}

#[test]
fn a_channel_without_an_end_says_so() {
    let _watchdog = watchdog();
    let name = Name::new();
    for (stay_open, shown) in [(false, "ends when either side has gone"), (true, "stays open for the next peers")] {
        let options = Options::new().stay_open(stay_open);
        let spsc = Channel::<u64>::create(&name, &options).unwrap();
        assert!(output(&["inspect", &name]).contains(shown));
        drop(spsc);
        let _mpmc = mpmc::Channel::<u64>::create(&name, &options).unwrap();
        assert!(output(&["inspect", &name]).contains(shown));
    }
}

#[test]
fn a_name_that_is_not_portable_is_noted() {
    let _watchdog = watchdog();
    let start = format!("ringway-{}-", std::process::id());
    for (length, is_noted) in [(30, false), (31, true)] {
        let name = format!("{start:n<length$}");
        let _channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
        for address in [&name, &format!("posix:{name}")] {
            let shown = output(&["inspect", address]);
            let notes: Vec<_> = shown.lines().filter(|line| line.starts_with("note ")).collect();
            assert_eq!(notes.len(), usize::from(is_noted), "{shown}");
            assert!(notes.iter().all(|note| note.contains("30 bytes")), "{shown}");
        }
    }
}

#[test]
fn what_is_in_use_is_removed_only_by_force() {
    let _watchdog = watchdog();
    let name = Name::new();
    let channel = Channel::<u64>::create(&name, &Options::new()).unwrap();
    let sender = channel.sender().unwrap();
    run(&["remove", &name]).expect(4, &["in use", &std::process::id().to_string(), "--force"]);
    assert!(name.exists());
    run(&["remove", &name, "--force"]).expect(0, &[]);
    assert!(!name.exists());
    sender.send(1).unwrap();
    assert_eq!(channel.receiver().unwrap().recv(), Ok(1));
}

#[test]
fn what_is_left_behind_is_removed() {
    let _watchdog = watchdog();
    let name = Name::new();
    let sender = Side::send(&name, &[]);
    name.wait_for(|region| region.len == 1);
    sender.kill();
    assert!(output(&["list"]).lines().any(|line| line.starts_with(&*name) && line.contains("dead")));
    run(&["remove", &name]).expect(0, &[]);
    assert!(!name.exists());
}

#[test]
fn what_is_not_a_channel() {
    let _watchdog = watchdog();
    let name = Name::new();
    for command in ["inspect", "remove"] {
        run(&[command, &name]).expect(1, &["no region is named"]);
        run(&[command, "a/b"]).expect(2, &["name"]);
    }
    std::fs::write(name.path(), b"somebody's").unwrap();
    assert!(!output(&["list"]).contains(&*name));
    for arguments in [&["inspect", &*name][..], &["remove", &name], &["remove", &name, "--force"]] {
        run(arguments).expect(1, &["not a ringway region"]);
    }
    assert_eq!(std::fs::read(name.path()).unwrap(), b"somebody's");
    std::fs::remove_file(name.path()).unwrap();
}
