//! What a history is compared with.

use std::collections::VecDeque;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::History as CheckerHistory;
use todc_utils::specifications::Specification;

use crate::record::History;

/// A call that does not wait, with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `try_send`; `sent` is false for *full*.
    Send { message: u64, sent: bool },
    /// `try_recv`; `None` for *empty*.
    Receive(Option<u64>),
}

/// A queue for `CAPACITY` messages. *Full* may count `HELD` slots more than there are messages: those that stalled threads
/// keep. Nothing else is forgiven.
#[derive(Debug)]
pub(crate) struct Fifo<const CAPACITY: usize, const HELD: usize>;

impl<const CAPACITY: usize, const HELD: usize> Specification for Fifo<CAPACITY, HELD> {
    type State = VecDeque<u64>;
    type Operation = Operation;

    fn init() -> Self::State {
        VecDeque::new()
    }

    fn apply(operation: &Operation, queue: &VecDeque<u64>) -> (bool, VecDeque<u64>) {
        let mut after = queue.clone();
        let holds = match *operation {
            Operation::Send { message, sent: true } => {
                after.push_back(message);
                queue.len() < CAPACITY
            }
            Operation::Send { sent: false, .. } => queue.len() + HELD >= CAPACITY,
            Operation::Receive(answer) => after.pop_front() == answer,
        };
        if holds { (true, after) } else { (false, queue.clone()) }
    }
}

/// Whether some order of the calls explains all answers.
pub(crate) fn is_linearizable<S: Specification<Operation = Operation>>(history: &History) -> bool {
    WGLChecker::<S>::is_linearizable(CheckerHistory::from_actions(history.clone()))
}
