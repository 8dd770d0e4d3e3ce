use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Ticket(u64); //~ `Ticket` needs a drop, but a payload is just copied

impl Drop for Ticket {
    fn drop(&mut self) {}
}

fn main() {}
