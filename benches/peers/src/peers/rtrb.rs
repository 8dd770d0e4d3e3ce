//! rtrb: the in-process ring that the rates are held against.

use std::hint::spin_loop;
use std::ops::Range;

use anyhow::Result;
use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::contender::{About, BetweenThreads, Group, ReceiveEnd, SendEnd};
use crate::message::Message;
use crate::peers::REFERENCE;
use crate::scenario::Scenario;

/// Single messages by value; batches as chunks, written and read in place.
pub struct Rtrb;

impl BetweenThreads for Rtrb {
    const ABOUT: About = About {
        name: REFERENCE,
        package: "rtrb",
        form: "push, pop; batches: write_chunk_uninit + fill_from_iter, read_chunk + as_slices in place",
        group: Group::ThreadsPolling,
        scenarios: Scenario::EVERY,
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn channel<M: Message>(capacity: usize) -> Result<(Tx<M>, Rx<M>)> {
        let (tx, rx) = RingBuffer::new(capacity);
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

    #[inline(always)]
    fn send_batch(&mut self, mut numbers: Range<u64>) {
        while !numbers.is_empty() {
            let left = (numbers.end - numbers.start) as usize;
            let chunk = match self.0.write_chunk_uninit(left) {
                Ok(chunk) => chunk,
                Err(ChunkError::TooFewSlots(0)) => {
                    spin_loop();
                    continue;
                }
                Err(ChunkError::TooFewSlots(slots)) => self.0.write_chunk_uninit(slots).expect("slots do not go away"),
            };
            chunk.fill_from_iter(numbers.by_ref().map(M::numbered));
        }
    }
}

impl<M: Message> ReceiveEnd<M> for Rx<M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        loop {
            if let Ok(message) = self.0.pop() {
                return visit(&message);
            }
            spin_loop();
        }
    }

    #[inline(always)]
    fn receive_batch(&mut self, limit: usize, visit: impl FnMut(&M)) -> usize {
        let chunk = loop {
            match self.0.read_chunk(limit) {
                Ok(chunk) => break chunk,
                Err(ChunkError::TooFewSlots(0)) => spin_loop(),
                Err(ChunkError::TooFewSlots(slots)) => {
                    break self.0.read_chunk(slots).expect("messages do not go away");
                }
            }
        };
        let (first, second) = chunk.as_slices();
        let taken = chunk.len();
        first.iter().chain(second).for_each(visit);
        chunk.commit_all();
        taken
    }
}
