//! Watches a session, and keeps what its page shows.

use super::ends::Ends;
use super::page::{Page, Totals};
use super::recording::{
    CycleRow, Death, Detail, FrameRow, GcRow, Held, Holds, Made, Object, Row, SlotRow,
};
use crate::session::code_map::{CodeMap, Place};
use crate::session::engine_kind::EngineKind;
use crate::session::walker_kind::WalkerKind;
use core::any::Any;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ops::ControlFlow;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;
use vmexternref_core::{
    CycleOutcome, CycleReport, Garbage, GcOutcome, GcReport, ObservedFrame, ObservedSlot,
    ObservedStack, Observer, SlotContent,
};
use vmexternref_engine_host::{CensusObserver, CycleEvent, HostObject};
use vmexternref_engine_runtime::WeakStore;

/// Collections in the time line of a page.
const ROWS: usize = 6000;
/// Frames, slots and dead objects in the details of a page.
const DETAILS: usize = 24_000;
/// Collections that kept everything whose details a page has in any case.
const KEPT_DETAILS: usize = 20;
/// Frames of one collection: the youngest, and the oldest.
const FRAMES: (usize, usize) = (100, 20);
/// Slots of one frame.
const SLOTS: usize = 24;
/// Dead objects of one collection.
const DIED: usize = 200;

/// Watches a session; clones share what they see.
#[derive(Clone)]
pub(crate) struct Recorder {
    state: Rc<RefCell<State>>,
}

struct State {
    store: WeakStore,
    code_map: CodeMap,
    /// Collections so far.
    count: usize,
    rows: Ends<Row>,
    details: Ends<Detail>,
    kept: Vec<Detail>,
    /// The one with the most references so far, and how many these are.
    largest: (usize, Option<Detail>),
    functions: Functions,
    /// The objects that are alive.
    objects: HashMap<u64, Rc<Object>>,
    made: u64,
    freed: u64,
    broken: usize,
    /// The collection under way, and when it began.
    walked: Option<(Detail, Instant)>,
    cycles: Option<(Detail, Instant)>,
    ending: bool,
}

/// Labels of functions, each once.
#[derive(Default)]
struct Functions {
    labels: Vec<String>,
    indices: HashMap<String, usize>,
}

impl Functions {
    fn index(&mut self, place: &Place) -> usize {
        let label = place
            .name
            .clone()
            .unwrap_or_else(|| format!("function {}", place.index));
        *self.indices.entry(label.clone()).or_insert_with(|| {
            self.labels.push(label);
            self.labels.len() - 1
        })
    }
}

impl Recorder {
    /// Watches a session whose guests run in `store`.
    pub(crate) fn new(store: WeakStore, code_map: &CodeMap) -> Self {
        let state = State {
            store,
            code_map: code_map.clone(),
            count: 0,
            rows: Ends::new(ROWS),
            details: Ends::new(DETAILS),
            kept: Vec::new(),
            largest: (0, None),
            functions: Functions::default(),
            objects: HashMap::new(),
            made: 0,
            freed: 0,
            broken: 0,
            walked: None,
            cycles: None,
            ending: false,
        };
        Self {
            state: Rc::new(RefCell::new(state)),
        }
    }

    /// Hears of a cycle collection.
    pub(crate) fn cycles(&self, event: CycleEvent<'_>) {
        let mut state = self.state.borrow_mut();
        match event {
            CycleEvent::Begins => state.cycles = Some((Detail::default(), Instant::now())),
            CycleEvent::Ended(report) => state.end_cycles(report),
        }
    }

    /// Takes the end of each object from now on for that of its store.
    pub(crate) fn end_of_run(&self) {
        self.state.borrow_mut().ending = true;
    }

    /// What was seen so far.
    pub(crate) fn page(&self, program: &str, engine: EngineKind, walker: WalkerKind) -> Page {
        let state = self.state.borrow();
        let kept = state.kept.iter().chain(&state.largest.1);
        let mut details: Vec<_> = kept.chain(state.details.iter()).collect();
        details.sort_by_key(|detail| detail.n);
        details.dedup_by_key(|detail| detail.n);
        let objects = details.iter().flat_map(|detail| detail.objects());
        let objects = objects.map(|object| (object.number, Rc::clone(object)));
        Page {
            program: program.to_owned(),
            engine: engine.to_string(),
            walker: walker.to_string(),
            totals: Totals {
                collections: state.count,
                made: state.made,
                freed: state.freed,
                broken: state.broken,
            },
            rows: state.rows.iter().cloned().collect(),
            rows_left_out: state.rows.left_out(),
            objects: objects.collect(),
            details_left_out: state.count - details.len(),
            details: details.into_iter().cloned().collect(),
            functions: state.functions.labels.clone(),
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl State {
    fn end_cycles(&mut self, report: &CycleReport) {
        let Some((mut detail, began)) = self.cycles.take() else {
            return;
        };
        // Most guests have no cells, and then the last collection has nothing to say.
        if report.boxes == 0 {
            return;
        }
        let row = Row::Cycles(CycleRow {
            n: self.count + 1,
            swept: report.outcome == CycleOutcome::Collected,
            outcome: report.outcome.to_string(),
            boxes: report.boxes,
            references: report.references,
            unlinked: report.unlinked,
            freed: report.freed,
            survivors: report.survivors,
            alive: self.objects.len(),
            pause: nanoseconds(began),
        });
        detail.died_left_out = report.freed.saturating_sub(detail.died.len());
        self.freed += report.freed as u64;
        self.add(row, detail, report.survivors != 0);
    }

    fn add(&mut self, row: Row, mut detail: Detail, is_remarkable: bool) {
        self.count += 1;
        detail.n = self.count;
        self.rows.push(1, row);
        if is_remarkable && self.kept.len() < KEPT_DETAILS {
            self.kept.push(detail);
        } else {
            self.details.push(detail.weight(), detail);
        }
    }

    fn held(&self, value: &dyn Any) -> Held {
        let object = value.downcast_ref::<HostObject>();
        match object.and_then(|object| self.objects.get(&object.number())) {
            Some(object) => Held::Object(Rc::clone(object)),
            None => Held::Stranger,
        }
    }

    fn frame(&mut self, frame: &ObservedFrame<'_>) -> FrameRow {
        let place = self.code_map.find(frame.frame().pc);
        FrameRow {
            function: place.as_ref().map(|place| self.functions.index(place)),
            trampoline: place.is_none() && frame.module().is_some(),
            offset: place.and_then(|place| place.offset),
            pc: frame.frame().pc,
            sp: frame.frame().sp,
            fp: frame.frame().fp,
            new_stack: frame.frame().new_stack,
            slots: frame
                .slots()
                .take(SLOTS)
                .map(|slot| self.slot(&slot))
                .collect(),
            slots_left_out: frame.live_words().saturating_sub(SLOTS),
        }
    }

    fn slot(&self, slot: &ObservedSlot<'_>) -> SlotRow {
        let (holds, object) = match slot.content() {
            SlotContent::Null => (Holds::Null, None),
            SlotContent::Object(object) => (Holds::Object, Some(self.held(&**object))),
            SlotContent::NotInTable => (Holds::Unknown, None),
            SlotContent::Misaligned => (Holds::Misaligned, None),
            _ => (Holds::Immediate, None),
        };
        SlotRow {
            at: slot.address(),
            word: slot.word(),
            holds,
            object,
        }
    }

    /// Where the guest is now.
    fn here(&mut self) -> Option<Made> {
        let (store, code_map) = (self.store.upgrade()?, &self.code_map);
        let mut here = None;
        store.walk(&mut |frame| {
            here = code_map.find(frame.pc);
            match here {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        });
        here.map(|place| Made {
            function: self.functions.index(&place),
            offset: place.offset,
        })
    }
}

impl Observer for Recorder {
    fn walked(&mut self, stack: &ObservedStack<'_>) {
        let state = &mut *self.state.borrow_mut();
        let (youngest, oldest) = FRAMES;
        let len = stack.frames().len();
        let rest = len.saturating_sub(oldest).max(youngest);
        let shown = stack.frames().enumerate();
        let shown = shown.filter(|&(index, _)| index < youngest || index >= rest);
        let frames: Vec<_> = shown.map(|(_, frame)| state.frame(&frame)).collect();
        let detail = Detail {
            youngest: youngest.min(len),
            frames_left_out: len - frames.len() + stack.unrecorded(),
            frames,
            ..Detail::default()
        };
        state.walked = Some((detail, Instant::now()));
    }

    fn collected(&mut self, report: &GcReport, garbage: &Garbage) {
        let now = Instant::now();
        let state = &mut *self.state.borrow_mut();
        let Some((mut detail, began)) = state.walked.take() else {
            return;
        };
        let (n, mut dead) = (state.count + 1, 0);
        for (_, value) in garbage.boxes() {
            let held = state.held(value);
            if let Held::Object(object) = &held {
                object.died.set(Death::Gc(n));
                dead += 1;
            }
            if detail.died.len() < DIED {
                detail.died.push(held);
            }
        }
        detail.died_left_out = garbage.len() - detail.died.len();
        detail.n = n;
        if report.roots > state.largest.0 {
            state.largest = (report.roots, Some(detail.clone()));
        }
        let row = Row::Gc(GcRow {
            n,
            swept: report.swept(),
            outcome: report.outcome.to_string(),
            hint: hint(report.outcome),
            end: report.walk_end.map_or(String::new(), |end| end.to_string()),
            frames: report.frames,
            wasm: report.wasm_frames,
            words: report.words,
            roots: report.roots,
            before: report.entries_before,
            after: report.entries_after,
            freed: report.freed,
            breaks: report.contract_breaks,
            foreign: report.foreign_roots,
            alive: state.objects.len() - dead,
            pause: u64::try_from((now - began).as_nanos()).unwrap_or(u64::MAX),
        });
        state.freed += report.freed as u64;
        state.broken += usize::from(report.contract_breaks != 0);
        state.add(row, detail, !report.swept());
    }
}

impl CensusObserver for Recorder {
    fn made(&self, object: &HostObject) {
        let state = &mut *self.state.borrow_mut();
        state.made += 1;
        let number = object.number();
        let object = Object {
            number,
            text: object.kind().to_string(),
            made: state.here(),
            died: Cell::default(),
        };
        state.objects.insert(number, Rc::new(object));
    }

    fn dropped(&self, object: &HostObject) {
        let state = &mut *self.state.borrow_mut();
        let Some(object) = state.objects.remove(&object.number()) else {
            return;
        };
        if object.died.get() != Death::Alive {
            return;
        }
        object.died.set(match &mut state.cycles {
            Some((detail, _)) => {
                if detail.died.len() < DIED {
                    detail.died.push(Held::Object(Rc::clone(&object)));
                }
                Death::Cycles(state.count + 1)
            }
            None if state.ending => Death::End,
            None => Death::Count,
        });
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What the reader of a page can do about an outcome.
fn hint(outcome: GcOutcome) -> Option<&'static str> {
    Some(match outcome {
        GcOutcome::KeptContractBreak => {
            "The red slots show it. A stack map is wrong, or a reference came into the frame without \
             being inserted into the activations table, or it is another store's."
        }
        GcOutcome::KeptUnregistered { .. } => {
            "Register the module at the address where its code is, for as long as it runs."
        }
        GcOutcome::KeptUndeclared { .. } => {
            "The registered stack maps are not those of the code at this address, or lie at wrong \
             offsets."
        }
        GcOutcome::KeptUnreadable { .. } => {
            "The walker gives only the frame pointer, and the stack map does not know the frame's \
             size; or the stack map has too large a frame."
        }
        GcOutcome::KeptUncovered => {
            "The walker cannot see past some frame, or Wasm is suspended on another stack."
        }
        GcOutcome::KeptStopped => "How the walk ended says why.",
        GcOutcome::KeptBrokenPromise => "Some call into Wasm is not wrapped in a stack canary.",
        GcOutcome::KeptUnproven => "Wrap each call into Wasm in a stack canary.",
        _ => return None,
    })
}
