//! The NUMA node on which the kernel puts new pages of this thread.

#![allow(unsafe_code)] // one of the rooms: rustix has no memory policies

use core::ffi::{c_int, c_ulong};
use std::fs;
use std::io;

use crate::error::Error;

/// Words of a node mask; the kernel knows at most 1024 nodes.
const WORDS: usize = 1024 / c_ulong::BITS as usize;
/// Bits of it, and the one more that these calls want.
const BITS: usize = WORDS * c_ulong::BITS as usize + 1;

/// A memory policy, and what it is about.
#[derive(Debug)]
struct Policy {
    mode: c_int,
    nodes: [c_ulong; WORDS],
}

/// New pages of this thread come from one node, as far as that has any, until this is dropped.
#[derive(Debug)]
pub(crate) struct Preferred {
    before: Policy,
}

impl Policy {
    fn of_thread() -> io::Result<Self> {
        let mut policy = Self { mode: 0, nodes: [0; WORDS] };
        let (mode, nodes) = (&raw mut policy.mode, policy.nodes.as_mut_ptr());
        // SAFETY: both pointers are valid for what the call writes, `BITS - 1` bits in the second; no address is asked
        // about.
        let result = unsafe { libc::syscall(libc::SYS_get_mempolicy, mode, nodes, BITS, 0_usize, 0_usize) };
        if result == 0 { Ok(policy) } else { Err(io::Error::last_os_error()) }
    }

    fn set(&self) -> io::Result<()> {
        // SAFETY: the mask is valid for reads of `BITS - 1` bits.
        let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, self.mode, self.nodes.as_ptr(), BITS) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Has new pages of this thread come from that node, if one is given.
pub(crate) fn prefer(node: Option<u32>) -> Result<Option<Preferred>, Error> {
    let Some(node) = node else { return Ok(None) };
    let online = fs::read_to_string("/sys/devices/system/node/online").unwrap_or_else(|_| "0".into());
    let online = online.trim();
    if !is_in(online, node) || node as usize >= BITS - 1 {
        return Err(Error::NoNumaNode { node, online: online.into() });
    }
    let refused = |error: io::Error| match error.raw_os_error() {
        // All memory is node 0's.
        Some(libc::ENOSYS) => Ok(None),
        Some(libc::EPERM) => Err(Error::Unsupported {
            what: "set_mempolicy, by which a NUMA node is chosen,",
            advice: "allow it in the sandbox, or run the program under `numactl --preferred`",
        }),
        _ => Err(Error::Os { call: "set_mempolicy", source: error }),
    };
    let before = match Policy::of_thread() {
        Ok(before) => before,
        Err(error) => return refused(error),
    };
    let mut policy = Policy { mode: libc::MPOL_PREFERRED, nodes: [0; WORDS] };
    policy.nodes[(node / c_ulong::BITS) as usize] |= 1 << (node % c_ulong::BITS);
    match policy.set() {
        Ok(()) => Ok(Some(Preferred { before })),
        Err(error) => refused(error),
    }
}

impl Drop for Preferred {
    fn drop(&mut self) {
        // The kernel took this very policy before.
        let _ = self.before.set();
    }
}

/// Whether a list such as `0-3,8` has that number in it.
fn is_in(list: &str, number: u32) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if (first..=last).contains(&number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        for (list, number, is) in [
            ("0", 0, true),
            ("0", 1, false),
            ("0-3,8", 2, true),
            ("0-3,8", 8, true),
            ("0-3,8", 5, false),
            ("", 0, false),
        ] {
            assert_eq!(is_in(list, number), is, "{list:?}, {number}");
        }
    }

    #[test]
    fn the_policy_of_the_thread_comes_back() {
        let Ok(before) = Policy::of_thread() else { return };
        let preferred = prefer(Some(0)).unwrap();
        let during = Policy::of_thread().unwrap();
        assert_eq!((during.mode, during.nodes[0]), (libc::MPOL_PREFERRED, 1));
        drop(preferred);
        let after = Policy::of_thread().unwrap();
        assert_eq!((after.mode, after.nodes), (before.mode, before.nodes));
    }
}
