//! System V shared memory, for programs that have always met there: a key, made of a file and a letter as `ftok` does it,
//! and a segment that `ipcs -m` shows.

use std::env;
use std::process::Command;

use ringway::Options;
use ringway::spsc::Channel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(address) = env::args().nth(1) {
        let tx = Channel::<u64>::attach(address, &Options::new())?.sender()?;
        return Ok(tx.send_slice(&[1, 4, 9, 16])?);
    }
    // Of this program's own file, so that nobody else has that key.
    let address = format!("sysv:{}#R", env::current_exe()?.display());
    let channel = Channel::<u64>::create(&address, &Options::new())?;
    let rx = channel.receiver()?;
    assert!(Command::new(env::current_exe()?).arg(&address).status()?.success());

    // What the child has sent is there, and so is the news of its end.
    let squares: Vec<u64> = rx.iter().collect();
    println!("{squares:?} came by {address}");
    assert_eq!(squares, [1, 4, 9, 16]);
    // The segment goes with its creator. Had that been killed, `ringway::unlink` would remove it, or `ipcrm`.
    Ok(())
}
