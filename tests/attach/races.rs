//! Many who want one name at the same moment.

use std::collections::HashSet;
use std::sync::Barrier;
use std::thread;

use ringway::spsc::Channel;
use ringway::{Error, Options};

use crate::child::{Part, Talking, is_told, parts, say};
use crate::left::Name;
use crate::life::{abandon, instance};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    one_of_many_creators_wins,
    threads_that_open_or_create_meet_in_one_region,
    processes_that_open_or_create_meet_in_one_region,
    a_dead_region_is_replaced_once,
    names_that_come_and_go_lead_to_whole_regions,
];

pub(crate) const PARTS: &[Part] = parts![open_or_create_when_told, replace_when_told];

const MANY: usize = 6;
const ROUNDS: usize = 40;

/// Has many threads do the same at the same moment; what they come to.
fn all_at_once<R: Send>(action: impl Fn() -> R + Sync) -> Vec<R> {
    let start = Barrier::new(MANY);
    thread::scope(|scope| {
        let run = || {
            start.wait();
            action()
        };
        let threads: Vec<_> = (0..MANY).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn one_of_many_creators_wins() {
    for _ in 0..ROUNDS {
        let name = Name::new();
        let results = all_at_once(|| Channel::<u64>::create(&name, &Options::new()));
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for result in lost {
            assert!(matches!(result, Err(Error::AlreadyExists { .. })), "{result:?}");
        }
    }
}

fn threads_that_open_or_create_meet_in_one_region() {
    for _ in 0..ROUNDS {
        let name = Name::new();
        let channels = all_at_once(|| Channel::<u64>::open_or_create(&name, &Options::new()).unwrap());
        assert_eq!(channels.iter().map(instance).collect::<HashSet<_>>().len(), 1);
        drop(channels);
        assert!(!name.is_taken());
    }
}

fn open_or_create_when_told(name: &str) -> Result<(), String> {
    meet(name, &Options::new())
}

fn replace_when_told(name: &str) -> Result<(), String> {
    meet(name, &Options::new().replace_dead(true))
}

/// Says which region it came to, and stays until all have.
fn meet(name: &str, options: &Options) -> Result<(), String> {
    say("ready");
    is_told();
    let channel = Channel::<u64>::open_or_create(name, options).unwrap_or_else(|error| panic!("{error}"));
    say(instance(&channel));
    is_told();
    Ok(())
}

/// Has many processes meet; the region that they came to.
fn processes_meet(part: &str, name: &Name) -> u64 {
    let mut processes: Vec<_> = (0..MANY).map(|_| Talking::start(part, name)).collect();
    processes.iter_mut().for_each(|process| assert_eq!(process.hear(), "ready"));
    processes.iter_mut().for_each(Talking::tell);
    let instances: HashSet<u64> = processes.iter_mut().map(|process| process.hear().parse().unwrap()).collect();
    assert_eq!(instances.len(), 1, "{instances:?}");
    processes.into_iter().for_each(Talking::finish);
    assert!(!name.is_taken(), "the one that created it removed it");
    instances.into_iter().next().unwrap()
}

fn processes_that_open_or_create_meet_in_one_region() {
    for _ in 0..5 {
        processes_meet("open_or_create_when_told", &Name::new());
    }
}

fn a_dead_region_is_replaced_once() {
    let options = Options::new().replace_dead(true);
    for _ in 0..ROUNDS {
        let name = Name::new();
        let dead = abandon(&name);
        let channels = all_at_once(|| Channel::<u64>::open_or_create(&name, &options).unwrap());
        let instances: HashSet<_> = channels.iter().map(instance).collect();
        assert_eq!(instances.len(), 1, "{instances:?}");
        assert!(!instances.contains(&dead), "nobody had it open");
    }
    for _ in 0..5 {
        let name = Name::new();
        let dead = abandon(&name);
        assert_ne!(processes_meet("replace_when_told", &name), dead);
    }
}

fn names_that_come_and_go_lead_to_whole_regions() {
    let name = Name::new();
    for options in [Options::new(), Options::new().replace_dead(true), Options::new().persist(true).replace_dead(true)]
    {
        let results = all_at_once(|| {
            (0..ROUNDS).map(|_| Channel::<u64>::open_or_create(&name, &options).map(drop)).collect::<Vec<_>>()
        });
        for result in results.into_iter().flatten() {
            // Whoever loses race after race is told to try again.
            assert!(matches!(result, Ok(()) | Err(Error::Removed { .. })), "{result:?}");
        }
        let _ = ringway::unlink(&name);
        assert!(!name.is_taken());
    }
}
