//! `ringway inspect`: what a channel says about itself.

use clap::Args;
use ringway::Inspection;

use crate::failure::{Failure, print};

/// Shown by `ringway inspect --help`.
pub(crate) const EXAMPLES: &str = "\
Takes no role and changes nothing; works on the channels of any program that uses the library. Of a channel of many, \
messages are counted by tickets, also those that came to nothing because their sender was passed over or died.

Examples:
  ringway inspect ticks
  ringway inspect file:/var/lib/ticks.ring
  watch -n 1 ringway inspect ticks";

/// Arguments of `ringway inspect`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Name or address of the channel, see `ringway help`
    name: String,
}

/// Prints all of it.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    print(&Inspection::of(&arguments.name)?.to_string())
}
