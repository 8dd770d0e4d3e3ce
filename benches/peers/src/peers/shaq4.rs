//! shaq 4: the newest release that builds on stable Rust 1.95, with the SPSC ring of 5.x.

// The crate's constructors are unsafe.
#![allow(unsafe_code)]

use std::fs::File;
use std::hint::spin_loop;
use std::num::NonZeroUsize;
use std::ops::Range;

use anyhow::{Result, anyhow};
use shaq4::spsc::{Consumer, Producer, minimum_file_size};

use crate::contender::{About, BetweenProcesses, Group, ReceiveEnd, SendEnd};
use crate::meeting::Meeting;
use crate::message::Message;
use crate::scenario::Scenario;

/// Its safe calls, which look at the other side's index every time; batches read in place.
pub struct Shaq;

impl BetweenProcesses for Shaq {
    const ABOUT: About = About {
        name: "shaq 4",
        package: "shaq@4",
        form: "file in /dev/shm; try_write, try_read; batches: write_batch, try_reserve_read_batch in place",
        group: Group::ProcessesPolling,
        scenarios: Scenario::EVERY,
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn sender<M: Message>(meeting: &mut Meeting, _: usize) -> Result<Tx<M>> {
        meeting.hear()?;
        let file = File::options().read(true).write(true).open(meeting.path())?;
        // SAFETY:
        // * this is the one producer of the file, whose path is new with every channel;
        // * the other process runs this program, so its `M` is this one: plain words, valid there.
        let tx = unsafe { Producer::join(&file) };
        Ok(Tx(tx.map_err(|error| anyhow!("{error:?}"))?))
    }

    fn receiver<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<Rx<M>> {
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(meeting.path())?;
        let size = minimum_file_size::<M>(capacity);
        // SAFETY:
        // * the file was just created, and the sender is told of it only afterwards, so this is its
        //   sole initializer and its one consumer;
        // * the other process runs this program, so its `M` is this one: plain words, valid here.
        let rx = unsafe { Consumer::create(&file, size) };
        let rx = rx.map_err(|error| anyhow!("{error:?}"))?;
        meeting.tell("created")?;
        Ok(Rx(rx))
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
        while self.0.try_write(message).is_err() {
            spin_loop();
        }
    }

    #[inline(always)]
    fn send_batch(&mut self, mut numbers: Range<u64>) {
        loop {
            let mut batch = self.0.write_batch();
            while !numbers.is_empty() && batch.try_write(M::numbered(numbers.start)).is_ok() {
                numbers.start += 1;
            }
            // Dropping the batch publishes it.
            drop(batch);
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
            if let Some(message) = self.0.try_read() {
                return visit(&message);
            }
            spin_loop();
        }
    }

    #[inline(always)]
    fn receive_batch(&mut self, limit: usize, visit: impl FnMut(&M)) -> usize {
        let limit = NonZeroUsize::new(limit).expect("a batch has messages");
        loop {
            if let Some(batch) = self.0.try_reserve_read_batch(limit) {
                batch.iter().for_each(visit);
                return batch.len();
            }
            spin_loop();
        }
    }
}
