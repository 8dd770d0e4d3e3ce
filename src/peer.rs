//! What is known about the process at one end of a channel.

use core::fmt;

use crate::layout::PeerRecord;

/// The state of one end of a channel, as it was at some moment of the call that returned it.
///
/// Whether somebody lives is the kernel's word (a lease, not a pid and not a clock); the pid is the peer's own, in its
/// own pid namespace, and for people only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerState {
    /// Nobody has attached to this end yet.
    Never,
    /// A process holds it.
    Running {
        /// Its process id.
        pid: u32,
    },
    /// A process holds it and is stopped (`SIGSTOP`, a debugger); it counts as alive, because it may go on.
    Stopped {
        /// Its process id.
        pid: u32,
    },
    /// The last holder dropped its handle.
    Closed,
    /// The last holder ended without dropping its handle; a new one takes over where it stopped.
    Dead {
        /// Its process id, which may belong to somebody else by now.
        pid: u32,
    },
}

impl PeerState {
    pub(crate) fn new(leased: bool, closed: bool, record: &PeerRecord, stopped: bool) -> Self {
        let pid = record.pid as u32;
        match (leased, closed) {
            (true, _) if stopped => Self::Stopped { pid },
            (true, _) => Self::Running { pid },
            (false, true) => Self::Closed,
            (false, false) if record.attaches == 0 => Self::Never,
            (false, false) => Self::Dead { pid },
        }
    }

    /// Whether a process holds this end, be it running or stopped.
    ///
    /// # Examples
    /// ```
    /// use ringway::PeerState;
    ///
    /// assert!(PeerState::Stopped { pid: 7 }.is_alive()); // it may go on
    /// assert!(!PeerState::Dead { pid: 7 }.is_alive());
    /// ```
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Stopped { .. })
    }

    /// Whether the last holder is gone, be it cleanly or not.
    ///
    /// # Examples
    /// ```
    /// use ringway::PeerState;
    ///
    /// assert!(PeerState::Closed.is_gone());
    /// assert!(!PeerState::Never.is_gone()); // yet to come
    /// ```
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Closed | Self::Dead { .. })
    }
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never attached"),
            Self::Running { pid } => write!(f, "process {pid}, running"),
            Self::Stopped { pid } => write!(f, "process {pid}, stopped"),
            Self::Closed => f.write_str("closed"),
            Self::Dead { pid } => write!(f, "process {pid}, dead"),
        }
    }
}
