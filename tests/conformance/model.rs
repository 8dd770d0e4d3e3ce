//! Random operations, compared with what a `VecDeque` would do.

use std::collections::VecDeque;
use std::time::Duration;

use ringway::channel_of::{Flavor, Receiver, Sender};
use ringway::{RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

use crate::flavor::Kind;
use crate::message::{Message, Trade, numbered};
use crate::random::Random;
use crate::setup::{Open, Places, Setup};
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![random_operations_do_what_a_deque_does];

/// None of them waits for longer than a moment.
#[derive(Clone, Copy, Debug)]
enum Operation {
    TrySend,
    SendTimeout,
    TrySendSlice(usize),
    TryRecv,
    RecvTimeout,
    TryRecvSlice(usize),
    /// A call that waits, made when it need not.
    Recv,
    TryIter(usize),
    WaitDrained,
    ToggleSender,
    ToggleReceiver,
}

impl Operation {
    fn random(random: &mut Random, capacity: usize) -> Self {
        let length = random.below(2 * capacity + 2);
        // Ends come and go more rarely than messages.
        match random.below(40) {
            0..8 => Self::TrySend,
            8 => Self::SendTimeout,
            9..15 => Self::TrySendSlice(length),
            15..23 => Self::TryRecv,
            23 => Self::RecvTimeout,
            24..30 => Self::TryRecvSlice(length),
            30..34 => Self::Recv,
            34..36 => Self::TryIter(length),
            36 => Self::WaitDrained,
            37..39 => Self::ToggleSender,
            _ => Self::ToggleReceiver,
        }
    }
}

/// One end: the handle, and whether there ever was one.
struct End<H> {
    handle: Option<H>,
    was_opened: bool,
}

impl<H> End<H> {
    fn new() -> Self {
        Self { handle: None, was_opened: false }
    }

    fn toggle(&mut self, open: impl FnOnce() -> H) {
        self.handle = if self.handle.is_some() { None } else { Some(open()) };
        self.was_opened = true;
    }

    fn is_gone(&self) -> bool {
        self.was_opened && self.handle.is_none()
    }
}

/// The channel, and what must be in it.
struct Pair<T, F: Flavor> {
    open: Open<T, F>,
    places: Places,
    tx: End<Sender<T, F>>,
    rx: End<Receiver<T, F>>,
    model: VecDeque<T>,
    next: u64,
}

impl<T: Message, F: Flavor> Pair<T, F> {
    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::ToggleSender => self.tx.toggle(|| self.open.sender()),
            Operation::ToggleReceiver => self.rx.toggle(|| self.open.receiver()),
            _ => {}
        }
        self.send(operation);
        self.receive(operation);
        for len in [self.tx.handle.as_ref().map(Sender::len), self.rx.handle.as_ref().map(Receiver::len)] {
            assert_eq!(len.unwrap_or(self.model.len()), self.model.len());
        }
        for full in [self.tx.handle.as_ref().map(Sender::is_full), self.rx.handle.as_ref().map(Receiver::is_full)] {
            assert_eq!(full.unwrap_or(self.places.is_full()), self.places.is_full());
        }
    }

    fn send(&mut self, operation: Operation) {
        let Some(tx) = &self.tx.handle else { return };
        let message = T::number(self.next);
        let room = self.places.room();
        let sent = match operation {
            Operation::TrySend => {
                let expected = match room {
                    _ if self.rx.is_gone() => Err(TrySendError::Disconnected(message)),
                    0 => Err(TrySendError::Full(message)),
                    _ => Ok(()),
                };
                assert_eq!(tx.try_send(message), expected);
                usize::from(expected.is_ok())
            }
            Operation::SendTimeout => {
                let expected = match room {
                    _ if self.rx.is_gone() => Err(SendTimeoutError::Disconnected(message)),
                    0 => Err(SendTimeoutError::Timeout(message)),
                    _ => Ok(()),
                };
                assert_eq!(tx.send_timeout(message, Duration::from_micros(1)), expected);
                usize::from(expected.is_ok())
            }
            Operation::TrySendSlice(length) => {
                let expected = match room.min(length) {
                    _ if self.rx.is_gone() => Err(TrySendError::Disconnected(())),
                    0 if length > 0 => Err(TrySendError::Full(())),
                    fit => Ok(fit),
                };
                assert_eq!(tx.try_send_slice(&numbered::<T>(self.next..self.next + length as u64)), expected);
                expected.unwrap_or(0)
            }
            Operation::WaitDrained => {
                let expected = match self.model.len() {
                    0 => Ok(()),
                    _ if self.rx.is_gone() => Err(SendTimeoutError::Disconnected(())),
                    _ => Err(SendTimeoutError::Timeout(())),
                };
                assert_eq!(tx.wait_drained(Some(Duration::from_micros(1))), expected);
                0
            }
            _ => 0,
        };
        self.places.fill(sent);
        self.model.extend(numbered::<T>(self.next..self.next + sent as u64));
        self.next += sent as u64;
    }

    fn receive(&mut self, operation: Operation) {
        let Some(rx) = &self.rx.handle else { return };
        let front = self.model.front().copied();
        let is_gone = self.tx.is_gone();
        let taken = match operation {
            Operation::TryRecv => {
                let nothing = if is_gone { TryRecvError::Disconnected } else { TryRecvError::Empty };
                assert_eq!(rx.try_recv(), front.ok_or(nothing));
                1
            }
            Operation::RecvTimeout => {
                let nothing = if is_gone { RecvTimeoutError::Disconnected } else { RecvTimeoutError::Timeout };
                assert_eq!(rx.recv_timeout(Duration::from_micros(1)), front.ok_or(nothing));
                1
            }
            Operation::Recv if front.is_some() || is_gone => {
                assert_eq!(rx.recv(), front.ok_or(RecvError::Disconnected));
                1
            }
            Operation::TryRecvSlice(length) => {
                let mut places = vec![T::number(u64::MAX); length];
                let expected = match self.model.len().min(length) {
                    0 if length > 0 => Err(if is_gone { TryRecvError::Disconnected } else { TryRecvError::Empty }),
                    there => Ok(there),
                };
                assert_eq!(rx.try_recv_slice(&mut places), expected);
                let taken = expected.unwrap_or(0);
                assert!(places[..taken].iter().eq(self.model.iter().take(taken)));
                taken
            }
            Operation::TryIter(length) => {
                let taken = self.model.len().min(length);
                assert!(rx.try_iter().take(length).eq(self.model.iter().copied().take(taken)));
                taken
            }
            _ => 0,
        };
        let taken = taken.min(self.model.len());
        self.places.empty(taken);
        self.model.drain(..taken);
    }
}

fn random_operations_do_what_a_deque_does<F: Kind>(setup: Setup) {
    for seed in 0..4 {
        for capacity in F::capacities(&[1, 2, 3, 7, 8, 20, 113]) {
            compare::<u64, F>(setup, capacity, seed);
            compare::<[u8; 3], F>(setup, capacity, seed);
            compare::<Trade, F>(setup, capacity, seed);
            compare::<[u8; 57], F>(setup, capacity, seed);
        }
    }
}

fn compare<T: Message, F: Kind>(setup: Setup, capacity: usize, seed: u64) {
    let mut random = Random::new(seed << 32 | capacity as u64);
    let mut pair = Pair::<T, F> {
        open: setup.open(capacity),
        places: Places::new(capacity, setup.messages_a_place::<T, F>()),
        tx: End::new(),
        rx: End::new(),
        model: VecDeque::new(),
        next: 0,
    };
    let mut history = History { of: std::any::type_name::<T>(), capacity, seed, operations: Vec::new() };
    for _ in 0..500 {
        let operation = Operation::random(&mut random, capacity * setup.messages_a_place::<T, F>());
        history.operations.push(operation);
        pair.apply(operation);
    }
}

/// Printed when a comparison fails: enough to repeat it by hand.
struct History {
    of: &'static str,
    capacity: usize,
    seed: u64,
    operations: Vec<Operation>,
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { of, capacity, seed, operations } = self;
            eprintln!("{of}, capacity {capacity}, seed {seed}, {} operations: {operations:?}", operations.len());
        }
    }
}
