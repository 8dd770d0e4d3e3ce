//! Victims in the operations that begin and end the life of a region, a role and a name.

use ringway::spsc::{Channel, Receiver, Sender};
use ringway::{Error, Options, PeerState, RecvError};

use crate::harness::names;
use crate::oracle::{AfterReceiver, AfterSender, Survivor, Verdict, channel_usable, require, usable};
use crate::process::exit_now;
use crate::series::{Operation, Sampling, Scene, Stage};
use crate::tracer::Victim;
use crate::world::{Backing, Numbered, Numbers, World, fresh_name, options, own_prefix};

/// One end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Sender,
    Receiver,
}

/// A handle of either kind.
#[derive(Debug)]
pub(crate) enum Handle {
    Sender(#[expect(dead_code, reason = "held for its lease")] Sender<u64>),
    Receiver(#[expect(dead_code, reason = "held for its lease")] Receiver<u64>),
}

impl End {
    pub(crate) const ALL: [Self; 2] = [Self::Sender, Self::Receiver];

    pub(crate) fn state(self, channel: &Channel<u64>) -> PeerState {
        match self {
            Self::Sender => channel.sender_state(),
            Self::Receiver => channel.receiver_state(),
        }
    }

    pub(crate) fn take(self, channel: &Channel<u64>) -> Result<Handle, Error> {
        match self {
            Self::Sender => channel.sender().map(Handle::Sender),
            Self::Receiver => channel.receiver().map(Handle::Receiver),
        }
    }
}

pub(crate) const CAPACITY: u64 = 20;
/// What predecessors sent and received before they were killed.
pub(crate) const SENT: u64 = 3;
pub(crate) const TAKEN: u64 = 1;

/// A region with an unfinished stream in it, whose two ends have crashed.
pub(crate) fn bereaved(world: &World<u64>) {
    let crash = |body: &dyn Fn()| world.child(body).succeed("a predecessor").expect("it ends as it is told");
    crash(&|| {
        let tx = world.open().sender().expect("the role is free");
        (0..SENT).for_each(|number| tx.try_send(u64::new(number)).expect("there is room"));
        exit_now(0);
    });
    crash(&|| {
        let rx = world.open().receiver().expect("the role is free");
        (0..TAKEN).for_each(|number| assert_eq!(rx.try_recv(), Ok(u64::new(number))));
        exit_now(0);
    });
}

pub(crate) fn survivor_of(end: End, world: World<u64>, sent: u64, taken: u64) -> Box<dyn Survivor> {
    match end {
        End::Sender => Box::new(AfterSender::new(world, taken, sent, 0)),
        End::Receiver => Box::new(AfterReceiver::new(world, sent, taken, 0)),
    }
}

fn operation(name: String, stage: Stage) -> Operation {
    Operation { name, stage, effects: &[0], whole: 0, sampling: Sampling::Changes }
}

fn drop_of(end: End, backing: Backing, stage: Stage) -> Operation {
    let operation = operation(format!("drop of the {end:?}[{backing:?}]"), stage);
    Operation { sampling: Sampling::Every, ..operation }
}

/// Attaching without a role. What is inherited is not attached to: its creator has mapped it, for its children, too.
fn opening_operations(backing: Backing) -> Option<Operation> {
    (backing != Backing::Anonymous).then(|| operation(format!("open[{backing:?}]"), opening(backing)))
}

/// Attaching and detaching, to be killed in.
pub(crate) fn operations_to_kill(backing: Backing) -> Vec<Operation> {
    let of_end = |end: End| {
        [
            operation(format!("attach the first {end:?}[{backing:?}]"), attaching(backing, end, true)),
            operation(format!("take over as {end:?}[{backing:?}]"), attaching(backing, end, false)),
            drop_of(end, backing, detaching(backing, end)),
        ]
    };
    End::ALL.into_iter().flat_map(of_end).chain(opening_operations(backing)).collect()
}

/// Attaching and detaching, to be stopped in.
pub(crate) fn operations_to_stop(backing: Backing) -> Vec<Operation> {
    let of_end = |end: End| {
        [
            operation(format!("take over as {end:?}[{backing:?}]"), contending(backing, end)),
            drop_of(end, backing, leaving(backing, end)),
        ]
    };
    End::ALL.into_iter().flat_map(of_end).chain(opening_operations(backing)).collect()
}

/// A process that takes an end, as the first ever or from one that crashed.
fn attaching(backing: Backing, end: End, first: bool) -> Stage {
    Box::new(move || {
        let world = World::<u64>::new(backing, CAPACITY);
        let (sent, taken) = if first { (0, 0) } else { (SENT, TAKEN) };
        if !first {
            bereaved(&world);
        }
        let victim = world.victim(|marker| {
            let channel = world.open();
            marker.mark();
            let held = end.take(&channel).expect("the role is free");
            marker.mark();
            drop(held);
        });
        let watched = Some(world.bytes());
        Scene { victim, watched, calls: None, survivor: survivor_of(end, world, sent, taken) }
    })
}

/// A process that drops its end.
fn detaching(backing: Backing, end: End) -> Stage {
    Box::new(move || {
        let world = World::<u64>::new(backing, CAPACITY);
        bereaved(&world);
        let victim = world.victim(|marker| {
            let held = end.take(&world.open()).expect("the role is free");
            marker.mark();
            drop(held);
            marker.mark();
        });
        let watched = Some(world.bytes());
        Scene { victim, watched, calls: None, survivor: survivor_of(end, world, SENT, TAKEN) }
    })
}

/// A process that attaches to the region without a role.
fn opening(backing: Backing) -> Stage {
    Box::new(move || {
        let world = World::<u64>::new(backing, CAPACITY);
        let victim = world.victim(|marker| {
            marker.mark();
            let channel = world.open();
            marker.mark();
            drop(channel);
        });
        let watched = Some(world.bytes());
        Scene { victim, watched, calls: None, survivor: Box::new(Bystander { world }) }
    })
}

/// Both ends at once, beside somebody who has no role.
#[derive(Debug)]
struct Bystander {
    world: World<u64>,
}

impl Survivor for Bystander {
    fn beside_stopped(&mut self, _: u32) -> Verdict {
        channel_usable(self.world.channel(), 0)
    }

    fn after(self: Box<Self>, _: u32) -> Verdict<u64> {
        channel_usable(&self.world.open(), 0).map(|()| 0)
    }
}

/// What the name leads to when the operation has had no effect, part of it, or all of it. Each stage is whole.
#[derive(Debug)]
struct Name {
    name: String,
    stages: &'static [Content],
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Nothing,
    /// The region with the messages that predecessors left in it.
    Leftover,
    /// A new region.
    Fresh,
    /// A region that somebody is about to remove, which nobody can attach to any more.
    Doomed,
}

/// A capacity that tells the new region from the old.
const FRESH_CAPACITY: usize = 33;

fn fresh_options() -> Options {
    options().capacity(FRESH_CAPACITY)
}

impl Name {
    fn content(&self) -> Verdict<(Content, Option<Channel<u64>>)> {
        match Channel::<u64>::attach(&self.name, &options()) {
            Err(Error::NotFound { .. }) => Ok((Content::Nothing, None)),
            Err(Error::Removed { .. }) => Ok((Content::Doomed, None)),
            Ok(channel) if channel.capacity() == FRESH_CAPACITY => Ok((Content::Fresh, Some(channel))),
            Ok(channel) => Ok((Content::Leftover, Some(channel))),
            Err(error) => Err(format!("half a region under the name: {error}")),
        }
    }

    /// The leftover region continues where its peers stopped; a new one begins.
    fn check(content: Content, channel: &Channel<u64>) -> Verdict {
        let mut numbers = Numbers::from(if content == Content::Leftover { TAKEN } else { 0 });
        let tx = channel.sender().map_err(|error| error.to_string())?;
        let rx = channel.receiver().map_err(|error| error.to_string())?;
        for message in rx.try_iter() {
            numbers.accept(&message)?;
        }
        let expected = if content == Content::Leftover { SENT } else { 0 };
        require!(numbers.next() == expected, "{content:?} with messages up to {}", numbers.next());
        usable(&tx, &rx, expected, channel.capacity() as u64)
    }
}

impl Survivor for Name {
    fn beside_stopped(&mut self, _: u32) -> Verdict {
        match self.content()? {
            (content, Some(channel)) => Self::check(content, &channel),
            (_, None) => Ok(()),
        }
    }

    fn after(self: Box<Self>, _: u32) -> Verdict<u64> {
        let (content, channel) = self.content()?;
        let effect = self.stages.iter().position(|stage| *stage == content);
        let effect = effect.ok_or_else(|| format!("the name leads to {content:?}"))?;
        if let Some(channel) = channel {
            Self::check(content, &channel)?;
        }
        let others = names(&own_prefix());
        require!(others.iter().all(|name| *name == self.name), "left behind: {others:?}");

        // Whatever there is, it is replaced or removed as if nobody had died.
        let channel = Channel::<u64>::open_or_create(&self.name, &fresh_options().replace_dead(true));
        let channel = channel.map_err(|error| format!("replacing {content:?}: {error}"))?;
        Self::check(Content::Fresh, &channel)?;
        ringway::unlink(&self.name).map_err(|error| error.to_string())?;
        match self.content()? {
            (Content::Nothing, _) => Ok(effect as u64),
            (content, _) => Err(format!("removed, and yet {content:?}")),
        }
    }
}

fn naming(stages: &'static [Content], operation: fn(&str)) -> Stage {
    Box::new(move || {
        let name = fresh_name();
        if stages[0] == Content::Leftover {
            let options = options().capacity(CAPACITY as usize).persist(true);
            let world = World::<u64>::named(&name, &options);
            bereaved(&world);
        }
        let victim = Victim::start(|marker| {
            marker.mark();
            operation(&name);
            marker.mark();
        });
        Scene { victim, watched: None, calls: None, survivor: Box::new(Name { name, stages }) }
    })
}

/// All that concern a name.
pub(crate) fn naming_operations() -> Vec<Operation> {
    use Content::{Fresh, Leftover, Nothing};
    let operation = |name: &str, stage, effects: &'static [u64]| Operation {
        name: name.into(),
        stage,
        effects,
        whole: effects.len() as u64 - 1,
        sampling: Sampling::Changes,
    };
    let create = |name: &str| {
        Channel::<u64>::create(name, &fresh_options().persist(true)).expect("the name is free");
    };
    let create_if_absent = |name: &str| {
        Channel::<u64>::open_or_create(name, &fresh_options().persist(true)).expect("the name is free");
    };
    let replace = |name: &str| {
        let options = fresh_options().persist(true).replace_dead(true);
        Channel::<u64>::open_or_create(name, &options).expect("nobody has it open");
    };
    let unlink = |name: &str| ringway::unlink(name).expect("the name is there");
    vec![
        operation("create", naming(&[Nothing, Fresh], create), &[0, 1]),
        operation("open_or_create", naming(&[Nothing, Fresh], create_if_absent), &[0, 1]),
        operation("open_or_create, replace_dead", naming(&[Leftover, Nothing, Fresh], replace), &[0, 1, 2]),
        operation("unlink", naming(&[Leftover, Nothing], unlink), &[0, 1]),
        operation("drop of the creator", closing(), &[0, 1]),
    ]
}

/// The creator, which drops its last value and so removes the name.
fn closing() -> Stage {
    Box::new(move || {
        let name = fresh_name();
        let victim = Victim::start(|marker| {
            let channel = Channel::<u64>::create(&name, &fresh_options()).expect("the name is free");
            marker.mark();
            drop(channel);
            marker.mark();
        });
        let stages = &[Content::Fresh, Content::Nothing];
        Scene { victim, watched: None, calls: None, survivor: Box::new(Name { name, stages }) }
    })
}

/// A process that takes an end, and another that wants the same one while the first is stopped on its way.
fn contending(backing: Backing, end: End) -> Stage {
    Box::new(move || {
        let world = World::<u64>::new(backing, CAPACITY);
        bereaved(&world);
        let victim = world.victim(|marker| {
            let channel = world.open();
            marker.mark();
            let outcome = end.take(&channel);
            marker.mark();
            world.board.set(0, if outcome.is_ok() { TOOK } else { REFUSED });
            assert!(matches!(outcome, Ok(_) | Err(Error::RoleTaken { .. })), "{outcome:?}");
        });
        let watched = Some(world.bytes());
        Scene { victim, watched, calls: None, survivor: Box::new(Rival { world, end, handle: None }) }
    })
}

const TOOK: u64 = 1;
const REFUSED: u64 = 2;

/// Somebody who wants the same end.
#[derive(Debug)]
struct Rival {
    world: World<u64>,
    end: End,
    handle: Option<Handle>,
}

impl Survivor for Rival {
    fn beside_stopped(&mut self, _: u32) -> Verdict {
        match self.end.take(&self.world.open()) {
            Ok(handle) => self.handle = Some(handle),
            Err(Error::RoleTaken { holder, .. }) if holder.is_alive() => {}
            Err(error) => return Err(format!("contending for an end: {error}")),
        }
        Ok(())
    }

    fn after(self: Box<Self>, _: u32) -> Verdict<u64> {
        let victim_took = self.world.board.get(0) == TOOK;
        require!(victim_took != self.handle.is_some(), "the end has two holders, or none: {:?}", self.handle);
        drop(self.handle);
        Name::check(Content::Leftover, self.world.channel())?;
        Ok(0)
    }
}

/// A receiver beside a sender that is stopped while it drops its handle, and the other way round.
fn leaving(backing: Backing, end: End) -> Stage {
    Box::new(move || {
        let world = World::<u64>::new(backing, CAPACITY);
        bereaved(&world);
        let victim = world.victim(|marker| {
            let held = end.take(&world.open()).expect("the role is free");
            marker.mark();
            drop(held);
            marker.mark();
        });
        let watched = Some(world.bytes());
        Scene { victim, watched, calls: None, survivor: Box::new(Left { world, end }) }
    })
}

/// Who is left by somebody who drops his handle.
#[derive(Debug)]
struct Left {
    world: World<u64>,
    end: End,
}

impl Survivor for Left {
    fn beside_stopped(&mut self, pid: u32) -> Verdict {
        match self.end.take(&self.world.open()) {
            // Given back already, all that remains is not of the channel.
            Ok(_) => Ok(()),
            Err(Error::RoleTaken { holder, .. }) if holder == PeerState::Stopped { pid } => Ok(()),
            Err(error) => Err(format!("beside one who leaves: {error}")),
        }
    }

    fn after(self: Box<Self>, _: u32) -> Verdict<u64> {
        require!(
            self.end.state(self.world.channel()) == PeerState::Closed,
            "it left, and yet {}",
            self.end.state(self.world.channel())
        );
        if self.end == End::Sender {
            let rx = self.world.receiver();
            let rest: Vec<_> = rx.try_iter().collect();
            require!(rest.len() as u64 == SENT - TAKEN, "{} messages are left", rest.len());
            require!(rx.recv() == Err(RecvError::Disconnected), "closed, but not disconnected");
            drop(rx);
            return channel_usable(self.world.channel(), SENT).map(|()| 0);
        }
        Name::check(Content::Leftover, self.world.channel()).map(|()| 0)
    }
}
