//! What a contender has to offer to be measured.
//!
//! A contender is a type without values that opens the two ends of a channel: in one process
//! ([`BetweenThreads`]) or in two ([`BetweenProcesses`]). The ends deal in message *numbers*, so that a
//! contender which can write a message in place, or read it there, may do so, while another makes it
//! on the stack and copies. Everything in the loop of a measurement is static dispatch.

use std::ops::Range;

use anyhow::Result;

use crate::meeting::Meeting;
use crate::message::Message;
use crate::scenario::Scenario;

/// Whom a contender may be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Not a contender: bare memory, which nobody can beat.
    Limit,
    /// Two processes; a side that has to wait polls.
    ProcessesPolling,
    /// Two threads of one process; a side that has to wait polls.
    ThreadsPolling,
    /// Two processes; a side that has to wait sleeps in the kernel, and the wake-up is in the figures.
    ProcessesBlocking,
}

impl Group {
    /// As the report calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Limit => "limits of this machine",
            Self::ProcessesPolling => "two processes, polling",
            Self::ThreadsPolling => "two threads of one process, polling",
            Self::ProcessesBlocking => "two processes, blocking in the kernel",
        }
    }

    /// Whether both sides use their processors all the time.
    pub fn polls(self) -> bool {
        self != Self::ProcessesBlocking
    }
}

/// What the report says about a contender.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Unique, and short enough for a table.
    pub name: &'static str,
    /// The crate as `Cargo.lock` knows it, with the beginning of its version where several are locked
    /// (`name@1`); empty for what the standard library or this program brings.
    pub package: &'static str,
    /// Which of its operations are used.
    pub form: &'static str,
    /// Like with like.
    pub group: Group,
    /// The work that it can do.
    pub scenarios: &'static [Scenario],
}

/// The end that messages are put into.
pub trait SendEnd<M: Message> {
    /// Sends message `number`, waiting for room if there is none.
    fn send(&mut self, number: u64);

    /// Sends the messages of one batch by the contender's own batch operation.
    ///
    /// Called only if [`About::scenarios`] has [`Scenario::Batches`].
    #[inline(always)]
    fn send_batch(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.send(number);
        }
    }
}

/// The end that messages come out of.
pub trait ReceiveEnd<M: Message> {
    /// Waits for a message and shows it to `visit`, in place if the contender can.
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R;

    /// Waits for at least one message and shows `visit` at most `limit` of them, in order; returns how
    /// many.
    ///
    /// Called only if [`About::scenarios`] has [`Scenario::Batches`].
    #[inline(always)]
    fn receive_batch(&mut self, limit: usize, visit: impl FnMut(&M)) -> usize {
        debug_assert!(limit > 0);
        self.receive(visit);
        1
    }
}

/// A contender whose two ends live in one process.
pub trait BetweenThreads: 'static {
    /// What the report says.
    const ABOUT: About;
    /// The producer's end.
    type Tx<M: Message>: SendEnd<M> + Send;
    /// The consumer's end.
    type Rx<M: Message>: ReceiveEnd<M> + Send;

    /// Opens a channel that holds `capacity` messages.
    ///
    /// # Errors
    ///
    /// The contender's own.
    fn channel<M: Message>(capacity: usize) -> Result<(Self::Tx<M>, Self::Rx<M>)>;
}

/// A contender whose two ends live in two processes.
pub trait BetweenProcesses: 'static {
    /// What the report says.
    const ABOUT: About;
    /// The producer's end.
    type Tx<M: Message>: SendEnd<M>;
    /// The consumer's end.
    type Rx<M: Message>: ReceiveEnd<M>;

    /// Opens the sending end, in one process, of a channel that holds `capacity` messages.
    ///
    /// # Errors
    ///
    /// The contender's own, and the loss of the other process.
    fn sender<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<Self::Tx<M>>;

    /// Opens the receiving end in the other process.
    ///
    /// # Errors
    ///
    /// The contender's own, and the loss of the other process.
    fn receiver<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<Self::Rx<M>>;
}
