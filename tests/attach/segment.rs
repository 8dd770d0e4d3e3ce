//! System V shared memory: keys and ids, other programs' segments, half-made and removed ones, limits and permissions.

#![allow(unsafe_code)] // segments that the library did not make, or that are written behind its back

use std::fs;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use ringway::channel_of::{Channel as ChannelOf, Flavor, Mpmc, Spsc};
use ringway::spsc::Channel;
use ringway::{Address, Backing, Error, Inspection, Options, PeerState, mpmc};

use crate::child::{Part, Talking, is_told, parts, play, say};
use crate::expect::{assert_refused, refused, says};
use crate::header::{Page, every_contradiction_is_named};
use crate::left::Name;
use crate::users::{as_nobody, prepare};
use crate::{Case, Outcome, cases};

pub(crate) const CASES: &[Case] = cases![
    a_key_leads_to_one_region,
    a_file_and_a_letter_make_a_key,
    a_region_without_a_key_is_found_by_its_id,
    the_tools_of_the_system_show_it,
    a_removed_segment_goes_with_its_last_user,
    a_segment_of_another_program_is_told_apart_and_left_alone,
    every_word_of_its_header_is_checked,
    what_contradicts_in_its_header_is_named,
    what_a_killed_creator_left_half_made_is_replaced,
    a_creator_that_is_at_it_is_waited_for_but_not_for_ever,
    creators_that_are_killed_leave_nothing,
    a_killed_peer_is_taken_over_from,
    a_segment_removed_by_hand_is_no_obstacle,
    an_abandoned_segment_is_replaced_on_request,
    modes_and_owners_can_be_changed,
    a_group_is_given_at_creation,
    limits_are_named,
    another_user,
];

pub(crate) const PARTS: &[Part] =
    parts![send_and_stay, create_and_remove_by_key_for_ever, where_limits_are_low, where_another_user_looks,];

/// A key that nobody else uses, and the address that it makes. Whatever has it goes with this value.
pub(crate) struct Key {
    number: i32,
    address: String,
}

impl Key {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicI32 = AtomicI32::new(1);
        let number = (std::process::id() as i32) << 8 | NEXT.fetch_add(1, Ordering::Relaxed) & 0xff;
        Self { number, address: format!("sysv:{number:#x}") }
    }

    /// The id of the segment that has it.
    fn segment(&self) -> Option<i32> {
        // SAFETY: takes numbers only.
        Some(unsafe { libc::shmget(self.number, 0, 0) }).filter(|id| *id >= 0)
    }

    pub(crate) fn companion(&self) -> String {
        let namespace = fs::metadata("/proc/self/ns/ipc").unwrap().ino();
        format!("/dev/shm/.ringway-sysv-{namespace}-k{:x}", self.number)
    }

    pub(crate) fn is_free(&self) -> bool {
        self.segment().is_none() && !fs::exists(self.companion()).unwrap()
    }

    /// A segment of that key which the library did not make.
    pub(crate) fn occupy(&self, bytes: &[u8]) -> i32 {
        // SAFETY: takes numbers only.
        let id = unsafe { libc::shmget(self.number, bytes.len(), libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
        assert!(id >= 0);
        Words::of(id).0.iter().zip(bytes.chunks(8)).for_each(|(word, bytes)| {
            word.store(u64::from_le_bytes(bytes.try_into().unwrap()), Ordering::Relaxed);
        });
        id
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        &self.address
    }
}

impl TryFrom<&Key> for Address {
    type Error = Error;

    fn try_from(key: &Key) -> Result<Self, Error> {
        key.address.parse()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if let Some(id) = self.segment() {
            remove(id);
        }
        let _ = fs::remove_file(self.companion());
    }
}

fn remove(id: i32) {
    // SAFETY: this command takes no buffer.
    unsafe { libc::shmctl(id, libc::IPC_RMID, null_mut()) };
}

fn stat(id: i32) -> Option<libc::shmid_ds> {
    // SAFETY: a struct of integers, for which zero is a value.
    let mut buffer: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the buffer is valid for writes and outlives the call.
    let result = unsafe { libc::shmctl(id, libc::IPC_STAT, &mut buffer) };
    (result == 0).then_some(buffer)
}

/// A segment as somebody sees it who writes what the library would not.
struct Words(&'static [AtomicU64]);

impl Words {
    fn of(id: i32) -> Self {
        let length = stat(id).expect("a segment").shm_segsz;
        // SAFETY: an address of the kernel's choice overlays nothing.
        let base = unsafe { libc::shmat(id, null(), 0) };
        assert_ne!(base.addr(), usize::MAX);
        // SAFETY: attached until `drop`, page-aligned, and of that length.
        Self(unsafe { std::slice::from_raw_parts(base.cast(), length / 8) })
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: attached by `of`, and nobody else has it.
        unsafe { libc::shmdt(self.0.as_ptr().cast()) };
    }
}

fn attach(address: &str) -> Result<Channel<u64>, Error> {
    Channel::attach(address, &Options::new())
}

/// Sends from one to the other and back, through values that know nothing of each other.
fn exchange(one: &Channel<u64>, other: &Channel<u64>) {
    let (tx, rx) = (one.sender().unwrap(), other.receiver().unwrap());
    for number in 0..3 * tx.capacity() as u64 {
        tx.send(number).unwrap();
        assert_eq!(rx.recv(), Ok(number));
    }
    drop(tx);
    assert!(rx.recv().unwrap_err().is_disconnected());
}

fn a_key_leads_to_one_region() {
    let key = Key::new();
    assert_refused!(attach(&key), Error::NotFound { name } if **name == *key, &key, "open_or_create");
    assert_refused!(ringway::unlink(&key), Error::NotFound { .. }, &key);
    let channel = Channel::<u64>::create(&key, &Options::new().capacity(10)).unwrap();
    assert_eq!((channel.name(), channel.as_fd().is_none()), (Some(&*key), true));
    let again = Channel::<u64>::create(&key, &Options::new());
    assert_refused!(again, Error::AlreadyExists { name } if **name == *key, &key, "attach to it");
    exchange(&channel, &attach(&key).unwrap());
    exchange(&Channel::open_or_create(&key, &Options::new()).unwrap(), &channel);
    // In decimal digits, too.
    exchange(&channel, &attach(&format!("sysv:{}", key.number)).unwrap());
    let inspection = Inspection::of(&key).unwrap();
    assert_eq!((inspection.backing, inspection.capacity, inspection.mode), (Backing::SystemV, 10, 0o600));
    assert_eq!(inspection.senders, [PeerState::Closed]);
    assert!(Inspection::addresses().unwrap().contains(&(&key).try_into().unwrap()));
    assert!(!Inspection::names().unwrap().iter().any(|name| name.contains("sysv")), "companions are no regions");
    drop(channel);
    assert!(key.is_free(), "it went with its creator");
}

fn a_file_and_a_letter_make_a_key() {
    let path = std::env::current_exe().unwrap();
    let (address, other) = (format!("sysv:{}#R", path.display()), format!("sysv:{}#82", path.display()));
    let channel = Channel::<u64>::create(&address, &Options::new()).unwrap();
    assert_eq!(channel.name(), Some(&*address));
    exchange(&channel, &attach(&other).unwrap());
    let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a string that ends with a zero and outlives the call.
    let number = unsafe { libc::ftok(text.as_ptr(), i32::from(b'R')) };
    exchange(&attach(&format!("sysv:{:#x}", number)).unwrap(), &channel);
    let nowhere = attach("sysv:/nowhere/at/all#R");
    assert_refused!(nowhere, Error::NoKeyFile { .. }, "/nowhere/at/all", "create it first");
}

fn a_region_without_a_key_is_found_by_its_id() {
    let [first, second] =
        ["sysv:private", "sysv:"].map(|address| Channel::<u64>::create(address, &Options::new()).unwrap());
    let [name, other] = [&first, &second].map(|channel| channel.name().unwrap().to_owned());
    assert!(name.starts_with("sysv:id=") && name != other);
    exchange(&first, &attach(&name).unwrap());
    exchange(&Channel::open_or_create(&other, &Options::new()).unwrap(), &second);
    assert!(Inspection::addresses().unwrap().iter().any(|address| address.to_string() == name));
    assert!(first.unlink().unwrap());
    assert_refused!(attach(&name), Error::NotFound { .. }, &name);
    exchange(&second, &attach(&other).unwrap());
    assert_refused!(Channel::<u64>::create("sysv:id=7", &Options::new()), Error::InvalidName { .. }, "sysv:private");
}

fn the_tools_of_the_system_show_it() {
    let key = Key::new();
    let channel = Channel::<u64>::create(&key, &Options::new().mode(0o640)).unwrap();
    let id = key.segment().unwrap();
    let listed = |attachments: u64| {
        let text = fs::read_to_string("/proc/sysvipc/shm").unwrap();
        let line = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = line.into_iter().find(|fields| fields[0] == key.number.to_string()).expect("it is listed");
        let length = Inspection::of(&key).unwrap().region_length.to_string();
        assert_eq!(line[1..4], [&id.to_string(), "640", &length]);
        assert_eq!(line[6], attachments.to_string());
    };
    listed(1);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    listed(3);
    drop((tx, rx));
    listed(1);
    if let Ok(output) = Command::new("ipcs").arg("-m").output() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.lines().any(|line| line.starts_with(&format!("{:#010x}", key.number))), "{text}");
    }
}

fn a_removed_segment_goes_with_its_last_user() {
    let key = Key::new();
    let channel = Channel::<u64>::create(&key, &Options::new()).unwrap();
    let (other, id) = (attach(&key).unwrap(), key.segment().unwrap());
    let tx = channel.sender().unwrap();
    ringway::unlink(&key).unwrap();
    assert!(key.is_free());
    assert!(!channel.unlink().unwrap() && !other.unlink().unwrap());
    // Who is attached goes on, and opens ends; the key is free for a new one.
    let second = Channel::<u64>::create(&key, &Options::new()).unwrap();
    tx.send(7).unwrap();
    assert_eq!(other.receiver().unwrap().recv(), Ok(7));
    assert!(second.receiver().unwrap().is_empty());
    drop((tx, channel));
    assert!(stat(id).is_some());
    drop(other);
    assert!(stat(id).is_none(), "nobody is attached any more");
}

fn a_segment_of_another_program_is_told_apart_and_left_alone() {
    let options = Options::new().replace_dead(true);
    for bytes in [vec![0; 4096], vec![7; 8192], b"RINGWAY\0".repeat(1000)] {
        let key = Key::new();
        let id = key.occupy(&bytes);
        for result in [
            attach(&key).map(drop),
            Channel::<u64>::open_or_create(&key, &options).map(drop),
            attach(&format!("sysv:id={id}")).map(drop),
            ringway::unlink(&key),
            Inspection::of(&key).map(drop),
        ] {
            assert_refused!(result, Error::NotARegion { .. }, "System V segment of another program", "another name");
        }
        let created = Channel::<u64>::create(&key, &options);
        assert_refused!(created, Error::AlreadyExists { .. }, &key);
        assert_eq!(key.segment(), Some(id));
        let words = Words::of(id);
        let read: Vec<u8> = words.0.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        assert_eq!(read, bytes);
        assert!(!fs::exists(key.companion()).unwrap());
    }
}

fn every_word_of_its_header_is_checked() {
    every_word_of_it_is_checked::<Spsc>();
    every_word_of_it_is_checked::<Mpmc>();
}

fn every_word_of_it_is_checked<F: Flavor>() {
    let key = Key::new();
    let _channel = ChannelOf::<u64, F>::create(&key, &Options::new()).unwrap();
    let attach = |key: &Key| ChannelOf::<u64, F>::attach(key, &Options::new()).map(drop);
    let words = Words::of(key.segment().unwrap());
    for (index, word) in words.0.iter().enumerate().take(512) {
        let honest = word.load(Ordering::Relaxed);
        for value in [0, 1, u64::MAX, honest.wrapping_add(1), honest ^ 1 << 40, !honest] {
            if value == honest || (index == 0 && value == 0) {
                continue;
            }
            word.store(value, Ordering::Relaxed);
            let (error, seen) = (refused(attach(&key)), refused(Inspection::of(&key)));
            assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&seen));
            match (index, &error) {
                (0, Error::NotARegion { .. }) => says(&error, &["begins with"]),
                (1, Error::VersionMismatch { found, .. }) => assert_eq!(*found, value),
                (2.., Error::Damaged { .. }) => {}
                _ => panic!("word {index} as {value}: {error:?}"),
            }
            word.store(honest, Ordering::Relaxed);
        }
    }
    attach(&key).expect("everything was put back");
    words.0[2].store(9, Ordering::Relaxed);
    ringway::unlink(&key).expect("a damaged one can be removed");
}

fn what_contradicts_in_its_header_is_named() {
    let key = Key::new();
    let _channel = mpmc::Channel::<[u32; 3]>::create(&key, &Options::new().capacity(64)).unwrap();
    let words = Words::of(key.segment().unwrap());
    let mut page: Page = [0; 4096];
    for (bytes, word) in page.chunks_mut(8).zip(words.0) {
        bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    let put = |page: &Page| {
        for (bytes, word) in page.chunks(8).zip(words.0) {
            word.store(u64::from_le_bytes(bytes.try_into().unwrap()), Ordering::Relaxed);
        }
    };
    let attach = || mpmc::Channel::<[u32; 3]>::attach(&key, &Options::new()).map(drop);
    every_contradiction_is_named(page, put, attach, || {
        let (error, seen) = (refused(attach()), refused(Inspection::of(&key)));
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&seen));
        error
    });
}

/// A companion as a creator leaves it that is killed.
fn leave_companion(key: &Key, segment: Option<i32>) {
    let id = segment.map_or(0, |id| id as u64 + 1);
    let mut bytes = vec![0; 4096];
    bytes[..8].copy_from_slice(b"RINGSYSV");
    bytes[8..16].copy_from_slice(&id.to_le_bytes());
    bytes[16..24].copy_from_slice(&u64::from(std::process::id()).to_le_bytes());
    fs::write(key.companion(), bytes).unwrap();
}

fn what_a_killed_creator_left_half_made_is_replaced() {
    // Killed before the segment was made, before it was entered, and before its header was written.
    for state in 0..3 {
        let key = Key::new();
        if state == 0 {
            leave_companion(&key, None);
        } else {
            leave_companion(&key, None);
            let id = key.occupy(&[0; 8192]);
            if state == 2 {
                leave_companion(&key, Some(id));
            }
        }
        let before = key.segment();
        assert_refused!(attach(&key), Error::NotFound { .. }, &key);
        assert_refused!(ringway::unlink(&key), Error::NotFound { .. }, &key);
        let channel = Channel::<u64>::open_or_create(&key, &Options::new()).unwrap();
        assert!(before.is_none_or(|id| stat(id).is_none()), "the old one is gone");
        exchange(&channel, &attach(&key).unwrap());
    }
}

fn a_creator_that_is_at_it_is_waited_for_but_not_for_ever() {
    let key = Key::new();
    leave_companion(&key, None);
    key.occupy(&[0; 8192]);
    // Its creator has it open yet.
    let creator = fs::File::options().read(true).write(true).open(key.companion()).unwrap();
    let lock = libc::flock {
        l_type: libc::F_RDLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: (1 << 20) - 2,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and `lock` is a valid request that outlives the call.
    assert_eq!(unsafe { libc::fcntl(creator.as_raw_fd(), libc::F_OFD_SETLK, &lock) }, 0);
    let advice = "if that process is stopped, resume or kill it";
    for result in [attach(&key).map(drop), Channel::<u64>::open_or_create(&key, &Options::new()).map(drop)] {
        assert_refused!(result, Error::NotReady { .. }, &key, advice);
    }
    assert_refused!(Channel::<u64>::create(&key, &Options::new()), Error::AlreadyExists { .. }, &key);
    drop(creator);
    attach_or_create(&key);
}

fn create_and_remove_by_key_for_ever(key: &str) -> Result<(), String> {
    say("begin");
    for round in 0_u64.. {
        let address = if round % 2 == 0 { key } else { "sysv:private" };
        match Channel::<u64>::create(address, &Options::new().capacity(5000)) {
            Ok(channel) => drop(channel),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// The segments that a process made.
fn segments_of(creator: u32) -> usize {
    let text = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    text.lines().filter(|line| line.split_whitespace().nth(4) == Some(&creator.to_string())).count()
}

fn creators_that_are_killed_leave_nothing() {
    for round in 0..40 {
        let key = Key::new();
        let mut creator = Talking::start("create_and_remove_by_key_for_ever", &key);
        let pid = creator.pid();
        creator.hear();
        for _ in 0..round * 3 {
            match attach(&key) {
                Ok(channel) => assert_eq!(channel.capacity(), 5000),
                Err(Error::NotFound { .. } | Error::Removed { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        creator.kill();
        // Whole regions stay, as everywhere; what is left of others goes as soon as somebody creates one.
        drop(Channel::<u64>::create("sysv:private", &Options::new()).unwrap());
        let _ = ringway::unlink(&key);
        for address in Inspection::addresses().unwrap() {
            let by = Inspection::of(&address).is_ok_and(|inspection| inspection.capacity == 5000);
            if by && address.to_string().starts_with("sysv:id=") {
                ringway::unlink(&address).unwrap();
            }
        }
        assert!(key.is_free());
        assert_eq!(segments_of(pid), 0);
    }
}

fn send_and_stay(address: &str) -> Result<(), String> {
    let tx = attach(address).unwrap().sender().unwrap();
    tx.send_slice(&[1, 2, 3]).unwrap();
    say(std::process::id());
    is_told();
    Ok(())
}

fn a_killed_peer_is_taken_over_from() {
    let key = Key::new();
    let channel = Channel::<u64>::create(&key, &Options::new()).unwrap();
    let mut peer = Talking::start("send_and_stay", &key);
    let pid = peer.hear().parse().unwrap();
    assert_eq!(channel.sender_state(), PeerState::Running { pid });
    assert_refused!(channel.sender(), Error::RoleTaken { .. }, "taken");
    let rx = channel.receiver().unwrap();
    assert_eq!(rx.recv(), Ok(1));
    peer.kill();
    assert_eq!(channel.sender_state(), PeerState::Dead { pid });
    let tx = channel.sender().expect("the kernel says that it is dead");
    tx.send(4).unwrap();
    drop(tx);
    assert_eq!(rx.iter().collect::<Vec<_>>(), [2, 3, 4]);

    let many = Key::new();
    let channel = mpmc::Channel::<u64>::create(&many, &Options::new().peers(2)).unwrap();
    let (_tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    assert_refused!(channel.sender(), Error::NoPeerLeft { peers: 2 }, "taken");
    drop(rx);
    channel.sender().unwrap();
}

fn a_segment_removed_by_hand_is_no_obstacle() {
    let key = Key::new();
    let first = Channel::<u64>::create(&key, &Options::new().persist(true)).unwrap();
    // Somebody is attached.
    remove(key.segment().unwrap());
    assert_refused!(attach(&key), Error::NotFound { .. }, &key);
    let second = Channel::<u64>::open_or_create(&key, &Options::new().persist(true)).unwrap();
    exchange(&first, &first);
    exchange(&second, &attach(&key).unwrap());
    drop((first, second));
    // Nobody is.
    assert!(!key.is_free());
    remove(key.segment().unwrap());
    exchange(&Channel::open_or_create(&key, &Options::new()).unwrap(), &attach_or_create(&key));
    assert!(key.is_free());
}

fn attach_or_create(key: &Key) -> Channel<u64> {
    Channel::open_or_create(key, &Options::new()).unwrap()
}

fn an_abandoned_segment_is_replaced_on_request() {
    let key = Key::new();
    Channel::<u64>::create(&key, &Options::new().persist(true)).unwrap().sender().unwrap().send(99).unwrap();
    assert_eq!(attach_or_create(&key).receiver().unwrap().recv(), Ok(99), "the continuation after a crash");
    let options = Options::new().replace_dead(true);
    let channel = Channel::<u64>::open_or_create(&key, &options.clone().capacity(7)).unwrap();
    assert_eq!(channel.capacity(), 7);
    assert_eq!(Channel::<u64>::open_or_create(&key, &options).unwrap().capacity(), 7, "somebody has it open");
}

fn modes_and_owners_can_be_changed() {
    let key = Key::new();
    let channel = Channel::<u64>::create(&key, &Options::new()).unwrap();
    for mode in [0o660, 0o644, 0o600] {
        channel.set_mode(mode).unwrap();
        assert_eq!(Inspection::of(&key).unwrap().mode, mode);
        assert_eq!(fs::metadata(key.companion()).unwrap().mode() & 0o777, mode);
    }
    let user = rustix::process::geteuid().as_raw();
    channel.set_owner(Some(user), None).unwrap();
    assert_eq!(Inspection::of(&key).unwrap().owner, user);
    channel.keep_in_memory(true).unwrap();
    assert_ne!(u32::from(stat(key.segment().unwrap()).unwrap().shm_perm.mode) & 0o2000, 0, "SHM_LOCKED");
    channel.keep_in_memory(false).unwrap();
    let posix = Channel::<u64>::anonymous(&Options::new()).unwrap();
    assert_refused!(posix.keep_in_memory(true), Error::Unsupported { .. }, "only System V");
    posix.set_mode(0o640).unwrap();
    let heap = Channel::<u64>::heap(&Options::new()).unwrap();
    assert_refused!(heap.set_mode(0o640), Error::Unsupported { .. }, "without a name");
}

fn a_group_is_given_at_creation() {
    // Root may give to any, others to their own.
    let group = if rustix::process::geteuid().is_root() { 4711 } else { rustix::process::getegid().as_raw() };
    let options = Options::new().mode(0o660).group(group);
    let (key, name) = (Key::new(), Name::new());
    let channels = [Channel::<u64>::create(&key, &options).unwrap(), Channel::create(&name, &options).unwrap()];
    assert_eq!(stat(key.segment().unwrap()).unwrap().shm_perm.gid, group);
    for path in [key.companion(), name.path().display().to_string()] {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.gid(), metadata.mode() & 0o777), (group, 0o660), "{path}");
    }
    drop(channels);
}

fn limits_are_named() -> Outcome {
    play("where_limits_are_low", "")
}

fn where_limits_are_low(_: &str) -> Result<(), String> {
    // SAFETY: concerns the namespaces of this process, which has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWIPC) } != 0 {
        return Err(format!("no IPC namespace: {}", std::io::Error::last_os_error()));
    }
    let set = |limit: &str, value: u64| {
        fs::write(format!("/proc/sys/kernel/{limit}"), value.to_string()).map_err(|error| format!("{limit}: {error}"))
    };
    let create = || Channel::<u64>::create("sysv:0x77", &Options::new());
    set("shmmax", 4096)?;
    assert_refused!(create(), Error::Limit { limit: 4096, .. }, "bytes of one", "/proc/sys/kernel/shmmax", "raise");
    set("shmmax", 1 << 30)?;
    set("shmmni", 0)?;
    assert_refused!(create(), Error::Limit { needed: 1, limit: 0, .. }, "/proc/sys/kernel/shmmni");
    set("shmmni", 10)?;
    set("shmall", 2)?;
    assert_refused!(create(), Error::Limit { limit: 2, .. }, "pages", "/proc/sys/kernel/shmall");
    set("shmall", 1000)?;
    let channel = create().expect("there is room");
    exchange(&channel, &attach("sysv:0x77").expect("it is there"));
    Ok(())
}

fn another_user() -> Outcome {
    play("where_another_user_looks", "")
}

fn where_another_user_looks(_: &str) -> Result<(), String> {
    prepare("1777")?;
    let options = Options::new();
    let [private, readable, shared] = [0o600, 0o644, 0o666].map(|mode| {
        let key = Key::new();
        let channel = Channel::<u64>::create(&key, &options.clone().mode(mode)).expect("a new region");
        (key, channel)
    });
    as_nobody(|| {
        for (call, result) in [
            ("attach", attach(&private.0).map(drop)),
            ("unlink", ringway::unlink(&private.0)),
            ("inspect", Inspection::of(&private.0).map(drop)),
        ] {
            assert_refused!(call => result, Error::PermissionDenied { owner: 0, mode: 0o600, .. }, &private.0);
        }
        assert_refused!(attach(&readable.0), Error::PermissionDenied { mode: 0o644, .. }, "mode 644");
        assert_eq!(Inspection::of(&readable.0).expect("readable").mode, 0o644);
        exchange(&attach(&shared.0).expect("everybody may"), &shared.1);
        for result in [ringway::unlink(&shared.0), shared.1.set_mode(0o600)] {
            assert_refused!(result, Error::PermissionDenied { .. }, &shared.0);
        }
        // Another user's own.
        let key = Key::new();
        exchange(&Channel::create(&key, &options).expect("a free key"), &attach(&key).expect("ours"));
    })?;
    let theirs = Key::new();
    let channel = as_nobody(|| Channel::<u64>::create(&theirs, &options.clone().mode(0o666)).expect("a new region"))?;
    assert_refused!(attach(&theirs), Error::WrongOwner { expected: 0, found: 65534, .. }, "Options::owner(65534)");
    channel.set_owner(Some(0), None).expect("root may");
    attach(&theirs).expect("it is ours now");
    std::os::unix::fs::chown(theirs.companion(), Some(65534), None).expect("root may");
    assert_refused!(attach(&theirs), Error::NotARegion { .. }, "beside a file of another user");

    // Nobody has root remove a segment that is not his own.
    let bait = Key::new();
    leave_companion(&bait, None);
    let id = bait.occupy(&[0; 4096]);
    leave_companion(&bait, Some(id));
    std::os::unix::fs::chown(bait.companion(), Some(65534), None).expect("root may");
    drop(Channel::<u64>::create("sysv:private", &options).expect("a new region"));
    assert_eq!(bait.segment(), Some(id));
    Ok(())
}
