//! A receiver is killed in the middle of its work, and another process takes over exactly where it stopped.
//!
//! The program starts itself twice as a receiver: the first is killed with `SIGKILL` after it has reported some
//! messages, the second gets the rest. (What the first had received and not yet worked on is lost with it; delivery is
//! at most once.)

use std::env;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use ringway::spsc::Channel;
use ringway::{Options, PeerState};

/// More than the pipe for the reports holds, so that the first receiver cannot be done before it is killed.
const MESSAGES: u64 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(name) = env::args().nth(1) {
        return receive(&name);
    }
    let name = format!("example-takeover-{}", std::process::id());
    // Large enough for everything, so that the sender is done before the trouble starts.
    let channel = Channel::<u64>::create(&name, &Options::new().capacity(MESSAGES as usize))?;
    let tx = channel.sender()?;
    for number in 0..MESSAGES {
        tx.send(number)?;
    }

    let (mut first, mut reports) = start(&name)?;
    for _ in 0..100 {
        reports.next().ok_or("the first receiver ended early")??;
    }
    first.kill()?;
    first.wait()?;
    println!("first receiver: {}", tx.peer());
    assert!(matches!(tx.peer(), PeerState::Dead { .. }));
    let last = reports.last().ok_or("nothing more in the pipe")??;
    println!("its last report was message {last}; {} are left", tx.len());

    let (mut second, mut reports) = start(&name)?;
    let next = reports.next().ok_or("the second receiver reports")??;
    println!("second receiver: begins with message {next}");
    drop(tx);
    let end = reports.last().ok_or("the second receiver reports to the end")??;
    assert!(second.wait()?.success());
    println!("second receiver: ended with message {end}");
    assert_eq!(end, (MESSAGES - 1).to_string());
    Ok(())
}

fn receive(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let rx = Channel::<u64>::attach(name, &Options::new())?.receiver()?;
    for number in &rx {
        println!("{number}");
    }
    Ok(())
}

type Reports = Lines<BufReader<ChildStdout>>;

fn start(name: &str) -> Result<(Child, Reports), Box<dyn std::error::Error>> {
    let mut child = Command::new(env::current_exe()?).arg(name).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("stdout is piped")?;
    Ok((child, BufReader::new(output).lines()))
}
