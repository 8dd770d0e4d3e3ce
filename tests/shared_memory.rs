//! Both directions of the interoperation with the `shared_memory` crate.
//!
//! `cargo test --features shared_memory --test shared_memory`

#![allow(unsafe_code)] // that crate hands out a raw pointer

use ringway::spsc::Channel;
use ringway::{Error, Inspection, Options, PeerState};
use shared_memory::ShmemConf;

fn unique(name: &str) -> String {
    format!("ringway-test-{name}-{}", std::process::id())
}

#[test]
fn a_channel_in_a_segment_of_theirs() {
    let name = unique("theirs");
    // Not a whole number of pages, and not empty.
    let segment = ShmemConf::new().os_id(&name).size(100_001).create().unwrap();
    // SAFETY: the mapping is that long, and nobody else uses it yet.
    unsafe { segment.as_ptr().write_bytes(0xab, segment.len()) };

    let options = Options::new().capacity(500);
    let tx = Channel::<[u64; 9]>::create_in(&segment, &options).unwrap().sender().unwrap();
    assert_eq!(tx.capacity(), 500);

    // Found by name, or through another mapping of theirs.
    assert_eq!(Inspection::of(&name).unwrap().len, 0);
    let other = ShmemConf::new().os_id(&name).open().unwrap();
    let rx = Channel::<[u64; 9]>::attach_in(&other, &options).unwrap().receiver().unwrap();
    assert!(matches!(rx.peer(), PeerState::Running { .. }));

    for lap in 0..3 {
        for number in 0..500 {
            tx.try_send([number + lap; 9]).unwrap();
        }
        assert!(tx.try_send([0; 9]).unwrap_err().is_full());
        for number in 0..500 {
            assert_eq!(rx.recv(), Ok([number + lap; 9]));
        }
    }

    // In use, it cannot be overwritten; and the segment is theirs to remove, not ours.
    let refused = Channel::<u8>::create_in(&segment, &Options::new());
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    drop((tx, rx, other));
    assert!(Inspection::of(&name).is_ok());
    Channel::<u8>::create_in(&segment, &Options::new()).unwrap();
    drop(segment);
    assert!(matches!(Inspection::of(&name), Err(Error::NotFound { .. })));
}

#[test]
fn a_region_of_ours_opened_by_theirs() {
    let name = unique("ours");
    let channel = Channel::<u64>::create(&name, &Options::new().capacity(1000)).unwrap();
    let tx = channel.sender().unwrap();
    tx.send_slice(&[1, 2, 3]).unwrap();

    let segment = ShmemConf::new().os_id(&name).open().unwrap();
    assert_eq!(segment.len() as u64, Inspection::of(&name).unwrap().region_length);
    // SAFETY: the mapping is at least a page long, and the magic is constant.
    let magic = unsafe { segment.as_ptr().cast::<[u8; 8]>().read() };
    assert_eq!(&magic, b"RINGWAY\0");

    let rx = Channel::<u64>::attach_in(&segment, &Options::new()).unwrap().receiver().unwrap();
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_segment_that_is_too_small_or_carries_nothing_is_refused() {
    let segment = ShmemConf::new().size(8192).create().unwrap();
    let error = Channel::<u64>::create_in(&segment, &Options::new().capacity(1 << 20)).unwrap_err();
    assert!(matches!(error, Error::NoSpace { needed, available: 8192 } if needed > 8 << 20), "{error}");
    let error = Channel::<u64>::attach_in(&segment, &Options::new()).unwrap_err();
    assert!(matches!(error, Error::NotARegion { .. }), "{error}");
}
