//! Operations, and the points in their course at which victims are interrupted.

use std::collections::BTreeSet;
use std::fmt;

use crate::harness::is_soak;
use crate::oracle::{Survivor, Verdict};
use crate::random::Random;
use crate::tracer::{Point, Trace, Victim};
use crate::world::Bytes;

/// A victim about to execute the first instruction of its operation, and who will tell what came of it.
pub(crate) struct Scene {
    pub(crate) victim: Victim,
    /// The region, if it exists already.
    pub(crate) watched: Option<Bytes>,
    /// System calls after which the operation, which would go on for ever, is followed no further.
    pub(crate) calls: Option<u32>,
    pub(crate) survivor: Box<dyn Survivor>,
}

/// Stages a scene, as often as one is needed.
pub(crate) type Stage = Box<dyn Fn() -> Scene + Send>;

/// An operation to be interrupted.
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) stage: Stage,
    /// What it comes to, from the first instruction at which it is interrupted to the last.
    pub(crate) effects: &'static [u64],
    /// What it comes to if it can go on.
    pub(crate) whole: u64,
    pub(crate) sampling: Sampling,
}

/// Which of an operation's instructions victims are interrupted at. In a soak, it is every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// Every one, unless there are thousands; batches have as many, without optimization.
    Every,
    /// Every one, unless there are hundreds.
    Some,
    /// Before and after each that changed the world: for operations that spend their time on what does not, such as
    /// reading /proc.
    Changes,
}

impl Sampling {
    /// Operations with more instructions are interrupted before and after each that changed the world, and before some of
    /// the others.
    fn most(self) -> usize {
        match self {
            _ if is_soak() => usize::MAX,
            Self::Every => 2500,
            Self::Some => 400,
            Self::Changes => 0,
        }
    }
}

/// Instructions in a sample that changed nothing.
const SAMPLE: u64 = 100;

/// What is done to a victim in its course, and what came of it.
pub(crate) type Interrupt = fn(Scene) -> Verdict<u64>;

/// The course of an operation.
pub(crate) fn course(Operation { stage, sampling, .. }: &Operation, interrupt: Interrupt) -> Verdict<Trace> {
    // Whatever a process initializes only once happens in this one, in front of everybody who is forked from it.
    interrupt(stage()).map_err(|error| format!("at the beginning: {error}"))?;

    let follow = |is_stepped: &dyn Fn(u32) -> bool| {
        let mut scene = stage();
        let trace = scene.victim.record(scene.watched.as_ref(), scene.calls, is_stepped);
        interrupt(scene).map_err(|error| format!("at the end: {error}"))?;
        Ok(trace)
    };
    if *sampling == Sampling::Changes && !is_soak() {
        let written = follow(&|_| false)?.written;
        follow(&|call| written.contains(&call))
    } else {
        follow(&|_| true)
    }
}

impl Trace {
    /// The points at which victims are interrupted.
    pub(crate) fn chosen(&self, sampling: Sampling) -> Vec<Point> {
        let last = self.points.len() - 1;
        let chosen: BTreeSet<usize> = if last < sampling.most() {
            (0..=last).collect()
        } else {
            let mut random = Random::seeded();
            let changes = self.changes.iter().flat_map(|change| [*change, *change + 1]);
            let sample = (0..SAMPLE).map(|_| random.below(last as u64 + 1) as usize);
            changes.chain(sample).chain([0, last]).filter(|index| *index <= last).collect()
        };
        chosen.into_iter().map(|index| self.points[index]).collect()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} points, {} changes", self.points.len(), self.changes.len())
    }
}
