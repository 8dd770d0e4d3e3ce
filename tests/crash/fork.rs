//! `fork`: a child inherits no end of a channel, only the way to open its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringway::channel_of::Mpmc;
use ringway::spsc::{Channel, Receiver, Sender};
use ringway::{
    Error, Fault, PeerState, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};

use crate::harness::Case;
use crate::oracle::{Verdict, channel_usable, drain_until_disconnected, require, usable};
use crate::process::{Child, adopt_orphans, outlive_parent};
use crate::world::{Backing, Mode, Numbered, Numbers, World, options};

const CAPACITY: u64 = 20;

/// Ends of one channel that this process holds.
fn both(backing: Backing) -> (World<u64>, Sender<u64>, Receiver<u64>) {
    let world = World::new(backing, CAPACITY);
    let (tx, rx) = (world.sender(), world.receiver());
    (world, tx, rx)
}

/// Requires that the name, if the region has one, still leads to it.
fn still_named(world: &World<u64>) -> Verdict {
    match world.channel().name() {
        Some(name) => Channel::<u64>::attach(name, &options()).map(drop).map_err(|error| format!("the name: {error}")),
        None => Ok(()),
    }
}

/// Every method of an inherited sender fails in the same way, at once, and hands the message back.
fn inherited_sender_is_refused(tx: &Sender<u64>) {
    let (second, past) = (Duration::from_secs(1), Instant::now());
    assert_eq!(tx.send(7), Err(SendError::Fault(7, Fault::Forked)));
    assert_eq!(tx.try_send(7), Err(TrySendError::Fault(7, Fault::Forked)));
    assert_eq!(tx.send_timeout(7, second), Err(SendTimeoutError::Fault(7, Fault::Forked)));
    assert_eq!(tx.send_deadline(7, past), Err(SendTimeoutError::Fault(7, Fault::Forked)));
    assert_eq!(tx.try_send_slice(&[7, 8]), Err(TrySendError::Fault((), Fault::Forked)));
    let error = tx.send_slice(&[7, 8]).expect_err("it is not ours");
    assert_eq!((error.sent, error.cause), (0, SendError::Fault((), Fault::Forked)));
    assert_eq!(tx.wait_drained(Some(second)), Err(SendTimeoutError::Fault((), Fault::Forked)));
    assert_eq!(tx.wait_drained(None), Err(SendTimeoutError::Fault((), Fault::Forked)));
    // What is not about the region's memory still answers.
    assert_eq!((tx.len(), tx.is_empty(), tx.is_full()), (0, true, false));
    assert_eq!(tx.capacity() as u64, CAPACITY);
    assert!(tx.peer().is_alive(), "{}", tx.peer());
}

/// The same of an inherited receiver.
fn inherited_receiver_is_refused(rx: &Receiver<u64>) {
    let (second, past) = (Duration::from_secs(1), Instant::now());
    let mut buffer = [0; 4];
    assert_eq!(rx.recv(), Err(RecvError::Fault(Fault::Forked)));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Fault(Fault::Forked)));
    assert_eq!(rx.recv_timeout(second), Err(RecvTimeoutError::Fault(Fault::Forked)));
    assert_eq!(rx.recv_deadline(past), Err(RecvTimeoutError::Fault(Fault::Forked)));
    assert_eq!(rx.try_recv_slice(&mut buffer), Err(TryRecvError::Fault(Fault::Forked)));
    assert_eq!(rx.recv_slice(&mut buffer), Err(RecvError::Fault(Fault::Forked)));
    assert_eq!((rx.iter().next(), rx.try_iter().next()), (None, None));
    assert_eq!((rx.len(), rx.is_empty(), rx.is_full()), (0, true, false));
    assert_eq!(rx.capacity() as u64, CAPACITY);
    assert!(rx.peer().is_alive(), "{}", rx.peer());
}

/// A child, or a grandchild, calls every method of handles that are its parent's.
fn use_of_inherited(backing: Backing, generations: u32) -> Verdict {
    let (world, tx, rx) = both(backing);
    tx.try_send(1).expect("there is room");
    descend(generations, &|_| {
        inherited_sender_is_refused(&tx);
        inherited_receiver_is_refused(&rx);
    })?;
    require!(rx.try_recv() == Ok(1), "the message is gone");
    still_named(&world)?;
    usable(&tx, &rx, 2, CAPACITY)
}

/// Runs `body` in a child, in a child of a child, and so on, the youngest first. It is told how many are younger.
fn descend(generations: u32, body: &dyn Fn(u32)) -> Verdict {
    let younger = generations - 1;
    Child::inheriting(|| {
        if younger > 0 {
            descend(younger, body).expect("the next generation is content");
        }
        body(younger);
    })
    .succeed("a descendant")
}

/// A child drops whatever it inherited: handles, the channel, the only copies it knows of.
fn drop_of_inherited(backing: Backing, generations: u32) -> Verdict {
    let (world, tx, rx) = both(backing);
    tx.try_send(1).expect("there is room");
    let everything = std::cell::Cell::new(Some((world, tx, rx)));
    // In each descendant the cell holds its own copies.
    descend(generations, &|_| drop(everything.take()))?;
    let Some((world, tx, rx)) = everything.take() else {
        return Err("a child's memory is its own".into());
    };
    require!(rx.peer() != PeerState::Closed && tx.peer() != PeerState::Closed, "a child closed its parent's end");
    require!(rx.try_recv() == Ok(1), "the message is gone");
    still_named(&world)?;
    usable(&tx, &rx, 2, CAPACITY)?;
    // And the parent's own drop is one.
    drop(tx);
    require!(rx.recv() == Err(RecvError::Disconnected), "the parent's drop is not seen");
    if let Some(name) = world.channel().name().map(String::from) {
        drop((rx, world));
        let after = Channel::<u64>::attach(&name, &options());
        require!(matches!(after, Err(Error::NotFound { .. })), "the creator is gone, its name is not");
    }
    Ok(())
}

/// A descendant opens an end of its own through the channel that it inherited, and talks to its ancestor.
fn own_end(backing: Backing, generations: u32) -> Verdict {
    let world = World::<u64>::new(backing, CAPACITY);
    let rx = world.receiver();
    // A process of its own to wait for them, as this one has to receive.
    let mut family = Child::inheriting(|| {
        let work = |younger| {
            if younger > 0 {
                return;
            }
            // The ancestor has this one.
            assert!(matches!(world.channel().receiver(), Err(Error::RoleTaken { .. })));
            let tx = world.sender();
            (0..10 * CAPACITY).for_each(|number| tx.send(u64::new(number)).expect("the ancestor receives"));
            tx.wait_drained(None).expect("the ancestor receives");
        };
        if generations == 1 { work(0) } else { descend(generations - 1, &work).expect("they are content") }
    });
    let mut numbers = Numbers::from(0);
    while numbers.next() < 10 * CAPACITY {
        let message = rx.recv().map_err(|error| format!("{error} after {}", numbers.next()))?;
        numbers.accept(&message)?;
    }
    family.succeed("the family")?;
    drain_until_disconnected(&rx, &mut numbers)?;
    require!(numbers.next() == 10 * CAPACITY, "{} messages", numbers.next());
    drop(rx);
    still_named(&world)?;
    channel_usable(world.channel(), 0)
}

/// The parent's end dies with the parent: a child that inherited the handle, and lives on, does not keep it.
fn parent_dies(backing: Backing) -> Verdict {
    const ORPHAN: usize = 0;
    const STEP: usize = 1;
    let world = World::<u64>::new(backing, CAPACITY);
    let rx = world.receiver();
    adopt_orphans();
    let live = || {
        let tx = world.open().sender().expect("the role is free");
        tx.try_send(u64::new(0)).expect("there is room");
        let mut child = Child::inheriting(|| {
            outlive_parent();
            inherited_sender_is_refused(&tx);
            world.board.set(STEP, 1);
            world.board.await_at_least(STEP, 2);
            inherited_sender_is_refused(&tx);
        });
        world.board.set(ORPHAN, child.pid().into());
        child.finish();
    };
    let mut parent = world.child(live);
    world.board.await_at_least(ORPHAN, 1);
    world.board.await_at_least(STEP, 1);
    parent.kill();
    let mut orphan = Child::adopted(world.board.get(ORPHAN) as u32);
    let mut numbers = Numbers::from(0);
    drain_until_disconnected(&rx, &mut numbers)?;
    require!(numbers.next() == 1, "{} messages", numbers.next());
    let tx = world.channel().sender().map_err(|error| format!("beside an orphan: {error}"))?;
    usable(&tx, &rx, 1, CAPACITY)?;
    world.board.set(STEP, 2);
    orphan.succeed("the orphan")?;
    usable(&tx, &rx, 1, CAPACITY)
}

/// Messages that pass between two forks.
const BETWEEN: u64 = 50;
/// Forks in the middle of a stream.
const FORKS: u64 = 20;

/// A sender forks again and again while another process receives. Its children are refused what is their parent's; the
/// last of them succeeds it.
fn a_sender_forks(backing: Backing) -> Verdict {
    /// Cell that says that the parent's messages are through, and then that there are more.
    const STEP: usize = 0;
    /// Cell that says that the parent has let go of its end, of which the receiver hears earlier.
    const FREE: usize = 1;
    let world = World::<u64>::new(backing, CAPACITY);
    let mut receiving = Child::inheriting(|| {
        let rx = world.receiver();
        let mut numbers = Numbers::from(0);
        drain_until_disconnected(&rx, &mut numbers).expect("the parent's messages, and its end");
        assert_eq!(numbers.next(), FORKS * BETWEEN);
        world.board.set(STEP, 1);
        world.board.await_at_least(STEP, 2);
        drain_until_disconnected(&rx, &mut numbers).expect("the successor's messages, and its end");
        assert_eq!(numbers.next(), (FORKS + 1) * BETWEEN);
    });
    let send = |tx: &Sender<u64>, stretch: u64| {
        let numbers = stretch * BETWEEN..(stretch + 1) * BETWEEN;
        numbers.for_each(|number| tx.send(u64::new(number)).expect("somebody receives"));
    };
    let tx = world.sender();
    let fork = |stretch: u64| {
        send(&tx, stretch);
        Child::inheriting(|| {
            assert_eq!(tx.try_send(7), Err(TrySendError::Fault(7, Fault::Forked)));
            if stretch + 1 < FORKS {
                assert!(matches!(world.channel().sender(), Err(Error::RoleTaken { .. })));
                return;
            }
            world.board.await_at_least(STEP, 1);
            world.board.await_at_least(FREE, 1);
            let tx = world.sender();
            world.board.set(STEP, 2);
            send(&tx, FORKS);
            tx.wait_drained(None).expect("somebody receives");
        })
    };
    let mut children: Vec<_> = (0..FORKS).map(fork).collect();
    let mut successor = children.pop().ok_or("no child")?;
    for mut child in children {
        child.succeed("a child")?;
    }
    drop(tx);
    world.board.set(FREE, 1);
    successor.succeed("the successor")?;
    receiving.succeed("the receiver")
}

/// Threads are in the middle of sends while their process forks. The children are refused its handle, and send through
/// one of their own; nothing is lost, comes twice or out of order.
fn threads_send_while_their_process_forks(backing: Backing, mode: Mode) -> Verdict {
    const THREADS: u64 = 2;
    const SOURCES: usize = (THREADS + FORKS) as usize;
    /// Room for the numbers of one source.
    const EACH: u64 = 1 << 24;
    /// Cell that counts what arrived.
    const COUNT: usize = 0;
    let world = World::<u64, Mpmc>::shared(backing, mode, CAPACITY, 2 * SOURCES);
    let mut receiving = Child::inheriting(|| {
        let mut next = [0; SOURCES];
        for message in &world.receiver() {
            let number = message.number().expect("a whole message");
            let source = (number / EACH) as usize;
            assert_eq!(number % EACH, next[source], "of source {source}");
            next[source] += 1;
            world.board.add(COUNT, 1);
        }
    });
    let tx = world.sender();
    let is_over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let stream = |thread: u64| {
            let (tx, is_over) = (&tx, &is_over);
            scope.spawn(move || {
                let sending = (0..).take_while(|_| !is_over.load(Ordering::Relaxed));
                sending.map(|index| tx.send(u64::new(thread * EACH + index)).expect("somebody receives")).count() as u64
            })
        };
        let threads: Vec<_> = (0..THREADS).map(stream).collect();
        let verdict = (0..FORKS).try_for_each(|child| {
            Child::inheriting(|| {
                assert_eq!(tx.try_send(7), Err(TrySendError::Fault(7, Fault::Forked)));
                assert_eq!(tx.send(7), Err(SendError::Fault(7, Fault::Forked)));
                let own = world.sender();
                let first = (THREADS + child) * EACH;
                (first..first + BETWEEN).for_each(|number| own.send(u64::new(number)).expect("somebody receives"));
            })
            .succeed("a child")
        });
        is_over.store(true, Ordering::Relaxed);
        let sent: u64 = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        verdict.map(|()| sent)
    })?;
    drop(tx);
    receiving.succeed("the receiver")?;
    let (received, sent) = (world.board.get(COUNT), sent + FORKS * BETWEEN);
    require!(received == sent, "{received} messages of {sent}");
    Ok(())
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for backing in Backing::EACH {
        cases.push(Case::new(format!("fork::of a sender[{backing:?}]"), move || a_sender_forks(backing)));
        for mode in Mode::ALL {
            cases.push(Case::new(format!("fork::amid threads that send[{mode:?}, {backing:?}]"), move || {
                threads_send_while_their_process_forks(backing, mode)
            }));
        }
        for (generations, who) in [(1, "child"), (2, "grandchild"), (4, "fourth generation")] {
            cases.extend([
                Case::new(format!("fork::use by a {who}[{backing:?}]"), move || use_of_inherited(backing, generations)),
                Case::new(format!("fork::drop by a {who}[{backing:?}]"), move || {
                    drop_of_inherited(backing, generations)
                }),
                Case::new(format!("fork::own end of a {who}[{backing:?}]"), move || own_end(backing, generations)),
            ]);
        }
        cases.push(Case::new(format!("fork::death of the parent[{backing:?}]"), move || parent_dies(backing)));
    }
    cases
}
