//! ringbuf: a ring with direct access to its memory, used with audio.

use std::hint::spin_loop;
use std::ops::Range;

use anyhow::Result;
use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::contender::{About, BetweenThreads, Group, ReceiveEnd, SendEnd};
use crate::message::Message;
use crate::scenario::{BATCH, Scenario};

/// The caching ends that `split` gives; batches by slices.
pub struct Ringbuf;

impl BetweenThreads for Ringbuf {
    const ABOUT: About = About {
        name: "ringbuf",
        package: "ringbuf",
        form: "HeapRb split into caching ends; try_push, try_pop; batches: push_iter, pop_slice",
        group: Group::ThreadsPolling,
        scenarios: Scenario::EVERY,
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn channel<M: Message>(capacity: usize) -> Result<(Tx<M>, Rx<M>)> {
        let (tx, rx) = HeapRb::new(capacity).split();
        Ok((Tx(tx), Rx { end: rx, batch: [M::numbered(0); BATCH] }))
    }
}

/// The producer's end.
pub struct Tx<M>(HeapProd<M>);

/// The consumer's end, with room for a batch.
pub struct Rx<M> {
    end: HeapCons<M>,
    batch: [M; BATCH],
}

impl<M: Message> SendEnd<M> for Tx<M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        let message = M::numbered(number);
        while self.0.try_push(message).is_err() {
            spin_loop();
        }
    }

    #[inline(always)]
    fn send_batch(&mut self, mut numbers: Range<u64>) {
        loop {
            self.0.push_iter(numbers.by_ref().map(M::numbered));
            if numbers.is_empty() {
                return;
            }
            spin_loop();
        }
    }
}

impl<M: Message> ReceiveEnd<M> for Rx<M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        loop {
            if let Some(message) = self.end.try_pop() {
                return visit(&message);
            }
            spin_loop();
        }
    }

    #[inline(always)]
    fn receive_batch(&mut self, limit: usize, visit: impl FnMut(&M)) -> usize {
        loop {
            let taken = self.end.pop_slice(&mut self.batch[..limit]);
            if taken > 0 {
                self.batch[..taken].iter().for_each(visit);
                return taken;
            }
            spin_loop();
        }
    }
}
