//! Receiving at least once: a message stays in the channel until it is acknowledged.

use core::fmt;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::time::Duration;
use std::time::Instant;

use super::endpoint::Ended;
use super::flavor::Mpmc;
use super::receiver::{Receiver, invalid};
use crate::error::{Fault, RecvError, RecvTimeoutError, TryRecvError};
use crate::payload::{self, Payload};
use crate::ring::mpmc::Taken;
use crate::ring::{Peers, PopError};

/// A received message that is still in the channel: [`Guard::ack`] takes it out, anything else puts it back.
///
/// Dropping the guard is [`Guard::nack`], so a panic delivers the message again. If the process dies, somebody else gets
/// the message as soon as the kernel has proved the death and a receiver looks (at once if it is busy, within 100 ms if it
/// sleeps). A redelivered message comes at the end of the line, and may come to the receiver that refused it.
///
/// There are none in a channel of [`Options::pack_batches`](crate::Options::pack_batches): each of these calls fails with
/// [`Fault::Packed`].
///
/// Each guard keeps one of the channel's slots. At the end of the stream, a receiver waits for what *other* handles have
/// under guard, its clones among them, because it may come back; so acknowledge before you wait for more.
///
/// # Examples
/// ```
/// use ringway::mpmc;
///
/// let (tx, rx) = mpmc::channel::<u64>(8)?;
/// tx.send(7)?;
/// let first = rx.recv_guard()?;
/// assert_eq!((*first, first.redeliveries()), (7, 0));
/// first.nack()?;
/// let second = rx.recv_guard()?;
/// assert_eq!((*second, second.redeliveries()), (7, 1));
/// assert_eq!(second.ack()?, 7);
/// assert!(rx.try_recv().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Guard<'a, T: Payload> {
    held: Held<'a, T>,
    redeliveries: u32,
    message: T,
}

/// The slot of a message under guard.
struct Held<'a, T: Payload> {
    receiver: &'a Receiver<T, Mpmc>,
    /// `None` once it was acknowledged or refused.
    taken: Option<Taken>,
}

impl<T: Payload> Guard<'_, T> {
    /// Times that this message was delivered before, to whomever: refused, or left behind by a crash. Counts to 65535.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::mpmc::channel::<u64>(2)?;
    /// tx.send(7)?;
    /// for count in 0..3 {
    ///     assert_eq!(rx.recv_guard()?.redeliveries(), count); // and dropped: it comes again
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redeliveries(&self) -> u32 {
        self.redeliveries
    }

    /// Takes the message out of the channel: it is done with, and nobody gets it again.
    ///
    /// # Errors
    /// [`Fault::Forked`] in a child of the process that received it; [`Fault::Corrupt`] if a peer has overwritten the
    /// slot.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::mpmc::channel::<u64>(2)?;
    /// tx.send(7)?;
    /// assert_eq!(rx.recv_guard()?.ack(), Ok(7));
    /// assert!(rx.try_recv_guard().unwrap_err().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ack(mut self) -> Result<T, Fault> {
        self.held.end(true)?;
        Ok(self.message)
    }

    /// Puts the message back, to be delivered again.
    ///
    /// # Errors
    /// As [`Guard::ack`].
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::mpmc::channel::<u64>(2)?;
    /// tx.send(7)?;
    /// rx.recv_guard()?.nack()?;
    /// assert_eq!(rx.recv(), Ok(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn nack(mut self) -> Result<(), Fault> {
        self.held.end(false)
    }
}

impl<T: Payload> Held<'_, T> {
    fn end(&mut self, acknowledged: bool) -> Result<(), Fault> {
        let Some(taken) = self.taken.take() else { return Ok(()) };
        self.receiver.endpoint.check()?;
        self.receiver.end_guard(&taken, acknowledged)
    }
}

impl<T: Payload> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // Nobody is left to tell; if the slot is not to be had, the message is not ours any more.
        let _ = self.end(false);
    }
}

impl<T: Payload> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.message
    }
}

impl<T: Payload + fmt::Debug> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("message", &self.message).field("redeliveries", &self.redeliveries).finish()
    }
}

impl<T: Payload> Receiver<T, Mpmc> {
    /// Receives a message under a guard if there is one: at least once, see [`Guard`]. It may look and pause as long as
    /// [`Receiver::try_recv`].
    ///
    /// # Errors
    /// As [`Receiver::try_recv`]. A message whose bytes are no `T` is dropped. [`Fault::Packed`], see [`Guard`].
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::mpmc::channel::<u64>(2)?;
    /// assert!(rx.try_recv_guard().unwrap_err().is_empty());
    /// tx.send(7)?;
    /// assert_eq!(rx.try_recv_guard()?.ack(), Ok(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_guard(&self) -> Result<Guard<'_, T>, TryRecvError> {
        match self.take_guarded()? {
            Some(guard) => Ok(guard),
            None if self.has_ended() => self.take_guarded()?.ok_or(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Receives a message under a guard, waiting as long as it takes.
    ///
    /// # Errors
    /// As [`Receiver::recv`]; [`Fault::Packed`], see [`Guard`].
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::mpmc::channel::<u64>(2)?;
    /// tx.send(7)?;
    /// drop(rx.recv_guard()?); // not acknowledged: it comes again
    /// let guard = rx.recv_guard()?;
    /// assert_eq!((*guard, guard.redeliveries()), (7, 1));
    /// guard.ack()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_guard(&self) -> Result<Guard<'_, T>, RecvError> {
        self.take_guarded_until(None).map_err(|error| match error {
            RecvTimeoutError::Fault(fault) => RecvError::Fault(fault),
            RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout => RecvError::Disconnected,
        })
    }

    /// Receives a message under a guard, waiting for at most `timeout`.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`]; [`Fault::Packed`], see [`Guard`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let (_tx, rx) = ringway::mpmc::channel::<u64>(2)?;
    /// assert!(rx.recv_guard_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn recv_guard_timeout(&self, timeout: Duration) -> Result<Guard<'_, T>, RecvTimeoutError> {
        self.take_guarded_until(Instant::now().checked_add(timeout))
    }

    /// Receives a message under a guard, waiting until `deadline`; one that has passed allows a single try.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`]; [`Fault::Packed`], see [`Guard`].
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, rx) = ringway::mpmc::channel::<u64>(2)?;
    /// tx.send(7)?;
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// rx.recv_guard_deadline(deadline)?.ack()?;
    /// assert!(rx.recv_guard_deadline(deadline).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_guard_deadline(&self, deadline: Instant) -> Result<Guard<'_, T>, RecvTimeoutError> {
        self.take_guarded_until(Some(deadline))
    }

    fn take_guarded_until(&self, deadline: Option<Instant>) -> Result<Guard<'_, T>, RecvTimeoutError> {
        match self.endpoint.block_on(deadline, || self.take_guarded().transpose(), || self.recover()) {
            Ok(guard) => Ok(guard?),
            Err(Ended::Timeout) => Err(RecvTimeoutError::Timeout),
            Err(Ended::Gone) => Err(RecvTimeoutError::Disconnected),
        }
    }

    fn take_guarded(&self) -> Result<Option<Guard<'_, T>>, Fault> {
        let mut raw = MaybeUninit::uninit();
        let taken = match self.ring.take_guarded(&mut raw, &*self.endpoint) {
            Ok(taken) => taken,
            Err(PopError::Empty) => return Ok(None),
            Err(PopError::Fault(fault)) => return Err(fault),
        };
        // SAFETY: `take_guarded` has initialized every byte.
        #[allow(unsafe_code)]
        let message = unsafe { payload::validate(raw) };
        match message {
            Ok(message) => {
                let redeliveries = taken.redeliveries;
                let held = Held { receiver: self, taken: Some(taken) };
                Ok(Some(Guard { held, redeliveries, message }))
            }
            Err(_) => {
                // Delivered again, it would be no better.
                self.end_guard(&taken, true)?;
                Err(invalid::<T>())
            }
        }
    }

    fn end_guard(&self, taken: &Taken, acknowledged: bool) -> Result<(), Fault> {
        self.ring.end_guard(taken, acknowledged, &*self.endpoint)
    }
}
