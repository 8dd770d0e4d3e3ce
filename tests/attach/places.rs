//! /dev/shm itself: missing, something else, read-only or full.
//!
//! Each trial is a process with mounts of its own. Where the machine does not permit that, it says so.

#![allow(unsafe_code)] // namespaces and mounts

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;

use ringway::spsc::Channel;
use ringway::{Error, Inspection, Options};

use crate::child::{Part, parts, play};
use crate::expect::assert_refused;
use crate::left::{Behind, Name};
use crate::mount::mount;
use crate::segment::Key;
use crate::{Case, Outcome, cases};

pub(crate) const CASES: &[Case] =
    cases![missing, not_a_directory, on_a_disk, read_only, full, no_more_files, without_proc];

pub(crate) const PARTS: &[Part] = parts![
    where_it_is_missing,
    where_it_is_a_file,
    where_it_is_on_a_disk,
    where_it_is_read_only,
    where_it_is_full,
    where_there_are_no_more_files,
    where_there_is_no_proc,
];

fn missing() -> Outcome {
    play("where_it_is_missing", "")
}

fn not_a_directory() -> Outcome {
    play("where_it_is_a_file", "")
}

fn on_a_disk() -> Outcome {
    play("where_it_is_on_a_disk", "")
}

fn read_only() -> Outcome {
    play("where_it_is_read_only", "")
}

fn full() -> Outcome {
    play("where_it_is_full", "")
}

fn no_more_files() -> Outcome {
    play("where_there_are_no_more_files", "")
}

fn without_proc() -> Outcome {
    play("where_there_is_no_proc", "")
}

const SHM: &str = "/dev/shm";

/// Gives this process mounts of its own. It has one thread.
pub(crate) fn enter_own_mounts() -> Result<(), String> {
    let ids = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let unshare = |flags| {
        // SAFETY: concerns the namespaces of this process, which has one thread.
        match unsafe { libc::unshare(flags) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    if let Err(first) = unshare(libc::CLONE_NEWNS) {
        // An ordinary user may be root of a user namespace.
        unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)
            .map_err(|second| format!("no mount namespace ({first}), nor one in a user namespace ({second})"))?;
        let map = |file: &str, text: String| {
            fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("writing {file}: {error}"))
        };
        map("setgroups", "deny".into())?;
        map("uid_map", format!("0 {} 1", ids.0))?;
        map("gid_map", format!("0 {} 1", ids.1))?;
    }
    // Nothing that is mounted here may be seen outside.
    mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE, "")
}

/// Takes away what was mounted there.
pub(crate) fn unmount(target: &str) {
    let path = CString::new(target).expect("no zero byte");
    // SAFETY: a string that ends with a zero and outlives the call.
    let result = unsafe { libc::umount2(path.as_ptr(), 0) };
    assert_eq!(result, 0, "unmounting {target}: {}", std::io::Error::last_os_error());
}

pub(crate) fn mount_memory(target: &str, options: &str) -> Result<(), String> {
    mount("none", target, "tmpfs", 0, options)
}

/// Every call that needs the directory says the same, and those that do not, work.
fn is_not_mounted(found_here: &str) {
    let options = Options::new();
    let calls: [(&str, Result<(), Error>); 6] = [
        ("create", Channel::<u64>::create("ticks", &options).map(drop)),
        ("attach", Channel::<u64>::attach("ticks", &options).map(drop)),
        ("open_or_create", Channel::<u64>::open_or_create("ticks", &options).map(drop)),
        ("unlink", ringway::unlink("ticks")),
        ("inspect", Inspection::of("ticks").map(drop)),
        ("names", Inspection::names().map(drop)),
    ];
    let (key, segment) = (Key::new(), Key::new());
    segment.occupy(&[0; 8192]);
    // The leases on a segment lie there as well.
    let of_segments = [
        ("create by key", Channel::<u64>::create(&key, &options).map(drop)),
        ("create without a key", Channel::<u64>::create("sysv:private", &options).map(drop)),
        ("open or create by key", Channel::<u64>::open_or_create(&key, &options).map(drop)),
        ("attach by key", Channel::<u64>::attach(&segment, &options).map(drop)),
        ("inspect by key", Inspection::of(&segment).map(drop)),
        ("addresses", Inspection::addresses().map(drop)),
    ];
    for (call, result) in calls.into_iter().chain(of_segments) {
        assert_refused!(
            call => result,
            Error::NotMounted { path: SHM, found } if found == found_here,
            SHM,
            found_here,
            "mount -t tmpfs tmpfs /dev/shm",
        );
    }
    others_work();
}

/// Whatever /dev/shm is like, the other kinds of memory are there.
fn others_work() {
    let file = Name::on_disk();
    for address in [&*file, "memfd:", "anon:", "heap:"] {
        works(&Channel::create(address, &Options::new()).expect(address));
    }
    works(&Channel::attach(&file, &Options::new()).expect("it outlives its creator"));
}

/// Fills the channel, and drains it.
fn works(channel: &Channel<u64>) {
    let (tx, rx) = (channel.sender().expect("a free end"), channel.receiver().expect("a free end"));
    for number in 0..tx.capacity() as u64 {
        tx.try_send(number).expect("room");
    }
    assert!(rx.try_iter().eq(0..tx.capacity() as u64));
}

/// Plays in mounts of its own, and leaves nothing behind in the process.
pub(crate) fn in_own_mounts(scene: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    enter_own_mounts()?;
    let before = Behind::here();
    scene()?;
    assert_eq!(Behind::here(), before, "something was left behind");
    Ok(())
}

fn where_it_is_missing(_: &str) -> Result<(), String> {
    in_own_mounts(|| {
        mount_memory("/dev", "")?;
        is_not_mounted("no such directory");
        Ok(())
    })
}

fn where_it_is_a_file(_: &str) -> Result<(), String> {
    in_own_mounts(|| {
        mount_memory("/dev", "")?;
        fs::write(SHM, "").expect("it is ours");
        is_not_mounted("not a directory");
        Ok(())
    })
}

fn where_it_is_on_a_disk(_: &str) -> Result<(), String> {
    const TMPFS: i64 = 0x0102_1994;
    in_own_mounts(|| {
        let disk = env!("CARGO_TARGET_TMPDIR");
        if rustix::fs::statfs(disk).expect("it is there").f_type == TMPFS {
            return Err(format!("{disk} is on no disk"));
        }
        mount(disk, SHM, "", libc::MS_BIND | libc::MS_REC, "")?;
        is_not_mounted("a directory of a disk file system");
        Ok(())
    })
}

fn where_it_is_read_only(_: &str) -> Result<(), String> {
    in_own_mounts(|| {
        mount_memory(SHM, "mode=1777")?;
        let (options, key) = (Options::new(), Key::new());
        Channel::<u64>::create("ticks", &options.clone().persist(true)).expect("it is writable yet");
        Channel::<u64>::create(&key, &options.clone().persist(true)).expect("so is the segment's file");
        mount("none", SHM, "", libc::MS_REMOUNT | libc::MS_RDONLY, "")?;

        let calls: [(&str, Result<(), Error>); 9] = [
            ("create a segment", Channel::<u64>::create("sysv:private", &options).map(drop)),
            ("attach to a segment", Channel::<u64>::attach(&key, &options).map(drop)),
            ("open or create a segment", Channel::<u64>::open_or_create(&key, &options).map(drop)),
            ("unlink a segment", ringway::unlink(&key)),
            ("create", Channel::<u64>::create("other", &options).map(drop)),
            ("open_or_create", Channel::<u64>::open_or_create("other", &options).map(drop)),
            ("attach", Channel::<u64>::attach("ticks", &options).map(drop)),
            ("open_or_create", Channel::<u64>::open_or_create("ticks", &options).map(drop)),
            ("unlink", ringway::unlink("ticks")),
        ];
        for (call, result) in calls {
            let remedy = "mount -o remount,rw /dev/shm";
            assert_refused!(call => result, Error::ReadOnly { path } if path == SHM, "read-only", remedy);
        }
        // Looking is still possible.
        assert_eq!(Inspection::of("ticks").expect("it is readable").capacity, 1024);
        assert_eq!(Inspection::of(&key).expect("it is readable").capacity, 1024);
        assert_eq!(Inspection::names().expect("it is readable"), ["ticks"]);
        others_work();
        mount("none", SHM, "", libc::MS_REMOUNT, "")?;
        ringway::unlink(&key).expect("it is writable again");
        Ok(())
    })
}

fn free_blocks() -> u64 {
    rustix::fs::statvfs(SHM).expect("it is mounted").f_bfree
}

fn where_it_is_full(_: &str) -> Result<(), String> {
    in_own_mounts(|| {
        const SIZE: u64 = 64 << 10;
        mount_memory(SHM, &format!("size={SIZE},mode=1777"))?;
        let untouched = free_blocks();
        let needs = |name: &str, capacity: usize| {
            let error = Channel::<u64>::create(name, &Options::new().capacity(capacity)).expect_err("it does not fit");
            let Error::NoSpace { needed, available } = error else { panic!("{error:?}") };
            let parts = [needed.to_string(), available.to_string()];
            assert_refused!(Err::<(), _>(error), Error::NoSpace { .. }, &parts[0], &parts[1], "enlarge the mount");
            (needed, available)
        };
        for capacity in [10_000, 1 << 20] {
            let (needed, available) = needs("ticks", capacity);
            assert!(needed > 8 * capacity as u64 && available == SIZE, "{needed} of {available}");
        }
        assert_eq!((free_blocks(), Inspection::names().expect("it is mounted").len()), (untouched, 0));

        // What was reserved is there, even when everything else is taken.
        let channel = Channel::create("ticks", &Options::new().capacity(5000)).expect("it fits");
        let mut rest = File::create(format!("{SHM}/rest")).expect("one more file");
        while rest.write_all(&[7; 4096]).is_ok() {}
        assert_eq!(free_blocks(), 0);
        for _ in 0..2 {
            works(&channel);
        }
        assert_eq!(needs("more", 1), (12288, 0));
        // The lease of a segment needs a page there, whatever the segment's own size.
        assert_eq!(needs("sysv:private", 5000), (4096, 0));
        others_work();
        drop(channel);
        drop(rest);
        fs::remove_file(format!("{SHM}/rest")).expect("it is ours");
        assert_eq!((free_blocks(), Inspection::names().expect("it is mounted").len()), (untouched, 0));
        Ok(())
    })
}

fn where_there_are_no_more_files(_: &str) -> Result<(), String> {
    in_own_mounts(|| {
        mount_memory(SHM, "nr_inodes=2,mode=1777")?;
        let one = Channel::<u64>::create("one", &Options::new()).expect("the directory is the other");
        let result = Channel::<u64>::create("two", &Options::new());
        assert_refused!(result, Error::NoSpace { available: 0, .. }, "not enough shared memory", "free some");
        drop(one);
        Channel::<u64>::create("two", &Options::new()).expect("the first is gone");
        Ok(())
    })
}

fn where_there_is_no_proc(_: &str) -> Result<(), String> {
    in_own_mounts(|| {
        mount_memory(SHM, "mode=1777")?;
        let (options, file, key) = (Options::new(), Name::on_disk(), Key::new());
        let create = |address: &str| Channel::<u64>::create(address, &options).expect("there is a /proc yet");
        let before = ["ticks", &file, &key, "memfd:", "anon:"].map(create);
        let heap = create("heap:");
        mount_memory("/proc", "")?;

        let refused = |call: &str, result: Result<(), Error>| {
            assert_refused!(call => result, Error::Unsupported { what: "/proc", .. }, "mount -t proc proc /proc");
        };
        let [other_file, other_key] = [format!("{}-other", &*file), format!("{}1", &*key)];
        for address in ["other", &other_file, &other_key, "sysv:private"] {
            refused(address, Channel::<u64>::create(address, &options).map(drop));
            refused(address, Channel::<u64>::open_or_create(address, &options).map(drop));
        }
        refused("attach", Channel::<u64>::attach(&key, &options).map(drop));
        for channel in &before {
            refused("sender", channel.sender().map(drop));
            refused("receiver", channel.receiver().map(drop));
        }
        for address in ["ticks", &file] {
            let channel = Channel::<u64>::attach(address, &options).expect("it takes no /proc to find it");
            refused("sender", channel.sender().map(drop));
            assert_eq!(Inspection::of(address).expect("nor to look at it").capacity, 1024);
        }
        assert_eq!(Inspection::names().expect("it is mounted"), ["ticks"], "nothing was created by halves");
        works(&heap);
        works(&Channel::heap(&options).expect("memory of this process"));
        unmount("/proc");
        before.iter().for_each(works);
        Ok(())
    })
}
