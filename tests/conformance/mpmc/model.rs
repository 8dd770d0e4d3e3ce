//! Random operations of several peers in one thread, compared with what a `VecDeque` and a list of refusals would do.

use std::collections::{BTreeMap, VecDeque};

use ringway::TryRecvError;
use ringway::channel_of::Mpmc;
use ringway::mpmc::{Guard, Receiver, Sender};

use crate::message::numbered;
use crate::random::Random;
use crate::setup::{Open, Places, Setup};
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![mpmc: random_operations_of_several_peers_do_what_a_deque_does];

pub(crate) const GUARDED: &[Behaviour] = behaviours![mpmc: random_guards_do_what_a_deque_and_a_list_do];

fn random_operations_of_several_peers_do_what_a_deque_does(setup: Setup) {
    compare_all(setup, false);
}

fn random_guards_do_what_a_deque_and_a_list_do(setup: Setup) {
    compare_all(setup, true);
}

fn compare_all(setup: Setup, guarded: bool) {
    for capacity in [2, 4, 8, 64] {
        for seed in 0..8 {
            let open = setup.open(capacity);
            let receivers = [open.receiver(), open.receiver()];
            // Two peers, one of which has two handles.
            let receivers = [&receivers[0], &receivers[1], &receivers[1].clone()];
            let mut random = Random::new(seed << 8 | capacity as u64);
            let places = Places::new(capacity, setup.messages_a_place::<u64, Mpmc>());
            let mut pair = Pair::new(&open, receivers, places, guarded);
            for step in 0..600 {
                let problem = pair.apply(&mut random);
                assert_eq!(problem, Ok(()), "capacity {capacity}, seed {seed}, step {step}");
            }
        }
    }
}

/// A channel, and what must be in it.
struct Pair<'a> {
    open: &'a Open<u64, Mpmc>,
    senders: Vec<Sender<u64>>,
    receivers: [&'a Receiver<u64>; 3],
    /// Whether messages are received under guard, too. Then slots become free out of order, and the ring may be full
    /// with fewer messages than fit.
    guarded: bool,
    guards: Vec<(usize, Guard<'a, u64>)>,
    /// Sent, and never received.
    fresh: VecDeque<u64>,
    /// Where those are, if none is received under guard.
    places: Places,
    /// Refused; with the number of the first message that may come after it, and how often it was refused.
    refused: BTreeMap<u64, u64>,
    refusals: BTreeMap<u64, u32>,
    next: u64,
}

impl<'a> Pair<'a> {
    fn new(open: &'a Open<u64, Mpmc>, receivers: [&'a Receiver<u64>; 3], places: Places, guarded: bool) -> Self {
        let (fresh, refused, refusals) = (VecDeque::new(), BTreeMap::new(), BTreeMap::new());
        let (senders, guards) = (vec![open.sender()], Vec::new());
        Self { open, senders, receivers, guarded, guards, fresh, places, refused, refusals, next: 0 }
    }

    /// Makes a random call and compares.
    fn apply(&mut self, random: &mut Random) -> Result<(), String> {
        let receiver = random.below(3);
        match random.below(16) {
            0..4 => self.send(random.below(8), 1),
            4..6 => self.send(random.below(8), random.below(12 * self.places.messages_a_place())),
            6..9 => self.receive(receiver),
            9 => self.receive_slice(receiver, random.below(12 * self.places.messages_a_place())),
            10 | 11 if self.guarded => self.receive_guarded(receiver),
            12 | 13 if !self.guards.is_empty() => self.end_guard(random),
            14 if random.below(4) == 0 => {
                let original = self.senders.first().filter(|_| random.below(2) == 0);
                let sender = original.cloned().unwrap_or_else(|| self.open.sender());
                self.senders.push(sender);
                Ok(())
            }
            15 if random.below(4) == 0 && !self.senders.is_empty() => {
                let index = random.below(self.senders.len());
                self.senders.swap_remove(index);
                Ok(())
            }
            _ => Ok(()),
        }?;
        let len = self.receivers[receiver].len();
        let exact = self.fresh.len() + self.refused.len();
        // A message under guard is neither here nor there.
        let most = if self.guarded { self.receivers[0].capacity() } else { exact };
        is(len <= most && (self.guarded || len == exact), || format!("{len} messages of {exact}"))
    }

    /// Slots that cannot be had.
    fn used(&self) -> usize {
        self.fresh.len() + self.refused.len() + self.guards.len()
    }

    fn send(&mut self, sender: usize, length: usize) -> Result<(), String> {
        if self.senders.is_empty() {
            return Ok(());
        }
        let tx = &self.senders[sender % self.senders.len()];
        let room = if self.guarded { tx.capacity() - self.used() } else { self.places.room() };
        let result = match length {
            1 => tx.try_send(self.next).map(|()| 1).map_err(|error| error.is_full()),
            _ => tx
                .try_send_slice(&numbered::<u64>(self.next..self.next + length as u64))
                .map_err(|error| error.is_full()),
        };
        let fit = room.min(length);
        let is_right = match result {
            Ok(sent) if self.guarded => sent <= fit && (sent > 0 || length == 0),
            Ok(sent) => sent == fit && (sent > 0 || length == 0),
            // Somebody else's slot may be next in line.
            Err(is_full) => is_full && (fit == 0 || self.guarded && self.used() > 0),
        };
        let sent = result.unwrap_or(0) as u64;
        if !self.guarded {
            self.places.fill(sent as usize);
        }
        self.fresh.extend(self.next..self.next + sent);
        self.next += sent;
        is(is_right, || format!("{result:?} for {length} where {room} fit"))
    }

    fn receive(&mut self, receiver: usize) -> Result<(), String> {
        match self.receivers[receiver].try_recv() {
            Ok(message) => self.delivered(message).map(drop),
            Err(error) => self.nothing(receiver, &error),
        }
    }

    fn receive_slice(&mut self, receiver: usize, length: usize) -> Result<(), String> {
        let mut places = vec![u64::MAX; length];
        match self.receivers[receiver].try_recv_slice(&mut places) {
            Ok(taken) => {
                let there = self.fresh.len() + self.refused.len();
                is(taken == there.min(length), || format!("{taken} of {there} for {length} places"))?;
                places[..taken].iter().try_for_each(|message| self.delivered(*message).map(drop))
            }
            Err(error) => self.nothing(receiver, &error),
        }
    }

    fn receive_guarded(&mut self, receiver: usize) -> Result<(), String> {
        match self.receivers[receiver].try_recv_guard() {
            Ok(guard) => {
                let refusals = self.delivered(*guard)?;
                let counted = guard.redeliveries();
                is(counted == refusals, || format!("{} was refused {refusals} times, not {counted}", *guard))?;
                self.guards.push((receiver, guard));
                Ok(())
            }
            Err(error) => self.nothing(receiver, &error),
        }
    }

    fn end_guard(&mut self, random: &mut Random) -> Result<(), String> {
        let (_, guard) = self.guards.swap_remove(random.below(self.guards.len()));
        let message = *guard;
        let ended = match random.below(4) {
            0 | 1 => return guard.ack().map(drop).map_err(|fault| fault.to_string()),
            2 => guard.nack(),
            _ => {
                drop(guard);
                Ok(())
            }
        };
        self.refused.insert(message, self.next);
        *self.refusals.entry(message).or_default() += 1;
        ended.map_err(|fault| fault.to_string())
    }

    /// Takes a received message off the books; how often it was refused.
    fn delivered(&mut self, message: u64) -> Result<u32, String> {
        match self.refused.remove(&message) {
            Some(line) => {
                let first = self.fresh.front().copied();
                is(first.is_none_or(|first| first >= line), || format!("{message} came back before {first:?}"))?;
            }
            None => {
                let expected = self.fresh.pop_front();
                is(expected == Some(message), || format!("{message} instead of {expected:?}"))?;
                if !self.guarded {
                    self.places.empty(1);
                }
            }
        }
        Ok(self.refusals.get(&message).copied().unwrap_or(0))
    }

    fn nothing(&self, receiver: usize, error: &TryRecvError) -> Result<(), String> {
        // The second and the third handle are one peer, and yet they wait for each other.
        let is_others = |(holder, _): &(usize, Guard<'_, u64>)| *holder != receiver;
        let has_ended = self.senders.is_empty() && !self.guards.iter().any(is_others);
        let expected = if has_ended { TryRecvError::Disconnected } else { TryRecvError::Empty };
        is(self.fresh.is_empty() && self.refused.is_empty(), || format!("{error} with {:?}", self.fresh))?;
        is(*error == expected, || format!("{error:?} instead of {expected:?}"))
    }
}

fn is(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}
