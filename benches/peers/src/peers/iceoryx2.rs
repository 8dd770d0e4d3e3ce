//! iceoryx2 publish-subscribe: messages stay where they were written, and their places travel.

use std::hint::spin_loop;
use std::ops::Range;

use anyhow::{Result, anyhow};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::builder::publish_subscribe::Builder;

use crate::contender::{About, BetweenProcesses, Group, ReceiveEnd, SendEnd};
use crate::meeting::Meeting;
use crate::message::Message;
use crate::scenario::{BATCH, Scenario};

/// One sample a message: loaned, written, sent, and read in place.
pub struct Samples;

/// One sample a batch, which is how iceoryx2 carries many small messages.
pub struct Slices;

type Service = ipc::Service;

impl BetweenProcesses for Samples {
    const ABOUT: About = About {
        name: "iceoryx2",
        package: "iceoryx2",
        form: "pub/sub without overflow; loan_uninit + write_payload + send, receive in place",
        group: Group::ProcessesPolling,
        scenarios: Scenario::ONE_A_CALL,
    };
    type Tx<M: Message> = SampleTx<M>;
    type Rx<M: Message> = SampleRx<M>;

    fn sender<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<SampleTx<M>> {
        meeting.hear()?;
        let builder = node()?.service_builder(&name(meeting)?).publish_subscribe::<M>();
        let service = service(builder, capacity).open_or_create()?;
        let publisher = service.publisher_builder().max_loaned_samples(1);
        Ok(SampleTx(publisher.backpressure_strategy(WHEN_FULL).create()?))
    }

    fn receiver<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<SampleRx<M>> {
        let builder = node()?.service_builder(&name(meeting)?).publish_subscribe::<M>();
        let service = service(builder, capacity).open_or_create()?;
        let subscriber = service.subscriber_builder().create()?;
        meeting.tell("created")?;
        Ok(SampleRx(subscriber))
    }
}

impl BetweenProcesses for Slices {
    const ABOUT: About = About {
        name: "iceoryx2 slices",
        package: "iceoryx2",
        form: "as iceoryx2, one sample for a slice of 32 messages; loan_slice_uninit + write_from_fn + send",
        group: Group::ProcessesPolling,
        scenarios: &[Scenario::Batches],
    };
    type Tx<M: Message> = SliceTx<M>;
    type Rx<M: Message> = SliceRx<M>;

    fn sender<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<SliceTx<M>> {
        meeting.hear()?;
        let builder = node()?.service_builder(&name(meeting)?).publish_subscribe::<[M]>();
        let service = service(builder, capacity.div_ceil(BATCH)).open_or_create()?;
        let publisher = service.publisher_builder().initial_max_slice_len(BATCH).max_loaned_samples(1);
        Ok(SliceTx(publisher.backpressure_strategy(WHEN_FULL).create()?))
    }

    fn receiver<M: Message>(meeting: &mut Meeting, capacity: usize) -> Result<SliceRx<M>> {
        let builder = node()?.service_builder(&name(meeting)?).publish_subscribe::<[M]>();
        let service = service(builder, capacity.div_ceil(BATCH)).open_or_create()?;
        let subscriber = service.subscriber_builder().create()?;
        meeting.tell("created")?;
        Ok(SliceRx(subscriber))
    }
}

/// A full subscriber is reported as "delivered to nobody", and the loops here try again at once. The
/// other strategy, `RetryUntilDelivered`, falls asleep after a while, which a polling group does not.
const WHEN_FULL: BackpressureStrategy = BackpressureStrategy::DiscardData;

fn node() -> Result<Node<Service>> {
    set_log_level(LogLevel::Error);
    Ok(NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled).create()?)
}

fn name(meeting: &Meeting) -> Result<ServiceName> {
    meeting.name().as_str().try_into().map_err(|error| anyhow!("{error:?}"))
}

/// One publisher, one subscriber, nothing kept for latecomers, and nothing overwritten.
fn service<Payload, Header>(
    builder: Builder<Payload, Header, Service>,
    capacity: usize,
) -> Builder<Payload, Header, Service>
where
    Payload: std::fmt::Debug + IceoryxSend + ?Sized,
    Header: std::fmt::Debug + ZeroCopySend,
{
    builder
        .enable_safe_overflow(false)
        .history_size(0)
        .subscriber_max_buffer_size(capacity)
        .subscriber_max_borrowed_samples(1)
        .max_publishers(1)
        .max_subscribers(1)
        .max_nodes(2)
}

/// The producer's end.
pub struct SampleTx<M: Message>(Publisher<Service, M, ()>);

/// The consumer's end.
pub struct SampleRx<M: Message>(Subscriber<Service, M, ()>);

/// The producer's end, for batches.
pub struct SliceTx<M: Message>(Publisher<Service, [M], ()>);

/// The consumer's end, for batches.
pub struct SliceRx<M: Message>(Subscriber<Service, [M], ()>);

impl<M: Message> SendEnd<M> for SampleTx<M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        loop {
            let sample = self.0.loan_uninit().expect("one sample is always left to loan");
            if sample.write_payload(M::numbered(number)).send().expect("the subscriber lives") == 1 {
                return;
            }
            spin_loop();
        }
    }
}

impl<M: Message> ReceiveEnd<M> for SampleRx<M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        loop {
            if let Some(sample) = self.0.receive().expect("the publisher lives") {
                return visit(&sample);
            }
            spin_loop();
        }
    }
}

impl<M: Message> SendEnd<M> for SliceTx<M> {
    fn send(&mut self, number: u64) {
        self.send_batch(number..number + 1);
    }

    #[inline(always)]
    fn send_batch(&mut self, numbers: Range<u64>) {
        let length = (numbers.end - numbers.start) as usize;
        loop {
            let sample = self.0.loan_slice_uninit(length).expect("one sample is always left to loan");
            let sample = sample.write_from_fn(|index| M::numbered(numbers.start + index as u64));
            if sample.send().expect("the subscriber lives") == 1 {
                return;
            }
            spin_loop();
        }
    }
}

impl<M: Message> ReceiveEnd<M> for SliceRx<M> {
    fn receive<R>(&mut self, _: impl FnOnce(&M) -> R) -> R {
        unreachable!("this contender is given batches only")
    }

    #[inline(always)]
    fn receive_batch(&mut self, limit: usize, visit: impl FnMut(&M)) -> usize {
        loop {
            if let Some(sample) = self.0.receive().expect("the publisher lives") {
                assert!(sample.len() <= limit, "a batch is received as it was sent");
                sample.iter().for_each(visit);
                return sample.len();
            }
            spin_loop();
        }
    }
}
