//! Half of two programs that exchange market ticks; `tick_consumer` is the other. Start either first:
//!
//! ```text
//! cargo run --release --example tick_producer &
//! cargo run --release --example tick_consumer
//! ```

use ringway::spsc::Channel;
use ringway::{Options, Payload};
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Tick {
    sequence: u64,
    price: f64,
    size: u32,
    venue: u32,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::new().capacity(4096).replace_dead(true);
    let ticks = Channel::<Tick>::open_or_create("example-ticks", &options)?.sender()?;

    let mut price = 100.0;
    for sequence in 0..1_000_000 {
        price += if sequence % 3 == 0 { 0.02 } else { -0.01 };
        // Waits when the consumer is slower; nothing is dropped.
        ticks.send(Tick { sequence, price, size: 100 + (sequence % 7) as u32, venue: 1 })?;
    }

    // Dropping the sender would be enough for the consumer to get everything; this tells us that it did.
    ticks.wait_drained(None)?;
    println!("1000000 ticks sent and taken");
    Ok(())
}
