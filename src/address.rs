//! Where a channel lies: one text for every kind of memory.

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;

use crate::error::Error;
use crate::sys::posix::Name;
use crate::sys::sysv::Key;

/// Bytes of the longest name of POSIX shared memory that every system takes, with the slash in front.
const PORTABLE_NAME: usize = 31;

/// The kind of memory that a channel lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backing {
    /// POSIX shared memory: a name in /dev/shm.
    Posix,
    /// System V shared memory: a key.
    SystemV,
    /// A file in any directory of a local file system; it outlives its users, and a clean end of the machine.
    File,
    /// A sealed anonymous file: for children, and for those to whom its descriptor is passed.
    Memfd,
    /// Memory that children inherit over `fork`, and nobody else can reach.
    Anonymous,
    /// Memory of this process, for its threads.
    Heap,
}

impl Backing {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Posix, Self::SystemV, Self::File, Self::Memfd, Self::Anonymous, Self::Heap];

    /// What an [`Address`] of this kind begins with.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(ringway::Backing::File.scheme(), "file:");
    /// ```
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Posix => "posix:",
            Self::SystemV => "sysv:",
            Self::File => "file:",
            Self::Memfd => "memfd:",
            Self::Anonymous => "anon:",
            Self::Heap => "heap:",
        }
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme().trim_end_matches(':'))
    }
}

/// Where a channel lies, as one text.
///
/// | address | memory |
/// |---|---|
/// | `ticks`, `posix:ticks` | POSIX shared memory of that name, which contains no slash |
/// | `sysv:0x1234`, `sysv:4660` | System V shared memory of that key |
/// | `sysv:PATH#A`, `sysv:PATH#7` | the same, of the key that `ftok` makes of a file and a letter or a number up to 255 |
/// | `sysv:private`, `sysv:` | new System V shared memory without a key; the channel then tells its `sysv:id=N` |
/// | `sysv:id=N` | System V shared memory of that id, as `ipcs -m` shows it |
/// | `file:/var/lib/x.ring`, `file:x.ring` | that file; a relative path starts at the working directory |
/// | `memfd:` | a new sealed anonymous file |
/// | `anon:` | new memory that children inherit over `fork` |
/// | `heap:` | new memory of this process |
///
/// The rest of the text behind the colon is taken as it is, without escapes. Every call that takes an address takes a
/// `&str`, too. The last three have nothing by which others could find them, so they can be created, not attached.
///
/// # Examples
/// ```
/// use ringway::{Address, Backing};
///
/// let address: Address = "ticks".parse()?;
/// assert_eq!((address.backing(), address.to_string()), (Backing::Posix, "posix:ticks".into()));
/// assert_eq!("file:/var/lib/x.ring".parse::<Address>()?.backing(), Backing::File);
/// assert!("http://localhost".parse::<Address>().is_err());
/// # Ok::<(), ringway::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Place);

/// An address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Posix(Name),
    SystemV(Key),
    File(PathBuf),
    Memfd,
    Anonymous,
    Heap,
}

impl Address {
    /// A sealed anonymous file.
    pub(crate) const MEMFD: Self = Self(Place::Memfd);
    /// Memory of this process.
    pub(crate) const HEAP: Self = Self(Place::Heap);

    /// The kind of memory.
    ///
    /// # Examples
    /// ```
    /// use ringway::{Address, Backing};
    ///
    /// assert_eq!("sysv:0x1234".parse::<Address>()?.backing(), Backing::SystemV);
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn backing(&self) -> Backing {
        match self.0 {
            Place::Posix(_) => Backing::Posix,
            Place::SystemV(_) => Backing::SystemV,
            Place::File(_) => Backing::File,
            Place::Memfd => Backing::Memfd,
            Place::Anonymous => Backing::Anonymous,
            Place::Heap => Backing::Heap,
        }
    }

    /// Whether others can find memory by it; if not, it means new memory each time.
    ///
    /// # Examples
    /// ```
    /// use ringway::Address;
    ///
    /// assert!("file:x.ring".parse::<Address>()?.can_be_found());
    /// assert!(!"memfd:".parse::<Address>()?.can_be_found());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn can_be_found(&self) -> bool {
        !matches!(self.0, Place::Memfd | Place::Anonymous | Place::Heap | Place::SystemV(Key::Private))
    }

    /// Whether other Unix systems take it, too, as far as its length goes: names in POSIX shared memory have at most 31
    /// bytes on some of them (macOS), the leading slash of `shm_open` among them. On Linux 255 are fine.
    ///
    /// # Examples
    /// ```
    /// use ringway::Address;
    ///
    /// assert!("ticks".parse::<Address>()?.is_portable());
    /// assert!(!"ticks-of-all-exchanges-in-one-channel".parse::<Address>()?.is_portable());
    /// # Ok::<(), ringway::Error>(())
    /// ```
    pub fn is_portable(&self) -> bool {
        match &self.0 {
            Place::Posix(name) => name.as_str().len() < PORTABLE_NAME,
            _ => true,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0
    }
}

impl From<Place> for Address {
    fn from(place: Place) -> Self {
        Self(place)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((scheme, rest)) = text.split_once(':') else { return Ok(Self(Place::Posix(Name::new(text)?))) };
        let invalid = |reason| Err(Error::InvalidName { name: text.into(), reason });
        let place = match scheme {
            "sysv" | "file" if rest.contains('\0') => return invalid("it contains a zero byte"),
            "sysv" | "file" if rest.contains(char::is_control) => {
                return invalid("it contains a control character, which terminals obey");
            }
            "posix" => Place::Posix(Name::new(rest)?),
            "sysv" => match Key::parse(rest) {
                Ok(key) => Place::SystemV(key),
                Err(reason) => return invalid(reason),
            },
            "file" if PathBuf::from(rest).file_name().is_none() || rest.ends_with('/') => {
                return invalid("it names no file; write for example file:/var/lib/x.ring");
            }
            "file" => Place::File(rest.into()),
            "memfd" | "anon" | "heap" if !rest.is_empty() => {
                return invalid("this kind of memory has no name; end at the colon");
            }
            "memfd" => Place::Memfd,
            "anon" => Place::Anonymous,
            "heap" => Place::Heap,
            _ => {
                return invalid(
                    "what precedes its colon is none of posix, sysv, file, memfd, anon and heap; \
                     a name with a colon in shared memory is written posix:NAME",
                );
            }
        };
        Ok(Self(place))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.backing().scheme())?;
        match &self.0 {
            Place::Posix(name) => f.write_str(name.as_str()),
            Place::SystemV(key) => key.fmt(f),
            Place::File(path) => path.display().fmt(f),
            Place::Memfd | Place::Anonymous | Place::Heap => Ok(()),
        }
    }
}

impl TryFrom<&str> for Address {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = Error;

    fn try_from(text: &String) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Self {
        address.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_displayed_as_they_are_parsed() {
        for (text, shown) in [
            ("ticks", "posix:ticks"),
            ("posix:ticks", "posix:ticks"),
            ("posix:a:b", "posix:a:b"),
            ("file:/var/lib/x.ring", "file:/var/lib/x.ring"),
            ("file:x.ring", "file:x.ring"),
            ("file:/tmp/a:b c#%20", "file:/tmp/a:b c#%20"),
            ("sysv:0x1234", "sysv:0x1234"),
            ("sysv:4660", "sysv:0x1234"),
            ("sysv:0xffffffff", "sysv:0xffffffff"),
            ("sysv:/etc/passwd#A", "sysv:/etc/passwd#A"),
            ("sysv:/etc/passwd#65", "sysv:/etc/passwd#A"),
            ("sysv:a#b#7", "sysv:a#b#7"),
            ("sysv:x#/", "sysv:x#47"),
            ("sysv:", "sysv:private"),
            ("sysv:private", "sysv:private"),
            ("sysv:id=7", "sysv:id=7"),
            ("memfd:", "memfd:"),
            ("anon:", "anon:"),
            ("heap:", "heap:"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse::<Address>().unwrap(), address);
            assert!(shown.starts_with(address.backing().scheme()));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, reason) in [
            ("", "empty"),
            ("posix:", "empty"),
            ("posix:/ticks", "slash"),
            ("ticks:eu", "none of posix, sysv"),
            ("http://localhost/x", "none of posix, sysv"),
            (":", "none of posix, sysv"),
            ("POSIX:ticks", "none of posix, sysv"),
            ("sysv:0", "sysv:private"),
            ("sysv:ticks", "0x1234 for a key"),
            ("sysv:-1", "0x1234 for a key"),
            ("sysv:0x100000000", "0x1234 for a key"),
            ("sysv:id=-1", "0x1234 for a key"),
            ("sysv:#A", "0x1234 for a key"),
            ("sysv:/etc#", "1 to 255"),
            ("sysv:/etc#0", "1 to 255"),
            ("sysv:/etc#256", "1 to 255"),
            ("sysv:/etc#ab", "1 to 255"),
            ("file:", "names no file"),
            ("file:/", "names no file"),
            ("file:/tmp/..", "names no file"),
            ("file:/tmp/", "names no file"),
            ("file:a\0b", "zero byte"),
            ("file:/tmp/a\nb", "control character"),
            ("sysv:/tmp/\u{1b}[2J#A", "control character"),
            ("posix:a\rb", "control character"),
            ("memfd:x", "has no name"),
            ("anon:x", "has no name"),
            ("heap:x", "has no name"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(
                matches!(error, Error::InvalidName { .. }) && error.to_string().contains(reason),
                "{text}: {error}"
            );
        }
    }
}
