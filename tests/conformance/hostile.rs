//! Bytes that no correct peer writes, one at a time: forged messages, and numbers that contradict each other.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ringway::channel_of::Spsc;
use ringway::spsc::Sender;
use ringway::{
    Error, Fault, Payload, PeerState, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

use crate::setup::Setup;
use crate::{Behaviour, behaviours};

pub(crate) const IMMEDIATE: &[Behaviour] = behaviours![spsc:
    a_forged_small_message_is_dropped_and_the_next_is_fine,
    a_forged_large_message_is_dropped_and_the_next_is_fine,
    a_forged_message_ends_a_slice_and_an_iterator,
    a_receivers_position_out_of_range_is_a_fault,
    a_count_beyond_its_block_is_a_fault,
    a_role_without_a_position_is_refused_and_leaves_no_trace,
    a_hint_that_lags_behind_is_put_right,
    who_may_only_read_cannot_feign_a_life,
];

// docs/LAYOUT.md, in numbers of its own.
pub(crate) const PEERS: u64 = 4096;
pub(crate) const TAIL: u64 = 4352;
pub(crate) const HEAD: u64 = 4480;
pub(crate) const RECEIVER_EVENT: u64 = 4608;
pub(crate) const SENDER_EVENT: u64 = 4736;
pub(crate) const MPMC_PEERS: u64 = 4864;
pub(crate) const BLOCKS: u64 = 8192;

pub(crate) fn forge(file: &File, offset: u64, value: u64) {
    file.write_all_at(&value.to_le_bytes(), offset).expect("the region is writable");
}

pub(crate) fn read(file: &File, offset: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, offset).expect("the region is readable");
    u64::from_le_bytes(bytes)
}

/// A shared lock on the lease of a role that nobody holds, through a description that may only read.
fn who_may_only_read_cannot_feign_a_life(setup: Setup) {
    let open = setup.open::<u64, Spsc>(4);
    let file = open.file();
    let reader = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("a second description");
    // SAFETY: zero is a value of each of its integers.
    #[allow(unsafe_code)]
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (libc::F_RDLCK as _, libc::SEEK_SET as _);
    (lock.l_start, lock.l_len) = ((1 << 20) + 1, 1);
    // SAFETY: an open descriptor and a whole request.
    #[allow(unsafe_code)]
    let locked = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
    assert_eq!(locked, 0);
    assert_eq!(open.sending().receiver_state(), PeerState::Never);
}

#[derive(Clone, Copy, Debug, PartialEq, TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(u8)]
pub(crate) enum Side {
    Buy = 1,
    Sell = 2,
}

/// Eight bytes, seven to a block; byte 4 is a `Side`, byte 5 a `bool`.
#[derive(Clone, Copy, Debug, PartialEq, TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Order {
    number: u32,
    side: Side,
    live: bool,
    venue: u16,
}

impl Order {
    fn new(number: u32) -> Self {
        let side = if number % 2 == 0 { Side::Buy } else { Side::Sell };
        Self { number, side, live: number % 3 == 0, venue: 7 }
    }
}

/// Larger than a line, with the `bool` at its end; a block of 208 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Snapshot {
    levels: [u64; 24],
    number: u32,
    flags: [u8; 3],
    last: bool,
}

impl Snapshot {
    fn new(number: u32) -> Self {
        Self { levels: [number.into(); 24], number, flags: [1, 2, 3], last: number % 2 == 0 }
    }
}

fn assert_invalid(fault: Option<Fault>, type_name: &str) {
    let text = fault.as_ref().map_or(String::new(), Fault::to_string);
    match fault {
        Some(Fault::Invalid { type_name: found }) => assert!(found.contains(type_name), "{found}"),
        other => panic!("expected Fault::Invalid, found {other:?}"),
    }
    assert!(text.contains(type_name) && text.contains("dropped"), "{text}");
}

fn a_forged_small_message_is_dropped_and_the_next_is_fine(setup: Setup) {
    let open = setup.open::<Order, Spsc>(14);
    let (tx, rx) = (open.sender(), open.receiver());
    for number in 0..14 {
        tx.send(Order::new(number)).unwrap();
    }
    let message = |number: u64| BLOCKS + number / 7 * 64 + 8 + number % 7 * 8;
    for (number, field, byte) in [(1, 4, 0), (3, 4, 3), (5, 5, 2), (7, 5, 255), (13, 4, 255)] {
        open.file().write_all_at(&[byte], message(number) + field).unwrap();
    }
    assert_eq!(rx.try_recv(), Ok(Order::new(0)));
    let Err(TryRecvError::Fault(fault)) = rx.try_recv() else { panic!("message 1 is none") };
    assert_invalid(Some(fault), "Order");
    assert_eq!(rx.recv(), Ok(Order::new(2)));
    let Err(RecvError::Fault(fault)) = rx.recv() else { panic!("message 3 is none") };
    assert_invalid(Some(fault), "Order");
    assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(Order::new(4)));
    let Err(RecvTimeoutError::Fault(fault)) = rx.recv_timeout(Duration::ZERO) else { panic!("message 5 is none") };
    assert_invalid(Some(fault), "Order");
    assert_eq!(rx.recv(), Ok(Order::new(6)));
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Fault(Fault::Invalid { .. }))));
    for number in 8..13 {
        assert_eq!(rx.try_recv(), Ok(Order::new(number)));
    }
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Fault(Fault::Invalid { .. }))));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!([tx.len(), rx.len()], [0, 0], "a dropped message makes room");
    tx.send(Order::new(14)).unwrap();
    assert_eq!(rx.try_recv(), Ok(Order::new(14)));
}

fn a_forged_large_message_is_dropped_and_the_next_is_fine(setup: Setup) {
    let open = setup.open::<Snapshot, Spsc>(4);
    let (tx, rx) = (open.sender(), open.receiver());
    for number in 0..4 {
        tx.send(Snapshot::new(number)).unwrap();
    }
    open.file().write_all_at(&[9], BLOCKS + 208 + 8 + 199).unwrap();
    assert_eq!(rx.recv(), Ok(Snapshot::new(0)));
    let Err(RecvError::Fault(fault)) = rx.recv() else { panic!("message 1 is none") };
    assert_invalid(Some(fault), "Snapshot");
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [Snapshot::new(2), Snapshot::new(3)]);
}

fn a_forged_message_ends_a_slice_and_an_iterator(setup: Setup) {
    for forged in 0..10 {
        let open = setup.open::<Order, Spsc>(10);
        let orders: Vec<_> = (0..10).map(Order::new).collect();
        let (tx, rx) = (open.sender(), open.receiver());
        let mut places = [Order::new(99); 10];
        let forge = || {
            tx.send_slice(&orders).unwrap();
            let number = read(&open.file(), HEAD) + forged as u64;
            // Three blocks of seven: ten messages need two, and the one that the receiver is leaving.
            let message = BLOCKS + number / 7 % 3 * 64 + 8 + number % 7 * 8;
            open.file().write_all_at(&[0xff], message + 4).unwrap();
        };

        forge();
        if forged > 0 {
            assert_eq!(rx.recv_slice(&mut places), Ok(forged), "what is before it comes first");
            assert_eq!(places[..forged], orders[..forged]);
        }
        assert_eq!(places[forged], Order::new(99), "nothing invalid is written");
        assert_eq!(rx.len(), 10 - forged);
        assert!(matches!(rx.try_recv_slice(&mut places), Err(TryRecvError::Fault(Fault::Invalid { .. }))));
        assert_eq!(rx.len(), 9 - forged);
        if forged < 9 {
            assert_eq!(rx.try_recv_slice(&mut places), Ok(9 - forged));
            assert_eq!(places[..9 - forged], orders[forged + 1..]);
        }

        forge();
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), orders[..forged]);
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), orders[forged + 1..], "the iterator has named no fault");
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    }
}

/// Every call that sends, and what it says of the fault.
fn send_faults(tx: &Sender<u64>) -> Vec<Option<Fault>> {
    let moment = Duration::from_millis(1);
    vec![
        if let Err(TrySendError::Fault(9, fault)) = tx.try_send(9) { Some(fault) } else { None },
        if let Err(SendError::Fault(9, fault)) = tx.send(9) { Some(fault) } else { None },
        if let Err(SendTimeoutError::Fault(9, fault)) = tx.send_timeout(9, moment) { Some(fault) } else { None },
        if let Err(TrySendError::Fault((), fault)) = tx.try_send_slice(&[9]) { Some(fault) } else { None },
        tx.send_slice(&[9]).err().and_then(|error| match (error.sent, error.cause) {
            (0, SendError::Fault((), fault)) => Some(fault),
            _ => None,
        }),
        if let Err(SendTimeoutError::Fault((), fault)) = tx.wait_drained(Some(moment)) { Some(fault) } else { None },
    ]
}

fn a_receivers_position_out_of_range_is_a_fault(setup: Setup) {
    for head in [11, 12, 1 << 32, 1 << 63, u64::MAX, u64::MAX - 10] {
        let open = setup.open::<u64, Spsc>(10);
        let (tx, rx) = (open.sender(), open.receiver());
        tx.send_slice(&[5; 10]).unwrap();
        forge(&open.file(), HEAD, head);
        for (call, fault) in send_faults(&tx).into_iter().enumerate() {
            let text = fault.as_ref().map_or(String::new(), Fault::to_string);
            let Some(Fault::Corrupt { expected, found, .. }) = fault else { panic!("call {call}: {fault:?}") };
            assert_eq!((expected, found), (10, head), "call {call}");
            assert!(text.contains(&head.to_string()) && text.contains("create the channel anew"), "{text}");
        }
        assert!(tx.len() <= 10 && rx.len() <= 10);
        // The receiver's own position is private.
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [5; 10]);
    }
}

fn a_count_beyond_its_block_is_a_fault(setup: Setup) {
    for count in [8, 9, 1 << 32, 1 << 63, u64::MAX] {
        let open = setup.open::<u64, Spsc>(10);
        let (tx, rx) = (open.sender(), open.receiver());
        tx.send(5).unwrap();
        forge(&open.file(), BLOCKS, count);
        let mut places = [0; 3];
        let faults = [
            if let Err(TryRecvError::Fault(fault)) = rx.try_recv() { Some(fault) } else { None },
            if let Err(RecvError::Fault(fault)) = rx.recv() { Some(fault) } else { None },
            if let Err(RecvTimeoutError::Fault(fault)) = rx.recv_timeout(Duration::ZERO) { Some(fault) } else { None },
            if let Err(TryRecvError::Fault(fault)) = rx.try_recv_slice(&mut places) { Some(fault) } else { None },
            if let Err(RecvError::Fault(fault)) = rx.recv_slice(&mut places) { Some(fault) } else { None },
        ];
        for (call, fault) in faults.into_iter().enumerate() {
            let Some(Fault::Corrupt { expected: 7, found, .. }) = fault else { panic!("call {call}: {fault:?}") };
            assert_eq!(found, count);
        }
        assert_eq!(rx.iter().next(), None);
        assert_eq!(places, [0; 3]);
        assert!(rx.len() <= 10);
        // A count of the past is nothing new.
        forge(&open.file(), BLOCKS, 0);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        forge(&open.file(), BLOCKS, 1);
        assert_eq!(rx.try_recv(), Ok(5));
    }
}

fn a_role_without_a_position_is_refused_and_leaves_no_trace(setup: Setup) {
    for (word, value) in [(TAIL, 11), (TAIL, u64::MAX), (BLOCKS, 8), (BLOCKS, u64::MAX)] {
        let open = setup.open::<u64, Spsc>(10);
        let rx = open.receiver();
        let honest = read(&open.file(), word);
        forge(&open.file(), word, value);
        let error = open.sending().sender().expect_err("there is no such position");
        let text = error.to_string();
        let Error::Damaged { found, .. } = error else { panic!("{error:?}") };
        assert_eq!(found, value);
        assert!(text.contains(&value.to_string()) && text.contains("remove it"), "{text}");

        forge(&open.file(), word, honest);
        assert_eq!(open.sending().sender_state(), PeerState::Never, "{word}: {value}");
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        open.sender().send(1).unwrap();
        assert_eq!(rx.recv(), Ok(1));
    }
}

fn a_hint_that_lags_behind_is_put_right(setup: Setup) {
    // A sender that is killed between leaving a block and saying so leaves the hint one block behind. In a ring of many
    // blocks, it says so after each fourth.
    for (capacity, count, hint, lags) in [(30, 14, 14, [7, 0]), (1000, 70, 56, [49, 0])] {
        let open = setup.open::<u64, Spsc>(capacity);
        let rx = open.receiver();
        let tx = open.sender();
        (0..count).for_each(|_| tx.send(5).unwrap());
        drop(tx);
        assert_eq!(read(&open.file(), TAIL), hint);
        for lag in lags {
            forge(&open.file(), TAIL, lag);
            let tx = open.sender();
            assert_eq!([tx.len(), rx.len()], [count; 2], "with a hint of {lag}");
            tx.send(5).unwrap();
            assert_eq!([tx.len(), rx.len()], [count + 1; 2], "with a hint of {lag}");
            rx.recv().unwrap();
            drop(tx);
            rx.recv().unwrap();
            open.sender().send(5).unwrap();
        }
    }
}
