//! A parent writes, its child prints. The channel has no name that anybody could guess, or that anybody would have to
//! remove: the child gets it through a socket, and nothing of it is left when both have ended, however they end.

use std::env;
use std::io::stdin;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::str::from_utf8;

use ringway::Options;
use ringway::spsc::Channel;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    if env::args().nth(1).is_some() {
        return child();
    }
    let (ours, theirs) = UnixStream::pair()?;
    let channel = Channel::<[u8; 16]>::anonymous(&Options::new())?;
    channel.send_fd(&ours)?;
    let mut child = Command::new(env::current_exe()?).arg("child").stdin(OwnedFd::from(theirs)).spawn()?;

    let tx = channel.sender()?;
    for word in ["nobody", "has", "to", "ask", "whether", "it", "is", "ready"] {
        let mut text = [0; 16];
        text[..word.len()].copy_from_slice(word.as_bytes());
        tx.send(text)?;
    }
    drop(tx);
    assert!(child.wait()?.success());
    Ok(())
}

fn child() -> Result<(), Failure> {
    let socket = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    let rx = Channel::<[u8; 16]>::receive_fd(&socket, &Options::new())?.receiver()?;
    // Ends with the parent's sender: dropped, or dead.
    for text in &rx {
        println!("child: {}", from_utf8(&text)?.trim_end_matches('\0'));
    }
    Ok(())
}
