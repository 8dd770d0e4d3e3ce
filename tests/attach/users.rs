//! Other users: no permission, and regions of somebody whom nobody expected.
//!
//! The trial needs root, who can be somebody else for a while; in any case, it has a /dev/shm of its own.

use std::fs::File;

use ringway::spsc::Channel;
use ringway::{Error, Inspection, Options};
use rustix::fs::Mode;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::child::{Part, parts, play};
use crate::expect::assert_refused;
use crate::mount::mount;
use crate::places::enter_own_mounts;
use crate::{Case, Outcome, cases};

pub(crate) const CASES: &[Case] =
    cases![no_permission, another_owner, a_directory_of_somebody_else, files_of_somebody_else, a_passed_descriptor];

pub(crate) const PARTS: &[Part] = parts![
    without_permission,
    with_another_owner,
    in_a_directory_of_somebody_else,
    with_files_of_somebody_else,
    with_a_passed_descriptor,
];

fn no_permission() -> Outcome {
    play("without_permission", "")
}

fn another_owner() -> Outcome {
    play("with_another_owner", "")
}

fn a_directory_of_somebody_else() -> Outcome {
    play("in_a_directory_of_somebody_else", "")
}

fn files_of_somebody_else() -> Outcome {
    play("with_files_of_somebody_else", "")
}

fn a_passed_descriptor() -> Outcome {
    play("with_a_passed_descriptor", "")
}

/// A user without any rights.
const NOBODY: u32 = 65534;

/// Gives this process a /dev/shm of that mode, and forgets its groups.
pub(crate) fn prepare(mode: &str) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can be another user for a while".into());
    }
    enter_own_mounts()?;
    mount("none", "/dev/shm", "tmpfs", 0, &format!("mode={mode}"))?;
    set_thread_groups(&[]).map_err(|error| format!("leaving the groups of root: {error}"))?;
    as_nobody(|| ())
}

/// Does something as a user without any rights. This process has one thread.
pub(crate) fn as_nobody<R>(action: impl FnOnce() -> R) -> Result<R, String> {
    let become_user = |uid: u32| {
        set_thread_res_gid(None, Gid::from_raw(uid), None)
            .and_then(|()| set_thread_res_uid(None, Uid::from_raw(uid), None))
            .map_err(|error| format!("becoming user {uid}: {error}"))
    };
    become_user(NOBODY)?;
    let result = action();
    set_thread_res_uid(None, Uid::ROOT, None).map_err(|error| format!("becoming root again: {error}"))?;
    become_user(0)?;
    Ok(result)
}

/// A region that stays, without its creator.
fn create(name: &str, mode: u32) {
    Channel::<u64>::create(name, &Options::new().mode(mode).persist(true)).expect("a new region");
}

fn without_permission(_: &str) -> Result<(), String> {
    prepare("1777")?;
    create("private", 0o600);
    create("readable", 0o644);
    create("shared", 0o666);
    let options = Options::new();
    as_nobody(|| {
        let calls: [(&str, Result<(), Error>); 4] = [
            ("attach", Channel::<u64>::attach("private", &options).map(drop)),
            ("open_or_create", Channel::<u64>::open_or_create("private", &options).map(drop)),
            ("unlink", ringway::unlink("private")),
            ("inspect", Inspection::of("private").map(drop)),
        ];
        for (call, result) in calls {
            let text = "no permission to open `private` (owner 0, mode 600): ask its owner";
            assert_refused!(
                call => result,
                Error::PermissionDenied { action: "open", owner: 0, mode: 0o600, .. },
                text,
            );
        }
        assert_refused!(Channel::<u64>::create("private", &options), Error::AlreadyExists { .. }, "private");

        // Both ends write; to look, reading is enough.
        let result = Channel::<u64>::attach("readable", &options);
        assert_refused!(
            result,
            Error::PermissionDenied { action: "open", owner: 0, mode: 0o644, .. },
            "readable",
            "mode 644"
        );
        assert_eq!(Inspection::of("readable").expect("readable").mode, 0o644);
        assert_eq!(Inspection::names().expect("readable"), ["readable", "shared"]);

        let channel = Channel::<u64>::attach("shared", &options).expect("everybody may");
        let (tx, rx) = (channel.sender().expect("a free end"), channel.receiver().expect("a free end"));
        tx.send(7).expect("room");
        assert_eq!(rx.recv(), Ok(7));
        for result in [channel.unlink().map(drop), ringway::unlink("shared")] {
            assert_refused!(result, Error::PermissionDenied { action: "remove", owner: 0, mode: 0o1777, .. }, "shared");
        }

        // In the common directory there is room for everybody.
        Channel::<u64>::create("mine", &options).expect("a free name").sender().expect("a free end");
        assert_eq!(Inspection::names().expect("readable"), ["readable", "shared"]);
    })
}

fn with_another_owner(_: &str) -> Result<(), String> {
    prepare("1777")?;
    as_nobody(|| create("theirs", 0o666))?;
    let options = Options::new();
    for result in [Channel::<u64>::attach("theirs", &options), Channel::<u64>::open_or_create("theirs", &options)] {
        let parts = "belongs to user 65534, expected 0";
        assert_refused!(
            result,
            Error::WrongOwner { expected: 0, found: NOBODY, .. },
            "theirs",
            parts,
            "Options::owner(65534)"
        );
    }
    let result = Channel::<u64>::attach("theirs", &options.clone().owner(1));
    assert_refused!(result, Error::WrongOwner { expected: 1, found: NOBODY, .. }, "belongs to user 65534, expected 1");
    Channel::<u64>::attach("theirs", &options.clone().owner(NOBODY)).expect("expected so");

    // Root's are everybody's, unless somebody else's are asked for.
    create("roots", 0o666);
    as_nobody(|| {
        Channel::<u64>::attach("roots", &options).expect("root is trusted anyway");
        let result = Channel::<u64>::attach("roots", &options.clone().owner(NOBODY));
        assert_refused!(result, Error::WrongOwner { expected: NOBODY, found: 0, .. }, "Options::owner(0)");
    })
}

fn in_a_directory_of_somebody_else(_: &str) -> Result<(), String> {
    prepare("755")?;
    create("ticks", 0o666);
    let options = Options::new();
    as_nobody(|| {
        for result in [Channel::<u64>::create("mine", &options), Channel::<u64>::open_or_create("mine", &options)] {
            assert_refused!(
                result,
                Error::PermissionDenied { action: "create", owner: 0, mode: 0o755, .. },
                "mine",
                "mode 755"
            );
        }
        let channel = Channel::<u64>::attach("ticks", &options).expect("everybody may");
        assert_refused!(channel.unlink(), Error::PermissionDenied { action: "remove", mode: 0o755, .. }, "ticks");
        assert_eq!(Inspection::names().expect("readable"), ["ticks"]);
    })
}

fn with_files_of_somebody_else(_: &str) -> Result<(), String> {
    prepare("1777")?;
    mount("none", "/mnt", "tmpfs", 0, "mode=1777")?;
    let options = Options::new();
    let [private, readable, shared] = ["private", "readable", "shared"].map(|name| format!("file:/mnt/{name}"));
    create(&private, 0o600);
    create(&readable, 0o644);
    create(&shared, 0o666);
    as_nobody(|| {
        let calls: [(&str, Result<(), Error>); 4] = [
            ("attach", Channel::<u64>::attach(&private, &options).map(drop)),
            ("open_or_create", Channel::<u64>::open_or_create(&private, &options).map(drop)),
            ("unlink", ringway::unlink(&private)),
            ("inspect", Inspection::of(&private).map(drop)),
        ];
        for (call, result) in calls {
            let text = "no permission to open `file:/mnt/private` (owner 0, mode 600): ask its owner";
            assert_refused!(call => result, Error::PermissionDenied { action: "open", .. }, text);
        }
        let result = Channel::<u64>::attach(&readable, &options);
        assert_refused!(result, Error::PermissionDenied { action: "open", mode: 0o644, .. }, &readable);
        assert_eq!(Inspection::of(&readable).expect("readable").mode, 0o644);
        let channel = Channel::<u64>::attach(&shared, &options).expect("everybody may");
        channel.sender().expect("a free end").send(7).expect("room");
        assert_eq!(channel.receiver().expect("a free end").recv(), Ok(7));
        assert_refused!(channel.unlink(), Error::PermissionDenied { action: "remove", mode: 0o1777, .. }, &shared);
        assert_refused!(channel.set_mode(0o600), Error::PermissionDenied { action: "change", .. }, &shared);
        create("file:/mnt/theirs", 0o666);
    })?;
    for result in [
        Channel::<u64>::attach("file:/mnt/theirs", &options),
        Channel::<u64>::open_or_create("file:/mnt/theirs", &options.clone().replace_dead(true)),
    ] {
        assert_refused!(result, Error::WrongOwner { expected: 0, found: NOBODY, .. }, "Options::owner(65534)");
    }
    Channel::<u64>::attach("file:/mnt/theirs", &options.clone().owner(NOBODY)).expect("expected so");

    // A directory that can be passed through, not written to; and one that cannot even be passed through.
    let mode = |mode| rustix::fs::chmod("/mnt", Mode::from_raw_mode(mode)).expect("root may");
    mode(0o755);
    as_nobody(|| {
        let result = Channel::<u64>::create("file:/mnt/mine", &options);
        assert_refused!(
            result,
            Error::PermissionDenied { action: "create", owner: 0, mode: 0o755, .. },
            "file:/mnt/mine"
        );
        Channel::<u64>::attach(&shared, &options).expect("everybody may, still");
    })?;
    for closed in [0o711, 0o700] {
        mode(closed);
        as_nobody(|| {
            for result in [
                Channel::<u64>::create("file:/mnt/mine", &options).map(drop),
                Channel::<u64>::attach(&shared, &options).map(drop),
                ringway::unlink(&shared),
                Inspection::of(&shared).map(drop),
            ] {
                let found = format!("mode {closed:o}");
                assert_refused!(result, Error::PermissionDenied { action: "open", .. }, "`/mnt`", &found);
            }
        })?;
    }
    Ok(())
}

fn with_a_passed_descriptor(_: &str) -> Result<(), String> {
    prepare("1777")?;
    let options = Options::new();
    let pass =
        |channel: &Channel<u64>| channel.as_fd().and_then(|fd| fd.try_clone_to_owned().ok()).expect("a descriptor");

    // A memfd is for whoever has it.
    let anonymous = Channel::<u64>::anonymous(&options).expect("a new region");
    let passed = pass(&anonymous);
    as_nobody(|| {
        let tx = Channel::<u64>::from_fd(passed, &options).expect("a region").sender().expect("a free end");
        tx.send(7).expect("room");
    })?;
    assert_eq!(anonymous.receiver().expect("a free end").recv(), Ok(7));

    // A named region keeps its mode.
    let named = Channel::<u64>::create("ticks", &options).expect("a new region");
    let passed = File::from(pass(&named));
    as_nobody(|| {
        let trusting = options.clone().trust_unsealed(true);
        let channel = Channel::<u64>::from_fd(passed.into(), &trusting).expect("the descriptor is good for reading");
        for result in [channel.sender().map(drop), channel.receiver().map(drop)] {
            assert_refused!(
                result,
                Error::PermissionDenied { owner: 0, mode: 0o600, .. },
                "owner 0, mode 600",
                "ask its owner"
            );
        }
    })
}
