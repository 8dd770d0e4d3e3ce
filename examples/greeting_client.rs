//! The other half of `greeting_server`.

use std::str::from_utf8;

use ringway::Options;
use ringway::spsc::Channel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::new().capacity(8).replace_dead(true);
    let greetings = Channel::<[u8; 64]>::open_or_create("example-greetings", &options)?.sender()?;
    let answers = Channel::<[u8; 64]>::open_or_create("example-answers", &options)?.receiver()?;

    let mut name = [0; 64];
    name[..6].copy_from_slice(b"client");
    greetings.send(name)?;
    let answer = answers.recv()?;
    println!("client: the server says: {}", from_utf8(&answer)?.trim_end_matches('\0'));
    assert!(answer.starts_with(b"Hello, client!"));
    Ok(())
}
