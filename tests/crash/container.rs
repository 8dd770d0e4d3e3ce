//! Peers in containers: each in pid, mount, user, host-name and, unless they share System V segments, IPC namespaces of its
//! own. What they have in common is what one would give containers: a /dev/shm, a directory, or a socket.

#![allow(unsafe_code)] // namespaces

use std::fs::{self, create_dir};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread::yield_now;
use std::{io, process};

use ringway::channel_of::{Channel, Flavor, Mpmc, Spsc};
use ringway::{Error, Inspection, Options, PeerState, RecvError, TryRecvError};
use rustix::fs::{Mode, OFlags};

use crate::harness::Case;
use crate::mount::mount;
use crate::oracle::{Verdict, require};
use crate::process::{Board, Change, Child, Ended, await_sleep_of, errno_of, exit_now, idle, signal_process, state_of};
use crate::tracer::Victim;
use crate::world::{Access, Backing, Numbered, World, options};

/// Cell of a world's board that says how far its actors are.
const STEP: usize = 0;

/// What a container does not share with the others.
#[derive(Clone, Copy, Debug)]
struct Walls {
    /// System V segments.
    ipc: bool,
    /// POSIX shared memory.
    shm: bool,
    /// The user that its root is, outside; `None`: the one who starts it.
    user: Option<u32>,
}

impl Walls {
    /// As high as they can be with this kind of memory.
    fn around(backing: Backing) -> Self {
        Self { ipc: backing != Backing::SystemV, shm: false, user: None }
    }

    /// Puts this process behind them, and the children that it starts from now on into a pid namespace of their own.
    fn enter(self) -> io::Result<()> {
        if let Some(user) = self.user {
            become_user(user)?;
        }
        let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let ipc = if self.ipc { libc::CLONE_NEWIPC } else { 0 };
        let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | ipc;
        // SAFETY: concerns this process's namespaces only; it has one thread.
        if unsafe { libc::unshare(flags) } != 0 {
            return Err(io::Error::last_os_error());
        }
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {} 1", ids.0))?;
        fs::write("/proc/self/gid_map", format!("0 {} 1", ids.1))?;
        let mount = |source: &str, target: &str, kind: &str, flags| {
            mount(source, target, kind, flags, "").map_err(|_| io::Error::last_os_error())
        };
        mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE)?;
        // A /dev of its own, into which the common /dev/shm is bound, or not.
        let common = rustix::fs::open("/dev/shm", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        mount("none", "/dev", "tmpfs", 0)?;
        create_dir("/dev/shm")?;
        if self.shm {
            mount("none", "/dev/shm", "tmpfs", 0)
        } else {
            mount(&format!("/proc/self/fd/{}", common.as_raw_fd()), "/dev/shm", "", libc::MS_BIND)
        }
    }
}

/// Becomes another user for good, who may yet make namespaces.
fn become_user(user: u32) -> io::Result<()> {
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: an empty list is not looked at.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::setresgid(user, user, user) })?;
    // SAFETY: as above.
    check(unsafe { libc::setresuid(user, user, user) })?;
    // Else the files of this process in /proc would be root's.
    // SAFETY: sets an attribute of this process.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) })
}

/// Whether this process may do that; why not.
pub(crate) fn may_contain() -> io::Result<()> {
    errno_of(|| {
        Walls { ipc: true, shm: false, user: None }.enter()?;
        let mut inside = Child::inheriting(own_proc);
        inside.succeed("a process that mounts /proc").map_err(|_| io::Error::from_raw_os_error(libc::EPERM))
    })
}

/// Whether containers can be other users; why not.
pub(crate) fn may_contain_others() -> io::Result<()> {
    errno_of(|| Walls { ipc: true, shm: false, user: Some(STRANGER) }.enter())
}

/// A user whom nobody knows.
const STRANGER: u32 = 100_000;

/// In the first process of a pid namespace: shows it itself.
fn own_proc() {
    mount("none", "/proc", "proc", 0, "").expect("it is ours");
    assert_eq!(process::id(), 1);
}

/// A process alone in a container.
#[derive(Debug)]
struct Container {
    outside: Child,
    inside: u32,
}

/// The exit code of a container whose process was killed.
const KILLED: i32 = 99;

impl Container {
    fn start(walls: Walls, body: impl FnOnce()) -> Self {
        Self::led(walls, |told| {
            let mut inside = Child::inheriting(|| {
                own_proc();
                body();
            });
            told(inside.pid());
            loop {
                // Whoever stops it means it.
                if let Change::Ended(ended) = inside.next_change() {
                    return ended;
                }
            }
        })
    }

    /// `lead` starts the process inside, tells its pid, and waits for its end.
    fn led(walls: Walls, lead: impl FnOnce(&dyn Fn(u32)) -> Ended) -> Self {
        let board = Board::new(1);
        let outside = Child::inheriting(|| {
            walls.enter().expect("it was permitted before");
            match lead(&|pid| board.set(0, pid.into())) {
                Ended::Exited(code) => exit_now(code),
                Ended::Killed(_) => exit_now(KILLED),
            }
        });
        while board.get(0) == 0 {
            assert_ne!(outside.state(), Some('Z'), "no container");
            yield_now();
        }
        Self { outside, inside: board.get(0) as u32 }
    }

    fn await_sleep(&self) {
        await_sleep_of(self.inside, libc::SYS_futex);
    }

    fn succeed(mut self, who: &str) -> Verdict {
        self.outside.succeed(who)
    }

    fn kill(mut self) -> Verdict {
        signal_process(self.inside, libc::SIGKILL);
        let ended = self.outside.finish();
        require!(ended == Ended::Exited(KILLED), "the container ended as {ended:?}");
        Ok(())
    }
}

/// How a container comes to a channel: by its name, or by a socket through which it is passed, or by birth.
struct Door(Option<UnixStream>);

impl Door {
    fn to<F: Flavor>(world: &World<u64, F>) -> Self {
        let channel = world.channel();
        if channel.name().is_some() || channel.as_fd().is_none() {
            return Self(None);
        }
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        channel.send_fd(&ours).expect("there is room for one");
        Self(Some(theirs))
    }

    fn enter<'w, F: Flavor>(&self, world: &'w World<u64, F>) -> Access<'w, u64, F> {
        self.enter_with(world, &options()).expect("the region is there and whole")
    }

    fn enter_with<'w, F: Flavor>(
        &self,
        world: &'w World<u64, F>,
        options: &Options,
    ) -> Result<Access<'w, u64, F>, Error> {
        match (&self.0, world.channel().name()) {
            (Some(socket), _) => Channel::receive_fd(socket, options).map(Access::Own),
            (None, Some(name)) => Channel::attach(name, options).map(Access::Own),
            (None, None) => Ok(Access::Inherited(world.channel())),
        }
    }
}

fn world<F: Flavor>(backing: Backing, capacity: usize) -> World<u64, F> {
    World::made(backing, &options().capacity(capacity).peers(8))
}

/// One container asks, the other one answers, and each sleeps while the other is at work.
fn ask_and_answer<F: Flavor>(backing: Backing) -> Verdict {
    const ROUNDS: u64 = 200;
    let [questions, answers] = [world::<F>(backing, 1), world::<F>(backing, 1)];
    let walls = Walls::around(backing);
    let doors = [&questions, &answers].map(Door::to);
    let answering = Container::start(walls, || {
        let rx = doors[0].enter(&questions).receiver().expect("a free end");
        let tx = doors[1].enter(&answers).sender().expect("a free end");
        rx.iter().for_each(|question| tx.send(question).expect("somebody asked"));
    });
    let doors = [&questions, &answers].map(Door::to);
    let asking = Container::start(walls, || {
        let tx = doors[0].enter(&questions).sender().expect("a free end");
        let rx = doors[1].enter(&answers).receiver().expect("a free end");
        for question in (0..ROUNDS).map(u64::new) {
            tx.send(question).expect("somebody answers");
            assert_eq!(rx.recv(), Ok(question));
        }
    });
    asking.succeed("the one that asks")?;
    answering.succeed("the one that answers")
}

/// A container wakes a sleeper in another one, and not just his own alarm clock: the kernel tells his tracer why the
/// system call in which he slept has ended.
fn wake<F: Flavor>(backing: Backing) -> Verdict {
    /// Cell that counts how often he was woken, and one for how often he woke by himself.
    const WOKEN: usize = 1;
    const UNTROUBLED: usize = 2;
    let world = world::<F>(backing, 64);
    let walls = Walls::around(backing);
    let door = Door::to(&world);
    let sleeper = Container::led(walls, |told| {
        let mut victim = Victim::inheriting(|marker| {
            let rx = door.enter(&world).receiver().expect("a free end");
            world.board.set(STEP, 1);
            marker.mark();
            // For a tracer it would go on for ever.
            while rx.recv().is_ok() {}
        });
        told(victim.pid());
        while world.board.get(WOKEN) == 0 {
            victim.run_through(libc::SYS_futex, || ());
            match victim.result() {
                0 => world.board.add(WOKEN, 1),
                result if result == -i64::from(libc::ETIMEDOUT) => world.board.add(UNTROUBLED, 1),
                // The word has changed since he looked at it.
                result if result == -i64::from(libc::EAGAIN) => 0,
                result => panic!("a sleep ended with {result}"),
            };
        }
        victim.kill();
        Ended::Exited(0)
    });
    let door = Door::to(&world);
    let waking = Container::start(walls, || {
        let tx = door.enter(&world).sender().expect("a free end");
        for attempt in 1..=20 {
            // His sleeps become longer and longer, until there is time enough to wake him from one.
            world.board.await_at_least(UNTROUBLED, attempt * 8);
            tx.try_send(u64::new(attempt)).expect("room");
            while !tx.is_empty() && world.board.get(WOKEN) == 0 {
                yield_now();
            }
            if world.board.get(WOKEN) > 0 {
                return;
            }
        }
        panic!("nothing wakes him");
    });
    waking.succeed("the one that wakes")?;
    sleeper.succeed("the sleeper")
}

/// A sender is stopped, and then killed, while a receiver in another container waits for it; a third one goes on for it.
fn death<F: Flavor>(backing: Backing, senders: fn(&Channel<u64, F>) -> Vec<PeerState>, exclusive: bool) -> Verdict {
    const COUNT: u64 = 5;
    let world = world::<F>(backing, 16);
    let walls = Walls::around(backing);
    let [first, second, third] = [Door::to(&world), Door::to(&world), Door::to(&world)];
    let victim = Container::start(walls, || {
        let tx = first.enter(&world).sender().expect("a free end");
        (0..COUNT).for_each(|number| tx.try_send(u64::new(number)).expect("room"));
        world.board.set(STEP, 1);
        idle();
    });
    world.board.await_at_least(STEP, 1);
    let survivor = Container::start(walls, || {
        let rx = second.enter(&world).receiver().expect("a free end");
        (0..COUNT).for_each(|number| assert_eq!(rx.recv(), Ok(u64::new(number))));
        world.board.set(STEP, 2);
        assert_eq!(rx.recv(), Err(RecvError::Disconnected));
        world.board.set(STEP, 3);
        world.board.await_at_least(STEP, 4);
        (COUNT..2 * COUNT).for_each(|number| assert_eq!(rx.recv(), Ok(u64::new(number))));
        assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    });
    world.board.await_at_least(STEP, 2);
    survivor.await_sleep();
    signal_process(victim.inside, libc::SIGSTOP);
    while state_of(victim.inside) != Some('T') {
        yield_now();
    }
    let states = senders(world.channel());
    require!(states == [PeerState::Running { pid: 1 }], "beside a stopped process: {states:?}");
    if exclusive {
        let taken = world.channel().sender();
        require!(matches!(taken, Err(Error::RoleTaken { .. })), "the end of a stopped process: {taken:?}");
    }
    require!(world.board.get(STEP) == 2, "the survivor gave up beside a stopped process");
    victim.kill()?;
    let states = senders(world.channel());
    require!(states == [PeerState::Dead { pid: 1 }], "after its death: {states:?}");
    world.board.await_at_least(STEP, 3);
    let successor = Container::start(walls, || {
        let tx = third.enter(&world).sender().expect("its holder is dead");
        (COUNT..2 * COUNT).for_each(|number| tx.try_send(u64::new(number)).expect("room"));
        world.board.set(STEP, 4);
        // Until everything is taken.
        tx.wait_drained(None).expect("somebody receives");
    });
    successor.succeed("the successor")?;
    survivor.succeed("the survivor")
}

/// A receiver is killed with a message in its hands, which another container gets.
fn redelivery(backing: Backing) -> Verdict {
    let world = world::<Mpmc>(backing, 4);
    let walls = Walls::around(backing);
    let [first, second, third] = [Door::to(&world), Door::to(&world), Door::to(&world)];
    let sender = Container::start(walls, || {
        let tx = first.enter(&world).sender().expect("a free index");
        (0..3).for_each(|number| tx.try_send(u64::new(number)).expect("room"));
        world.board.set(STEP, 1);
        // Until the successor is content.
        world.board.await_at_least(STEP, 3);
    });
    world.board.await_at_least(STEP, 1);
    let victim = Container::start(walls, || {
        let rx = second.enter(&world).receiver().expect("a free index");
        let guard = rx.recv_guard().expect("a message is there");
        assert_eq!(guard.number(), Ok(0));
        world.board.set(STEP, 2);
        idle();
    });
    world.board.await_at_least(STEP, 2);
    victim.kill()?;
    let successor = Container::start(walls, || {
        let rx = third.enter(&world).receiver().expect("a free index");
        let mut received: Vec<_> = (0..3)
            .map(|_| {
                let guard = rx.recv_guard().expect("three messages are there");
                let received = (guard.number().expect("a whole message"), guard.redeliveries());
                guard.ack().expect("nobody took it away");
                received
            })
            .collect();
        received.sort();
        assert_eq!(received, [(0, 1), (1, 0), (2, 0)]);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        world.board.set(STEP, 3);
    });
    successor.succeed("the successor")?;
    sender.succeed("the sender")
}

/// Senders and receivers, each in a container: every message comes to one of them, and those of a sender in order.
fn crowd(backing: Backing) -> Verdict {
    const EACH: u64 = 2000;
    const SENDERS: u64 = 2;
    /// Cells that count what arrived, and add it up.
    const COUNT: usize = 1;
    const SUM: usize = 2;
    let world = world::<Mpmc>(backing, 8);
    let walls = Walls::around(backing);
    let start = |body: &dyn Fn(&Channel<u64, Mpmc>)| {
        let door = Door::to(&world);
        Container::start(walls, || body(&door.enter(&world)))
    };
    let receive = |channel: &Channel<u64, Mpmc>| {
        let rx = channel.receiver().expect("a free index");
        world.board.add(STEP, 1);
        let mut last = [None; SENDERS as usize];
        for message in &rx {
            let number = message.number().expect("a whole message");
            let (sender, index) = ((number / EACH) as usize, number % EACH);
            assert!(last[sender] < Some(index), "{index} after {:?} of sender {sender}", last[sender]);
            last[sender] = Some(index);
            world.board.add(COUNT, 1);
            world.board.add(SUM, number);
        }
    };
    let receivers: Vec<_> = (0..2).map(|_| start(&receive)).collect();
    world.board.await_at_least(STEP, 2);
    let send = |sender: u64| {
        start(&|channel| {
            let tx = channel.sender().expect("a free index");
            (0..EACH).for_each(|index| tx.send(u64::new(sender * EACH + index)).expect("somebody receives"));
            // The first to be done must not be the last there is.
            world.board.add(STEP, 1);
            world.board.await_at_least(STEP, 2 + SENDERS);
        })
    };
    let senders: Vec<_> = (0..SENDERS).map(send).collect();
    for container in senders.into_iter().chain(receivers) {
        container.succeed("one of the crowd")?;
    }
    let (count, sum) = (world.board.get(COUNT), world.board.get(SUM));
    let all = SENDERS * EACH;
    require!((count, sum) == (all, all * (all - 1) / 2), "{count} messages of {all}, which add up to {sum}");
    Ok(())
}

/// What a container does not share is not there, and may be there a second time.
fn walled_off<F: Flavor>(backing: Backing) -> Verdict {
    let world = world::<F>(backing, 4);
    let name = world.channel().name().expect("it can be found").to_owned();
    let tx = world.sender();
    tx.try_send(u64::new(1)).expect("room");
    Container::start(Walls { ipc: true, shm: backing == Backing::Posix, user: None }, || {
        let attach = || Channel::<u64, F>::attach(name.as_str(), &options());
        let is_listed = || {
            let listed = Inspection::addresses().expect("a /dev/shm");
            listed.iter().any(|address| address.to_string() == name || address.to_string() == format!("posix:{name}"))
        };
        assert!(matches!(attach(), Err(Error::NotFound { .. })), "{:?}", attach());
        assert!(matches!(ringway::unlink(name.as_str()), Err(Error::NotFound { .. })));
        assert!(matches!(Inspection::of(name.as_str()), Err(Error::NotFound { .. })));
        assert!(!is_listed());
        let ours = Channel::<u64, F>::create(name.as_str(), &options()).expect("the name is free here");
        assert!(is_listed());
        ours.sender().expect("a free end").try_send(u64::new(2)).expect("room");
        let other = attach().expect("it is there now");
        assert_eq!(other.receiver().expect("a free end").try_recv(), Ok(u64::new(2)));
    })
    .succeed("the container")?;
    let rx = world.open().receiver().expect("a free end");
    require!(rx.try_recv() == Ok(u64::new(1)), "the one outside was disturbed");
    Ok(())
}

/// The root of a container is nobody whom the creator knows, and the other way round.
fn strangers<F: Flavor>(backing: Backing) -> Verdict {
    /// What the kernel calls users who have no number here.
    const OVERFLOW: u32 = 65534;
    let world = world::<F>(backing, 16);
    if backing != Backing::Memfd {
        world.channel().set_mode(0o666).map_err(|error| error.to_string())?;
    }
    let rx = world.receiver();
    let [first, second] = [Door::to(&world), Door::to(&world)];
    let stranger = Container::start(Walls { user: Some(STRANGER), ..Walls::around(backing) }, || {
        if backing != Backing::Memfd {
            let refused = first.enter_with(&world, &options()).err();
            let found = matches!(refused, Some(Error::WrongOwner { expected: 0, found: OVERFLOW, .. }));
            assert!(found, "{refused:?}");
        }
        let tx = second
            .enter_with(&world, &options().owner(OVERFLOW))
            .expect("expected so")
            .sender()
            .expect("everybody may write");
        (0..100).for_each(|number| tx.send(u64::new(number)).expect("somebody receives"));
        tx.wait_drained(None).expect("somebody receives");
    });
    // The stranger comes in its own time, and until then nobody is gone.
    for number in 0..100 {
        let received = rx.recv();
        require!(received == Ok(u64::new(number)), "{received:?} instead of {number}");
    }
    stranger.succeed("the stranger")
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for backing in Backing::EACH {
        let mut case = |name: &str, run: fn(Backing) -> Verdict| {
            cases.push(Case::contained(format!("container::{name}[{backing:?}]"), move || run(backing)));
        };
        case("ask and answer, spsc", ask_and_answer::<Spsc>);
        case("ask and answer, mpmc", ask_and_answer::<Mpmc>);
        case("death and successor, spsc", |backing| {
            death::<Spsc>(backing, |channel| vec![channel.sender_state()], true)
        });
        case("death and successor, mpmc", |backing| death::<Mpmc>(backing, Channel::senders, false));
        case("redelivery", redelivery);
        case("crowd", crowd);
        if [Backing::Posix, Backing::SystemV].contains(&backing) {
            case("walled off, spsc", walled_off::<Spsc>);
            case("walled off, mpmc", walled_off::<Mpmc>);
        }
        let mut case = |name: &str, run: fn(Backing) -> Verdict| {
            cases.push(Case::traced_container(format!("container::{name}[{backing:?}]"), move || run(backing)));
        };
        case("wake, spsc", wake::<Spsc>);
        case("wake, mpmc", wake::<Mpmc>);
    }
    for backing in [Backing::Posix, Backing::Memfd] {
        let mut case = |name: &str, run: fn(Backing) -> Verdict| {
            cases.push(Case::contained_stranger(format!("container::{name}[{backing:?}]"), move || run(backing)));
        };
        case("strangers, spsc", strangers::<Spsc>);
        case("strangers, mpmc", strangers::<Mpmc>);
    }
    cases
}
