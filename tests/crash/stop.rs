//! `SIGSTOP` before every instruction, and `SIGCONT` later: a stopped process is alive, and holds up nobody.

use crate::harness::Case;
use crate::oracle::{Verdict, require};
use crate::series::{Operation, Scene, course};
use crate::world::Backing;
use crate::{life, messages, mpmc, wake};

/// Stops the victim where it is, has the survivor go on beside it, and then lets it finish.
fn stop(mut scene: Scene) -> Verdict<u64> {
    let mut victim = scene.victim.leave_stopped();
    let pid = victim.pid();
    scene.survivor.beside_stopped(pid)?;
    victim.signal(libc::SIGCONT);
    victim.succeed("the victim, continued")?;
    scene.survivor.after(pid)
}

/// Stops victims in the course of an operation: however long each paused, the operation takes full effect.
pub(crate) fn everywhere(operation: &Operation) -> Verdict {
    let Operation { stage, whole, sampling, .. } = operation;
    let trace = course(operation, stop)?;
    let points = trace.chosen(*sampling);
    for (index, point) in points.iter().enumerate() {
        let at = |error: String| format!("stopped at {point:x?}, {index} of {}: {error}", points.len());
        let mut scene = stage();
        scene.victim.run_to(point);
        let effect = stop(scene).map_err(at)?;
        require!(effect == *whole, "{}", at(format!("{effect} messages took effect, not {whole}")));
    }
    println!("{trace}, {} stopped", points.len());
    Ok(())
}

pub(crate) fn cases() -> Vec<Case> {
    let operations = |backing| {
        let handles = messages::operations(backing).into_iter().chain(wake::operations(backing));
        handles.chain(life::operations_to_stop(backing))
    };
    let operations =
        Backing::all().iter().copied().flat_map(operations).chain(life::naming_operations()).chain(mpmc::operations());
    let operations = operations.chain(mpmc::operations_to_stop());
    let case = |operation: Operation| Case::traced(format!("stop::{}", operation.name), move || everywhere(&operation));
    operations.map(case).collect()
}
