//! ringway itself: a named channel between processes, and an anonymous one between threads.

use anyhow::Result;
use ringway::mpmc::{Channel, Receiver, Sender};
use ringway::{Options, TryRecvError, TrySendError};

use super::{OURS, PROCESSES, STALLED, THREADS};
use crate::crowd::contender::{About, Contender, Place, ReceiveEnd, SendEnd};
use crate::message::Message;

/// Every worker a process.
pub struct Processes;

/// The same beside two stopped processes.
pub struct Stalled;

/// Every worker a thread with a handle of its own.
pub struct Threads;

const ABOUT: About = About { name: PROCESSES, package: OURS, processes: true, batches: true, stalled: false };

fn named<M: Message>(place: &Place, capacity: usize) -> Result<Channel<M>> {
    Ok(Channel::create(&place.name(), &Options::new().capacity(capacity))?)
}

macro_rules! contender {
    ($name:ident, $about:expr, $create:expr) => {
        impl Contender for $name {
            const ABOUT: About = $about;
            type Channel<M: Message> = Channel<M>;
            type Tx<M: Message> = Sender<M>;
            type Rx<M: Message> = Receiver<M>;

            fn create<M: Message>(place: &Place, capacity: usize) -> Result<Channel<M>> {
                $create(place, capacity)
            }

            fn attach<M: Message>(place: &Place) -> Result<Channel<M>> {
                Ok(Channel::attach(&place.name(), &Options::new())?)
            }

            fn sender<M: Message>(channel: &Channel<M>) -> Result<Sender<M>> {
                Ok(channel.sender()?)
            }

            fn receiver<M: Message>(channel: &Channel<M>) -> Result<Receiver<M>> {
                Ok(channel.receiver()?)
            }
        }
    };
}

contender!(Processes, ABOUT, named);
contender!(Stalled, About { name: STALLED, batches: false, stalled: true, ..ABOUT }, named);
contender!(Threads, About { name: THREADS, processes: false, ..ABOUT }, |_, capacity| {
    Ok(Channel::anonymous(&Options::new().capacity(capacity))?)
});

impl<M: Message> SendEnd<M> for Sender<M> {
    #[inline(always)]
    fn try_send(&mut self, message: M) -> bool {
        match Sender::try_send(self, message) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[M]) -> usize {
        match self.try_send_slice(messages) {
            Ok(sent) => sent,
            Err(TrySendError::Full(())) => 0,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<M: Message> ReceiveEnd<M> for Receiver<M> {
    #[inline(always)]
    fn try_receive(&mut self) -> Option<M> {
        match self.try_recv() {
            Ok(message) => Some(message),
            Err(TryRecvError::Empty) => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[inline(always)]
    fn try_receive_batch(&mut self, messages: &mut [M]) -> usize {
        match self.try_recv_slice(messages) {
            Ok(taken) => taken,
            Err(TryRecvError::Empty) => 0,
            Err(error) => panic!("{error}"),
        }
    }
}
