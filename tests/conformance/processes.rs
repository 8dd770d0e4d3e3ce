//! Two processes: this binary is started again as the other side.

use std::env;
use std::io::{stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitCode, Stdio};

use ringway::channel_of::{Channel, Flavor, Mpmc, Spsc};
use ringway::{Options, Payload, RecvError, Wait};

use crate::flavor::Kind;
use crate::message::Trade;
use crate::mpmc::crowd;
use crate::setup::{Open, Setup};
use crate::stress::{receive_all, send_all};
use crate::{Behaviour, behaviours, watchdog};

pub(crate) const WAITING: &[Behaviour] = behaviours![
    a_process_sends_to_this_one,
    a_process_receives_from_this_one,
    a_process_that_waits_in_another_way_receives,
    processes_play_ping_pong,
];

/// Set for a child: its part, the flavor, its strategy, and the names of its channels. Without names, they are its stdin and stdout.
const PART: &str = "RINGWAY_CONFORMANCE_PART";
const FLAVOR: &str = "RINGWAY_CONFORMANCE_FLAVOR";
const WAIT: &str = "RINGWAY_CONFORMANCE_WAIT";
const NAMES: &str = "RINGWAY_CONFORMANCE_NAMES";

const MESSAGES: u64 = 50_000;
const ROUNDS: u64 = 100;

fn a_process_sends_to_this_one<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(500);
    let mut child = start("send", setup.wait, &[&open]);
    let rx = open.receiver();
    receive_all(&rx, MESSAGES, 1);
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    succeed(&mut child);
}

fn a_process_receives_from_this_one<F: Kind>(setup: Setup) {
    let open = setup.open::<Trade, F>(500);
    send_to(start("receive", setup.wait, &[&open]), &open);
}

fn a_process_that_waits_in_another_way_receives<F: Kind>(setup: Setup) {
    let other = match setup.wait {
        Wait::Spin => Wait::Park,
        Wait::Park => Wait::Adaptive,
        _ => Wait::Spin,
    };
    let open = setup.open::<Trade, F>(5);
    send_to(start("receive", other, &[&open]), &open);
}

fn send_to<F: Kind>(mut child: Child, open: &Open<Trade, F>) {
    let tx = open.sender();
    let count = if tx.capacity() < 100 { MESSAGES / 100 } else { MESSAGES };
    send_all(&tx, 0..count, 2);
    assert_eq!(tx.wait_drained(None), Ok(()));
    drop(tx);
    succeed(&mut child);
}

fn processes_play_ping_pong<F: Kind>(setup: Setup) {
    let (ping, pong) = (setup.open::<u64, F>(1), setup.open::<u64, F>(1));
    let mut child = start("echo", setup.wait, &[&ping, &pong]);
    let (tx, rx) = (ping.sender(), pong.receiver());
    for number in 0..ROUNDS {
        tx.send(number).unwrap();
        assert_eq!(rx.recv(), Ok(number + 1));
    }
    drop(tx);
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    succeed(&mut child);
}

/// Starts the other side of up to two channels.
fn start<T: Payload, F: Kind>(part: &str, wait: Wait, channels: &[&Open<T, F>]) -> Child {
    command(part, wait, channels).spawn().expect("another process")
}

/// As [`start`], for parts that need to know more.
pub(crate) fn command<T: Payload, F: Kind>(part: &str, wait: Wait, channels: &[&Open<T, F>]) -> Command {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.env(PART, part).env(FLAVOR, F::NAME).env(WAIT, format!("{wait:?}"));
    if let Some(names) = channels.iter().map(|open| open.receiving().name()).collect::<Option<Vec<_>>>() {
        command.env(NAMES, names.join("\n"));
    } else {
        let mut passed = channels.iter().map(|open| Stdio::from(OwnedFd::from(open.file())));
        command.stdin(passed.next().expect("a channel")).stdout(passed.next().unwrap_or(Stdio::null()));
    }
    command
}

pub(crate) fn succeed(child: &mut Child) {
    let status = child.wait().expect("our child");
    assert!(status.success(), "the other process failed, see above: {status}");
}

pub(crate) fn is_child() -> bool {
    env::var_os(PART).is_some()
}

/// What a child does instead of trials.
pub(crate) fn run_child() -> ExitCode {
    match env::var(FLAVOR).expect("it was set").as_str() {
        Spsc::NAME => play::<Spsc>(),
        Mpmc::NAME => play::<Mpmc>(),
        other => panic!("no flavor is called {other}"),
    }
    ExitCode::SUCCESS
}

fn play<F: Kind>() {
    let part = env::var(PART).expect("it was set");
    watchdog::guard(&format!("the process that is to {part}"), || match part.as_str() {
        "send" => send_all(&channel::<u64, F>(0).sender().expect("a free end"), 0..MESSAGES, 3),
        "receive" => {
            let rx = channel::<Trade, F>(0).receiver().expect("a free end");
            let count = if rx.capacity() < 100 { MESSAGES / 100 } else { MESSAGES };
            receive_all(&rx, count, 4);
            assert_eq!(rx.recv(), Err(RecvError::Disconnected));
        }
        "echo" => {
            let rx = channel::<u64, F>(0).receiver().expect("a free end");
            let tx = channel::<u64, F>(1).sender().expect("a free end");
            rx.iter().for_each(|message| tx.send(message + 1).expect("the other side waits for it"));
        }
        other => crowd::play(other),
    });
}

/// The channel of that index, as this child came to it.
pub(crate) fn channel<T: Payload, F: Flavor>(index: usize) -> Channel<T, F> {
    let wait = match env::var(WAIT).expect("it was set").as_str() {
        "Spin" => Wait::Spin,
        "Adaptive" => Wait::Adaptive,
        _ => Wait::Park,
    };
    let options = Options::new().wait(wait);
    let channel = match env::var(NAMES) {
        Ok(names) => Channel::attach(names.lines().nth(index).expect("a name"), &options),
        Err(_) => {
            let passed =
                if index == 0 { stdin().as_fd().try_clone_to_owned() } else { stdout().as_fd().try_clone_to_owned() };
            Channel::from_fd(passed.expect("one more descriptor"), &options)
        }
    };
    channel.expect("the region is there")
}
