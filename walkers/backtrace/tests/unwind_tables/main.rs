//! Registered unwind tables: walks pass the code that they describe, and memory is given back.
//!
//! A test binary of its own, because it replaces the global allocator.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod allocator;
mod compiled_code;

use allocator::Watched;
use compiled_code::{CompiledCode, known_entry};
use vmexternref_backtrace::{UnwindTables, UnwindTablesError};

#[test]
fn compiled_frames_are_passed_while_their_relative_table_is_registered() {
    let code = CompiledCode::new("zR");
    code.assert_not_passed();
    for _ in 0..2 {
        // SAFETY: the table describes the code in front of it, until it is dropped below.
        let tables = unsafe { UnwindTables::register_in_place(code.table_in_place()) };
        code.assert_passed();
        drop(tables.expect("registered"));
        code.assert_not_passed();
    }
}

#[test]
fn compiled_frames_are_passed_while_their_absolute_table_is_registered() {
    let code = CompiledCode::new("zR");
    for _ in 0..2 {
        // SAFETY: the table describes the code, which outlives it.
        let tables = unsafe { UnwindTables::register(code.absolute_table("zR")) };
        let tables = tables.expect("registered");
        code.assert_passed();
        // The value can be moved.
        let moved = Box::new(tables);
        code.assert_passed();
        drop(moved);
        code.assert_not_passed();
    }
}

#[test]
fn tables_can_be_registered_and_dropped_on_other_threads() {
    let code = CompiledCode::new("zR");
    let table = code.absolute_table("zR");
    // SAFETY: the table describes the code, which outlives it.
    let register = || unsafe { UnwindTables::register(table) };
    let tables = std::thread::scope(|scope| scope.spawn(register).join());
    let tables = tables.expect("no panic").expect("registered");
    code.assert_passed();
    std::thread::scope(|scope| scope.spawn(|| drop(tables)).join()).expect("no panic");
    code.assert_not_passed();
}

#[test]
fn letters_that_gcc_misreads_are_refused_in_both_forms() {
    for letters in ["zSR", "zBR"] {
        let code = CompiledCode::new(letters);
        // SAFETY: the tables describe the code, which outlives them.
        let refused = unsafe {
            (
                UnwindTables::register(code.absolute_table(letters)),
                UnwindTables::register_in_place(code.table_in_place()),
            )
        };
        let expected = Some(UnwindTablesError::Augmentation(0));
        assert_eq!(refused.0.err(), expected, "{letters}");
        assert_eq!(refused.1.err(), expected, "{letters}");
        assert_eq!(known_entry(code.pc()), None, "{letters}");
    }
}

#[test]
fn a_relative_table_is_refused_if_it_is_owned() {
    let code = CompiledCode::new("zR");
    // SAFETY: the memory is readable, and is not written to.
    let table = unsafe { &*code.table_in_place() };
    // SAFETY: the table does not describe the code from elsewhere, and is refused for it.
    let refused = unsafe { UnwindTables::register(table.into()) };
    assert_eq!(refused.err(), Some(UnwindTablesError::Relative(0)));
}

#[test]
fn an_owned_table_is_passed_from_every_address() {
    let code = CompiledCode::new("zR");
    for shift in 1..=16 {
        allocator::misalign_byte_slices(shift);
        let table = code.absolute_table("zR");
        assert_eq!(table.as_ptr().addr() % 16, usize::from(shift) % 16);
        // SAFETY: the table describes the code, which outlives it.
        let tables = unsafe { UnwindTables::register(table) };
        let tables = tables.unwrap_or_else(|error| panic!("{shift}: {error}"));
        code.assert_passed();
        drop(tables);
    }
}

#[test]
fn an_owned_table_is_deregistered_before_its_memory_is_freed() {
    let code = CompiledCode::new("zR");
    // SAFETY: the table describes the code, which outlives it.
    let tables = unsafe { UnwindTables::register(code.absolute_table("zR")) };
    let tables = tables.expect("registered");
    let watched = Watched {
        address: known_entry(code.pc()).expect("registered"),
        pc: code.pc(),
        known_when_freed: None,
    };
    let watched = allocator::watch(watched, || drop(tables));
    assert_eq!(watched.known_when_freed, Some(false));
}

#[test]
fn the_memory_of_an_owned_table_is_given_back() {
    let code = CompiledCode::new("zR");
    for letters in ["zR", "zSR"] {
        let registered_and_dropped = || {
            let before = allocator::live_bytes();
            // SAFETY: the table describes the code, which outlives it.
            let tables = unsafe { UnwindTables::register(code.absolute_table(letters)) };
            assert!(tables.is_err() || allocator::live_bytes() != before);
            drop(tables);
            allocator::live_bytes() - before
        };
        // Beside it, other tests make the process's list of compiled code grow now and then.
        let nothing_stays = (0..100).any(|_| registered_and_dropped() == 0);
        assert!(nothing_stays, "{letters}");
    }
}
