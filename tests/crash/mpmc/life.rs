//! Victims that come and go.

use std::cell::OnceCell;

use ringway::Error;
use ringway::mpmc::{Channel, Receiver, Sender};

use super::Place;
use super::oracle::{OWN, Others, report};
use super::setting::{Setting, guarded, held, written};
use crate::series::{Operation, Sampling, Stage};
use crate::tracer::Point;
use crate::world::Numbered;

/// A handle of either kind.
#[derive(Debug)]
enum Handle {
    Sender(Sender<u64>),
    Receiver(Receiver<u64>),
}

/// Attaches in a role.
type Attach = fn(&Channel<u64>) -> Result<Handle, Error>;

fn as_sender(channel: &Channel<u64>) -> Result<Handle, Error> {
    channel.sender().map(Handle::Sender)
}

fn as_receiver(channel: &Channel<u64>) -> Result<Handle, Error> {
    channel.receiver().map(Handle::Receiver)
}

impl Setting<u64> {
    /// A process that becomes a peer.
    fn attaching(self, attach: Attach) -> Stage {
        let (theirs, own) = (OnceCell::new(), OnceCell::new());
        Box::new(move || {
            let mut others = self.others(&theirs);
            others.has_room_for_newcomer();
            let victim = others.world().victim(|marker| {
                let channel = others.world().open();
                marker.mark();
                let outcome = attach(&channel);
                marker.mark();
                // While it was stopped, a newcomer may have been faster.
                assert!(matches!(outcome, Ok(_) | Err(Error::NoPeerLeft { .. })), "{outcome:?}");
                drop(outcome);
                report::<u64>(others.world(), &[]);
            });
            self.scene(others, victim, &own)
        })
    }

    /// A peer that leaves.
    fn leaving(self, attach: Attach) -> Stage {
        let (theirs, own) = (OnceCell::new(), OnceCell::new());
        Box::new(move || {
            let mut others = self.others(&theirs);
            others.has_room_for_newcomer();
            let victim = others.world().victim(|marker| {
                let handle = attach(&others.world().open()).expect("an index is free");
                marker.mark();
                drop(handle);
                marker.mark();
                report::<u64>(others.world(), &[]);
            });
            self.scene(others, victim, &own)
        })
    }

    /// A peer that drops one of its handles and works with the other.
    fn dropping_clone(self, attach: Attach) -> Stage {
        let (theirs, own) = (OnceCell::new(), OnceCell::new());
        Box::new(move || {
            let mut others = self.others(&theirs);
            let handle = attach(others.world().channel()).expect("an index is free");
            match handle {
                Handle::Sender(_) => others.victim_sends(1),
                Handle::Receiver(_) => others.victim_receives(1),
            }
            drop(handle);
            let victim = others.world().victim(|marker| {
                match attach(&others.world().open()).expect("an index is free") {
                    Handle::Sender(tx) => {
                        let clone = tx.clone();
                        marker.mark();
                        drop(clone);
                        marker.mark();
                        tx.send(u64::new(OWN)).expect("there is room");
                        report::<u64>(others.world(), &[]);
                    }
                    Handle::Receiver(rx) => {
                        let clone = rx.clone();
                        marker.mark();
                        drop(clone);
                        marker.mark();
                        report(others.world(), &[rx.recv().expect("a message is there, sooner or later")]);
                    }
                };
            });
            self.scene(others, victim, &own)
        })
    }
}

/// What a dead peer leaves behind in its index is swept by the next one.
fn dead(others: &mut Others<u64>, known: &OnceCell<Point>, trouble: fn(&mut Others<u64>, &OnceCell<Point>)) {
    trouble(others, known);
    others.bury();
}

pub(super) fn operations(place: Place) -> Vec<Operation> {
    let message = |others: &mut Others<u64>, _: &OnceCell<Point>| others.send_one();
    // One more than there are, for newcomers.
    let at = || Setting { peers: 4, before: message, ..Setting::at(place) };
    // There is no index but the dead one's.
    let swept = |before| Setting { peers: 3, before, ..at() };
    let after_writing = swept(|others, known| dead(others, known, written));
    let after_held = swept(|others, known| dead(others, known, held));
    let after_guard = swept(|others, known| dead(others, known, guarded));
    let attach = |name: &str, stage| Operation {
        sampling: Sampling::Changes,
        ..place.operation(&format!("attach {name}"), stage, &[0], 0)
    };
    let drop_of = |name: &str, stage, whole| place.operation(&format!("drop of a {name}"), stage, &[0], whole);
    vec![
        attach("a sender", at().attaching(as_sender)),
        attach("a receiver", at().attaching(as_receiver)),
        attach("after one who was writing", after_writing.attaching(as_sender)),
        attach("after one who was passed over", after_held.attaching(as_receiver)),
        attach("after one with a guard", after_guard.attaching(as_sender)),
        drop_of("sender", at().leaving(as_sender), 0),
        drop_of("receiver", at().leaving(as_receiver), 0),
        drop_of("sender's clone", Setting::at(place).dropping_clone(as_sender), 1),
        drop_of("receiver's clone", Setting { peers: 3, ..at() }.dropping_clone(as_receiver), 1),
    ]
}
