//! A file that outlives its sender: letters are posted, the sender ends, and whoever comes later finds them.
//!
//! The program starts itself twice, first to post and then to collect; there could be days and a restart of the machine
//! in between.

use std::env;
use std::process::Command;

use ringway::spsc::Channel;
use ringway::{Inspection, Options};

type Failure = Box<dyn std::error::Error>;

fn post(address: &str) -> Result<(), Failure> {
    let channel = Channel::<u64>::open_or_create(address, &Options::new())?;
    let tx = channel.sender()?;
    (1..=3).try_for_each(|letter| tx.send(letter))?;
    drop(tx);
    // Now even a power failure cannot take them away, if the file is on a disk.
    println!("posted, {}", if channel.sync()? { "on the disk" } else { "in memory" });
    Ok(())
}

fn collect(address: &str) -> Result<(), Failure> {
    let rx = Channel::<u64>::attach(address, &Options::new())?.receiver()?;
    let letters: Vec<u64> = rx.try_iter().collect();
    println!("collected {letters:?}");
    assert_eq!(letters, [1, 2, 3]);
    Ok(())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["post", address] => return post(address),
        ["collect", address] => return collect(address),
        _ => {}
    }
    let address = format!("file:{}", env::temp_dir().join(format!("letterbox-{}", std::process::id())).display());
    let run = |what: &str| Command::new(env::current_exe()?).args([what, &address]).status();
    assert!(run("post")?.success());
    println!("{} letters lie there, and nobody has the file open", Inspection::of(&address)?.len);
    assert!(run("collect")?.success());
    ringway::unlink(&address)?;
    Ok(())
}
