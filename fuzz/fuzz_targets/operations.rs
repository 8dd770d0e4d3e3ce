//! Sequences of calls against a `VecDeque`, for payloads of every kind of block, in either flavor.

#![no_main]

use std::collections::VecDeque;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringway::channel_of::{Channel, Flavor, Mpmc, Receiver, Sender, Spsc};
use ringway::{Options, TryRecvError, TrySendError};

#[derive(Arbitrary, Debug)]
enum Operation {
    Send,
    SendSlice(u8),
    Receive,
    ReceiveSlice(u8),
    ReopenSender,
    ReopenReceiver,
}

#[derive(Arbitrary, Debug)]
struct Input {
    mpmc: bool,
    size: u8,
    capacity: u8,
    operations: Vec<Operation>,
}

fuzz_target!(|input: Input| { if input.mpmc { of_any_size::<Mpmc>(&input) } else { of_any_size::<Spsc>(&input) } });

fn of_any_size<F: Flavor>(input: &Input) {
    match input.size % 8 {
        0 => run::<1, F>(input),
        1 => run::<3, F>(input),
        2 => run::<8, F>(input),
        3 => run::<9, F>(input),
        4 => run::<28, F>(input),
        5 => run::<56, F>(input),
        6 => run::<57, F>(input),
        _ => run::<200, F>(input),
    }
}

fn message<const N: usize>(number: u64) -> [u8; N] {
    std::array::from_fn(|i| (number as u8).wrapping_mul(31).wrapping_add(i as u8))
}

fn run<const N: usize, F: Flavor>(input: &Input) {
    let options = Options::new().capacity(usize::from(input.capacity) % 40 + 1).peers(4);
    let channel = Channel::<[u8; N], F>::heap(&options).unwrap();
    let capacity = channel.capacity();
    let (mut tx, mut rx): (Sender<[u8; N], F>, Receiver<[u8; N], F>) =
        (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut model = VecDeque::new();
    let mut next = 0;
    for operation in &input.operations {
        match operation {
            Operation::Send => match tx.try_send(message(next)) {
                Ok(()) => {
                    assert!(model.len() < capacity);
                    model.push_back(next);
                    next += 1;
                }
                Err(TrySendError::Full(back)) => assert!(model.len() == capacity && back == message(next)),
                Err(error) => panic!("{error}"),
            },
            Operation::SendSlice(count) => {
                let messages: Vec<_> = (next..next + u64::from(*count)).map(message::<N>).collect();
                let room = capacity - model.len();
                match tx.try_send_slice(&messages) {
                    Ok(sent) => {
                        assert_eq!(sent, messages.len().min(room));
                        model.extend(next..next + sent as u64);
                        next += sent as u64;
                    }
                    Err(TrySendError::Full(())) => assert!(room == 0 && !messages.is_empty()),
                    Err(error) => panic!("{error}"),
                }
            }
            Operation::Receive => match rx.try_recv() {
                Ok(found) => assert_eq!(found, message(model.pop_front().expect("nothing was sent"))),
                Err(TryRecvError::Empty) => assert!(model.is_empty()),
                Err(error) => panic!("{error}"),
            },
            Operation::ReceiveSlice(count) => {
                let mut places = vec![[0; N]; usize::from(*count)];
                match rx.try_recv_slice(&mut places) {
                    Ok(taken) => {
                        assert_eq!(taken, places.len().min(model.len()));
                        for place in &places[..taken] {
                            assert_eq!(*place, message(model.pop_front().unwrap()));
                        }
                    }
                    Err(TryRecvError::Empty) => assert!(model.is_empty() && *count > 0),
                    Err(error) => panic!("{error}"),
                }
            }
            Operation::ReopenSender => {
                drop(tx);
                tx = channel.sender().unwrap();
            }
            Operation::ReopenReceiver => {
                drop(rx);
                rx = channel.receiver().unwrap();
            }
        }
        assert_eq!((tx.len(), rx.len()), (model.len(), model.len()));
        assert_eq!(tx.is_full(), model.len() == capacity);
    }
}
