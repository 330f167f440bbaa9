//! What observers are told, and that none of them can free anything live.

use super::*;
use crate::{Garbage, ObservedSlot, ObservedStack, Observer, SlotContent};
use alloc::string::String;

/// An observer made of two closures.
struct Telling<W, C>(W, C);

impl<W: FnMut(&ObservedStack<'_>), C: FnMut(&GcReport, &Garbage)> Observer for Telling<W, C> {
    fn walked(&mut self, stack: &ObservedStack<'_>) {
        (self.0)(stack);
    }

    fn collected(&mut self, report: &GcReport, garbage: &Garbage) {
        (self.1)(report, garbage);
    }
}

impl Host {
    fn collect_observed(&self, frames: Vec<Frame>, observer: &mut dyn Observer) -> GcReport {
        // SAFETY: the frames lie in `stack`, and the maps describe them, or verification is on.
        let (report, garbage) = unsafe {
            let walker = RecordedWalker::new(frames, WalkEnd::Complete);
            collect_observed(&self.registry, &self.table, &walker, observer)
        };
        drop(garbage);
        report
    }

    /// What an observer sees of the stack.
    fn walked<R>(&self, see: impl FnOnce(&ObservedStack<'_>) -> R) -> R {
        let (mut see, mut seen) = (Some(see), None);
        let walked = |stack: &ObservedStack<'_>| seen = see.take().map(|see| see(stack));
        self.collect_observed(self.frames(), &mut Telling(walked, |_: &_, _: &_| {}));
        seen.unwrap()
    }
}

fn letter(slot: &ObservedSlot<'_>) -> char {
    match slot.content() {
        SlotContent::Null => '0',
        SlotContent::Immediate => 'i',
        SlotContent::Object(object) => {
            assert_eq!(object.as_raw().addr(), slot.word());
            'o'
        }
        SlotContent::NotInTable => 'x',
        SlotContent::Misaligned => 'm',
    }
}

#[test]
fn an_observer_sees_what_the_collection_reads() {
    for verifies in [false, true] {
        let mut host = Host::new();
        host.table.set_verification(verifies);
        host.table.set_immediate_bits(1).unwrap();
        let (held, dead) = (host.object(), host.object());
        host.push_frame(&[held, 0, 0b11]);
        host.push_frame(&[]);
        host.push_frame(&[held]);
        let (mut seen, mut died, mut reported) = (Vec::new(), Vec::new(), None);
        let walked = |stack: &ObservedStack<'_>| {
            assert_eq!((stack.end(), stack.unrecorded()), (WalkEnd::Complete, 0));
            for (index, frame) in stack.frames().enumerate() {
                assert!(frame.is_wasm());
                assert_eq!(frame.module(), Some(TEXT..TEXT + 0x1000));
                assert_eq!(frame.function(), Some(TEXT..TEXT + 0x1000));
                assert_eq!(frame.live_words(), frame.slots().count());
                for (word, slot) in frame.slots().enumerate() {
                    let there = ptr::from_ref(&host.stack[index][word]).addr();
                    assert_eq!(
                        (slot.address(), slot.word()),
                        (there, host.stack[index][word])
                    );
                }
                seen.push(frame.slots().map(|slot| letter(&slot)).collect::<String>());
            }
        };
        let collected = |report: &GcReport, garbage: &Garbage| {
            assert_eq!(host.drops.get(), 0, "destructors run later");
            died.extend(
                garbage
                    .boxes()
                    .map(|(word, value)| (word, value.is::<CountsDrop>())),
            );
            assert_no_mark(&host);
            reported = Some(*report);
        };
        let report = host.collect_observed(host.frames(), &mut Telling(walked, collected));
        assert_eq!(seen, ["o0i", "", "o"]);
        assert_eq!(died, [(dead, true)]);
        assert_eq!(reported, Some(report));
        assert_eq!((report.roots, report.freed, host.drops.get()), (2, 1, 1));
    }
}

#[test]
fn an_observer_sees_broken_contracts() {
    for verifies in [false, true] {
        let mut host = Host::new();
        host.table.set_verification(verifies);
        let ours = host.object();
        let lost = VMExternRef::new(1);
        host.push_frame(&[lost.as_raw().addr(), ours, 0xdead_beef]);
        let letters = host.walked(|stack| {
            let slots = stack.frames().next().unwrap().slots();
            slots.map(|slot| letter(&slot)).collect::<String>()
        });
        assert_eq!(letters, "xom");
        assert_eq!(host.drops.get(), 0);
    }
}

#[test]
fn an_observer_learns_what_code_a_frame_runs() {
    let host = Host::new();
    let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
    module.function(0x40..0x80).unwrap();
    module
        .safepoint(0x50, StackMap::new(None, [0]).unwrap())
        .unwrap();
    host.registry.register(0x10_0000, module).unwrap();
    let frames = [
        0x10_0020, 0x10_0060, 0x10_0080, 0x10_0100, 0x10_0101, 0x10_0050,
    ];
    let frames = frames
        .map(|pc| Frame::of_unknown_code(pc, None, None))
        .to_vec();
    let mut seen = Vec::new();
    let walked = |stack: &ObservedStack<'_>| {
        for frame in stack.frames() {
            let slots = (frame.live_words(), frame.slots().count());
            seen.push((frame.module(), frame.function(), slots));
        }
    };
    let report = host.collect_observed(frames, &mut Telling(walked, |_: &_, _: &_| {}));
    let (module, function) = (Some(0x10_0000..0x10_0100), Some(0x10_0040..0x10_0080));
    assert_eq!(
        seen,
        [
            (module.clone(), None, (0, 0)),
            (module.clone(), function.clone(), (0, 0)),
            (module.clone(), function.clone(), (0, 0)),
            (module.clone(), None, (0, 0)),
            (None, None, (0, 0)),
            (module, function, (1, 0)),
        ]
    );
    assert_eq!(report.outcome, GcOutcome::KeptUnreadable { pc: 0x10_0050 });
}

#[test]
fn an_observer_sees_no_frame_behind_the_last_canary() {
    for verifies in [false, true] {
        let mut host = host_with_a_frame();
        host.table.set_verification(verifies);
        let held = host.object();
        host.push_frame(&[held]);
        let canary = StackCanary::new();
        // SAFETY: the guard goes before the canary.
        let _guard = unsafe { host.table.set_stack_canary(&canary) };
        let place = ptr::from_ref(&canary).addr();
        let mut frames = host.frames();
        frames.insert(1, host_frame(place).on_new_stack());
        frames.insert(2, host_frame(place + 1));
        let mut seen = 0;
        let walked = |stack: &ObservedStack<'_>| seen = stack.frames().len();
        // SAFETY: the frames lie in `stack`, and the maps describe them.
        let (report, garbage) = unsafe {
            let walker = RecordedWalker::new(frames, WalkEnd::Unproven);
            let mut observer = Telling(walked, |_: &_, _: &_| {});
            collect_observed(&host.registry, &host.table, &walker, &mut observer)
        };
        assert_eq!(
            (seen, report.frames),
            (report.frames, if verifies { 4 } else { 2 })
        );
        drop(garbage);
    }
}

/// Whatever it does before the marks, what frames hold stays, and no mark is left.
#[test]
fn observers_may_do_anything() {
    type Walked = fn(&Host, &ObservedStack<'_>);
    let deeds: [Walked; 6] = [
        |_, stack| {
            for slot in stack.frames().flat_map(|frame| frame.slots()) {
                if let SlotContent::Object(object) = slot.content() {
                    drop([(); 3].map(|()| object.clone()));
                }
            }
        },
        |host, _| {
            for _ in 0..1000 {
                host.object();
            }
        },
        |host, _| {
            let report = host.collect(WalkEnd::Complete);
            assert_eq!(report.outcome, GcOutcome::AlreadyCollecting);
            // SAFETY: it gives up nothing during a collection.
            assert!(unsafe { host.table.clear() }.is_empty());
        },
        |host, _| {
            host.table.set_verification(false);
            host.table.allow_foreign_roots(true);
        },
        |host, _| {
            let module = ModuleStackMaps::new(0x100, Matching::Exact);
            host.registry.register(0x10_0000, module).unwrap();
        },
        |_, _| panic!("not today"),
    ];
    for (number, deed) in deeds.into_iter().enumerate() {
        for verifies in [false, true] {
            let host = host_with_a_frame();
            host.table.set_verification(verifies);
            let walked = |stack: &ObservedStack<'_>| deed(&host, stack);
            let mut observer = Telling(walked, |_: &_, _: &_| {});
            let result = catch_unwind(AssertUnwindSafe(|| {
                host.collect_observed(host.frames(), &mut observer)
            }));
            assert_no_mark(&host);
            assert_eq!(result.is_err(), number == 5);
            if let Ok(report) = result {
                assert_eq!(report.outcome, GcOutcome::Swept, "deed {number}");
                assert_eq!(
                    (report.freed, host.drops.get()),
                    (report.freed, report.freed)
                );
            }
            let report = host.collect(WalkEnd::Complete);
            assert_eq!(
                (report.roots, report.entries_after),
                (1, 1),
                "deed {number}"
            );
        }
    }
}

#[test]
fn what_an_observer_keeps_lives_on() {
    let mut host = host_with_a_frame();
    let dropped = host.stack[0][0];
    let mut kept = Vec::new();
    let walked = |stack: &ObservedStack<'_>| {
        for slot in stack.frames().flat_map(|frame| frame.slots()) {
            if let SlotContent::Object(object) = slot.content() {
                kept.push(object.clone());
            }
        }
    };
    host.collect_observed(host.frames(), &mut Telling(walked, |_: &_, _: &_| {}));
    host.stack.clear();
    host.live.clear();
    assert_eq!(host.collect(WalkEnd::Complete).freed, 0);
    assert_eq!((host.drops.get(), kept[0].as_raw().addr()), (1, dropped));
    kept.clear();
    assert_eq!(host.drops.get(), 2);
}

#[test]
fn the_second_call_may_collect_and_panic() {
    let host = host_with_a_frame();
    let mut inner = None;
    let collected = |report: &GcReport, garbage: &Garbage| {
        assert_eq!((report.freed, garbage.len()), (1, 1));
        for _ in 0..3 {
            host.object();
        }
        inner = Some(host.collect(WalkEnd::Complete));
        assert_eq!((host.drops.get(), garbage.boxes().count()), (3, 1));
        panic!("not today");
    };
    let mut observer = Telling(|_: &ObservedStack<'_>| {}, collected);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        host.collect_observed(host.frames(), &mut observer)
    }));
    assert!(panicked.is_err());
    let inner = inner.unwrap();
    assert_eq!((inner.outcome, inner.freed), (GcOutcome::Swept, 3));
    assert_eq!(
        host.drops.get(),
        4,
        "the garbage went while the panic unwound"
    );
    assert_eq!(host.collect(WalkEnd::Complete).entries_after, 1);
}

#[test]
fn a_collection_that_does_nothing_is_not_observed() {
    let host = host_with_a_frame();
    let mut outer = 0;
    let walked = |_: &ObservedStack<'_>| {
        outer += 1;
        let mut calls = 0;
        let mut inner = Telling(
            |_: &ObservedStack<'_>| panic!("nothing is walked"),
            |_: &GcReport, _: &Garbage| calls += 1,
        );
        let report = host.collect_observed(host.frames(), &mut inner);
        assert_eq!((report.outcome, calls), (GcOutcome::AlreadyCollecting, 0));
    };
    host.collect_observed(host.frames(), &mut Telling(walked, |_: &_, _: &_| {}));
    assert_eq!(outer, 1);
}
