//! Every trial is a process of its own: this binary, started again, with a single thread.
//!
//! So a trial may fork, its victims are a process group that can be killed as a whole, and a trial that hangs or leaves
//! something behind is found out by somebody whom it cannot take along.

#![allow(unsafe_code)] // process groups, waiting with a limit, pinning

use std::fs;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio, id};
use std::sync::{Mutex, OnceLock};
use std::thread::yield_now;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::container;
use crate::oracle::Verdict;
use crate::process::{self, Child, die_with};
use crate::tracer;
use crate::world::{DISK, prefix_of};

/// Names the trial that this process is to run.
const TRIAL: &str = "RINGWAY_CRASH_TRIAL";
/// The core that it is to run on.
const CORE: &str = "RINGWAY_CRASH_CORE";
/// The seed of everything random.
pub(crate) const SEED: &str = "RINGWAY_SEED";
/// Set to 1, it makes the trials exhaustive and long.
const SOAK: &str = "RINGWAY_SOAK";

/// Whether this run may take hours.
pub(crate) fn is_soak() -> bool {
    std::env::var(SOAK).is_ok_and(|value| value == "1")
}

/// What a trial needs of this machine, beside processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// To trace its victims. On one core, tracer and victim hand over to each other three times as fast.
    Tracing,
    /// To make pid namespaces.
    Namespaces,
    /// To make namespaces of every kind, and to mount what belongs into them.
    Containers,
    /// To be another user in them.
    Strangers,
}

/// What cannot be tried here, found out once.
#[derive(Debug)]
pub(crate) struct Impossible {
    needs: Vec<Need>,
}

impl Impossible {
    /// Tries, and says what cannot be and why.
    pub(crate) fn here() -> Self {
        let mut needs = Vec::new();
        if let Err(error) = tracer::is_permitted() {
            eprintln!("trials that trace are left out: PTRACE_TRACEME: {error}");
            needs.push(Need::Tracing);
        }
        if let Err(error) = process::may_enter_pid_namespace() {
            eprintln!("trials with pid namespaces are left out: unshare: {error}");
            needs.push(Need::Namespaces);
        }
        if let Err(error) = container::may_contain() {
            eprintln!("trials with containers are left out: unshare, mount: {error}");
            needs.push(Need::Containers);
        }
        if let Err(error) = container::may_contain_others() {
            eprintln!("trials with containers of other users are left out: setresuid, unshare: {error}");
            needs.push(Need::Strangers);
        }
        Self { needs }
    }
}

/// A trial.
pub(crate) struct Case {
    name: String,
    needs: &'static [Need],
    run: Box<dyn Fn() -> Verdict + Send>,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, run: impl Fn() -> Verdict + Send + 'static) -> Self {
        Self { name: name.into(), needs: &[], run: Box::new(run) }
    }

    pub(crate) fn traced(name: impl Into<String>, run: impl Fn() -> Verdict + Send + 'static) -> Self {
        Self { needs: &[Need::Tracing], ..Self::new(name, run) }
    }

    pub(crate) fn namespaced(name: impl Into<String>, run: impl Fn() -> Verdict + Send + 'static) -> Self {
        Self { needs: &[Need::Namespaces], ..Self::new(name, run) }
    }

    pub(crate) fn contained(name: impl Into<String>, run: impl Fn() -> Verdict + Send + 'static) -> Self {
        Self { needs: &[Need::Containers], ..Self::new(name, run) }
    }

    pub(crate) fn traced_container(name: impl Into<String>, run: impl Fn() -> Verdict + Send + 'static) -> Self {
        Self { needs: &[Need::Tracing, Need::Containers], ..Self::new(name, run) }
    }

    pub(crate) fn contained_stranger(name: impl Into<String>, run: impl Fn() -> Verdict + Send + 'static) -> Self {
        Self { needs: &[Need::Containers, Need::Strangers], ..Self::new(name, run) }
    }

    /// For the harness: starts the trial and watches it. What is impossible here is listed as ignored.
    pub(crate) fn into_trial(self, verbose: bool, impossible: &Impossible) -> Trial {
        let Self { name, needs, .. } = self;
        let ignored = needs.iter().any(|need| impossible.needs.contains(need));
        let run = {
            let name = name.clone();
            move || match observe(&name, needs.contains(&Need::Tracing), limit()) {
                Ok(log) => {
                    if verbose {
                        eprint!("{name}: {log}");
                    }
                    Ok(())
                }
                Err(error) => Err(Failed::from(error)),
            }
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    }
}

/// How long a trial may take before it counts as hung: some fifty times what it needs.
fn limit() -> Duration {
    Duration::from_secs(if is_soak() { 24 * 3600 } else { 300 })
}

/// In a process that was started as a trial: runs it. `None` in any other process.
pub(crate) fn run_as_trial(cases: impl FnOnce() -> Vec<Case>) -> Option<Verdict> {
    let name = std::env::var(TRIAL).ok()?;
    die_with(std::os::unix::process::parent_id());
    if let Ok(core) = std::env::var(CORE) {
        pin_to(core.parse().expect("the harness passes a number"));
    }
    let case = cases().into_iter().find(|case| case.name == name);
    Some(case.map_or_else(|| Err(format!("no trial is called {name}")), |case| (case.run)()))
}

/// Runs a trial in a process of its own; its log, or what went wrong, be it that it did not end in time or did not
/// clean up.
pub(crate) fn observe(name: &str, pinned: bool, limit: Duration) -> Result<String, String> {
    let mut log = fs::File::from(
        rustix::fs::memfd_create("log", rustix::fs::MemfdFlags::CLOEXEC).map_err(|error| error.to_string())?,
    );
    let output = || log.try_clone().map(Stdio::from).map_err(|error| error.to_string());
    let core = pinned.then(Core::borrow).flatten();
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    command
        .env(TRIAL, name)
        .env(SEED, seed().to_string())
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?)
        .process_group(0);
    if let Some(core) = &core {
        command.env(CORE, core.0.to_string());
    }
    let mut trial = command.spawn().map_err(|error| format!("starting the trial: {error}"))?;

    let in_time = await_exit(trial.id(), limit);
    // The trial is not reaped yet, so the group is still its.
    kill_group(trial.id());
    let status = trial.wait().map_err(|error| error.to_string())?;
    let left = reap_group(trial.id());
    let names = names(&prefix_of(id(), Some(trial.id())));
    names.iter().for_each(|name| remove(name));
    let segments = remove_segments(trial.id());

    let mut text = String::new();
    let read = log.rewind().and_then(|()| log.read_to_string(&mut text));
    read.map_err(|error| error.to_string())?;
    let verdict = if !in_time {
        Err(format!("{name} hung and was killed after {limit:?}"))
    } else if !status.success() {
        Err(format!("{name}: {status}"))
    } else if left > 0 {
        Err(format!("{name} left {left} processes behind"))
    } else if !names.is_empty() {
        Err(format!("{name} left {names:?} behind"))
    } else if !segments.is_empty() {
        Err(format!("{name} left the System V segments {segments:?} behind"))
    } else {
        Ok(())
    };
    match verdict {
        Ok(()) => Ok(text),
        Err(error) => Err(format!("{error}\n{text}repeat with {SEED}={}", seed())),
    }
}

/// Removes the System V segments that a process made and left behind; their ids.
fn remove_segments(creator: u32) -> Vec<String> {
    let text = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ids =
        lines.filter(|fields| fields.get(4) == Some(&creator.to_string().as_str())).map(|fields| fields[1].into());
    ids.inspect(|id: &String| drop(ringway::unlink(format!("sysv:id={id}")))).collect()
}

/// Starts a process that outlives this one, and tidies up after it if it is killed itself.
pub(crate) fn hire_janitor() {
    let harness = id();
    let janitor = Child::inheriting(|| {
        process::outlive_parent();
        process::leave_session();
        await_exit(harness, Duration::MAX);
        // Its trials die with it, each in its own time.
        loop {
            let names = names(&prefix_of(harness, None));
            if names.is_empty() {
                return;
            }
            let is_over = |name: &&String| matches!(process::state_of(trial_of(name, harness)), None | Some('Z'));
            names.iter().filter(is_over).for_each(|name| remove(name));
            yield_now();
        }
    });
    // It waits for us, not we for it.
    std::mem::forget(janitor);
}

/// The pid in a name; 0, which is nobody's, if there is none.
fn trial_of(name: &str, harness: u32) -> u32 {
    let rest = name.strip_prefix(&prefix_of(harness, None)).unwrap_or_default();
    rest.split('-').next().and_then(|pid| pid.parse().ok()).unwrap_or(0)
}

fn remove(name: &str) {
    for directory in DIRECTORIES {
        // Somebody else may have been faster, and it is in one of them only.
        let _ = fs::remove_file(format!("{directory}/{name}"));
    }
}

/// Where regions have names.
const DIRECTORIES: [&str; 2] = ["/dev/shm", DISK];

/// Names of regions that begin so.
pub(crate) fn names(prefix: &str) -> Vec<String> {
    let entries = DIRECTORIES.into_iter().flat_map(fs::read_dir).flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// The seed of everything random in this run.
pub(crate) fn seed() -> u64 {
    static CHOSEN: OnceLock<u64> = OnceLock::new();
    *CHOSEN.get_or_init(|| match std::env::var(SEED) {
        Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("{SEED} is a number, not {seed:?}")),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64),
    })
}

/// Whether the child ended within the limit; it is not reaped.
fn await_exit(pid: u32, limit: Duration) -> bool {
    let pid = Pid::from_raw(pid as i32).expect("no pid is 0");
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("the child is not reaped");
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid entry.
    unsafe { libc::poll(&mut poll, 1, limit.as_millis().try_into().unwrap_or(i32::MAX)) == 1 }
}

fn kill_group(leader: u32) {
    // SAFETY: takes numbers only; the group is that of a child that was not reaped.
    unsafe { libc::kill(-(leader as libc::pid_t), libc::SIGKILL) };
}

/// Reaps what is left of a killed group; says how many had to be killed.
fn reap_group(leader: u32) -> usize {
    let mut killed = 0;
    loop {
        let mut status = 0;
        // SAFETY: `status` is writable.
        if unsafe { libc::waitpid(-(leader as libc::pid_t), &mut status, libc::__WALL) } < 0 {
            return killed;
        }
        killed += usize::from(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL);
    }
}

/// A core that no other pinned trial uses at the time.
struct Core(usize);

/// Those that are free; `None` before the first is asked for.
static CORES: Mutex<Option<Vec<usize>>> = Mutex::new(None);

impl Core {
    fn borrow() -> Option<Self> {
        let mut cores = CORES.lock().expect("nobody panics with the lock");
        cores.get_or_insert_with(allowed_cores).pop().map(Self)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        CORES.lock().expect("nobody panics with the lock").get_or_insert_default().push(self.0);
    }
}

fn allowed_cores() -> Vec<usize> {
    // SAFETY: a set of bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is writable and as long as said.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } != 0 {
        return Vec::new();
    }
    // SAFETY: reads a bit of `set`, which has `CPU_SETSIZE`.
    let is_allowed = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    (0..libc::CPU_SETSIZE as usize).filter(is_allowed).collect()
}

fn pin_to(core: usize) {
    // SAFETY: a set of bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes a bit of `set`, which has `CPU_SETSIZE`; `core` came from such a set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is readable and as long as said. If it fails, the trial is slower.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
}
