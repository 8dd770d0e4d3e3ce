//! The command `ringway`: bytes and lines through a channel in shared memory, and a benchmark that checks itself.
//!
//! This file is the command line only. Every subcommand is a module that uses the public interface of the library.

mod bench;
mod failure;
mod inspect;
mod interrupt;
mod list;
mod remove;
mod stream;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Channels between processes, over shared memory
#[derive(Parser)]
#[command(name = "ringway", version, max_term_width = 120, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tar c docs | ringway send demo          one terminal ...
  ringway recv demo | tar t               ... and another, in any order
  ringway bench --quick                   this machine's figures in some seconds

Addresses, for every command that takes the name of a channel:
  demo, posix:demo            POSIX shared memory, a name without a slash
  sysv:0x1234                 System V shared memory of that key
  sysv:/etc/passwd#A          the same, by ftok of a file and A, or 1 to 255
  sysv:id=7                   System V shared memory of that id (ipcs -m)
  file:/var/lib/demo.ring     a file on a local file system

Exit codes:
  0      everything was delivered
  1      failed: input, output, memory, permission, a failed benchmark run
  2      wrong usage, an invalid name included
  3      the other side ended before the stream was complete
  4      another live process has that end; --mpmc: all 1024 places are taken
  5      the other side did not come within --timeout
  128+n  ended by signal n: 130 SIGINT, 143 SIGTERM, 129 SIGHUP; 141 as if
         by SIGPIPE: the output was closed";

#[derive(Subcommand)]
enum Command {
    /// Send standard input through a channel
    #[command(after_help = stream::SEND_EXAMPLES)]
    Send(stream::Endpoint),
    /// Write what comes through a channel to standard output
    #[command(after_help = stream::RECV_EXAMPLES)]
    Recv(stream::Endpoint),
    /// List the channels of this machine
    #[command(after_help = list::EXAMPLES)]
    List(list::Arguments),
    /// Show what a channel carries, how full it is, and who is at its ends
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::Arguments),
    /// Remove the name of a channel that killed processes left behind
    #[command(after_help = remove::EXAMPLES)]
    Remove(remove::Arguments),
    /// Measure channels between processes beside pipes and sockets
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::Arguments),
    /// One of the processes of a benchmark run
    #[command(name = bench::PEER_COMMAND, hide = true)]
    BenchPeer {
        /// The job, in JSON
        job: String,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Send(endpoint) => stream::send(&endpoint),
        Command::Recv(endpoint) => stream::recv(&endpoint),
        Command::List(arguments) => list::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Remove(arguments) => remove::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::BenchPeer { job } => bench::run_peer(&job),
    };
    outcome.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_fit_a_narrow_terminal() {
        let commands = [stream::SEND_EXAMPLES, stream::RECV_EXAMPLES, list::EXAMPLES, inspect::EXAMPLES];
        for text in commands.into_iter().chain([remove::EXAMPLES, bench::EXAMPLES, EXAMPLES]) {
            // Prose is wrapped; what is indented would continue in the first column.
            for line in text.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
