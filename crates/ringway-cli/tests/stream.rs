//! `ringway send` and `ringway recv` when nothing goes wrong: what goes in comes out.

mod common;

use std::process::{Command, Stdio};

use common::{Name, Side, noise, ringway, watchdog};
use rustix::process::Signal;

/// Sends `input` with the receiver waiting already, and with the sender waiting already.
#[track_caller]
fn in_both_orders(input: &[u8], options: &[&str]) {
    let _watchdog = watchdog();
    let name = Name::new();
    for receiver_first in [true, false] {
        let (sender, receiver) = if receiver_first {
            let receiver = Side::recv(&name, options);
            name.wait_for(|region| region.receivers[0].is_alive());
            (Side::send(&name, options), receiver)
        } else {
            let sender = Side::send(&name, options);
            name.wait_for(|region| region.senders[0].is_alive());
            (sender, Side::recv(&name, options))
        };
        let (sent, received) = std::thread::scope(|scope| {
            let sent = scope.spawn(|| sender.feed(input));
            let received = receiver.finish();
            (sent.join().unwrap(), received)
        });
        assert_eq!(sent.expect(0, &[]), b"");
        let output = received.expect(0, &[]);
        assert_eq!(output.len(), input.len());
        assert!(output == input, "not the same bytes");
        assert!(!name.exists(), "a name outlived its stream");
    }
}

#[test]
fn nothing() {
    in_both_orders(b"", &[]);
}

#[test]
fn one_byte() {
    in_both_orders(b"\0", &[]);
}

#[test]
fn around_a_frame_and_around_a_batch() {
    for frames in [1, 32, 33] {
        for len in [frames * 4072 - 1, frames * 4072, frames * 4072 + 1] {
            in_both_orders(&noise(len), &[]);
        }
    }
}

#[test]
fn megabytes_through_the_default_channel() {
    in_both_orders(&noise(9_000_001), &[]);
}

#[test]
fn megabytes_through_a_single_frame() {
    in_both_orders(&noise(3_000_001), &["--capacity", "1"]);
}

#[test]
fn asleep_or_awake() {
    in_both_orders(&noise(1_000_001), &["--wait", "park"]);
    in_both_orders(&noise(1_000_001), &["--wait", "spin"]);
}

#[test]
fn one_stream_after_the_other_under_one_name() {
    let _watchdog = watchdog();
    let name = Name::new();
    for round in 0..50_u8 {
        let receiver = Side::recv(&name, &[]);
        Side::send(&name, &[]).feed(&[round]).expect(0, &[]);
        assert_eq!(receiver.finish().expect(0, &[]), [round]);
    }
}

/// Each side is started as soon as *its* predecessor has ended, whatever the other side is doing just then.
#[test]
fn streams_that_overtake_each_other() {
    let _watchdog = watchdog();
    let name = Name::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..50_u8 {
                Side::send(&name, &["--capacity", "1"]).feed(&[round; 5000]).expect(0, &[]);
            }
        });
        for round in 0..50_u8 {
            assert_eq!(Side::recv(&name, &["--capacity", "1"]).finish().expect(0, &[]), [round; 5000]);
        }
    });
}

/// All data and the end lie in the channel when the receiver looks, so it takes the end before it has written the data.
#[test]
fn a_sender_does_not_end_before_its_data_are_written() {
    /// More than a pipe takes, but less than a batch.
    const FRAMES: u64 = 20;
    let _watchdog = watchdog();
    let name = Name::new();
    let input = noise(FRAMES as usize * 4072);
    let mut sender = Side::send(&name, &[]);
    let receiver = Side::recv(&name, &[]);
    name.wait_for(|region| region.received == 1);
    receiver.stop();
    // The pipe keeps such small writes whole, so each is a frame.
    input.chunks(4072).for_each(|chunk| sender.write(chunk));
    drop(sender.stdin.take());
    name.wait_for(|region| region.len == FRAMES + 1);
    receiver.signal(Signal::CONT);
    // Nothing but the confirmation is left: the receiver has taken the end, and is stuck in its write.
    name.wait_for(|region| (region.received, region.len) == (1 + FRAMES + 1, 1));
    assert!(sender.try_wait().unwrap().is_none(), "done before the output was");
    assert!(receiver.finish().expect(0, &[]) == input);
    sender.finish().expect(0, &[]);
}

#[test]
fn mode_and_capacity_are_those_of_whoever_comes_first() {
    let _watchdog = watchdog();
    let name = Name::new();
    let receiver = Side::recv(&name, &["--mode", "640", "--capacity", "7"]);
    let region = name.wait_for(|region| region.receivers[0].is_alive());
    assert_eq!((region.mode, region.capacity), (0o640, 7));
    Side::send(&name, &["--mode", "600", "--capacity", "9"]).feed(b"x").expect(0, &[]);
    assert_eq!(receiver.finish().expect(0, &[]), b"x");
}

#[test]
fn every_help_has_examples_and_there_is_a_version() {
    let _watchdog = watchdog();
    for command in ["", "send", "recv", "list", "inspect", "remove", "bench"] {
        let arguments = [command, "--help"].into_iter().filter(|argument| !argument.is_empty());
        let help = Side::start(ringway(arguments)).finish().expect(0, &[]);
        assert!(String::from_utf8(help).unwrap().contains("Examples:"), "{command}");
    }
    let version = Side::start(ringway(["--version"])).finish().expect(0, &[]);
    assert_eq!(String::from_utf8(version).unwrap(), concat!("ringway ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// As the README has it: an archive made by one process is listed by another.
#[test]
fn an_archive() {
    let _watchdog = watchdog();
    let name = Name::new();
    let shell = |line: &str| {
        Command::new("sh")
            .args(["-c", line, env!("CARGO_BIN_EXE_ringway"), &name])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let receiver = shell(r#""$0" recv "$1" | tar t"#);
    let sender = shell(r#"tar c docs | "$0" send "$1""#);
    assert!(sender.wait_with_output().unwrap().status.success());
    let listed = receiver.wait_with_output().unwrap();
    assert!(listed.status.success());
    let listed = String::from_utf8(listed.stdout).unwrap();
    for page in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).unwrap() {
        let page = format!("docs/{}", page.unwrap().file_name().to_string_lossy());
        assert!(listed.lines().any(|line| line == page), "no {page} in {listed}");
    }
}
