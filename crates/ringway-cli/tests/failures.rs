//! `ringway send` and `ringway recv` when something goes wrong: a clear error, never garbage, never a hang.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::{Name, Side, noise, ringway, watchdog};
use ringway::{Options, PeerState, spsc::Channel};
use rustix::process::Signal;

/// A pair whose receiver has written out `first`.
fn connected(name: &Name, options: &[&str], first: &[u8]) -> (Side, Side) {
    let (mut sender, mut receiver) = (Side::send(name, options), Side::recv(name, options));
    sender.write(first);
    assert_eq!(receiver.read(first.len()), first);
    (sender, receiver)
}

#[test]
fn the_sender_is_killed() {
    let _watchdog = watchdog();
    let name = Name::new();
    let (sender, receiver) = connected(&name, &[], b"so far");
    let pid = format!("(pid {}) died", sender.id());
    sender.kill();
    receiver.finish().expect(3, &[&pid, "6 bytes were written", "start both sides again"]);
    assert!(!name.exists());
}

#[test]
fn the_receiver_is_killed() {
    let _watchdog = watchdog();
    let name = Name::new();
    let (sender, receiver) = connected(&name, &["--capacity", "2"], b"so far");
    let pid = format!("(pid {}) died", receiver.id());
    receiver.kill();
    sender.feed(&noise(1 << 20)).expect(3, &[&pid, "6 bytes", "start both sides again"]);
    assert!(!name.exists());
}

#[test]
fn a_side_ends_without_being_killed() {
    let _watchdog = watchdog();
    let name = Name::new();
    // The sender cannot read its input.
    let write_only = fs::File::options().write(true).open("/dev/null").unwrap();
    for (input, next) in [(fs::File::open("/").unwrap(), "that is a directory"), (write_only, "it is closed, or not")] {
        let receiver = Side::recv(&name, &[]);
        let mut command = ringway(["send", &name]);
        command.stdin(input);
        Side::start(command).finish().expect(1, &["cannot read the standard input", &format!("next: {next}")]);
        let ended = "the sender ended before its stream was complete";
        receiver.finish().expect(3, &[ended, "0 bytes were written"]);
    }
    // The receiver cannot write its output.
    let mut command = ringway(["recv", &name]);
    command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    let receiver = Side::start(command);
    Side::send(&name, &["--capacity", "2"]).feed(&noise(1 << 20)).expect(3, &["the receiver ended"]);
    receiver.finish().expect(
        1,
        &["cannot write the standard output", "No space", "0 bytes were written; the sender is told; make room"],
    );
}

#[test]
fn the_output_is_closed() {
    let _watchdog = watchdog();
    let name = Name::new();
    let receiver = Side::recv(&name, &[]);
    let sender = Side::send(&name, &[]);
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| sender.feed(&noise(10 << 20)));
        // As `head -c1` does.
        let mut receiver = receiver;
        receiver.read(1);
        drop(receiver.stdout.take());
        receiver.finish().expect(141, &[]);
        sent.join().unwrap().expect(3, &["nobody reads its output"]);
    });
    assert!(!name.exists());
}

#[test]
fn a_restarted_receiver_does_not_go_on_in_the_middle() {
    let _watchdog = watchdog();
    let name = Name::new();
    let (mut sender, receiver) = connected(&name, &[], b"taken by the first");
    sender.write(b"taken and perhaps lost");
    // The announcement and two frames.
    name.wait_for(|region| region.received == 3);
    receiver.stop();
    sender.write(b"and more");
    name.wait_for(|region| region.len == 1);
    // Stopped, so that it does not notice.
    sender.stop();
    receiver.kill();
    let second = Side::recv(&name, &[]).finish();
    assert_eq!(second.expect(3, &["already lost its first 40 bytes", "0 bytes were written"]), b"");
    sender.signal(Signal::CONT);
    sender.finish().expect(3, &["the receiver ended"]);
}

#[test]
fn a_restarted_sender_is_not_taken_for_the_old_one() {
    let _watchdog = watchdog();
    let name = Name::new();
    let (mut sender, receiver) = connected(&name, &[], b"old, ");
    // Stopped, so that it does not notice.
    receiver.stop();
    sender.write(b"older");
    name.wait_for(|region| region.len == 1);
    sender.kill();
    let mut second = Side::send(&name, &[]);
    second.write(b"new");
    name.wait_for(|region| region.len == 2);
    receiver.signal(Signal::CONT);
    let output = receiver.finish().expect(3, &["started anew", "10 bytes were written", "start both sides again"]);
    assert_eq!(output, b"older");
    second.finish().expect(3, &["the receiver ended", "0 bytes"]);
}

#[test]
fn both_are_killed_and_started_again() {
    let _watchdog = watchdog();
    let name = Name::new();
    let (mut sender, receiver) = connected(&name, &[], b"received, ");
    receiver.stop();
    sender.write(b"left behind");
    name.wait_for(|region| region.len == 1);
    // Stopped, so that the one does not clean up after the other.
    sender.stop();
    receiver.kill();
    sender.kill();
    assert!(name.exists(), "who was killed cannot clean up");
    let receiver = Side::recv(&name, &[]);
    Side::send(&name, &[]).feed(b"again").expect(0, &[]);
    assert_eq!(receiver.finish().expect(0, &[]), b"again");
}

#[test]
fn signals_leave_nothing_behind() {
    let _watchdog = watchdog();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        // Alone and waiting.
        let name = Name::new();
        let alone = Side::recv(&name, &[]);
        name.wait_for(|region| region.receivers[0].is_alive());
        alone.signal(signal);
        alone.finish().expect(code, &[]);
        assert!(!name.exists());
        let alone = Side::send(&name, &[]);
        name.wait_for(|region| region.len == 1);
        alone.signal(signal);
        assert_eq!(alone.wait_for_end(), Some(code));
        assert!(!name.exists());
        // In the middle of a stream, blocked in the channel or in a read.
        let (sender, receiver) = connected(&name, &[], b"begun");
        sender.signal(signal);
        assert_eq!(sender.wait_for_end(), Some(code));
        receiver.finish().expect(3, &["the sender", "5 bytes were written"]);
        let (sender, receiver) = connected(&name, &["--capacity", "1"], b"begun");
        receiver.signal(signal);
        assert_eq!(receiver.wait_for_end(), Some(code));
        sender.feed(&noise(100_000)).expect(3, &["the receiver", "5 bytes"]);
    }
}

#[test]
fn one_process_an_end() {
    let _watchdog = watchdog();
    let name = Name::new();
    let (sender, receiver) = connected(&name, &[], b"x");
    Side::recv(&name, &[]).finish().expect(4, &["receiver", "taken", &receiver.id().to_string()]);
    Side::send(&name, &[]).finish().expect(4, &["sender", "taken", &sender.id().to_string()]);
    receiver.stop();
    Side::recv(&name, &[]).finish().expect(4, &["stopped", "SIGCONT"]);
    receiver.signal(Signal::CONT);
    sender.finish().expect(0, &[]);
    receiver.finish().expect(0, &[]);
}

#[test]
fn nobody_comes() {
    let _watchdog = watchdog();
    let name = Name::new();
    let send = Side::send(&name, &["--timeout", "0.05"]).finish();
    send.expect(5, &["no receiver came", "within 0.05 s", &format!("start `ringway recv {}`", &*name)]);
    assert!(!name.exists());
    let recv = Side::recv(&name, &["--timeout", "0"]).finish();
    recv.expect(5, &["no sender came", &format!("start `ringway send {}`", &*name)]);
    assert!(!name.exists());
}

#[test]
fn a_timeout_is_over_once_the_other_side_is_there() {
    let _watchdog = watchdog();
    let name = Name::new();
    let mut receiver = Side::recv(&name, &["--timeout", "60"]);
    let mut sender = Side::send(&name, &["--timeout", "60"]);
    sender.write(b"x");
    assert_eq!(receiver.read(1), b"x");
    sender.finish().expect(0, &[]);
    receiver.finish().expect(0, &[]);
}

#[test]
fn bad_names_and_options() {
    let _watchdog = watchdog();
    let too_long = "x".repeat(300);
    for name in ["", "a/b", "..", &too_long] {
        Side::start(ringway(["send", name])).finish().expect(2, &["name"]);
        Side::start(ringway(["recv", name])).finish().expect(2, &["name"]);
    }
    for options in [
        &["recv"][..],
        &["recv", "x", "--mode", "999"],
        &["recv", "x", "--mode", "1777"],
        &["recv", "x", "--timeout", "soon"],
        &["recv", "x", "--timeout", "-1"],
        &["recv", "x", "--wait", "long"],
        &["recv", "x", "--capacity", "0"],
        &["recv", "x", "--capacity", "18446744073709551615"],
        &["receive", "x"],
        &[],
    ] {
        let ended = Side::start(ringway(options.iter().copied())).finish();
        assert_eq!(ended.code, Some(2), "{options:?}: {}", ended.stderr);
    }
}

#[test]
fn a_channel_of_another_program_is_left_alone() {
    let _watchdog = watchdog();
    let name = Name::new();
    let channel = Channel::<u64>::create(&name, &Options::new().capacity(8)).unwrap();
    let sender = channel.sender().unwrap();
    sender.send(42).unwrap();
    Side::send(&name, &[]).finish().expect(1, &["another payload"]);
    Side::recv(&name, &[]).finish().expect(1, &["another payload"]);
    assert_eq!(channel.receiver_state(), PeerState::Never);
    assert_eq!(channel.receiver().unwrap().recv(), Ok(42));
}

#[test]
fn a_file_of_another_program_is_left_alone() {
    let _watchdog = watchdog();
    let name = Name::new();
    for contents in [&b""[..], b"x", &noise(10_000)] {
        fs::write(name.path(), contents).unwrap();
        fs::set_permissions(name.path(), fs::Permissions::from_mode(0o600)).unwrap();
        Side::send(&name, &[]).finish().expect(1, &["not a ringway region"]);
        Side::recv(&name, &[]).finish().expect(1, &["not a ringway region"]);
        assert_eq!(fs::read(name.path()).unwrap(), contents);
        fs::remove_file(name.path()).unwrap();
    }
}

#[test]
fn streams_that_are_closed_from_the_start() {
    let _watchdog = watchdog();
    let name = Name::new();
    let receiver = Side::recv(&name, &[]);
    let mut command = ringway(["send", &name]);
    command.stdin(Stdio::null());
    Side::start(command).finish().expect(0, &[]);
    assert_eq!(receiver.finish().expect(0, &[]), b"");
}
