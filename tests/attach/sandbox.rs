//! A sandbox that refuses membarrier: what is created inside does without, and what relies on it cannot be opened there.

#![allow(unsafe_code)] // a filter of system calls

use libtest_mimic::Completion;
use ringway::channel_of::{Channel as ChannelOf, Flavor, Mpmc, Spsc};
use ringway::{Error, Inspection, Options, mpmc, spsc};

use crate::child::{Part, Talking, is_told, parts, play, say};
use crate::expect::{assert_refused, refused};
use crate::left::{Behind, Name};
use crate::{Case, Outcome, cases};

pub(crate) const CASES: &[Case] = cases![
    what_is_created_in_a_sandbox_does_without_membarrier,
    what_relies_on_membarrier_cannot_be_opened_in_a_sandbox,
];

pub(crate) const PARTS: &[Part] = parts![create_in_a_sandbox, open_in_a_sandbox];

const ROUNDS: u64 = 100;

/// From now on, every membarrier of this process fails with EPERM.
fn enter() -> Result<(), String> {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    // The number of a system call is the first word of what a filter sees.
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_membarrier as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(format!("PR_SET_NO_NEW_PRIVS: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: the program and its steps outlive the call, which copies them.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } != 0 {
        return Err(format!("seccomp: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: takes numbers only; 0 is the query.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    let error = std::io::Error::last_os_error();
    assert_eq!((result, error.raw_os_error()), (-1, Some(libc::EPERM)), "the filter is at work");
    Ok(())
}

/// The names of two regions of each flavor.
fn four() -> ([Name; 4], String) {
    let names = [(); 4].map(|()| Name::new());
    let subject = names.each_ref().map(|name| name.to_string()).join(" ");
    (names, subject)
}

fn split(subject: &str) -> [&str; 4] {
    subject.split(' ').collect::<Vec<_>>().try_into().expect("four names")
}

fn assert_does_without(name: &str) {
    let inspection = Inspection::of(name).unwrap();
    assert!(!inspection.membarrier);
    let slots = inspection.slots.map(|slots| (slots.mode, slots.reason));
    let refused = ('C', "the kernel, or a sandbox, refused the creator membarrier");
    assert_eq!(slots, (inspection.flavor == "mpmc").then_some(refused));
}

fn what_is_created_in_a_sandbox_does_without_membarrier() -> Outcome {
    let ([there, back, mpmc_there, mpmc_back], subject) = four();
    let mut inside = Talking::start("create_in_a_sandbox", &subject);
    let heard = inside.hear();
    if heard != "created" {
        inside.finish();
        return Ok(Completion::ignored_with(format!("not possible here: {heard}")));
    }
    // Nothing is refused out here.
    [&there, &back, &mpmc_there, &mpmc_back].into_iter().for_each(|name| assert_does_without(name));
    ask::<Spsc>(&mut inside, &there, &back);
    ask::<Mpmc>(&mut inside, &mpmc_there, &mpmc_back);
    inside.finish();
    Ok(Completion::Completed)
}

/// Sends to the process inside, which sends back what it receives.
fn ask<F: Flavor>(inside: &mut Talking, there: &str, back: &str) {
    let [there, back] = [there, back].map(|name| ChannelOf::<u64, F>::attach(name, &Options::new()).unwrap());
    let (tx, rx) = (there.sender().unwrap(), back.receiver().unwrap());
    inside.tell();
    for number in 0..ROUNDS {
        tx.send(number).unwrap();
        assert_eq!(rx.recv(), Ok(number));
    }
    assert_eq!(inside.hear(), "answered");
}

fn create_in_a_sandbox(subject: &str) -> Result<(), String> {
    if let Err(reason) = enter() {
        say(reason);
        return Ok(());
    }
    let [there, back, mpmc_there, mpmc_back] = split(subject);
    let options = Options::new().capacity(2);
    let spsc = [there, back].map(|name| spsc::Channel::<u64>::create(name, &options).unwrap());
    let mpmc = [mpmc_there, mpmc_back].map(|name| mpmc::Channel::<u64>::create(name, &options).unwrap());
    split(subject).into_iter().for_each(assert_does_without);
    say("created");
    answer(&spsc);
    answer(&mpmc);
    assert!(!is_told());
    spsc.iter().for_each(exchange);
    mpmc.iter().for_each(exchange);
    Ok(())
}

/// Within this process.
fn exchange<F: Flavor>(channel: &ChannelOf<u64, F>) {
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    for number in 0..ROUNDS {
        tx.send(number).unwrap();
        assert_eq!(rx.recv(), Ok(number));
    }
}

fn answer<F: Flavor>([there, back]: &[ChannelOf<u64, F>; 2]) {
    assert!(is_told());
    let (rx, tx) = (there.receiver().unwrap(), back.sender().unwrap());
    for _ in 0..ROUNDS {
        tx.send(rx.recv().unwrap()).unwrap();
    }
    say("answered");
}

fn what_relies_on_membarrier_cannot_be_opened_in_a_sandbox() -> Outcome {
    let ([first, second, third, fourth], subject) = four();
    let options = Options::new();
    let spsc = [&first, &second].map(|name| spsc::Channel::<u64>::create(name, &options).unwrap());
    let mpmc = [&third, &fourth].map(|name| mpmc::Channel::<u64>::create(name, &options).unwrap());
    if !Inspection::of(&first).unwrap().membarrier {
        return Ok(Completion::ignored_with("not possible here: membarrier is refused already"));
    }
    let outcome = play("open_in_a_sandbox", &subject);
    // Nobody took anything from those who may.
    spsc.iter().for_each(exchange);
    mpmc.iter().for_each(exchange);
    outcome
}

fn open_in_a_sandbox(subject: &str) -> Result<(), String> {
    let [first, second, third, fourth] = split(subject);
    let options = Options::new();
    // Opened before, to take a role inside.
    let spsc = spsc::Channel::<u64>::attach(first, &options).unwrap();
    let mpmc = mpmc::Channel::<u64>::attach(third, &options).unwrap();
    enter()?;
    let before = Behind::here();
    for (call, result) in [
        ("spsc attach", spsc::Channel::<u64>::attach(second, &options).map(drop)),
        ("spsc open_or_create", spsc::Channel::<u64>::open_or_create(second, &options).map(drop)),
        ("spsc sender", spsc.sender().map(drop)),
        ("spsc receiver", spsc.receiver().map(drop)),
        ("mpmc attach", mpmc::Channel::<u64>::attach(fourth, &options).map(drop)),
        ("mpmc open_or_create", mpmc::Channel::<u64>::open_or_create(fourth, &options).map(drop)),
        ("mpmc sender", mpmc.sender().map(drop)),
        ("mpmc receiver", mpmc.receiver().map(drop)),
    ] {
        let error = refused(result);
        let begins = error.to_string().starts_with("membarrier, on which this channel was created to rely");
        assert!(begins, "{call}: {error}");
        assert_refused!(call => Err::<(), _>(error), Error::Unsupported { .. }, "Options::membarrier(false)", "sandbox");
    }
    assert_eq!(Behind::here(), before, "something was left behind");
    // To look takes no barrier.
    assert!(split(subject).into_iter().all(|name| Inspection::of(name).unwrap().membarrier));
    Ok(())
}
