//! Capacities and numbers of peers that cannot be, or not here; limits of the process.

use std::fs;
use std::ops::ControlFlow;

use ringway::channel_of::{Channel as ChannelOf, Flavor, Mpmc, Spsc};
use ringway::spsc::Channel;
use ringway::{Error, Options, mpmc};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::child::{Part, parts, play};
use crate::expect::{assert_refused, says};
use crate::left::{Behind, Name};
use crate::segment::Key;
use crate::{Case, Outcome, cases};

pub(crate) const CASES: &[Case] = cases![
    a_capacity_of_zero_is_refused,
    a_capacity_beyond_any_machine_is_refused,
    a_number_of_peers_out_of_range_is_refused,
    more_than_there_is_is_refused_at_once,
    files_larger_than_permitted_are_refused,
    without_descriptors_nothing_is_left_behind,
    without_addresses_nothing_is_left_behind,
];

pub(crate) const PARTS: &[Part] = parts![where_files_must_be_small, where_descriptors_run_out, where_addresses_run_out];

type Create = fn(&Name, &Options) -> Result<(), Error>;

/// Every call that creates, with messages of eight bytes.
const CREATORS: [(&str, Create); 4] = [
    ("create", |name, options| Channel::<u64>::create(name, options).map(drop)),
    ("open_or_create", |name, options| Channel::<u64>::open_or_create(name, options).map(drop)),
    ("anonymous", |_, options| Channel::<u64>::anonymous(options).map(drop)),
    ("heap", |_, options| Channel::<u64>::heap(options).map(drop)),
];

fn a_capacity_of_zero_is_refused() {
    let name = Name::new();
    for (creator, create) in CREATORS {
        let result = create(&name, &Options::new().capacity(0));
        assert_refused!(
            creator => result,
            Error::InvalidCapacity { capacity: 0, payload_size: 8, .. },
            "capacity 0",
            "messages of 8 bytes",
            "at least 1",
        );
        assert!(!name.is_taken());
    }
    let error = ringway::spsc::channel::<[u8; 3]>(0).unwrap_err();
    assert!(matches!(error, Error::InvalidCapacity { capacity: 0, payload_size: 3, .. }), "{error}");
}

fn a_number_of_peers_out_of_range_is_refused() {
    let name = Name::new();
    for peers in [0, 1, 4096, usize::MAX] {
        assert_refused!(
            mpmc::Channel::<u64>::create(&name, &Options::new().peers(peers)),
            Error::InvalidPeers { most: 4095, .. },
            &format!("{peers} peers"),
            "2 to 4095",
            "Options::peers",
        );
        assert!(!name.is_taken());
    }
    for peers in [2, 4095] {
        mpmc::Channel::<u64>::create(&name, &Options::new().peers(peers)).unwrap();
    }
}

fn a_capacity_beyond_any_machine_is_refused() {
    let name = Name::new();
    for capacity in [usize::MAX, usize::MAX - 1, usize::MAX / 2, 1 << 62, 1 << 60] {
        for (creator, create) in CREATORS {
            let result = create(&name, &Options::new().capacity(capacity));
            let text = capacity.to_string();
            let beyond = "larger than an address space";
            assert_refused!(creator => result, Error::InvalidCapacity { payload_size: 8, .. }, &text, beyond);
            assert!(!name.is_taken());
        }
    }
}

fn more_than_there_is_is_refused_at_once() {
    let name = Name::new();
    // From 9 PB down to 8 TiB: more than the machine has, and no more than may be asked for.
    for bits in [50, 45, 40] {
        for (creator, create) in CREATORS {
            let error = create(&name, &Options::new().capacity(1 << bits)).expect_err(creator);
            let Error::NoSpace { needed, available } = error else { panic!("{creator}, 2^{bits}: {error:?}") };
            assert!(needed >= 8 << bits && available < needed, "{creator}: {needed} of {available}");
            assert_refused!(
                Err::<(), _>(error),
                Error::NoSpace { .. },
                &needed.to_string(),
                &available.to_string(),
                "lower the capacity"
            );
            assert!(!name.is_taken());
        }
    }
}

/// What is possible within a limit of this process.
fn within<R>(resource: Resource, limit: u64, action: impl FnOnce() -> R) -> R {
    let before = getrlimit(resource);
    setrlimit(resource, Rlimit { current: Some(limit), ..before }).expect("a soft limit may be lowered");
    let result = action();
    setrlimit(resource, before).expect("and raised again");
    result
}

fn files_larger_than_permitted_are_refused() -> Outcome {
    play("where_files_must_be_small", "")
}

/// The kernel would end the process with a `SIGXFSZ`.
fn where_files_must_be_small(_: &str) -> Result<(), String> {
    let (name, file, key) = (Name::new(), Name::on_disk(), Key::new());
    let options = Options::new().capacity(5000);
    for address in [&*name, &file, "memfd:"] {
        let create = |limit| within(Resource::Fsize, limit, || Channel::<u64>::create(address, &options));
        let Err(Error::Limit { needed, .. }) = create(0) else { panic!("{address}: it was not refused") };
        assert!(needed > 40_000);
        for limit in [1, 4096, needed - 1] {
            let numbers = [needed.to_string(), limit.to_string()];
            assert_refused!(
                address => create(limit),
                Error::Limit { .. },
                &numbers[0],
                &numbers[1],
                "bytes of one file",
                "RLIMIT_FSIZE",
                "lower the capacity"
            );
        }
        create(needed).expect("so much is permitted");
        let _ = ringway::unlink(address);
    }
    for address in [&*key, "anon:"] {
        // The memory is no file, and its leases are a page.
        let result = within(Resource::Fsize, 4095, || Channel::<u64>::create(address, &options));
        assert_refused!(address => result, Error::Limit { needed: 4096, .. }, "RLIMIT_FSIZE");
        within(Resource::Fsize, 4096, || Channel::<u64>::create(address, &options)).expect(address);
    }
    Ok(())
}

/// The addresses at which all kinds of memory are created.
fn everywhere(run: impl Fn(&str)) {
    let (name, file, key) = (Name::new(), Name::on_disk(), Key::new());
    for address in [&*name, &file, &key, "sysv:private", "memfd:", "anon:", "heap:"] {
        run(address);
    }
}

/// Creates a channel, comes to it again, and opens its ends, as far as that goes.
fn make_and_use<F: Flavor>(address: &str, options: &Options) -> Result<(), Error> {
    let channel = ChannelOf::<u64, F>::create(address, options)?;
    let (tx, rx) = (channel.sender()?, channel.receiver()?);
    tx.send(7).expect("room");
    assert_eq!(rx.recv(), Ok(7));
    let Some(name) = channel.name() else { return Ok(()) };
    drop(ChannelOf::<u64, F>::attach(name, options)?);
    drop(ChannelOf::<u64, F>::open_or_create(name, &options.clone().replace_dead(true))?);
    ringway::unlink(name)
}

/// Raises a limit bit by bit, until everything works; whatever fails before leaves nothing behind, and says what to do.
/// Says how often it did.
fn fails_cleanly<F: Flavor>(
    address: &str,
    options: &Options,
    (resource, remedy): (Resource, &str),
    limits: impl IntoIterator<Item = u64>,
) -> usize {
    let before = Behind::here();
    let attempt = |failures, limit| {
        let result = within(resource, limit, || make_and_use::<F>(address, options));
        if let Some(path) = address.strip_prefix("file:") {
            // It would have been there for others, if it was made.
            let _ = fs::remove_file(path);
        }
        assert_eq!(Behind::here(), before, "{address}, within {limit}: {result:?}");
        match result {
            Ok(()) => ControlFlow::Break(failures),
            Err(error @ (Error::Os { .. } | Error::NoSpace { .. })) => {
                says(&error, &[if matches!(error, Error::Os { .. }) { remedy } else { "lower the capacity" }]);
                ControlFlow::Continue(failures + 1)
            }
            Err(error) => panic!("{address}, within {limit}: {error:?}"),
        }
    };
    match limits.into_iter().try_fold(0, attempt) {
        ControlFlow::Break(failures) => failures,
        ControlFlow::Continue(failures) => panic!("{address}: {failures} failures, and no success"),
    }
}

fn without_descriptors_nothing_is_left_behind() -> Outcome {
    play("where_descriptors_run_out", "")
}

fn where_descriptors_run_out(_: &str) -> Result<(), String> {
    let limited = (Resource::Nofile, "RLIMIT_NOFILE");
    // The limit is on the number of the descriptor, of which the lowest free one is taken.
    let limits = || 0..40;
    everywhere(|address| {
        let options = Options::new();
        let failures = [
            fails_cleanly::<Spsc>(address, &options, limited, limits()),
            fails_cleanly::<Mpmc>(address, &options, limited, limits()),
        ];
        assert!(failures.iter().all(|failures| (*failures == 0) == (address == "heap:")), "{address}: {failures:?}");
    });
    Ok(())
}

fn without_addresses_nothing_is_left_behind() -> Outcome {
    play("where_addresses_run_out", "")
}

fn where_addresses_run_out(_: &str) -> Result<(), String> {
    let limited = (Resource::As, "RLIMIT_AS");
    let options = Options::new().capacity(1 << 17);
    everywhere(|address| {
        let pages = fs::read_to_string("/proc/self/statm").expect("/proc");
        let used = pages.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096;
        // A region takes a megabyte and more of SPSC and 8 of MPMC; what the program itself needs fits the first step.
        let limits = (1..100).map(|step| used + (step << 20));
        let failures = [
            fails_cleanly::<Spsc>(address, &options, limited, limits.clone()),
            fails_cleanly::<Mpmc>(address, &options, limited, limits),
        ];
        assert!(failures.iter().all(|failures| *failures > 0), "{address}: {failures:?}");
    });
    Ok(())
}
