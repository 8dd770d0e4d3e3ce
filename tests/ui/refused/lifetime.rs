use core::marker::PhantomData;

use ringway::Payload;
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

#[derive(TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C, packed)]
struct Index<'a> { //~ `Index` has the lifetime parameter `'a`: what it borrows is not there in another process; hold
    at: u64,
    of: PhantomData<&'a [u8]>,
}

fn main() {}
