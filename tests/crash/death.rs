//! The ways for a process to end without a word, and whoever was waiting for it.

use std::os::unix::process::CommandExt;
use std::process::{Command, abort, exit};

use ringway::{Error, PeerState, RecvError, SendError, Wait};

use crate::harness::Case;
use crate::life::{End, SENT, TAKEN, survivor_of};
use crate::oracle::{Verdict, channel_usable, require};
use crate::process::{Board, Child, Ended, enter_pid_namespace, exit_now, idle, signal_process};
use crate::world::{Backing, Numbered, World, options};

const CAPACITY: u64 = 20;
/// Cell that says how far the victim is.
const READY: usize = 0;
/// Cell for a pid.
const PID: usize = 1;

/// A way to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Killed,
    /// Killed, and not reaped: its pid is still taken.
    Zombie,
    /// It ends by itself, without running a destructor.
    Exit,
    /// `std::process::exit`, which drops nothing either.
    ProcessExit,
    Abort,
    /// It becomes another program, which lives on under the same pid.
    Exec,
}

impl Death {
    const ALL: [Self; 6] = [Self::Killed, Self::Zombie, Self::Exit, Self::ProcessExit, Self::Abort, Self::Exec];

    /// In the victim: ends it, or has it wait for its end.
    fn come(self) -> ! {
        match self {
            Self::Killed | Self::Zombie => idle(),
            Self::Exit => exit_now(0),
            Self::ProcessExit => exit(0),
            Self::Abort => abort(),
            Self::Exec => {
                let program = std::env::current_exe().expect("this program has a path");
                let error = Command::new(program).arg(IDLE).exec();
                panic!("exec: {error}");
            }
        }
    }

    /// In the trial: returns when the victim has ended this way.
    fn await_end(self, victim: &mut Child) -> Verdict {
        let expected = match self {
            Self::Killed => {
                victim.kill();
                return Ok(());
            }
            Self::Zombie => {
                victim.signal(libc::SIGKILL);
                victim.await_zombie();
                return Ok(());
            }
            Self::Exec => {
                victim.await_sleep(libc::SYS_pause);
                return Ok(());
            }
            Self::Exit | Self::ProcessExit => Ended::Exited(0),
            Self::Abort => Ended::Killed(libc::SIGABRT),
        };
        let ended = victim.finish();
        require!(ended == expected, "the victim ended as {ended:?}");
        Ok(())
    }
}

/// Argument that makes this program do nothing at all.
pub(crate) const IDLE: &str = "--idle";

/// A process that took that end, worked a little and then ended; the other side comes when it is over.
fn found_dead(backing: Backing, end: End, death: Death) -> Verdict {
    let world = World::<u64>::new(backing, CAPACITY);
    if end == End::Receiver {
        world
            .child(|| {
                let tx = world.open().sender().expect("the role is free");
                (0..SENT).for_each(|number| tx.try_send(u64::new(number)).expect("there is room"));
            })
            .succeed("the sender")?;
    }
    let mut victim = world.child(|| {
        let channel = world.open();
        match end {
            End::Sender => {
                let tx = channel.sender().expect("the role is free");
                (0..SENT).for_each(|number| tx.try_send(u64::new(number)).expect("there is room"));
                world.board.set(READY, 1);
                death.come();
            }
            End::Receiver => {
                let rx = channel.receiver().expect("the role is free");
                (0..TAKEN).for_each(|number| assert_eq!(rx.try_recv(), Ok(u64::new(number))));
                world.board.set(READY, 1);
                death.come();
            }
        }
    });
    world.board.await_at_least(READY, 1);
    death.await_end(&mut victim)?;
    let pid = victim.pid();
    let state = end.state(world.channel());
    require!(state == PeerState::Dead { pid }, "the victim {pid} is dead, but {state}");
    let taken = if end == End::Sender { 0 } else { TAKEN };
    survivor_of(end, world, SENT, taken).after(pid).map(drop)
}

/// A region whose channel waits so, for those who inherit it.
fn waiting_world(backing: Backing, wait: Wait) -> World<u64> {
    World::with(backing, &options().capacity(CAPACITY as usize).wait(wait))
}

/// A process that dies while the other side waits for it, asleep or polling.
fn waited_for(backing: Backing, end: End, death: Death, wait: Wait) -> Verdict {
    let world = waiting_world(backing, wait);
    let mut survivor = world.child(|| {
        let channel = world.open_with(&options().wait(wait));
        match end {
            End::Sender => {
                let rx = channel.receiver().expect("the role is free");
                world.board.set(READY, 1);
                assert_eq!(rx.recv(), Err(RecvError::Disconnected));
            }
            End::Receiver => {
                let tx = channel.sender().expect("the role is free");
                (0..CAPACITY).for_each(|number| tx.try_send(u64::new(number)).expect("there is room"));
                world.board.set(READY, 1);
                assert_eq!(tx.send(u64::new(CAPACITY)), Err(SendError::Disconnected(u64::new(CAPACITY))));
            }
        }
    });
    world.board.await_at_least(READY, 1);
    let mut victim = world.child(|| {
        let _held = end.take(&world.open()).expect("the role is free");
        world.board.set(READY, 2);
        if [Death::Killed, Death::Zombie].contains(&death) {
            idle();
        }
        // The others are on their way as soon as the trial says so.
        world.board.await_at_least(READY, 3);
        death.come();
    });
    world.board.await_at_least(READY, 2);
    if wait == Wait::Park {
        survivor.await_sleep(libc::SYS_futex);
    }
    world.board.set(READY, 3);
    death.await_end(&mut victim)?;
    survivor.succeed("the survivor")
}

/// A process that is killed while it sleeps in the kernel itself.
fn killed_asleep(backing: Backing, end: End, wait: Wait) -> Verdict {
    let world = waiting_world(backing, wait);
    let mut victim = world.child(|| {
        let channel = world.open_with(&options().wait(wait));
        match end {
            End::Sender => {
                let tx = channel.sender().expect("the role is free");
                (0..=CAPACITY).for_each(|number| tx.send(u64::new(number)).expect("there is somebody"));
            }
            End::Receiver => {
                let rx = channel.receiver().expect("the role is free");
                let _never = rx.recv();
            }
        }
    });
    victim.await_sleep(libc::SYS_futex);
    victim.kill();
    let (sent, taken) = if end == End::Sender { (CAPACITY, 0) } else { (0, 0) };
    survivor_of(end, world, sent, taken).after(victim.pid()).map(drop)
}

/// A process in another pid namespace, where its pid means nothing to us: alive, stopped, and dead.
fn in_another_namespace(backing: Backing, end: End) -> Verdict {
    let world = World::<u64>::new(backing, CAPACITY);
    let board = Board::new(2);
    let mut outside = world.child(|| {
        enter_pid_namespace().expect("it was permitted before");
        let mut inside = world.child(|| {
            assert_eq!(std::process::id(), 1);
            let _held = end.take(&world.open()).expect("the role is free");
            board.set(READY, 1);
            idle();
        });
        board.set(PID, inside.pid().into());
        inside.finish();
    });
    board.await_at_least(READY, 1);
    board.await_at_least(PID, 1);
    let pid = board.get(PID) as u32;
    let refused = || match end.take(&world.open()) {
        Err(Error::RoleTaken { holder: PeerState::Running { pid: 1 }, .. }) => Ok(()),
        other => Err(format!("taking an end that another namespace holds: {other:?}")),
    };
    refused()?;
    signal_process(pid, libc::SIGSTOP);
    // Whether it is stopped cannot be told from here, and does not matter: it has the end.
    refused()?;
    signal_process(pid, libc::SIGKILL);
    outside.succeed("the parent of the namespace")?;
    let state = end.state(world.channel());
    require!(state == PeerState::Dead { pid: 1 }, "the victim is dead, but {state}");
    survivor_of(end, world, 0, 0).after(1).map(drop)
}

/// Seen from inside another pid namespace, we are alive until we are dead.
fn from_another_namespace(backing: Backing, end: End) -> Verdict {
    let world = World::<u64>::new(backing, CAPACITY);
    let board = Board::new(2);
    let mut victim = world.child(|| {
        let _held = end.take(&world.open()).expect("the role is free");
        board.set(READY, 1);
        idle();
    });
    board.await_at_least(READY, 1);
    let pid = victim.pid();
    let mut outside = world.child(|| {
        enter_pid_namespace().expect("it was permitted before");
        let mut inside = world.child(|| {
            let channel = world.open();
            assert_eq!(end.state(&channel), PeerState::Running { pid });
            assert!(matches!(end.take(&channel), Err(Error::RoleTaken { .. })));
            board.set(READY, 2);
            board.await_at_least(READY, 3);
            assert_eq!(end.state(&channel), PeerState::Dead { pid });
            channel_usable(&channel, 0).expect("a successor from another namespace");
        });
        inside.succeed("the process inside").expect("it was content");
    });
    board.await_at_least(READY, 2);
    victim.kill();
    board.set(READY, 3);
    outside.succeed("the parent of the namespace")?;
    channel_usable(&world.open(), 0)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for backing in Backing::EACH {
        for end in End::ALL {
            for death in Death::ALL {
                let name = format!("death::found dead, {death:?}[{end:?}, {backing:?}]");
                cases.push(Case::new(name, move || found_dead(backing, end, death)));
                let name = format!("death::waited for, {death:?}[{end:?}, {backing:?}]");
                cases.push(Case::new(name, move || {
                    [Wait::Spin, Wait::Adaptive, Wait::Park]
                        .into_iter()
                        .try_for_each(|wait| waited_for(backing, end, death, wait))
                }));
            }
            cases.push(Case::new(format!("death::killed asleep[{end:?}, {backing:?}]"), move || {
                [Wait::Adaptive, Wait::Park].into_iter().try_for_each(|wait| killed_asleep(backing, end, wait))
            }));
        }
    }
    cases
}

/// Those for which this process must be allowed to make a pid namespace.
pub(crate) fn namespace_cases() -> Vec<Case> {
    let of = |(backing, end)| {
        [
            Case::namespaced(format!("namespace::holder in another[{end:?}, {backing:?}]"), move || {
                in_another_namespace(backing, end)
            }),
            Case::namespaced(format!("namespace::seen from another[{end:?}, {backing:?}]"), move || {
                from_another_namespace(backing, end)
            }),
        ]
    };
    Backing::EACH.into_iter().flat_map(|backing| End::ALL.map(|end| (backing, end))).flat_map(of).collect()
}
