//! What must be true after one side was killed or stopped, as the other side sees it.
//!
//! Everything is judged through the public API, and a wrong observation is an error, not a panic: `broken.rs` proves
//! that these judges find the mistakes that they are there for.

use std::time::Duration;

use ringway::spsc::{Channel, Receiver, Sender};
use ringway::{Error, PeerState, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};

use crate::world::{Numbered, Numbers, World};

/// What was observed, or what is wrong with it.
pub(crate) type Verdict<R = ()> = Result<R, String>;

/// `Err` with this message unless the condition holds.
macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use require;

/// The side of a channel that is still there.
pub(crate) trait Survivor {
    /// While the victim is stopped in the middle of its operation: nothing waits for it, nothing of its is given away.
    fn beside_stopped(&mut self, pid: u32) -> Verdict;

    /// After the victim ended: everything goes on. Says how many messages of its last operation took effect.
    fn after(self: Box<Self>, pid: u32) -> Verdict<u64>;
}

/// A receiver whose sender is the victim.
#[derive(Debug)]
pub(crate) struct AfterSender<T> {
    world: World<T>,
    rx: Receiver<T>,
    numbers: Numbers,
    /// Number of the message behind the last one that the victim's completed calls sent.
    sent: u64,
    /// Messages of the interrupted operation.
    batch: u64,
}

impl<T: Numbered> AfterSender<T> {
    /// Messages from `first` on are yet to be received.
    pub(crate) fn new(world: World<T>, first: u64, sent: u64, batch: u64) -> Self {
        let rx = world.receiver();
        Self { world, rx, numbers: Numbers::from(first), sent, batch }
    }

    /// The same, after messages 0 to `first` have passed and their sender has left.
    pub(crate) fn midway(world: World<T>, first: u64, sent: u64, batch: u64) -> Self {
        let survivor = Self::new(world, first, sent, batch);
        if first > 0 {
            let tx = survivor.world.sender();
            for number in 0..first {
                tx.try_send(T::new(number)).expect("there is room");
                assert_eq!(survivor.rx.try_recv().expect("it is there").number(), Ok(number));
            }
        }
        survivor
    }

    pub(crate) fn world(&self) -> &World<T> {
        &self.world
    }

    /// Makes room for one message.
    pub(crate) fn receive_one(&mut self) {
        let message = self.rx.try_recv().expect("a message is there");
        self.numbers.accept(&message).expect("the next one");
    }

    fn effect(&self) -> Verdict<u64> {
        let (sent, next) = (self.sent, self.numbers.next());
        require!(next >= sent, "lost: {sent} messages were sent, {next} arrived");
        require!(next <= sent + self.batch, "{next} messages arrived, {sent} and {} were sent", self.batch);
        Ok(next - sent)
    }
}

impl<T: Numbered> Survivor for AfterSender<T> {
    fn beside_stopped(&mut self, pid: u32) -> Verdict {
        loop {
            match self.rx.try_recv() {
                Ok(message) => self.numbers.accept(&message)?,
                Err(TryRecvError::Empty) => break,
                Err(error) => return Err(format!("beside a stopped sender: {error:?}")),
            }
        }
        self.effect()?;
        match self.rx.recv_timeout(Duration::ZERO) {
            Err(RecvTimeoutError::Timeout) => {}
            other => return Err(format!("beside a stopped sender: {other:?}")),
        }
        refused_beside_stopped(self.world.open().sender(), self.rx.peer(), pid)
    }

    fn after(mut self: Box<Self>, pid: u32) -> Verdict<u64> {
        if self.rx.peer() == PeerState::Never {
            // Killed before it had attached: it is yet to come.
            require!(matches!(self.rx.try_recv(), Err(TryRecvError::Empty)), "a message from nobody");
        } else {
            drain_until_disconnected(&self.rx, &mut self.numbers)?;
            gone(self.rx.peer(), pid)?;
        }
        let effect = self.effect()?;
        let tx = self.world.open().sender().map_err(|error| format!("a successor: {error}"))?;
        usable(&tx, &self.rx, self.numbers.next(), self.world.capacity)?;
        drop(tx);
        require!(matches!(self.rx.recv(), Err(RecvError::Disconnected)), "a closed channel is not disconnected");
        Ok(effect)
    }
}

/// A sender whose receiver is the victim.
#[derive(Debug)]
pub(crate) struct AfterReceiver<T> {
    world: World<T>,
    tx: Sender<T>,
    /// Messages sent so far.
    sent: u64,
    /// Messages that the victim's completed calls received.
    taken: u64,
    /// Messages of the interrupted operation.
    batch: u64,
}

impl<T: Numbered> AfterReceiver<T> {
    pub(crate) fn new(world: World<T>, sent: u64, taken: u64, batch: u64) -> Self {
        let tx = world.sender();
        Self { world, tx, sent, taken, batch }
    }

    /// The same, after messages 0 to `first` have passed and their receiver has left, with those up to `sent` still to be
    /// received.
    pub(crate) fn midway(world: World<T>, first: u64, sent: u64, taken: u64, batch: u64) -> Self {
        let survivor = Self::new(world, sent, taken, batch);
        let rx = survivor.world.receiver();
        for number in 0..sent {
            survivor.tx.try_send(T::new(number)).expect("there is room");
            if number < first {
                assert_eq!(rx.try_recv().expect("it is there").number(), Ok(number));
            }
        }
        drop(rx);
        survivor
    }

    pub(crate) fn world(&self) -> &World<T> {
        &self.world
    }

    /// Gives the victim something to receive.
    pub(crate) fn send_one(&mut self) {
        self.tx.try_send(T::new(self.sent)).expect("there is room");
        self.sent += 1;
    }

    fn send_while_there_is_room(&mut self) -> Verdict<TrySendError<T>> {
        loop {
            match self.tx.try_send(T::new(self.sent)) {
                Ok(()) => self.sent += 1,
                Err(error) => return Ok(error),
            }
            let least = self.sent - (self.taken + self.batch).min(self.sent);
            require!(least <= self.world.capacity, "{least} messages in a ring of {}", self.world.capacity);
        }
    }
}

impl<T: Numbered> Survivor for AfterReceiver<T> {
    fn beside_stopped(&mut self, pid: u32) -> Verdict {
        let error = self.send_while_there_is_room()?;
        require!(error.is_full(), "beside a stopped receiver: {error:?}");
        match self.tx.send_timeout(T::new(self.sent), Duration::ZERO) {
            Err(SendTimeoutError::Timeout(_)) => {}
            other => return Err(format!("beside a stopped receiver: {other:?}")),
        }
        refused_beside_stopped(self.world.open().receiver(), self.tx.peer(), pid)
    }

    fn after(mut self: Box<Self>, pid: u32) -> Verdict<u64> {
        let state = self.tx.peer();
        let error = self.send_while_there_is_room()?;
        if state == PeerState::Never {
            require!(error.is_full(), "nobody to be disconnected from: {error:?}");
        } else {
            gone(state, pid)?;
            match self.tx.send(T::new(self.sent)) {
                Err(SendError::Disconnected(message)) if message.number() == Ok(self.sent) => {}
                other => return Err(format!("sending to a dead receiver: {other:?}")),
            }
        }
        let rx = self.world.open().receiver().map_err(|error| format!("a successor: {error}"))?;
        let length = rx.len() as u64;
        let first = self.sent - length;
        require!(first >= self.taken, "duplicate: message {first} after {} were received", self.taken);
        require!(first <= self.taken + self.batch, "lost: message {first} after {} and {}", self.taken, self.batch);
        require!(
            state == PeerState::Closed || length == self.world.capacity,
            "full with {length} messages of {}",
            self.world.capacity
        );
        let mut numbers = Numbers::from(first);
        for message in rx.try_iter() {
            numbers.accept(&message)?;
        }
        require!(numbers.next() == self.sent, "lost: {} sent, {} arrived", self.sent, numbers.next());
        usable(&self.tx, &rx, self.sent, self.world.capacity)?;
        Ok(first - self.taken)
    }
}

/// Receives until the sender is known to be gone.
pub(crate) fn drain_until_disconnected<T: Numbered>(rx: &Receiver<T>, numbers: &mut Numbers) -> Verdict {
    loop {
        match rx.recv() {
            Ok(message) => numbers.accept(&message)?,
            Err(RecvError::Disconnected) => break,
            Err(error) => return Err(format!("draining: {error}")),
        }
    }
    match rx.try_recv() {
        Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(()),
        other => Err(format!("{other:?} after Disconnected")),
    }
}

/// The state of a peer that has ended, be it with its pid on record or before it wrote it.
fn gone(state: PeerState, pid: u32) -> Verdict {
    require!(state.is_gone(), "the victim {pid} is gone, but {state}");
    Ok(())
}

fn refused_beside_stopped<H>(attempt: Result<H, Error>, seen: PeerState, pid: u32) -> Verdict {
    let stopped = PeerState::Stopped { pid };
    require!(seen == stopped, "the victim {pid} is stopped, but {seen}");
    match attempt {
        Ok(_) => Err("a stopped process's role was given away".into()),
        Err(error @ Error::RoleTaken { holder, .. }) if holder == stopped => {
            require!(error.to_string().contains("SIGCONT"), "no advice: {error}");
            Ok(())
        }
        Err(error) => Err(format!("taking a stopped process's role: {error}")),
    }
}

/// Whether both ends of an empty ring work in every respect: exact capacity, order, batches, over several laps.
pub(crate) fn usable<T: Numbered>(tx: &Sender<T>, rx: &Receiver<T>, next: u64, capacity: u64) -> Verdict {
    let mut sent = next;
    let mut numbers = Numbers::from(next);
    require!(tx.is_empty() && rx.is_empty(), "an empty ring holds {} and {}", tx.len(), rx.len());
    for _ in 0..capacity {
        tx.try_send(T::new(sent)).map_err(|error| format!("{error} after {} messages", sent - next))?;
        sent += 1;
    }
    match tx.try_send(T::new(sent)) {
        Err(TrySendError::Full(message)) if message.number() == Ok(sent) => {}
        other => return Err(format!("into a full ring: {other:?}")),
    }
    require!(tx.is_full() && rx.is_full(), "a full ring holds {} and {}", tx.len(), rx.len());
    for _ in 0..capacity {
        let message = rx.try_recv().map_err(|error| format!("{error} after {} messages", numbers.next() - next))?;
        numbers.accept(&message)?;
    }
    require!(matches!(rx.try_recv(), Err(TryRecvError::Empty)), "more messages than were sent");

    let mut buffer = vec![T::new(0); capacity as usize];
    for _ in 0..3 {
        let batch: Vec<T> = (sent..sent + capacity).map(T::new).collect();
        tx.send_slice(&batch).map_err(|error| error.to_string())?;
        sent += capacity;
        let mut left = capacity as usize;
        while left > 0 {
            let taken = rx.recv_slice(&mut buffer[..left]).map_err(|error| error.to_string())?;
            for message in &buffer[..taken] {
                numbers.accept(message)?;
            }
            left -= taken;
        }
    }
    Ok(())
}

/// Whether a channel that nobody has a role in works.
pub(crate) fn channel_usable<T: Numbered>(channel: &Channel<T>, next: u64) -> Verdict {
    let tx = channel.sender().map_err(|error| error.to_string())?;
    let rx = channel.receiver().map_err(|error| error.to_string())?;
    usable(&tx, &rx, next, channel.capacity() as u64)
}
