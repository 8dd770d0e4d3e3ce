//! What a program sees of its core: operations on words, which take as long as the machine says.
//!
//! Programs are `async` functions, because that is how Rust writes a coroutine: every operation hands a request to the
//! machine and waits for the answer. A program awaits nothing else.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// Where a u64 lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Number of the 64-byte line.
    pub(crate) line: usize,
    /// Which of its eight words.
    pub(crate) index: usize,
}

/// An operation on a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Load,
    Store(u64),
    Exchange {
        from: u64,
        to: u64,
    },
    Add(u64),
    /// Prefetch for writing.
    Own,
}

impl Access {
    /// Whether the core goes on while the line is under way.
    pub(crate) fn is_posted(self) -> bool {
        matches!(self, Self::Store(_) | Self::Own)
    }
}

/// What a program asks its machine for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    Access(Word, Access),
    /// Time that touches no line.
    Work(u64),
}

/// Between a program and its machine.
#[derive(Default)]
pub(crate) struct Port {
    pub(crate) request: Cell<Option<Request>>,
    pub(crate) answer: Cell<Option<u64>>,
}

/// A core, as its program sees it.
pub(crate) struct Cpu {
    core: usize,
    port: Rc<Port>,
    random: Cell<u64>,
}

impl Cpu {
    pub(crate) fn new(core: usize, port: Rc<Port>) -> Self {
        Self { core, port, random: Cell::new(core as u64) }
    }

    pub(crate) fn core(&self) -> usize {
        self.core
    }

    async fn ask(&self, request: Request) -> u64 {
        // What started the program was an answer to nothing.
        self.port.answer.take();
        self.port.request.set(Some(request));
        poll_fn(|_| self.port.answer.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    pub(crate) async fn load(&self, word: Word) -> u64 {
        self.ask(Request::Access(word, Access::Load)).await
    }

    pub(crate) async fn store(&self, word: Word, value: u64) {
        self.ask(Request::Access(word, Access::Store(value))).await;
    }

    /// Compare-exchange; returns what it found, so `from` means success.
    pub(crate) async fn exchange(&self, word: Word, from: u64, to: u64) -> u64 {
        self.ask(Request::Access(word, Access::Exchange { from, to })).await
    }

    /// Fetch-and-add.
    pub(crate) async fn add(&self, word: Word, n: u64) -> u64 {
        self.ask(Request::Access(word, Access::Add(n))).await
    }

    /// Prefetch for writing.
    pub(crate) async fn own(&self, word: Word) {
        self.ask(Request::Access(word, Access::Own)).await;
    }

    pub(crate) async fn work(&self, time: u64) {
        self.ask(Request::Work(time)).await;
    }

    /// A number below `limit`, or 0, from this core's own sequence (splitmix64).
    pub(crate) fn random(&self, limit: u64) -> u64 {
        self.random.set(self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.random.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }
}
