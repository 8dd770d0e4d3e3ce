use ringway::{Payload, Schema};
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(FromBytes, IntoBytes, Immutable, Payload)]
#[repr(transparent)]
struct Ticket<T>(T); //~ `Ticket` needs a drop, but a payload is just copied

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {}
}

fn main() {
    Schema::of::<Ticket<u64>>();
}
