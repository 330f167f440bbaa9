//! Every program of `tests/programs`, with every walker, with and without zeal.

use crate::compared::compare_walkers;
use core::cell::RefCell;
use core::ops::Range;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use vmexternref_core::GcOutcome;
use vmexternref_engine::{
    EngineKind, Session, Settings, WalkerKind, on_guest_stack, read_module, run_script,
};
use vmexternref_engine_runtime::Extern;

/// Enough for the deepest program, and little enough for the one that never ends, in bytes.
const STACK: usize = 512 << 10;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs")
}

fn programs() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).unwrap();
    let mut programs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    programs.sort();
    assert!(programs.len() > 15, "{programs:?}");
    programs
}

/// How a program's stack is walked.
#[derive(Clone, Copy)]
enum Walk {
    With(WalkerKind),
    /// By activation records, in the way of release builds: without checking roots.
    Unverified,
    /// With all of them, which must agree.
    Compared,
    /// By activation records, on an interpreter.
    Interpreted,
}

/// A session's settings for a program, whose files go to a folder that vanishes.
fn settings(walk: Walk, zeal: bool, stack: Range<usize>, files: &Path) -> Settings {
    let walker = match walk {
        Walk::With(walker) => walker,
        Walk::Unverified | Walk::Compared | Walk::Interpreted => WalkerKind::Activations,
    };
    let engine = match walk {
        Walk::Interpreted => EngineKind::Pulley,
        _ => EngineKind::Native,
    };
    Settings {
        engine,
        zeal,
        verification: !matches!(walk, Walk::Unverified),
        directory: Some(files.to_owned()),
        ..Settings::new(walker, stack)
    }
}

/// Collects the reports of collections that had a reason to keep what is dead; there should be
/// none.
fn note_breaks(session: &Session) -> Rc<RefCell<Vec<String>>> {
    let notes = Rc::<RefCell<Vec<String>>>::default();
    let seen = Rc::clone(&notes);
    session.store().set_gc_observer(Rc::new(move |report| {
        let fine = [GcOutcome::Swept, GcOutcome::AlreadyCollecting];
        if !fine.contains(&report.outcome) || report.contract_breaks != 0 {
            seen.borrow_mut().push(report.to_string());
        }
    }));
    notes
}

fn run_program(program: &Path, walk: Walk, settings: &Settings) {
    let session = Session::new(settings).unwrap();
    let findings = match walk {
        Walk::With(_) | Walk::Unverified | Walk::Interpreted => None,
        Walk::Compared => Some(compare_walkers(&session, &settings.stack)),
    };
    let breaks = note_breaks(&session);
    let wasm = read_module(program).unwrap();
    let instance = session
        .instantiate(session.compile(&wasm).unwrap())
        .unwrap();
    let main = instance.export("main").and_then(Extern::into_func).unwrap();
    let outcome = main.call(session.store(), &[]);
    assert!(outcome.is_ok(), "{}: {outcome:?}", program.display());
    assert_eq!(
        session.store().context().record.entry_fp(),
        0,
        "no activation is left"
    );
    assert_eq!(session.finish(), 0, "{}: alive", program.display());
    assert!(breaks.borrow().is_empty(), "{breaks:?}");
    if let Some(findings) = findings {
        assert!(findings.walks.get() > 0, "{}", program.display());
        assert_eq!(findings.differences.get(), 0, "{}", program.display());
    }
}

fn run_all(name: &str, walk: Walk, zeal: bool) {
    let files = std::env::temp_dir().join(format!("vmexternref-{}-{name}", std::process::id()));
    fs::create_dir_all(&files).unwrap();
    for program in programs() {
        let script = program
            .extension()
            .is_some_and(|extension| extension == "wast");
        on_guest_stack(STACK, |stack| {
            let settings = settings(walk, zeal, stack, &files);
            if script {
                let report = run_script(&program, &settings).unwrap();
                assert_eq!((report.failures, report.tally.skipped), (vec![], 0));
            } else {
                run_program(&program, walk, &settings);
            }
        })
        .unwrap();
    }
    fs::remove_dir_all(files).unwrap();
}

macro_rules! matrix {
    ($($(#[$attribute:meta])* $name:ident: $walk:expr, $zeal:expr;)*) => {
        $(#[test]
        $(#[$attribute])*
        fn $name() {
            run_all(stringify!($name), $walk, $zeal);
        })*
    };
}

matrix! {
    with_activations: Walk::With(WalkerKind::Activations), false;
    with_activations_and_zeal: Walk::With(WalkerKind::Activations), true;
    without_verification: Walk::Unverified, false;
    without_verification_and_zeal: Walk::Unverified, true;
    with_backtrace: Walk::With(WalkerKind::Backtrace), false;
    with_backtrace_and_zeal: Walk::With(WalkerKind::Backtrace), true;
    #[cfg_attr(target_arch = "s390x", ignore = "this walker does not exist there")]
    with_current_frame: Walk::With(WalkerKind::CurrentFrame), false;
    #[cfg_attr(target_arch = "s390x", ignore = "this walker does not exist there")]
    with_current_frame_and_zeal: Walk::With(WalkerKind::CurrentFrame), true;
    with_all_of_them: Walk::Compared, false;
    with_all_of_them_and_zeal: Walk::Compared, true;
    #[cfg_attr(target_endian = "big", ignore = "the interpreter's bytecode is little-endian")]
    interpreted: Walk::Interpreted, false;
    #[cfg_attr(target_endian = "big", ignore = "the interpreter's bytecode is little-endian")]
    interpreted_with_zeal: Walk::Interpreted, true;
}
