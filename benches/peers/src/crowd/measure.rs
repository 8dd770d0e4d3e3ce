//! One measurement: the part that runs in processes of its own.
//!
//! All workers warm up, meet, and work; the time is from the first one's first send to the last one's last receive. The
//! process or thread that started them sleeps meanwhile.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::thread;

use anyhow::{Context, Result, ensure};
use ringway::Inspection;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::contender::{Contender, Place, ReceiveEnd, SendEnd};
use super::worker::{self, Seen, Share, digest, number};
use super::{Work, by_bytes, peers};
use crate::machine::{self, Placement};
use crate::message::Message;

/// What a measuring process is told, as one argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Who is measured.
    pub contender: String,
    /// Producers, and consumers.
    pub shape: usize,
    /// What they send.
    pub work: Work,
    /// Messages of all producers together that are not counted.
    pub warmup: u64,
    /// Messages of all producers together that are.
    pub messages: u64,
    /// Messages that the channel holds.
    pub capacity: usize,
    /// Over which the workers are dealt out.
    pub placement: Placement,
    /// Whether each side has a processor of its own.
    pub split: bool,
    /// An empty directory in shared memory, whose name is in use nowhere else.
    pub directory: PathBuf,
}

/// What came out of one measurement.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Wall time for one message, in nanoseconds.
    pub ns: f64,
    /// Processor time for it, of all workers together.
    pub cpu_ns: f64,
}

impl Sample {
    /// Share of the two processors that the measurement got.
    pub fn share(&self) -> f64 {
        self.cpu_ns / (2.0 * self.ns)
    }
}

/// One of the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Producer of that index.
    Producer(usize),
    /// Consumer of that index.
    Consumer(usize),
}

impl Order {
    fn roles(&self) -> impl Iterator<Item = Role> {
        (0..self.shape).map(Role::Producer).chain((0..self.shape).map(Role::Consumer))
    }

    /// Dealt out over both processors, both have the same to do, and two of a kind really meet; split, every message
    /// crosses from one to the other. A pair has one each in any case.
    fn cpu(&self, role: Role) -> usize {
        let Placement { measuring, other } = self.placement;
        let on_other = match role {
            Role::Producer(index) => self.split || index % 2 == 0,
            Role::Consumer(index) => !self.split && index % 2 == 1,
        };
        if on_other { other } else { measuring }
    }

    /// The warm-up, and what is counted.
    fn shares(&self) -> [Share; 2] {
        let each = |messages: u64| messages / self.shape as u64;
        let share = |from, messages| Share { from, messages, batch: self.work.batch, crowded: self.shape > 1 };
        [share(0, each(self.warmup)), share(each(self.warmup), each(self.messages))]
    }

    /// A process of this program for it.
    ///
    /// # Errors
    ///
    /// If this program cannot find itself.
    pub fn command(&self, part: &str) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(part).arg(serde_json::to_string(self)?);
        Ok(command)
    }

    fn sample(&self, seen: &[(Role, Seen)]) -> Result<Sample> {
        let [warmup, counted] = self.shares();
        let consumed = seen.iter().filter(|(role, _)| matches!(role, Role::Consumer(_)));
        let (count, sum) = consumed
            .clone()
            .fold((0, 0_u64), |(count, sum), (_, seen)| (count + seen.count, sum.wrapping_add(seen.sum)));
        let numbers = (0..self.shape)
            .flat_map(|producer| (0..counted.messages).map(move |message| number(producer, warmup.messages + message)));
        let expected = numbers.fold(0_u64, |sum, number| sum.wrapping_add(digest(number)));
        ensure!(count == self.messages && sum == expected, "messages were lost, and others doubled");
        let begin = seen.iter().filter(|(role, _)| matches!(role, Role::Producer(_))).map(|(_, seen)| seen.begin_ns);
        let elapsed = consumed.map(|(_, seen)| seen.end_ns).max().zip(begin.min()).map(|(end, begin)| end - begin);
        let cpu: u64 = seen.iter().map(|(_, seen)| seen.cpu_ns).sum();
        let per_message = |ns: u64| ns as f64 / self.messages as f64;
        Ok(Sample { ns: per_message(elapsed.context("no workers")?), cpu_ns: per_message(cpu) })
    }
}

/// The process of one measurement.
///
/// # Errors
///
/// Whatever the contender cannot do.
pub fn run_measurement(order: &str) -> Result<()> {
    end_with_parent()?;
    let order: Order = serde_json::from_str(order).context("the order of a measurement")?;
    let sample = (peers::find(&order.contender)?.measure)(&order)?;
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}

/// The process of one worker.
///
/// # Errors
///
/// Whatever the contender cannot do.
pub fn run_worker(order: &str, role: &str) -> Result<()> {
    end_with_parent()?;
    let order: Order = serde_json::from_str(order).context("the order of a measurement")?;
    let role = serde_json::from_str(role).context("the role of a worker")?;
    machine::pin(order.cpu(role))?;
    (peers::find(&order.contender)?.work)(&order, role)
}

/// The process of somebody who is stopped in the middle of a call.
///
/// # Errors
///
/// Whatever the contender cannot do.
pub fn run_victim(order: &str, role: &str) -> Result<()> {
    end_with_parent()?;
    let order: Order = serde_json::from_str(order).context("the order of a measurement")?;
    (peers::find(&order.contender)?.call)(&order, serde_json::from_str(role).context("the role of a victim")?)
}

/// Nobody is left polling when the coordinator is interrupted.
fn end_with_parent() -> Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Measures a contender, by threads or by processes.
///
/// # Errors
///
/// Whatever the contender cannot do.
pub fn measure<C: Contender>(order: &Order) -> Result<Sample> {
    by_bytes!(order.work.bytes, M => {
        let place = Place::new(&order.directory);
        let channel = C::create::<M>(&place, order.capacity)?;
        let seen = if C::ABOUT.processes {
            let victims = C::ABOUT.stalled.then(|| Victims::stop::<C, M>(order, &place, &channel)).transpose()?;
            let seen = processes(order)?;
            victims.map_or(Ok(()), |victims| victims.were_stalled(&place))?;
            seen
        } else {
            threads::<C, M>(order, &channel)?
        };
        order.sample(&seen)
    })
}

fn threads<C: Contender, M: Message>(order: &Order, channel: &C::Channel<M>) -> Result<Vec<(Role, Seen)>> {
    /// Either end.
    enum End<T, R> {
        Tx(T),
        Rx(R),
    }
    let meet = Barrier::new(2 * order.shape);
    let mut ends = Vec::new();
    for role in order.roles() {
        let end = match role {
            Role::Producer(_) => End::Tx(C::sender(channel)?),
            Role::Consumer(_) => End::Rx(C::receiver(channel)?),
        };
        ends.push((role, end));
    }
    let work = |role, mut end| {
        machine::pin(order.cpu(role))?;
        let [_, counted] = order.shares().map(|share| {
            meet.wait();
            match (&mut end, role) {
                (End::Tx(tx), Role::Producer(index)) => worker::produce::<M>(tx, index, share),
                (End::Rx(rx), _) => worker::consume::<M>(rx, order.shape, share),
                (End::Tx(_), Role::Consumer(_)) => unreachable!("made for its role"),
            }
        });
        Ok((role, counted))
    };
    thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = ends.into_iter().map(|(role, end)| scope.spawn(move || work(role, end))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a panic ends the process")).collect()
    })
}

/// What a worker does in a process of its own.
///
/// # Errors
///
/// Whatever the contender cannot do.
pub fn work<C: Contender>(order: &Order, role: Role) -> Result<()> {
    by_bytes!(order.work.bytes, M => {
        let channel = C::attach::<M>(&Place::new(&order.directory))?;
        match role {
            Role::Producer(index) => {
                let mut tx = C::sender(&channel)?;
                at_the_word(order, |share| worker::produce::<M>(&mut tx, index, share))
            }
            Role::Consumer(_) => {
                let mut rx = C::receiver(&channel)?;
                at_the_word(order, |share| worker::consume::<M>(&mut rx, order.shape, share))
            }
        }
    })
}

/// Does each share of the work when the starting process says so, and reports the last.
fn at_the_word(order: &Order, mut work: impl FnMut(Share) -> Seen) -> Result<()> {
    let mut seen = Seen::default();
    for share in order.shares() {
        println!("ready");
        ensure!(io::stdin().read_line(&mut String::new())? > 0, "the starting process ended");
        seen = work(share);
    }
    println!("{}", serde_json::to_string(&seen)?);
    // The end stays open until all have reported.
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// A worker in a process of its own, which does not survive this value.
struct Worker {
    role: Role,
    process: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Worker {
    fn start(order: &Order, role: Role) -> Result<Self> {
        let mut command = order.command("crowd-worker")?;
        command.arg(serde_json::to_string(&role)?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let (orders, reports) = process.stdin.take().zip(process.stdout.take()).context("both are pipes")?;
        Ok(Self { role, process, orders, reports: BufReader::new(reports) })
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.reports.read_line(&mut line)? > 0, "a worker ended: {:?}", self.role);
        Ok(line)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn processes(order: &Order) -> Result<Vec<(Role, Seen)>> {
    let mut workers = order.roles().map(|role| Worker::start(order, role)).collect::<Result<Vec<_>>>()?;
    for _ in order.shares() {
        for worker in &mut workers {
            ensure!(worker.hear()?.trim() == "ready", "a worker is not ready");
        }
        for worker in &mut workers {
            worker.orders.write_all(b"go\n")?;
        }
    }
    workers.iter_mut().map(|worker| Ok((worker.role, serde_json::from_str(&worker.hear()?)?))).collect()
}

/// A producer that was stopped in the middle of a send, and a consumer that was stopped in the middle of a take.
struct Victims(#[expect(dead_code, reason = "held for their ends")] [Stopped; 2]);

/// A process that does not survive this value.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stopped {
    fn start(order: &Order, role: Role) -> Result<Self> {
        let mut command = order.command("crowd-victim")?;
        Ok(Self(command.arg(serde_json::to_string(&role)?).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }

    fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        loop {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
            match stat.rsplit(") ").next().and_then(|rest| rest.chars().next()) {
                Some('T') => return Ok(()),
                Some('Z' | 'X') | None => anyhow::bail!("a victim ended before it was stopped"),
                _ => thread::yield_now(),
            }
        }
    }
}

impl Victims {
    /// Attempts to catch a producer between its claim and its publication.
    const ATTEMPTS: usize = 10_000;

    fn stop<C: Contender, M: Message>(order: &Order, place: &Place, channel: &C::Channel<M>) -> Result<Self> {
        let victims = [Stopped::start(order, Role::Producer(0))?, Stopped::start(order, Role::Consumer(0))?];
        let [producer, consumer] = &victims;
        while Inspection::of(&place.name())?.received == 0 {
            thread::yield_now();
        }
        let mut attempts = 0..Self::ATTEMPTS;
        loop {
            ensure!(attempts.next().is_some(), "no producer was caught in the middle of a send");
            producer.stop()?;
            if stalled_slots(place)? > 0 {
                break;
            }
            producer.signal(Signal::CONT)?;
        }
        // It does nothing else, so it is in the middle of a take wherever it is.
        consumer.stop()?;
        // What the victims have sent to each other is none of the workers' business.
        let mut rx = C::receiver(channel)?;
        while rx.try_receive().is_some() {}
        Ok(Self(victims))
    }

    fn were_stalled(self, place: &Place) -> Result<()> {
        ensure!(stalled_slots(place)? > 0, "the stopped producer holds no slot any more");
        Ok(())
    }
}

/// Slots that somebody is writing, or was too slow to write.
fn stalled_slots(place: &Place) -> Result<u64> {
    let slots = Inspection::of(&place.name())?.slots.context("an MPMC channel")?;
    Ok(slots.writing + slots.held)
}

/// Makes calls for ever.
///
/// # Errors
///
/// Whatever the contender cannot do.
pub fn call<C: Contender>(order: &Order, role: Role) -> Result<()> {
    by_bytes!(order.work.bytes, M => {
        let channel = C::attach::<M>(&Place::new(&order.directory))?;
        match role {
            Role::Producer(index) => {
                let mut tx = C::sender(&channel)?;
                for sequence in 0.. {
                    tx.try_send(M::numbered(number(index, sequence)));
                }
            }
            Role::Consumer(_) => {
                let mut rx = C::receiver(&channel)?;
                loop {
                    rx.try_receive();
                }
            }
        }
        Ok(())
    })
}
