//! The sending end.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use super::endpoint::{Ended, SenderEnd};
use super::flavor::{Flavor, Mpmc, Spsc};
use crate::error::{Error, Fault, SendError, SendSliceError, SendTimeoutError, TrySendError};
use crate::memory::Anchor;
use crate::payload::Payload;
use crate::peer::PeerState;
use crate::region::Region;
use crate::ring::{Peers, Produce, PushError};
use crate::wait::Wait;

/// The sending end of a channel.
///
/// SPSC: one handle at a time, in one process at a time, used by one thread at a time: it can be sent to another thread, but
/// neither shared nor cloned, and the lease keeps every other process away. Methods take `&self` all the same, as in
/// crossbeam-channel. MPMC: as many as you like, cloned or opened anew, shared or not.
///
/// `try_send` is wait-free (MPMC: lock-free); the blocking calls wait for a receiver to make room, and wake when it does.
/// When the last receiver drops its handle, sending fails at once; when it crashes, it fails as soon as the ring is full
/// (until then messages are kept for a receiver that takes over).
///
/// # Examples
/// ```
/// use ringway::{TrySendError, spsc};
///
/// let (tx, rx) = spsc::channel::<u64>(2)?;
/// tx.send(1)?;
/// tx.send(2)?;
/// assert_eq!(tx.try_send(3), Err(TrySendError::Full(3)));
/// drop(rx);
/// assert_eq!(tx.try_send(3), Err(TrySendError::Disconnected(3)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sender<T, F: Flavor> {
    // Padded: two handles of one process must not share a line, their positions change with every message.
    ring: CachePadded<F::Producer<T>>,
    endpoint: F::Hold<SenderEnd<F>>,
}

/// Why a message was not sent; the public errors add the message.
enum Cause {
    Full,
    Disconnected,
    Fault(Fault),
}

impl<T: Payload, F: Flavor> Sender<T, F> {
    pub(super) fn open(region: &Arc<Region>, wait: Wait) -> Result<Self, Error> {
        let endpoint = SenderEnd::open(region, wait)?;
        let anchor = Anchor::new(*endpoint.memory())?;
        // SAFETY: the mapping lives in `endpoint`, hence in `Self`; the geometry was computed for the size of T when the
        // header was checked against T, which has no padding because it is `IntoBytes`; the endpoint holds the lease.
        #[allow(unsafe_code)]
        let ring = unsafe { F::Producer::<T>::resume(anchor, region.geometry(), &endpoint) };
        let ring = ring.map_err(|fault| damaged(region, fault))?;
        endpoint.announce();
        Ok(Self { ring: CachePadded::new(ring), endpoint: endpoint.into() })
    }

    /// Sends a message if there is room. Wait-free (MPMC: lock-free, and among many messages it may pause for some
    /// microseconds, so that room gathers). A system call only to wake a sleeper, and once a clock tick on a full ring.
    ///
    /// # Errors
    /// [`TrySendError::Full`] if `capacity` messages were in the channel (MPMC: perhaps fewer, as long as messages are under
    /// guard or behind some that were, or a stalled peer keeps a slot); [`TrySendError::Disconnected`] if the receiver has
    /// closed, or if the channel is full and the receiver has crashed.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// tx.try_send(1)?;
    /// tx.try_send(2)?;
    /// let refused = tx.try_send(3).unwrap_err();
    /// assert!(refused.is_full());
    /// assert_eq!(rx.recv(), Ok(1)); // and now there is room
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.push(&message).map_err(|error| self.not_sent(message, error))
    }

    /// What `try_send` says when something was in its way.
    #[cold]
    fn not_sent(&self, message: T, error: PushError) -> TrySendError<T> {
        match self.cause(error) {
            Cause::Full => TrySendError::Full(message),
            Cause::Disconnected => TrySendError::Disconnected(message),
            Cause::Fault(fault) => TrySendError::Fault(message, fault),
        }
    }

    /// Sends a message, waiting for room as long as it takes. A receiver that never attached counts as yet to come.
    ///
    /// # Errors
    /// [`SendError::Disconnected`] if the receiver has closed, or crashed while the channel is full.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// let sender = std::thread::spawn(move || (0..100).try_for_each(|number| tx.send(number)));
    /// assert_eq!(rx.iter().sum::<u64>(), 4950); // ends with its sender
    /// sender.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        match self.push(&message) {
            Ok(()) => Ok(()),
            Err(error) => self.wait_and_send(message, error),
        }
    }

    // Not cold: a sender that is faster than its receiver lives here.
    #[inline(never)]
    fn wait_and_send(&self, message: T, error: PushError) -> Result<(), SendError<T>> {
        self.wait_if_full(&message, error, None).map_err(|cause| match cause {
            Cause::Full | Cause::Disconnected => SendError::Disconnected(message),
            Cause::Fault(fault) => SendError::Fault(message, fault),
        })
    }

    /// Sends a message, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`] if the channel was full all that time; else as [`Sender::send`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, _rx) = ringway::spsc::channel::<u64>(1)?;
    /// tx.send(1)?;
    /// assert!(tx.send_timeout(2, Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_before(message, Instant::now().checked_add(timeout))
    }

    /// Sends a message, waiting for room until `deadline`; one that has passed allows a single try.
    ///
    /// # Errors
    /// As [`Sender::send_timeout`].
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, _rx) = ringway::spsc::channel::<u64>(1)?;
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// tx.send_deadline(1, deadline)?;
    /// assert!(tx.send_deadline(2, deadline).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_before(message, Some(deadline))
    }

    /// Without a deadline (which is one too far to be computed), for ever.
    fn send_before(&self, message: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        let sent = self.push(&message).or_else(|error| self.wait_if_full(&message, error, deadline));
        sent.map_err(|cause| match cause {
            Cause::Full => SendTimeoutError::Timeout(message),
            Cause::Disconnected => SendTimeoutError::Disconnected(message),
            Cause::Fault(fault) => SendTimeoutError::Fault(message, fault),
        })
    }

    /// Everything that belongs to sending one message to a receiver that is there.
    #[inline(always)]
    fn push(&self, message: &T) -> Result<(), PushError> {
        self.ring.push(message, &*self.endpoint)
    }

    /// Nothing that receivers hold becomes room without their doing, so there is nothing to wait for.
    fn recover(&self) -> bool {
        self.ring.recover(&*self.endpoint);
        true
    }

    #[cold]
    fn cause(&self, error: PushError) -> Cause {
        match error {
            PushError::Full if self.endpoint.has_died() => Cause::Disconnected,
            PushError::Full => Cause::Full,
            PushError::Closed => Cause::Disconnected,
            PushError::Fault(fault) => Cause::Fault(fault),
        }
    }

    /// What follows a first attempt that failed. [`Cause::Full`] means that the deadline passed.
    fn wait_if_full(&self, message: &T, error: PushError, deadline: Option<Instant>) -> Result<(), Cause> {
        match self.cause(error) {
            Cause::Full => self.wait_for_room(deadline, || self.push(message)),
            cause => Err(cause),
        }
    }

    #[inline(never)]
    fn wait_for_room<R>(&self, deadline: Option<Instant>, push: impl Fn() -> Result<R, PushError>) -> Result<R, Cause> {
        let attempt = || match push() {
            Ok(sent) => Some(Ok(sent)),
            Err(PushError::Full) => None,
            Err(PushError::Closed) => Some(Err(Cause::Disconnected)),
            Err(PushError::Fault(fault)) => Some(Err(Cause::Fault(fault))),
        };
        self.endpoint.block_on(deadline, attempt, || self.recover()).map_err(|ended| match ended {
            Ended::Timeout => Cause::Full,
            Ended::Gone => Cause::Disconnected,
        })?
    }

    /// Sends as many messages from the front of the slice as there is room for, and says how many; `Ok(0)` for an empty
    /// slice only.
    ///
    /// Cheaper than one at a time, because the receiver is told once a cache line and woken at most once. Nothing about
    /// a batch is atomic: a receiver may see its front before its end is sent, and a crash may lose its end.
    ///
    /// # Errors
    /// As [`Sender::try_send`]; then nothing was sent.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// assert_eq!(tx.try_send_slice(&[1, 2, 3, 4, 5]), Ok(4));
    /// assert!(tx.try_send_slice(&[5]).unwrap_err().is_full());
    /// assert_eq!(rx.len(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_send_slice(&self, messages: &[T]) -> Result<usize, TrySendError<()>>
    where
        T: Copy,
    {
        self.attempt_slice(messages).map_err(|cause| match cause {
            Cause::Full => TrySendError::Full(()),
            Cause::Disconnected => TrySendError::Disconnected(()),
            Cause::Fault(fault) => TrySendError::Fault((), fault),
        })
    }

    fn attempt_slice(&self, messages: &[T]) -> Result<usize, Cause> {
        self.ring.push_slice(messages, &*self.endpoint).map_err(|error| self.cause(error))
    }

    /// Sends all messages of the slice in order, waiting for room as long as it takes.
    ///
    /// # Errors
    /// As [`Sender::send`], with the number of messages that were sent before.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// let sender = std::thread::spawn(move || tx.send_slice(&[7; 1000]));
    /// assert_eq!(rx.iter().count(), 1000);
    /// sender.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_slice(&self, messages: &[T]) -> Result<(), SendSliceError>
    where
        T: Copy,
    {
        let mut sent = 0;
        while sent < messages.len() {
            let rest = &messages[sent..];
            sent += match self.attempt_slice(rest) {
                Err(Cause::Full) => self.wait_for_room(None, || self.ring.push_slice(rest, &*self.endpoint)),
                result => result,
            }
            .map_err(|cause| match cause {
                Cause::Full | Cause::Disconnected => SendSliceError { sent, cause: SendError::Disconnected(()) },
                Cause::Fault(fault) => SendSliceError { sent, cause: SendError::Fault((), fault) },
            })?;
        }
        Ok(())
    }

    /// Waits until the receiver has taken everything that was sent, for at most `timeout` if there is one.
    ///
    /// "Taken" means that the receiver's call returned or is about to; what it did with the messages, only it can say.
    /// MPMC: a message under guard is taken when it is acknowledged.
    ///
    /// # Errors
    /// [`SendTimeoutError::Disconnected`] if the receiver ended before that; [`SendTimeoutError::Timeout`].
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// let receiver = std::thread::spawn(move || rx.recv());
    /// tx.send(7)?;
    /// tx.wait_drained(None)?;
    /// assert_eq!(receiver.join().unwrap(), Ok(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_drained(&self, timeout: Option<Duration>) -> Result<(), SendTimeoutError<()>> {
        self.endpoint.check().map_err(|fault| SendTimeoutError::Fault((), fault))?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let drained = || match self.ring.is_drained() {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(fault) => Some(Err(SendTimeoutError::Fault((), fault))),
        };
        self.endpoint.block_on(deadline, drained, || self.recover()).map_err(|ended| match ended {
            Ended::Timeout => SendTimeoutError::Timeout(()),
            Ended::Gone => SendTimeoutError::Disconnected(()),
        })?
    }
}

impl<T, F: Flavor> Sender<T, F> {
    /// Messages in the channel; a receiver may take some meanwhile. MPMC: an estimate, see [`Receiver::len`](super::Receiver::len).
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// tx.send_slice(&[1, 2, 3])?;
    /// assert_eq!(tx.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        match self.endpoint.check() {
            // What cannot be right counts as full.
            Ok(()) => self.ring.len().map_or(self.capacity(), |len| len as usize),
            Err(_) => 0,
        }
    }

    /// Whether no message is in the channel; once true, it stays so until the next send.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// assert!(tx.is_empty());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        // What cannot be right counts as full.
        self.endpoint.check().is_err() || self.ring.is_empty().unwrap_or(false)
    }

    /// Whether there is no room; a receiver may make some meanwhile.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// assert_eq!(tx.try_send_slice(&[0; 9]), Ok(4));
    /// assert!(tx.is_full());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn is_full(&self) -> bool {
        // What cannot be right counts as full.
        self.endpoint.check().is_ok() && self.ring.is_full().unwrap_or(true)
    }

    /// Messages that fit: what the creator asked for; MPMC: the next power of two, from 2. With
    /// [`Options::pack_batches`](crate::Options::pack_batches), more than that fit if they come in batches.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// assert_eq!(tx.capacity(), 4);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn capacity(&self) -> usize {
        self.endpoint.region().geometry().capacity as usize
    }

    /// The channel's name, unless it is anonymous.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// assert_eq!(tx.name(), None);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.endpoint.region().name()
    }
}

impl<T> Sender<T, Spsc> {
    /// The state of the receiving end, asked from the kernel now.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// assert!(tx.peer().is_alive());
    /// drop(rx);
    /// assert!(tx.peer().is_gone());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn peer(&self) -> PeerState {
        self.endpoint.peer()
    }
}

impl<T> Sender<T, Mpmc> {
    /// The states of the receiving peers, asked from the kernel now; see [`Channel::receivers`](super::Channel::receivers).
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::mpmc::channel::<u64>(4)?;
    /// assert_eq!(tx.peers().len(), 1);
    /// drop(rx);
    /// assert!(tx.peers().is_empty());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn peers(&self) -> Vec<PeerState> {
        self.endpoint.peers()
    }
}

impl<T> Clone for Sender<T, Mpmc> {
    /// Another handle of the same peer, for another thread; cheap, and it never fails.
    fn clone(&self) -> Self {
        Self { ring: self.ring.clone(), endpoint: Arc::clone(&self.endpoint) }
    }
}

impl<T, F: Flavor> fmt::Debug for Sender<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("name", &self.name()).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The error of an attach that found positions which contradict each other.
pub(super) fn damaged(region: &Region, fault: Fault) -> Error {
    let name = region.name().unwrap_or("(anonymous)").into();
    match fault {
        Fault::Corrupt { what, expected, found } => Error::Damaged { name, field: what, expected, found },
        _ => Error::Damaged { name, field: "a position", expected: 0, found: 0 },
    }
}
