//! `--mpmc`: several senders and receivers, each message to one of the receivers.

mod common;

use std::collections::HashMap;
use std::thread;

use common::{Name, Side, noise, ringway, watchdog};
use ringway::{Inspection, Options, PeerState, mpmc, spsc};
use rustix::process::Signal;

const LINES: &[&str] = &["--mpmc", "--lines"];

/// Bytes that a message carries.
const DATA: usize = 4072;

fn alive(peers: &[PeerState]) -> usize {
    peers.iter().filter(|peer| peer.is_alive()).count()
}

fn senders(name: &Name, count: usize) -> Inspection {
    name.wait_for(|region| alive(&region.senders) == count)
}

fn receivers(name: &Name, count: usize) -> Inspection {
    name.wait_for(|region| alive(&region.receivers) == count)
}

/// `count` lines that name their sender, some of them long or empty but for that.
fn input(sender: usize, count: usize) -> Vec<u8> {
    (0..count).flat_map(|line| format!("{sender} {line} {}\n", "x".repeat(line % 97)).into_bytes()).collect()
}

/// Runs them all to their ends, which must be good ones; gives the outputs.
fn run(sending: Vec<(Side, Vec<u8>)>, receiving: Vec<Side>) -> Vec<Vec<u8>> {
    thread::scope(|scope| {
        for (sender, input) in sending {
            scope.spawn(move || assert_eq!(sender.feed(&input).expect(0, &[]), b""));
        }
        let receiving: Vec<_> =
            receiving.into_iter().map(|side| scope.spawn(|| side.finish().expect(0, &[]))).collect();
        receiving.into_iter().map(|output| output.join().unwrap()).collect()
    })
}

/// Every line of every output, as its sender and its number; within an output each sender's lines must be in order.
#[track_caller]
fn in_order(outputs: &[Vec<u8>]) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    for output in outputs {
        let mut last = HashMap::new();
        for line in std::str::from_utf8(output).unwrap().lines() {
            let mut words = line.split(' ');
            let mut number = || words.next().unwrap().parse::<usize>().unwrap();
            let (sender, line) = (number(), number());
            assert_eq!(words.next().unwrap().len(), line % 97);
            assert!(last.insert(sender, line) < Some(line), "line {line} of sender {sender} is out of order");
            all.push((sender, line));
        }
    }
    all
}

#[track_caller]
fn each_line_once(outputs: &[Vec<u8>], senders: usize, lines: usize) {
    let mut all = in_order(outputs);
    all.sort_unstable();
    let expected = (0..senders).flat_map(|sender| (0..lines).map(move |line| (sender, line)));
    assert!(all.into_iter().eq(expected), "lost or doubled");
}

#[test]
fn every_line_goes_to_exactly_one_receiver_whoever_starts_first() {
    let _watchdog = watchdog();
    const COUNT: usize = 2000;
    for (sending, receiving) in [(1, 1), (3, 1), (1, 3), (3, 4)] {
        for receivers_first in [true, false] {
            for capacity in ["2", "256"] {
                let name = Name::new();
                let options = [LINES, &["--capacity", capacity]].concat();
                let start_receivers = || (0..receiving).map(|_| Side::recv(&name, &options)).collect();
                let start_senders =
                    || (0..sending).map(|number| (Side::send(&name, &options), input(number, COUNT))).collect();
                let (sides, outputs): (Vec<_>, Vec<_>);
                if receivers_first {
                    outputs = start_receivers();
                    receivers(&name, receiving);
                    sides = start_senders();
                    // Otherwise the first one may be done before the last one has come.
                    senders(&name, sending);
                } else {
                    sides = start_senders();
                    senders(&name, sending);
                    outputs = start_receivers();
                    receivers(&name, receiving);
                }
                let outputs = run(sides, outputs);
                each_line_once(&outputs, sending, COUNT);
                assert!(!name.exists(), "a name outlived its peers");
            }
        }
    }
}

#[test]
fn without_lines_the_bytes_of_one_sender_arrive_as_they_are() {
    let _watchdog = watchdog();
    let name = Name::new();
    for len in [0, 1, DATA - 1, DATA, DATA + 1, 1_000_001] {
        let bytes = noise(len);
        let receiver = Side::recv(&name, &["--mpmc"]);
        receivers(&name, 1);
        let outputs = run(vec![(Side::send(&name, &["--mpmc"]), bytes.clone())], vec![receiver]);
        assert!(outputs[0] == bytes, "not the same {len} bytes");
    }
}

#[test]
fn an_empty_input_is_the_end_of_a_sender_and_no_message() {
    let _watchdog = watchdog();
    let name = Name::new();
    let all: Vec<_> = (0..3).map(|_| Side::recv(&name, LINES)).collect();
    receivers(&name, 3);
    let mut last = Side::send(&name, LINES);
    senders(&name, 1);
    last.write(b"x\n");
    Side::send(&name, LINES).feed(b"").expect(0, &[]);
    // Receivers that have got nothing do not end before the last sender.
    assert_eq!(alive(&receivers(&name, 3).senders), 1);
    last.finish().expect(0, &[]);
    let outputs = run(Vec::new(), all);
    assert_eq!(outputs.concat(), b"x\n");
}

#[test]
fn lines_of_every_kind() {
    let _watchdog = watchdog();
    let name = Name::new();
    let mut text = b"first\n\n\nwith CRLF\r\n\0binary\xff\n".to_vec();
    text.extend(
        [vec![b'x'; DATA], b"\n".to_vec(), vec![b'y'; DATA - 1], b"\nlast, without a newline".to_vec()].concat(),
    );
    let receiver = Side::recv(&name, LINES);
    let outputs = run(vec![(Side::send(&name, LINES), text.clone())], vec![receiver]);
    text.push(b'\n');
    assert!(outputs[0] == text, "not the same lines");
}

#[test]
fn a_line_longer_than_a_message_is_an_error_that_names_the_maximum() {
    let _watchdog = watchdog();
    for end in ["\n", ""] {
        let name = Name::new();
        let receiver = Side::recv(&name, LINES);
        let text = format!("one\ntwo\n{}{end}", "x".repeat(DATA + 1));
        let words = ["line 3", "4072 bytes", "the lines before it were sent", "without --lines"];
        Side::send(&name, LINES).feed(text.as_bytes()).expect(1, &words);
        assert_eq!(receiver.finish().expect(0, &[]), b"one\ntwo\n");
    }
}

#[test]
fn a_line_arrives_before_the_next_one_is_written() {
    let _watchdog = watchdog();
    for wait in ["adaptive", "park", "spin"] {
        let name = Name::new();
        let options = [LINES, &["--wait", wait]].concat();
        let (mut sender, mut receiver) = (Side::send(&name, &options), Side::recv(&name, &options));
        for line in ["first\n", "\n", "third\r\n"] {
            sender.write(line.as_bytes());
            assert_eq!(receiver.read(line.len()), line.as_bytes());
        }
        sender.finish().expect(0, &[]);
        receiver.finish().expect(0, &[]);
    }
}

#[test]
fn a_killed_sender_stops_nobody_and_is_told_of_at_the_end() {
    let _watchdog = watchdog();
    const COUNT: usize = 5000;
    let name = Name::new();
    let receiving: Vec<_> = (0..2).map(|_| Side::recv(&name, LINES)).collect();
    receivers(&name, 2);
    let other = Side::send(&name, LINES);
    let mut victim = Side::send(&name, LINES);
    senders(&name, 2);
    let words = [&*format!("(pid {})", victim.id()), "killed before the end of its input", "were written"];
    let outputs: Vec<_> = thread::scope(|scope| {
        let receiving: Vec<_> =
            receiving.into_iter().map(|side| scope.spawn(|| side.finish().expect(3, &words))).collect();
        victim.write(&input(1, COUNT));
        victim.kill();
        other.feed(&input(0, COUNT)).expect(0, &[]);
        receiving.into_iter().map(|output| output.join().unwrap()).collect()
    });
    let (mut of_victim, others): (Vec<_>, Vec<_>) = in_order(&outputs).into_iter().partition(|line| line.0 == 1);
    assert_eq!(others.len(), COUNT);
    // What arrived of the victim's lines is the beginning of its input.
    of_victim.sort_unstable();
    assert!(of_victim.iter().map(|line| line.1).eq(0..of_victim.len()), "lost or doubled");
    assert!(!name.exists());
}

#[test]
fn the_only_sender_is_killed() {
    let _watchdog = watchdog();
    let name = Name::new();
    let mut receiver = Side::recv(&name, LINES);
    let mut sender = Side::send(&name, LINES);
    sender.write(b"so far\nunfinished");
    assert_eq!(receiver.read(7), b"so far\n");
    let pid = format!("(pid {})", sender.id());
    sender.kill();
    assert_eq!(receiver.finish().expect(3, &[&pid, "7 bytes were written"]), b"");
    assert!(!name.exists());
}

#[test]
fn a_killed_receiver_takes_along_what_it_had_taken_and_no_more() {
    let _watchdog = watchdog();
    const COUNT: usize = 20_000;
    let name = Name::new();
    let mut victim = Side::recv(&name, LINES);
    let other = Side::recv(&name, LINES);
    receivers(&name, 2);
    thread::scope(|scope| {
        let sender = scope.spawn(|| Side::send(&name, LINES).feed(&input(0, COUNT)).expect(0, &[]));
        // Nobody reads on: its output is full, it holds a batch, and others go on.
        let mut seen = victim.read(1000);
        let output = scope.spawn(|| other.finish().expect(0, &[]));
        sender.join().unwrap();
        let mut pipe = victim.stdout.take().unwrap();
        victim.kill();
        std::io::Read::read_to_end(&mut pipe, &mut seen).unwrap();
        // It may have been killed in the middle of a line.
        let whole = seen.iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
        let mut lines = in_order(&[seen[..whole].to_vec(), output.join().unwrap()]);
        lines.sort_unstable();
        let distinct = lines.len();
        lines.dedup();
        assert_eq!(lines.len(), distinct, "doubled");
        assert!(lines.len() + 32 >= COUNT, "{} lines were lost", COUNT - lines.len());
    });
    assert!(!name.exists());
}

#[test]
fn the_last_receiver_is_killed() {
    let _watchdog = watchdog();
    let name = Name::new();
    let options = [LINES, &["--capacity", "2"]].concat();
    let (mut sender, mut receiver) = (Side::send(&name, &options), Side::recv(&name, &options));
    sender.write(b"taken\n");
    assert_eq!(receiver.read(6), b"taken\n");
    receiver.kill();
    sender.feed(&input(0, 1000)).expect(3, &["every receiver has ended (1 killed)", "2 are left"]);
    assert!(!name.exists());
}

#[test]
fn a_stopped_receiver_holds_up_nobody() {
    let _watchdog = watchdog();
    const COUNT: usize = 5000;
    let name = Name::new();
    let (stopped, other) = (Side::recv(&name, LINES), Side::recv(&name, LINES));
    receivers(&name, 2);
    stopped.stop();
    let outputs = run(vec![(Side::send(&name, LINES), input(0, COUNT))], vec![other]);
    each_line_once(&outputs, 1, COUNT);
    stopped.signal(Signal::CONT);
    assert_eq!(stopped.finish().expect(0, &[]), b"");
}

#[test]
fn workers_come_and_go() {
    let _watchdog = watchdog();
    let name = Name::new();
    let mut sender = Side::send(&name, LINES);
    for round in 0..10 {
        let mut worker = Side::recv(&name, LINES);
        receivers(&name, if round == 0 { 1 } else { 2 });
        // All but the first are ended by a signal, with another one there.
        if round > 0 {
            worker.signal(Signal::TERM);
            assert_eq!(worker.finish().code, Some(143));
            assert!(name.exists());
            continue;
        }
        sender.write(b"to the first\n");
        assert_eq!(worker.read(13), b"to the first\n");
        // It stays.
        thread::spawn(move || worker.finish().expect(3, &["sender"]));
    }
    receivers(&name, 1);
    sender.kill();
    while name.exists() {
        thread::yield_now();
    }
}

#[test]
fn one_stream_after_the_other_under_one_name() {
    let _watchdog = watchdog();
    let name = Name::new();
    for round in 0..30 {
        let receiver = Side::recv(&name, LINES);
        let line = format!("{round}\n");
        let outputs = run(vec![(Side::send(&name, LINES), line.clone().into_bytes())], vec![receiver]);
        assert_eq!(outputs.concat(), line.as_bytes());
    }
}

#[test]
fn all_are_killed_and_started_again() {
    let _watchdog = watchdog();
    let name = Name::new();
    let (mut sender, receiver) = (Side::send(&name, LINES), Side::recv(&name, LINES));
    name.wait_for(|region| region.received == 1);
    receiver.stop();
    sender.write(b"left behind\n");
    name.wait_for(|region| region.len == 1);
    sender.stop();
    receiver.kill();
    sender.kill();
    assert!(name.exists(), "who was killed cannot clean up");
    let receiver = Side::recv(&name, LINES);
    let outputs = run(vec![(Side::send(&name, LINES), b"again\n".to_vec())], vec![receiver]);
    assert_eq!(outputs.concat(), b"again\n");
}

#[test]
fn signals_and_timeouts_leave_nothing_behind() {
    let _watchdog = watchdog();
    let name = Name::new();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let alone = Side::recv(&name, LINES);
        receivers(&name, 1);
        alone.signal(signal);
        assert_eq!(alone.wait_for_end(), Some(code));
        assert!(!name.exists());
        let alone = Side::send(&name, LINES);
        name.wait_for(|region| region.len == 1);
        alone.signal(signal);
        assert_eq!(alone.wait_for_end(), Some(code));
        assert!(!name.exists());
    }
    let options = [LINES, &["--timeout", "0.05"]].concat();
    Side::send(&name, &options).finish().expect(5, &["no receiver came", "within 0.05 s"]);
    assert!(!name.exists());
    Side::recv(&name, &options).finish().expect(5, &["no sender came"]);
    assert!(!name.exists());
    // The last one of several removes the name.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| Side::send(&name, &options).wait_for_end());
        }
    });
    assert!(!name.exists());
}

#[test]
fn a_timeout_is_over_once_a_sender_is_there_whoever_got_its_announcement() {
    let _watchdog = watchdog();
    let name = Name::new();
    let options = [LINES, &["--timeout", "60"]].concat();
    let first = Side::recv(&name, &options);
    let mut sender = Side::send(&name, &options);
    name.wait_for(|region| region.received == 1);
    // Nothing comes in time, but somebody is there.
    let second = Side::recv(&name, &[LINES, &["--timeout", "0"]].concat());
    receivers(&name, 2);
    first.signal(Signal::TERM);
    assert_eq!(first.wait_for_end(), Some(143));
    sender.write(b"x\n");
    sender.finish().expect(0, &[]);
    assert_eq!(second.finish().expect(0, &[]), b"x\n");
}

#[test]
fn with_and_without_the_option_do_not_mix() {
    let _watchdog = watchdog();
    let name = Name::new();
    let waiting = Side::recv(&name, &[]);
    name.wait_for(|region| region.receivers[0].is_alive());
    for command in ["send", "recv"] {
        let ended = Side::start(ringway([command, &*name, "--mpmc"])).finish();
        ended.expect(2, &["was started without --mpmc", "all of its senders and receivers or for none"]);
    }
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.wait_for_end(), Some(143));
    let waiting = Side::recv(&name, LINES);
    receivers(&name, 1);
    for command in ["send", "recv"] {
        let ended = Side::start(ringway([command, &*name])).finish();
        ended.expect(2, &["was started with --mpmc", "ringway remove"]);
    }
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.wait_for_end(), Some(143));
}

#[test]
fn bytes_are_no_lines() {
    let _watchdog = watchdog();
    let name = Name::new();
    let receiver = Side::recv(&name, LINES);
    receivers(&name, 1);
    let sender = Side::send(&name, &["--mpmc"]);
    let sent = thread::spawn(|| sender.feed(b"bytes"));
    receiver.finish().expect(2, &["not cut into lines", "with --lines"]);
    // It has sent them, and they were taken.
    assert!(matches!(sent.join().unwrap().code, Some(0 | 3)));
}

#[test]
fn the_channel_of_another_program_is_left_alone() {
    let _watchdog = watchdog();
    let name = Name::new();
    let channel = mpmc::Channel::<u64>::create(&name, &Options::new().capacity(8)).unwrap();
    channel.sender().unwrap().send(42).unwrap();
    for command in ["send", "recv"] {
        Side::start(ringway([command, &*name, "--mpmc"])).finish().expect(1, &["another payload"]);
        Side::start(ringway([command, &*name])).finish().expect(2, &["was started with --mpmc"]);
    }
    assert_eq!(channel.receiver().unwrap().recv(), Ok(42));
    drop(channel);
    let channel = spsc::Channel::<u64>::create(&name, &Options::new()).unwrap();
    Side::recv(&name, &["--mpmc"]).finish().expect(2, &["was started without --mpmc"]);
    drop(channel);
}

#[test]
fn list_and_inspect_show_how_it_works_and_who_is_there() {
    let _watchdog = watchdog();
    let name = Name::new();
    let all: Vec<_> = (0..3).map(|_| Side::recv(&name, &[LINES, &["--capacity", "5"]].concat())).collect();
    receivers(&name, 3);
    let mut sender = Side::send(&name, LINES);
    name.wait_for(|region| region.received == 1);
    let output = |arguments: &[&str]| {
        String::from_utf8(Side::start(ringway(arguments.iter().copied())).finish().expect(0, &[])).unwrap()
    };
    let list = output(&["list"]);
    let line = list.lines().find(|line| line.starts_with(&*name)).unwrap();
    for word in ["mpmc", "8", &sender.id().to_string(), "3 alive"] {
        assert!(line.contains(word), "no {word:?} in {line}");
    }
    let shown = output(&["inspect", &name]);
    let receiving: Vec<_> = all.iter().map(|side| format!("receiver   process {}, running", side.id())).collect();
    let mut words: Vec<&str> = receiving.iter().map(|line| &**line).collect();
    words.extend([
        "mpmc",
        "0 of 8 (1 received, void tickets included)",
        "publishing mode ",
        "0 held by stalled peers",
        "at most 1024",
    ]);
    for word in words {
        assert!(shown.contains(word), "no {word:?} in {shown}");
    }
    let victim = all.into_iter().next_back().unwrap();
    victim.kill();
    let list = output(&["list"]);
    let line = list.lines().find(|line| line.starts_with(&*name)).unwrap();
    assert!(line.contains("dead"), "{line}");
    sender.write(b"x\n");
    sender.kill();
    while alive(&name.wait_for(|_| true).receivers) > 0 {
        thread::yield_now();
    }
    Side::start(ringway(["remove", &name])).finish();
}
