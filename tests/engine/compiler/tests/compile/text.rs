//! The shape of the text and its tables.

use crate::for_each_target;
use core::ops::Range;
use gimli::{AArch64, BaseAddresses, CieOrFde, EhFrame, LittleEndian, RegisterRule, RiscV};
use gimli::{UnwindContext, UnwindSection, X86_64};
use std::collections::BTreeSet;
use vmexternref_engine_abi::{Architecture, CompiledModule, TEXT_ALIGN};

const MODULE: &str = r#"(module
    (import "host" "f" (func $f (param i32) (result i64)))
    (memory 1)
    (func $g (param i32) (result i64) local.get 0 call $f)
    (func (param i32) (result i64) local.get 0 call $g)
    (func (result i32) (i32.load (i32.const 0))))"#;

fn starts(module: &CompiledModule) -> Vec<u32> {
    let functions = module.functions.iter().map(|range| range.start);
    let entries = module.entry_trampolines.iter().flatten().copied();
    let exits = module.exit_trampolines.iter().flatten().copied();
    functions.chain(entries).chain(exits).collect()
}

#[test]
fn pieces_are_aligned_and_distinct() {
    for_each_target(MODULE, |target, module| {
        let starts = starts(module);
        let align = u32::try_from(TEXT_ALIGN).expect("small");
        assert!(starts.iter().all(|start| start % align == 0), "{target}");
        let distinct: BTreeSet<_> = starts.iter().collect();
        assert_eq!(distinct.len(), starts.len(), "{target}");
        assert_eq!(module.functions.len(), 3);
        assert_eq!(module.entry_trampolines.len(), module.types.len());
        assert_eq!(module.exit_trampolines.len(), module.types.len());
        assert_eq!(module.text.len() % TEXT_ALIGN, 0);
        let end = module.functions.iter().map(|range| range.end).max();
        assert!(end.is_some_and(|end| (end as usize) < module.text.len()));
    });
}

#[test]
fn unwind_tables_end_with_a_terminator_and_cover_every_piece() {
    for_each_target(MODULE, |target, module| {
        if is_bytecode(module) {
            assert_eq!(module.eh_frame, [], "{target}");
            return;
        }
        assert_eq!(entries(&module.eh_frame).1, [0; 4], "{target}");
        let described = described(module);
        for start in starts(module) {
            assert!(
                described.contains(&i64::from(start)),
                "{target}: {start:#x}"
            );
        }
    });
}

/// Defect: on RISC-V, Cranelift names another place for the entry trampoline's caller, and walks
/// with the unwinder ended there.
#[test]
fn every_frame_says_that_its_record_holds_the_frame_pointer_of_its_caller() {
    // The host may call what is exported, through an entry trampoline.
    let text = MODULE.replace("(func $g", "(func $g (export \"g\")");
    for_each_target(&text, |target, module| {
        assert!(module.entry_trampolines.iter().any(Option::is_some));
        let frame_pointer = match module.target.architecture {
            Architecture::X86_64 => X86_64::RBP,
            Architecture::Aarch64 => AArch64::X29,
            Architecture::Riscv64 => RiscV::X8,
            _ => return,
        };
        let mut tables = EhFrame::new(&module.eh_frame, LittleEndian);
        tables.set_address_size(8);
        let bases = BaseAddresses::default().set_eh_frame(module.text.len() as u64);
        let mut context = UnwindContext::new();
        let mut entries = tables.entries(&bases);
        let mut pieces = 0;
        while let Some(entry) = entries.next().expect("well formed") {
            let CieOrFde::Fde(entry) = entry else {
                continue;
            };
            let piece = entry.parse(EhFrame::cie_from_offset).expect("well formed");
            let mut rows = piece.rows(&tables, &bases, &mut context).expect("rows");
            let mut rule = None;
            while let Some(row) = rows.next_row().expect("well formed") {
                rule = row.register(frame_pointer);
            }
            let start = piece.initial_address();
            assert_eq!(
                rule,
                Some(RegisterRule::Offset(-16)),
                "{target}: {start:#x}"
            );
            pieces += 1;
        }
        assert!(pieces >= 5, "{target}: {pieces}");
    });
}

#[test]
fn a_large_frame_stands_behind_a_guard() {
    let locals = "(local i64)".repeat(300);
    let makes: String = (0..300)
        .map(|index| format!("call $make local.set {index} "))
        .collect();
    let takes: String = (0..300)
        .map(|index| format!("local.get {index} call $take "))
        .collect();
    let text = format!(
        r#"(module (import "h" "make" (func $make (result i64)))
            (import "h" "take" (func $take (param i64)))
            (func {locals} {makes} {takes})
            (func call $make drop))"#
    );
    for_each_target(&text, |target, module| {
        if is_bytecode(module) {
            return;
        }
        let pieces_inside = |range: &Range<u32>| {
            let inside =
                |start: &i64| i64::from(range.start) < *start && *start < i64::from(range.end);
            described(module)
                .iter()
                .filter(|start| inside(start))
                .count()
        };
        assert_eq!(pieces_inside(&module.functions[0]), 1, "{target}");
        assert_eq!(pieces_inside(&module.functions[1]), 0, "{target}");
    });
}

/// An interpreter unwinds nothing, and guards its stack itself.
fn is_bytecode(module: &CompiledModule) -> bool {
    module.target.architecture == Architecture::Pulley
}

/// The start of each piece of code that the unwind tables describe.
fn described(module: &CompiledModule) -> BTreeSet<i64> {
    let absolute = |(offset, relative): &(usize, i32)| {
        let base = i64::try_from(module.text.len() + offset).expect("small");
        base + i64::from(*relative)
    };
    entries(&module.eh_frame).0.iter().map(absolute).collect()
}

/// The place and value of each entry's first address, and the bytes after the last entry.
fn entries(eh_frame: &[u8]) -> (Vec<(usize, i32)>, &[u8]) {
    let word = |at: usize| -> [u8; 4] { eh_frame[at..at + 4].try_into().expect("four bytes") };
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let len = u32::from_le_bytes(word(at)) as usize;
        if len == 0 {
            return (found, &eh_frame[at..]);
        }
        let is_common = word(at + 4) == [0; 4];
        if !is_common {
            found.push((at + 8, i32::from_le_bytes(word(at + 8))));
        }
        at += 4 + len;
    }
}
