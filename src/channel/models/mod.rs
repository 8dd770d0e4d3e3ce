//! Loom explores the handles as they ship, on the heap backing, with capacity 2 and a payload of several words that must
//! arrive together. Run: `RUSTFLAGS="--cfg loom" cargo test --release --lib models`.
//!
//! Loom sees every reordering that the orderings in the code permit, but no membarrier, so MPMC rings run in mode C:
//! `tests/model_mpmc` is for mode A, `tests/model_wait.rs` for lost wake-ups.

mod mpmc;
mod spsc;

/// Four words, of which each must arrive together with the others. SPSC: one message a block.
type Message = [u64; 4];

fn message(number: u64) -> Message {
    [number; 4]
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    explore_up_to(3, model);
}

/// Explores all executions with at most so many preemptions.
fn explore_up_to(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}
