//! Victims whose operation wakes one of several who sleep in the kernel.

use ringway::channel_of::Mpmc;
use ringway::{RecvError, SendError};

use super::Place;
use super::oracle::entirely_usable;
use super::setting::CAPACITY;
use crate::oracle::{Survivor, Verdict, require};
use crate::process::{Child, exit_now};
use crate::series::{Operation, Scene, Stage};
use crate::tracer::Victim;
use crate::world::{Numbered, World};

/// Cells in which the sleepers tell how many messages they passed.
const PASSED: [usize; 2] = [0, 1];
/// The sleepers and the victim.
const PEERS: usize = 3;

/// Processes that slept in the kernel when the victim began.
#[derive(Debug)]
struct Sleepers {
    world: World<u64, Mpmc>,
    children: Vec<Child>,
    judge: Judge,
    /// Whether the victim's operation may send them home.
    may_end: bool,
}

/// Judges a channel through which so many messages have passed; says how many the victim passed.
type Judge = fn(&World<u64, Mpmc>, u64) -> Verdict<u64>;

impl Sleepers {
    /// In a region of their own.
    fn new(place: Place, body: fn(&World<u64, Mpmc>, usize), judge: Judge) -> Self {
        let world = place.world(CAPACITY, PEERS);
        let children = PASSED.iter().map(|cell| {
            let child = world.child(|| body(&world, *cell));
            child.await_sleep(libc::SYS_futex);
            child
        });
        let children = children.collect();
        Self { world, children, judge, may_end: false }
    }

    fn scene(self, victim: Victim) -> Scene {
        Scene { victim, watched: Some(self.world.bytes()), calls: None, survivor: Box::new(self) }
    }
}

impl Survivor for Sleepers {
    fn beside_stopped(&mut self, _: u32) -> Verdict {
        let gave_up = self.children.iter().any(|child| child.state() == Some('Z'));
        require!(self.may_end || !gave_up, "a sleeper gave up beside a stopped process");
        Ok(())
    }

    fn after(mut self: Box<Self>, _: u32) -> Verdict<u64> {
        for child in &mut self.children {
            child.succeed("a sleeper")?;
        }
        (self.judge)(&self.world, PASSED.iter().map(|cell| self.world.board.get(*cell)).sum())
    }
}

/// Receives until the last sender is gone.
fn receive_all(world: &World<u64, Mpmc>, cell: usize) {
    let rx = world.open().receiver().expect("an index is free");
    let mut last = None;
    loop {
        match rx.recv() {
            Ok(message) => {
                let number = message.number().expect("a whole message");
                assert!(last < Some(number), "{number} after {last:?}");
                last = Some(number);
                world.board.set(cell, world.board.get(cell) + 1);
            }
            Err(RecvError::Disconnected) => break,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Sends until the last receiver is gone.
fn send_all(world: &World<u64, Mpmc>, cell: usize) {
    let tx = world.open().sender().expect("an index is free");
    loop {
        match tx.send(u64::new(world.board.get(cell))) {
            Ok(()) => world.board.set(cell, world.board.get(cell) + 1),
            Err(SendError::Disconnected(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Everything was received, so the channel is empty.
fn drained(world: &World<u64, Mpmc>, received: u64) -> Verdict<u64> {
    require!(received <= 1, "{received} messages of one");
    let rx = world.receiver();
    require!(rx.is_empty(), "{} messages are left", rx.len());
    entirely_usable(world, rx, 0, PEERS)?;
    Ok(received)
}

/// The sleepers have filled the channel again.
fn filled(world: &World<u64, Mpmc>, sent: u64) -> Verdict<u64> {
    let rx = world.receiver();
    let taken = sent - rx.len() as u64;
    require!(taken <= 1, "{taken} messages were taken by one call");
    require!(sent == taken + CAPACITY, "{sent} messages were sent, {taken} taken");
    require!(rx.try_iter().count() as u64 == CAPACITY, "they cannot be received");
    entirely_usable(world, rx, 0, PEERS)?;
    Ok(taken)
}

/// A sender that wakes one of two receivers.
fn waking_receivers(place: Place) -> Stage {
    Box::new(move || {
        let sleepers = Sleepers::new(place, receive_all, drained);
        let victim = sleepers.world.victim(|marker| {
            let tx = sleepers.world.open().sender().expect("an index is free");
            marker.mark();
            tx.try_send(u64::new(0)).expect("there is room");
            marker.mark();
        });
        sleepers.scene(victim)
    })
}

/// The last sender, which leaves.
fn leaving_receivers(place: Place) -> Stage {
    Box::new(move || {
        let sleepers = Sleepers { may_end: true, ..Sleepers::new(place, receive_all, drained) };
        let victim = sleepers.world.victim(|marker| {
            let tx = sleepers.world.open().sender().expect("an index is free");
            marker.mark();
            drop(tx);
            marker.mark();
        });
        sleepers.scene(victim)
    })
}

/// A receiver that wakes one of two senders.
fn waking_senders(place: Place) -> Stage {
    Box::new(move || {
        let sleepers = Sleepers::new(place, send_all, filled);
        let victim = sleepers.world.victim(|marker| {
            let rx = sleepers.world.open().receiver().expect("an index is free");
            marker.mark();
            rx.try_recv().expect("the ring is full");
            marker.mark();
            // Dropping the handle would have the senders give up at once, whatever room there is.
            exit_now(0);
        });
        sleepers.scene(victim)
    })
}

pub(super) fn operations(place: Place) -> Vec<Operation> {
    vec![
        place.operation("try_send to sleepers", waking_receivers(place), &[0, 1], 1),
        place.operation("try_recv from sleepers", waking_senders(place), &[0, 1], 1),
        place.operation("drop of the last sender before sleepers", leaving_receivers(place), &[0], 0),
    ]
}
