//! `ringway remove`: a name out of the way.

use clap::Args;
use ringway::{Inspection, PeerState};

use crate::list::summary;

use crate::failure::{Failure, Kind};

/// Shown by `ringway remove --help`.
pub(crate) const EXAMPLES: &str = "\
Removes what killed processes left behind. `ringway send` and `recv` need no help with that: they replace a channel \
whose processes are dead. This command is for other programs' channels. Who has the channel open goes on; others cannot \
find it any more.

Examples:
  ringway remove ticks
  ringway remove sysv:0x1234
  ringway remove ticks --force                also while it is in use";

/// Arguments of `ringway remove`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Name or address of the channel, see `ringway help`
    name: String,
    /// Even if it is in use or damaged
    #[arg(long)]
    force: bool,
}

/// Removes the name, after the library has made sure that it is a region of ours.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.force {
        let Inspection { name, senders, receivers, .. } = Inspection::without_slots(&arguments.name)?;
        if senders.iter().chain(&receivers).any(PeerState::is_alive) {
            let [sender, receiver] = [senders, receivers].map(|peers| summary(&peers, PeerState::to_string));
            let what = format!("`{name}` is in use (sender: {sender}, receiver: {receiver})");
            return Err(Failure::new(Kind::Taken, what).next("end its processes first, or use --force"));
        }
    }
    Ok(ringway::unlink(&arguments.name)?)
}
