//! Operations, and the points in their course at which victims are interrupted.

use std::collections::BTreeSet;
use std::fs::File;

use crate::harness::is_soak;
use crate::oracle::{Survivor, Verdict};
use crate::random::Random;
use crate::tracer::{Point, Trace, Victim};

/// A victim about to execute the first instruction of its operation, and who will tell what came of it.
pub(crate) struct Scene {
    pub(crate) victim: Victim,
    /// The region's file, if it exists already.
    pub(crate) watched: Option<File>,
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

/// Which of an operation's instructions victims are interrupted at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// At every one, unless there are thousands. Without optimization, batches and what makes system calls have as many;
    /// with it, hardly anything but attaching.
    Every,
    /// The same, unless there are hundreds.
    Changes,
}

impl Sampling {
    /// Operations with more instructions are interrupted before and after every one that changed the world, and before
    /// some of the others; in a soak, none has.
    fn most(self) -> usize {
        match self {
            _ if is_soak() => usize::MAX,
            Self::Every => 2500,
            Self::Changes => 400,
        }
    }
}

/// Instructions in a sample that changed nothing.
const SAMPLE: u64 = 100;

/// What is done to a victim in its course, and what came of it.
pub(crate) type Interrupt = fn(Scene) -> Verdict<u64>;

/// The course of an operation from its first instruction to its last.
pub(crate) fn course(stage: &Stage, interrupt: Interrupt) -> Verdict<Trace> {
    // Whatever a process initializes only once happens in this one, in front of everybody who is forked from it.
    interrupt(stage()).map_err(|error| format!("at the beginning: {error}"))?;

    let mut scene = stage();
    let trace = scene.victim.record(scene.watched.as_ref(), scene.calls);
    interrupt(scene).map_err(|error| format!("at the end: {error}"))?;
    Ok(trace)
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
            let sample = (0..SAMPLE).map(|_| random.below(last as u64) as usize);
            changes.chain(sample).chain([0, last]).filter(|index| *index <= last).collect()
        };
        chosen.into_iter().map(|index| self.points[index]).collect()
    }
}
