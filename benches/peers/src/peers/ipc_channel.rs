//! ipc-channel (Servo): crossbeam-channel's counterpart between processes, over Unix sockets.

use std::marker::PhantomData;
use std::ops::Range;

use anyhow::{Result, anyhow};
use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender};
use zerocopy::IntoBytes;

use crate::contender::{About, BetweenProcesses, Group, ReceiveEnd, SendEnd};
use crate::meeting::Meeting;
use crate::message::Message;
use crate::scenario::Scenario;

/// Its channel of raw bytes, which spares the serializer; a batch is one packet.
pub struct IpcChannel;

impl BetweenProcesses for IpcChannel {
    const ABOUT: About = About {
        name: "ipc-channel",
        package: "ipc-channel",
        form: "bytes_channel; send, recv; batches: one packet; holds what the socket buffer does",
        group: Group::ProcessesBlocking,
        scenarios: Scenario::EVERY,
    };
    type Tx<M: Message> = Tx<M>;
    type Rx<M: Message> = Rx<M>;

    fn sender<M: Message>(meeting: &mut Meeting, _: usize) -> Result<Tx<M>> {
        let server = meeting.hear()?;
        let (tx, rx) = ipc::bytes_channel()?;
        IpcSender::<IpcBytesReceiver>::connect(server)?.send(rx).map_err(|error| anyhow!("{error}"))?;
        Ok(Tx { end: tx, batch: Vec::new() })
    }

    fn receiver<M: Message>(meeting: &mut Meeting, _: usize) -> Result<Rx<M>> {
        let (server, name) = IpcOneShotServer::<IpcBytesReceiver>::new()?;
        meeting.tell(&name)?;
        let (_, end) = server.accept().map_err(|error| anyhow!("{error}"))?;
        Ok(Rx { end, message: PhantomData })
    }
}

/// The producer's end, with room for a batch.
pub struct Tx<M> {
    end: IpcBytesSender,
    batch: Vec<M>,
}

/// The consumer's end.
pub struct Rx<M> {
    end: IpcBytesReceiver,
    message: PhantomData<M>,
}

impl<M: Message> SendEnd<M> for Tx<M> {
    #[inline(always)]
    fn send(&mut self, number: u64) {
        self.end.send(M::numbered(number).as_bytes()).expect("the receiver lives");
    }

    #[inline(always)]
    fn send_batch(&mut self, numbers: Range<u64>) {
        self.batch.clear();
        self.batch.extend(numbers.map(M::numbered));
        self.end.send(self.batch.as_bytes()).expect("the receiver lives");
    }
}

impl<M: Message> ReceiveEnd<M> for Rx<M> {
    #[inline(always)]
    fn receive<R>(&mut self, visit: impl FnOnce(&M) -> R) -> R {
        let bytes = self.end.recv().expect("the sender lives");
        visit(&M::read_from_bytes(&bytes).expect("a whole message"))
    }

    #[inline(always)]
    fn receive_batch(&mut self, limit: usize, mut visit: impl FnMut(&M)) -> usize {
        let bytes = self.end.recv().expect("the sender lives");
        let messages = bytes.chunks(size_of::<M>());
        let count = messages.len();
        assert!(count <= limit, "a batch is received as it was sent");
        for message in messages {
            visit(&M::read_from_bytes(message).expect("whole messages"));
        }
        count
    }
}
