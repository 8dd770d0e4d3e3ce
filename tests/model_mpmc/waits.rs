//! Many sleepers at one event word: a SLEEPING bit and an epoch (`src/wait.rs` has the proof for one sleeper).
//!
//! The ring is a counter here: messages that are in memory and not yet taken. A slice ends only once somebody was
//! killed, so that whatever holds without deaths holds without slices, and `slices: false` shows what needs them.

use zerocopy::{Immutable, IntoBytes};

use crate::explore::{Kind, Model, Steps, Violation};

const WAITERS: usize = 3;
const WAKERS: usize = 2;
const SLEEPING: u8 = 1;
/// Marks a copy of the event word that somebody read in an earlier epoch, and that therefore never matches again. This
/// is all that the epoch is good for, so the word itself needs none here, and the search stays finite.
const STALE: u8 = 2;

/// Whom a waker wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wakes {
    /// Everybody, and clears the bit.
    All,
    /// One, and keeps the bit, unless nobody slept. Announcements move the epoch, too. (`wait::wake_some`)
    OneKept,
    /// One, and clears the bit. The woken one announces the others again, by the bit and its own membarrier, and wakes
    /// the next if it leaves messages.
    OnePassedOn,
    /// One, and clears the bit, and that is all.
    One,
}

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) wakes: Wakes,
    pub(crate) wakers: usize,
    pub(crate) waiters: usize,
    /// Messages of each waker.
    pub(crate) messages: u8,
    /// What each waiter takes before it goes and does something else for ever.
    pub(crate) receives: u8,
    pub(crate) waker_deaths: u8,
    pub(crate) waiter_deaths: u8,
    /// Whether sleepers look again by themselves after somebody was killed.
    pub(crate) slices: bool,
    /// Whether a publication is a store (mode A) that others may see late; otherwise a locked instruction.
    pub(crate) buffered: bool,
    /// Whether a waiter issues a membarrier between its announcement and its second look.
    pub(crate) membarrier: bool,
    /// Whether a waiter takes that second look.
    pub(crate) second_look: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
enum WakerAt {
    Publish,
    /// Loads the event word.
    Look,
    /// Next epoch, without the bit.
    Clear,
    /// The system call.
    Wake,
    /// Nobody slept: clears the bit that was kept.
    Unset,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
struct Waker {
    at: WakerAt,
    left: u8,
    /// A copy of the event word; 0 if there is none.
    event: u8,
    /// Stores that others do not see yet.
    buffered: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
enum WaiterAt {
    /// Takes a message, or begins to wait.
    Look,
    /// Wakes the next: clears the bit, then the system call.
    PassLook,
    PassClear,
    PassWake,
    Announce,
    Barrier,
    LookAgain,
    /// Falls asleep if the event word is still what it announced.
    Sleep,
    Asleep,
    /// Was woken alone: sets the bit again.
    Reannounce,
    ReannounceBarrier,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
struct Waiter {
    at: WaiterAt,
    left: u8,
    event: u8,
    /// Whether it wakes the next one when it leaves messages behind.
    passes_on: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct State {
    event: u8,
    /// Messages in memory that nobody has taken.
    available: u8,
    wakers: [Waker; WAKERS],
    waiters: [Waiter; WAITERS],
    waker_deaths: u8,
    waiter_deaths: u8,
}

impl Waits {
    fn waker_step(&self, state: &State, i: usize, next: &mut Steps<State>) {
        let waker = state.wakers[i];
        if waker.buffered > 0 {
            let mut after = *state;
            drain(&mut after, i);
            next.push(("store buffer", after));
        }
        let mut after = *state;
        let own = &mut after.wakers[i];
        match waker.at {
            WakerAt::Publish => {
                own.buffered += 1;
                own.left -= 1;
                own.at = WakerAt::Look;
                if !self.buffered {
                    drain(&mut after, i);
                }
            }
            WakerAt::Look if state.event & SLEEPING != 0 => {
                own.event = state.event;
                own.at = WakerAt::Clear;
            }
            WakerAt::Look => self.after_message(own),
            WakerAt::Clear => {
                own.event = 0;
                own.at = WakerAt::Look;
                if state.event == waker.event {
                    let kept = if self.wakes == Wakes::OneKept { SLEEPING } else { 0 };
                    own.at = WakerAt::Wake;
                    after.next_epoch(kept);
                    after.wakers[i].event = kept;
                }
                drain(&mut after, i);
            }
            WakerAt::Unset => {
                self.after_message(own);
                if state.event == waker.event {
                    after.event = 0;
                }
                drain(&mut after, i);
            }
            WakerAt::Wake => {
                let slept = state.waiters.iter().any(|waiter| waiter.at == WaiterAt::Asleep);
                if self.wakes == Wakes::OneKept && !slept {
                    own.at = WakerAt::Unset;
                } else {
                    self.after_message(own);
                }
                return self.wake(&after, "waker", next);
            }
            WakerAt::Gone => return,
        }
        next.push(("waker", after));
    }

    fn after_message(&self, waker: &mut Waker) {
        waker.event = 0;
        waker.at = if waker.left == 0 { WakerAt::Gone } else { WakerAt::Publish };
    }

    /// The system call; it wakes any one of the sleepers, or all.
    fn wake(&self, state: &State, by: &'static str, next: &mut Steps<State>) {
        let sleepers: Vec<usize> = (0..self.waiters).filter(|i| state.waiters[*i].at == WaiterAt::Asleep).collect();
        if self.wakes == Wakes::All || sleepers.is_empty() {
            let mut after = *state;
            sleepers.iter().for_each(|i| after.waiters[*i].at = WaiterAt::Look);
            next.push((by, after));
            return;
        }
        for i in sleepers {
            let mut after = *state;
            let passes_on = self.wakes == Wakes::OnePassedOn;
            after.waiters[i].at = if passes_on { WaiterAt::Reannounce } else { WaiterAt::Look };
            after.waiters[i].passes_on = passes_on;
            next.push((by, after));
        }
    }

    fn waiter_step(&self, state: &State, i: usize, next: &mut Steps<State>) {
        let waiter = state.waiters[i];
        let mut after = *state;
        let own = &mut after.waiters[i];
        match waiter.at {
            WaiterAt::Look if state.available > 0 => {
                after.available -= 1;
                own.left -= 1;
                own.at = if waiter.passes_on && after.available > 0 { WaiterAt::PassLook } else { done(own) };
            }
            WaiterAt::Look => own.at = WaiterAt::Announce,
            WaiterAt::PassLook if state.event & SLEEPING != 0 => {
                own.event = state.event;
                own.at = WaiterAt::PassClear;
            }
            WaiterAt::PassLook => own.at = done(own),
            WaiterAt::PassClear => {
                own.event = 0;
                own.at = WaiterAt::PassLook;
                if state.event == waiter.event {
                    own.at = WaiterAt::PassWake;
                    after.next_epoch(0);
                }
            }
            WaiterAt::PassWake => {
                own.at = done(own);
                return self.wake(&after, "waiter", next);
            }
            WaiterAt::Announce => {
                own.at = if self.membarrier { WaiterAt::Barrier } else { WaiterAt::LookAgain };
                if self.wakes == Wakes::OneKept {
                    after.next_epoch(SLEEPING);
                }
                after.event |= SLEEPING;
                after.waiters[i].event = SLEEPING;
            }
            WaiterAt::Barrier => {
                own.at = WaiterAt::LookAgain;
                (0..self.wakers).for_each(|waker| drain(&mut after, waker));
            }
            WaiterAt::LookAgain => {
                own.at = if self.second_look && state.available > 0 { WaiterAt::Look } else { WaiterAt::Sleep };
            }
            WaiterAt::Sleep => {
                own.at = if state.event == waiter.event { WaiterAt::Asleep } else { WaiterAt::Look };
                own.event = 0;
            }
            WaiterAt::Reannounce => {
                after.event |= SLEEPING;
                own.at = if self.membarrier { WaiterAt::ReannounceBarrier } else { WaiterAt::Look };
            }
            WaiterAt::ReannounceBarrier => {
                own.at = WaiterAt::Look;
                (0..self.wakers).for_each(|waker| drain(&mut after, waker));
            }
            WaiterAt::Asleep => {
                let died = state.waker_deaths + state.waiter_deaths > 0;
                // Only if it would find something: an endless series of slices is no progress.
                if !(self.slices && died && state.available > 0) {
                    return;
                }
                own.at = WaiterAt::Look;
            }
            WaiterAt::Gone => return,
        }
        next.push(("waiter", after));
    }

    fn deaths(&self, state: &State, next: &mut Steps<State>) {
        if state.waker_deaths < self.waker_deaths {
            for i in (0..self.wakers).filter(|i| state.wakers[*i].at != WakerAt::Gone) {
                let mut after = *state;
                drain(&mut after, i);
                after.wakers[i] = Waker { at: WakerAt::Gone, left: 0, event: 0, buffered: 0 };
                after.waker_deaths += 1;
                next.push(("kill", after));
            }
        }
        if state.waiter_deaths < self.waiter_deaths {
            for i in (0..self.waiters).filter(|i| state.waiters[*i].at != WaiterAt::Gone) {
                let mut after = *state;
                after.waiters[i] = Waiter { at: WaiterAt::Gone, left: 0, event: 0, passes_on: false };
                after.waiter_deaths += 1;
                next.push(("kill", after));
            }
        }
    }
}

/// What a waiter does that has taken its message.
fn done(waiter: &Waiter) -> WaiterAt {
    if waiter.left == 0 { WaiterAt::Gone } else { WaiterAt::Look }
}

/// A waker's stores reach memory.
fn drain(state: &mut State, waker: usize) {
    state.available += std::mem::take(&mut state.wakers[waker].buffered);
}

impl State {
    /// The event word's next value in a new epoch.
    fn next_epoch(&mut self, event: u8) {
        self.event = event;
        let wakers = self.wakers.iter_mut().map(|waker| &mut waker.event);
        let waiters = self.waiters.iter_mut().map(|waiter| &mut waiter.event);
        wakers.chain(waiters).filter(|copy| **copy != 0).for_each(|copy| *copy |= STALE);
    }
}

impl Model for Waits {
    type State = State;

    fn start(&self) -> State {
        let nobody = Waker { at: WakerAt::Gone, left: 0, event: 0, buffered: 0 };
        let absent = Waiter { at: WaiterAt::Gone, left: 0, event: 0, passes_on: false };
        let mut state = State {
            event: 0,
            available: 0,
            wakers: [nobody; WAKERS],
            waiters: [absent; WAITERS],
            waker_deaths: 0,
            waiter_deaths: 0,
        };
        state.wakers[..self.wakers].fill(Waker { at: WakerAt::Publish, left: self.messages, ..nobody });
        state.waiters[..self.waiters].fill(Waiter { at: WaiterAt::Look, left: self.receives, ..absent });
        state
    }

    fn steps(&self, state: &State, next: &mut Steps<State>) -> Result<(), Violation> {
        (0..self.wakers).for_each(|i| self.waker_step(state, i, next));
        (0..self.waiters).for_each(|i| self.waiter_step(state, i, next));
        self.deaths(state, next);
        Ok(())
    }

    /// Nobody sleeps beside a message with nobody left who would wake it.
    fn check(&self, state: &State, _: bool) -> Result<(), Violation> {
        let asleep = state.waiters.iter().filter(|waiter| waiter.at == WaiterAt::Asleep).count();
        let nobody_runs = state.wakers.iter().all(|waker| waker.at == WakerAt::Gone && waker.buffered == 0)
            && state.waiters.iter().all(|waiter| matches!(waiter.at, WaiterAt::Asleep | WaiterAt::Gone));
        let slice = self.slices && state.waker_deaths + state.waiter_deaths > 0;
        let lost = nobody_runs && asleep > 0 && state.available > 0 && !slice;
        Violation::when(lost, Kind::Wedged, || format!("{asleep} sleep beside {} messages", state.available))
    }
}
