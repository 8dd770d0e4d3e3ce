//! Half of the cores send, the other half receive, as fast as they can; every message is checked.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use crate::machine::{Machine, Timing};
use crate::strategy::{Peer, Ring, Strategy};

/// What is run, beside the strategy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) timing: Timing,
    pub(crate) ring: Ring,
    /// Half of them producers, half consumers.
    pub(crate) cores: usize,
    /// Limits of the random work between two calls, of producers and consumers.
    pub(crate) think: [u64; 2],
    /// Messages a call.
    pub(crate) batch: u64,
    /// Messages that are measured.
    pub(crate) messages: u64,
}

/// What a run came to, a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Transfers of slots' lines.
    pub(crate) slots: f64,
    /// Transfers of shared positions' and hints' lines.
    pub(crate) shared: f64,
    /// Failed compare-exchanges.
    pub(crate) failed: f64,
    pub(crate) time: f64,
    /// What the slowest core sent or received, as a fraction of the average of its side.
    pub(crate) slowest: f64,
}

/// Messages that were received, in the order in which the calls returned.
struct Received {
    messages: HashSet<u64>,
    /// The newest number that a consumer has had of a producer, by both cores.
    newest: [[u64; 64]; 64],
    /// Messages sent or received, by core.
    each: [u64; 64],
}

impl Received {
    fn note(&mut self, consumer: usize, message: u64) {
        assert!(self.messages.insert(message), "delivered twice: {message:x}");
        let (producer, number) = parts(message);
        let newest = &mut self.newest[consumer][producer];
        assert!(number > *newest, "overtaken: {message:x}");
        *newest = number;
        self.each[producer] += 1;
        self.each[consumer] += 1;
    }

    /// How many messages nobody has returned although a later one of the same producer was.
    fn missing(&self) -> u64 {
        let sent: u64 = (0..64).map(|producer| self.newest.iter().map(|of| of[producer]).max().unwrap_or(0)).sum();
        sent - self.messages.len() as u64
    }
}

/// A message carries its producer and its number, from 1.
fn message(producer: usize, number: u64) -> u64 {
    (producer as u64) << 32 | number
}

fn parts(message: u64) -> (usize, u64) {
    ((message >> 32) as usize, message & 0xffff_ffff)
}

impl Workload {
    /// Runs `strategy` for two laps, which make every line warm, and then measures.
    pub(crate) fn run(self, strategy: impl Strategy) -> Cost {
        let Self { ring, cores, .. } = self;
        let mut machine = Machine::new(self.timing, ring.lines());
        for slot in 0..ring.capacity {
            machine.preset(ring.word(slot), strategy.initial(slot));
        }
        let received = Received { messages: HashSet::new(), newest: [[0; 64]; 64], each: [0; 64] };
        let received = Rc::new(RefCell::new(received));
        for _ in 0..cores / 2 {
            self.start_producer(&mut machine, strategy);
        }
        for _ in 0..cores / 2 {
            self.start_consumer(&mut machine, strategy, &received);
        }

        let warm = 2 * ring.capacity;
        let latest = (warm + self.messages) * (300 * self.timing.transfer + self.think[0] + self.think[1]);
        let mut until = |messages: u64| {
            while (received.borrow().messages.len() as u64) < messages {
                assert!(machine.step(), "programs do not end");
                assert!(machine.now() < latest, "too slow to be anything but stuck");
            }
            (machine.now(), machine.counts(), received.borrow().each)
        };
        let (start, before, each_before) = until(warm);
        let (end, after, each_after) = until(warm + self.messages);

        assert!(received.borrow().missing() <= cores as u64 / 2, "a consumer has at most one that it has not returned");
        let each = |count: u64| count as f64 / self.messages as f64;
        let slowest = (0..cores).map(|core| each_after[core] - each_before[core]).min().unwrap_or(0);
        Cost {
            slots: each(after.slots - before.slots),
            shared: each(after.shared - before.shared),
            failed: each(after.failed - before.failed),
            time: each(end - start),
            slowest: each(slowest * cores as u64 / 2),
        }
    }

    fn start_producer(self, machine: &mut Machine, strategy: impl Strategy) {
        machine.run(move |cpu| async move {
            let mut peer = Peer::default();
            for number in 1.. {
                if number % self.batch == 0 {
                    cpu.work(cpu.random(self.think[0])).await;
                }
                strategy.send(self.ring, &cpu, &mut peer, message(cpu.core(), number)).await;
            }
        });
    }

    fn start_consumer(self, machine: &mut Machine, strategy: impl Strategy, received: &Rc<RefCell<Received>>) {
        let received = Rc::clone(received);
        machine.run(move |cpu| async move {
            let mut peer = Peer::default();
            for number in 1_u64.. {
                if number % self.batch == 0 {
                    cpu.work(cpu.random(self.think[1])).await;
                }
                let message = strategy.recv(self.ring, &cpu, &mut peer).await;
                received.borrow_mut().note(cpu.core(), message);
            }
        });
    }
}
