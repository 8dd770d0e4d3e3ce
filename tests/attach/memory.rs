//! What the pages of a channel are: asked for, and reported in the words of the kernel.

use std::fs;

use libtest_mimic::Completion;
use ringway::spsc::Channel;
use ringway::{Address, Backing, Error, HugePages, MemoryReport, Options};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::child::{Part, parts, play};
use crate::expect::assert_refused;
use crate::left::Name;
use crate::users::{as_nobody, prepare};
use crate::{Case, Outcome, cases};

pub(crate) const CASES: &[Case] = cases![
    nothing_is_asked_for,
    huge_pages_are_those_of_the_kernel,
    reserved_huge_pages_are_used_where_there_are_any,
    a_required_huge_page_is_one_or_an_error,
    ends_lock_the_memory,
    a_limit_of_locked_memory_is_named,
    pages_come_with_their_first_access,
    a_node_is_one_that_there_is,
    mappings_begin_where_they_are_wanted,
    the_heap_has_no_choice,
];

pub(crate) const PARTS: &[Part] = parts![with_reserved_huge_pages, where_hardly_anything_may_be_locked];

/// Some more than a huge page of eight-byte messages, on the machines that we build for.
const CAPACITY: usize = 300_000;
const PAGE: u64 = 4096;

fn options() -> Options {
    Options::new().capacity(CAPACITY)
}

/// A place of each kind of memory that the kernel maps for us.
struct Place {
    address: Address,
    _name: Option<Name>,
}

fn places() -> Vec<Place> {
    let place = |backing| {
        let name = match backing {
            Backing::Posix => Some(Name::new()),
            Backing::File => Some(Name::on_disk()),
            _ => None,
        };
        let address = name.as_ref().map_or(backing.scheme(), |name| &**name).parse();
        Place { address: address.expect("an address"), _name: name }
    };
    Backing::ALL.into_iter().filter(|backing| *backing != Backing::Heap).map(place).collect()
}

/// Creates a channel, opens both ends, passes a message, and asks for a report.
fn try_out(place: &Place, options: &Options) -> Result<MemoryReport, Error> {
    let channel = Channel::<u64>::create(&place.address, options)?;
    let result = (|| {
        let (tx, rx) = (channel.sender()?, channel.receiver()?);
        tx.send(7).expect("room");
        assert_eq!(rx.recv(), Ok(7));
        channel.memory()
    })();
    // A file would stay.
    let _ = channel.unlink();
    result
}

/// Mappings of the whole region in a process that holds both ends.
fn mappings(place: &Place) -> u64 {
    if place.address.backing() == Backing::Anonymous { 1 } else { 2 }
}

fn nothing_is_asked_for() {
    for place in places() {
        let memory = try_out(&place, &options()).unwrap();
        assert_eq!((memory.page_size, memory.huge, memory.locked), (PAGE, 0, 0), "{}", place.address);
        assert_eq!(memory.mapped % (mappings(&place) * PAGE), 0, "{}", place.address);
        let bytes = memory.mapped / mappings(&place);
        let messages = 8 * CAPACITY as u64;
        assert!((messages..messages * 5 / 4).contains(&bytes), "{}: {bytes}", place.address);
        assert_eq!(memory.resident, memory.mapped, "{}: every page is there at once", place.address);
        assert!(memory.alignment >= PAGE, "{}", place.address);

        let channel = Channel::<u64>::create(&place.address, &options()).unwrap();
        let none = channel.memory().unwrap();
        let is_mapped = place.address.backing() == Backing::Anonymous;
        assert_eq!(none.mapped > 0, is_mapped, "{}: no end is open", place.address);
        assert_eq!((none.page_size, none.nodes.is_empty()), (PAGE, !is_mapped || memory.nodes.is_empty()));
        let _ = channel.unlink();
    }
}

/// As the kernel has it; the library is not asked.
fn huge_page() -> u64 {
    let size = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    size.map_or(2 << 20, |size| size.trim().parse().expect("a number"))
}

fn huge_pages_are_those_of_the_kernel() {
    for place in places() {
        let memory = try_out(&place, &options().huge_pages(HugePages::Try)).unwrap();
        assert_eq!(memory.mapped % (mappings(&place) * huge_page()), 0, "{}: in whole huge pages", place.address);
        assert!(memory.alignment >= huge_page(), "{}", place.address);
        assert!(memory.huge <= memory.mapped, "{}", place.address);
    }
}

fn a_required_huge_page_is_one_or_an_error() {
    for place in places() {
        let obtained = try_out(&place, &options().huge_pages(HugePages::Try)).unwrap();
        let required = try_out(&place, &options().huge_pages(HugePages::Require));
        if let Ok(memory) = &required {
            assert_eq!(memory.huge, memory.mapped, "{}", place.address);
        } else {
            let needed = obtained.mapped / mappings(&place);
            let parts = format!("{needed} bytes are to lie in huge pages");
            assert_refused!(required, Error::NoHugePages { .. }, &parts, "HugePages::Try");
            assert!(obtained.huge < obtained.mapped, "{}: they were to be had", place.address);
        }
    }
}

fn reserved_huge_pages_are_used_where_there_are_any() -> Outcome {
    play("with_reserved_huge_pages", "")
}

/// More huge pages than usual, until this is dropped.
struct Reserved {
    pool: String,
    before: u64,
}

impl Reserved {
    fn more(count: u64) -> Result<Self, String> {
        let pool = format!("/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages", huge_page() / 1024);
        let read = || fs::read_to_string(&pool).map_err(|error| format!("{pool}: {error}"));
        let before = read()?.trim().parse().map_err(|_| "no number of huge pages")?;
        let reserved = Self { before, pool: pool.clone() };
        fs::write(&pool, (before + count).to_string()).map_err(|error| format!("{pool}: {error}"))?;
        let now: u64 = read()?.trim().parse().map_err(|_| "no number of huge pages")?;
        if now == before + count { Ok(reserved) } else { Err(format!("only {now} huge pages are to be had")) }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        fs::write(&self.pool, self.before.to_string()).expect("as it was");
    }
}

fn with_reserved_huge_pages(_: &str) -> Result<(), String> {
    let _reserved = Reserved::more(2)?;
    for place in places() {
        let memory = try_out(&place, &options().huge_pages(HugePages::Try)).unwrap();
        let is_made_of_them = matches!(place.address.backing(), Backing::SystemV | Backing::Memfd | Backing::Anonymous);
        assert_eq!(memory.page_size, if is_made_of_them { huge_page() } else { PAGE }, "{}", place.address);
        if is_made_of_them {
            assert_eq!((memory.huge, memory.resident), (memory.mapped, memory.mapped), "{}", place.address);
        }
    }
    // A memfd of them is as good as any: sealed, passed on, and for whoever wants nothing special.
    let channel = Channel::<u64>::anonymous(&options().huge_pages(HugePages::Require)).unwrap();
    let passed = channel.as_fd().unwrap().try_clone_to_owned().unwrap();
    let other = Channel::<u64>::from_fd(passed, &Options::new()).expect("sealed");
    let (tx, rx) = (channel.sender().unwrap(), other.receiver().unwrap());
    tx.send(7).unwrap();
    assert_eq!(rx.recv(), Ok(7));
    // Those two pages were all.
    let bytes = channel.memory().unwrap().mapped / 2;
    let more = Channel::<u64>::anonymous(&options().huge_pages(HugePages::Try)).unwrap();
    assert_eq!((more.memory().unwrap().page_size, bytes), (PAGE, 2 * huge_page()));
    Ok(())
}

fn ends_lock_the_memory() {
    for place in places() {
        let memory = try_out(&place, &options().lock(true)).unwrap();
        assert_eq!(memory.locked, memory.mapped, "{}", place.address);
    }
    let channel = Channel::<u64>::anonymous(&options().lock(true)).unwrap();
    assert_eq!(channel.memory().unwrap().locked, 0, "no end is open");
    let tx = channel.sender().unwrap();
    assert_ne!(channel.memory().unwrap().locked, 0);
    drop(tx);
    assert_eq!(channel.memory().unwrap().locked, 0);
}

fn a_limit_of_locked_memory_is_named() -> Outcome {
    play("where_hardly_anything_may_be_locked", "")
}

fn where_hardly_anything_may_be_locked(_: &str) -> Result<(), String> {
    prepare("1777")?;
    let limit = 64 << 10;
    setrlimit(Resource::Memlock, Rlimit { current: Some(limit), maximum: Some(limit) }).map_err(|e| e.to_string())?;
    as_nobody(|| {
        for place in places().iter().filter(|place| place.address.backing() != Backing::File) {
            let channel = Channel::<u64>::create(&place.address, &options().lock(true)).expect("nothing is locked yet");
            for role in [channel.sender().map(drop), channel.receiver().map(drop)] {
                let text = "this process may lock 65536 in all: raise RLIMIT_MEMLOCK";
                assert_refused!(&place.address => role, Error::LockLimit { needed: 2_400_000.., limit: 65536 }, text);
            }
            assert!(!channel.sender_state().is_alive(), "{}: the lease is free again", place.address);
            // So little is no problem.
            drop(channel);
            let small = Options::new().capacity(64).lock(true);
            let memory = try_out(place, &small).expect("below the limit");
            assert_eq!(memory.locked, memory.mapped, "{}", place.address);
        }
    })
}

fn pages_come_with_their_first_access() {
    for place in places() {
        let memory = try_out(&place, &options().prefault(false)).unwrap();
        if place.address.backing() == Backing::Anonymous {
            assert_eq!(memory.resident, memory.mapped, "the channel itself maps it");
        } else {
            assert!(memory.resident < memory.mapped / 2, "{}: {memory:?}", place.address);
        }
        let locked = try_out(&place, &options().prefault(false).lock(true)).unwrap();
        assert_eq!(locked.locked, locked.mapped, "{}: those that come stay", place.address);
    }
}

fn a_node_is_one_that_there_is() -> Outcome {
    for place in places() {
        let memory = try_out(&place, &options().numa_node(0)).unwrap();
        assert!(memory.nodes.is_empty() || memory.nodes.contains(&0), "{}: {:?}", place.address, memory.nodes);
        for node in [1023, 1024, u32::MAX] {
            let result = try_out(&place, &options().numa_node(node));
            let text = format!("no NUMA node {node} here: choose one of 0");
            assert_refused!(result, Error::NoNumaNode { .. }, &text);
        }
    }
    match fs::metadata("/proc/self/numa_maps") {
        Ok(_) => Ok(Completion::Completed),
        Err(_) => Ok(Completion::ignored_with("not possible here: the kernel does not tell on which node a page lies")),
    }
}

fn mappings_begin_where_they_are_wanted() {
    for place in places() {
        // More than any chance.
        let memory = try_out(&place, &options().align(1 << 32)).unwrap();
        assert!(memory.alignment >= 1 << 32, "{}: {:#x}", place.address, memory.alignment);
        assert_eq!(memory.resident, memory.mapped, "{}", place.address);
        for align in [0, 3, 4097, 1 << 62, 1 << 63] {
            let result = try_out(&place, &options().align(align));
            let text = format!("multiple of {align} bytes");
            assert_refused!(result, Error::InvalidAlignment { .. }, &text, "power of two");
        }
    }
}

fn the_heap_has_no_choice() {
    let options = options();
    for asked in [
        options.clone().huge_pages(HugePages::Require),
        options.clone().lock(true),
        options.clone().numa_node(0),
        options.clone().align(1 << 21),
    ] {
        assert_refused!(Channel::<u64>::heap(&asked), Error::Unsupported { .. }, "on the heap", "anon:");
    }
    let heap = Channel::<u64>::heap(&options.huge_pages(HugePages::Try)).expect("it was no more than a try");
    assert_refused!(heap.memory(), Error::Unsupported { .. }, "heap", "anon:");
}
