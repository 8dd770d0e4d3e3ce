//! Ending by a signal without leaving anything behind.
//!
//! A thread of its own waits for the signal, because the main thread may be blocked in a channel or in a read; it
//! cleans up and ends the process. What the main thread must not be caught in the middle of, it does while holding a
//! lock that the clean-up takes.

use std::io;
use std::process;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// From now on, SIGINT, SIGTERM and SIGHUP run `clean` and then end the process with code 128 + signal.
pub(crate) fn on_interrupt(clean: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    // Under nohup, a hang-up stays ignored.
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    thread::Builder::new().name("interrupt".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            clean();
            process::exit(128 + signal);
        }
    })?;
    Ok(())
}

/// Whether whoever started us had the signal ignored; if the kernel does not say, it was not.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
