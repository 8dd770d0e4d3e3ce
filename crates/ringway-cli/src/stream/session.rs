//! The channel that this process has an end of, and the life of its name.
//!
//! Whoever starts first creates the channel. The name is removed by those who use it, when they end by themselves or by
//! a signal: a channel of two by the first that ends, because the other has nothing more to expect; a channel of many by
//! the last one, or by whoever finds that the other side is gone for good. Those who are killed leave the name behind;
//! the next one to start finds that nobody is alive in there and replaces it.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringway::channel_of::{self, Flavor, Mpmc, Sender, Spsc};
use ringway::{Address, Error, Payload, PeerState};

use super::frame::Frame;
use super::shared::Message;
use super::{Endpoint, FOREVER};
use crate::failure::{Failure, Kind};
use crate::interrupt::on_interrupt;

/// What the commands put into a channel of this flavor.
pub(super) trait Stream: Flavor + Sized {
    /// The type of its messages.
    type Message: Payload + 'static;
    /// Whether there may be several senders and receivers.
    const SHARED: bool;

    /// Everybody who is known to have been at an end of it.
    fn peers(channel: &Channel<Self>) -> Vec<PeerState>;
}

/// The channel of a flavor.
pub(super) type Channel<F> = channel_of::Channel<<F as Stream>::Message, F>;

impl Stream for Spsc {
    type Message = Frame;
    const SHARED: bool = false;

    fn peers(channel: &Channel<Self>) -> Vec<PeerState> {
        vec![channel.sender_state(), channel.receiver_state()]
    }
}

impl Stream for Mpmc {
    type Message = Message;
    const SHARED: bool = true;

    fn peers(channel: &Channel<Self>) -> Vec<PeerState> {
        [channel.senders(), channel.receivers()].concat()
    }
}

/// How many of them are alive, running or stopped.
pub(super) fn alive(peers: &[PeerState]) -> usize {
    peers.iter().filter(|peer| peer.is_alive()).count()
}

/// The channel that this process has an end of, shared with the thread that looks after its name when a signal comes.
pub(super) struct Session<F: Stream>(Arc<Mutex<Option<Channel<F>>>>);

impl<F: Stream> Default for Session<F> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<F: Stream> Clone for Session<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F: Stream> Session<F> {
    /// A session that leaves no name behind when a signal ends the process.
    pub(super) fn start() -> Result<Self, Failure> {
        let session = Self::default();
        let interrupted = session.clone();
        on_interrupt(move || interrupted.leave_for_good()).map_err(|error| Failure::io("handling signals", &error))?;
        Ok(session)
    }

    /// Attaches, or creates, and opens one end. What others left behind is replaced.
    pub(super) fn join<H>(
        &self,
        endpoint: &Endpoint,
        patience: &mut Patience,
        open: impl Fn(&Channel<F>) -> Result<H, Error>,
    ) -> Result<Joined<F, H>, Failure> {
        let address: Address = endpoint.name.parse()?;
        if !address.can_be_found() {
            let what = format!("`{address}` means new memory each time, which the other side could not find");
            return Err(Failure::new(Kind::Usage, what).next("use a name, or another address; see `ringway help`"));
        }
        loop {
            if let Some(handle) = self.try_join(&address, endpoint, &open)? {
                return Ok(Joined { handle: Some(handle), session: self.clone() });
            }
            patience.wait()?;
        }
    }

    /// One attempt; `None` if the name is just changing hands.
    ///
    /// The lock is held meanwhile: a signal finds either nothing, or a channel whose end is ours. The name of a channel
    /// whose end belongs to another process is not ours to remove.
    fn try_join<H>(
        &self,
        address: &Address,
        endpoint: &Endpoint,
        open: &impl Fn(&Channel<F>) -> Result<H, Error>,
    ) -> Result<Option<H>, Failure> {
        let mut held = self.lock();
        // A creator need not be the last one to leave.
        let options = endpoint.options().persist(F::SHARED);
        let opened = match Channel::<F>::open_or_create(address, &options) {
            Err(Error::WrongOwner { found, .. }) if endpoint.owners.contains(&found) => {
                Channel::open_or_create(address, &options.owner(found))
            }
            opened => opened,
        };
        let channel = match opened {
            // Somebody else is replacing it just now.
            Err(Error::Removed { .. }) => return Ok(None),
            Err(Error::FlavorMismatch { name, .. }) => return Err(mismatch(&name, F::SHARED)),
            channel => channel?,
        };
        if is_over(&channel) {
            channel.unlink()?;
            return Ok(None);
        }
        let handle = open(&channel)?;
        *held = Some(channel);
        Ok(Some(handle))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Channel<F>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last act of the process: nothing can join any more.
    fn leave_for_good(&self) {
        let mut held = self.lock();
        // Our own end is still alive. Two that leave in the same moment leave the name to whoever starts next.
        held.take().iter().filter(|channel| !F::SHARED || alive(&F::peers(channel)) <= 1).for_each(remove_quietly);
        std::mem::forget(held);
    }
}

/// Whether somebody has used the channel, and nobody does any more.
///
/// Not the option `replace_dead`, which spares what anybody has open: two sides that start at the same time would each
/// take the other for a user of what killed processes have left. Here each finds that neither end is alive. Should one
/// of them come alive in between, it finds its other end dead, or the name gone to another channel, and joins that.
fn is_over<F: Stream>(channel: &Channel<F>) -> bool {
    let peers = F::peers(channel);
    peers.iter().any(PeerState::is_gone) && alive(&peers) == 0
}

/// Removes the name if it is still that of this channel; somebody else may have been faster.
fn remove_quietly<F: Stream>(channel: &Channel<F>) {
    let _ = channel.unlink();
}

/// How long somebody who is in the way is waited for: until the deadline of the command; if it has none, for some seconds.
///
/// A name changes hands in no time, unless its remover was stopped half-way.
pub(super) struct Patience {
    name: String,
    deadline: Option<Instant>,
    /// The next pause, of many that double.
    pause: Duration,
    waited: Duration,
}

impl Patience {
    const FIRST_PAUSE: Duration = Duration::from_micros(50);
    const LAST_PAUSE: Duration = Duration::from_millis(100);
    /// In all, without a deadline.
    const LIMIT: Duration = Duration::from_secs(5);

    pub(super) fn of(endpoint: &Endpoint) -> Self {
        let deadline = endpoint.timeout.map(|timeout| Instant::now() + timeout);
        Self { name: endpoint.name.clone(), deadline, pause: Self::FIRST_PAUSE, waited: Duration::ZERO }
    }

    /// Until when the other side has to come.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline.unwrap_or_else(|| Instant::now() + FOREVER)
    }

    /// Makes a pause, or fails if there were enough of them.
    pub(super) fn wait(&mut self) -> Result<(), Failure> {
        let left = match self.deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Self::LIMIT.saturating_sub(self.waited),
        };
        if left.is_zero() {
            return Err(self.exhausted());
        }
        let pause = self.pause.min(left);
        thread::sleep(pause);
        self.waited += pause;
        self.pause = (2 * pause).min(Self::LAST_PAUSE);
        Ok(())
    }

    fn exhausted(&self) -> Failure {
        let kind = if self.deadline.is_some() { Kind::Absent } else { Kind::Failed };
        let what = format_args!("another process has begun to remove `{}` and does not finish", self.name).to_string();
        Failure::new(kind, what).next("if it is stopped, resume or kill it; or use another name")
    }
}

fn mismatch(name: &str, shared: bool) -> Failure {
    let how = if shared { "without" } else { "with" };
    Failure::new(Kind::Usage, format_args!("`{name}` was started {how} --mpmc")).next(format_args!(
        "use --mpmc for all of its senders and receivers or for none; `ringway remove {name}` if it is a killed one's"
    ))
}

/// An open end of the channel.
pub(super) struct Joined<F: Stream, H> {
    /// `None` once it is being dropped.
    handle: Option<H>,
    session: Session<F>,
}

impl<F: Stream, H> Joined<F, H> {
    /// Whatever can still come of the channel, nobody is to attach to it any more.
    pub(super) fn remove_name(&self) {
        self.session.lock().iter().for_each(remove_quietly);
    }

    /// Leaves a channel that is over, for one that is not. Whoever else leaves it takes the name along, or we do.
    pub(super) fn leave(self, patience: &mut Patience) -> Result<(), Failure> {
        self.session.lock().iter().try_for_each(|channel| channel.unlink().map(drop))?;
        drop(self);
        patience.wait()
    }
}

impl Joined<Mpmc, Sender<Message, Mpmc>> {
    /// Whether there is another sender.
    pub(super) fn has_company(&self) -> bool {
        self.session.lock().iter().any(|channel| alive(&channel.senders()) > 1)
    }
}

impl<F: Stream, H> Deref for Joined<F, H> {
    type Target = H;

    fn deref(&self) -> &H {
        self.handle.as_ref().expect("an end is there until it is dropped")
    }
}

impl<F: Stream, H> Drop for Joined<F, H> {
    fn drop(&mut self) {
        let mut held = self.session.lock();
        let channel = held.take();
        if F::SHARED {
            // First leave, then look: of several that leave at the same time, the last one sees nobody.
            self.handle = None;
            channel.iter().filter(|channel| alive(&F::peers(channel)) == 0).for_each(remove_quietly);
        } else {
            // The name goes before the end does, so that nobody attaches to what is over.
            channel.iter().for_each(remove_quietly);
            self.handle = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway::spsc::Channel;

    use super::*;
    use crate::stream::Waiting;
    use crate::stream::frame::{Frame, Source};
    use crate::stream::recv;
    use crate::stream::send::Outbound;

    fn endpoint(test: &str) -> Endpoint {
        Endpoint {
            name: format!("ringway-cli-unit-{}-{test}", std::process::id()),
            lines: false,
            mpmc: false,
            capacity: 4,
            mode: 0o600,
            owners: Vec::new(),
            wait: Waiting::Park,
            timeout: Some(Duration::from_secs(60)),
        }
    }

    fn wait_until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::yield_now();
        }
    }

    #[test]
    fn what_is_over_is_replaced_by_two_at_once() {
        let endpoint = endpoint("over");
        for _ in 0..100 {
            let over = Channel::<Frame>::create(&endpoint.name, &endpoint.options()).unwrap();
            over.sender().unwrap().send(Source::new().announcement()).unwrap();
            thread::scope(|scope| {
                let receiving = scope.spawn(|| recv::meet(&endpoint, &Session::default()).map(drop));
                assert!(Outbound::meet(&endpoint, &Session::default(), &Source::new()).is_ok());
                assert!(receiving.join().unwrap().is_ok());
            });
            assert!(matches!(ringway::unlink(&endpoint.name), Err(Error::NotFound { .. })));
        }
    }

    #[test]
    fn a_sender_that_leaves_without_a_word_is_not_waited_for() {
        let endpoint = endpoint("sender");
        let channel = Channel::<Frame>::create(&endpoint.name, &endpoint.options()).unwrap();
        let sender = channel.sender().unwrap();
        thread::scope(|scope| {
            let receiving = scope.spawn(|| recv::meet(&endpoint, &Session::default()).map(drop));
            wait_until(|| channel.receiver_state().is_alive());
            drop(sender);
            wait_until(|| !channel.receiver_state().is_alive());
            assert!(Outbound::meet(&endpoint, &Session::default(), &Source::new()).is_ok());
            assert!(receiving.join().unwrap().is_ok());
        });
    }

    #[test]
    fn a_receiver_that_leaves_without_a_look_is_not_waited_for() {
        let endpoint = endpoint("receiver");
        let channel = Channel::<Frame>::create(&endpoint.name, &endpoint.options()).unwrap();
        let receiver = channel.receiver().unwrap();
        thread::scope(|scope| {
            let sending = scope.spawn(|| Outbound::meet(&endpoint, &Session::default(), &Source::new()).map(drop));
            wait_until(|| receiver.len() == 1);
            drop(receiver);
            wait_until(|| !channel.sender_state().is_alive());
            assert!(recv::meet(&endpoint, &Session::default()).is_ok());
            assert!(sending.join().unwrap().is_ok());
        });
    }

    #[test]
    fn a_channel_of_many_has_an_end_too() {
        let endpoint = Endpoint { mpmc: true, ..endpoint("places") };
        let options = endpoint.options().peers(2);
        let channel = super::Channel::<Mpmc>::create(&endpoint.name, &options).unwrap();
        let _both = [channel.sender().unwrap(), channel.sender().unwrap()];
        let session = Session::<Mpmc>::default();
        let failure = session
            .join(&endpoint, &mut Patience::of(&endpoint), super::Channel::<Mpmc>::receiver)
            .map(drop)
            .unwrap_err();
        assert!(format!("{failure:?}").contains("Taken"), "{failure:?}");
    }
}
