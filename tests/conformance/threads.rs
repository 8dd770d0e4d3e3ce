//! What programs of a few threads make of channels: requests and answers, sums, counts, and handles that end with the thread
//! that has them.

use std::cell::RefCell;
use std::thread;
use std::time::Duration;

use ringway::{RecvError, RecvTimeoutError, SendError};

use crate::flavor::Kind;
use crate::setup::Setup;
use crate::{Behaviour, behaviours};

pub(crate) const WAITING: &[Behaviour] = behaviours![
    a_sum_is_sent_on_when_the_messages_end,
    answers_are_asked_for_until_enough_have_come,
    both_sides_count_no_more_than_fits,
    a_receiver_leaves_in_the_middle_of_a_stream,
    handles_work_while_their_thread_ends,
];

const MOMENT: Duration = Duration::from_millis(2);

fn a_sum_is_sent_on_when_the_messages_end<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(2);
    let (sum_tx, sum_rx) = setup.ends::<u64, F>(1);
    let adder = thread::spawn(move || sum_tx.send(rx.iter().sum()));
    (1..=20).for_each(|number| tx.send(number).unwrap());
    drop(tx);
    assert_eq!(sum_rx.recv(), Ok(210));
    assert_eq!(sum_rx.recv(), Err(RecvError::Disconnected));
    assert_eq!(adder.join().unwrap(), Ok(()));
}

fn answers_are_asked_for_until_enough_have_come<F: Kind>(setup: Setup) {
    const ENOUGH: u64 = 60;
    let (ask, asked) = setup.ends::<u64, F>(1);
    let (answer, answered) = setup.ends::<u64, F>(1);
    let asker = thread::spawn(move || {
        let (mut asked, mut received) = (0, 0);
        loop {
            for number in answered.try_iter() {
                assert_eq!(number, received, "answers come in order");
                received += 1;
                if received == ENOUGH {
                    return asked;
                }
            }
            ask.send(asked).unwrap();
            asked += 1;
        }
    });
    // The asker leaves both channels at once; either end may be noticed first.
    let answers = asked.iter().take_while(|number| answer.send(*number).is_ok()).count() as u64;
    let asked = asker.join().unwrap();
    assert!(ENOUGH <= answers && answers <= asked, "{answers} answers to {asked} questions");
}

fn both_sides_count_no_more_than_fits<F: Kind>(setup: Setup) {
    const COUNT: u64 = 500;
    let capacity = F::capacity(5);
    let (tx, rx) = setup.ends::<u64, F>(capacity);
    let sender = thread::spawn(move || {
        for number in 0..COUNT {
            tx.send(number).unwrap();
            assert!(tx.len() <= capacity);
        }
        tx
    });
    for number in 0..COUNT {
        assert_eq!(rx.recv(), Ok(number));
        assert!(rx.len() <= capacity);
    }
    let tx = sender.join().unwrap();
    assert_eq!((tx.len(), rx.len()), (0, 0));
}

fn a_receiver_leaves_in_the_middle_of_a_stream<F: Kind>(setup: Setup) {
    for taken in [0, 1, 30] {
        let (tx, rx) = setup.ends::<u64, F>(4);
        let sender = thread::spawn(move || {
            let sent = (0..).take_while(|number| tx.send(*number).is_ok()).count() as u64;
            (sent, tx.send(99))
        });
        assert!(rx.iter().take(taken as usize).eq(0..taken));
        drop(rx);
        let (sent, again) = sender.join().unwrap();
        assert!((taken..=taken + 4).contains(&sent), "{taken} received, {sent} sent");
        assert_eq!(again, Err(SendError::Disconnected(99)));
    }
}

/// Something to do when the thread's locals are destroyed.
struct AtExit(RefCell<Option<Box<dyn FnOnce()>>>);

impl Drop for AtExit {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}

thread_local! {
    static AT_EXIT: AtExit = const { AtExit(RefCell::new(None)) };
}

fn handles_work_while_their_thread_ends<F: Kind>(setup: Setup) {
    let (tx, rx) = setup.ends::<u64, F>(1);
    let (back_tx, back_rx) = setup.ends::<u64, F>(1);
    let thread = thread::spawn(move || {
        // Before anything that the channel might keep for the thread, so that it is destroyed after that.
        AT_EXIT.with(|at_exit| {
            *at_exit.0.borrow_mut() = Some(Box::new(move || {
                for number in 0..20 {
                    tx.send(number).unwrap();
                    assert_eq!(back_rx.recv(), Ok(number));
                }
                let (_tx, rx) = setup.ends::<u64, F>(1);
                assert_eq!(rx.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
                tx.send(20).unwrap();
            }));
        });
        let (tx, rx) = setup.ends::<u64, F>(1);
        let other = thread::spawn(move || tx.send(7));
        assert_eq!(rx.recv(), Ok(7));
        assert_eq!(other.join().unwrap(), Ok(()));
    });
    let mut received = Vec::new();
    for number in &rx {
        received.push(number);
        // The last is only there to be followed by the end.
        if number < 20 {
            back_tx.send(number).unwrap();
        }
    }
    assert!(received.into_iter().eq(0..=20));
    thread.join().unwrap();
}
