//! ringfire: a broadcast ring in /dev/shm, here lossless and with one reader.

use std::hint::spin_loop;
use std::ops::Range;

use anyhow::{Result, ensure};
use ringfire::{FlowControl, RingConsumer, RingProducer, RingProducerBuilder};

use crate::contender::{About, BetweenProcesses, Group, ReceiveEnd, SendEnd};
use crate::meeting::Meeting;
use crate::message::Message;
use crate::scenario::{BATCH, Scenario};

/// `try_push` where it may be full, as `push` would fall asleep; the batch call has no such form.
pub struct Ringfire;

impl BetweenProcesses for Ringfire {
    const ABOUT: About = About {
        name: "ringfire",
        package: "ringfire",
        form: "SPMC, lossless, one reader slot; try_push, try_recv; batches: push_batch, recv_batch",
        group: Group::ProcessesPolling,
        scenarios: Scenario::EVERY,
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn sender<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<Tx<M>> {
        let builder = RingProducerBuilder::new(capacity.next_power_of_two() as u64)
            .flow_control(FlowControl::LosslessBackpressure)
            // The producer scans every slot of the registry each half lap: one reader, one slot.
            .max_readers(1);
        let end = builder.build(meeting.path())?;
        meeting.tell("created")?;
        Ok(Tx { end, batch: Vec::with_capacity(BATCH) })
    }

    fn receiver<M: Message>(meeting: &mut Meeting, _: usize) -> Result<Rx<M>> {
        meeting.hear()?;
        // A reader counts for the producer only once it is registered, which the meeting ensures
        // before the first message.
        let end = RingConsumer::attach(meeting.path())?;
        ensure!(end.registration().is_some(), "the reader is not registered, so messages can be lost");
        Ok(Rx { end, batch: [M::numbered(0); BATCH] })
    }
}

/// The producer's end, with room for a batch.
pub struct Tx<M: Message> {
    end: RingProducer<M>,
    batch: Vec<M>,
}

/// The consumer's end, with room for a batch.
pub struct Rx<M: Message> {
    end: RingConsumer<M>,
    batch: [M; BATCH],
}

impl<M: Message> SendEnd<M> for Tx<M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        let message = M::numbered(number);
        while self.end.try_push(&message).is_err() {
            spin_loop();
        }
    }

    #[inline(always)]
    fn send_batch(&mut self, numbers: Range<u64>) {
        self.batch.clear();
        self.batch.extend(numbers.map(M::numbered));
        self.end.push_batch(&self.batch);
    }
}

impl<M: Message> ReceiveEnd<M> for Rx<M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        loop {
            if let Some(message) = self.end.try_recv() {
                return visit(&message);
            }
            spin_loop();
        }
    }

    #[inline(always)]
    fn receive_batch(&mut self, limit: usize, visit: impl FnMut(&M)) -> usize {
        loop {
            let taken = self.end.recv_batch(&mut self.batch[..limit]);
            if taken > 0 {
                self.batch[..taken].iter().for_each(visit);
                return taken;
            }
            spin_loop();
        }
    }
}
