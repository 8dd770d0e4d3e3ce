//! Rings in which the messages of a batch share slots. The same is tried of the others, where it must not happen.

use std::os::unix::fs::FileExt;

use ringway::channel_of::Mpmc;
use ringway::{Fault, Inspection, RecvError, RecvTimeoutError, TryRecvError, TrySendError};

use super::hostile::{SLOTS, TABLE};
use crate::hostile::Side;
use crate::message::{Message, Trade, numbered};
use crate::setup::Setup;
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![mpmc:
    a_batch_takes_as_few_places_as_it_fits,
    single_messages_take_a_place_each,
    receivers_share_a_slot,
    a_slot_is_free_when_its_last_message_is_taken,
    a_message_of_a_packed_ring_has_no_guard,
    large_messages_are_not_packed,
    an_inspection_counts_messages,
];

pub(crate) const FORGED: &[Behaviour] = behaviours![mpmc: a_forged_message_ends_a_batch_and_costs_no_other];

fn a_batch_takes_as_few_places_as_it_fits(setup: Setup) {
    fill::<u64>(setup);
    fill::<[u8; 3]>(setup);
    fill::<[u8; 12]>(setup);
    fill::<Trade>(setup);
    fill::<[u8; 48]>(setup);
    fill::<[u8; 49]>(setup);
    fill::<()>(setup);
}

fn fill<T: Message>(setup: Setup) {
    let each = setup.messages_a_place::<T, Mpmc>();
    let open = setup.open::<T, Mpmc>(4);
    let (tx, rx) = (open.sender(), open.receiver());
    let messages = numbered::<T>(0..4 * each as u64 + 1);
    for round in 0..3 {
        assert_eq!(tx.capacity(), 4);
        assert_eq!(tx.try_send_slice(&messages), Ok(4 * each), "round {round}, {} bytes", size_of::<T>());
        assert_eq!((tx.len(), rx.len(), tx.is_full(), rx.is_full()), (4 * each, 4 * each, true, true));
        assert_eq!(tx.try_send_slice(&messages), Err(TrySendError::Full(())));
        assert_eq!(tx.try_send(messages[0]), Err(TrySendError::Full(messages[0])));
        let mut places = vec![T::number(u64::MAX); 4 * each + 1];
        assert_eq!(rx.try_recv_slice(&mut places), Ok(4 * each));
        assert_eq!(places[..4 * each], messages[..4 * each]);
        assert_eq!((tx.len(), rx.is_empty(), tx.is_full()), (0, true, false));
    }
}

fn single_messages_take_a_place_each(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(4);
    for first in [0, 100, 200] {
        assert!((first..first + 4).all(|number| tx.try_send(number) == Ok(())));
        assert_eq!((tx.try_send(9), tx.len(), tx.is_full()), (Err(TrySendError::Full(9)), 4, true));
        assert!(rx.try_iter().eq(first..first + 4));
    }
}

fn receivers_share_a_slot(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(8);
    let tx = open.sender();
    let (first, second) = (open.receiver(), open.receiver());
    for start in [0, 1000, 2000] {
        tx.send_slice(&numbered::<u64>(start..start + 8)).unwrap();
        let mut places = [0; 3];
        assert_eq!(first.try_recv(), Ok(start));
        assert_eq!(second.try_recv_slice(&mut places), Ok(3));
        assert_eq!((places, first.len()), ([start + 1, start + 2, start + 3], 4));
        assert_eq!((second.try_recv(), first.try_recv()), (Ok(start + 4), Ok(start + 5)));
        assert_eq!(first.clone().try_recv_slice(&mut places), Ok(2));
        assert_eq!(places, [start + 6, start + 7, start + 3], "what is behind the last one stays");
        assert_eq!(second.try_recv(), Err(TryRecvError::Empty));
    }
}

fn a_slot_is_free_when_its_last_message_is_taken(setup: Setup) {
    let each = setup.messages_a_place::<u64, Mpmc>() as u64;
    let (tx, rx) = setup.ends::<u64, Mpmc>(2);
    assert_eq!(tx.try_send_slice(&numbered::<u64>(0..2 * each)), Ok(2 * each as usize));
    for number in 0..each {
        assert!(tx.is_full() && tx.try_send(999).is_err(), "{number} of {each} were taken");
        assert_eq!(rx.recv(), Ok(number));
    }
    assert!(!tx.is_full());
    tx.try_send(2 * each).unwrap();
    assert!(tx.is_full());
    assert!(rx.try_iter().eq(each..=2 * each));
}

fn a_message_of_a_packed_ring_has_no_guard(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, Mpmc>(4);
    tx.send(7).unwrap();
    if setup.packed {
        assert_eq!(rx.try_recv_guard().map(drop), Err(TryRecvError::Fault(Fault::Packed)));
        assert_eq!(rx.recv_guard().map(drop), Err(RecvError::Fault(Fault::Packed)));
        let timeout = rx.recv_guard_timeout(std::time::Duration::MAX).map(drop);
        assert_eq!(timeout, Err(RecvTimeoutError::Fault(Fault::Packed)));
    } else {
        assert_eq!(*rx.try_recv_guard().unwrap(), 7);
    }
    assert_eq!(rx.recv(), Ok(7), "it is still there");
}

fn large_messages_are_not_packed(setup: Setup) {
    let (tx, rx) = setup.ends::<[u8; 49], Mpmc>(4);
    assert_eq!(tx.try_send_slice(&[[7; 49]; 9]), Ok(4));
    assert_eq!(rx.try_recv_guard().unwrap().ack(), Ok([7; 49]));
}

fn an_inspection_counts_messages(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(4);
    let Some(name) = open.sending().name() else { return };
    let each = setup.messages_a_place::<u64, Mpmc>() as u64;
    let (tx, rx) = (open.sender(), open.receiver());
    tx.send_slice(&numbered::<u64>(0..3 * each)).unwrap();
    assert_eq!(rx.recv(), Ok(0));
    let seen = Inspection::of(name).unwrap();
    assert_eq!((seen.capacity, seen.len, seen.slots.unwrap().messages), (4, 3 * each - 1, each));
    let line = if setup.packed { "143 in 4 slots of up to 48 (0 slots" } else { "2 of 4 (1 received" };
    assert!(seen.to_string().contains(line), "{seen}");
    assert!(rx.try_iter().eq(1..3 * each));
    assert_eq!(Inspection::of(name).unwrap().len, 0);
}

/// In the middle of a batch, whether that lies in one slot or in several.
fn a_forged_message_ends_a_batch_and_costs_no_other(setup: Setup) {
    let open = setup.open_with::<Side, Mpmc>(&setup.options().capacity(8).peers(TABLE));
    let (tx, rx) = (open.sender(), open.receiver());
    // Number 2 of 8.
    let forged = SLOTS + 16 + if setup.packed { 2 * 8 } else { 2 * 64 };
    for places in [8, 3] {
        let mut places = vec![Side::Buy; places];
        tx.send_slice(&[Side::Sell; 8]).unwrap();
        open.file().write_all_at(&[7], forged).unwrap();
        assert_eq!(rx.try_recv_slice(&mut places), Ok(2));
        for _ in 0..2 {
            assert_eq!((rx.len(), tx.len()), (6, 6));
        }
        let fault = rx.try_recv_slice(&mut places);
        assert!(matches!(fault, Err(TryRecvError::Fault(Fault::Invalid { .. }))), "{fault:?}");
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [Side::Sell; 5]);
        // In the same place again, wherever the ring is by now.
        for _ in 0..if setup.packed { 7 } else { 0 } {
            tx.send(Side::Sell).unwrap();
            rx.recv().unwrap();
        }
    }
}
