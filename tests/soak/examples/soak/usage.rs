//! What the process uses.

use core::fmt;
use std::fs;

/// Memory and handles at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Resident memory, in KiB.
    resident: u64,
    /// Open files.
    files: u64,
    /// Mappings of the address space.
    mappings: u64,
}

impl Usage {
    /// As Linux tells it.
    pub(crate) fn now() -> Self {
        let read = |path| fs::read_to_string(path).expect("Linux has this file");
        let status = read("/proc/self/status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        let files = fs::read_dir("/proc/self/fd").expect("Linux has this folder");
        Self {
            resident: resident.expect("a number of KiB"),
            files: files.count() as u64,
            mappings: read("/proc/self/maps").lines().count() as u64,
        }
    }

    fn highest(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            files: self.files.max(other.files),
            mappings: self.mappings.max(other.mappings),
        }
    }
}

/// The most that was used in each part of the time.
#[derive(Debug, Default)]
pub(crate) struct Record {
    parts: [Option<Usage>; 4],
}

impl Record {
    /// Adds a look at the process in that part of the time, from 0.
    pub(crate) fn add(&mut self, part: usize, usage: Usage) {
        let highest = &mut self.parts[part.min(3)];
        *highest = Some(highest.map_or(usage, |before| before.highest(usage)));
    }

    /// What the last part used more than the second.
    ///
    /// The allocator keeps memory that it got back in pieces, so that a twentieth more, and 4 MiB,
    /// is no growth; the C library keeps the stacks of threads.
    pub(crate) fn growth(&self) -> Vec<String> {
        let [_, Some(early), _, Some(late)] = self.parts else {
            return vec!["the time was too short to compare anything".to_owned()];
        };
        let compared = [
            (
                "KiB of memory",
                early.resident,
                late.resident,
                early.resident / 20 + 4096,
            ),
            ("files", early.files, late.files, 0),
            (
                "mappings",
                early.mappings,
                late.mappings,
                early.mappings / 20 + 8,
            ),
        ];
        let grown = compared
            .into_iter()
            .filter(|(_, early, late, more)| *late > early + more);
        let told = grown.map(|(what, early, late, _)| format!("{early} {what} became {late}"));
        told.collect()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("at most, in each quarter of the time:")?;
        for Usage {
            resident,
            files,
            mappings,
        } in self.parts.into_iter().flatten()
        {
            write!(
                f,
                "\n{resident:>10} KiB, {files} files, {mappings} mappings"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Record, Usage};

    fn record(early: Usage, late: Usage) -> Record {
        let mut record = Record::default();
        record.add(0, Usage::default());
        record.add(1, early);
        record.add(3, late);
        record
    }

    #[test]
    fn growth_is_told() {
        let usage = |resident, files, mappings| Usage {
            resident,
            files,
            mappings,
        };
        let early = usage(100_000, 5, 100);
        assert!(record(early, usage(108_000, 5, 110)).growth().is_empty());
        let late = record(early, usage(110_000, 6, 120)).growth();
        assert_eq!(
            late,
            [
                "100000 KiB of memory became 110000",
                "5 files became 6",
                "100 mappings became 120"
            ]
        );
        assert_eq!(Record::default().growth().len(), 1);
    }

    #[test]
    fn an_open_file_is_seen() {
        let before = Usage::now();
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert!(Usage::now().files > before.files);
        drop(file);
    }
}
