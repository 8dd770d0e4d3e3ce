//! Having threads call a channel, and writing down who called and returned when.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, yield_now};

use todc_utils::linearizability::history::Action::{self, Call, Response};

use crate::fifo::{Operation, Step};
use crate::subject::{End, Peer, Subject};

/// Calls and returns in their order, each with its thread.
pub(crate) type History = Vec<(usize, Action<Step>)>;

/// Calls of each thread in a history, besides the one that ends a guard.
const CALLS: u64 = 4;
/// Messages that a call for several asks for.
const SLICE: u64 = 3;

/// Which calls a history is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repertoire {
    /// `try_send` and `try_recv`.
    Single,
    /// These and `try_send_slice` and `try_recv_slice`.
    Slices,
    /// These and `try_recv_guard`, and what ends a guard.
    Guards,
}

/// One event, with the moment at which it was recorded.
type Stamped = (u64, usize, Action<Step>);

/// Orders the events of all threads.
///
/// Sequentially consistent, so that an earlier number happened before a later one; which is what "before" means to a
/// program that cannot look into store buffers.
struct Clock(AtomicU64);

impl Clock {
    fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// Lets all threads begin at the same time, as nearly as they can.
struct Start {
    arrived: AtomicU64,
    threads: u64,
}

impl Start {
    fn wait(&self, round: u64) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let mut looks = 0;
        while self.arrived.load(Ordering::SeqCst) < (round + 1) * self.threads {
            looks += 1;
            // With more threads than processors, the last ones can only arrive if somebody makes way.
            if looks % 100 == 0 { yield_now() } else { spin_loop() }
        }
    }
}

/// Records `count` histories of `threads` threads, one after the other on the same channel, which is drained in between.
pub(crate) fn record(
    threads: usize,
    subject: &impl Subject,
    repertoire: Repertoire,
    count: u64,
    seed: u64,
) -> Vec<History> {
    let clock = Clock(AtomicU64::new(0));
    let start = Start { arrived: AtomicU64::new(0), threads: threads as u64 };
    let end = Start { arrived: AtomicU64::new(0), threads: threads as u64 };
    let of_threads: Vec<Vec<Vec<Stamped>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let (clock, start, end) = (&clock, &start, &end);
                scope.spawn(move || {
                    let mut random = seed << 32 | thread as u64;
                    let mut peer = subject.peer(thread);
                    let mut histories = Vec::new();
                    for round in 0..count {
                        start.wait(round);
                        let mut pages = Pages { clock, thread, events: Vec::new(), guarded: None };
                        for call in 0..CALLS {
                            let message = (round * CALLS + call) << 16 | thread as u64;
                            pages.call(&mut *peer, repertoire, message, &mut random);
                        }
                        pages.end_guard(&mut *peer, &mut random);
                        end.wait(round);
                        // What is left is part of the history; the others wait for the next one.
                        if thread == 0 {
                            while pages.receive(&mut *peer) {}
                        }
                        histories.push(pages.events);
                    }
                    histories
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no call panics")).collect()
    });
    (0..count as usize).map(|round| merge(of_threads.iter().flat_map(|histories| &histories[round]))).collect()
}

/// What a thread writes down in one history.
struct Pages<'a> {
    clock: &'a Clock,
    thread: usize,
    events: Vec<Stamped>,
    /// The message that the thread has under guard.
    guarded: Option<u64>,
}

impl Pages<'_> {
    /// Makes a call and writes it down: a step for each operation that it consisted of.
    fn enter(&mut self, call: impl FnOnce() -> Vec<Operation>) {
        let called = self.clock.now();
        let operations = call();
        let returned = self.clock.now();
        let before = self.events.len() / 2;
        let steps = (before..).zip(operations);
        let steps = steps.map(|(number, operation)| Step { thread: self.thread, number, alone: false, operation });
        let steps: Vec<_> = steps.collect();
        self.events.extend(steps.iter().map(|step| (called, self.thread, Call(*step))));
        self.events.extend(steps.iter().map(|step| (returned, self.thread, Response(*step))));
    }

    /// Makes one of the repertoire's calls; if it sends, `message` and perhaps others that follow from it.
    fn call(&mut self, peer: &mut dyn Peer, repertoire: Repertoire, message: u64, random: &mut u64) {
        let calls = match repertoire {
            Repertoire::Single => 2,
            Repertoire::Slices => 4,
            Repertoire::Guards => 7,
        };
        let length = 1 + next(random) % SLICE;
        match next(random) % calls {
            0 => self.enter(|| vec![Operation::Send { message, sent: peer.try_send(message) }]),
            1 => {
                self.receive(peer);
            }
            2 => self.enter(|| {
                let messages: Vec<_> = (0..length).map(|index| message | index << 8).collect();
                let sent = peer.try_send_slice(&messages);
                // If one did not fit, those behind it were not tried.
                let tried = messages.into_iter().take(sent + 1).enumerate();
                tried.map(|(index, message)| Operation::Send { message, sent: index < sent }).collect()
            }),
            3 => self.enter(|| {
                let messages = peer.try_recv_slice(length as usize);
                let ended = (messages.len() < length as usize).then_some(None);
                messages.into_iter().map(Some).chain(ended).map(Operation::Receive).collect()
            }),
            _ if self.guarded.is_some() => self.end_guard(peer, random),
            _ => {
                let mut taken = None;
                self.enter(|| {
                    taken = peer.try_recv_guard();
                    vec![Operation::Take(taken)]
                });
                self.guarded = taken.map(|(message, _)| message);
            }
        }
    }

    /// Receives a message, and says whether there was one.
    fn receive(&mut self, peer: &mut dyn Peer) -> bool {
        let mut received = None;
        self.enter(|| {
            received = peer.try_recv();
            vec![Operation::Receive(received)]
        });
        received.is_some()
    }

    fn end_guard(&mut self, peer: &mut dyn Peer, random: &mut u64) {
        let Some(message) = self.guarded.take() else { return };
        let (end, operation) = match next(random) % 4 {
            0 => (End::Refuse, Operation::Refuse(message)),
            1 => (End::Drop, Operation::Refuse(message)),
            _ => (End::Acknowledge, Operation::Acknowledge(message)),
        };
        self.enter(|| {
            peer.end_guard(end);
            vec![operation]
        });
    }
}

fn merge<'a>(events: impl Iterator<Item = &'a Stamped>) -> History {
    let mut events: Vec<_> = events.cloned().collect();
    // Stable: the steps of a call stay in their order.
    events.sort_by_key(|(stamp, ..)| *stamp);
    let mut history: History = events.into_iter().map(|(_, thread, action)| (thread, action)).collect();
    for begin in 0..history.len() {
        let Call(step) = history[begin].1 else { continue };
        let end = response_of(&history, &step);
        let alone = is_alone(&history, step.thread, begin, end);
        history[begin].1 = Call(Step { alone, ..step });
        history[end].1 = Response(Step { alone, ..step });
    }
    history
}

fn response_of(history: &History, step: &Step) -> usize {
    let is_response = |action: &Action<Step>| matches!(action, Response(other) if (other.thread, other.number) == (step.thread, step.number));
    history.iter().position(|(_, action)| is_response(action)).expect("every call returns")
}

/// Whether no other thread's call was under way between two events.
fn is_alone(history: &History, thread: usize, begin: usize, end: usize) -> bool {
    let others = |(other, _): &&(usize, Action<Step>)| *other != thread;
    let (calls, responses): (Vec<_>, Vec<_>) =
        history[..begin].iter().filter(others).partition(|(_, action)| matches!(action, Call(_)));
    calls.len() == responses.len() && history[begin..end].iter().find(others).is_none()
}

/// xorshift64 (Marsaglia, 2003).
fn next(random: &mut u64) -> u64 {
    *random = (*random).max(1);
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// The history of one thread that does these one after the other.
pub(crate) fn one_by_one(operations: &[Operation]) -> History {
    let steps = operations.iter().enumerate();
    let steps = steps.map(|(number, operation)| Step { thread: 0, number, alone: true, operation: *operation });
    steps.flat_map(|step| [(0, Call(step)), (0, Response(step))]).collect()
}

/// The history of threads that each make one call at the same time, which does these one after the other.
pub(crate) fn at_once(calls: &[&[Operation]]) -> History {
    let of_thread = |(thread, operations): (usize, &&[Operation])| {
        let steps = operations.iter().enumerate();
        let steps = steps.map(|(number, operation)| Step { thread, number, alone: false, operation: *operation });
        steps.collect::<Vec<_>>()
    };
    let steps: Vec<_> = calls.iter().enumerate().flat_map(of_thread).collect();
    let calls = steps.iter().map(|step| (step.thread, Call(*step)));
    calls.chain(steps.iter().map(|step| (step.thread, Response(*step)))).collect()
}

/// Whether calls of two threads were under way at the same time.
pub(crate) fn overlaps(history: &History) -> bool {
    let is_call = |action: &Action<Step>| matches!(action, Call(_));
    history.windows(2).any(|events| events[0].0 != events[1].0 && is_call(&events[0].1) && is_call(&events[1].1))
}

/// Copies of the history that no queue explains, each with one answer changed.
pub(crate) fn forgeries(history: &History) -> Vec<History> {
    let steps = || history.iter().filter_map(|(_, action)| if let Response(step) = action { Some(step) } else { None });
    let mut forgeries = Vec::new();
    let received: Vec<_> = steps().filter(|step| matches!(step.operation, Operation::Receive(Some(_)))).collect();
    for pair in received.windows(2) {
        // Received twice; and gone.
        forgeries.push(with(history, pair[0], pair[1].operation));
        forgeries.push(with(history, pair[1], Operation::Receive(None)));
    }
    // Never sent.
    forgeries.extend(received.first().map(|step| with(history, step, Operation::Receive(Some(u64::MAX)))));
    for step in steps() {
        let forged = match step.operation {
            Operation::Take(Some((message, redeliveries))) => Operation::Take(Some((message, redeliveries + 1))),
            Operation::Acknowledge(message) => Operation::Refuse(message),
            Operation::Refuse(message) => Operation::Acknowledge(message),
            Operation::Send { .. } | Operation::Receive(_) | Operation::Take(None) => continue,
        };
        forgeries.push(with(history, step, forged));
    }
    forgeries
}

fn with(history: &History, step: &Step, operation: Operation) -> History {
    let mut forged = history.clone();
    forged[response_of(history, step)].1 = Response(Step { operation, ..*step });
    forged
}
