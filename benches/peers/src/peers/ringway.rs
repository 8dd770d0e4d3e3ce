//! ringway itself: between processes over POSIX shared memory, between threads over a memfd and over
//! the heap.

use std::marker::PhantomData;
use std::ops::Range;

use anyhow::Result;
use ringway::spsc::{Channel, Receiver, Sender};
use ringway::{Options, Wait};

use crate::contender::{About, BetweenProcesses, BetweenThreads, Group, ReceiveEnd, SendEnd};
use crate::meeting::Meeting;
use crate::message::Message;
use crate::peers::OURS;
use crate::scenario::{BATCH, Scenario};

/// A named channel between processes, whose sides wait as `W` says.
pub struct Named<W>(PhantomData<W>);

/// The strategies of waiting, as types.
pub trait Waiting: 'static {
    /// As the library calls it.
    const WAIT: Wait;
    /// As the report calls it.
    const NAME: &'static str;
    /// Whom it is compared with.
    const GROUP: Group;
}

/// Polls for ever, like its group.
pub struct Spin;

/// Polls for a while, then sleeps: the default.
pub struct Adaptive;

/// Sleeps at once, like a pipe.
pub struct Park;

impl Waiting for Spin {
    const WAIT: Wait = Wait::Spin;
    const NAME: &'static str = "ringway spin";
    const GROUP: Group = Group::ProcessesPolling;
}

impl Waiting for Adaptive {
    const WAIT: Wait = Wait::Adaptive;
    const NAME: &'static str = "ringway adaptive";
    const GROUP: Group = Group::ProcessesPolling;
}

impl Waiting for Park {
    const WAIT: Wait = Wait::Park;
    const NAME: &'static str = "ringway park";
    const GROUP: Group = Group::ProcessesBlocking;
}

impl<W: Waiting> BetweenProcesses for Named<W> {
    const ABOUT: About = About {
        name: W::NAME,
        package: OURS,
        form: "spsc over POSIX shared memory; send, recv; batches: send_slice, recv_slice",
        group: W::GROUP,
        scenarios: Scenario::EVERY,
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn sender<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<Tx<M>> {
        meeting.hear()?;
        Ok(Tx::new(Channel::attach(&meeting.name(), &options(capacity, W::WAIT))?.sender()?))
    }

    fn receiver<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<Rx<M>> {
        let rx = Channel::create(&meeting.name(), &options(capacity, W::WAIT))?.receiver()?;
        meeting.tell("created")?;
        Ok(Rx::new(rx))
    }
}

/// Between threads, on the heap.
pub struct Heap;

/// Between threads, in an anonymous file.
pub struct Memfd;

impl BetweenThreads for Heap {
    const ABOUT: About = About {
        name: "ringway heap",
        form: "spsc on the heap, Wait::Spin; send, recv; batches: send_slice, recv_slice",
        ..Memfd::ABOUT
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn channel<M: Message>(capacity: usize) -> Result<(Tx<M>, Rx<M>)> {
        ends(&Channel::heap(&options(capacity, Wait::Spin))?)
    }
}

impl BetweenThreads for Memfd {
    const ABOUT: About = About {
        name: "ringway memfd",
        package: OURS,
        form: "spsc in a memfd, Wait::Spin; send, recv; batches: send_slice, recv_slice",
        group: Group::ThreadsPolling,
        scenarios: Scenario::EVERY,
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn channel<M: Message>(capacity: usize) -> Result<(Tx<M>, Rx<M>)> {
        ends(&Channel::anonymous(&options(capacity, Wait::Spin))?)
    }
}

fn options(capacity: usize, wait: Wait) -> Options {
    Options::new().capacity(capacity).wait(wait)
}

fn ends<M: Message>(channel: &Channel<M>) -> Result<(Tx<M>, Rx<M>)> {
    Ok((Tx::new(channel.sender()?), Rx::new(channel.receiver()?)))
}

/// The producer's end, with room for a batch.
pub struct Tx<M: Message> {
    end: Sender<M>,
    batch: Vec<M>,
}

/// The consumer's end, with room for a batch.
pub struct Rx<M: Message> {
    end: Receiver<M>,
    batch: [M; BATCH],
}

impl<M: Message> Tx<M> {
    fn new(end: Sender<M>) -> Self {
        Self { end, batch: Vec::with_capacity(BATCH) }
    }
}

impl<M: Message> Rx<M> {
    fn new(end: Receiver<M>) -> Self {
        Self { end, batch: [M::numbered(0); BATCH] }
    }
}

impl<M: Message> SendEnd<M> for Tx<M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        self.end.send(M::numbered(number)).expect("the receiver lives");
    }

    #[inline(always)]
    fn send_batch(&mut self, numbers: Range<u64>) {
        self.batch.clear();
        self.batch.extend(numbers.map(M::numbered));
        self.end.send_slice(&self.batch).expect("the receiver lives");
    }
}

impl<M: Message> ReceiveEnd<M> for Rx<M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        visit(&self.end.recv().expect("the sender lives"))
    }

    #[inline(always)]
    fn receive_batch(&mut self, limit: usize, visit: impl FnMut(&M)) -> usize {
        let taken = self.end.recv_slice(&mut self.batch[..limit]).expect("the sender lives");
        self.batch[..taken].iter().for_each(visit);
        taken
    }
}
