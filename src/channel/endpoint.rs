//! One end of a channel: the lease, both event words, and how to wait.

use core::marker::PhantomData;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use super::flavor::Parts;
use crate::error::{Error, Fault, Role};
use crate::layout::{Flavor, PeerRecord};
use crate::memory::Memory;
use crate::peer::PeerState;
use crate::region::{self, Attachment, Region};
use crate::ring::Peers;
use crate::sync::{AtomicU32, Ordering, PlainAtomicU64, spin_loop};
use crate::sys::process::ForkMark;
use crate::sys::{clock, membarrier, process};
use crate::wait::{self, Barrier, CLOSED, Wait};

/// Polls between two looks at the clock: some hundred nanoseconds.
const POLLS: u32 = if cfg!(loom) { 1 } else { 64 };
/// How long [`Wait::Adaptive`] polls: about what a wake-up costs both sides together.
const SPIN: Duration = Duration::from_micros(20);
/// A sleeper looks at the other side's lease after this time, and then ever less often ...
const FIRST_SLICE: Duration = Duration::from_millis(1);
/// ... but at least this often.
const LAST_SLICE: Duration = Duration::from_millis(100);

/// Why a wait ended without what it waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The deadline passed.
    Timeout,
    /// The other side is gone, and what it left has been looked at.
    Gone,
}

/// The end of a sender. The role is part of the type, so that the event words lie at constant offsets.
pub(super) type SenderEnd<F> = Endpoint<F, true>;
/// The end of a receiver.
pub(super) type ReceiverEnd<F> = Endpoint<F, false>;

/// One end of a channel.
#[derive(Debug)]
pub(super) struct Endpoint<F, const SENDER: bool> {
    barrier: Barrier,
    stay_open: bool,
    one_way: bool,
    mark: ForkMark,
    wait: Wait,
    /// The clock's tick at the last look at the other side's leases by [`Endpoint::has_died`].
    looked: PlainAtomicU64,
    /// The clock's tick at the last question of [`Peers::has_ticked`].
    asked: PlainAtomicU64,
    /// The clock's tick at the last recovery by somebody who polls.
    recovered: PlainAtomicU64,
    /// 1 once the other side was told that there is somebody, and so has to be told of the end.
    announced: PlainAtomicU64,
    attachment: Attachment,
    region: Arc<Region>,
    flavor: PhantomData<F>,
}

impl<F: Parts, const SENDER: bool> Endpoint<F, SENDER> {
    const ROLE: Role = if SENDER { Role::Sender } else { Role::Receiver };

    /// Takes the role. It is not announced until [`Endpoint::announce`], so that a position that cannot be resumed leaves
    /// no trace.
    pub(super) fn open(region: &Arc<Region>, wait: Wait) -> Result<Self, Error> {
        let attachment = region.open_role(Self::ROLE)?;
        let mode = region.mode();
        Ok(Self {
            barrier: mode.barrier,
            stay_open: mode.stay_open,
            one_way: mode.one_way,
            mark: ForkMark::here()?,
            wait,
            looked: PlainAtomicU64::new(0),
            asked: PlainAtomicU64::new(0),
            recovered: PlainAtomicU64::new(0),
            announced: PlainAtomicU64::new(0),
            attachment,
            region: Arc::clone(region),
            flavor: PhantomData,
        })
    }

    /// Tells the other side that there is somebody at this end.
    pub(super) fn announce(&self) {
        if !F::SHARED {
            wait::open(self.mine());
        }
        let index = self.attachment.index();
        region::write_record(*self.memory(), F::FLAVOR, index);
        if F::SHARED {
            region::enter_roll(*self.memory(), index, Self::ROLE);
        }
        // Relaxed: read by whoever drops this value.
        self.announced.store(1, Ordering::Relaxed);
    }

    /// The word in which this side tells about itself, and on which it sleeps.
    fn mine(&self) -> &AtomicU32 {
        self.attachment.memory().event(Self::ROLE)
    }

    pub(super) fn memory(&self) -> &Memory {
        self.attachment.memory()
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    /// The other side's state, where it is one peer.
    pub(super) fn peer(&self) -> PeerState {
        self.region.peer_state(Self::ROLE.other())
    }

    /// The other side's state, where it may be many.
    pub(super) fn peers(&self) -> Vec<PeerState> {
        self.region.peer_states(Self::ROLE.other())
    }

    /// Whether the other side has dropped its handles; a plain load of a line that hardly ever changes.
    ///
    /// Senders may be content with Relaxed: they only conclude that nobody will receive. To a receiver, what was sent
    /// before the end must be visible.
    #[inline(always)]
    fn is_closed(&self, memory: &Memory, ordering: Ordering) -> bool {
        if F::SHARED {
            let roll = memory.roll(Self::ROLE.other()).load(ordering);
            roll as u32 == 0 && roll != 0 && !self.stay_open
        } else {
            memory.event(Self::ROLE.other()).load(ordering) & CLOSED != 0 && !self.stay_open
        }
    }

    /// Whether the other side is gone: closed, or attached once and now without a lease.
    ///
    /// The order matters: the lease is taken before the count of attaches grows, so a count that was seen, followed by a
    /// free lease, proves that whoever counted has ended.
    pub(super) fn is_gone(&self) -> bool {
        if self.is_closed(self.memory(), Ordering::Acquire) {
            return true;
        }
        let other = Self::ROLE.other();
        // Acquire: pairs with the Release in `region::write_record` and `region::enter_roll`.
        let ever = if F::SHARED {
            self.memory().roll(other).load(Ordering::Acquire) >> 32
        } else {
            let record = Flavor::Spsc.record_offset(other.index());
            self.memory().word(record + memoffset::offset_of!(PeerRecord, attaches)).load(Ordering::Acquire)
        };
        ever != 0 && !self.stay_open && !self.region.is_leased(other)
    }

    /// [`Endpoint::is_gone`] for those who poll: a closed handle is seen at once, a lease is asked about at most once a
    /// tick of the coarse clock (1 to 10 ms), because that is a system call.
    pub(super) fn has_died(&self) -> bool {
        self.is_closed(self.memory(), Ordering::Acquire) || is_first_in_tick(&self.looked) && self.is_gone()
    }

    /// Repeats `attempt` until it yields something, the deadline passes, or the other side is gone; polls first and then
    /// sleeps, as the strategy says.
    ///
    /// `recover` takes back what dead peers left in the ring; it says whether nothing can come of what others still hold.
    pub(super) fn block_on<R>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Option<R>,
        recover: impl Fn() -> bool,
    ) -> Result<R, Ended> {
        if let Some(result) = self.poll(deadline, &mut attempt, &recover) {
            return result;
        }
        let result = self.sleep(deadline, &mut attempt, &recover);
        if !F::SHARED {
            wait::retract(self.mine());
        }
        result
    }

    /// The first phase; `None` if it is time to sleep.
    fn poll<R>(
        &self,
        deadline: Option<Instant>,
        attempt: &mut impl FnMut() -> Option<R>,
        recover: &impl Fn() -> bool,
    ) -> Option<Result<R, Ended>> {
        let spin_until = match self.wait {
            Wait::Spin => None,
            Wait::Adaptive if process::has_many_cores() => Some(Instant::now() + SPIN),
            Wait::Adaptive | Wait::Park => return attempt().map(Ok),
        };
        loop {
            for _ in 0..POLLS {
                spin_loop();
                if let Some(result) = attempt() {
                    return Some(Ok(result));
                }
            }
            if self.has_died() {
                if recover() {
                    return Some(attempt().ok_or(Ended::Gone));
                }
            } else if F::SHARED && is_first_in_tick(&self.recovered) {
                // What a dead peer holds may be what is waited for, and nobody else may come by.
                recover();
            }
            if spin_until.is_none() && deadline.is_none() {
                continue;
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Some(attempt().ok_or(Ended::Timeout));
            }
            if spin_until.is_some_and(|until| until <= now) {
                // Once more, in case the other side needs this core.
                std::thread::yield_now();
                return attempt().map(Ok);
            }
        }
    }

    /// The second phase: `wait`'s protocol, S1 to S4.
    fn sleep<R>(
        &self,
        deadline: Option<Instant>,
        attempt: &mut impl FnMut() -> Option<R>,
        recover: &impl Fn() -> bool,
    ) -> Result<R, Ended> {
        let mut slice = FIRST_SLICE;
        // The other side is gone, but somebody holds a message of which one may still come.
        let mut unsettled = false;
        let mut gone = self.is_closed(self.memory(), Ordering::Acquire) && recover();
        loop {
            let announced = if F::SHARED {
                wait::announce_among(self.mine(), self.barrier)
            } else {
                wait::announce(self.mine(), self.barrier)
            };
            if let Some(result) = attempt() {
                return Ok(result);
            }
            if gone {
                return Err(Ended::Gone);
            }
            let now = Instant::now();
            let left = deadline.map_or(slice, |deadline| deadline.saturating_duration_since(now).min(slice));
            if left.is_zero() {
                return Err(Ended::Timeout);
            }
            if unsettled || !self.is_closed(self.memory(), Ordering::Relaxed) {
                wait::sleep(self.mine(), announced, left);
            }
            if let Some(result) = attempt() {
                return Ok(result);
            }
            // Woken by nobody: then, and only then, ask the kernel whether anybody is left to do it.
            let slept_through = !cfg!(loom) && now.elapsed() >= left;
            let over = if slept_through { self.is_gone() } else { self.is_closed(self.memory(), Ordering::Acquire) };
            let settled = (slept_through || over) && recover();
            (gone, unsettled) = (over && settled, over && !settled);
            if slept_through {
                slice = (slice * 2).min(LAST_SLICE);
            }
        }
    }
}

/// Whether the coarse clock has ticked since the last time this was asked.
fn is_first_in_tick(last: &PlainAtomicU64) -> bool {
    let tick = clock::coarse() as u64;
    // Relaxed: threads that share a handle may both be the first.
    let first = last.load(Ordering::Relaxed) != tick;
    last.store(tick, Ordering::Relaxed);
    first
}

impl<F: Parts, const SENDER: bool> Peers for Endpoint<F, SENDER> {
    #[inline(always)]
    fn check(&self) -> Result<(), Fault> {
        if self.mark.is_ours() { Ok(()) } else { Err(Fault::Forked) }
    }

    /// A plain load of a line that hardly ever changes.
    #[inline(always)]
    fn is_open(&self, memory: &Memory) -> bool {
        !self.is_closed(memory, Ordering::Relaxed)
    }

    fn is_one_way(&self) -> bool {
        self.one_way
    }

    #[inline(always)]
    fn published(&self, memory: &Memory, count: usize) {
        let theirs = memory.event(Self::ROLE.other());
        if F::SHARED {
            // Published by a store in mode A, where the barrier is a light one; else by an exchange.
            self.barrier.light_after_exchange();
            wait::wake_some(theirs, count);
        } else {
            self.barrier.light();
            wait::wake(theirs);
        }
    }

    fn index(&self) -> usize {
        self.attachment.index()
    }

    fn has_barrier(&self) -> bool {
        self.barrier == Barrier::Membarrier
    }

    fn barrier(&self) -> bool {
        membarrier::issue()
    }

    fn is_dead(&self, index: usize) -> bool {
        index != self.attachment.index() && self.region.is_dead(index)
    }

    fn has_ticked(&self) -> bool {
        is_first_in_tick(&self.asked)
    }

    fn made_room(&self) {
        self.barrier.light_after_exchange();
        wait::wake_some(self.memory().event(Role::Sender), 1);
    }

    fn made_messages(&self, count: usize) {
        self.barrier.light_after_exchange();
        wait::wake_some(self.memory().event(Role::Receiver), count);
    }
}

impl<F, const SENDER: bool> Drop for Endpoint<F, SENDER> {
    fn drop(&mut self) {
        // A child inherited neither the role nor the mapping. Relaxed: written by this thread, or before the value moved.
        if !self.mark.is_ours() || self.announced.load(Ordering::Relaxed) == 0 {
            return;
        }
        let memory = *self.attachment.memory();
        let role = if SENDER { Role::Sender } else { Role::Receiver };
        match self.region.geometry().flavor {
            Flavor::Spsc => wait::close(memory.event(role)),
            Flavor::Mpmc => region::strike_off(memory, self.attachment.index()),
        }
        self.barrier.light();
        wait::wake(memory.event(role.other()));
    }
}
