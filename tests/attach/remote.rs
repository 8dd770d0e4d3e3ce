//! File systems whose locks and pages this kernel does not answer for: a file system in user space, made here.

#![allow(unsafe_code)] // a mount

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use ringway::{Error, Inspection, Options, mpmc, spsc::Channel};
use rustix::fs::{Mode, OFlags};

use crate::child::{Part, parts, play};
use crate::expect::assert_refused;
use crate::mount::mount;
use crate::places::{in_own_mounts, unmount};
use crate::{Case, Outcome, cases};

pub(crate) const CASES: &[Case] = cases![a_file_system_in_user_space_is_refused];

pub(crate) const PARTS: &[Part] = parts![where_files_are_made_up];

fn a_file_system_in_user_space_is_refused() -> Outcome {
    play("where_files_are_made_up", "")
}

/// Numbers of requests, in the kernel's `linux/fuse.h`.
mod opcode {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const OPEN: u32 = 14;
    pub(super) const STATFS: u32 = 17;
    pub(super) const INIT: u32 = 26;
    pub(super) const INTERRUPT: u32 = 36;
}

/// Answers the kernel until the file system is unmounted: there is a directory, and in it every name leads to a file.
fn serve(mut device: File) {
    let mut request = [0; 1 << 17];
    while let Ok(length) = device.read(&mut request) {
        let word = |offset: usize| u32::from_ne_bytes(request[offset..offset + 4].try_into().expect("four bytes"));
        assert_eq!(word(0) as usize, length);
        let node = word(16);
        let attributes = |node: u32| {
            let mode = if node == 1 { libc::S_IFDIR | 0o755 } else { libc::S_IFREG | 0o600 };
            let mut words = [0_u32; 22];
            (words[0], words[15], words[16]) = (node, mode, 1);
            words
        };
        let answer: Result<Vec<u32>, i32> = match word(4) {
            // The version, and as much as any kernel lets a write be.
            opcode::INIT => Ok([vec![7, 31, 0, 0, 0, 1 << 16], vec![0; 10]].concat()),
            opcode::LOOKUP => Ok([vec![2, 0], vec![0; 8], attributes(2).to_vec()].concat()),
            opcode::GETATTR => Ok([vec![0; 4], attributes(node).to_vec()].concat()),
            opcode::OPEN => Ok(vec![0; 4]),
            opcode::STATFS => Ok(vec![0; 20]),
            opcode::FORGET | opcode::INTERRUPT => continue,
            _ => Err(-libc::ENOSYS),
        };
        let (error, words) = answer.map_or_else(|error| (error, Vec::new()), |words| (0, words));
        let header = [(16 + 4 * words.len()) as u32, error as u32, word(8), word(12)];
        let bytes: Vec<u8> = header.iter().chain(&words).flat_map(|word| word.to_ne_bytes()).collect();
        // Whoever asked may have been interrupted meanwhile.
        let _ = device.write(&bytes);
    }
}

fn where_files_are_made_up(_: &str) -> Result<(), String> {
    in_own_mounts(|| {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device =
            rustix::fs::open("/dev/fuse", flags, Mode::empty()).map_err(|error| format!("/dev/fuse: {error}"))?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        mount("none", "/mnt", "fuse", 0, &options)?;
        let server = thread::spawn(|| serve(device.into()));
        let (address, options) = ("file:/mnt/x", Options::new());
        let remedy = "choose a local file system";
        for (call, result) in [
            ("create", Channel::<u64>::create(address, &options).map(drop)),
            ("attach", Channel::<u64>::attach(address, &options).map(drop)),
            ("open_or_create", mpmc::Channel::<u64>::open_or_create(address, &options).map(drop)),
            ("unlink", ringway::unlink(address)),
            ("inspect", Inspection::of(address).map(drop)),
        ] {
            assert_refused!(call => result, Error::NotLocal { kind: "fuse", .. }, "/mnt", "lies on fuse", remedy);
        }
        let passed = File::options().read(true).write(true).open("/mnt/x").expect("every name leads to a file");
        let result = Channel::<u64>::from_fd(OwnedFd::from(passed), &options.trust_unsealed(true));
        assert_refused!(result, Error::NotLocal { kind: "fuse", .. }, "(descriptor)", remedy);
        unmount("/mnt");
        server.join().expect("it answered to the end");
        Ok(())
    })
}
