//! Victims in the middle of sending and receiving.

use ringway::spsc::{Receiver, Sender};

use crate::harness::is_soak;
use crate::oracle::{AfterReceiver, AfterSender};
use crate::series::{Operation, Sampling, Scene, Stage};
use crate::world::{Backing, Numbered, Wide, World};

/// The number of the first message of a victim's operation, as its place in the ring.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the middle of the first block ever.
    Middle,
    /// The last place of a block, which (in a ring of 4 blocks of 7) is the last block, so that the ring wraps.
    End,
    /// The first place of a block, which holds the count of an earlier lap.
    Lap,
}

impl Place {
    fn number(self) -> u64 {
        match self {
            Self::Middle => 2,
            Self::End => 27,
            Self::Lap => 28,
        }
    }
}

/// Messages that a victim passes before its operation.
const PASSED: u64 = 2;
/// Of `u64`, it takes 4 blocks of 7; of `Wide`, 20 blocks of 1.
const CAPACITY: u64 = 20;
/// Messages of a batch of `u64`. From the end of a block, it becomes visible block by block.
const BATCH: u64 = 40;
const BY_BLOCKS: &[u64] = &[0, 1, 8, 15, 22, 29, 36, 40];
/// Messages of a batch of `Wide`, each of which is a block.
const WIDE_BATCH: u64 = 3;
const ONE_BY_ONE: &[u64] = &[0, 1, 2, 3];

/// All of them on POSIX memory; a handle does not know what it is attached to, so on the other backing a few will do,
/// except in a soak.
pub(crate) fn operations(backing: Backing) -> Vec<Operation> {
    let is_main = backing == Backing::Posix;
    let sampling = if is_main { Sampling::Every } else { Sampling::Some };
    let operation = |name: &str, stage: Stage, effects: &'static [u64], whole| Operation {
        name: format!("{name}[{backing:?}]"),
        stage,
        effects,
        whole,
        sampling,
    };
    let mut operations = vec![
        operation("send when full", blocked_sending(backing, false), &[0], 1),
        operation("send as room is made", blocked_sending(backing, true), &[0, 1], 1),
        operation("recv when empty", blocked_receiving(backing, false), &[0], 1),
        operation("recv as a message comes", blocked_receiving(backing, true), &[0, 1], 1),
    ];
    let places = if is_main || is_soak() { &[Place::End, Place::Middle, Place::Lap][..] } else { &[Place::End] };
    for place in places {
        let send = |tx: &Sender<u64>, batch: &[u64]| tx.try_send(batch[0]).expect("there is room");
        let receive = |rx: &Receiver<u64>, batch: &mut [u64]| batch[0] = rx.try_recv().expect("a message is there");
        operations.extend([
            operation(&format!("try_send {place:?}"), sending(backing, *place, 1, send), &[0, 1], 1),
            operation(&format!("try_recv {place:?}"), receiving(backing, *place, 1, receive), &[0, 1], 1),
        ]);
    }
    if !is_main && !is_soak() {
        return operations;
    }
    let send = |tx: &Sender<Wide>, batch: &[Wide]| tx.send(batch[0]).expect("there is room");
    let receive = |rx: &Receiver<Wide>, batch: &mut [Wide]| batch[0] = rx.recv().expect("a message is there");
    let send_slice = sending(backing, Place::End, BATCH, send_batch::<u64>);
    let recv_slice = receiving(backing, Place::End, BATCH, receive_batch::<u64>);
    let send_slice_wide = sending(backing, Place::End, WIDE_BATCH, send_batch::<Wide>);
    let recv_slice_wide = receiving(backing, Place::End, WIDE_BATCH, receive_batch::<Wide>);
    operations.extend([
        operation("send wide", sending(backing, Place::End, 1, send), &[0, 1], 1),
        operation("recv wide", receiving(backing, Place::End, 1, receive), &[0, 1], 1),
        operation("send_slice", send_slice, BY_BLOCKS, BATCH),
        operation("recv_slice", recv_slice, &[0, BATCH], BATCH),
        operation("send_slice wide", send_slice_wide, ONE_BY_ONE, WIDE_BATCH),
        operation("recv_slice wide", recv_slice_wide, &[0, WIDE_BATCH], WIDE_BATCH),
    ]);
    operations
}

fn send_batch<T: Numbered>(tx: &Sender<T>, batch: &[T]) {
    tx.send_slice(batch).expect("there is room");
}

fn receive_batch<T: Numbered>(rx: &Receiver<T>, batch: &mut [T]) {
    assert_eq!(rx.recv_slice(batch), Ok(batch.len()));
}

/// A sender in an operation that sends `batch` messages.
fn sending<T: Numbered>(
    backing: Backing,
    place: Place,
    batch: u64,
    operation: impl Fn(&Sender<T>, &[T]) + Send + 'static,
) -> Stage {
    Box::new(move || {
        let world = World::<T>::new(backing, CAPACITY.max(PASSED + batch));
        let sent = place.number();
        let first = sent - PASSED;
        let survivor = AfterSender::midway(world, first, sent, batch);
        let victim = survivor.world().victim(|marker| {
            let tx = survivor.world().open().sender().expect("the role is free");
            for number in first..sent {
                tx.try_send(T::new(number)).expect("there is room");
            }
            // Made before, because what the allocator does depends on more than the operation.
            let batch: Vec<T> = (sent..sent + batch).map(T::new).collect();
            marker.mark();
            operation(&tx, &batch);
            marker.mark();
        });
        let watched = Some(survivor.world().bytes());
        Scene { victim, watched, calls: None, survivor: Box::new(survivor) }
    })
}

/// A receiver in an operation that receives `batch` messages.
fn receiving<T: Numbered>(
    backing: Backing,
    place: Place,
    batch: u64,
    operation: impl Fn(&Receiver<T>, &mut [T]) + Send + 'static,
) -> Stage {
    Box::new(move || {
        let world = World::<T>::new(backing, CAPACITY.max(PASSED + batch));
        let taken = place.number();
        let (first, sent) = (taken - PASSED, taken + batch);
        let survivor = AfterReceiver::midway(world, first, sent, taken, batch);
        let victim = survivor.world().victim(|marker| {
            let rx = survivor.world().open().receiver().expect("the role is free");
            for number in first..taken {
                assert_eq!(rx.try_recv().expect("it is there").number(), Ok(number));
            }
            let mut batch = vec![T::new(0); batch as usize];
            marker.mark();
            operation(&rx, &mut batch);
            marker.mark();
            assert!(batch.iter().zip(taken..).all(|(message, number)| message.number() == Ok(number)));
        });
        let watched = Some(survivor.world().bytes());
        Scene { victim, watched, calls: None, survivor: Box::new(survivor) }
    })
}

/// How far a blocked operation is followed: through three sleeps of two calls each, `membarrier` and `futex`.
const BLOCKED_CALLS: u32 = 6;

/// A sender that waits for room: until it sleeps, or from the moment in which room is made.
fn blocked_sending(backing: Backing, woken: bool) -> Stage {
    Box::new(move || {
        let mut survivor = AfterSender::new(World::<u64>::new(backing, CAPACITY), 0, CAPACITY, 1);
        let mut victim = survivor.world().victim(|marker| {
            let tx = survivor.world().open().sender().expect("the role is free");
            for number in 0..CAPACITY {
                tx.try_send(u64::new(number)).expect("there is room");
            }
            marker.mark();
            tx.send(u64::new(CAPACITY)).expect("room is made");
            marker.mark();
        });
        let watched = Some(survivor.world().bytes());
        if woken {
            victim.run_through(libc::SYS_futex, || survivor.receive_one());
        }
        let calls = (!woken).then_some(BLOCKED_CALLS);
        Scene { victim, watched, calls, survivor: Box::new(survivor) }
    })
}

/// A receiver that waits for a message: until it sleeps, or from the moment in which one comes.
fn blocked_receiving(backing: Backing, woken: bool) -> Stage {
    Box::new(move || {
        let mut survivor = AfterReceiver::midway(World::<u64>::new(backing, CAPACITY), PASSED, PASSED, PASSED, 1);
        let mut victim = survivor.world().victim(|marker| {
            let rx = survivor.world().open().receiver().expect("the role is free");
            marker.mark();
            assert_eq!(rx.recv(), Ok(u64::new(PASSED)));
            marker.mark();
        });
        let watched = Some(survivor.world().bytes());
        if woken {
            victim.run_through(libc::SYS_futex, || survivor.send_one());
        }
        let calls = (!woken).then_some(BLOCKED_CALLS);
        Scene { victim, watched, calls, survivor: Box::new(survivor) }
    })
}
