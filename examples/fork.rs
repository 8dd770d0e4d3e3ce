//! A parent and its forked child. The child inherits the `Channel`, never a handle: each process opens its own end.

#![allow(unsafe_code)] // fork, waitpid

use ringway::Options;
use ringway::spsc::Channel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Anonymous: a sealed memfd, which the child inherits and nobody else can find.
    let channel = Channel::<u64>::anonymous(&Options::new().capacity(64))?;

    // SAFETY: this process has one thread, so the child may go on with everything.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let rx = channel.receiver()?;
        let sum: u64 = rx.iter().sum();
        println!("child: the parent sent numbers that add up to {sum}");
        std::process::exit(i32::from(sum != 5050));
    }

    let tx = channel.sender()?;
    for number in 1..=100 {
        tx.send(number)?;
    }
    drop(tx);

    let mut status = 0;
    // SAFETY: waits for the child made above and writes one integer of ours.
    unsafe { libc::waitpid(child, &mut status, 0) };
    println!("parent: the child ended with status {status}");
    assert_eq!(status, 0);
    Ok(())
}
