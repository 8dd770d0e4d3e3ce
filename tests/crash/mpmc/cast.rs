//! Whoever else is in trouble while a victim is interrupted.

use std::cell::OnceCell;

use ringway::channel_of::Mpmc;

use crate::oracle::Verdict;
use crate::process::{Child, idle};
use crate::tracer::{Point, Victim};
use crate::world::{Numbered, World};

/// Cell that says that a reader has its message.
const GUARDED: usize = 15;

/// A process that is stopped while it sends, right behind its claim; or `Err` if its way was another than the `known` one,
/// and it is somewhere behind its send. What is not known yet is found by single steps.
pub(super) fn writer<T: Numbered>(
    world: &World<T, Mpmc>,
    number: u64,
    known: &OnceCell<Point>,
) -> Result<Victim, Victim> {
    let mut victim = world.victim(|marker| {
        let tx = world.open().sender().expect("an index is free");
        let message = T::new(number);
        marker.mark();
        tx.send_slice(&[message]).expect("there is room");
    });
    if run_to_claim(&mut victim, world, known) { Ok(victim) } else { Err(victim) }
}

/// Runs a process that is about to send to where it has claimed a slot and not written anything yet; `false` if it took
/// another way than the `known` one.
#[must_use]
pub(super) fn run_to_claim<T: Numbered>(victim: &mut Victim, world: &World<T, Mpmc>, known: &OnceCell<Point>) -> bool {
    match known.get() {
        Some(point) => victim.run_to(point),
        None => known.set(victim.step_to_write(&world.bytes())).is_ok(),
    }
}

/// Lets a process that is stopped in the middle of something complete it.
pub(super) fn resume(victim: Victim) -> Verdict {
    let mut child = victim.leave_stopped();
    child.signal(libc::SIGCONT);
    child.succeed("a companion")
}

/// A process that holds the next message under guard, until it is killed.
pub(super) fn reader<T: Numbered>(world: &World<T, Mpmc>) -> Child {
    let child = world.child(|| {
        let rx = world.open().receiver().expect("an index is free");
        let _guard = rx.recv_guard().expect("a message is there");
        world.board.set(GUARDED, 1);
        idle();
    });
    world.board.await_at_least(GUARDED, 1);
    child
}
