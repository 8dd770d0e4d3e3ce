//! Channels elsewhere than in POSIX shared memory.

mod common;

use std::fs;

use common::{Side, ringway, watchdog};
use ringway::{Inspection, Options, spsc::Channel};

/// An address that is free, and free again afterwards.
struct Place(String);

impl Place {
    /// Of each kind.
    fn each(test: u32) -> [Self; 2] {
        let file = format!("file:{}/ringway-cli-{}-{test}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        [file, format!("sysv:{:#x}", std::process::id() << 8 | test)].map(Self)
    }

    fn is_free(&self) -> bool {
        matches!(Inspection::of(&self.0), Err(ringway::Error::NotFound { .. }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = !self.is_free();
        let _ = ringway::unlink(&self.0);
        assert!(!left || std::thread::panicking(), "{} was left behind", self.0);
    }
}

fn output(arguments: &[&str]) -> String {
    String::from_utf8(Side::start(ringway(arguments.iter().copied())).finish().expect(0, &[])).unwrap()
}

#[test]
fn streams_go_through_files_and_keys() {
    let _watchdog = watchdog();
    let text: Vec<u8> = (0..300_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    for (Place(address), options) in Place::each(0).iter().flat_map(|place| [(place, &[][..]), (place, &["--mpmc"])]) {
        let receiver = Side::recv(address, options);
        let mut sender = Side::send(address, options);
        // In pieces: a pipe holds less, and nobody reads the other end yet.
        let reading = std::thread::spawn(move || receiver.finish().expect(0, &[]));
        sender.write(&text);
        sender.finish().expect(0, &[]);
        assert!(reading.join().unwrap() == text, "{address} {options:?}");
        assert!(matches!(Inspection::of(address), Err(ringway::Error::NotFound { .. })), "{address} is left");
    }
}

#[test]
fn they_are_listed_shown_and_removed() {
    let _watchdog = watchdog();
    for place in Place::each(1) {
        let address = &*place.0;
        let channel = Channel::<u64>::create(address, &Options::new().capacity(8).persist(true)).unwrap();
        channel.sender().unwrap().send_slice(&[1, 2, 3]).unwrap();
        let list = output(&["list", address]);
        let words: Vec<_> = list.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words[..4], [address, "spsc", "3", "8"]);
        let listed = output(&["list"]).lines().any(|line| line.starts_with(address));
        assert_eq!(listed, address.starts_with("sysv:"), "files are listed if they are named");
        let shown = output(&["inspect", address]);
        assert!(shown.contains(address) && shown.contains("3 of 8"), "{shown}");
        assert!(!shown.contains("note "), "only names in POSIX shared memory are limited: {shown}");
        drop(channel);
        output(&["remove", address]);
        assert!(place.is_free());
        let missing = output(&["list", address]);
        assert!(missing.contains("no region is named"), "{missing}");
    }
    assert!(output(&["help"]).contains("sysv:0x1234"));
}

#[test]
fn the_mode_is_theirs_too() {
    let _watchdog = watchdog();
    for place in Place::each(2) {
        let sender = Side::send(&place.0, &["--mode", "640"]);
        let inspection = loop {
            if let Ok(inspection) = Inspection::of(&place.0) {
                break inspection;
            }
            std::thread::yield_now();
        };
        assert_eq!(inspection.mode, 0o640);
        sender.kill();
        ringway::unlink(&place.0).unwrap();
    }
}

#[test]
fn addresses_that_nobody_could_share_are_refused() {
    let _watchdog = watchdog();
    for address in ["memfd:", "anon:", "heap:", "sysv:private", "sysv:"] {
        for command in ["send", "recv"] {
            Side::start(ringway([command, address])).finish().expect(2, &["new memory each time", "ringway help"]);
        }
    }
    for address in ["http://localhost", "sysv:ticks", "file:", "memfd:x"] {
        for command in ["send", "recv", "inspect", "remove", "list"] {
            Side::start(ringway([command, address])).finish().expect(2, &["invalid region name", address]);
        }
    }
    Side::start(ringway(["recv", "file:/nowhere/at/all"])).finish().expect(1, &["no directory /nowhere/at"]);
    assert!(!fs::exists("http:").unwrap());
}
