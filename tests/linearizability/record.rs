//! Having threads call a channel, and writing down who called and returned when.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, yield_now};

use todc_utils::linearizability::history::Action::{self, Call, Response};

use crate::fifo::Operation;
use crate::subject::Subject;

/// Calls and returns in their order, each with its thread.
pub(crate) type History = Vec<(usize, Action<Operation>)>;

/// Calls of each thread in a history.
const CALLS: u64 = 4;

/// One event, with the moment at which it was recorded.
type Stamped = (u64, usize, Action<Operation>);

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
pub(crate) fn record(threads: usize, subject: &impl Subject, count: u64, seed: u64) -> Vec<History> {
    let clock = Clock(AtomicU64::new(0));
    let start = Start { arrived: AtomicU64::new(0), threads: threads as u64 };
    let end = Start { arrived: AtomicU64::new(0), threads: threads as u64 };
    let of_threads: Vec<Vec<Vec<Stamped>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let (clock, start, end) = (&clock, &start, &end);
                scope.spawn(move || {
                    let mut random = seed << 32 | thread as u64;
                    let mut histories = Vec::new();
                    for round in 0..count {
                        start.wait(round);
                        let mut events = Vec::new();
                        for call in 0..CALLS {
                            let message = (round * CALLS + call) << 8 | thread as u64;
                            let is_send = next(&mut random) % 2 == 0;
                            events.extend(made(clock, subject, thread, is_send.then_some(message)));
                        }
                        end.wait(round);
                        // What is left is part of the history; the others wait for the next one.
                        if thread == 0 {
                            events.extend(drained(clock, subject));
                        }
                        histories.push(events);
                    }
                    histories
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no call panics")).collect()
    });
    (0..count as usize).map(|round| merge(of_threads.iter().flat_map(|histories| &histories[round]))).collect()
}

/// Makes a call, which sends if there is a message.
fn made(clock: &Clock, subject: &impl Subject, thread: usize, message: Option<u64>) -> [Stamped; 2] {
    let called = clock.now();
    let answer = match message {
        Some(message) => Operation::Send { message, sent: subject.try_send(thread, message) },
        None => Operation::Receive(subject.try_recv(thread)),
    };
    let returned = clock.now();
    [(called, thread, Call(answer)), (returned, thread, Response(answer))]
}

/// Receives as the first thread until there is nothing left.
fn drained(clock: &Clock, subject: &impl Subject) -> Vec<Stamped> {
    let mut events: Vec<Stamped> = Vec::new();
    while events.last().is_none_or(|(.., action)| *action != Response(Operation::Receive(None))) {
        events.extend(made(clock, subject, 0, None));
    }
    events
}

fn merge<'a>(events: impl Iterator<Item = &'a Stamped>) -> History {
    let mut events: Vec<_> = events.cloned().collect();
    events.sort_by_key(|(stamp, ..)| *stamp);
    events.into_iter().map(|(_, thread, action)| (thread, action)).collect()
}

/// xorshift64 (Marsaglia, 2003).
fn next(random: &mut u64) -> u64 {
    *random = (*random).max(1);
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// The history of one thread that makes these calls.
pub(crate) fn one_by_one(calls: &[Operation]) -> History {
    calls.iter().flat_map(|call| [(0, Call(*call)), (0, Response(*call))]).collect()
}

/// Whether two calls were under way at the same time.
pub(crate) fn overlaps(history: &History) -> bool {
    history.windows(2).any(|events| matches!(events, [(_, Call(_)), (_, Call(_))]))
}

/// Copies of the history that no queue explains, each with one answer changed: a message received twice, one that was
/// never sent, and one that is gone.
pub(crate) fn forgeries(history: &History) -> Vec<History> {
    let received: Vec<_> = history
        .iter()
        .enumerate()
        .filter_map(|(index, (_, action))| match action {
            Response(Operation::Receive(Some(message))) => Some((index, *message)),
            _ => None,
        })
        .collect();
    let mut forgeries = Vec::new();
    for pair in received.windows(2) {
        forgeries.push(with_answer(history, pair[0].0, Some(pair[1].1)));
        forgeries.push(with_answer(history, pair[1].0, None));
    }
    forgeries.extend(received.first().map(|(index, _)| with_answer(history, *index, Some(u64::MAX))));
    forgeries
}

fn with_answer(history: &History, index: usize, answer: Option<u64>) -> History {
    let mut forged = history.clone();
    forged[index].1 = Response(Operation::Receive(answer));
    forged
}
