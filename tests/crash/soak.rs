//! A stream under random `SIGKILL`, `SIGSTOP` and `SIGCONT`, with each end taken over again and again.
//!
//! The producer of incarnation i sends the numbers i.0, i.1, i.2 and so on, and notes on the board, which survives it,
//! what it is about to send and what it has sent. The consumer notes what it is about to take and what it has taken. So
//! each knows what a predecessor left open: of a dead producer, the messages of its last call may have arrived or not, and
//! of a dead consumer, those of its last call may be gone. Everything else arrives exactly once, whole, and in order.

use std::thread::yield_now;

use ringway::channel_of::{Flavor, Sender as SenderOf};
use ringway::spsc::{Receiver, Sender};
use ringway::{Error, PeerState, RecvError, SendError, TryRecvError, TrySendError, Wait};

use crate::harness::{Case, is_soak};
use crate::oracle::{Verdict, channel_usable, require};
use crate::process::{Board, Child};
use crate::random::Random;
use crate::world::{Backing, Numbered, Wide, World, options};

/// Incarnations of each side in one channel.
const ROUNDS: u64 = 300;
/// Channels in a soak.
const SOAK_CHANNELS: u64 = 300;
const CAPACITY: u64 = 50;
/// Messages of the longest call.
const BATCH: u64 = 24;
/// Bits of a message's number below the incarnation.
const SHIFT: u32 = 40;

/// The board's cells. First: 1 when the producer is to end, 2 when it has.
const STOP: usize = 0;
/// The number behind the last message that a consumer took and noted.
const TAKEN: usize = 1;
/// The same at the beginning of a consumer's last call, and messages that it may be taking in it.
const TAKING_FROM: usize = 2;
const TAKING: usize = 3;
/// Messages in all.
const RECEIVED: usize = 4;
const SENT: usize = 5;
/// The incarnation of each side that attached last, plus 1.
const ATTACHED: [usize; 2] = [6, 7];
/// For each producer: messages sent by its completed calls, and the same with those of the call that it is in.
const PRODUCERS: usize = 8;

fn done(incarnation: u64) -> usize {
    PRODUCERS + 2 * incarnation as usize
}

fn attempted(incarnation: u64) -> usize {
    done(incarnation) + 1
}

fn join(incarnation: u64, counter: u64) -> u64 {
    incarnation << SHIFT | counter
}

fn split(number: u64) -> (u64, u64) {
    (number >> SHIFT, number & (join(1, 0) - 1))
}

/// Fewest messages that are missing between `next`, which was due, and `number`, which came.
fn missing(board: &Board, next: u64, number: u64) -> Verdict<u64> {
    require!(number >= next, "duplicate or late: {:?} where {:?} was due", split(number), split(next));
    let ((due, from), (came, at)) = (split(next), split(number));
    require!(at < board.get(attempted(came)), "{:?} was not sent yet", split(number));
    if due == came {
        return Ok(at - from);
    }
    let most = board.get(attempted(due));
    require!(from <= most, "producer {due} sent {most} messages at most, {from} arrived");
    let rest = board.get(done(due)).saturating_sub(from);
    let between: u64 = (due + 1..came).map(|incarnation| board.get(done(incarnation))).sum();
    Ok(rest + between + at)
}

fn produce<T: Numbered>(tx: &Sender<T>, board: &Board, incarnation: u64, random: &mut Random) {
    let mut next = 0;
    while board.get(STOP) == 0 {
        let count = if random.below(2) == 0 { 1 } else { 1 + random.below(BATCH) };
        let batch: Vec<T> = (next..next + count).map(|counter| T::new(join(incarnation, counter))).collect();
        board.set(attempted(incarnation), next + count);
        let sent = if count > 1 { send_batch(tx, &batch) } else { send_one(tx, batch[0], random) };
        next += sent;
        board.set(done(incarnation), next);
        board.set(attempted(incarnation), next);
        board.set(SENT, board.get(SENT) + sent);
        if sent == 0 {
            yield_now();
        }
    }
}

/// Messages sent; none if it is full, also because its receivers are dead.
pub(crate) fn send_one<T: Numbered, F: Flavor>(tx: &SenderOf<T, F>, message: T, random: &mut Random) -> u64 {
    if random.below(2) == 0 {
        match tx.try_send(message) {
            Ok(()) => 1,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => 0,
            Err(error) => panic!("{error}"),
        }
    } else {
        match tx.send(message) {
            Ok(()) => 1,
            Err(SendError::Disconnected(_)) => 0,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn send_batch<T: Numbered, F: Flavor>(tx: &SenderOf<T, F>, batch: &[T]) -> u64 {
    match tx.send_slice(batch) {
        Ok(()) => batch.len() as u64,
        Err(error) if error.cause == SendError::Disconnected(()) => error.sent as u64,
        Err(error) => panic!("{error}"),
    }
}

fn consume<T: Numbered>(rx: &Receiver<T>, board: &Board, random: &mut Random) {
    let mut buffer = vec![T::new(0); BATCH as usize];
    // What the predecessor was taking when it died may be missing, once.
    let mut tolerance = if board.get(TAKING_FROM) == board.get(TAKEN) { board.get(TAKING) } else { 0 };
    loop {
        let limit = if random.below(2) == 0 { 1 } else { 1 + random.below(BATCH) };
        board.set(TAKING_FROM, board.get(TAKEN));
        board.set(TAKING, tolerance + limit);
        let count = match receive(rx, &mut buffer[..limit as usize], random) {
            Ok(count) => count,
            Err(RecvError::Disconnected) if board.get(STOP) == 2 => break,
            // Between two producers.
            Err(RecvError::Disconnected) => 0,
            Err(error) => panic!("{error}"),
        };
        let mut next = board.get(TAKEN);
        for message in &buffer[..count] {
            let number = message.number().expect("a whole message");
            let lost = missing(board, next, number).expect("a message that is due");
            assert!(lost <= tolerance, "{lost} messages are lost before {:?}, of at most {tolerance}", split(number));
            tolerance = 0;
            next = number + 1;
        }
        board.set(TAKEN, next);
        board.set(TAKING, tolerance);
        board.set(RECEIVED, board.get(RECEIVED) + count as u64);
        if count == 0 {
            yield_now();
        }
    }
    // Everything that the last producers' completed calls sent has arrived.
    let (last, received) = split(board.get(TAKEN));
    let rest = board.get(done(last)).saturating_sub(received);
    let later: u64 = (last + 1..board.get(ATTACHED[0])).map(|incarnation| board.get(done(incarnation))).sum();
    assert!(rest + later <= tolerance, "{} messages are lost at the end", rest + later);
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

/// One side, in its present incarnation.
struct Side {
    is_producer: bool,
    incarnation: u64,
    child: Child,
    is_stopped: bool,
}

impl Side {
    fn start<T: Numbered>(world: &World<T>, board: &Board, is_producer: bool, incarnation: u64, seed: u64) -> Self {
        let child = world.child(|| {
            let mut random = Random::new(seed);
            let wait = [Wait::Spin, Wait::Adaptive, Wait::Park][random.below(3) as usize];
            let channel = world.open_with(&options().wait(wait));
            let attached = || board.set(ATTACHED[usize::from(!is_producer)], incarnation + 1);
            if is_producer {
                let tx = channel.sender().expect("the predecessor is dead");
                attached();
                produce(&tx, board, incarnation, &mut random);
            } else {
                let rx = channel.receiver().expect("the predecessor is dead");
                attached();
                consume(&rx, board, &mut random);
            }
        });
        Self { is_producer, incarnation, child, is_stopped: false }
    }

    /// Kills it, wherever it is, and starts the next one.
    fn replace<T: Numbered>(&mut self, world: &World<T>, board: &Board, random: &mut Random) -> Verdict {
        self.check()?;
        self.child.kill();
        *self = Self::start(world, board, self.is_producer, self.incarnation + 1, random.next());
        Ok(())
    }

    fn stop(&mut self) -> Verdict {
        self.check()?;
        self.child.stop();
        self.is_stopped = true;
        Ok(())
    }

    fn resume(&mut self) {
        if self.is_stopped {
            self.child.signal(libc::SIGCONT);
            self.is_stopped = false;
        }
    }

    /// Nobody ends by itself.
    fn check(&mut self) -> Verdict {
        if self.child.state() != Some('Z') {
            return Ok(());
        }
        let side = if self.is_producer { "producer" } else { "consumer" };
        Err(format!("the {side} ended by itself: {:?}", self.child.finish()))
    }

    /// Its end is its own while it is stopped.
    fn keeps_its_end<T: Numbered>(&self, world: &World<T>, board: &Board) -> Verdict {
        let is_attached = board.get(ATTACHED[usize::from(!self.is_producer)]) == self.incarnation + 1;
        if !self.is_stopped || !is_attached {
            return Ok(());
        }
        let channel = world.open();
        let attempt = if self.is_producer { channel.sender().map(drop) } else { channel.receiver().map(drop) };
        let pid = self.child.pid();
        match attempt {
            Err(Error::RoleTaken { holder, .. }) if holder == PeerState::Stopped { pid } => Ok(()),
            other => Err(format!("taking the end of {pid}, which is stopped: {other:?}")),
        }
    }
}

/// One channel through many crashes.
fn stream<T: Numbered>(backing: Backing, random: &mut Random) -> Verdict {
    let world = World::<T>::with(backing, &options().capacity(CAPACITY as usize));
    let board = Board::new(attempted(ROUNDS + 2) + 1);
    let mut sides = [true, false].map(|producer| Side::start(&world, &board, producer, 0, random.next()));
    while sides.iter().all(|side| side.incarnation < ROUNDS) {
        let moved = || board.get(SENT) + board.get(RECEIVED);
        let goal = moved() + random.below(200);
        // With one side stopped, the other may have nothing left to do.
        while moved() < goal && sides.iter().all(|side| !side.is_stopped) {
            sides.iter_mut().try_for_each(Side::check)?;
            yield_now();
        }
        let chosen = random.below(2) as usize;
        match random.below(6) {
            0..3 => sides[chosen].replace(&world, &board, random)?,
            3 => {
                for side in &mut sides {
                    side.replace(&world, &board, random)?;
                }
            }
            4 if !sides[chosen].is_stopped => sides[chosen].stop()?,
            _ => sides[chosen].resume(),
        }
        for side in &sides {
            side.keeps_its_end(&world, &board)?;
        }
    }
    let [producer, consumer] = &mut sides;
    producer.resume();
    consumer.resume();
    board.set(STOP, 1);
    producer.child.succeed("the last producer")?;
    board.set(STOP, 2);
    consumer.child.succeed("the last consumer")?;
    println!(
        "{} producers sent {} messages, {} consumers received {}",
        producer.incarnation + 1,
        board.get(SENT),
        consumer.incarnation + 1,
        board.get(RECEIVED)
    );
    channel_usable(world.channel(), 0)
}

fn soak<T: Numbered>(backing: Backing) -> Verdict {
    let mut random = Random::seeded();
    for _ in 0..if is_soak() { SOAK_CHANNELS } else { 1 } {
        stream::<T>(backing, &mut random)?;
    }
    Ok(())
}

pub(crate) fn cases() -> Vec<Case> {
    let of = |backing| {
        [
            Case::new(format!("soak::small[{backing:?}]"), move || soak::<[u64; 2]>(backing)),
            Case::new(format!("soak::wide[{backing:?}]"), move || soak::<Wide>(backing)),
        ]
    };
    Backing::all().iter().copied().flat_map(of).collect()
}
