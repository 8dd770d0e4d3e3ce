use core::marker::PhantomData;

use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Index {
    at: u64,
    of: PhantomData<*const u8>, //~ `*const u8` cannot be sent between threads safely
}

fn main() {}
