//! nexus-queue's SPSC ring: cached indexes, ordered by fences.

use std::hint::spin_loop;

use anyhow::Result;
use nexus_queue::spsc::{Consumer, Producer, ring_buffer};

use crate::contender::{About, BetweenThreads, Group, ReceiveEnd, SendEnd};
use crate::message::Message;
use crate::scenario::Scenario;

/// Single messages by value; there is no batch operation.
pub struct NexusQueue;

impl BetweenThreads for NexusQueue {
    const ABOUT: About = About {
        name: "nexus-queue",
        package: "nexus-queue",
        form: "spsc::ring_buffer; push, pop",
        group: Group::ThreadsPolling,
        scenarios: Scenario::ONE_A_CALL,
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn channel<M: Message>(capacity: usize) -> Result<(Tx<M>, Rx<M>)> {
        let (tx, rx) = ring_buffer(capacity);
        Ok((Tx(tx), Rx(rx)))
    }
}

/// The producer's end.
pub struct Tx<M>(Producer<M>);

/// The consumer's end.
pub struct Rx<M>(Consumer<M>);

impl<M: Message> SendEnd<M> for Tx<M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        let message = M::numbered(number);
        while self.0.push(message).is_err() {
            spin_loop();
        }
    }
}

impl<M: Message> ReceiveEnd<M> for Rx<M> {
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
