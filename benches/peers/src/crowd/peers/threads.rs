//! The contenders that live in one process. None has a call that sends or takes a batch of several.

use std::sync::Arc;

use anyhow::Result;
use crossbeam_queue::ArrayQueue;

use super::ARRAY_QUEUE;
use crate::crowd::contender::{About, Contender, Place, ReceiveEnd, SendEnd};
use crate::message::Message;

const fn about(name: &'static str, package: &'static str) -> About {
    About { name, package, processes: false, batches: false, stalled: false }
}

/// crossbeam-queue's ring.
pub struct CrossbeamArrayQueue;

impl Contender for CrossbeamArrayQueue {
    const ABOUT: About = about(ARRAY_QUEUE, "crossbeam-queue");
    type Channel<M: Message> = Arc<ArrayQueue<M>>;
    type Tx<M: Message> = Arc<ArrayQueue<M>>;
    type Rx<M: Message> = Arc<ArrayQueue<M>>;

    fn create<M: Message>(_: &Place, capacity: usize) -> Result<Arc<ArrayQueue<M>>> {
        Ok(Arc::new(ArrayQueue::new(capacity)))
    }

    fn sender<M: Message>(channel: &Arc<ArrayQueue<M>>) -> Result<Arc<ArrayQueue<M>>> {
        Ok(Arc::clone(channel))
    }

    fn receiver<M: Message>(channel: &Arc<ArrayQueue<M>>) -> Result<Arc<ArrayQueue<M>>> {
        Ok(Arc::clone(channel))
    }
}

impl<M: Message> SendEnd<M> for Arc<ArrayQueue<M>> {
    #[inline(always)]
    fn try_send(&mut self, message: M) -> bool {
        self.push(message).is_ok()
    }
}

impl<M: Message> ReceiveEnd<M> for Arc<ArrayQueue<M>> {
    #[inline(always)]
    fn try_receive(&mut self) -> Option<M> {
        self.pop()
    }
}

/// crossbeam-channel, bounded.
pub struct CrossbeamChannel;

impl Contender for CrossbeamChannel {
    const ABOUT: About = about("crossbeam-channel", "crossbeam-channel");
    type Channel<M: Message> = (crossbeam_channel::Sender<M>, crossbeam_channel::Receiver<M>);
    type Tx<M: Message> = crossbeam_channel::Sender<M>;
    type Rx<M: Message> = crossbeam_channel::Receiver<M>;

    fn create<M: Message>(_: &Place, capacity: usize) -> Result<Self::Channel<M>> {
        Ok(crossbeam_channel::bounded(capacity))
    }

    fn sender<M: Message>((sender, _): &Self::Channel<M>) -> Result<Self::Tx<M>> {
        Ok(sender.clone())
    }

    fn receiver<M: Message>((_, receiver): &Self::Channel<M>) -> Result<Self::Rx<M>> {
        Ok(receiver.clone())
    }
}

impl<M: Message> SendEnd<M> for crossbeam_channel::Sender<M> {
    #[inline(always)]
    fn try_send(&mut self, message: M) -> bool {
        crossbeam_channel::Sender::try_send(self, message).is_ok()
    }
}

impl<M: Message> ReceiveEnd<M> for crossbeam_channel::Receiver<M> {
    #[inline(always)]
    fn try_receive(&mut self) -> Option<M> {
        self.try_recv().ok()
    }
}

/// kanal, bounded.
pub struct Kanal;

impl Contender for Kanal {
    const ABOUT: About = about("kanal", "kanal");
    type Channel<M: Message> = (kanal::Sender<M>, kanal::Receiver<M>);
    type Tx<M: Message> = kanal::Sender<M>;
    type Rx<M: Message> = kanal::Receiver<M>;

    fn create<M: Message>(_: &Place, capacity: usize) -> Result<Self::Channel<M>> {
        Ok(kanal::bounded(capacity))
    }

    fn sender<M: Message>((sender, _): &Self::Channel<M>) -> Result<Self::Tx<M>> {
        Ok(sender.clone())
    }

    fn receiver<M: Message>((_, receiver): &Self::Channel<M>) -> Result<Self::Rx<M>> {
        Ok(receiver.clone())
    }
}

impl<M: Message> SendEnd<M> for kanal::Sender<M> {
    #[inline(always)]
    fn try_send(&mut self, message: M) -> bool {
        kanal::Sender::try_send(self, message).expect("the receivers live")
    }
}

impl<M: Message> ReceiveEnd<M> for kanal::Receiver<M> {
    #[inline(always)]
    fn try_receive(&mut self) -> Option<M> {
        self.try_recv().expect("the senders live")
    }
}
