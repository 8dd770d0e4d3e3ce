//! Numbers that no correct peer writes, one at a time: forged messages, owners, laps, hints and counts.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use ringway::channel_of::Mpmc;
use ringway::mpmc::{Receiver, Sender};
use ringway::{
    Fault, Inspection, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};

use crate::hostile::{HEAD, MPMC_PEERS, RECEIVER_EVENT, SENDER_EVENT, Side, TAIL, forge, read};
use crate::message::numbered;
use crate::random::Random;
use crate::setup::{Open, Setup, send_each};
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![mpmc:
    a_forged_message_is_dropped_and_the_next_is_fine,
    a_phase_that_is_none_is_a_fault,
    a_slot_in_another_time_is_a_fault_or_passed_over,
    a_slot_of_a_dead_writer_is_reclaimed,
    a_slot_that_a_stranger_holds_is_passed_over,
    a_run_that_does_not_fit_is_a_fault,
    old_hints_cost_a_walk,
    hints_from_the_future_are_a_fault_or_cost_the_messages,
    a_forged_roll_ends_the_stream_until_it_is_put_right,
    a_forged_count_of_quarantines_is_no_panic,
    a_newcomers_empty_slice_leaves_the_hints_alone,
];

pub(crate) const GUARDED: &[Behaviour] =
    behaviours![mpmc: a_forged_message_frees_its_slot_under_guard, a_message_of_a_dead_reader_comes_again];

pub(crate) const WAITING: &[Behaviour] =
    behaviours![mpmc: whoever_waits_for_the_drain_takes_back_what_a_dead_writer_left];

// docs/LAYOUT.md, in numbers of its own.
/// Peer records that every channel here has.
pub(crate) const TABLE: usize = 4;
/// Offset of the first slot.
pub(crate) const SLOTS: u64 = MPMC_PEERS + TABLE as u64 * 128;
/// Bytes of a slot for up to 48 bytes of payload.
pub(crate) fn slot_size<T>(setup: Setup) -> u64 {
    if !setup.packed {
        64
    } else if size_of::<T>() <= 8 {
        512
    } else {
        1024
    }
}
const SKIP: u64 = 8;
const PAYLOAD: u64 = 16;

const FREE: u64 = 0;
const WRITING: u64 = 1;
const FULL: u64 = 2;
const HELD: u64 = 3;
const READING: u64 = 4;
/// Of a skip word.
const QUARANTINED: u64 = 2;

/// Index of the sender, of the receiver, and of two who are not there.
const SENDER: u64 = 0;
const RECEIVER: u64 = 1;
const DEAD: u64 = 2;
const BEYOND_THE_TABLE: u64 = 3000;
const NOBODY: u64 = 0xFFF;

const CAPACITY: u64 = 4;

fn word(lap: u64, owner: u64, phase: u64) -> u64 {
    lap << 16 | owner << 4 | phase
}

/// Words in which lap, owner and phase are each worth a look, in random combinations.
pub(crate) fn forged_words(random: &mut Random) -> Vec<u64> {
    let laps = [0, 5, 6, 7, 8, 1 << 47, (1 << 48) - 1];
    // The last one is a run that fits the slots of some packed rings.
    let owners = [SENDER, RECEIVER, DEAD, BEYOND_THE_TABLE, NOBODY, 3 << 6 | 5];
    let mut any = |of: &[u64]| of[random.below(of.len())];
    (0..16).flat_map(|low| [word(any(&laps), any(&owners), low), word(6, any(&owners), low)]).collect()
}

/// The same of skip words.
pub(crate) fn forged_skips(random: &mut Random) -> Vec<u64> {
    // The lap of a skip word is one more than the one it speaks about.
    forged_words(random).into_iter().map(|word| word.wrapping_add(1 << 16) & !0b1100).collect()
}

/// A channel of which everybody knows where its slots are.
fn open<T: ringway::Payload>(setup: Setup) -> Open<T, Mpmc> {
    setup.open_with(&setup.options().capacity(CAPACITY as usize).peers(TABLE))
}

/// Offset of a slot.
fn slot(setup: Setup, index: u64) -> u64 {
    SLOTS + index * slot_size::<u64>(setup)
}

fn is_whole(tx: &Sender<u64>, rx: &Receiver<u64>) {
    let numbers = numbered::<u64>(0..CAPACITY);
    for _ in 0..2 {
        assert!(numbers.iter().all(|number| tx.try_send(*number) == Ok(())));
        assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)));
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), numbers);
    }
}

fn a_forged_message_is_dropped_and_the_next_is_fine(setup: Setup) {
    let open = open::<Side>(setup);
    let (tx, rx) = (open.sender(), open.receiver());
    let mut places = [Side::Buy; 4];
    for round in 0..5 {
        send_each(&tx, &[Side::Sell; 4]);
        for forged in [0, 2] {
            open.file().write_all_at(&[7], slot(setup, forged) + PAYLOAD).unwrap();
        }
        let is_invalid = |fault: &Fault| matches!(fault, Fault::Invalid { type_name } if type_name.contains("Side"));
        match round % 3 {
            0 => {
                assert!(matches!(rx.try_recv(), Err(TryRecvError::Fault(fault)) if is_invalid(&fault)));
                assert_eq!(rx.recv(), Ok(Side::Sell));
                assert!(matches!(rx.recv(), Err(RecvError::Fault(fault)) if is_invalid(&fault)));
                let last = rx.recv_timeout(Duration::ZERO);
                assert_eq!(last, Ok(Side::Sell));
            }
            1 => {
                assert_eq!(rx.try_iter().count(), 0, "the iterator has named no fault");
                assert_eq!(rx.try_iter().count(), 1);
                assert_eq!(rx.try_iter().count(), 1);
            }
            _ => {
                assert!(
                    matches!(rx.try_recv_slice(&mut places), Err(TryRecvError::Fault(fault)) if is_invalid(&fault))
                );
                // What stands behind it in the slice was not taken yet.
                assert_eq!(rx.try_recv_slice(&mut places), Ok(1));
                assert!(matches!(rx.recv_slice(&mut places), Err(RecvError::Fault(fault)) if is_invalid(&fault)));
                assert_eq!(rx.recv_slice(&mut places), Ok(1));
                assert_eq!(places, [Side::Sell, Side::Buy, Side::Buy, Side::Buy]);
            }
        }
        assert_eq!((rx.try_recv(), tx.len()), (Err(TryRecvError::Empty), 0));
    }
}

fn a_forged_message_frees_its_slot_under_guard(setup: Setup) {
    let open = open::<Side>(setup);
    let (tx, rx) = (open.sender(), open.receiver());
    for _ in 0..5 {
        send_each(&tx, &[Side::Sell; 4]);
        (0..4).for_each(|forged| open.file().write_all_at(&[7], slot(setup, forged) + PAYLOAD).unwrap());
        for _ in 0..4 {
            let error = rx.try_recv_guard().map(drop).unwrap_err();
            assert!(matches!(error, TryRecvError::Fault(Fault::Invalid { .. })), "{error}");
        }
        assert_eq!(rx.try_recv_guard().map(drop), Err(TryRecvError::Empty), "it does not come again");
    }
}

fn a_phase_that_is_none_is_a_fault(setup: Setup) {
    for phase in 5..8 {
        let open = open::<u64>(setup);
        let (tx, rx) = (open.sender(), open.receiver());
        let file = open.file();
        tx.send(1).unwrap();
        let forged = word(0, SENDER, phase);
        let honest = read(&file, slot(setup, 0));
        forge(&file, slot(setup, 0), forged);
        let receives = [
            if let Err(TryRecvError::Fault(fault)) = rx.try_recv() { Some(fault) } else { None },
            if let Err(RecvError::Fault(fault)) = rx.recv() { Some(fault) } else { None },
            if let Err(TryRecvError::Fault(fault)) = rx.try_recv_slice(&mut [0; 2]) { Some(fault) } else { None },
            if let Err(TryRecvError::Fault(fault)) = rx.try_recv_guard().map(drop) { Some(fault) } else { None },
        ];
        for fault in receives.into_iter().take(if setup.packed { 3 } else { 4 }) {
            let Some(Fault::Corrupt { found, .. }) = fault else { panic!("{fault:?}") };
            assert_eq!(found, forged);
        }
        // A sender meets it a lap later.
        send_each(&tx, &[2, 3, 4]);
        let sends = [
            if let Err(TrySendError::Fault(9, fault)) = tx.try_send(9) { Some(fault) } else { None },
            if let Err(SendError::Fault(9, fault)) = tx.send(9) { Some(fault) } else { None },
            if let Err(SendTimeoutError::Fault((), fault)) = tx.wait_drained(None) { Some(fault) } else { None },
        ];
        assert!(sends.iter().all(|fault| matches!(fault, Some(Fault::Corrupt { found, .. }) if *found == forged)));
        assert!(tx.len() <= 4 && rx.len() <= 4);
        // Nothing was done on its account.
        forge(&file, slot(setup, 0), honest);
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
        is_whole(&tx, &rx);
    }
}

fn a_slot_in_another_time_is_a_fault_or_passed_over(setup: Setup) {
    for lap in [1, 2, 3, 1 << 20, 1 << 47, (1 << 48) - 1] {
        for phase in [FREE, WRITING, FULL, HELD, READING] {
            let open = open::<u64>(setup);
            let (tx, rx) = (open.sender(), open.receiver());
            for number in 0..CAPACITY {
                tx.send(number).unwrap();
                rx.recv().unwrap();
            }
            send_each(&tx, &[1, 2]);
            forge(&open.file(), slot(setup, 0), word(lap, if phase == FULL { 0 } else { DEAD }, phase));
            // Whatever comes of it, every call returns, and never more than there can be.
            for _ in 0..20 {
                let _ = (tx.try_send(3), rx.try_recv(), rx.try_recv_guard().map(drop), tx.try_send_slice(&[4; 9]));
                let most = 4 * setup.messages_a_place::<u64, Mpmc>();
                assert!(tx.len() <= most && rx.len() <= most, "lap {lap}, phase {phase}");
            }
        }
    }
}

fn a_slot_of_a_dead_writer_is_reclaimed(setup: Setup) {
    for owner in [DEAD, BEYOND_THE_TABLE, NOBODY] {
        let open = open::<u64>(setup);
        let (tx, rx) = (open.sender(), open.receiver());
        send_each(&tx, &[1, 2, 3]);
        // As if the one who claimed the second ticket had been killed before it published.
        forge(&open.file(), slot(setup, 1), word(0, owner, WRITING));
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 3], "owner {owner}");
        is_whole(&tx, &rx);
    }
}

fn a_message_of_a_dead_reader_comes_again(setup: Setup) {
    for owner in [DEAD, BEYOND_THE_TABLE, NOBODY] {
        let open = open::<u64>(setup);
        let (tx, rx) = (open.sender(), open.receiver());
        // From now on, whoever recovers looks for readers.
        tx.send(0).unwrap();
        rx.recv_guard().unwrap().ack().unwrap();
        send_each(&tx, &[1, 2]);
        forge(&open.file(), slot(setup, 1), word(0, owner, READING));
        assert_eq!(rx.recv(), Ok(2));
        let guard = rx.recv_guard().unwrap();
        assert_eq!((*guard, guard.redeliveries()), (1, 1), "owner {owner}");
        guard.ack().unwrap();
        is_whole(&tx, &rx);
    }
}

fn a_forged_count_of_quarantines_is_no_panic(setup: Setup) {
    let open = open::<u64>(setup);
    let (tx, rx) = (open.sender(), open.receiver());
    // In the sender's own record, and its next slot looks quarantined.
    forge(&open.file(), MPMC_PEERS + SENDER * 128 + 48, u64::MAX);
    forge(&open.file(), slot(setup, 0) + SKIP, word(1, SENDER, QUARANTINED));
    for number in 0..20 {
        let _ = tx.try_send(number);
        let _ = rx.try_recv();
    }
}

fn a_newcomers_empty_slice_leaves_the_hints_alone(setup: Setup) {
    let open = open::<u64>(setup);
    let (tx, rx) = (open.sender(), open.receiver());
    for number in 0..6 {
        tx.send(number).unwrap();
        rx.recv().unwrap();
    }
    let hints = [TAIL, HEAD].map(|hint| read(&open.file(), hint));
    assert_eq!(open.sender().send_slice(&[]), Ok(()));
    assert_eq!(open.receiver().try_recv_slice(&mut []), Ok(0));
    assert_eq!([TAIL, HEAD].map(|hint| read(&open.file(), hint)), hints);
}

/// Nobody receives, and nothing is claimed behind the slot, so it is the sender that has to find it.
fn whoever_waits_for_the_drain_takes_back_what_a_dead_writer_left(setup: Setup) {
    let open = open::<u64>(setup);
    let (tx, _rx) = (open.sender(), open.receiver());
    forge(&open.file(), slot(setup, 0), word(0, DEAD, WRITING));
    forge(&open.file(), TAIL, 1);
    assert_eq!(tx.len(), 1);
    assert_eq!(tx.wait_drained(None), Ok(()));
}

fn a_slot_that_a_stranger_holds_is_passed_over(setup: Setup) {
    let open = open::<u64>(setup);
    let (tx, rx) = (open.sender(), open.receiver());
    // In the name of one who lives and knows nothing of it.
    forge(&open.file(), slot(setup, 0), word(0, RECEIVER, HELD));
    if setup.membarrier {
        // In mode A, a skip word can say so as well.
        forge(&open.file(), slot(setup, 1) + SKIP, word(1, RECEIVER, QUARANTINED));
    }
    let left = if setup.membarrier { 2 } else { 3 };
    for _ in 0..10 {
        let numbers = numbered::<u64>(0..left);
        assert!(numbers.iter().all(|number| tx.try_send(*number) == Ok(())));
        assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)));
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), numbers);
    }
    if let Some(name) = open.sending().name() {
        let slots = Inspection::of(name).unwrap().slots.unwrap();
        assert_eq!(slots.held, CAPACITY - left);
    }
}

fn a_run_that_does_not_fit_is_a_fault(setup: Setup) {
    let most = setup.messages_a_place::<u64, Mpmc>() as u64;
    let runs = [(0, most), (1, most - 1), (most, 0), (63, 63)];
    for (first, behind) in runs.into_iter().filter(|(first, behind)| first | behind < 64) {
        let open = open::<u64>(setup);
        let (tx, rx) = (open.sender(), open.receiver());
        send_each(&tx, &[1, 2]);
        let forged = word(0, first << 6 | behind, FULL);
        forge(&open.file(), slot(setup, 0), forged);
        let is_found = |fault: &Fault| matches!(fault, Fault::Corrupt { found, .. } if *found == forged);
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Fault(fault)) if is_found(&fault)), "{first}, {behind}");
        assert!(matches!(rx.try_recv_slice(&mut [0; 9]), Err(TryRecvError::Fault(fault)) if is_found(&fault)));
        forge(&open.file(), slot(setup, 0), word(0, 0, FULL));
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2]);
        is_whole(&tx, &rx);
    }
}

fn old_hints_cost_a_walk(setup: Setup) {
    let open = open::<u64>(setup);
    let (tx, rx) = (open.sender(), open.receiver());
    for number in 0..50 {
        tx.send(number).unwrap();
        rx.recv().unwrap();
    }
    for hint in [0, 1, 30, 49] {
        forge(&open.file(), TAIL, hint);
        forge(&open.file(), HEAD, hint);
        // Those who begin know nothing better.
        let (newer_tx, newer_rx) = (open.sender(), open.receiver());
        newer_tx.try_send(7).unwrap();
        assert_eq!(newer_rx.try_recv(), Ok(7), "from hint {hint}");
        is_whole(&newer_tx, &newer_rx);
        is_whole(&tx, &rx);
    }
}

fn hints_from_the_future_are_a_fault_or_cost_the_messages(setup: Setup) {
    for hint in [TAIL, HEAD] {
        for value in [60, 1 << 20, 1 << 48, u64::MAX - 1, u64::MAX] {
            let open = open::<u64>(setup);
            let (tx, rx) = (open.sender(), open.receiver());
            send_each(&tx, &[1, 2]);
            forge(&open.file(), hint, value);
            for _ in 0..20 {
                let _ = (tx.try_send(3), rx.try_recv(), rx.recv_timeout(Duration::ZERO));
                let _ = open.receiver().try_recv();
                let _ = open.sender().try_send(4);
                assert!(tx.len() <= 4 && rx.len() <= 4);
            }
        }
    }
}

fn a_forged_roll_ends_the_stream_until_it_is_put_right(setup: Setup) {
    // Peers attached in the low half, attached ever in the high half.
    const NOBODY_LEFT: u64 = 7 << 32;
    let open = open::<u64>(setup);
    let (tx, rx) = (open.sender(), open.receiver());
    let (of_receivers, of_senders) = (RECEIVER_EVENT + 8, SENDER_EVENT + 8);
    let honest = [of_receivers, of_senders].map(|roll| read(&open.file(), roll));
    assert_eq!(honest, [1 << 32 | 1; 2]);
    tx.send(1).unwrap();
    forge(&open.file(), of_senders, NOBODY_LEFT);
    forge(&open.file(), of_receivers, NOBODY_LEFT);
    assert_eq!(tx.try_send(2), Err(TrySendError::Disconnected(2)));
    assert_eq!((rx.recv(), rx.recv()), (Ok(1), Err(RecvError::Disconnected)));
    forge(&open.file(), of_receivers, honest[0]);
    forge(&open.file(), of_senders, honest[1]);
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    is_whole(&tx, &rx);
    // More than there are: the leases tell the end.
    for roll in [of_receivers, of_senders] {
        forge(&open.file(), roll, 7 << 32 | 5);
    }
    drop(tx);
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
}
