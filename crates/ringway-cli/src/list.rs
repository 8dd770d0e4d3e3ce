//! `ringway list`: the channels of this machine.

use clap::Args;
use ringway::{Error, Inspection, PeerState};

use crate::failure::{Failure, print};
use crate::table::{aligned, printable};

/// Shown by `ringway list --help`.
pub(crate) const EXAMPLES: &str = "\
Lists the channels in POSIX and System V shared memory that this user may read, with the process ids of who is at \
their ends. Files are listed if their addresses are given. What cannot be used is named below the table. Of a channel of \
many, messages counts tickets, as `ringway inspect` explains.

Examples:
  ringway list
  ringway list file:/var/lib/*.ring
  ringway list | grep dead                    whose processes were killed";

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
    let mut notes = String::new();
    for address in addresses {
        lines.push(match Inspection::without_slots(&address) {
            Ok(Inspection { name, flavor, len, capacity, region_length, senders, receivers, .. }) => {
                let numbers = [len, capacity, region_length].map(|number| number.to_string());
                let peers = [senders, receivers].map(|peers| summary(&peers, brief));
                [vec![printable(&name), flavor.to_owned()], numbers.into(), peers.into()].concat()
            }
            // It ended just now.
            Err(Error::NotFound { .. }) if arguments.addresses.is_empty() => continue,
            Err(error) => {
                notes += &format!("{}\n", Failure::from(error).what());
                continue;
            }
        });
    }
    let table = if lines.len() > 1 || notes.is_empty() { aligned(&lines) } else { String::new() };
    let gap = if table.is_empty() || notes.is_empty() { "" } else { "\n" };
    print(&[&table, gap, &notes].concat())
}

/// A peer in a narrow column.
fn brief(peer: &PeerState) -> String {
    match peer {
        PeerState::Running { pid } => pid.to_string(),
        PeerState::Stopped { pid } => format!("{pid} stopped"),
        PeerState::Dead { pid } => format!("{pid} dead"),
        PeerState::Never => "none yet".into(),
        peer => peer.to_string(),
    }
}

/// One peer as `one` tells it, several by their number.
pub(crate) fn summary(peers: &[PeerState], one: impl Fn(&PeerState) -> String) -> String {
    match peers {
        [] => "none".into(),
        [peer] => one(peer),
        peers => {
            let alive = peers.iter().filter(|peer| peer.is_alive()).count();
            match peers.len() - alive {
                0 => format!("{alive} alive"),
                dead => format!("{alive} alive, {dead} dead"),
            }
        }
    }
}
