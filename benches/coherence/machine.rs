//! A machine of cores with private caches: which operation needs its line moved, and when each one ends.
//!
//! A line is invalid, shared or exclusive in each cache. (Of MESI's states, M and E differ in nothing that is counted
//! here.) An operation *hits* if the core holds the line, for a write if it holds it exclusively. Everything else is
//! one *transfer*: a miss moves the line, an upgrade takes it from the other holders. The home of a line serves its
//! transfers one after the other, in the order in which they were asked for:
//!
//! ```text
//!   asked for ... begins ---- hold ----> leaves its holders ---- until transfer ----> arrives, operation done
//!                                                                                     the next one begins
//! ```
//!
//! so a core that has just got a line keeps it for at least `hold`, however many wait. A load that no exclusive holder
//! has to answer is pipelined: it occupies the home for `share` only. A failed compare-exchange takes its line
//! exclusively, as it does on x86. Caches are infinite, and homes are independent of each other.
//!
//! A store that misses is *posted*, into a store buffer of one entry: the core goes on, but its next store, its next
//! locked operation and whatever it does to that line wait. Loads may pass it, as on x86. A prefetch for writing delays
//! only what its core does to that line.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::cpu::{Access, Cpu, Port, Request, Word};

/// What things cost, in units of a load that hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// From the moment at which the home begins to serve a miss to the line's arrival.
    pub(crate) transfer: u64,
    /// How long a load occupies the home if no exclusive holder has to answer.
    pub(crate) share: u64,
    /// How long the holders keep a line after the home began to take it away; less than `transfer`.
    pub(crate) hold: u64,
    /// A load, store or prefetch that hits, and the handing over of one that is posted.
    pub(crate) plain: u64,
    /// A compare-exchange or addition that hits.
    pub(crate) locked: u64,
}

impl Timing {
    /// In nanoseconds, near those of a 2-vCPU x86-64 VM: two bare atomics are passed on in 61 to 71 ns, an addition to a
    /// word takes 5 ns alone and 15 against another core, which fixes `hold`. `share` is a guess.
    pub(crate) const MEASURED: Self = Self { transfer: 60, share: 10, hold: 20, plain: 1, locked: 5 };
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Transfers of the lines below [`Machine::SHARED`]: positions and hints.
    pub(crate) shared: u64,
    /// Transfers of the other lines: slots.
    pub(crate) slots: u64,
    /// Compare-exchanges that found another value.
    pub(crate) failed: u64,
}

/// One 64-byte line and its home.
#[derive(Clone, Default)]
struct Line {
    words: [u64; 8],
    /// One bit a core that has the line.
    holders: u64,
    /// Whether the one holder may write.
    exclusive: bool,
    /// The transfer in progress, unless that is a pipelined load; then those that wait.
    waiting: VecDeque<(usize, Word, Access)>,
    busy: bool,
}

struct Core {
    program: Pin<Box<dyn Future<Output = ()>>>,
    port: Rc<Port>,
    /// The line of the posted store.
    store: Option<usize>,
    /// Lines that were prefetched and have not arrived.
    prefetched: Vec<usize>,
    /// What waits for one of these.
    stalled: Option<Request>,
}

impl Core {
    fn must_wait(&self, line: usize, access: Access) -> bool {
        match access {
            Access::Own => false,
            Access::Load => self.is_coming(line),
            _ => self.store.is_some() || self.is_coming(line),
        }
    }

    fn is_coming(&self, line: usize) -> bool {
        self.store == Some(line) || self.prefetched.contains(&line)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The core has its answer and goes on.
    Resume(usize, u64),
    /// The line leaves its holders.
    Leave(usize),
    /// The line arrives.
    Arrive(usize),
    /// The home may begin the next transfer of the line.
    Free(usize),
}

/// Cores, lines and the clock.
pub(crate) struct Machine {
    timing: Timing,
    lines: Vec<Line>,
    cores: Vec<Core>,
    /// Ordered by time, then by age: the second number, which no two share.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    now: u64,
    counts: Counts,
}

impl Machine {
    /// Lines below this one are counted as shared words, the others as slots.
    pub(crate) const SHARED: usize = 8;

    pub(crate) fn new(timing: Timing, lines: usize) -> Self {
        Self {
            timing,
            lines: vec![Line::default(); lines],
            cores: Vec::new(),
            events: BinaryHeap::new(),
            scheduled: 0,
            now: 0,
            counts: Counts::default(),
        }
    }

    /// Adds a core that runs `program`.
    pub(crate) fn run<F: Future<Output = ()> + 'static>(&mut self, program: impl FnOnce(Cpu) -> F) {
        let core = self.cores.len();
        assert!(core < 64, "holders are bits of a u64");
        let port = Rc::new(Port::default());
        let program = Box::pin(program(Cpu::new(core, Rc::clone(&port))));
        self.cores.push(Core { program, port, store: None, prefetched: Vec::new(), stalled: None });
        self.schedule(0, Event::Resume(core, 0));
    }

    /// Sets a word before the cores run.
    pub(crate) fn preset(&mut self, word: Word, value: u64) {
        self.lines[word.line].words[word.index] = value;
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Handles the next event; false if all programs have ended.
    pub(crate) fn step(&mut self) -> bool {
        let Some(Reverse((time, _, event))) = self.events.pop() else { return false };
        self.now = time;
        match event {
            Event::Resume(core, answer) => self.resume(core, answer),
            Event::Leave(line) => self.leave(line),
            Event::Arrive(line) => self.arrive(line),
            Event::Free(line) => self.free(line),
        }
        true
    }

    fn schedule(&mut self, delay: u64, event: Event) {
        self.events.push(Reverse((self.now + delay, self.scheduled, event)));
        self.scheduled += 1;
    }

    fn resume(&mut self, core: usize, answer: u64) {
        let Core { program, port, .. } = &mut self.cores[core];
        port.answer.set(Some(answer));
        if program.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            let request = port.request.take().expect("a program awaits nothing but its core");
            self.request(core, request);
        }
    }

    fn request(&mut self, core: usize, request: Request) {
        match request {
            Request::Work(time) => self.schedule(time, Event::Resume(core, 0)),
            Request::Access(word, access) if self.cores[core].must_wait(word.line, access) => {
                self.cores[core].stalled = Some(request);
            }
            Request::Access(word, access) if self.hits(core, word.line, access) => {
                let answer = self.apply(word, access);
                self.schedule(self.cost(access), Event::Resume(core, answer));
            }
            Request::Access(word, access) => self.miss(core, word, access),
        }
    }

    fn hits(&self, core: usize, line: usize, access: Access) -> bool {
        let Line { holders, exclusive, .. } = self.lines[line];
        assert!(!exclusive || holders.is_power_of_two(), "an exclusive holder is the only one");
        let held = holders & 1 << core != 0 && (exclusive || access == Access::Load);
        held || access == Access::Own && self.cores[core].is_coming(line)
    }

    fn miss(&mut self, core: usize, word: Word, access: Access) {
        match access {
            Access::Store(_) => self.cores[core].store = Some(word.line),
            Access::Own => self.cores[core].prefetched.push(word.line),
            _ => {}
        }
        if access.is_posted() {
            self.schedule(self.timing.plain, Event::Resume(core, 0));
        }
        let line = &mut self.lines[word.line];
        line.waiting.push_back((core, word, access));
        if !line.busy {
            self.begin(word.line);
        }
    }

    fn cost(&self, access: Access) -> u64 {
        match access {
            Access::Exchange { .. } | Access::Add(_) => self.timing.locked,
            Access::Load | Access::Store(_) | Access::Own => self.timing.plain,
        }
    }

    fn apply(&mut self, word: Word, access: Access) -> u64 {
        let value = &mut self.lines[word.line].words[word.index];
        let old = *value;
        match access {
            Access::Load | Access::Own => {}
            Access::Store(new) => *value = new,
            Access::Exchange { from, to } if from == old => *value = to,
            Access::Exchange { .. } => self.counts.failed += 1,
            Access::Add(n) => *value += n,
        }
        old
    }

    fn begin(&mut self, index: usize) {
        if index < Self::SHARED {
            self.counts.shared += 1;
        } else {
            self.counts.slots += 1;
        }
        let line = &mut self.lines[index];
        line.busy = true;
        let (core, word, access) = line.waiting[0];
        if access != Access::Load || line.exclusive {
            self.schedule(self.timing.hold, Event::Leave(index));
            self.schedule(self.timing.transfer, Event::Arrive(index));
        } else {
            line.waiting.pop_front();
            line.exclusive = line.holders == 0;
            line.holders |= 1 << core;
            let answer = self.apply(word, access);
            self.schedule(self.timing.transfer, Event::Resume(core, answer));
            self.schedule(self.timing.share, Event::Free(index));
        }
    }

    fn leave(&mut self, index: usize) {
        let line = &mut self.lines[index];
        let (core, _, access) = line.waiting[0];
        line.exclusive = false;
        if access != Access::Load {
            line.holders &= 1 << core;
        }
    }

    fn arrive(&mut self, index: usize) {
        let line = &mut self.lines[index];
        let (core, word, access) = line.waiting.pop_front().expect("an arriving line was asked for");
        line.holders |= 1 << core;
        line.exclusive = access != Access::Load;
        let answer = self.apply(word, access);
        if access.is_posted() {
            self.posted(core, index, access);
        } else {
            self.schedule(self.cost(access), Event::Resume(core, answer));
        }
        self.free(index);
    }

    fn posted(&mut self, core: usize, index: usize, access: Access) {
        let core_state = &mut self.cores[core];
        if access == Access::Own {
            core_state.prefetched.retain(|&line| line != index);
        } else {
            core_state.store = None;
        }
        if let Some(request) = core_state.stalled.take() {
            self.request(core, request);
        }
    }

    fn free(&mut self, index: usize) {
        self.lines[index].busy = false;
        if !self.lines[index].waiting.is_empty() {
            self.begin(index);
        }
    }
}
