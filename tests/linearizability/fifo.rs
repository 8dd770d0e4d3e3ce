//! What a history is compared with.

use std::collections::{BTreeMap, VecDeque};

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::History as CheckerHistory;
use todc_utils::specifications::Specification;

use crate::record::History;

/// What a call that does not wait did with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `try_send`; `sent` is false for *full*.
    Send { message: u64, sent: bool },
    /// `try_recv`; `None` for *empty*.
    Receive(Option<u64>),
    /// `try_recv_guard`: the message and its redeliveries; `None` for *empty*.
    Take(Option<(u64, u32)>),
    /// `Guard::ack`.
    Acknowledge(u64),
    /// `Guard::nack`, or the end of a guard without either.
    Refuse(u64),
}

/// One operation of a thread. A call for several messages promises nothing about them together: it is one operation after
/// the other, somewhere between its beginning and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) thread: usize,
    /// Steps of the same thread before this one.
    pub(crate) number: usize,
    /// Nobody else's call was under way at any time between the call's beginning and its end.
    pub(crate) alone: bool,
    pub(crate) operation: Operation,
}

/// A queue for `CAPACITY` messages, of which some are under guard or on their way back.
///
/// *Full* may count `HELD` slots more than there are messages: those that stalled threads keep. *Empty* may overlook what
/// is on its way back while others have a call under way, one of which may be what brings it back. Nothing else is forgiven.
#[derive(Debug)]
pub(crate) struct Fifo<const CAPACITY: usize, const HELD: usize>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    /// Messages that were never refused, oldest first.
    fresh: VecDeque<u64>,
    /// Those under guard, with their redeliveries.
    guarded: BTreeMap<u64, u32>,
    /// Those that were refused. When each joins the end of the line is not promised.
    refused: Vec<Refused>,
    /// For each slot that was under guard and may have no ticket before these messages are gone: these messages.
    late: Vec<Vec<u64>>,
    /// Steps that each thread has taken.
    steps: BTreeMap<usize, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Refused {
    message: u64,
    redeliveries: u32,
    /// The last message in line when it was refused; it comes behind that one.
    behind: Option<u64>,
}

impl Line {
    fn len(&self) -> usize {
        self.fresh.len() + self.guarded.len() + self.refused.len()
    }

    /// Whether places may be void between a message and a refused one behind it: that one came back in its own slot, past
    /// those that were free.
    fn may_have_gaps(&self) -> bool {
        !self.refused.is_empty() && self.fresh.len() + self.refused.len() > 1
    }

    /// Whether it is the thread's turn to take this step.
    fn takes(&mut self, step: &Step) -> bool {
        let taken = self.steps.entry(step.thread).or_default();
        *taken += 1;
        *taken == step.number + 1
    }

    /// Takes a message that may be first in line; its redeliveries.
    fn take(&mut self, message: u64) -> Option<u32> {
        let redeliveries = if self.fresh.front() == Some(&message) {
            self.fresh.pop_front();
            0
        } else {
            let place = self.refused.iter().position(|refused| refused.message == message)?;
            if self.refused[place].behind.is_some_and(|before| self.fresh.contains(&before)) {
                return None;
            }
            self.refused.remove(place).redeliveries
        };
        let Self { fresh, refused, late, .. } = self;
        let is_left =
            |message: &u64| fresh.contains(message) || refused.iter().any(|refused| refused.message == *message);
        late.retain(|before| before.iter().any(is_left));
        Some(redeliveries)
    }

    fn acknowledge(&mut self, message: u64) -> bool {
        let before: Vec<_> =
            self.fresh.iter().copied().chain(self.refused.iter().map(|refused| refused.message)).collect();
        if !before.is_empty() {
            self.late.push(before);
        }
        self.guarded.remove(&message).is_some()
    }

    fn refuse(&mut self, message: u64) -> bool {
        let Some(before) = self.guarded.remove(&message) else { return false };
        self.refused.push(Refused { message, redeliveries: before + 1, behind: self.fresh.back().copied() });
        // In whatever order they were refused, it is the same state.
        self.refused.sort_by_key(|refused| refused.message);
        true
    }
}

impl<const CAPACITY: usize, const HELD: usize> Specification for Fifo<CAPACITY, HELD> {
    type State = Line;
    type Operation = Step;

    fn init() -> Line {
        Line::default()
    }

    fn apply(step: &Step, line: &Line) -> (bool, Line) {
        let mut after = line.clone();
        let is_empty = line.fresh.is_empty() && (line.refused.is_empty() || !step.alone);
        let holds = after.takes(step)
            && match step.operation {
                Operation::Send { message, sent: true } => {
                    after.fresh.push_back(message);
                    line.len() < CAPACITY
                }
                Operation::Send { sent: false, .. } => {
                    line.len() + line.late.len() + HELD >= CAPACITY || line.may_have_gaps()
                }
                Operation::Receive(None) | Operation::Take(None) => is_empty,
                Operation::Receive(Some(message)) => after.take(message).is_some(),
                Operation::Take(Some((message, redeliveries))) => {
                    after.guarded.insert(message, redeliveries);
                    after.take(message) == Some(redeliveries)
                }
                Operation::Acknowledge(message) => after.acknowledge(message),
                Operation::Refuse(message) => after.refuse(message),
            };
        if holds { (true, after) } else { (false, line.clone()) }
    }
}

/// Whether some order of the calls explains all answers.
pub(crate) fn is_linearizable<S: Specification<Operation = Step>>(history: &History) -> bool {
    WGLChecker::<S>::is_linearizable(CheckerHistory::from_actions(history.clone()))
}
