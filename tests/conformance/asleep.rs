//! Sleeping and waking as the kernel and another program see it: docs/LAYOUT.md has the event words.

#![allow(unsafe_code)] // a mapping of the region beside those of the channel

use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use ringway::Payload;
use ringway::channel_of::{Mpmc, Spsc};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::futex;
use rustix::time::{ClockId, clock_gettime};

use crate::flavor::Kind;
use crate::hostile::{RECEIVER_EVENT, SENDER_EVENT};
use crate::setup::{Open, Setup, send_each, waiting};
use crate::{Behaviour, behaviours};

pub(crate) const ALONE: &[Behaviour] =
    behaviours![spsc: only_a_sleeper_is_woken, a_wait_that_timed_out_takes_its_announcement_back];

pub(crate) const GUARDED: &[Behaviour] = behaviours![mpmc: a_guard_that_ends_wakes_a_sleeper_in_another_mapping];

pub(crate) const OBSERVED: &[Behaviour] = behaviours![
    a_sleeper_in_another_mapping_is_woken,
    a_sleeper_is_woken_through_another_mapping,
    a_sleeper_uses_no_cpu,
];

const SLEEPING: u32 = 1;
const EPOCH: u32 = 4;
const MOMENT: Duration = Duration::from_millis(15);

/// The first pages of a region, as another program would map them.
struct Mapped(NonNull<u8>);

// SAFETY: a mapping belongs to the process, and every access to it is atomic.
unsafe impl Send for Mapped {}

impl Mapped {
    const LENGTH: usize = 8192;

    fn new<T: Payload, F: Kind>(open: &Open<T, F>) -> Self {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlays nothing.
        let base = unsafe { mmap(null_mut(), Self::LENGTH, protection, flags, open.file(), 0) }.expect("a mapping");
        Self(NonNull::new(base.cast()).expect("nothing is mapped at address 0"))
    }

    fn event(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: the offset of an event word lies in the mapping, which lives as long as `self`.
        let word = unsafe { self.0.add(offset as usize) };
        // SAFETY: aligned, mapped, and by all accessed as an atomic of this width.
        unsafe { word.cast().as_ref() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`.
        unsafe { munmap(self.0.as_ptr().cast(), Self::LENGTH) }.expect("it is mapped");
    }
}

fn is_sleeping(event: &AtomicU32) -> bool {
    event.load(Ordering::Relaxed) & SLEEPING != 0
}

/// Wake-ups so far.
fn epoch(event: &AtomicU32) -> u32 {
    event.load(Ordering::Relaxed) / EPOCH
}

fn only_a_sleeper_is_woken(setup: Setup) {
    const ROUNDS: u64 = 10;
    let open = setup.open::<u64, Spsc>(1);
    let (mut tx, mut rx) = (open.sender(), open.receiver());
    let mapped = Mapped::new(&open);
    let (receiver_event, sender_event) = (mapped.event(RECEIVER_EVENT), mapped.event(SENDER_EVENT));
    // A sleeper that wakes by itself at that very moment may do without, so not every round shows a wake-up.
    let mut wakes = [0; 2];
    for number in 0..ROUNDS {
        let before = epoch(receiver_event);
        let receiver = waiting(setup.wait, move || (rx.recv(), rx));
        tx.send(number).unwrap();
        let (message, back) = receiver.join().unwrap();
        assert_eq!(message, Ok(number));
        rx = back;
        wakes[0] += epoch(receiver_event) - before;

        tx.send(number).unwrap();
        let before = epoch(sender_event);
        let sender = waiting(setup.wait, move || (tx.send(number), tx));
        rx.recv().unwrap();
        let (sent, back) = sender.join().unwrap();
        assert_eq!(sent, Ok(()));
        tx = back;
        wakes[1] += epoch(sender_event) - before;
        rx.recv().unwrap();
    }
    for wakes in wakes {
        assert!((1..=ROUNDS as u32).contains(&wakes), "{wakes} wake-ups in {ROUNDS} rounds");
    }
    let before = (receiver_event.load(Ordering::Relaxed), sender_event.load(Ordering::Relaxed));
    for number in 0..100 {
        tx.send(number).unwrap();
        rx.recv().unwrap();
    }
    let after = (receiver_event.load(Ordering::Relaxed), sender_event.load(Ordering::Relaxed));
    assert_eq!(after, before, "nobody slept");
}

fn a_wait_that_timed_out_takes_its_announcement_back(setup: Setup) {
    let open = setup.open::<u64, Spsc>(1);
    let (tx, rx) = (open.sender(), open.receiver());
    let mapped = Mapped::new(&open);
    assert!(rx.recv_timeout(MOMENT).is_err());
    assert!(!is_sleeping(mapped.event(RECEIVER_EVENT)));
    tx.send(0).unwrap();
    assert!(tx.send_timeout(1, MOMENT).is_err());
    assert!(!is_sleeping(mapped.event(SENDER_EVENT)));
}

/// Sleeps as the owner of the word would, but for ever: until it is woken.
fn sleep(event: &AtomicU32) {
    let announced = event.fetch_or(SLEEPING, Ordering::SeqCst) | SLEEPING;
    while event.load(Ordering::SeqCst) == announced {
        let _ = futex::wait(event, futex::Flags::empty(), announced, None);
    }
}

fn a_sleeper_in_another_mapping_is_woken<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(4);
    let (tx, rx) = (open.sender(), open.receiver());
    let calls: [(u64, &dyn Fn()); 5] = [
        (RECEIVER_EVENT, &|| tx.send(1).unwrap()),
        (RECEIVER_EVENT, &|| tx.send_slice(&[2, 3]).unwrap()),
        (SENDER_EVENT, &|| assert_eq!(rx.recv(), Ok(1))),
        (SENDER_EVENT, &|| assert_eq!(rx.try_recv_slice(&mut [0; 2]), Ok(2))),
        (RECEIVER_EVENT, &|| tx.send_timeout(4, MOMENT).unwrap()),
    ];
    for (event, call) in calls {
        is_woken_by(setup, &open, event, call);
    }
    is_woken_by(setup, &open, SENDER_EVENT, move || drop(rx));
    is_woken_by(setup, &open, RECEIVER_EVENT, move || drop(tx));
}

fn a_guard_that_ends_wakes_a_sleeper_in_another_mapping(setup: Setup) {
    let open = setup.open::<u64, Mpmc>(4);
    let (tx, rx) = (open.sender(), open.receiver());
    tx.send_slice(&[1, 2, 3]).unwrap();
    let guards = [rx.recv_guard().unwrap(), rx.recv_guard().unwrap(), rx.recv_guard().unwrap()];
    let [first, second, third] = guards;
    is_woken_by(setup, &open, SENDER_EVENT, || assert_eq!(first.ack(), Ok(1)));
    is_woken_by(setup, &open, RECEIVER_EVENT, || assert_eq!(second.nack(), Ok(())));
    is_woken_by(setup, &open, RECEIVER_EVENT, || drop(third));
}

/// Sleeps on an event word in another mapping until `call` wakes it.
fn is_woken_by<F: Kind>(setup: Setup, open: &Open<u64, F>, event: u64, call: impl FnOnce()) {
    let mapped = Mapped::new(open);
    let sleeper = waiting(setup.wait, move || sleep(mapped.event(event)));
    call();
    sleeper.join().unwrap();
}

fn a_sleeper_is_woken_through_another_mapping<F: Kind>(setup: Setup) {
    let open = setup.open::<u64, F>(2);
    let (tx, rx) = (open.sender(), open.receiver());
    let mapped = Mapped::new(&open);
    // Between two slices of its sleep it is awake for a moment.
    let wake = |event| {
        while futex::wake(mapped.event(event), futex::Flags::empty(), 1) != Ok(1) {
            yield_now();
        }
    };
    let receiver = waiting(setup.wait, move || (rx.recv(), rx));
    wake(RECEIVER_EVENT);
    tx.send(1).unwrap();
    let (message, rx) = receiver.join().unwrap();
    assert_eq!(message, Ok(1));

    send_each(&tx, &[2, 3]);
    let sender = waiting(setup.wait, move || tx.send(4));
    wake(SENDER_EVENT);
    assert_eq!(rx.iter().collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(sender.join().unwrap(), Ok(()));
}

fn a_sleeper_uses_no_cpu<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(2);
    let cpu = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let share = |name: &str, wait: &dyn Fn()| {
        let (start, before) = (Instant::now(), cpu());
        wait();
        let (used, elapsed) = (cpu() - before, start.elapsed());
        assert!(used < elapsed / 4, "{name} used {used:?} of {elapsed:?}");
    };
    share("recv", &|| assert!(rx.recv_timeout(10 * MOMENT).is_err()));
    send_each(&tx, &[0, 1]);
    share("send", &|| assert!(tx.send_timeout(2, 10 * MOMENT).is_err()));
}
