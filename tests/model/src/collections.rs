//! What a collection of a table has to decide and do, from the books alone.

use crate::modules::{Code, Module, Safepoint};
use crate::objects::Id;
use crate::stacks::WORD;
use crate::walks::Walk;
use crate::world::World;
use core::ops::ControlFlow;
use vmexternref_core::{Frame, GcOutcome, GcReport, WalkEnd};

/// Lost roots that a collection keeps; further ones it leaks.
const KEPT: usize = 16;

/// What a collection has to do.
#[derive(Debug)]
pub(crate) struct Expected {
    outcome: GcOutcome,
    walk_end: WalkEnd,
    frames: usize,
    wasm_frames: usize,
    words: usize,
    roots: usize,
    contract_breaks: usize,
    foreign_roots: usize,
    /// The entries afterwards, in any order.
    pub(crate) entries: Vec<Id>,
    /// Objects that get a reference which nobody gives up.
    pub(crate) leaked: Vec<Id>,
}

/// What a walk sees.
#[derive(Debug)]
struct Seen {
    end: WalkEnd,
    frames: usize,
    wasm_frames: usize,
    words: usize,
    roots: usize,
    /// The objects among the roots, as often as they were met.
    objects: Vec<Id>,
    /// Roots that are no objects: misaligned words.
    misaligned: usize,
    /// Roots of which the books do not know, in a table that verifies.
    wild: usize,
    covered: bool,
    wasm_outside: bool,
    kept: Option<GcOutcome>,
}

/// The canaries of one table, and those that a walk has passed.
struct Canaries {
    left: Vec<usize>,
    any: bool,
    /// Where the frame before was, on the same stack.
    younger: Option<usize>,
}

impl Canaries {
    /// Passes those that lie between the frame before and this one.
    fn pass(&mut self, frame: Frame) {
        if frame.new_stack {
            self.younger = None;
        }
        let place = frame.sp.or(frame.fp);
        if let (Some(younger), Some(place)) = (self.younger, place) {
            self.left
                .retain(|canary| !(younger..place).contains(canary));
        }
        self.younger = place;
    }

    fn are_passed(&self) -> bool {
        self.any && self.left.is_empty()
    }
}

impl World {
    /// The addresses of the canaries that the calls into a table's context have.
    fn canaries(&self, table: usize) -> Vec<usize> {
        let activations = self.stacks.iter().flat_map(|stack| &stack.activations);
        activations
            .filter(|activation| activation.table == table)
            .filter_map(|activation| activation.canary())
            .collect()
    }

    /// What a return address is, as far as modules are registered.
    fn code_at(&self, pc: usize) -> Code<'_> {
        let registered = |module: &&Module| !module.registrations.is_empty();
        let modules = self.modules.iter().flatten().filter(registered);
        modules
            .map(|module| module.at(pc))
            .find(|code| !matches!(code, Code::Outside))
            .unwrap_or(Code::Outside)
    }

    fn see(&self, table: usize, walk: &Walk) -> Seen {
        let settings = &self.tables[table];
        let left = if walk.proves_end {
            Vec::new()
        } else {
            self.canaries(table)
        };
        let mut canaries = Canaries {
            any: !left.is_empty(),
            left,
            younger: None,
        };
        let mut seen = Seen {
            end: walk.end,
            frames: 0,
            wasm_frames: 0,
            words: 0,
            roots: 0,
            objects: Vec::new(),
            misaligned: 0,
            wild: 0,
            covered: false,
            wasm_outside: false,
            kept: None,
        };
        for &frame in &walk.frames {
            canaries.pass(frame);
            seen.covered = canaries.are_passed();
            if seen.covered && !settings.verifies {
                seen.end = WalkEnd::INTERRUPTED;
                break;
            }
            self.see_frame(table, frame, &mut seen);
        }
        seen
    }

    fn see_frame(&self, table: usize, frame: Frame, seen: &mut Seen) {
        seen.frames += 1;
        let pc = frame.pc;
        match self.code_at(pc) {
            Code::Outside if frame.compiled => seen.kept = Some(GcOutcome::KeptUnregistered { pc }),
            Code::Outside | Code::Other => {}
            Code::Undeclared => {
                seen.wasm_frames += 1;
                seen.wasm_outside |= seen.covered;
                seen.kept = Some(GcOutcome::KeptUndeclared { pc });
            }
            Code::Wasm(safepoint) => {
                seen.wasm_frames += 1;
                seen.wasm_outside |= seen.covered;
                if let Some(safepoint) = safepoint.filter(|safepoint| !safepoint.live.is_empty()) {
                    seen.words += safepoint.live.len();
                    match first_word(frame, safepoint) {
                        Some(first) => self.see_words(table, first, safepoint, seen),
                        None => seen.kept = Some(GcOutcome::KeptUnreadable { pc }),
                    }
                }
            }
        }
    }

    fn see_words(&self, table: usize, first: usize, safepoint: &Safepoint, seen: &mut Seen) {
        let immediate_bits = self.tables[table].immediate_bits;
        for &slot in &safepoint.live {
            let address = first + slot as usize * WORD;
            // SAFETY: the word lies in a frame of one of the stacks.
            let word = unsafe { core::ptr::with_exposed_provenance::<usize>(address).read() };
            if word == 0 || word & immediate_bits != 0 {
                continue;
            }
            seen.roots += 1;
            match self.books.at(word) {
                Some(id) => seen.objects.push(id),
                None if word % WORD != 0 => seen.misaligned += 1,
                None => seen.wild += 1,
            }
        }
    }

    /// What a collection of `table` with this walk has to do.
    pub(crate) fn expect(&self, table: usize, walk: &Walk) -> Expected {
        let seen = self.see(table, walk);
        let settings = &self.tables[table];
        let entries = &self.books.entries[table];
        let is_missing = |id: &&Id| !entries.contains(id);
        // In the order in which they are met.
        let mut missing: Vec<Id> = Vec::new();
        for &id in seen.objects.iter().filter(is_missing) {
            if !missing.contains(&id) {
                missing.push(id);
            }
        }
        let wrong = seen.misaligned
            + seen.wild
            + if settings.verifies {
                seen.objects.iter().filter(is_missing).count()
            } else {
                missing.len()
            };
        let outcome = self.decide(table, &seen, missing.is_empty() && seen.wild == 0);
        let mut expected = Expected {
            outcome,
            walk_end: seen.end,
            frames: seen.frames,
            wasm_frames: seen.wasm_frames,
            words: seen.words,
            roots: seen.roots,
            contract_breaks: wrong,
            foreign_roots: 0,
            entries: entries.clone(),
            leaked: Vec::new(),
        };
        if settings.foreign_allowed && outcome != GcOutcome::KeptContractBreak {
            expected.foreign_roots = core::mem::take(&mut expected.contract_breaks);
        }
        if outcome == GcOutcome::Swept {
            expected.entries.sort_unstable();
            expected.entries.dedup();
            expected.entries.retain(|id| seen.objects.contains(id));
        }
        if !settings.verifies && !settings.foreign_allowed {
            for (index, id) in missing.into_iter().enumerate() {
                if index < KEPT && expected.entries.len() < settings.maximum {
                    expected.entries.push(id);
                } else {
                    expected.leaked.push(id);
                }
            }
        }
        expected
    }

    /// The table in the documentation of [`GcOutcome`].
    fn decide(&self, table: usize, seen: &Seen, all_are_entries: bool) -> GcOutcome {
        let settings = &self.tables[table];
        let foreign = settings.foreign_allowed;
        let has_canary = !self.canaries(table).is_empty();
        // Without verification the sweep finds what is missing, if there is a sweep.
        let broken = !all_are_entries && !foreign;
        if seen.misaligned != 0 || broken && settings.verifies {
            return GcOutcome::KeptContractBreak;
        }
        if let Some(kept) = seen.kept {
            return kept;
        }
        let decision = match seen.end {
            WalkEnd::Complete => GcOutcome::Swept,
            _ if seen.covered && seen.wasm_outside && !foreign => GcOutcome::KeptBrokenPromise,
            _ if seen.covered => GcOutcome::Swept,
            _ if has_canary => GcOutcome::KeptUncovered,
            WalkEnd::Stopped { .. } => GcOutcome::KeptStopped,
            WalkEnd::Unproven if !settings.had_canary => GcOutcome::KeptUnproven,
            WalkEnd::Unproven if seen.wasm_frames != 0 => GcOutcome::KeptBrokenPromise,
            WalkEnd::Unproven => GcOutcome::Swept,
        };
        if decision == GcOutcome::Swept && broken {
            return GcOutcome::KeptContractBreak;
        }
        decision
    }

    /// The collection did what it had to. `freed` boxes died; before, there were `before` entries.
    pub(crate) fn check_report(
        &mut self,
        report: &GcReport,
        expected: &Expected,
        before: usize,
        freed: usize,
    ) {
        assert_eq!(report.outcome, expected.outcome, "{report}\n{expected:#x?}");
        assert_eq!(report.walk_end, Some(expected.walk_end), "{report}");
        let counted = [
            report.frames,
            report.wasm_frames,
            report.words,
            report.roots,
        ];
        let has = [
            expected.frames,
            expected.wasm_frames,
            expected.words,
            expected.roots,
        ];
        assert_eq!(counted, has, "{report}\n{expected:#x?}");
        let faults = (report.contract_breaks, report.foreign_roots);
        let has = (expected.contract_breaks, expected.foreign_roots);
        assert_eq!(faults, has, "{report}\n{expected:#x?}");
        let entries = (report.entries_before, report.entries_after);
        assert_eq!(entries, (before, expected.entries.len()), "{report}");
        assert_eq!(report.freed, freed, "{report}");
        if !report.swept() {
            assert_eq!(freed, 0, "what is kept is kept");
        }
        self.tally.freed += freed as u64;
        self.tally.count(match report.outcome {
            GcOutcome::Swept => "swept",
            GcOutcome::KeptContractBreak => "kept: a contract is broken",
            GcOutcome::KeptUnregistered { .. } => "kept: code in no module",
            GcOutcome::KeptUndeclared { .. } => "kept: a call that was not declared",
            GcOutcome::KeptUnreadable { .. } => "kept: an unreadable frame",
            GcOutcome::KeptUncovered => "kept: a canary was not passed",
            GcOutcome::KeptStopped => "kept: the walk stopped",
            GcOutcome::KeptBrokenPromise => "kept: Wasm outside of every canary",
            GcOutcome::KeptUnproven => "kept: nothing is proven",
            _ => "another outcome",
        });
        if report.foreign_roots != 0 && report.swept() {
            self.tally.count("swept beside foreign roots");
        }
    }

    /// If the decision is to sweep, then everything stays that a frame of the table holds.
    ///
    /// This asks the frames themselves, not what was shown of them: it tests the rules by which
    /// collections decide.
    pub(crate) fn check_soundness(&self, table: usize, expected: &Expected) {
        if expected.outcome != GcOutcome::Swept {
            return;
        }
        for stack in &self.stacks {
            let activations = stack.activations.iter();
            for activation in activations.filter(|activation| activation.table == table) {
                for id in activation.frames.iter().flat_map(|frame| frame.objects()) {
                    let had_entry = self.books.entries[table].contains(&id);
                    assert!(
                        !had_entry || expected.entries.contains(&id),
                        "a frame holds object {id}, and the rules let it go: {expected:#x?}"
                    );
                }
            }
        }
    }
}

/// The address of word 0 of a frame, if no live word is below the frame.
fn first_word(frame: Frame, safepoint: &Safepoint) -> Option<usize> {
    match (frame.fp, safepoint.frame_words) {
        (Some(fp), Some(words)) => {
            let first = fp - words as usize * WORD;
            let mut slots = safepoint
                .live
                .iter()
                .map(|&slot| first + slot as usize * WORD);
            slots.all(|slot| frame.sp <= Some(slot)).then_some(first)
        }
        _ => frame.sp,
    }
}

/// Walks once, and says what there was: for walkers that are not made of recorded frames.
pub(crate) fn frames_of(walker: &dyn vmexternref_core::StackWalker) -> (Vec<Frame>, WalkEnd) {
    let mut frames = Vec::new();
    let end = walker.walk(&mut |frame| {
        frames.push(frame);
        ControlFlow::Continue(())
    });
    (frames, end)
}
