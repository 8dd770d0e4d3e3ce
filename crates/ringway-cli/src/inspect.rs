//! `ringway inspect`: what a channel says about itself.

use clap::Args;
use ringway::{Address, Inspection};

use crate::failure::{Failure, print};

/// Shown by `ringway inspect --help`.
pub(crate) const EXAMPLES: &str = "\
Takes no role and changes nothing; works on the channels of any program that uses the library. Of a channel of many, \
messages are counted by tickets, also those that came to nothing because their sender was passed over or died. A note \
tells of a name in POSIX shared memory that is too long for some other Unix systems, which take 30 bytes.

Examples:
  ringway inspect ticks
  ringway inspect file:/var/lib/ticks.ring
  watch -n 1 ringway inspect ticks";

/// A line below the others; the slash that `shm_open` puts in front of a name is the 31st byte.
const NOT_PORTABLE: &str = "note       the name is longer than the 30 bytes that some other Unix systems take\n";

/// Arguments of `ringway inspect`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Name or address of the channel, see `ringway help`
    name: String,
}

/// Prints all of it.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let address: Address = arguments.name.parse()?;
    let inspection = Inspection::of(&address)?;
    let note = if address.is_portable() { "" } else { NOT_PORTABLE };
    print(&format!("{inspection}{note}"))
}
