//! The decision table, row by row.

use super::*;

/// Collects under `canaries`, set from the oldest to the youngest, after frames that lie around
/// those of them that `passed` has: each between two host frames.
fn collect_under(host: &Host, canaries: usize, passed: &[usize], end: WalkEnd) -> GcReport {
    let chain: Vec<_> = (0..canaries).map(|_| StackCanary::new()).collect();
    // SAFETY: the guards go before the canaries.
    let set = |canary| unsafe { host.table.set_stack_canary(canary) };
    let _guards: Vec<_> = chain.iter().rev().map(set).collect();
    let mut frames = host.frames();
    for &index in passed {
        let canary = ptr::from_ref(&chain[index]).addr();
        frames.extend([host_frame(canary).on_new_stack(), host_frame(canary + 1)]);
    }
    host.collect_frames(frames, end)
}

#[test]
fn a_complete_walk_sweeps_with_and_without_canary() {
    for canaries in [0, 1] {
        let host = host_with_a_frame();
        let report = collect_under(&host, canaries, &[], WalkEnd::Complete);
        assert_eq!(report.outcome, GcOutcome::Swept);
        assert_eq!((report.roots, report.freed, host.drops.get()), (1, 1, 1));
    }
}

#[test]
fn an_incomplete_walk_sweeps_if_it_passed_every_canary() {
    for end in [WalkEnd::Unproven, STOPPED] {
        for (canaries, passed) in [(1, &[0][..]), (3, &[0, 1, 2])] {
            let host = host_with_a_frame();
            let report = collect_under(&host, canaries, passed, end);
            assert_eq!(report.outcome, GcOutcome::Swept);
            assert_eq!((report.roots, report.freed), (1, 1));
        }
    }
}

/// Defect of the original: frames hidden by missing unwind tables were one log line.
/// Defect of the first version: only the outermost canary counted.
#[test]
fn an_incomplete_walk_that_misses_a_canary_keeps_everything() {
    for end in [WalkEnd::Unproven, STOPPED] {
        for (canaries, passed) in [(1, &[][..]), (2, &[0]), (2, &[1]), (3, &[0, 2])] {
            let host = host_with_a_frame();
            let report = collect_under(&host, canaries, passed, end);
            assert_kept(&host, &report, GcOutcome::KeptUncovered);
            assert!(
                report
                    .to_string()
                    .contains("did not pass every stack canary")
            );
        }
    }
}

/// Defect: a walk that stopped before any Wasm frame counted as "no Wasm", and freed.
#[test]
fn a_walk_that_stopped_without_a_canary_keeps_everything() {
    for had_canary in [false, true] {
        let host = Host::new();
        host.object();
        if had_canary {
            host.table.with_stack_canary(|| ());
        }
        let report = host.collect_frames(vec![host_frame(0x20)], STOPPED);
        assert_kept(&host, &report, GcOutcome::KeptStopped);
        assert!(report.to_string().contains("this test wants it so"));
    }
}

/// Defect: no canary and no unwind tables, the commonest mistake, freed in silence.
#[test]
fn without_any_proof_everything_is_kept() {
    let host = Host::new();
    host.object();
    let report = host.collect_frames(vec![host_frame(0x20)], WalkEnd::Unproven);
    assert_kept(&host, &report, GcOutcome::KeptUnproven);
    for hint in ["with_stack_canary", "clear"] {
        assert!(report.to_string().contains(hint), "it says what to do");
    }
    // SAFETY: there is no Wasm.
    assert_eq!(unsafe { host.table.clear() }.len(), 1);
}

#[test]
fn between_entries_an_unproven_walk_without_wasm_sweeps() {
    let host = Host::new();
    host.object();
    host.table.with_stack_canary(|| ());
    let report = host.collect_frames(vec![host_frame(0x20)], WalkEnd::Unproven);
    assert_eq!(report.outcome, GcOutcome::Swept);
    assert_eq!((report.frames, report.wasm_frames, report.freed), (1, 0, 1));
}

#[test]
fn without_canary_but_with_wasm_an_unproven_walk_keeps_everything() {
    for had_canary in [false, true] {
        let mut host = Host::new();
        host.object();
        host.push_frame(&[]);
        if had_canary {
            host.table.with_stack_canary(|| ());
        }
        let report = host.collect(WalkEnd::Unproven);
        let broken = GcOutcome::KeptBrokenPromise;
        // Who never set a canary has broken no promise, and has to be told of canaries.
        let outcome = if had_canary {
            broken
        } else {
            GcOutcome::KeptUnproven
        };
        assert_kept(&host, &report, outcome);
        assert_eq!(report.wasm_frames, 1);
    }
}

/// Defect: a function that was not registered, or at a wrong base, or unregistered while it runs,
/// counted as one of the host, and what it held was freed.
#[test]
fn a_compiled_frame_in_no_module_keeps_everything() {
    let outside = TEXT + 0x2000;
    for end in [WalkEnd::Complete, WalkEnd::Unproven] {
        let mut host = host_with_a_frame();
        let mut frames = host.frames();
        host.live.clear();
        frames[0].pc = outside;
        frames[0].compiled = true;
        let report = host.collect_frames(frames, end);
        assert_kept(&host, &report, GcOutcome::KeptUnregistered { pc: outside });
        assert!(report.to_string().contains("0x3000"), "{report}");
    }
    let host = host_with_a_frame();
    let mut frames = host.frames();
    frames[0].compiled = true;
    frames.push(Frame::of_unknown_code(outside, frames[0].fp, None));
    assert!(host.collect_frames(frames, WalkEnd::Complete).swept());
}

/// Defect: maps that lay at wrong offsets went unnoticed, and what frames held was freed.
#[test]
fn an_undeclared_call_keeps_everything_where_matching_is_strict() {
    let collect_at = |matching, shift| {
        let mut host = Host::with_code_that_matches(matching);
        let held = host.object();
        host.push_frame(&[held]);
        let mut frames = host.frames();
        frames[0].pc += shift;
        let report = host.collect_frames(frames, WalkEnd::Complete);
        assert_eq!(host.drops.get(), usize::from(report.swept()) - report.roots);
        report.outcome
    };
    let pc = pc_with(1) + 1;
    assert_eq!(collect_at(Matching::Strict, 0), GcOutcome::Swept);
    assert_eq!(
        collect_at(Matching::Strict, 1),
        GcOutcome::KeptUndeclared { pc }
    );
    assert_eq!(collect_at(Matching::Exact, 1), GcOutcome::Swept);
}

/// Defect: null words and stale ones below a frame were read in place of its own, and what it held
/// was freed.
#[test]
fn a_frame_that_is_smaller_than_its_stack_map_keeps_everything() {
    for verifying in [false, true] {
        let mut host = Host::new();
        host.push_frame(&[0]);
        let held = host.object();
        host.stack[0][2] = held;
        host.table.set_verification(verifying);
        let frame = host.frames()[0];
        let sp = frame.sp.map(|sp| sp + 2 * WORD);
        let frame = Frame::of_compiled_code(frame.pc, sp, frame.fp);
        let report = host.collect_frames(vec![frame], WalkEnd::Complete);
        assert_kept(&host, &report, GcOutcome::KeptUnreadable { pc: frame.pc });
    }
}

#[test]
fn a_frame_without_usable_address_keeps_everything() {
    for fp in [None, Some(8 * WORD + 1), Some(WORD)] {
        let host = host_with_a_frame();
        let pc = host.frames()[0].pc;
        let report = host.collect_frames(
            vec![Frame::of_unknown_code(pc, None, fp)],
            WalkEnd::Complete,
        );
        assert_kept(&host, &report, GcOutcome::KeptUnreadable { pc });
    }
}

/// Wasm that was entered without a canary is older than every canary.
#[test]
fn wasm_outside_of_every_canary_is_seen_when_verifying() {
    let mut host = Host::new();
    let held = host.object();
    host.push_frame(&[held]);
    host.object();
    let canary = StackCanary::new();
    let at = ptr::from_ref(&canary).addr();
    // SAFETY: the guard goes before the canary.
    let _guard = unsafe { host.table.set_stack_canary(&canary) };
    let mut frames = vec![host_frame(at), host_frame(at + 1)];
    let wasm = host.frames()[0];
    frames.push(wasm.on_new_stack());
    host.table.set_verification(true);
    let report = host.collect_frames(frames.clone(), WalkEnd::Unproven);
    assert_kept(&host, &report, GcOutcome::KeptBrokenPromise);
    host.table.allow_foreign_roots(true);
    assert_eq!(host.collect_frames(frames, WalkEnd::Unproven).freed, 1);
}

/// A walk ends at the last canary: what lies beyond costs nothing.
#[test]
fn a_walk_ends_when_every_canary_was_passed() {
    let host = host_with_a_frame();
    host.table.set_verification(false);
    let canaries = [StackCanary::new(), StackCanary::new()];
    let at = canaries
        .each_ref()
        .map(|canary| ptr::from_ref(canary).addr());
    // SAFETY: the guards go before the canaries.
    let _guards = unsafe { [1, 0].map(|index| host.table.set_stack_canary(&canaries[index])) };
    let mut frames = vec![host_frame(at[0]), host_frame(at[0] + 1)];
    frames.extend((1..1000).map(|index| host_frame(at[1] + index)));
    let report = host.collect_frames(frames, WalkEnd::Unproven);
    assert_eq!((report.outcome, report.frames), (GcOutcome::Swept, 2));
    assert_eq!(report.walk_end, Some(WalkEnd::INTERRUPTED));
}

/// Defect: the frames that the first walker shows after those that both do passed every canary.
#[test]
fn walkers_that_disagree_sweep_nothing_although_one_passes_every_canary() {
    for verifies in [true, false] {
        let mut host = host_with_a_frame();
        let lost = host.object();
        host.push_frame(&[lost]);
        host.table.set_verification(verifies);
        let canary = StackCanary::new();
        let at = ptr::from_ref(&canary).addr();
        // SAFETY: the guard goes before the canary.
        let _guard = unsafe { host.table.set_stack_canary(&canary) };
        let whole = host.frames();
        let mut blind = vec![whole[0], host_frame(at).on_new_stack(), host_frame(at + 1)];
        // SAFETY: the frames are true, though not all are there.
        let [first, second] = [&mut blind, &mut whole.clone()].map(|frames| unsafe {
            RecordedWalker::new(core::mem::take(frames), WalkEnd::Unproven)
        });
        let both = ComparingWalker::new(&host.registry, first, second);
        // SAFETY: the maps describe the frames.
        let report = unsafe { gc(&host.registry, &host.table, &both) };
        assert_kept(&host, &report, GcOutcome::KeptUncovered);
        assert!(report.to_string().contains("two stack walkers disagree"));
    }
}

/// Defect: the frame passed for the host's if only the second walker could tell.
#[test]
fn an_unregistered_frame_that_one_of_two_walkers_calls_compiled_keeps_everything() {
    let host = host_with_a_frame();
    let pc = 0x10;
    let sp = host.frames()[0].fp;
    let knows = Frame::of_compiled_code(pc, sp, None);
    let unsure = Frame::of_unknown_code(pc, sp, None);
    for unregistered in [[unsure, knows], [knows, unsure]] {
        // SAFETY: the frames are true.
        let [first, second] = unregistered.map(|last| unsafe {
            RecordedWalker::new([host.frames()[0], last].into(), WalkEnd::Complete)
        });
        let both = ComparingWalker::new(&host.registry, first, second);
        // SAFETY: the map describes the frame that is registered.
        let report = unsafe { gc(&host.registry, &host.table, &both) };
        assert_kept(&host, &report, GcOutcome::KeptUnregistered { pc });
    }
}

/// A walker that proves its end, such as one over activation records.
struct Proving(RecordedWalker);

// SAFETY: as for `RecordedWalker`.
unsafe impl StackWalker for Proving {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        self.0.walk(visit)
    }

    fn proves_end(&self) -> bool {
        true
    }
}

/// A canary proves nothing that a proving walker does not: its walk goes to its own end.
#[test]
fn a_walk_that_proves_its_end_passes_canaries_by() {
    for (end, outcome) in [
        (WalkEnd::Complete, GcOutcome::Swept),
        (STOPPED, GcOutcome::KeptUncovered),
    ] {
        let host = host_with_a_frame();
        let canary = StackCanary::new();
        let at = ptr::from_ref(&canary).addr();
        // SAFETY: the guard goes before the canary.
        let _guard = unsafe { host.table.set_stack_canary(&canary) };
        let mut frames = vec![host_frame(at), host_frame(at + 1)];
        frames.extend(host.frames().iter().map(|frame| frame.on_new_stack()));
        // SAFETY: the frames are true, as those of a host that keeps the contract.
        let report = unsafe {
            let walker = Proving(RecordedWalker::new(frames, end));
            gc(&host.registry, &host.table, &walker)
        };
        assert_eq!((report.outcome, report.roots), (outcome, 1), "{end}");
    }
}

#[test]
fn kept_references_carry_no_mark() {
    let mut host = Host::new();
    let held = host.object();
    host.push_frame(&[held]);
    host.collect(STOPPED);
    let mut counts = Vec::new();
    host.table
        .for_each(|entry| counts.push((entry.strong_count(), entry.data().ref_count().unmark())));
    assert_eq!(counts, [(1, false)]);
}
