//! Victims whose operation wakes somebody who sleeps in the kernel.

use ringway::SendError;

use crate::oracle::{Survivor, Verdict, channel_usable, drain_until_disconnected, require, usable};
use crate::process::{Child, exit_now};
use crate::series::{Operation, Sampling, Scene, Stage};
use crate::world::{Backing, Numbered, Numbers, World};

const CAPACITY: u64 = 20;
/// Cell in which the sleeper tells how far it came.
const PROGRESS: usize = 0;

/// A process that slept in the kernel when the victim began.
#[derive(Debug)]
struct Sleeper {
    world: World<u64>,
    child: Child,
    /// Judges a channel whose sleeper has ended after that many messages.
    judge: fn(&World<u64>, u64) -> Verdict<u64>,
}

impl Survivor for Sleeper {
    fn beside_stopped(&mut self, _: u32) -> Verdict {
        require!(self.child.state() != Some('Z'), "the sleeper gave up beside a stopped process");
        Ok(())
    }

    fn after(mut self: Box<Self>, _: u32) -> Verdict<u64> {
        self.child.succeed("the sleeper")?;
        (self.judge)(&self.world, self.world.board.get(PROGRESS))
    }
}

/// All of them on this backing.
pub(crate) fn operations(backing: Backing) -> Vec<Operation> {
    let operation = |name: &str, stage| Operation {
        name: format!("{name}[{backing:?}]"),
        stage,
        effects: &[0, 1],
        whole: 1,
        sampling: Sampling::Some,
    };
    vec![
        operation("try_send to a sleeper", waking_receiver(backing)),
        operation("try_recv from a sleeper", waking_sender(backing)),
    ]
}

/// A sender that wakes a receiver.
fn waking_receiver(backing: Backing) -> Stage {
    Box::new(move || {
        let world = World::<u64>::new(backing, CAPACITY);
        let sleeper = world.child(|| {
            let rx = world.open().receiver().expect("the role is free");
            let mut numbers = Numbers::from(0);
            drain_until_disconnected(&rx, &mut numbers).expect("the victim's messages, and then its end");
            world.board.set(PROGRESS, numbers.next());
        });
        let victim = world.victim(|marker| {
            let tx = world.open().sender().expect("the role is free");
            marker.mark();
            tx.try_send(u64::new(0)).expect("there is room");
            marker.mark();
        });
        sleeper.await_sleep(libc::SYS_futex);
        let judge = |world: &World<u64>, received| {
            require!(received <= 1, "{received} messages of one");
            channel_usable(world.channel(), received)?;
            Ok(received)
        };
        let watched = Some(world.bytes());
        Scene { victim, watched, calls: None, survivor: Box::new(Sleeper { world, child: sleeper, judge }) }
    })
}

/// A receiver that wakes a sender.
fn waking_sender(backing: Backing) -> Stage {
    Box::new(move || {
        let world = World::<u64>::new(backing, CAPACITY);
        let sleeper = world.child(|| {
            let tx = world.open().sender().expect("the role is free");
            let mut sent = 0;
            loop {
                match tx.send(u64::new(sent)) {
                    Ok(()) => sent += 1,
                    Err(SendError::Disconnected(_)) => break,
                    Err(error) => panic!("{error}"),
                }
                world.board.set(PROGRESS, sent);
            }
        });
        world.board.await_at_least(PROGRESS, CAPACITY);
        let victim = world.victim(|marker| {
            let rx = world.open().receiver().expect("the role is free");
            marker.mark();
            assert_eq!(rx.try_recv(), Ok(u64::new(0)));
            marker.mark();
            // Dropping the handle would have the sender give up at once, whatever room there is.
            exit_now(0);
        });
        sleeper.await_sleep(libc::SYS_futex);
        let judge = |world: &World<u64>, sent| {
            let rx = world.receiver();
            let taken = sent - rx.len() as u64;
            require!(taken <= 1, "{taken} messages were taken by one call");
            require!(sent == taken + CAPACITY, "{sent} messages were sent, {taken} taken");
            let mut numbers = Numbers::from(taken);
            for message in rx.try_iter() {
                numbers.accept(&message)?;
            }
            usable(&world.sender(), &rx, sent, CAPACITY)?;
            Ok(taken)
        };
        let watched = Some(world.bytes());
        Scene { victim, watched, calls: None, survivor: Box::new(Sleeper { world, child: sleeper, judge }) }
    })
}
