//! One measurement of one contender: the part that runs in processes of its own.
//!
//! Every measurement starts fresh processes, so no contender inherits another's heap, descriptors or
//! threads, and one that crashes or loses a message costs its own cell and not the report.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Barrier;
use std::time::Duration;
use std::{env, thread};

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::contender::{BetweenProcesses, BetweenThreads};
use crate::machine::{self, Placement};
use crate::meeting::Meeting;
use crate::message::Message;
use crate::peers;
use crate::scenario::{Scenario, by_message};
use crate::workload::{self, Account, Plan, QUANTILES, RoundTrips, Sample, quantile};

/// What the coordinating process hands to the processes of a measurement, as one argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Who is measured.
    pub contender: String,
    /// With what work.
    pub plan: Plan,
    /// On which processors.
    pub placement: Placement,
    /// An empty directory in shared memory, whose name is in use nowhere else.
    pub directory: PathBuf,
}

impl Order {
    /// The command that runs one half of it.
    ///
    /// # Errors
    ///
    /// If this program cannot find itself.
    pub fn command(&self, half: Half) -> Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("half").arg(half.name()).arg(serde_json::to_string(self)?);
        Ok(command)
    }
}

/// Which half of a measurement a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Half {
    /// Consumes, or starts the round trips; looks at the clock.
    Measuring,
    /// Produces, or sends back: the second process of a contender between processes.
    Other,
}

impl Half {
    /// As the command line knows it.
    fn name(self) -> &'static str {
        match self {
            Self::Measuring => "measuring",
            Self::Other => "other",
        }
    }
}

/// Runs one half as the whole of this process.
///
/// # Errors
///
/// Whatever the contender cannot do.
pub fn run(half: Half, order: &str) -> Result<()> {
    // Nobody is left polling when the coordinator is interrupted.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let order: Order = serde_json::from_str(order).context("the order of a measurement")?;
    let contender = peers::find(&order.contender)?;
    match half {
        Half::Measuring => {
            machine::pin(order.placement.measuring)?;
            let sample = (contender.measure)(&order)?;
            println!("{}", serde_json::to_string(&sample)?);
        }
        Half::Other => {
            machine::pin(order.placement.other)?;
            (contender.other_half.context("a contender of one process has no other half")?)(&order)?;
        }
    }
    Ok(())
}

/// Measures a contender in two threads of this process.
///
/// # Errors
///
/// Whatever the contender cannot do.
pub fn between_threads<C: BetweenThreads>(order: &Order) -> Result<Sample> {
    by_message!(order.plan.scenario, M => threads::<C, M>(&order.plan, order.placement.other))
}

/// Measures a contender between this process and a second one.
///
/// # Errors
///
/// Whatever the contender cannot do, and the end of the second process before its time.
pub fn between_processes<C: BetweenProcesses>(order: &Order) -> Result<Sample> {
    let listener = UnixListener::bind(order.directory.join("meeting"))?;
    let mut other = Other(order.command(Half::Other)?.spawn()?);
    let mut meeting = Meeting::new(listener.accept()?.0, order.directory.clone());
    let sample = by_message!(order.plan.scenario, M => measuring_half::<C, M>(&mut meeting, &order.plan))?;
    ensure!(other.0.wait()?.success(), "the second process failed");
    Ok(sample)
}

/// The half of [`between_processes`] that runs in the second process.
///
/// # Errors
///
/// Whatever the contender cannot do, and the end of the first process before its time.
pub fn other_half<C: BetweenProcesses>(order: &Order) -> Result<()> {
    let stream = UnixStream::connect(order.directory.join("meeting"))?;
    let mut meeting = Meeting::new(stream, order.directory.clone());
    by_message!(order.plan.scenario, M => answering_half::<C, M>(&mut meeting, &order.plan))
}

/// The second process, which does not survive the measurement.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn threads<C: BetweenThreads, M: Message>(plan: &Plan, other_cpu: usize) -> Result<Sample> {
    let ready = Barrier::new(2);
    let account = Account::Thread;
    if plan.scenario == Scenario::PingPong {
        let (mut tx, mut there) = C::channel::<M>(plan.capacity)?;
        let (mut back, mut rx) = C::channel::<M>(plan.capacity)?;
        thread::scope(|scope| {
            let other = scope.spawn(|| -> Result<Duration> {
                machine::pin(other_cpu)?;
                ready.wait();
                Ok(workload::echo(&mut there, &mut back, plan, account))
            });
            ready.wait();
            let trips = workload::ping(&mut tx, &mut rx, plan, account);
            Ok(round_trips(plan, &trips, other.join().expect("the echo does not panic")?))
        })
    } else {
        let (mut tx, mut rx) = C::channel::<M>(plan.capacity)?;
        thread::scope(|scope| {
            let other = scope.spawn(|| -> Result<Duration> {
                machine::pin(other_cpu)?;
                ready.wait();
                Ok(workload::produce(&mut tx, plan, account))
            });
            ready.wait();
            let (elapsed, used) = workload::consume(&mut rx, plan, account);
            Ok(stream(plan, elapsed, used + other.join().expect("the producer does not panic")?))
        })
    }
}

fn measuring_half<C: BetweenProcesses, M: Message>(meeting: &mut Meeting, plan: &Plan) -> Result<Sample> {
    let account = Account::Process;
    if plan.scenario == Scenario::PingPong {
        meeting.open("there");
        let mut tx = C::sender::<M>(meeting, plan.capacity)?;
        meeting.open("back");
        let mut rx = C::receiver::<M>(meeting, plan.capacity)?;
        meeting.sync()?;
        let trips = workload::ping(&mut tx, &mut rx, plan, account);
        Ok(round_trips(plan, &trips, part(meeting)?))
    } else {
        meeting.open("stream");
        let mut rx = C::receiver::<M>(meeting, plan.capacity)?;
        meeting.sync()?;
        let (elapsed, used) = workload::consume(&mut rx, plan, account);
        Ok(stream(plan, elapsed, used + part(meeting)?))
    }
}

fn answering_half<C: BetweenProcesses, M: Message>(meeting: &mut Meeting, plan: &Plan) -> Result<()> {
    let account = Account::Process;
    if plan.scenario == Scenario::PingPong {
        meeting.open("there");
        let mut rx = C::receiver::<M>(meeting, plan.capacity)?;
        meeting.open("back");
        let mut tx = C::sender::<M>(meeting, plan.capacity)?;
        meeting.sync()?;
        let used = workload::echo(&mut rx, &mut tx, plan, account);
        meeting.tell(&used.as_nanos().to_string())?;
        // The ends live until the measuring side has seen everything.
        meeting.sync()
    } else {
        meeting.open("stream");
        let mut tx = C::sender::<M>(meeting, plan.capacity)?;
        meeting.sync()?;
        let used = workload::produce(&mut tx, plan, account);
        meeting.tell(&used.as_nanos().to_string())?;
        meeting.sync()
    }
}

/// Parts from the second process, which says how much processor time it used.
fn part(meeting: &mut Meeting) -> Result<Duration> {
    let used = meeting.hear()?.parse().context("nanoseconds")?;
    meeting.sync()?;
    Ok(Duration::from_nanos(used))
}

fn stream(plan: &Plan, elapsed: Duration, used: Duration) -> Sample {
    Sample { ns: per_message(elapsed, plan), cpu_ns: per_message(used, plan), quantiles_ns: Vec::new() }
}

fn round_trips(plan: &Plan, trips: &RoundTrips, used_by_other: Duration) -> Sample {
    let at = |q| f64::from(quantile(&trips.sorted_ns, q));
    Sample {
        ns: per_message(trips.elapsed, plan),
        cpu_ns: per_message(trips.used + used_by_other, plan),
        quantiles_ns: QUANTILES.into_iter().chain([1.0]).map(at).collect(),
    }
}

fn per_message(time: Duration, plan: &Plan) -> f64 {
    time.as_nanos() as f64 / plan.messages as f64
}
