//! What a collection says in the log, how loudly, and what a logger may do meanwhile.
//!
//! A test binary of its own, because it sets the logger of the process.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::{Cell, RefCell};
use vmexternref_core::{
    ComparingWalker, CycleCollector, Frame, GcOutcome, GcReport, Matching, ModuleStackMaps,
    RecordedWalker, StackMap, StackMapRegistry, Trace, VMExternRef, VMExternRefActivationsTable,
    WalkEnd, gc,
};

thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    /// What the logger does with each line, beside keeping it.
    static MEDDLE: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (record.level(), record.args().to_string());
        LINES.with_borrow_mut(|lines| lines.push(line));
        let meddle = MEDDLE.take();
        if let Some(meddle) = &meddle {
            meddle();
        }
        MEDDLE.set(meddle);
    }

    fn flush(&self) {}
}

/// Hears every line from now on.
fn listen() {
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Trace);
    LINES.take();
}

/// One frame of three words, each of them live, and a table.
struct Host {
    registry: StackMapRegistry,
    table: VMExternRefActivationsTable,
    stack: [usize; 3],
}

impl Host {
    fn new(verifies: bool) -> Self {
        listen();
        let registry = StackMapRegistry::new();
        let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
        module.function(0..0x100).expect("a function");
        let map = StackMap::new(None, [0, 1, 2]).expect("a map");
        module.safepoint(0x10, map).expect("a safepoint");
        registry.register(0x1000, module).expect("registered");
        let table = VMExternRefActivationsTable::new();
        table.set_verification(verifies);
        Self {
            registry,
            table,
            stack: [0; 3],
        }
    }

    fn collect(&self, end: WalkEnd) -> GcReport {
        let sp = self.stack.as_ptr().expose_provenance();
        let frame = Frame::of_unknown_code(0x1010, Some(sp), None);
        // SAFETY: `stack` is the only frame, and the map describes it.
        unsafe {
            let walker = RecordedWalker::new(vec![frame], end);
            gc(&self.registry, &self.table, &walker)
        }
    }
}

fn lines_at(level: Level) -> Vec<String> {
    let lines = LINES.with_borrow(|lines| lines.clone());
    let at = lines.into_iter().filter(|(at, _)| *at == level);
    at.map(|(_, line)| line).collect()
}

fn inserted(host: &Host) -> VMExternRef {
    let reference = VMExternRef::new(1);
    host.table.insert_without_gc(reference.clone());
    reference
}

#[test]
fn each_root_is_traced_and_the_report_is_for_debugging() {
    for verifies in [false, true] {
        let mut host = Host::new(verifies);
        let reference = inserted(&host);
        host.stack = [0, reference.as_raw().addr(), 0];
        assert_eq!(host.collect(WalkEnd::Complete).outcome, GcOutcome::Swept);
        let root = format!("{:#x}", reference.as_raw().addr());
        let traced = lines_at(Level::Trace);
        assert_eq!(traced.len(), 1, "{traced:?}");
        assert!(traced[0].contains(&root) && traced[0].contains("pc 0x1010"));
        assert!(lines_at(Level::Debug)[0].contains("swept"));
        assert!(lines_at(Level::Warn).is_empty() && lines_at(Level::Error).is_empty());
        LINES.take();
        host.table.set_immediate_bits(1).expect("a low bit");
        host.stack[0] = 0xdead_beef;
        assert_eq!(host.collect(WalkEnd::Complete).roots, 1);
        assert_eq!(lines_at(Level::Trace), traced, "an immediate is no root");
    }
}

/// Roots are checked while they are traced, as at any other time.
#[test]
fn a_wrong_root_is_an_error_with_root_slot_and_pc() {
    for verifies in [false, true] {
        let mut host = Host::new(verifies);
        let lost = VMExternRef::new(2);
        let misaligned = 0xdead_beef;
        host.stack = [lost.as_raw().addr(), 0, misaligned];
        let report = host.collect(WalkEnd::Complete);
        assert_eq!(report.outcome, GcOutcome::KeptContractBreak);
        let errors = lines_at(Level::Error);
        for (word, index, fault) in [
            (lost.as_raw().addr(), 0, "is not in the activations table"),
            (misaligned, 2, "is misaligned"),
        ] {
            let slot = host.stack.as_ptr().wrapping_add(index);
            let line = format!("root {word:#x} in slot {slot:p} of the frame at pc 0x1010 {fault}");
            let told = errors.iter().filter(|error| error.contains(&line));
            assert_eq!(told.count(), 1, "{line}, once in {errors:?}");
        }
        assert!(lines_at(Level::Warn)[0].contains("kept everything"));
    }
}

#[test]
fn what_keeps_everything_is_a_warning() {
    let host = Host::new(false);
    let stopped = WalkEnd::stopped("the chain is broken", Some(0x99));
    host.collect(stopped);
    let warned = lines_at(Level::Warn);
    assert!(warned[0].contains("the walk stopped at pc 0x99: the chain is broken"));
}

#[test]
fn a_host_without_canaries_is_warned_once() {
    let host = Host::new(false);
    let registry = StackMapRegistry::new();
    for _ in 0..3 {
        // SAFETY: no frame holds anything.
        let report = unsafe {
            let walker = RecordedWalker::new(Vec::new(), WalkEnd::Unproven);
            gc(&registry, &host.table, &walker)
        };
        assert_eq!(report.outcome, GcOutcome::KeptUnproven);
    }
    assert_eq!(lines_at(Level::Warn).len(), 1);
    assert_eq!(lines_at(Level::Debug).len(), 2);
}

/// Defect: the walk that traces roots and the one that marks them logged the difference each.
#[test]
fn a_difference_of_walkers_is_logged_once() {
    listen();
    let host = Host::new(false);
    let frame = |sp| Frame::of_compiled_code(0x1010, Some(sp), None);
    let stack = host.stack.as_ptr().expose_provenance();
    // SAFETY: the first walker's frame is true; nothing is read where they differ.
    let [first, second] = [stack, stack + 1]
        .map(|sp| unsafe { RecordedWalker::new(vec![frame(sp)], WalkEnd::Complete) });
    let both = ComparingWalker::new(&host.registry, first, second);
    // SAFETY: the map describes the frame.
    let report = unsafe { gc(&host.registry, &host.table, &both) };
    let pc = 0x1010;
    assert_eq!(report.outcome, GcOutcome::KeptStopped);
    let report = report.to_string();
    let end = "; the walk stopped at pc 0x1010: two stack walkers disagree about a Wasm frame";
    assert!(report.ends_with(end), "{report}");
    let line = format!(
        "two stack walkers disagree: Wasm frame 0: the first walker has pc {pc:#x} sp {stack:#x} fp \
         unknown, the second has pc {pc:#x} sp {:#x} fp unknown",
        stack + 1
    );
    assert_eq!(lines_at(Level::Error), [line]);
    assert_eq!(both.take_differences().len(), 1);
}

/// Defect: a logger that dropped, cloned or collected while marks were set freed a live object, or
/// aborted.
#[test]
fn a_logger_may_clone_drop_insert_and_collect() {
    for verifies in [false, true] {
        let mut host = Host::new(verifies);
        let reference = inserted(&host);
        let (held, lost) = (reference.clone(), VMExternRef::new(3));
        host.stack = [reference.as_raw().addr(), lost.as_raw().addr(), 0];
        let host = std::rc::Rc::new(host);
        let inner = std::rc::Rc::downgrade(&host);
        MEDDLE.set(Some(Box::new(move || {
            let host = inner.upgrade().expect("the host lives");
            let references = held.strong_count();
            assert_eq!(held.clone().strong_count(), references + 1);
            host.table.insert_without_gc(VMExternRef::new(4));
            host.table.insert_without_gc(held.clone());
            host.collect(WalkEnd::Complete);
            // Another table finds marks of this one's collection, if there are any.
            let other = VMExternRefActivationsTable::new();
            other.insert_without_gc(held.clone());
            // SAFETY: no frame holds what this table has.
            let report = unsafe {
                let nothing = RecordedWalker::new(vec![], WalkEnd::Complete);
                gc(&host.registry, &other, &nothing)
            };
            assert_eq!(report.outcome, GcOutcome::Swept);
        })));
        let report = host.collect(WalkEnd::Complete);
        MEDDLE.set(None);
        assert_eq!(report.freed, 0);
        assert_eq!(*lost.downcast_ref::<i32>().expect("alive"), 3);
        assert_eq!(*reference.downcast_ref::<i32>().expect("alive"), 1);
    }
}

/// Refers to itself, and says so once or twice.
#[derive(Default)]
struct Circle {
    link: RefCell<Option<VMExternRef>>,
    lies: Cell<bool>,
}

impl Trace for Circle {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        for _ in 0..1 + usize::from(self.lies.get()) {
            self.link.borrow().iter().for_each(&mut *visit);
        }
    }

    fn unlink(&self) {
        drop(self.link.take());
    }
}

#[test]
fn a_cycle_collection_warns_of_values_that_lie() {
    listen();
    let collector = CycleCollector::new();
    let weak = {
        let circle = collector.new_traced(Circle::default());
        let value = circle.downcast_ref::<Circle>().expect("it is a circle");
        value.link.replace(Some(circle.clone()));
        value.lies.set(true);
        circle.downgrade().expect("it is traced")
    };
    let report = collector.collect();
    assert_eq!(
        lines_at(Level::Warn),
        [format!("externref cycles: {report}")]
    );
    let circle = weak.upgrade().expect("it lives");
    let value = circle.downcast_ref::<Circle>().expect("it is a circle");
    value.lies.set(false);
    drop(circle);
    LINES.take();
    let report = collector.collect();
    assert_eq!(
        lines_at(Level::Debug),
        [format!("externref cycles: {report}")]
    );
    assert_eq!(report.freed, 1);
}
