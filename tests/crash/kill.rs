//! `SIGKILL` before every instruction of every operation; each point gets a victim of its own.

use std::collections::BTreeSet;

use crate::harness::Case;
use crate::oracle::{Verdict, require};
use crate::series::{Operation, Scene, course};
use crate::tracer::Point;
use crate::world::Backing;
use crate::{life, messages, mpmc, wake};

/// One victim that was killed.
#[derive(Debug)]
pub(crate) struct Killed {
    point: Point,
    /// Messages of the interrupted operation that took effect.
    effect: u64,
}

/// Kills the victim where it is.
fn kill(mut scene: Scene) -> Verdict<u64> {
    let pid = scene.victim.kill();
    scene.survivor.after(pid)
}

/// Victims to try for one point: what one did that was led another way says nothing about that point.
const ATTEMPTS: u32 = 4;

/// Kills victims in the course of an operation and has each judged.
pub(crate) fn everywhere(operation: &Operation) -> Verdict<Vec<Killed>> {
    let trace = course(operation, kill)?;
    let points = trace.chosen(operation.sampling);
    let mut strayed = 0;
    let mut killed = Vec::new();
    for (index, point) in points.iter().enumerate() {
        for attempt in 1..=ATTEMPTS {
            let mut scene = (operation.stage)();
            let arrived = scene.victim.run_to(point);
            let effect =
                kill(scene).map_err(|error| format!("killed at {point:x?}, {index} of {}: {error}", points.len()))?;
            if arrived {
                killed.push(Killed { point: *point, effect });
                break;
            }
            strayed += u64::from(attempt == 1);
        }
    }
    println!("{trace}, {} killed, {strayed} astray", killed.len());
    // A clock, a pid with another number of digits, or a sleeper who looks around just then may lead a victim another way;
    // it is judged all the same, but most must come to where they were to be killed.
    require!(strayed * 3 <= points.len() as u64, "{strayed} of {} victims took another way", points.len());
    let effects: BTreeSet<u64> = killed.iter().map(|killed| killed.effect).collect();
    require!(effects.len() <= trace.changes.len() + 1, "effects without changes: other bytes were watched");
    Ok(killed)
}

/// The further an operation got, the more it did: nothing at first, in the end all of it, and never less than an
/// instruction before. Each of `effects` is to be seen, and nothing else.
pub(crate) fn grows(killed: &[Killed], effects: &[u64]) -> Verdict {
    let mut seen: Vec<u64> = killed.iter().map(|killed| killed.effect).collect();
    require!(seen.is_sorted(), "an effect was undone: {seen:?}");
    seen.dedup();
    require!(seen == effects, "the operation took effect in the steps {seen:?}, expected {effects:?}");
    Ok(())
}

/// Among the victims are such as had published and not yet woken anybody: the sleeper comes to it all the same.
fn between_publishing_and_waking(killed: &[Killed]) -> Verdict {
    let found = killed.iter().any(|killed| killed.effect == 1 && killed.point.calls == 0);
    require!(found, "nobody was killed between publishing and waking");
    Ok(())
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |operation: Operation, also: fn(&[Killed]) -> Verdict| {
        Case::traced(format!("kill::{}", operation.name), move || {
            let killed = everywhere(&operation)?;
            also(&killed)?;
            grows(&killed, operation.effects)
        })
    };
    let simple = |backing| messages::operations(backing).into_iter().chain(life::operations_to_kill(backing));
    let simple = Backing::EACH.into_iter().flat_map(simple).chain(life::naming_operations()).chain(mpmc::operations());
    let waking = Backing::all().iter().copied().flat_map(wake::operations);
    let simple = simple.map(|operation| case(operation, |_| Ok(())));
    simple.chain(waking.map(|operation| case(operation, between_publishing_and_waking))).collect()
}
