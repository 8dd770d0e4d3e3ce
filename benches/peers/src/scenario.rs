//! The work that every contender is given.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Messages in one call of a batch operation.
pub const BATCH: usize = 32;

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// A stream of `u64`, one a call.
    Words,
    /// A stream of `u64`, [`BATCH`] a call.
    Batches,
    /// A stream of 48-byte messages, one a call.
    Bytes48,
    /// A stream of 64-byte messages, one a call.
    Bytes64,
    /// A stream of 1024-byte messages, one a call.
    Bytes1024,
    /// A `u64` there and back, one in flight.
    PingPong,
    /// A stream of cache lines: the limit of the machine that the streams are held against.
    Lines,
}

impl Scenario {
    /// Every scenario, in the order of the report.
    pub const ALL: [Self; 7] =
        [Self::Lines, Self::Words, Self::Batches, Self::Bytes48, Self::Bytes64, Self::Bytes1024, Self::PingPong];

    /// What a contender that takes one message a call is given.
    pub const ONE_A_CALL: &'static [Self] =
        &[Self::Words, Self::Bytes48, Self::Bytes64, Self::Bytes1024, Self::PingPong];

    /// What a contender with batch operations of its own is given.
    pub const EVERY: &'static [Self] =
        &[Self::Words, Self::Batches, Self::Bytes48, Self::Bytes64, Self::Bytes1024, Self::PingPong];

    /// Short name, for the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Batches => "batches",
            Self::Bytes48 => "bytes48",
            Self::Bytes64 => "bytes64",
            Self::Bytes1024 => "bytes1024",
            Self::PingPong => "ping-pong",
            Self::Lines => "lines",
        }
    }

    /// One line, for the report.
    pub fn title(self) -> &'static str {
        match self {
            Self::Words => "stream of u64, one a call",
            Self::Batches => "stream of u64, batches of 32",
            Self::Bytes48 => "stream of 48-byte messages, one a call",
            Self::Bytes64 => "stream of 64-byte messages, one a call",
            Self::Bytes1024 => "stream of 1024-byte messages, one a call",
            Self::PingPong => "round trip of a u64",
            Self::Lines => "stream of 64-byte lines (56 payload bytes), the limit of a line-packed ring",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scenario| scenario.name() == name)
            .ok_or_else(|| format!("no scenario is called {name:?}"))
    }
}

/// Evaluates an expression with a type bound to the message type of a scenario, so that the choice is
/// made once a run and never once a message.
macro_rules! by_message {
    ($scenario:expr, $message:ident => $body:expr) => {
        match $scenario {
            $crate::scenario::Scenario::Words
            | $crate::scenario::Scenario::Batches
            | $crate::scenario::Scenario::PingPong => {
                type $message = u64;
                $body
            }
            $crate::scenario::Scenario::Bytes48 => {
                type $message = $crate::message::Bytes48;
                $body
            }
            $crate::scenario::Scenario::Bytes64 => {
                type $message = $crate::message::Bytes64;
                $body
            }
            $crate::scenario::Scenario::Bytes1024 => {
                type $message = $crate::message::Bytes1024;
                $body
            }
            $crate::scenario::Scenario::Lines => {
                type $message = $crate::message::Bytes56;
                $body
            }
        }
    };
}
pub(crate) use by_message;
