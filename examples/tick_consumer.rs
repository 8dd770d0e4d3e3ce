//! The other half of `tick_producer`, in a program of its own: it declares the type itself, and the fingerprint makes
//! sure that both mean the same.

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
    let ticks = Channel::<Tick>::open_or_create("example-ticks", &options)?.receiver()?;

    let (mut count, mut volume, mut turnover) = (0_u64, 0_u64, 0.0);
    // Ends when the producer has ended and everything is drained.
    for tick in &ticks {
        assert_eq!(tick.sequence, count, "no tick is lost, and none comes twice");
        count += 1;
        volume += u64::from(tick.size);
        turnover += tick.price * f64::from(tick.size);
    }
    println!("{count} ticks, average price {:.3}; the producer is {}", turnover / volume as f64, ticks.peer());
    Ok(())
}
