//! Runs the two processes of a measurement, and makes sure that none outlives it.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::PEER_COMMAND;
use super::peer::{Job, Report, Role};
use super::placement::Placement;
use super::plan::{Cell, Scenario};
use super::transport::connect;

/// How much longer than its measurement a run may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a process may take to notice that the other one has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Starts pairs of processes, one pair at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    running: Arc<Mutex<Vec<Child>>>,
}

impl Pairs {
    /// Leader and follower of one run, both of which have checked every message; or what went wrong.
    pub(super) fn run(
        &self,
        cell: Cell,
        placement: &Placement,
        capacity: usize,
        measure: Duration,
    ) -> Result<[Report; 2], String> {
        let (reporting, reports) = mpsc::channel();
        self.start(cell, placement, capacity, measure, &reporting)
            .map_err(|error| format!("cannot start: {error}"))
            .inspect_err(|_| drop(self.end()))?;
        drop(reporting);

        let mut texts = [None, None];
        let mut deadline = Instant::now() + measure + PATIENCE;
        while let Ok((side, text)) = reports.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            let text: String = text;
            if !text.starts_with('{') {
                deadline = deadline.min(Instant::now() + AFTER_FAILURE);
            }
            texts[side] = Some(text);
        }
        let statuses = self.end();
        match texts.each_ref().map(|text| serde_json::from_str(text.as_deref().unwrap_or_default())) {
            [Ok(leader), Ok(follower)] => Ok([leader, follower]),
            outcomes => {
                let names = match cell.scenario {
                    Scenario::PingPong => ["first process", "second process"],
                    Scenario::Throughput => ["producer", "consumer"],
                };
                let mut complaints = Vec::new();
                for side in [0, 1] {
                    if outcomes[side].is_err() {
                        let complaint = complaint(texts[side].as_deref(), statuses.get(side));
                        complaints.push(format!("{}: {complaint}", names[side]));
                    }
                }
                Err(complaints.join("; "))
            }
        }
    }

    /// Connects and starts both. The lock is held: an interruption finds all of it done, or nothing.
    fn start(
        &self,
        cell: Cell,
        placement: &Placement,
        capacity: usize,
        measure: Duration,
        reporting: &Sender<(usize, String)>,
    ) -> io::Result<()> {
        let mut running = self.lock();
        let sides = connect(&cell, capacity)?.into_iter().zip([Role::Leader, Role::Follower]).zip(placement.cores);
        for (side, ((ends, role), core)) in sides.enumerate() {
            let job = Job { cell, role, core, measure, parent: std::process::id() as i32 };
            let (reads, writes) = match (cell.scenario, role) {
                (Scenario::PingPong, _) => (true, true),
                (Scenario::Throughput, Role::Leader) => (false, true),
                (Scenario::Throughput, Role::Follower) => (true, false),
            };
            // The very program that is running, even if its file was replaced meanwhile.
            let mut child = Command::new("/proc/self/exe")
                .arg0("ringway")
                .arg(PEER_COMMAND)
                .arg(serde_json::to_string(&job)?)
                .stdin(if reads { ends.incoming.into() } else { Stdio::null() })
                .stdout(if writes { ends.outgoing.into() } else { Stdio::null() })
                .stderr(Stdio::piped())
                .spawn()?;
            let stderr = child.stderr.take();
            running.push(child);
            if let Some(stderr) = stderr {
                let reporting = reporting.clone();
                thread::Builder::new().spawn(move || listen(stderr, side, &reporting))?;
            }
        }
        Ok(())
    }

    /// Ends what still runs, in the order in which it was started.
    fn end(&self) -> Vec<ExitStatus> {
        end(&mut self.lock())
    }

    /// The same as the last act of this process: no pair is started any more.
    pub(super) fn end_for_good(&self) {
        let mut running = self.lock();
        end(&mut running);
        std::mem::forget(running);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that has ended already keeps its own status.
fn end(running: &mut Vec<Child>) -> Vec<ExitStatus> {
    running
        .drain(..)
        .filter_map(|mut child| {
            let _ = child.kill();
            child.wait().ok()
        })
        .collect()
}

fn listen(mut stderr: ChildStderr, side: usize, reporting: &Sender<(usize, String)>) {
    let mut text = Vec::new();
    let _ = stderr.read_to_end(&mut text);
    let _ = reporting.send((side, String::from_utf8_lossy(&text).trim().to_owned()));
}

fn complaint(text: Option<&str>, status: Option<&ExitStatus>) -> String {
    match (text, status.and_then(ExitStatus::signal)) {
        (None, _) => "hung, and was killed".into(),
        (Some(""), Some(signal)) => format!("died of signal {signal}"),
        (Some(""), None) => "ended without a report".into(),
        (Some(text), _) => text.trim_start_matches("ringway: ").replace('\n', " | "),
    }
}
