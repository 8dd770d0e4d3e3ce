//! Half of two unrelated programs that greet each other; `greeting_client` is the other. Start either first:
//!
//! ```text
//! cargo run --example greeting_server &
//! cargo run --example greeting_client
//! ```

use std::str::from_utf8;

use ringway::Options;
use ringway::spsc::Channel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Whoever comes first creates; what a crash has left behind is replaced.
    let options = Options::new().capacity(8).replace_dead(true);
    let greetings = Channel::<[u8; 64]>::open_or_create("example-greetings", &options)?.receiver()?;
    let answers = Channel::<[u8; 64]>::open_or_create("example-answers", &options)?.sender()?;

    for greeting in &greetings {
        let name = from_utf8(&greeting)?.trim_end_matches('\0');
        println!("server: {name} is here");
        let mut answer = [0; 64];
        let text = format!("Hello, {name}!");
        answer[..text.len()].copy_from_slice(text.as_bytes());
        answers.send(answer)?;
    }
    println!("server: the client has left");
    Ok(())
}
