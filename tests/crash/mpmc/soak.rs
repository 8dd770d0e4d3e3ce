//! Several producers and consumers under random `SIGKILL`, `SIGSTOP` and `SIGCONT`, and newcomers in the place of the dead.
//!
//! Producers send batches of numbered messages, note on the board, which survives them, what they are about to send and
//! what they have sent; consumers mark there what they receive. So at the end it is known of every message whether it was
//! sent, and whether it was received. What a call that did not return was sending may have arrived or not, and what one was
//! receiving without a guard may be gone; everything else arrives exactly once, whole, and to each consumer in the order
//! of its producer. Under guards nothing is gone, and what comes twice says so.
//!
//! As long as a producer and a consumer run, messages pass, whoever else is stopped or dead.

use std::collections::HashMap;
use std::thread::yield_now;

use ringway::channel_of::Mpmc;
use ringway::mpmc::{Guard, Receiver, Sender};
use ringway::{RecvError, TryRecvError, Wait};

use super::Place;
use super::oracle::entirely_usable;
use crate::harness::{Case, is_soak};
use crate::oracle::{Verdict, require};
use crate::process::{Board, Child};
use crate::random::Random;
use crate::soak::{send_batch, send_one};
use crate::world::{Numbered, Wide, World, options};

/// Peers of each role at a time: all that there is room for.
const EACH: usize = 3;
/// Events in one channel.
const ROUNDS: u64 = 250;
/// Channels in a soak.
const SOAK_CHANNELS: u64 = 300;
/// More than what stopped peers can keep of it.
const CAPACITY: u64 = 16;
/// Messages of the longest call.
const BATCH: u64 = 12;
/// Messages of a stream; then its producer begins another one.
const STREAM: u64 = 1024;
/// Streams in one channel, of which a run uses some hundreds.
const STREAMS: u64 = 1 << 15;

/// The board's cells. First: 1 when producers are to end, 2 when they have.
const STOP: usize = 0;
/// Messages in all.
const SENT: usize = 1;
const RECEIVED: usize = 2;
/// Streams begun, and consumers.
const STREAMS_BEGUN: usize = 3;
const CONSUMERS_BEGUN: usize = 4;
/// For each consumer: messages that it may be taking.
const CONSUMERS: usize = 5;
/// For each stream: messages sent by completed calls, the same with those of the call that is going on, and a bit for each
/// message that arrived.
const STREAM_CELLS: usize = CONSUMERS + CONSUMERS_MAX;
const CONSUMERS_MAX: usize = (2 * EACH as u64 * ROUNDS) as usize;
const CELLS_A_STREAM: usize = 2 + (STREAM / 64) as usize;

fn done(stream: u64) -> usize {
    STREAM_CELLS + stream as usize * CELLS_A_STREAM
}

fn attempted(stream: u64) -> usize {
    done(stream) + 1
}

fn split(number: u64) -> (u64, u64) {
    (number / STREAM, number % STREAM)
}

/// The cell and the bit of a message.
fn arrival(number: u64) -> (usize, u64) {
    let (stream, counter) = split(number);
    (done(stream) + 2 + counter as usize / 64, 1 << (counter % 64))
}

fn produce<T: Numbered>(tx: &Sender<T>, board: &Board, random: &mut Random) {
    loop {
        let stream = board.add(STREAMS_BEGUN, 1);
        assert!(stream < STREAMS, "more streams than the board has room for");
        let mut next = 0;
        while next < STREAM {
            if board.get(STOP) != 0 {
                return;
            }
            let count = if random.below(2) == 0 { 1 } else { 1 + random.below(BATCH) }.min(STREAM - next);
            let numbers = stream * STREAM + next..stream * STREAM + next + count;
            let batch: Vec<T> = numbers.map(T::new).collect();
            board.set(attempted(stream), next + count);
            let sent = if count > 1 { send_batch(tx, &batch) } else { send_one(tx, batch[0], random) };
            next += sent;
            board.set(done(stream), next);
            board.set(attempted(stream), next);
            board.add(SENT, sent);
            if sent == 0 {
                yield_now();
            }
        }
    }
}

/// What a consumer knows of the streams: the message that it received last.
#[derive(Debug, Default)]
struct Seen(HashMap<u64, u64>);

impl Seen {
    /// A message that nobody had before.
    fn accept(&mut self, number: u64, board: &Board) {
        let (stream, counter) = split(number);
        assert!(stream < board.get(STREAMS_BEGUN), "stream {stream} was not begun");
        assert!(counter < board.get(attempted(stream)), "message {counter} of {stream} was not sent yet");
        let before = self.0.insert(stream, counter);
        assert!(before < Some(counter), "message {counter} of {stream} came after {before:?}");
    }
}

/// Receives at most once.
fn consume<T: Numbered>(rx: &Receiver<T>, board: &Board, taking: usize, random: &mut Random) {
    let mut seen = Seen::default();
    let mut buffer = vec![T::new(0); BATCH as usize];
    loop {
        let limit = if random.below(2) == 0 { 1 } else { 1 + random.below(BATCH) };
        let is_last = board.get(STOP) == 2;
        board.set(taking, limit);
        let count = match receive(rx, &mut buffer[..limit as usize], random) {
            Ok(count) => count,
            Err(RecvError::Disconnected) if is_last => break,
            // Between two producers.
            Err(RecvError::Disconnected) => 0,
            Err(error) => panic!("{error}"),
        };
        for message in &buffer[..count] {
            let number = message.number().expect("a whole message");
            seen.accept(number, board);
            let (cell, bit) = arrival(number);
            assert_eq!(board.mark(cell, bit) & bit, 0, "message {:?} arrived twice", split(number));
        }
        board.set(taking, 0);
        board.add(RECEIVED, count as u64);
        if count == 0 {
            yield_now();
        }
    }
    board.set(taking, 0);
}

/// Messages received; none if there are none for now.
fn receive<T: Numbered>(rx: &Receiver<T>, buffer: &mut [T], random: &mut Random) -> Result<usize, RecvError> {
    if buffer.len() > 1 {
        return rx.recv_slice(buffer);
    }
    if random.below(2) == 0 {
        buffer[0] = rx.recv()?;
        return Ok(1);
    }
    match rx.try_recv() {
        Ok(message) => buffer[0] = message,
        Err(TryRecvError::Empty) => return Ok(0),
        Err(TryRecvError::Disconnected) => return Err(RecvError::Disconnected),
        Err(error) => panic!("{error}"),
    }
    Ok(1)
}

/// Receives at least once, with two messages under guard now and then.
fn consume_guarded<T: Numbered>(rx: &Receiver<T>, board: &Board, random: &mut Random) {
    let mut seen = Seen::default();
    let mut end = |guard: Guard<'_, T>, random: &mut Random| {
        let number = guard.number().expect("a whole message");
        if guard.redeliveries() == 0 {
            seen.accept(number, board);
        }
        match random.below(10) {
            0 => return guard.nack().expect("it is ours"),
            1 => return drop(guard),
            _ => {}
        }
        let (cell, bit) = arrival(number);
        let before = board.mark(cell, bit) & bit;
        assert!(before == 0 || guard.redeliveries() > 0, "message {:?} arrived twice", split(number));
        guard.ack().expect("it is ours");
        board.add(RECEIVED, 1);
    };
    loop {
        let is_last = board.get(STOP) == 2;
        let first = match rx.recv_guard() {
            Ok(guard) => guard,
            Err(RecvError::Disconnected) if is_last => return,
            Err(RecvError::Disconnected) => {
                yield_now();
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        // Whoever holds a guard must not wait for those who hold others.
        let second = if random.below(4) == 0 { rx.try_recv_guard().ok() } else { None };
        end(first, random);
        if let Some(second) = second {
            end(second, random);
        }
    }
}

/// One peer.
struct Peer {
    is_producer: bool,
    child: Child,
    is_stopped: bool,
}

/// One channel, and those who work with it.
struct Stream<T: Numbered> {
    world: World<T, Mpmc>,
    board: Board,
    guarded: bool,
    peers: Vec<Peer>,
}

impl<T: Numbered> Stream<T> {
    fn start(place: Place, guarded: bool, random: &mut Random) -> Self {
        let world = place.world(CAPACITY, 2 * EACH);
        let board = Board::new(done(STREAMS));
        let mut stream = Self { world, board, guarded, peers: Vec::new() };
        for index in 0..2 * EACH {
            let peer = stream.peer(index < EACH, random);
            stream.peers.push(peer);
        }
        stream
    }

    fn peer(&self, is_producer: bool, random: &mut Random) -> Peer {
        let seed = random.next();
        let taking = CONSUMERS + if is_producer { 0 } else { self.board.add(CONSUMERS_BEGUN, 1) as usize };
        let child = self.world.child(|| {
            let mut random = Random::new(seed);
            let wait = [Wait::Spin, Wait::Adaptive, Wait::Park][random.below(3) as usize];
            let channel = self.world.open_with(&options().wait(wait));
            if is_producer {
                produce(&channel.sender().expect("a dead peer's index"), &self.board, &mut random);
                return;
            }
            let rx = channel.receiver().expect("a dead peer's index");
            if self.guarded {
                consume_guarded(&rx, &self.board, &mut random);
            } else {
                consume(&rx, &self.board, taking, &mut random);
            }
        });
        Peer { is_producer, child, is_stopped: false }
    }

    fn moved(&self) -> u64 {
        self.board.get(SENT) + self.board.get(RECEIVED)
    }

    /// How many of a role run.
    fn running(&self, is_producer: bool) -> usize {
        self.peers.iter().filter(|peer| peer.is_producer == is_producer && !peer.is_stopped).count()
    }

    /// Nobody ends by itself.
    fn check(&mut self) -> Verdict {
        for peer in &mut self.peers {
            if peer.child.state() == Some('Z') {
                let role = if peer.is_producer { "producer" } else { "consumer" };
                return Err(format!("a {role} ended by itself: {:?}", peer.child.finish()));
            }
        }
        Ok(())
    }

    /// Waits until some more messages have passed.
    fn go_on(&mut self, messages: u64) -> Verdict {
        let goal = self.moved() + messages;
        while self.moved() < goal {
            self.check()?;
            yield_now();
        }
        Ok(())
    }

    /// Kills one, wherever it is, and starts another in its place.
    fn replace(&mut self, index: usize, random: &mut Random) {
        self.peers[index].child.kill();
        self.peers[index] = self.peer(self.peers[index].is_producer, random);
    }

    /// Something happens to somebody.
    fn happen(&mut self, random: &mut Random) {
        let chosen = random.below(2 * EACH as u64) as usize;
        match random.below(8) {
            0..4 => self.replace(chosen, random),
            4 => {
                let role = if chosen < EACH { 0..EACH } else { EACH..2 * EACH };
                role.for_each(|index| self.replace(index, random));
            }
            5 | 6 if !self.peers[chosen].is_stopped && self.running(self.peers[chosen].is_producer) > 1 => {
                self.peers[chosen].child.stop();
                self.peers[chosen].is_stopped = true;
            }
            _ => self.resume(chosen),
        }
    }

    fn resume(&mut self, index: usize) {
        if std::mem::take(&mut self.peers[index].is_stopped) {
            self.peers[index].child.signal(libc::SIGCONT);
        }
    }

    /// Lets everybody end, and counts.
    fn finish(mut self) -> Verdict {
        (0..2 * EACH).for_each(|index| self.resume(index));
        let Self { world, board, guarded, mut peers } = self;
        board.set(STOP, 1);
        peers.iter_mut().filter(|peer| peer.is_producer).try_for_each(|peer| peer.child.succeed("a producer"))?;
        board.set(STOP, 2);
        peers.iter_mut().filter(|peer| !peer.is_producer).try_for_each(|peer| peer.child.succeed("a consumer"))?;

        let streams = board.get(STREAMS_BEGUN);
        let sent = (0..streams).flat_map(|stream| stream * STREAM..stream * STREAM + board.get(done(stream)));
        let has_arrived = |number: &u64| {
            let (cell, bit) = arrival(*number);
            board.get(cell) & bit != 0
        };
        let lost: Vec<_> = sent.filter(|number| !has_arrived(number)).map(split).collect();
        let consumers = board.get(CONSUMERS_BEGUN) as usize;
        let most: u64 = (0..consumers).map(|consumer| board.get(CONSUMERS + consumer)).sum();
        println!(
            "{streams} streams, {} messages, received {} by {consumers} consumers, {} lost with them of at most {most}",
            board.get(SENT),
            board.get(RECEIVED),
            lost.len(),
        );
        require!(!guarded || most == 0, "guards lose nothing");
        require!(lost.len() as u64 <= most, "{} messages are lost, of at most {most}: {lost:?}", lost.len());
        entirely_usable(&world, world.receiver(), 0, 2 * EACH)
    }
}

fn soak<T: Numbered>(place: Place, guarded: bool) -> Verdict {
    let mut random = Random::seeded();
    for _ in 0..if is_soak() { SOAK_CHANNELS } else { 1 } {
        let mut stream = Stream::<T>::start(place, guarded, &mut random);
        for _ in 0..ROUNDS {
            stream.go_on(random.below(100))?;
            stream.happen(&mut random);
        }
        stream.finish()?;
    }
    Ok(())
}

pub(super) fn cases() -> Vec<Case> {
    let of = |place: Place| {
        let Place { backing, mode, .. } = place;
        let name = |kind| format!("soak::mpmc {kind}[{mode:?}, {backing:?}]");
        [
            Case::new(name("small"), move || soak::<u64>(place, false)),
            Case::new(name("packed"), move || soak::<u64>(Place { packed: true, ..place }, false)),
            Case::new(name("wide"), move || soak::<Wide>(place, false)),
            Case::new(name("guarded"), move || soak::<u64>(place, true)),
        ]
    };
    Place::all().into_iter().flat_map(of).collect()
}
