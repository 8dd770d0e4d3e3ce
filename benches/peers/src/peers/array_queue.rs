//! crossbeam-queue's `ArrayQueue`: the MPMC ring that Rust users know, one producer and one consumer.

use std::hint::spin_loop;
use std::sync::Arc;

use anyhow::Result;
use crossbeam_queue::ArrayQueue;

use crate::contender::{About, BetweenThreads, Group, ReceiveEnd, SendEnd};
use crate::message::Message;
use crate::scenario::Scenario;

/// Single messages by value; there is no batch operation.
pub struct CrossbeamArrayQueue;

impl BetweenThreads for CrossbeamArrayQueue {
    const ABOUT: About = About {
        name: "crossbeam ArrayQueue",
        package: "crossbeam-queue",
        form: "push, pop",
        group: Group::ThreadsPolling,
        scenarios: Scenario::ONE_A_CALL,
    };
    type Tx<M: Message> = End<M>;
    type Rx<M: Message> = End<M>;

    fn channel<M: Message>(capacity: usize) -> Result<(End<M>, End<M>)> {
        let ring = Arc::new(ArrayQueue::new(capacity));
        Ok((End(Arc::clone(&ring)), End(ring)))
    }
}

/// Either end: the type has one handle for both.
pub struct End<M>(Arc<ArrayQueue<M>>);

impl<M: Message> SendEnd<M> for End<M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        let message = M::numbered(number);
        while self.0.push(message).is_err() {
            spin_loop();
        }
    }
}

impl<M: Message> ReceiveEnd<M> for End<M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        loop {
            if let Some(message) = self.0.pop() {
                return visit(&message);
            }
            spin_loop();
        }
    }
}
