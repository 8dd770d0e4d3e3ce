//! The kernel's own byte streams: a pipe and a Unix stream socket.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::{UnixListener, UnixStream};

use anyhow::Result;
use rustix::fs::{CWD, Mode, mkfifoat};
use zerocopy::IntoBytes;

use crate::contender::{About, BetweenProcesses, Group, ReceiveEnd, SendEnd};
use crate::meeting::Meeting;
use crate::message::Message;
use crate::scenario::{BATCH, Scenario};

/// A pipe, found by its name; once open, a FIFO is a pipe.
pub struct Pipe;

/// A connected Unix stream socket.
pub struct UnixSocket;

impl BetweenProcesses for Pipe {
    const ABOUT: About = About {
        name: "pipe",
        package: "",
        form: "blocking, 64 KiB; one write and one read a message; batches: one write, one read",
        group: Group::ProcessesBlocking,
        scenarios: Scenario::EVERY,
    };
    type Tx<M: Message> = Tx<File, M>;
    type Rx<M: Message> = Rx<File, M>;

    fn sender<M: Message>(meeting: &mut Meeting, _: usize) -> Result<Tx<File, M>> {
        meeting.hear()?;
        Ok(Tx::new(File::options().write(true).open(meeting.path())?))
    }

    fn receiver<M: Message>(meeting: &mut Meeting, _: usize) -> Result<Rx<File, M>> {
        mkfifoat(CWD, meeting.path(), Mode::RUSR | Mode::WUSR)?;
        meeting.tell("created")?;
        Ok(Rx::new(File::open(meeting.path())?))
    }
}

impl BetweenProcesses for UnixSocket {
    const ABOUT: About = About {
        name: "Unix stream socket",
        package: "",
        form: "blocking, default buffers; one write and one read a message; batches: one write, one read",
        group: Group::ProcessesBlocking,
        scenarios: Scenario::EVERY,
    };
    type Tx<M: Message> = Tx<UnixStream, M>;
    type Rx<M: Message> = Rx<UnixStream, M>;

    fn sender<M: Message>(meeting: &mut Meeting, _: usize) -> Result<Tx<UnixStream, M>> {
        meeting.hear()?;
        Ok(Tx::new(UnixStream::connect(meeting.path())?))
    }

    fn receiver<M: Message>(meeting: &mut Meeting, _: usize) -> Result<Rx<UnixStream, M>> {
        let listener = UnixListener::bind(meeting.path())?;
        meeting.tell("created")?;
        Ok(Rx::new(listener.accept()?.0))
    }
}

/// The producer's end, with room for a batch.
pub struct Tx<S, M> {
    stream: S,
    batch: Vec<M>,
}

/// The consumer's end, with room for a batch.
pub struct Rx<S, M> {
    stream: S,
    batch: [M; BATCH],
}

impl<S, M> Tx<S, M> {
    fn new(stream: S) -> Self {
        Self { stream, batch: Vec::with_capacity(BATCH) }
    }
}

impl<S, M: Message> Rx<S, M> {
    fn new(stream: S) -> Self {
        Self { stream, batch: [M::numbered(0); BATCH] }
    }
}

impl<S: Write, M: Message> SendEnd<M> for Tx<S, M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        self.stream.write_all(M::numbered(number).as_bytes()).expect("the receiver lives");
    }

    #[inline(always)]
    fn send_batch(&mut self, numbers: Range<u64>) {
        self.batch.clear();
        self.batch.extend(numbers.map(M::numbered));
        self.stream.write_all(self.batch.as_bytes()).expect("the receiver lives");
    }
}

impl<S: Read, M: Message> ReceiveEnd<M> for Rx<S, M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        let mut message = M::new_zeroed();
        self.stream.read_exact(message.as_mut_bytes()).expect("the sender lives");
        visit(&message)
    }

    #[inline(always)]
    fn receive_batch(&mut self, limit: usize, visit: impl FnMut(&M)) -> usize {
        let bytes = self.batch[..limit].as_mut_bytes();
        let mut read = 0;
        // What one read gives, and the rest of a message that it cut.
        while read == 0 || read % size_of::<M>() != 0 {
            match self.stream.read(&mut bytes[read..]).expect("the sender lives") {
                0 => panic!("the sender ended before its time"),
                more => read += more,
            }
        }
        let taken = read / size_of::<M>();
        self.batch[..taken].iter().for_each(visit);
        taken
    }
}
