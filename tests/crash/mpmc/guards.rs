//! Victims that receive under a guard.

use std::cell::OnceCell;

use ringway::mpmc::Guard;

use super::Place;
use super::oracle::{Others, report};
use super::setting::{Setting, bury};
use crate::series::{Operation, Stage};
use crate::tracer::Point;
use crate::world::Numbered;

/// How a victim ends its guard; what it has taken out of the channel by that.
type End<T> = fn(Guard<'_, T>) -> Option<T>;

impl<T: Numbered> Setting<T> {
    /// A receiver that receives under a guard.
    fn taking(self) -> Stage {
        let (theirs, own) = (OnceCell::new(), OnceCell::new());
        Box::new(move || {
            let mut others = self.others(&theirs);
            others.victim_guards();
            let victim = others.world().victim(|marker| {
                let rx = others.world().open().receiver().expect("an index is free");
                marker.mark();
                let guard = rx.recv_guard().expect("there is a message, sooner or later");
                marker.mark();
                report(others.world(), ack(guard).as_slice());
            });
            self.scene(others, victim, &own)
        })
    }

    /// A receiver that ends a guard.
    fn ending(self, acknowledges: bool, end: End<T>) -> Stage {
        let (theirs, own) = (OnceCell::new(), OnceCell::new());
        Box::new(move || {
            let mut others = self.others(&theirs);
            others.victim_guards();
            if !acknowledges {
                others.victim_refuses();
            }
            let victim = others.world().victim(|marker| {
                let rx = others.world().open().receiver().expect("an index is free");
                let guard = rx.recv_guard().expect("a message is there");
                marker.mark();
                let taken = end(guard);
                marker.mark();
                report(others.world(), taken.as_slice());
            });
            self.scene(others, victim, &own)
        })
    }
}

fn ack<T: Numbered>(guard: Guard<'_, T>) -> Option<T> {
    Some(guard.ack().expect("it is ours"))
}

fn nack<T: Numbered>(guard: Guard<'_, T>) -> Option<T> {
    guard.nack().expect("it is ours");
    None
}

fn lose<T: Numbered>(guard: Guard<'_, T>) -> Option<T> {
    drop(guard);
    None
}

pub(super) fn operations(place: Place) -> Vec<Operation> {
    let message = |others: &mut Others<u64>, _: &OnceCell<Point>| others.send_one();
    let at = || Setting::<u64> { before: message, ..Setting::at(place) };
    let passed_over = || Setting {
        meanwhile: |others, _, _| {
            others.set_aside();
            others.pass().expect("a guard is in nobody's way");
        },
        ..at()
    };
    let again = Setting { meanwhile: bury, ..Setting::with(place, |others: &mut Others<u64>, _| others.with_reader()) };
    vec![
        place.operation("recv_guard", at().taking(), &[0], 1),
        place.operation("recv_guard of what a dead one had", again.taking(), &[0], 1),
        place.operation("ack", at().ending(true, ack), &[0, 1], 1),
        place.operation("ack, passed over", passed_over().ending(true, ack), &[0, 1], 1),
        place.operation("nack", at().ending(false, nack), &[0], 0),
        place.operation("nack, passed over", passed_over().ending(false, nack), &[0], 0),
        place.operation("drop of a guard", at().ending(false, lose), &[0], 0),
    ]
}
