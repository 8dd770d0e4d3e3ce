//! The receiving end.

use core::fmt;
use core::mem::MaybeUninit;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use super::endpoint::{Ended, ReceiverEnd};
use super::flavor::{Flavor, Mpmc, Spsc};
use super::sender::damaged;
use crate::error::{Error, Fault, RecvError, RecvTimeoutError, TryRecvError};
use crate::memory::Anchor;
use crate::payload::{self, Payload};
use crate::peer::PeerState;
use crate::region::Region;
use crate::ring::{Consume, Peers, PopError};
use crate::wait::Wait;

/// The receiving end of a channel.
///
/// SPSC: one handle at a time, in one process at a time, used by one thread at a time, as [`Sender`](super::Sender). MPMC: as
/// many as you like; each message goes to one of them.
///
/// Delivery is at most once: a message counts as received when the call that returns it has copied it, and is lost if
/// the process dies before it has done its work.
///
/// `try_recv` is wait-free (MPMC: lock-free); the blocking calls wait for a sender, and wake when it sends. Once the last
/// sender has dropped its handle or crashed, they return what is left and then fail. A sender that never attached is yet to
/// come.
///
/// # Examples
/// ```
/// use ringway::{TryRecvError, spsc};
///
/// let (tx, rx) = spsc::channel::<u64>(8)?;
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
/// tx.send_slice(&[1, 2, 3])?;
/// drop(tx);
/// assert_eq!(rx.iter().collect::<Vec<_>>(), [1, 2, 3]);
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver<T, F: Flavor> {
    // Padded: two handles of one process must not share a line, their positions change with every message.
    pub(super) ring: CachePadded<F::Consumer<T>>,
    pub(super) endpoint: F::Hold<ReceiverEnd<F>>,
}

impl<T: Payload, F: Flavor> Receiver<T, F> {
    pub(super) fn open(region: &Arc<Region>, wait: Wait) -> Result<Self, Error> {
        let endpoint = ReceiverEnd::open(region, wait)?;
        let anchor = Anchor::new(*endpoint.memory())?;
        // SAFETY: the mapping lives in `endpoint`, hence in `Self`; the geometry was computed for the size of T when the
        // header was checked against T, which has no padding because it is `IntoBytes`; the endpoint holds the lease.
        #[allow(unsafe_code)]
        let ring = unsafe { F::Consumer::<T>::resume(anchor, region.geometry(), &endpoint) };
        let ring = ring.map_err(|fault| damaged(region, fault))?;
        endpoint.announce();
        Ok(Self { ring: CachePadded::new(ring), endpoint: endpoint.into() })
    }

    /// Receives a message if there is one. Wait-free (MPMC: lock-free, see docs/PROTOCOL.md for how long it may look). Among
    /// many messages it may pause for some microseconds, so that more gather, before it says that there is none, or where it
    /// keeps up with the senders. A system call only to wake a sleeper, and once a clock tick on an empty ring.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`TryRecvError::Disconnected`] if in addition the sender has closed or crashed (a crash
    /// may be seen some milliseconds late); [`TryRecvError::Fault`] for a message whose bytes are no `T`.
    ///
    /// # Examples
    /// ```
    /// use ringway::TryRecvError;
    ///
    /// let (tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(1)?;
    /// drop(tx);
    /// assert_eq!(rx.try_recv(), Ok(1)); // what was sent before the end comes first
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.receive(|| self.take_last())
    }

    /// What `try_recv` does when it has found nothing.
    #[cold]
    fn take_last(&self) -> Result<T, TryRecvError> {
        if !self.has_ended() {
            return Err(TryRecvError::Empty);
        }
        self.receive(|| Err(TryRecvError::Disconnected))
    }

    /// Takes back what dead peers left in the ring; whether nothing can come of what other receivers hold.
    pub(super) fn recover(&self) -> bool {
        self.ring.recover(&*self.endpoint)
    }

    /// Whether the senders are gone for good; what they sent before is in the ring by now.
    pub(super) fn has_ended(&self) -> bool {
        self.endpoint.has_died() && self.recover()
    }

    /// A message if there is one, or else what `otherwise` says.
    #[inline(always)]
    fn receive<E: From<Fault>>(&self, otherwise: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        // Its own, which nothing else refers to: so a small message stays in registers.
        let mut place = MaybeUninit::uninit();
        if !self.take(&mut place)? {
            return otherwise();
        }
        // SAFETY: `take` has left a message there, initialized and valid.
        #[allow(unsafe_code)]
        Ok(unsafe { place.assume_init() })
    }

    /// Takes a message to `place` if there is one, and says whether there was; it is a valid one then.
    ///
    /// To a place, because a large message that is returned is copied once more by every caller.
    #[inline(always)]
    fn take(&self, place: &mut MaybeUninit<T>) -> Result<bool, Fault> {
        match self.ring.pop(place, &*self.endpoint) {
            Ok(()) => {
                // SAFETY: `pop` has initialized every byte, and `place` is private memory.
                #[allow(unsafe_code)]
                let valid = unsafe { payload::is_valid(place) };
                if valid { Ok(true) } else { Err(invalid::<T>()) }
            }
            Err(PopError::Empty) => Ok(false),
            Err(PopError::Fault(fault)) => Err(fault),
        }
    }

    /// Receives a message, waiting as long as it takes.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] if the channel is empty and the sender has closed or crashed; [`RecvError::Fault`].
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// let sender = std::thread::spawn(move || tx.send(7));
    /// assert_eq!(rx.recv(), Ok(7));
    /// assert!(rx.recv().unwrap_err().is_disconnected());
    /// sender.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receive(|| self.wait_for_message())
    }

    // Not inlined, so that `recv` is small; not cold, because a receiver that is faster than its sender lives here.
    #[inline(never)]
    fn wait_for_message(&self) -> Result<T, RecvError> {
        self.take_until(None).map_err(|ended| match ended {
            RecvTimeoutError::Fault(fault) => RecvError::Fault(fault),
            RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout => RecvError::Disconnected,
        })
    }

    /// Receives a message, waiting for at most `timeout`.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`] if the channel was empty all that time; else as [`Receiver::recv`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let (_tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// assert!(rx.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_before(Instant::now().checked_add(timeout))
    }

    /// Receives a message, waiting until `deadline`; one that has passed allows a single try.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    ///
    /// let (tx, rx) = ringway::spsc::channel::<u64>(2)?;
    /// tx.send(7)?;
    /// assert_eq!(rx.recv_deadline(Instant::now()), Ok(7));
    /// assert!(rx.recv_deadline(Instant::now()).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_before(Some(deadline))
    }

    /// Without a deadline (which is one too far to be computed), for ever.
    fn recv_before(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        self.receive(|| self.take_until(deadline))
    }

    #[inline(always)]
    fn take_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let mut place = MaybeUninit::uninit();
        let attempt = || match self.take(&mut place) {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(fault) => Some(Err(fault)),
        };
        match self.endpoint.block_on(deadline, attempt, || self.recover()) {
            // SAFETY: the `take` that ended it has left a message there, initialized and valid.
            #[allow(unsafe_code)]
            Ok(Ok(())) => Ok(unsafe { place.assume_init() }),
            Ok(Err(fault)) => Err(RecvTimeoutError::Fault(fault)),
            Err(Ended::Timeout) => Err(RecvTimeoutError::Timeout),
            Err(Ended::Gone) => Err(RecvTimeoutError::Disconnected),
        }
    }

    /// Receives as many messages as are there, at most `messages.len()`, into the front of the slice, and says how many;
    /// `Ok(0)` for an empty slice only.
    ///
    /// Cheaper than one at a time: the sender is told once, and woken at most once. It may look and pause as long as
    /// [`Receiver::try_recv`].
    ///
    /// # Errors
    /// As [`Receiver::try_recv`]. If a message in the middle is no valid `T`, those before it are returned first, and the next
    /// call reports it.
    ///
    /// Places behind the messages that were received, and all of them after an error, may hold messages that others received.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(8)?;
    /// tx.send_slice(&[1, 2, 3])?;
    /// let mut messages = [0; 8];
    /// assert_eq!(rx.try_recv_slice(&mut messages), Ok(3));
    /// assert_eq!(messages[..3], [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_slice(&self, messages: &mut [T]) -> Result<usize, TryRecvError>
    where
        T: Copy,
    {
        match self.take_slice(messages)? {
            Some(taken) => Ok(taken),
            None if self.has_ended() => self.take_slice_outlined(messages)?.ok_or(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Receives at least one message, waiting as long as it takes, and as many more as are there by then.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(8)?;
    /// let sender = std::thread::spawn(move || tx.send_slice(&[1; 100]));
    /// let (mut messages, mut sum) = ([0; 32], 0);
    /// while let Ok(count) = rx.recv_slice(&mut messages) {
    ///     sum += messages[..count].iter().sum::<u64>();
    /// }
    /// assert_eq!(sum, 100);
    /// sender.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_slice(&self, messages: &mut [T]) -> Result<usize, RecvError>
    where
        T: Copy,
    {
        match self.take_slice(messages)? {
            Some(taken) => Ok(taken),
            None => self.wait_for_messages(messages),
        }
    }

    // As `wait_for_message`.
    #[inline(never)]
    fn wait_for_messages(&self, messages: &mut [T]) -> Result<usize, RecvError>
    where
        T: Copy,
    {
        let attempt = || self.take_slice_outlined(messages).transpose();
        match self.endpoint.block_on(None, attempt, || self.recover()) {
            Ok(taken) => Ok(taken?),
            Err(_) => Err(RecvError::Disconnected),
        }
    }

    /// [`Self::take_slice`] as a call.
    #[inline(never)]
    fn take_slice_outlined(&self, messages: &mut [T]) -> Result<Option<usize>, Fault>
    where
        T: Copy,
    {
        self.take_slice(messages)
    }

    #[inline(always)]
    fn take_slice(&self, messages: &mut [T]) -> Result<Option<usize>, Fault>
    where
        T: Copy,
    {
        let taken = self.ring.pop_slice(messages, &*self.endpoint, |raw| {
            // SAFETY: `pop_slice` has initialized every byte.
            #[allow(unsafe_code)]
            let message = unsafe { payload::validate(raw) };
            message.map_err(|_| invalid::<T>())
        });
        match taken {
            Ok(taken) => Ok(Some(taken)),
            Err(PopError::Empty) => Ok(None),
            Err(PopError::Fault(fault)) => Err(fault),
        }
    }

    /// The messages to come, each waited for; ends when the sender is gone and the channel drained (or on a
    /// [`Fault`], which [`Receiver::recv`] would name).
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(8)?;
    /// tx.send_slice(&[1, 2, 3])?;
    /// drop(tx);
    /// assert_eq!(rx.iter().collect::<Vec<_>>(), [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T, F> {
        Iter { receiver: self }
    }

    /// The messages that are there; ends where one would have to be waited for.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(8)?;
    /// tx.send_slice(&[1, 2, 3])?;
    /// assert_eq!(rx.try_iter().sum::<u64>(), 6);
    /// assert_eq!(rx.try_iter().next(), None); // the sender is still there
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T, F> {
        TryIter { receiver: self }
    }
}

impl<T, F: Flavor> Receiver<T, F> {
    /// Messages in the channel; the sender may add some meanwhile.
    ///
    /// MPMC: an estimate. Tickets that were passed over count until a receiver has walked over them (not in a packed channel);
    /// messages under guard, and those that wait for their redelivery, do not. With
    /// [`Options::pack_batches`](crate::Options::pack_batches), a look at each slot in use; [`Receiver::is_empty`] needs one.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// tx.send_slice(&[1, 2, 3])?;
    /// assert_eq!(rx.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        match self.endpoint.check() {
            // What cannot be right counts as full.
            Ok(()) => self.ring.len().map_or(self.capacity(), |len| len as usize),
            Err(_) => 0,
        }
    }

    /// Whether no message is in the channel; the sender may add some meanwhile.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// assert!(rx.is_empty());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        // What cannot be right counts as full.
        self.endpoint.check().is_err() || self.ring.is_empty().unwrap_or(false)
    }

    /// Whether there is no room; once true, it stays so until the next receive.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// assert_eq!(tx.try_send_slice(&[0; 9]), Ok(4));
    /// assert!(rx.is_full());
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
    /// assert_eq!(rx.capacity(), 4);
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
    /// assert_eq!(rx.name(), None);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.endpoint.region().name()
    }
}

impl<T> Receiver<T, Spsc> {
    /// The state of the sending end, asked from the kernel now.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::spsc::channel::<u64>(4)?;
    /// assert!(rx.peer().is_alive());
    /// drop(tx);
    /// assert!(rx.peer().is_gone());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn peer(&self) -> PeerState {
        self.endpoint.peer()
    }
}

impl<T> Receiver<T, Mpmc> {
    /// The states of the sending peers, asked from the kernel now; see [`Channel::senders`](super::Channel::senders).
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = ringway::mpmc::channel::<u64>(4)?;
    /// assert_eq!(rx.peers().len(), 1);
    /// drop(tx);
    /// assert!(rx.peers().is_empty());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn peers(&self) -> Vec<PeerState> {
        self.endpoint.peers()
    }
}

impl<T> Clone for Receiver<T, Mpmc> {
    /// Another handle of the same peer, for another thread; cheap, and it never fails.
    fn clone(&self) -> Self {
        Self { ring: self.ring.clone(), endpoint: Arc::clone(&self.endpoint) }
    }
}

#[cold]
pub(super) fn invalid<T>() -> Fault {
    Fault::Invalid { type_name: core::any::type_name::<T>() }
}

impl<T, F: Flavor> fmt::Debug for Receiver<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("name", &self.name()).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Iterator of [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T, F: Flavor> {
    receiver: &'a Receiver<T, F>,
}

/// Iterator of [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T, F: Flavor> {
    receiver: &'a Receiver<T, F>,
}

/// Iterator that owns its receiver.
#[derive(Debug)]
pub struct IntoIter<T, F: Flavor> {
    receiver: Receiver<T, F>,
}

impl<T: Payload, F: Flavor> Iterator for Iter<'_, T, F> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T: Payload, F: Flavor> Iterator for TryIter<'_, T, F> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T: Payload, F: Flavor> Iterator for IntoIter<T, F> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'a, T: Payload, F: Flavor> IntoIterator for &'a Receiver<T, F> {
    type Item = T;
    type IntoIter = Iter<'a, T, F>;

    fn into_iter(self) -> Iter<'a, T, F> {
        self.iter()
    }
}

impl<T: Payload, F: Flavor> IntoIterator for Receiver<T, F> {
    type Item = T;
    type IntoIter = IntoIter<T, F>;

    fn into_iter(self) -> IntoIter<T, F> {
        IntoIter { receiver: self }
    }
}
