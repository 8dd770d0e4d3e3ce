//! shaq 3: its last release whose SPSC ring has no fence on the publish and lets the user decide when
//! to look at the other side's index.

// The crate's constructors and its way of reserving a slot are unsafe.
#![allow(unsafe_code)]

use std::fs::File;
use std::hint::spin_loop;
use std::ops::Range;

use anyhow::{Result, anyhow};
use shaq3::spsc::{Consumer, Producer, minimum_file_size};

use crate::contender::{About, BetweenProcesses, Group, ReceiveEnd, SendEnd};
use crate::meeting::Meeting;
use crate::message::Message;
use crate::scenario::Scenario;

/// `sync` only when the ring looks full or empty: the cached indexes are what makes it fast.
pub struct Shaq;

impl BetweenProcesses for Shaq {
    const ABOUT: About = About {
        name: "shaq 3",
        package: "shaq@3",
        form: "file in /dev/shm; reserve + commit, try_read + finalize; sync only when full or empty",
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

impl<M: Message> Tx<M> {
    /// Writes message `number` without publishing it, if there is room as far as is known.
    #[inline(always)]
    fn write(&mut self, number: u64) -> bool {
        // SAFETY: the slot is written right below, before anything is committed, and no pointer to it
        // is kept.
        let slot = unsafe { self.0.reserve() };
        let Some(slot) = slot else { return false };
        // SAFETY: the slot is reserved, so it is aligned, mapped, and the consumer stays away from it.
        unsafe { slot.write(M::numbered(number)) };
        true
    }

    /// Looks at the consumer's index, and pauses if that brings no room.
    #[inline(always)]
    fn look(&mut self) {
        self.0.sync();
        if self.0.len() == self.0.capacity() {
            spin_loop();
        }
    }
}

impl<M: Message> SendEnd<M> for Tx<M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        while !self.write(number) {
            self.look();
        }
        self.0.commit();
    }

    #[inline(always)]
    fn send_batch(&mut self, numbers: Range<u64>) {
        for number in numbers {
            while !self.write(number) {
                // What is written must be seen before its sender waits.
                self.0.commit();
                self.look();
            }
        }
        self.0.commit();
    }
}

impl<M: Message> ReceiveEnd<M> for Rx<M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        loop {
            if let Some(message) = self.0.try_read() {
                let result = visit(message);
                self.0.finalize();
                return result;
            }
            self.look();
        }
    }

    #[inline(always)]
    fn receive_batch(&mut self, limit: usize, mut visit: impl FnMut(&M)) -> usize {
        let mut taken = 0;
        while taken < limit {
            if let Some(message) = self.0.try_read() {
                visit(message);
                taken += 1;
            } else if taken > 0 {
                break;
            } else {
                self.look();
            }
        }
        self.0.finalize();
        taken
    }
}

impl<M: Message> Rx<M> {
    /// Looks at the producer's index, and pauses if that brings no message.
    #[inline(always)]
    fn look(&mut self) {
        self.0.sync();
        if self.0.is_empty() {
            spin_loop();
        }
    }
}
