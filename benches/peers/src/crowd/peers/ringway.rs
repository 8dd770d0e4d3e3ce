//! ringway itself: a named channel between processes, and an anonymous one between threads.

use anyhow::Result;
use ringway::mpmc::{Channel, Receiver, Sender};
use ringway::{Options, TryRecvError, TrySendError};

use super::{OURS, PACKED_PROCESSES, PACKED_THREADS, PROCESSES, STALLED, THREADS};
use crate::crowd::contender::{About, Contender, Place, ReceiveEnd, SendEnd};
use crate::message::Message;

/// Every worker a process.
pub struct Processes;

/// The same beside two stopped processes.
pub struct Stalled;

/// Every worker a thread with a handle of its own.
pub struct Threads;

/// As [`Processes`], with packed slots.
pub struct PackedProcesses;

/// As [`Threads`], with packed slots.
pub struct PackedThreads;

const ABOUT: About = About { name: PROCESSES, package: OURS, processes: true, batches: true, stalled: false };

fn named<M: Message>(place: &Place, options: &Options) -> Result<Channel<M>> {
    Ok(Channel::create(&place.name(), options)?)
}

fn anonymous<M: Message>(_: &Place, options: &Options) -> Result<Channel<M>> {
    Ok(Channel::anonymous(options)?)
}

macro_rules! contender {
    ($name:ident, $about:expr, $create:ident, packed: $packed:literal) => {
        impl Contender for $name {
            const ABOUT: About = $about;
            type Channel<M: Message> = Channel<M>;
            type Tx<M: Message> = Sender<M>;
            type Rx<M: Message> = Receiver<M>;

            fn create<M: Message>(place: &Place, capacity: usize) -> Result<Channel<M>> {
                $create(place, &Options::new().capacity(capacity).pack_batches($packed))
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

contender!(Processes, ABOUT, named, packed: false);
contender!(PackedProcesses, About { name: PACKED_PROCESSES, ..ABOUT }, named, packed: true);
contender!(Stalled, About { name: STALLED, batches: false, stalled: true, ..ABOUT }, named, packed: false);
contender!(Threads, About { name: THREADS, processes: false, ..ABOUT }, anonymous, packed: false);
contender!(PackedThreads, About { name: PACKED_THREADS, processes: false, ..ABOUT }, anonymous, packed: true);

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
