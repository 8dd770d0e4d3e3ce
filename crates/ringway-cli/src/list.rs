//! `ringway list`: the channels of this machine.

use ringway::{Error, Inspection};

use crate::failure::{Failure, print};
use crate::table::aligned;

/// Shown by `ringway list --help`.
pub(crate) const EXAMPLES: &str = "\
Lists the named channels that this user may read, with who is at their ends.

Examples:
  ringway list
  ringway list | grep dead                    channels whose processes were killed";

/// Prints one line a channel.
pub(crate) fn run() -> Result<(), Failure> {
    let mut lines = vec![["name", "messages", "capacity", "bytes", "sender", "receiver"].map(str::to_owned).to_vec()];
    for name in Inspection::names()? {
        lines.push(match Inspection::of(&name) {
            Ok(Inspection { len, capacity, region_length, sender, receiver, .. }) => {
                let numbers = [len, capacity, region_length].map(|number| number.to_string());
                let peers = [sender, receiver].map(|peer| peer.to_string());
                [vec![name], numbers.into(), peers.into()].concat()
            }
            // It ended just now.
            Err(Error::NotFound { .. }) => continue,
            Err(error) => vec![name, format!("({error})")],
        });
    }
    print(&aligned(&lines))
}
