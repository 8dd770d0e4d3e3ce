//! Several processes on each side, some of which are stopped or killed in the middle of whatever they do.
//!
//! Everybody keeps books that outlive them: a producer counts the messages whose `send` has returned, a consumer lists
//! the messages that it has received.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::{Child, id};
use std::thread::yield_now;

use ringway::channel_of::Mpmc;
use ringway::mpmc::{Receiver, Sender};
use ringway::{Inspection, PeerState, RecvError};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process};

use crate::processes::{channel, command, succeed};
use crate::random::Random;
use crate::setup::{Backing, Open, Setup};
use crate::{Behaviour, behaviours};

pub(crate) const WAITING: &[Behaviour] = behaviours![mpmc:
    many_processes_exchange_messages,
    stopped_processes_stop_nobody,
    stopped_processes_with_guards_stop_nobody,
    a_killed_process_loses_only_what_it_had_taken,
    a_killed_process_with_a_guard_loses_nothing,
    a_slot_that_a_stopped_process_holds_is_inspected,
];

/// Set for a child: the path of its books, and its number among all.
const BOOKS: &str = "RINGWAY_CONFORMANCE_BOOKS";
const NUMBER: &str = "RINGWAY_CONFORMANCE_NUMBER";

/// Long enough that many a stop falls into the middle of it.
type Letter = [u64; 256];

/// The first letter of a producer is this many times its number.
const PRODUCER: u64 = 1 << 32;
const CAPACITY: usize = 8;
const SIDE: usize = 3;
/// More than any ring full, so that messages have flowed.
const SOME: u64 = 10 * CAPACITY as u64;

/// Of a consumer's entry: the message was acknowledged, which had been entered before.
const ACKNOWLEDGED: u64 = 1 << 63;
/// Of a consumer's entry: somebody had the message before.
const REDELIVERED: u64 = 1 << 62;

/// The books of all: words of a file in memory, which children open by its path.
struct Books(File);

impl Books {
    /// 1: producers are to end.
    const END: u64 = 0;
    /// Words of each process.
    const PAGES: u64 = 1 << 20;

    fn new() -> Self {
        Self(File::from(memfd_create("books", MemfdFlags::CLOEXEC).expect("a file in memory")))
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", id(), self.0.as_raw_fd())
    }

    fn of_parent() -> Self {
        let path = env::var_os(BOOKS).expect("it was set");
        Self(OpenOptions::new().read(true).write(true).open(path).expect("the parent's file"))
    }

    fn set(&self, word: u64, value: u64) {
        self.0.write_all_at(&value.to_le_bytes(), 8 * word).expect("a word is written");
    }

    /// 0 for what was never written.
    fn get(&self, word: u64) -> u64 {
        let mut bytes = [0; 8];
        let _ = self.0.read_at(&mut bytes, 8 * word).expect("the file is readable");
        u64::from_le_bytes(bytes)
    }

    /// Entry `index` of process `number`.
    fn entry(number: u64, index: u64) -> u64 {
        (number + 1) * Self::PAGES + index
    }

    /// What a process has entered from `index` on.
    fn entries(&self, number: u64, index: u64) -> Vec<u64> {
        let mut bytes = vec![0; 1 << 16];
        let mut entries = Vec::new();
        loop {
            let next = Self::entry(number, index + entries.len() as u64);
            let length = self.0.read_at(&mut bytes, 8 * next).expect("the file is readable");
            let words =
                bytes[..length].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")));
            let known = entries.len();
            entries.extend(words.take_while(|word| *word != 0));
            if entries.len() < known + bytes.len() / 8 {
                return entries;
            }
        }
    }
}

/// What a child does.
pub(crate) fn play(part: &str) {
    let books = Books::of_parent();
    let number = env::var(NUMBER).expect("it was set").parse().expect("a number");
    let channel = channel::<Letter, Mpmc>(0);
    match part {
        "produce" => produce(&channel.sender().expect("a free place"), &books, number),
        "consume" => consume(&channel.receiver().expect("a free place"), &books, number),
        "consume under guard" => consume_guarded(&channel.receiver().expect("a free place"), &books, number),
        other => panic!("no part is called {other}"),
    }
}

fn produce(tx: &Sender<Letter>, books: &Books, number: u64) {
    let mut sent = 0;
    while books.get(Books::END) == 0 {
        tx.send([number * PRODUCER + sent; 256]).expect("somebody receives");
        sent += 1;
        books.set(Books::entry(number, 0), sent);
    }
}

fn consume(rx: &Receiver<Letter>, books: &Books, number: u64) {
    for index in 0.. {
        match rx.recv() {
            Ok(letter) => books.set(Books::entry(number, index), entry_of(&letter)),
            Err(RecvError::Disconnected) => break,
            Err(error) => panic!("{error}"),
        }
    }
}

fn consume_guarded(rx: &Receiver<Letter>, books: &Books, number: u64) {
    for index in 0.. {
        match rx.recv_guard() {
            Ok(guard) => {
                let entry = entry_of(&guard) | if guard.redeliveries() > 0 { REDELIVERED } else { 0 };
                books.set(Books::entry(number, 2 * index), entry);
                guard.ack().expect("it is ours");
                books.set(Books::entry(number, 2 * index + 1), entry | ACKNOWLEDGED);
            }
            Err(RecvError::Disconnected) => break,
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a consumer enters for a letter; never 0.
fn entry_of(letter: &Letter) -> u64 {
    assert_eq!(*letter, [letter[0]; 256], "torn");
    letter[0] + 1
}

/// Everybody, as the parent sees them.
struct Crowd {
    open: Open<Letter, Mpmc>,
    setup: Setup,
    books: Books,
    consumers_part: &'static str,
    /// Those that live.
    processes: Vec<Process>,
    /// Numbers of all producers that there ever were, and of all consumers.
    producers: Vec<u64>,
    consumers: Vec<u64>,
    random: Random,
}

/// A child; killed when dropped, so that a trial that fails leaves nobody behind.
struct Process {
    child: Child,
    number: u64,
    is_producer: bool,
    /// Of a consumer: entries that the parent has seen.
    known: Cell<u64>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail for one that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("our child");
    }

    /// Stops it wherever it is, and returns when it has stopped.
    fn stop(&self) {
        self.signal(Signal::STOP);
        let path = format!("/proc/{}/stat", self.child.id());
        // Field 3, behind the name in parentheses.
        while !fs::read_to_string(&path)
            .expect("our child")
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.starts_with(" T"))
        {
            yield_now();
        }
    }

    fn resume(&self) {
        self.signal(Signal::CONT);
    }
}

impl Crowd {
    fn gather(setup: Setup, consumers_part: &'static str, seed: u64) -> Self {
        let mut crowd = Self {
            open: setup.open(CAPACITY),
            setup,
            books: Books::new(),
            consumers_part,
            processes: Vec::new(),
            producers: Vec::new(),
            consumers: Vec::new(),
            random: Random::new(seed),
        };
        for _ in 0..SIDE {
            crowd.start(true);
            crowd.start(false);
        }
        crowd.wait_until_all_are_attached();
        crowd
    }

    fn start(&mut self, is_producer: bool) {
        let number = (self.producers.len() + self.consumers.len()) as u64;
        let part = if is_producer { "produce" } else { self.consumers_part };
        let mut command = command(part, self.setup.wait, &[&self.open]);
        command.env(BOOKS, self.books.path()).env(NUMBER, number.to_string());
        let child = command.spawn().expect("another process");
        self.processes.push(Process { child, number, is_producer, known: Cell::new(0) });
        if is_producer { self.producers.push(number) } else { self.consumers.push(number) }
    }

    /// Whoever is not attached yet cannot keep its side from ending.
    fn wait_until_all_are_attached(&self) {
        let attached = |states: Vec<PeerState>| states.iter().filter(|state| state.is_alive()).count();
        while [self.open.sending().senders(), self.open.sending().receivers()].map(attached) != [SIDE; 2] {
            yield_now();
        }
    }

    /// Messages that a producer has certainly sent.
    fn sent(&self, number: u64) -> u64 {
        self.books.get(Books::entry(number, 0))
    }

    /// How far somebody has come.
    fn progress(&self, process: &Process) -> u64 {
        if process.is_producer {
            return self.sent(process.number);
        }
        let known = process.known.get();
        process.known.set(known + self.books.entries(process.number, known).len() as u64);
        process.known.get()
    }

    /// Waits until those whom `whose` names have sent, or received, `more` messages together.
    fn wait_for(&self, more: u64, whose: impl Fn(&Process) -> bool) {
        let now = || {
            self.processes.iter().filter(|process| whose(process)).map(|process| self.progress(process)).sum::<u64>()
        };
        let goal = now() + more;
        while now() < goal {
            yield_now();
        }
    }

    /// Some process of a side.
    fn any(&mut self, is_producer: bool) -> usize {
        loop {
            let index = self.random.below(self.processes.len());
            if self.processes[index].is_producer == is_producer {
                return index;
            }
        }
    }

    /// A random number of messages goes by.
    fn let_pass(&mut self) {
        let some = self.random.below(50) as u64;
        self.wait_for(1 + some, |process| process.is_producer);
    }

    /// Has the producers end, then waits for the others.
    fn disperse(&mut self) {
        self.books.set(Books::END, 1);
        for is_producer in [true, false] {
            let side = self.processes.iter_mut().filter(|process| process.is_producer == is_producer);
            side.for_each(|process| succeed(&mut process.child));
        }
    }

    /// Everything in the books: for each message, how often it was received, and how often acknowledged.
    fn deliveries(&self) -> BTreeMap<u64, (u64, u64)> {
        let mut deliveries = BTreeMap::<_, (u64, u64)>::new();
        for consumer in &self.consumers {
            let mut last = BTreeMap::new();
            for entry in self.books.entries(*consumer, 0) {
                let message = (entry & !(ACKNOWLEDGED | REDELIVERED)) - 1;
                let count = deliveries.entry(message).or_default();
                if entry & ACKNOWLEDGED != 0 {
                    count.1 += 1;
                    continue;
                }
                count.0 += 1;
                // One that comes again comes late.
                if entry & REDELIVERED == 0 {
                    let before = last.insert(message / PRODUCER, message);
                    assert!(before.is_none_or(|before| before < message), "{before:?} came before {message}");
                }
            }
        }
        deliveries
    }

    /// Messages that were sent and never received. Nothing else was received than what was sent.
    fn lost(&self, deliveries: &BTreeMap<u64, (u64, u64)>) -> u64 {
        let mut lost = 0;
        for producer in &self.producers {
            let (first, sent) = (producer * PRODUCER, self.sent(*producer));
            let received = deliveries.range(first..first + PRODUCER);
            let beyond = received.clone().filter(|(message, _)| **message >= first + sent);
            // A producer that was killed may not have entered its last message.
            assert!(beyond.count() <= 1, "producer {producer} has sent {sent}");
            lost += (first..first + sent).filter(|message| !deliveries.contains_key(message)).count() as u64;
        }
        let known = |message: &u64| self.producers.contains(&(message / PRODUCER));
        assert!(deliveries.keys().all(known), "a message of nobody");
        lost
    }

    /// The books of a crowd that nobody was taken from.
    fn check_everything_arrived_once(&self) {
        let deliveries = self.deliveries();
        assert!(deliveries.values().all(|(received, _)| *received == 1), "received twice");
        assert_eq!(self.lost(&deliveries), 0);
    }
}

fn many_processes_exchange_messages(setup: Setup) {
    let mut crowd = Crowd::gather(setup, "consume", 1);
    crowd.wait_for(2000, |process| !process.is_producer);
    crowd.disperse();
    crowd.check_everything_arrived_once();
}

fn stopped_processes_stop_nobody(setup: Setup) {
    stop_some("consume", setup);
}

fn stopped_processes_with_guards_stop_nobody(setup: Setup) {
    stop_some("consume under guard", setup);
}

fn stop_some(consumers_part: &'static str, setup: Setup) {
    let mut crowd = Crowd::gather(setup, consumers_part, 2);
    crowd.wait_for(SOME, |process| !process.is_producer);
    for _ in 0..15 {
        crowd.let_pass();
        let stopped = [crowd.any(true), crowd.any(false)].map(|index| &crowd.processes[index]);
        stopped.iter().for_each(|process| process.stop());
        let is_stopped = |process: &Process| stopped.iter().any(|stopped| stopped.number == process.number);
        // The others go on, for as long as one likes.
        crowd.wait_for(SOME, |process| process.is_producer && !is_stopped(process));
        crowd.wait_for(SOME, |process| !process.is_producer && !is_stopped(process));
        if let Some(name) = crowd.open.sending().name() {
            let seen = Inspection::of(name).expect("a region");
            let slots = seen.slots.expect("an MPMC region");
            // The others may be in the middle of something, too.
            assert!(slots.held + slots.guarded <= 2 * SIDE as u64, "{slots:?}");
            let [producer, consumer] = stopped.map(|process| PeerState::Stopped { pid: process.child.id() });
            assert!(seen.senders.contains(&producer) && seen.receivers.contains(&consumer), "{seen}");
        }
        stopped.iter().for_each(|process| process.resume());
        // And so do those.
        for process in stopped {
            crowd.wait_for(3, |other| other.number == process.number);
        }
    }
    crowd.disperse();
    crowd.check_everything_arrived_once();
}

/// Kills and replaces processes again and again; how many of them were consumers.
fn kill_some(crowd: &mut Crowd) -> u64 {
    let mut consumers = 0;
    crowd.wait_for(SOME, |process| !process.is_producer);
    for round in 0..20 {
        crowd.let_pass();
        let is_producer = round % 2 == 0;
        let index = crowd.any(is_producer);
        // By its drop.
        drop(crowd.processes.swap_remove(index));
        consumers += u64::from(!is_producer);
        // Those who are left do not need the newcomer.
        crowd.wait_for(SOME, |process| !process.is_producer);
        crowd.start(is_producer);
        crowd.wait_until_all_are_attached();
    }
    crowd.disperse();
    consumers
}

fn a_killed_process_loses_only_what_it_had_taken(setup: Setup) {
    let mut crowd = Crowd::gather(setup, "consume", 3);
    let killed = kill_some(&mut crowd);
    let deliveries = crowd.deliveries();
    assert!(deliveries.values().all(|(received, _)| *received == 1), "received twice");
    let lost = crowd.lost(&deliveries);
    assert!(lost <= killed, "{lost} messages were lost with {killed} consumers");
    is_whole(&crowd);
}

fn a_killed_process_with_a_guard_loses_nothing(setup: Setup) {
    let mut crowd = Crowd::gather(setup, "consume under guard", 4);
    let killed = kill_some(&mut crowd);
    let deliveries = crowd.deliveries();
    assert_eq!(crowd.lost(&deliveries), 0);
    assert!(deliveries.values().all(|(_, acknowledged)| *acknowledged <= 1), "acknowledged twice");
    let again: u64 = deliveries.values().map(|(received, _)| received - 1).sum();
    assert!(again <= killed, "{again} messages came again after {killed} consumers were killed");
    is_whole(&crowd);
}

/// After all, the ring has its whole capacity.
fn is_whole(crowd: &Crowd) {
    let (tx, rx) = (crowd.open.sender(), crowd.open.receiver());
    for number in 0..CAPACITY as u64 {
        tx.try_send([number; 256]).expect("nobody holds a slot");
    }
    assert!(tx.try_send([0; 256]).unwrap_err().is_full());
    assert!(rx.try_iter().map(|letter| letter[0]).eq(0..CAPACITY as u64));
}

fn a_slot_that_a_stopped_process_holds_is_inspected(setup: Setup) {
    // Sooner or later a stop falls between claim and publish.
    let held_by_one_in_its_middle = |seed| held_by_one_that_is_stopped(setup, seed) == 1;
    assert!(setup.backing != Backing::Posix || (10..).any(held_by_one_in_its_middle));
}

/// Stops a producer somewhere, lets all others end, and counts the slots that are out of circulation then.
fn held_by_one_that_is_stopped(setup: Setup, seed: u64) -> u64 {
    let mut crowd = Crowd::gather(setup, "consume", seed);
    crowd.wait_for(SOME, |process| !process.is_producer);
    crowd.let_pass();
    let index = crowd.any(true);
    let stopped = crowd.processes.swap_remove(index);
    stopped.stop();
    crowd.wait_for(SOME, |process| !process.is_producer);
    crowd.books.set(Books::END, 1);
    let others = crowd.processes.iter_mut().filter(|process| process.is_producer);
    others.for_each(|process| succeed(&mut process.child));

    let name = crowd.open.sending().name().expect("a named region");
    let slots = Inspection::of(name).expect("a region").slots.expect("an MPMC region");
    assert!(slots.held + slots.writing <= 1, "one process has one slot: {slots:?}");
    stopped.resume();
    crowd.processes.push(stopped);
    crowd.disperse();
    crowd.check_everything_arrived_once();
    slots.held
}
