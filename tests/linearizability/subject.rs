//! What is called.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringway::mpmc::{Channel, Receiver, Sender};
use ringway::{Options, TryRecvError, TrySendError};

/// A channel of numbers, as each of several threads has it open.
pub(crate) trait Subject: Sync {
    /// Whether there was room.
    fn try_send(&self, thread: usize, message: u64) -> bool;
    /// The oldest message, if there is any.
    fn try_recv(&self, thread: usize) -> Option<u64>;
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
    fn try_send(&self, thread: usize, message: u64) -> bool {
        match self.senders[thread].try_send([message; WORDS]) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn try_recv(&self, thread: usize) -> Option<u64> {
        match self.receivers[thread].try_recv() {
            Ok(words) => {
                assert_eq!(words, [words[0]; WORDS], "torn");
                Some(words[0])
            }
            Err(TryRecvError::Empty) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// No queue: two of them, used in turns, so that a message may come before one whose send had returned.
#[derive(Debug, Default)]
pub(crate) struct Overtaking {
    lanes: [Mutex<VecDeque<u64>>; 2],
    sends: AtomicUsize,
}

impl Subject for Overtaking {
    fn try_send(&self, _: usize, message: u64) -> bool {
        let turn = self.sends.fetch_add(1, Ordering::Relaxed);
        let mut lane = self.lanes[turn / 3 % 2].lock().expect("nobody panics");
        let is_room = lane.len() < 2;
        if is_room {
            lane.push_back(message);
        }
        is_room
    }

    fn try_recv(&self, _: usize) -> Option<u64> {
        self.lanes.iter().find_map(|lane| lane.lock().expect("nobody panics").pop_front())
    }
}
