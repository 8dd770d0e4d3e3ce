//! What the kernel says about the mappings of this process.

use std::fs;

use super::file;
use crate::error::Error;
use crate::pages::MemoryReport;

/// A mapping, as a paragraph of /proc/self/smaps describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    start: usize,
    end: usize,
    writable: bool,
    /// Device and inode of what is mapped.
    object: String,
    page_size: u64,
    resident: u64,
    pub(crate) huge: u64,
    locked: bool,
}

impl Area {
    fn length(&self) -> u64 {
        (self.end - self.start) as u64
    }

    fn head(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).ok());
        let writable = fields.next()?.contains('w');
        let object = format!("{} {}", fields.nth(1)?, fields.next()?);
        let none = (0, 0);
        let (page_size, resident) = none;
        Some(Self { start: start?, end: end?, writable, object, page_size, resident, huge: 0, locked: false })
    }

    /// Takes one `Name: value kB` line in.
    fn note(&mut self, name: &str, value: &str) {
        let bytes = || value.trim().strip_suffix(" kB").and_then(|value| value.parse().ok()).unwrap_or(0) * 1024;
        match name {
            "KernelPageSize" => self.page_size = bytes(),
            "Rss" => self.resident += bytes(),
            // Reserved huge pages do not count as resident in Rss.
            "Shared_Hugetlb" | "Private_Hugetlb" => {
                self.resident += bytes();
                self.huge += bytes();
            }
            "AnonHugePages" | "ShmemPmdMapped" | "FilePmdMapped" => self.huge += bytes(),
            "VmFlags" => self.locked = value.split_ascii_whitespace().any(|flag| flag == "lo"),
            _ => {}
        }
    }
}

fn parse(text: &str) -> Vec<Area> {
    let mut areas: Vec<Area> = Vec::new();
    for line in text.lines() {
        match line.split_once(':') {
            // The first line of a paragraph has a colon, too, in its device, but a space before that.
            Some((name, value)) if !name.contains(' ') => {
                if let Some(area) = areas.last_mut() {
                    area.note(name, value);
                }
            }
            _ => areas.extend(Area::head(line)),
        }
    }
    areas
}

fn read() -> Result<Vec<Area>, Error> {
    fs::read_to_string("/proc/self/smaps").map(|text| parse(&text)).map_err(|_| file::no_proc())
}

/// The mapping around an address.
pub(crate) fn at(address: usize) -> Result<Option<Area>, Error> {
    Ok(read()?.into_iter().find(|area| (area.start..area.end).contains(&address)))
}

/// What this process has mapped, for writing, of that which is mapped at an address.
pub(crate) fn report(address: usize) -> Result<Option<MemoryReport>, Error> {
    let areas = read()?;
    let Some(known) = areas.iter().find(|area| (area.start..area.end).contains(&address)) else { return Ok(None) };
    let same = || areas.iter().filter(|area| area.writable && area.object == known.object);
    let sum = |bytes: fn(&Area) -> u64| same().map(bytes).sum();
    let begins = same().fold(0, |bits, area| bits | area.start);
    let text = fs::read_to_string("/proc/self/numa_maps").unwrap_or_default();
    let mut nodes: Vec<u32> = same().flat_map(|area| nodes_at(&text, area.start)).collect();
    nodes.sort_unstable();
    nodes.dedup();
    Ok(Some(MemoryReport {
        page_size: known.page_size,
        mapped: sum(Area::length),
        resident: sum(|area| area.resident),
        huge: sum(|area| area.huge),
        locked: sum(|area| if area.locked { area.length() } else { 0 }),
        alignment: if begins == 0 { 0 } else { 1 << begins.trailing_zeros() },
        nodes,
    }))
}

/// The nodes that have pages of the mapping which begins at an address.
fn nodes_at(text: &str, start: usize) -> Vec<u32> {
    let is_it =
        |line: &&str| line.split(' ').next().is_some_and(|address| usize::from_str_radix(address, 16) == Ok(start));
    let node = |field: &str| field.strip_prefix('N')?.split_once('=')?.0.parse().ok();
    text.lines().find(is_it).map_or_else(Vec::new, |line| line.split(' ').filter_map(node).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
7e0000000000-7e0000400000 rw-s 00000000 00:1b 2774901                    /dev/shm/with: colon (deleted)
Size:               4096 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                4096 kB
ShmemPmdMapped:     2048 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
VmFlags: rd wr sh mr mw me ms lo hg 
7e0000600000-7e0000800000 r--s 00000000 00:0f 7 /memfd:ringway (deleted)
KernelPageSize:     2048 kB
Rss:                   0 kB
Shared_Hugetlb:     2048 kB
VmFlags: rd sh mr mw me ms ht 
";

    #[test]
    fn paragraphs_are_read() {
        let (first, second) = ("00:1b 2774901".to_owned(), "00:0f 7".to_owned());
        let [kib, mib] = [1024, 1024 * 1024];
        let expected = [
            Area {
                start: 0x7e00_0000_0000,
                end: 0x7e00_0040_0000,
                writable: true,
                object: first,
                page_size: 4 * kib,
                resident: 4 * mib,
                huge: 2 * mib,
                locked: true,
            },
            Area {
                start: 0x7e00_0060_0000,
                end: 0x7e00_0080_0000,
                writable: false,
                object: second,
                page_size: 2 * mib,
                resident: 2 * mib,
                huge: 2 * mib,
                locked: false,
            },
        ];
        assert_eq!(parse(SMAPS), expected);
    }

    #[test]
    fn nodes_are_read() {
        let text = "7e00 default file=/N5=x mapped=3 N0=1 N12=2 kernelpagesize_kB=4\n7f00 prefer:1 N1=1\n";
        assert_eq!(nodes_at(text, 0x7e00), [0, 12]);
        assert_eq!(nodes_at(text, 0x7f00), [1]);
        assert!(nodes_at(text, 0x7e).is_empty());
    }
}
