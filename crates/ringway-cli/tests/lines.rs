//! `--lines`: as they come, whole, and byte by byte what they were.

mod common;

use common::{Name, Side, noise, watchdog};
use rustix::process::Signal;

/// Everything that can be special about a line.
fn text() -> Vec<u8> {
    let mut text = b"first\n\n\nthird with CRLF\r\n\0binary\xff\n".to_vec();
    for len in [4070, 4071, 4072, 4073, 8143, 8144, 100_000] {
        text.extend(noise(len).into_iter().map(|byte| if byte == b'\n' { b'x' } else { byte }));
        text.push(b'\n');
    }
    for number in 0..5000 {
        text.extend(format!("line {number}\n").into_bytes());
    }
    text.extend(b"last, without a newline");
    text
}

#[track_caller]
fn exact(input: &[u8], sending: &[&str], receiving: &[&str]) {
    let _watchdog = watchdog();
    let name = Name::new();
    let receiver = Side::recv(&name, receiving);
    let received = std::thread::scope(|scope| {
        scope.spawn(|| Side::send(&name, sending).feed(input).expect(0, &[]));
        receiver.finish().expect(0, &[])
    });
    assert_eq!(received.len(), input.len());
    assert!(received == input, "not the same bytes");
}

#[test]
fn lines_come_out_as_they_went_in() {
    let text = text();
    for sending in [&["--lines"][..], &[]] {
        for receiving in [&["--lines"][..], &[]] {
            exact(&text, sending, receiving);
            exact(&text[..text.len() - 23], sending, receiving);
            exact(b"", sending, receiving);
            exact(b"\n", sending, receiving);
            exact(b"x", sending, receiving);
        }
    }
}

#[test]
fn a_line_longer_than_the_memory_for_it() {
    let endless: Vec<_> = noise(3 << 20).into_iter().map(|byte| byte & 0x7f | 0x40).collect();
    exact(&endless, &["--lines"], &["--lines"]);
}

#[test]
fn a_line_arrives_before_the_next_one_is_written() {
    let _watchdog = watchdog();
    for options in [&["--lines"][..], &["--lines", "--wait", "park"], &[]] {
        let name = Name::new();
        let mut sender = Side::send(&name, options);
        let mut receiver = Side::recv(&name, options);
        for line in ["first\n", "second, some bytes longer\n", "\n", "fourth\r\n"] {
            sender.write(line.as_bytes());
            assert_eq!(receiver.read(line.len()), line.as_bytes());
        }
        sender.finish().expect(0, &[]);
        assert_eq!(receiver.finish().expect(0, &[]), b"");
    }
}

#[test]
fn no_part_of_a_line_leaves_the_receiver() {
    let _watchdog = watchdog();
    let name = Name::new();
    let mut sender = Side::send(&name, &[]);
    let mut receiver = Side::recv(&name, &["--lines"]);
    sender.write(b"whole\npa");
    assert_eq!(receiver.read(6), b"whole\n");
    sender.write(b"rt");
    // The announcement and two frames.
    name.wait_for(|region| region.received == 3);
    sender.signal(Signal::KILL);
    let rest = receiver.finish().expect(3, &["died", "6 bytes were written", "4 bytes of an unfinished line"]);
    assert_eq!(rest, b"");
}

#[test]
fn no_part_of_a_line_leaves_the_sender() {
    let _watchdog = watchdog();
    let name = Name::new();
    let mut sender = Side::send(&name, &["--lines"]);
    let mut receiver = Side::recv(&name, &[]);
    sender.write(b"whole\npart");
    assert_eq!(receiver.read(6), b"whole\n");
    sender.write(b" and rest\n");
    assert_eq!(receiver.read(14), b"part and rest\n");
    // The announcement and one frame a line, none for the part.
    let region = name.wait_for(|region| region.len == 0);
    assert_eq!(region.received, 3);
    sender.finish().expect(0, &[]);
    receiver.finish().expect(0, &[]);
}
