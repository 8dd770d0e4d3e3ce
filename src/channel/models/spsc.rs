//! One producer, one consumer.

use core::mem::MaybeUninit;

use loom::thread;

use super::{Message, explore, message};
use crate::Options;
use crate::error::{Fault, RecvError, TryRecvError, TrySendError};
use crate::layout::{BLOCKS, Flavor, Geometry, PAGE};
use crate::memory::{Anchor, Memory};
use crate::ring::spsc::Consumer;
use crate::ring::{Consume, Peers};
use crate::spsc::{Channel, Receiver, Sender};
use crate::wait::Wait;

fn open(capacity: usize) -> Channel<Message> {
    Channel::heap(&Options::new().capacity(capacity).wait(Wait::Park).membarrier(false)).unwrap()
}

fn ends(capacity: usize) -> (Sender<Message>, Receiver<Message>) {
    let channel = open(capacity);
    (channel.sender().unwrap(), channel.receiver().unwrap())
}

#[test]
fn messages_arrive_whole_and_in_order_over_a_wrap() {
    explore(|| {
        let (tx, rx) = ends(2);
        let sender = thread::spawn(move || {
            for number in 0..3 {
                let mut full = 0;
                while let Err(TrySendError::Full(_)) = tx.try_send(message(number)) {
                    full += 1;
                    assert!(number == 2, "the first two fit, full {full} times");
                    thread::yield_now();
                }
            }
        });
        let mut received = 0;
        while received < 3 {
            match rx.try_recv() {
                Ok(found) => {
                    assert_eq!(found, message(received));
                    received += 1;
                }
                Err(TryRecvError::Empty) => thread::yield_now(),
                Err(error) => panic!("{error} after {received}"),
            }
        }
        sender.join().unwrap();
    });
}

#[test]
fn closing_is_seen_after_the_last_message() {
    explore(|| {
        let (tx, rx) = ends(2);
        let sender = thread::spawn(move || tx.send(message(7)).unwrap());
        assert_eq!(rx.recv(), Ok(message(7)));
        assert_eq!(rx.recv(), Err(RecvError::Disconnected));
        sender.join().unwrap();
    });
}

#[test]
fn a_blocked_sender_is_released_by_a_receive_or_by_the_end_of_the_receiver() {
    explore(|| {
        let (tx, rx) = ends(1);
        tx.send(message(0)).unwrap();
        let sender = thread::spawn(move || tx.send(message(1)).is_ok());
        assert_eq!(rx.recv(), Ok(message(0)));
        drop(rx);
        // Either is right: the message was sent before the end, or not at all.
        let _ = sender.join().unwrap();
    });
}

#[test]
fn a_successor_continues_where_the_producer_stopped() {
    explore(|| {
        let channel = open(2);
        let rx = channel.receiver().unwrap();
        let tx = channel.sender().unwrap();
        let sender = thread::spawn(move || {
            tx.send(message(0)).unwrap();
            drop(tx);
            let tx = channel.sender().unwrap();
            tx.send(message(1)).unwrap();
            tx.send(message(2)).unwrap();
        });
        let mut received = 0;
        // Between the two senders the channel is disconnected for a moment.
        while received < 3 {
            match rx.try_recv() {
                Ok(found) => {
                    assert_eq!(found, message(received));
                    received += 1;
                }
                Err(_) => thread::yield_now(),
            }
        }
        sender.join().unwrap();
    });
}

#[test]
fn batches_are_published_block_by_block() {
    explore(|| {
        let (tx, rx) = ends(2);
        let sender = thread::spawn(move || tx.send_slice(&[message(0), message(1)]).unwrap());
        let mut messages = [message(9); 2];
        let mut received = 0;
        while received < 2 {
            received += rx.recv_slice(&mut messages[received..]).unwrap();
        }
        assert_eq!(messages, [message(0), message(1)]);
        sender.join().unwrap();
    });
}

/// Peers of a ring without handles.
struct Nobody;

impl Peers for Nobody {
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn is_one_way(&self) -> bool {
        false
    }

    fn is_open(&self, _: &Memory) -> bool {
        true
    }

    fn published(&self, _: &Memory, _: usize) {}

    fn index(&self) -> usize {
        0
    }

    fn has_barrier(&self) -> bool {
        false
    }

    fn barrier(&self) -> bool {
        true
    }

    fn is_dead(&self, _: usize) -> bool {
        false
    }

    fn has_ticked(&self) -> bool {
        false
    }

    fn made_room(&self) {}

    fn made_messages(&self, _: usize) {}
}

/// Must fail: proves that these models can.
#[test]
#[should_panic]
fn a_ring_that_publishes_before_it_writes_is_found_out() {
    explore(|| {
        let heap = crate::sys::heap::Heap::new(3 * PAGE).unwrap();
        let memory = heap.memory();
        let heap = loom::sync::Arc::new(heap);
        let writer = {
            let heap = loom::sync::Arc::clone(&heap);
            thread::spawn(move || {
                let memory = heap.memory();
                memory.word(BLOCKS).store(1, crate::sync::Ordering::Release);
                memory.word(BLOCKS + 8).store(5, crate::sync::Ordering::Relaxed);
            })
        };
        let geometry = Geometry::new(Flavor::Spsc, 2, 8, 0, false).unwrap();
        // SAFETY: the heap outlives the consumer, the geometry is the payload's, and nobody else consumes.
        #[allow(unsafe_code)]
        let consumer = unsafe { Consumer::<u64>::resume(Anchor::new(memory).unwrap(), &geometry, &Nobody) }.unwrap();
        let mut place = MaybeUninit::uninit();
        if consumer.pop(&mut place, &Nobody).is_ok() {
            // SAFETY: it was initialized, and every bit pattern is a u64.
            #[allow(unsafe_code)]
            let found = unsafe { place.assume_init() };
            assert_eq!(found, 5);
        }
        writer.join().unwrap();
    });
}
