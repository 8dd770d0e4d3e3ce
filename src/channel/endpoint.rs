//! One end of a channel: the lease, both event words, and how to wait.

use core::cell::Cell;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Fault, Role};
use crate::layout::PeerRecord;
use crate::memory::Memory;
use crate::peer::PeerState;
use crate::region::{self, Attachment, Region};
use crate::sync::{AtomicU32, Ordering, spin_loop};
use crate::sys::process::ForkMark;
use crate::sys::{clock, process};
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
pub(super) type SenderEnd = Endpoint<true>;
/// The end of a receiver.
pub(super) type ReceiverEnd = Endpoint<false>;

/// One end of a channel.
#[derive(Debug)]
pub(super) struct Endpoint<const SENDER: bool> {
    barrier: Barrier,
    mark: ForkMark,
    wait: Wait,
    /// The clock's tick at the last look at the other side's lease by [`Endpoint::has_died`].
    looked: Cell<i64>,
    /// Whether the other side was told that there is somebody, and so has to be told of the end.
    announced: Cell<bool>,
    attachment: Attachment,
    region: Arc<Region>,
}

impl<const SENDER: bool> Endpoint<SENDER> {
    const ROLE: Role = if SENDER { Role::Sender } else { Role::Receiver };

    /// Takes the role. It is not announced until [`Endpoint::announce`], so that a position that cannot be resumed leaves
    /// no trace.
    pub(super) fn open(region: &Arc<Region>, wait: Wait) -> Result<Self, Error> {
        let attachment = region.open_role(Self::ROLE)?;
        Ok(Self {
            barrier: region.barrier(),
            mark: ForkMark::here()?,
            wait,
            looked: Cell::new(0),
            announced: Cell::new(false),
            attachment,
            region: Arc::clone(region),
        })
    }

    /// Tells the other side that there is somebody at this end.
    pub(super) fn announce(&self) {
        wait::open(self.mine());
        region::write_record(*self.memory(), Self::ROLE);
        self.announced.set(true);
    }

    /// The word in which the other side tells about itself.
    #[inline(always)]
    fn theirs(&self) -> &AtomicU32 {
        self.attachment.memory().event(Self::ROLE.other())
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

    /// The other side's state.
    pub(super) fn peer(&self) -> PeerState {
        self.region.peer_state(Self::ROLE.other())
    }

    /// The check that precedes every access to the region: after a fork the child has no mapping.
    #[inline(always)]
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.mark.is_ours() { Ok(()) } else { Err(Fault::Forked) }
    }

    /// Whether the other side dropped its handle; a plain load of a line that hardly ever changes.
    #[inline(always)]
    pub(super) fn is_closed(&self) -> bool {
        // Relaxed: only senders conclude from it, that nobody will receive; receivers ask `has_died` or `is_gone`.
        self.theirs().load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Wakes the other side if it sleeps; called after everything that it may be waiting for.
    #[inline(always)]
    pub(super) fn published(&self) {
        self.barrier.light();
        wait::wake(self.theirs());
    }

    /// Whether the other side is gone: closed, or attached once and now without a lease.
    ///
    /// The order matters: the lease is taken before the count of attaches grows, so a count that was seen, followed by a
    /// free lease, proves that whoever counted has ended.
    pub(super) fn is_gone(&self) -> bool {
        if wait::is_closed(self.theirs()) {
            return true;
        }
        let other = Self::ROLE.other();
        let attaches = region::record_offset(other) + memoffset::offset_of!(PeerRecord, attaches);
        // Acquire: pairs with the Release in `region::write_record`.
        self.memory().word(attaches).load(Ordering::Acquire) != 0 && !self.region.is_leased(other)
    }

    /// [`Endpoint::is_gone`] for those who poll: a closed handle is seen at once, a lease is asked about at most once a
    /// tick of the coarse clock (1 to 10 ms), because that is a system call.
    pub(super) fn has_died(&self) -> bool {
        // Acquire, unlike `is_closed`: what was sent before the end must be visible to the last look at the ring.
        if wait::is_closed(self.theirs()) {
            return true;
        }
        let tick = clock::coarse();
        self.looked.replace(tick) != tick && self.is_gone()
    }

    /// Repeats `attempt` until it yields something, the deadline passes, or the other side is gone; polls first and then
    /// sleeps, as the strategy says.
    pub(super) fn block_on<R>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Result<R, Ended> {
        if let Some(result) = self.poll(deadline, &mut attempt) {
            return result;
        }
        let result = self.sleep(deadline, &mut attempt);
        wait::retract(self.mine());
        result
    }

    /// The first phase; `None` if it is time to sleep.
    fn poll<R>(&self, deadline: Option<Instant>, attempt: &mut impl FnMut() -> Option<R>) -> Option<Result<R, Ended>> {
        let spin_until = match self.wait {
            Wait::Spin => None,
            Wait::Adaptive if process::has_many_cores() => Some(Instant::now() + SPIN),
            Wait::Adaptive | Wait::Park => return attempt().map(Ok),
        };
        loop {
            for _ in 0..POLLS {
                if let Some(result) = attempt() {
                    return Some(Ok(result));
                }
                spin_loop();
            }
            if self.has_died() {
                return Some(attempt().ok_or(Ended::Gone));
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
    fn sleep<R>(&self, deadline: Option<Instant>, attempt: &mut impl FnMut() -> Option<R>) -> Result<R, Ended> {
        let mut slice = FIRST_SLICE;
        let mut gone = wait::is_closed(self.theirs());
        loop {
            let announced = wait::announce(self.mine(), self.barrier);
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
            if !self.is_closed() {
                wait::sleep(self.mine(), announced, left);
            }
            if let Some(result) = attempt() {
                return Ok(result);
            }
            // Woken by nobody: then, and only then, ask the kernel whether anybody is left to do it.
            let slept_through = !cfg!(loom) && now.elapsed() >= left;
            gone = if slept_through { self.is_gone() } else { wait::is_closed(self.theirs()) };
            if slept_through {
                slice = (slice * 2).min(LAST_SLICE);
            }
        }
    }
}

impl<const SENDER: bool> Drop for Endpoint<SENDER> {
    fn drop(&mut self) {
        // A child inherited neither the role nor the mapping.
        if self.mark.is_ours() && self.announced.get() {
            wait::close(self.mine());
            self.published();
        }
    }
}
