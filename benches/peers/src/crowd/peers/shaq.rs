//! shaq's MPMC rings over a file, of the two releases that are compared; the calls that are used are the same in both.

// The crate's constructors are unsafe.
#![allow(unsafe_code)]

use std::fs::File;

use anyhow::{Result, anyhow};

use super::SHAQ;
use crate::crowd::contender::{About, Contender, Place, ReceiveEnd, SendEnd};
use crate::message::Message;

macro_rules! release {
    ($name:ident, $index:literal, $package:literal, $shaq:ident) => {
        #[doc = concat!("shaq ", $package, ".")]
        pub struct $name;

        impl Contender for $name {
            const ABOUT: About =
                About { name: SHAQ[$index], package: $package, processes: true, batches: false, stalled: false };
            type Channel<M: Message> = (File, Option<$shaq::mpmc::Producer<M>>);
            type Tx<M: Message> = $shaq::mpmc::Producer<M>;
            type Rx<M: Message> = $shaq::mpmc::Consumer<M>;

            fn create<M: Message>(place: &Place, capacity: usize) -> Result<Self::Channel<M>> {
                let file = File::options().read(true).write(true).create_new(true).open(place.path())?;
                let size = $shaq::mpmc::minimum_file_size::<M>(capacity);
                // SAFETY:
                // * the file was just created under a path that is new with every measurement, and nobody else is told
                //   of it before this returns, so this is its sole initializer;
                // * the other processes run this program, so their `M` is this one: plain words, valid there.
                let producer = unsafe { $shaq::mpmc::Producer::create(&file, size) };
                Ok((file, Some(producer.map_err(|error| anyhow!("{error:?}"))?)))
            }

            fn attach<M: Message>(place: &Place) -> Result<Self::Channel<M>> {
                Ok((File::options().read(true).write(true).open(place.path())?, None))
            }

            fn sender<M: Message>((file, _): &Self::Channel<M>) -> Result<Self::Tx<M>> {
                // SAFETY: the other processes run this program, so their `M` is this one: plain words, valid here.
                let producer = unsafe { $shaq::mpmc::Producer::join(file) };
                producer.map_err(|error| anyhow!("{error:?}"))
            }

            fn receiver<M: Message>((file, _): &Self::Channel<M>) -> Result<Self::Rx<M>> {
                // SAFETY: as in `sender`.
                let consumer = unsafe { $shaq::mpmc::Consumer::join(file) };
                consumer.map_err(|error| anyhow!("{error:?}"))
            }
        }

        impl<M: Message> SendEnd<M> for $shaq::mpmc::Producer<M> {
            #[inline(always)]
            fn try_send(&mut self, message: M) -> bool {
                self.try_write(message).is_ok()
            }
        }

        impl<M: Message> ReceiveEnd<M> for $shaq::mpmc::Consumer<M> {
            #[inline(always)]
            fn try_receive(&mut self) -> Option<M> {
                self.try_read()
            }
        }
    };
}

release!(Shaq3, 0, "shaq@3", shaq3);
release!(Shaq4, 1, "shaq@4", shaq4);
