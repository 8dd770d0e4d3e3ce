//! `ringway list`: the channels of this machine.

use clap::Args;
use ringway::{Error, Inspection, PeerState};

use crate::failure::{Failure, print};
use crate::table::aligned;

/// Shown by `ringway list --help`.
pub(crate) const EXAMPLES: &str = "\
Lists the channels in POSIX and System V shared memory that this user may read, with who is at their ends. Files are \
listed if their addresses are given.

Examples:
  ringway list
  ringway list file:/var/lib/*.ring
  ringway list | grep dead                    channels whose processes were killed";

/// Arguments of `ringway list`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Addresses of the channels to be listed, such as file:/var/lib/demo.ring; by default all in shared memory
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,
}

/// Prints one line a channel.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let addresses = match arguments.addresses.as_slice() {
        [] => Inspection::addresses()?,
        given => given.iter().map(|address| address.parse()).collect::<Result<_, Error>>()?,
    };
    let mut lines =
        vec![["name", "flavor", "messages", "capacity", "bytes", "sender", "receiver"].map(str::to_owned).to_vec()];
    for address in addresses {
        lines.push(match Inspection::without_slots(&address) {
            Ok(Inspection { name, flavor, len, capacity, region_length, senders, receivers, .. }) => {
                let numbers = [len, capacity, region_length].map(|number| number.to_string());
                let peers = [senders, receivers].map(|peers| summary(&peers));
                [vec![name, flavor.to_owned()], numbers.into(), peers.into()].concat()
            }
            // It ended just now.
            Err(Error::NotFound { .. }) if arguments.addresses.is_empty() => continue,
            Err(error) => vec![address.to_string(), format!("({error})")],
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
