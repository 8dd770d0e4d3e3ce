//! kanal, bounded: a channel that hands a message straight to a waiting receiver.

use std::hint::spin_loop;

use anyhow::Result;
use kanal::{Receiver, Sender};

use crate::contender::{About, BetweenThreads, Group, ReceiveEnd, SendEnd};
use crate::message::Message;
use crate::scenario::Scenario;

/// Polled, like the rest of its group; there is no batch operation for both sides.
pub struct Kanal;

impl BetweenThreads for Kanal {
    const ABOUT: About = About {
        name: "kanal",
        package: "kanal",
        form: "bounded; try_send, try_recv",
        group: Group::ThreadsPolling,
        scenarios: Scenario::ONE_A_CALL,
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn channel<M: Message>(capacity: usize) -> Result<(Tx<M>, Rx<M>)> {
        let (tx, rx) = kanal::bounded(capacity);
        Ok((Tx(tx), Rx(rx)))
    }
}

/// The producer's end.
pub struct Tx<M>(Sender<M>);

/// The consumer's end.
pub struct Rx<M>(Receiver<M>);

impl<M: Message> SendEnd<M> for Tx<M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        let message = M::numbered(number);
        while !self.0.try_send(message).expect("the receiver lives") {
            spin_loop();
        }
    }
}

impl<M: Message> ReceiveEnd<M> for Rx<M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        loop {
            if let Some(message) = self.0.try_recv().expect("the sender lives") {
                return visit(&message);
            }
            spin_loop();
        }
    }
}
