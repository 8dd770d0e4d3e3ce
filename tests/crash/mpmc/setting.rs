//! The situations in which victims begin their operations.

use std::cell::OnceCell;

use ringway::mpmc::{Receiver, Sender};

use super::Place;
use super::oracle::{Fate, OWN, Others, report};
use crate::series::{Scene, Stage};
use crate::tracer::{Point, Victim};
use crate::world::Numbered;

/// Slots: two laps are soon round.
pub(super) const CAPACITY: u64 = 4;
/// Messages that have passed when it does not matter how many: more than a lap.
const PASSED: u64 = 5;

/// What precedes an operation.
pub(super) struct Setting<T: Numbered> {
    pub(super) place: Place,
    /// Messages that have passed.
    pub(super) passed: u64,
    /// Peers that there is room for, the victim included.
    pub(super) peers: usize,
    /// What happens before the victim comes.
    pub(super) before: fn(&mut Others<T>, &OnceCell<Point>),
    /// What happens while the victim is about to begin.
    pub(super) meanwhile: fn(&mut Others<T>, &mut Victim, &OnceCell<Point>),
    /// What becomes of companions while the victim is stopped.
    pub(super) fate: Fate,
    /// As [`Scene::calls`].
    pub(super) calls: Option<u32>,
}

impl<T: Numbered> Setting<T> {
    /// Nothing special.
    pub(super) fn at(place: Place) -> Self {
        Self {
            place,
            passed: PASSED,
            peers: 3,
            before: |_, _| (),
            meanwhile: |_, _, _| (),
            fate: Fate::Stay,
            calls: None,
        }
    }

    /// With a companion, for whom there is room.
    pub(super) fn with(place: Place, before: fn(&mut Others<T>, &OnceCell<Point>)) -> Self {
        Self { peers: 4, before, ..Self::at(place) }
    }

    pub(super) fn others(&self, known: &OnceCell<Point>) -> Others<T> {
        let world = self.place.world(CAPACITY, self.peers);
        let mut others = Others::new(world, self.peers, self.passed);
        others.decide(self.fate);
        (self.before)(&mut others, known);
        others
    }

    pub(super) fn scene(&self, mut others: Others<T>, mut victim: Victim, known: &OnceCell<Point>) -> Scene {
        (self.meanwhile)(&mut others, &mut victim, known);
        let watched = Some(others.world().bytes());
        Scene { victim, watched, calls: self.calls, survivor: Box::new(others) }
    }

    /// A sender in an operation that sends so many messages.
    pub(super) fn sending(self, batch: u64, operation: fn(&Sender<T>, &[T])) -> Stage {
        let (theirs, own) = (OnceCell::new(), OnceCell::new());
        Box::new(move || {
            let mut others = self.others(&theirs);
            others.victim_sends(batch);
            let victim = others.world().victim(|marker| {
                let tx = others.world().open().sender().expect("an index is free");
                let batch: Vec<T> = (OWN..OWN + batch).map(T::new).collect();
                marker.mark();
                operation(&tx, &batch);
                marker.mark();
                report::<T>(others.world(), &[]);
            });
            self.scene(others, victim, &own)
        })
    }

    /// A receiver in an operation that takes so many messages.
    pub(super) fn receiving(self, batch: u64, operation: fn(&Receiver<T>, &mut [T])) -> Stage {
        let (theirs, own) = (OnceCell::new(), OnceCell::new());
        Box::new(move || {
            let mut others = self.others(&theirs);
            others.victim_receives(batch);
            let victim = others.world().victim(|marker| {
                let rx = others.world().open().receiver().expect("an index is free");
                let mut batch = vec![T::new(0); batch as usize];
                marker.mark();
                operation(&rx, &mut batch);
                marker.mark();
                assert!(batch.is_sorted_by_key(|message| message.number().expect("a whole message")));
                report(others.world(), &batch);
            });
            self.scene(others, victim, &own)
        })
    }
}

/// A slot is passed over because somebody is stopped while he writes into it.
pub(super) fn held<T: Numbered>(others: &mut Others<T>, known: &OnceCell<Point>) {
    others.with_writer(known);
    others.send_one();
    others.receive_one();
    others.pass_to_trouble().expect("nothing is in the way");
}

/// Somebody is stopped while he writes into a slot, with messages in all the others.
pub(super) fn full_but_for_one<T: Numbered>(others: &mut Others<T>, known: &OnceCell<Point>) {
    others.with_writer(known);
    (1..CAPACITY).for_each(|_| others.send_one());
}

/// Somebody has a message under guard, and the next ticket is that of its slot.
pub(super) fn guarded<T: Numbered>(others: &mut Others<T>, _: &OnceCell<Point>) {
    others.with_reader();
    others.pass_to_trouble().expect("nothing is in the way");
}

/// Whoever is in trouble is killed; not before, because the victim would take his index, and sweep.
pub(super) fn bury<T: Numbered>(others: &mut Others<T>, _: &mut Victim, _: &OnceCell<Point>) {
    others.bury();
}

/// Somebody is stopped while he writes into the slot whose turn it is, with a message behind it.
pub(super) fn written<T: Numbered>(others: &mut Others<T>, known: &OnceCell<Point>) {
    others.with_writer(known);
    others.send_one();
}
