//! A victim works while a peer scribbles over the region: forged or lost messages are allowed, nothing else.

#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringway::channel_of::{Channel, Flavor, Mpmc, Receiver, Spsc};
use ringway::{Options, Wait};

#[derive(Arbitrary, Debug)]
enum Step {
    /// Store a word: anywhere behind the header, or in one of the lines and blocks that count.
    Scribble {
        word: u16,
        value: u64,
    },
    /// Add to a word, which finds the values that are nearly right.
    Nudge {
        word: u16,
        by: i8,
    },
    Send,
    SendSlice(u8),
    Receive,
    ReceiveSlice(u8),
    /// MPMC only; acknowledged, or refused.
    ReceiveGuarded(bool),
    Lengths,
    Reopen,
}

type Message = [bool; 8];

fuzz_target!(|input: (bool, bool, bool, u8, Vec<Step>)| {
    let (mpmc, packed, membarrier, capacity, steps) = input;
    let capacity = usize::from(capacity) % 30 + 1;
    let options =
        Options::new().capacity(capacity).membarrier(membarrier).peers(4).wait(Wait::Park).pack_batches(packed);
    if mpmc {
        run::<Mpmc>(&options, steps, |rx, acknowledge| match rx.try_recv_guard() {
            Ok(guard) if acknowledge => drop(guard.ack()),
            Ok(guard) => drop(guard.nack()),
            Err(_) => {}
        });
    } else {
        run::<Spsc>(&options, steps, |_, _| {});
    }
});

fn run<F: Flavor>(options: &Options, steps: Vec<Step>, receive_guarded: fn(&Receiver<Message, F>, bool)) {
    let channel = Channel::<Message, F>::anonymous(options).unwrap();
    let file = File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap());
    let length = file.metadata().unwrap().len();
    let offset = |word: u16| 4096 + u64::from(word) * 8 % (length - 4096);
    let mut ends = (channel.sender().ok(), channel.receiver().ok());
    for step in steps {
        match step {
            Step::Scribble { word, value } => file.write_all_at(&value.to_le_bytes(), offset(word)).unwrap(),
            Step::Nudge { word, by } => {
                let mut bytes = [0; 8];
                file.read_exact_at(&mut bytes, offset(word)).unwrap();
                let value = u64::from_le_bytes(bytes).wrapping_add_signed(by.into());
                file.write_all_at(&value.to_le_bytes(), offset(word)).unwrap();
            }
            Step::Send => ends.0.iter().for_each(|tx| drop(tx.try_send([true; 8]))),
            Step::SendSlice(count) => {
                let messages = vec![[false; 8]; count.into()];
                ends.0.iter().for_each(|tx| drop(tx.try_send_slice(&messages)));
            }
            Step::Receive => ends.1.iter().for_each(|rx| drop(rx.try_recv())),
            Step::ReceiveSlice(count) => {
                let mut places = vec![[true; 8]; count.into()];
                ends.1.iter().for_each(|rx| drop(rx.try_recv_slice(&mut places)));
            }
            Step::ReceiveGuarded(acknowledge) => ends.1.iter().for_each(|rx| receive_guarded(rx, acknowledge)),
            Step::Lengths => {
                ends.0.iter().for_each(|tx| assert!(tx.len() <= tx.capacity()));
                ends.1.iter().for_each(|rx| assert!(rx.len() <= rx.capacity()));
            }
            Step::Reopen => {
                drop(ends);
                ends = (channel.sender().ok(), channel.receiver().ok());
            }
        }
    }
}
