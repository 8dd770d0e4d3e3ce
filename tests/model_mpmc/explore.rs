//! The search: every state that any order of steps can reach, depth first, each state once.

use std::fmt::{self, Debug, Display};

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What went wrong; must-fail tests name the kind that they expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A payload that nobody wrote as a whole.
    Torn,
    /// A message was handed out twice, or acknowledged twice.
    Duplicate,
    /// A message was handed out that was never published, or whose sender was told `Full`.
    Unpublished,
    /// A message whose publication counted can never be received.
    Lost,
    /// `Empty`, though one and the same message could have been taken during the whole call.
    FalseEmpty,
    /// `Full`, though a slot was free during the whole call.
    FalseFull,
    /// A message was handed out before one whose send had completed before its own send began.
    Overtaken,
    /// A peer does not find the slot that it owns.
    Dispossessed,
    /// A word that no step of the protocol writes there.
    Impossible,
    /// Everybody is done, and yet not every slot can be used again.
    Stranded,
    /// Somebody alive can never finish.
    Wedged,
}

/// A broken promise.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    what: String,
}

impl Violation {
    pub(crate) fn new(kind: Kind, what: impl Display) -> Self {
        Self { kind, what: what.to_string() }
    }

    /// Ends a step, or a check, with this violation if `broken`.
    pub(crate) fn when(broken: bool, kind: Kind, what: impl FnOnce() -> String) -> Result<(), Self> {
        if broken { Err(Self { kind, what: what() }) } else { Ok(()) }
    }
}

/// What one step may lead to, with the name of whoever takes it.
pub(crate) type Steps<S> = Vec<(&'static str, S)>;

/// A protocol with its processes, as far as a search needs to know it.
pub(crate) trait Model: Debug {
    /// Plain bytes, because that is what is hashed.
    type State: Copy + PartialEq + Debug + IntoBytes + Immutable;

    /// Where everything begins.
    fn start(&self) -> Self::State;

    /// Everything that anybody may do next.
    fn steps(&self, state: &Self::State, next: &mut Steps<Self::State>) -> Result<(), Violation>;

    /// What must hold of `state` as a whole. `stuck`: no step changes anything any more.
    fn check(&self, state: &Self::State, stuck: bool) -> Result<(), Violation>;

    /// Searches everything, shows each state; the number of states, or how a violation comes about.
    fn explore(&self, mut see: impl FnMut(&Self::State)) -> Result<usize, Counterexample> {
        let mut visited = Visited::default();
        let mut path: Vec<(&'static str, Self::State)> = Vec::new();
        let mut open = vec![(0, "start", self.start())];
        let mut next = Vec::new();
        while let Some((depth, by, state)) = open.pop() {
            if !visited.insert(fingerprint(state.as_bytes())) {
                continue;
            }
            see(&state);
            path.truncate(depth);
            path.push((by, state));
            let result = self.steps(&state, &mut next).and_then(|()| {
                let stuck = next.iter().all(|(_, after)| *after == state);
                self.check(&state, stuck)
            });
            if let Err(violation) = result {
                let trace = path.iter().map(|(by, state)| format!("{by:<12} {state:?}")).collect();
                return Err(Counterexample { violation, trace });
            }
            open.extend(next.drain(..).map(|(by, state)| (depth + 1, by, state)));
        }
        Ok(visited.used)
    }
}

/// A violation and one way to it, a line a step.
pub(crate) struct Counterexample {
    pub(crate) violation: Violation,
    trace: Vec<String>,
}

impl Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}", self.violation.kind, self.violation.what)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Requires that nothing can go wrong.
#[track_caller]
pub(crate) fn holds(model: &impl Model) {
    match model.explore(|_| {}) {
        Ok(states) => println!("{states:>9} states: {model:?}"),
        Err(found) => panic!("{model:?}\n{found}"),
    }
}

/// Requires that something of one of these kinds can go wrong.
#[track_caller]
pub(crate) fn fails(model: &impl Model, expected: &[Kind]) {
    match model.explore(|_| {}) {
        Ok(states) => panic!("{model:?} holds in all of its {states} states"),
        Err(found) => assert!(expected.contains(&found.violation.kind), "{model:?} fails otherwise\n{found}"),
    }
}

/// The states met so far, as 64-bit fingerprints in an open-addressed table, which is fast without an optimizer, too.
///
/// Two states with one fingerprint count as one. Among ten million states the chance of any such pair is 3 in a million.
#[derive(Default)]
struct Visited {
    /// A power of two of places, 0 where there is none.
    table: Vec<u64>,
    used: usize,
}

impl Visited {
    /// Whether `fingerprint` is new.
    fn insert(&mut self, fingerprint: u64) -> bool {
        if self.used * 2 >= self.table.len() {
            self.grow();
        }
        let place = self.place(fingerprint);
        if self.table[place] == fingerprint {
            return false;
        }
        self.table[place] = fingerprint;
        self.used += 1;
        true
    }

    /// Where `fingerprint` is or belongs.
    fn place(&self, fingerprint: u64) -> usize {
        let mask = self.table.len() - 1;
        let mut place = fingerprint as usize & mask;
        while self.table[place] != 0 && self.table[place] != fingerprint {
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 4).max(1 << 12);
        let old = std::mem::replace(&mut self.table, vec![0; size]);
        for fingerprint in old.into_iter().filter(|fingerprint| *fingerprint != 0) {
            let place = self.place(fingerprint);
            self.table[place] = fingerprint;
        }
    }
}

/// A hash by folded 128-bit multiplication; never 0.
fn fingerprint(bytes: &[u8]) -> u64 {
    const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15;
    let mut hash: u64 = 0x243f_6a88_85a3_08d3;
    let mut mix = |word: u64| {
        let product = u128::from(hash ^ word) * FACTOR;
        hash = (product as u64) ^ ((product >> 64) as u64) ^ hash.rotate_left(23);
    };
    // Not by chunks: a step through this loop is a few instructions even without an optimizer.
    let (words, rest) = <[U64]>::ref_from_prefix(bytes).expect("any length has a prefix of words");
    words.iter().for_each(|word| mix(word.get()));
    rest.iter().for_each(|byte| mix(u64::from(*byte)));
    (hash ^ (hash >> 29)).max(1)
}
