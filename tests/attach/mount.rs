//! Mounting, for processes that have mounts of their own.

#![allow(unsafe_code)] // the system call

use std::ffi::CString;
use std::io;

pub(crate) fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong, options: &str) -> Result<(), String> {
    let [source_c, target_c, kind_c, options_c] =
        [source, target, kind, options].map(|text| CString::new(text).expect("no zero byte"));
    // SAFETY: four strings that end with a zero and outlive the call.
    let result =
        unsafe { libc::mount(source_c.as_ptr(), target_c.as_ptr(), kind_c.as_ptr(), flags, options_c.as_ptr().cast()) };
    match result {
        0 => Ok(()),
        _ => Err(format!("mounting {source} at {target}: {}", io::Error::last_os_error())),
    }
}
