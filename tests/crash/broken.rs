//! Mistakes made on purpose: proof that the judges, the tracer and the harness find what they are there for.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::id;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use ringway::spsc::{Channel, Sender};

use crate::harness::{Case, names, observe};
use crate::kill::{everywhere, grows};
use crate::oracle::{AfterReceiver, AfterSender, Verdict, require};
use crate::process::{Child, idle};
use crate::series::{Operation, Sampling, Scene, Stage};
use crate::stop;
use crate::tracer::Victim;
use crate::world::{Backing, Numbered, Wide, World, fresh_name, options, prefix_of};

/// Offsets in a region, as docs/LAYOUT.md gives them.
const TAIL: u64 = 4352;
const HEAD: u64 = TAIL + 128;
const BLOCKS: u64 = 8192;
/// Bytes of a count, which precedes the messages of a block.
const COUNT: u64 = 8;

const CAPACITY: u64 = 20;

fn write(region: &File, offset: u64, bytes: &[u8]) {
    region.write_all_at(bytes, offset).expect("the region is open for writing");
}

/// A victim that is to send message 0 and does it by itself, in a way of its own.
fn sending<T: Numbered>(wrong: fn(&File, &Sender<T>)) -> Stage {
    Box::new(move || {
        let survivor = AfterSender::new(World::<T>::new(Backing::Memfd, CAPACITY), 0, 0, 1);
        let victim = Victim::start(|marker| {
            let channel = survivor.world().open();
            let region = File::from(channel.as_fd().expect("a memfd").try_clone_to_owned().expect("a descriptor"));
            let tx = channel.sender().expect("the role is free");
            marker.mark();
            wrong(&region, &tx);
            marker.mark();
        });
        let watched = Some(survivor.world().bytes());
        Scene { victim, watched, calls: None, survivor: Box::new(survivor) }
    })
}

/// A victim that is to receive message 0 of 3.
fn receiving(wrong: fn(&File)) -> Stage {
    Box::new(move || {
        let survivor = AfterReceiver::midway(World::<u64>::new(Backing::Memfd, CAPACITY), 0, 3, 0, 1);
        let victim = Victim::start(|marker| {
            let channel = survivor.world().open();
            let region = File::from(channel.as_fd().expect("a memfd").try_clone_to_owned().expect("a descriptor"));
            let _rx = channel.receiver().expect("the role is free");
            marker.mark();
            wrong(&region);
            marker.mark();
        });
        let watched = Some(survivor.world().bytes());
        Scene { victim, watched, calls: None, survivor: Box::new(survivor) }
    })
}

/// Requires that the mistake is found when victims are killed, and that it is this one.
pub(crate) fn found(stage: Stage, sampling: Sampling, mistake: &str) -> Verdict {
    let operation = Operation { name: mistake.into(), stage, effects: &[0, 1], whole: 1, sampling };
    is_that(everywhere(&operation).and_then(|killed| grows(&killed, operation.effects)), mistake)
}

/// The same, when they are stopped and go on.
pub(crate) fn found_stopped(stage: Stage, sampling: Sampling, mistake: &str) -> Verdict {
    let operation = Operation { name: mistake.into(), stage, effects: &[0, 1], whole: 1, sampling };
    is_that(stop::everywhere(&operation), mistake)
}

fn is_that(verdict: Verdict, mistake: &str) -> Verdict {
    match verdict {
        Ok(()) => Err("nobody noticed".into()),
        Err(error) if error.contains(mistake) => Ok(()),
        Err(error) => Err(format!("expected `{mistake}`, found `{error}`")),
    }
}

fn count_before_payload(region: &File, _: &Sender<u64>) {
    write(region, BLOCKS, &1_u64.to_le_bytes());
    write(region, BLOCKS + COUNT, &u64::new(0).to_le_bytes());
}

fn half_a_payload(region: &File, _: &Sender<Wide>) {
    let words: Vec<u8> = Wide::new(0).iter().flat_map(|word| word.to_le_bytes()).collect();
    let (front, back) = words.split_at(words.len() / 2);
    write(region, BLOCKS + COUNT, front);
    write(region, BLOCKS, &1_u64.to_le_bytes());
    write(region, BLOCKS + COUNT + front.len() as u64, back);
}

fn taken_back(region: &File, _: &Sender<u64>) {
    write(region, BLOCKS + COUNT, &u64::new(0).to_le_bytes());
    for count in [1_u64, 0, 1] {
        write(region, BLOCKS, &count.to_le_bytes());
    }
}

fn tail_ahead(region: &File, _: &Sender<u64>) {
    write(region, TAIL, &100_u64.to_le_bytes());
}

fn skipping(_: &File, tx: &Sender<u64>) {
    tx.try_send(u64::new(1)).expect("there is room");
}

fn twice(_: &File, tx: &Sender<u64>) {
    tx.try_send(u64::new(0)).expect("there is room");
    tx.try_send(u64::new(0)).expect("there is room");
}

fn not_at_all(_: &File, _: &Sender<u64>) {}

fn two_for_one(region: &File) {
    write(region, HEAD, &2_u64.to_le_bytes());
}

fn beyond_the_end(region: &File) {
    write(region, HEAD, &30_u64.to_le_bytes());
}

/// Processes and a name that a trial leaves, and the trial's own idea of its end.
fn leave_everything() -> Verdict {
    std::mem::forget(Child::start(|| idle()));
    let mut stopped = Child::start(|| idle());
    stopped.stop();
    std::mem::forget(stopped);
    std::mem::forget(Channel::<u64>::create(fresh_name(), &options()).map_err(|error| error.to_string())?);
    println!("pid {}", id());
    Ok(())
}

fn leave_a_name() -> Verdict {
    let options = options().persist(true);
    Channel::<u64>::create(fresh_name(), &options).map(drop).map_err(|error| error.to_string())?;
    println!("pid {}", id());
    Ok(())
}

/// What the names of the trials begin with that fail on purpose.
const FAILING: &str = "failing::";

/// Trials that are not in the list: they are started by those that see how they fail.
pub(crate) fn failing_cases() -> Vec<Case> {
    vec![
        Case::new(format!("{FAILING}hangs"), || {
            leave_everything()?;
            idle()
        }),
        Case::new(format!("{FAILING}leaves processes"), leave_everything),
        Case::new(format!("{FAILING}leaves a name"), leave_a_name),
        Case::new(format!("{FAILING}panics"), || panic!("on purpose")),
        Case::new(format!("{FAILING}has a victim that fails"), || {
            Victim::start(|_| panic!("before its first mark"));
            Ok(())
        }),
    ]
}

/// In the harness: requires that a trial is reported so, and that nothing is left of it.
fn reported(trial: &str, limit: Duration, complaint: &str) -> Verdict {
    let error = match observe(trial, false, limit) {
        Ok(log) => return Err(format!("nobody noticed: {log}")),
        Err(error) => error,
    };
    require!(error.contains(complaint) && error.contains(trial), "expected `{complaint}`, found `{error}`");
    if let Some(pid) = error.lines().find_map(|line| line.strip_prefix("pid ")) {
        let pid: u32 = pid.parse().map_err(|_| format!("a pid: {pid}"))?;
        let names = names(&prefix_of(id(), Some(pid)));
        require!(names.is_empty(), "{names:?} are still there");
        let group = std::fs::read_dir("/proc").into_iter().flatten().flatten().filter(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // Behind the program's name: state, parent, process group.
            stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(2)) == Some(&pid.to_string())
        });
        require!(group.count() == 0, "the trial's processes are still there");
    }
    Ok(())
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, stage: fn() -> Stage, mistake: &'static str| {
        Case::traced(format!("broken::{name}"), move || {
            let samplings = [Sampling::Every, Sampling::Some, Sampling::Changes];
            samplings.into_iter().try_for_each(|sampling| found(stage(), sampling, mistake))
        })
    };
    vec![
        case("count before payload", || sending(count_before_payload), "was never sent"),
        case("half a payload", || sending(half_a_payload), "is torn"),
        case("taken back", || sending(taken_back), "an effect was undone"),
        case("tail ahead", || sending(tail_ahead), "a successor: "),
        case("skipping", || sending(skipping), "lost: message 1"),
        case("twice", || sending(twice), "duplicate or late: message 0"),
        case("not at all", || sending(not_at_all), "in the steps [0]"),
        case("two for one", || receiving(two_for_one), "messages in a ring of"),
        case("beyond the end", || receiving(beyond_the_end), "Corrupt"),
    ]
}

/// Those that watch other trials, and so run in the harness itself.
pub(crate) fn harness_trials() -> Vec<Trial> {
    // A trial that hangs does so for ever: the limit decides only how long that is watched.
    const BRIEFLY: Duration = Duration::from_secs(2);
    const LONG: Duration = Duration::from_secs(600);
    [
        ("hangs", BRIEFLY, "hung"),
        ("leaves processes", LONG, "processes behind"),
        ("leaves a name", LONG, "behind"),
        ("panics", LONG, "on purpose"),
        ("has a victim that fails", LONG, "before its first mark"),
        ("does not exist", LONG, "no trial is called"),
    ]
    .map(|(trial, limit, complaint)| {
        let run = move || reported(&format!("{FAILING}{trial}"), limit, complaint).map_err(Failed::from);
        Trial::test(format!("harness::a trial that {trial}"), run)
    })
    .into()
}
