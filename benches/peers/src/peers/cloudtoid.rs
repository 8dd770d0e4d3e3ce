//! cloudtoid-interprocess: a byte queue whose format six languages share.

use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;

use anyhow::Result;
use cloudtoid_interprocess::{Options, Publisher, Subscriber};
use zerocopy::IntoBytes;

use crate::contender::{About, BetweenProcesses, Group, ReceiveEnd, SendEnd};
use crate::meeting::Meeting;
use crate::message::Message;
use crate::scenario::{BATCH, Scenario};

/// Copies into a buffer of ours, as its other call allocates; only sending has a batch form.
pub struct Cloudtoid;

impl BetweenProcesses for Cloudtoid {
    const ABOUT: About = About {
        name: "cloudtoid-interprocess",
        package: "cloudtoid-interprocess",
        form: "try_send, try_recv_into; batches: try_send_batch",
        group: Group::ProcessesPolling,
        scenarios: Scenario::EVERY,
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn sender<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<Tx<M>> {
        meeting.hear()?;
        Ok(Tx { end: Publisher::open(&options::<M>(meeting, capacity))?, batch: [M::numbered(0); BATCH] })
    }

    fn receiver<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<Rx<M>> {
        let end = Subscriber::open(&options::<M>(meeting, capacity))?;
        meeting.tell("created")?;
        Ok(Rx { end, message: PhantomData })
    }
}

fn options<M: Message>(meeting: &Meeting, capacity: usize) -> Options {
    // Each message takes 8 bytes beside its own.
    Options::new(meeting.name(), capacity * (size_of::<M>() + 8)).with_path(meeting.directory())
}

/// The producer's end, with room for a batch.
pub struct Tx<M> {
    end: Publisher,
    batch: [M; BATCH],
}

/// The consumer's end.
pub struct Rx<M> {
    end: Subscriber,
    message: PhantomData<M>,
}

impl<M: Message> SendEnd<M> for Tx<M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        let message = M::numbered(number);
        while let Err(error) = self.end.try_send(message.as_bytes()) {
            assert!(error.is_full(), "{error}");
            spin_loop();
        }
    }

    #[inline(always)]
    fn send_batch(&mut self, numbers: Range<u64>) {
        let mut left = 0;
        for (place, number) in self.batch.iter_mut().zip(numbers) {
            *place = M::numbered(number);
            left += 1;
        }
        let messages = self.batch.each_ref().map(IntoBytes::as_bytes);
        let mut messages = &messages[..left];
        while !messages.is_empty() {
            match self.end.try_send_batch(messages).expect("the queue is sound") {
                0 => spin_loop(),
                sent => messages = &messages[sent..],
            }
        }
    }
}

impl<M: Message> ReceiveEnd<M> for Rx<M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        let mut message = M::new_zeroed();
        loop {
            let length = self.end.try_recv_into(message.as_mut_bytes()).expect("the queue is sound");
            if let Some(length) = length {
                assert_eq!(length, size_of::<M>(), "a whole message");
                return visit(&message);
            }
            spin_loop();
        }
    }
}
