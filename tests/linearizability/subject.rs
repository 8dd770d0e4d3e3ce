//! What is called.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use ringway::mpmc::{Channel, Guard, Receiver, Sender};
use ringway::{Options, TryRecvError, TrySendError};

/// A channel of numbers, which several threads have open.
pub(crate) trait Subject: Sync {
    /// As the thread has it open.
    fn peer(&self, thread: usize) -> Box<dyn Peer + '_>;
}

/// What a thread can do.
pub(crate) trait Peer {
    /// Whether there was room.
    fn try_send(&mut self, message: u64) -> bool;
    /// The oldest message, if there is any.
    fn try_recv(&mut self) -> Option<u64>;
    /// For how many there was room.
    fn try_send_slice(&mut self, messages: &[u64]) -> usize;
    /// The oldest messages, at most so many.
    fn try_recv_slice(&mut self, limit: usize) -> Vec<u64>;
    /// The oldest message, which it keeps under guard, and its redeliveries.
    fn try_recv_guard(&mut self) -> Option<(u64, u32)>;
    /// Ends the guard that it has.
    fn end_guard(&mut self, end: End);
}

/// How a guard ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Acknowledge,
    Refuse,
    Drop,
}

/// The channel that is to be proved, for messages of so many words; each thread is a peer on either side.
pub(crate) struct Ring<const WORDS: usize> {
    senders: Vec<Sender<[u64; WORDS]>>,
    receivers: Vec<Receiver<[u64; WORDS]>>,
}

impl<const WORDS: usize> Ring<WORDS> {
    pub(crate) fn new(options: &Options, threads: usize) -> Self {
        let channel = Channel::anonymous(options).expect("a new region");
        let senders = (0..threads).map(|_| channel.sender().expect("a free place")).collect();
        let receivers = (0..threads).map(|_| channel.receiver().expect("a free place")).collect();
        Self { senders, receivers }
    }
}

impl<const WORDS: usize> Subject for Ring<WORDS> {
    fn peer(&self, thread: usize) -> Box<dyn Peer + '_> {
        Box::new(RingPeer { tx: &self.senders[thread], rx: &self.receivers[thread], guard: None })
    }
}

struct RingPeer<'a, const WORDS: usize> {
    tx: &'a Sender<[u64; WORDS]>,
    rx: &'a Receiver<[u64; WORDS]>,
    guard: Option<Guard<'a, [u64; WORDS]>>,
}

impl<const WORDS: usize> Peer for RingPeer<'_, WORDS> {
    fn try_send(&mut self, message: u64) -> bool {
        is_room(self.tx.try_send([message; WORDS])).is_some()
    }

    fn try_recv(&mut self) -> Option<u64> {
        is_there(self.rx.try_recv()).map(|words| number(&words))
    }

    fn try_send_slice(&mut self, messages: &[u64]) -> usize {
        let messages: Vec<_> = messages.iter().map(|message| [*message; WORDS]).collect();
        is_room(self.tx.try_send_slice(&messages)).unwrap_or(0)
    }

    fn try_recv_slice(&mut self, limit: usize) -> Vec<u64> {
        let mut places = vec![[0; WORDS]; limit];
        let received = is_there(self.rx.try_recv_slice(&mut places)).unwrap_or(0);
        places[..received].iter().map(number).collect()
    }

    fn try_recv_guard(&mut self) -> Option<(u64, u32)> {
        let guard = is_there(self.rx.try_recv_guard())?;
        let taken = (number(&guard), guard.redeliveries());
        self.guard = Some(guard);
        Some(taken)
    }

    fn end_guard(&mut self, end: End) {
        let guard = self.guard.take().expect("it has one");
        match end {
            End::Acknowledge => drop(guard.ack().expect("the slot is ours")),
            End::Refuse => guard.nack().expect("the slot is ours"),
            End::Drop => drop(guard),
        }
    }
}

fn is_room<R, T>(sent: Result<R, TrySendError<T>>) -> Option<R> {
    match sent {
        Ok(sent) => Some(sent),
        Err(TrySendError::Full(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

fn is_there<R>(received: Result<R, TryRecvError>) -> Option<R> {
    match received {
        Ok(received) => Some(received),
        Err(TryRecvError::Empty) => None,
        Err(error) => panic!("{error}"),
    }
}

fn number<const WORDS: usize>(words: &[u64; WORDS]) -> u64 {
    assert_eq!(*words, [words[0]; WORDS], "torn");
    words[0]
}

/// What is wrong with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Nothing,
    /// A message may come before one whose send had returned: two lines, used in turns.
    Overtaking,
    /// A slice is sent from its end.
    BackwardSlices,
    /// What is refused does not come back.
    LostRefusals,
    /// What was refused does not say so.
    UncountedRefusals,
}

/// A channel for four messages behind a lock.
pub(crate) struct Locked {
    flaw: Flaw,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    /// Messages with their redeliveries; the second line is for [`Flaw::Overtaking`].
    lines: [VecDeque<(u64, u32)>; 2],
    guarded: usize,
    sends: usize,
}

impl Locked {
    pub(crate) const CAPACITY: usize = 4;

    pub(crate) fn new(flaw: Flaw) -> Self {
        Self { flaw, lines: Mutex::default() }
    }
}

impl Subject for Locked {
    fn peer(&self, _: usize) -> Box<dyn Peer + '_> {
        Box::new(LockedPeer { of: self, guarded: None })
    }
}

struct LockedPeer<'a> {
    of: &'a Locked,
    guarded: Option<(u64, u32)>,
}

impl LockedPeer<'_> {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.of.lines.lock().expect("nobody panics")
    }
}

impl Lines {
    fn room(&self) -> usize {
        Locked::CAPACITY - self.lines[0].len() - self.lines[1].len() - self.guarded
    }

    fn take(&mut self) -> Option<(u64, u32)> {
        self.lines.iter_mut().find_map(VecDeque::pop_front)
    }
}

impl Peer for LockedPeer<'_> {
    fn try_send(&mut self, message: u64) -> bool {
        self.try_send_slice(&[message]) == 1
    }

    fn try_recv(&mut self) -> Option<u64> {
        self.lock().take().map(|(message, _)| message)
    }

    fn try_send_slice(&mut self, messages: &[u64]) -> usize {
        let mut lines = self.lock();
        let sent = messages.len().min(lines.room());
        let mut messages = messages[..sent].to_vec();
        if self.of.flaw == Flaw::BackwardSlices {
            messages.reverse();
        }
        lines.sends += 1;
        let line = if self.of.flaw == Flaw::Overtaking { lines.sends / 3 % 2 } else { 0 };
        lines.lines[line].extend(messages.into_iter().map(|message| (message, 0)));
        sent
    }

    fn try_recv_slice(&mut self, limit: usize) -> Vec<u64> {
        let mut lines = self.lock();
        (0..limit).map_while(|_| lines.take()).map(|(message, _)| message).collect()
    }

    fn try_recv_guard(&mut self) -> Option<(u64, u32)> {
        let mut lines = self.lock();
        let taken = lines.take();
        lines.guarded += usize::from(taken.is_some());
        drop(lines);
        self.guarded = taken;
        taken
    }

    fn end_guard(&mut self, end: End) {
        let (message, redeliveries) = self.guarded.take().expect("it has one");
        let counted = u32::from(self.of.flaw != Flaw::UncountedRefusals);
        let mut lines = self.lock();
        lines.guarded -= 1;
        if end != End::Acknowledge && self.of.flaw != Flaw::LostRefusals {
            lines.lines[0].push_back((message, redeliveries + counted));
        }
    }
}
