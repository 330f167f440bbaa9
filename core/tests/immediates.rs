//! Live words of frames that are no references.

#![expect(clippy::unwrap_used, reason = "a test that panics says what failed")]

use std::rc::Rc;
use vmexternref_core::{
    Frame, GcOutcome, GcReport, ImmediateBitsError, Matching, ModuleStackMaps, Offsets,
    RecordedWalker, StackMap, StackMapRegistry, VMExternRef, VMExternRefActivationsTable, WalkEnd,
    gc,
};

const WORDS: usize = 100;

/// A frame of many words, of which so many are live, and a table.
struct Host {
    registry: StackMapRegistry,
    table: VMExternRefActivationsTable,
    stack: Vec<usize>,
    alive: Rc<()>,
}

impl Host {
    fn new(live: impl IntoIterator<Item = u32>, verifies: bool) -> Self {
        let registry = StackMapRegistry::new();
        let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
        module.function(0..0x100).unwrap();
        module
            .safepoint(0x10, StackMap::new(None, live).unwrap())
            .unwrap();
        registry.register(0x1000, module).unwrap();
        let table = VMExternRefActivationsTable::new();
        table.set_verification(verifies);
        Self {
            registry,
            table,
            stack: vec![0; WORDS],
            alive: Rc::default(),
        }
    }

    fn object(&self) -> usize {
        let object = VMExternRef::new(self.alive.clone());
        let word = object.as_raw().addr();
        self.table.insert_without_gc(object);
        word
    }

    fn objects(&self) -> usize {
        Rc::strong_count(&self.alive) - 1
    }

    fn collect(&self) -> GcReport {
        let sp = self.stack.as_ptr().expose_provenance();
        let frame = Frame::of_unknown_code(0x1010, Some(sp), None);
        // SAFETY: `stack` is the only frame, and the map describes it.
        unsafe {
            let walker = RecordedWalker::new(vec![frame], WalkEnd::Complete);
            gc(&self.registry, &self.table, &walker)
        }
    }
}

/// What any table says that was not told of the bits of `word`.
fn assert_broken(host: &Host, roots: usize) {
    let objects = host.objects();
    let report = host.collect();
    assert_eq!(report.outcome, GcOutcome::KeptContractBreak);
    assert_eq!((report.roots, report.contract_breaks), (roots, 1));
    assert_eq!((report.freed, host.objects()), (0, objects));
}

#[test]
fn immediates_are_skipped_wherever_they_are() {
    // One map of one block, and one of several.
    for live in [0..64_u32, 10..100] {
        for verifies in [false, true] {
            let mut host = Host::new(live.clone(), verifies);
            host.table.set_immediate_bits(0b11).unwrap();
            let held = host.object();
            host.object();
            host.stack.fill(0xdead_beef);
            for (index, word) in host.stack.iter_mut().enumerate() {
                *word = [(index << 2) | 1, usize::MAX, 0, 2][index % 4];
            }
            host.stack[30] = held;
            let report = host.collect();
            assert_eq!(report.outcome, GcOutcome::Swept, "{report}");
            assert_eq!((report.roots, report.words), (1, live.len()));
            assert_eq!((report.contract_breaks, report.foreign_roots), (0, 0));
            assert_eq!((report.freed, report.entries_after), (1, 1));
            assert_eq!(host.objects(), 1);
        }
    }
}

/// Each bit by itself: what the table was told is skipped, and nothing else.
#[test]
fn only_the_bits_that_the_table_was_told_mark_immediates() {
    let all = usize::from(Offsets::HOST.immediate_bits());
    assert_eq!(all, size_of::<usize>() - 1);
    for verifies in [false, true] {
        for told in 0..=all {
            for bits in 1..=all {
                let mut host = Host::new(0..2, verifies);
                host.table.set_immediate_bits(told).unwrap();
                let held = host.object();
                host.object();
                host.stack[..2].copy_from_slice(&[0xdead_bee0 | bits, held]);
                if told & bits == 0 {
                    assert_broken(&host, 2);
                } else {
                    let report = host.collect();
                    assert_eq!((report.roots, report.freed), (1, 1));
                }
            }
        }
    }
}

#[test]
fn a_table_that_was_told_nothing_reports_them() {
    for verifies in [false, true] {
        for foreign_allowed in [false, true] {
            let mut host = Host::new([0], verifies);
            host.table.allow_foreign_roots(foreign_allowed);
            host.object();
            host.stack[0] = 0xdead_beef;
            assert_broken(&host, 1);
            host.table.set_immediate_bits(1).unwrap();
            host.stack[0] = 0xdead_beee;
            assert_broken(&host, 1);
            host.table.set_immediate_bits(0).unwrap();
            host.stack[0] = 1;
            assert_broken(&host, 1);
        }
    }
}

/// A root that no entry knows is found by a second walk, which passes immediates too.
#[test]
fn a_lost_root_beside_immediates_is_kept() {
    let mut host = Host::new(0..3, false);
    host.table.set_immediate_bits(1).unwrap();
    let lost = VMExternRef::new(host.alive.clone());
    host.stack[..3].copy_from_slice(&[7, lost.as_raw().addr(), 9]);
    let report = host.collect();
    assert_eq!(report.outcome, GcOutcome::KeptContractBreak);
    assert_eq!((report.roots, report.contract_breaks), (1, 1));
    assert_eq!((lost.strong_count(), report.entries_after), (2, 1));
}

#[test]
fn bits_that_references_have_are_refused() {
    let table = VMExternRefActivationsTable::new();
    let align = size_of::<usize>();
    for bits in [align, align | 1, 1 << 8, 1 << 8 | 1, usize::MAX] {
        let refused = table.set_immediate_bits(bits);
        assert_eq!(refused, Err(ImmediateBitsError));
        assert!(ImmediateBitsError.to_string().contains("references have"));
    }
    assert_eq!(table.set_immediate_bits(align - 1), Ok(()));
    assert_eq!(table.set_immediate_bits(0), Ok(()));
}
