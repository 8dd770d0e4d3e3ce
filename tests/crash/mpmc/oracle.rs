//! What must be true after a peer was killed or stopped, as a second producer and a second consumer see it.
//!
//! Those two live in the trial's own process, which does one thing after the other. So the order of everything that they
//! send is known, and a message may only come at its place in it; only the victim's own may come at any place behind
//! what was sent before its call.

use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use ringway::channel_of::Mpmc;
use ringway::mpmc::{Receiver, Sender};
use ringway::{Error, PeerState, RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

use crate::oracle::{Survivor, Verdict, require};
use crate::process::Child;
use crate::tracer::{Point, Victim};
use crate::world::{Numbered, World};

use super::cast::{reader, resume, writer};

/// How long something may take that takes some milliseconds before it counts as never coming: a watchdog.
const LIMIT: Duration = Duration::from_secs(30);

/// Cell that says that the victim has completed its operation and told what came of it.
const DONE: usize = 0;
/// Cell for how many messages the victim received, and behind it their numbers.
const TAKEN: usize = 1;

/// The number of a victim's first message; the others' count from 0.
pub(super) const OWN: u64 = 1 << 20;
/// The number of the message of somebody who came before the victim.
const THEIRS: u64 = 1 << 21;
/// The numbers of messages of those who come while it is stopped.
const LATE: u64 = 1 << 22;

/// In the victim: tells that its operation is complete, and what it took out of the channel by it.
pub(super) fn report<T: Numbered>(world: &World<T, Mpmc>, taken: &[T]) {
    for (index, message) in taken.iter().enumerate() {
        world.board.set(TAKEN + 1 + index, message.number().expect("a whole message"));
    }
    world.board.set(TAKEN, taken.len() as u64);
    world.board.set(DONE, 1);
}

/// Which messages are to come, and in which order.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Sent by completed calls and not received yet, in order.
    due: VecDeque<u64>,
    /// How many of those were sent before the victim's call began.
    before: usize,
    /// Messages of the victim's call that may still come, in order.
    open: VecDeque<u64>,
    /// How many of them came.
    arrived: u64,
    /// Passed over, because the victim may have taken them.
    missing: Vec<u64>,
    /// How many that may be.
    may_miss: usize,
    /// Whether what the victim has not acknowledged is delivered again.
    comes_back: bool,
    /// Come anywhere: what a companion has sent, or left unacknowledged when it died.
    returning: Vec<u64>,
    /// The others' next message.
    next: u64,
}

impl Ledger {
    fn accept<T: Numbered>(&mut self, message: &T) -> Verdict<Came> {
        let number = message.number()?;
        let missing = if self.comes_back { &mut self.missing } else { &mut Vec::new() };
        for late in [&mut self.returning, missing] {
            if let Some(at) = late.iter().position(|returning| *returning == number) {
                late.remove(at);
                return Ok(Came::Again);
            }
        }
        if self.open.front() == Some(&number) {
            require!(self.before == 0, "message {number} overtook {:?}, sent before its call began", self.due);
            self.open.pop_front();
            self.arrived += 1;
            return Ok(Came::InOrder);
        }
        let Some(at) = self.due.iter().position(|due| *due == number) else {
            return Err(format!("duplicate or late: message {number}, where {:?} were due", self.due));
        };
        let lost = self.missing.len() + at;
        require!(lost <= self.may_miss, "lost: message {number} follows {}, which did not arrive", self.due[0]);
        self.missing.extend(self.due.drain(..at));
        self.due.pop_front();
        self.before = self.before.saturating_sub(at + 1);
        Ok(Came::InOrder)
    }

    /// The channel is empty: what is still due is with the victim, or lost.
    fn close(&mut self) -> Verdict {
        let lost = self.missing.len() + self.due.len();
        require!(lost <= self.may_miss, "lost: {:?} and {:?} did not arrive, and it is empty", self.missing, self.due);
        self.missing.extend(self.due.drain(..));
        self.before = 0;
        Ok(())
    }
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// At its place.
    InOrder,
    /// Anywhere, and perhaps after somebody else had it.
    Again,
}

/// Offset of the producers' hint, as docs/LAYOUT.md gives it. It is exact while nobody sends.
const TAIL: u64 = 4352;

/// What becomes of companions while the victim is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// They stay where they are.
    #[default]
    Stay,
    /// They complete what they were doing, and leave.
    GoOn,
    /// They are killed.
    Die,
}

/// What a victim may hold while it is stopped, and what it needs to go on.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    /// Slots that it, and whoever else has come to grief, may keep from the others.
    slots: u64,
    /// Messages that it wants to receive.
    wants: u64,
    /// It keeps its index while it lives; so there is no place for a newcomer.
    keeps_index: bool,
    /// It receives under a guard.
    guarded: bool,
    /// What becomes of the others who are in trouble.
    fate: Fate,
}

/// Somebody else who is in trouble beside the victim.
#[derive(Debug)]
enum Companion {
    /// Stopped while it sends this message.
    Writer(Victim, u64),
    /// Has this message under guard.
    Reader(Child, u64),
}

/// A second producer and a second consumer.
#[derive(Debug)]
pub(super) struct Others<T: Numbered> {
    world: World<T, Mpmc>,
    peers: usize,
    tx: Sender<T>,
    rx: Receiver<T>,
    ledger: Ledger,
    terms: Terms,
    companions: Vec<Companion>,
    /// Somebody has died, which the others may see a tick of the clock later.
    bereaved: bool,
    /// Somebody came to take a dead peer's index.
    newcomer: Option<Sender<T>>,
    /// The slot that the first companion was writing.
    troubled: u64,
    /// Which of several endings this is.
    turn: u64,
}

/// What is left of them when the last sender is gone.
struct Ended<T: Numbered> {
    world: World<T, Mpmc>,
    peers: usize,
    rx: Receiver<T>,
    ledger: Ledger,
}

impl<T: Numbered> Others<T> {
    /// In a region for so many peers, themselves included, after so many messages have passed.
    pub(super) fn new(world: World<T, Mpmc>, peers: usize, passed: u64) -> Self {
        thread_local!(static TURN: Cell<u64> = const { Cell::new(0) });
        let turn = TURN.replace(TURN.get() + 1);
        let (tx, rx) = (world.sender(), world.receiver());
        let mut others = Self {
            world,
            peers,
            tx,
            rx,
            ledger: Ledger::default(),
            terms: Terms { keeps_index: true, ..Terms::default() },
            companions: Vec::new(),
            bereaved: false,
            newcomer: None,
            troubled: 0,
            turn,
        };
        for _ in 0..passed {
            others.send_one();
            others.receive_one();
        }
        others
    }

    pub(super) fn world(&self) -> &World<T, Mpmc> {
        &self.world
    }

    pub(super) fn decide(&mut self, fate: Fate) {
        self.terms.fate = fate;
    }

    /// There is an index to spare, or the victim may be without one.
    pub(super) fn has_room_for_newcomer(&mut self) {
        self.terms.keeps_index = false;
    }

    pub(super) fn send_one(&mut self) {
        self.tx.try_send(T::new(self.ledger.next)).expect("there is room");
        self.sent();
    }

    /// Sends so many messages at once.
    pub(super) fn send_batch(&mut self, count: u64) {
        let batch: Vec<T> = (self.ledger.next..self.ledger.next + count).map(T::new).collect();
        assert_eq!(self.tx.try_send_slice(&batch), Ok(batch.len()), "there is room");
        (0..count).for_each(|_| self.sent());
    }

    fn sent(&mut self) {
        self.ledger.due.push_back(self.ledger.next);
        self.ledger.next += 1;
    }

    pub(super) fn receive_one(&mut self) {
        let message = self.rx.try_recv().expect("a message is there");
        self.ledger.accept(&message).expect("the next one");
    }

    /// The victim is about to send that many messages, from [`OWN`] on.
    pub(super) fn victim_sends(&mut self, batch: u64) {
        self.ledger.open = (OWN..OWN + batch).collect();
        self.ledger.before = self.ledger.due.len();
        self.terms.slots += 1;
    }

    /// The victim is about to receive that many messages.
    pub(super) fn victim_receives(&mut self, batch: u64) {
        self.ledger.may_miss = batch as usize;
        self.terms.wants = batch;
    }

    /// The same, under a guard.
    pub(super) fn victim_guards(&mut self) {
        self.victim_receives(1);
        self.terms.guarded = true;
        self.terms.slots += 1;
    }

    /// The victim has taken all that was due.
    pub(super) fn set_aside(&mut self) {
        self.ledger.close().expect("the victim may have it");
    }

    /// The victim puts back what it took.
    pub(super) fn victim_refuses(&mut self) {
        self.ledger.comes_back = true;
    }

    fn accompanied_by(&mut self, companion: Companion) {
        self.terms.slots += 1;
        self.companions.push(companion);
    }

    /// Somebody is stopped while it sends, in the slot of the next ticket.
    pub(super) fn with_writer(&mut self, known: &OnceCell<Point>) {
        self.troubled = self.frontier();
        let companion = writer::<T>(&self.world, THEIRS, known).expect("its way is the same each time");
        self.accompanied_by(Companion::Writer(companion, THEIRS));
    }

    /// Somebody holds the next message under guard.
    pub(super) fn with_reader(&mut self) {
        self.troubled = self.frontier();
        self.send_one();
        let number = self.ledger.due.pop_front().expect("it was the only one");
        let companion = reader::<T>(&self.world);
        self.accompanied_by(Companion::Reader(companion, number));
    }

    /// Kills everybody who is in trouble; their indexes are to be had.
    pub(super) fn bury(&mut self) {
        for companion in self.companions.drain(..) {
            match companion {
                Companion::Writer(mut victim, _) => {
                    victim.kill();
                }
                Companion::Reader(mut child, number) => {
                    child.kill();
                    self.ledger.returning.push(number);
                }
            }
            self.bereaved = true;
            self.terms.keeps_index = false;
        }
    }

    /// Receives a message under a guard, and puts it back.
    pub(super) fn refuse_one(&mut self) {
        let guard = self.rx.try_recv_guard().expect("a message is there");
        self.ledger.accept(&*guard).expect("the next one");
        self.ledger.returning.push(guard.number().expect("a whole message"));
        guard.nack().expect("it is ours");
        self.terms.slots += 1;
    }

    /// Slot of the next ticket.
    fn frontier(&self) -> u64 {
        let mut hint = [0; 8];
        self.world.bytes().read_at(&mut hint, TAIL);
        u64::from_le_bytes(hint) % self.world.capacity
    }

    /// Passes messages until the next ticket is that of the slot in which somebody came to grief.
    pub(super) fn pass_to_trouble(&mut self) -> Verdict {
        while self.frontier() != self.troubled {
            self.send()?;
            self.drain()?;
        }
        Ok(())
    }

    /// Receives what is there.
    fn drain(&mut self) -> Verdict {
        loop {
            match self.rx.try_recv() {
                Ok(message) => {
                    self.ledger.accept(&message)?;
                }
                Err(TryRecvError::Empty) => return self.ledger.close(),
                Err(error) => return Err(format!("receiving: {error:?}")),
            }
        }
    }

    /// Sends a message, if there is room for it.
    fn try_send(&mut self) -> Verdict<bool> {
        match self.tx.try_send(T::new(self.ledger.next)) {
            Ok(()) => {
                self.sent();
                Ok(true)
            }
            Err(TrySendError::Full(_)) => Ok(false),
            Err(error) => Err(format!("sending: {error:?}")),
        }
    }

    /// Sends a message, for which there is room now, or as soon as a death is known.
    fn send(&mut self) -> Verdict {
        let start = Instant::now();
        while !self.try_send()? {
            require!(self.bereaved, "full with {} messages", self.ledger.due.len());
            require!(start.elapsed() < LIMIT, "full for ever with {} messages", self.ledger.due.len());
            yield_now();
        }
        Ok(())
    }

    /// Messages that fit now, sent.
    fn fill(&mut self) -> Verdict<u64> {
        let capacity = self.world.capacity;
        let mut count = 0;
        while self.try_send()? {
            count += 1;
            require!(count <= capacity, "{count} messages in a ring of {capacity}");
        }
        Ok(count)
    }

    /// As many messages fit as ever, also beside a newcomer in a dead one's place, if not at once: a slot that was passed
    /// over before its owner was known to be dead is missing for a lap. What comes back takes room, too.
    fn fill_entirely(&mut self) -> Verdict {
        let start = Instant::now();
        while !self.terms.guarded && self.ledger.returning.is_empty() && self.fill()? < self.world.capacity {
            require!(start.elapsed() < LIMIT, "{} messages fit, lap after lap", self.ledger.due.len());
            self.drain()?;
            yield_now();
        }
        self.drain()
    }

    /// Passes messages, one by one, around the ring and further.
    pub(super) fn pass(&mut self) -> Verdict {
        for _ in 0..2 * self.world.capacity + 1 {
            self.send()?;
            self.drain()?;
        }
        Ok(())
    }

    /// Somebody takes the index of a peer that is gone, and works with it.
    fn admit_newcomer(&mut self) -> Verdict {
        let newcomer = match self.world.open().sender() {
            Ok(newcomer) => newcomer,
            // Somebody who came before has the dead one's index.
            Err(Error::NoPeerLeft { .. }) if !self.companions.is_empty() => return Ok(()),
            Err(error) => return Err(format!("a newcomer: {error}")),
        };
        for _ in 0..=self.world.capacity {
            let start = Instant::now();
            while let Err(error) = newcomer.try_send(T::new(self.ledger.next)) {
                require!(error.is_full() && start.elapsed() < LIMIT, "a newcomer: {error}");
                yield_now();
            }
            self.sent();
            self.drain()?;
        }
        self.newcomer = Some(newcomer);
        Ok(())
    }

    /// Somebody takes the index of a dead peer, and is stopped while it writes in that peer's slot: nobody may take it for
    /// the dead one.
    fn admit_writer(&mut self) -> Verdict {
        thread_local!(static KNOWN: OnceCell<Point> = const { OnceCell::new() });
        match self.world.open().sender() {
            Ok(_) => {}
            // The victim is on its way, and has it already.
            Err(Error::NoPeerLeft { .. }) => return Ok(()),
            Err(error) => return Err(format!("a newcomer: {error}")),
        }
        self.pass_to_trouble()?;
        let (newcomer, number) = match KNOWN.with(|known| writer::<T>(&self.world, LATE, known)) {
            Ok(newcomer) => (newcomer, LATE),
            Err(strayed) => {
                resume(strayed)?;
                self.ledger.due.push_back(LATE);
                self.drain()?;
                self.pass_to_trouble()?;
                let newcomer = writer::<T>(&self.world, LATE + 1, &OnceCell::new());
                (newcomer.expect("no way is known"), LATE + 1)
            }
        };
        self.accompanied_by(Companion::Writer(newcomer, number));
        Ok(())
    }

    /// What becomes of the victim's companions in the end: those who came late go on, as the others may.
    fn release_companions(&mut self, killed: bool) -> Verdict {
        for companion in std::mem::take(&mut self.companions) {
            match companion {
                Companion::Writer(victim, number) if number != THEIRS || !killed => {
                    resume(victim)?;
                    // Its call overlapped everything that is due, so its place is anywhere.
                    self.ledger.returning.push(number);
                    self.terms.keeps_index = false;
                    self.drain()?;
                }
                companion => {
                    self.companions.push(companion);
                    self.bury();
                }
            }
        }
        Ok(())
    }

    /// Drops the last senders and receives until the end is known; everything that is to come comes.
    fn end_of_stream(self) -> Verdict<Ended<T>> {
        let Self { world, peers, tx, rx, mut ledger, terms, newcomer, .. } = self;
        drop((tx, newcomer));
        loop {
            if terms.guarded {
                match rx.recv_guard_timeout(LIMIT) {
                    Ok(guard) => {
                        let redeliveries = guard.redeliveries();
                        let came = ledger.accept(&guard.ack().map_err(|fault| format!("an ack: {fault}"))?)?;
                        let least = u32::from(came == Came::Again);
                        require!((least..=2).contains(&redeliveries), "{came:?}, redelivered {redeliveries} times");
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(error) => return Err(format!("at the end of the stream: {error:?}")),
                }
                continue;
            }
            match rx.recv_timeout(LIMIT) {
                Ok(message) => {
                    ledger.accept(&message)?;
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(error) => return Err(format!("at the end of the stream: {error:?}")),
            }
        }
        require!(matches!(rx.recv(), Err(RecvError::Disconnected)), "a message after the end");
        ledger.close()?;
        Ok(Ended { world, peers, rx, ledger })
    }
}

impl<T: Numbered> Survivor for Others<T> {
    fn beside_stopped(&mut self, pid: u32) -> Verdict {
        let capacity = self.world.capacity;
        // First of all: what the others do may hide what these do.
        match self.terms.fate {
            Fate::Stay => {}
            Fate::GoOn => self.release_companions(false)?,
            Fate::Die => self.bury(),
        }
        self.drain()?;
        for _ in 0..3 {
            let fits = self.fill()?;
            require!(fits + self.terms.slots >= capacity, "beside a stopped peer, {fits} messages of {capacity} fit");
            self.drain()?;
        }
        self.pass()?;
        match self.rx.recv_timeout(Duration::ZERO) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(message) => {
                self.ledger.accept(&message)?;
            }
            other => return Err(format!("beside a stopped peer: {other:?}")),
        }
        if self.terms.keeps_index {
            let stopped = PeerState::Stopped { pid };
            let mut states = self.world.channel().senders();
            states.extend(self.world.channel().receivers());
            require!(states.contains(&stopped), "the victim {pid} is stopped, but the peers are {states:?}");
            match self.world.open().sender() {
                Err(Error::NoPeerLeft { .. }) => {}
                other => return Err(format!("a stopped peer's index was given away: {other:?}")),
            }
        } else {
            self.admit_writer()?;
        }
        for _ in 0..self.terms.wants {
            self.send()?;
        }
        Ok(())
    }

    fn after(mut self: Box<Self>, _: u32) -> Verdict<u64> {
        let reported = (self.world.board.get(DONE) == 1).then(|| {
            let count = self.world.board.get(TAKEN) as usize;
            (0..count).map(|index| self.world.board.get(TAKEN + 1 + index)).collect::<Vec<_>>()
        });
        if reported.is_none() {
            self.bereaved = true;
            self.ledger.comes_back = self.terms.guarded;
        }
        // Whatever the victim has published is there by now; what comes later, comes too late.
        self.drain()?;
        self.ledger.open.clear();

        // Every other time a newcomer sweeps what the dead one left behind, else the others have to reclaim it; and every
        // other time companions die, too.
        if self.turn % 2 == 0 {
            self.admit_newcomer()?;
        }
        self.pass()?;
        self.release_companions(self.turn / 2 % 2 == 0)?;
        self.pass()?;
        self.fill_entirely()?;
        let Ended { world, peers, rx, ledger } = self.end_of_stream()?;
        require!(ledger.returning.len() + ledger.missing.len() <= ledger.may_miss, "lost: {ledger:?}");
        let mut gone: Vec<u64> = ledger.missing.iter().chain(&ledger.returning).copied().collect();
        if let Some(reported) = reported {
            gone.sort_unstable();
            let mut sorted = reported.clone();
            sorted.sort_unstable();
            require!(gone == sorted, "the victim received {reported:?}, of the others' messages {gone:?} are gone");
        }
        entirely_usable(&world, rx, ledger.next, peers)?;
        Ok(ledger.arrived + gone.len() as u64)
    }
}

/// Whether a channel with nothing in it and a single receiver is as good as new: every index is to be had, as many messages
/// fit as ever, two consumers share them in order, and the senders learn of the end.
pub(super) fn entirely_usable<T: Numbered>(
    world: &World<T, Mpmc>,
    rx: Receiver<T>,
    next: u64,
    peers: usize,
) -> Verdict {
    let channel = world.open();
    let mut senders = Vec::new();
    for _ in 1..peers {
        senders.push(channel.sender().map_err(|error| format!("peer {} of {peers}: {error}", senders.len() + 1))?);
    }
    drop(senders.pop());
    let second = channel.receiver().map_err(|error| format!("another consumer: {error}"))?;
    let mut sent = next;
    let mut received = next;
    for round in 0..3_usize {
        for _ in 0..world.capacity {
            let tx = &senders[sent as usize % senders.len()];
            tx.try_send(T::new(sent)).map_err(|error| format!("{error} after {} messages", sent - received))?;
            sent += 1;
        }
        match senders[0].try_send(T::new(sent)) {
            Err(TrySendError::Full(_)) => {}
            other => return Err(format!("into a full ring: {other:?}")),
        }
        require!(rx.len() as u64 == world.capacity, "a full ring holds {}", rx.len());
        while received < sent {
            let rx = if (received as usize + round) % 2 == 0 { &rx } else { &second };
            let message = rx.try_recv().map_err(|error| format!("{error}, {received} of {sent}"))?;
            let number = message.number()?;
            require!(number == received, "message {number}, where {received} was due");
            received += 1;
        }
        require!(matches!(rx.try_recv(), Err(TryRecvError::Empty)), "more messages than were sent");
    }
    drop((rx, second));
    for _ in 0..=world.capacity {
        match senders[0].send_timeout(T::new(sent), LIMIT) {
            Ok(()) => {}
            Err(SendTimeoutError::Disconnected(_)) => return Ok(()),
            Err(error) => return Err(format!("the last receiver is gone: {error}")),
        }
    }
    Err("the last receiver is gone, and nobody was told".into())
}
