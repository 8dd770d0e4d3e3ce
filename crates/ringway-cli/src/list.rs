//! `ringway list`: the channels of this machine.

use ringway::{Error, Inspection, PeerState};

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
    let mut lines =
        vec![["name", "flavor", "messages", "capacity", "bytes", "sender", "receiver"].map(str::to_owned).to_vec()];
    for name in Inspection::names()? {
        lines.push(match Inspection::of(&name) {
            Ok(Inspection { flavor, len, capacity, region_length, senders, receivers, .. }) => {
                let numbers = [len, capacity, region_length].map(|number| number.to_string());
                let peers = [senders, receivers].map(|peers| summary(&peers));
                [vec![name, flavor.to_owned()], numbers.into(), peers.into()].concat()
            }
            // It ended just now.
            Err(Error::NotFound { .. }) => continue,
            Err(error) => vec![name, format!("({error})")],
        });
    }
    print(&aligned(&lines))
}

/// One peer as it is, several by their number.
pub(crate) fn summary(peers: &[PeerState]) -> String {
    match peers {
        [] => "none".into(),
        [peer] => peer.to_string(),
        peers => {
            let alive = peers.iter().filter(|peer| peer.is_alive()).count();
            match peers.len() - alive {
                0 => format!("{alive} alive"),
                dead => format!("{alive} alive, {dead} dead"),
            }
        }
    }
}
