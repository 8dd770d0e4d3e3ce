//! Attach of either flavor on arbitrary bytes: either an error, or a channel on which every call returns.
//!
//! Half of the inputs begin as a valid region with some words patched, so that the search gets behind the first checks.

#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringway::Options;
use ringway::channel_of::{Channel, Flavor, Mpmc, Receiver, Sender, Spsc};

#[derive(Arbitrary, Debug)]
enum Input {
    Bytes(Vec<u8>),
    Patched { capacity: u8, patches: Vec<(u16, u64)>, length: Option<u16> },
}

fuzz_target!(|input: (bool, Input)| {
    let (mpmc, input) = input;
    if mpmc {
        attack::<Mpmc>(input, |channel, tx, rx| {
            let _ = (channel.senders(), channel.receivers());
            let _ = (tx.map(Sender::<u64, Mpmc>::peers), rx.map(Receiver::<u64, Mpmc>::peers));
        });
    } else {
        attack::<Spsc>(input, |channel, tx, rx| {
            let _ = (channel.sender_state().to_string(), channel.receiver_state().to_string());
            let _ = (tx.map(Sender::<u64, Spsc>::peer), rx.map(Receiver::<u64, Spsc>::peer));
        });
    }
});

/// `look` asks what only one flavor answers.
fn attack<F: Flavor>(
    input: Input,
    look: impl Fn(&Channel<u64, F>, Option<&Sender<u64, F>>, Option<&Receiver<u64, F>>),
) {
    let file = File::from(rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    match input {
        Input::Bytes(bytes) => file.write_all_at(&bytes, 0).unwrap(),
        Input::Patched { capacity, patches, length } => {
            // Every other one is packed, as far as the flavor has that.
            let options = Options::new().capacity(usize::from(capacity) + 1).pack_batches(capacity % 2 == 1);
            let model = Channel::<u64, F>::anonymous(&options).unwrap();
            let model = File::from(model.as_fd().unwrap().try_clone_to_owned().unwrap());
            let mut bytes = vec![0; model.metadata().unwrap().len() as usize];
            model.read_exact_at(&mut bytes, 0).unwrap();
            for (word, value) in patches {
                let offset = usize::from(word) * 8 % bytes.len();
                bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
            }
            bytes.truncate(length.map_or(usize::MAX, usize::from));
            file.write_all_at(&bytes, 0).unwrap();
        }
    }
    let Ok(channel) = Channel::<u64, F>::from_fd(file.into(), &Options::new().trust_unsealed(true)) else { return };
    look(&channel, None, None);
    if let Ok(tx) = channel.sender() {
        for number in 0..20 {
            let _ = tx.try_send(number);
        }
        let _ = tx.try_send_slice(&[1; 20]);
        let _ = (tx.len(), tx.is_full());
        look(&channel, Some(&tx), None);
    }
    if let Ok(rx) = channel.receiver() {
        let mut places = [0; 20];
        let _ = rx.try_recv_slice(&mut places);
        let _ = rx.try_iter().take(20).count();
        let _ = (rx.len(), rx.is_full());
        look(&channel, None, Some(&rx));
    }
}
