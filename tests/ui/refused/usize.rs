use ringway::{Payload, Schema};

fn assert_payload<T: Payload>() -> Schema {
    Schema::of::<T>()
}

fn main() {
    assert_payload::<usize>(); //~ `usize` cannot be sent to another process
    assert_payload::<isize>(); //~ `isize` cannot be sent to another process
    assert_payload::<[usize; 2]>(); //~ `usize` cannot be sent to another process
}
