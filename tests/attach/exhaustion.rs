//! Capacities and numbers of peers that cannot be, or not here.

use ringway::spsc::Channel;
use ringway::{Error, Options, mpmc};

use crate::expect::assert_refused;
use crate::left::Name;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    a_capacity_of_zero_is_refused,
    a_capacity_beyond_any_machine_is_refused,
    a_number_of_peers_out_of_range_is_refused,
    more_than_there_is_is_refused_at_once
];

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
