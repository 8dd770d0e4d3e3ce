//! Two threads of one process. No name, no cleanup; the same handles as between processes.

use std::thread;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tx, rx) = ringway::spsc::channel::<u64>(1024)?;

    let squares = thread::spawn(move || {
        for number in 1..=10_000_u64 {
            tx.send(number * number).expect("the receiver is there until we end");
        }
    });

    // The iterator ends when the sender was dropped and the channel is drained.
    let sum: u64 = rx.iter().sum();
    squares.join().expect("the thread does not panic");
    println!("the sum of the first 10000 squares is {sum}");
    assert_eq!(sum, 333_383_335_000);
    Ok(())
}
