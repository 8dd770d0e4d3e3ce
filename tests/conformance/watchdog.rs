//! No trial may hang: whoever waits for ever fails by name.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Hundreds of times what the slowest trial needs on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs `trial`, and ends the whole process if that does not end.
pub(crate) fn guard<R>(name: &str, trial: impl FnOnce() -> R) -> R {
    let (_done, ended) = channel::<()>();
    let name = name.to_owned();
    thread::spawn(move || {
        if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("\n{name} did not end within {LIMIT:?}");
            std::process::abort();
        }
    });
    trial()
}
