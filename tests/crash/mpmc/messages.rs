//! Victims in the middle of sending and receiving.

use std::cell::OnceCell;

use ringway::mpmc::{Receiver, Sender};

use super::Place;
use super::cast::run_to_claim;
use super::oracle::{Fate, Others};
use super::setting::{CAPACITY, Setting, bury, full_but_for_one, guarded, held, written};
use crate::series::Operation;
use crate::tracer::Point;
use crate::world::{Numbered, Wide};

/// Messages of a batch.
const BATCH: u64 = 3;
const ONE_BY_ONE: &[u64] = &[0, 1, 2, 3];
/// How far a blocked operation is followed: through three sleeps, of two calls each if nobody has died.
const BLOCKED_CALLS: u32 = 6;

fn send<T: Numbered>(tx: &Sender<T>, batch: &[T]) {
    tx.send(batch[0]).expect("there is room, sooner or later");
}

fn recv<T: Numbered>(rx: &Receiver<T>, batch: &mut [T]) {
    batch[0] = rx.recv().expect("there is a message, sooner or later");
}

pub(super) fn sending_operations(place: Place) -> Vec<Operation> {
    const ONE: &[u64] = &[0, 1];
    let at = || Setting::<u64>::at(place);
    let with = |before| Setting::<u64>::with(place, before);
    let first = Setting { passed: 0, ..at() };
    let full = |others: &mut Others<u64>, _: &OnceCell<Point>| (0..CAPACITY).for_each(|_| others.send_one());
    let blocked = Setting { before: full, calls: Some(BLOCKED_CALLS), ..at() };
    let woken = Setting {
        before: full,
        meanwhile: |others, victim, _| victim.run_through(libc::SYS_futex, || others.receive_one()),
        ..at()
    };
    let buried = |before| Setting { meanwhile: bury, ..with(before) };
    let quarantined = Setting {
        meanwhile: |others, victim, known| {
            assert!(run_to_claim(victim, others.world(), known), "its way is the same each time");
            others.send_one();
            others.receive_one();
        },
        ..at()
    };
    let passed_over = Setting {
        meanwhile: |others, victim, known| {
            assert!(run_to_claim(victim, others.world(), known), "its way is the same each time");
            (0..3 * CAPACITY).for_each(|_| {
                others.send_one();
                others.receive_one();
            });
        },
        ..at()
    };
    let wide = Setting::<Wide>::at(place).sending(1, send);
    let slice = at().sending(BATCH, |tx, batch| tx.send_slice(batch).expect("there is room"));
    vec![
        place.operation("send", first.sending(1, send), ONE, 1),
        place.operation("send, its claim lost", at().sending(1, send), ONE, 1),
        place.operation("send when full", blocked.sending(1, send), &[0], 1),
        place.operation("send as room is made", woken.sending(1, send), ONE, 1),
        place.operation("send over a held slot", with(held).sending(1, send), ONE, 1),
        place.operation("send over a held slot of the dead", buried(held).sending(1, send), ONE, 1),
        place.operation("send over a guarded slot", with(guarded).sending(1, send), ONE, 1),
        place.operation("send over a guarded slot of the dead", buried(guarded).sending(1, send), ONE, 1),
        place.operation("send over a slot that a dead one writes", buried(full_but_for_one).sending(1, send), ONE, 1),
        place.operation("send, quarantined", quarantined.sending(1, send), ONE, 1),
        place.operation("send, quarantined and passed over", passed_over.sending(1, send), ONE, 1),
        place.operation("send wide", wide, ONE, 1),
        place.operation("send_slice", slice, ONE_BY_ONE, BATCH),
    ]
}

pub(super) fn receiving_operations(place: Place) -> Vec<Operation> {
    const ONE: &[u64] = &[0, 1];
    let with = |before| Setting::<u64>::with(place, before);
    let message = |others: &mut Others<u64>, _: &OnceCell<Point>| others.send_one();
    let at = || Setting::<u64> { before: message, ..Setting::at(place) };
    let first = Setting { passed: 0, ..at() };
    let blocked = Setting { calls: Some(BLOCKED_CALLS), ..Setting::<u64>::at(place) };
    let woken = Setting {
        meanwhile: |others, victim, _| victim.run_through(libc::SYS_futex, || others.send_one()),
        ..Setting::<u64>::at(place)
    };
    let quarantining = with(written);
    let reclaiming = Setting { meanwhile: bury, ..with(written) };
    let redelivering = Setting { meanwhile: bury, ..with(|others, _| others.with_reader()) };
    let refused = Setting {
        before: |others, _| {
            others.send_one();
            others.refuse_one();
        },
        ..Setting::<u64>::at(place)
    };
    let batch = Setting { before: |others, _| (0..BATCH).for_each(|_| others.send_one()), ..at() };
    let slice = batch.receiving(BATCH, |rx, batch| {
        let mut taken = 0;
        while taken < batch.len() {
            taken += rx.recv_slice(&mut batch[taken..]).expect("messages are there, sooner or later");
        }
    });
    let wide = Setting::<Wide> { before: |others, _| others.send_one(), ..Setting::at(place) };
    vec![
        place.operation("recv", first.receiving(1, recv), ONE, 1),
        place.operation("recv, its hint old", at().receiving(1, recv), ONE, 1),
        place.operation("recv when empty", blocked.receiving(1, recv), &[0], 1),
        place.operation("recv as a message comes", woken.receiving(1, recv), ONE, 1),
        place.operation("recv that quarantines", quarantining.receiving(1, recv), ONE, 1),
        place.operation("recv that reclaims", reclaiming.receiving(1, recv), ONE, 1),
        place.operation("recv that redelivers", redelivering.receiving(1, recv), ONE, 1),
        place.operation("recv of what was refused", refused.receiving(1, recv), ONE, 1),
        place.operation("recv wide", wide.receiving(1, recv), ONE, 1),
        place.operation("recv_slice", slice, ONE_BY_ONE, BATCH),
    ]
}

/// Where the messages of a batch share a slot, they are sent, and taken, together or not at all.
pub(super) fn packed_operations(place: Place) -> Vec<Operation> {
    const ONE: &[u64] = &[0, 1];
    const TOGETHER: &[u64] = &[0, BATCH];
    let at = || Setting::<u64>::at(place);
    let with = |before| Setting::<u64>::with(place, before);
    let batch = |others: &mut Others<u64>, _: &OnceCell<Point>| others.send_batch(BATCH);
    let send_slice = |tx: &Sender<u64>, batch: &[u64]| tx.send_slice(batch).expect("there is room, sooner or later");
    let quarantined = Setting {
        meanwhile: |others, victim, known| {
            assert!(run_to_claim(victim, others.world(), known), "its way is the same each time");
            others.send_batch(2);
            others.receive_one();
        },
        ..at()
    };
    let full = |others: &mut Others<u64>, _: &OnceCell<Point>| (0..CAPACITY).for_each(|_| others.send_one());
    let woken = Setting {
        before: full,
        meanwhile: |others, victim, _| victim.run_through(libc::SYS_futex, || others.receive_one()),
        ..at()
    };
    let begun = |others: &mut Others<u64>, _: &OnceCell<Point>| {
        others.send_batch(BATCH + 1);
        others.receive_one();
    };
    let receiving = |before| Setting { before, ..at() };
    let whole = |rx: &Receiver<u64>, batch: &mut [u64]| assert_eq!(rx.recv_slice(batch), Ok(BATCH as usize));
    let part = |rx: &Receiver<u64>, batch: &mut [u64]| assert_eq!(rx.recv_slice(batch), Ok(2));
    vec![
        place.operation("send", at().sending(1, send), ONE, 1),
        place.operation("send_slice", at().sending(BATCH, send_slice), TOGETHER, BATCH),
        place.operation("send_slice as room is made", woken.sending(BATCH, send_slice), TOGETHER, BATCH),
        place.operation("send_slice, quarantined", quarantined.sending(BATCH, send_slice), TOGETHER, BATCH),
        place.operation("send_slice over a held slot", with(held).sending(BATCH, send_slice), TOGETHER, BATCH),
        place.operation("recv of a batch", receiving(batch).receiving(1, recv), ONE, 1),
        place.operation("recv_slice of a batch", receiving(batch).receiving(BATCH, whole), TOGETHER, BATCH),
        place.operation(
            "recv_slice of a batch that was begun",
            receiving(begun).receiving(BATCH, whole),
            TOGETHER,
            BATCH,
        ),
        place.operation("recv_slice of a part of a batch", receiving(batch).receiving(2, part), &[0, 2], 2),
        place.operation("recv that quarantines", with(written).receiving(1, recv), ONE, 1),
        place.operation("recv that reclaims", Setting { meanwhile: bury, ..with(written) }.receiving(1, recv), ONE, 1),
    ]
}

/// Those in which others are in trouble, too, whose trouble ends while the victim is stopped.
pub(super) fn operations_beside_changes(place: Place) -> Vec<Operation> {
    let with = |fate, before| Setting::<u64> { fate, ..Setting::with(place, before) };
    let of = |(fate, who)| {
        [
            place.operation(
                &format!("recv that quarantines one who {who}"),
                with(fate, written).receiving(1, recv),
                &[0, 1],
                1,
            ),
            place.operation(
                &format!("send over a held slot of one who {who}"),
                with(fate, held).sending(1, send),
                &[0, 1],
                1,
            ),
            place.operation(
                &format!("send beside a writer who {who}"),
                Setting { calls: Some(BLOCKED_CALLS), ..with(fate, full_but_for_one) }.sending(1, send),
                &[0, 1],
                1,
            ),
        ]
    };
    let guarded = with(Fate::Die, guarded).sending(1, send);
    let guarded = place.operation("send over a guarded slot of one who dies", guarded, &[0, 1], 1);
    [(Fate::GoOn, "goes on"), (Fate::Die, "dies")].into_iter().flat_map(of).chain([guarded]).collect()
}
