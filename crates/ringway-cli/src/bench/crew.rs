//! Runs the processes of a measurement, and makes sure that none outlives it.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringway::Options;
use ringway::mpmc::Channel;
use rustix::pipe::{PipeFlags, pipe_with};

use super::PEER_COMMAND;
use super::crowd;
use super::message::with_message;
use super::peer::{Job, Report, Role};
use super::placement::Placement;
use super::plan::{Cell, Scenario};
use super::transport::{Ends, connect};

/// How much longer than its measurement a run may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a process may take to notice that the other one has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Between two looks whether all processes are there.
const GATHERING: Duration = Duration::from_millis(1);

/// What all processes of a run together have seen; every message was checked.
#[derive(Debug)]
pub(super) struct Run {
    /// Messages, or round trips.
    pub(super) messages: u64,
    pub(super) wall_ns: u64,
    /// Processor time of all processes.
    pub(super) cpu_ns: u64,
    /// Round trips: nanoseconds and how many.
    pub(super) trips: Vec<(u64, u64)>,
}

impl Run {
    fn of(cell: Cell, mut leaders: Vec<Report>, followers: &[Report]) -> Result<Self, String> {
        let all = || leaders.iter().chain(followers);
        let cpu_ns = all().map(|report| report.cpu_ns).sum();
        let messages = followers.iter().map(|report| report.messages).sum();
        let begin = if cell.is_crowd() { &leaders[..] } else { followers }.iter().map(|report| report.begin_ns).min();
        let end = followers.iter().map(|report| report.end_ns).max();
        if cell.is_crowd() && !crowd::is_complete(&leaders, followers) {
            return Err("verification failed: messages were lost or doubled".into());
        }
        let wall_ns = end.unwrap_or_default().saturating_sub(begin.unwrap_or_default());
        let trips = leaders.first_mut().map(|leader| std::mem::take(&mut leader.trips)).unwrap_or_default();
        Ok(Self { messages, wall_ns, cpu_ns, trips })
    }
}

/// Starts the processes of one run at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Crew {
    running: Arc<Mutex<Vec<Child>>>,
}

/// What keeps the producers of a crowd waiting.
struct Gate {
    /// The producers see its end.
    _closed: OwnedFd,
    /// Whether all are attached.
    is_complete: Box<dyn Fn() -> bool>,
}

/// What a process gets as standard input and output.
struct Post {
    role: Role,
    index: usize,
    ends: Ends,
}

impl Crew {
    /// What came of one run, or what went wrong.
    pub(super) fn run(
        &self,
        cell: Cell,
        placement: &Placement,
        capacity: usize,
        measure: Duration,
    ) -> Result<Run, String> {
        let (reporting, reports) = mpsc::channel();
        let gate = self
            .start(cell, placement, capacity, measure, &reporting)
            .map_err(|error| format!("cannot start: {error}"))
            .inspect_err(|_| drop(self.end()))?;
        drop(reporting);

        let processes = cell.producers + cell.consumers;
        let mut texts = vec![None; processes];
        let mut deadline = Instant::now() + measure + PATIENCE;
        let mut note = |(process, text): (usize, String), deadline: &mut Instant| {
            if !text.starts_with('{') {
                *deadline = (*deadline).min(Instant::now() + AFTER_FAILURE);
            }
            texts[process] = Some(text);
        };
        if let Some(report) = gate.and_then(|gate| gathered(&gate, &reports, deadline)) {
            note(report, &mut deadline);
        }
        while let Ok(report) = reports.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            note(report, &mut deadline);
        }
        let statuses = self.end();
        let (mut outcomes, mut complaints) = (Vec::new(), Vec::new());
        for (process, text) in texts.iter().enumerate() {
            match serde_json::from_str(text.as_deref().unwrap_or_default()) {
                Ok(report) => outcomes.push(report),
                Err(_) => {
                    let complaint = complaint(text.as_deref(), statuses.get(process));
                    complaints.push(format!("{}: {complaint}", title(cell, process)));
                }
            }
        }
        if !complaints.is_empty() {
            return Err(complaints.join("; "));
        }
        let followers = outcomes.split_off(cell.producers);
        Run::of(cell, outcomes, &followers)
    }

    /// Connects and starts all. The lock is held: an interruption finds all of it done, or nothing.
    fn start(
        &self,
        cell: Cell,
        placement: &Placement,
        capacity: usize,
        measure: Duration,
        reporting: &Sender<(usize, String)>,
    ) -> io::Result<Option<Gate>> {
        let mut running = self.lock();
        let (posts, gate) = if cell.is_crowd() { gather(cell, capacity)? } else { (pair(cell, capacity)?, None) };
        for (process, Post { role, index, ends }) in posts.into_iter().enumerate() {
            let job =
                Job { cell, role, index, core: placement.core(process), measure, parent: std::process::id() as i32 };
            let (reads, writes) = match (cell.scenario, role) {
                (Scenario::PingPong, _) => (true, true),
                (Scenario::Throughput, Role::Leader) => (cell.is_crowd(), true),
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
                thread::Builder::new().spawn(move || listen(stderr, process, &reporting))?;
            }
        }
        Ok(gate)
    }

    /// Ends what still runs, in the order in which it was started.
    fn end(&self) -> Vec<ExitStatus> {
        end(&mut self.lock())
    }

    /// The same as the last act of this process: nothing is started any more.
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

/// One of each, with a connection in both directions.
fn pair(cell: Cell, capacity: usize) -> io::Result<Vec<Post>> {
    let roles = [Role::Leader, Role::Follower].into_iter();
    Ok(roles.zip(connect(&cell, capacity)?).map(|(role, ends)| Post { role, index: 0, ends }).collect())
}

/// Several of each on one channel, and the gate before the producers.
fn gather(cell: Cell, capacity: usize) -> io::Result<(Vec<Post>, Option<Gate>)> {
    let Cell { producers, consumers, .. } = cell;
    with_message!(cell.bytes, M => {
        let channel = Channel::<M>::anonymous(&Options::new().capacity(capacity)).map_err(io::Error::other)?;
        let region = channel.as_fd().ok_or_else(|| io::Error::other("an anonymous region has a descriptor"))?;
        let region = || region.try_clone_to_owned();
        let (gate, closed) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut posts = Vec::new();
        for index in 0..producers {
            let ends = Ends { incoming: gate.as_fd().try_clone_to_owned()?, outgoing: region()? };
            posts.push(Post { role: Role::Leader, index, ends });
        }
        for index in 0..consumers {
            posts.push(Post { role: Role::Follower, index, ends: Ends { incoming: region()?, outgoing: region()? } });
        }
        let is_complete = move || (channel.senders().len(), channel.receivers().len()) == (producers, consumers);
        Ok((posts, Some(Gate { _closed: closed, is_complete: Box::new(is_complete) })))
    })
}

/// Waits until all are attached; gives the report of one that has ended before.
fn gathered(gate: &Gate, reports: &Receiver<(usize, String)>, deadline: Instant) -> Option<(usize, String)> {
    while !(gate.is_complete)() && Instant::now() < deadline {
        match reports.recv_timeout(GATHERING) {
            Ok(report) => return Some(report),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

fn title(cell: Cell, process: usize) -> String {
    let names = match cell.scenario {
        Scenario::PingPong => ["first process", "second process"],
        Scenario::Throughput => ["producer", "consumer"],
    };
    let (name, index, of) = match process.checked_sub(cell.producers) {
        None => (names[0], process, cell.producers),
        Some(index) => (names[1], index, cell.consumers),
    };
    if of > 1 { format!("{name} {index}") } else { name.into() }
}

fn listen(mut stderr: ChildStderr, process: usize, reporting: &Sender<(usize, String)>) {
    let mut text = Vec::new();
    let _ = stderr.read_to_end(&mut text);
    let _ = reporting.send((process, String::from_utf8_lossy(&text).trim().to_owned()));
}

fn complaint(text: Option<&str>, status: Option<&ExitStatus>) -> String {
    match (text, status.and_then(ExitStatus::signal)) {
        (None, _) => "hung, and was killed".into(),
        (Some(""), Some(signal)) => format!("died of signal {signal}"),
        (Some(""), None) => "ended without a report".into(),
        (Some(text), _) => text.trim_start_matches("ringway: ").replace('\n', " | "),
    }
}
