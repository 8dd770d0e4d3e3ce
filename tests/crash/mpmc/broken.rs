//! Peers with mistakes made on purpose, which write to the region by themselves: proof that the judges find them.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::Place;
use super::oracle::{OWN, Others, report};
use super::setting::{Setting, written};
use crate::broken::{found, found_stopped};
use crate::harness::Case;
use crate::oracle::Verdict;
use crate::series::{Sampling, Stage};
use crate::tracer::{Point, Victim};
use crate::world::{Backing, Mode, Numbered, Wide};

/// Offsets in a region, as docs/LAYOUT.md gives them.
const TAIL: u64 = 4352;
const PEER_TABLE: u64 = TAIL + 512;
const PEER: u64 = 128;
/// Bytes of a slot before its payload: the word and the skip word.
const SLOT_HEADER: u64 = 16;

/// Phases of a slot's word.
const FREE: u64 = 0;
const WRITING: u64 = 1;
const FULL: u64 = 2;
/// Kind of a skip word.
const QUAR: u64 = 2;
/// The owner of what nobody owns.
const NOBODY: u64 = 0xFFF;

/// The region as somebody sees it who follows no protocol.
struct Raw<T> {
    file: File,
    peers: u64,
    payload: std::marker::PhantomData<T>,
}

impl<T: Numbered> Raw<T> {
    /// Of a region that has just been made.
    fn of(others: &Others<T>, peers: usize) -> Self {
        Self { file: others.world().file(), peers: peers as u64, payload: std::marker::PhantomData }
    }

    fn slot(&self, slot: u64) -> u64 {
        let size = (SLOT_HEADER + size_of::<T>() as u64).next_multiple_of(64);
        PEER_TABLE + self.peers * PEER + slot * size
    }

    fn write(&self, offset: u64, value: u64) {
        self.file.write_all_at(&value.to_le_bytes(), offset).expect("the region is open for writing");
    }

    /// Sets a slot's word; a full one tells of its message in place of its owner.
    fn word(&self, slot: u64, lap: u64, phase: u64, owner: u64) {
        let owner = if phase == FULL { 0 } else { owner };
        self.write(self.slot(slot), lap << 16 | owner << 4 | phase);
    }

    /// Sets a slot's skip word.
    fn skip(&self, slot: u64, lap: u64, kind: u64, owner: u64) {
        self.write(self.slot(slot) + 8, (lap + 1) << 16 | owner << 4 | kind);
    }

    fn payload(&self, slot: u64, from: usize, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            self.write(self.slot(slot) + SLOT_HEADER + 8 * (from + index) as u64, *word);
        }
    }
}

/// Where there are skip words.
const ASYMMETRIC: Place = Place::of(Backing::Memfd, Mode::A);

/// The victim's index: the others have 0 and 1.
const ME: u64 = 2;
impl<T: Numbered> Setting<T> {
    /// A fresh region, so that ticket 0 is the next.
    fn fresh(mode: Mode) -> Self {
        Self { passed: 0, ..Self::at(Place::of(Backing::Memfd, mode)) }
    }

    /// A victim that is to send [`OWN`].
    fn missending(self, wrong: fn(&Raw<T>)) -> Stage {
        self.mistaken(|others| others.victim_sends(1), wrong, |_| Vec::new())
    }

    /// A victim that is to receive message 0.
    fn misreceiving(self, wrong: fn(&Raw<T>)) -> Stage {
        self.mistaken(|others| others.victim_receives(1), wrong, |_| vec![T::new(0)])
    }

    fn mistaken(self, expect: fn(&mut Others<T>), wrong: fn(&Raw<T>), taken: fn(&Raw<T>) -> Vec<T>) -> Stage {
        let (theirs, own) = (OnceCell::new(), OnceCell::new());
        Box::new(move || {
            let mut others = self.others(&theirs);
            expect(&mut others);
            let victim = Victim::start(|marker| {
                // Its index, and whatever else a peer is known by.
                let _tx = others.world().open().sender().expect("an index is free");
                let raw = Raw::of(&others, self.peers);
                marker.mark();
                wrong(&raw);
                marker.mark();
                report(others.world(), &taken(&raw));
            });
            self.scene(others, victim, &own)
        })
    }
}

fn publishes_before_it_writes(raw: &Raw<u64>) {
    raw.word(0, 0, WRITING, ME);
    raw.word(0, 0, FULL, ME);
    raw.payload(0, 0, &[u64::new(OWN)]);
}

fn publishes_half_a_payload(raw: &Raw<Wide>) {
    let words = Wide::new(OWN);
    let (front, back) = words.split_at(words.len() / 2);
    raw.word(0, 0, WRITING, ME);
    raw.payload(0, 0, front);
    raw.word(0, 0, FULL, ME);
    raw.payload(0, front.len(), back);
}

fn writes_what_it_has_not_claimed(raw: &Raw<u64>) {
    raw.payload(0, 0, &[u64::new(OWN)]);
    raw.word(0, 0, FULL, ME);
}

fn takes_back(raw: &Raw<u64>) {
    raw.word(0, 0, WRITING, ME);
    raw.payload(0, 0, &[u64::new(OWN)]);
    for phase in [FULL, WRITING, FULL] {
        raw.word(0, 0, phase, ME);
    }
}

fn sends_twice(raw: &Raw<u64>) {
    for slot in 0..2 {
        raw.word(slot, 0, WRITING, ME);
        raw.payload(slot, 0, &[u64::new(OWN)]);
        raw.word(slot, 0, FULL, ME);
    }
}

fn sends_nothing(_: &Raw<u64>) {}

fn leaves_a_ticket_out(raw: &Raw<u64>) {
    raw.word(1, 0, WRITING, ME);
    raw.payload(1, 0, &[u64::new(OWN)]);
    raw.word(1, 0, FULL, ME);
}

fn puts_the_hint_beyond_the_frontier(raw: &Raw<u64>) {
    raw.write(TAIL, 100);
}

fn takes_two(raw: &Raw<u64>) {
    for slot in [1, 0] {
        raw.word(slot, 1, FREE, 0);
    }
}

fn takes_without_freeing(_: &Raw<u64>) {}

fn quarantines_what_is_published(raw: &Raw<u64>) {
    // Its owner sends no more, and so never learns of it.
    raw.skip(1, 0, QUAR, 1);
    raw.word(0, 1, FREE, 0);
}

fn frees_what_a_live_one_writes(raw: &Raw<u64>) {
    raw.word(0, 1, FREE, 0);
    raw.word(1, 1, FREE, 0);
}

fn delivers_what_a_live_one_holds(raw: &Raw<u64>) {
    raw.word(0, 1, FULL, NOBODY);
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, stage: fn() -> Stage, mistake: &'static str| {
        Case::traced(format!("broken::mpmc {name}"), move || {
            let samplings = [Sampling::Every, Sampling::Some, Sampling::Changes];
            samplings.into_iter().try_for_each(|sampling| found(stage(), sampling, mistake))
        })
    };
    let stopped = |name: &str, stage: fn() -> Stage, mistake: &'static str| -> Case {
        Case::traced(format!("broken::mpmc {name}"), move || -> Verdict {
            let samplings = [Sampling::Every, Sampling::Some, Sampling::Changes];
            samplings.into_iter().try_for_each(|sampling| found_stopped(stage(), sampling, mistake))
        })
    };
    fn fresh() -> Setting<u64> {
        Setting::fresh(Mode::C)
    }
    /// Where newcomers depend on the hint.
    fn later() -> Setting<u64> {
        Setting { passed: 5, ..fresh() }
    }
    fn three() -> Setting<u64> {
        Setting { before: |others, _: &OnceCell<Point>| (0..3).for_each(|_| others.send_one()), ..fresh() }
    }
    fn beside(before: fn(&mut Others<u64>, &OnceCell<Point>)) -> Setting<u64> {
        Setting { peers: 4, before, ..fresh() }
    }
    vec![
        case("publishes before it writes", || fresh().missending(publishes_before_it_writes), "was never sent"),
        case("half a payload", || Setting::fresh(Mode::A).missending(publishes_half_a_payload), "is torn"),
        case("takes back", || fresh().missending(takes_back), "an effect was undone"),
        case("sends twice", || fresh().missending(sends_twice), "duplicate or late: message"),
        case("sends nothing", || fresh().missending(sends_nothing), "in the steps [0]"),
        case("leaves a ticket out", || fresh().missending(leaves_a_ticket_out), "duplicate or late: message"),
        case("hint ahead", || later().missending(puts_the_hint_beyond_the_frontier), "a slot's lap"),
        case("takes two", || three().misreceiving(takes_two), "lost: "),
        case("takes without freeing", || three().misreceiving(takes_without_freeing), "in the steps [0]"),
        case(
            "quarantines what is published",
            || Setting { place: ASYMMETRIC, ..three() }.misreceiving(quarantines_what_is_published),
            "lost: ",
        ),
        case(
            "delivers what a live one holds",
            || beside(|others, _| others.with_reader()).misreceiving(delivers_what_a_live_one_holds),
            "duplicate or late: message",
        ),
        case(
            "frees what a live one writes",
            || beside(written).misreceiving(frees_what_a_live_one_writes),
            "a companion: ",
        ),
        stopped(
            "writes what it has not claimed",
            || fresh().missending(writes_what_it_has_not_claimed),
            "a slot's lap",
        ),
    ]
}
